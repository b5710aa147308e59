// Finding the page's own elements.

/** @param {string} id @returns {any} the element, which index.html promises to have */
export function byId(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`index.html has no element #${id}`);
  return found;
}

/** Shows exactly one of the two. @param {HTMLElement} shown @param {HTMLElement} hidden */
export function swap(shown, hidden) {
  shown.hidden = false;
  hidden.hidden = true;
}
