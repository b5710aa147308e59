// The site as tests use it: a server of its own (an origin of its own, with its own storage and service worker), pages with
// one of the two clients, and what tests do to the worker behind the pages' backs.

import { expect, test as base, type BrowserContext, type Page } from "@playwright/test";
import { TestServer } from "../server.mjs";

export { stopWorker } from "./worker.mjs";

/** Which client a page has. */
export type ClientName = "stock" | "hearth";

export interface LoadOptions {
  url: string;
  id?: string;
  make?: string;
  overrides?: object;
  chatOpts?: object;
  /** `hearth` of the engine's config. */
  hearth?: object;
}
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details?: { cached_tokens: number };
  extra: Record<string, number> & { context?: ContextReport };
}
export interface ContextReport {
  window: number;
  used: number;
  budget?: number;
  policy?: string;
  dropped_messages?: number;
  dropped_tokens?: number;
}
/** What was done to a context; see the package's type of the same name. */
export interface ContextEvent {
  type: string;
  [field: string]: unknown;
}
export interface ContextUsage {
  used: number;
  window: number;
  budget: number;
  reserved: number;
  pagesHeld: number;
  pagesShared: number;
  cachedTokens: number;
}
export interface PoolReport {
  blockSizeTokens: number;
  pagesMax: number;
  pages: { state: "free" | "cached" | "held"; tabs: string[] }[];
}
export interface TabReport {
  id: string;
  own: boolean;
  state: string;
  generating: boolean;
  budget: number;
  usage?: ContextUsage;
  models: string[];
}
export interface DeviceUsage {
  loads: number;
  gpuMemoryBytes: number;
}
export interface PoolUsage {
  pagesTotal: number;
  pagesFree: number;
  pagesCached: number;
  pagesHeld: number;
  running: number;
  waiting: number;
  device: DeviceUsage;
}
export interface Message {
  role: string;
  content: string;
}
export interface Answer {
  text: string;
  finish: string;
  usage: Usage;
  reply: { id: string; object: string; model: string; created: number };
}
export interface Streamed {
  text: string;
  finish: string | null;
  usage: Usage | undefined;
  ids: string[];
  stampsMs: number[];
}
export interface Failure {
  text: string;
  isError: boolean;
  name: string;
  message: string;
  details: Record<string, unknown> | undefined;
}
export interface Chunk {
  choices: { delta: { content?: string; role?: string }; finish_reason: string | null }[];
  usage?: Usage;
}
export interface Piece {
  text: string;
  tokens: number;
  start: number;
  end: number;
  headings: string[];
}
interface Engine {
  chat: { completions: { create(request: object): Promise<AsyncIterable<Chunk> & AsyncIterator<Chunk, any>> } };
  reload(id: string, chatOpts?: object, options?: object): Promise<void>;
  setInitProgressCallback(callback: (report: { text: string }) => void): void;
  unload(): Promise<void>;
  resetChat(): Promise<void>;
  getMessage(): Promise<string>;
  runtimeStatsText(): Promise<string>;
  interruptGenerate(): void;
  close(): void;
  contextUsage(): Promise<ContextUsage>;
  measure(what: Message[] | string): Promise<number>;
  tabs(): Promise<TabReport[]>;
  pool(): Promise<PoolReport>;
  poolUsage(): Promise<PoolUsage>;
  fork(): Promise<Engine>;
  append(messages: Message[]): Promise<{ tokens: number; cachedTokens: number }>;
  documents: {
    chunk(text: string, options: { maxTokens: number; overlapTokens?: number }): Promise<Piece[]>;
    compress(text: string, options: { maxTokens: number; query?: string }): Promise<{ text: string; tokens: number; originalTokens: number }>;
    ask(text: string, question: string, options?: object): Promise<{ answer: string; chunks: number; tokensRead: number; originalTokens: number; usage: { calls: number; cachedTokens: number } }>;
  };
}

declare global {
  /** See site/site.js. */
  const tab: {
    progress: { progress: number; text: string }[];
    load(options: LoadOptions): Promise<number>;
    ask(request: object): Promise<Answer>;
    stream(request: object): Promise<Streamed>;
    collect(chunks: AsyncIterable<Chunk>): Promise<Streamed>;
    failure(action: () => unknown): Promise<Failure>;
    /** Context events of all engines of this page. */
    events: ContextEvent[];
    post(kind: string, content: unknown, uuid?: string): Promise<{ kind: string; content: unknown }>;
  };
  // eslint-disable-next-line no-var
  var engine: Engine;
  const client: Record<string, any>;
  const ready: Promise<void>;
}

/** The small model: 127 KB, nonsense, and fast everywhere. */
export const TINY = "/made/tiny.gguf";
/** The same in a file of four stored pieces. */
export const FOUR_PIECES = "/made/four-pieces.gguf";
/** The real chat model. */
export const SMOLLM2 = "/models/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf";

/** A request whose text does not matter. */
export const HELLO = { messages: [{ role: "user", content: "hello there" }], max_tokens: 8, ignore_eos: true };

/** One origin and the pages on it. */
export class Site {
  readonly server: TestServer;
  readonly context: BrowserContext;

  constructor(server: TestServer, context: BrowserContext) {
    this.server = server;
    this.context = context;
  }

  /** Runs `code` in the service worker before its own script: for what a browser may lack. Before any page is opened. */
  async beforeWorker(code: string): Promise<void> {
    const path = "/hearth/hearth-sw.js";
    const script = await (await fetch(this.server.origin + path)).text();
    this.server.pages.set(path, { type: "text/javascript", body: `${code};\n${script}` });
  }

  /** A new tab with this client, controlled by the service worker. */
  async open(client: ClientName, query = ""): Promise<Page> {
    const page = await this.context.newPage();
    await page.goto(`${this.server.origin}/${client}.html${query}`);
    await page.evaluate(() => ready);
    return page;
  }

  /** A new tab that has loaded a model. */
  async openWith(client: ClientName, options: LoadOptions): Promise<Page> {
    const page = await this.open(client);
    await load(page, options);
    return page;
  }
}

export const load = (page: Page, options: LoadOptions): Promise<number> =>
  page.evaluate((given) => tab.load(given), options);
export const ask = (page: Page, request: object): Promise<Answer> => page.evaluate((given) => tab.ask(given), request);
export const stream = (page: Page, request: object): Promise<Streamed> =>
  page.evaluate((given) => tab.stream(given), request);
export const loadFailure = (page: Page, options: LoadOptions): Promise<Failure> =>
  page.evaluate((given) => tab.failure(() => tab.load(given)), options);
export const askFailure = (page: Page, request: object): Promise<Failure> =>
  page.evaluate((given) => tab.failure(() => tab.ask(given)), request);
export const progressTexts = (page: Page): Promise<string[]> =>
  page.evaluate(() => tab.progress.map(({ text }) => text));

/** A test with a site that nobody else uses. */
export const test = base.extend<{ site: Site }>({
  site: async ({ context }, use) => {
    const server = await new TestServer().start();
    await use(new Site(server, context));
    await context.close();
    await server.stop();
  },
});

/** The pool and this page's part of it. */
export const poolUsage = (page: Page): Promise<PoolUsage> => page.evaluate(() => tab.post("hearth.usage", {}).then(({ content }) => content as PoolUsage));
export const contextEvents = (page: Page): Promise<ContextEvent[]> => page.evaluate(() => tab.events);

export { expect };
