// The data of one step, one upload: words 0 .. 15 a header, then 3 words for each row (token to compute), then the samples.
// Words 9 to 11 point at the page operations and at attention's lists of single rows and of tiles.
// Needs: step, a storage array<u32> of the kernel.

struct StepRow {
    token: u32,
    position: u32, // for the rotation alone: how many keys a row attends to, attention's lists say
    slot: u32,     // block * 16 + slot in the block, of this row's K and V
}

fn step_num_rows() -> u32 {
    return step[0];
}

fn step_num_samples() -> u32 {
    return step[1];
}

fn step_row(row: u32) -> StepRow {
    let start = 16u + 3u * row;
    return StepRow(step[start], step[start + 1u], step[start + 2u]);
}

// The row whose logits sample `sample` is drawn from.
fn sample_row(sample: u32) -> u32 {
    return step[step[8] + 12u * sample];
}
