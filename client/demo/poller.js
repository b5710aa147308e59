// Asking again and again, politely: one question at a time, only while somebody looks, and seldom while the other end is busy.

/** The wait after a failure doubles up to this. */
const MAX_WAIT_MS = 5_000;

export class Poller {
  #ask;
  #intervalMs;
  #isWanted = false;
  #isAsking = false;
  #numFailures = 0;
  #timer;

  /** @param {() => Promise<void>} ask rejects where there is no answer now @param {number} intervalMs between two questions */
  constructor(ask, intervalMs) {
    this.#ask = ask;
    this.#intervalMs = intervalMs;
    document.addEventListener("visibilitychange", () => this.#resume());
  }

  start() {
    this.#isWanted = true;
    this.#resume();
  }

  stop() {
    this.#isWanted = false;
    clearTimeout(this.#timer);
  }

  #resume() {
    clearTimeout(this.#timer);
    if (this.#isWanted && document.visibilityState === "visible" && !this.#isAsking) void this.#round();
  }

  async #round() {
    this.#isAsking = true;
    const start = performance.now();
    try {
      await this.#ask();
      this.#numFailures = 0;
    } catch {
      // Nothing to show now, e.g. while the model loads after a restart of the worker.
      this.#numFailures += 1;
    }
    this.#isAsking = false;
    if (!this.#isWanted || document.visibilityState !== "visible") return;
    // An answer that took long came from a busy worker: asking takes a third of the time at most.
    const elapsedMs = performance.now() - start;
    const waitMs = Math.max(this.#intervalMs * 2 ** this.#numFailures - elapsedMs, elapsedMs * 2);
    this.#timer = setTimeout(() => void this.#round(), Math.min(waitMs, MAX_WAIT_MS));
  }
}
