//! Embedding lookup.

use crate::kernel::{Access, Binding, Kernel, read, write};
use crate::ops::matmul::{MatmulParams, weight_parts};
use crate::repack::WeightFormat;
use crate::shaders;

/// Bindings of [`kernel`].
pub static BINDINGS: &[Binding] = &[
    read("codes"),
    read("scales"),
    read("step"),
    read("sampled"),
    write("x"),
    Binding { name: "params", access: Access::Uniform(size_of::<MatmulParams>() as u32) },
];

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// Workgroups for each row, in x; y is the rows.
pub fn grid_x(blocks_per_row: u32) -> u32 {
    (blocks_per_row * 4).div_ceil(WORKGROUP)
}

/// The kernel for a table in this format.
pub fn kernel(format: WeightFormat) -> Kernel {
    let mut parts = vec![&shaders::STEP, &shaders::MATMUL_TYPES, &shaders::COLUMNS_1];
    parts.extend(weight_parts(format));
    parts.push(&shaders::EMBED);
    Kernel {
        label: format!("embed_{}", format.name()),
        enables: vec![],
        constants: vec![],
        parts,
        bindings: BINDINGS,
    }
}
