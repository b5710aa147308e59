/**
 * Requests and replies over anything that can post messages. Owns the uuid of every message, the table of what is still
 * unanswered, and its three endings: value, error, peer lost. It knows envelopes, never what is inside them.
 */

import { engineClosed, errorFromWire } from "./errors.js";
import type { InitProgressReport, Reply, TabEvent } from "./protocol.gen.js";
import type { Notices, Replies } from "./wire.js";

/** The other side: a service worker, a MessagePort, or a host in this page. */
export interface Endpoint {
  postMessage(message: unknown, transfer: Transferable[]): void;
  /** Calls `listener` with the data of each message that comes back; returns how to stop that. */
  listen(listener: (data: unknown) => void): () => void;
}

/** What happens at the ending of one message. */
interface Pending {
  resolve(content: unknown): void;
  reject(error: unknown): void;
}

/** A message that is in the table until it has ended or is closed. */
export interface OpenMessage {
  readonly uuid: string;
  close(): void;
}

export interface RequestOptions {
  /** Sent along with the message. */
  transfer?: Transferable[];
  /** Aborting rejects at once with the signal's reason and sends one `hearth.cancel`. */
  signal?: AbortSignal | undefined;
  /** Called with the uuid that the message goes under. */
  onSent?: ((uuid: string) => void) | undefined;
}

/** One engine's connection to one endpoint. */
export class Transport {
  /** Called for load progress that belongs to this connection. */
  onProgress: ((report: InitProgressReport) => void) | undefined;
  /** Called for every answer to a `keepAlive`. */
  onHeartbeat: (() => void) | undefined;
  /** Called for what was done to a tab's context. */
  onEvent: ((event: TabEvent) => void) | undefined;

  readonly #endpoint: Endpoint;
  readonly #pending = new Map<string, Pending>();
  readonly #stopListening: () => void;
  #closed = false;

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.#stopListening = endpoint.listen((data) => this.#receive(data));
  }

  /** The messages that still wait for an ending. */
  pendingUuids(): string[] {
    return [...this.#pending.keys()];
  }

  /** Posts a message that has no reply. */
  notify<Kind extends keyof Notices>(kind: Kind, content: Notices[Kind]): void {
    if (!this.#closed) this.#endpoint.postMessage({ kind, uuid: crypto.randomUUID(), content }, []);
  }

  /** Posts a message and waits for its `return` or `throw`, for the peer to be lost, or for the signal. */
  request<Kind extends keyof Replies>(
    kind: Kind,
    content: unknown,
    { transfer = [], signal, onSent }: RequestOptions = {},
  ): Promise<Replies[Kind]> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const onAbort = (): void => {
        message.close();
        this.notify("hearth.cancel", { uuid: message.uuid });
        reject(signal?.reason);
      };
      const stopWaiting = (): void => signal?.removeEventListener("abort", onAbort);
      const message = this.open(kind, content, transfer, {
        resolve: (value) => (stopWaiting(), resolve(value as Replies[Kind])),
        reject: (error) => (stopWaiting(), reject(error)),
      });
      signal?.addEventListener("abort", onAbort, { once: true });
      onSent?.(message.uuid);
    });
  }

  /**
   * Posts a message and gives its ending to `pending`, until `close()`: also for requests that are answered elsewhere (on a
   * port) but can fail here. Throws what `postMessage` throws (content that cannot be cloned), leaving nothing behind.
   */
  open(kind: keyof Replies, content: unknown, transfer: Transferable[], pending: Pending): OpenMessage {
    if (this.#closed) throw engineClosed();
    const uuid = crypto.randomUUID();
    this.#pending.set(uuid, pending);
    try {
      this.#endpoint.postMessage({ kind, uuid, content }, transfer);
    } catch (error) {
      this.#pending.delete(uuid);
      throw error;
    }
    return { uuid, close: () => this.#pending.delete(uuid) };
  }

  /** The peer that had these messages is gone: those of them that still wait end with `error`. */
  lose(uuids: Iterable<string>, error: Error): void {
    for (const uuid of uuids) this.#take(uuid)?.reject(error);
  }

  /** Stops listening; what is pending ends with EngineClosedError. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopListening();
    this.lose(this.pendingUuids(), engineClosed());
  }

  #receive(data: unknown): void {
    const reply = decodeReply(data);
    switch (reply?.kind) {
      case undefined:
        return;
      case "heartbeat":
        this.onHeartbeat?.();
        return;
      case "initProgressCallback":
        // A stock web-llm worker may leave the uuid empty; uuids that are unknown here belong to another engine of the page.
        if (reply.uuid === "" || this.#pending.has(reply.uuid)) this.onProgress?.(reply.content);
        return;
      case "hearth.event":
        this.onEvent?.(reply.content);
        return;
      case "return":
        this.#take(reply.uuid)?.resolve(reply.content);
        return;
      case "throw":
        this.#take(reply.uuid)?.reject(errorFromWire(reply.error, reply.content));
        return;
      default:
        reply satisfies undefined;
    }
  }

  #take(uuid: string): Pending | undefined {
    const pending = this.#pending.get(uuid);
    this.#pending.delete(uuid);
    return pending;
  }
}

/** Reads a message of unknown origin as a reply. Anything else is `undefined` and ignored: other code may post here too. */
function decodeReply(data: unknown): Reply | undefined {
  if (typeof data !== "object" || data === null || !("kind" in data && "uuid" in data)) return undefined;
  if (typeof data.uuid !== "string") return undefined;
  const content = "content" in data ? data.content : undefined;
  switch (data.kind) {
    case "return":
    case "heartbeat":
      return data as Reply;
    case "throw":
      return typeof content === "string" ? (data as Reply) : undefined;
    case "initProgressCallback":
      return typeof content === "object" && content !== null ? (data as Reply) : undefined;
    case "hearth.event":
      return isTabEvent(content) ? (data as Reply) : undefined;
    default:
      return undefined;
  }
}

/** Kinds of events that are not known here are passed on: an app may be newer than this file. */
function isTabEvent(content: unknown): boolean {
  if (typeof content !== "object" || content === null) return false;
  return "type" in content && typeof content.type === "string" && "tab" in content && typeof content.tab === "string";
}
