// gelu(v) by its tanh approximation: v / 2 * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 v^3))). The argument is clamped, because
// tanh of large numbers is not finite on every adapter; tanh(15) is 1 in f32.
fn activate(value: f32) -> f32 {
    let inner = 0.7978845608 * (value + 0.044715 * value * value * value);
    return 0.5 * value * (1.0 + tanh(clamp(inner, -15.0, 15.0)));
}
