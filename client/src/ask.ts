/**
 * A question about a text of any length: map-reduce over the model, in the page. Owns the prompts, how much is read and in
 * which parts, and what becomes of the notes. Tokens are counted by the worker; nothing here depends on a small model obeying
 * its instructions: notes that say nothing are left out, and the sentences that are closest to the question go along.
 */

import { questionTooLong } from "./errors.js";
import type { ChatCompletion, ChatCompletionChunk, CompletionUsage, CompressedText, ContextUsage, TextChunk } from "./protocol.gen.js";
import type { AskOptions, AskProgress, ChatCompletionMessageParam, DocumentAnswer, DocumentAnswerStream, DocumentUsage } from "./types.js";

/** What the answer takes unless the caller says. */
const ANSWER_TOKENS = 256;

/** Notes are a sentence or two; with less than a quarter of its part each level is shorter than the one before it. */
const NOTE_TOKENS = { min: 16, max: 96, partOfPart: 1 / 4 };

/** Of a text without `detail` this many windows are read: what takes minutes is the caller's choice. */
const WINDOWS_READ = 4;

/** The tab's budget holds this many parts at once, so that they are read as one batch. */
const PARTS_AT_ONCE = 4;

/** Small models lose the thread in longer parts; in shorter ones the instruction costs more than the text. */
const PART_TOKENS = { min: 128, max: 1024 };

/** With less than this beside the question there is nothing to answer from. */
const MIN_ROOM_TOKENS = 32;

/** A text in a template and the same text alone differ by a few tokens where they touch. */
const MARGIN_TOKENS = 16;

/** Notes that do not get shorter than this part of what they were made of are shortened without the model. */
const MAX_SHRINKAGE = 3 / 4;

const NOTE_INSTRUCTION =
  "You read one part of a longer text. Say in one or two short sentences what it says about the question. " +
  "Use only this part. If it says nothing about the question, reply: none.";
const ANSWER_INSTRUCTION = "Answer the question from the text. Use only the text.";

/** What is meant by "nothing"; a longer note that begins so goes on with something. */
const SAYS_NOTHING = /^\W*(none|nothing|no answer|n\/a|not (mentioned|stated|found|specified|given))\b/i;
const MAX_NOTHING_CHARACTERS = 60;

/** What asking needs of the engine; the model, the signal and the branch are given already. */
export interface AskHost {
  measure(input: string | ChatCompletionMessageParam[]): Promise<number>;
  context(): Promise<ContextUsage>;
  preprocess(text: string, maxTokens: number, query: string): Promise<string>;
  chunk(text: string, maxTokens: number): Promise<TextChunk[]>;
  compress(text: string, maxTokens: number, query: string): Promise<CompressedText>;
  /** One whole reply, greedily. */
  complete(messages: ChatCompletionMessageParam[], maxTokens: number, signal: AbortSignal | undefined): Promise<ChatCompletion>;
  /** The same in chunks, the last one with the usage. */
  stream(messages: ChatCompletionMessageParam[], maxTokens: number): Promise<AsyncIterable<ChatCompletionChunk>>;
}

/** Where the parts of one question fit. */
interface Room {
  /** Tokens of the tab's context. */
  limit: number;
  /** Tokens of text in the prompt of the answer. */
  text: number;
  answerTokens: number;
  partTokens: number;
  noteTokens: number;
}

/** What the answer is made from. */
interface Material {
  text: string;
  chunks: number;
  tokensRead: number;
  originalTokens: number;
}

/** One question about one text. */
export class Ask {
  readonly #host: AskHost;
  readonly #question: string;
  readonly #options: AskOptions;
  readonly #usage: DocumentUsage = { calls: 0, promptTokens: 0, cachedTokens: 0, completionTokens: 0 };

  constructor(host: AskHost, question: string, options: AskOptions) {
    this.#host = host;
    this.#question = question;
    this.#options = options;
  }

  async answer(text: string): Promise<DocumentAnswer> {
    const [room, material] = await this.#read(text);
    this.#report("answer", 0, 1);
    const reply = await this.#host.complete(this.#answerPrompt(material.text), room.answerTokens, this.#options.signal);
    this.#spend(reply.usage);
    this.#report("answer", 1, 1);
    return { ...this.#result(material), answer: reply.choices[0]?.message.content ?? "" };
  }

  async stream(text: string): Promise<DocumentAnswerStream> {
    const [room, material] = await this.#read(text);
    this.#report("answer", 0, 1);
    const chunks = await this.#host.stream(this.#answerPrompt(material.text), room.answerTokens);
    return { ...this.#result(material), answer: this.#pieces(chunks) };
  }

  async *#pieces(chunks: AsyncIterable<ChatCompletionChunk>): AsyncIterable<string> {
    for await (const { choices, usage } of chunks) {
      if (usage !== undefined) this.#spend(usage);
      const piece = choices[0]?.delta.content;
      if (piece !== undefined && piece !== "") yield piece;
    }
    this.#report("answer", 1, 1);
  }

  #result({ chunks, tokensRead, originalTokens }: Material): Omit<DocumentAnswer, "answer"> {
    return { chunks, tokensRead, originalTokens, usage: this.#usage };
  }

  /** Everything before the last call. */
  async #read(text: string): Promise<[Room, Material]> {
    this.#report("prepare", 0, 1);
    const room = await this.#findRoom();
    const originalTokens = await this.#host.measure(text);
    const wantedTokens = tokensToRead(this.#options.detail, originalTokens, room.limit);
    const prepared = await this.#host.preprocess(text, wantedTokens, this.#question);
    let reading = { text: prepared, tokens: prepared === text ? originalTokens : await this.#host.measure(prepared) };
    if (reading.tokens > wantedTokens) reading = await this.#host.compress(prepared, wantedTokens, this.#question);
    this.#report("prepare", 1, 1);
    const tokensRead = reading.tokens;
    if (reading.tokens <= room.text) return [room, { text: reading.text, chunks: 1, tokensRead, originalTokens }];
    const { text: material, chunks } = await this.#readInParts(reading.text, tokensRead, room);
    return [room, { text: material, chunks, tokensRead, originalTokens }];
  }

  async #findRoom(): Promise<Room> {
    // Measuring loads the model where the worker has forgotten it; only then can it say how much room there is.
    const [note, answer] = await Promise.all([this.#host.measure(this.#notePrompt("")), this.#host.measure(this.#answerPrompt(""))]);
    const { window, budget } = await this.#host.context();
    const limit = Math.min(window, budget);
    const answerTokens = this.#options.maxTokens ?? Math.min(ANSWER_TOKENS, Math.floor(limit / 4));
    const text = limit - answer - answerTokens - MARGIN_TOKENS;
    const partRoom = limit - note - NOTE_TOKENS.max - MARGIN_TOKENS;
    if (Math.min(text, partRoom) < MIN_ROOM_TOKENS) throw questionTooLong(answer, answerTokens, limit);
    const inBatch = Math.floor(budget / PARTS_AT_ONCE) - note - NOTE_TOKENS.max - MARGIN_TOKENS;
    const wanted = this.#options.chunkTokens ?? clamp(inBatch, PART_TOKENS.min, PART_TOKENS.max);
    const partTokens = Math.max(1, Math.min(Math.floor(wanted), partRoom));
    const noteTokens = clamp(Math.floor(partTokens * NOTE_TOKENS.partOfPart), NOTE_TOKENS.min, NOTE_TOKENS.max);
    return { limit, text, answerTokens, partTokens, noteTokens };
  }

  /** Notes of all parts; notes of the notes while they do not fit. */
  async #readInParts(text: string, textTokens: number, room: Room): Promise<{ text: string; chunks: number }> {
    let notes = text;
    let tokens = textTokens;
    let chunks: number | undefined;
    let numDone = 0;
    while (tokens > room.text) {
      const parts = await this.#host.chunk(notes, room.partTokens);
      chunks ??= parts.length;
      const total = numDone + parts.length;
      this.#report("read", numDone, total);
      const replies = await this.#takeNotes(parts, room.noteTokens, () => this.#report("read", (numDone += 1), total));
      const useful = [...new Set(replies.map((note) => note.trim()).filter(saysSomething))];
      notes = useful.map((note) => `- ${note}`).join("\n");
      const noteTokens = notes === "" ? 0 : await this.#host.measure(notes);
      if (noteTokens > tokens * MAX_SHRINKAGE) {
        ({ text: notes, tokens } = await this.#host.compress(notes, room.text, this.#question));
        break;
      }
      tokens = noteTokens;
    }
    return { text: await this.#addExtract(notes, tokens, text, room), chunks: chunks ?? 1 };
  }

  /** All at once: the worker runs them as one batch. One that fails stops the others. */
  async #takeNotes(parts: readonly TextChunk[], maxTokens: number, onDone: () => void): Promise<string[]> {
    const { signal } = this.#options;
    const stop = new AbortController();
    const onAbort = (): void => stop.abort(signal?.reason);
    signal?.throwIfAborted();
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.all(
        parts.map(async ({ text }) => {
          const reply = await this.#host.complete(this.#notePrompt(text), maxTokens, stop.signal);
          this.#spend(reply.usage);
          onDone();
          return reply.choices[0]?.message.content ?? "";
        }),
      );
    } catch (error) {
      stop.abort(error);
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** A small model's notes may miss the point: where there is room, the sentences closest to the question go along. */
  async #addExtract(notes: string, noteTokens: number, text: string, room: Room): Promise<string> {
    const free = room.text - noteTokens - MARGIN_TOKENS;
    const maxTokens = notes === "" ? free : Math.min(free, Math.floor(room.text / 2));
    if (maxTokens < MIN_ROOM_TOKENS) return notes;
    const { text: extract } = await this.#host.compress(text, maxTokens, this.#question);
    return notes === "" ? extract : `${notes}\n\n${extract}`;
  }

  #notePrompt(text: string): ChatCompletionMessageParam[] {
    return prompt(NOTE_INSTRUCTION, text, this.#question);
  }

  #answerPrompt(text: string): ChatCompletionMessageParam[] {
    return prompt(ANSWER_INSTRUCTION, text, this.#question);
  }

  #spend(usage: CompletionUsage | undefined): void {
    this.#usage.calls += 1;
    if (usage === undefined) return;
    this.#usage.promptTokens += usage.prompt_tokens;
    this.#usage.completionTokens += usage.completion_tokens;
    // A stock web-llm worker does not say.
    const details: CompletionUsage["prompt_tokens_details"] | undefined = usage.prompt_tokens_details;
    this.#usage.cachedTokens += details?.cached_tokens ?? 0;
  }

  #report(phase: AskProgress["phase"], done: number, total: number): void {
    this.#options.onProgress?.({ phase, done, total });
  }
}

/** The instruction comes first and is the same for all parts, so that it is read once. */
function prompt(instruction: string, text: string, question: string): ChatCompletionMessageParam[] {
  return [
    { role: "system", content: instruction },
    { role: "user", content: `Text:\n${text}\n\nQuestion: ${question}` },
  ];
}

function tokensToRead(detail: number | undefined, originalTokens: number, limit: number): number {
  if (detail === undefined) return Math.min(originalTokens, WINDOWS_READ * limit);
  if (!(detail > 0 && Number.isFinite(detail))) {
    throw new RangeError(`detail is a part of the text (above 0, at most 1) or a number of tokens (above 1); got ${detail}`);
  }
  return Math.max(1, detail <= 1 ? Math.ceil(originalTokens * detail) : Math.min(originalTokens, Math.floor(detail)));
}

function saysSomething(note: string): boolean {
  return note !== "" && !(note.length <= MAX_NOTHING_CHARACTERS && SAYS_NOTHING.test(note));
}

function clamp(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}
