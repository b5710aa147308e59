// The legend: every tab of the pool, what it does and what it has. Rows are kept by the tab's id, so that nothing jumps.

import { count, make, plural, setText } from "./dom.js";

/** @typedef {import("/hearth/index.js").TabReport} TabReport */

/** A speed is the mean over about this long. */
const SPEED_MEMORY_MS = 2_500;

/** Word, sign and style of what a tab does; the sign repeats what the style says in colour. */
const STATES = {
  generating: { word: "writing", sign: "▶" },
  waiting: { word: "waiting for room", sign: "‖" },
  frozen: { word: "frozen", sign: "❄" },
  idle: { word: "idle", sign: "○" },
};

export class TabList {
  /** Called with the tab whose pages should stand out, or undefined. @type {(id: string | undefined) => void} */
  onHighlight = () => undefined;
  #list;
  #lookOf;
  /** @type {Map<string, Row>} */
  #rows = new Map();
  #pinned;

  /** @param {HTMLElement} list @param {(tab: string) => import("./palette.js").Look} lookOf */
  constructor(list, lookOf) {
    this.#list = list;
    this.#lookOf = lookOf;
  }

  /** @param {TabReport[]} tabs @param {Map<string, {held: number, cached: number, shared: number}>} pages */
  show(tabs, pages) {
    const ids = new Set(tabs.map(({ id }) => id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.element.remove();
      this.#rows.delete(id);
      if (this.#pinned === id) this.#pin(undefined);
    }
    const sorted = [...tabs].sort((a, b) => this.#lookOf(a.id).slot - this.#lookOf(b.id).slot);
    for (const [place, tab] of sorted.entries()) {
      const row = this.#rows.get(tab.id) ?? this.#addRow(tab);
      row.show(tab, pages.get(tab.id));
      // Moving an element would take the focus from it: only rows out of place move.
      if (this.#list.children[place] !== row.element) this.#list.insertBefore(row.element, this.#list.children[place] ?? null);
    }
  }

  #addRow({ id }) {
    const row = new Row(this.#lookOf(id));
    const { element, button } = row;
    button.addEventListener("click", () => this.#pin(this.#pinned === id ? undefined : id));
    for (const [type, tab] of /** @type {const} */ ([["pointerenter", id], ["pointerleave", undefined], ["focusin", id], ["focusout", undefined]])) {
      element.addEventListener(type, () => this.onHighlight(tab ?? this.#pinned));
    }
    this.#rows.set(id, row);
    return row;
  }

  #pin(id) {
    this.#pinned = id;
    for (const [tab, { button }] of this.#rows) button.setAttribute("aria-pressed", String(tab === id));
    this.onHighlight(id);
  }
}

class Row {
  element;
  button;
  #title = make("span", { className: "tab-title" });
  #badge = make("span", { className: "tab-badge" });
  #state = make("span", { className: "tab-state" });
  #bar = make("i");
  #meter = make("div", { className: "bar-meter", role: "meter", "aria-valuemin": 0 }, this.#bar);
  #room = make("span");
  #pages = make("span");
  #speed = new Speed();

  /** @param {import("./palette.js").Look} look */
  constructor({ letter, colour, mark }) {
    const chip = make("span", { className: `chip mark-${mark}`, "aria-hidden": true }, letter);
    chip.style.setProperty("--tab", `var(${colour})`);
    this.#bar.style.setProperty("--tab", `var(${colour})`);
    this.button = make("button", { type: "button", className: "tab-name", "aria-pressed": false, title: "Show only its pages" }, chip, this.#title);
    this.element = make(
      "li",
      { className: "tab-row" },
      make("div", { className: "tab-head" }, this.button, this.#badge, this.#state),
      this.#meter,
      make("p", { className: "tab-foot" }, this.#room, this.#pages),
    );
  }

  /** @param {TabReport} tab @param {{held: number, cached: number, shared: number} | undefined} pages */
  show(tab, pages = { held: 0, cached: 0, shared: 0 }) {
    const title = tab.title?.trim() || "Untitled tab";
    setText(this.#title, title);
    // In the background is where most tabs are: it needs no word.
    setText(this.#badge, tab.own ? "this tab" : tab.focused ? "in front" : tab.visible ? "visible" : "");
    const { word, sign } = STATES[tab.state] ?? STATES.idle;
    const speed = this.#speed.update(tab);
    const since = tab.state === "idle" ? ` ${duration(tab.idleMs)}` : speed === undefined ? "" : ` ${speed.toFixed(1)} tok/s`;
    setText(this.#state, `${sign} ${word}${since}`);
    this.#state.dataset.state = tab.state;

    const used = tab.usage?.used ?? 0;
    const limit = Math.max(1, tab.budget);
    this.#bar.style.inlineSize = `${Math.min(100, (used / limit) * 100)}%`;
    this.#meter.setAttribute("aria-label", `Room of ${title}`);
    this.#meter.setAttribute("aria-valuemax", String(limit));
    this.#meter.setAttribute("aria-valuenow", String(Math.min(used, limit)));
    this.#meter.setAttribute("aria-valuetext", `${count(used)} of ${count(limit)} tokens`);
    setText(this.#room, `${count(used)} of ${count(tab.budget)}`);
    const parts = [plural(pages.held, "page"), pages.cached > 0 ? `${count(pages.cached)} cached` : "", pages.shared > 0 ? `${count(pages.shared)} shared` : ""];
    setText(this.#pages, parts.filter(Boolean).join(" · "));
  }
}

/** Tokens a second, from how a tab's context grows while it writes. */
class Speed {
  #last;
  #mean;

  /** @param {TabReport} tab @returns {number | undefined} */
  update({ state, usage }) {
    const now = performance.now();
    const last = this.#last;
    if (state !== "generating" || usage === undefined) {
      this.#last = this.#mean = undefined;
      return undefined;
    }
    this.#last = { now, used: usage.used };
    const grown = usage.used - (last?.used ?? 0);
    // A context that shrank has slid: that says nothing about the speed.
    if (last === undefined || grown < 0 || now === last.now) return this.#mean;
    const rate = (grown / (now - last.now)) * 1000;
    const weight = Math.min(1, (now - last.now) / SPEED_MEMORY_MS);
    this.#mean = this.#mean === undefined ? rate : this.#mean * (1 - weight) + rate * weight;
    return this.#mean;
  }
}

/** @param {number} milliseconds */
function duration(milliseconds) {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds} s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}
