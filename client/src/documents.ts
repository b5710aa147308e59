/** `engine.documents`: what is done with texts that are longer than the context. The counting and cutting is the worker's. */

import { Ask, type AskHost } from "./ask.js";
import type { SendOptions } from "./connection.js";
import { preprocess } from "./preprocess.js";
import type { ChatCompletionChunk, CompressedText, TextChunk } from "./protocol.gen.js";
import type { Replies } from "./wire.js";
import type {
  AskOptions,
  ChunkOptions,
  CompressOptions,
  DocumentAnswer,
  DocumentAnswerStream,
  Documents,
  HearthEngine,
  Preprocess,
  PreprocessOptions,
} from "./types.js";

/** What documents need of their engine. */
export interface DocumentHost {
  /** A request that carries the page's models; `model` is which of them is meant. */
  requestWithModels<Kind extends keyof Replies>(
    kind: Kind,
    content: Record<string, unknown>,
    model: string | undefined,
    options: Pick<SendOptions, "signal">,
  ): Promise<Replies[Kind]>;
  /** The hook of this model. */
  findPreprocess(modelId: string | undefined): Preprocess | undefined;
  /** A conversation of its own, to be closed. */
  fork(): Promise<HearthEngine>;
}

/** The documents of one engine or branch. */
export class DocumentClient implements Documents {
  readonly #host: DocumentHost;

  constructor(host: DocumentHost) {
    this.#host = host;
  }

  chunk(text: string, { modelId, signal, ...options }: ChunkOptions): Promise<TextChunk[]> {
    return this.#host.requestWithModels("hearth.chunk", { text, ...options }, modelId, { signal });
  }

  compress(text: string, { modelId, signal, ...options }: CompressOptions): Promise<CompressedText> {
    return this.#host.requestWithModels("hearth.compress", { text, ...options }, modelId, { signal });
  }

  async preprocess(text: string, { modelId, signal, ...options }: PreprocessOptions): Promise<string> {
    const hook = this.#host.findPreprocess(modelId);
    return hook === undefined ? text : preprocess(hook, { text, ...options }, signal);
  }

  ask(text: string, question: string, options: AskOptions & { stream: true }): Promise<DocumentAnswerStream>;
  ask(text: string, question: string, options?: AskOptions & { stream?: false }): Promise<DocumentAnswer>;
  ask(text: string, question: string, options?: AskOptions): Promise<DocumentAnswer | DocumentAnswerStream>;
  async ask(text: string, question: string, options: AskOptions = {}): Promise<DocumentAnswer | DocumentAnswerStream> {
    options.signal?.throwIfAborted();
    // Beside the page's conversation: what it last said and how much room it has stay what they were.
    const branch = await this.#host.fork();
    let closesLater = false;
    try {
      const ask = new Ask(this.#askHost(branch, options), question, options);
      if (options.stream !== true) return await ask.answer(text);
      const reply = await ask.stream(text);
      closesLater = true;
      return { ...reply, answer: closing(reply.answer, () => branch.close()) };
    } finally {
      if (!closesLater) branch.close();
    }
  }

  #askHost(branch: HearthEngine, { modelId, signal }: AskOptions): AskHost {
    const which = modelId === undefined ? {} : { modelId };
    const common = signal === undefined ? which : { ...which, signal };
    const request = (maxTokens: number): { model?: string; temperature: number; max_tokens: number } => ({
      ...(modelId === undefined ? {} : { model: modelId }),
      temperature: 0,
      max_tokens: maxTokens,
    });
    // Prompts are cut to fit; where the room has shrunk meanwhile, an error is better than an answer from half a text.
    const hearth = { overflowPolicy: "error" } as const;
    return {
      measure: (input) => {
        const content = typeof input === "string" ? { text: input } : { messages: input };
        return this.#host.requestWithModels("hearth.measure", content, modelId, { signal });
      },
      context: () => branch.contextUsage(modelId),
      preprocess: (text, maxTokens, query) => this.preprocess(text, { ...common, maxTokens, query }),
      chunk: (text, maxTokens) => this.chunk(text, { ...common, maxTokens }),
      compress: (text, maxTokens, query) => this.compress(text, { ...common, maxTokens, query }),
      complete: (messages, maxTokens, stop) =>
        branch.chatCompletion({ ...request(maxTokens), messages, hearth, ...(stop === undefined ? {} : { signal: stop }) }),
      stream: (messages, maxTokens): Promise<AsyncIterable<ChatCompletionChunk>> =>
        branch.chatCompletion({
          ...request(maxTokens),
          messages,
          hearth,
          stream: true,
          stream_options: { include_usage: true },
          ...(signal === undefined ? {} : { signal }),
        }),
    };
  }
}

/** The same, with `close` called however the reader leaves. */
async function* closing(pieces: AsyncIterable<string>, close: () => void): AsyncIterable<string> {
  try {
    yield* pieces;
  } finally {
    close();
  }
}
