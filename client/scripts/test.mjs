// Bundles each test file for Node (which cannot read TypeScript in every supported version) and runs them with Node's runner.

import { build } from "esbuild";
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";

const root = new URL("../", import.meta.url).pathname;
const files = (await readdir(`${root}test`)).filter((name) => name.endsWith(".test.ts"));
const out = await mkdtemp(`${root}node_modules/.hearth-test-`);
try {
  await build({
    entryPoints: files.map((name) => `${root}test/${name}`),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const built = (await readdir(out)).map((name) => `${out}/${name}`);
  const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-timeout=20000", ...process.argv.slice(2), ...built], { stdio: "inherit" });
  process.exitCode = status ?? 1;
} finally {
  await rm(out, { recursive: true, force: true });
}
