// The encoding of f16 weights; the rest is in weight_halves.wgsl.
fn unpack_halves(word: u32) -> vec2<f32> {
    return unpack2x16float(word);
}
