/**
 * web-llm's public type names over the types that cross the wire. Those come from the Rust protocol crate (protocol.gen.ts);
 * what is added here is what never crosses (callbacks, signals), and what TypeScript can say more exactly: requests split by
 * `stream`, messages split by `role`.
 */

import type {
  AppConfig,
  AppendReply,
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase as WireRequest,
  ChatOptions as WireChatOptions,
  ContentPart,
  ContextUsage,
  HearthOptions as WireHearthOptions,
  InitProgressReport,
  LogLevel,
  PoolReport,
  TabEvent,
  TabReport,
  UsageReport,
} from "./protocol.gen.js";
import type { Documents, Preprocess } from "./document-types.js";

export type * from "./document-types.js";
export type {
  AppConfig,
  AppendReply,
  AssistantMessage as ChatCompletionMessage,
  ChatCompletion,
  ChatCompletionChunk,
  CompletionUsage,
  CompressedText,
  ContentPart as ChatCompletionContentPart,
  ContextEvent,
  ContextReport,
  ContextUsage,
  DeviceUsage,
  EvictionReason,
  FinishReason as ChatCompletionFinishReason,
  HearthRequestOptions,
  InitProgressReport,
  KvCacheTokens,
  KvCacheType,
  LogLevel,
  ModelRecord,
  OverflowPhase,
  OverflowPolicy,
  PageReport,
  PageState,
  PoolReport,
  ResponseFormat,
  RestoreSource,
  Role as ChatCompletionRole,
  StreamOptions as ChatCompletionStreamOptions,
  TabBudget,
  TabEvent,
  TabReport,
  TabState,
  TextChunk,
  TokenLogprob as ChatCompletionTokenLogprob,
  TopLogprob,
  UsageReport,
} from "./protocol.gen.js";

/** Called with each step of loading a model. */
export type InitProgressCallback = (report: InitProgressReport) => void;

/**
 * How a tab's context is run. Given in `engineConfig.hearth` they are the defaults of all models of the engine; given in a
 * model's `chatOpts.hearth` they win over those.
 */
export interface HearthOptions extends WireHearthOptions {
  /** What `documents.ask` does with a text first. Stays in the page. */
  preprocess?: Preprocess;
  /**
   * Called with what was done to this tab's context: overflow, near-limit, evicted, restored, budget-changed. Stays in the
   * page. In `chatOpts` it hears of that model only; events of all tabs are heard by `engine.watch()`.
   */
  onContextEvent?: (event: TabEvent) => void;
}

/** Options of a model, for `reload()` and the factories. Hearth also takes camelCase spellings. */
export interface ChatOptions extends Omit<WireChatOptions, "hearth"> {
  hearth?: HearthOptions | null;
}

/** What only Hearth's engines take. */
export interface HearthEngineOptions extends HearthOptions {
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

/** What every engine does, wherever it runs: web-llm's interface. */
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
}

/** Settings of one `append()`. */
export interface AppendOptions {
  /** Which of several loaded models. */
  modelId?: string;
  /** Aborting it stops the reading. */
  signal?: AbortSignal;
}

/** Hearth's engines and their branches: web-llm's interface, and what Hearth adds. */
export interface HearthEngine extends MLCEngineInterface {
  /** What is done with texts that are longer than the context. */
  readonly documents: Documents;

  /**
   * Room of this conversation, in tokens.
   *
   * ```ts
   * const { used, window, budget } = await engine.contextUsage();
   * meter.value = used / Math.min(window, budget);
   * ```
   */
  contextUsage(modelId?: string): Promise<ContextUsage>;

  /**
   * Tokens that these messages would take, template included, up to where the reply begins; or that a text takes by itself.
   *
   * ```ts
   * const tokens = await engine.measure([...messages, { role: "user", content: draft }]);
   * ```
   */
  measure(input: string | readonly ChatCompletionMessageParam[], modelId?: string): Promise<number>;

  /**
   * Every live tab that uses the worker, and what it has of the model.
   *
   * ```ts
   * for (const { title, state, usage, budget } of await engine.tabs()) console.log(title, state, usage?.used, budget);
   * ```
   */
  tabs(modelId?: string): Promise<TabReport[]>;

  /** The pool of key-value pages that all tabs share, page by page: for a live picture of it. */
  pool(modelId?: string): Promise<PoolReport>;

  /** The state of the shared key-value cache in numbers, and what this page holds of it. */
  poolUsage(modelId?: string): Promise<UsageReport>;

  /**
   * A branch of this conversation, with a `getMessage`, `interruptGenerate` and `resetChat` of its own. What both have read is
   * stored once. Branches may generate at the same time. Models, settings and the tab's budget are shared; `close()` closes
   * the branch only.
   *
   * ```ts
   * const branch = await engine.fork();
   * const [a, b] = await Promise.all([engine, branch].map((each, n) =>
   *   each.chat.completions.create({ messages, seed: n })));
   * branch.close();
   * ```
   */
  fork(): Promise<HearthEngine>;

  /**
   * Reads the conversation ahead of the next question, which then only has its own words to read. The messages may end with
   * any role.
   *
   * ```ts
   * await engine.append([{ role: "system", content: manual }]);  // while the person still types
   * ```
   */
  append(messages: readonly ChatCompletionMessageParam[], options?: AppendOptions): Promise<AppendReply>;

  /**
   * Hears of what is done to the contexts of all tabs, until the returned function is called. Events of this page alone go to
   * `hearth.onContextEvent`.
   *
   * ```ts
   * const stop = engine.watch(({ tab, type }) => console.log(tab, type));
   * ```
   */
  watch(callback: (event: TabEvent) => void): () => void;

  /** Stops listening and pinging. The worker and its model stay for other pages. */
  close(): void;
}
