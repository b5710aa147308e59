// Measures the package in a headless Chromium, for `cargo hearth bench`.
//
// Reads {url, modelUrl, chromium, flags, runs, promptLengths, sequenceCounts, decodeTokens} as JSON on stdin. Prints one JSON
// object on stdout, lists with one sample for each run; progress goes to stderr; any failure is one line and exit code 1.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { chromium } from "@playwright/test";
import { stopWorker } from "./support/worker.mjs";

/**
 * @typedef {{url: string, modelUrl: string, chromium: string, flags: string[], runs: number, promptLengths: number[],
 *   sequenceCounts: number[], decodeTokens: number}} Request
 * @typedef {import("@playwright/test").Page} Page
 */

/** Words that are one token each in common vocabularies. */
const WORDS = "the of and to in is was for on that with as by at from it an be are this".split(" ");

/** @param {string} line */
const note = (line) => process.stderr.write(`${line}\n`);

/** Runs in the page: what is measured with. The engine stays in the page between calls. @param {string} url */
async function prepare(url) {
  const path = "/hearth/index.js";
  const { CreateServiceWorkerMLCEngine } = await import(path);
  const startedMs = performance.now();
  const engine = await CreateServiceWorkerMLCEngine("bench", {
    hearth: { serviceWorkerUrl: "/hearth/hearth-sw.js" },
    appConfig: { model_list: [{ model: url, model_id: "bench", model_lib: "" }] },
  });
  const elapsedMs = performance.now() - startedMs;
  /** @param {string} content @param {number} maxTokens */
  const generate = async (content, maxTokens) => {
    const chunks = await engine.chat.completions.create({
      messages: [{ role: "user", content }],
      max_tokens: maxTokens,
      temperature: 0,
      ignore_eos: true,
      stream: true,
      stream_options: { include_usage: true },
    });
    const result = { /** @type {number[]} */ textMs: [], usage: undefined };
    for await (const chunk of chunks) {
      if (chunk.choices[0]?.delta.content) result.textMs.push(performance.now());
      result.usage = chunk.usage ?? result.usage;
    }
    return result;
  };
  Object.assign(globalThis, { generate, deviceUsage: async () => (await engine.poolUsage()).device });
  return elapsedMs;
}

/** Runs in the page. @param {{content: string, maxTokens: number}[]} requests */
function generateAll(requests) {
  const { generate } = /** @type {any} */ (globalThis);
  return Promise.all(requests.map(({ content, maxTokens }) => generate(content, maxTokens)));
}

/** A prompt that nobody has asked before, of about this many words. @param {number} numWords */
function freshPrompt(numWords) {
  const start = `${Math.random().toString(36).slice(2)} `;
  return start + Array.from({ length: numWords }, () => WORDS[Math.floor(Math.random() * WORDS.length)]).join(" ");
}

/** Tokens a second of reading a prompt of `length` tokens. @param {Page} page @param {number} length */
async function measurePrefill(page, length) {
  const ask = async (/** @type {number} */ numWords) => {
    const [{ usage }] = await page.evaluate(generateAll, [{ content: freshPrompt(numWords), maxTokens: 1 }]);
    return { read: usage.prompt_tokens, cached: usage.prompt_tokens_details?.cached_tokens ?? 0, seconds: usage.extra.time_to_first_token_s };
  };
  // The chat template and the random start take their part of the length.
  const short = await ask(1);
  const { read, seconds } = await ask(Math.max(1, length - short.read - short.cached));
  return read / seconds;
}

/** Tokens a second of all sequences together, while all of them decode and nobody reads a prompt.
 * @param {Page} page @param {number} numSequences @param {number} numTokens */
async function measureDecode(page, numSequences, numTokens) {
  const prompts = Array.from({ length: numSequences }, (_, index) => `Tell me a long story. It is number ${index}.`);
  const requests = (/** @type {number} */ maxTokens) => prompts.map((content) => ({ content, maxTokens }));
  await page.evaluate(generateAll, requests(1));
  /** @type {{textMs: number[]}[]} */
  const results = await page.evaluate(generateAll, requests(numTokens));
  const startMs = Math.max(...results.map(({ textMs }) => textMs[0] ?? Infinity));
  const endMs = Math.min(...results.map(({ textMs }) => textMs.at(-1) ?? 0));
  if (!(endMs > startMs)) throw new Error(`the ${numSequences} sequences were never all decoding: ask for more tokens`);
  // A token that ends in the middle of a character brings no text: texts are counted, and each stands for its share of tokens.
  const numTexts = results.reduce(
    (sum, { textMs }) => sum + (textMs.filter((at) => at > startMs && at <= endMs).length * numTokens) / textMs.length,
    0,
  );
  return (numTexts * 1000) / (endMs - startMs);
}

/** @param {Page} page */
function describeAdapter(page) {
  return page.evaluate(async () => {
    const adapter = await /** @type {any} */ (navigator).gpu?.requestAdapter();
    const { vendor, architecture, device, description } = adapter?.info ?? {};
    return [vendor, architecture, device, description].filter(Boolean).join(" ") || "unknown";
  });
}

/** One run from an empty profile: a load with nothing stored, one with everything stored, then the rates.
 * @param {Request} input @param {(page: Page, coldMs: number, storedMs: number) => Promise<void>} measure */
async function inFreshProfile(input, measure) {
  const profile = await mkdtemp(join(tmpdir(), "hearth-bench-"));
  const options = { headless: true, executablePath: input.chromium, args: input.flags };
  const context = await chromium.launchPersistentContext(profile, options);
  try {
    const page = await context.newPage();
    // Any page of the origin will do: a 404 is one too, and the demo page would load the model by itself.
    const address = new URL("/hearth/bench", input.url).href;
    await page.goto(address);
    const coldMs = await page.evaluate(prepare, input.modelUrl);
    await stopWorker(page);
    await page.goto(address);
    const storedMs = await page.evaluate(prepare, input.modelUrl);
    await measure(page, coldMs, storedMs);
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true });
  }
}

async function main() {
  /** @type {Request} */
  const input = JSON.parse(await text(process.stdin));
  const samples = {
    adapter: "",
    load_ms: /** @type {number[]} */ ([]),
    cached_load_ms: /** @type {number[]} */ ([]),
    prefill: input.promptLengths.map((tokens) => ({ tokens, tokens_per_s: /** @type {number[]} */ ([]) })),
    wasm_memory_bytes: 0,
    gpu_memory_bytes: 0,
    dispatches_per_step: 0,
    bytes_uploaded_per_step: 0,
    decode: input.sequenceCounts.map((sequences) => ({ sequences, tokens_per_s: /** @type {number[]} */ ([]) })),
  };
  for (let run = 1; run <= input.runs; run += 1) {
    const say = (/** @type {string} */ what) => note(`run ${run} of ${input.runs}: ${what}`);
    say("load");
    await inFreshProfile(input, async (page, coldMs, storedMs) => {
      samples.adapter ||= await describeAdapter(page);
      samples.load_ms.push(coldMs);
      samples.cached_load_ms.push(storedMs);
      for (const { tokens, tokens_per_s } of samples.prefill) {
        say(`prefill ${tokens}`);
        tokens_per_s.push(await measurePrefill(page, tokens));
      }
      for (const { sequences, tokens_per_s } of samples.decode) {
        say(`decode, ${sequences} at once`);
        tokens_per_s.push(await measureDecode(page, sequences, input.decodeTokens));
        const device = await page.evaluate(() => /** @type {any} */ (globalThis).deviceUsage());
        samples.wasm_memory_bytes = device.wasmMemoryBytes;
        samples.gpu_memory_bytes = device.gpuMemoryBytes;
        if (sequences !== 1) continue;
        samples.dispatches_per_step = device.stepDispatches;
        samples.bytes_uploaded_per_step = device.stepUploadedBytes;
      }
    });
  }
  process.stdout.write(`${JSON.stringify(samples)}\n`);
}

main().catch((error) => {
  process.stderr.write(`${String(error?.message ?? error).split("\n")[0]}\n`);
  process.exitCode = 1;
});
