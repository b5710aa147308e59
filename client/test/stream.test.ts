import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { isRetryable } from "../src/errors.js";
import { openReply } from "../src/reply-stream.js";
import type { PushStream } from "../src/stream.js";
import type { ChatCompletionChunk } from "../src/types.js";
import { chunk, settle, snapshot } from "./peer.js";

let worker: MessagePort;
let fromPage: unknown[];
let workerSawClose: boolean;
let numSettled: number;

beforeEach(() => {
  fromPage = [];
  workerSawClose = false;
  numSettled = 0;
});
afterEach(() => worker.close());

function open(signal?: AbortSignal, maxResends = 0): PushStream<ChatCompletionChunk> {
  return openReply({
    open: (_resume, port) => {
      worker = port;
      worker.addEventListener("message", (event: MessageEvent<unknown>) => fromPage.push(event.data));
      worker.addEventListener("close", () => {
        workerSawClose = true;
      });
      worker.start();
      worker.postMessage({ type: "begin", snapshot: snapshot() });
      return { uuid: "u", close: () => undefined };
    },
    canSendAgain: isRetryable,
    forget: () => undefined,
    isInterrupted: () => false,
    maxResends,
    wantsUsage: false,
    signal,
    onSettled: () => {
      numSettled += 1;
    },
  });
}
const chunks = (...texts: string[]): void => worker.postMessage({ type: "chunks", chunks: texts.map(chunk), tokens: [] });
const yields = (text: string): unknown => ({ done: false, value: chunk(text) });
const text = (part: ChatCompletionChunk): string => part.choices[0]?.delta.content ?? "";

async function readAll(stream: AsyncIterable<ChatCompletionChunk>): Promise<string[]> {
  const texts: string[] = [];
  for await (const part of stream) texts.push(text(part));
  return texts;
}

test("coalesced_chunks_come_out_one_by_one_in_order_and_the_port_is_closed", async () => {
  const stream = open();
  chunks("a", "b");
  chunks("c");
  chunks();
  worker.postMessage({ type: "end" });
  assert.deepEqual(await readAll(stream), ["a", "b", "c"]);
  await settle();
  assert.deepEqual([fromPage, workerSawClose, numSettled], [[], true, 1]);
});

test("concurrent_next_calls_are_answered_in_their_order", async () => {
  const stream = open();
  const reads = [stream.next(), stream.next(), stream.next(), stream.next()];
  chunks("a", "b");
  worker.postMessage({ type: "end" });
  assert.deepEqual(await Promise.all(reads), [
    yields("a"),
    yields("b"),
    { done: true, value: undefined },
    { done: true, value: undefined },
  ]);
});

test("break_cancels_once_and_closes_the_port", async () => {
  const stream = open();
  chunks("a", "b");
  for await (const part of stream) {
    assert.equal(text(part), "a");
    break;
  }
  await settle();
  assert.deepEqual([fromPage, workerSawClose, numSettled], [[{ type: "cancel" }], true, 1]);
});

test("an_exception_in_the_loop_cancels", async () => {
  const stream = open();
  chunks("a");
  await assert.rejects(async () => {
    for await (const part of stream) throw new Error(`cannot use ${text(part)}`);
  }, /cannot use a/);
  await settle();
  assert.deepEqual(fromPage, [{ type: "cancel" }]);
});

test("return_before_the_first_chunk_cancels_and_the_end_is_reached", async () => {
  const stream = open();
  assert.deepEqual(await stream.return(), { done: true, value: undefined });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  await settle();
  assert.deepEqual(fromPage, [{ type: "cancel" }]);
});

test("throw_cancels_and_rejects_with_what_was_thrown", async () => {
  const stream = open();
  await assert.rejects(stream.throw(new Error("mine")), /mine/);
  await settle();
  assert.deepEqual(fromPage, [{ type: "cancel" }]);
});

test("aborting_rejects_the_waiting_reader_with_the_reason_and_drops_what_had_arrived", async () => {
  const controller = new AbortController();
  const stream = open(controller.signal);
  const read = stream.next();
  controller.abort(new Error("enough"));
  chunks("late");
  await assert.rejects(read, /enough/);
  worker.postMessage({ type: "end" });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  await settle();
  assert.deepEqual([fromPage, numSettled], [[{ type: "cancel" }], 1]);
});

test("aborting_drops_what_had_arrived_and_was_not_read", async () => {
  const controller = new AbortController();
  const stream = open(controller.signal);
  chunks("a", "b");
  assert.deepEqual(await stream.next(), yields("a"));
  controller.abort(new Error("enough"));
  await assert.rejects(stream.next(), /enough/);
});

test("a_signal_aborted_before_the_start_cancels_at_once", async () => {
  const stream = open(AbortSignal.abort(new Error("never mind")));
  await assert.rejects(stream.next(), /never mind/);
  await settle();
  assert.deepEqual(fromPage, [{ type: "cancel" }]);
});

test("aborting_after_the_end_does_nothing", async () => {
  const controller = new AbortController();
  const stream = open(controller.signal);
  worker.postMessage({ type: "end" });
  assert.deepEqual(await readAll(stream), []);
  controller.abort();
  await settle();
  assert.deepEqual(fromPage, []);
});

test("an_error_comes_after_the_chunks_that_came_before_it_and_only_once", async () => {
  const stream = open();
  chunks("a");
  worker.postMessage({ type: "error", error: { name: "DeviceLostError", message: "gone", details: { step: 3 } } });
  await settle();
  assert.deepEqual(await stream.next(), yields("a"));
  await assert.rejects(stream.next(), { name: "DeviceLostError", message: "gone", details: { step: 3 } });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("a_port_that_closes_without_an_end_means_that_the_worker_is_gone", async () => {
  const stream = open();
  chunks("a");
  worker.close();
  assert.deepEqual(await stream.next(), yields("a"));
  await assert.rejects(stream.next(), { name: "WorkerLostError" });
});

test("a_port_that_closes_after_the_end_is_a_normal_end", async () => {
  const stream = open();
  chunks("a");
  worker.postMessage({ type: "end" });
  worker.close();
  assert.deepEqual(await readAll(stream), ["a"]);
});

for (const message of [null, 7, {}, { type: "surprise" }, { type: "chunks", chunks: "abc", tokens: [] },
  { type: "chunks", chunks: ["a"], tokens: [] }, { type: "chunks", chunks: [], tokens: ["a"] }, { type: "chunks", chunks: [] },
  { type: "begin" }, { type: "begin", snapshot: { tokens: "none" } }, { type: "error" }, { type: "error", error: null }]) {
  test(`a_message_that_cannot_be_read_ends_the_stream_with_an_error: ${JSON.stringify(message)}`, async () => {
    const stream = open();
    worker.postMessage(message);
    await assert.rejects(stream.next(), { name: "ProtocolError" });
  });
}

test("a_stream_can_be_read_in_pieces_but_not_twice", async () => {
  const stream = open();
  chunks("a", "b");
  worker.postMessage({ type: "end" });
  assert.deepEqual(await stream.next(), yields("a"));
  assert.deepEqual(await readAll(stream), ["b"]);
  await assert.rejects(readAll(stream), { name: "StreamConsumedError" });
});
