// Finding the page's own elements, making new ones, and writing numbers for people.

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

/**
 * A new element. Text is set as text, never parsed.
 * @param {string} tag @param {Record<string, unknown>} [properties] names with a hyphen are attributes, others properties
 * @param {...(Node | string)} children @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "role" || name.includes("-")) element.setAttribute(name, String(value));
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Sets a text only where it differs: what did not change need not be laid out again. @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 12345 as 12,345. @param {number} number */
export function count(number) {
  return COUNT.format(number);
}

/** 1 as "1 page", 2 as "2 pages". @param {number} number @param {string} noun */
export function plural(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  const size = bytes / 1_000_000;
  return `${size < 10 ? size.toFixed(1) : count(size)} MB`;
}
