import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { HearthError } from "../src/errors.js";
import { Transport } from "../src/transport.js";
import { Peer, settle } from "./peer.js";

let peer: Peer;
let transport: Transport;

beforeEach(() => {
  peer = new Peer();
  transport = new Transport(peer.endpoint);
});
afterEach(() => {
  transport.close();
  peer.close();
});

test("a_return_resolves_the_request_of_its_uuid_whatever_the_order", async () => {
  const first = transport.request("getMessage", { n: 1 });
  const second = transport.request("getMessage", { n: 2 });
  const { uuid: firstUuid } = await peer.received("getMessage", 1);
  const { uuid: secondUuid } = await peer.received("getMessage", 2);
  assert.notEqual(firstUuid, secondUuid);
  peer.post({ kind: "return", uuid: secondUuid, content: "two" });
  peer.post({ kind: "return", uuid: firstUuid, content: "one" });
  assert.deepEqual(await Promise.all([first, second]), ["one", "two"]);
  assert.deepEqual(transport.pendingUuids(), []);
});

test("an_error_object_becomes_an_error_with_its_name_and_details", async () => {
  peer.on("reload", ({ uuid }) =>
    peer.post({
      kind: "throw",
      uuid,
      content: "QuotaError: 98 MB wanted",
      error: { name: "QuotaError", message: "98 MB wanted", details: { bytes_wanted: 98 } },
    }),
  );
  const error: unknown = await transport.request("reload", null).catch((caught: unknown) => caught);
  assert.ok(error instanceof HearthError && error instanceof Error);
  assert.equal(String(error), "QuotaError: 98 MB wanted");
  assert.equal(error.name, "QuotaError");
  assert.deepEqual(error.details, { bytes_wanted: 98 });
  assert.match(error.stack ?? "", /errors|transport/);
});

for (const text of ["ModelNotFoundError: no such model: x", "Engine.unload() is called.", "Error: a\nb: c", ""]) {
  test(`an_error_string_of_a_stock_worker_keeps_its_text: ${JSON.stringify(text)}`, async () => {
    peer.on("reload", ({ uuid }) => peer.post({ kind: "throw", uuid, content: text }));
    await assert.rejects(transport.request("reload", null), (error) => String(error) === text);
  });
}

test("replies_that_nobody_waits_for_or_can_read_are_ignored", async () => {
  const pending = transport.request("getMessage", {});
  const { uuid } = await peer.received("getMessage");
  const hostile: unknown[] = [
    null, undefined, 7, "return", [], {}, { kind: "return" }, { kind: "return", uuid: 7 }, { kind: "nonsense", uuid },
    { kind: "throw", uuid, content: 7 }, { kind: "initProgressCallback", uuid, content: null },
    { kind: "return", uuid: "someone-else", content: "wrong" }, { kind: "throw", uuid: "someone-else", content: "wrong" },
  ];
  for (const message of hostile) peer.post(message);
  peer.post({ kind: "return", uuid, content: "right" });
  assert.equal(await pending, "right");
});

test("progress_is_reported_while_its_request_waits_and_not_for_requests_of_others", async () => {
  const texts: string[] = [];
  transport.onProgress = ({ text }) => texts.push(text);
  const reload = transport.request("reload", null);
  const { uuid } = await peer.received("reload");
  const report = (to: string, text: string): void =>
    peer.post({ kind: "initProgressCallback", uuid: to, content: { progress: 0, timeElapsed: 0, text } });
  report(uuid, "mine");
  report("", "stock");
  report("someone-else", "not mine");
  peer.post({ kind: "return", uuid, content: null });
  await reload;
  report(uuid, "late");
  await settle();
  assert.deepEqual(texts, ["mine", "stock"]);
});

test("a_signal_that_is_already_aborted_sends_nothing", async () => {
  const reason = new Error("changed my mind");
  await assert.rejects(transport.request("reload", null, { signal: AbortSignal.abort(reason) }), reason);
  await settle();
  assert.deepEqual(peer.kinds(), []);
});

test("aborting_rejects_at_once_cancels_that_uuid_and_ignores_the_late_answer", async () => {
  const controller = new AbortController();
  const request = transport.request("reload", null, { signal: controller.signal });
  const other = transport.request("getMessage", null);
  const { uuid } = await peer.received("reload");
  controller.abort();
  await assert.rejects(request, { name: "AbortError" });
  assert.ok(!transport.pendingUuids().includes(uuid));
  assert.deepEqual((await peer.received("hearth.cancel")).content, { uuid });
  peer.post({ kind: "return", uuid, content: null });
  peer.post({ kind: "return", uuid: (await peer.received("getMessage")).uuid, content: "still here" });
  assert.equal(await other, "still here");
});

test("aborting_after_the_answer_does_nothing", async () => {
  peer.returns("getMessage", "done");
  const controller = new AbortController();
  await transport.request("getMessage", null, { signal: controller.signal });
  controller.abort();
  await settle();
  assert.deepEqual(peer.kinds(), ["getMessage"]);
});

test("content_that_cannot_be_cloned_rejects_and_leaves_nothing_pending", async () => {
  await assert.rejects(transport.request("reload", { callback: () => undefined }), { name: "DataCloneError" });
  assert.deepEqual(transport.pendingUuids(), []);
});

test("only_the_lost_requests_end_with_the_loss", async () => {
  const lost = transport.request("reload", null);
  const kept = transport.request("getMessage", null);
  const { uuid } = await peer.received("reload");
  transport.lose([uuid, "unknown"], new HearthError("WorkerLostError", "gone"));
  await assert.rejects(lost, { name: "WorkerLostError" });
  peer.post({ kind: "return", uuid: (await peer.received("getMessage")).uuid, content: "here" });
  assert.equal(await kept, "here");
});

test("closing_ends_what_is_pending_and_refuses_what_comes_after", async () => {
  const pending = transport.request("reload", null);
  transport.close();
  await assert.rejects(pending, { name: "EngineClosedError" });
  await assert.rejects(transport.request("reload", null), { name: "EngineClosedError" });
});
