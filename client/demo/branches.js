// The conversations of this tab: one at first, another with each branch. Owns which one is shown, the tabs above them, and what
// is kept when the page is reloaded. Each branch has an engine of its own, forked from the one that it began as.

import { byId, make, setText } from "./dom.js";
import { Conversation } from "./conversation.js";

const KEY = "hearth-demo-conversations";
const MAX_BRANCHES = 6;
const MAX_TITLE_CHARACTERS = 28;

/** @typedef {import("./conversation.js").Message} Message */

export class Branch {
  conversation = new Conversation();
  /** Aborts the answer that is being written; undefined while there is none. @type {AbortController | undefined} */
  answering;
  /** What the last answer's usage said of the context. @type {import("/hearth/index.js").ContextReport | undefined} */
  report;
  tab = make("button", { type: "button", role: "tab", className: "branch-tab" });
  /** Its own engine; a promise, since a fork crosses to the worker. @type {Promise<any> | undefined} */
  engine;

  get title() {
    const asked = this.conversation.messages.findLast(({ role }) => role === "user")?.content ?? "New conversation";
    return asked.length > MAX_TITLE_CHARACTERS ? `${asked.slice(0, MAX_TITLE_CHARACTERS).trimEnd()}…` : asked;
  }
}

export class Branches {
  /** Another branch is shown. */
  onSwitch = () => undefined;
  /** A branch is no longer wanted. @type {(branch: Branch) => void} */
  onClose = () => undefined;
  /** @type {Branch[]} */
  #branches = [];
  /** @type {Branch} */
  active;
  #bar = byId("branches");
  #tabs = byId("branch-tabs");
  #closeButton = byId("branch-close");
  #place = byId("conversations");
  #engine;

  constructor() {
    const saved = readSaved();
    for (const messages of saved.length === 0 ? [[]] : saved) this.#add(messages);
    this.show(this.#branches[0]);
    this.#tabs.addEventListener("keydown", (event) => this.#move(event));
    this.#closeButton.addEventListener("click", () => this.#close(this.active));
  }

  /** @param {any} engine of the first branch; the others fork it */
  attach(engine) {
    this.#engine = engine;
    this.#branches[0].engine = Promise.resolve(engine);
  }

  /** @param {Branch} branch @returns {Promise<any>} */
  engineOf(branch) {
    // A branch restored after a reload has none yet: the cache finds the common beginning either way.
    branch.engine ??= Promise.resolve(this.#engine.fork());
    return branch.engine;
  }

  /** @returns {boolean} whether one more may be begun */
  get canBranch() {
    return this.#branches.length < MAX_BRANCHES && this.#engine !== undefined;
  }

  /** Begins a branch as the first `end` messages of the one that is shown. @param {number} end */
  begin(end) {
    const from = this.active;
    const branch = this.#add(from.conversation.messages.slice(0, end));
    branch.engine = this.engineOf(from).then((engine) => engine.fork());
    // Its failure is told when the branch asks; until then nobody waits for it.
    branch.engine.catch(() => (branch.engine = undefined));
    this.show(branch);
  }

  /** @param {Branch} branch */
  show(branch) {
    this.active = branch;
    for (const other of this.#branches) {
      other.conversation.element.hidden = other !== branch;
      other.tab.setAttribute("aria-selected", String(other === branch));
      other.tab.tabIndex = other === branch ? 0 : -1;
    }
    // The first one is the tab's own conversation: "New chat" empties it.
    this.#closeButton.hidden = branch === this.#branches[0];
    this.onSwitch();
    branch.conversation.follow();
  }

  /** Closes all but the first and empties that. */
  clear() {
    for (const branch of this.#branches.slice(1)) this.#close(branch);
    this.#branches[0].conversation.clear();
    this.#branches[0].conversation.hideHorizon();
    this.#branches[0].report = undefined;
    this.show(this.#branches[0]);
  }

  #add(messages) {
    const branch = new Branch();
    const { conversation, tab } = branch;
    conversation.restore(messages);
    conversation.onChange = () => this.#refresh();
    conversation.onBranch = (end) => {
      if (this.canBranch) this.begin(end);
    };
    conversation.element.id = `conversation-${this.#branches.length + 1}-${Date.now()}`;
    tab.setAttribute("aria-controls", conversation.element.id);
    tab.addEventListener("click", () => this.show(branch));
    this.#branches.push(branch);
    this.#place.append(conversation.element);
    this.#refresh();
    return branch;
  }

  #close(branch) {
    branch.answering?.abort();
    branch.conversation.element.remove();
    branch.tab.remove();
    this.#branches = this.#branches.filter((other) => other !== branch);
    this.onClose(branch);
    branch.engine?.then((engine) => engine.close()).catch(() => undefined);
    if (this.active === branch) this.show(this.#branches.at(-1));
    this.#refresh();
  }

  #refresh() {
    this.#save();
    this.#bar.hidden = this.#branches.length < 2;
    document.body.classList.toggle("cannot-branch", this.#branches.length >= MAX_BRANCHES);
    for (const [place, { tab, title }] of this.#branches.entries()) {
      setText(tab, title);
      tab.classList.toggle("forked", place > 0);
      if (this.#tabs.children[place] !== tab) this.#tabs.insertBefore(tab, this.#tabs.children[place] ?? null);
    }
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || !(event.target instanceof HTMLElement)) return;
    event.preventDefault();
    const place = this.#branches.indexOf(this.active) + step + this.#branches.length;
    this.show(this.#branches[place % this.#branches.length]);
    this.active.tab.focus();
  }

  #save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.#branches.map(({ conversation }) => conversation.messages)));
    } catch {
      // Full or forbidden storage only means that a reload forgets the conversation.
    }
  }
}

/** @returns {Message[][]} what this tab had before it was reloaded */
function readSaved() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(saved) && saved.every(isConversation) ? saved.slice(0, MAX_BRANCHES) : [];
  } catch {
    return [];
  }
}

function isConversation(messages) {
  return (
    Array.isArray(messages) &&
    messages.every((message) => typeof message?.content === "string" && (message.role === "user" || message.role === "assistant"))
  );
}
