//! New keys and values into 8 bits.

use crate::kernel::{Binding, Kernel, Value, read, write};
use crate::kv::{KvType, PageShape};
use crate::ops::shift::group_part;
use crate::shaders;

/// Bindings of [`kernel`].
pub static BINDINGS: &[Binding] = &[read("step"), read("staged"), write("kv")];

/// Invocations of a workgroup: few, because a row of a small model has no more groups.
const WORKGROUP: u32 = 16;

/// Workgroups for each row, in x; y is the rows.
pub fn grid_x(page: &PageShape) -> u32 {
    (2 * page.num_kv_heads * page.groups_per_head()).div_ceil(WORKGROUP)
}

/// The kernel that writes pages of this shape, whose type must be [`KvType::Q8`].
pub fn kernel(page: &PageShape) -> Kernel {
    Kernel {
        label: format!("quantize_kv_{}", page.head_dim),
        enables: vec![],
        constants: vec![
            ("HEAD_DIM", Value::U32(page.head_dim)),
            ("KV_HEADS", Value::U32(page.num_kv_heads)),
            ("WORKGROUP", Value::U32(WORKGROUP)),
        ],
        parts: vec![&shaders::STEP, &shaders::KV_LAYOUT, group_part(KvType::Q8), &shaders::QUANTIZE_KV],
        bindings: BINDINGS,
    }
}
