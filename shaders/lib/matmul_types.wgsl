// What the weight formats, the cores and the epilogues of the matmul kernels share.
//
// k is cut into blocks of 32 elements and a block into 4 octets: octet o is the elements 4 o .. 4 o + 3 ("low") and
// 16 + 4 o .. 16 + 4 o + 3 ("high"). Each format part (weight_*.wgsl) declares codes and scales and defines
//   make_decoder(first)               how to decode the four elements of a half, in the order first, first ^ 1, ^ 2, ^ 3
//   load_octet(block, octet, decoder) the 8 codes as numbers; block is row * blocks_per_row + block in the row
//   load_scale(block)                 (d, m)
// so that weight = d * (code * decoder.scale + decoder.offset) + m. The activations are multiplied by decoder.scale once for
// all rows; offset and m are multiplied by sums of activations, once a block.
// Needs: ROWS, LANES (core), a columns part.

struct MatmulParams {
    first_row: u32,      // in the output, of row 0 of codes and scales
    num_rows: u32,       // in this dispatch, at least 1
    blocks_per_row: u32, // k / 32; rows of the weights and of x are padded with zeros to whole blocks
    output_stride: u32,  // elements from one column of the output to the next
}

struct Decoder {
    low_mask: vec4<u32>,
    high_mask: vec4<u32>,
    low_scale: vec4<f32>,
    high_scale: vec4<f32>,
    low_offset: vec4<f32>,
    high_offset: vec4<f32>,
}

struct Octet {
    low: vec4<f32>,
    high: vec4<f32>,
}

// An octet of each column, multiplied by decoder.scale, in the order of the decoder.
struct Activations {
    low: ColumnVectors,
    high: ColumnVectors,
    sum: Columns,    // of the unscaled elements
    offset: Columns, // sum of the unscaled elements * decoder.offset
}

// ROWS consecutive rows times COLS columns of the product.
struct Tile {
    first_row: u32,    // in this dispatch; may be past its end
    first_column: u32, // may be past the last column
    lane: u32,         // 0 .. LANES - 1; the lanes hold copies and share the writing: rows 2 i, 2 i + 1 are for lane i % LANES
    values: array<array<f32, COLS>, ROWS>,
}

fn element_order(first: u32) -> vec4<u32> {
    return vec4<u32>(first, first ^ 1u, first ^ 2u, first ^ 3u);
}

// Products written out: dot() and vector * matrix are slower on software adapters.
fn dot_octet(weights: Octet, low: vec4<f32>, high: vec4<f32>) -> f32 {
    return low.x * weights.low.x + low.y * weights.low.y + low.z * weights.low.z + low.w * weights.low.w
        + high.x * weights.high.x + high.y * weights.high.y + high.z * weights.high.z + high.w * weights.high.w;
}

fn add_block(total: Columns, scale: vec2<f32>, dot: Columns, activations_offset: Columns, activations_sum: Columns) -> Columns {
    let products = scale_columns(add_columns(dot, activations_offset), scale.x);
    return add_columns(total, add_columns(products, scale_columns(activations_sum, scale.y)));
}

// Whether this invocation writes rows r and r + 1 (r even) of the tile.
fn writes_row(tile_lane: u32, r: u32) -> bool {
    return ((r >> 1u) & (LANES - 1u)) == tile_lane;
}

// How many of the tile's columns exist.
fn tile_columns(first_column: u32, num_columns: u32) -> u32 {
    return min(COLS, num_columns - min(first_column, num_columns));
}
