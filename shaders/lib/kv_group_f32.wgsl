// Groups of 32 elements of a key or value in f32, the last of a head maybe shorter; `start` is the first word of the head.
// Needs: kv, a writable storage array<u32> of the kernel; constant HEAD_DIM.

// Words of a head of one slot.
const SLOT_WORDS = HEAD_DIM;

alias Group = array<vec4<f32>, 8>;

// Fours of elements in a group.
fn group_fours(group: u32) -> u32 {
    return min(HEAD_DIM / 4u - 8u * group, 8u);
}

fn load_group(start: u32, group: u32) -> Group {
    var values: Group;
    for (var i = 0u; i < group_fours(group); i++) {
        let words = start + 32u * group + 4u * i;
        values[i] = bitcast<vec4<f32>>(vec4<u32>(kv[words], kv[words + 1u], kv[words + 2u], kv[words + 3u]));
    }
    return values;
}

fn store_group(start: u32, group: u32, group_values: Group) {
    var values = group_values;
    for (var i = 0u; i < group_fours(group); i++) {
        let words = start + 32u * group + 4u * i;
        let bits = bitcast<vec4<u32>>(values[i]);
        kv[words] = bits.x;
        kv[words + 1u] = bits.y;
        kv[words + 2u] = bits.z;
        kv[words + 3u] = bits.w;
    }
}

// Bit by bit.
fn copy_group(from_start: u32, to_start: u32, group: u32) {
    for (var i = 0u; i < 4u * group_fours(group); i++) {
        kv[to_start + 32u * group + i] = kv[from_start + 32u * group + i];
    }
}
