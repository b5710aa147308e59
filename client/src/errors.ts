/**
 * Errors of the client. Owns how an error that crossed the wire becomes an Error object again, and the errors that are raised
 * before anything is sent. `String(error)` is always `<Name>: <message>`, the string that web-llm's clients reject with.
 */

import type { WireError } from "./protocol.gen.js";

const WORKER_LOST = "WorkerLostError";

/** Every error of this package. `name` tells which one, `details` carries its numbers when it has some. */
export class HearthError extends Error {
  /** Numbers and names behind the message, e.g. `{bytes_needed, bytes_available}`. */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(name: string, message: string, details: Record<string, unknown> = {}, options?: ErrorOptions) {
    super(message, options);
    this.name = name;
    this.details = details;
  }
}

/** Rebuilds an error from a `throw` reply: the object when the worker sent one, else web-llm's string. */
export function errorFromWire(error: WireError | undefined, text: string): HearthError {
  if (error !== undefined) return new HearthError(error.name, error.message, error.details);
  const match = /^([A-Za-z_$][\w$]*): ([\s\S]*)$/.exec(text);
  const [, name, message] = match ?? [];
  // A string without a name must stay that string: an Error whose name is empty prints its message alone.
  return name === undefined || message === undefined ? new HearthError("", text) : new HearthError(name, message);
}

/** The worker ended (killed, crashed, replaced) before it answered. The request is self-contained: it can be sent again. */
export function workerLost(what: string): HearthError {
  return new HearthError(
    WORKER_LOST,
    `The worker ended before ${what} was finished. Nothing needs to be reloaded: send the same request again.`,
    { retryable: true },
  );
}

/** True when the same request may be sent again: its worker ended, or its engine crashed and is being replaced. */
export function isRetryable(error: unknown): boolean {
  return error instanceof HearthError && error.details["retryable"] === true;
}

/** True when the worker itself ended, as opposed to an engine in a worker that lives on. */
export function isWorkerLost(error: unknown): boolean {
  return error instanceof HearthError && error.name === WORKER_LOST;
}

/** The engine was closed by its owner. */
export function engineClosed(): HearthError {
  return new HearthError("EngineClosedError", "This engine was closed with close(). Create a new one.");
}

/** A message that this client does not understand: the page and the worker are from different versions. */
export function protocolMismatch(expected: number, got: number): HearthError {
  return new HearthError(
    "ProtocolVersionError",
    `This page speaks Hearth's protocol ${expected} and the service worker speaks ${got}. ` +
      "Serve hearth-sw.js, hearth_bg.wasm and index.js from the same version of the package, then reload the page.",
    { expected, got },
  );
}

/** A stream was iterated a second time. */
export function streamConsumed(): HearthError {
  return new HearthError(
    "StreamConsumedError",
    "This stream has already been read to its end. Keep the chunks while reading, or ask again.",
  );
}

/** `navigator.serviceWorker` is absent. */
export function noServiceWorkerApi(): HearthError {
  return new HearthError(
    "NoServiceWorkerAPIError",
    "Service worker API is not available in your browser. Please ensure that your browser supports service workers and " +
      "that you are using a secure context (HTTPS). Check the browser compatibility and ensure that service workers are " +
      "not disabled in your browser settings.",
  );
}

/** There is a service worker API but no worker that could answer. */
export function serviceWorkerInitialization(reason: string): HearthError {
  return new HearthError(
    "ServiceWorkerInitializationError",
    `Service worker failed to initialize. ${reason} Register hearth-sw.js with a scope that covers this page, for example ` +
      'navigator.serviceWorker.register("/hearth-sw.js"), or give engineConfig.hearth.serviceWorkerUrl.',
  );
}

/** A request came before `reload()`. */
export function modelNotLoaded(engineName: string): HearthError {
  return new HearthError(
    "WorkerEngineModelNotLoadedError",
    `${engineName} is not loaded with a model. Did you call \`engine.reload()\`?`,
  );
}

/** Several models are loaded and the request names none. */
export function unclearModel(loaded: readonly string[], requestName: string): HearthError {
  return new HearthError(
    "UnclearModelToUseError",
    `Multiple models are loaded in engine. Please specify the model in ${requestName}.\n` +
      `Currently loaded models are:\n${loaded.join(",")}`,
  );
}

/** The request names a model that is not loaded. */
export function modelNotFound(loaded: readonly string[], wanted: string, requestName: string): HearthError {
  return new HearthError(
    "SpecifiedModelNotFoundError",
    `Specified model ${wanted} for ${requestName} is not found in loaded models. ` +
      "Please check if the correct model is loaded/specified. " +
      `Currently loaded models are:\n${loaded.join(",")}`,
  );
}

/** The app's preprocessor did not give a text. `status` is the endpoint's, where it answered. */
export function preprocessFailed(reason: string, details: Record<string, unknown>, cause?: unknown): HearthError {
  return new HearthError(
    "PreprocessError",
    `The preprocessor of engineConfig.hearth.preprocess gave no text: ${reason}. It must give the text as a string (an ` +
      "endpoint: as text/plain, or as JSON {text}).",
    details,
    cause === undefined ? {} : { cause },
  );
}

/** There is no room for any part of a document beside the question. */
export function questionTooLong(questionTokens: number, replyTokens: number, limit: number): HearthError {
  return new HearthError(
    "DocumentQuestionTooLongError",
    `The question takes ${questionTokens} tokens and its answer may take ${replyTokens}; of the ${limit} tokens that this tab ` +
      "may use nothing useful is left for the text. Shorten the question, lower maxTokens, or give the tab more room.",
    { questionTokens, replyTokens, limit },
  );
}
