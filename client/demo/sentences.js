// What was done to a context, said in plain words with its numbers. Knows the wire's events; touches no page.

import { count, plural } from "./dom.js";

/** @typedef {import("/hearth/index.js").TabEvent} TabEvent */
/** @typedef {import("/hearth/index.js").ContextReport} ContextReport */

const EVICTED_BECAUSE = {
  pressure: "another tab needed the room",
  idle: "it had nothing to do",
  preempted: "an older answer went first; this one goes on later",
  frozen: "the browser froze the tab",
};

const RESTORED_FROM = {
  recomputed: "computed again from its tokens",
  store: "read from IndexedDB",
};

/**
 * A sentence that begins after the tab's name, and the word for its kind.
 * @param {TabEvent} event @returns {{kind: string, text: string}}
 */
export function describeEvent(event) {
  switch (event.type) {
    case "overflow":
      return { kind: event.policy, text: describeOverflow(event) };
    case "near-limit":
      return {
        kind: "nearly full",
        text: `has filled ${Math.round(event.fraction * 100)} % of its room: ${count(event.used)} of ${count(event.limit)} tokens`,
      };
    case "evicted":
      return {
        kind: event.reason,
        text: `gave back ${plural(event.pages, "page")} (${plural(event.tokens, "token")}): ${EVICTED_BECAUSE[event.reason] ?? event.reason}`,
      };
    case "restored":
      return {
        kind: "restored",
        text: `has ${plural(event.tokens, "token")} back, ${RESTORED_FROM[event.source] ?? event.source}`,
      };
    case "budget-changed":
      return {
        kind: "budget",
        text:
          `may now hold ${count(event.budget)} tokens instead of ${count(event.previous)}: ` +
          `${plural(event.tabs, "tab")} ${event.tabs === 1 ? "has" : "share"} the pool`,
      };
    default:
      return { kind: "event", text: "did something that this page has no words for" };
  }
}

/** @param {Extract<TabEvent, {type: "overflow"}>} event */
function describeOverflow(event) {
  const within = `to stay within ${count(Math.min(event.window, event.budget))} tokens`;
  const tokens = plural(event.droppedTokens, "token");
  if (event.phase === "decode") return `let its oldest ${tokens} slide out of view while writing, ${within}`;
  if (event.policy === "summarize") return `replaced ${plural(event.droppedMessages, "message")} (${tokens}) by a summary ${within}`;
  if (event.droppedMessages === 0) return `left its oldest ${tokens} out of view ${within}`;
  return `dropped ${plural(event.droppedMessages, "message")} (${tokens}) ${within}`;
}

/**
 * What happened to the conversation before or while an answer was written; undefined where all of it was seen.
 * @param {ContextReport | undefined} report @param {number} numMessages of the conversation that was sent
 */
export function describeContext(report, numMessages) {
  const droppedTokens = report?.dropped_tokens ?? 0;
  const droppedMessages = report?.dropped_messages ?? 0;
  if (report === undefined || (droppedTokens === 0 && droppedMessages === 0)) return undefined;
  const limit = Math.min(report.window, report.budget ?? report.window);
  const numKept = Math.max(0, numMessages - droppedMessages);
  const kept = `Kept: the instructions and the last ${plural(numKept, "message")}.`;
  const room = `${count(limit)} tokens are all the room there is`;
  if (droppedMessages === 0) return `${room}, so the oldest ${plural(droppedTokens, "token")} slid out of view. Kept: the instructions and the newest text.`;
  const what = `the first ${plural(droppedMessages, "message")} (${plural(droppedTokens, "token")})`;
  if (report.policy === "summarize") return `${room}: a short summary stands in for ${what}. ${kept}`;
  return `${room}: ${what} ${droppedMessages === 1 ? "was" : "were"} left out. ${kept}`;
}
