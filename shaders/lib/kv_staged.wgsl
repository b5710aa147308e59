// Where an element of K or V is while it waits to be quantised: [row][0 K, 1 V][kv_head][head_dim].

// The index of a vector of head_dim elements, in vectors.
fn kv_vector(row: u32, slot: u32, is_value: u32, head: u32, num_kv_heads: u32) -> u32 {
    return (row * 2u + is_value) * num_kv_heads + head;
}
