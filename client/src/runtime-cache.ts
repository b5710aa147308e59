/**
 * The engine's wasm, kept so that the worker starts without network. Owns one entry of the origin's Cache API, under the URL
 * with the hash of the content: another build is another entry. It verifies nothing else; where there is no Cache API, or no
 * room, the network is used every time.
 */

const CACHE_NAME = "hearth-runtime";

/** One build's wasm. */
export class RuntimeCache {
  /** With the hash of the content, so that no cache on the way gives another build's. */
  readonly url: URL;
  readonly #caches: CacheStorage | undefined;

  constructor(wasmUrl: URL, contentHash: string, caches: CacheStorage | undefined = globalThis.caches) {
    this.url = new URL(wasmUrl);
    this.url.searchParams.set("v", contentHash);
    this.#caches = caches;
  }

  /** The wasm, from the cache when it is there. Rejects when it is neither there nor to be fetched. */
  async open(): Promise<Response> {
    const cache = await this.#open();
    const kept = await cache?.match(this.url.href).catch(() => undefined);
    if (kept !== undefined) return kept;
    const response = await fetch(this.url);
    if (!response.ok) throw new TypeError(`the server answered with status ${response.status}`);
    await keep(cache, this.url, response.clone());
    return response;
  }

  /** Fetches the wasm unless it is there. Never rejects: whoever needs it tries again, and says why it failed. */
  async store(): Promise<void> {
    await this.open().catch(() => undefined);
  }

  /** Deletes what earlier builds left under the same path; other workers of the origin keep theirs. */
  async deleteOthers(): Promise<void> {
    const cache = await this.#open();
    const kept = (await cache?.keys().catch(() => [])) ?? [];
    await Promise.all(
      kept.map(async ({ url }) => {
        const isEarlier = withoutQuery(url) === withoutQuery(this.url.href) && url !== this.url.href;
        if (isEarlier) await cache?.delete(url).catch(() => false);
      }),
    );
  }

  /** Undefined where there is none: insecure contexts, some private windows, forbidden storage. */
  async #open(): Promise<Cache | undefined> {
    try {
      return await this.#caches?.open(CACHE_NAME);
    } catch {
      return undefined;
    }
  }
}

/** Full storage is no reason not to start. */
async function keep(cache: Cache | undefined, url: URL, response: Response): Promise<void> {
  await cache?.put(url.href, response).catch(() => undefined);
}

function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}
