import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, test } from "node:test";
import { HearthError } from "../src/errors.js";
import { preprocess } from "../src/preprocess.js";
import type { PreprocessedDocument } from "../src/types.js";
import { Peer, TestEngine } from "./peer.js";

const DOC: PreprocessedDocument = { text: "long", maxTokens: 10, query: "what?" };

let server: Server | undefined;

afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
});

/** An endpoint on this machine; resolves with its URL. */
async function serve(listener: RequestListener): Promise<string> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(started.address() as AddressInfo).port}/`;
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  let body = "";
  for await (const part of request) body += String(part);
  return JSON.parse(body);
}

const failing = (details: Record<string, unknown>, message: RegExp): ((error: unknown) => boolean) => (error) => {
  assert.ok(error instanceof HearthError);
  assert.equal(error.name, "PreprocessError");
  assert.deepEqual(error.details, details);
  assert.match(error.message, message);
  return true;
};

test("a_function_gets_the_document_and_its_text_is_the_result", async () => {
  const given: unknown[] = [];
  const hook = (doc: PreprocessedDocument): Promise<string> => (given.push(doc), Promise.resolve("short"));
  assert.equal(await preprocess(hook, DOC, undefined), "short");
  assert.deepEqual(given, [DOC]);
});

test("a_function_that_fails_or_gives_no_text_is_a_typed_error", async () => {
  const cause = new TypeError("mine");
  const rejects = preprocess(() => Promise.reject(cause), DOC, undefined);
  await assert.rejects(rejects, (error) => failing({}, /TypeError: mine/)(error) && (error as Error).cause === cause);
  const throws = (): Promise<string> => {
    throw cause;
  };
  await assert.rejects(preprocess(throws, DOC, undefined), failing({}, /TypeError: mine/));
  await assert.rejects(preprocess(() => Promise.resolve(null as unknown as string), DOC, undefined), failing({}, /it returned null/));
});

for (const [type, body] of [["text/plain", "short"], ["application/json", '{"text":"short"}'], ["application/json", '"short"']] as const) {
  test(`an_endpoint_is_posted_the_document_and_answers_with_the_text: ${type} ${body}`, async () => {
    const seen: unknown[] = [];
    const endpoint = await serve((request, response) => {
      void bodyOf(request).then((doc) => {
        seen.push(request.method, request.headers["content-type"], doc);
        response.setHeader("content-type", type).end(body);
      });
    });
    assert.equal(await preprocess({ endpoint }, DOC, undefined), "short");
    assert.deepEqual(seen, ["POST", "application/json", DOC]);
  });
}

test("an_endpoint_that_refuses_is_an_error_with_its_status_and_words", async () => {
  const endpoint = await serve((_request, response) => void response.writeHead(413).end("too much".repeat(1000)));
  await assert.rejects(preprocess({ endpoint }, DOC, undefined), failing({ endpoint, status: 413 }, /status 413: too much.{0,200}\. It/));
});

for (const body of ["{", "{}", '{"text":7}', "null"]) {
  test(`an_endpoint_whose_answer_has_no_text_is_an_error: ${body}`, async () => {
    const endpoint = await serve((_request, response) => void response.setHeader("content-type", "application/json").end(body));
    await assert.rejects(preprocess({ endpoint }, DOC, undefined), failing({ endpoint, status: 200 }, /no JSON|no `text`/));
  });
}

test("an_endpoint_that_is_not_there_is_an_error_without_a_status", async () => {
  const endpoint = await serve(() => undefined);
  server?.close();
  server?.closeAllConnections();
  await assert.rejects(preprocess({ endpoint }, DOC, undefined), failing({ endpoint }, /could not be reached/));
});

test("aborting_rejects_with_the_reason_whatever_the_hook_does", async () => {
  let arrive: () => void = () => undefined;
  const arrived = new Promise<void>((resolve) => (arrive = resolve));
  const endpoint = await serve(() => arrive());
  for (const hook of [{ endpoint }, () => (arrive(), new Promise<string>(() => undefined))]) {
    const controller = new AbortController();
    const waiting = preprocess(hook, DOC, controller.signal);
    await arrived;
    controller.abort(new Error("enough"));
    await assert.rejects(waiting, /^Error: enough/);
    await assert.rejects(preprocess(hook, DOC, controller.signal), /^Error: enough/);
  }
});

test("documents_preprocess_uses_the_models_hook_then_the_engines_and_without_one_changes_nothing", async () => {
  const peer = new Peer();
  peer.returns("reload", null);
  const hook = (name: string) => async ({ text, maxTokens }: PreprocessedDocument): Promise<string> => `${name} ${text} ${maxTokens}`;
  const engine = new TestEngine(peer.endpoint, { hearth: { preprocess: hook("engine") } });
  await engine.reload(["a", "b"], [{}, { hearth: { preprocess: hook("b") } }]);
  assert.equal(await engine.documents.preprocess("x", { maxTokens: 5 }), "engine x 5");
  assert.equal(await engine.documents.preprocess("x", { maxTokens: 5, modelId: "b" }), "b x 5");
  const plain = new TestEngine(peer.endpoint);
  assert.equal(await plain.documents.preprocess("x", { maxTokens: 5 }), "x");
  for (const each of [engine, plain]) each.close();
  peer.close();
});
