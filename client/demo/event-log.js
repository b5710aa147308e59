// What happens to contexts, as it happens: newest first, the last few, on hold while somebody reads.

import { make, setText } from "./dom.js";
import { describeEvent } from "./sentences.js";

const MAX_EVENTS = 60;
/** A screen reader is told at most this often; what happened in between is told together. */
const SPEAK_INTERVAL_MS = 6_000;

export class EventLog {
  #list;
  #empty;
  #pause;
  #spoken;
  #isPaused = false;
  /** Events that came while the list was on hold. */
  #held = [];
  #numUnspoken = 0;
  #speakTimer;
  #isListening = false;

  /** @param {{list: HTMLElement, empty: HTMLElement, pause: HTMLButtonElement, clear: HTMLButtonElement, spoken: HTMLElement}} parts */
  constructor({ list, empty, pause, clear, spoken }) {
    this.#list = list;
    this.#empty = empty;
    this.#pause = pause;
    this.#spoken = spoken;
    pause.addEventListener("click", () => this.#setPaused(!this.#isPaused));
    clear.addEventListener("click", () => {
      this.#held = [];
      list.replaceChildren();
      this.#refresh();
    });
  }

  /** Whether new events are read out. @param {boolean} isListening */
  set isListening(isListening) {
    this.#isListening = isListening;
  }

  /** @param {import("/hearth/index.js").TabEvent} event @param {{name: string, look: import("./palette.js").Look}} who */
  add(event, who) {
    const { kind, text } = describeEvent(event);
    const entry = { kind, text, who, time: new Date() };
    if (this.#isPaused) {
      this.#held.push(entry);
      if (this.#held.length > MAX_EVENTS) this.#held.shift();
    } else this.#insert(entry);
    this.#refresh();
    if (this.#isListening && !this.#isPaused) this.#speak(`${who.name} ${text}.`);
  }

  #insert({ kind, text, who, time }) {
    const chip = make("span", { className: `chip small mark-${who.look.mark}`, "aria-hidden": true }, who.look.letter);
    chip.style.setProperty("--tab", `var(${who.look.colour})`);
    const clock = time.toLocaleTimeString("en-GB");
    this.#list.prepend(
      make(
        "li",
        {},
        chip,
        make("p", {}, make("b", {}, who.name), ` ${text}. `, make("span", { className: "kind" }, kind)),
        make("time", { dateTime: time.toISOString() }, clock),
      ),
    );
    while (this.#list.childElementCount > MAX_EVENTS) this.#list.lastElementChild.remove();
  }

  #setPaused(isPaused) {
    this.#isPaused = isPaused;
    if (!isPaused) for (const entry of this.#held.splice(0)) this.#insert(entry);
    this.#refresh();
  }

  #refresh() {
    this.#empty.hidden = this.#list.childElementCount > 0;
    this.#pause.setAttribute("aria-pressed", String(this.#isPaused));
    const numHeld = this.#held.length;
    setText(this.#pause, this.#isPaused ? (numHeld === 0 ? "Go on" : `Go on (${numHeld} new)`) : "Pause");
  }

  #speak(sentence) {
    if (this.#speakTimer !== undefined) {
      this.#numUnspoken += 1;
      return;
    }
    this.#spoken.textContent = sentence;
    this.#speakTimer = setTimeout(() => {
      this.#speakTimer = undefined;
      const more = this.#numUnspoken;
      this.#numUnspoken = 0;
      if (more > 0) this.#speak(`${more} more ${more === 1 ? "event" : "events"} in the shared memory.`);
    }, SPEAK_INTERVAL_MS);
  }
}
