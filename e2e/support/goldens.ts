// What the reference model says, and how closely a text must follow it.

import { readFileSync } from "node:fs";
import { readGguf, readTexts } from "./gguf.mjs";

/** One golden prompt. */
export interface Golden {
  id: string;
  messages: { role: string; content: string }[];
  /** Prompt, rendered and tokenised. */
  ids: number[];
  /** The likeliest token each time, the end-of-turn token included, 48 of them. */
  greedy: number[];
  /** By how much each was likelier than the second, in logits. */
  greedy_margin: number[];
  /** Where the reply ends, as an index into `greedy`; null when it does not within them. */
  stop_at: number | null;
  greedy_text: string;
}

interface GoldenFile {
  tolerance: Record<"f16" | "f32", { atol: number; rtol: number }>;
  prompts: Golden[];
}

const read = (path: string): Buffer => readFileSync(new URL(`../fixtures/smollm2-135m/${path}`, import.meta.url));
const FILE = JSON.parse(read("expected-gguf.json").toString()) as GoldenFile;
const BYTES = tokenBytes();

/** The golden prompts. */
export const GOLDENS = FILE.prompts;
/** Differences of logits under this say nothing: keys and values are f16 in the cache, f32 in the reference. */
const MAX_MARGIN = FILE.tolerance.f16.atol;

/**
 * Follows `text` along the reference's tokens. Returns how many of the first `count` it follows; throws when it leaves them
 * at a token that the reference itself was sure of.
 */
export function followGolden(golden: Golden, text: string, count: number): number {
  const bytes = Buffer.from(text);
  let at = 0;
  for (const [index, token] of golden.greedy.slice(0, count).entries()) {
    const expected = BYTES[token] ?? Buffer.alloc(0);
    // The last token may be the beginning of a character whose rest did not come.
    const isCut = index === count - 1 && text.endsWith("\uFFFD");
    if (!isCut && !bytes.subarray(at, at + expected.length).equals(expected)) {
      const margin = golden.greedy_margin[index] ?? 0;
      if (margin < MAX_MARGIN) return index;
      throw new Error(
        `${golden.id}: token ${index} should be ${JSON.stringify(expected.toString())} (margin ${margin}), ` +
          `the text goes on with ${JSON.stringify(bytes.subarray(at, at + 20).toString())} in ${JSON.stringify(text)}`,
      );
    }
    at += expected.length;
  }
  if (at < bytes.length) throw new Error(`${golden.id}: more than ${count} tokens: ${JSON.stringify(text)}`);
  return count;
}

/** The bytes of each token; control tokens have none in a reply. */
function tokenBytes(): Buffer[] {
  const { metadata } = readGguf(read("vocabulary.gguf"));
  const texts = readTexts(metadata.get("tokenizer.ggml.tokens") ?? Buffer.alloc(16));
  const types = metadata.get("tokenizer.ggml.token_type") ?? Buffer.alloc(0);
  const bytesOf = byteAlphabet();
  return texts.map((text, token) => {
    const isControl = types.readInt32LE(16 + 4 * token) === 3;
    return isControl ? Buffer.alloc(0) : Buffer.from(Array.from(text, (character) => bytesOf.get(character) ?? 0x3f));
  });
}

/** GPT-2's alphabet: each byte as a visible character. */
function byteAlphabet(): Map<string, number> {
  const isPlain = (byte: number): boolean => (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  const bytes = Array.from({ length: 256 }, (_, byte) => byte);
  let next = 0x100;
  return new Map(bytes.map((byte) => [String.fromCodePoint(isPlain(byte) ? byte : next++), byte]));
}
