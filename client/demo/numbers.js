// The line of numbers: what this tab does and holds.

import { byId } from "./dom.js";

/** How often the pool is asked while an answer is written. */
const INTERVAL_MS = 1_000;

export class Numbers {
  #engine;
  #timer;

  /** @param {{poolUsage(): Promise<import("../dist/index.js").UsageReport>}} engine */
  constructor(engine) {
    this.#engine = engine;
  }

  /** An answer begins. */
  start() {
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
    byId("cached").textContent = String(usage.prompt_tokens_details?.cached_tokens ?? 0);
  }

  clear() {
    for (const id of ["speed", "context", "pages", "cached"]) byId(id).textContent = "–";
  }

  async refresh() {
    // These numbers are only shown: where they cannot be had, the last ones stay.
    const usage = await this.#engine.poolUsage().catch(() => undefined);
    if (usage === undefined) return;
    byId("context").textContent = `${usage.contextTokens} / ${usage.windowTokens}`;
    byId("pages").textContent = `${usage.pagesHeld} / ${usage.pagesTotal}`;
  }

  #showSpeed(tokensPerSecond) {
    if (Number.isFinite(tokensPerSecond)) byId("speed").textContent = `${tokensPerSecond.toFixed(1)} tok/s`;
  }
}
