// Reading answers out through a live region: whole sentences as they are finished, never the same text twice.

/** Shorter pieces than this are joined with the next sentence. */
const MIN_CHARACTERS = 60;

export class Speech {
  #region;
  #numSpoken = 0;

  /** @param {HTMLElement} region an aria-live region that only additions are read of */
  constructor(region) {
    this.#region = region;
  }

  /** A new answer begins. */
  begin() {
    this.#numSpoken = 0;
    this.#region.replaceChildren();
    this.say("Answering.");
  }

  /** Reads what is complete of `text` (the answer so far, which only grows) and was not read yet. */
  progress(text) {
    const rest = text.slice(this.#numSpoken);
    const ends = [...rest.matchAll(/[.!?:]["”’)]?\s|\n/g)];
    const last = ends.at(-1);
    if (last === undefined || last.index < MIN_CHARACTERS) return;
    const length = last.index + last[0].length;
    this.#numSpoken += length;
    this.say(withoutMarks(rest.slice(0, length)));
  }

  /** Reads the rest, and how it ended. */
  end(text, remark) {
    this.say(withoutMarks(text.slice(this.#numSpoken)));
    if (remark !== undefined) this.say(remark);
    this.#numSpoken = 0;
  }

  say(text) {
    const trimmed = text.trim();
    if (trimmed === "") return;
    const line = document.createElement("p");
    line.textContent = trimmed;
    this.#region.append(line);
  }
}

/** Markdown as it would be read aloud. Rough on purpose: a mark too many is read, a word is never lost. */
function withoutMarks(text) {
  return text
    .replace(/^\s*(```|~~~).*$/gm, "")
    .replace(/^\s*\|?[\s:|-]+\|[\s:|-]*$/gm, "")
    .replace(/^\s*(#{1,6}|>|[-*+])\s+/gm, "")
    .replace(/\*\*|__|~~|[*`]/g, "")
    .replace(/\|/g, " ");
}
