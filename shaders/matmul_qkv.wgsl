// [q; k; v] = weight times x[column] (+ bias), q and k rotated by the column's position; q is written out, k and v into the
// arena of this layer, or to where they wait to be quantised (lib/kv_staged.wgsl). Rows 2 i and 2 i + 1 of a head of q or k are the rotation pair i (rows are put in this order at load,
// the first rotary_dim rows of each head among themselves); rows past rotary_dim are not rotated.
//   0 codes, 1 scales  the weights of this dispatch's rows (lib/weight_*.wgsl)
//   2 x       [columns, k] f32
//   3 bias    [q_rows + 2 kv_rows] f32 in the order of the rows, read only where HAS_BIAS
//   4 step    array<u32> (lib/step.wgsl); its rows are the columns here, with position and slot
//   5 q       [columns, q_rows] f32, written
//   6 kv      array<u32>: [block][0 K, 1 V][kv_head][slot in the block][head_dim] elements (lib/kv_*_store.wgsl), written
//   7 params  QkvParams
//   8 inverse_frequencies  [rotary_dim / 2] f32 in vec4, at most 256
// Grid: that of the core (lib/matmul_rows.wgsl, lib/matmul_lanes.wgsl). Limits: 7 storage buffers.
struct QkvParams {
    first_row: u32,      // in [q; k; v], of row 0 of codes and scales; even
    num_rows: u32,       // in this dispatch; even
    blocks_per_row: u32, // k / 32, see MatmulParams
    q_rows: u32,         // heads * head_dim
    kv_rows: u32,        // kv_heads * head_dim
    head_dim: u32,       // even
    rotary_dim: u32,     // even, at most head_dim; 0: no rotation
    rope_scale: f32,     // of cosine and sine (YaRN); 1 for most models
}

@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> step: array<u32>;
@group(0) @binding(5) var<storage, read_write> q: array<f32>;
@group(0) @binding(6) var<storage, read_write> kv: array<u32>;
@group(0) @binding(7) var<uniform> params: QkvParams;
@group(0) @binding(8) var<uniform> inverse_frequencies: array<vec4<f32>, 64>;

// Where rows output_row and output_row + 1 of [q; k; v] go, the same for all columns.
struct PairPlace {
    output_row: u32,
    is_q: bool,
    is_value: bool,
    head: u32,
    num_kv_heads: u32,
    element: u32, // in the head
    rotated: bool,
    frequency: f32,
}

fn place_pair(output_row: u32) -> PairPlace {
    let is_q = output_row < params.q_rows;
    let is_value = output_row >= params.q_rows + params.kv_rows;
    let section_start = select(params.q_rows + select(0u, params.kv_rows, is_value), 0u, is_q);
    let head = (output_row - section_start) / params.head_dim;
    let element = output_row - section_start - head * params.head_dim;
    let rotated = !is_value && element < params.rotary_dim;
    let frequency = inverse_frequencies[min(element / 8u, 63u)][element / 2u % 4u];
    return PairPlace(output_row, is_q, is_value, head, params.kv_rows / params.head_dim, element, rotated, frequency);
}

fn write_pair(place: PairPlace, column: u32, value: vec2<f32>) {
    let row = step_row(column);
    var pair = value;
    if place.rotated {
        pair = rotate(value, rope_cos_sin(row.position, place.frequency) * params.rope_scale);
    }
    if place.is_q {
        q[column * params.q_rows + place.output_row] = pair.x;
        q[column * params.q_rows + place.output_row + 1u] = pair.y;
    } else {
        let vector = kv_vector(column, row.slot, u32(place.is_value), place.head, place.num_kv_heads);
        store_kv_pair((vector * params.head_dim + place.element) / 2u, pair);
    }
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, id: InvocationId) {
    var tile = multiply(workgroup, id);
    let num_columns = tile_columns(tile.first_column, step_num_rows());
    for (var r = 0u; r < ROWS; r += 2u) {
        let row = tile.first_row + r;
        if row + 1u < params.num_rows && writes_row(tile.lane, r) {
            let output_row = params.first_row + row;
            var bias_pair = vec2<f32>();
            if HAS_BIAS {
                bias_pair = vec2<f32>(bias[output_row], bias[output_row + 1u]);
            }
            let place = place_pair(output_row);
            for (var c = 0u; c < num_columns; c++) {
                let pair = vec2<f32>(tile.values[r][c], tile.values[r + 1u][c]) + bias_pair;
                write_pair(place, tile.first_column + c, pair);
            }
        }
    }
}
