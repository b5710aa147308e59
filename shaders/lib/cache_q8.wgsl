// One layer's keys and values as attention reads them, 8 bits an element.
//   kv  [blocks, 2 (keys, values), KV_HEADS, 16 slots, SLOT] u32: a slot is HEAD_DIM codes, four in a word, then one f32 scale
//       for each 32 of them (lib/kv_group_q8.wgsl)
@group(0) @binding(2) var<storage, read> kv: array<u32>;

// From one slot of a head to the next, in words.
const SLOT = VECTORS + (HEAD_DIM + 31u) / 32u;

// Four consecutive elements; `index` is the word with their codes, and `four` is its place in the head.
fn load_cached(index: u32, four: u32) -> vec4<f32> {
    return unpack4x8snorm(kv[index]) * bitcast<f32>(kv[index - four + (VECTORS + four / 8u)]);
}
