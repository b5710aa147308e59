// The conversation on the page: its turns, following the newest text, and what is kept when the tab is reloaded.

import { byId } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

const KEY = "hearth-demo-conversation";

/** This close to the bottom counts as reading along. */
const FOLLOW_PIXELS = 80;

export class Conversation {
  /** @type {{role: "user" | "assistant", content: string}[]} */
  messages = [];
  #list = byId("conversation");
  #latest = byId("latest");
  #isFollowing = true;

  constructor() {
    addEventListener("scroll", () => this.#noticeScroll(), { passive: true });
    this.#latest.addEventListener("click", () => this.follow());
  }

  /** Shows again what this tab had before it was reloaded. */
  restore() {
    let saved;
    try {
      saved = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    } catch {
      return;
    }
    if (!Array.isArray(saved)) return;
    for (const { role, content } of saved) {
      if (typeof content !== "string" || (role !== "user" && role !== "assistant")) return this.clear();
      if (role === "user") this.addUser(content);
      else this.addAssistant().finish(content);
    }
  }

  clear() {
    this.messages = [];
    this.#list.replaceChildren();
    this.#save();
  }

  /** @param {string} text */
  addUser(text) {
    this.messages.push({ role: "user", content: text });
    const turn = this.#addTurn("user", "You said:");
    const body = document.createElement("div");
    body.className = "text";
    body.textContent = text;
    turn.append(body);
    this.#save();
    this.follow();
  }

  /** Drops the last answer, which failed or is asked for again. */
  dropAnswer() {
    if (this.messages.at(-1)?.role === "assistant") this.messages.pop();
    if (this.#list.lastElementChild?.classList.contains("assistant")) this.#list.lastElementChild.remove();
  }

  /** An answer that is being written. */
  addAssistant() {
    const turn = this.#addTurn("assistant", "The model said:");
    const body = document.createElement("div");
    body.className = "text";
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
        if (note !== undefined) {
          const line = document.createElement("p");
          line.className = "note";
          line.textContent = note;
          turn.append(line);
        }
        if (final === "" && note === undefined) return turn.remove();
        if (final !== "") this.messages.push({ role: "assistant", content: final });
        this.#save();
      },
    };
  }

  /** Goes to the newest text and stays there. */
  follow() {
    this.#isFollowing = true;
    this.#latest.hidden = true;
    this.#scrollDown();
  }

  #addTurn(role, who) {
    const turn = document.createElement("li");
    turn.className = `turn ${role}`;
    const speaker = document.createElement("p");
    speaker.className = "who hidden";
    speaker.textContent = who;
    turn.append(speaker);
    this.#list.append(turn);
    return turn;
  }

  #noticeScroll() {
    const page = document.documentElement;
    this.#isFollowing = page.scrollHeight - page.scrollTop - page.clientHeight < FOLLOW_PIXELS;
    this.#latest.hidden = this.#isFollowing;
  }

  #scrollDown() {
    document.documentElement.scrollTop = document.documentElement.scrollHeight;
  }

  #save() {
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.messages));
    } catch {
      // Full or forbidden storage only means that a reload forgets the conversation.
    }
  }
}
