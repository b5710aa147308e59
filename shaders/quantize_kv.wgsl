// kv[slot of row] = staged[row], in 8 bits: the second half of writing keys and values where the cache is quantised, because a
// scale belongs to more elements than one invocation of the product has
//   0 step    array<u32> (lib/step.wgsl): the rows with their slots
//   1 staged  [rows, 2 (keys, values), KV_HEADS, HEAD_DIM] f32 as vec4 (lib/kv_staged.wgsl)
//   2 kv      array<u32>: [block][0 K, 1 V][KV_HEADS][16 slots] heads (lib/kv_group_q8.wgsl), written
// Grid: (ceil(2 * KV_HEADS * groups of a head / WORKGROUP), rows): one group of 32 elements per invocation.
// Constants: HEAD_DIM (a multiple of 4), KV_HEADS, WORKGROUP. Limits: WORKGROUP invocations.
@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read> staged: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> kv: array<u32>;

const GROUPS = (HEAD_DIM + 31u) / 32u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = workgroup.x * WORKGROUP + thread;
    if at >= 2u * KV_HEADS * GROUPS {
        return;
    }
    let row = workgroup.y;
    let head = at / GROUPS;
    let group = at % GROUPS;
    let start = (row * 2u * KV_HEADS + head) * (HEAD_DIM / 4u) + 8u * group;
    var values: Group;
    for (var i = 0u; i < group_fours(group); i++) {
        values[i] = staged[start + i];
    }
    let vector = kv_vector(row, step_row(row).slot, head / KV_HEADS, head % KV_HEADS, KV_HEADS);
    store_group(vector * SLOT_WORDS, group, values);
}
