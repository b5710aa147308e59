/**
 * web-llm's engine API over a connection, and Hearth's own calls. Owns which models this page asked for, and turns method calls
 * into messages and replies into values. No prompt building, no tokenising, no model list: the worker does that.
 */

import { Chat } from "./chat.js";
import { Connection, MAX_RESENDS, type ConnectionOptions, type SendOptions } from "./connection.js";
import { DocumentClient } from "./documents.js";
import { engineClosed, modelNotFound, modelNotLoaded, unclearModel } from "./errors.js";
import { sentChatOptions } from "./options.js";
import type { PageModels } from "./protocol.gen.js";
import { openReply } from "./reply-stream.js";
import type { PushStream } from "./stream.js";
import type { Endpoint } from "./transport.js";
import type { Replies } from "./wire.js";
import type {
  AppConfig,
  AppendOptions,
  AppendReply,
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionMessageParam,
  ChatCompletionRequestBase,
  ChatCompletionRequestNonStreaming,
  ChatCompletionRequestStreaming,
  ChatOptions,
  ContextUsage,
  Documents,
  HearthEngine,
  HearthOptions,
  InitProgressCallback,
  LogLevel,
  MLCEngineConfig,
  PoolReport,
  Preprocess,
  ReloadOptions,
  TabEvent,
  TabReport,
  UsageReport,
} from "./types.js";

/** Questions whose answer is quick are sent again once: a second loss says more about the worker than about chance. */
const ONCE = { maxResends: 1 };

/** A reply that is being generated for one engine or branch. */
interface Running {
  uuid: string | undefined;
  isInterrupted: boolean;
}

/** What an engine and its branches share: the connection, the models of the page, the options. */
export class Session {
  readonly connection: Connection;
  readonly hearth: HearthOptions;
  readonly branches = new Set<string>();
  /** The models of the last successful `reload()`. */
  modelId: string[] | undefined;
  chatOpts: ChatOptions[] | undefined;

  constructor(endpoint: Endpoint, config: MLCEngineConfig, options: Pick<ConnectionOptions, "keepAliveMs" | "locks" | "tab"> = {}) {
    const { appConfig, logLevel, hearth = {} } = config;
    this.hearth = hearth;
    this.connection = new Connection({ ...options, endpoint, appConfig, logLevel });
    this.connection.transport.onProgress = config.initProgressCallback;
    this.connection.listen((event) => this.#tell(event));
  }

  /** The options of one of the loaded models. */
  optionsOf(modelId: string | undefined): HearthOptions {
    const index = modelId === undefined ? 0 : (this.modelId ?? []).indexOf(modelId);
    return this.chatOpts?.[index]?.hearth ?? {};
  }

  #tell(event: TabEvent): void {
    const callback = this.optionsOf(event.modelId).onContextEvent ?? this.hearth.onContextEvent;
    callback?.(event);
  }
}

/** What every engine class and every branch shares; the classes differ in where the other end of the connection lives. */
export abstract class EngineClient implements HearthEngine {
  readonly chat: Chat;
  readonly documents: Documents;

  readonly #name: string;
  readonly #session: Session;
  readonly #connection: Connection;
  /** Undefined: the page's own conversation. */
  readonly #branch: string | undefined;
  readonly #running = new Set<Running>();
  #isClosed = false;

  protected constructor(name: string, session: Session, branch?: string) {
    this.#name = name;
    this.#session = session;
    this.#connection = session.connection;
    this.#branch = branch;
    this.chat = new Chat(this);
    this.documents = new DocumentClient({
      requestWithModels: (kind, content, model, options) => this.#requestWithModels(kind, content, model, options),
      findPreprocess: (modelId) => this.#findPreprocess(modelId),
      fork: () => this.fork(),
    });
  }

  /** The models of the last successful `reload()`. */
  get modelId(): string[] | undefined {
    return this.#session.modelId;
  }

  /** Their options, as they were given. */
  get chatOpts(): ChatOptions[] | undefined {
    return this.#session.chatOpts;
  }

  /** Pings since the worker's last heartbeat. */
  get missedHeartbeat(): number {
    return this.#connection.missedHeartbeat;
  }

  setInitProgressCallback(callback?: InitProgressCallback): void {
    this.#connection.transport.onProgress = callback;
  }

  getInitProgressCallback(): InitProgressCallback | undefined {
    return this.#connection.transport.onProgress;
  }

  setAppConfig(appConfig: AppConfig): void {
    this.#connection.setAppConfig(appConfig);
  }

  setLogLevel(logLevel: LogLevel): void {
    this.#connection.setLogLevel(logLevel);
  }

  async reload(
    modelId: string | string[],
    chatOpts?: ChatOptions | ChatOptions[],
    options: ReloadOptions = {},
  ): Promise<void> {
    const modelIds = typeof modelId === "string" ? [modelId] : [...modelId];
    const opts = chatOpts === undefined ? undefined : Array.isArray(chatOpts) ? chatOpts : [chatOpts];
    const content = pageModels(modelIds, opts, this.#session.hearth);
    await this.#request("reload", content, { signal: options.signal, maxResends: MAX_RESENDS });
    this.#session.modelId = modelIds;
    this.#session.chatOpts = opts;
  }

  async unload(): Promise<void> {
    await this.#request("unload", null, ONCE);
    this.#session.modelId = undefined;
    this.#session.chatOpts = undefined;
  }

  async resetChat(keepStats = false, modelId?: string): Promise<void> {
    await this.#request("resetChat", { keepStats, modelId, ...this.#branchContent() }, ONCE);
  }

  getMessage(modelId?: string): Promise<string> {
    return this.#askAbout("getMessage", modelId);
  }

  runtimeStatsText(modelId?: string): Promise<string> {
    return this.#askAbout("runtimeStatsText", modelId);
  }

  poolUsage(modelId?: string): Promise<UsageReport> {
    return this.#askAbout("hearth.usage", modelId);
  }

  contextUsage(modelId?: string): Promise<ContextUsage> {
    return this.#askAbout("hearth.context", modelId);
  }

  tabs(modelId?: string): Promise<TabReport[]> {
    return this.#askAbout("hearth.tabs", modelId);
  }

  pool(modelId?: string): Promise<PoolReport> {
    return this.#askAbout("hearth.pool", modelId);
  }

  measure(input: string | readonly ChatCompletionMessageParam[], modelId?: string): Promise<number> {
    const content = typeof input === "string" ? { text: input } : { messages: input };
    return this.#requestWithModels("hearth.measure", content, modelId, {});
  }

  append(messages: readonly ChatCompletionMessageParam[], { modelId, signal }: AppendOptions = {}): Promise<AppendReply> {
    const content = { messages, ...this.#branchContent() };
    return this.#requestWithModels("hearth.append", content, modelId, { signal, maxResends: MAX_RESENDS });
  }

  /**
   * Stops what this engine or branch generates; other pages, and other branches of this page, go on. A stopped reply ends with
   * `finish_reason: "abort"`.
   */
  interruptGenerate(): void {
    for (const running of this.#running) running.isInterrupted = true;
    const { transport } = this.#connection;
    // web-llm's message means all that the page has: right while the page has one conversation.
    if (this.#branch === undefined && this.#session.branches.size === 0) return transport.notify("interruptGenerate", null);
    for (const { uuid } of this.#running) {
      if (uuid !== undefined) transport.notify("hearth.cancel", { uuid });
    }
  }

  async fork(): Promise<HearthEngine> {
    const branch = crypto.randomUUID();
    await this.#request("hearth.fork", this.#branch === undefined ? { branch } : { branch, from: this.#branch }, ONCE);
    this.#session.branches.add(branch);
    return new Branch(this.#name, this.#session, branch);
  }

  watch(callback: (event: TabEvent) => void): () => void {
    return this.#connection.watch(callback);
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
    if (this.#isClosed) return;
    if (this.#branch === undefined) {
      this.#isClosed = true;
      this.#connection.close();
      return;
    }
    // Its last replies end as stopped ones do.
    this.interruptGenerate();
    this.#isClosed = true;
    this.#session.branches.delete(this.#branch);
    this.#connection.transport.notify("hearth.close", { branch: this.#branch });
  }

  async #create(
    request: ChatCompletionRequestBase,
  ): Promise<AsyncIterable<ChatCompletionChunk> | ChatCompletion> {
    const { signal, ...body } = request;
    signal?.throwIfAborted();
    this.#assertOpen();
    const models = this.#findModels(body.model ?? undefined, "ChatCompletionRequest");
    const content = { request: body, ...models, ...this.#branchContent() };
    const running: Running = { uuid: undefined, isInterrupted: false };
    this.#running.add(running);
    try {
      if (body.stream === true) return this.#openStream(content, body, signal, running);
      return await this.#complete(content, signal, running);
    } catch (error) {
      this.#running.delete(running);
      throw error;
    }
  }

  async #complete(content: unknown, signal: AbortSignal | undefined, running: Running): Promise<ChatCompletion> {
    const onSent = (uuid: string): void => {
      running.uuid = uuid;
    };
    const isWanted = (): boolean => !running.isInterrupted;
    const options = { signal, onSent, isWanted, maxResends: MAX_RESENDS };
    const reply = await this.#request("chatCompletionNonStreaming", content, options);
    this.#running.delete(running);
    return reply;
  }

  #openStream(
    content: object,
    { stream_options: options }: ChatCompletionRequestBase,
    signal: AbortSignal | undefined,
    running: Running,
  ): PushStream<ChatCompletionChunk> {
    const connection = this.#connection;
    return openReply({
      open: (resume, port, onFailure) => {
        connection.assertReady();
        const whole = resume === undefined ? content : { ...content, resume };
        const message = connection.transport.open("hearth.stream", whole, [port], { resolve: () => undefined, reject: onFailure });
        running.uuid = message.uuid;
        return message;
      },
      canSendAgain: (error) => connection.canSendAgain(error),
      forget: () => connection.forget(),
      isInterrupted: () => running.isInterrupted,
      maxResends: MAX_RESENDS,
      wantsUsage: options?.include_usage === true,
      signal,
      onSettled: () => this.#running.delete(running),
    });
  }

  #askAbout<Kind extends "getMessage" | "runtimeStatsText" | "hearth.usage" | "hearth.context" | "hearth.tabs" | "hearth.pool">(
    kind: Kind,
    modelId: string | undefined,
  ): Promise<Replies[Kind]> {
    return this.#request(kind, { modelId, ...this.#branchContent() }, ONCE);
  }

  async #requestWithModels<Kind extends keyof Replies>(
    kind: Kind,
    content: Record<string, unknown>,
    model: string | undefined,
    options: Pick<SendOptions, "signal" | "maxResends">,
  ): Promise<Replies[Kind]> {
    const models = this.#findModels(model, kind);
    return this.#request(kind, { ...content, ...models, ...(model === undefined ? {} : { model }) }, { ...ONCE, ...options });
  }

  async #request<Kind extends keyof Replies>(kind: Kind, content: unknown, options: SendOptions): Promise<Replies[Kind]> {
    this.#assertOpen();
    return this.#connection.request(kind, content, options);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw engineClosed();
  }

  #branchContent(): { branch?: string } {
    return this.#branch === undefined ? {} : { branch: this.#branch };
  }

  #findPreprocess(modelId: string | undefined): Preprocess | undefined {
    return this.#session.optionsOf(modelId).preprocess ?? this.#session.hearth.preprocess;
  }

  /** The page's models, after the same checks, and with the same errors, as web-llm's clients make before they send anything. */
  #findModels(wanted: string | undefined, requestName: string): PageModels {
    const loaded = this.modelId;
    if (loaded === undefined || loaded.length === 0) throw modelNotLoaded(this.#name);
    if (wanted === undefined && loaded.length > 1) throw unclearModel(loaded, requestName);
    if (wanted !== undefined && !loaded.includes(wanted)) throw modelNotFound(loaded, wanted, requestName);
    return pageModels(loaded, this.chatOpts, this.#session.hearth);
  }
}

/** A conversation that began as another one of this page. */
class Branch extends EngineClient {
  constructor(name: string, session: Session, branch: string) {
    super(name, session, branch);
  }
}

/** The models as every request names them: a worker that has forgotten them loads them again, once for all who ask. */
function pageModels(modelId: string[], chatOpts: ChatOptions[] | undefined, defaults: HearthOptions): PageModels {
  const sent = sentChatOptions(modelId.length, chatOpts, defaults);
  return sent === undefined ? { modelId } : { modelId, chatOpts: sent };
}
