// Queries and weights shared by a quad (four consecutive invocations of a subgroup that ask for the same vector): each loads
// one component, `place` is its place in the quad. For adapters on which loads are what takes the time.
// Needs: the `subgroups` feature, uniform control flow, q (storage) and weights (workgroup) of the kernel.

fn spread(component: f32) -> vec4<f32> {
    return vec4<f32>(
        quadBroadcast(component, 0u),
        quadBroadcast(component, 1u),
        quadBroadcast(component, 2u),
        quadBroadcast(component, 3u),
    );
}

fn load_query(at: u32, place: u32) -> vec4<f32> {
    return spread(q[at][place]);
}

fn load_weights(at: u32, place: u32) -> vec4<f32> {
    return spread(weights[at][place]);
}
