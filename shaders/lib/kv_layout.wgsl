// Where an element of K or V is in the arena of a layer: [block][0 K, 1 V][kv_head][slot in the block][head_dim].

const SLOTS_PER_BLOCK = 16u;

// The index of a vector of head_dim elements, in vectors; slot is block * SLOTS_PER_BLOCK + slot in the block. Which row of the
// step it is does not matter.
fn kv_vector(row: u32, slot: u32, is_value: u32, head: u32, num_kv_heads: u32) -> u32 {
    let block = slot / SLOTS_PER_BLOCK;
    return ((block * 2u + is_value) * num_kv_heads + head) * SLOTS_PER_BLOCK + slot % SLOTS_PER_BLOCK;
}
