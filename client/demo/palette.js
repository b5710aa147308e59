// How each tab is told apart: a letter, a colour and a mark. The letter and the mark carry the meaning for whoever cannot tell
// the colours apart. A tab keeps its look for as long as it lives.

/** Colours other than this tab's own: --tab-1 to --tab-8 of panel.css. */
const NUM_COLOURS = 8;
/** Plain, with a hole, with a bar: drawn over the colour. */
const NUM_MARKS = 3;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/** @typedef {{slot: number, letter: string, colour: string, mark: number}} Look */

/** Of pages that nobody claims any more. @type {Look} */
export const NOBODY = { slot: -1, letter: "", colour: "--tab-none", mark: 0 };

export class Palette {
  /** @type {Map<string, Look>} */
  #looks = new Map();

  /** Gives every tab its look and takes those of tabs that have gone. @param {{id: string, own: boolean}[]} tabs */
  update(tabs) {
    const ids = new Set(tabs.map(({ id }) => id));
    for (const id of this.#looks.keys()) if (!ids.has(id)) this.#looks.delete(id);
    const taken = new Set([...this.#looks.values()].map(({ slot }) => slot));
    for (const { id, own } of tabs) {
      if (this.#looks.has(id)) continue;
      let slot = own ? 0 : 1;
      while (taken.has(slot)) slot += 1;
      taken.add(slot);
      this.#looks.set(id, lookOf(slot));
    }
  }

  /** @param {string} id @returns {Look} */
  look(id) {
    return this.#looks.get(id) ?? NOBODY;
  }
}

/** Slot 0 is this tab. @param {number} slot @returns {Look} */
function lookOf(slot) {
  const round = Math.floor(slot / LETTERS.length);
  return {
    slot,
    letter: LETTERS[slot % LETTERS.length] + (round === 0 ? "" : String(round + 1)),
    colour: `--tab-${slot === 0 ? 0 : ((slot - 1) % NUM_COLOURS) + 1}`,
    mark: slot === 0 ? 0 : Math.floor((slot - 1) / NUM_COLOURS) % NUM_MARKS,
  };
}
