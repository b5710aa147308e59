import assert from "node:assert/strict";
import { test } from "node:test";
import { activeRegistration, findContainer, ServiceWorkerEndpoint, type Container } from "../src/service-worker.js";

const GRACE_MS = 20;

/** A service worker that notes what it is sent. */
function worker(log: unknown[]): ServiceWorker {
  const fake = { postMessage: (message: unknown) => log.push(message) };
  return fake as Partial<ServiceWorker> as ServiceWorker;
}

function registrationOf(active: ServiceWorker | null, installing: ServiceWorker | null = null): ServiceWorkerRegistration {
  const fake = { active, installing, waiting: null };
  return fake as Partial<ServiceWorkerRegistration> as ServiceWorkerRegistration;
}

class FakeContainer extends EventTarget {
  ready: Promise<ServiceWorkerRegistration> = new Promise(() => undefined);
  registered: unknown[] = [];
  current: ServiceWorkerRegistration | undefined;
  started = false;
  failure: Error | undefined;

  register(url: unknown, options: unknown): Promise<ServiceWorkerRegistration> {
    this.registered.push([url, options]);
    return this.failure === undefined ? Promise.resolve(registrationOf(null)) : Promise.reject(this.failure);
  }
  getRegistration(): Promise<ServiceWorkerRegistration | undefined> {
    return Promise.resolve(this.current);
  }
  startMessages(): void {
    this.started = true;
  }
}
const containerOf = (fake: FakeContainer): Container => fake as unknown as Container;

test("a_page_with_nothing_registered_gets_an_error_instead_of_hanging", async () => {
  await assert.rejects(activeRegistration(containerOf(new FakeContainer()), {}, GRACE_MS), {
    name: "ServiceWorkerInitializationError",
    message: /navigator\.serviceWorker\.register/,
  });
});

test("a_worker_that_is_still_installing_is_waited_for", async () => {
  const fake = new FakeContainer();
  const active = registrationOf(worker([]));
  fake.current = registrationOf(null, worker([]));
  fake.ready = new Promise((resolve) => setTimeout(resolve, GRACE_MS * 4, active));
  assert.equal(await activeRegistration(containerOf(fake), {}, GRACE_MS), active);
});

test("the_given_script_is_registered_for_the_whole_origin", async () => {
  const fake = new FakeContainer();
  fake.ready = Promise.resolve(registrationOf(worker([])));
  await activeRegistration(containerOf(fake), { serviceWorkerUrl: "/hearth/hearth-sw.js" }, GRACE_MS);
  assert.deepEqual(fake.registered, [["/hearth/hearth-sw.js", { scope: "/" }]]);
});

test("a_script_that_cannot_be_registered_is_reported_with_its_reason", async () => {
  const fake = new FakeContainer();
  fake.failure = new TypeError("404");
  await assert.rejects(activeRegistration(containerOf(fake), { serviceWorkerUrl: "/x.js" }, GRACE_MS), {
    name: "ServiceWorkerInitializationError",
    message: /Registering \/x\.js failed: TypeError: 404/,
  });
});

test("messages_go_to_the_worker_that_is_active_when_they_are_sent_and_earlier_ones_wait_in_order", async () => {
  const fake = new FakeContainer();
  const first: unknown[] = [];
  const second: unknown[] = [];
  const registration = { active: worker(first), installing: null, waiting: null };
  let arrive: (value: ServiceWorkerRegistration) => void = () => undefined;
  fake.ready = new Promise((resolve) => {
    arrive = resolve;
  });
  const endpoint = new ServiceWorkerEndpoint(containerOf(fake));
  endpoint.postMessage(1, []);
  endpoint.postMessage(2, []);
  arrive(registration as Partial<ServiceWorkerRegistration> as ServiceWorkerRegistration);
  await fake.ready;
  endpoint.postMessage(3, []);
  registration.active = worker(second);
  endpoint.postMessage(4, []);
  assert.deepEqual([first, second], [[1, 2, 3], [4]]);
});

test("replies_are_heard_through_a_listener_that_can_be_removed_and_onmessage_stays_the_apps", () => {
  const fake = new FakeContainer();
  const heard: unknown[] = [];
  const stop = new ServiceWorkerEndpoint(containerOf(fake)).listen((data) => heard.push(data));
  fake.dispatchEvent(new MessageEvent("message", { data: "a" }));
  stop();
  fake.dispatchEvent(new MessageEvent("message", { data: "b" }));
  assert.deepEqual([heard, fake.started, "onmessage" in fake], [["a"], true, false]);
});

test("an_environment_without_the_api_says_so", () => {
  assert.throws(findContainer, { name: "NoServiceWorkerAPIError" });
});
