// The browser stops the worker, or takes the GPU away, in the middle of a stream: the text goes on as if nothing had happened.

import type { Page } from "@playwright/test";
import { ask, expect, HELLO, poolUsage, SMOLLM2, stopWorker, stream, type Streamed, test, TINY } from "../support/site.ts";

/** Remembers the worker's devices, and destroys them when a page says so: as a driver that is reset does. */
const DESTROYER = `
const devices = [];
const requestDevice = GPUAdapter.prototype.requestDevice;
GPUAdapter.prototype.requestDevice = async function (...given) {
  const device = await requestDevice.apply(this, given);
  devices.push(device);
  return device;
};
self.addEventListener("message", ({ data }) => {
  if (data?.test === "destroy") for (const device of devices.splice(0)) device.destroy();
})`;

const destroyDevice = (page: Page): Promise<void> =>
  page.evaluate(() => navigator.serviceWorker.controller?.postMessage({ test: "destroy" }));

/** Streams, and does something to the worker after so many chunks. */
async function disturb(page: Page, request: object, afterChunks: number, act: () => Promise<void>): Promise<Streamed> {
  const streaming = page.evaluate(
    async ([given, after]) => {
      const state = window as { chunksSeen?: number };
      state.chunksSeen = 0;
      const chunks = await engine.chat.completions.create({ temperature: 0, stream_options: { include_usage: true }, ...given, stream: true });
      async function* counted(): AsyncGenerator<Awaited<ReturnType<typeof chunks.next>>["value"]> {
        for await (const chunk of chunks) {
          state.chunksSeen = (state.chunksSeen ?? 0) + 1;
          yield chunk;
          // A page that is slow to read leaves the worker time to be stopped in mid-reply.
          if (state.chunksSeen === after) await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
      return tab.collect(counted());
    },
    [request, afterChunks] as const,
  );
  await page.waitForFunction((after) => ((window as { chunksSeen?: number }).chunksSeen ?? 0) >= after, afterChunks);
  await act();
  return streaming;
}

/** The same numbers each time. */
function* randomNumbers(seed: number, below: number): Generator<number> {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    yield Math.floor((state / 2 ** 32) * below);
  }
}

const REQUEST = { messages: [{ role: "user", content: "tell me everything" }], max_tokens: 440, ignore_eos: true };

test("a worker that is stopped twenty times in mid-stream: the text is the same each time, with one load and no network", async ({ site }) => {
  test.setTimeout(240_000);
  const page = await site.openWith("hearth", { url: TINY });
  const requests = [REQUEST, { ...REQUEST, temperature: 1, seed: 42 }];
  const undisturbed: Streamed[] = [];
  for (const request of requests) undisturbed.push(await stream(page, request));
  const moments = randomNumbers(20_261_124, 12);
  let numMidStream = 0;
  for (let round = 0; round < 20; round += 1) {
    const expected = undisturbed[round % 2];
    site.server.forget();
    const streamed = await disturb(page, requests[round % 2] ?? REQUEST, 1 + Number(moments.next().value), () => stopWorker(page));
    expect(streamed.text, `round ${round}`).toBe(expected?.text);
    expect(streamed.finish).toBe(expected?.finish);
    expect(streamed.usage?.completion_tokens).toBe(440);
    expect(streamed.ids).toHaveLength(1);
    const { device } = await poolUsage(page);
    expect(device.loads, "loads of this run of the worker").toBe(1);
    expect(site.server.bytesOf(".gguf") + site.server.bytesOf(".wasm"), "bytes from the network").toBe(0);
    numMidStream += 1;
  }
  expect(numMidStream).toBe(20);
});

test("the real model's stream survives a stopped worker, and its chat is not read again from the start", async ({ site }) => {
  test.setTimeout(180_000);
  const page = await site.openWith("hearth", { url: SMOLLM2, id: "SmolLM2" });
  const request = { messages: [{ role: "user", content: "Name the planets of the solar system." }], max_tokens: 40, ignore_eos: true };
  const expected = await stream(page, request);
  for (const after of [3, 17]) {
    expect((await disturb(page, request, after, () => stopWorker(page))).text).toBe(expected.text);
    expect((await poolUsage(page)).device.loads).toBe(1);
  }
});

test("several tabs stream while the worker is stopped: all go on, and the model is loaded once", async ({ site }) => {
  test.setTimeout(120_000);
  const pages = [];
  for (let index = 0; index < 3; index += 1) pages.push(await site.openWith("hearth", { url: TINY }));
  const request = (index: number): object => ({ ...REQUEST, messages: [{ role: "user", content: `story ${index}` }] });
  const expected = [];
  for (const [index, page] of pages.entries()) expected.push((await stream(page, request(index))).text);
  const [first, ...others] = pages as [Page, ...Page[]];
  const streaming = others.map((page, index) => stream(page, request(index + 1)));
  const texts = [(await disturb(first, request(0), 3, () => stopWorker(first))).text];
  for (const streamed of await Promise.all(streaming)) texts.push(streamed.text);
  expect(texts).toEqual(expected);
  expect((await poolUsage(first)).device.loads).toBe(1);
});

test("a whole reply survives a stopped worker", async ({ site }) => {
  const page = await site.openWith("hearth", { url: TINY });
  const expected = await ask(page, REQUEST);
  const reply = ask(page, REQUEST);
  await expect.poll(async () => (await poolUsage(page)).running).toBe(1);
  await stopWorker(page);
  expect((await reply).text).toBe(expected.text);
});

for (const client of ["hearth", "stock"] as const) {
  test(`a GPU that is lost in mid-stream: the stream of a ${client} page goes on with the same text`, async ({ site }) => {
    test.setTimeout(120_000);
    await site.beforeWorker(DESTROYER);
    const page = await site.openWith(client, { url: TINY });
    const expected = await stream(page, REQUEST);
    for (const after of [1, 5]) {
      const streamed = await disturb(page, REQUEST, after, () => destroyDevice(page));
      expect(streamed).toMatchObject({ text: expected.text, finish: expected.finish });
    }
    expect((await poolUsage(page)).device.loads).toBe(3);
    const whole = ask(page, REQUEST);
    await expect.poll(async () => (await poolUsage(page)).running).toBe(1);
    await destroyDevice(page);
    expect((await whole).text).toBe(expected.text);
  });
}

test("a stock page's next request after a stop needs no reload, and what was said last is still known", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const before = await ask(page, HELLO);
  await stopWorker(page);
  expect(await page.evaluate(() => engine.getMessage())).toBe(before.text);
  expect((await ask(page, HELLO)).text).toBe(before.text);
});

test("a long chat comes back from the store after a stop, instead of being read again", async ({ site }) => {
  test.setTimeout(180_000);
  const page = await site.openWith("hearth", { url: SMOLLM2, id: "SmolLM2" });
  const messages = [{ role: "user", content: `${"The harbour was quiet and the boats lay still. ".repeat(30)}What was quiet?` }];
  const first = await stream(page, { messages, max_tokens: 6, ignore_eos: true });
  expect(first.usage?.prompt_tokens).toBeGreaterThan(300);
  await expect.poll(() => storedPages(page), { timeout: 30_000 }).toBeGreaterThan(15);
  await stopWorker(page);
  const again = await stream(page, { messages, max_tokens: 6, ignore_eos: true });
  expect(again.text).toBe(first.text);
  expect(again.usage?.prompt_tokens_details?.cached_tokens).toBeGreaterThan(250);
  const restored = await page.evaluate(() => tab.events.find(({ type }) => type === "restored"));
  expect(restored).toMatchObject({ source: "store" });
});

function storedPages(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve, reject) => {
        const opening = indexedDB.open("hearth");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const database = opening.result;
          const counting = database.transaction("pages").objectStore("pages").count();
          counting.onsuccess = () => (database.close(), resolve(counting.result));
          counting.onerror = () => reject(counting.error);
        };
      }),
  );
}
