// Activations loaded by each invocation for itself, in the order 0, 1, 2, 3.
// Needs matmul_types, a columns part, a weight part.

fn first_element(subgroup_thread: u32) -> u32 {
    return 0u;
}

fn load_activations(starts: ColumnStarts, vector: u32, first: u32, decoder: Decoder) -> Activations {
    let low = load_vectors(starts, vector);
    let high = load_vectors(starts, vector + 4u);
    return Activations(
        scale_vectors(low, decoder.low_scale),
        scale_vectors(high, decoder.high_scale),
        dot_columns(Octet(vec4<f32>(1.0), vec4<f32>(1.0)), low, high),
        dot_columns(Octet(decoder.low_offset, decoder.high_offset), low, high),
    );
}

fn complete_sum(value: Columns) -> Columns {
    return value;
}
