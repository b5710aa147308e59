import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { PROTOCOL_VERSION } from "../src/protocol.gen.js";
import type { AliveContent } from "../src/wire.js";
import { runLockName } from "../src/wire.js";
import { Connection, type ConnectionOptions } from "../src/connection.js";
import { PageTab } from "../src/tab.js";
import { FakeLocks, Peer, settle, type Arrived } from "./peer.js";

const KEEP_ALIVE_MS = 10_000;
const GRACE_MS = 1_000;

let peer: Peer;
let locks: FakeLocks;
let connection: Connection;
/** Which run of the worker answers, and what it knows: stopping it forgets both. */
let run: string;
let known: Set<string>;

beforeEach(() => {
  mock.timers.enable({ apis: ["setInterval", "setTimeout"] });
  peer = new Peer();
  locks = new FakeLocks();
  run = "run-1";
  known = new Set();
  peer.returns("hearth.hello", { protocol: PROTOCOL_VERSION, version: "0.1.0", worker: "w" });
  peer.on("keepAlive", ({ uuid }) => peer.post({ kind: "heartbeat", uuid }));
  peer.on("reload", ({ uuid }) => known.add(uuid));
  peer.on("hearth.alive", answerAlive);
});
afterEach(() => {
  connection.close();
  peer.close();
  mock.timers.reset();
});

function answerAlive({ uuid, content }: Arrived): void {
  const { uuids } = content as AliveContent;
  peer.post({ kind: "return", uuid, content: { run, unknown: uuids.filter((item) => !known.has(item)) } });
}

function connect(options: Partial<ConnectionOptions>): void {
  connection = new Connection({ tab: new PageTab({}), keepAliveMs: KEEP_ALIVE_MS, ...options, endpoint: peer.endpoint });
}

/** A request that is not sent again. */
function load(modelId: string): Promise<unknown> {
  return connection.request("reload", { modelId: [modelId] });
}

async function start(): Promise<void> {
  connect({ appConfig: { model_list: [] }, locks });
  await peer.received("hearth.alive");
  await settle();
}

async function pass(ms: number): Promise<void> {
  mock.timers.tick(ms);
  await settle();
}

/** The worker is killed: its lock is free and another run answers from now on. */
async function kill(): Promise<void> {
  const ended = run;
  run = `${run}+`;
  known.clear();
  locks.free(runLockName(ended));
  await settle();
}

/** Lets time pass until the promise has ended, and returns how. */
async function ending(promise: Promise<unknown>): Promise<string> {
  return promise.then(String, String);
}

test("the_worker_is_pinged_and_missed_heartbeats_are_counted_until_one_comes", async () => {
  await start();
  peer.on("keepAlive", () => undefined);
  await pass(KEEP_ALIVE_MS);
  await pass(KEEP_ALIVE_MS);
  assert.equal(connection.missedHeartbeat, 2);
  peer.post({ kind: "heartbeat", uuid: (await peer.received("keepAlive", 2)).uuid });
  await settle();
  assert.equal(connection.missedHeartbeat, 0);
});

test("pings_stop_when_the_engine_is_closed", async () => {
  await start();
  connection.close();
  await pass(KEEP_ALIVE_MS * 3);
  assert.deepEqual(peer.arrived.filter(({ kind }) => kind === "keepAlive"), []);
  assert.equal(connection.missedHeartbeat, 0);
});

test("the_page_introduces_itself_before_anything_else", async () => {
  await start();
  assert.deepEqual(peer.kinds("all").slice(0, 2), ["hearth.hello", "setAppConfig"]);
  const { content } = await peer.received("hearth.hello");
  assert.match(JSON.stringify(content), /"protocol":2,"tab":"[0-9a-f-]{36}","title":"","holdsLock":false/);
});

test("a_killed_worker_is_noticed_at_once_and_only_what_it_had_is_lost", async () => {
  await start();
  const lost = ending(load("a"));
  await peer.received("reload");
  await kill();
  const kept = ending(load("b"));
  const { uuid } = await peer.received("reload", 2);
  await pass(GRACE_MS);
  assert.match(await lost, /^WorkerLostError: /);
  peer.post({ kind: "return", uuid, content: null });
  assert.equal(await kept, "null");
});

test("an_answer_that_arrives_within_the_grace_is_not_lost", async () => {
  await start();
  const request = ending(load("a"));
  const { uuid } = await peer.received("reload");
  await kill();
  await pass(GRACE_MS / 2);
  peer.post({ kind: "return", uuid, content: null });
  await settle();
  await pass(GRACE_MS);
  assert.equal(await request, "null");
});

test("a_new_run_of_the_worker_is_told_the_settings_again", async () => {
  await start();
  const lost = ending(load("a"));
  await peer.received("reload");
  await kill();
  await peer.received("setAppConfig", 2);
  assert.equal(peer.kinds("all").filter((kind) => kind === "hearth.hello").length, 2);
  await pass(GRACE_MS);
  await lost;
});

test("a_worker_that_stops_while_idle_is_left_asleep_until_the_next_request", async () => {
  await start();
  const before = peer.arrived.length;
  await kill();
  assert.equal(peer.arrived.length, before);
  const request = load("a");
  const { uuid } = await peer.received("reload");
  assert.deepEqual(peer.kinds("all").slice(before, before + 3), ["hearth.hello", "setAppConfig", "reload"]);
  peer.post({ kind: "return", uuid, content: null });
  await request;
});

test("without_web_locks_the_next_ping_finds_the_loss", async () => {
  await start();
  const lost = ending(load("a"));
  await peer.received("reload");
  known.clear();
  run = "run-2";
  await pass(KEEP_ALIVE_MS);
  await pass(GRACE_MS);
  assert.match(await lost, /^WorkerLostError: /);
});

test("a_request_that_the_worker_still_has_survives_any_number_of_pings", async () => {
  await start();
  const request = ending(load("a"));
  const { uuid } = await peer.received("reload");
  for (let ping = 0; ping < 20; ping += 1) await pass(KEEP_ALIVE_MS);
  peer.post({ kind: "return", uuid, content: null });
  assert.equal(await request, "null");
});

test("a_worker_that_answers_nothing_any_more_is_given_up", async () => {
  await start();
  const lost = ending(load("a"));
  await peer.received("reload");
  peer.on("hearth.alive", () => undefined);
  for (let ping = 0; ping < 4; ping += 1) await pass(KEEP_ALIVE_MS);
  assert.match(await lost, /^WorkerLostError: /);
});

test("after_a_worker_was_given_up_the_next_request_begins_with_the_introduction", async () => {
  await start();
  const lost = ending(load("a"));
  await peer.received("reload");
  peer.on("hearth.alive", () => undefined);
  for (let ping = 0; ping < 4; ping += 1) await pass(KEEP_ALIVE_MS);
  await lost;
  const before = peer.arrived.length;
  void load("b").catch(() => undefined);
  await peer.received("reload", 2);
  assert.deepEqual(peer.kinds("all").slice(before), ["hearth.hello", "setAppConfig", "reload"]);
});

test("a_hello_that_was_lost_is_said_again_before_what_was_lost_with_it", async () => {
  await start();
  // The second run of the worker is killed before it has answered the hello.
  peer.on("hearth.hello", () => undefined);
  const losses: string[] = [];
  const sendAgain = (error: unknown): void => {
    losses.push(String(error));
    connection.assertReady();
  };
  void load("a").catch(() => undefined);
  await peer.received("reload");
  await kill();
  await peer.received("hearth.hello", 2);
  connection.transport.open("reload", null, [], { resolve: () => undefined, reject: sendAgain });
  await peer.received("reload", 2);
  await kill();
  await pass(GRACE_MS);
  assert.match(losses.join(), /^WorkerLostError/);
  await peer.received("hearth.hello", 3);
});

test("a_worker_that_ends_between_the_hello_and_the_first_probe_has_a_successor_that_is_told_again", async () => {
  await start();
  const lost = ending(load("a"));
  await peer.received("reload");
  let numProbes = 0;
  // Of the second run only the probe that finds it is answered.
  peer.on("hearth.alive", (message) => {
    numProbes += 1;
    if (numProbes !== 2) answerAlive(message);
  });
  await kill();
  await peer.received("hearth.alive", 3);
  run = "third";
  await pass(KEEP_ALIVE_MS);
  await peer.received("hearth.hello", 3);
  await pass(GRACE_MS);
  await lost;
});

test("a_stock_web_llm_worker_never_answers_the_hello_and_is_not_given_up", async () => {
  peer.on("hearth.hello", () => undefined).on("hearth.alive", () => undefined);
  connect({});
  const request = ending(load("a"));
  const { uuid } = await peer.received("reload");
  for (let ping = 0; ping < 10; ping += 1) await pass(KEEP_ALIVE_MS);
  assert.ok(!peer.kinds("all").includes("hearth.alive"));
  peer.post({ kind: "return", uuid, content: null });
  assert.equal(await request, "null");
});

test("a_worker_of_another_protocol_version_is_refused_with_what_to_do", async () => {
  peer.returns("hearth.hello", { protocol: PROTOCOL_VERSION + 1, version: "9", worker: "w" });
  connect({});
  await peer.received("hearth.hello");
  await settle();
  await assert.rejects(load("a"), { name: "ProtocolVersionError", details: { expected: PROTOCOL_VERSION, got: PROTOCOL_VERSION + 1 } });
});
