// Weights of 8 bits, affine in blocks of 32 along k: w = d * q + m, 0 <= q < 256. Q8_0 (signed s = q - 128) has m = -128 d.
//   codes   [rows, k / 32, 8] u32: byte i of word w is element 4 w + i, then bit 31 of every word is inverted: the top byte
//           is q - 128 in two's complement, so that each masked code converts to f32 as i32.
//   scales  [rows, k / 32] u32: f16 pair (d, m)
@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn make_decoder(first: u32) -> Decoder {
    let element = element_order(first);
    let low_mask = vec4<u32>(255u) << (element * 8u);
    let low_scale = vec4<f32>(1.0) / vec4<f32>(vec4<u32>(1u) << (element * 8u));
    // Inverting bit 31 took this from the codes at the top of a word.
    let top = select(vec4<f32>(0.0), vec4<f32>(128.0), element == vec4<u32>(3u));
    return Decoder(low_mask, low_mask, low_scale, low_scale, top, top);
}

fn load_octet(block: u32, octet: u32, decoder: Decoder) -> Octet {
    let low = codes[block * 8u + octet];
    let high = codes[block * 8u + octet + 4u];
    return Octet(
        vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(low) & decoder.low_mask)),
        vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(high) & decoder.high_mask)),
    );
}

fn load_scale(block: u32) -> vec2<f32> {
    return unpack2x16float(scales[block]);
}
