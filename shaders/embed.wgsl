// x[row] = weight[token of row], dequantised
//   0 codes, 1 scales  the embedding table (lib/weight_*.wgsl); of a table in several buffers, the part in params
//   2 step     array<u32> (lib/step.wgsl). Bit 31 of a row's token: the low bits are a sampler slot, its last token is used
//   3 sampled  [slots] u32
//   4 x        [rows, output_stride] f32 as vec4
//   5 params   MatmulParams: tokens first_row .. first_row + num_rows are in this buffer, other rows are left alone
// Grid: (ceil(blocks_per_row * 4 / 64), rows): an octet of 8 elements per invocation. Limits: 64 invocations.
@group(0) @binding(2) var<storage, read> step: array<u32>;
@group(0) @binding(3) var<storage, read> sampled: array<u32>;
@group(0) @binding(4) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> params: MatmulParams;

// What matmul_types and columns_1 ask for and is not used here.
const ROWS = 1u;
const LANES = 1u;

fn source_row(column: u32) -> u32 {
    return column;
}

const WORKGROUP = 64u;
const FROM_SAMPLER = 0x80000000u;

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = workgroup.x * WORKGROUP + thread;
    if at >= params.blocks_per_row * 4u {
        return;
    }
    let row = workgroup.y;
    var token = step_row(row).token;
    if (token & FROM_SAMPLER) != 0u {
        token = sampled[token & ~FROM_SAMPLER];
    }
    if token < params.first_row || token - params.first_row >= params.num_rows {
        return;
    }
    let block = at / 4u;
    let octet = at % 4u;
    let weight_block = (token - params.first_row) * params.blocks_per_row + block;
    let scale = load_scale(weight_block);
    let decoder = make_decoder(0u);
    let weights = load_octet(weight_block, octet, decoder);
    let start = row * (params.output_stride / 4u) + block * 8u + octet;
    x[start] = (weights.low * decoder.low_scale + decoder.low_offset) * scale.x + scale.y;
    x[start + 4u] = (weights.high * decoder.high_scale + decoder.high_offset) * scale.x + scale.y;
}
