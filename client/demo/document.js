// The view "Long document": a text of any length, how it is cut, and an answer put together from all of its pieces.

import { ChunkGrid } from "./chunk-grid.js";
import { byId, count, make, plural } from "./dom.js";
import { explain } from "./environment.js";
import { renderMarkdown } from "./markdown.js";
import { hideTrouble, showTrouble } from "./trouble.js";

/** After the last change of the text it is measured. */
const MEASURE_PAUSE_MS = 500;
/** Size of the pieces that the outline shows. */
const CHUNK_TOKENS = 512;
/** Files larger than this are no text that a person reads. */
const MAX_FILE_BYTES = 8_000_000;

export class DocumentView {
  #text = byId("document-text");
  #question = byId("question");
  #status = byId("read-status");
  #chunks = new ChunkGrid(byId("chunk-grid"));
  #engine;
  #timer;
  /** Which text was measured last: an answer about an older one is dropped. */
  #numMeasured = 0;
  /** @type {AbortController | undefined} */
  #asking;

  constructor() {
    this.#text.addEventListener("input", () => this.#textChanged(MEASURE_PAUSE_MS));
    byId("document-file").addEventListener("change", (event) => void this.#open(event.target.files[0]));
    byId("document-open").addEventListener("click", () => byId("document-file").click());
    byId("document-sample").addEventListener("click", () => void this.#loadSample());
    byId("document-clear").addEventListener("click", () => this.#setText(""));
    byId("ask").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#ask();
    });
    byId("ask-cancel").addEventListener("click", () => this.cancel());
    byId("sample-questions").addEventListener("click", (event) => {
      if (!(event.target instanceof HTMLButtonElement)) return;
      this.#question.value = event.target.textContent;
      this.#refresh();
      this.#question.focus();
    });
    this.#question.addEventListener("input", () => this.#refresh());
    this.#listenForDrops(byId("document-drop"));
  }

  /** The model is there. @param {any} engine */
  attach(engine) {
    this.#engine = engine;
    this.#textChanged(0);
  }

  cancel() {
    this.#asking?.abort();
  }

  #listenForDrops(target) {
    const setOver = (isOver) => target.classList.toggle("over", isOver);
    target.addEventListener("dragover", (event) => {
      event.preventDefault();
      setOver(true);
    });
    target.addEventListener("dragleave", () => setOver(false));
    target.addEventListener("drop", (event) => {
      event.preventDefault();
      setOver(false);
      const [file] = event.dataTransfer.files;
      if (file !== undefined) void this.#open(file);
      else this.#setText(event.dataTransfer.getData("text/plain"));
    });
  }

  /** @param {File | undefined} file */
  async #open(file) {
    byId("document-file").value = "";
    if (file === undefined) return;
    if (file.size > MAX_FILE_BYTES) return this.#say(`${file.name} is larger than ${MAX_FILE_BYTES / 1_000_000} MB.`);
    const text = await file.text().catch(() => undefined);
    if (text === undefined) return this.#say(`${file.name} could not be read.`);
    if (text.includes("\0")) return this.#say(`${file.name} is not a text file.`);
    this.#setText(text);
  }

  async #loadSample() {
    const { QUESTIONS, sampleLog } = await import("./sample.js");
    this.#setText(sampleLog());
    byId("sample-questions").replaceChildren(
      ...QUESTIONS.map(({ question }) => make("li", {}, make("button", { type: "button", className: "quiet" }, question))),
    );
    byId("sample-questions").hidden = false;
    if (this.#question.value === "") this.#question.value = QUESTIONS[0].question;
    this.#refresh();
  }

  #setText(text) {
    this.#text.value = text;
    this.#text.scrollTop = 0;
    byId("sample-questions").hidden = true;
    this.#textChanged(0);
  }

  #textChanged(waitMs) {
    this.#numMeasured += 1;
    clearTimeout(this.#timer);
    const text = this.#text.value;
    const numWords = text.match(/\S+/g)?.length ?? 0;
    byId("document-words").textContent = count(numWords);
    if (text.trim() === "" || this.#engine === undefined) this.#showOutline([], undefined);
    else {
      byId("document-tokens").textContent = "…";
      byId("document-chunks").textContent = "…";
      this.#timer = setTimeout(() => void this.#measure(text, this.#numMeasured), waitMs);
    }
    this.#refresh();
  }

  async #measure(text, number) {
    try {
      const [numTokens, chunks] = await Promise.all([this.#engine.measure(text), this.#engine.documents.chunk(text, { maxTokens: CHUNK_TOKENS })]);
      if (number === this.#numMeasured) this.#showOutline(chunks, numTokens);
    } catch (error) {
      if (number === this.#numMeasured) this.#say(`The text could not be measured: ${String(error)}`);
    }
  }

  /** @param {import("/hearth/index.js").TextChunk[]} chunks @param {number | undefined} numTokens */
  #showOutline(chunks, numTokens) {
    byId("document-tokens").textContent = numTokens === undefined ? "–" : count(numTokens);
    byId("document-chunks").textContent = chunks.length === 0 ? "–" : count(chunks.length);
    byId("outline-box").hidden = chunks.length === 0;
    const sections = [];
    for (const { headings, tokens, text } of chunks) {
      const name = headings.at(-1) ?? `${text.trim().slice(0, 60)}…`;
      const last = sections.at(-1);
      if (last?.name === name && last.depth === headings.length) (last.tokens += tokens), (last.numChunks += 1);
      else sections.push({ name, depth: headings.length, tokens, numChunks: 1 });
    }
    byId("outline").replaceChildren(
      ...sections.map(({ name, depth, tokens, numChunks }) =>
        make("li", { className: `depth-${Math.min(depth, 4)}` }, make("span", {}, name), make("span", { className: "size" }, `${count(tokens)} tokens, ${plural(numChunks, "piece")}`)),
      ),
    );
  }

  async #ask() {
    const text = this.#text.value;
    const question = this.#question.value.trim();
    if (this.#engine === undefined || this.#asking !== undefined || text.trim() === "" || question === "") return;
    hideTrouble();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    byId("reading").hidden = false;
    byId("answer-box").hidden = true;
    this.#chunks.clear();
    this.#say("Cutting the text into pieces…");
    this.#refresh();
    const start = performance.now();
    try {
      const detail = byId("detail").value;
      const reply = await this.#engine.documents.ask(text, question, {
        signal,
        stream: true,
        onProgress: (progress) => this.#showProgress(progress),
        ...(detail === "" ? {} : { detail: Number(detail) }),
      });
      await this.#write(reply);
      this.#showCost(reply, performance.now() - start);
    } catch (error) {
      if (signal.aborted) this.#say("Cancelled. Nothing of it goes on in the worker.");
      else {
        this.#say("It did not work.");
        showTrouble(explain(error, "reading the document"), () => void this.#ask());
      }
    } finally {
      this.#asking = undefined;
      this.#chunks.stop();
      this.#refresh();
    }
  }

  /** @param {import("/hearth/index.js").AskProgress} progress */
  #showProgress({ phase, done, total }) {
    if (phase === "prepare") this.#say(done === 0 ? "Measuring the text and choosing what to read…" : "Cutting it into pieces…");
    else if (phase === "read") {
      const isFirst = this.#chunks.show(done, total);
      if (isFirst) byId("reading").scrollIntoView({ block: "nearest" });
      this.#say(`Read ${count(done)} of ${plural(total, "piece")}…`);
    } else this.#say(done === 0 ? "Putting the answer together…" : "Done.");
  }

  /** The answer as it is made. @param {import("/hearth/index.js").DocumentAnswerStream} reply */
  async #write({ answer }) {
    let text = "";
    byId("answer").replaceChildren();
    byId("answer-note").textContent = "";
    byId("answer-box").hidden = false;
    for await (const piece of answer) {
      text += piece;
      byId("answer").replaceChildren(renderMarkdown(text));
      byId("answer-box").scrollIntoView({ block: "nearest" });
    }
    if (text.trim() === "") byId("answer").textContent = "The model had nothing to say.";
  }

  /** @param {import("/hearth/index.js").DocumentAnswerStream} reply @param {number} elapsedMs */
  #showCost({ chunks, tokensRead, originalTokens, usage }, elapsedMs) {
    const part = originalTokens > 0 ? Math.round((tokensRead / originalTokens) * 100) : 100;
    byId("answer-note").textContent =
      `Read ${count(tokensRead)} of the document's ${count(originalTokens)} tokens (${part} %) in ${plural(chunks, "piece")}: ` +
      `${plural(usage.calls, "request")}, ${count(usage.cachedTokens)} tokens found in the cache, ${(elapsedMs / 1000).toFixed(1)} seconds.`;
    byId("answer-box").scrollIntoView({ block: "nearest" });
  }

  #say(text) {
    byId("reading").hidden = false;
    this.#status.textContent = text;
  }

  #refresh() {
    const isAsking = this.#asking !== undefined;
    byId("ask-submit").hidden = isAsking;
    byId("ask-cancel").hidden = !isAsking;
    byId("ask-submit").disabled = this.#engine === undefined || this.#text.value.trim() === "" || this.#question.value.trim() === "";
    byId("document-clear").hidden = this.#text.value === "";
    this.#text.readOnly = isAsking;
  }
}
