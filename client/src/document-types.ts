/** Public types of `engine.documents`: texts that are longer than the context. */

import type { CompressedText, TextChunk } from "./protocol.gen.js";

/** A text on its way to a model, as a preprocessor gets it. */
export interface PreprocessedDocument {
  /** The text. */
  text: string;
  /** Tokens of it that will be read; a longer result is shortened further. */
  maxTokens: number;
  /** What is asked about it. */
  query?: string;
}

/**
 * Shortens or cleans a text before `documents.ask` measures and reads it. A function runs in the page; an endpoint is sent
 * `POST {"text", "maxTokens", "query"}` as JSON and answers with the text, as `text/plain` or as JSON `{"text"}`.
 *
 * ```ts
 * const engine = await CreateServiceWorkerMLCEngine(model, { hearth: { preprocess: { endpoint: "/preprocess" } } });
 * const engine = await CreateServiceWorkerMLCEngine(model, { hearth: { preprocess: async ({ text }) => stripMarkup(text) } });
 * ```
 */
export type Preprocess = { endpoint: string } | ((doc: PreprocessedDocument) => Promise<string>);

/** Settings of `documents.chunk`. */
export interface ChunkOptions {
  /** Tokens of a piece at most. */
  maxTokens: number;
  /** Tokens that a piece repeats of the one before it, at most; 0 by default. */
  overlapTokens?: number;
  /** Which of several loaded models counts. */
  modelId?: string;
  signal?: AbortSignal;
}

/** Settings of `documents.compress`. */
export interface CompressOptions {
  /** Tokens of the result at most. */
  maxTokens: number;
  /** What the reader wants to know: sentences about it are kept first. */
  query?: string;
  /** Which of several loaded models counts. */
  modelId?: string;
  signal?: AbortSignal;
}

/** Settings of `documents.preprocess`. */
export interface PreprocessOptions {
  /** Tokens that will be read. */
  maxTokens: number;
  /** What is asked. */
  query?: string;
  /** Which of several loaded models it is for. */
  modelId?: string;
  signal?: AbortSignal;
}

/** How far `documents.ask` is. */
export interface AskProgress {
  /** `prepare`: preprocess, measure, shorten. `read`: parts and notes. `answer`: the last call. */
  phase: "prepare" | "read" | "answer";
  /** Steps of the phase that are done. */
  done: number;
  /** Steps of the phase. */
  total: number;
}

/** Settings of `documents.ask`. */
export interface AskOptions {
  /** Tokens of the answer at most; 256 by default. */
  maxTokens?: number;
  /** Tokens of one part; by default such that several parts are read at the same time. */
  chunkTokens?: number;
  /**
   * How much of the text is read, chosen by what the question is about: up to 1 a part of it, above 1 a number of tokens. By
   * default all of it, but no more than four windows.
   */
  detail?: number;
  /** Which of several loaded models. */
  modelId?: string;
  signal?: AbortSignal;
  onProgress?: (progress: AskProgress) => void;
  /** The answer as it is made, instead of at once. */
  stream?: boolean;
}

/** What the calls of one `documents.ask` cost together. */
export interface DocumentUsage {
  /** Calls of the model. */
  calls: number;
  /** Tokens read anew. */
  promptTokens: number;
  /** Tokens that were in the cache already. */
  cachedTokens: number;
  /** Tokens generated. */
  completionTokens: number;
}

/** What is known of an answer before it is there. */
interface DocumentReading {
  /** Parts in which the text was read; 1 where it fit into one prompt. */
  chunks: number;
  /** Tokens of the text that were read. */
  tokensRead: number;
  /** Tokens of the text as it was given. */
  originalTokens: number;
  /** What has been spent; of a stream complete once the answer has been read. */
  readonly usage: Readonly<DocumentUsage>;
}

/** An answer about a text. */
export interface DocumentAnswer extends DocumentReading {
  answer: string;
}

/** An answer about a text as it is made. */
export interface DocumentAnswerStream extends DocumentReading {
  /** Pieces of the answer. Leaving the loop stops the generation. */
  answer: AsyncIterable<string>;
}

/** Texts of any length. */
export interface Documents {
  /**
   * Cuts a text into pieces of at most so many tokens of the model, at headings, paragraphs and sentences where it can.
   *
   * ```ts
   * const pieces = await engine.documents.chunk(text, { maxTokens: 500, overlapTokens: 50 });
   * ```
   */
  chunk(text: string, options: ChunkOptions): Promise<TextChunk[]>;

  /**
   * Shortens a text to so many tokens by keeping its most telling sentences, without asking a model.
   *
   * ```ts
   * const { text: extract } = await engine.documents.compress(text, { maxTokens: 800, query: "What did it cost?" });
   * ```
   */
  compress(text: string, options: CompressOptions): Promise<CompressedText>;

  /** What the `preprocess` hook of the options makes of the text; the text itself where there is no hook. */
  preprocess(text: string, options: PreprocessOptions): Promise<string>;

  /**
   * Answers a question about a text of any length. A text that fits is read in one prompt; of a longer one the parts are read
   * at the same time, each makes a note, and the answer is made of the notes. It runs beside the conversation and leaves it as
   * it is.
   *
   * ```ts
   * const { answer, chunks, tokensRead } = await engine.documents.ask(text, "Who signed the contract?");
   *
   * const { answer } = await engine.documents.ask(text, question, { detail: 0.5, stream: true });
   * for await (const piece of answer) output.append(piece);
   * ```
   */
  ask(text: string, question: string, options: AskOptions & { stream: true }): Promise<DocumentAnswerStream>;
  ask(text: string, question: string, options?: AskOptions & { stream?: false }): Promise<DocumentAnswer>;
  ask(text: string, question: string, options?: AskOptions): Promise<DocumentAnswer | DocumentAnswerStream>;
}
