/** The engine in the service worker, shared by all pages of the origin: web-llm's class and factory for it. */

import { EngineClient, Session } from "./engine.js";
import { activeRegistration, findContainer, ServiceWorkerEndpoint } from "./service-worker.js";
import { thisTab } from "./tab.js";
import type { ChatOptions, MLCEngineConfig } from "./types.js";

/** How often a page pings, well under the 30 s after which a browser stops an idle service worker. */
const DEFAULT_KEEP_ALIVE_MS = 10_000;

/** Talks to the service worker that covers this page. `reload()` before the first request, or use the factory. */
export class ServiceWorkerMLCEngine extends EngineClient {
  constructor(engineConfig: MLCEngineConfig = {}, keepAliveMs = DEFAULT_KEEP_ALIVE_MS, registration?: ServiceWorkerRegistration) {
    const endpoint = new ServiceWorkerEndpoint(findContainer(), registration);
    super("ServiceWorkerMLCEngine", new Session(endpoint, engineConfig, { keepAliveMs }));
  }
}

/** Waits for the service worker, then loads `modelId` in it unless another page has already done so. */
export async function CreateServiceWorkerMLCEngine(
  modelId: string | string[],
  engineConfig: MLCEngineConfig = {},
  chatOpts?: ChatOptions | ChatOptions[],
  keepAliveMs = DEFAULT_KEEP_ALIVE_MS,
): Promise<ServiceWorkerMLCEngine> {
  // The lock is there before the hello, so that the worker can rely on it from the first message on.
  const [registration] = await Promise.all([activeRegistration(findContainer(), engineConfig.hearth), thisTab().lock()]);
  const engine = new ServiceWorkerMLCEngine(engineConfig, keepAliveMs, registration);
  try {
    await engine.reload(modelId, chatOpts);
  } catch (error) {
    engine.close();
    throw error;
  }
  return engine;
}
