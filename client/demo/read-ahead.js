// Reading along: when the person pauses while writing, the model reads what there is, so that the answer begins sooner.

/** A pause of this long is time enough to read in. */
const PAUSE_MS = 400;

export class ReadAhead {
  #conditions;
  #timer;
  /** @type {AbortController | undefined} */
  #reading;
  #lastDraft = "";

  /**
   * @param {{canRead(): boolean, read(draft: string, signal: AbortSignal): Promise<void>}} conditions whether reading makes sense
   *   now, and how; its failure is nothing that the person asked about
   */
  constructor(conditions) {
    this.#conditions = conditions;
  }

  /** The draft changed. @param {string} draft */
  notice(draft) {
    this.cancel();
    if (draft.trim() === "" || draft === this.#lastDraft) return;
    this.#timer = setTimeout(() => void this.#read(draft), PAUSE_MS);
  }

  /** It is sent, or no longer wanted: the worker has better things to do. */
  cancel() {
    clearTimeout(this.#timer);
    this.#reading?.abort();
    this.#reading = undefined;
  }

  async #read(draft) {
    if (!this.#conditions.canRead()) return;
    const reading = new AbortController();
    this.#reading = reading;
    try {
      await this.#conditions.read(draft, reading.signal);
      this.#lastDraft = draft;
    } catch {
      // Cancelled, or the worker could not: the question itself will tell.
    } finally {
      if (this.#reading === reading) this.#reading = undefined;
    }
  }
}
