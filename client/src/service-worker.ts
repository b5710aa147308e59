/**
 * The way to a service worker. Owns finding (or registering) the one that covers this page and posting to whichever worker of
 * that registration is active now; no controller is needed, so a first visit and a hard reload work. It knows no messages.
 */

import { noServiceWorkerApi, serviceWorkerInitialization } from "./errors.js";
import type { Endpoint } from "./transport.js";
import type { HearthEngineOptions } from "./types.js";

/** How long a page that is registering its worker right now may take before "nothing is registered" is reported. */
const REGISTRATION_GRACE_MS = 10_000;

/** What is used of `navigator.serviceWorker`. */
export type Container = Pick<
  ServiceWorkerContainer,
  "ready" | "register" | "getRegistration" | "addEventListener" | "removeEventListener" | "startMessages"
>;

/** `navigator.serviceWorker`, or NoServiceWorkerAPIError. */
export function findContainer(): Container {
  // Absent in insecure contexts and in some private windows, whatever the DOM types say.
  const container: Container | undefined = globalThis.navigator?.serviceWorker;
  if (container === undefined) throw noServiceWorkerApi();
  return container;
}

/**
 * Waits for an active worker whose scope covers this page, registering `options.serviceWorkerUrl` first when given.
 * web-llm hangs where nothing is registered; this throws ServiceWorkerInitializationError.
 */
export async function activeRegistration(
  container: Container,
  options: HearthEngineOptions = {},
  graceMs: number = REGISTRATION_GRACE_MS,
): Promise<ServiceWorkerRegistration> {
  if (options.serviceWorkerUrl !== undefined) {
    const scope = options.serviceWorkerScope ?? "/";
    try {
      await container.register(options.serviceWorkerUrl, { scope });
    } catch (error) {
      throw serviceWorkerInitialization(`Registering ${String(options.serviceWorkerUrl)} failed: ${String(error)}.`);
    }
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  const nothingRegistered = new Promise<never>((_resolve, reject) => {
    const check = async (): Promise<void> => {
      const registration = await container.getRegistration();
      const coming = registration?.installing ?? registration?.waiting ?? registration?.active;
      if (coming === undefined || coming === null) {
        reject(serviceWorkerInitialization(`No service worker covers this page after ${graceMs / 1000} s.`));
      } else {
        timer = setTimeout(() => void check(), graceMs);
      }
    };
    timer = setTimeout(() => void check(), graceMs);
  });
  try {
    const registration = await Promise.race([container.ready, nothingRegistered]);
    if (registration.active === null) throw serviceWorkerInitialization("The registration has no active worker.");
    return registration;
  } finally {
    clearTimeout(timer);
  }
}

/** Posts to the active worker of this page's registration; messages posted before there is one are kept in order. */
export class ServiceWorkerEndpoint implements Endpoint {
  readonly #container: Container;
  #registration: ServiceWorkerRegistration | undefined;
  #backlog: { message: unknown; transfer: Transferable[] }[] = [];

  /** `registration` is left out by web-llm's synchronous constructor; `ready` then brings it. */
  constructor(container: Container, registration?: ServiceWorkerRegistration) {
    this.#container = container;
    if (registration !== undefined) this.#registration = registration;
    else void container.ready.then((ready) => this.#arrive(ready));
  }

  postMessage(message: unknown, transfer: Transferable[]): void {
    const worker = this.#registration?.active;
    if (worker === undefined || worker === null) this.#backlog.push({ message, transfer });
    else worker.postMessage(message, transfer);
  }

  listen(listener: (data: unknown) => void): () => void {
    const onMessage = (event: MessageEvent<unknown>): void => listener(event.data);
    this.#container.addEventListener("message", onMessage);
    // Messages for addEventListener listeners wait for the end of parsing unless they are started.
    this.#container.startMessages();
    return () => this.#container.removeEventListener("message", onMessage);
  }

  #arrive(registration: ServiceWorkerRegistration): void {
    this.#registration = registration;
    const backlog = this.#backlog;
    this.#backlog = [];
    for (const { message, transfer } of backlog) this.postMessage(message, transfer);
  }
}
