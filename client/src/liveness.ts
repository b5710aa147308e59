/**
 * Whether the worker still lives, and keeping it alive. Owns the hello, the pings, and finding out which requests died with a
 * worker that the browser stopped: at once by a Web Lock that each run of the worker holds until it ends (a MessagePort does
 * not report its other end's death in every browser), and without Web Locks at the next ping.
 * Nothing here depends on a timer for correctness: a throttled timer in a hidden tab only finds a loss later.
 */

import { type HearthError, protocolMismatch, workerLost } from "./errors.js";
import { PROTOCOL_VERSION, type HelloContent } from "./protocol.gen.js";
import type { Transport } from "./transport.js";
import { runLockName, type AliveContent } from "./wire.js";

/** A probe that waits this many pings for its answer has no worker behind it. */
const PINGS_UNTIL_LOST = 3;

/** An answer on a stream's port may arrive after a later one on the main channel: time for it to come, before it is given up. */
const REORDER_GRACE_MS = 1_000;

/** One page's watch over one worker. */
export class Liveness {
  /** Pings since the last heartbeat; web-llm's field. */
  missedHeartbeat = 0;

  readonly #transport: Transport;
  readonly #onRestart: () => void;
  readonly #tab = crypto.randomUUID();
  readonly #locks: Pick<LockManager, "request"> | undefined;
  readonly #stopped = new AbortController();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  /** Which run of the worker answered last; undefined until one that knows `hearth.alive` did. */
  #run: string | undefined;
  /** The worker ended while nothing was pending: it is told who we are before the next request, not earlier. */
  #isStale = false;
  #numUnansweredProbes = 0;
  #failure: HearthError | undefined;

  /** `onRestart` is called when another run of the worker answers than before: what the page told it is forgotten there. */
  constructor(
    transport: Transport,
    onRestart: () => void,
    locks: Pick<LockManager, "request"> | undefined = globalThis.navigator?.locks,
  ) {
    this.#transport = transport;
    this.#onRestart = onRestart;
    this.#locks = locks;
    transport.onHeartbeat = () => {
      this.missedHeartbeat = 0;
    };
  }

  /** Says hello and starts to ping every `keepAliveMs` milliseconds. */
  start(keepAliveMs: number): void {
    this.#hello();
    this.#pingTimer = setInterval(() => this.#ping(), keepAliveMs);
  }

  /** To be called before a request: introduces this page to a new worker; throws when it speaks another version. */
  assertUsable(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isStale) this.#introduceAgain();
  }

  stop(): void {
    clearInterval(this.#pingTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#stopped.abort();
  }

  /** Marks this page as a Hearth client. */
  #hello(): void {
    const content: HelloContent = { protocol: PROTOCOL_VERSION, tab: this.#tab, title: globalThis.document?.title ?? "" };
    this.#transport.request("hearth.hello", content).then(
      ({ protocol }) => {
        if (protocol !== PROTOCOL_VERSION) this.#failure = protocolMismatch(PROTOCOL_VERSION, protocol);
        else if (this.#run === undefined) this.#probe();
      },
      // A worker that cannot start answers every request with that error; the one that the app sends shows it.
      () => undefined,
    );
  }

  /** Waits for the lock of this run of the worker, which is free when the run has ended. */
  #watch(run: string): void {
    const onFree = (): void => {
      if (this.#run !== run) return;
      // Probing wakes a stopped worker: only for somebody who waits.
      if (this.#transport.pendingUuids().length > 0) this.#probe();
      else this.#isStale = true;
    };
    // Rejected only when it is no longer wanted, or where locks are forbidden: the pings remain.
    this.#locks?.request(runLockName(run), { mode: "shared", signal: this.#stopped.signal }, onFree).catch(() => undefined);
  }

  #introduceAgain(): void {
    this.#isStale = false;
    this.#run = undefined;
    this.#hello();
    this.#onRestart();
  }

  #ping(): void {
    this.missedHeartbeat += 1;
    this.#transport.notify("keepAlive", undefined);
    // A stock web-llm worker never answers the hello, so it is never probed.
    if (this.#run === undefined || this.#transport.pendingUuids().length === 0) return;
    if (this.#numUnansweredProbes >= PINGS_UNTIL_LOST) this.#lose(this.#transport.pendingUuids());
    else this.#probe();
  }

  /** Asks this run of the worker which of the pending requests it has; the others died with an earlier run. */
  #probe(): void {
    const content: AliveContent = { uuids: this.#transport.pendingUuids() };
    this.#numUnansweredProbes += 1;
    this.#transport.request("hearth.alive", content).then(
      ({ run, unknown }) => {
        this.#numUnansweredProbes = 0;
        const restarted = this.#run !== undefined && this.#run !== run;
        if (this.#run !== run) this.#watch(run);
        this.#run = run;
        if (unknown.length > 0) this.#loseSoon(unknown);
        if (restarted) this.#introduceAgain();
      },
      () => undefined,
    );
  }

  #loseSoon(uuids: string[]): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#lose(uuids);
    }, REORDER_GRACE_MS);
    this.#timers.add(timer);
  }

  #lose(uuids: string[]): void {
    this.#numUnansweredProbes = 0;
    this.#transport.lose(uuids, workerLost("this request"));
  }
}
