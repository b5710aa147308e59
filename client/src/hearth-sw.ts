/**
 * The service worker, ready to be registered. Owns its lifecycle and nothing else: listeners are attached at the first
 * evaluation (a browser that starts the worker for an event looks for them then), the wasm starts with the first message
 * that needs it, and each message keeps the worker alive until everything that it caused has ended.
 */

import { createGlue } from "hearth-wasm";
import { HostRunner } from "./host-runner.js";

declare const self: ServiceWorkerGlobalScope;

const runner = new HostRunner("service-worker", createGlue, new URL("hearth_bg.wasm", self.location.href));

self.addEventListener("install", (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

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
