/** The app's own way of shortening or cleaning a text before a model reads it: a function of the page, or an endpoint. */

import { HearthError, preprocessFailed } from "./errors.js";
import type { PreprocessedDocument, Preprocess } from "./types.js";

/** Much of an error page says nothing more than its beginning. */
const MAX_QUOTED_CHARACTERS = 200;

/** What the hook makes of the text. Errors are PreprocessError, with `details.status` where an endpoint answered with one. */
export async function preprocess(
  hook: Preprocess,
  doc: PreprocessedDocument,
  signal: AbortSignal | undefined,
): Promise<string> {
  signal?.throwIfAborted();
  if (typeof hook !== "function") return fetchText(hook.endpoint, doc, signal);
  let text: unknown;
  try {
    text = await untilAborted(hook(doc), signal);
  } catch (error) {
    signal?.throwIfAborted();
    throw preprocessFailed(String(error), {}, error);
  }
  if (typeof text !== "string") throw preprocessFailed(`it returned ${text === null ? "null" : typeof text}`, {});
  return text;
}

async function fetchText(endpoint: string, doc: PreprocessedDocument, signal: AbortSignal | undefined): Promise<string> {
  const details = { endpoint };
  try {
    const response = await fetch(endpoint, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(doc),
      signal: signal ?? null,
    });
    const body = await response.text();
    if (!response.ok) {
      const quoted = body.slice(0, MAX_QUOTED_CHARACTERS);
      throw preprocessFailed(`${endpoint} answered with status ${response.status}: ${quoted}`, { ...details, status: response.status });
    }
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    return isJson ? readText(body, { ...details, status: response.status }) : body;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof HearthError) throw error;
    throw preprocessFailed(`${endpoint} could not be reached: ${String(error)}`, details, error);
  }
}

/** `{"text": "..."}`, or a text in quotation marks. */
function readText(body: string, details: Record<string, unknown>): string {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    throw preprocessFailed(`its answer is no JSON: ${body.slice(0, MAX_QUOTED_CHARACTERS)}`, details, error);
  }
  const text = typeof value === "object" && value !== null && "text" in value ? value.text : value;
  if (typeof text !== "string") throw preprocessFailed(`its answer has no \`text\`: ${body.slice(0, MAX_QUOTED_CHARACTERS)}`, details);
  return text;
}

/** The hook cannot be stopped, but nobody needs to wait for it. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    Promise.resolve(work)
      .finally(() => signal.removeEventListener("abort", onAbort))
      .then(resolve, reject);
  });
}
