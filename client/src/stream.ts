/**
 * What a reader of a stream holds. Owns the queue of what has arrived but was not asked for yet, who waits, and the ending:
 * complete, an error, or cancelled by the reader. It does not know where chunks come from.
 */

import { streamConsumed } from "./errors.js";

/** Somebody who called `next()` and waits. */
interface Waiter<Chunk> {
  resolve(result: IteratorResult<Chunk, undefined>): void;
  reject(error: unknown): void;
  /** The reader's own: while it waits, this keeps its stream from being taken for abandoned. */
  onEnd(): void;
}

/** How a stream ended; an error is thrown once, to the reader that meets it first. */
type Ending = { readonly kind: "done" } | { readonly kind: "failed"; readonly error: unknown };

const DONE: Ending = { kind: "done" };

/** The writer's end. It never refers to the reader's, so that a reader that is dropped can be noticed. */
export class ChunkQueue<Chunk> {
  readonly #onSettled: (isCancelled: boolean) => void;
  #chunks: Chunk[] = [];
  #waiters: Waiter<Chunk>[] = [];
  #ending: Ending | undefined;

  /** `onSettled` is called once, when nothing more is wanted or can come. */
  constructor(onSettled: (isCancelled: boolean) => void) {
    this.#onSettled = onSettled;
  }

  push(chunk: Chunk): void {
    if (this.#ending !== undefined) return;
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#chunks.push(chunk);
    else waiter.resolve({ done: false, value: chunk });
  }

  /** Everything has come. */
  end(): void {
    this.#settle(DONE, false);
  }

  /** Nothing more can come. What had arrived can still be read first. */
  fail(error: unknown): void {
    this.#settle({ kind: "failed", error }, false);
  }

  /** The reader wants no more, what had arrived included. */
  cancel(): void {
    this.#chunks = [];
    this.#settle(DONE, true);
  }

  /** The reader's signal says so: what waits is rejected with `reason`. */
  abort(reason: unknown): void {
    this.#chunks = [];
    this.#settle({ kind: "failed", error: reason }, true);
  }

  /** The next chunk. `onEnd` is called when the reader meets the ending. */
  take(onEnd: () => void): Promise<IteratorResult<Chunk, undefined>> {
    const chunk = this.#chunks.shift();
    if (chunk !== undefined) return Promise.resolve({ done: false, value: chunk });
    if (this.#ending === undefined) {
      return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject, onEnd }));
    }
    onEnd();
    const ending = this.#ending;
    this.#ending = DONE;
    return ending.kind === "failed" ? Promise.reject(ending.error) : Promise.resolve({ done: true, value: undefined });
  }

  #settle(ending: Ending, isCancelled: boolean): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    for (const { resolve, reject, onEnd } of this.#waiters.splice(0)) this.take(onEnd).then(resolve, reject);
    this.#onSettled(isCancelled);
  }
}

/** A stream that was dropped without `return()` would otherwise be generated to its end for nobody. */
const abandoned = new FinalizationRegistry<ChunkQueue<unknown>>((queue) => queue.cancel());

/**
 * Yields chunks in the order in which they were sent. Leaving a `for await` (break, return, throw), aborting the signal or
 * dropping the stream cancels the generation. It can be read once; reading it again after the end throws StreamConsumedError.
 */
export class PushStream<Chunk> implements AsyncIterableIterator<Chunk> {
  readonly #queue: ChunkQueue<Chunk>;
  #readToEnd = false;

  constructor(queue: ChunkQueue<Chunk>) {
    this.#queue = queue;
    abandoned.register(this, queue);
  }

  [Symbol.asyncIterator](): this {
    if (this.#readToEnd) throw streamConsumed();
    return this;
  }

  /** The next chunk. Concurrent calls are answered in their order. */
  next(): Promise<IteratorResult<Chunk, undefined>> {
    return this.#queue.take(() => {
      this.#readToEnd = true;
    });
  }

  /** Stops the generation; called by `break`. */
  return(): Promise<IteratorResult<Chunk, undefined>> {
    this.#queue.cancel();
    this.#readToEnd = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Stops the generation and rejects with `error`, as a generator would. */
  throw(error: unknown): Promise<IteratorResult<Chunk, undefined>> {
    this.#queue.cancel();
    return Promise.reject(error);
  }
}
