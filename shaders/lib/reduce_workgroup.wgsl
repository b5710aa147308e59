// Sums over LANES consecutive invocations of the workgroup, without subgroups; each gets the sum. LANES is a power of two
// that divides WORKGROUP. Uses 4 * COLS * WORKGROUP bytes of workgroup memory. Needs uniform control flow, LANES, WORKGROUP.

var<workgroup> partial_sums: array<Columns, WORKGROUP>;

fn reduce_lanes(value: Columns, id: InvocationId) -> Columns {
    let lane = id.thread % LANES;
    partial_sums[id.thread] = value;
    workgroupBarrier();
    for (var distance = LANES / 2u; distance > 0u; distance /= 2u) {
        if lane < distance {
            partial_sums[id.thread] = add_columns(partial_sums[id.thread], partial_sums[id.thread + distance]);
        }
        workgroupBarrier();
    }
    let sum = partial_sums[id.thread - lane];
    workgroupBarrier();
    return sum;
}
