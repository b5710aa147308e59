// Four tabs with web-llm's own client and the real model, asking at the same time.

import { ask, expect, SMOLLM2, stream, test } from "../support/site.ts";
import { GOLDENS } from "../support/goldens.ts";

const NUM_TOKENS = 32;
/** All four together against one after another. */
const MAX_SHARE = 0.6;

test("four tabs together: each gets the text it gets alone, their streams overlap, and it takes under 0.6 of the time", async ({ site }) => {
  test.setTimeout(400_000);
  const requests = GOLDENS.map(({ messages }) => ({ messages, max_tokens: NUM_TOKENS, ignore_eos: true }));
  const tabs = [];
  for (const _ of requests) tabs.push(await site.openWith("stock", { url: SMOLLM2, id: "SmolLM2" }));
  const pairs = tabs.map((tab, index) => ({ tab, request: requests[index] as object }));
  // Both ways then begin with prompts that have been read: what is compared is generating.
  for (const { tab, request } of pairs) await ask(tab, { ...request, max_tokens: 1 });

  const startAloneMs = performance.now();
  const alone = [];
  for (const { tab, request } of pairs) alone.push(await stream(tab, request));
  const aloneMs = performance.now() - startAloneMs;

  const startTogetherMs = performance.now();
  const together = await Promise.all(pairs.map(({ tab, request }) => stream(tab, request)));
  const togetherMs = performance.now() - startTogetherMs;

  expect(together.map(({ text }) => text)).toEqual(alone.map(({ text }) => text));
  expect(together.map(({ usage }) => usage?.completion_tokens)).toEqual(pairs.map(() => NUM_TOKENS));
  const lastStart = Math.max(...together.map(({ stampsMs }) => stampsMs[0] ?? Infinity));
  const firstEnd = Math.min(...together.map(({ stampsMs }) => stampsMs.at(-1) ?? -Infinity));
  expect(firstEnd, "every stream begins before any ends").toBeGreaterThan(lastStart);
  const rate = (ms: number): string => ((pairs.length * NUM_TOKENS * 1000) / ms).toFixed(2);
  console.log(
    `four tabs: one after another ${(aloneMs / 1000).toFixed(1)} s (${rate(aloneMs)} tok/s), ` +
      `together ${(togetherMs / 1000).toFixed(1)} s (${rate(togetherMs)} tok/s): ${(togetherMs / aloneMs).toFixed(2)}`,
  );
  expect(togetherMs / aloneMs).toBeLessThan(MAX_SHARE);
});
