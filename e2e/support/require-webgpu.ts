// Runs before any test: a browser without WebGPU in pages and in service workers fails the whole run, with that reason.

import { chromium } from "@playwright/test";
import { TestServer } from "../server.mjs";
import { chromiumPath, FLAGS } from "./browser.mjs";

const PROBE_WORKER = `
self.addEventListener("install", (event) => event.waitUntil(self.skipWaiting()));
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", async (event) => {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  event.source.postMessage(adapter ? adapter.info.vendor + " " + adapter.info.architecture : "none");
});`;

export default async function requireWebGpu(): Promise<void> {
  const server = await new TestServer().start();
  server.pages.set("/probe-worker.js", { type: "text/javascript", body: PROBE_WORKER });
  server.pages.set("/probe.html", { type: "text/html", body: "<!doctype html><title>probe</title>" });
  const browser = await chromium.launch({ executablePath: chromiumPath(), args: FLAGS });
  try {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/probe.html`);
    const found = await page.evaluate(async () => {
      const gpu = (navigator as { gpu?: { requestAdapter(): Promise<object | null> } }).gpu;
      const inPage = (await gpu?.requestAdapter().catch(() => null)) ? "there" : "none";
      const answer = new Promise<string>((resolve) => {
        navigator.serviceWorker.addEventListener("message", (event) => resolve(String(event.data)), { once: true });
      });
      await navigator.serviceWorker.register("/probe-worker.js");
      (await navigator.serviceWorker.ready).active?.postMessage("probe");
      return { inPage, inWorker: await answer };
    });
    if (found.inPage === "none" || found.inWorker === "none") {
      throw new Error(
        `No WebGPU adapter (page: ${found.inPage}, service worker: ${found.inWorker}) in ${browser.version()} ` +
          `with ${FLAGS.join(" ")}. These tests need one; \`cargo hearth doctor\` says what is missing.`,
      );
    }
    console.log(`Chromium ${browser.version()}, WebGPU in page and service worker (${found.inWorker})`);
  } finally {
    await browser.close();
    await server.stop();
  }
}
