//! GPU time of each kernel of a step, where the device has timestamps. A profiled step has one pass a dispatch, so that it is
//! slower as a whole than a step is.

use std::collections::BTreeMap;

use hearth_engine::plan::StepPlan;
use hearth_engine::ports::ExecutorError;

use crate::executor::GpuExecutor;
use crate::model::Stage;
use crate::readback::ReadbackRing;

/// All dispatches of one kernel in a step.
#[derive(Debug, Clone, PartialEq)]
pub struct KernelTime {
    /// The kernel.
    pub label: String,
    /// Its dispatches.
    pub dispatches: u32,
    /// GPU time of them together.
    pub total_us: f64,
}

impl GpuExecutor {
    /// Runs a step and returns the time of each kernel, longest first. The sampled tokens stay on the device. Empty where the
    /// device has no timestamps.
    ///
    /// # Errors
    /// As [`hearth_engine::ports::Executor::submit`].
    pub async fn profile(&mut self, plan: &StepPlan) -> Result<Vec<KernelTime>, ExecutorError> {
        if !self.gpu().capabilities().timestamps {
            return Ok(Vec::new());
        }
        let (shape, _) = self.prepare(plan)?;
        let gpu = self.gpu().clone();
        let dispatches: Vec<_> = self.forward().plan(&shape, Stage::Sampler).collect();
        let count = dispatches.len() as u32 * 2;
        let bytes = u64::from(count) * 8;
        let queries = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let resolved = gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("profile"),
            size: bytes,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut encoder =
            gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") });
        for (index, (pipeline, group, [x, y])) in (0..).step_by(2).zip(&dispatches) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(&pipeline.label),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(index),
                    end_of_pass_write_index: Some(index + 1),
                }),
            });
            pass.set_pipeline(&pipeline.raw);
            pass.set_bind_group(0, *group, &[]);
            pass.dispatch_workgroups(*x, *y, 1);
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        let readback = ReadbackRing::new(&gpu, bytes, 1).take(&gpu);
        encoder.copy_buffer_to_buffer(&resolved, 0, readback.buffer(), 0, bytes);
        let submission = gpu.queue.submit([encoder.finish()]);
        let data = readback.map(&gpu, submission, bytes).await?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&data);
        let us_per_tick = f64::from(gpu.queue.get_timestamp_period()) / 1e3;
        let mut by_label: BTreeMap<&str, KernelTime> = BTreeMap::new();
        for ((pipeline, ..), pair) in dispatches.iter().zip(ticks.chunks_exact(2)) {
            let time = by_label.entry(&pipeline.label).or_insert_with(|| KernelTime {
                label: pipeline.label.clone(),
                dispatches: 0,
                total_us: 0.0,
            });
            time.dispatches += 1;
            time.total_us += pair[1].saturating_sub(pair[0]) as f64 * us_per_tick;
        }
        let mut times: Vec<_> = by_label.into_values().collect();
        times.sort_by(|a, b| b.total_us.total_cmp(&a.total_us));
        Ok(times)
    }
}
