// kv[to] = kv[from], its keys rotated onward by `positions`: what the page would hold had its tokens stood so much later
//   0 step  array<u32> (lib/step.wgsl): step[9] points at the chains (first word of its operations, their number), which point at
//           the operations (from, to, positions)
//   1 kv    array<u32>: the layer's pages [block][0 K, 1 V][KV_HEADS][16 slots] heads (lib/kv_group_*.wgsl)
//   2 inverse_frequencies  [ROTARY_DIM / 2] f32 in vec4, at most 256
// Elements 2 i and 2 i + 1 of a key are the rotation pair i, those from ROTARY_DIM on are copied. Values and whole pages with
// 0 positions are copied bit by bit.
// Grid: (ceil(2 * KV_HEADS * 16 * groups of a head / WORKGROUP), chains). An invocation takes one group of 32 elements through all
// operations of a chain in order, so that an operation may read or overwrite what an earlier one of its chain wrote;
// operations of different chains touch no page that one of them writes.
// Constants: HEAD_DIM (a multiple of 4), KV_HEADS, ROTARY_DIM (even), WORKGROUP. Limits: WORKGROUP invocations.
@group(0) @binding(0) var<storage, read> step: array<u32>;
@group(0) @binding(1) var<storage, read_write> kv: array<u32>;
@group(0) @binding(2) var<uniform> inverse_frequencies: array<vec4<f32>, 64>;

const GROUPS = (HEAD_DIM + 31u) / 32u;
const HEADS_IN_PAGE = 2u * KV_HEADS * SLOTS_PER_BLOCK;

// Elements first .. first + 3 of a key, later by `positions`.
fn rotate_four(values: vec4<f32>, first: u32, positions: u32) -> vec4<f32> {
    let frequencies = inverse_frequencies[min(first / 8u, 63u)];
    let place = first / 2u % 4u;
    let low = rotate(values.xy, rope_cos_sin(positions, frequencies[place]));
    let high = rotate(values.zw, rope_cos_sin(positions, frequencies[place + 1u]));
    return vec4<f32>(
        select(values.xy, low, first < ROTARY_DIM),
        select(values.zw, high, first + 2u < ROTARY_DIM),
    );
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = workgroup.x * WORKGROUP + thread;
    if at >= HEADS_IN_PAGE * GROUPS {
        return;
    }
    let head = at / GROUPS;
    let group = at % GROUPS;
    let is_key = head < HEADS_IN_PAGE / 2u;
    let chain = step[9] + 2u * workgroup.y;
    let operations = step[chain];
    for (var i = 0u; i < step[chain + 1u]; i++) {
        let operation = operations + 3u * i;
        let source = (step[operation] * HEADS_IN_PAGE + head) * SLOT_WORDS;
        let copy = (step[operation + 1u] * HEADS_IN_PAGE + head) * SLOT_WORDS;
        let positions = step[operation + 2u];
        if is_key && positions > 0u && group * 32u < ROTARY_DIM {
            var values = load_group(source, group);
            for (var four = 0u; four < group_fours(group); four++) {
                values[four] = rotate_four(values[four], group * 32u + 4u * four, positions);
            }
            store_group(copy, group, values);
        } else {
            copy_group(source, copy, group);
        }
    }
}
