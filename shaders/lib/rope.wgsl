// Cosine and sine of position * inverse_frequency. The built-in functions may be off by 2^-11 and lose large angles, so the
// angle is reduced to a quarter turn in three parts of pi / 2 (Cody and Waite) and the Cephes polynomials are used: 1e-7.
fn rope_cos_sin(position: u32, inverse_frequency: f32) -> vec2<f32> {
    let angle = f32(position) * inverse_frequency;
    let quarters = round(angle * 0.6366197724);
    let rest = ((angle - quarters * 1.5703125) - quarters * 4.837512969970703e-4) - quarters * 7.549789948768648e-8;
    let square = rest * rest;
    let sine = rest + rest * square * (-1.6666654611e-1 + square * (8.3321608736e-3 - square * 1.9515295891e-4));
    let cosine = 1.0 - 0.5 * square
        + square * square * (4.166664568298827e-2 + square * (-1.388731625493765e-3 + square * 2.443315711809948e-5));
    let quadrant = u32(quarters) & 3u;
    let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (quadrant & 1u) == 1u);
    return select(turned, -turned, quadrant >= 2u);
}

fn rotate(pair: vec2<f32>, cos_sin: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(pair.x * cos_sin.x - pair.y * cos_sin.y, pair.x * cos_sin.y + pair.y * cos_sin.x);
}
