// The thin meter over the message field: how much of its room this conversation takes, and what is kept free for the reply.

import { byId, count } from "./dom.js";

/** From here on the meter looks, and says, that it gets short. */
const NEARLY_FULL = 0.85;

export class ContextMeter {
  #meter = byId("context-meter");
  #used = byId("context-used");
  #reserved = byId("context-reserved");
  #text = byId("context");

  /** @param {import("/hearth/index.js").ContextUsage} usage */
  show({ used, window, budget, reserved }) {
    const limit = Math.max(1, Math.min(window, budget));
    const fraction = Math.min(1, used / limit);
    this.#meter.hidden = false;
    this.#meter.classList.toggle("short", fraction >= NEARLY_FULL);
    this.#used.style.inlineSize = `${fraction * 100}%`;
    this.#reserved.style.inlineSize = `${Math.min(1, reserved / limit) * 100}%`;
    this.#meter.setAttribute("aria-valuemax", String(limit));
    this.#meter.setAttribute("aria-valuenow", String(Math.min(used, limit)));
    const words = `${count(used)} of ${count(limit)} tokens${fraction >= NEARLY_FULL ? ", nearly full" : ""}`;
    this.#meter.setAttribute("aria-valuetext", words);
    this.#meter.title = `Context: ${words}; the last ${count(reserved)} are kept free for the answer`;
    this.#text.textContent = `${count(used)} / ${count(limit)}`;
  }

  clear() {
    this.#meter.hidden = true;
    this.#text.textContent = "–";
  }
}
