// Sums over LANES consecutive invocations of one subgroup; each gets the sum. LANES is a power of two and at most the
// adapter's smallest subgroup size. Needs the `subgroups` feature, uniform control flow, LANES, subgroup_columns, subgroup_id.

fn reduce_lanes(value: Columns, id: InvocationId) -> Columns {
    var sum = value;
    for (var mask = LANES / 2u; mask > 0u; mask /= 2u) {
        sum = add_columns(sum, shuffle_xor(sum, mask));
    }
    return sum;
}
