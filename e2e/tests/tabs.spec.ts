// Tabs side by side: budgets, what they share, and that a tab which is gone leaves nothing behind.

import type { Page } from "@playwright/test";
import { ask, contextEvents, expect, HELLO, type Message, poolUsage, type PoolReport, SMOLLM2, stream, type Streamed, test, TINY } from "../support/site.ts";
import { article } from "../support/prose.ts";

const LONG = { ...HELLO, max_tokens: 4_000, ignore_eos: true };

test("two tabs with chats of 1,500 tokens take turns: a turn reads only what is new, ten times sooner than the whole", async ({ site }) => {
  test.setTimeout(300_000);
  const chatOpts = { context_window_size: 2_048, hearth: { kvCacheTokens: 4_608 } };
  const tabs = [];
  for (const seed of [1, 2]) {
    const page = await site.openWith("hearth", { url: SMOLLM2, id: "SmolLM2", chatOpts });
    const messages: Message[] = [{ role: "user", content: `${await cut(page, article(seed, 2_000), 1_560)}\n\nWhat is this about?` }];
    tabs.push({ page, messages });
  }
  const turn = async (page: Page, messages: Message[]): Promise<Streamed & { firstMs: number }> => {
    const startedMs = Date.now();
    const streamed = await stream(page, { messages, max_tokens: 6, ignore_eos: true });
    messages.push({ role: "assistant", content: streamed.text }, { role: "user", content: "And then?" });
    return { ...streamed, firstMs: (streamed.stampsMs[0] ?? Infinity) - startedMs };
  };
  const first = [];
  for (const { page, messages } of tabs) first.push(await turn(page, messages));
  for (const [index, { page, messages }] of tabs.entries()) {
    const { usage, firstMs } = await turn(page, messages);
    const full = first[index];
    expect(full?.usage?.prompt_tokens).toBeGreaterThan(1_400);
    expect(usage?.prompt_tokens).toBeLessThan(60);
    expect(usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(1_400);
    console.log(`tab ${index}: first turn after ${full?.firstMs.toFixed(0)} ms, second after ${firstMs.toFixed(0)} ms`);
    expect(firstMs * 10).toBeLessThan(full?.firstMs ?? 0);
  }
});

/** The beginning of a text, of so many tokens. */
async function cut(page: Page, text: string, tokens: number): Promise<string> {
  const pieces = await page.evaluate(([given, maxTokens]) => engine.documents.chunk(given, { maxTokens }), [text, tokens] as const);
  return pieces[0]?.text ?? "";
}

test("fifty tabs that are closed in mid-stream leave no page held", async ({ site }) => {
  test.setTimeout(240_000);
  const staying = await site.openWith("hearth", { url: TINY });
  const budgetOf = (): Promise<number> => staying.evaluate(async () => (await engine.contextUsage()).budget);
  const alone = await budgetOf();
  for (let round = 0; round < 5; round += 1) {
    const pages = [];
    for (let index = 0; index < 10; index += 1) pages.push(await site.openWith("hearth", { url: TINY }));
    await Promise.all(pages.map((page, index) => begin(page, `tab ${round} ${index}`)));
    expect((await poolUsage(staying)).running).toBeGreaterThan(0);
    const closedMs = Date.now();
    await Promise.all(pages.map((page) => page.close()));
    await expect.poll(() => heldPages(staying), { intervals: [50], timeout: 5_000 }).toBe(0);
    console.log(`round ${round}: pages back ${Date.now() - closedMs} ms after ten tabs began to close`);
  }
  expect(await poolUsage(staying)).toMatchObject({ running: 0, waiting: 0, pagesHeld: 0 });
  await expect.poll(() => staying.evaluate(async () => (await engine.tabs()).length)).toBe(1);
  expect(await budgetOf(), "nobody who is gone has a share").toBe(alone);
  expect(await ask(staying, HELLO)).toMatchObject({ finish: "length" });
});

test("a tab that crashes or navigates away gives its pages back within two seconds", async ({ site }) => {
  const staying = await site.openWith("hearth", { url: TINY });
  const crashing = await site.openWith("hearth", { url: TINY });
  await begin(crashing, "crash");
  const session = await crashing.context().newCDPSession(crashing);
  session.send("Page.crash").catch(() => undefined);
  await expect.poll(() => heldPages(staying), { intervals: [50], timeout: 2_000 }).toBe(0);
  const leaving = await site.openWith("hearth", { url: TINY });
  await begin(leaving, "navigate");
  await leaving.goto("about:blank");
  await expect.poll(() => heldPages(staying), { intervals: [50], timeout: 2_000 }).toBe(0);
});

test("a stock web-llm tab that is closed gives its pages back within two seconds", async ({ site }) => {
  const staying = await site.openWith("hearth", { url: TINY });
  const leaving = await site.openWith("stock", { url: TINY });
  await begin(leaving, "stock");
  await leaving.close();
  const closedMs = Date.now();
  await expect.poll(() => heldPages(staying), { intervals: [50], timeout: 2_000 }).toBe(0);
  console.log(`a stock tab's pages are back after ${Date.now() - closedMs} ms`);
});

/** Starts a reply that goes on for long, and returns when its first text is there. */
async function begin(page: Page, text: string): Promise<void> {
  await page.evaluate(
    async ([request, content]) => {
      const chunks = await engine.chat.completions.create({ ...request, messages: [{ role: "user", content }], stream: true });
      await chunks.next();
      (window as { kept?: unknown }).kept = chunks;
    },
    [LONG, text] as const,
  );
}

const heldPages = async (page: Page): Promise<number> => {
  const { pages } = await page.evaluate(() => engine.pool());
  return pages.filter(({ state }) => state === "held").length;
};

test("a fixed budget is kept, also by several requests at once, and fair shares follow as tabs come and go", async ({ site }) => {
  const chatOpts = { context_window_size: 256, hearth: { kvCacheTokens: 2_048, tabBudgetTokens: 320 } };
  const small = await site.openWith("hearth", { url: TINY, chatOpts });
  const own = await small.evaluate(async () => (await engine.tabs()).find((report) => report.own));
  expect(own?.budget).toBe(320);
  const requests = small.evaluate(
    (request) => Promise.all([1, 2, 3, 4].map((n) => tab.ask({ ...request, messages: [{ role: "user", content: `request ${n}` }] }))),
    { ...HELLO, max_tokens: 200 },
  );
  let most = 0;
  let done = false;
  void requests.finally(() => (done = true));
  while (!done) {
    const pool: PoolReport = await small.evaluate(() => engine.pool());
    most = Math.max(most, pool.pages.filter(({ state }) => state === "held").length);
  }
  expect((await requests).map(({ finish }) => finish)).toEqual(Array(4).fill("length"));
  expect(most).toBeGreaterThan(0);
  expect(most * 16).toBeLessThanOrEqual(320);

  const fair = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 256 } });
  const budgetOf = (page: Page): Promise<number | undefined> => page.evaluate(async () => (await engine.contextUsage()).budget);
  const alone = await budgetOf(fair);
  const another = await site.openWith("hearth", { url: TINY, chatOpts: { context_window_size: 256 } });
  await expect.poll(() => budgetOf(fair)).toBeLessThan(alone ?? 0);
  await expect.poll(async () => (await contextEvents(fair)).some(({ type }) => type === "budget-changed")).toBe(true);
  await another.close();
  await expect.poll(() => budgetOf(fair)).toBe(alone);
});

test("two tabs with different models work side by side, and neither unloads the other's", async ({ site }) => {
  test.setTimeout(120_000);
  const first = await site.openWith("hearth", { url: TINY, id: "tiny" });
  const alone = await ask(first, HELLO);
  const second = await site.openWith("hearth", { url: "/made/resolve/main/tiny.gguf", id: "other" });
  const [one, two] = await Promise.all([ask(first, HELLO), ask(second, HELLO)]);
  expect([one.reply.model, two.reply.model]).toEqual(["tiny", "other"]);
  expect([one.text, two.text]).toEqual([alone.text, alone.text]);
  expect((await poolUsage(first)).device.loads).toBe(2);
  await second.evaluate(() => engine.unload());
  expect((await ask(first, HELLO)).text).toBe(alone.text);
  expect((await poolUsage(first)).device.loads).toBe(2);
});

test("a second tab that loads the same model joins the first one's load and hears of its progress", async ({ site }) => {
  const [first, second] = [await site.open("hearth"), await site.open("hearth")];
  site.server.faults.set("/made/four-pieces.gguf", { delayMs: 5 });
  const load = (page: Page): Promise<number> => page.evaluate(() => tab.load({ url: "/made/four-pieces.gguf", id: "four" }));
  await Promise.all([load(first), load(second)]);
  for (const page of [first, second]) expect(await page.evaluate(() => tab.progress.length)).toBeGreaterThan(3);
  expect((await poolUsage(first)).device.loads).toBe(1);
});

test("a cache of bytes gives a sensible reply, and takes less memory", async ({ site }) => {
  test.setTimeout(120_000);
  const messages = [{ role: "user", content: "What is the capital of France?" }];
  const sizes: number[] = [];
  for (const kvCacheType of ["f16", "q8"]) {
    const chatOpts = { hearth: { kvCacheType, kvCacheTokens: 2_048 } };
    const page = await site.openWith("hearth", { url: SMOLLM2, id: kvCacheType, chatOpts });
    expect((await ask(page, { messages, max_tokens: 12 })).text).toContain("Paris");
    sizes.push(await page.evaluate(async () => (await engine.pool()) as PoolReport & { pageBytes: number }).then(({ pageBytes }) => pageBytes));
    await page.evaluate(() => engine.unload());
    await page.close();
  }
  expect((sizes[1] ?? 0) / (sizes[0] ?? 1)).toBeLessThan(0.6);
});

test("a branch shares what was said, and goes its own way", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const outcome = await page.evaluate(async (options) => {
    const start = [{ role: "user", content: "the beginning that both have in common, long enough for some pages of it ".repeat(3) }];
    const ahead = await engine.append(start);
    const first = await tab.ask({ ...options, messages: start });
    const history = [...start, { role: "assistant", content: first.text }];
    const branch = await engine.fork();
    const create = (where: typeof engine, content: string) =>
      where.chat.completions.create({ ...options, temperature: 0, messages: [...history, { role: "user", content }] }) as unknown as Promise<{
        choices: { message: { content: string } }[];
        usage: { prompt_tokens_details: { cached_tokens: number } };
      }>;
    const [left, right] = await Promise.all([create(engine, "left"), create(branch, "right")]);
    const texts = [await engine.getMessage(), await branch.getMessage()];
    branch.close();
    const after = await tab.ask({ ...options, messages: start });
    const text = ({ choices }: { choices: { message: { content: string } }[] }) => choices[0]?.message.content ?? "";
    return { ahead, first, texts, said: [text(left), text(right)], cached: [left, right].map(({ usage }) => usage.prompt_tokens_details.cached_tokens), after };
  }, { max_tokens: 12, ignore_eos: true });
  expect(outcome.ahead.tokens).toBeGreaterThan(48);
  expect(outcome.first.usage.prompt_tokens_details?.cached_tokens).toBeGreaterThanOrEqual(Math.floor(outcome.ahead.tokens / 16) * 16 - 16);
  for (const cached of outcome.cached) expect(cached).toBeGreaterThan(48);
  expect(outcome.texts).toEqual(outcome.said);
  expect(outcome.after.text).toBe(outcome.first.text);
});
