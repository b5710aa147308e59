/** A scripted other end: a real MessageChannel, what has arrived on it, and canned answers by kind. */

import { EngineClient } from "../src/engine.js";
import type { Endpoint } from "../src/transport.js";
import type { MLCEngineConfig } from "../src/types.js";

/** A message as it arrived. */
export interface Arrived {
  kind: string;
  uuid: string;
  content: unknown;
  port: MessagePort | undefined;
}

export class Peer {
  readonly arrived: Arrived[] = [];
  readonly endpoint: Endpoint;
  readonly #near: MessagePort;
  readonly #far: MessagePort;
  readonly #answers = new Map<string, (message: Arrived) => void>();
  #wakeUps: (() => void)[] = [];

  constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#near = port1;
    this.#far = port2;
    this.endpoint = {
      postMessage: (message, transfer) => port1.postMessage(message, transfer),
      listen: (listener) => {
        const onMessage = (event: MessageEvent<unknown>): void => listener(event.data);
        port1.addEventListener("message", onMessage);
        port1.start();
        return () => port1.removeEventListener("message", onMessage);
      },
    };
    port2.addEventListener("message", (event: MessageEvent<Omit<Arrived, "port">>) => {
      const message: Arrived = { ...event.data, port: event.ports[0] };
      this.arrived.push(message);
      this.#answers.get(message.kind)?.(message);
      for (const wake of this.#wakeUps.splice(0)) wake();
    });
    port2.start();
  }

  /** From now on messages of this kind are given to `answer`. */
  on(kind: string, answer: (message: Arrived) => void): this {
    this.#answers.set(kind, answer);
    return this;
  }

  /** From now on messages of this kind return `content`. */
  returns(kind: string, content: unknown): this {
    return this.on(kind, ({ uuid }) => this.post({ kind: "return", uuid, content }));
  }

  post(message: unknown): void {
    this.#far.postMessage(message);
  }

  /** The kinds that have arrived, in order. */
  kinds(): string[] {
    return this.arrived.map(({ kind }) => kind);
  }

  /** The `count`-th message of this kind (from 1), once it has come. */
  async received(kind: string, count = 1): Promise<Arrived> {
    for (;;) {
      const message = this.arrived.filter((item) => item.kind === kind)[count - 1];
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => this.#wakeUps.push(resolve));
    }
  }

  close(): void {
    for (const { port } of this.arrived) port?.close();
    this.#near.close();
    this.#far.close();
  }
}

/** The Web Locks of a worker's runs: `free` is the run's end. (Node has none before version 24.) */
export class FakeLocks {
  readonly #waiting = new Map<string, (() => unknown)[]>();

  request(name: string, ...rest: unknown[]): Promise<undefined> {
    const callback = rest.at(-1) as () => unknown;
    this.#waiting.set(name, [...(this.#waiting.get(name) ?? []), callback]);
    return new Promise(() => undefined);
  }

  free(name: string): void {
    for (const callback of this.#waiting.get(name) ?? []) callback();
    this.#waiting.delete(name);
  }
}

/** The engine over any endpoint. */
export class TestEngine extends EngineClient {
  constructor(endpoint: Endpoint, config: MLCEngineConfig = {}, keepAliveMs?: number, locks?: FakeLocks) {
    super("TestEngine", endpoint, config, keepAliveMs, locks);
  }
}

/** Lets everything that has been posted arrive, and what that caused. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** A chunk with this text. */
export function chunk(text: string): unknown {
  return {
    id: "id",
    object: "chat.completion.chunk",
    created: 0,
    model: "m",
    choices: [{ index: 0, delta: { role: "assistant", content: text }, finish_reason: null }],
  };
}
