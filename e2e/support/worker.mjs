// What the browser does to service workers.

/** Stops the service worker as the browser does when it wants its memory back, and waits until it has stopped.
 * @param {import("@playwright/test").Page} page */
export async function stopWorker(page) {
  const session = await page.context().newCDPSession(page);
  try {
    const stopped = new Promise((resolve) => {
      session.on("ServiceWorker.workerVersionUpdated", ({ versions }) => {
        if (versions.some(({ status, runningStatus }) => status === "activated" && runningStatus === "stopped")) resolve(undefined);
      });
    });
    await session.send("ServiceWorker.enable");
    await session.send("ServiceWorker.stopAllWorkers");
    await stopped;
  } finally {
    await session.detach();
  }
}
