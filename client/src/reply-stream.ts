/**
 * A streamed reply that outlives its worker. Owns the port, the snapshot of what has come so far, and going on elsewhere: when
 * the worker is lost, the rest is asked for on a new port, and the reader notices nothing. Chunks and the tokens that they
 * stand for arrive in one message, so the snapshot never tells of text that the reader lacks, nor the other way round.
 */

import { errorFromWire, HearthError, workerLost } from "./errors.js";
import type { ChatCompletionChunk, PushControl, PushMessage, ReplySnapshot } from "./protocol.gen.js";
import { ChunkQueue, PushStream } from "./stream.js";
import type { OpenMessage } from "./transport.js";

/** What a reply needs of its engine. */
export interface ReplyOptions {
  /**
   * Sends the request, or with `resume` the rest of it. Answers come on the other end of `port`; what fails before that is
   * given to `onFailure`.
   */
  open(resume: ReplySnapshot | undefined, port: MessagePort, onFailure: (error: unknown) => void): OpenMessage;
  /** Whether a request that ended with this error may be sent again. */
  canSendAgain(error: unknown): boolean;
  /** The port was closed from the other side: whoever is there now has forgotten this page. */
  forget(): void;
  /** Whether the reader has asked for no more: then what has come is all. */
  isInterrupted(): boolean;
  /** How often the rest is asked for without a new token in between. */
  maxResends: number;
  /** The last chunk has the usage, and no chunks. */
  wantsUsage: boolean;
  signal: AbortSignal | undefined;
  /** Called once, when no more messages can come. */
  onSettled(): void;
}

/** Opens a reply and gives what its reader holds. Throws what sending throws. */
export function openReply(options: ReplyOptions): PushStream<ChatCompletionChunk> {
  return new PushStream(new ReplySource(options).queue);
}

/** The writer of the queue. */
class ReplySource {
  readonly queue: ChunkQueue<ChatCompletionChunk>;

  readonly #options: ReplyOptions;
  #disconnect: (() => void) | undefined;
  #port: MessagePort | undefined;
  #snapshot: ReplySnapshot | undefined;
  #numResends = 0;
  #hasText = false;
  #hasFinished = false;
  #hasUsage = false;

  constructor(options: ReplyOptions) {
    this.#options = options;
    this.queue = new ChunkQueue((isCancelled) => this.#settle(isCancelled));
    const { signal } = options;
    this.#connect();
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (signal?.aborted === true) this.#onAbort();
  }

  readonly #onAbort = (): void => this.queue.abort(this.#options.signal?.reason);

  #connect(): void {
    const { port1, port2 } = new MessageChannel();
    const onMessage = (event: MessageEvent<unknown>): void => this.#receive(event.data);
    // Where the browser has it, this event comes at once when the worker dies; elsewhere the engine's probe finds out.
    const onClose = (): void => {
      this.#options.forget();
      this.#lose(workerLost("this stream"));
    };
    port1.addEventListener("message", onMessage);
    port1.addEventListener("close", onClose);
    let message: OpenMessage | undefined;
    this.#port = port1;
    this.#disconnect = () => {
      message?.close();
      port1.removeEventListener("message", onMessage);
      port1.removeEventListener("close", onClose);
      port1.close();
      this.#disconnect = undefined;
      this.#port = undefined;
    };
    try {
      message = this.#options.open(this.#snapshot, port2, (error) => this.#lose(error));
      port1.start();
    } catch (error) {
      this.#disconnect();
      throw error;
    }
  }

  #receive(data: unknown): void {
    const message = decodePushMessage(data);
    switch (message.type) {
      case "begin":
        // What was resumed from is what has been delivered: this side knows it better than any worker.
        this.#snapshot = { ...message.snapshot, tokens: this.#snapshot?.tokens ?? [...message.snapshot.tokens] };
        return;
      case "chunks":
        for (const token of message.tokens) this.#snapshot?.tokens.push(token);
        if (message.tokens.length > 0) this.#numResends = 0;
        for (const chunk of message.chunks) this.#push(chunk);
        return;
      case "end":
        this.queue.end();
        return;
      case "error":
        this.#lose(errorFromWire(message.error, ""));
        return;
      default:
        message satisfies undefined;
    }
  }

  /** After the chunk that ends the reply there is only the one with the usage: a resumed reply says both again. */
  #push(chunk: ChatCompletionChunk): void {
    const isUsage = chunk.usage !== undefined && chunk.choices.length === 0;
    if (isUsage ? this.#hasUsage : this.#hasFinished) return;
    this.#hasText = true;
    if (isUsage) this.#hasUsage = true;
    else if (chunk.choices.some(({ finish_reason: reason }) => reason !== null && reason !== undefined)) this.#hasFinished = true;
    this.queue.push(chunk);
  }

  /** What was asked for ended with an error. */
  #lose(error: unknown): void {
    this.#disconnect?.();
    const { maxResends, wantsUsage } = this.#options;
    if (!this.#options.canSendAgain(error)) return this.queue.fail(error);
    if (this.#hasFinished && (this.#hasUsage || !wantsUsage)) return this.queue.end();
    if (this.#options.isInterrupted()) return this.queue.end();
    // Text of a worker that sent no snapshot cannot be gone on from.
    const isLostForGood = this.#hasText && this.#snapshot === undefined;
    if (isLostForGood || this.#numResends >= maxResends) return this.queue.fail(error);
    this.#numResends += 1;
    try {
      this.#connect();
    } catch (failure) {
      this.queue.fail(failure);
    }
  }

  #settle(isCancelled: boolean): void {
    if (isCancelled) this.#port?.postMessage({ type: "cancel" } satisfies PushControl);
    this.#disconnect?.();
    this.#options.signal?.removeEventListener("abort", this.#onAbort);
    this.#options.onSettled();
  }
}

/** Reads a message of the port; anything unknown is a broken worker and ends the stream. */
function decodePushMessage(data: unknown): PushMessage {
  if (typeof data === "object" && data !== null && "type" in data) {
    const message = data as Partial<Record<string, unknown>>;
    const isReadable =
      message["type"] === "end" ||
      (message["type"] === "error" && typeof message["error"] === "object" && message["error"] !== null) ||
      (message["type"] === "begin" && isSnapshot(message["snapshot"])) ||
      (message["type"] === "chunks" && areChunks(message["chunks"]) && areTokens(message["tokens"]));
    if (isReadable) return data as PushMessage;
  }
  const error = new HearthError("ProtocolError", "The worker sent a message on a stream that this client cannot read.");
  return { type: "error", error: { name: error.name, message: error.message } };
}

function isSnapshot(value: unknown): boolean {
  return typeof value === "object" && value !== null && "tokens" in value && areTokens(value.tokens);
}

function areTokens(value: unknown): boolean {
  return Array.isArray(value) && value.every((token) => typeof token === "number");
}

function areChunks(value: unknown): boolean {
  return Array.isArray(value) && value.every((chunk: unknown) => typeof chunk === "object" && chunk !== null && "choices" in chunk && Array.isArray(chunk.choices));
}
