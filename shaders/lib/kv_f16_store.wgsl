// K and V elements in f16, two in a word. Needs: kv, a writable storage array<u32> of the kernel.

// Stores elements 2 * pair and 2 * pair + 1.
fn store_kv_pair(pair: u32, value: vec2<f32>) {
    kv[pair] = pack2x16float(value);
}
