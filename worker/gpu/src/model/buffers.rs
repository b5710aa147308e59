//! The buffers of a loaded model that hold neither weights nor pages: activations of the largest step, sampler state.

use crate::device::{Allocator, Gpu};
use crate::error::GpuError;
use crate::kv::KvType;
use crate::layout::{ModelLayout, row_stride};
use crate::model::shape::ModelShape;
use crate::ops::matmul::MAX_ROTATION_PAIRS;
use crate::step_buffer;

/// Uniform ranges begin at multiples of this many bytes, on every device.
pub(super) const UNIFORM_ALIGNMENT: u64 = 256;

/// Buffers that belong to no weight.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub step: wgpu::Buffer,
    pub x: wgpu::Buffer,
    pub normed: wgpu::Buffer,
    pub q: wgpu::Buffer,
    /// Keys and values of the step, where they are quantised before they go into their pages.
    pub staged: Option<wgpu::Buffer>,
    pub attention: wgpu::Buffer,
    pub gated: wgpu::Buffer,
    pub logits: wgpu::Buffer,
    pub partials: wgpu::Buffer,
    /// `[slots, vocab]` u32.
    pub counts: wgpu::Buffer,
    /// `[slots, vocab]` f32.
    pub bias: wgpu::Buffer,
    pub sampled: wgpu::Buffer,
    pub tokens: wgpu::Buffer,
    pub uniforms: wgpu::Buffer,
    /// Bound where a kernel's binding is not read.
    pub unused: wgpu::Buffer,
    /// Bytes of the above.
    bytes: u64,
}

impl Buffers {
    /// Activations for the largest step and sampler state.
    pub async fn allocate(gpu: &Gpu, shape: &ModelShape<'_>, num_uniforms: u64) -> Result<Self, GpuError> {
        gpu.allocate("activations", |allocator| Self::create(allocator, shape, num_uniforms)).await
    }

    fn create(allocator: &mut Allocator<'_>, shape: &ModelShape<'_>, num_uniforms: u64) -> Self {
        let config = shape.config;
        let limits = &shape.limits;
        let tables = u64::from(limits.num_sampler_slots) * u64::from(config.vocab_size) * 4;
        let samples = u64::from(limits.max_samples);
        let activations = |allocator: &mut Allocator<'_>, label, columns: u32| {
            allocator.storage(label, u64::from(limits.max_rows) * u64::from(columns) * 4)
        };
        let mut buffers = Self {
            step: allocator.storage("step", step_buffer::max_words(limits) as u64 * 4),
            x: activations(allocator, "residual stream", row_stride(config.hidden_size)),
            normed: activations(allocator, "normed", row_stride(config.hidden_size)),
            q: activations(allocator, "q", shape.q_rows()),
            staged: (shape.kv_type == KvType::Q8)
                .then(|| activations(allocator, "new keys and values", 2 * shape.kv_rows())),
            attention: activations(allocator, "attention", row_stride(shape.q_rows())),
            gated: activations(allocator, "gated", row_stride(config.intermediate_size)),
            logits: allocator.storage("logits", samples * u64::from(shape.logits_stride()) * 4),
            partials: allocator.storage("sampler partials", samples * u64::from(shape.sample().chunks()) * 8),
            counts: allocator.storage("token counts", tables),
            bias: allocator.storage("logit biases", tables),
            sampled: allocator.storage("sampled", u64::from(limits.num_sampler_slots) * 4),
            tokens: allocator.storage("tokens", samples * 4),
            uniforms: allocator.buffer(
                "uniforms",
                num_uniforms * UNIFORM_ALIGNMENT,
                wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            ),
            unused: allocator.storage("unused", 16),
            bytes: 0,
        };
        buffers.bytes = allocator.bytes();
        buffers
    }

    pub fn activation_bytes(&self) -> u64 {
        self.bytes
    }
}

/// Uniform ranges that the dispatches of a layout take: one a segment of each use, and the rotary frequencies.
pub(crate) fn count_uniforms(layout: &ModelLayout) -> u64 {
    let segments = |matrix: usize| layout.matrices[matrix].segments.len() as u64;
    let layers: u64 = layout
        .layers
        .iter()
        .map(|l| segments(l.qkv) + segments(l.attention_output) + segments(l.gate_up) + segments(l.down))
        .sum();
    let frequencies = (u64::from(MAX_ROTATION_PAIRS) * 4).div_ceil(UNIFORM_ALIGNMENT);
    layers + segments(layout.embedding) + segments(layout.head) + frequencies
}
