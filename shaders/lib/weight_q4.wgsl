// Weights of 4 bits, affine in blocks of 32 along k: w = d * q + m, 0 <= q < 16. Q4_0 has m = -8 d.
//   codes   [rows, k / 32, 4] u32: bits 8 i .. 8 i + 3 of word w are element 4 w + i, bits 8 i + 4 .. 8 i + 7 element
//           16 + 4 w + i (the order of GGUF), then bit 31 of every word is inverted: the top nibble is q - 8 in two's
//           complement, so that each masked code converts to f32 as i32, which software adapters do in one instruction.
//   scales  [rows, k / 32] u32: f16 pair (d, m)
@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn make_decoder(first: u32) -> Decoder {
    let element = element_order(first);
    let low_mask = vec4<u32>(15u) << (element * 8u);
    let low_scale = vec4<f32>(1.0) / vec4<f32>(vec4<u32>(1u) << (element * 8u));
    // Inverting bit 31 took this from the codes at the top of a word.
    let top = select(vec4<f32>(0.0), vec4<f32>(8.0), element == vec4<u32>(3u));
    return Decoder(low_mask, low_mask << vec4<u32>(4u), low_scale, low_scale * 0.0625, vec4<f32>(0.0), top);
}

fn load_octet(block: u32, octet: u32, decoder: Decoder) -> Octet {
    let word = codes[block * 4u + octet];
    return Octet(
        vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) & decoder.low_mask)),
        vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) & decoder.high_mask)),
    );
}

fn load_scale(block: u32) -> vec2<f32> {
    return unpack2x16float(scales[block]);
}
