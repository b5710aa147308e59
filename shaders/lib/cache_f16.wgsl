// One layer's keys and values as attention reads them, f16 pairs in words.
//   kv  [blocks, 2 (keys, values), KV_HEADS, 16 slots, HEAD_DIM] f16
@group(0) @binding(2) var<storage, read> kv: array<vec2<u32>>;

// From one slot of a head to the next, in fours of elements.
const SLOT = VECTORS;

// Four consecutive elements; `index` counts in fours, and `four` is its place in the head.
fn load_cached(index: u32, four: u32) -> vec4<f32> {
    let words = kv[index];
    return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
