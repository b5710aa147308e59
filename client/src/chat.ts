/** The `engine.chat.completions.create` path of the OpenAI-like API: thin, typed by the kind of reply that is asked for. */

import type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase,
  ChatCompletionRequestNonStreaming,
  ChatCompletionRequestStreaming,
} from "./types.js";

type Reply = Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;

/** `chat.completions`. */
export class Completions {
  readonly #create: (request: ChatCompletionRequestBase) => Reply;

  constructor(engine: { chatCompletion(request: ChatCompletionRequestBase): Reply }) {
    this.#create = (request) => engine.chatCompletion(request);
  }

  /** One reply, or with `stream: true` its chunks as they are made. `request.signal` cancels this request only. */
  create(request: ChatCompletionRequestNonStreaming): Promise<ChatCompletion>;
  create(request: ChatCompletionRequestStreaming): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatCompletionRequestBase): Reply;
  create(request: ChatCompletionRequestBase): Reply {
    return this.#create(request);
  }
}

/** `chat`. */
export class Chat {
  readonly completions: Completions;

  constructor(engine: { chatCompletion(request: ChatCompletionRequestBase): Reply }) {
    this.completions = new Completions(engine);
  }
}
