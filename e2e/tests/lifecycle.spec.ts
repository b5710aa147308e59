// What the browser and the person do with a tab: looking away, leaving it alone, freezing it.

import { ask, contextEvents, expect, HELLO, poolUsage, stream, test, TINY } from "../support/site.ts";

const question = (text: string): object => ({ ...HELLO, messages: [{ role: "user", content: text.repeat(6) }] });

test("a silent tab's pages go back after `idleEvictSeconds`, another's stay, and the next request is answered as before", async ({ site }) => {
  const keeping = await site.openWith("hearth", { url: TINY });
  const silent = await site.openWith("hearth", { url: TINY, chatOpts: { hearth: { idleEvictSeconds: 1 } } });
  const own = question("a question that is long enough to fill some pages of the cache ");
  const others = question("something that another tab wants to know and that is no shorter ");
  const before = await ask(silent, own);
  await ask(keeping, others);
  const cachedOf = (): Promise<number> => silent.evaluate(async () => (await engine.contextUsage()).cachedTokens);
  expect(await cachedOf()).toBeGreaterThan(48);
  await expect.poll(cachedOf, { timeout: 10_000 }).toBe(0);
  expect(await contextEvents(silent)).toContainEqual(expect.objectContaining({ type: "evicted", reason: "idle" }));
  expect((await contextEvents(keeping)).filter(({ type }) => type === "evicted")).toEqual([]);
  expect((await ask(keeping, others)).usage.prompt_tokens_details?.cached_tokens).toBeGreaterThan(48);
  const after = await ask(silent, own);
  expect(after.text).toBe(before.text);
});

test("a frozen tab's reply gives way, and goes on with the same text when the tab is back", async ({ site }) => {
  const staying = await site.openWith("hearth", { url: TINY });
  const freezing = await site.openWith("hearth", { url: TINY });
  const request = { ...HELLO, max_tokens: 440 };
  const expected = await stream(freezing, request);
  await freezing.evaluate((given) => {
    (window as { streaming?: unknown }).streaming = tab.stream(given);
  }, request);
  await expect.poll(async () => (await poolUsage(staying)).running).toBe(1);
  // A browser that is driven by tests freezes no page; this is how a page learns of it.
  const lifecycle = (type: "freeze" | "resume"): Promise<boolean> => freezing.evaluate((given) => document.dispatchEvent(new Event(given)), type);
  await lifecycle("freeze");
  const stateOf = (): Promise<string | undefined> => staying.evaluate(async () => (await engine.tabs()).find(({ own }) => !own)?.state);
  await expect.poll(stateOf).toBe("frozen");
  await expect.poll(async () => (await poolUsage(staying)).running).toBe(0);
  expect((await ask(staying, HELLO)).finish).toBe("length");
  expect(await poolUsage(staying)).toMatchObject({ running: 0, pagesHeld: 0 });
  await lifecycle("resume");
  const streamed = await freezing.evaluate(() => (window as { streaming?: Promise<{ text: string }> }).streaming);
  expect(streamed?.text).toBe(expected.text);
});
