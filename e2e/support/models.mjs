// The models of the tests: the small one in shapes that suit them, and broken ones. All are made from the fixture's bytes.

import { readFileSync } from "node:fs";
import { readGguf, textValue, withGap, writeGguf } from "./gguf.mjs";

const TINY = readGguf(readFileSync(new URL("../fixtures/tiny/gguf-llama/model.gguf", import.meta.url)));

/** The fixture has no chat template; this one uses the special tokens of its vocabulary. */
const TEMPLATE =
  "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>{{ message.content }}<|eot_id|>{% endfor %}" +
  "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}";

const chat = { ...TINY, metadata: new Map([...TINY.metadata, ["tokenizer.chat_template", textValue(TEMPLATE)]]) };
const small = writeGguf(chat);

/** The store keeps pieces of this size. */
export const CHUNK_BYTES = 8 << 20;
/** Makes a file of four pieces. */
const GAP_BYTES = 3 * CHUNK_BYTES + (1 << 20);

/** Path on the test server -> file. */
export const MADE_MODELS = new Map([
  ["/made/tiny.gguf", small],
  ["/made/resolve/main/tiny.gguf", small],
  ["/made/four-pieces.gguf", writeGguf(withGap(chat, GAP_BYTES))],
  ["/hostile/truncated.gguf", small.subarray(0, small.length - 20_000)],
  ["/hostile/truncated-header.gguf", small.subarray(0, 1_000)],
  ["/hostile/empty.gguf", Buffer.alloc(0)],
  ["/hostile/page.gguf", Buffer.from("<!doctype html><title>Please log in</title>".repeat(100))],
  ["/hostile/version.gguf", writeGguf({ ...chat, version: 9 })],
  ["/hostile/architecture.gguf", withText("general.architecture", "martian")],
  ["/hostile/tokenizer.gguf", withText("tokenizer.ggml.model", "martian")],
  ["/hostile/no-template.gguf", writeGguf(TINY)],
  ["/hostile/template.gguf", withText("tokenizer.chat_template", "{% for %}")],
  ["/hostile/missing-tensor.gguf", writeGguf({ ...chat, tensors: chat.tensors.filter(({ name }) => name !== "blk.1.ffn_up.weight") })],
  ["/hostile/offsets.gguf", writeGguf({ ...chat, tensors: chat.tensors.map((tensor) => ({ ...tensor, offset: 2 ** 45 })) })],
  ["/hostile/shape.gguf", writeGguf({ ...chat, tensors: chat.tensors.map((tensor) => ({ ...tensor, dims: [2n ** 40n, 2n ** 40n] })) })],
  ["/hostile/counts.gguf", overwritten(8, Buffer.alloc(16, 0xff))],
]);

/** @param {string} key @param {string} text */
function withText(key, text) {
  return writeGguf({ ...chat, metadata: new Map([...chat.metadata, [key, textValue(text)]]) });
}

/** @param {number} offset @param {Buffer} bytes */
function overwritten(offset, bytes) {
  const copy = Buffer.from(small);
  bytes.copy(copy, offset);
  return copy;
}
