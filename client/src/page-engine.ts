/** The engine in the page: web-llm's `MLCEngine`, for apps that do not want a worker. */

import { EngineClient, Session } from "./engine.js";
import type { Endpoint } from "./transport.js";
import type { ChatOptions, MLCEngineConfig } from "./types.js";

/** Runs in this page. It has a model and a cache of its own; pages that should share use ServiceWorkerMLCEngine. */
export class MLCEngine extends EngineClient {
  constructor(engineConfig: MLCEngineConfig = {}) {
    const wasmUrl = new URL(engineConfig.hearth?.wasmUrl ?? new URL("./hearth_bg.wasm", import.meta.url), import.meta.url);
    super("MLCEngine", new Session(new LazyEndpoint(() => loadPageHost(wasmUrl)), engineConfig));
  }
}

/** Makes an engine in this page and loads `modelId` in it. */
export async function CreateMLCEngine(
  modelId: string | string[],
  engineConfig: MLCEngineConfig = {},
  chatOpts?: ChatOptions | ChatOptions[],
): Promise<MLCEngine> {
  const engine = new MLCEngine(engineConfig);
  try {
    await engine.reload(modelId, chatOpts);
  } catch (error) {
    engine.close();
    throw error;
  }
  return engine;
}

/** Kept apart so that pages that use the service worker never download the glue of the wasm. */
async function loadPageHost(wasmUrl: URL): Promise<Endpoint> {
  const { createPageEndpoint } = await import("./page-host.js");
  return createPageEndpoint(wasmUrl);
}

/** An endpoint that is made with the first message; the order of messages is kept. */
class LazyEndpoint implements Endpoint {
  readonly #load: () => Promise<Endpoint>;
  readonly #listeners = new Set<(data: unknown) => void>();
  #loading: Promise<Endpoint> | undefined;

  constructor(load: () => Promise<Endpoint>) {
    this.#load = load;
  }

  postMessage(message: unknown, transfer: Transferable[]): void {
    // A clone, as between threads: the caller may go on to change what it sent, and what cannot be cloned throws here.
    const sent = structuredClone({ message, transfer }, { transfer });
    void this.#endpoint().then(
      (endpoint) => endpoint.postMessage(sent.message, sent.transfer),
      (error: unknown) => this.#fail(sent.message, error),
    );
  }

  listen(listener: (data: unknown) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #endpoint(): Promise<Endpoint> {
    this.#loading ??= this.#load().then((endpoint) => {
      endpoint.listen((data) => this.#deliver(data));
      return endpoint;
    });
    return this.#loading;
  }

  #deliver(data: unknown): void {
    for (const listener of this.#listeners) listener(data);
  }

  /** The package's own files could not be loaded: the request that needed them says so. */
  #fail(message: unknown, error: unknown): void {
    this.#loading = undefined;
    if (typeof message !== "object" || message === null || !("uuid" in message)) return;
    const content = `EngineStartError: The engine's files could not be loaded: ${String(error)}.`;
    this.#deliver({ kind: "throw", uuid: message.uuid, content });
  }
}
