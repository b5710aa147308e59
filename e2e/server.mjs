// The tests' own web server: site, package, demo, fixtures and models, with ranges; it counts what it serves and can be told
// to misbehave for one path. The server that ships is worker/cli's; this one exists for the faults.

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const MODELS = process.env.HEARTH_MODELS ?? join(HERE, "../models");

/** URL prefix -> folder; the first that fits decides. */
const MOUNTS = [
  ["/hearth/", process.env.HEARTH_PACKAGE ?? join(HERE, "../client/dist/")],
  ["/demo/", join(HERE, "../client/demo/")],
  ["/web-llm/", join(HERE, "node_modules/@mlc-ai/web-llm/lib/")],
  ["/fixtures/", join(HERE, "fixtures/")],
  ["/models/", `${MODELS}/`],
  ["/", join(HERE, "site/")],
];

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
 * - `{status}`: answers that status and nothing else
 * - `{stopAfter}`: the connection breaks after that many bytes of the file (counted from its start)
 * - `{cutAt}`: the file ends there, and the server believes that this is all of it
 * - `{flipAt}`: the byte at that offset is changed
 * - `{noRange}`: ranges are ignored, the whole file comes with status 200
 * - `{delayMs}`: each chunk waits
 * @typedef {{status?: number, stopAfter?: number, cutAt?: number, flipAt?: number, noRange?: boolean, delayMs?: number}} Fault
 */

export class TestServer {
  /** Bytes of bodies by path, since the last `forget()`. */
  bytes = new Map();
  /** Faults by path; a test sets them. @type {Map<string, Fault>} */
  faults = new Map();
  /** Fixed bodies by path, over whatever the folders hold. @type {Map<string, {type: string, body: string | Buffer}>} */
  pages = new Map();
  #server = createServer((request, response) => {
    this.#answer(request, response).catch((error) => response.destroy(error));
  });

  /** Listens on a free port: every server is an origin of its own, with storage and service worker of its own. */
  async start() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.origin = `http://localhost:${this.#server.address().port}`;
    return this;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  forget() {
    this.bytes.clear();
  }

  /** Bytes served of paths that contain `part`. */
  bytesOf(part) {
    let sum = 0;
    for (const [path, count] of this.bytes) if (path.includes(part)) sum += count;
    return sum;
  }

  async #answer(request, response) {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    const fault = this.faults.get(path) ?? {};
    const fixed = this.pages.get(path);
    response.setHeader("Cache-Control", "no-store");
    response.setHeader("Service-Worker-Allowed", "/");
    if (fault.status !== undefined) return void response.writeHead(fault.status).end();
    if (fixed !== undefined) return void response.writeHead(200, { "Content-Type": fixed.type }).end(fixed.body);
    const file = await findFile(path);
    if (file === undefined) return void response.writeHead(404).end("not found");

    const size = Math.min(file.size, fault.cutAt ?? Infinity);
    const range = fault.noRange ? undefined : parseRange(request.headers.range, size);
    if (range === "unsatisfiable") return void response.writeHead(416, { "Content-Range": `bytes */${size}` }).end();
    const { start, end } = range ?? { start: 0, end: size - 1 };
    response.writeHead(range === undefined ? 200 : 206, {
      "Content-Type": TYPES[extname(file.path)] ?? "application/octet-stream",
      "Content-Length": end - start + 1,
      ...(fault.noRange ? {} : { "Accept-Ranges": "bytes" }),
      ...(range === undefined ? {} : { "Content-Range": `bytes ${start}-${end}/${size}` }),
    });
    if (request.method === "HEAD" || size === 0) return void response.end();
    await this.#send(path, file.path, { start, end, fault }, response);
  }

  async #send(path, file, { start, end, fault }, response) {
    let offset = start;
    for await (const chunk of createReadStream(file, { start, end, highWaterMark: 64 * 1024 })) {
      let data = chunk;
      const { flipAt, stopAfter, delayMs } = fault;
      if (flipAt !== undefined && flipAt >= offset && flipAt < offset + data.length) data[flipAt - offset] ^= 0xff;
      const stops = stopAfter !== undefined && offset + data.length > stopAfter;
      if (stops) data = data.subarray(0, Math.max(0, stopAfter - offset));
      if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
      this.bytes.set(path, (this.bytes.get(path) ?? 0) + data.length);
      if (!response.write(data)) await new Promise((resolve) => response.once("drain", resolve).once("close", resolve));
      if (response.destroyed) return;
      if (stops) return void setTimeout(() => response.destroy(), 20);
      offset += data.length;
    }
    response.end();
  }
}

async function findFile(path) {
  const [prefix, folder] = MOUNTS.find(([candidate]) => path.startsWith(candidate)) ?? [];
  if (prefix === undefined || normalize(path) !== path) return undefined;
  const relative = path.slice(prefix.length);
  const file = join(folder, relative === "" || relative.endsWith("/") ? `${relative}index.html` : relative);
  const found = await stat(file).catch(() => undefined);
  return found?.isFile() ? { path: file, size: found.size } : undefined;
}

/** `bytes=a-b`, `bytes=a-`, `bytes=-n`; anything else is answered with the whole file, as HTTP allows. */
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
