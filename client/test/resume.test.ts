import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ChatContent } from "../src/protocol.gen.js";
import type { ChatCompletionChunk, ChatCompletionRequestBase } from "../src/types.js";
import { chunk, finish, Peer, settle, snapshot, TestEngine, usage, type Arrived } from "./peer.js";

const messages: ChatCompletionRequestBase["messages"] = [{ role: "user", content: "hi" }];

/** One reply: what each token lets out; `undefined` where it has made no text yet. */
const TOKENS: readonly (string | undefined)[] = ["a", "b", undefined, "cd", "e"];

let peer: Peer;
let engine: TestEngine;

beforeEach(async () => {
  peer = new Peer();
  peer.returns("reload", null);
  engine = new TestEngine(peer.endpoint);
  await engine.reload("a");
});
afterEach(() => {
  engine.close();
  peer.close();
});

/** Everything that a worker says about the reply, or about what is left of it. */
function script({ content }: Arrived): object[] {
  const done = (content as ChatContent).resume?.tokens ?? [];
  const rest = TOKENS.slice(done.length).map((text, index) => ({
    type: "chunks",
    chunks: text === undefined ? [] : [chunk(text)],
    tokens: [100 + done.length + index],
  }));
  return [
    { type: "begin", snapshot: snapshot(...done) },
    ...rest,
    { type: "chunks", chunks: [finish()], tokens: [] },
    { type: "chunks", chunks: [usage(3, TOKENS.length)], tokens: [] },
    { type: "end" },
  ];
}

/** The n-th run of the worker says so many messages of the script, then `dies`; the last one says all. */
function workersThatSay(numMessages: readonly number[], dies: (message: Arrived) => void = ({ port }) => port?.close()): void {
  let run = 0;
  peer.on("hearth.stream", (message) => {
    const last = numMessages[run];
    run += 1;
    for (const item of script(message).slice(0, last)) message.port?.postMessage(item);
    if (last !== undefined) dies(message);
  });
}

const ask = (more: Partial<ChatCompletionRequestBase> = {}): Promise<AsyncIterable<ChatCompletionChunk>> =>
  engine.chat.completions.create({ messages, stream_options: { include_usage: true }, ...more, stream: true });

/** What a reader sees: texts, and the kinds of the chunks that end it. */
async function read(stream: AsyncIterable<ChatCompletionChunk>): Promise<string[]> {
  const seen: string[] = [];
  for await (const { choices, usage: spent } of stream) {
    seen.push(spent === undefined ? (choices[0]?.finish_reason ?? choices[0]?.delta.content ?? "?") : "usage");
  }
  return seen;
}

const WHOLE = ["a", "b", "cd", "e", "stop", "usage"];
const resumedTokens = (): unknown[] =>
  peer.arrived.filter(({ kind }) => kind === "hearth.stream").map(({ content }) => (content as ChatContent).resume?.tokens);

for (let numMessages = 0; numMessages <= TOKENS.length + 3; numMessages += 1) {
  test(`a_worker_that_dies_after_${numMessages}_messages_is_not_noticed_by_the_reader`, async () => {
    workersThatSay([numMessages]);
    assert.deepEqual(await read(await ask()), WHOLE);
    const isComplete = numMessages === TOKENS.length + 3;
    const numTokens = Math.max(0, Math.min(numMessages - 1, TOKENS.length));
    const tokens = TOKENS.slice(0, numTokens).map((_text, index) => 100 + index);
    assert.deepEqual(resumedTokens(), isComplete ? [undefined] : [undefined, numMessages === 0 ? undefined : tokens]);
  });
}

test("nothing_more_is_asked_for_once_the_end_of_a_reply_without_usage_has_come", async () => {
  workersThatSay([TOKENS.length + 2]);
  assert.deepEqual(await read(await ask({ stream_options: null })), ["a", "b", "cd", "e", "stop"]);
  assert.equal(resumedTokens().length, 1);
});

test("a_request_that_goes_on_elsewhere_is_the_same_request_with_the_snapshot", async () => {
  workersThatSay([3]);
  await read(await ask({ seed: 5 }));
  const { resume, ...rest } = (await peer.received("hearth.stream", 2)).content as ChatContent;
  assert.deepEqual(rest, (await peer.received("hearth.stream", 1)).content);
  assert.deepEqual(resume, snapshot(100, 101));
});

test("a_worker_may_die_as_often_as_it_likes_while_each_run_makes_a_token", async () => {
  workersThatSay([2, 2, 2, 2, 2]);
  assert.deepEqual(await read(await ask()), WHOLE);
  assert.equal(resumedTokens().length, 6);
});

for (const numMessages of [0, 1]) {
  test(`three_runs_without_a_token_are_enough: each said ${numMessages}`, async () => {
    workersThatSay([2, ...Array<number>(9).fill(numMessages)]);
    const seen: string[] = [];
    await assert.rejects(async () => {
      for await (const part of await ask()) seen.push(part.choices[0]?.delta.content ?? "?");
    }, { name: "WorkerLostError" });
    assert.deepEqual([seen, resumedTokens().length], [["a"], 4]);
  });
}

test("messages_without_a_token_are_no_progress", async () => {
  let numRuns = 0;
  peer.on("hearth.stream", ({ port }) => {
    numRuns += 1;
    port?.postMessage({ type: "begin", snapshot: snapshot() });
    port?.postMessage({ type: "chunks", chunks: [], tokens: [] });
    if (numRuns < 9) port?.close();
  });
  await assert.rejects(ask().then(read), { name: "WorkerLostError" });
  assert.equal(numRuns, 4);
});

for (const name of ["EngineCrashedError", "DeviceLostError"]) {
  test(`an_error_that_can_be_tried_again_is_tried_again: ${name}`, async () => {
    workersThatSay([3], ({ port }) => port?.postMessage({ type: "error", error: { name, message: "m", details: { retryable: true } } }));
    assert.deepEqual(await read(await ask()), WHOLE);
    // The engine behind the worker is another one: it is told who asks before it is asked.
    assert.deepEqual(peer.kinds("all").slice(-3), ["hearth.stream", "hearth.hello", "hearth.stream"]);
  });
}

test("an_error_that_cannot_be_tried_again_reaches_the_reader_after_the_chunks_before_it", async () => {
  workersThatSay([2], ({ port }) => port?.postMessage({ type: "error", error: { name: "GPUError", message: "m" } }));
  const stream = (await ask())[Symbol.asyncIterator]();
  assert.equal((await stream.next()).value?.choices[0]?.delta.content, "a");
  await assert.rejects(stream.next(), { name: "GPUError" });
  assert.equal(resumedTokens().length, 1);
});

test("a_retryable_error_under_the_uuid_of_the_stream_is_tried_again_too", async () => {
  workersThatSay([0], ({ uuid }) =>
    peer.post({ kind: "throw", uuid, content: "x", error: { name: "EngineCrashedError", message: "m", details: { retryable: true } } }),
  );
  assert.deepEqual(await read(await ask()), WHOLE);
});

test("text_of_a_worker_that_sent_no_snapshot_is_not_asked_for_again", async () => {
  peer.on("hearth.stream", ({ port }) => {
    port?.postMessage({ type: "chunks", chunks: [chunk("a")], tokens: [1] });
    port?.close();
  });
  await assert.rejects(ask().then(read), { name: "WorkerLostError" });
  assert.equal(resumedTokens().length, 1);
});

test("aborting_while_the_next_run_is_silent_cancels_there_and_rejects_with_the_reason", async () => {
  workersThatSay([2, 0], () => undefined);
  const controller = new AbortController();
  const stream = (await ask({ signal: controller.signal }))[Symbol.asyncIterator]();
  await stream.next();
  const waiting = stream.next();
  (await peer.received("hearth.stream", 1)).port?.close();
  const { port } = await peer.received("hearth.stream", 2);
  const fromPage: unknown[] = [];
  port?.addEventListener("message", (event: MessageEvent<unknown>) => fromPage.push(event.data));
  port?.start();
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  await settle();
  assert.deepEqual([fromPage, resumedTokens().length], [[{ type: "cancel" }], 2]);
});

test("leaving_while_the_next_run_is_silent_cancels_there", async () => {
  workersThatSay([2, 0], () => undefined);
  const stream = (await ask())[Symbol.asyncIterator]();
  await stream.next();
  (await peer.received("hearth.stream", 1)).port?.close();
  const { port } = await peer.received("hearth.stream", 2);
  const fromPage: unknown[] = [];
  port?.addEventListener("message", (event: MessageEvent<unknown>) => fromPage.push(event.data));
  port?.start();
  await stream.return?.();
  await settle();
  assert.deepEqual([fromPage, resumedTokens().length], [[{ type: "cancel" }], 2]);
});

test("closing_the_engine_ends_the_stream_and_nothing_is_asked_again", async () => {
  workersThatSay([2], () => undefined);
  const stream = (await ask())[Symbol.asyncIterator]();
  await stream.next();
  const waiting = stream.next();
  engine.close();
  await assert.rejects(waiting, { name: "EngineClosedError" });
  assert.equal(resumedTokens().length, 1);
});

test("a_stream_that_was_stopped_is_not_begun_again_when_its_worker_dies", async () => {
  workersThatSay([2], () => undefined);
  const stream = (await ask())[Symbol.asyncIterator]();
  await stream.next();
  engine.interruptGenerate();
  (await peer.received("hearth.stream")).port?.close();
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  assert.equal(resumedTokens().length, 1);
});

/** Fails this many times as a killed worker does, then answers. */
function losing(kind: string, times: number, content: unknown): () => number {
  let asked = 0;
  peer.on(kind, ({ uuid }) => {
    asked += 1;
    const error = { name: "WorkerLostError", message: "gone", details: { retryable: true } };
    peer.post(asked <= times ? { kind: "throw", uuid, content: "WorkerLostError: gone", error } : { kind: "return", uuid, content });
  });
  return () => asked;
}

test("a_whole_reply_that_is_lost_is_asked_for_again_up_to_three_times", async () => {
  const reply = { choices: [] };
  const asked = losing("chatCompletionNonStreaming", 3, reply);
  assert.deepEqual(await engine.chatCompletion({ messages }), reply);
  assert.equal(asked(), 4);
  const tooOften = losing("chatCompletionNonStreaming", 4, reply);
  await assert.rejects(engine.chatCompletion({ messages }), { name: "WorkerLostError" });
  assert.equal(tooOften(), 4);
});

test("a_lost_reload_is_sent_again_and_the_page_has_the_model_afterwards", async () => {
  const asked = losing("reload", 2, null);
  await engine.reload("b");
  assert.deepEqual([asked(), engine.modelId], [3, ["b"]]);
});

test("quick_questions_are_sent_again_once", async () => {
  assert.equal(await (losing("getMessage", 1, "text"), engine.getMessage()), "text");
  const asked = losing("hearth.usage", 2, {});
  await assert.rejects(engine.poolUsage(), { name: "WorkerLostError" });
  assert.equal(asked(), 2);
});

test("a_lost_reply_that_was_stopped_or_aborted_is_not_asked_for_again", async () => {
  const lose = (uuid: string): void =>
    peer.post({ kind: "throw", uuid, content: "x", error: { name: "WorkerLostError", message: "gone", details: { retryable: true } } });
  const stopped = engine.chatCompletion({ messages });
  const { uuid } = await peer.received("chatCompletionNonStreaming");
  engine.interruptGenerate();
  lose(uuid);
  await assert.rejects(stopped, { name: "WorkerLostError" });
  const controller = new AbortController();
  const aborted = engine.chatCompletion({ messages, signal: controller.signal });
  lose((await peer.received("chatCompletionNonStreaming", 2)).uuid);
  await peer.received("chatCompletionNonStreaming", 3);
  controller.abort();
  await assert.rejects(aborted, { name: "AbortError" });
  await settle();
  assert.equal(peer.kinds().filter((kind) => kind === "chatCompletionNonStreaming").length, 3);
});

test("no_reload_is_sent_for_what_goes_on_elsewhere", async () => {
  workersThatSay([2, 2]);
  losing("chatCompletionNonStreaming", 2, { choices: [] });
  await Promise.all([ask().then(read), engine.chatCompletion({ messages })]);
  assert.equal(peer.kinds().filter((kind) => kind === "reload").length, 1);
});

test("a_stream_that_nobody_holds_any_more_is_cancelled_and_one_that_is_waited_for_is_not", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const cancelled: number[] = [];
  let numStreams = 0;
  peer.on("hearth.stream", ({ port }) => {
    const index = numStreams;
    numStreams += 1;
    port?.addEventListener("message", () => cancelled.push(index));
    port?.start();
    port?.postMessage({ type: "begin", snapshot: snapshot() });
  });
  await ask();
  const waiting = ask().then((stream) => stream[Symbol.asyncIterator]().next());
  await peer.received("hearth.stream", 2);
  for (let round = 0; round < 100 && cancelled.length === 0; round += 1) {
    collect();
    await settle();
  }
  assert.deepEqual(cancelled, [0]);
  const { port } = await peer.received("hearth.stream", 2);
  port?.postMessage({ type: "chunks", chunks: [chunk("a")], tokens: [1] });
  assert.deepEqual(await waiting, { done: false, value: chunk("a") });
});
