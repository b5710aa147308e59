import assert from "node:assert/strict";
import { test } from "node:test";
import type { Glue, Host } from "hearth-wasm";
import { HostRunner } from "../src/host-runner.js";
import { settle } from "./peer.js";

type Handle = Host["handleMessage"];
type Reply = Parameters<Handle>[3];

const trap = new WebAssembly.RuntimeError("unreachable");

/** A runner over glue whose instances handle messages with the given functions, one per life. */
function runnerOver(lives: Handle[], start: () => Promise<unknown> = () => Promise.resolve()): { runner: HostRunner; numBoots: () => number } {
  let numBoots = 0;
  const createGlue = (): Glue => ({
    default: () => ((numBoots += 1), start()),
    Host: class {
      readonly handleMessage: Handle = lives[Math.min(numBoots, lives.length) - 1] ?? (() => Promise.resolve());
    },
  });
  const url = new URL("https://x/hearth_bg.wasm");
  return { runner: new HostRunner("page", createGlue, { url, open: () => url }), numBoots: () => numBoots };
}

const echo: Handle = (clientId, data, _port, reply) => {
  reply({ clientId, data });
  return Promise.resolve();
};
const message = (uuid: string, kind = "getMessage", content: unknown = null): unknown => ({ kind, uuid, content });

/** Collects replies. */
function collector(): { replies: unknown[]; reply: Reply } {
  const replies: unknown[] = [];
  return { replies, reply: (item) => replies.push(item) };
}

test("the_wasm_boots_with_the_first_message_and_only_once", async () => {
  const { runner, numBoots } = runnerOver([echo]);
  const { replies, reply } = collector();
  assert.equal(numBoots(), 0);
  await Promise.all([runner.handle("t", message("1"), undefined, reply), runner.handle("t", message("2"), undefined, reply)]);
  assert.equal(numBoots(), 1);
  assert.deepEqual(replies, [{ clientId: "t", data: message("1") }, { clientId: "t", data: message("2") }]);
});

test("what_has_no_envelope_is_ignored_without_booting", async () => {
  const { runner, numBoots } = runnerOver([echo]);
  const { replies, reply } = collector();
  for (const data of [null, undefined, 7, "x", true, 1n]) await runner.handle("t", data, undefined, reply);
  assert.deepEqual([replies, numBoots()], [[], 0]);
});

test("a_ping_is_answered_without_booting_and_by_the_host_once_it_runs", async () => {
  const { runner, numBoots } = runnerOver([echo]);
  const { replies, reply } = collector();
  await runner.handle("t", { kind: "keepAlive", uuid: "1" }, undefined, reply);
  assert.deepEqual([replies, numBoots()], [[{ kind: "heartbeat", uuid: "1" }], 0]);
  await runner.handle("t", message("2"), undefined, reply);
  await runner.handle("t", { kind: "keepAlive", uuid: "3" }, undefined, reply);
  assert.deepEqual(replies[2], { clientId: "t", data: { kind: "keepAlive", uuid: "3" } });
});

for (const kind of ["hearth.tab", "hearth.watch"]) {
  test(`news_about_a_page_is_no_reason_to_start_the_engine_and_reaches_one_that_starts_or_runs: ${kind}`, async () => {
    const { runner, numBoots } = runnerOver([echo]);
    const { replies, reply } = collector();
    await runner.handle("t", message("1", kind), undefined, reply);
    assert.deepEqual([replies, numBoots()], [[], 0]);
    await Promise.all([runner.handle("t", message("2", "hearth.hello"), undefined, reply), runner.handle("t", message("3", kind), undefined, reply)]);
    assert.deepEqual([replies.length, numBoots(), replies[1]], [2, 1, { clientId: "t", data: message("3", kind) }]);
    await runner.handle("t", message("4", kind), undefined, reply);
    assert.equal(replies.length, 3);
  });
}

test("the_wasm_is_what_its_source_gives", async () => {
  const given: unknown[] = [];
  const wasm = new Response("wasm");
  const glue: Glue = { default: async (options) => void given.push(options.module_or_path), Host: class { handleMessage = echo; } };
  const runner = new HostRunner("page", () => glue, { url: new URL("https://x/y.wasm"), open: async () => wasm });
  await runner.handle("t", message("1"), undefined, () => undefined);
  assert.deepEqual(given, [wasm]);
});

test("a_wasm_that_cannot_be_fetched_is_a_typed_error_and_is_tried_again", async () => {
  let fails = true;
  const { runner, numBoots } = runnerOver([echo, echo], () => (fails ? Promise.reject(new TypeError("404")) : Promise.resolve()));
  const { replies, reply } = collector();
  await runner.handle("t", message("1"), undefined, reply);
  assert.match(JSON.stringify(replies[0]), /"kind":"throw","uuid":"1","content":"EngineStartError: .*TypeError: 404/);
  fails = false;
  await runner.handle("t", message("2"), undefined, reply);
  assert.deepEqual([replies[1], numBoots()], [{ clientId: "t", data: message("2") }, 2]);
});

test("a_trap_ends_every_message_of_that_instance_and_the_next_one_gets_a_fresh_instance", async () => {
  const { runner, numBoots } = runnerOver([
    (_client, data) => (JSON.stringify(data).includes("bad") ? Promise.reject(trap) : new Promise(() => undefined)),
    echo,
  ]);
  const { replies, reply } = collector();
  const waiting = runner.handle("other", message("waits"), undefined, reply);
  await runner.handle("t", message("bad"), undefined, reply);
  await waiting;
  assert.equal(replies.length, 2);
  for (const item of replies) assert.match(JSON.stringify(item), /"name":"EngineCrashedError".*"retryable":true/);
  await runner.handle("t", message("good"), undefined, reply);
  assert.deepEqual([replies[2], numBoots()], [{ clientId: "t", data: message("good") }, 2]);
});

test("a_trap_that_surfaces_only_as_an_unhandled_rejection_ends_what_was_waiting", async () => {
  const { runner } = runnerOver([() => new Promise(() => undefined), echo]);
  const { replies, reply } = collector();
  const waiting = runner.handle("t", message("1"), undefined, reply);
  await settle();
  assert.equal(runner.reportUncaught(new Error("not ours")), false);
  assert.equal(runner.reportUncaught(trap), true);
  await waiting;
  assert.match(JSON.stringify(replies), /EngineCrashedError/);
  assert.equal(runner.reportUncaught(trap), false);
});

test("a_stream_gets_its_error_on_its_port", async () => {
  const { runner } = runnerOver([() => Promise.reject(trap)]);
  const { replies, reply } = collector();
  const { port1, port2 } = new MessageChannel();
  const arrived = new Promise<unknown>((resolve) => {
    port1.addEventListener("message", (event: MessageEvent<unknown>) => resolve(event.data), { once: true });
    port1.start();
  });
  await runner.handle("t", message("1", "hearth.stream"), port2, reply);
  assert.match(JSON.stringify(await arrived), /"type":"error","error":{"name":"EngineCrashedError"/);
  assert.deepEqual(replies, []);
  port1.close();
});

test("an_error_that_is_no_trap_keeps_its_name_and_the_instance", async () => {
  const { runner, numBoots } = runnerOver([() => Promise.reject(new RangeError("odd")), echo]);
  const { replies, reply } = collector();
  await runner.handle("t", message("1"), undefined, reply);
  await runner.handle("t", message("2"), undefined, reply);
  assert.match(JSON.stringify(replies[0]), /"content":"RangeError: odd"/);
  assert.equal(numBoots(), 1);
});

test("alive_tells_which_requests_this_run_is_working_on", async () => {
  let finish: () => void = () => undefined;
  const { runner } = runnerOver([() => new Promise<void>((resolve) => (finish = resolve))]);
  const { replies, reply } = collector();
  const working = runner.handle("t", message("1"), undefined, () => undefined);
  await settle();
  const ask = (): Promise<void> => runner.handle("t", message("q", "hearth.alive", { uuids: ["1", "2", 7] }), undefined, reply);
  await ask();
  finish();
  await working;
  await ask();
  for (const content of [null, {}, { uuids: "1" }, "x"]) await runner.handle("t", message("q", "hearth.alive", content), undefined, reply);
  const unknown = (replies as { content: { unknown: unknown } }[]).map((item) => item.content.unknown);
  assert.deepEqual(unknown, [["2", 7], ["1", "2", 7], [], [], [], []]);
});
