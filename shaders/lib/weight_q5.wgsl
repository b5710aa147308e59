// Weights of 5 bits, affine in blocks of 32 along k: w = d * q + m, 0 <= q < 32. Q5_0 has m = -16 d.
//   codes   [rows, k / 32, 5] u32: words 0 to 3 are the low 4 bits: bits 8 i .. 8 i + 3 of word w belong to element 4 w + i,
//           bits 8 i + 4 .. 8 i + 7 to element 16 + 4 w + i (the order of GGUF). Word 4 is bit 4 of every code: bit 8 i + w
//           belongs to element 4 w + i, bit 8 i + 4 + w to element 16 + 4 w + i (not the order of GGUF).
//   scales  [rows, k / 32] u32: f16 pair (d, m)
@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn make_decoder(first: u32) -> Decoder {
    let element = element_order(first);
    let mask = vec4<u32>(31u) << (element * 8u);
    let scale = vec4<f32>(1.0) / vec4<f32>(vec4<u32>(1u) << (element * 8u));
    return Decoder(mask, mask, scale, scale, vec4<f32>(0.0), vec4<f32>(0.0));
}

fn load_octet(block: u32, octet: u32, decoder: Decoder) -> Octet {
    let word = codes[block * 5u + octet];
    let fifth = codes[block * 5u + 4u] >> octet;
    let low = (word & 0x0f0f0f0fu) | ((fifth * 16u) & 0x10101010u);
    let high = ((word >> 4u) & 0x0f0f0f0fu) | (fifth & 0x10101010u);
    return Octet(
        vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(low) & decoder.low_mask)),
        vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(high) & decoder.high_mask)),
    );
}

fn load_scale(block: u32) -> vec2<f32> {
    return unpack2x16float(scales[block]);
}
