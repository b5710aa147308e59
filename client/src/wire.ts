/**
 * The wire as seen by the client: which message is answered with what. The messages themselves are the protocol crate's
 * (protocol.gen.ts).
 */

import type {
  AppConfig,
  AppendReply,
  ChatCompletion,
  CloseContent,
  CompressedText,
  ContextUsage,
  HelloReply,
  LogLevel,
  PoolReport,
  TabContent,
  TabReport,
  TextChunk,
  UsageReport,
  WatchContent,
} from "./protocol.gen.js";

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
  "hearth.context": ContextUsage;
  "hearth.tabs": TabReport[];
  "hearth.pool": PoolReport;
  "hearth.measure": number;
  "hearth.append": AppendReply;
  "hearth.fork": null;
  "hearth.chunk": TextChunk[];
  "hearth.compress": CompressedText;
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
  "hearth.close": CloseContent;
  "hearth.tab": TabContent;
  "hearth.watch": WatchContent;
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

/** Name of the Web Lock that a page holds for as long as it lives: the worker that gets it knows that the tab is gone. */
export function tabLockName(tab: string): string {
  return `hearth-tab:${tab}`;
}
