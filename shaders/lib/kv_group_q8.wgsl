// Groups of 32 elements of a key or value in 8 bits, the last of a head maybe shorter; `start` is the first word of the head.
// A head is its codes, four in a word, then an f32 scale for each group: element = code / 127 * scale, where the scale is the
// largest absolute value of the group.
// Needs: kv, a writable storage array<u32> of the kernel; constant HEAD_DIM.

// Words of a head of one slot.
const SLOT_WORDS = HEAD_DIM / 4u + (HEAD_DIM + 31u) / 32u;

// Below this the elements are taken as zero: a reciprocal would be infinite.
const SMALLEST_SCALE = 1e-30;

alias Group = array<vec4<f32>, 8>;

// Fours of elements in a group.
fn group_fours(group: u32) -> u32 {
    return min(HEAD_DIM / 4u - 8u * group, 8u);
}

fn load_group(start: u32, group: u32) -> Group {
    let scale = bitcast<f32>(kv[start + HEAD_DIM / 4u + group]);
    var values: Group;
    for (var i = 0u; i < group_fours(group); i++) {
        values[i] = unpack4x8snorm(kv[start + 8u * group + i]) * scale;
    }
    return values;
}

fn store_group(start: u32, group: u32, group_values: Group) {
    var values = group_values;
    var largest = vec4<f32>();
    for (var i = 0u; i < group_fours(group); i++) {
        largest = max(largest, abs(values[i]));
    }
    let scale = max(max(largest.x, largest.y), max(largest.z, largest.w));
    let shrink = select(0.0, 1.0 / scale, scale > SMALLEST_SCALE);
    for (var i = 0u; i < group_fours(group); i++) {
        kv[start + 8u * group + i] = pack4x8snorm(values[i] * shrink);
    }
    kv[start + HEAD_DIM / 4u + group] = bitcast<u32>(scale);
}

// Bit by bit.
fn copy_group(from_start: u32, to_start: u32, group: u32) {
    for (var i = 0u; i < group_fours(group); i++) {
        kv[to_start + 8u * group + i] = kv[from_start + 8u * group + i];
    }
    kv[to_start + HEAD_DIM / 4u + group] = kv[from_start + HEAD_DIM / 4u + group];
}
