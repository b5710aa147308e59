// Queries and weights loaded by each invocation for itself. Needs: q (storage) and weights (workgroup) of the kernel.

fn load_query(at: u32, place: u32) -> vec4<f32> {
    return q[at];
}

fn load_weights(at: u32, place: u32) -> vec4<f32> {
    return weights[at];
}
