/**
 * A push stream on a MessagePort as an AsyncIterable. Owns the port, the queue of what has arrived but was not asked for yet,
 * and the ending: `end`, an error, cancelled by the reader, or peer lost. Whatever the ending, the port is closed.
 */

import { errorFromWire, HearthError, streamConsumed, workerLost } from "./errors.js";
import type { WireError } from "./protocol.gen.js";

/** What the worker posts on the port. */
type StreamMessage<Chunk> =
  | { type: "chunks"; chunks: Chunk[] }
  | { type: "end" }
  | { type: "error"; error: WireError };

/** Somebody who called `next()` and waits. */
interface Waiter<Chunk> {
  resolve(result: IteratorResult<Chunk, undefined>): void;
  reject(error: unknown): void;
}

/** How a stream ended; an error is thrown once, to the reader that meets it first. */
type Ending = { readonly kind: "done" } | { readonly kind: "failed"; readonly error: unknown };

/**
 * Yields chunks in the order in which they were sent. Leaving a `for await` (break, return, throw) or aborting the signal
 * cancels the generation. It can be read once; reading it again after the end throws StreamConsumedError.
 */
export class PushStream<Chunk> implements AsyncIterableIterator<Chunk> {
  readonly #port: MessagePort;
  readonly #signal: AbortSignal | undefined;
  readonly #onSettled: () => void;
  #queue: Chunk[] = [];
  #waiters: Waiter<Chunk>[] = [];
  #ending: Ending | undefined;
  #readToEnd = false;

  /** `onSettled` is called once, when no more messages can come. */
  constructor(port: MessagePort, signal: AbortSignal | undefined, onSettled: () => void) {
    this.#port = port;
    this.#signal = signal;
    this.#onSettled = onSettled;
    port.addEventListener("message", this.#onMessage);
    // Where the browser has it, this event comes at once when the worker dies; elsewhere the engine's probe calls fail().
    port.addEventListener("close", this.#onClose);
    port.start();
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#onAbort();
  }

  [Symbol.asyncIterator](): this {
    if (this.#readToEnd) throw streamConsumed();
    return this;
  }

  /** The next chunk. Concurrent calls are answered in their order. */
  next(): Promise<IteratorResult<Chunk, undefined>> {
    const chunk = this.#queue.shift();
    if (chunk !== undefined) return Promise.resolve({ done: false, value: chunk });
    const ending = this.#ending;
    if (ending === undefined) return new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    this.#readToEnd = true;
    this.#ending = { kind: "done" };
    return ending.kind === "failed" ? Promise.reject(ending.error) : Promise.resolve({ done: true, value: undefined });
  }

  /** Stops the generation; called by `break`. */
  return(): Promise<IteratorResult<Chunk, undefined>> {
    this.#cancel({ kind: "done" });
    this.#readToEnd = true;
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Stops the generation and rejects with `error`, as a generator would. */
  throw(error: unknown): Promise<IteratorResult<Chunk, undefined>> {
    this.#cancel({ kind: "done" });
    return Promise.reject(error);
  }

  /** Ends the stream with an error that did not come through the port. What had arrived can still be read first. */
  fail(error: unknown): void {
    this.#settle({ kind: "failed", error });
  }

  readonly #onMessage = (event: MessageEvent<unknown>): void => {
    const message = decodeStreamMessage<Chunk>(event.data);
    switch (message?.type) {
      case undefined:
        return;
      case "chunks":
        for (const chunk of message.chunks) this.#push(chunk);
        return;
      case "end":
        this.#settle({ kind: "done" });
        return;
      case "error":
        this.fail(errorFromWire(message.error, ""));
        return;
      default:
        message satisfies undefined;
    }
  };

  readonly #onClose = (): void => this.fail(workerLost("this stream"));

  readonly #onAbort = (): void => this.#cancel({ kind: "failed", error: this.#signal?.reason });

  #push(chunk: Chunk): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#queue.push(chunk);
    else waiter.resolve({ done: false, value: chunk });
  }

  #cancel(ending: Ending): void {
    this.#queue = [];
    if (this.#ending === undefined) this.#port.postMessage({ type: "cancel" });
    this.#settle(ending);
  }

  #settle(ending: Ending): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    this.#port.removeEventListener("message", this.#onMessage);
    this.#port.removeEventListener("close", this.#onClose);
    this.#signal?.removeEventListener("abort", this.#onAbort);
    this.#port.close();
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) this.next().then(waiter.resolve, waiter.reject);
    this.#onSettled();
  }
}

/** Reads a message of the port; anything else than the three kinds is a broken worker and ends the stream. */
function decodeStreamMessage<Chunk>(data: unknown): StreamMessage<Chunk> | undefined {
  if (typeof data === "object" && data !== null && "type" in data) {
    const message = data as Partial<StreamMessage<Chunk>>;
    if (message.type === "end") return { type: "end" };
    if (message.type === "chunks" && Array.isArray(message.chunks)) return { type: "chunks", chunks: message.chunks };
    if (message.type === "error" && message.error !== undefined) return { type: "error", error: message.error };
  }
  const error = new HearthError("ProtocolError", "The worker sent a message on a stream that this client cannot read.");
  return { type: "error", error: { name: error.name, message: error.message } };
}
