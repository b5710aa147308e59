// out[column, row] += sum over k of weight[row, k] * x[column, k] (+ bias[row])
//   0 codes, 1 scales  the weights of this dispatch's rows (lib/weight_*.wgsl)
//   2 x       [columns, k] f32
//   3 bias    [rows of the whole tensor] f32, read only where HAS_BIAS
//   4 step    array<u32> (lib/step.wgsl); its rows are the columns here
//   5 out     [columns, output_stride] f32, read and written
//   6 params  MatmulParams
// Grid: that of the core (lib/matmul_rows.wgsl, lib/matmul_lanes.wgsl). Limits: 6 storage buffers.
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> step: array<u32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;
@group(0) @binding(6) var<uniform> params: MatmulParams;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, id: InvocationId) {
    var tile = multiply(workgroup, id);
    let num_columns = tile_columns(tile.first_column, step_num_rows());
    for (var r = 0u; r < ROWS; r++) {
        let row = tile.first_row + r;
        if row < params.num_rows && writes_row(tile.lane, r) {
            let output_row = params.first_row + row;
            var bias_value = 0.0;
            if HAS_BIAS {
                bias_value = bias[output_row];
            }
            for (var c = 0u; c < num_columns; c++) {
                out[(tile.first_column + c) * params.output_stride + output_row] += tile.values[r][c] + bias_value;
            }
        }
    }
}
