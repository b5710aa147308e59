/**
 * The service worker, ready to be registered. Owns its lifecycle and nothing else: listeners are attached at the first
 * evaluation (a browser that starts the worker for an event looks for them then), the wasm is fetched once, at installation,
 * and starts with the first message that needs it, and each message keeps the worker alive until everything that it caused has
 * ended.
 */

import { createGlue, wasmHash } from "hearth-wasm";
import { HostRunner } from "./host-runner.js";
import { RuntimeCache } from "./runtime-cache.js";

declare const self: ServiceWorkerGlobalScope;

const runtime = new RuntimeCache(new URL("hearth_bg.wasm", self.location.href), wasmHash);
const runner = new HostRunner("service-worker", createGlue, runtime);

self.addEventListener("install", (event) => event.waitUntil(Promise.all([self.skipWaiting(), runtime.store()])));
self.addEventListener("activate", (event) => event.waitUntil(Promise.all([self.clients.claim(), runtime.deleteOthers()])));

self.addEventListener("message", (event) => {
  const client = event.source;
  // Another service worker or a detached page: nobody to answer.
  if (client === null || !("id" in client)) return;
  const reply = (message: unknown): void => client.postMessage(message);
  event.waitUntil(runner.handle(client.id, event.data, event.ports[0], reply));
});

self.addEventListener("unhandledrejection", (event) => {
  if (runner.reportUncaught(event.reason)) event.preventDefault();
});
self.addEventListener("error", (event) => {
  runner.reportUncaught(event.error);
});
