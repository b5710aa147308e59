// The encoding of bf16 weights, the upper halves of f32; the rest is in weight_halves.wgsl.
fn unpack_halves(word: u32) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2<u32>(word * 65536u, word & 0xffff0000u));
}
