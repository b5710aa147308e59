// Core for adapters without wide lanes (software): one thread computes 8 rows, so that each activation it holds is used 8
// times. The rows are written out, because such adapters neither unroll loops nor keep indexed arrays in registers; the
// octets of a block stay a loop, because the code would not fit the instruction cache.
// Grid: (ceil(num_rows / (8 * WORKGROUP)), ceil(columns / COLS)).
// Needs: WORKGROUP, params (kernel), matmul_types, a columns part, a weight part, an activations part.

const ROWS = 8u;
const LANES = 1u;

@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;

struct Dots {
    row0: Columns,
    row1: Columns,
    row2: Columns,
    row3: Columns,
    row4: Columns,
    row5: Columns,
    row6: Columns,
    row7: Columns,
    sum: Columns,
    offset: Columns,
}

// The first block of each row.
struct RowBlocks {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn add_octets(dots: Dots, rows: RowBlocks, starts: ColumnStarts, block: u32, octet: u32, decoder: Decoder, first: u32) -> Dots {
    let activations = load_activations(starts, block * 8u + octet, first, decoder);
    return Dots(
        add_columns(dots.row0, dot_columns(load_octet(rows.low.x + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row1, dot_columns(load_octet(rows.low.y + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row2, dot_columns(load_octet(rows.low.z + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row3, dot_columns(load_octet(rows.low.w + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row4, dot_columns(load_octet(rows.high.x + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row5, dot_columns(load_octet(rows.high.y + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row6, dot_columns(load_octet(rows.high.z + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.row7, dot_columns(load_octet(rows.high.w + block, octet, decoder), activations.low, activations.high)),
        add_columns(dots.sum, activations.sum),
        add_columns(dots.offset, activations.offset),
    );
}

fn multiply(workgroup: vec3<u32>, id: InvocationId) -> Tile {
    let first_row = (workgroup.x * WORKGROUP + id.thread) * ROWS;
    let first_column = workgroup.y * COLS;
    let last_row = params.num_rows - 1u;
    let rows = RowBlocks(
        min(vec4<u32>(first_row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last_row)) * params.blocks_per_row,
        min(vec4<u32>(first_row) + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(last_row)) * params.blocks_per_row,
    );
    let starts = column_starts(first_column, params.blocks_per_row * 8u);
    let first = first_element(subgroup_thread(id));
    let decoder = make_decoder(first);
    var total = Dots();
    for (var block = 0u; block < params.blocks_per_row; block++) {
        var dots = Dots();
        for (var octet = 0u; octet < 4u; octet++) {
            dots = add_octets(dots, rows, starts, block, octet, decoder, first);
        }
        let sum = complete_sum(dots.sum);
        let offset = complete_sum(dots.offset);
        total.row0 = add_block(total.row0, load_scale(rows.low.x + block), dots.row0, offset, sum);
        total.row1 = add_block(total.row1, load_scale(rows.low.y + block), dots.row1, offset, sum);
        total.row2 = add_block(total.row2, load_scale(rows.low.z + block), dots.row2, offset, sum);
        total.row3 = add_block(total.row3, load_scale(rows.low.w + block), dots.row3, offset, sum);
        total.row4 = add_block(total.row4, load_scale(rows.high.x + block), dots.row4, offset, sum);
        total.row5 = add_block(total.row5, load_scale(rows.high.y + block), dots.row5, offset, sum);
        total.row6 = add_block(total.row6, load_scale(rows.high.z + block), dots.row6, offset, sum);
        total.row7 = add_block(total.row7, load_scale(rows.high.w + block), dots.row7, offset, sum);
    }
    return Tile(first_row, first_column, 0u, array<array<f32, COLS>, ROWS>(
        column_values(total.row0),
        column_values(total.row1),
        column_values(total.row2),
        column_values(total.row3),
        column_values(total.row4),
        column_values(total.row5),
        column_values(total.row6),
        column_values(total.row7),
    ));
}
