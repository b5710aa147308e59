// The model's numbers on the browser's own adapter against the reference's: the files that `cargo hearth eval` checks natively.

import { readFileSync } from "node:fs";
import { expect, SMOLLM2, test } from "../support/site.ts";

interface Prompt {
  id: string;
  ids: number[];
  logits?: number[];
  top50?: [number, number][];
  greedy: number[];
  greedy_margin: number[];
}
interface Expected {
  tolerance: Record<"f32" | "f16", { atol: number; rtol: number }>;
  prompts: Prompt[];
}
interface Perplexity {
  ids: number[];
  perplexity: number;
  tolerance: Record<"f32" | "f16", { logprob_atol: number; perplexity_rel: number }>;
  logprobs: number[];
}
/** The wasm's `Evaluation` (worker/shell/src/evaluation.rs), and what the pages of these tests keep of it. */
interface Evaluation {
  prefill(ids: Uint32Array): Promise<Float32Array>;
  greedy(first: number, position: number, count: number): Promise<Uint32Array>;
  logprobs(ids: Uint32Array): Promise<Float64Array>;
}
declare global {
  // eslint-disable-next-line no-var
  var evaluation: Evaluation;
}

const read = (path: string): unknown =>
  JSON.parse(readFileSync(new URL(`../fixtures/${path}`, import.meta.url)).toString());

type Page = import("@playwright/test").Page;

/** Loads a model into the page, without an engine. */
async function open(page: Page, path: string, kvF32: boolean): Promise<void> {
  await page.evaluate(
    async ({ path, kvF32 }) => {
      const glue = (await import(new URL("/wasm/hearth.js", location.href).href)) as {
        default(options: { module_or_path: string }): Promise<unknown>;
        Evaluation: { open(url: string, kvTokens: number, kvF32: boolean): Promise<Evaluation> };
      };
      await glue.default({ module_or_path: "/hearth/hearth_bg.wasm" });
      globalThis.evaluation = await glue.Evaluation.open(new URL(path, location.href).href, 1024, kvF32);
    },
    { path, kvF32 },
  );
}

/** Compares logits and greedy tokens of every prompt. */
async function compare(page: Page, expected: Expected, kind: "f32" | "f16"): Promise<void> {
  const { atol, rtol } = expected.tolerance[kind];
  for (const { id, ids, logits, top50, greedy, greedy_margin } of expected.prompts) {
    const got = await page.evaluate(
      async ({ ids, count }) => {
        const logits = await evaluation.prefill(Uint32Array.from(ids));
        const first = logits.indexOf(logits.reduce((left, right) => Math.max(left, right)));
        const rest = await evaluation.greedy(first, ids.length, count - 1);
        return { logits: Array.from(logits), tokens: [first, ...rest] };
      },
      { ids, count: greedy.length },
    );
    const wanted: [number, number][] = logits?.map((logit, token) => [token, logit]) ?? top50 ?? [];
    expect(wanted.length).toBeGreaterThan(0);
    const outside = wanted.filter(
      ([token, want]) => !(Math.abs((got.logits[token] ?? NaN) - want) <= atol + rtol * Math.abs(want)),
    );
    expect(outside, `${id}: [token, expected logit] of those outside the tolerance`).toEqual([]);
    // From the first step that the reference itself was not sure of, tokens say nothing.
    const unsure = greedy_margin.findIndex((margin) => margin < 2 * atol);
    const sure = unsure < 0 ? greedy.length : unsure;
    expect(got.tokens.slice(0, sure), id).toEqual(greedy.slice(0, sure));
  }
}

test("logits and greedy tokens of the small model are the reference's, with an f32 and an f16 cache", async ({ site }) => {
  const expected = read("tiny/gguf-llama/expected.json") as Expected;
  for (const kind of ["f32", "f16"] as const) {
    const page = await site.open("hearth");
    await open(page, "/fixtures/tiny/gguf-llama/model.gguf", kind === "f32");
    await compare(page, expected, kind);
    await page.close();
  }
});

test("logits and greedy tokens of the real model are the reference's", async ({ site }) => {
  test.setTimeout(240_000);
  const page = await site.open("hearth");
  await open(page, SMOLLM2, true);
  await compare(page, read("smollm2-135m/expected-gguf.json") as Expected, "f32");
});

test("perplexity is the reference's with the cache that ships", async ({ site }) => {
  test.setTimeout(300_000);
  const { ids, logprobs, perplexity, tolerance } = read("smollm2-135m/perplexity-gguf.json") as Perplexity;
  const page = await site.open("hearth");
  await open(page, SMOLLM2, false);
  const got = await page.evaluate(async (ids) => Array.from(await evaluation.logprobs(Uint32Array.from(ids))), ids);
  expect(got.length).toBe(logprobs.length);
  const worst = Math.max(...got.map((value, index) => Math.abs(value - (logprobs[index] ?? NaN))));
  expect(worst).toBeLessThanOrEqual(tolerance.f16.logprob_atol);
  const ours = Math.exp(-got.reduce((sum, value) => sum + value, 0) / got.length);
  console.log(`perplexity in Chromium: ${ours.toFixed(4)}, reference ${perplexity.toFixed(4)}`);
  expect(Math.abs(ours / perplexity - 1)).toBeLessThanOrEqual(tolerance.f16.perplexity_rel);
});
