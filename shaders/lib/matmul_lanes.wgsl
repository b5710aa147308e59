// Core for GPUs: LANES consecutive invocations compute ROWS rows; their lanes stride over the octets of k, so that neighbours
// load neighbouring words of a row, and the sums are reduced over the lanes.
// Grid: (ceil(num_rows / (ROWS * WORKGROUP / LANES)), ceil(columns / COLS)).
// Needs: WORKGROUP, ROWS (even), LANES (divides WORKGROUP), params (kernel), matmul_types, a columns part, a weight part,
// activations_direct, a reduce part.

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

fn multiply(workgroup: vec3<u32>, id: InvocationId) -> Tile {
    let lane = id.thread % LANES;
    let first_row = (workgroup.x * (WORKGROUP / LANES) + id.thread / LANES) * ROWS;
    let first_column = workgroup.y * COLS;
    let starts = column_starts(first_column, params.blocks_per_row * 8u);
    let first = first_element(lane);
    let decoder = make_decoder(first);
    let octets_per_row = params.blocks_per_row * 4u;
    var totals: array<Columns, ROWS>;
    for (var octet = lane; octet < octets_per_row; octet += LANES) {
        let block = octet / 4u;
        let octet_in_block = octet % 4u;
        let activations = load_activations(starts, block * 8u + octet_in_block, first, decoder);
        for (var r = 0u; r < ROWS; r++) {
            let row_block = min(first_row + r, params.num_rows - 1u) * params.blocks_per_row + block;
            let dot = dot_columns(load_octet(row_block, octet_in_block, decoder), activations.low, activations.high);
            totals[r] = add_block(totals[r], load_scale(row_block), dot, activations.offset, activations.sum);
        }
    }
    var tile: Tile;
    tile.first_row = first_row;
    tile.first_column = first_column;
    tile.lane = lane;
    for (var r = 0u; r < ROWS; r++) {
        tile.values[r] = column_values(reduce_lanes(totals[r], id));
    }
    return tile;
}
