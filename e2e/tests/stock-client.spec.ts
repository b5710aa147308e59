// The unmodified page client of @mlc-ai/web-llm 0.2.86 against Hearth's worker: the real model says what the reference says.

import { ask, askFailure, expect, HELLO, load, progressTexts, Site, SMOLLM2, stream, test, TINY } from "../support/site.ts";
import { followGolden, GOLDENS, type Golden } from "../support/goldens.ts";
import { TestServer } from "../server.mjs";
import type { Page } from "@playwright/test";

/** Tokens of each golden reply that are compared. */
const NUM_TOKENS = 32;
/** Of all compared tokens, so many must be equal. */
const MIN_SHARE = 0.75;

test.describe("with the real model", () => {
  test.describe.configure({ timeout: 240_000 });
  let site: Site;
  let page: Page;

  test.beforeAll(async ({ browser }) => {
    site = new Site(await new TestServer().start(), await browser.newContext());
    page = await site.openWith("stock", { url: SMOLLM2, id: "SmolLM2" });
  });
  test.afterAll(async () => {
    await site.context.close();
    await site.server.stop();
  });

  test("greedy texts are the reference's, streamed or not", async () => {
    let numEqual = 0;
    for (const golden of GOLDENS) {
      const request = requestOf(golden);
      const streamed = await stream(page, request);
      const num = followGolden(golden, streamed.text, NUM_TOKENS);
      console.log(`${golden.id}: ${num} of ${NUM_TOKENS} tokens are the reference's`);
      numEqual += num;
      expect(streamed).toMatchObject({ finish: "length", usage: { completion_tokens: NUM_TOKENS } });
      const whole = await ask(page, request);
      expect(whole.text).toBe(streamed.text);
      expect(await page.evaluate(() => engine.getMessage())).toBe(whole.text);
    }
    // Where the reference itself hesitates another adapter may choose otherwise, but not everywhere.
    expect(numEqual).toBeGreaterThanOrEqual(MIN_SHARE * NUM_TOKENS * GOLDENS.length);
  });

  test("a reply ends where the model ends it, with web-llm's fields", async () => {
    const golden = GOLDENS[0] as Golden;
    const answer = await ask(page, { messages: golden.messages });
    expect(answer.text).toBe(golden.greedy_text);
    expect(answer.finish).toBe("stop");
    const { usage, reply } = answer;
    expect(reply).toMatchObject({ object: "chat.completion", model: "SmolLM2" });
    expect(reply.id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    expect(Math.abs(reply.created - Date.now() / 1000)).toBeLessThan(60);
    expect(usage.prompt_tokens + (usage.prompt_tokens_details?.cached_tokens ?? 0)).toBe(golden.ids.length);
    // The end-of-turn token counts, as in web-llm.
    expect(usage.completion_tokens).toBe(8);
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
    for (const name of ["e2e_latency_s", "prefill_tokens_per_s", "decode_tokens_per_s", "time_to_first_token_s", "time_per_output_token_s"]) {
      expect(usage.extra[name], name).toBeGreaterThan(0);
    }
    const speeds = /^prefill: (\d+\.\d{4}) tokens\/sec, decoding: (\d+\.\d{4}) tokens\/sec$/;
    expect(await page.evaluate(() => engine.runtimeStatsText())).toMatch(speeds);
  });
});

function requestOf(golden: Golden): object {
  return { messages: golden.messages, max_tokens: NUM_TOKENS, ignore_eos: true };
}

test("the load's progress goes from the start to `Finish loading`", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const texts = await progressTexts(page);
  expect(texts[0]).toMatch(/^Start to fetch params/);
  expect(texts.at(-1)).toMatch(/^Finish loading on /);
});

test("interruptGenerate ends a stream as aborted, with what it has, and the next one works", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const interrupted = await page.evaluate(async (request) => {
    const chunks = await engine.chat.completions.create({ ...request, stream: true });
    const first = await chunks.next();
    engine.interruptGenerate();
    const rest = await tab.collect(chunks);
    return { first: first.value.choices[0].delta.content as string, rest, message: await engine.getMessage() };
  }, { ...HELLO, max_tokens: 400 });
  expect(interrupted.rest.finish).toBe("abort");
  expect(interrupted.message).toBe(interrupted.first + interrupted.rest.text);
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("leaving a stream early ends its generation", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  await page.evaluate(async (request) => {
    for await (const _ of await engine.chat.completions.create({ ...request, stream: true })) break;
  }, { ...HELLO, max_tokens: 400 });
  await expect
    .poll(() => page.evaluate(async () => (await tab.post("hearth.usage", {})).content))
    .toMatchObject({ running: 0, waiting: 0, pagesHeld: 0 });
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("several streams of one page go on side by side", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const request = { ...HELLO, max_tokens: 100 };
  const alone = await stream(page, request);
  const together = await page.evaluate((given) => Promise.all([1, 2, 3].map(() => tab.stream(given))), request);
  expect(together.map(({ text }) => text)).toEqual([alone.text, alone.text, alone.text]);
});

test("a stream of the older message form, by model id, gives the same text", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const expected = await ask(page, HELLO);
  const text = await page.evaluate(async (request) => {
    const content = { request: { ...request, temperature: 0, stream: true }, selectedModelId: "model", modelId: ["model"] };
    const init = await tab.post("chatCompletionStreamInit", content);
    if (init.kind !== "return" || init.content !== null) throw new Error(JSON.stringify(init));
    let whole = "";
    for (;;) {
      const next = await tab.post("completionStreamNextChunk", { selectedModelId: "model" });
      if (next.kind !== "return") throw new Error(JSON.stringify(next));
      if (typeof next.content !== "object") return whole;
      whole += (next.content as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? "";
    }
  }, HELLO);
  expect(text).toBe(expected.text);
});

test("errors reach the page as web-llm's strings", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  expect(await askFailure(page, { messages: [{ role: "user", content: "a" }, { role: "assistant", content: "b" }] })).toMatchObject({
    isError: false,
    text: "MessageOrderError: Last message should be from either `user` or `tool`.",
  });
  const system = [{ role: "user", content: "a" }, { role: "system", content: "b" }, { role: "user", content: "c" }];
  expect(await askFailure(page, { messages: system })).toMatchObject({
    isError: false,
    text: "SystemMessageOrderError: System prompt should always be the first message in `messages`.",
  });
});

test("resetChat and unload touch this page only", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const other = await site.openWith("stock", { url: TINY });
  const expected = await ask(other, HELLO);
  await page.evaluate(() => engine.resetChat());
  await page.evaluate(() => engine.unload());
  expect(await other.evaluate(() => engine.getMessage())).toBe(expected.text);
  expect(await ask(other, HELLO)).toMatchObject({ text: expected.text });
  expect((await askFailure(page, HELLO)).text).toMatch(/ModelNotLoadedError/);
  await load(page, { url: TINY });
  expect(await ask(page, HELLO)).toMatchObject({ text: expected.text });
});
