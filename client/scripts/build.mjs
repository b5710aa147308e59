// Builds dist/: index.js (+ page-host.js, loaded only by the engine in the page), hearth-sw.js, index.d.ts, hearth_bg.wasm.
// The wasm and its glue come from worker/shell into wasm/ (see `cargo hearth build`); without them the package is built all
// the same, with an engine that says so when it is used.

import { build } from "esbuild";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFile, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { promisify } from "node:util";

const root = new URL("../", import.meta.url);
const path = (relative) => new URL(relative, root).pathname;

const GLUE = path("wasm/hearth.js");
const WASM = path("wasm/hearth_bg.wasm");
const DIST = path("dist/");

/** Enough of the digest to tell any two builds apart. */
const HASH_DIGITS = 16;

/** True when the file is there. */
const exists = (file) => stat(file).then(() => true, () => false);

/** Tells builds of the wasm apart: part of the name under which the service worker keeps it. */
async function hashWasm() {
  if (!(await exists(WASM))) return "none";
  return createHash("sha256").update(await readFile(WASM)).digest("hex").slice(0, HASH_DIGITS);
}

/**
 * `hearth-wasm`: the glue as a factory. wasm-bindgen's module keeps its instance in module variables, and a module is
 * evaluated once; as a function it can be evaluated again after a trap.
 */
const gluePlugin = {
  name: "hearth-wasm",
  setup(context) {
    context.onResolve({ filter: /^hearth-wasm$/ }, () => ({ path: "hearth-wasm", namespace: "hearth-wasm" }));
    context.onLoad({ filter: /.*/, namespace: "hearth-wasm" }, async () => {
      const hash = `export const wasmHash = ${JSON.stringify(await hashWasm())};`;
      if (!(await exists(GLUE))) {
        console.error("client: wasm/hearth.js is missing; building without the engine (run `cargo hearth build`)");
        return {
          contents: `${hash} export function createGlue() {
            return { default: () => Promise.reject(new Error("this package was built without its wasm")) };
          }`,
        };
      }
      const glue = await build({
        entryPoints: [GLUE],
        bundle: true,
        write: false,
        format: "iife",
        globalName: "glue",
        // Only the default URL of the wasm uses it, and the caller always gives one.
        define: { "import.meta.url": "undefined" },
      });
      return { contents: `${hash}\nexport function createGlue() {\n${glue.outputFiles[0].text}\nreturn glue;\n}` };
    });
  },
};

/** Settings that every bundle shares. */
const common = {
  bundle: true,
  target: "es2022",
  plugins: [gluePlugin],
  legalComments: "none",
  logLevel: "warning",
};

await rm(DIST, { recursive: true, force: true });
await mkdir(DIST, { recursive: true });
await Promise.all([
  build({ ...common, entryPoints: [path("src/index.ts")], outfile: path("dist/index.js"), format: "esm", external: ["./page-host.js"] }),
  build({ ...common, entryPoints: [path("src/page-host.ts")], outfile: path("dist/page-host.js"), format: "esm", minify: true }),
  build({ ...common, entryPoints: [path("src/hearth-sw.ts")], outfile: path("dist/hearth-sw.js"), format: "iife", minify: true }),
  emitTypes(),
]);
if (await exists(WASM)) await copyFile(WASM, path("dist/hearth_bg.wasm"));

/** dist/index.d.ts over one declaration file a source file in dist/types/. */
async function emitTypes() {
  const tsc = path("node_modules/typescript/bin/tsc");
  await promisify(execFile)(
    process.execPath,
    [tsc, "-p", "tsconfig.json", "--noEmit", "false", "--rootDir", "src", "--declaration", "--emitDeclarationOnly", "--outDir", "dist/types"],
    { cwd: path("") },
  );
  await writeFile(path("dist/index.d.ts"), 'export * from "./types/index.js";\n');
}
