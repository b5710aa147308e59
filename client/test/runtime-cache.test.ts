import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { RuntimeCache } from "../src/runtime-cache.js";

const WASM = new URL("https://x/hearth/hearth_bg.wasm");

/** A Cache API with one cache, and with what can go wrong in it. */
class FakeCaches {
  readonly entries = new Map<string, Response>();
  readonly opened: string[] = [];
  failure: { open?: Error; put?: Error } = {};

  open(name: string): Promise<unknown> {
    this.opened.push(name);
    if (this.failure.open !== undefined) return Promise.reject(this.failure.open);
    return Promise.resolve({
      match: async (url: string) => this.entries.get(url)?.clone(),
      put: async (url: string, response: Response) => {
        if (this.failure.put !== undefined) throw this.failure.put;
        this.entries.set(url, response);
      },
      delete: async (url: string) => this.entries.delete(url),
      keys: async () => [...this.entries.keys()].map((url) => ({ url })),
    });
  }
}

let caches: FakeCaches;
let fetched: string[];
let answer: () => Promise<Response>;

beforeEach(() => {
  caches = new FakeCaches();
  fetched = [];
  answer = () => Promise.resolve(new Response("wasm"));
  mock.method(globalThis, "fetch", (url: URL) => (fetched.push(url.href), answer()));
});
afterEach(() => mock.restoreAll());

const cacheOf = (hash: string, storage: FakeCaches | undefined = caches): RuntimeCache =>
  new RuntimeCache(WASM, hash, storage as unknown as CacheStorage | undefined);

test("after_the_first_start_the_wasm_comes_without_network", async () => {
  await cacheOf("1").store();
  answer = () => Promise.reject(new TypeError("offline"));
  assert.equal(await (await cacheOf("1").open()).text(), "wasm");
  assert.deepEqual([fetched, [...caches.entries.keys()], caches.opened[0]], [[`${WASM.href}?v=1`], [`${WASM.href}?v=1`], "hearth-runtime"]);
});

test("a_start_that_finds_nothing_kept_fetches_and_keeps_it", async () => {
  assert.equal(await (await cacheOf("1").open()).text(), "wasm");
  assert.equal(await (await cacheOf("1").open()).text(), "wasm");
  assert.equal(fetched.length, 1);
});

test("another_build_is_fetched_though_an_earlier_one_is_kept", async () => {
  await cacheOf("1").store();
  answer = () => Promise.resolve(new Response("newer"));
  assert.equal(await (await cacheOf("2").open()).text(), "newer");
});

test("activation_deletes_earlier_builds_of_the_same_path_only", async () => {
  const other = "https://x/elsewhere/hearth_bg.wasm?v=1";
  caches.entries.set(other, new Response("theirs"));
  await cacheOf("1").store();
  await cacheOf("2").store();
  await cacheOf("2").deleteOthers();
  assert.deepEqual([...caches.entries.keys()], [other, `${WASM.href}?v=2`]);
});

test("a_missing_forbidden_or_full_cache_is_no_error", async () => {
  const forbidden = new FakeCaches();
  forbidden.failure = { open: new DOMException("no", "SecurityError") };
  const full = new FakeCaches();
  full.failure = { put: new DOMException("full", "QuotaExceededError") };
  const without = new RuntimeCache(WASM, "1", undefined);
  for (const cache of [without, cacheOf("1", forbidden), cacheOf("1", full)]) {
    await cache.store();
    assert.equal(await (await cache.open()).text(), "wasm");
    await cache.deleteOthers();
  }
  assert.equal(fetched.length, 6);
});

test("what_the_server_refuses_is_not_kept_and_installation_goes_on", async () => {
  answer = () => Promise.resolve(new Response("nothing here", { status: 404 }));
  await cacheOf("1").store();
  await assert.rejects(cacheOf("1").open(), /status 404/);
  assert.equal(caches.entries.size, 0);
});
