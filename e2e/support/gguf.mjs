// Reads and rewrites GGUF files, for models that nobody would convert: other metadata, unknown architectures, gaps between
// tensors. Little-endian version 3 only; everything stays raw bytes until somebody asks.

const STRING = 8;
const ARRAY = 9;
/** Bytes of a value by its type's number. */
const SIZES = new Map([[0, 1], [1, 1], [2, 2], [3, 2], [4, 4], [5, 4], [6, 4], [7, 1], [10, 8], [11, 8], [12, 8]]);
const ALIGNMENT_BYTES = 32;

/**
 * @typedef {{name: string, dims: bigint[], type: number, offset: number}} TensorInfo
 * @typedef {{version: number, metadata: Map<string, Buffer>, tensors: TensorInfo[], data: Buffer}} GgufFile
 *   `metadata`: key -> type and value as they are in the file; `data`: all tensors, offsets count from its start
 */

/** @param {Buffer} file @returns {GgufFile} */
export function readGguf(file) {
  let at = 4;
  const u32 = () => file.readUInt32LE((at += 4) - 4);
  const u64 = () => Number(file.readBigUInt64LE((at += 8) - 8));
  const text = () => {
    const length = u64();
    return file.toString("utf8", at, (at += length));
  };
  /** @param {number} type */
  const skip = (type) => {
    if (type === STRING) text();
    else if (type === ARRAY) for (let item = u32(), left = u64(); left > 0; left -= 1) skip(item);
    else at += SIZES.get(type) ?? Number.NaN;
  };

  const version = u32();
  const numTensors = u64();
  const numKeys = u64();
  const metadata = new Map();
  for (let index = 0; index < numKeys; index += 1) {
    const key = text();
    const start = at;
    skip(u32());
    metadata.set(key, file.subarray(start, at));
  }
  const tensors = [];
  for (let index = 0; index < numTensors; index += 1) {
    const name = text();
    const dims = Array.from({ length: u32() }, () => BigInt(u64()));
    tensors.push({ name, dims, type: u32(), offset: u64() });
  }
  return { version, metadata, tensors, data: file.subarray(aligned(at)) };
}

/** @param {GgufFile} gguf */
export function writeGguf({ version, metadata, tensors, data }) {
  const parts = [Buffer.from("GGUF"), u32(version), u64(tensors.length), u64(metadata.size)];
  for (const [key, value] of metadata) parts.push(string(key), value);
  for (const { name, dims, type, offset } of tensors) {
    parts.push(string(name), u32(dims.length), ...dims.map(u64), u32(type), u64(offset));
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(aligned(header.length) - header.length), data]);
}

/** A text as a metadata value. @param {string} text */
export const textValue = (text) => Buffer.concat([u32(STRING), string(text)]);

/** The texts of an array value. @param {Buffer} value */
export function readTexts(value) {
  const texts = [];
  let at = 16;
  for (let left = Number(value.readBigUInt64LE(8)); left > 0; left -= 1) {
    const length = Number(value.readBigUInt64LE(at));
    texts.push(value.toString("utf8", at + 8, at + 8 + length));
    at += 8 + length;
  }
  return texts;
}

/** The same model with `gapBytes` of noise before its last tensor: as small on the GPU, as long as wanted on the wire, and in
 * the store, which compresses.
 * @param {GgufFile} gguf @param {number} gapBytes @returns {GgufFile} */
export function withGap(gguf, gapBytes) {
  const start = Math.max(...gguf.tensors.map(({ offset }) => offset));
  const tensors = gguf.tensors.map((tensor) => (tensor.offset === start ? { ...tensor, offset: start + gapBytes } : tensor));
  const data = Buffer.concat([gguf.data.subarray(0, start), noise(gapBytes), gguf.data.subarray(start)]);
  return { ...gguf, tensors, data };
}

/** The same bytes each time. @param {number} numBytes */
function noise(numBytes) {
  const words = new Uint32Array(numBytes / 4);
  let state = 1;
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return Buffer.from(words.buffer);
}

/** @param {number} length */
const aligned = (length) => Math.ceil(length / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;

/** @param {number} value */
function u32(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** @param {number | bigint} value */
function u64(value) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** @param {string} value */
function string(value) {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}
