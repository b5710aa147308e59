// Generated from worker/protocol by `cargo hearth build`; do not edit.

/** Version of the wire. */
export const PROTOCOL_VERSION = 2;

/**
 * What a page gets instead of a result. Its `Display` is what JavaScript's `String(error)` gives: `<name>: <message>`.
 */
export type WireError = {
  /**
   * Class of the error, e.g. `ContextWindowSizeExceededError`; callers match on it.
   */
  name: string,
  /**
   * What was expected, what came, what to do.
   */
  message: string,
  /**
   * The numbers of the message, for programs.
   */
  details?: Record<string, unknown>, };

/**
 * How much the worker logs.
 */
export type LogLevel = "TRACE" | "DEBUG" | "INFO" | "WARN" | "ERROR" | "SILENT";

/**
 * The models that an application knows, and where it wants them cached.
 */
export type AppConfig = {
  /**
   * The models; the first record with a wanted id counts.
   */
  model_list: Array<ModelRecord>,
  /**
   * `cache`, `indexeddb`, `opfs` or `cross-origin`; kept, Hearth has one store of its own.
   */
  cacheBackend?: string | null,
  /**
   * `async`, `sync` or `auto`; kept.
   */
  opfsAccessMode?: string | null, };

/**
 * One model that can be loaded.
 */
export type ModelRecord = {
  /**
   * URL of the weights: a file that ends in `.gguf`, or a folder.
   */
  model: string,
  /**
   * The name by which requests ask for it.
   */
  model_id: string,
  /**
   * web-llm's compiled library; kept and ignored.
   */
  model_lib?: string | null,
  /**
   * Laid over the model's own configuration.
   */
  overrides?: ChatOptions | null,
  /**
   * For the application's own use.
   */
  vram_required_MB?: number | null,
  /**
   * For the application's own use.
   */
  low_resource_required?: boolean | null,
  /**
   * For the application's own use.
   */
  buffer_size_required_bytes?: number | null,
  /**
   * WebGPU features that web-llm's library needs; Hearth needs none.
   */
  required_features?: Array<string> | null,
  /**
   * 0 text, 1 embedding, 2 vision.
   */
  model_type?: number | null,
  /**
   * Digests of the model's small files.
   */
  integrity?: unknown,
  /**
   * Path of a package manifest relative to `model`.
   */
  model_manifest?: string | null, };

/**
 * How to run a model: laid over the defaults of the model and of its record.
 */
export type ChatOptions = {
  /**
   * Tokens of prompt and reply together; -1 means no fixed window.
   */
  context_window_size?: number | null,
  /**
   * Tokens of the sliding window; -1 means none.
   */
  sliding_window_size?: number | null,
  /**
   * Tokens at the start that a sliding window always keeps; -1 means unset.
   */
  attention_sink_size?: number | null,
  /**
   * Default of the requests' field.
   */
  temperature?: number | null,
  /**
   * Default of the requests' field.
   */
  top_p?: number | null,
  /**
   * Default of the requests' field.
   */
  repetition_penalty?: number | null,
  /**
   * Default of the requests' field.
   */
  frequency_penalty?: number | null,
  /**
   * Default of the requests' field.
   */
  presence_penalty?: number | null,
  /**
   * Hearth's spelling of `context_window_size`.
   */
  contextWindowSize?: number | null,
  /**
   * Whether to slide once the window is full.
   */
  slidingWindow?: boolean | null,
  /**
   * Hearth's spelling of `sliding_window_size`.
   */
  slidingWindowSize?: number | null,
  /**
   * Hearth's spelling of `attention_sink_size`.
   */
  attentionSinkSize?: number | null,
  /**
   * Tokens that one step prefills at most.
   */
  prefillChunkSize?: number | null,
  /**
   * What only Hearth has.
   */
  hearth?: HearthOptions | null, };

/**
 * Options that only Hearth has.
 */
export type HearthOptions = {
  /**
   * What happens when a conversation outgrows its room.
   */
  overflowPolicy?: OverflowPolicy | null,
  /**
   * Tokens that this tab may hold.
   */
  tabBudgetTokens?: TabBudget | null,
  /**
   * Size of the shared KV cache.
   */
  kvCacheTokens?: KvCacheTokens | null,
  /**
   * Number format of the KV cache.
   */
  kvCacheType?: KvCacheType | null,
  /**
   * Tokens kept free for the reply.
   */
  reserveOutputTokens?: number | null,
  /**
   * Seconds after which a silent tab's pages may go.
   */
  idleEvictSeconds?: number | null,
  /**
   * Part of the room, above 0 and at most 1, from which the page is told that it gets short; 0.9 by default.
   */
  nearLimitFraction?: number | null, };

/**
 * What happens when a conversation outgrows its room.
 */
export type OverflowPolicy = "auto" | "truncate" | "sliding" | "summarize" | "error";

/**
 * A tab's share of the KV cache.
 */
export type TabBudget = number | FairWord;

/**
 * The word `fair`.
 */
export type FairWord = "fair";

/**
 * Size of the shared KV cache.
 */
export type KvCacheTokens = number | AutoWord;

/**
 * The word `auto`.
 */
export type AutoWord = "auto";

/**
 * Number format of the KV cache.
 */
export type KvCacheType = "f16" | "f32" | "q8";

/**
 * A chat completion request.
 */
export type ChatCompletionRequestBase = {
  /**
   * The conversation so far; the last message is the one to answer.
   */
  messages: Array<ChatMessage>,
  /**
   * Whether chunks are wanted instead of one result.
   */
  stream?: boolean | null,
  /**
   * Only with `stream`.
   */
  stream_options?: StreamOptions | null,
  /**
   * How many replies.
   */
  n?: number | null,
  /**
   * -2 to 2: against tokens in proportion to how often they came in this reply.
   */
  frequency_penalty?: number | null,
  /**
   * -2 to 2: against tokens that came in this reply at all.
   */
  presence_penalty?: number | null,
  /**
   * Above 0; 1 does nothing: divides the logits of tokens that came in this reply.
   */
  repetition_penalty?: number | null,
  /**
   * Tokens of the reply at most.
   */
  max_tokens?: number | null,
  /**
   * OpenAI's newer name of `max_tokens`, which wins where both are given.
   */
  max_completion_tokens?: number | null,
  /**
   * Texts at which the reply ends, without them.
   */
  stop?: StopStrings | null,
  /**
   * 0 takes the most likely token.
   */
  temperature?: number | null,
  /**
   * Above 0, at most 1: sample among the most likely tokens with this much probability.
   */
  top_p?: number | null,
  /**
   * Sample among this many most likely tokens; 0 or absent: all.
   */
  top_k?: number | null,
  /**
   * Token id in decimal to what is added to its logit, -100 to 100.
   */
  logit_bias?: Record<string, number> | null,
  /**
   * Whether log probabilities are wanted.
   */
  logprobs?: boolean | null,
  /**
   * How many alternatives with `logprobs`, 0 to 5.
   */
  top_logprobs?: number | null,
  /**
   * Integer that fixes the random numbers; any JSON here, so that the error can quote it.
   */
  seed?: number | null,
  /**
   * Which tool to call.
   */
  tool_choice?: unknown,
  /**
   * Tools that the model may call.
   */
  tools?: Array<unknown> | null,
  /**
   * What the reply must look like.
   */
  response_format?: ResponseFormat | null,
  /**
   * Whether to go on past the model's end of turn and all `stop`.
   */
  ignore_eos?: boolean | null,
  /**
   * Which of the loaded models.
   */
  model?: string | null,
  /**
   * What only web-llm has.
   */
  extra_body?: ExtraBody | null,
  /**
   * What only Hearth has, for this request alone.
   */
  hearth?: HearthRequestOptions | null, };

/**
 * Hearth's options of one request; they win over those of the model.
 */
export type HearthRequestOptions = {
  /**
   * What happens when the conversation outgrows its room.
   */
  overflowPolicy?: OverflowPolicy | null,
  /**
   * Tokens kept free for the reply.
   */
  reserveOutputTokens?: number | null, };

/**
 * Options of a stream.
 */
export type StreamOptions = {
  /**
   * Whether a last chunk with `usage` is wanted.
   */
  include_usage?: boolean | null, };

/**
 * Fields that web-llm has beyond OpenAI's.
 */
export type ExtraBody = {
  /**
   * `false` asks a thinking model not to.
   */
  enable_thinking?: boolean | null,
  /**
   * Whether `usage.extra.latencyBreakdown` is wanted.
   */
  enable_latency_breakdown?: boolean | null,
  /**
   * Crash-resumable generation.
   */
  resumable?: unknown, };

/**
 * What the reply must look like.
 */
export type ResponseFormat = {
  /**
   * `text`, `json_object`, `grammar` or `structural_tag`; absent is `text`.
   */
  type?: string | null,
  /**
   * JSON schema as text, only with `json_object`.
   */
  schema?: unknown,
  /**
   * EBNF, only with `grammar`.
   */
  grammar?: unknown,
  /**
   * Only with `structural_tag`.
   */
  structural_tag?: unknown, };

/**
 * One stop string or several.
 */
export type StopStrings = string | Array<string>;

/**
 * One message of a conversation.
 */
export type ChatMessage = {
  /**
   * Who speaks.
   */
  role: Role,
  /**
   * What is said.
   */
  content?: MessageContent | null,
  /**
   * Who exactly.
   */
  name?: string | null,
  /**
   * Calls that the assistant made.
   */
  tool_calls?: Array<unknown> | null,
  /**
   * The call that a `tool` message answers.
   */
  tool_call_id?: string | null, };

/**
 * Who speaks. Roles that no template knows are kept, so that the error can name them.
 */
export type Role = "system" | "user" | "assistant" | "tool";

/**
 * A message's content: text, or parts.
 */
export type MessageContent = string | Array<ContentPart>;

/**
 * One part of a message.
 */
export type ContentPart = { "type": "text",
  /**
   * The text.
   */
  text: string, } | { "type": "image_url",
  /**
   * Where it is.
   */
  image_url: unknown, } | { "type": "input_audio",
  /**
   * The samples.
   */
  input_audio: unknown, };

/**
 * A whole reply.
 */
export type ChatCompletion = {
  /**
   * Unique; a bare UUID.
   */
  id: string,
  /**
   * The replies; one, unless the request's `n` says otherwise.
   */
  choices: Array<Choice>,
  /**
   * Id of the model.
   */
  model: string,
  /**
   * Always `chat.completion`.
   */
  object: "chat.completion",
  /**
   * Unix time in seconds.
   */
  created: number,
  /**
   * What it cost.
   */
  usage?: CompletionUsage, };

/**
 * One reply.
 */
export type Choice = {
  /**
   * Why it ended.
   */
  finish_reason: FinishReason,
  /**
   * Its place in the list.
   */
  index: number,
  /**
   * `null` unless asked for.
   */
  logprobs: ChoiceLogprobs | null,
  /**
   * The reply.
   */
  message: AssistantMessage, };

/**
 * What the model said.
 */
export type AssistantMessage = {
  /**
   * The text; `null` where the reply is a tool call.
   */
  content: string | null,
  /**
   * Always `assistant`.
   */
  role: "assistant", };

/**
 * Log probabilities of a reply's tokens.
 */
export type ChoiceLogprobs = {
  /**
   * One entry per token.
   */
  content: Array<TokenLogprob>, };

/**
 * Log probability of one token.
 */
export type TokenLogprob = {
  /**
   * The token's text.
   */
  token: string,
  /**
   * Its bytes.
   */
  bytes: Array<number> | null,
  /**
   * Natural logarithm of its probability.
   */
  logprob: number,
  /**
   * The most likely tokens at this place.
   */
  top_logprobs: Array<TopLogprob>, };

/**
 * Log probability of an alternative.
 */
export type TopLogprob = {
  /**
   * The token's text.
   */
  token: string,
  /**
   * Its bytes.
   */
  bytes: Array<number> | null,
  /**
   * Natural logarithm of its probability.
   */
  logprob: number, };

/**
 * Why a reply ended.
 */
export type FinishReason = "stop" | "length" | "tool_calls" | "abort";

/**
 * A piece of a streamed reply.
 */
export type ChatCompletionChunk = {
  /**
   * The same in all chunks of a reply; a bare UUID.
   */
  id: string,
  /**
   * One, or none in the chunk with the usage.
   */
  choices: Array<ChunkChoice>,
  /**
   * Id of the model.
   */
  model: string,
  /**
   * Always `chat.completion.chunk`.
   */
  object: "chat.completion.chunk",
  /**
   * Unix time in seconds; the same in all chunks of a reply.
   */
  created: number,
  /**
   * Only in the last chunk, and only when asked for.
   */
  usage?: CompletionUsage, };

/**
 * What a chunk adds to a reply.
 */
export type ChunkChoice = {
  /**
   * What is new.
   */
  delta: Delta,
  /**
   * `null` until the chunk that says why the reply ended.
   */
  finish_reason: FinishReason | null,
  /**
   * Which reply.
   */
  index: number,
  /**
   * `null` unless asked for; the key is absent in the chunk that ends the reply.
   */
  logprobs?: ChoiceLogprobs | null, };

/**
 * New text, or nothing in the chunk that ends the reply.
 */
export type Delta = {
  /**
   * The new text.
   */
  content?: string,
  /**
   * `assistant`, in every chunk with text.
   */
  role?: "assistant", };

/**
 * What a reply cost.
 */
export type CompletionUsage = {
  /**
   * Tokens generated.
   */
  completion_tokens: number,
  /**
   * Tokens of the prompt that were not in the cache.
   */
  prompt_tokens: number,
  /**
   * Both.
   */
  total_tokens: number,
  /**
   * The rest of the prompt.
   */
  prompt_tokens_details: PromptTokensDetails,
  /**
   * Times and rates.
   */
  extra: UsageExtra, };

/**
 * Where the prompt's tokens came from.
 */
export type PromptTokensDetails = {
  /**
   * Tokens of the prompt that were in the cache.
   */
  cached_tokens: number, };

/**
 * Times and rates of a reply; always finite numbers.
 */
export type UsageExtra = {
  /**
   * Seconds from the request to the end of the reply, waiting included.
   */
  e2e_latency_s: number,
  /**
   * Prompt tokens per second of prefill.
   */
  prefill_tokens_per_s: number,
  /**
   * Tokens per second after the first.
   */
  decode_tokens_per_s: number,
  /**
   * Seconds from the start of prefill to the first token.
   */
  time_to_first_token_s: number,
  /**
   * Seconds per token after the first.
   */
  time_per_output_token_s: number,
  /**
   * Room in the context.
   */
  context?: ContextReport, };

/**
 * Room in the context after a reply, in tokens.
 */
export type ContextReport = {
  /**
   * The window.
   */
  window: number,
  /**
   * Taken by prompt and reply.
   */
  used: number,
  /**
   * What the tab may hold.
   */
  budget?: number,
  /**
   * What was done about an overflow.
   */
  policy?: OverflowPolicy,
  /**
   * Messages left out.
   */
  dropped_messages?: number,
  /**
   * Tokens left out.
   */
  dropped_tokens?: number, };

/**
 * One report to a page's `initProgressCallback`.
 */
export type InitProgressReport = {
  /**
   * Part done of the current phase, 0 to 1.
   */
  progress: number,
  /**
   * Seconds since the phase began.
   */
  timeElapsed: number,
  /**
   * For people.
   */
  text: string, };

/**
 * A message that has been understood.
 */
export type Request = {
  /**
   * Goes into the answer; empty where the page gave none.
   */
  uuid: string, } & ({ "kind": "setAppConfig", "content": AppConfig } | { "kind": "setLogLevel", "content": LogLevel } | { "kind": "reload", "content": ReloadContent } | { "kind": "chatCompletionNonStreaming", "content": ChatContent } | { "kind": "chatCompletionStreamInit", "content": StreamInitContent } | { "kind": "completionStreamNextChunk", "content": StreamReference } | { "kind": "completionStreamReturn", "content": StreamReference } | { "kind": "interruptGenerate", "content": null } | { "kind": "resetChat", "content": ResetChatContent } | { "kind": "unload", "content": null } | { "kind": "getMessage", "content": ModelReference } | { "kind": "runtimeStatsText", "content": ModelReference } | { "kind": "keepAlive" } | { "kind": "customRequest", "content": null } | { "kind": "hearth.hello", "content": HelloContent } | { "kind": "hearth.stream", "content": ChatContent } | { "kind": "hearth.cancel", "content": CancelContent } | { "kind": "hearth.usage", "content": ModelReference } | { "kind": "hearth.measure", "content": MeasureContent } | { "kind": "hearth.append", "content": AppendContent } | { "kind": "hearth.fork", "content": ForkContent } | { "kind": "hearth.close", "content": CloseContent } | { "kind": "hearth.tab", "content": TabContent } | { "kind": "hearth.watch", "content": WatchContent } | { "kind": "hearth.context", "content": ModelReference } | { "kind": "hearth.tabs", "content": ModelReference } | { "kind": "hearth.pool", "content": ModelReference } | { "kind": "hearth.chunk", "content": ChunkContent } | { "kind": "hearth.compress", "content": CompressContent });

/**
 * What is asked.
 */
export type RequestBody = { "kind": "setAppConfig", "content": AppConfig } | { "kind": "setLogLevel", "content": LogLevel } | { "kind": "reload", "content": ReloadContent } | { "kind": "chatCompletionNonStreaming", "content": ChatContent } | { "kind": "chatCompletionStreamInit", "content": StreamInitContent } | { "kind": "completionStreamNextChunk", "content": StreamReference } | { "kind": "completionStreamReturn", "content": StreamReference } | { "kind": "interruptGenerate", "content": null } | { "kind": "resetChat", "content": ResetChatContent } | { "kind": "unload", "content": null } | { "kind": "getMessage", "content": ModelReference } | { "kind": "runtimeStatsText", "content": ModelReference } | { "kind": "keepAlive" } | { "kind": "customRequest", "content": null } | { "kind": "hearth.hello", "content": HelloContent } | { "kind": "hearth.stream", "content": ChatContent } | { "kind": "hearth.cancel", "content": CancelContent } | { "kind": "hearth.usage", "content": ModelReference } | { "kind": "hearth.measure", "content": MeasureContent } | { "kind": "hearth.append", "content": AppendContent } | { "kind": "hearth.fork", "content": ForkContent } | { "kind": "hearth.close", "content": CloseContent } | { "kind": "hearth.tab", "content": TabContent } | { "kind": "hearth.watch", "content": WatchContent } | { "kind": "hearth.context", "content": ModelReference } | { "kind": "hearth.tabs", "content": ModelReference } | { "kind": "hearth.pool", "content": ModelReference } | { "kind": "hearth.chunk", "content": ChunkContent } | { "kind": "hearth.compress", "content": CompressContent };

/**
 * Content of `reload`.
 */
export type ReloadContent = {
  /**
   * The models to load; all others are let go.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null, };

/**
 * Content of `chatCompletionNonStreaming` and `hearth.stream`.
 */
export type ChatContent = {
  /**
   * The request.
   */
  request: ChatCompletionRequestBase,
  /**
   * The models that the page has loaded: loaded again where the worker has forgotten them.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * Which of the page's branches; absent for the page itself.
   */
  branch?: string | null,
  /**
   * Goes on with a reply that an earlier run of the worker began.
   */
  resume?: ReplySnapshot | null, };

/**
 * Content of `chatCompletionStreamInit`.
 */
export type StreamInitContent = {
  /**
   * The request.
   */
  request: ChatCompletionRequestBase,
  /**
   * The models that the page has loaded: loaded again where the worker has forgotten them.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * The page's name of the stream.
   */
  streamId?: string | null,
  /**
   * The model; clients older than `streamId` name the stream by it.
   */
  selectedModelId?: string | null, };

/**
 * Names a stream, in either generation of the wire.
 */
export type StreamReference = {
  /**
   * The page's name of the stream.
   */
  streamId?: string | null,
  /**
   * The stream's model; clients older than `streamId` name the stream by it.
   */
  selectedModelId?: string | null, };

/**
 * Content of `resetChat`.
 */
export type ResetChatContent = {
  /**
   * Whether the totals of `runtimeStatsText` are kept.
   */
  keepStats?: boolean | null,
  /**
   * Which of several models.
   */
  modelId?: string | null,
  /**
   * Which of the page's branches; absent for the page itself.
   */
  branch?: string | null, };

/**
 * Names a model where there may be several.
 */
export type ModelReference = {
  /**
   * Which of several models.
   */
  modelId?: string | null,
  /**
   * Which of the page's branches; absent for the page itself.
   */
  branch?: string | null, };

/**
 * Content of `hearth.hello`.
 */
export type HelloContent = {
  /**
   * Version of the wire that the page speaks.
   */
  protocol: number,
  /**
   * Identity of the tab, a UUID that the page made.
   */
  tab: string,
  /**
   * Title of the page.
   */
  title?: string | null,
  /**
   * The page holds the Web Lock `hearth-tab:<tab>` for as long as it lives.
   */
  holdsLock: boolean, };

/**
 * Content of `hearth.cancel`.
 */
export type CancelContent = {
  /**
   * The request to cancel.
   */
  uuid: string, };

/**
 * Content of `hearth.measure`: messages or a text.
 */
export type MeasureContent = {
  /**
   * Measured with the model's template, up to where the reply begins.
   */
  messages?: Array<ChatMessage> | null,
  /**
   * Measured as it is.
   */
  text?: string | null,
  /**
   * The models.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * Which of several models is meant.
   */
  model?: string | null, };

/**
 * Content of `hearth.append`.
 */
export type AppendContent = {
  /**
   * The conversation so far; it may end with any role.
   */
  messages: Array<ChatMessage>,
  /**
   * Which of the page's branches; absent for the page itself.
   */
  branch?: string | null,
  /**
   * The models.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * Which of several models is meant.
   */
  model?: string | null, };

/**
 * Content of `hearth.fork`.
 */
export type ForkContent = {
  /**
   * The page's name of the new branch, a UUID.
   */
  branch: string,
  /**
   * The branch that it begins as; absent for the page itself.
   */
  from?: string | null, };

/**
 * Content of `hearth.close`.
 */
export type CloseContent = {
  /**
   * The branch that is no longer wanted.
   */
  branch: string, };

/**
 * Content of `hearth.tab`: what the browser does with the page.
 */
export type TabContent = {
  /**
   * It has the focus.
   */
  focused: boolean,
  /**
   * It can be seen.
   */
  visible: boolean,
  /**
   * It is about to be frozen: it will read nothing until it says otherwise.
   */
  frozen: boolean,
  /**
   * Its title.
   */
  title?: string | null, };

/**
 * Content of `hearth.watch`.
 */
export type WatchContent = {
  /**
   * Events of all tabs are wanted, not only of this one.
   */
  all: boolean, };

/**
 * The models that a page has loaded, as every request of it repeats them: they are loaded again where the worker has
 * forgotten them.
 */
export type PageModels = {
  /**
   * The models.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * Which of several models is meant.
   */
  model?: string | null, };

/**
 * Content of `hearth.chunk`.
 */
export type ChunkContent = {
  /**
   * The text.
   */
  text: string,
  /**
   * Tokens of a piece at most; at least 1.
   */
  maxTokens: number,
  /**
   * Tokens that a piece repeats of the one before it, at most; 0 by default.
   */
  overlapTokens?: number | null,
  /**
   * The models.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * Which of several models is meant.
   */
  model?: string | null, };

/**
 * Content of `hearth.compress`.
 */
export type CompressContent = {
  /**
   * The text.
   */
  text: string,
  /**
   * Tokens of the result at most; at least 1.
   */
  maxTokens: number,
  /**
   * What the reader wants to know.
   */
  query?: string | null,
  /**
   * The models.
   */
  modelId: Array<string>,
  /**
   * Options of each model.
   */
  chatOpts?: Array<ChatOptions> | null,
  /**
   * Which of several models is meant.
   */
  model?: string | null, };

/**
 * One piece of a text.
 */
export type TextChunk = {
  /**
   * The piece, exactly as it stands in the text.
   */
  text: string,
  /**
   * Its tokens.
   */
  tokens: number,
  /**
   * Where it begins in the text, in UTF-16 code units as JavaScript counts.
   */
  start: number,
  /**
   * One past its end, likewise.
   */
  end: number,
  /**
   * The headings that it stands under, outermost first.
   */
  headings: Array<string>, };

/**
 * A shortened text.
 */
export type CompressedText = {
  /**
   * Sentences of the text in their order.
   */
  text: string,
  /**
   * Its tokens.
   */
  tokens: number,
  /**
   * Tokens of the whole text.
   */
  originalTokens: number,
  /**
   * Sentences kept.
   */
  sentencesKept: number,
  /**
   * Sentences of the whole text; a code block counts as one.
   */
  sentencesTotal: number, };

/**
 * Room of one conversation, in tokens.
 */
export type ContextUsage = {
  /**
   * Taken by the conversation: of the replies under way, otherwise of the last one.
   */
  used: number,
  /**
   * The context window.
   */
  window: number,
  /**
   * What the tab may hold of the pool.
   */
  budget: number,
  /**
   * Kept free for the reply before the overflow policy acts.
   */
  reserved: number,
  /**
   * Pages of the tab's replies under way; of a page that others hold too, its part.
   */
  pagesHeld: number,
  /**
   * Of the pages that the tab holds or has cached, those that another tab has too.
   */
  pagesShared: number,
  /**
   * Tokens that would be found in the cache if the tab asked again.
   */
  cachedTokens: number, };

/**
 * What a tab is doing.
 */
export type TabState = "generating" | "waiting" | "frozen" | "idle";

/**
 * One live tab and what it has of one model.
 */
export type TabReport = {
  /**
   * Identity of the tab for as long as the page lives.
   */
  id: string,
  /**
   * Title of the page, where it says.
   */
  title?: string,
  /**
   * Whether this is the page that asks.
   */
  own: boolean,
  /**
   * Whether the page has the focus.
   */
  focused: boolean,
  /**
   * Whether the page can be seen.
   */
  visible: boolean,
  /**
   * Whether a reply is being generated for it.
   */
  generating: boolean,
  /**
   * What it is doing.
   */
  state: TabState,
  /**
   * Since its last request began or its last reply ended.
   */
  idleMs: number,
  /**
   * Tokens that it may hold.
   */
  budget: number,
  /**
   * Its room; absent where it has no model loaded.
   */
  usage?: ContextUsage,
  /**
   * The models that it has loaded.
   */
  models: Array<string>, };

/**
 * State of one page of the pool.
 */
export type PageState = "free" | "cached" | "held";

/**
 * One page of the pool.
 */
export type PageReport = {
  /**
   * Its state.
   */
  state: PageState,
  /**
   * [`TabReport::id`] of the tabs that have it.
   */
  tabs: Array<string>, };

/**
 * The whole pool of one model, page by page.
 */
export type PoolReport = {
  /**
   * Which model.
   */
  modelId: string,
  /**
   * Tokens in a page.
   */
  blockSizeTokens: number,
  /**
   * Pages that the pool may grow to.
   */
  pagesMax: number,
  /**
   * Bytes of a page on the device, all layers.
   */
  pageBytes: number,
  /**
   * The pages that there are, by number.
   */
  pages: Array<PageReport>, };

/**
 * When room was made.
 */
export type OverflowPhase = "prefill" | "decode";

/**
 * Why pages went.
 */
export type EvictionReason = "pressure" | "idle" | "preempted" | "frozen";

/**
 * Where evicted context came back from.
 */
export type RestoreSource = "recomputed" | "store";

/**
 * Something that was done to a tab's context. Numbers are tokens unless their names say otherwise.
 */
export type ContextEvent = { "type": "overflow",
  /**
   * What was done; never `auto`.
   */
  policy: OverflowPolicy,
  /**
   * When.
   */
  phase: OverflowPhase,
  /**
   * Messages left out in all.
   */
  droppedMessages: number,
  /**
   * Tokens left out in all.
   */
  droppedTokens: number,
  /**
   * Tokens kept.
   */
  keptTokens: number,
  /**
   * The window.
   */
  window: number,
  /**
   * The budget.
   */
  budget: number, } | { "type": "near-limit",
  /**
   * Taken.
   */
  used: number,
  /**
   * The smaller of window and budget.
   */
  limit: number,
  /**
   * `used / limit`.
   */
  fraction: number, } | { "type": "evicted",
  /**
   * How many pages.
   */
  pages: number,
  /**
   * Tokens that they held.
   */
  tokens: number,
  /**
   * Why.
   */
  reason: EvictionReason, } | { "type": "restored",
  /**
   * Tokens.
   */
  tokens: number,
  /**
   * How.
   */
  source: RestoreSource, } | { "type": "budget-changed",
  /**
   * Now.
   */
  budget: number,
  /**
   * Before.
   */
  previous: number,
  /**
   * Live tabs that share the pool.
   */
  tabs: number, };

/**
 * An event with whose it is.
 */
export type TabEvent = {
  /**
   * [`TabReport::id`].
   */
  tab: string,
  /**
   * The model.
   */
  modelId: string, } & ({ "type": "overflow",
  /**
   * What was done; never `auto`.
   */
  policy: OverflowPolicy,
  /**
   * When.
   */
  phase: OverflowPhase,
  /**
   * Messages left out in all.
   */
  droppedMessages: number,
  /**
   * Tokens left out in all.
   */
  droppedTokens: number,
  /**
   * Tokens kept.
   */
  keptTokens: number,
  /**
   * The window.
   */
  window: number,
  /**
   * The budget.
   */
  budget: number, } | { "type": "near-limit",
  /**
   * Taken.
   */
  used: number,
  /**
   * The smaller of window and budget.
   */
  limit: number,
  /**
   * `used / limit`.
   */
  fraction: number, } | { "type": "evicted",
  /**
   * How many pages.
   */
  pages: number,
  /**
   * Tokens that they held.
   */
  tokens: number,
  /**
   * Why.
   */
  reason: EvictionReason, } | { "type": "restored",
  /**
   * Tokens.
   */
  tokens: number,
  /**
   * How.
   */
  source: RestoreSource, } | { "type": "budget-changed",
  /**
   * Now.
   */
  budget: number,
  /**
   * Before.
   */
  previous: number,
  /**
   * Live tabs that share the pool.
   */
  tabs: number, });

/**
 * All that it takes to go on with a reply in another run of the worker, token for token.
 */
export type ReplySnapshot = {
  /**
   * Of the reply's chunks.
   */
  id: string,
  /**
   * Of the reply's chunks, Unix time in seconds.
   */
  created: number,
  /**
   * Decides the draws: the request's, or one that was drawn.
   */
  seed: number,
  /**
   * Token ids of the prompt, after the overflow policy.
   */
  prompt: Array<number>,
  /**
   * Token ids generated so far.
   */
  tokens: Array<number>,
  /**
   * Tokens that the reply's context may have.
   */
  contextTokens: number,
  /**
   * Where the context slides when it is full: tokens at the start that stay. Absent where the reply ends instead.
   */
  pinnedTokens?: number | null,
  /**
   * Tokens that may be generated in all, if that is limited.
   */
  maxNewTokens?: number | null,
  /**
   * What the overflow policy did before the reply began.
   */
  report: ContextReport, };

/**
 * A message from the worker.
 */
export type Reply = { "kind": "return",
  /**
   * Of the request.
   */
  uuid: string,
  /**
   * The key is absent at the end of a stream; clients know the end by that.
   */
  content?: ReturnContent, } | { "kind": "throw",
  /**
   * Of the request.
   */
  uuid: string,
  /**
   * `<name>: <message>`, all that web-llm's client reads.
   */
  content: string,
  /**
   * The same in parts.
   */
  error: WireError, } | { "kind": "initProgressCallback",
  /**
   * Of the request that waits for the load.
   */
  uuid: string,
  /**
   * How far it is.
   */
  content: InitProgressReport, } | { "kind": "hearth.event",
  /**
   * Empty: it answers nothing.
   */
  uuid: string,
  /**
   * What.
   */
  content: TabEvent, } | { "kind": "heartbeat",
  /**
   * Of the request.
   */
  uuid: string, };

/**
 * What a request can return.
 */
export type ReturnContent = null | string | ChatCompletion | ChatCompletionChunk | HelloReply | UsageReport | number | AppendReply | ContextUsage | Array<TabReport> | PoolReport | Array<TextChunk> | CompressedText;

/**
 * Who the worker is.
 */
export type HelloReply = {
  /**
   * Version of the wire that the worker speaks.
   */
  protocol: number,
  /**
   * Version of the worker.
   */
  version: string,
  /**
   * Identity of this run of the worker: another one means that it was restarted.
   */
  worker: string, };

/**
 * What reading ahead came to.
 */
export type AppendReply = {
  /**
   * Tokens of the conversation so far, template included.
   */
  tokens: number,
  /**
   * Those of them that were in the cache already.
   */
  cachedTokens: number, };

/**
 * The state of a model's KV cache, and this page's part in it.
 */
export type UsageReport = {
  /**
   * Pages in the cache.
   */
  pagesTotal: number,
  /**
   * Pages that hold nothing.
   */
  pagesFree: number,
  /**
   * Pages that hold what may be wanted again and nobody is using.
   */
  pagesCached: number,
  /**
   * Pages that this page's generations hold; of a page shared by several generations, each holds its part.
   */
  pagesHeld: number,
  /**
   * Tokens in a page.
   */
  blockSizeTokens: number,
  /**
   * Tokens of this page's generations; while there are none, of its last conversation.
   */
  contextTokens: number,
  /**
   * The context window.
   */
  windowTokens: number,
  /**
   * Generations that are running, of all pages.
   */
  running: number,
  /**
   * Generations that wait for room, of all pages.
   */
  waiting: number,
  /**
   * What the worker and its device use; absent where the host cannot tell.
   */
  device?: DeviceUsage, };

/**
 * What a model takes of the machine, and the size of the engine's last step.
 */
export type DeviceUsage = {
  /**
   * The wasm's heap, of all models.
   */
  wasmMemoryBytes: number,
  /**
   * The model's buffers on the GPU: weights, pages, activations.
   */
  gpuMemoryBytes: number,
  /**
   * Kernels dispatched in the last step; 0 before the first.
   */
  stepDispatches: number,
  /**
   * Models that this run of the worker has loaded so far.
   */
  loads: number,
  /**
   * Bytes written to the GPU for the last step; 0 before the first.
   */
  stepUploadedBytes: number, };

/**
 * From the worker to the page. After `end` or `error` nothing more comes.
 */
export type PushMessage = { "type": "begin",
  /**
   * With no tokens, or with those that were resumed from.
   */
  snapshot: ReplySnapshot, } | { "type": "chunks",
  /**
   * May be empty where tokens have made no text yet.
   */
  chunks: Array<ChatCompletionChunk>,
  /**
   * Ids of the tokens generated since the last message whose text has been let out.
   */
  tokens: Array<number>, } | { "type": "end" } | { "type": "error",
  /**
   * Why.
   */
  error: WireError, };

/**
 * From the page to the worker.
 */
export type PushControl = { "type": "cancel" };
