// The line of numbers: what this tab does and holds.

import { byId, count } from "./dom.js";
import { ContextMeter } from "./context-meter.js";

/** How often the worker is asked while an answer is written. */
const INTERVAL_MS = 1_000;

export class Numbers {
  #meter = new ContextMeter();
  #engineOfShown;
  #isAsking = false;
  #timer;

  /** @param {() => Promise<any>} engineOfShown the engine of the branch that is shown */
  constructor(engineOfShown) {
    this.#engineOfShown = engineOfShown;
  }

  /** An answer begins. */
  start() {
    clearInterval(this.#timer);
    this.#timer = setInterval(() => void this.refresh(), INTERVAL_MS);
    void this.refresh();
  }

  /** It ended. */
  stop() {
    clearInterval(this.#timer);
    void this.refresh();
  }

  /** Tokens written so far, in this many milliseconds. */
  showProgress(numTokens, elapsedMs) {
    if (numTokens > 1 && elapsedMs > 0) this.#showSpeed((numTokens / elapsedMs) * 1000);
  }

  /** The worker's own figures of an answer. */
  showUsage(usage) {
    this.#showSpeed(usage.extra.decode_tokens_per_s);
    this.showReused(usage.prompt_tokens_details?.cached_tokens ?? 0);
  }

  /** @param {number} numTokens that did not have to be read again */
  showReused(numTokens) {
    byId("cached").textContent = count(numTokens);
  }

  clear() {
    for (const id of ["speed", "pages", "cached"]) byId(id).textContent = "–";
    this.#meter.clear();
  }

  async refresh() {
    if (this.#isAsking) return;
    this.#isAsking = true;
    // These numbers are only shown: where they cannot be had, the last ones stay.
    try {
      const engine = await this.#engineOfShown();
      const [context, pool] = await Promise.all([engine.contextUsage(), engine.poolUsage()]);
      this.#meter.show(context);
      byId("pages").textContent = `${count(Math.round(context.pagesHeld))} / ${count(pool.pagesTotal)}`;
    } catch {
      // Asked again with the next answer.
    } finally {
      this.#isAsking = false;
    }
  }

  #showSpeed(tokensPerSecond) {
    if (Number.isFinite(tokensPerSecond)) byId("speed").textContent = `${tokensPerSecond.toFixed(1)} tok/s`;
  }
}
