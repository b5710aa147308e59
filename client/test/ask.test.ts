import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { ChatContent, ChunkContent, CompressContent, MeasureContent } from "../src/protocol.gen.js";
import type { AskProgress, MLCEngineConfig } from "../src/types.js";
import { chunk, finish, Peer, settle, snapshot, TestEngine, usage, usageOf, type Arrived } from "./peer.js";

const QUESTION = "where is it";

let peer: Peer;
let engine: TestEngine;
/** What the tab may hold, in words. */
let window: number;
let budget: number;
/** What the model says of a part, or of what it answers from. */
let say: (text: string, isAnswer: boolean) => string;

beforeEach(async () => {
  window = 512;
  budget = 512;
  say = (text, isAnswer) => (isAnswer ? "the answer" : `note of ${words(text)[0] ?? ""}`);
  peer = new Peer();
  peer.returns("reload", null).returns("hearth.fork", null);
  peer.on("hearth.context", ({ uuid }) => answer(uuid, { used: 0, window, budget, reserved: 0, pagesHeld: 0, pagesShared: 0, cachedTokens: 0 }));
  peer.on("hearth.measure", ({ uuid, content }) => {
    const { text, messages } = content as MeasureContent;
    answer(uuid, words(text ?? (messages ?? []).map(({ content: said }) => String(said)).join(" ")).length);
  });
  peer.on("hearth.chunk", ({ uuid, content }) => {
    const { text, maxTokens } = content as ChunkContent;
    const all = words(text);
    const numParts = Math.ceil(all.length / maxTokens);
    answer(uuid, Array.from({ length: numParts }, (_part, index) => ({ text: all.slice(index * maxTokens, (index + 1) * maxTokens).join(" ") })));
  });
  peer.on("hearth.compress", ({ uuid, content }) => {
    const { text, maxTokens } = content as CompressContent;
    const kept = words(text).slice(0, maxTokens);
    answer(uuid, { text: kept.join(" "), tokens: kept.length, originalTokens: words(text).length, sentencesKept: 1, sentencesTotal: 1 });
  });
  peer.on("chatCompletionNonStreaming", reply);
  engine = await load({});
});
afterEach(() => {
  engine.close();
  peer.close();
});

async function load(config: MLCEngineConfig): Promise<TestEngine> {
  const loaded = new TestEngine(peer.endpoint, config);
  await loaded.reload("m");
  return loaded;
}

/** A token is a word. */
const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== "");
const textOf = (numWords: number, from = 0): string => Array.from({ length: numWords }, (_word, index) => `w${from + index}`).join(" ");
const answer = (uuid: string, content: unknown): void => peer.post({ kind: "return", uuid, content });

interface Call {
  system: string;
  text: string;
  isAnswer: boolean;
  request: ChatContent["request"];
  branch: string | null | undefined;
}

function callOf({ content }: Arrived): Call {
  const { request, branch } = content as ChatContent;
  const [system, user] = request.messages.map((message) => String(message.content));
  const text = /^Text:\n([\s\S]*)\n\nQuestion: where is it$/.exec(user ?? "")?.[1];
  assert.ok(system !== undefined && text !== undefined, `not a prompt of ours: ${JSON.stringify(request.messages)}`);
  return { system, text, isAnswer: system.startsWith("Answer"), request, branch };
}

function reply(message: Arrived): void {
  const { text, isAnswer } = callOf(message);
  answer(message.uuid, { choices: [{ message: { content: say(text, isAnswer) } }], usage: usageOf(words(text).length, 2, 1) });
}

const calls = (): Call[] => peer.arrived.filter(({ kind }) => kind === "chatCompletionNonStreaming").map(callOf);
const contentsOf = (kind: string): unknown[] => peer.arrived.filter((item) => item.kind === kind).map(({ content }) => content);

test("a_text_that_fits_is_read_in_one_call_beside_the_conversation", async () => {
  const text = textOf(100);
  const { usage: spent, ...result } = await engine.documents.ask(text, QUESTION);
  assert.deepEqual(result, { answer: "the answer", chunks: 1, tokensRead: 100, originalTokens: 100 });
  assert.deepEqual(spent, { calls: 1, promptTokens: 100, cachedTokens: 1, completionTokens: 2 });
  const [call, ...more] = calls();
  assert.deepEqual([call?.text, more], [text, []]);
  assert.deepEqual([call?.request.temperature, call?.request.max_tokens, call?.request.hearth], [0, 128, { overflowPolicy: "error" }]);
  const [fork] = contentsOf("hearth.fork") as { branch: string }[];
  assert.deepEqual([call?.branch, (await peer.received("hearth.close")).content], [fork?.branch, { branch: fork?.branch }]);
  assert.deepEqual([...contentsOf("hearth.chunk"), ...contentsOf("hearth.compress")], []);
});

test("the_parts_of_a_longer_text_are_read_at_once_with_one_instruction_and_reduced_to_the_answer", async () => {
  const waiting: Arrived[] = [];
  peer.on("chatCompletionNonStreaming", (message) => {
    if (callOf(message).isAnswer) return reply(message);
    waiting.push(message);
    // No part is answered before all have been asked.
    if (waiting.length === 5) for (const each of waiting) reply(each);
  });
  const result = await engine.documents.ask(textOf(640), QUESTION, { chunkTokens: 128 });
  assert.deepEqual([result.answer, result.chunks, result.tokensRead, result.usage.calls], ["the answer", 5, 640, 6]);
  const notes = calls().filter(({ isAnswer }) => !isAnswer);
  assert.deepEqual(notes.map(({ text }) => words(text).length), [128, 128, 128, 128, 128]);
  assert.equal(new Set(notes.map(({ system }) => system)).size, 1);
  assert.deepEqual(new Set(notes.map(({ request }) => [request.temperature, request.max_tokens].join())), new Set(["0,32"]));
  const last = calls().at(-1);
  assert.match(last?.text ?? "", /^- note of w0\n- note of w128\n- note of w256\n- note of w384\n- note of w512\n\nw0 w1 /);
});

test("every_prompt_leaves_room_for_its_reply", async () => {
  await engine.documents.ask(textOf(4000), QUESTION, { detail: 1 });
  assert.ok(calls().length > 10);
  for (const { request } of calls()) {
    const promptWords = words(request.messages.map(({ content }) => String(content)).join(" ")).length;
    assert.ok(promptWords + (request.max_tokens ?? 0) <= window, `${promptWords} + ${request.max_tokens}`);
  }
});

test("parts_are_such_that_the_budget_holds_several_of_them", async () => {
  window = 4096;
  budget = 2048;
  await engine.documents.ask(textOf(4096), QUESTION);
  const [{ maxTokens }] = contentsOf("hearth.chunk") as [ChunkContent];
  assert.ok(maxTokens > 256 && maxTokens + 96 <= budget / 4, String(maxTokens));
});

test("notes_that_do_not_fit_are_read_in_parts_themselves", async () => {
  say = (text, isAnswer) => (isAnswer ? "the answer" : `${words(text)[0]} ${textOf(29, 9000)}`);
  const result = await engine.documents.ask(textOf(4000), QUESTION, { chunkTokens: 128, detail: 1 });
  assert.equal(result.chunks, 32);
  assert.equal(contentsOf("hearth.chunk").length, 2);
  assert.ok(calls().filter(({ isAnswer, text }) => !isAnswer && text.includes("w9000")).length > 1);
  assert.equal(calls().filter(({ isAnswer }) => isAnswer).length, 1);
});

test("a_model_whose_notes_get_no_shorter_is_not_asked_for_ever", async () => {
  say = (text, isAnswer) => (isAnswer ? "the answer" : text);
  const result = await engine.documents.ask(textOf(1000), QUESTION, { chunkTokens: 128 });
  assert.equal(result.answer, "the answer");
  assert.deepEqual([contentsOf("hearth.chunk").length, result.usage.calls], [1, 9]);
  assert.ok(words(calls().at(-1)?.text ?? "").length <= window);
});

for (const nothing of ["none", "None.", " \"Nothing\" ", "", "N/A", "Not mentioned in this part."]) {
  test(`notes_that_say_nothing_are_left_out: ${JSON.stringify(nothing)}`, async () => {
    say = (text, isAnswer) => (isAnswer ? "the answer" : text.startsWith("w128 ") ? "None of the doors was open, says the second part at some length." : nothing);
    await engine.documents.ask(textOf(600), QUESTION, { chunkTokens: 128 });
    assert.match(calls().at(-1)?.text ?? "", /^- None of the doors was open, says the second part at some length\.\n\nw0 /);
  });
}

test("where_no_part_says_anything_the_closest_sentences_are_answered_from", async () => {
  say = (_text, isAnswer) => (isAnswer ? "the answer" : "none");
  const result = await engine.documents.ask(textOf(600), QUESTION, { chunkTokens: 128 });
  assert.equal(result.answer, "the answer");
  assert.match(calls().at(-1)?.text ?? "", /^w0 w1 /);
  assert.deepEqual((contentsOf("hearth.compress") as CompressContent[]).map(({ query }) => query), [QUESTION]);
});

for (const [detail, tokensRead] of [[undefined, 2048], [0.5, 1500], [300, 300], [9000, 3000], [1, 3000]] as const) {
  test(`detail_decides_how_much_is_read: ${detail} of 3000`, async () => {
    const result = await engine.documents.ask(textOf(3000), QUESTION, detail === undefined ? {} : { detail });
    assert.deepEqual([result.tokensRead, result.originalTokens], [tokensRead, 3000]);
    const shortened = (contentsOf("hearth.compress") as CompressContent[]).find(({ text }) => words(text).length === 3000);
    if (tokensRead < 3000) assert.deepEqual([shortened?.maxTokens, shortened?.query], [tokensRead, QUESTION]);
  });
}

for (const detail of [0, -1, NaN, Infinity]) {
  test(`detail_that_is_neither_part_nor_number_is_refused: ${detail}`, async () => {
    await assert.rejects(engine.documents.ask("text", QUESTION, { detail }), { name: "RangeError" });
    assert.equal((await peer.received("hearth.close")).kind, "hearth.close");
  });
}

test("the_preprocessor_is_told_what_will_be_read_and_its_text_is_what_is_read", async () => {
  const given: unknown[] = [];
  const preparing = await load({ hearth: { preprocess: async (doc) => (given.push({ ...doc, text: words(doc.text).length }), textOf(50, 700)) } });
  const result = await preparing.documents.ask(textOf(3000), QUESTION);
  assert.deepEqual(given, [{ text: 3000, maxTokens: 2048, query: QUESTION }]);
  assert.deepEqual([result.tokensRead, result.originalTokens, calls()[0]?.text], [50, 3000, textOf(50, 700)]);
  assert.deepEqual(contentsOf("hearth.compress"), []);
  preparing.close();
});

test("a_preprocessor_that_fails_fails_the_question_and_the_branch_is_closed", async () => {
  const failing = await load({ hearth: { preprocess: () => Promise.reject(new Error("mine")) } });
  await assert.rejects(failing.documents.ask("text", QUESTION), { name: "PreprocessError" });
  await peer.received("hearth.close");
  assert.deepEqual(calls(), []);
  failing.close();
});

test("a_question_that_leaves_no_room_is_refused_with_the_numbers", async () => {
  window = 100;
  const asked = engine.documents.ask(textOf(10), QUESTION, { maxTokens: 90 });
  await assert.rejects(asked, (error: unknown) => {
    assert.match(JSON.stringify(error), /"questionTokens":\d+,"replyTokens":90,"limit":100/);
    return (error as Error).name === "DocumentQuestionTooLongError";
  });
});

test("progress_is_told_step_by_step", async () => {
  const told: AskProgress[] = [];
  await engine.documents.ask(textOf(300), QUESTION, { chunkTokens: 150, maxTokens: 200, onProgress: (progress) => told.push(progress) });
  assert.deepEqual(
    told.map(({ phase, done, total }) => `${phase} ${done}/${total}`),
    ["prepare 0/1", "prepare 1/1", "read 0/2", "read 1/2", "read 2/2", "answer 0/1", "answer 1/1"],
  );
});

test("aborting_cancels_every_call_that_is_under_way", async () => {
  peer.on("chatCompletionNonStreaming", () => undefined);
  const controller = new AbortController();
  const asked = engine.documents.ask(textOf(640), QUESTION, { chunkTokens: 128, signal: controller.signal });
  await peer.received("chatCompletionNonStreaming", 5);
  controller.abort(new Error("enough"));
  await assert.rejects(asked, /^Error: enough/);
  await peer.received("hearth.close");
  const uuids = peer.arrived.filter(({ kind }) => kind === "chatCompletionNonStreaming").map(({ uuid }) => ({ uuid }));
  assert.deepEqual(contentsOf("hearth.cancel"), uuids);
});

test("a_part_that_fails_stops_the_others_and_is_the_error", async () => {
  peer.on("chatCompletionNonStreaming", ({ uuid }) => {
    if (calls().length === 5) peer.post({ kind: "throw", uuid, content: "GPUError: m" });
  });
  const told: AskProgress[] = [];
  const onProgress = (progress: AskProgress): number => told.push(progress);
  await assert.rejects(engine.documents.ask(textOf(640), QUESTION, { chunkTokens: 128, onProgress }), { name: "GPUError" });
  await peer.received("hearth.close");
  assert.equal(contentsOf("hearth.cancel").length, 4);
  // What comes of the others meanwhile is nobody's any more.
  for (const message of peer.arrived.filter(({ kind }) => kind === "chatCompletionNonStreaming")) reply(message);
  await settle();
  assert.deepEqual(told.at(-1), { phase: "read", done: 0, total: 5 });
});

test("a_question_asked_with_an_aborted_signal_sends_nothing", async () => {
  const before = peer.arrived.length;
  await assert.rejects(engine.documents.ask("text", QUESTION, { signal: AbortSignal.abort() }), { name: "AbortError" });
  await settle();
  assert.equal(peer.arrived.length, before);
});

test("an_answer_can_be_read_as_it_is_made_and_the_branch_lives_as_long", async () => {
  peer.on("hearth.stream", ({ port }) => {
    port?.postMessage({ type: "begin", snapshot: snapshot() });
    port?.postMessage({ type: "chunks", chunks: [chunk("the "), chunk("answer"), finish(), usage(40, 2, 3)], tokens: [1, 2] });
    port?.postMessage({ type: "end" });
  });
  const { answer: pieces, usage: spent, chunks } = await engine.documents.ask(textOf(100), QUESTION, { stream: true });
  const read: string[] = [];
  for await (const piece of pieces) {
    assert.deepEqual(contentsOf("hearth.close"), []);
    read.push(piece);
  }
  await peer.received("hearth.close");
  assert.deepEqual([read, chunks], [["the ", "answer"], 1]);
  assert.deepEqual(spent, { calls: 1, promptTokens: 40, cachedTokens: 3, completionTokens: 2 });
});

test("leaving_an_answer_stops_it_and_closes_its_branch", async () => {
  const fromPage: unknown[] = [];
  peer.on("hearth.stream", ({ port }) => {
    port?.addEventListener("message", (event: MessageEvent<unknown>) => fromPage.push(event.data));
    port?.start();
    port?.postMessage({ type: "begin", snapshot: snapshot() });
    port?.postMessage({ type: "chunks", chunks: [chunk("the ")], tokens: [1] });
  });
  const { answer: pieces } = await engine.documents.ask(textOf(100), QUESTION, { stream: true });
  for await (const piece of pieces) {
    assert.equal(piece, "the ");
    break;
  }
  await peer.received("hearth.close");
  await settle();
  assert.deepEqual(fromPage, [{ type: "cancel" }]);
});

test("chunk_and_compress_go_straight_to_the_worker_with_the_models_of_the_page", async () => {
  assert.deepEqual(await engine.documents.chunk("a b c", { maxTokens: 2, overlapTokens: 1 }), [{ text: "a b" }, { text: "c" }]);
  assert.equal((await engine.documents.compress("a b c", { maxTokens: 2, query: "q", modelId: "m" })).text, "a b");
  assert.deepEqual(contentsOf("hearth.chunk"), [{ text: "a b c", maxTokens: 2, overlapTokens: 1, modelId: ["m"] }]);
  assert.deepEqual(contentsOf("hearth.compress"), [{ text: "a b c", maxTokens: 2, query: "q", modelId: ["m"], model: "m" }]);
});
