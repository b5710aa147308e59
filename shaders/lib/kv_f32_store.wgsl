// K and V elements in f32. Needs: kv, a writable storage array<u32> of the kernel.

// Stores elements 2 * pair and 2 * pair + 1.
fn store_kv_pair(pair: u32, value: vec2<f32>) {
    kv[2u * pair] = bitcast<u32>(value.x);
    kv[2u * pair + 1u] = bitcast<u32>(value.y);
}
