/**
 * web-llm's engine API over a transport. Owns which models this page asked for, and turns method calls into messages and
 * replies into values. No prompt building, no tokenising, no model list: the worker does that.
 */

import { Chat } from "./chat.js";
import { modelNotFound, modelNotLoaded, unclearModel } from "./errors.js";
import { Liveness } from "./liveness.js";
import { PushStream } from "./stream.js";
import { Transport, type Endpoint } from "./transport.js";
import type {
  AppConfig,
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionRequestBase,
  ChatCompletionRequestNonStreaming,
  ChatCompletionRequestStreaming,
  ChatOptions,
  InitProgressCallback,
  LogLevel,
  MLCEngineConfig,
  MLCEngineInterface,
  ReloadOptions,
  UsageReport,
} from "./types.js";

/** What every engine class shares; the classes differ in where the other end of the transport lives. */
export abstract class EngineClient implements MLCEngineInterface {
  readonly chat: Chat;
  /** The models of the last successful `reload()`. */
  modelId: string[] | undefined;
  chatOpts: ChatOptions[] | undefined;

  readonly #name: string;
  readonly #transport: Transport;
  readonly #liveness: Liveness | undefined;
  #appConfig: AppConfig | undefined;
  #logLevel: LogLevel | undefined;

  /** `keepAliveMs` undefined: the endpoint is in this page and lives as long as it does. */
  protected constructor(
    name: string,
    endpoint: Endpoint,
    config: MLCEngineConfig,
    keepAliveMs: number | undefined,
    locks?: Pick<LockManager, "request">,
  ) {
    this.#name = name;
    this.#transport = new Transport(endpoint);
    this.#transport.onProgress = config.initProgressCallback;
    this.#appConfig = config.appConfig;
    this.#logLevel = config.logLevel;
    if (keepAliveMs !== undefined) {
      this.#liveness = new Liveness(this.#transport, () => this.#sendSettings(), locks);
      this.#liveness.start(keepAliveMs);
    }
    this.#sendSettings();
    this.chat = new Chat(this);
  }

  /** Pings since the worker's last heartbeat. */
  get missedHeartbeat(): number {
    return this.#liveness?.missedHeartbeat ?? 0;
  }

  setInitProgressCallback(callback?: InitProgressCallback): void {
    this.#transport.onProgress = callback;
  }

  getInitProgressCallback(): InitProgressCallback | undefined {
    return this.#transport.onProgress;
  }

  setAppConfig(appConfig: AppConfig): void {
    this.#appConfig = appConfig;
    this.#transport.notify("setAppConfig", appConfig);
  }

  setLogLevel(logLevel: LogLevel): void {
    this.#logLevel = logLevel;
    this.#transport.notify("setLogLevel", logLevel);
  }

  async reload(
    modelId: string | string[],
    chatOpts?: ChatOptions | ChatOptions[],
    options: ReloadOptions = {},
  ): Promise<void> {
    this.#liveness?.assertUsable();
    const modelIds = typeof modelId === "string" ? [modelId] : [...modelId];
    const opts = chatOpts === undefined ? undefined : Array.isArray(chatOpts) ? chatOpts : [chatOpts];
    const content = opts === undefined ? { modelId: modelIds } : { modelId: modelIds, chatOpts: opts };
    await this.#transport.request("reload", content, { signal: options.signal });
    this.modelId = modelIds;
    this.chatOpts = opts;
  }

  async unload(): Promise<void> {
    await this.#transport.request("unload", null);
    this.modelId = undefined;
    this.chatOpts = undefined;
  }

  async resetChat(keepStats = false, modelId?: string): Promise<void> {
    await this.#transport.request("resetChat", { keepStats, modelId });
  }

  getMessage(modelId?: string): Promise<string> {
    return this.#transport.request("getMessage", { modelId });
  }

  runtimeStatsText(modelId?: string): Promise<string> {
    return this.#transport.request("runtimeStatsText", { modelId });
  }

  /** Stops what this page generates; other pages go on. A stopped reply ends with `finish_reason: "abort"`. */
  interruptGenerate(): void {
    this.#transport.notify("interruptGenerate", null);
  }

  poolUsage(modelId?: string): Promise<UsageReport> {
    return this.#transport.request("hearth.usage", { modelId });
  }

  chatCompletion(request: ChatCompletionRequestNonStreaming): Promise<ChatCompletion>;
  chatCompletion(request: ChatCompletionRequestStreaming): Promise<AsyncIterable<ChatCompletionChunk>>;
  chatCompletion(
    request: ChatCompletionRequestBase,
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion>;
  chatCompletion(
    request: ChatCompletionRequestBase,
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    return this.#create(request);
  }

  close(): void {
    this.#liveness?.stop();
    this.#transport.close();
  }

  async #create(
    request: ChatCompletionRequestBase,
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    const { signal, ...body } = request;
    signal?.throwIfAborted();
    this.#liveness?.assertUsable();
    this.#checkModel(body.model ?? undefined, "ChatCompletionRequest");
    const content = { request: body, modelId: this.modelId, chatOpts: this.chatOpts };
    return body.stream === true
      ? this.#openStream(content, signal)
      : this.#transport.request("chatCompletionNonStreaming", content, { signal });
  }

  #openStream(content: unknown, signal: AbortSignal | undefined): PushStream<ChatCompletionChunk> {
    const { port1, port2 } = new MessageChannel();
    const message = this.#transport.open("hearth.stream", content, [port2], {
      resolve: () => undefined,
      reject: (error) => stream.fail(error),
    });
    const stream = new PushStream<ChatCompletionChunk>(port1, signal, () => message.close());
    return stream;
  }

  /** The same checks, and the same errors, as web-llm's clients make before they send anything. */
  #checkModel(wanted: string | undefined, requestName: string): void {
    const loaded = this.modelId;
    if (loaded === undefined || loaded.length === 0) throw modelNotLoaded(this.#name);
    if (wanted === undefined && loaded.length > 1) throw unclearModel(loaded, requestName);
    if (wanted !== undefined && !loaded.includes(wanted)) throw modelNotFound(loaded, wanted, requestName);
  }

  #sendSettings(): void {
    if (this.#appConfig !== undefined) this.#transport.notify("setAppConfig", this.#appConfig);
    if (this.#logLevel !== undefined) this.#transport.notify("setLogLevel", this.#logLevel);
  }
}
