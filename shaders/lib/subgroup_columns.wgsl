// Exchanges of `Columns` between the invocations of a subgroup, for 1, 2 or 4 columns. A quad is 4 consecutive invocations.
// Needs the `subgroups` feature and columns_1, columns_2 or columns_4.

fn swap_x(value: Columns) -> Columns {
    return quadSwapX(value);
}

fn swap_y(value: Columns) -> Columns {
    return quadSwapY(value);
}

fn swap_diagonal(value: Columns) -> Columns {
    return quadSwapDiagonal(value);
}

fn shuffle_xor(value: Columns, mask: u32) -> Columns {
    return subgroupShuffleXor(value, mask);
}
