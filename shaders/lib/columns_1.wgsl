// 1 column (token) computed together. `Columns` is one number for each column, `ColumnVectors` four consecutive elements
// of each column. With these the cores and formats are written once for every number of columns.
// Needs: x [columns, k] as vec4 (core), source_row (kernel), matmul_types.

const COLS = 1u;

alias Columns = f32;
alias ColumnVectors = vec4<f32>;

// Where each column starts in x, in vectors.
alias ColumnStarts = u32;

fn column_starts(first_column: u32, vectors_per_row: u32) -> ColumnStarts {
    return source_row(first_column) * vectors_per_row;
}

// One element of each column.
fn load_element(starts: ColumnStarts, vector: u32, component: u32) -> Columns {
    return x[starts + vector][component];
}

// Four elements of each column.
fn load_vectors(starts: ColumnStarts, vector: u32) -> ColumnVectors {
    return x[starts + vector];
}

fn scale_vectors(value: ColumnVectors, scale: vec4<f32>) -> ColumnVectors {
    return value * scale;
}

fn add_columns(left: Columns, right: Columns) -> Columns {
    return left + right;
}

fn scale_columns(value: Columns, scale: f32) -> Columns {
    return value * scale;
}

fn vectors_of(element0: Columns, element1: Columns, element2: Columns, element3: Columns) -> ColumnVectors {
    return vec4<f32>(element0, element1, element2, element3);
}

fn dot_columns(weights: Octet, low: ColumnVectors, high: ColumnVectors) -> Columns {
    return dot_octet(weights, low, high);
}

fn column_values(value: Columns) -> array<f32, COLS> {
    return array<f32, COLS>(value);
}
