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

test("a page can see what the model takes of the machine, and the size of a step", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const device = () => page.evaluate(async () => ((await tab.post("hearth.usage", {})).content as { device: Record<string, number> }).device);
  const before = await device();
  expect(before).toMatchObject({ stepDispatches: 0, stepUploadedBytes: 0 });
  // Two layers of 127 KB of weights, and a heap of at least the wasm's own megabyte.
  expect(before["gpuMemoryBytes"]).toBeGreaterThan(100_000);
  expect(before["wasmMemoryBytes"]).toBeGreaterThan(1_000_000);
  await ask(page, HELLO);
  const after = await device();
  // Seven kernels a layer, and the rest; one upload of some hundred bytes.
  expect(after["stepDispatches"]).toBeGreaterThanOrEqual(2 * 7);
  expect(after["stepDispatches"]).toBeLessThan(2 * 8 + 10);
  expect(after["stepUploadedBytes"]).toBeGreaterThan(0);
  expect(after["stepUploadedBytes"]).toBeLessThan(2_000);
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

test("interruptGenerate ends this page's reply as aborted and leaves the other page's alone", async ({ site }) => {
  const [first, second] = [await site.openWith("hearth", { url: TINY }), await site.openWith("hearth", { url: TINY })];
  const other = stream(second, LONG);
  const interrupted = await first.evaluate(async (request) => {
    const chunks = await engine.chat.completions.create({ ...request, stream: true });
    await chunks.next();
    engine.interruptGenerate();
    return tab.collect(chunks);
  }, LONG);
  expect(interrupted.finish).toBe("abort");
  expect(await other).toMatchObject({ finish: "length" });
});

test("two pages get the same greedy text, together and alone, and the second one's load fetches nothing", async ({ site }) => {
  const first = await site.openWith("hearth", { url: TINY });
  site.server.forget();
  const second = await site.openWith("hearth", { url: TINY });
  expect(site.server.bytesOf("tiny.gguf")).toBe(0);
  const alone = await ask(first, LONG);
  const together = await Promise.all([stream(first, LONG), stream(second, LONG)]);
  expect(together.map(({ text }) => text)).toEqual([alone.text, alone.text]);
});

test("a prompt that was read before is not read again", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const request = { ...HELLO, messages: [{ role: "user", content: "the quick brown fox ".repeat(10) }] };
  const first = await ask(page, request);
  const again = await ask(page, request);
  expect(again.text).toBe(first.text);
  expect(again.usage.prompt_tokens_details?.cached_tokens).toBeGreaterThan(0);
  expect(again.usage.prompt_tokens).toBeLessThan(first.usage.prompt_tokens);
});

test("a page that is closed in mid-reply gives its pages back", async ({ site }) => {
  const [staying, leaving] = [await site.openWith("hearth", { url: TINY }), await site.openWith("hearth", { url: TINY })];
  await leaving.evaluate(async (request) => {
    await (await engine.chat.completions.create({ ...request, stream: true, max_tokens: 480 })).next();
  }, LONG);
  await leaving.close();
  await expect
    .poll(() => staying.evaluate(async () => (await tab.post("hearth.usage", {})).content), { timeout: 10_000 })
    .toMatchObject({ running: 0, waiting: 0 });
});

test("errors are Error objects that print as web-llm's strings", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const cases: [object, string][] = [
    [{ messages: [{ role: "assistant", content: "x" }] }, "MessageOrderError: Last message should be from either `user` or `tool`."],
    [{ ...HELLO, temperature: -1 }, "NonNegativeError: Make sure temperature >= 0"],
    [{ ...HELLO, model: "other" }, "SpecifiedModelNotFoundError: Specified model other for ChatCompletionRequest is not found"],
    [{ messages: [{ role: "user", content: "word ".repeat(2_000) }] }, "ContextWindowSizeExceededError: "],
  ];
  for (const [request, expected] of cases) {
    const failure = await askFailure(page, request);
    expect(failure.isError, expected).toBe(true);
    expect(failure.text.slice(0, expected.length)).toBe(expected);
    expect(failure.text).toBe(`${failure.name}: ${failure.message}`);
  }
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("the engine in the page loads, answers as the worker does, and fails as clearly", async ({ site }) => {
  const inWorker = await site.openWith("hearth", { url: TINY });
  const page = await site.open("hearth", "?no-worker");
  await load(page, { url: TINY, make: "CreateMLCEngine" });
  expect((await stream(page, HELLO)).text).toBe((await ask(inWorker, HELLO)).text);
  expect(await page.evaluate(() => engine.getMessage())).not.toBe("");
  expect(await loadFailure(page, { url: "/made/nothing.gguf", make: "CreateMLCEngine" })).toMatchObject({
    isError: true,
    name: "ModelDownloadError",
    details: { status: 404 },
  });
});

test("a load that is called off fetches no more, and another works", async ({ site }) => {
  const page = await site.open("hearth");
  site.server.faults.set(FOUR_PIECES, { delayMs: 40 });
  const failure = await page.evaluate(async ([slow, quick]) => {
    const record = (id: string, path: string) => ({ model: new URL(path, location.href).href, model_id: id, model_lib: "" });
    const appConfig = { model_list: [record("slow", slow), record("quick", quick)] };
    globalThis.engine = new client["ServiceWorkerMLCEngine"]({ appConfig });
    const controller = new AbortController();
    engine.setInitProgressCallback(() => controller.abort(new Error("never mind")));
    return tab.failure(() => engine.reload("slow", undefined, { signal: controller.signal }));
  }, [FOUR_PIECES, TINY] as const);
  expect(failure).toMatchObject({ isError: true, message: "never mind" });
  await page.evaluate(() => engine.reload("quick"));
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
  expect(site.server.bytesOf(FOUR_PIECES)).toBeLessThan(8 << 20);
});
