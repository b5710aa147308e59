//! Runs one kernel by itself on given data: for tests against CPU references and for measuring. Nothing here is used by a step.

use std::num::NonZeroU64;

use hearth_engine::ports::ExecutorError;

use crate::device::Gpu;
use crate::error::GpuError;
use crate::kernel::{Access, Kernel};
use crate::pipelines::{Bind, Pipelines};
use crate::readback::ReadbackRing;

/// Why a kernel did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HarnessError {
    /// Compiling or allocating.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// Running or reading back.
    #[error(transparent)]
    Run(#[from] ExecutorError),
}

/// Runs `kernel` once with one buffer of words for each of its bindings and returns all buffers afterwards.
///
/// # Errors
/// What the device says.
pub async fn run(
    gpu: &Gpu,
    kernel: &Kernel,
    buffers: &[Vec<u32>],
    grid: [u32; 2],
) -> Result<Vec<Vec<u32>>, HarnessError> {
    let mut pipelines = Pipelines::default();
    let pipeline = pipelines.get(gpu, kernel);
    pipelines.finish().await?;
    let created: Vec<_> = gpu
        .allocate("a kernel run by itself", |allocator| {
            buffers
                .iter()
                .zip(kernel.bindings)
                .map(|(words, binding)| {
                    let usage = match binding.access {
                        Access::Uniform(_) => wgpu::BufferUsages::UNIFORM,
                        Access::Read | Access::ReadWrite => wgpu::BufferUsages::STORAGE,
                    };
                    let usage = usage | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
                    allocator.buffer(binding.name, words.len() as u64 * 4, usage)
                })
                .collect()
        })
        .await?;
    for (buffer, words) in created.iter().zip(buffers) {
        gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
    }
    // Bound with their exact size, so that accesses past the end are caught by the device's bounds checks.
    let binds: Vec<_> = created
        .iter()
        .zip(buffers)
        .map(|(buffer, words)| Bind {
            buffer,
            offset: 0,
            size: NonZeroU64::new(words.len() as u64 * 4).map(NonZeroU64::get),
        })
        .collect();
    let group = pipeline.bind(gpu, &kernel.label, &binds);
    let mut encoder =
        gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("harness") });
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    pass.set_pipeline(&pipeline.raw);
    pass.set_bind_group(0, &group, &[]);
    pass.dispatch_workgroups(grid[0], grid[1], 1);
    drop(pass);
    let total: u64 = buffers.iter().map(|words| words.len() as u64 * 4).sum();
    let readback = ReadbackRing::new(gpu, total.max(4), 1).take(gpu);
    let mut offset = 0;
    for (buffer, words) in created.iter().zip(buffers) {
        let bytes = words.len() as u64 * 4;
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(buffer, 0, readback.buffer(), offset, bytes);
        }
        offset += bytes;
    }
    let submission = gpu.queue.submit([encoder.finish()]);
    let data = readback.map(gpu, submission, total.max(4)).await?;
    if let Some(error) = crate::readback::fault_error(gpu) {
        return Err(error.into());
    }
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(&data);
    let mut rest = &words[..];
    Ok(buffers
        .iter()
        .map(|buffer| {
            let (part, tail) = rest.split_at(buffer.len());
            rest = tail;
            part.to_vec()
        })
        .collect())
}
