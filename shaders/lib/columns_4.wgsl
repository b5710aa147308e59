// 4 columns (tokens) computed together. `Columns` is one number for each column, `ColumnVectors` four consecutive elements
// of each column. With these the cores and formats are written once for every number of columns.
// Needs: x [columns, k] as vec4 (core), source_row (kernel), matmul_types.

const COLS = 4u;

alias Columns = vec4<f32>;
alias ColumnVectors = mat4x4<f32>;

// Where each column starts in x, in vectors.
alias ColumnStarts = vec4<u32>;

fn column_starts(first_column: u32, vectors_per_row: u32) -> ColumnStarts {
    return ColumnStarts(
        source_row(first_column) * vectors_per_row,
        source_row(first_column + 1u) * vectors_per_row,
        source_row(first_column + 2u) * vectors_per_row,
        source_row(first_column + 3u) * vectors_per_row,
    );
}

// One element of each column.
fn load_element(starts: ColumnStarts, vector: u32, component: u32) -> Columns {
    return Columns(
        x[starts.x + vector][component],
        x[starts.y + vector][component],
        x[starts.z + vector][component],
        x[starts.w + vector][component],
    );
}

// Four elements of each column.
fn load_vectors(starts: ColumnStarts, vector: u32) -> ColumnVectors {
    return ColumnVectors(
        x[starts.x + vector],
        x[starts.y + vector],
        x[starts.z + vector],
        x[starts.w + vector],
    );
}

fn scale_vectors(value: ColumnVectors, scale: vec4<f32>) -> ColumnVectors {
    return ColumnVectors(
        value[0] * scale,
        value[1] * scale,
        value[2] * scale,
        value[3] * scale,
    );
}

fn add_columns(left: Columns, right: Columns) -> Columns {
    return left + right;
}

fn scale_columns(value: Columns, scale: f32) -> Columns {
    return value * scale;
}

fn vectors_of(element0: Columns, element1: Columns, element2: Columns, element3: Columns) -> ColumnVectors {
    return transpose(mat4x4<f32>(element0, element1, element2, element3));
}

fn dot_columns(weights: Octet, low: ColumnVectors, high: ColumnVectors) -> Columns {
    return Columns(
        dot_octet(weights, low[0], high[0]),
        dot_octet(weights, low[1], high[1]),
        dot_octet(weights, low[2], high[2]),
        dot_octet(weights, low[3], high[3]),
    );
}

fn column_values(value: Columns) -> array<f32, COLS> {
    return array<f32, COLS>(value.x, value.y, value.z, value.w);
}
