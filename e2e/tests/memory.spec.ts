// A device with less memory than wanted: the pool is made smaller or stays as it is, and nobody gets an error.

import type { Page } from "@playwright/test";
import { ask, contextEvents, expect, HELLO, poolUsage, stream, test, TINY } from "../support/site.ts";

/**
 * Refuses arenas of the cache, in the words of the standard: as many as a page says, or all that are larger than what there is.
 * What is real is everything but the refusal.
 */
const SHORT_OF_MEMORY = `
let numToRefuse = 0;
let maxBytes = Infinity;
let isRefused = false;
const filters = [];
const { createBuffer, pushErrorScope, popErrorScope } = GPUDevice.prototype;
GPUDevice.prototype.createBuffer = function (descriptor) {
  if (/^layer 0 kv$/.test(descriptor.label ?? "") && (descriptor.size > maxBytes || numToRefuse > 0)) {
    numToRefuse -= 1;
    isRefused = true;
  }
  return createBuffer.call(this, descriptor);
};
GPUDevice.prototype.pushErrorScope = function (filter) {
  filters.push(filter);
  return pushErrorScope.call(this, filter);
};
GPUDevice.prototype.popErrorScope = function () {
  const error = popErrorScope.call(this);
  if (filters.pop() !== "out-of-memory" || !isRefused) return error;
  isRefused = false;
  return error.then(() => new GPUOutOfMemoryError("no room, says the test"));
};
self.addEventListener("message", ({ data }) => {
  if (data?.test === "refuse") ({ numToRefuse = 0, maxBytes = Infinity } = data);
})`;

const refuse = (page: Page, how: { numToRefuse?: number; maxBytes?: number }): Promise<void> =>
  page.evaluate((given) => navigator.serviceWorker.controller?.postMessage({ test: "refuse", ...given }), how);

const LONG = { ...HELLO, max_tokens: 200 };
const story = (name: string): object => ({ ...LONG, messages: [{ role: "user", content: `a story of ${name} ` .repeat(5) }] });
const WINDOW = { context_window_size: 256 };

test("a model whose cache finds no room is loaded with a smaller one, and answers", async ({ site }) => {
  await site.beforeWorker(SHORT_OF_MEMORY);
  const page = await site.open("hearth");
  const chatOpts = { context_window_size: 1_024, hearth: { kvCacheTokens: 1_024 } };
  // Once it is tried as it is after others have made room, and then with a quarter.
  await refuse(page, { numToRefuse: 2 });
  await page.evaluate((given) => tab.load(given), { url: TINY, chatOpts });
  expect((await poolUsage(page)).pagesTotal).toBe(16);
  expect(await ask(page, LONG)).toMatchObject({ finish: "length", usage: { completion_tokens: 200 } });
});

test("a pool that cannot grow serves all tabs in turns, with the same texts, and says what each has now", async ({ site }) => {
  await site.beforeWorker(SHORT_OF_MEMORY);
  const chatOpts = { ...WINDOW, hearth: { kvCacheTokens: 2_048 } };
  const pages = [];
  for (let index = 0; index < 3; index += 1) pages.push(await site.openWith("hearth", { url: TINY, chatOpts }));
  const [first] = pages as [Page];
  const expected = [];
  for (const [index, page] of pages.entries()) expected.push((await ask(page, { ...story(`tab ${index}`), max_tokens: 20 })).text);
  const { pagesTotal } = await poolUsage(first);
  await refuse(first, { maxBytes: 0 });
  const texts = (await Promise.all(pages.map((page, index) => stream(page, story(`tab ${index}`))))).map(({ text, finish }) => ({ text, finish }));
  for (const [index, { text, finish }] of texts.entries()) {
    expect(finish).toBe("length");
    expect(text.startsWith(expected[index] ?? "?")).toBe(true);
  }
  expect((await poolUsage(first)).pagesTotal).toBe(pagesTotal);
  expect((await contextEvents(first)).map(({ type }) => type)).toContain("budget-changed");
  await refuse(first, {});
  expect((await ask(first, HELLO)).finish).toBe("length");
});

test("a second model that finds no room gets what the first does not use", async ({ site }) => {
  await site.beforeWorker(SHORT_OF_MEMORY);
  const chatOpts = { ...WINDOW, hearth: { kvCacheTokens: 2_048 } };
  const first = await site.openWith("hearth", { url: TINY, id: "tiny", chatOpts });
  const text = (await ask(first, HELLO)).text;
  // Its pool grows for several conversations at once.
  await first.evaluate((given) => Promise.all(given.map((request) => tab.ask(request))), ["a", "b", "c", "d"].map(story));
  const grown = (await poolUsage(first)).pagesTotal;
  const second = await site.open("hearth");
  await refuse(second, { numToRefuse: 1 });
  await second.evaluate((given) => tab.load(given), { url: "/made/resolve/main/tiny.gguf", id: "other", chatOpts });
  expect((await poolUsage(first)).pagesTotal).toBeLessThan(grown);
  const [one, two] = await Promise.all([ask(first, HELLO), ask(second, HELLO)]);
  expect([one.text, two.text]).toEqual([text, text]);
});
