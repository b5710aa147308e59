// One cell for each piece of a document, lighting up as it is read. The pieces are read several at a time and in any order, so
// cells count what is done; they do not name it.

import { make } from "./dom.js";

/** About so many are read at the same time. */
const AT_ONCE = 4;

export class ChunkGrid {
  #list;

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  clear() {
    this.#list.replaceChildren();
  }

  /**
   * @param {number} numDone @param {number} numPieces may grow, where notes on pieces are too long and are read again
   * @returns {boolean} whether there were no cells before
   */
  show(numDone, numPieces) {
    const isFirst = this.#list.childElementCount === 0;
    while (this.#list.childElementCount > numPieces) this.#list.lastElementChild.remove();
    while (this.#list.childElementCount < numPieces) this.#list.append(make("li", { "aria-hidden": true }));
    for (const [index, cell] of [...this.#list.children].entries()) {
      cell.dataset.state = index < numDone ? "done" : index < numDone + AT_ONCE ? "reading" : "waiting";
    }
    this.#list.setAttribute("aria-label", `${numDone} of ${numPieces} pieces read`);
    return isFirst;
  }

  /** Nothing is being read any more. */
  stop() {
    for (const cell of this.#list.querySelectorAll("[data-state=reading]")) cell.dataset.state = "waiting";
  }
}
