// 8 columns (tokens) computed together. `Columns` is one number for each column, `ColumnVectors` four consecutive elements
// of each column. With these the cores and formats are written once for every number of columns.
// Needs: x [columns, k] as vec4 (core), source_row (kernel), matmul_types.

const COLS = 8u;

struct Columns {
    low: vec4<f32>,
    high: vec4<f32>,
}

alias ColumnVectors = array<mat4x4<f32>, 2>;

// Where each column starts in x, in vectors.
alias ColumnStarts = array<vec4<u32>, 2>;

fn column_starts(first_column: u32, vectors_per_row: u32) -> ColumnStarts {
    return ColumnStarts(
        vec4<u32>(
            source_row(first_column) * vectors_per_row,
            source_row(first_column + 1u) * vectors_per_row,
            source_row(first_column + 2u) * vectors_per_row,
            source_row(first_column + 3u) * vectors_per_row,
        ),
        vec4<u32>(
            source_row(first_column + 4u) * vectors_per_row,
            source_row(first_column + 5u) * vectors_per_row,
            source_row(first_column + 6u) * vectors_per_row,
            source_row(first_column + 7u) * vectors_per_row,
        ),
    );
}

// One element of each column.
fn load_element(starts: ColumnStarts, vector: u32, component: u32) -> Columns {
    return Columns(
        vec4<f32>(
            x[starts[0].x + vector][component],
            x[starts[0].y + vector][component],
            x[starts[0].z + vector][component],
            x[starts[0].w + vector][component],
        ),
        vec4<f32>(
            x[starts[1].x + vector][component],
            x[starts[1].y + vector][component],
            x[starts[1].z + vector][component],
            x[starts[1].w + vector][component],
        ),
    );
}

// Four elements of each column.
fn load_vectors(starts: ColumnStarts, vector: u32) -> ColumnVectors {
    return ColumnVectors(
        mat4x4<f32>(
            x[starts[0].x + vector],
            x[starts[0].y + vector],
            x[starts[0].z + vector],
            x[starts[0].w + vector],
        ),
        mat4x4<f32>(
            x[starts[1].x + vector],
            x[starts[1].y + vector],
            x[starts[1].z + vector],
            x[starts[1].w + vector],
        ),
    );
}

fn scale_vectors(value: ColumnVectors, scale: vec4<f32>) -> ColumnVectors {
    return ColumnVectors(
        mat4x4<f32>(
            value[0][0] * scale,
            value[0][1] * scale,
            value[0][2] * scale,
            value[0][3] * scale,
        ),
        mat4x4<f32>(
            value[1][0] * scale,
            value[1][1] * scale,
            value[1][2] * scale,
            value[1][3] * scale,
        ),
    );
}

fn add_columns(left: Columns, right: Columns) -> Columns {
    return Columns(left.low + right.low, left.high + right.high);
}

fn scale_columns(value: Columns, scale: f32) -> Columns {
    return Columns(value.low * scale, value.high * scale);
}

fn vectors_of(element0: Columns, element1: Columns, element2: Columns, element3: Columns) -> ColumnVectors {
    return ColumnVectors(
        transpose(mat4x4<f32>(element0.low, element1.low, element2.low, element3.low)),
        transpose(mat4x4<f32>(element0.high, element1.high, element2.high, element3.high)),
    );
}

fn dot_columns(weights: Octet, low: ColumnVectors, high: ColumnVectors) -> Columns {
    return Columns(
        vec4<f32>(
            dot_octet(weights, low[0][0], high[0][0]),
            dot_octet(weights, low[0][1], high[0][1]),
            dot_octet(weights, low[0][2], high[0][2]),
            dot_octet(weights, low[0][3], high[0][3]),
        ),
        vec4<f32>(
            dot_octet(weights, low[1][0], high[1][0]),
            dot_octet(weights, low[1][1], high[1][1]),
            dot_octet(weights, low[1][2], high[1][2]),
            dot_octet(weights, low[1][3], high[1][3]),
        ),
    );
}

fn column_values(value: Columns) -> array<f32, COLS> {
    return array<f32, COLS>(
        value.low.x,
        value.low.y,
        value.low.z,
        value.low.w,
        value.high.x,
        value.high.y,
        value.high.z,
        value.high.w,
    );
}
