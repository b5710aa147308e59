/**
 * Hearth's own options on their way to the worker: what the engine's config says is the default of every model's options, and
 * what concerns only the page stays in it.
 */

import type { HearthOptions as WireHearthOptions, ChatOptions as WireChatOptions } from "./protocol.gen.js";
import type { ChatOptions, HearthOptions } from "./types.js";

/** The options that are sent. The type makes this list complete. */
const SENT: Record<keyof WireHearthOptions, true> = {
  overflowPolicy: true,
  tabBudgetTokens: true,
  kvCacheTokens: true,
  kvCacheType: true,
  reserveOutputTokens: true,
  idleEvictSeconds: true,
  nearLimitFraction: true,
};

/** The options of each model as they are sent with every request, `defaults` under each; undefined where there are none. */
export function sentChatOptions(
  numModels: number,
  chatOpts: readonly ChatOptions[] | undefined,
  defaults: HearthOptions = {},
): WireChatOptions[] | undefined {
  const base = sentHearthOptions(defaults);
  if (chatOpts === undefined) {
    return base === undefined ? undefined : Array.from({ length: numModels }, () => ({ hearth: base }));
  }
  return chatOpts.map(({ hearth, ...rest }) => {
    const merged = { ...base, ...sentHearthOptions(hearth ?? {}) };
    return Object.keys(merged).length === 0 ? rest : { ...rest, hearth: merged };
  });
}

/** Without callbacks, which cannot be sent, and without what is not set, which would hide a default. */
function sentHearthOptions(options: HearthOptions): WireHearthOptions | undefined {
  const entries = Object.entries(options).filter(([name, value]) => name in SENT && value !== undefined && value !== null);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}
