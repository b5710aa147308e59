//! Pages copied with their keys rotated onward.

use crate::kernel::{Access, Binding, Kernel, Part, Value, read, write};
use crate::kv::{KvType, PageShape};
use crate::ops::matmul::MAX_ROTATION_PAIRS;
use crate::shaders;

/// Bindings of [`kernel`].
pub static BINDINGS: &[Binding] = &[
    read("step"),
    write("kv"),
    Binding { name: "inverse_frequencies", access: Access::Uniform(MAX_ROTATION_PAIRS * 4) },
];

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// The part that reads and writes groups of this type.
pub(super) fn group_part(kv_type: KvType) -> &'static Part {
    match kv_type {
        KvType::F16 => &shaders::KV_GROUP_F16,
        KvType::F32 => &shaders::KV_GROUP_F32,
        KvType::Q8 => &shaders::KV_GROUP_Q8,
    }
}

/// Workgroups for each chain of operations, in x; y is the chains.
pub fn grid_x(page: &PageShape) -> u32 {
    (page.num_heads() * page.groups_per_head()).div_ceil(WORKGROUP)
}

/// The kernel; `rotary_dim` is the rotated elements of a head.
pub fn kernel(page: &PageShape, rotary_dim: u32) -> Kernel {
    Kernel {
        label: format!("shift_page_{}", page.head_dim),
        enables: vec![],
        constants: vec![
            ("HEAD_DIM", Value::U32(page.head_dim)),
            ("KV_HEADS", Value::U32(page.num_kv_heads)),
            ("ROTARY_DIM", Value::U32(rotary_dim)),
            ("WORKGROUP", Value::U32(WORKGROUP)),
        ],
        parts: vec![&shaders::KV_LAYOUT, group_part(page.kv_type), &shaders::ROPE, &shaders::SHIFT_PAGE],
        bindings: BINDINGS,
    }
}
