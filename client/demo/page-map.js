// The picture of the pool: one cell a page, on a canvas. Owns drawing and pointing; what the pages are comes from outside.
// Only cells that changed are drawn, and a frame is asked for only while something fades, so an idle pool costs nothing.
//
// in use: the whole cell · cached: a small square in it · free: an outline · of several tabs: slanted bands of their colours

import { NOBODY } from "./palette.js";

const MAX_PITCH_PIXELS = 20;
const MIN_PITCH_PIXELS = 5;
/** The map's height, where the smallest cells allow it. */
const MAX_HEIGHT_PIXELS = 280;
/** Cells at least this large show their tab's letter. */
const LETTER_PITCH_PIXELS = 15;
/** Bands of a shared page; further tabs are only named in its description. */
const MAX_BANDS = 4;
const FLASH_MS = 600;
const COLOURS = ["--tab-none", "--tab-ink", "--page-edge", "--ink", ...Array.from({ length: 9 }, (_, at) => `--tab-${at}`)];

/** @typedef {{state: "free" | "cached" | "held", tabs: string[]}} Page */

export class PageMap {
  /** Called with the page that is pointed at, or undefined. @type {(index: number | undefined) => void} */
  onPoint = () => undefined;
  #canvas;
  #context;
  #lookOf;
  /** @type {Page[]} */
  #pages = [];
  /** What each cell was drawn as, so that equal cells are left alone. @type {string[]} */
  #drawn = [];
  /** When each cell changed, for those that still glow. @type {Map<number, number>} */
  #flashes = new Map();
  #pitch = MAX_PITCH_PIXELS;
  #columns = 1;
  #colours = {};
  #highlighted;
  #pointed;
  #frame = 0;
  #isCalm = matchMedia("(prefers-reduced-motion: reduce)");

  /** @param {HTMLCanvasElement} canvas @param {(tab: string) => import("./palette.js").Look} lookOf */
  constructor(canvas, lookOf) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#lookOf = lookOf;
    new ResizeObserver(() => this.#layOut()).observe(canvas.parentElement);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#layOut());
    canvas.addEventListener("pointermove", (event) => this.#point(this.#at(event)));
    canvas.addEventListener("pointerdown", (event) => this.#point(this.#at(event)));
    canvas.addEventListener("pointerleave", () => this.#point(undefined));
    canvas.addEventListener("focus", () => this.#point(this.#pointed ?? 0));
    canvas.addEventListener("blur", () => this.#point(undefined));
    canvas.addEventListener("keydown", (event) => this.#move(event));
  }

  /** @param {Page[]} pages */
  show(pages) {
    const isSameSize = pages.length === this.#pages.length;
    const isFirst = this.#pages.length === 0;
    this.#pages = pages;
    if (!isSameSize) this.#layOut();
    else this.#draw(!isFirst && !this.#isCalm.matches);
  }

  /** Lets only this tab's pages stand out. @param {string | undefined} tab */
  highlight(tab) {
    if (this.#highlighted === tab) return;
    this.#highlighted = tab;
    this.#draw(false);
  }

  /** Finds the largest cells that fit, and draws all anew. */
  #layOut() {
    const width = this.#canvas.parentElement.clientWidth;
    if (width === 0) return;
    this.#colours = this.#readColours();
    let pitch = MAX_PITCH_PIXELS;
    const heightOf = () => Math.ceil(this.#pages.length / Math.floor(width / pitch)) * pitch;
    while (pitch > MIN_PITCH_PIXELS && heightOf() > MAX_HEIGHT_PIXELS) pitch -= 1;
    this.#columns = Math.floor(width / pitch);
    // What the columns leave over is shared among them, so that the map is as wide as what stands around it.
    this.#pitch = width / this.#columns;
    const rows = Math.ceil(this.#pages.length / this.#columns);
    const scale = devicePixelRatio;
    const height = Math.max(1, Math.ceil(rows * this.#pitch));
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    this.#canvas.style.height = `${height}px`;
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#drawn = [];
    this.#flashes.clear();
    this.#draw(false);
  }

  /** A canvas cannot read `light-dark()`: the names are looked up as the colour of an element. */
  #readColours() {
    const probe = this.#canvas.parentElement.appendChild(document.createElement("i"));
    const style = getComputedStyle(probe);
    const colours = Object.fromEntries(COLOURS.map((name) => [name, ((probe.style.color = `var(${name})`), style.color)]));
    probe.remove();
    return colours;
  }

  /** Draws the cells that look different from before. @param {boolean} flashes whether they glow for a moment */
  #draw(flashes) {
    const now = performance.now();
    for (const [index, page] of this.#pages.entries()) {
      const look = this.#appearance(page);
      if (look === this.#drawn[index]) continue;
      if (flashes) this.#flashes.set(index, now);
      this.#drawn[index] = look;
      this.#drawCell(index, 0);
    }
    if (this.#flashes.size > 0) this.#frame ||= requestAnimationFrame(() => this.#fade());
  }

  #fade() {
    this.#frame = 0;
    const now = performance.now();
    for (const [index, since] of this.#flashes) {
      const glow = 1 - (now - since) / FLASH_MS;
      if (glow <= 0) this.#flashes.delete(index);
      this.#drawCell(index, Math.max(0, glow));
    }
    if (this.#flashes.size > 0) this.#frame = requestAnimationFrame(() => this.#fade());
  }

  /** @param {Page} page */
  #appearance({ state, tabs }) {
    const isDim = this.#highlighted !== undefined && !tabs.includes(this.#highlighted);
    const looks = tabs.slice(0, MAX_BANDS).map((tab) => this.#lookOf(tab).slot);
    return `${state} ${isDim ? "dim" : ""} ${looks.join(",")}`;
  }

  #drawCell(index, glow) {
    const page = this.#pages[index];
    if (page === undefined) return;
    const context = this.#context;
    const pitch = this.#pitch;
    const gap = pitch < 8 ? 1 : 2;
    const x = (index % this.#columns) * pitch;
    const y = Math.floor(index / this.#columns) * pitch;
    const size = pitch - gap;
    context.clearRect(x, y, pitch, pitch);
    const isDim = this.#highlighted !== undefined && !page.tabs.includes(this.#highlighted);
    context.globalAlpha = isDim ? 0.18 : 1;
    const looks = page.tabs.length === 0 ? [NOBODY] : page.tabs.slice(0, MAX_BANDS).map(this.#lookOf);
    if (page.state === "held") {
      this.#fillBands(looks, x, y, size);
      if (looks.length === 1) this.#drawMark(looks[0], x, y, size);
    } else {
      context.strokeStyle = this.#colours["--page-edge"];
      context.lineWidth = 1;
      context.strokeRect(x + 0.5, y + 0.5, size - 1, size - 1);
    }
    if (page.state === "cached") {
      const inset = size < 8 ? 1.5 : size * 0.26;
      context.globalAlpha = isDim ? 0.14 : 0.72;
      this.#fillBands(looks, x + inset, y + inset, size - 2 * inset);
    }
    context.globalAlpha = 1;
    if (glow > 0) this.#outline(x, y, size, this.#colours["--ink"], glow * 0.7, 1.5);
    if (index === this.#pointed) this.#outline(x, y, size, this.#colours["--ink"], 1, 2);
  }

  /** One colour fills the square; several cross it in slanted bands. */
  #fillBands(looks, x, y, size) {
    const context = this.#context;
    const step = (2 * size) / looks.length;
    if (looks.length > 1) {
      context.save();
      context.beginPath();
      context.rect(x, y, size, size);
      context.clip();
    }
    for (const [band, { colour }] of looks.entries()) {
      context.fillStyle = this.#colours[colour];
      if (looks.length === 1) context.fillRect(x, y, size, size);
      else {
        const [from, to] = [band * step, (band + 1) * step];
        context.beginPath();
        context.moveTo(x + from, y);
        context.lineTo(x + to, y);
        context.lineTo(x, y + to);
        context.lineTo(x, y + from);
        context.fill();
      }
    }
    if (looks.length > 1) context.restore();
  }

  /** The tab's letter where there is room for it, else its mark. */
  #drawMark({ letter, mark }, x, y, size) {
    const context = this.#context;
    context.fillStyle = this.#colours["--tab-ink"];
    if (this.#pitch >= LETTER_PITCH_PIXELS) {
      context.font = `600 ${Math.round(size * 0.62)}px ui-sans-serif, system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillText(letter, x + size / 2, y + size / 2 + 0.5);
    } else if (mark === 1) {
      context.fillRect(x + size * 0.34, y + size * 0.34, size * 0.32, size * 0.32);
    } else if (mark === 2) context.fillRect(x, y + size * 0.4, size, Math.max(1, size * 0.2));
  }

  #outline(x, y, size, colour, alpha, width) {
    const context = this.#context;
    context.globalAlpha = alpha;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.strokeRect(x + width / 2, y + width / 2, size - width, size - width);
    context.globalAlpha = 1;
  }

  /** @param {PointerEvent} event */
  #at({ offsetX, offsetY }) {
    const column = Math.min(this.#columns - 1, Math.floor(offsetX / this.#pitch));
    const index = Math.floor(offsetY / this.#pitch) * this.#columns + column;
    return index >= 0 && index < this.#pages.length ? index : undefined;
  }

  #point(index) {
    if (index === this.#pointed) return;
    const before = this.#pointed;
    this.#pointed = index;
    if (before !== undefined) this.#drawCell(before, 0);
    if (index !== undefined) this.#drawCell(index, 0);
    this.onPoint(index);
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    const last = this.#pages.length - 1;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns, Home: -last, End: last };
    const step = steps[event.key];
    if (step === undefined || last < 0) return;
    event.preventDefault();
    this.#point(Math.min(last, Math.max(0, (this.#pointed ?? 0) + step)));
  }
}
