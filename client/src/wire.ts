/**
 * The wire as seen by the client: which message is answered with what. The messages themselves are the protocol crate's
 * (protocol.gen.ts).
 */

import type { AppConfig, ChatCompletion, HelloReply, LogLevel, UsageReport } from "./protocol.gen.js";

/** Requests with a `return`, and its content. */
export interface Replies {
  reload: null;
  unload: null;
  resetChat: null;
  getMessage: string;
  runtimeStatsText: string;
  chatCompletionNonStreaming: ChatCompletion;
  "hearth.hello": HelloReply;
  "hearth.alive": AliveReply;
  "hearth.usage": UsageReport;
  /** Answered on the port that goes with it; its uuid only carries progress and early failures. */
  "hearth.stream": null;
}

/** Messages without a reply that matters. */
export interface Notices {
  setAppConfig: AppConfig;
  setLogLevel: LogLevel;
  interruptGenerate: null;
  keepAlive: undefined;
  "hearth.cancel": { uuid: string };
}

/** Content of `hearth.alive`, answered by the script around the wasm: it must work while the wasm boots or has trapped. */
export interface AliveContent {
  uuids: string[];
}

/** Which of the asked-for requests this run of the worker does not know: they were lost with an earlier run. */
export interface AliveReply {
  /** Identity of this run of the worker's script. */
  run: string;
  unknown: string[];
}

/** Name of the Web Lock that a run of the worker holds until it ends. */
export function runLockName(run: string): string {
  return `hearth-run:${run}`;
}
