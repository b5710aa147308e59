// Groups of 32 elements of a key or value in f16, the last of a head maybe shorter; `start` is the first word of the head.
// Needs: kv, a writable storage array<u32> of the kernel; constant HEAD_DIM.

// Words of a head of one slot.
const SLOT_WORDS = HEAD_DIM / 2u;

alias Group = array<vec4<f32>, 8>;

// Fours of elements in a group.
fn group_fours(group: u32) -> u32 {
    return min(HEAD_DIM / 4u - 8u * group, 8u);
}

fn load_group(start: u32, group: u32) -> Group {
    var values: Group;
    for (var i = 0u; i < group_fours(group); i++) {
        let words = start + 16u * group + 2u * i;
        values[i] = vec4<f32>(unpack2x16float(kv[words]), unpack2x16float(kv[words + 1u]));
    }
    return values;
}

fn store_group(start: u32, group: u32, group_values: Group) {
    var values = group_values;
    for (var i = 0u; i < group_fours(group); i++) {
        let words = start + 16u * group + 2u * i;
        kv[words] = pack2x16float(values[i].xy);
        kv[words + 1u] = pack2x16float(values[i].zw);
    }
}

// Bit by bit.
fn copy_group(from_start: u32, to_start: u32, group: u32) {
    for (var i = 0u; i < 2u * group_fours(group); i++) {
        kv[to_start + 16u * group + i] = kv[from_start + 16u * group + i];
    }
}
