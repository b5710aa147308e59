// Conversations that outgrow their room: what each overflow policy keeps, and that every action is reported.

import type { Page } from "@playwright/test";
import { ask, askFailure, contextEvents, type ContextReport, expect, HELLO, type Message, SMOLLM2, stream, test, TINY, type Usage } from "../support/site.ts";

const SYSTEM = { role: "system", content: "You are a helpful assistant. Answer in one short sentence." };

interface Turn {
  usage: Usage;
  text: string;
}

/** A chat in which each turn is asked on top of all that was said before, as apps do. */
function chat(page: Page, turns: string[], request: object): Promise<Turn[]> {
  return page.evaluate(
    async ([system, given, options]) => {
      const messages: Message[] = [system];
      const done: Turn[] = [];
      for (const content of given) {
        messages.push({ role: "user", content });
        const { text, usage } = await tab.ask({ ...options, messages });
        messages.push({ role: "assistant", content: text });
        done.push({ text, usage });
      }
      return done;
    },
    [SYSTEM, turns, request] as const,
  );
}

test("a chat of 40 turns in a window of 512 tokens never fails, keeps the system prompt, reports what it drops, and seldom reads again", async ({ site }) => {
  test.setTimeout(300_000);
  const page = await site.openWith("hearth", { url: SMOLLM2, id: "SmolLM2", chatOpts: { context_window_size: 512 } });
  const turns = Array.from({ length: 40 }, (_, index) => `Turn ${index + 1}: tell me one thing about the number ${index * 7 + 3}, please.`);
  const done = await chat(page, turns, { max_tokens: 8, ignore_eos: true });
  expect(done).toHaveLength(40);
  for (const { usage, text } of done) {
    expect(text).not.toBe("");
    const context = usage.extra.context;
    expect(context?.window).toBe(512);
    expect(context?.used).toBeLessThanOrEqual(512);
  }
  const dropped = done.map(({ usage }) => usage.extra.context?.dropped_messages ?? 0);
  expect(dropped[5]).toBe(0);
  expect(dropped[39]).toBeGreaterThan(30);
  // Never the system prompt, nor the last turn.
  expect(Math.max(...dropped)).toBeLessThan(2 * 39);
  const overflows = (await contextEvents(page)).filter(({ type }) => type === "overflow");
  expect(overflows.at(-1)).toMatchObject({ policy: "truncate", phase: "prefill", droppedMessages: dropped[39], window: 512 });
  // The system prompt is the beginning of what is kept: its pages are found whatever else was dropped.
  const system = await page.evaluate((message) => engine.measure([message]), SYSTEM);
  for (const { usage } of done.slice(1)) {
    expect(usage.prompt_tokens_details?.cached_tokens).toBeGreaterThanOrEqual(Math.floor((system - 16) / 16) * 16);
  }
  const numReread = done.filter(({ usage }) => usage.prompt_tokens > 120).length;
  expect(numReread, "turns that had to read much again").toBeLessThan(8);
});

test("the system prompt and the last message are in what a truncated chat reads", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 256 } });
  const history = Array.from({ length: 30 }, (_, index) => ({ role: index % 2 ? "assistant" : "user", content: `old words number ${index} about nothing` }));
  const kept = [SYSTEM, { role: "user", content: "and now the last question" }];
  // Greedy and seeded by the same tokens: dropping the middle must give what the rest alone gives, when nothing of the middle fits.
  const request = { max_tokens: 4, ignore_eos: true, hearth: { reserveOutputTokens: 190 } };
  const long = await ask(page, { ...request, messages: [SYSTEM, ...history, kept[1] as Message] });
  const short = await ask(page, { ...request, messages: kept });
  const context = long.usage.extra.context;
  expect(context).toMatchObject({ policy: "truncate", window: 256 });
  if (context?.dropped_messages === history.length) expect(long.text).toBe(short.text);
  expect(context?.dropped_messages).toBeGreaterThan(20);
  expect(long.usage.prompt_tokens + (long.usage.prompt_tokens_details?.cached_tokens ?? 0)).toBeLessThanOrEqual(66);
});

test("under `error` web-llm's error comes, with its words and numbers, and the next request works", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 128, hearth: { overflowPolicy: "error" } } });
  const failure = await askFailure(page, { messages: [{ role: "user", content: "many words ".repeat(200) }] });
  expect(failure.text).toMatch(
    /^ContextWindowSizeExceededError: Prompt tokens exceed context window size: number of prompt tokens: \d+; context window size: 128\n/,
  );
  expect(failure.details).toMatchObject({ contextWindowSize: 128 });
  const full = await ask(page, { ...HELLO, max_tokens: 1_000 });
  expect(full.finish).toBe("length");
  expect(full.usage.extra.context?.used).toBe(128);
});

test("a request may have a policy of its own", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 128 } });
  const messages = Array.from({ length: 41 }, (_, index) => ({ role: index % 2 ? "assistant" : "user", content: `some words ${index}` }));
  const refused = await askFailure(page, { messages, max_tokens: 4, hearth: { overflowPolicy: "error" } });
  expect(refused.name).toBe("ContextWindowSizeExceededError");
  const answered = await ask(page, { messages, max_tokens: 4, ignore_eos: true });
  expect(answered.usage.extra.context).toMatchObject({ policy: "truncate" });
});

test("only a last message that cannot fit at all is an error under `auto`, with the numbers", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 128 } });
  const failure = await askFailure(page, { messages: [{ role: "user", content: "word ".repeat(600) }] });
  expect(failure.name).toBe("ContextWindowSizeExceededError");
  expect(failure.details).toMatchObject({ contextWindowSize: 128 });
  expect(failure.details?.["promptTokens"]).toBeGreaterThan(128);
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("web-llm's sliding window goes on past the window, without an end and without a limit for the prompt", async ({ site }) => {
  const sliding = { context_window_size: -1, sliding_window_size: 128, attention_sink_size: 16 };
  const page = await site.openWith("hearth", { url: TINY, chatOpts: sliding });
  const request = { messages: [{ role: "user", content: "hello there" }], max_tokens: 400, ignore_eos: true };
  const first = await stream(page, request);
  expect(first).toMatchObject({ finish: "length", usage: { completion_tokens: 400 } });
  expect(first.usage?.extra.context).toMatchObject({ window: 128, policy: "sliding" });
  expect(first.usage?.extra.context?.dropped_tokens).toBeGreaterThanOrEqual(400 - 128);
  expect((await stream(page, request)).text, "the same each time").toBe(first.text);
  const slid = (await contextEvents(page)).filter(({ type, phase }) => type === "overflow" && phase === "decode");
  expect(slid.length).toBeGreaterThan(0);
  const long = await ask(page, { messages: [{ role: "user", content: "many words ".repeat(300) }], max_tokens: 4, ignore_eos: true });
  expect(long.usage.extra.context?.dropped_tokens).toBeGreaterThan(100);
  const held = await page.evaluate(() => engine.contextUsage());
  expect(held.pagesHeld).toBe(0);
});

test("the real model stays itself while its window slides", async ({ site }) => {
  test.setTimeout(120_000);
  const chatOpts = { contextWindowSize: -1, slidingWindowSize: 128, attentionSinkSize: 16 };
  const page = await site.openWith("hearth", { url: SMOLLM2, id: "SmolLM2", chatOpts });
  const messages = [{ role: "user", content: "Tell me a very long story about a lighthouse keeper and the sea." }];
  const { text, usage } = await stream(page, { messages, max_tokens: 240, ignore_eos: true, frequency_penalty: 0.5 });
  expect(usage?.extra.context?.dropped_tokens).toBeGreaterThan(100);
  // What breaks when positions or sinks are wrong is that the same token comes over and over, or none of the letters.
  const words = text.slice(-400).toLowerCase().match(/[a-z]{2,}/g) ?? [];
  expect(new Set(words).size, text).toBeGreaterThan(25);
});

test("`summarize` puts an extract in the place of what it drops, within the window", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 500 } });
  const messages = Array.from({ length: 61 }, (_, index) => ({ role: index % 2 ? "assistant" : "user", content: `Sentence number ${index} is here.` }));
  const request = { messages: [SYSTEM, ...messages], max_tokens: 4, ignore_eos: true };
  const contextOf = async (overflowPolicy: string): Promise<ContextReport> => {
    const { usage } = await ask(page, { ...request, hearth: { overflowPolicy } });
    return usage.extra.context as ContextReport;
  };
  const [truncated, summarized] = [await contextOf("truncate"), await contextOf("summarize")];
  expect(summarized).toMatchObject({ policy: "summarize", window: 500 });
  expect(summarized.used).toBeLessThanOrEqual(500);
  expect(truncated.policy).toBe("truncate");
  // The prompt has the extract on top of what is kept.
  const tokensOfDropped = (summarized.dropped_tokens ?? 0) - (truncated.dropped_tokens ?? 0);
  expect(summarized.used).toBeGreaterThan(truncated.used - tokensOfDropped + 16);
  expect((await contextEvents(page)).filter(({ type }) => type === "overflow").at(-1)).toMatchObject({ policy: "summarize", phase: "prefill" });
});

test("a page can measure before it asks, and see its room after", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 200, hearth: { nearLimitFraction: 0.5 } } });
  const messages = [{ role: "user", content: "how long is this?" }];
  const measured = await page.evaluate((given) => engine.measure(given), messages);
  const { usage } = await ask(page, { messages, max_tokens: 3, ignore_eos: true });
  expect(usage.prompt_tokens + (usage.prompt_tokens_details?.cached_tokens ?? 0)).toBe(measured);
  expect(await page.evaluate(() => engine.measure(""))).toBe(0);
  const room = await page.evaluate(() => engine.contextUsage());
  expect(room).toMatchObject({ used: measured + 3, window: 200, pagesHeld: 0 });
  expect(room.budget).toBeGreaterThanOrEqual(200);
  const near = async (): Promise<number> => (await contextEvents(page)).filter(({ type }) => type === "near-limit").length;
  expect(await near()).toBe(0);
  await ask(page, { messages, max_tokens: 140, ignore_eos: true });
  expect(await near()).toBe(1);
});
