/**
 * Runs the wasm engine for whoever hosts it: a service worker or the page. Owns the instance (booted lazily, once; dropped
 * when it traps, a fresh one for the next message) and the list of what is being worked on. Every message ends on every path.
 * It looks into a message only for its envelope and for the kinds that must work without wasm or are no reason to start it.
 */

import { HearthError } from "./errors.js";
import type { WireError } from "./protocol.gen.js";
import { runLockName } from "./wire.js";
import type { Glue, Host, Reply } from "hearth-wasm";

/** Where this host runs; tells the wasm what it may use. */
export type HostKind = ConstructorParameters<Glue["Host"]>[0]["kind"];

/** Where the wasm comes from. */
export interface WasmSource {
  /** For the error that names it. */
  readonly url: URL;
  /** The wasm itself, or where the glue is to fetch it. */
  open(): Promise<Response> | URL;
}

/** One life of the wasm, from its start until it traps. */
interface Instance {
  readonly host: Host;
  /** Rejects when the instance has trapped: nothing that it was doing will ever settle. */
  readonly trapped: Promise<never>;
  readonly trap: (error: unknown) => void;
}

/** The envelope of a message, as far as it has one. */
interface Envelope {
  readonly kind: string | undefined;
  readonly uuid: string | undefined;
  readonly content: unknown;
}

/** The one engine of this global scope. */
export class HostRunner {
  readonly #kind: HostKind;
  readonly #createGlue: () => Glue;
  readonly #wasm: WasmSource;
  /** Identity of this run of the script: a page whose requests it does not know sent them to an earlier run. */
  readonly #run = crypto.randomUUID();
  readonly #inFlight = new Map<string, number>();
  /** Resolves when this run holds its lock: until then a page could take it and believe that the run has ended. */
  readonly #locked: Promise<void>;
  #booting: Promise<Instance> | undefined;
  #instance: Instance | undefined;

  constructor(kind: HostKind, createGlue: () => Glue, wasm: WasmSource) {
    this.#kind = kind;
    this.#createGlue = createGlue;
    this.#wasm = wasm;
    // Nobody outlives the page to watch it, and a held lock keeps it out of the browser's back-forward cache.
    this.#locked = kind === "page" ? Promise.resolve() : holdUntilTheEnd(runLockName(this.#run));
  }

  /** Handles one message of a client. Never rejects; settles when everything that the message caused has ended. */
  async handle(clientId: string, data: unknown, port: MessagePort | undefined, reply: Reply): Promise<void> {
    const envelope = readEnvelope(data);
    // Without an envelope there is nobody to answer, whatever it was.
    if (envelope === undefined) return;
    if (envelope.kind === "hearth.alive") return this.#answerAlive(envelope, reply);
    if (envelope.kind === "keepAlive" && this.#instance === undefined) {
      // A ping keeps the scope alive; it is no reason to start the engine.
      if (envelope.uuid !== undefined) reply({ kind: "heartbeat", uuid: envelope.uuid });
      return;
    }
    // News about a page, for an engine that has nothing to apply them to. One that is starting was told of the page before.
    if (this.#booting === undefined && (envelope.kind === "hearth.tab" || envelope.kind === "hearth.watch")) return;
    const finish = this.#begin(envelope.uuid);
    try {
      const instance = await this.#boot();
      await this.#runIn(instance, () => instance.host.handleMessage(clientId, data, port, reply));
    } catch (error) {
      const wireError = toWireError(error);
      if (port !== undefined) {
        port.postMessage({ type: "error", error: wireError });
        port.close();
      } else if (envelope.uuid !== undefined) {
        const content = `${wireError.name}: ${wireError.message}`;
        reply({ kind: "throw", uuid: envelope.uuid, content, error: wireError });
      }
    } finally {
      finish();
    }
  }

  /**
   * Reports an error that nobody caught in this scope. A trap inside a spawned wasm task surfaces only here, and leaves every
   * promise of the instance pending. Returns whether it was one.
   */
  reportUncaught(error: unknown): boolean {
    if (!isTrap(error) || this.#instance === undefined) return false;
    this.#instance.trap(error);
    return true;
  }

  async #runIn(instance: Instance, work: () => Promise<void>): Promise<void> {
    try {
      await Promise.race([work(), instance.trapped]);
    } catch (error) {
      if (!isTrap(error)) throw error;
      instance.trap(error);
      throw engineCrashed(error);
    }
  }

  #boot(): Promise<Instance> {
    this.#booting ??= this.#start().catch((error: unknown) => {
      // The next message tries again: a wasm file that could not be fetched may come back.
      this.#booting = undefined;
      throw error;
    });
    return this.#booting;
  }

  async #start(): Promise<Instance> {
    const glue = this.#createGlue();
    try {
      await glue.default({ module_or_path: await this.#wasm.open() });
    } catch (error) {
      throw new HearthError(
        "EngineStartError",
        `The engine could not be started from ${this.#wasm.url.href}: ${String(error)}. ` +
          "Serve hearth_bg.wasm of the same version next to hearth-sw.js, with the type application/wasm.",
        { url: this.#wasm.url.href },
        { cause: error },
      );
    }
    let reject: (error: unknown) => void = () => undefined;
    const trapped = new Promise<never>((_resolve, rejectTrapped) => {
      reject = rejectTrapped;
    });
    trapped.catch(() => undefined);
    const instance: Instance = {
      host: new glue.Host({ kind: this.#kind }),
      trapped,
      trap: (error) => {
        if (this.#instance === instance) {
          this.#instance = undefined;
          this.#booting = undefined;
        }
        reject(error);
      },
    };
    this.#instance = instance;
    return instance;
  }

  #begin(uuid: string | undefined): () => void {
    if (uuid === undefined) return () => undefined;
    this.#inFlight.set(uuid, (this.#inFlight.get(uuid) ?? 0) + 1);
    return () => {
      const count = (this.#inFlight.get(uuid) ?? 1) - 1;
      if (count === 0) this.#inFlight.delete(uuid);
      else this.#inFlight.set(uuid, count);
    };
  }

  async #answerAlive({ uuid, content }: Envelope, reply: Reply): Promise<void> {
    if (uuid === undefined) return;
    await this.#locked;
    const asked = isRecord(content) && Array.isArray(content["uuids"]) ? content["uuids"] : [];
    const unknown = asked.filter((item) => typeof item !== "string" || !this.#inFlight.has(item));
    reply({ kind: "return", uuid, content: { run: this.#run, unknown } });
  }
}

/** Takes a Web Lock that nobody else wants, for as long as this scope lives; where there are none, pages fall back to pings. */
function holdUntilTheEnd(name: string): Promise<void> {
  const locks: LockManager | undefined = globalThis.navigator?.locks;
  return new Promise((resolve) => {
    if (locks === undefined) return resolve();
    const forEver = new Promise<never>(() => undefined);
    locks.request(name, () => (resolve(), forEver)).catch(() => resolve());
  });
}

function readEnvelope(data: unknown): Envelope | undefined {
  if (!isRecord(data)) return undefined;
  const { kind, uuid, content } = data;
  return {
    kind: typeof kind === "string" ? kind : undefined,
    uuid: typeof uuid === "string" ? uuid : undefined,
    content,
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

/** A wasm trap: a broken invariant in the engine, after which its memory must not be used again. */
function isTrap(error: unknown): boolean {
  return error instanceof WebAssembly.RuntimeError;
}

function engineCrashed(cause: unknown): HearthError {
  return new HearthError(
    "EngineCrashedError",
    `The engine met an internal error and was restarted (${String(cause)}). Send the request again; ` +
      "if it happens again with the same request, please report it with that request.",
    { retryable: true },
    { cause },
  );
}

function toWireError(error: unknown): WireError {
  if (error instanceof HearthError) return { name: error.name, message: error.message, details: { ...error.details } };
  if (error instanceof Error) return { name: error.name, message: error.message };
  return { name: "Error", message: String(error) };
}
