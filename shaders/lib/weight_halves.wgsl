// Weights of 16 bits, two in a word. Needs unpack_halves(word) of weight_f16 or weight_bf16, which tells the encoding.
//   codes   [rows, k / 2] u32: the low half of word i is element 2 i, the high half element 2 i + 1
//   scales  not read; any storage buffer is bound (for example codes again)
@group(0) @binding(0) var<storage, read> codes: array<u32>;
@group(0) @binding(1) var<storage, read> scales: array<u32>;

// The masks hold, of the two words of four elements, x: the one of elements first and first ^ 1, y: the other; z: whether
// `first` is a high half.
fn make_decoder(first: u32) -> Decoder {
    let word = first / 2u;
    let place = vec4<u32>(word, word ^ 1u, first & 1u, 0u);
    return Decoder(place, place, vec4<f32>(1.0), vec4<f32>(1.0), vec4<f32>(0.0), vec4<f32>(0.0));
}

fn unpack_pair(pair: u32, swapped: bool) -> vec2<f32> {
    let halves = unpack_halves(pair);
    return select(halves, halves.yx, swapped);
}

fn load_octet(block: u32, octet: u32, decoder: Decoder) -> Octet {
    let low = block * 16u + octet * 2u;
    let high = low + 8u;
    let swapped = decoder.low_mask.z == 1u;
    return Octet(
        vec4<f32>(unpack_pair(codes[low + decoder.low_mask.x], swapped), unpack_pair(codes[low + decoder.low_mask.y], swapped)),
        vec4<f32>(unpack_pair(codes[high + decoder.low_mask.x], swapped), unpack_pair(codes[high + decoder.low_mask.y], swapped)),
    );
}

fn load_scale(block: u32) -> vec2<f32> {
    return vec2<f32>(1.0, 0.0);
}
