//! The sampler: logits in, one token per sample out, in two kernels.

use crate::kernel::{Binding, Kernel, Value, read, write};
use crate::shaders;

/// Bindings of [`prepare_kernel`].
pub static PREPARE_BINDINGS: &[Binding] =
    &[read("step"), read("counts"), read("bias"), write("logits"), write("partials")];
/// Bindings of [`pick_kernel`].
pub static PICK_BINDINGS: &[Binding] =
    &[read("step"), read("logits"), read("partials"), write("counts"), write("sampled"), write("tokens")];

/// Tokens that one workgroup of the first kernel looks at.
const CHUNK_TOKENS: u32 = 1024;

/// The sampler's shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleShape {
    /// Tokens.
    pub vocab: u32,
    /// Elements of a row of the logits; a multiple of 4.
    pub logits_stride: u32,
    /// Invocations of both kernels; a multiple of 8, 16 to 128.
    pub workgroup: u32,
}

impl SampleShape {
    /// Workgroups of [`prepare_kernel`] for each sample, in x; y is the samples.
    pub fn chunks(&self) -> u32 {
        self.vocab.div_ceil(CHUNK_TOKENS)
    }

    fn constants(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("VOCAB", Value::U32(self.vocab)),
            ("LOGITS_STRIDE", Value::U32(self.logits_stride)),
            ("WORKGROUP", Value::U32(self.workgroup)),
            ("CHUNKS", Value::U32(self.chunks())),
        ]
    }
}

/// Adjusts the logits and finds the best of each chunk.
pub fn prepare_kernel(shape: &SampleShape) -> Kernel {
    let mut constants = shape.constants();
    constants.push(("CHUNK_TOKENS", Value::U32(CHUNK_TOKENS)));
    Kernel {
        label: "sample_prepare".to_owned(),
        enables: vec![],
        constants,
        parts: vec![&shaders::SAMPLE, &shaders::SAMPLE_PREPARE],
        bindings: PREPARE_BINDINGS,
    }
}

/// Chooses the tokens; its grid is (samples).
pub fn pick_kernel(shape: &SampleShape) -> Kernel {
    Kernel {
        label: "sample_pick".to_owned(),
        enables: vec![],
        constants: shape.constants(),
        parts: vec![&shaders::SAMPLE, &shaders::SAMPLE_PICK],
        bindings: PICK_BINDINGS,
    }
}
