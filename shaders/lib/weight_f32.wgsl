// Weights in f32.
//   codes   [rows, k] f32
//   scales  not read; any storage buffer is bound (for example codes again)
@group(0) @binding(0) var<storage, read> codes: array<f32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

fn make_decoder(first: u32) -> Decoder {
    let element = element_order(first);
    return Decoder(element, element, vec4<f32>(1.0), vec4<f32>(1.0), vec4<f32>(0.0), vec4<f32>(0.0));
}

fn load_octet(block: u32, octet: u32, decoder: Decoder) -> Octet {
    let low = decoder.low_mask + block * 32u + octet * 4u;
    let high = low + 16u;
    return Octet(
        vec4<f32>(codes[low.x], codes[low.y], codes[low.z], codes[low.w]),
        vec4<f32>(codes[high.x], codes[high.y], codes[high.z], codes[high.w]),
    );
}

fn load_scale(block: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}
