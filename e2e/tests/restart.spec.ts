// The browser stops service workers when it likes. Between requests a page notices nothing; what happens to a reply under way is
// survival.spec.ts.

import { ask, askFailure, type ClientName, expect, HELLO, stopWorker, stream, test, TINY } from "../support/site.ts";

for (const client of ["stock", "hearth"] as ClientName[]) {
  test(`after the worker was stopped, the next request of a ${client} page is answered as before`, async ({ site }) => {
    const page = await site.openWith(client, { url: TINY });
    const before = await ask(page, HELLO);
    site.server.forget();
    await stopWorker(page);
    const after = await ask(page, HELLO);
    expect(after.text).toBe(before.text);
    expect(site.server.bytesOf(".gguf")).toBe(0);
  });

  test(`after the worker was stopped, a stream of a ${client} page works`, async ({ site }) => {
    const page = await site.openWith(client, { url: TINY });
    const before = await stream(page, HELLO);
    await stopWorker(page);
    expect((await stream(page, HELLO)).text).toBe(before.text);
  });
}

test("the configuration and the model of each page outlive the worker", async ({ site }) => {
  const first = await site.openWith("stock", { url: TINY, id: "one" });
  const second = await site.openWith("stock", { url: "/made/resolve/main/tiny.gguf", id: "two" });
  await stopWorker(first);
  site.server.forget();
  expect((await ask(second, HELLO)).reply.model).toBe("two");
  expect((await ask(first, HELLO)).reply.model).toBe("one");
  expect(site.server.bytesOf(".gguf")).toBe(0);
});

test("a tab's budget and policy outlive the worker", async ({ site }) => {
  const chatOpts = { context_window_size: 256, hearth: { tabBudgetTokens: 320, overflowPolicy: "error" } };
  const page = await site.openWith("hearth", { url: TINY, chatOpts });
  await ask(page, HELLO);
  const before = await page.evaluate(() => engine.contextUsage());
  await stopWorker(page);
  const after = await page.evaluate(() => engine.contextUsage());
  expect(after).toMatchObject({ budget: 320, window: 256, used: before.used });
  expect((await askFailure(page, { messages: [{ role: "user", content: "many words ".repeat(200) }] })).name).toBe("ContextWindowSizeExceededError");
});

test("a worker that is stopped many times is as good as new", async ({ site }) => {
  const page = await site.openWith("stock", { url: TINY });
  const { text } = await ask(page, HELLO);
  for (let round = 0; round < 3; round += 1) {
    await stopWorker(page);
    expect((await ask(page, HELLO)).text).toBe(text);
  }
});
