//! RMSNorm.

use crate::kernel::{Binding, Kernel, Value, read, write};
use crate::shaders;

/// Bindings of [`kernel`].
pub static BINDINGS: &[Binding] = &[read("step"), read("x"), read("weight"), write("y")];

/// A norm's shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormShape {
    /// Elements that count.
    pub hidden: u32,
    /// Elements of a row in x, weight and y; a multiple of 4.
    pub stride: u32,
    /// Added under the root.
    pub eps: f32,
    /// Only the sampled rows; else all.
    pub only_sampled: bool,
    /// Invocations; a multiple of 8, or less than 8.
    pub workgroup: u32,
}

/// The kernel; its grid is (rows or samples).
pub fn kernel(shape: &NormShape) -> Kernel {
    Kernel {
        label: if shape.only_sampled { "rms_norm_sampled".to_owned() } else { "rms_norm".to_owned() },
        enables: vec![],
        constants: vec![
            ("HIDDEN", Value::U32(shape.hidden)),
            ("STRIDE", Value::U32(shape.stride)),
            ("EPS", Value::F32(shape.eps)),
            ("WORKGROUP", Value::U32(shape.workgroup)),
            ("ONLY_SAMPLED", Value::Bool(shape.only_sampled)),
        ],
        parts: vec![&shaders::STEP, &shaders::RMS_NORM],
        bindings: BINDINGS,
    }
}
