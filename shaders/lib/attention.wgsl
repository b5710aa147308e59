// Where attention finds pages, keys and values. Needs: step (storage), a cache part; constants HEAD_DIM, KV_HEADS.

const BLOCK = 16u;                // tokens in a page
const VECTORS = HEAD_DIM / 4u;    // of a head
const LOWEST = -1e30;

// First word of the page table of a sequence.
fn page_table(sequence: u32) -> u32 {
    return step[step[9] + 4u * sequence + 3u];
}

// Start of the keys of a page for a key-value head, in fours of elements; a slot is VECTORS long.
fn keys_of(page: u32, kv_head: u32) -> u32 {
    return (page * 2u * KV_HEADS + kv_head) * (BLOCK * VECTORS);
}

// Likewise the values.
fn values_of(page: u32, kv_head: u32) -> u32 {
    return ((page * 2u + 1u) * KV_HEADS + kv_head) * (BLOCK * VECTORS);
}

// The dot product, written out: dot() is slower on software adapters.
fn product(a: vec4<f32>, b: vec4<f32>) -> f32 {
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}
