import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Connection } from "../src/connection.js";
import { PROTOCOL_VERSION, type HelloContent } from "../src/protocol.gen.js";
import { PageTab, thisTab } from "../src/tab.js";
import { FakeLocks, Peer, settle } from "./peer.js";

const KEEP_ALIVE_MS = 60_000;

/** Counts who listens. */
class CountingTarget extends EventTarget {
  numListeners = 0;

  override addEventListener(...args: Parameters<EventTarget["addEventListener"]>): void {
    this.numListeners += 1;
    super.addEventListener(...args);
  }

  override removeEventListener(...args: Parameters<EventTarget["removeEventListener"]>): void {
    this.numListeners -= 1;
    super.removeEventListener(...args);
  }
}

/** A document that can be looked at and away from. */
class FakeDocument extends CountingTarget {
  title = "first";
  isFocused = true;
  visibilityState: DocumentVisibilityState = "visible";

  hasFocus(): boolean {
    return this.isFocused;
  }
}

let peer: Peer;
let document: FakeDocument;
let window: CountingTarget;
let open: Connection[];

beforeEach(() => {
  peer = new Peer();
  peer.returns("hearth.hello", { protocol: PROTOCOL_VERSION, version: "0.1.0", worker: "w" });
  peer.returns("hearth.alive", { run: "run", unknown: [] });
  document = new FakeDocument();
  window = new CountingTarget();
  open = [];
});
afterEach(() => {
  for (const connection of open) connection.close();
  peer.close();
});

const makeTab = (locks?: FakeLocks): PageTab => new PageTab({ locks, document, window });

function connect(tab: PageTab, keepAliveMs: number | undefined = KEEP_ALIVE_MS): Connection {
  const connection = new Connection({ endpoint: peer.endpoint, tab, keepAliveMs });
  open.push(connection);
  return connection;
}

const contentsOf = (kind: string): unknown[] => peer.arrived.filter((item) => item.kind === kind).map(({ content }) => content);
const hellos = (): HelloContent[] => contentsOf("hearth.hello") as HelloContent[];

test("a_page_that_holds_its_lock_says_so_in_its_first_hello", async () => {
  const locks = new FakeLocks();
  const tab = makeTab(locks);
  const locked = tab.lock();
  locks.free(`hearth-tab:${tab.id}`);
  assert.equal(await locked, true);
  connect(tab);
  await peer.received("hearth.tab");
  assert.deepEqual(hellos(), [{ protocol: PROTOCOL_VERSION, tab: tab.id, title: "first", holdsLock: true }]);
});

test("a_lock_that_is_not_granted_yet_is_not_claimed_and_told_once_it_is", async () => {
  const locks = new FakeLocks();
  const tab = makeTab(locks);
  connect(tab);
  await peer.received("hearth.tab");
  assert.deepEqual(locks.asked, [`hearth-tab:${tab.id}`]);
  assert.deepEqual(hellos().map(({ holdsLock }) => holdsLock), [false]);
  locks.free(`hearth-tab:${tab.id}`);
  await peer.received("hearth.hello", 2);
  assert.deepEqual(hellos().map(({ holdsLock, tab: id }) => [holdsLock, id]), [[false, tab.id], [true, tab.id]]);
});

test("the_lock_is_taken_once_for_all_engines_of_the_page_and_kept", async () => {
  const held: unknown[] = [];
  const tab = new PageTab({
    locks: { request: (name: string, callback: unknown) => (held.push([name, (callback as () => unknown)()]), new Promise<never>(() => undefined)) },
  });
  connect(tab);
  connect(tab);
  assert.equal(await tab.lock(), true);
  assert.equal(held.length, 1);
  const [[, kept]] = held as [[string, Promise<never>]];
  const first = await Promise.race([kept, settle().then(() => "still held")]);
  assert.equal(first, "still held");
  assert.equal(thisTab().id, thisTab().id);
});

test("where_there_are_no_locks_or_they_are_refused_none_is_claimed", async () => {
  const refused = new PageTab({ locks: { request: () => Promise.reject(new DOMException("opaque", "SecurityError")) } });
  assert.deepEqual([await makeTab().lock(), await refused.lock()], [false, false]);
  connect(refused);
  await peer.received("hearth.tab");
  assert.deepEqual(hellos().map(({ holdsLock }) => holdsLock), [false]);
});

test("an_engine_in_the_page_takes_no_lock_and_is_introduced_with_its_first_request", async () => {
  const locks = new FakeLocks();
  const connection = new Connection({ endpoint: peer.endpoint, tab: makeTab(locks), appConfig: { model_list: [] } });
  open.push(connection);
  await settle();
  assert.deepEqual([peer.kinds("all"), locks.asked], [[], []]);
  peer.returns("getMessage", "");
  await connection.request("getMessage", {});
  assert.deepEqual(peer.kinds("all").slice(0, 3), ["hearth.hello", "setAppConfig", "getMessage"]);
  assert.equal(hellos()[0]?.holdsLock, false);
});

test("focus_visibility_freezing_and_title_are_told_when_they_change_and_only_then", async () => {
  const tab = makeTab();
  connect(tab);
  await peer.received("hearth.tab");
  const happen = async (target: EventTarget, type: string, change: () => void = () => undefined): Promise<void> => {
    change();
    target.dispatchEvent(new Event(type));
    await settle();
  };
  await happen(window, "focus");
  await happen(window, "blur", () => (document.isFocused = false));
  await happen(document, "visibilitychange", () => (document.visibilityState = "hidden"));
  await happen(document, "freeze");
  await happen(document, "resume");
  await happen(document, "visibilitychange", () => ((document.visibilityState = "visible"), (document.title = "second")));
  const shown = { focused: true, visible: true, frozen: false, title: "first" };
  assert.deepEqual(contentsOf("hearth.tab"), [
    shown,
    { ...shown, focused: false },
    { ...shown, focused: false, visible: false },
    { ...shown, focused: false, visible: false, frozen: true },
    { ...shown, focused: false, visible: false },
    { ...shown, focused: false, title: "second" },
  ]);
});

test("a_page_in_the_back_forward_cache_is_frozen_and_introduces_itself_when_it_is_back", async () => {
  connect(makeTab());
  await peer.received("hearth.tab");
  const fire = (type: string, persisted: boolean): boolean => window.dispatchEvent(Object.assign(new Event(type), { persisted }));
  fire("pagehide", false);
  fire("pageshow", false);
  await settle();
  assert.equal(contentsOf("hearth.tab").length, 1);
  fire("pagehide", true);
  await peer.received("hearth.tab", 2);
  fire("pageshow", true);
  const states = contentsOf("hearth.tab").concat((await peer.received("hearth.tab", 3)).content) as { frozen: boolean }[];
  assert.deepEqual([states[1]?.frozen, states.at(-1)?.frozen, hellos().length], [true, false, 2]);
});

test("a_worker_that_never_answers_the_hello_is_told_nothing_that_it_cannot_know", async () => {
  peer.on("hearth.hello", () => undefined);
  connect(makeTab());
  await peer.received("hearth.hello");
  window.dispatchEvent(new Event("blur"));
  document.title = "second";
  window.dispatchEvent(new Event("focus"));
  await settle();
  assert.deepEqual(peer.kinds("all"), ["hearth.hello"]);
});

test("a_closed_engine_no_longer_listens_to_its_page", async () => {
  const tab = makeTab();
  const connection = connect(tab);
  const other = connect(tab);
  await peer.received("hearth.tab", 2);
  const counts = (): number[] => [document.numListeners, window.numListeners];
  assert.deepEqual(counts(), [3, 4]);
  connection.close();
  assert.deepEqual(counts(), [3, 4]);
  other.close();
  assert.deepEqual(counts(), [0, 0]);
  document.isFocused = false;
  window.dispatchEvent(new Event("blur"));
  await settle();
  assert.equal(contentsOf("hearth.tab").length, 2);
});
