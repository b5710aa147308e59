/** The engine inside the page itself, behind the same messages as the service worker. Loaded only when it is used. */

import { createGlue } from "hearth-wasm";
import { HostRunner } from "./host-runner.js";
import type { Endpoint } from "./transport.js";

/** Starts nothing yet: the wasm boots with the first message. */
export function createPageEndpoint(wasmUrl: URL): Endpoint {
  const runner = new HostRunner("page", createGlue, { url: wasmUrl, open: () => wasmUrl });
  globalThis.addEventListener("unhandledrejection", (event) => {
    if (runner.reportUncaught(event.reason)) event.preventDefault();
  });
  const listeners = new Set<(data: unknown) => void>();
  const reply = (message: unknown): void => {
    for (const listener of listeners) listener(message);
  };
  return {
    postMessage(message, transfer) {
      const port = transfer.find((item): item is MessagePort => item instanceof MessagePort);
      void runner.handle("page", message, port, reply);
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
