// out[column, i] = activate(gate) * up, where gate = row 2 i and up = row 2 i + 1 of weight times x[column].
//   0 codes, 1 scales  the weights of this dispatch's rows, gate and up interleaved (lib/weight_*.wgsl)
//   2 x       [columns, k] f32
//   3 step    array<u32> (lib/step.wgsl); its rows are the columns here
//   4 out     [columns, output_stride] f32, written
//   5 params  MatmulParams; first_row and num_rows are even and count gate and up rows
// Grid: that of the core (lib/matmul_rows.wgsl, lib/matmul_lanes.wgsl). Limits: 5 storage buffers.
@group(0) @binding(3) var<storage, read> step: array<u32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<uniform> params: MatmulParams;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, id: InvocationId) {
    var tile = multiply(workgroup, id);
    let num_columns = tile_columns(tile.first_column, step_num_rows());
    for (var r = 0u; r < ROWS; r += 2u) {
        let row = tile.first_row + r;
        if row + 1u < params.num_rows && writes_row(tile.lane, r) {
            let element = (params.first_row + row) / 2u;
            for (var c = 0u; c < num_columns; c++) {
                let gated = activate(tile.values[r][c]) * tile.values[r + 1u][c];
                out[(tile.first_column + c) * params.output_stride + element] = gated;
            }
        }
    }
}
