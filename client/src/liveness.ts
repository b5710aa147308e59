/**
 * Whether the worker still lives, and keeping it alive. Owns the pings, and finding out which requests died with a worker that
 * the browser stopped: at once by a Web Lock that each run of the worker holds until it ends (a MessagePort does not report its
 * other end's death in every browser), and without Web Locks at the next ping.
 * Nothing here depends on a timer for correctness: a throttled timer in a hidden tab only finds a loss later.
 */

import { workerLost } from "./errors.js";
import type { Transport } from "./transport.js";
import { runLockName, type AliveContent } from "./wire.js";

/** A probe that waits this many pings for its answer has no worker behind it. */
const PINGS_UNTIL_LOST = 3;

/** An answer on a stream's port may arrive after a later one on the main channel: time for it to come, before it is given up. */
const REORDER_GRACE_MS = 1_000;

/** What is done about what is found out. */
export interface LivenessListener {
  /** Another run of the worker answers than the one that this page was introduced to. */
  restarted(): void;
  /** The worker has ended and nobody waits: it is told who we are before the next request, not earlier. */
  ended(): void;
  /** These requests are about to end with WorkerLostError. */
  losing(uuids: readonly string[]): void;
}

/** One page's watch over one worker. */
export class Liveness {
  /** Pings since the last heartbeat; web-llm's field. */
  missedHeartbeat = 0;

  readonly #transport: Transport;
  readonly #listener: LivenessListener;
  readonly #locks: Pick<LockManager, "request"> | undefined;
  readonly #stopped = new AbortController();
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  #pingTimer: ReturnType<typeof setInterval> | undefined;
  /** The run of the worker that this page is introduced to, once it has answered. */
  #run: string | undefined;
  /** The run whose end is waited for. */
  #watched: string | undefined;
  /** A stock web-llm worker never answers `hearth.alive`, and is never given up. */
  #answersProbes = false;
  #numUnansweredProbes = 0;

  constructor(
    transport: Transport,
    listener: LivenessListener,
    locks: Pick<LockManager, "request"> | undefined = globalThis.navigator?.locks,
  ) {
    this.#transport = transport;
    this.#listener = listener;
    this.#locks = locks;
    transport.onHeartbeat = () => {
      this.missedHeartbeat = 0;
    };
  }

  /** Starts to ping every `keepAliveMs` milliseconds. */
  start(keepAliveMs: number): void {
    this.#pingTimer = setInterval(() => this.#ping(), keepAliveMs);
  }

  /** The page introduces itself now: whichever run answers next is the one that it is introduced to. */
  introducing(): void {
    this.#run = undefined;
  }

  /** The worker has answered the introduction. */
  introduced(): void {
    if (this.#run === undefined) this.#probe();
  }

  stop(): void {
    clearInterval(this.#pingTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#stopped.abort();
  }

  /** Waits for the lock of this run of the worker, which is free when the run has ended. */
  #watch(run: string): void {
    if (this.#watched === run) return;
    this.#watched = run;
    const onFree = (): void => {
      if (this.#watched !== run) return;
      this.#watched = undefined;
      // Probing wakes a stopped worker: only for somebody who waits.
      if (this.#transport.pendingUuids().length > 0) this.#probe();
      else this.#listener.ended();
    };
    // Rejected only when it is no longer wanted, or where locks are forbidden: the pings remain.
    this.#locks?.request(runLockName(run), { mode: "shared", signal: this.#stopped.signal }, onFree).catch(() => undefined);
  }

  #ping(): void {
    this.missedHeartbeat += 1;
    this.#transport.notify("keepAlive", undefined);
    const pending = this.#transport.pendingUuids();
    if (!this.#answersProbes || pending.length === 0) return;
    if (this.#numUnansweredProbes < PINGS_UNTIL_LOST) return this.#probe();
    this.#numUnansweredProbes = 0;
    this.#listener.ended();
    this.#lose(pending);
  }

  /** Asks this run of the worker which of the pending requests it has; the others died with an earlier run. */
  #probe(): void {
    const content: AliveContent = { uuids: this.#transport.pendingUuids() };
    this.#numUnansweredProbes += 1;
    this.#transport.request("hearth.alive", content).then(
      ({ run, unknown }) => {
        // Where the first probe after the introduction went unanswered, the run that was introduced to may have ended before it.
        const restarted = this.#run === undefined ? this.#numUnansweredProbes > 1 : this.#run !== run;
        this.#answersProbes = true;
        this.#numUnansweredProbes = 0;
        this.#watch(run);
        this.#run = run;
        if (unknown.length > 0) this.#loseSoon(unknown);
        if (restarted) this.#listener.restarted();
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

  #lose(uuids: readonly string[]): void {
    this.#listener.losing(uuids);
    this.#transport.lose(uuids, workerLost("this request"));
  }
}
