// silu(v) = v / (1 + exp(-v))
fn activate(value: f32) -> f32 {
    return value / (1.0 + exp(-value));
}
