// The data of one step, one upload: words 0 .. 15 a header, then 4 words for each row (token to compute), then the samples.
// Needs: step, a storage array<u32> of the kernel.

struct StepRow {
    token: u32,
    position: u32,
    slot: u32, // block * 16 + slot in the block, of this row's K and V
    sequence: u32,
}

fn step_num_rows() -> u32 {
    return step[0];
}

fn step_num_samples() -> u32 {
    return step[1];
}

fn step_row(row: u32) -> StepRow {
    let start = 16u + 4u * row;
    return StepRow(step[start], step[start + 1u], step[start + 2u], step[start + 3u]);
}

// The row whose logits sample `sample` is drawn from.
fn sample_row(sample: u32) -> u32 {
    return step[step[8] + 12u * sample];
}
