import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import type { ChatContent, ForkContent } from "../src/protocol.gen.js";
import { PageTab } from "../src/tab.js";
import type { ChatCompletionRequestBase, HearthEngine, TabEvent } from "../src/types.js";
import { chunk, finish, Peer, settle, snapshot, TestEngine } from "./peer.js";

const messages: ChatCompletionRequestBase["messages"] = [{ role: "user", content: "hi" }];
const REPLY = { choices: [] };

let peer: Peer;
let tab: PageTab;
let engine: TestEngine;

beforeEach(async () => {
  peer = new Peer();
  peer.returns("reload", null).returns("resetChat", null).returns("hearth.fork", null).returns("getMessage", "last");
  tab = new PageTab({});
  engine = new TestEngine(peer.endpoint, {}, undefined, undefined, tab);
  await engine.reload("a", { temperature: 0 });
});
afterEach(() => {
  engine.close();
  peer.close();
});

const models = { modelId: ["a"], chatOpts: [{ temperature: 0 }] };
const contentsOf = (kind: string): unknown[] => peer.arrived.filter((item) => item.kind === kind).map(({ content }) => content);

test("what_is_asked_about_tokens_carries_the_models_of_the_page", async () => {
  peer.returns("hearth.measure", 12);
  assert.deepEqual([await engine.measure("text"), await engine.measure(messages, "a")], [12, 12]);
  assert.deepEqual(contentsOf("hearth.measure"), [{ text: "text", ...models }, { messages, ...models, model: "a" }]);
  await assert.rejects(engine.measure("text", "b"), { name: "SpecifiedModelNotFoundError" });
});

test("context_tabs_and_pool_are_what_the_worker_returns", async () => {
  const answers = { "hearth.context": { used: 3 }, "hearth.tabs": [{ id: "t" }], "hearth.pool": { pages: [] } };
  for (const [kind, content] of Object.entries(answers)) peer.returns(kind, content);
  assert.deepEqual(
    [await engine.contextUsage(), await engine.tabs(), await engine.pool("a")],
    [{ used: 3 }, [{ id: "t" }], { pages: [] }],
  );
  assert.deepEqual(contentsOf("hearth.pool"), [{ modelId: "a" }]);
});

test("append_resolves_with_what_it_came_to_and_can_be_cancelled", async () => {
  peer.returns("hearth.append", { tokens: 9, cachedTokens: 4 });
  assert.deepEqual(await engine.append(messages), { tokens: 9, cachedTokens: 4 });
  assert.deepEqual(contentsOf("hearth.append"), [{ messages, ...models }]);
  peer.on("hearth.append", () => undefined);
  const controller = new AbortController();
  const waiting = engine.append(messages, { signal: controller.signal });
  const { uuid } = await peer.received("hearth.append", 2);
  controller.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  assert.deepEqual((await peer.received("hearth.cancel")).content, { uuid });
});

test("a_branch_names_itself_in_all_that_is_its_own_and_shares_the_models", async () => {
  peer.returns("chatCompletionNonStreaming", REPLY).returns("hearth.append", {}).returns("hearth.context", {});
  const branch = await engine.fork();
  const { branch: id } = (await peer.received("hearth.fork")).content as ForkContent;
  assert.match(id, /^[0-9a-f-]{36}$/);
  await branch.chatCompletion({ messages });
  await branch.getMessage();
  await branch.resetChat(true);
  await branch.append(messages);
  await branch.contextUsage();
  const named = ["chatCompletionNonStreaming", "getMessage", "resetChat", "hearth.append", "hearth.context"];
  for (const kind of named) assert.deepEqual(contentsOf(kind).map((item) => (item as ChatContent).branch), [id], kind);
  assert.deepEqual((contentsOf("chatCompletionNonStreaming")[0] as ChatContent).modelId, ["a"]);
  await engine.getMessage();
  assert.ok(!("branch" in (contentsOf("getMessage")[1] as object)));
});

test("a_branch_of_a_branch_says_where_it_comes_from", async () => {
  const second = await (await engine.fork()).fork();
  const [first, again] = contentsOf("hearth.fork") as ForkContent[];
  assert.deepEqual([again?.from, first?.from], [first?.branch, undefined]);
  assert.notEqual(again?.branch, first?.branch);
  second.close();
});

test("closing_a_branch_tells_the_worker_once_and_leaves_the_engine_and_other_branches_alone", async () => {
  const branch = await engine.fork();
  const other = await engine.fork();
  branch.close();
  branch.close();
  await assert.rejects(branch.getMessage(), { name: "EngineClosedError" });
  await assert.rejects(branch.chatCompletion({ messages }), { name: "EngineClosedError" });
  assert.equal(await engine.getMessage(), "last");
  assert.equal(await other.getMessage(), "last");
  const [first] = contentsOf("hearth.fork") as ForkContent[];
  assert.deepEqual(contentsOf("hearth.close"), [{ branch: first?.branch }]);
});

test("a_fork_that_fails_is_no_branch", async () => {
  peer.on("hearth.fork", ({ uuid }) => peer.post({ kind: "throw", uuid, content: "ModelNotLoadedError: none" }));
  await assert.rejects(engine.fork(), { name: "ModelNotLoadedError" });
  engine.interruptGenerate();
  assert.deepEqual((await peer.received("interruptGenerate")).content, null);
});

test("branches_generate_at_the_same_time_and_each_is_stopped_alone", async () => {
  const branch = await engine.fork();
  const start = async (of: HearthEngine): Promise<AsyncIterator<unknown>> => (await of.chatCompletion({ messages, stream: true }))[Symbol.asyncIterator]();
  peer.on("hearth.stream", ({ port }) => {
    port?.postMessage({ type: "begin", snapshot: snapshot() });
    port?.postMessage({ type: "chunks", chunks: [chunk("x")], tokens: [1] });
  });
  const [one, two] = [await start(engine), await start(branch)];
  await Promise.all([one.next(), two.next()]);
  const [ofEngine, ofBranch] = [await peer.received("hearth.stream", 1), await peer.received("hearth.stream", 2)];
  branch.interruptGenerate();
  await settle();
  assert.deepEqual(contentsOf("hearth.cancel"), [{ uuid: ofBranch.uuid }]);
  engine.interruptGenerate();
  await settle();
  assert.deepEqual(contentsOf("hearth.cancel"), [{ uuid: ofBranch.uuid }, { uuid: ofEngine.uuid }]);
  assert.deepEqual(contentsOf("interruptGenerate"), []);
  // What was stopped still ends as the worker says.
  ofBranch.port?.postMessage({ type: "chunks", chunks: [finish("abort")], tokens: [] });
  ofBranch.port?.postMessage({ type: "end" });
  assert.deepEqual([(await two.next()).value, (await two.next()).done], [finish("abort"), true]);
  await one.return?.();
});

test("once_its_branches_are_closed_an_engine_stops_with_web_llms_message", async () => {
  (await engine.fork()).close();
  engine.interruptGenerate();
  assert.equal((await peer.received("interruptGenerate")).content, null);
});

const near = (of: string, modelId = "a"): TabEvent => ({ tab: of, modelId, type: "near-limit", used: 9, limit: 10, fraction: 0.9 });

test("events_of_this_tab_reach_the_callback_and_watchers_hear_all_until_they_stop", async () => {
  const own: TabEvent[] = [];
  const watching = new TestEngine(peer.endpoint, { hearth: { onContextEvent: (event) => own.push(event) } }, undefined, undefined, tab);
  peer.returns("getMessage", "");
  await watching.getMessage();
  const all: TabEvent[] = [];
  const second: TabEvent[] = [];
  const stop = watching.watch((event) => all.push(event));
  const stopSecond = watching.watch((event) => second.push(event));
  const say = async (event: unknown): Promise<void> => {
    peer.post({ kind: "hearth.event", uuid: "", content: event });
    await settle();
  };
  await say(near(tab.id));
  await say(near("other"));
  for (const junk of [null, 7, { tab: 3, type: "evicted" }, { tab: tab.id }]) await say(junk);
  stop();
  stop();
  await say(near("other"));
  stopSecond();
  await settle();
  assert.deepEqual(contentsOf("hearth.watch"), [{ all: true }, { all: false }]);
  assert.deepEqual([own, all, second.length], [[near(tab.id)], [near(tab.id), near("other")], 3]);
  watching.close();
});

test("a_models_own_callback_hears_of_that_model_in_place_of_the_engines", async () => {
  const heard: string[] = [];
  const hearth = { onContextEvent: ({ modelId }: TabEvent) => heard.push(`engine ${modelId}`) };
  const both = new TestEngine(peer.endpoint, { hearth }, undefined, undefined, tab);
  await both.reload(["a", "b"], [{}, { hearth: { onContextEvent: ({ modelId }) => heard.push(`model ${modelId}`) } }]);
  for (const modelId of ["a", "b"]) peer.post({ kind: "hearth.event", uuid: "", content: near(tab.id, modelId) });
  await settle();
  assert.deepEqual(heard, ["engine a", "model b"]);
  both.close();
});

test("a_callback_that_throws_does_not_keep_others_from_hearing", async () => {
  const heard: TabEvent[] = [];
  // What a browser does with a task that throws: it is reported, and the next one runs.
  const reported: unknown[] = [];
  const runner = mock.method(globalThis, "queueMicrotask", (task: () => void) => {
    try {
      task();
    } catch (error) {
      reported.push(error);
    }
  });
  engine.watch(() => {
    throw new Error("mine");
  });
  engine.watch((event) => heard.push(event));
  peer.post({ kind: "hearth.event", uuid: "", content: near("other") });
  await settle();
  runner.mock.restore();
  assert.deepEqual([String(reported[0]), heard.length], ["Error: mine", 1]);
});

test("a_new_run_of_the_worker_is_told_that_this_page_watches", async () => {
  peer.on("getMessage", ({ uuid }) => {
    const error = { name: "EngineCrashedError", message: "m", details: { retryable: true } };
    peer.post({ kind: "throw", uuid, content: "x", error });
    peer.returns("getMessage", "");
  });
  engine.watch(() => undefined);
  await engine.getMessage();
  assert.deepEqual(peer.kinds("all").slice(1), ["reload", "hearth.watch", "getMessage", "hearth.hello", "hearth.watch", "getMessage"]);
});

test("another_engine_of_the_page_goes_on_watching_when_one_is_closed", async () => {
  const [first, second] = [0, 1].map(() => new TestEngine(peer.endpoint, {}, 60_000, undefined, tab)) as [TestEngine, TestEngine];
  first.watch(() => undefined);
  second.watch(() => undefined);
  first.close();
  await settle();
  assert.deepEqual(contentsOf("hearth.watch"), [{ all: true }, { all: true }]);
  second.close();
  await settle();
  assert.deepEqual(contentsOf("hearth.watch").at(-1), { all: false });
});
