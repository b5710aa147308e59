import assert from "node:assert/strict";
import { test } from "node:test";
import { sentChatOptions } from "../src/options.js";
import type {
  ChatCompletionRequest,
  ChatOptions,
  ContextEvent,
  ContextUsage,
  HearthEngine,
  MLCEngineConfig,
  MLCEngineInterface,
  PoolReport,
  TabReport,
} from "../src/index.js";
import { Peer, TestEngine } from "./peer.js";

/** Compiles when the option has exactly this type; what an app may write is checked by the compiler below. */
function accepts<T>(value: T): T {
  return value;
}

/** An engine is web-llm's engine, and Hearth's. Never called: the compiler reads it. */
export async function shapes(engine: HearthEngine): Promise<void> {
  accepts<MLCEngineInterface>(engine);
  accepts<ContextUsage>(await engine.contextUsage());
  accepts<number>(await engine.measure("text"));
  accepts<TabReport[]>(await engine.tabs());
  accepts<PoolReport>(await engine.pool());
  accepts<HearthEngine>(await engine.fork());
  accepts<string>((await engine.documents.ask("text", "question")).answer);
  accepts<AsyncIterable<string>>((await engine.documents.ask("text", "question", { stream: true })).answer);
  // @ts-expect-error the hook gives a promise of a text
  accepts<MLCEngineConfig>({ hearth: { preprocess: () => 7 } });
  // @ts-expect-error no such policy
  accepts<ChatOptions>({ hearth: { overflowPolicy: "drop" } });
  // @ts-expect-error a number or the word
  accepts<ChatOptions>({ hearth: { tabBudgetTokens: "most" } });
  // @ts-expect-error of one request only two can be said
  accepts<ChatCompletionRequest>({ messages: [], hearth: { kvCacheTokens: 1 } });
}

/** Every option that there is. */
const EVERYTHING: NonNullable<MLCEngineConfig["hearth"]> = {
  serviceWorkerUrl: "/sw.js",
  serviceWorkerScope: "/",
  wasmUrl: "/x.wasm",
  overflowPolicy: "summarize",
  tabBudgetTokens: "fair",
  kvCacheTokens: "auto",
  kvCacheType: "q8",
  reserveOutputTokens: 64,
  idleEvictSeconds: 30,
  nearLimitFraction: 0.8,
  preprocess: async ({ text, maxTokens, query }) => `${text}${maxTokens}${query ?? ""}`,
  onContextEvent: (event: ContextEvent) => void event.type,
};
const SENT = {
  overflowPolicy: "summarize",
  tabBudgetTokens: "fair",
  kvCacheTokens: "auto",
  kvCacheType: "q8",
  reserveOutputTokens: 64,
  idleEvictSeconds: 30,
  nearLimitFraction: 0.8,
} as const;

test("without_options_nothing_is_sent", () => {
  assert.equal(sentChatOptions(1, undefined), undefined);
  assert.equal(sentChatOptions(1, undefined, { onContextEvent: () => undefined }), undefined);
  assert.deepEqual(sentChatOptions(1, [{ temperature: 0 }], {}), [{ temperature: 0 }]);
});

test("options_of_the_engine_are_those_of_every_model", () => {
  assert.deepEqual(sentChatOptions(2, undefined, EVERYTHING), [{ hearth: SENT }, { hearth: SENT }]);
});

test("options_of_a_model_win_and_what_is_not_set_hides_nothing", () => {
  const own = { overflowPolicy: "error", kvCacheType: null, onContextEvent: () => undefined } as const;
  const opts: ChatOptions[] = [{ contextWindowSize: 1024, slidingWindow: true, hearth: own }, { hearth: null }];
  assert.deepEqual(sentChatOptions(2, opts, EVERYTHING), [
    { contextWindowSize: 1024, slidingWindow: true, hearth: { ...SENT, overflowPolicy: "error" } },
    { hearth: SENT },
  ]);
});

test("callbacks_never_reach_the_wire_and_the_options_of_a_request_do", async () => {
  const peer = new Peer();
  peer.returns("reload", null).returns("chatCompletionNonStreaming", { choices: [] });
  const engine = new TestEngine(peer.endpoint, { hearth: EVERYTHING });
  const chatOpts: ChatOptions = { hearth: { preprocess: { endpoint: "/x" }, nearLimitFraction: 0.5 } };
  await engine.reload("a", chatOpts);
  const sent = [{ hearth: { ...SENT, nearLimitFraction: 0.5 } }];
  assert.deepEqual((await peer.received("reload")).content, { modelId: ["a"], chatOpts: sent });
  assert.deepEqual(engine.chatOpts, [chatOpts]);
  const hearth = { overflowPolicy: "truncate", reserveOutputTokens: 8 } as const;
  await engine.chatCompletion({ messages: [], hearth });
  const { content } = await peer.received("chatCompletionNonStreaming");
  assert.deepEqual(content, { request: { messages: [], hearth }, modelId: ["a"], chatOpts: sent });
  engine.close();
  peer.close();
});
