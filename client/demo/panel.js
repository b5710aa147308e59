// The panel "Shared memory": opens and closes, asks the worker while it can be seen, and hands what comes to its parts.

import { byId, count, megabytes, plural, setText } from "./dom.js";
import { EventLog } from "./event-log.js";
import { PageMap } from "./page-map.js";
import { Palette } from "./palette.js";
import { Poller } from "./poller.js";
import { pagesByTab, summarise } from "./pool-summary.js";
import { StressControl } from "./stress.js";
import { TabList } from "./tab-list.js";

const KEY = "hearth-demo-panel";
/** About three times a second. */
const INTERVAL_MS = 330;
/** On screens at least this wide the panel has room beside the chat, and is open unless it was closed. */
const WIDE = "(min-width: 68rem)";

export class Panel {
  #panel = byId("panel");
  #toggle = byId("panel-toggle");
  #palette = new Palette();
  #lookOf = (tab) => this.#palette.look(tab);
  #map = new PageMap(byId("page-map"), this.#lookOf);
  #tabs = new TabList(byId("tab-list"), this.#lookOf);
  #log = new EventLog({
    list: byId("events"),
    empty: byId("events-empty"),
    pause: byId("events-pause"),
    clear: byId("events-clear"),
    spoken: byId("events-spoken"),
  });
  #stress = new StressControl();
  #poller = new Poller(() => this.#refresh(), INTERVAL_MS);
  #engine;
  /** @type {import("/hearth/index.js").PoolReport | undefined} */
  #pool;
  /** Names of tabs, also of those that have gone: their last events come late. @type {Map<string, string>} */
  #names = new Map();
  #pointedPage;

  constructor() {
    this.#map.onPoint = (index) => {
      this.#pointedPage = index;
      this.#describePage();
    };
    this.#tabs.onHighlight = (tab) => this.#map.highlight(tab);
    this.#toggle.addEventListener("click", () => this.#open(this.#panel.hidden, true));
    byId("panel-close").addEventListener("click", () => this.close());
    const remembered = readChoice();
    this.#open(remembered ?? matchMedia(WIDE).matches, false);
  }

  /** The model is there: from now on there is a pool to show. */
  attach(engine) {
    this.#engine = engine;
    engine.watch((event) => this.#log.add(event, { name: this.#nameOf(event.tab), look: this.#lookOf(event.tab) }));
    this.#stress.enable();
    if (!this.#panel.hidden) this.#poller.start();
  }

  get hasFocus() {
    return this.#panel.contains(document.activeElement);
  }

  close() {
    this.#open(false, true);
    this.#toggle.focus();
  }

  #open(isOpen, isChoice) {
    this.#panel.hidden = !isOpen;
    this.#toggle.setAttribute("aria-expanded", String(isOpen));
    document.body.classList.toggle("with-panel", isOpen);
    this.#log.isListening = isOpen;
    if (isOpen && this.#engine !== undefined) this.#poller.start();
    else this.#poller.stop();
    if (!isChoice) return;
    if (isOpen) byId("panel-title").focus({ preventScroll: true });
    try {
      localStorage.setItem(KEY, isOpen ? "open" : "closed");
    } catch {
      // Without storage the next visit begins as the first one did.
    }
  }

  async #refresh() {
    const [pool, tabs] = await Promise.all([this.#engine.pool(), this.#engine.tabs()]);
    if (this.#panel.hidden) return;
    this.#pool = pool;
    this.#palette.update(tabs);
    for (const tab of tabs) {
      // The worker hears of a new title when the tab is left; here it is known at once.
      if (tab.own) tab.title = document.title;
      this.#names.set(tab.id, tab.own ? "This tab" : tab.title?.trim() || "Untitled tab");
    }
    this.#map.show(pool.pages);
    this.#tabs.show(tabs, pagesByTab(pool));
    setText(byId("tabs-count"), String(tabs.length));
    this.#showTotals(summarise(pool));
    this.#describePage();
  }

  /** @param {import("./pool-summary.js").PoolSummary} summary */
  #showTotals({ total, held, shared, cached, free, max, pageBytes, savedBytes }) {
    byId("pool-waiting").hidden = true;
    byId("pool").hidden = byId("tabs-box").hidden = false;
    for (const [name, pages] of Object.entries({ held, shared, cached, free })) setText(byId(`pool-${name}`), count(pages));
    for (const [name, pages] of Object.entries({ held, cached })) {
      byId(`pool-bar-${name}`).style.inlineSize = `${(pages / Math.max(1, total)) * 100}%`;
    }
    const grows = max > total ? `, may grow to ${count(max)} (${megabytes(max * pageBytes)})` : "";
    setText(byId("pool-size"), `${plural(total, "page")}, ${megabytes(total * pageBytes)}${grows}`);
    const saved = savedBytes > 0 ? `Sharing equal beginnings saves ${megabytes(savedBytes)} now.` : "Equal beginnings of several tabs are stored once.";
    setText(byId("pool-saved"), saved);
    const label = `${plural(total, "page")}: ${count(held)} in use, ${count(cached)} cached, ${count(free)} free. Arrow keys go from page to page.`;
    if (byId("page-map").getAttribute("aria-label") !== label) byId("page-map").setAttribute("aria-label", label);
  }

  #describePage() {
    const index = this.#pointedPage;
    const page = index === undefined ? undefined : this.#pool?.pages[index];
    const line = byId("page-detail");
    line.classList.toggle("hint", page === undefined);
    if (page === undefined) return setText(line, `Each cell is a page of ${this.#pool?.blockSizeTokens ?? 16} tokens. Point at one to see whose it is.`);
    const names = page.tabs.map((tab) => `${this.#lookOf(tab).letter} ${this.#nameOf(tab)}`.trim());
    const state = { held: "in use", cached: "cached", free: "free" }[page.state];
    const whose =
      page.state === "free"
        ? ""
        : names.length === 0
          ? ", left by a tab that has gone"
          : names.length === 1
            ? ` by ${names[0]}`
            : `, shared by ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
    setText(line, `Page ${count(index)}: ${state}${whose}.`);
  }

  #nameOf(tab) {
    return this.#names.get(tab) ?? "Another tab";
  }
}

/** @returns {boolean | undefined} what was chosen on an earlier visit */
function readChoice() {
  try {
    const saved = localStorage.getItem(KEY);
    return saved === null ? undefined : saved === "open";
  } catch {
    return undefined;
  }
}
