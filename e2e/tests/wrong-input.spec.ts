// Whatever is wrong, one page gets an error that says so and what to do; the worker and the other pages go on.

import type { Page } from "@playwright/test";
import { ask, expect, type Failure, HELLO, load, loadFailure, type Site, test, TINY } from "../support/site.ts";

interface Heard {
  expects: string;
  kind: string;
  isOurs?: boolean;
  name?: string;
  text?: string;
  message?: string;
}

declare global {
  interface Window {
    /** site/hostile.js. */
    hostile: { names: string[]; send(index: number): Promise<Heard[]> };
  }
}

/** A page that chats, before and after: whatever happens in between must not reach it. */
async function withBystander(site: Site, work: (page: Page, check: () => Promise<void>) => Promise<void>): Promise<void> {
  const bystander = await site.openWith("stock", { url: TINY });
  const { text } = await ask(bystander, HELLO);
  const page = await site.open("hearth");
  const check = async (): Promise<void> => expect((await ask(bystander, HELLO)).text).toBe(text);
  await work(page, check);
  await check();
}

const BROKEN: [path: string, name: string, message: RegExp][] = [
  ["/hostile/truncated.gguf", "ModelFileError", /(bytes|byte) .*download it again/],
  ["/hostile/truncated-header.gguf", "ModelFileError", /the file is damaged|download it again/],
  ["/hostile/empty.gguf", "Model(File|Download)Error", /./],
  ["/hostile/page.gguf", "ModelFileError", /not a GGUF file.*check the model's URL/],
  ["/hostile/version.gguf", "ModelFileError", /GGUF version 9 is not supported.*convert/],
  ["/hostile/architecture.gguf", "ModelFileError", /martian.*(llama|supported)/],
  ["/hostile/tokenizer.gguf", "ModelFileError", /martian/],
  ["/hostile/no-template.gguf", "ChatTemplateError", /chat template/],
  ["/hostile/template.gguf", "ChatTemplateError", /template/],
  ["/hostile/missing-tensor.gguf", "ModelFileError", /blk\.1\.ffn_up\.weight/],
  ["/hostile/offsets.gguf", "ModelFileError", /./],
  ["/hostile/shape.gguf", "ModelFileError", /./],
  ["/hostile/counts.gguf", "ModelFileError", /the file is damaged/],
];

test("broken model files are errors that name what is wrong, and nothing of them is kept", async ({ site }) => {
  await withBystander(site, async (page, check) => {
    for (const [path, name, message] of BROKEN) {
      const failure = await loadFailure(page, { url: path, id: path });
      expect.soft(failure.name, `${path}: ${failure.text}`).toMatch(new RegExp(`^${name}$`));
      expect.soft(failure.message, path).toMatch(message);
      await check();
    }
    const kept = await page.evaluate(async () => {
      const database = await new Promise<IDBDatabase>((resolve) => {
        const request = indexedDB.open("hearth");
        request.onsuccess = () => resolve(request.result);
      });
      const request = database.transaction("chunks").objectStore("chunks").getAllKeys();
      await new Promise((resolve) => (request.onsuccess = resolve));
      database.close();
      return (request.result as [string, number][]).map(([url]) => url);
    });
    const blamed = BROKEN.filter(([, name]) => name === "ModelFileError").map(([path]) => path);
    expect(kept.filter((url) => blamed.some((path) => path !== "/hostile/tokenizer.gguf" && path !== "/hostile/missing-tensor.gguf" && url.endsWith(path)))).toEqual([]);
  });
});

test("a file that was truncated or damaged on the server loads once the server has it whole", async ({ site }) => {
  await withBystander(site, async (page) => {
    for (const fault of [{ cutAt: 90_000 }, { flipAt: 0 }]) {
      const url = `${TINY}?${Object.keys(fault)[0]}`;
      site.server.faults.set(TINY, fault);
      expect(await loadFailure(page, { url, id: "mended" })).toMatchObject({ name: "ModelFileError" });
      site.server.faults.clear();
      await load(page, { url, id: "mended" });
      expect(await ask(page, HELLO)).toMatchObject({ finish: "length" });
    }
  });
});

test("404, refusals and servers that stop are download errors with the URL", async ({ site }) => {
  test.setTimeout(120_000);
  await withBystander(site, async (page, check) => {
    const cases: [fault: object, details: object, message: RegExp][] = [
      [{ status: 404 }, { status: 404 }, /answered 404: check the model's URL/],
      [{ status: 403 }, { status: 403 }, /answered 403/],
      [{ status: 503 }, { status: 503 }, /answered 503/],
      [{ hangUp: true }, { receivedBytes: 0 }, /stopped after 0 bytes/],
      [{ stopAfter: 50_000 }, {}, /stopped after \d+ bytes.*try again/],
    ];
    for (const [index, [fault, details, message]] of cases.entries()) {
      site.server.faults.set("/made/resolve/main/tiny.gguf", { status: 404 });
      site.server.faults.set("/fixtures/tiny/gguf-llama/resolve/main/model.gguf", { status: 404 });
      site.server.faults.set("/fixtures/tiny/gguf-llama/model.gguf", fault);
      const failure = await loadFailure(page, { url: "/fixtures/tiny/gguf-llama/model.gguf", id: `broken-${index}` });
      expect(failure).toMatchObject({ isError: true, name: "ModelDownloadError", details });
      expect(failure.message).toMatch(message);
      expect(failure.message).toContain(site.server.origin);
      await check();
    }
  });
});

test("records that name no file are errors that say what to give", async ({ site }) => {
  await withBystander(site, async (page) => {
    const failures: Failure[] = [];
    for (const url of ["/models/some-folder/", "data:text/plain,x.gguf"]) failures.push(await loadFailure(page, { url, id: url }));
    expect(failures[0]?.text).toMatch(/^NotSupportedYetError: .* is a folder.*give the URL of a \.gguf file/);
    expect(failures[1]?.text).toMatch(/^TypeError: .*absolute http\(s\) URL/);
    await load(page, { url: TINY });
    const unknown = await page.evaluate(() => tab.failure(() => engine.reload("nobody")));
    expect(unknown.text).toMatch(/^ModelNotFoundError: .*nobody/);
  });
});

test("options that make no sense are refused before anything is loaded", async ({ site }) => {
  await withBystander(site, async (page, check) => {
    const cases: [object, RegExp][] = [
      [{ context_window_size: -5 }, /Error: /],
      [{ temperature: -1 }, /Error: /],
      [{ hearth: { kvCacheTokens: -1 } }, /Error: /],
      [{ hearth: { kvCacheType: "f64" } }, /Error: /],
    ];
    for (const [chatOpts, expected] of cases) {
      const outcome = await page.evaluate(async (given) => {
        try {
          await tab.load({ url: "/made/tiny.gguf?options", id: "options", chatOpts: given });
          return "loaded";
        } catch (error) {
          return String(error);
        }
      }, chatOpts);
      expect.soft(outcome, JSON.stringify(chatOpts)).toMatch(expected);
      await check();
    }
  });
});

test("messages of every wrong kind are answered or ignored, and the other tab's chat goes on after each", async ({ site }) => {
  test.setTimeout(180_000);
  await withBystander(site, async (_, check) => {
    const page = await site.openWith("stock", { url: TINY });
    const expected = await ask(page, HELLO);
    const names = await page.evaluate(async (path) => (window.hostile = (await import(path)) as Window["hostile"]).names, "/hostile.js");
    expect(names.length).toBeGreaterThan(60);
    for (const [index, name] of names.entries()) {
      const heard = await page.evaluate((at) => window.hostile.send(at), index);
      expect.soft(heard, name).toHaveLength(1);
      for (const reply of heard) expectAnswer(name, reply);
      await check();
    }
    expect((await ask(page, HELLO)).text).toBe(expected.text);
  });
});

function expectAnswer(name: string, reply: Heard): void {
  const { expects, kind } = reply;
  if (expects === "*") return expect.soft(["return", "throw", "heartbeat"], name).toContain(kind);
  if (["silence", "return", "heartbeat"].includes(expects)) return expect.soft(kind, `${name}: ${reply.text}`).toBe(expects);
  expect.soft(kind, name).toBe("throw");
  expect.soft(reply.name, `${name}: ${reply.text}`).toMatch(new RegExp(`^(${expects})$`));
  expect.soft(reply.text, name).toBe(`${reply.name}: ${reply.message}`);
  expect.soft(reply.isOurs, name).toBe(true);
}

test("a stream with a broken request ends with its error on the port", async ({ site }) => {
  await withBystander(site, async (page) => {
    const last = await page.evaluate(
      () =>
        new Promise<{ type: string; error?: { name: string } }>((resolve) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = ({ data }) => resolve(data);
          const message = { kind: "hearth.stream", uuid: "x", content: { request: { messages: 5 }, modelId: ["model"] } };
          navigator.serviceWorker.controller?.postMessage(message, [port2]);
        }),
    );
    expect(last).toMatchObject({ type: "error", error: { name: "InvalidMessageError" } });
  });
});

test("a page without WebGPU is told so before anything is downloaded", async ({ site }) => {
  const page = await site.context.newPage();
  await page.addInitScript(() => Reflect.deleteProperty(Navigator.prototype, "gpu"));
  await page.goto(`${site.server.origin}/hearth.html?no-worker`);
  await page.evaluate(() => ready);
  const failure = await loadFailure(page, { url: TINY, make: "CreateMLCEngine" });
  expect(failure).toMatchObject({ isError: true, name: "WebGPUNotAvailableError" });
  expect(failure.message).toContain("https://webgpureport.org/");
  expect(site.server.bytesOf(".gguf")).toBe(0);
});

test("a service worker without WebGPU says so before anything is downloaded", async ({ site }) => {
  await site.beforeWorker('Reflect.deleteProperty(WorkerNavigator.prototype, "gpu")');
  const page = await site.open("hearth");
  expect(await loadFailure(page, { url: TINY })).toMatchObject({ isError: true, name: "WebGPUNotAvailableError" });
  expect(site.server.bytesOf(".gguf")).toBe(0);
});

test("a service worker whose browser finds no adapter says so before anything is downloaded", async ({ site }) => {
  await site.beforeWorker("navigator.gpu.requestAdapter = async () => null");
  const page = await site.open("stock");
  expect((await loadFailure(page, { url: TINY })).text).toMatch(/^WebGPUNotFoundError: .*check the GPU driver/);
  expect(site.server.bytesOf(".gguf")).toBe(0);
});
