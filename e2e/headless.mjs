// One chat through the service worker in a headless Chromium, for `cargo hearth demo --headless`.
//
// Reads {url, chromium, flags, prompt, system?, maxTokens?, temperature?} as JSON on stdin. Progress goes to stderr, the
// reply alone to stdout; any failure is one line on stderr and exit code 1.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { chromium } from "@playwright/test";

const MODEL_ID = "SmolLM2-135M-Instruct";
const MODEL_PATH = "/models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf";

/** Runs in the page: loads the model in the service worker and streams one reply; `note` reports progress. */
async function chat({ modelId, modelPath, request }) {
  const { CreateServiceWorkerMLCEngine } = await import("/hearth/index.js");
  const engine = await CreateServiceWorkerMLCEngine(modelId, {
    hearth: { serviceWorkerUrl: "/hearth/hearth-sw.js" },
    appConfig: {
      model_list: [{ model: new URL(modelPath, location.origin).href, model_id: modelId, model_lib: "" }],
    },
    initProgressCallback: (report) => window.note(report.text),
  });
  let reply = "";
  for await (const chunk of await engine.chat.completions.create({ ...request, stream: true })) {
    reply += chunk.choices[0]?.delta.content ?? "";
    window.note(`${reply.length} characters`);
  }
  return reply;
}

async function main() {
  const input = JSON.parse(await text(process.stdin));
  const profile = await mkdtemp(join(tmpdir(), "hearth-headless-"));
  const context = await chromium.launchPersistentContext(profile, {
    headless: true,
    executablePath: input.chromium,
    args: input.flags,
  });
  try {
    const page = await context.newPage();
    await page.exposeFunction("note", (line) => process.stderr.write(`${line}\n`));
    // Any page of the origin will do: a 404 is one too, and the demo page would load the model by itself.
    await page.goto(new URL("/hearth/headless", input.url).href);
    const messages = [
      ...(input.system === undefined ? [] : [{ role: "system", content: input.system }]),
      { role: "user", content: input.prompt },
    ];
    const request = {
      messages,
      ...(input.maxTokens === undefined ? {} : { max_tokens: input.maxTokens }),
      ...(input.temperature === undefined ? {} : { temperature: input.temperature }),
    };
    const reply = await page.evaluate(chat, { modelId: MODEL_ID, modelPath: MODEL_PATH, request });
    process.stdout.write(`${reply}\n`);
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}

main().catch((error) => {
  process.stderr.write(`${String(error?.message ?? error).split("\n")[0]}\n`);
  process.exitCode = 1;
});
