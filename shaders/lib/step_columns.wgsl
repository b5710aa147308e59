// The columns of a product are the rows of the step. Needs: step.
// Past the last column it is repeated: what is computed there is not written.
fn source_row(column: u32) -> u32 {
    return min(column, step_num_rows() - 1u);
}
