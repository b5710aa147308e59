/**
 * One engine's standing with one worker, shared by the engine and its branches. Owns the introduction (who this page is, its
 * settings, what it watches), saying it again to a worker that has forgotten it, sending lost requests again, and whom an event
 * is for. It knows nothing of chats.
 */

import { isRetryable, isWorkerLost, protocolMismatch, type HearthError } from "./errors.js";
import { Liveness } from "./liveness.js";
import { PROTOCOL_VERSION, type AppConfig, type HelloContent, type LogLevel, type TabEvent } from "./protocol.gen.js";
import { thisTab, type PageTab } from "./tab.js";
import { Transport, type Endpoint, type RequestOptions } from "./transport.js";
import type { Replies } from "./wire.js";

/** How often a request that a worker lost is sent again, if nothing came of it in between. */
export const MAX_RESENDS = 3;

/** How a connection is made. */
export interface ConnectionOptions {
  endpoint: Endpoint;
  appConfig?: AppConfig | undefined;
  logLevel?: LogLevel | undefined;
  /** Undefined: the endpoint is in this page and lives as long as it does. */
  keepAliveMs?: number | undefined;
  /** Whose end frees the lock of a run of the worker. */
  locks?: Pick<LockManager, "request"> | undefined;
  tab?: PageTab | undefined;
}

/** Options of one request. */
export interface SendOptions extends Pick<RequestOptions, "signal" | "onSent"> {
  /** How often it is sent again when it is lost; 0 by default. */
  maxResends?: number;
  /** False where sending it again would do what nobody wants any more. */
  isWanted?: () => boolean;
}

/** The way to a worker, and who this page is to it. */
export class Connection {
  readonly transport: Transport;
  /** The tab that this page is to the worker. */
  readonly tab: PageTab;

  readonly #liveness: Liveness | undefined;
  readonly #stopListening: () => void;
  readonly #listeners = new Set<(event: TabEvent) => void>();
  readonly #watchers = new Set<(event: TabEvent) => void>();
  #appConfig: AppConfig | undefined;
  #logLevel: LogLevel | undefined;
  #failure: HearthError | undefined;
  /** The worker has been told everything, or is being told. */
  #isIntroduced = false;
  /** The hello that waits for its answer. */
  #greeting: string | undefined;
  /** The state of the page that the worker knows; undefined before it answered the hello. */
  #sentState: string | undefined;

  constructor({ endpoint, appConfig, logLevel, keepAliveMs, locks, tab = thisTab() }: ConnectionOptions) {
    this.tab = tab;
    this.transport = new Transport(endpoint);
    this.transport.onEvent = (event) => this.#deliver(event);
    this.#appConfig = appConfig;
    this.#logLevel = logLevel;
    this.#stopListening = tab.listen({
      changed: () => this.#sendState(),
      restored: () => {
        if (this.#isIntroduced) this.#introduce();
      },
    });
    if (keepAliveMs === undefined) return;
    const listener = {
      restarted: () => this.#introduce(),
      ended: () => this.forget(),
      losing: (uuids: readonly string[]) => {
        if (this.#greeting !== undefined && uuids.includes(this.#greeting)) this.#isIntroduced = false;
      },
    };
    this.#liveness = new Liveness(this.transport, listener, locks);
    this.#liveness.start(keepAliveMs);
    this.#introduce();
    // Where the lock was not there yet: the worker hears of it as soon as it is.
    if (!tab.holdsLock) void tab.lock().then((isHeld) => isHeld && this.#greet());
  }

  /** Pings since the worker's last heartbeat. */
  get missedHeartbeat(): number {
    return this.#liveness?.missedHeartbeat ?? 0;
  }

  /** To be called before a request: introduces this page to a worker that does not know it; throws when it speaks another version. */
  assertReady(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (!this.#isIntroduced) this.#introduce();
  }

  /** The worker no longer knows what it was told: before the next request it is told again. */
  forget(): void {
    this.#isIntroduced = false;
  }

  /** A request ended with this error. Returns whether it may be sent again, and prepares for that. */
  canSendAgain(error: unknown): boolean {
    if (!isRetryable(error)) return false;
    // A lost worker's successor has been introduced to by now; an engine that crashed left a worker that has forgotten.
    if (!isWorkerLost(error)) this.forget();
    return true;
  }

  /** Sends a request and waits for its answer, sending it again when it is lost. */
  async request<Kind extends keyof Replies>(kind: Kind, content: unknown, options: SendOptions = {}): Promise<Replies[Kind]> {
    const { signal, onSent, maxResends = 0, isWanted = () => true } = options;
    for (let numResends = 0; ; numResends += 1) {
      this.assertReady();
      try {
        return await this.transport.request(kind, content, { signal, onSent });
      } catch (error) {
        if (signal?.aborted === true || !this.canSendAgain(error) || numResends >= maxResends || !isWanted()) throw error;
      }
    }
  }

  setAppConfig(appConfig: AppConfig): void {
    this.#appConfig = appConfig;
    if (this.#isIntroduced) this.transport.notify("setAppConfig", appConfig);
  }

  setLogLevel(logLevel: LogLevel): void {
    this.#logLevel = logLevel;
    if (this.#isIntroduced) this.transport.notify("setLogLevel", logLevel);
  }

  /** Hears of what was done to the context of this page. */
  listen(listener: (event: TabEvent) => void): void {
    this.#listeners.add(listener);
  }

  /** Hears of what is done to the contexts of all tabs, until the returned function is called. */
  watch(callback: (event: TabEvent) => void): () => void {
    // The same function given twice is two watchers.
    const watcher = (event: TabEvent): void => callback(event);
    this.#watchers.add(watcher);
    if (this.#watchers.size === 1) this.#setWatching(true);
    return () => {
      if (this.#watchers.delete(watcher) && this.#watchers.size === 0) this.#setWatching(false);
    };
  }

  close(): void {
    if (this.#watchers.size > 0) {
      this.#watchers.clear();
      this.#setWatching(false);
    }
    this.#stopListening();
    this.#liveness?.stop();
    this.transport.close();
  }

  #introduce(): void {
    this.#isIntroduced = true;
    this.#liveness?.introducing();
    this.#greet();
    if (this.#appConfig !== undefined) this.transport.notify("setAppConfig", this.#appConfig);
    if (this.#logLevel !== undefined) this.transport.notify("setLogLevel", this.#logLevel);
    if (this.#watchers.size > 0) this.transport.notify("hearth.watch", { all: true });
  }

  #greet(): void {
    const content: HelloContent = {
      protocol: PROTOCOL_VERSION,
      tab: this.tab.id,
      title: this.tab.title(),
      // A worker in this page ends with it and has no need to know.
      holdsLock: this.#liveness !== undefined && this.tab.holdsLock,
    };
    this.#sentState = undefined;
    let uuid: string | undefined;
    const settle = (): boolean => {
      const isLast = this.#greeting === uuid;
      if (isLast) this.#greeting = undefined;
      return isLast;
    };
    const onSent = (sent: string): void => {
      uuid = sent;
      this.#greeting = sent;
    };
    this.transport.request("hearth.hello", content, { onSent }).then(
      ({ protocol }) => {
        if (protocol !== PROTOCOL_VERSION) {
          this.#failure = protocolMismatch(PROTOCOL_VERSION, protocol);
        } else if (settle()) {
          // Not before: a stock web-llm worker would not know what it is.
          this.#sentState = "";
          this.#sendState();
          this.#liveness?.introduced();
        }
      },
      // A worker that cannot start answers every request with that error; the one that the app sends shows it.
      () => {
        if (settle()) this.#isIntroduced = false;
      },
    );
  }

  #sendState(): void {
    if (this.#sentState === undefined || !this.#isIntroduced) return;
    const state = this.tab.state();
    const text = JSON.stringify(state);
    if (text === this.#sentState) return;
    this.#sentState = text;
    this.transport.notify("hearth.tab", state);
  }

  /** Engines of one page are one client of a shared worker: it goes on watching while one of them does. */
  #setWatching(all: boolean): void {
    if (this.#liveness !== undefined) {
      if (all) this.tab.watchers.add(this);
      else this.tab.watchers.delete(this);
      if (!all && this.tab.watchers.size > 0) return;
    }
    if (this.#isIntroduced) this.transport.notify("hearth.watch", { all });
    // To a worker that does not know this page yet it is said with the introduction.
    else if (all) this.assertReady();
  }

  #deliver(event: TabEvent): void {
    const callbacks = [...this.#watchers, ...(event.tab === this.tab.id ? this.#listeners : [])];
    // One by one, so that what one of them throws is reported and the others still hear.
    for (const callback of callbacks) queueMicrotask(() => callback(event));
  }
}
