/** A scripted other end: a real MessageChannel, what has arrived on it, and canned answers by kind. */

import { EngineClient, Session } from "../src/engine.js";
import { PageTab } from "../src/tab.js";
import type { Endpoint } from "../src/transport.js";
import type { ChatCompletionChunk, CompletionUsage, MLCEngineConfig } from "../src/types.js";
import type { ReplySnapshot } from "../src/protocol.gen.js";

/** A message as it arrived. */
export interface Arrived {
  kind: string;
  uuid: string;
  content: unknown;
  port: MessagePort | undefined;
}

/** What engines say without being asked. */
const OWN_KINDS = new Set(["hearth.hello", "hearth.tab"]);

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

  /** The kinds that have arrived, in order; without those that an engine sends by itself unless `all` are wanted. */
  kinds(which: "asked" | "all" = "asked"): string[] {
    const kinds = this.arrived.map(({ kind }) => kind);
    return which === "all" ? kinds : kinds.filter((kind) => !OWN_KINDS.has(kind));
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
  /** Every name that was asked for, in order. */
  readonly asked: string[] = [];
  readonly #waiting = new Map<string, (() => unknown)[]>();

  request(name: string, ...rest: unknown[]): Promise<undefined> {
    const callback = rest.at(-1) as () => unknown;
    this.asked.push(name);
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
  constructor(endpoint: Endpoint, config: MLCEngineConfig = {}, keepAliveMs?: number, locks?: FakeLocks, tab = new PageTab({})) {
    super("TestEngine", new Session(endpoint, config, { keepAliveMs, locks, tab }));
  }
}

/** Lets everything that has been posted arrive, and what that caused. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** What all chunks of a reply have. */
const REPLY = { id: "id", object: "chat.completion.chunk", created: 0, model: "m" } as const;

/** A chunk with this text. */
export function chunk(text: string): ChatCompletionChunk {
  return { ...REPLY, choices: [{ index: 0, delta: { role: "assistant", content: text }, finish_reason: null }] };
}

/** The chunk that ends a reply. */
export function finish(reason: "stop" | "length" | "abort" = "stop"): ChatCompletionChunk {
  return { ...REPLY, choices: [{ index: 0, delta: {}, finish_reason: reason }] };
}

/** The chunk with the usage. */
export function usage(promptTokens: number, completionTokens: number, cachedTokens = 0): ChatCompletionChunk {
  return { ...REPLY, choices: [], usage: usageOf(promptTokens, completionTokens, cachedTokens) };
}

/** What a reply cost. */
export function usageOf(promptTokens: number, completionTokens: number, cachedTokens = 0): CompletionUsage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
    extra: {
      e2e_latency_s: 1,
      prefill_tokens_per_s: 1,
      decode_tokens_per_s: 1,
      time_to_first_token_s: 1,
      time_per_output_token_s: 1,
    },
  };
}

/** A snapshot with these tokens generated. */
export function snapshot(...tokens: number[]): ReplySnapshot {
  return { id: "id", created: 0, seed: 7, prompt: [1, 2, 3], tokens, contextTokens: 512, report: { window: 512, used: 3 } };
}
