// Weights come once from the network, then from IndexedDB; what is missing or damaged there is fetched, and nothing else.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type Page } from "@playwright/test";
import { chromiumPath, FLAGS } from "../support/browser.mjs";
import { CHUNK_BYTES, MADE_MODELS } from "../support/models.mjs";
import { ask, expect, FOUR_PIECES, HELLO, load, loadFailure, progressTexts, Site, stopWorker, test, TINY } from "../support/site.ts";
import { TestServer } from "../server.mjs";

const LEN_BYTES = MADE_MODELS.get(FOUR_PIECES)?.length ?? 0;
const NUM_CHUNKS = Math.ceil(LEN_BYTES / CHUNK_BYTES);

/** What the store holds of the model: its manifest, and the lengths of its pieces by index. */
function stored(page: Page): Promise<{ manifest: { complete: boolean } | undefined; chunks: [number, number][] }> {
  return page.evaluate(async (path) => {
    const url = new URL(path, location.href).href;
    const database = await opened();
    const transaction = database.transaction(["manifests", "chunks"]);
    const range = IDBKeyRange.bound([url, 0], [url, 2 ** 32 - 1]);
    const [manifest, keys, values] = await Promise.all([
      done(transaction.objectStore("manifests").get(url)),
      done(transaction.objectStore("chunks").getAllKeys(range)),
      done(transaction.objectStore("chunks").getAll(range)),
    ]);
    database.close();
    const lengths = (values as { bytes: ArrayBuffer }[]).map(({ bytes }) => bytes.byteLength);
    return { manifest, chunks: (keys as [string, number][]).map(([, index], at) => [index, lengths[at] ?? 0] as [number, number]) };

    function opened(): Promise<IDBDatabase> {
      return done(indexedDB.open("hearth"));
    }
    function done<T>(request: IDBRequest<T>): Promise<T> {
      return new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
      });
    }
  }, FOUR_PIECES);
}

/** Changes one byte of a stored piece, or removes the piece. */
function damage(page: Page, index: number, how: "flip" | "delete"): Promise<void> {
  return page.evaluate(async ([path, at, what]) => {
    const key = [new URL(path, location.href).href, at];
    const database = await new Promise<IDBDatabase>((resolve, reject) => {
      const request = indexedDB.open("hearth");
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
    await new Promise<void>((resolve, reject) => {
      const transaction = database.transaction("chunks", "readwrite");
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      const store = transaction.objectStore("chunks");
      const request = store.get(key);
      request.onsuccess = () => {
        if (what === "delete") return void store.delete(key);
        const bytes = new Uint8Array(request.result.bytes);
        bytes[1_000] = 255 - (bytes[1_000] ?? 0);
        store.put(request.result, key);
      };
    });
    database.close();
  }, [FOUR_PIECES, index, how] as const);
}

/** The worker forgets all that it has in memory, and the page starts anew. */
async function visitAgain(page: Page): Promise<void> {
  await page.goto(`${new URL(page.url()).origin}/index.html`);
  await stopWorker(page);
  await page.goto(page.url().replace("index.html", "hearth.html"));
  await page.evaluate(() => ready);
}

test("everything is stored in pieces, and the manifest says so at the end", async ({ site }) => {
  const page = await site.openWith("hearth", { url: FOUR_PIECES });
  const { manifest, chunks } = await stored(page);
  expect(manifest).toMatchObject({ complete: true, lenBytes: LEN_BYTES, chunkBytes: CHUNK_BYTES });
  expect(chunks.map(([index]) => index)).toEqual([0, 1, 2, 3]);
  expect(chunks.reduce((sum, [, length]) => sum + length, 0)).toBe(LEN_BYTES);
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(LEN_BYTES);
});

test("a second visit with the same profile downloads no weight byte", async () => {
  const profile = await mkdtemp(join(tmpdir(), "hearth-profile-"));
  const server = await new TestServer().start();
  const texts = [];
  try {
    for (const expectedBytes of [LEN_BYTES, 0]) {
      const context = await chromium.launchPersistentContext(profile, { executablePath: chromiumPath(), args: FLAGS });
      try {
        server.forget();
        const page = await new Site(server, context).openWith("stock", { url: FOUR_PIECES });
        expect(server.bytesOf(FOUR_PIECES)).toBe(expectedBytes);
        texts.push((await ask(page, HELLO)).text);
      } finally {
        await context.close();
      }
    }
  } finally {
    await server.stop();
    await rm(profile, { recursive: true, force: true });
  }
  expect(texts[1]).toBe(texts[0]);
});

test("a damaged piece is fetched again, alone", async ({ site }) => {
  const page = await site.openWith("hearth", { url: FOUR_PIECES });
  const { text } = await ask(page, HELLO);
  await damage(page, 1, "flip");
  await visitAgain(page);
  site.server.forget();
  await load(page, { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(CHUNK_BYTES);
  expect((await ask(page, HELLO)).text).toBe(text);

  await visitAgain(page);
  site.server.forget();
  await load(page, { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES), "the mended piece was stored").toBe(0);
});

test("a piece that is gone is fetched again, alone", async ({ site }) => {
  const page = await site.openWith("hearth", { url: FOUR_PIECES });
  await damage(page, NUM_CHUNKS - 1, "delete");
  await visitAgain(page);
  site.server.forget();
  await load(page, { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(LEN_BYTES - (NUM_CHUNKS - 1) * CHUNK_BYTES);
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("after a download that broke off, the next one fetches only what is missing", async ({ site }) => {
  site.server.faults.set(FOUR_PIECES, { stopAfter: CHUNK_BYTES + 100_000 });
  const page = await site.open("hearth");
  const failure = await loadFailure(page, { url: FOUR_PIECES });
  expect(failure).toMatchObject({ name: "ModelDownloadError" });
  expect(failure.message).toContain("what has arrived is kept");
  expect((await stored(page)).chunks).toEqual([[0, CHUNK_BYTES]]);

  site.server.faults.clear();
  site.server.forget();
  await load(page, { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(LEN_BYTES - CHUNK_BYTES);
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("a connection that breaks once is nothing that the page notices", async ({ site }) => {
  site.server.faults.set(FOUR_PIECES, { stopAfter: 3_000_000, times: 1 });
  const page = await site.openWith("hearth", { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(LEN_BYTES + 3_000_000);
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("a server without ranges sends the file once, and it is stored all the same", async ({ site }) => {
  site.server.faults.set(FOUR_PIECES, { noRange: true });
  const page = await site.openWith("hearth", { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(LEN_BYTES);
  await visitAgain(page);
  site.server.forget();
  await load(page, { url: FOUR_PIECES });
  expect(site.server.bytesOf(FOUR_PIECES)).toBe(0);
});

test("`/resolve/main/` may be there or not, on the server and in the record", async ({ site }) => {
  const page = await site.openWith("hearth", { url: "/made/resolve/main/tiny.gguf", id: "with" });
  site.server.faults.set("/made/resolve/main/tiny.gguf", { status: 404 });
  await load(page, { url: "/made/resolve/main/tiny.gguf?again", id: "fallback" });
  site.server.faults.clear();
  site.server.faults.set(TINY, { status: 404 });
  await load(page, { url: TINY, id: "without" });
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
});

test("without room the model runs and is not kept, and the progress says why with numbers", async ({ site }) => {
  await site.beforeWorker("navigator.storage.estimate = async () => ({ quota: 10 * 2 ** 20, usage: 2 ** 20 })");
  const page = await site.openWith("hearth", { url: FOUR_PIECES });
  expect((await progressTexts(page)).join("\n")).toMatch(
    /not kept for the next visit: .*the model needs 26 MB, this site may store 9 MB more of its 10 MB/,
  );
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
  expect(await stored(page)).toMatchObject({ manifest: undefined, chunks: [] });
});

test("a store that turns out to be full in the middle ends caching, not the load, and keeps nothing", async ({ site }) => {
  const page = await site.open("hearth");
  const session = await site.context.newCDPSession(page);
  // Enough for the first pieces. The browser's own estimate does not show this limit.
  await session.send("Storage.overrideQuotaForOrigin", { origin: site.server.origin, quotaSize: 12 * 2 ** 20 });
  await load(page, { url: FOUR_PIECES });
  expect((await progressTexts(page)).join("\n")).toMatch(/not kept for the next visit: .*full/);
  expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
  expect(await stored(page)).toMatchObject({ manifest: undefined, chunks: [] });
});
