// Load on demand: opens hidden tabs that ask random questions, closes them without warning and opens new ones, so that pages can
// be watched being shared and given back. Owns every frame that it opens; none outlives stop() or this page.

import { byId, make, plural, setText } from "./dom.js";

/** How long a stress tab lives, in milliseconds. */
const LIFE_MS = { min: 5_000, max: 25_000 };
/** And how long its place stays empty. */
const PAUSE_MS = { min: 300, max: 2_000 };
/** Between two openings at the start: a worker that gets all at once only has its queue full. */
const STAGGER_MS = 150;

export class StressControl {
  #box = byId("stress-frames");
  #number = byId("stress-number");
  #button = byId("stress-toggle");
  #status = byId("stress-status");
  #isRunning = false;
  #timers = new Set();
  #numOpened = 0;
  #numAnswers = 0;
  #numClosed = 0;
  #numFailures = 0;

  constructor() {
    this.#number.addEventListener("input", () => this.#showNumber());
    this.#button.addEventListener("click", () => (this.#isRunning ? this.stop() : this.start()));
    addEventListener("message", (event) => this.#receive(event));
    // A page that goes into the back-forward cache must not keep its load alive in there.
    addEventListener("pagehide", () => this.stop());
    this.#showNumber();
  }

  enable() {
    this.#button.disabled = false;
  }

  start() {
    this.#isRunning = true;
    this.#numAnswers = this.#numClosed = this.#numFailures = 0;
    for (let place = 0; place < this.#number.valueAsNumber; place += 1) this.#later(place * STAGGER_MS, () => this.#open());
    this.#refresh();
  }

  stop() {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#box.replaceChildren();
    this.#refresh();
  }

  #open() {
    this.#numOpened += 1;
    const address = new URL("./", location.href);
    address.search = String(new URLSearchParams({ stress: "1", number: String(this.#numOpened) }));
    const frame = make("iframe", { src: address.href, title: `Stress tab ${this.#numOpened}`, tabIndex: -1 });
    this.#box.append(frame);
    this.#later(between(LIFE_MS), () => {
      frame.remove();
      this.#numClosed += 1;
      this.#later(between(PAUSE_MS), () => this.#open());
      this.#refresh();
    });
    this.#refresh();
  }

  #later(milliseconds, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, milliseconds);
    this.#timers.add(timer);
  }

  /** @param {MessageEvent} event */
  #receive({ origin, source, data }) {
    if (origin !== location.origin || data?.kind !== "hearth-demo-stress") return;
    if (![...this.#box.children].some((frame) => frame.contentWindow === source)) return;
    if (data.outcome === "answer") this.#numAnswers += 1;
    else this.#numFailures += 1;
    this.#refresh();
  }

  #showNumber() {
    setText(byId("stress-number-value"), this.#number.value);
  }

  #refresh() {
    setText(this.#button, this.#isRunning ? "Stop" : "Start");
    this.#number.disabled = this.#isRunning;
    const failures = this.#numFailures === 0 ? "" : `, ${plural(this.#numFailures, "failure")}`;
    const numbers = `${plural(this.#numAnswers, "answer")}, ${this.#numClosed} closed without warning${failures}`;
    const open = plural(this.#box.childElementCount, "tab");
    setText(this.#status, this.#isRunning ? `${open} open: ${numbers}.` : `Stopped, all closed: ${numbers}.`);
  }
}

/** @param {{min: number, max: number}} range */
function between({ min, max }) {
  return min + Math.random() * (max - min);
}
