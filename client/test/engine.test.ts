import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { ChatCompletionChunk, ChatCompletionRequestBase } from "../src/types.js";
import { chunk, Peer, settle, snapshot, TestEngine } from "./peer.js";

let peer: Peer;
let engine: TestEngine;

beforeEach(() => {
  peer = new Peer();
  peer.returns("reload", null).returns("unload", null).returns("resetChat", null);
  engine = new TestEngine(peer.endpoint);
});
afterEach(() => {
  engine.close();
  peer.close();
});

const messages: ChatCompletionRequestBase["messages"] = [{ role: "user", content: "hi" }];

test("settings_are_sent_before_anything_else", async () => {
  const appConfig = { model_list: [{ model: "https://x/y.gguf", model_id: "y" }] };
  const second = new TestEngine(peer.endpoint, { appConfig, logLevel: "INFO" });
  await second.reload("y");
  assert.deepEqual(peer.kinds(), ["setAppConfig", "setLogLevel", "reload"]);
  assert.equal(peer.kinds("all")[0], "hearth.hello");
  assert.deepEqual((await peer.received("setAppConfig")).content, appConfig);
  assert.equal((await peer.received("setLogLevel")).content, "INFO");
  second.close();
});

test("reload_sends_lists_and_remembers_the_models_only_when_it_succeeds", async () => {
  await engine.reload("a", { temperature: 0 });
  assert.deepEqual((await peer.received("reload")).content, { modelId: ["a"], chatOpts: [{ temperature: 0 }] });
  assert.deepEqual(engine.modelId, ["a"]);
  peer.on("reload", ({ uuid }) => peer.post({ kind: "throw", uuid, content: "ModelNotFoundError: b" }));
  await assert.rejects(engine.reload(["b", "c"]), { name: "ModelNotFoundError" });
  assert.deepEqual((await peer.received("reload", 2)).content, { modelId: ["b", "c"] });
  assert.deepEqual(engine.modelId, ["a"]);
});

test("a_request_without_streaming_returns_what_the_worker_returns", async () => {
  await engine.reload("a");
  peer.returns("chatCompletionNonStreaming", { choices: [{ message: { content: "hello" } }] });
  const reply = await engine.chat.completions.create({ messages, temperature: 0 });
  assert.equal(reply.choices[0]?.message.content, "hello");
  const { content } = await peer.received("chatCompletionNonStreaming");
  assert.deepEqual(content, { request: { messages, temperature: 0 }, modelId: ["a"] });
});

test("a_streaming_request_sends_one_port_and_yields_what_comes_on_it", async () => {
  await engine.reload("a");
  peer.on("hearth.stream", ({ port }) => {
    port?.postMessage({ type: "begin", snapshot: snapshot() });
    port?.postMessage({ type: "chunks", chunks: [chunk("he"), chunk("llo")], tokens: [5, 6] });
    port?.postMessage({ type: "end" });
  });
  let text = "";
  for await (const part of await engine.chat.completions.create({ messages, stream: true })) {
    text += part.choices[0]?.delta.content ?? "";
  }
  assert.equal(text, "hello");
});

test("a_stream_fails_when_the_worker_throws_under_its_uuid", async () => {
  await engine.reload("a");
  peer.on("hearth.stream", ({ uuid }) => peer.post({ kind: "throw", uuid, content: "UnknownMessageKindError: hearth.stream" }));
  const stream = await engine.chatCompletion({ messages, stream: true });
  await assert.rejects(async () => {
    for await (const part of stream) assert.fail(JSON.stringify(part));
  }, { name: "UnknownMessageKindError" });
});

test("load_progress_under_a_streams_uuid_reaches_the_callback", async () => {
  const texts: string[] = [];
  engine.setInitProgressCallback(({ text }) => texts.push(text));
  assert.notEqual(engine.getInitProgressCallback(), undefined);
  await engine.reload("a");
  peer.on("hearth.stream", ({ uuid, port }) => {
    peer.post({ kind: "initProgressCallback", uuid, content: { progress: 0, timeElapsed: 0, text: "loading again" } });
    setImmediate(() => port?.postMessage({ type: "end" }));
  });
  const read: ChatCompletionChunk[] = [];
  for await (const part of await engine.chatCompletion({ messages, stream: true })) read.push(part);
  assert.deepEqual([texts, read], [["loading again"], []]);
});

test("the_signal_stays_in_the_page_and_cancels_only_its_own_request", async () => {
  await engine.reload("a");
  const first = new AbortController();
  const second = new AbortController();
  const one = engine.chat.completions.create({ messages, signal: first.signal });
  const two = engine.chat.completions.create({ messages, signal: second.signal });
  const oneUuid = (await peer.received("chatCompletionNonStreaming", 1)).uuid;
  const arrived = await peer.received("chatCompletionNonStreaming", 2);
  assert.ok(!JSON.stringify(arrived.content).includes("signal"));
  first.abort();
  await assert.rejects(one, { name: "AbortError" });
  assert.deepEqual((await peer.received("hearth.cancel")).content, { uuid: oneUuid });
  peer.post({ kind: "return", uuid: arrived.uuid, content: { choices: [] } });
  assert.deepEqual(await two, { choices: [] });
});

test("a_stream_asked_for_with_an_aborted_signal_is_never_sent", async () => {
  await engine.reload("a");
  const request = { messages, stream: true, signal: AbortSignal.abort() } as const;
  await assert.rejects(engine.chat.completions.create(request), { name: "AbortError" });
  await settle();
  assert.deepEqual(peer.kinds(), ["reload"]);
});

test("aborting_a_reload_cancels_it", async () => {
  peer.on("reload", () => undefined);
  const controller = new AbortController();
  const reload = engine.reload("a", undefined, { signal: controller.signal });
  const { uuid } = await peer.received("reload");
  controller.abort();
  await assert.rejects(reload, { name: "AbortError" });
  assert.deepEqual((await peer.received("hearth.cancel")).content, { uuid });
  assert.equal(engine.modelId, undefined);
});

test("a_request_before_any_model_is_refused_as_web_llm_does", async () => {
  await assert.rejects(engine.chatCompletion({ messages }), (error) => {
    assert.equal(
      String(error),
      "WorkerEngineModelNotLoadedError: TestEngine is not loaded with a model. Did you call `engine.reload()`?",
    );
    return true;
  });
});

test("with_several_models_the_request_must_name_one_of_them", async () => {
  await engine.reload(["a", "b"]);
  await assert.rejects(engine.chatCompletion({ messages }), { name: "UnclearModelToUseError", message: /:\na,b$/ });
  await assert.rejects(engine.chatCompletion({ messages, model: "c" }), { name: "SpecifiedModelNotFoundError" });
  peer.returns("chatCompletionNonStreaming", { choices: [] });
  assert.deepEqual(await engine.chatCompletion({ messages, model: "b" }), { choices: [] });
});

test("unload_forgets_the_models", async () => {
  await engine.reload("a");
  await engine.unload();
  await assert.rejects(engine.chatCompletion({ messages }), { name: "WorkerEngineModelNotLoadedError" });
});

test("the_small_calls_send_web_llms_messages", async () => {
  peer.returns("getMessage", "last").returns("runtimeStatsText", "prefill: 1.0000 tokens/sec");
  peer.returns("hearth.usage", { pagesHeld: 3 });
  assert.equal(await engine.getMessage(), "last");
  assert.equal(await engine.runtimeStatsText("m"), "prefill: 1.0000 tokens/sec");
  assert.deepEqual(await engine.poolUsage(), { pagesHeld: 3 });
  await engine.resetChat(true, "m");
  engine.interruptGenerate();
  engine.setLogLevel("DEBUG");
  await peer.received("setLogLevel");
  const sent = peer.arrived.filter(({ kind }) => kind !== "hearth.hello").map(({ kind, content }) => [kind, content]);
  assert.deepEqual(sent, [
    ["getMessage", { modelId: undefined }],
    ["runtimeStatsText", { modelId: "m" }],
    ["hearth.usage", { modelId: undefined }],
    ["resetChat", { keepStats: true, modelId: "m" }],
    ["interruptGenerate", null],
    ["setLogLevel", "DEBUG"],
  ]);
});
