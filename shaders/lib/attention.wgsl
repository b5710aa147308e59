// Where attention finds keys and values. Needs: a cache part; constants HEAD_DIM, KV_HEADS.

const BLOCK = 16u;                // tokens in a page
const VECTORS = HEAD_DIM / 4u;    // of a head
const LOWEST = -1e30;

// Start of the keys of a page for a key-value head, in units of the cache part; a slot is SLOT of them long.
fn keys_of(page: u32, kv_head: u32) -> u32 {
    return (page * 2u * KV_HEADS + kv_head) * (BLOCK * SLOT);
}

// Likewise the values.
fn values_of(page: u32, kv_head: u32) -> u32 {
    return ((page * 2u + 1u) * KV_HEADS + kv_head) * (BLOCK * SLOT);
}

// The dot product, written out: dot() is slower on software adapters.
fn product(a: vec4<f32>, b: vec4<f32>) -> f32 {
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
}
