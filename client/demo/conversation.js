// One conversation on the page: its turns, following the newest text, and where the model's view of it begins. Where there are
// several branches each has a conversation of its own, and only one of them is shown.

import { byId, make } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

/** This close to the bottom counts as reading along. */
const FOLLOW_PIXELS = 80;

/** @typedef {{role: "user" | "assistant", content: string}} Message */

export class Conversation {
  /** @type {Message[]} */
  messages = [];
  /** Called when a message is added or dropped. */
  onChange = () => undefined;
  /** Called with the number of messages up to and including an answer that a branch shall begin after. @type {(end: number) => void} */
  onBranch = () => undefined;
  element = make("ol", { className: "conversation", "aria-label": "Conversation" });
  #latest = byId("latest");
  #isFollowing = true;
  /** The list items of `messages`, in their order. @type {HTMLElement[]} */
  #turns = [];
  #horizon = make("li", { className: "horizon", role: "note" });

  constructor() {
    addEventListener("scroll", () => this.#noticeScroll(), { passive: true });
    this.#latest.addEventListener("click", () => this.follow());
  }

  /** Shows messages of an earlier time. @param {Message[]} messages */
  restore(messages) {
    for (const { role, content } of messages) {
      if (role === "user") this.addUser(content);
      else this.addAssistant().finish(content);
    }
  }

  clear() {
    this.messages = [];
    this.#turns = [];
    this.element.replaceChildren();
    this.onChange();
  }

  /** @param {string} text */
  addUser(text) {
    const turn = this.#addTurn("user", "You said:");
    turn.append(make("div", { className: "text" }, text));
    this.#keep(turn, { role: "user", content: text });
    this.follow();
  }

  /** Drops the last answer, which failed or is asked for again. */
  dropAnswer() {
    if (this.messages.at(-1)?.role === "assistant") {
      this.messages.pop();
      this.#turns.pop();
    }
    if (this.element.lastElementChild?.classList.contains("assistant")) this.element.lastElementChild.remove();
    this.onChange();
  }

  /** An answer that is being written. */
  addAssistant() {
    const turn = this.#addTurn("assistant", "The model said:");
    const body = make("div", { className: "text" });
    turn.append(body);
    turn.setAttribute("aria-busy", "true");
    let frame = 0;
    let text = "";
    const draw = () => {
      frame = 0;
      body.replaceChildren(renderMarkdown(text));
      if (this.#isFollowing) this.#scrollDown();
    };
    return {
      /** The whole text so far; drawn with the next frame. */
      show: (now) => {
        text = now;
        frame ||= requestAnimationFrame(draw);
      },
      /** No more text comes. */
      finish: (final, note) => {
        cancelAnimationFrame(frame);
        text = final;
        draw();
        turn.removeAttribute("aria-busy");
        if (final === "" && note === undefined) return turn.remove();
        if (final !== "") {
          this.#keep(turn, { role: "assistant", content: final });
          turn.append(this.#branchButton(this.messages.length));
        }
        if (note !== undefined) turn.append(make("p", { className: "note" }, note));
        if (this.#isFollowing) this.#scrollDown();
      },
    };
  }

  /** Marks what the model no longer sees, and says why. @param {number} numMessages left out, from the start @param {string} text */
  showHorizon(numMessages, text) {
    for (const [place, turn] of this.#turns.entries()) turn.classList.toggle("unseen", place < numMessages);
    this.#horizon.replaceChildren(make("p", {}, text));
    const first = this.#turns[numMessages] ?? this.#turns.at(-1);
    if (first !== undefined) this.element.insertBefore(this.#horizon, first);
    if (this.#isFollowing) this.#scrollDown();
  }

  /** The model saw everything. */
  hideHorizon() {
    this.#horizon.remove();
    for (const turn of this.#turns) turn.classList.remove("unseen");
  }

  /** Goes to the newest text and stays there. */
  follow() {
    if (!this.#isShown) return;
    this.#isFollowing = true;
    this.#latest.hidden = true;
    this.#scrollDown();
  }

  get #isShown() {
    return this.element.isConnected && this.element.offsetParent !== null;
  }

  #keep(turn, message) {
    this.messages.push(message);
    this.#turns.push(turn);
    this.onChange();
  }

  #addTurn(role, who) {
    const turn = make("li", { className: `turn ${role}` }, make("p", { className: "who hidden" }, who));
    this.element.append(turn);
    return turn;
  }

  #branchButton(end) {
    const button = make("button", { type: "button", className: "branch-here", title: "Goes on from here in a second conversation; this one stays as it is" }, "Branch");
    button.addEventListener("click", () => this.onBranch(end));
    return button;
  }

  #noticeScroll() {
    if (!this.#isShown) return;
    const page = document.documentElement;
    this.#isFollowing = page.scrollHeight - page.scrollTop - page.clientHeight < FOLLOW_PIXELS;
    this.#latest.hidden = this.#isFollowing;
  }

  #scrollDown() {
    if (this.#isShown) document.documentElement.scrollTop = document.documentElement.scrollHeight;
  }
}
