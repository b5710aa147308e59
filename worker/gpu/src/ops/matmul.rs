//! Matrix products of quantised weights with the columns (tokens) of a step. One kernel is put together from an epilogue
//! (what is done with the product), a weight format, a core (how the work is cut) and a number of columns.

use bytemuck::{Pod, Zeroable};

use crate::kernel::{Access, Binding, Kernel, Part, SUBGROUPS, Value, read, write};
use crate::kv::KvType;
use crate::repack::WeightFormat;
use crate::shaders;

/// `MatmulParams` of `shaders/lib/matmul_types.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct MatmulParams {
    /// In the output, of row 0 of the dispatch's weights.
    pub first_row: u32,
    /// Rows of the dispatch, at least 1.
    pub num_rows: u32,
    /// Blocks of a row of weights.
    pub blocks_per_row: u32,
    /// Elements from one column of the output to the next.
    pub output_stride: u32,
}

/// `QkvParams` of `shaders/matmul_qkv.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct QkvParams {
    /// In q, k, v stacked, of row 0 of the dispatch's weights; even.
    pub first_row: u32,
    /// Rows of the dispatch; even.
    pub num_rows: u32,
    /// Blocks of a row of weights.
    pub blocks_per_row: u32,
    /// Rows of q.
    pub q_rows: u32,
    /// Rows of k, and of v.
    pub kv_rows: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Rotated elements of a head.
    pub rotary_dim: u32,
    /// Of cosine and sine.
    pub rope_scale: f32,
}

/// Rotation pairs that the kernel has room for.
pub const MAX_ROTATION_PAIRS: u32 = 256;

/// The function between gate and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `x * sigmoid(x)`.
    Silu,
    /// GELU by tanh.
    GeluTanh,
}

/// What is done with the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Epilogue {
    /// Rotated; q written out, keys and values into the pages, or in f32 to where they wait to be quantised.
    Qkv(KvType),
    /// Added to the residual stream.
    Residual,
    /// Gate, through this function, times up.
    Gated(Gate),
    /// Written for the sampled rows.
    Logits,
}

/// How the work is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Core {
    /// 8 rows an invocation.
    Rows {
        /// Invocations.
        workgroup: u32,
        /// Activations shared by quads of a subgroup.
        quad: bool,
    },
    /// Several invocations a row.
    Lanes {
        /// Invocations.
        workgroup: u32,
        /// Rows of a group of lanes; even.
        rows: u32,
        /// Invocations for each row.
        lanes: u32,
        /// Sums by subgroup operations.
        subgroup: bool,
    },
}

/// Rows of an invocation of [`Core::Rows`].
const ROWS_OF_ROWS_CORE: u32 = 8;

impl Core {
    /// Rows of a workgroup.
    fn rows_per_workgroup(self) -> u32 {
        match self {
            Self::Rows { workgroup, .. } => workgroup * ROWS_OF_ROWS_CORE,
            Self::Lanes { workgroup, rows, lanes, .. } => workgroup / lanes * rows,
        }
    }

    /// Workgroups in x.
    pub fn grid_x(self, num_rows: u32) -> u32 {
        num_rows.div_ceil(self.rows_per_workgroup())
    }
}

/// A core with its number of columns: 1, 2, 4 or 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MatmulVariant {
    /// Columns computed together.
    pub columns: u32,
    /// How.
    pub core: Core,
}

const fn params<T>() -> Binding {
    Binding { name: "params", access: Access::Uniform(size_of::<T>() as u32) }
}

static QKV_BINDINGS: &[Binding] = &[
    read("codes"),
    read("scales"),
    read("x"),
    read("bias"),
    read("step"),
    write("q"),
    write("kv"),
    params::<QkvParams>(),
    Binding { name: "inverse_frequencies", access: Access::Uniform(MAX_ROTATION_PAIRS * 4) },
];
static RESIDUAL_BINDINGS: &[Binding] = &[
    read("codes"),
    read("scales"),
    read("x"),
    read("bias"),
    read("step"),
    write("out"),
    params::<MatmulParams>(),
];
static GATED_BINDINGS: &[Binding] =
    &[read("codes"), read("scales"), read("x"), read("step"), write("out"), params::<MatmulParams>()];
static LOGITS_BINDINGS: &[Binding] =
    &[read("codes"), read("scales"), read("x"), read("step"), write("logits"), params::<MatmulParams>()];

/// The parts that decode a format.
pub fn weight_parts(format: WeightFormat) -> Vec<&'static Part> {
    match format {
        WeightFormat::Q4 => vec![&shaders::WEIGHT_Q4],
        WeightFormat::Q5 => vec![&shaders::WEIGHT_Q5],
        WeightFormat::Q8 => vec![&shaders::WEIGHT_Q8],
        WeightFormat::F16 => vec![&shaders::WEIGHT_F16, &shaders::WEIGHT_HALVES],
        WeightFormat::Bf16 => vec![&shaders::WEIGHT_BF16, &shaders::WEIGHT_HALVES],
        WeightFormat::F32 => vec![&shaders::WEIGHT_F32],
    }
}

fn columns_part(columns: u32) -> &'static Part {
    match columns {
        1 => &shaders::COLUMNS_1,
        2 => &shaders::COLUMNS_2,
        4 => &shaders::COLUMNS_4,
        _ => &shaders::COLUMNS_8,
    }
}

fn subgroup_columns_part(columns: u32) -> &'static Part {
    if columns == 8 { &shaders::SUBGROUP_COLUMNS_8 } else { &shaders::SUBGROUP_COLUMNS }
}

/// The kernel.
pub fn kernel(epilogue: Epilogue, format: WeightFormat, variant: MatmulVariant) -> Kernel {
    let mut constants = Vec::new();
    let mut parts = vec![&shaders::STEP, &shaders::MATMUL_TYPES, columns_part(variant.columns)];
    parts.extend(weight_parts(format));
    let uses_subgroups = match variant.core {
        Core::Rows { workgroup, quad } => {
            constants.push(("WORKGROUP", Value::U32(workgroup)));
            parts.push(&shaders::MATMUL_ROWS);
            parts.push(if quad { &shaders::ACTIVATIONS_QUAD } else { &shaders::ACTIVATIONS_DIRECT });
            quad
        }
        Core::Lanes { workgroup, rows, lanes, subgroup } => {
            constants.push(("WORKGROUP", Value::U32(workgroup)));
            constants.push(("ROWS", Value::U32(rows)));
            constants.push(("LANES", Value::U32(lanes)));
            parts.push(&shaders::MATMUL_LANES);
            parts.push(&shaders::ACTIVATIONS_DIRECT);
            parts.push(if subgroup { &shaders::REDUCE_SUBGROUP } else { &shaders::REDUCE_WORKGROUP });
            subgroup
        }
    };
    if uses_subgroups {
        parts.push(&shaders::SUBGROUP_ID);
        parts.push(subgroup_columns_part(variant.columns));
    } else {
        parts.push(&shaders::NO_SUBGROUP_ID);
    }
    if epilogue != Epilogue::Logits {
        parts.push(&shaders::STEP_COLUMNS);
    }
    let (name, bindings) = match epilogue {
        Epilogue::Qkv(kv_type) => {
            constants.push(("HAS_BIAS", Value::Bool(false)));
            parts.push(&shaders::ROPE);
            parts.extend(match kv_type {
                KvType::F16 => [&shaders::KV_LAYOUT, &shaders::KV_F16_STORE],
                KvType::F32 => [&shaders::KV_LAYOUT, &shaders::KV_F32_STORE],
                KvType::Q8 => [&shaders::KV_STAGED, &shaders::KV_F32_STORE],
            });
            parts.push(&shaders::MATMUL_QKV);
            ("qkv", QKV_BINDINGS)
        }
        Epilogue::Residual => {
            constants.push(("HAS_BIAS", Value::Bool(false)));
            parts.push(&shaders::MATMUL_RESIDUAL);
            ("residual", RESIDUAL_BINDINGS)
        }
        Epilogue::Gated(gate) => {
            parts.push(match gate {
                Gate::Silu => &shaders::ACT_SILU,
                Gate::GeluTanh => &shaders::ACT_GELU_TANH,
            });
            parts.push(&shaders::MATMUL_GATED);
            ("gated", GATED_BINDINGS)
        }
        Epilogue::Logits => {
            parts.push(&shaders::MATMUL_LOGITS);
            ("logits", LOGITS_BINDINGS)
        }
    };
    Kernel {
        label: format!("matmul_{name}_{}_{}", format.name(), variant.columns),
        enables: if uses_subgroups { vec![SUBGROUPS] } else { vec![] },
        constants,
        parts,
        bindings,
    }
}
