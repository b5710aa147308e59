// Hearth's own client against its worker, on the small model: what it has beyond web-llm's.

import { ask, askFailure, expect, FOUR_PIECES, HELLO, load, loadFailure, progressTexts, stream, test, TINY } from "../support/site.ts";

/** Long enough that it is still going on when something is done to it. */
const LONG = { ...HELLO, max_tokens: 400 };

test("a pushed stream says what the whole reply says, in several pieces with one id, and counts its tokens", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const request = { ...HELLO, max_tokens: 60 };
  const streamed = await stream(page, request);
  const whole = await ask(page, request);
  expect(streamed.text).toBe(whole.text);
  expect(streamed.text).not.toBe("");
  expect(streamed.finish).toBe("length");
  expect(streamed.ids).toHaveLength(1);
  expect(streamed.stampsMs.length).toBeGreaterThan(1);
  expect(streamed.usage?.completion_tokens).toBe(60);
  expect(whole.usage.completion_tokens).toBe(60);
  expect(whole.reply).toMatchObject({ object: "chat.completion", model: "model" });
});

test("the load reports progress in web-llm's words and ends at 1", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const texts = await progressTexts(page);
  expect(texts[0]).toMatch(/^Start to fetch params/);
  expect(texts.at(-1)).toMatch(/^Finish loading on /);
  expect(await page.evaluate(() => tab.progress.at(-1)?.progress)).toBe(1);
});

test("aborting a stream's signal ends that stream only", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const outcome = await page.evaluate(async (request) => {
    const controller = new AbortController();
    const aborted = await engine.chat.completions.create({ ...request, stream: true, signal: controller.signal });
    const other = tab.stream(request);
    await aborted.next();
    controller.abort(new Error("enough"));
    const failure = await tab.failure(() => tab.collect(aborted));
    return { failure, other: await other };
  }, LONG);
  expect(outcome.failure).toMatchObject({ isError: true, message: "enough" });
  expect(outcome.other).toMatchObject({ finish: "length", usage: { completion_tokens: LONG.max_tokens } });
});

test("aborting a whole reply rejects at once, and the pages come back", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const failure = await page.evaluate(async (request) => {
    const controller = new AbortController();
    const reply = tab.failure(() => engine.chat.completions.create({ ...request, signal: controller.signal }));
    const other = await engine.chat.completions.create({ ...request, stream: true, max_tokens: 1 });
    await other.next();
    controller.abort(new Error("enough"));
    return reply;
  }, LONG);
  expect(failure).toMatchObject({ isError: true, message: "enough" });
  await expect
    .poll(() => page.evaluate(async () => (await tab.post("hearth.usage", {})).content))
    .toMatchObject({ running: 0, waiting: 0, pagesHeld: 0 });
});

test("leaving the loop cancels the generation", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  await page.evaluate(async (request) => {
    for await (const _ of await engine.chat.completions.create({ ...request, stream: true })) break;
  }, LONG);
  await expect
    .poll(() => page.evaluate(async () => (await tab.post("hearth.usage", {})).content))
    .toMatchObject({ running: 0, pagesHeld: 0 });
});

