/**
 * web-llm's public type names over the types that cross the wire. Those come from the Rust protocol crate (protocol.gen.ts);
 * what is added here is what never crosses (callbacks, signals), and what TypeScript can say more exactly: requests split by
 * `stream`, messages split by `role`.
 */

import type {
  AppConfig,
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase as WireRequest,
  ChatOptions,
  ContentPart,
  InitProgressReport,
  LogLevel,
  UsageReport,
} from "./protocol.gen.js";

export type {
  AppConfig,
  AssistantMessage as ChatCompletionMessage,
  ChatCompletion,
  ChatCompletionChunk,
  ChatOptions,
  CompletionUsage,
  ContentPart as ChatCompletionContentPart,
  ContextReport,
  DeviceUsage,
  FinishReason as ChatCompletionFinishReason,
  HearthOptions,
  InitProgressReport,
  LogLevel,
  ModelRecord,
  ResponseFormat,
  Role as ChatCompletionRole,
  StreamOptions as ChatCompletionStreamOptions,
  TokenLogprob as ChatCompletionTokenLogprob,
  TopLogprob,
  UsageReport,
} from "./protocol.gen.js";

/** Called with each step of loading a model. */
export type InitProgressCallback = (report: InitProgressReport) => void;

/** What only Hearth's engines take. */
export interface HearthEngineOptions {
  /** Registers this script when the engine is made. Without it, the page registers its worker itself, as with web-llm. */
  serviceWorkerUrl?: string | URL;
  /** Scope of that registration. Default `/`: the server must then send `Service-Worker-Allowed: /`. */
  serviceWorkerScope?: string;
  /** Where `hearth_bg.wasm` is, for the engine in the page. Default: next to the package's index.js. */
  wasmUrl?: string | URL;
}

/** Settings of an engine. */
export interface MLCEngineConfig {
  appConfig?: AppConfig;
  initProgressCallback?: InitProgressCallback;
  logLevel?: LogLevel;
  hearth?: HearthEngineOptions;
}

/** Instructions; only as the first message. */
export interface ChatCompletionSystemMessageParam {
  role: "system";
  content: string;
}
/** What the person says. */
export interface ChatCompletionUserMessageParam {
  role: "user";
  content: string | ContentPart[];
  name?: string;
}
/** What the model said. */
export interface ChatCompletionAssistantMessageParam {
  role: "assistant";
  content?: string | null;
  name?: string;
  tool_calls?: ChatCompletionMessageToolCall[];
}
/** The result of a call that the model asked for. */
export interface ChatCompletionToolMessageParam {
  role: "tool";
  content: string;
  tool_call_id: string;
}
/** A call that the model asks for. */
export interface ChatCompletionMessageToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}
/** One message of a conversation. */
export type ChatCompletionMessageParam =
  | ChatCompletionSystemMessageParam
  | ChatCompletionUserMessageParam
  | ChatCompletionAssistantMessageParam
  | ChatCompletionToolMessageParam;

/** A chat request. `signal` stays in the page: aborting it cancels this request only. */
export interface ChatCompletionRequestBase extends Omit<WireRequest, "messages"> {
  messages: ChatCompletionMessageParam[];
  signal?: AbortSignal;
}
/** A request for one whole reply. */
export interface ChatCompletionRequestNonStreaming extends ChatCompletionRequestBase {
  stream?: false | null;
}
/** A request for a reply in chunks. */
export interface ChatCompletionRequestStreaming extends ChatCompletionRequestBase {
  stream: true;
}
export type ChatCompletionRequest = ChatCompletionRequestNonStreaming | ChatCompletionRequestStreaming;

/** `create` by the kind of reply that was asked for. */
export interface CreateChatCompletion {
  (request: ChatCompletionRequestNonStreaming): Promise<ChatCompletion>;
  (request: ChatCompletionRequestStreaming): Promise<AsyncIterable<ChatCompletionChunk>>;
  (request: ChatCompletionRequestBase): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;
}

/** Settings of one `reload()`. */
export interface ReloadOptions {
  /** Aborting it stops the load that this call asked for, unless another page waits for the same model. */
  signal?: AbortSignal;
}

/** What every engine does, wherever it runs. */
export interface MLCEngineInterface {
  readonly chat: { readonly completions: { readonly create: CreateChatCompletion } };
  readonly chatCompletion: CreateChatCompletion;
  setInitProgressCallback(callback?: InitProgressCallback): void;
  getInitProgressCallback(): InitProgressCallback | undefined;
  setAppConfig(appConfig: AppConfig): void;
  setLogLevel(logLevel: LogLevel): void;
  reload(modelId: string | string[], chatOpts?: ChatOptions | ChatOptions[], options?: ReloadOptions): Promise<void>;
  unload(): Promise<void>;
  resetChat(keepStats?: boolean, modelId?: string): Promise<void>;
  getMessage(modelId?: string): Promise<string>;
  runtimeStatsText(modelId?: string): Promise<string>;
  interruptGenerate(): void;
  /** The state of the shared key-value cache, and what this page holds of it. */
  poolUsage(modelId?: string): Promise<UsageReport>;
  /** Stops listening and pinging. The worker and its model stay for other pages. */
  close(): void;
}
