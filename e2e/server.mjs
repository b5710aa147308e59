// The tests' own web server: site, package, demo, fixtures and models, with ranges; it counts what it serves and can be told
// to misbehave for one path. The server that ships is worker/cli's; this one exists for the faults.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { MADE_MODELS } from "./support/models.mjs";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const MODELS = process.env["HEARTH_MODELS"] ?? join(HERE, "../models");
/** Another build of the package, to compare two. */
const PACKAGE = process.env["HEARTH_PACKAGE"] ?? join(HERE, "../client/dist");
const SEND_BYTES = 64 * 1024;

/** URL prefix -> folder; the first that fits decides. @type {[string, string][]} */
const MOUNTS = [
  ["/hearth/", `${PACKAGE}/`],
  ["/wasm/", join(HERE, "../client/wasm/")],
  ["/demo/", join(HERE, "../client/demo/")],
  ["/stock/", join(HERE, "node_modules/@mlc-ai/web-llm/lib/")],
  ["/fixtures/", join(HERE, "fixtures/")],
  ["/models/", `${MODELS}/`],
  ["/", join(HERE, "site/")],
];

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
};

/**
 * How a path misbehaves:
 * - `status`: answers that status and nothing else
 * - `hangUp`: the connection is closed without an answer
 * - `stopAfter`: the connection breaks at that offset of the file
 * - `cutAt`: the file ends there, and the server believes that this is all of it
 * - `flipAt`: the byte at that offset is changed
 * - `noRange`: ranges are ignored, the whole file comes with status 200
 * - `delayMs`: each piece of 64 KiB waits
 * - `times`: only for so many requests, then the path behaves again
 * @typedef {{status?: number, hangUp?: boolean, stopAfter?: number, cutAt?: number, flipAt?: number, noRange?: boolean,
 *   delayMs?: number, times?: number}} Fault
 * @typedef {{size: number, type: string, read(start: number, end: number): AsyncIterable<Buffer> | Iterable<Buffer>}} Content
 * @typedef {import("node:http").IncomingMessage} Request
 * @typedef {import("node:http").ServerResponse} Response
 */

export class TestServer {
  /** Bytes of bodies by path, since the last `forget()`. @type {Map<string, number>} */
  bytes = new Map();
  /** Faults by path; a test sets them. @type {Map<string, Fault>} */
  faults = new Map();
  /** Fixed bodies by path, over whatever the folders hold. @type {Map<string, {type: string, body: string | Buffer}>} */
  pages = new Map();
  origin = "";
  #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });

  /** Listens on a free port: every server is an origin of its own, with storage and service worker of its own. */
  async start() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the server has no port");
    this.origin = `http://localhost:${address.port}`;
    return this;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  forget() {
    this.bytes.clear();
  }

  /** Bytes served of paths that contain `part`. @param {string} part */
  bytesOf(part) {
    let sum = 0;
    for (const [path, count] of this.bytes) if (path.includes(part)) sum += count;
    return sum;
  }

  /** @param {Request} request @param {Response} response */
  async #answer(request, response) {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const fault = this.#takeFault(path);
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Service-Worker-Allowed", "/");
    if (fault.hangUp === true) return void request.socket.destroy();
    if (fault.status !== undefined) return void response.writeHead(fault.status).end();
    const content = await this.#find(path);
    if (content === undefined) return void response.writeHead(404).end("not found");

    const size = Math.min(content.size, fault.cutAt ?? Infinity);
    const range = fault.noRange === true ? undefined : parseRange(request.headers.range, size);
    if (range === "unsatisfiable") return void response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
    const { start, end } = range ?? { start: 0, end: size - 1 };
    response.writeHead(range === undefined ? 200 : 206, {
      "Content-Type": content.type,
      "Content-Length": end - start + 1,
      ...(fault.noRange === true ? {} : { "Accept-Ranges": "bytes" }),
      ...(range === undefined ? {} : { "Content-Range": `bytes ${start}-${end}/${size}` }),
    });
    if (request.method === "HEAD" || size === 0) return void response.end();
    await this.#send(path, content.read(start, end), start, fault, response);
  }

  /** @param {string} path @returns {Fault} */
  #takeFault(path) {
    const fault = this.faults.get(path);
    if (fault?.times !== undefined && --fault.times <= 0) this.faults.delete(path);
    return fault ?? {};
  }

  /** @param {string} path @returns {Promise<Content | undefined>} */
  async #find(path) {
    const fixed = this.pages.get(path);
    if (fixed !== undefined) return ofBuffer(Buffer.from(fixed.body), fixed.type);
    const made = MADE_MODELS.get(path);
    return made === undefined ? findFile(path) : ofBuffer(made, "application/octet-stream");
  }

  /** @param {string} path @param {AsyncIterable<Buffer> | Iterable<Buffer>} pieces @param {number} start @param {Fault} fault
   * @param {Response} response */
  async #send(path, pieces, start, { flipAt, stopAfter, delayMs }, response) {
    let offset = start;
    for await (const piece of pieces) {
      const stops = stopAfter !== undefined && offset + piece.length > stopAfter;
      const data = Buffer.from(stops ? piece.subarray(0, Math.max(0, stopAfter - offset)) : piece);
      if (flipAt !== undefined && flipAt >= offset && flipAt < offset + data.length) {
        data.writeUInt8(data.readUInt8(flipAt - offset) ^ 0xff, flipAt - offset);
      }
      if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
      this.bytes.set(path, (this.bytes.get(path) ?? 0) + data.length);
      if (stops) return void response.write(data, () => response.destroy());
      if (!response.write(data)) await drained(response);
      if (response.destroyed) return;
      offset += data.length;
    }
    response.end();
  }
}

/** Waits until more can be written, or never will. @param {Response} response */
function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve(undefined);
    };
    response.on("drain", done).on("close", done);
  });
}

/** @param {Buffer} body @param {string} type @returns {Content} */
function ofBuffer(body, type) {
  return {
    size: body.length,
    type,
    *read(start, end) {
      for (let at = start; at <= end; at += SEND_BYTES) yield body.subarray(at, Math.min(at + SEND_BYTES, end + 1));
    },
  };
}

/** @param {string} path @returns {Promise<Content | undefined>} */
async function findFile(path) {
  const mount = MOUNTS.find(([prefix]) => path.startsWith(prefix));
  if (mount === undefined || normalize(path) !== path) return undefined;
  const relative = path.slice(mount[0].length);
  const file = join(mount[1], relative === "" || relative.endsWith("/") ? `${relative}index.html` : relative);
  const found = await stat(file).catch(() => undefined);
  if (found?.isFile() !== true) return undefined;
  return {
    size: found.size,
    type: TYPES[extname(file)] ?? "application/octet-stream",
    read: (start, end) => createReadStream(file, { start, end, highWaterMark: SEND_BYTES }),
  };
}

/** `bytes=a-b`, `bytes=a-`, `bytes=-n`; anything else is answered with the whole file, as HTTP allows.
 * @param {string | undefined} header @param {number} size
 * @returns {{start: number, end: number} | "unsatisfiable" | undefined} */
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return undefined;
  const start = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  return start > end ? "unsatisfiable" : { start, end };
}

/** `node server.mjs` serves until it is stopped, for looking at pages by hand. */
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  console.log((await new TestServer().start()).origin);
}
