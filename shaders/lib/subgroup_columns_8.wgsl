// As subgroup_columns, for 8 columns.
// Needs the `subgroups` feature and columns_8.

fn swap_x(value: Columns) -> Columns {
    return Columns(quadSwapX(value.low), quadSwapX(value.high));
}

fn swap_y(value: Columns) -> Columns {
    return Columns(quadSwapY(value.low), quadSwapY(value.high));
}

fn swap_diagonal(value: Columns) -> Columns {
    return Columns(quadSwapDiagonal(value.low), quadSwapDiagonal(value.high));
}

fn shuffle_xor(value: Columns, mask: u32) -> Columns {
    return Columns(subgroupShuffleXor(value.low, mask), subgroupShuffleXor(value.high, mask));
}
