// logits[sample, row] = sum over k of weight[row, k] * x[row of the sample, k]; the columns here are the step's samples.
//   0 codes, 1 scales  the weights of this dispatch's rows (lib/weight_*.wgsl)
//   2 x       [rows of the step, k] f32
//   3 step    array<u32> (lib/step.wgsl)
//   4 logits  [samples, output_stride] f32, written
//   5 params  MatmulParams
// Grid: that of the core (lib/matmul_rows.wgsl, lib/matmul_lanes.wgsl). Limits: 5 storage buffers.
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read_write> logits: array<f32>;
@group(0) @binding(5) var<uniform> params: MatmulParams;

fn source_row(column: u32) -> u32 {
    return sample_row(min(column, step_num_samples() - 1u));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, id: InvocationId) {
    var tile = multiply(workgroup, id);
    let num_columns = tile_columns(tile.first_column, step_num_samples());
    for (var r = 0u; r < ROWS; r++) {
        let row = tile.first_row + r;
        if row < params.num_rows && writes_row(tile.lane, r) {
            for (var c = 0u; c < num_columns; c++) {
                logits[(tile.first_column + c) * params.output_stride + params.first_row + row] = tile.values[r][c];
            }
        }
    }
}
