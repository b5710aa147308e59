/**
 * This page as a tab of the worker. Owns its identity, the Web Lock that says that it lives (the browser frees it with the
 * page, however that ends), and what the browser does with it: focus, visibility, freezing. It sends nothing.
 */

import type { TabContent } from "./protocol.gen.js";
import { tabLockName } from "./wire.js";

/** What is used of the page; all of it is absent in workers and in Node. */
export interface PageEnvironment {
  locks?: Pick<LockManager, "request"> | undefined;
  document?: Pick<Document, "title" | "hasFocus" | "visibilityState" | "addEventListener" | "removeEventListener"> | undefined;
  window?: Pick<EventTarget, "addEventListener" | "removeEventListener"> | undefined;
}

/** What a connection wants to hear of its page. */
export interface TabListener {
  /** The state differs from the one before. */
  changed(): void;
  /** The page came back from the browser's back-forward cache, where the worker may have taken it for dead. */
  restored(): void;
}

/** One page, for as long as it lives. */
export class PageTab {
  /** Name of the tab, a UUID. */
  readonly id = crypto.randomUUID();
  /** Whether the lock is held: never before the browser has granted it, never where there are no locks. */
  holdsLock = false;
  /** Who of this page wants to hear of the events of all tabs. */
  readonly watchers = new Set<unknown>();

  readonly #environment: PageEnvironment;
  readonly #listeners = new Set<TabListener>();
  #locked: Promise<boolean> | undefined;
  #isFrozen = false;
  #stopListening: (() => void) | undefined;

  constructor(environment: PageEnvironment = ownEnvironment()) {
    this.#environment = environment;
  }

  /** Takes the lock, once, and keeps it until the page ends. Resolves with whether it is held. */
  lock(): Promise<boolean> {
    this.#locked ??= this.#takeLock();
    return this.#locked;
  }

  /** What the browser does with the page now, and its title now. */
  state(): TabContent {
    const { document } = this.#environment;
    return {
      // Where there is no document (a worker that uses the package), nobody can look away.
      focused: document?.hasFocus() ?? true,
      visible: document === undefined || document.visibilityState === "visible",
      frozen: this.#isFrozen,
      title: this.title(),
    };
  }

  /** The title now. */
  title(): string {
    return this.#environment.document?.title ?? "";
  }

  /** Hears of changes until the returned function is called. */
  listen(listener: TabListener): () => void {
    this.#listeners.add(listener);
    this.#stopListening ??= this.#start();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#stopListening?.();
      this.#stopListening = undefined;
    };
  }

  #takeLock(): Promise<boolean> {
    const { locks } = this.#environment;
    if (locks === undefined) return Promise.resolve(false);
    return new Promise((resolve) => {
      const forEver = new Promise<never>(() => undefined);
      const onGranted = (): Promise<never> => {
        this.holdsLock = true;
        resolve(true);
        return forEver;
      };
      // Refused where the page's origin is opaque: the worker then looks for the page by itself.
      locks.request(tabLockName(this.id), onGranted).catch(() => resolve(false));
    });
  }

  #start(): () => void {
    const { document, window } = this.#environment;
    const changed = (): void => this.#tell((listener) => listener.changed());
    const freeze = (): void => {
      this.#isFrozen = true;
      changed();
    };
    const resume = (): void => {
      this.#isFrozen = false;
      changed();
    };
    const hide = (event: Event): void => {
      if (isPersisted(event)) freeze();
    };
    const show = (event: Event): void => {
      if (!isPersisted(event)) return;
      this.#isFrozen = false;
      this.#tell((listener) => listener.restored());
    };
    const inWindow: [string, (event: Event) => void][] = [["focus", changed], ["blur", changed], ["pagehide", hide], ["pageshow", show]];
    const inDocument: [string, (event: Event) => void][] = [["visibilitychange", changed], ["freeze", freeze], ["resume", resume]];
    for (const [type, listener] of inWindow) window?.addEventListener(type, listener);
    for (const [type, listener] of inDocument) document?.addEventListener(type, listener);
    return () => {
      for (const [type, listener] of inWindow) window?.removeEventListener(type, listener);
      for (const [type, listener] of inDocument) document?.removeEventListener(type, listener);
    };
  }

  #tell(what: (listener: TabListener) => void): void {
    for (const listener of [...this.#listeners]) what(listener);
  }
}

let page: PageTab | undefined;

/** The tab that this page is; the same for all engines of the page. */
export function thisTab(): PageTab {
  page ??= new PageTab();
  return page;
}

function isPersisted(event: Event): boolean {
  return "persisted" in event && event.persisted === true;
}

function ownEnvironment(): PageEnvironment {
  const document: Document | undefined = globalThis.document;
  return { locks: globalThis.navigator?.locks, document, window: document === undefined ? undefined : globalThis };
}
