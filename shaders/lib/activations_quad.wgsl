// Activations shared by a quad (four consecutive invocations of a subgroup): each loads one element of each half of an octet
// and gets the other three from its neighbours, so that a quad loads each activation once. The order is lane, lane ^ 1, ...
// Needs the `subgroups` feature, uniform control flow, matmul_types, a columns part with its quad_swap, a weight part.

fn first_element(subgroup_thread: u32) -> u32 {
    return subgroup_thread & 3u;
}

fn share(value: Columns) -> ColumnVectors {
    return vectors_of(value, swap_x(value), swap_y(value), swap_diagonal(value));
}

fn load_activations(starts: ColumnStarts, vector: u32, first: u32, decoder: Decoder) -> Activations {
    let low = load_element(starts, vector, first);
    let high = load_element(starts, vector + 4u, first);
    return Activations(
        share(scale_columns(low, decoder.low_scale.x)),
        share(scale_columns(high, decoder.high_scale.x)),
        add_columns(low, high),
        add_columns(scale_columns(low, decoder.low_offset.x), scale_columns(high, decoder.high_offset.x)),
    );
}

// Adds what the four invocations summed.
fn complete_sum(value: Columns) -> Columns {
    let pair = add_columns(value, swap_x(value));
    return add_columns(pair, swap_y(pair));
}
