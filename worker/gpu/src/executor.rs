//! [`GpuExecutor`]: runs step plans on a loaded model. A step is one upload, one encoder, one pass, one submit and one small map;
//! nothing is created in it.

use bytemuck::cast_slice;
use hearth_engine::ids::{BlockId, SamplerSlot, TokenId};
use hearth_engine::model::{ModelConfig, ModelTensors};
use hearth_engine::plan::{SlotReset, StepLimits, StepOutput, StepPlan};
use hearth_engine::ports::{BorrowedFuture, ByteSource, Executor, ExecutorError, LocalFuture};

use crate::device::{Capabilities, Gpu};
use crate::error::LoadError;
use crate::kv::{KvType, PageShape};
use crate::layout::ModelLayout;
use crate::model::{Buffers, Forward, ModelPipelines, ModelShape, Stage, count_uniforms};
use crate::pool::{KvPool, allocate_arena, max_pages};
use crate::readback::{ReadbackRing, fault_error};
use crate::select::ROW_GRANULARITY;
use crate::step_buffer::{self, BLOCK_SIZE_TOKENS, StepShape};
use crate::weights::{self, LoadProgress, Weights};

/// Steps in flight that need no new readback buffer.
const READBACK_BUFFERS: usize = 3;
/// Page-table entries of a step, whatever its sequences share: 256 KiB.
const MAX_TABLE_ENTRIES: u32 = 1 << 16;
/// Page operations of a step.
const MAX_PAGE_OPS: u32 = 256;

/// What an executor is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutorOptions {
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// Tokens that the KV cache holds at the start; rounded up to whole pages.
    pub kv_tokens: u32,
    /// Tokens that it may grow to, as far as the device binds so much; less than `kv_tokens` means that it does not grow.
    pub max_kv_tokens: u32,
    /// Rows of a step.
    pub max_rows: u32,
    /// Sequences of a step.
    pub max_sequences: u32,
    /// Sampled rows of a step.
    pub max_samples: u32,
    /// Sequences that can be running at the same time.
    pub num_sampler_slots: u32,
}

impl ExecutorOptions {
    /// What suits a device: a software adapter's steps are kept short, so that decoding goes on while others prefill.
    pub fn for_device(capabilities: &Capabilities) -> Self {
        Self {
            kv_type: KvType::default(),
            kv_tokens: 4096,
            max_kv_tokens: 4096,
            max_rows: if capabilities.software { 32 } else { 512 },
            max_sequences: 16,
            max_samples: 8,
            num_sampler_slots: 16,
        }
    }

    fn limits(&self, config: &ModelConfig, capabilities: &Capabilities) -> Result<StepLimits, LoadError> {
        for (what, got) in [
            ("kv_tokens", self.kv_tokens),
            ("max_rows", self.max_rows),
            ("max_sequences", self.max_sequences),
            ("max_samples", self.max_samples),
            ("num_sampler_slots", self.num_sampler_slots),
        ] {
            if got == 0 {
                return Err(LoadError::InvalidOption { what, got: 0, expected: "above 0".to_owned() });
            }
        }
        let page =
            PageShape { kv_type: self.kv_type, num_kv_heads: config.num_kv_heads, head_dim: config.head_dim };
        let num_blocks = self.kv_tokens.div_ceil(BLOCK_SIZE_TOKENS);
        let max_blocks = self.max_kv_tokens.div_ceil(BLOCK_SIZE_TOKENS).min(max_pages(&page, capabilities));
        let max_blocks = max_blocks.max(num_blocks);
        Ok(StepLimits {
            block_size_tokens: BLOCK_SIZE_TOKENS,
            num_blocks,
            max_blocks,
            max_rows: self.max_rows,
            max_sequences: self.max_sequences,
            max_samples: self.max_samples,
            num_sampler_slots: self.num_sampler_slots,
            max_table_entries: max_blocks
                .saturating_mul(self.max_sequences)
                .min(MAX_TABLE_ENTRIES.max(max_blocks)),
            max_page_ops: MAX_PAGE_OPS,
            row_granularity: ROW_GRANULARITY,
        })
    }
}

/// What a step cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepStats {
    /// Kernels dispatched.
    pub dispatches: u32,
    /// Bytes written to the device.
    pub bytes_uploaded: u64,
    /// Rows.
    pub rows: u32,
    /// Sampled rows.
    pub samples: u32,
}

/// Bytes on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryUse {
    /// Weights.
    pub weights_bytes: u64,
    /// Keys and values.
    pub kv_bytes: u64,
    /// Activations, sampler state and step data.
    pub activations_bytes: u64,
}

/// What the sampler's tables hold for a slot.
#[derive(Debug, Clone, Copy, Default)]
struct SlotState {
    /// Its counts may not be zero.
    counted: bool,
    /// Its biases apply.
    biased: bool,
}

/// Zeroes a slot's counts before the step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clear(SamplerSlot);

/// A loaded model that runs steps.
#[derive(Debug)]
pub struct GpuExecutor {
    gpu: Gpu,
    limits: StepLimits,
    tile_rows: u32,
    vocab_size: u32,
    logits_stride: u32,
    forward: Forward,
    buffers: Buffers,
    pool: KvPool,
    /// Kept alive: the bind groups refer to them.
    weights: Weights,
    ring: ReadbackRing,
    slots: Vec<SlotState>,
    /// The packed plan, reused.
    words: Vec<u32>,
    stats: StepStats,
}

/// Puts a model on the device.
///
/// # Errors
/// [`LoadError`] says which of file, model, options and device it was.
pub async fn load(
    gpu: &Gpu,
    config: &ModelConfig,
    tensors: &ModelTensors,
    source: &dyn ByteSource,
    options: &ExecutorOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<GpuExecutor, LoadError> {
    let limits = options.limits(config, gpu.capabilities())?;
    let shape = ModelShape { capabilities: gpu.capabilities(), config, kv_type: options.kv_type, limits };
    shape.check()?;
    let layout = ModelLayout::new(config, tensors, gpu.capabilities().max_binding_bytes)?;
    let mut pipelines = ModelPipelines::new(gpu);
    pipelines.start(gpu, &shape, &layout);
    let pool = KvPool::allocate(gpu, shape.page(), config.num_layers, limits.num_blocks).await?;
    let buffers = Buffers::allocate(gpu, &shape, count_uniforms(&layout)).await?;
    let weights = weights::stream(gpu, &layout, tensors, source, progress).await?;
    let forward = Forward::new(gpu, &shape, &layout, &weights, &buffers, &pool, &mut pipelines).await?;
    let ring = ReadbackRing::new(gpu, u64::from(limits.max_samples) * 4, READBACK_BUFFERS);
    Ok(GpuExecutor {
        gpu: gpu.clone(),
        limits,
        tile_rows: shape.tile_rows(),
        vocab_size: config.vocab_size,
        logits_stride: shape.logits_stride(),
        forward,
        buffers,
        pool,
        weights,
        ring,
        slots: vec![SlotState::default(); limits.num_sampler_slots as usize],
        words: Vec::new(),
        stats: StepStats::default(),
    })
}

impl GpuExecutor {
    /// Of the last step.
    pub fn step_stats(&self) -> StepStats {
        self.stats
    }

    /// Bytes on the device.
    pub fn memory(&self) -> MemoryUse {
        MemoryUse {
            weights_bytes: self.weights.bytes,
            kv_bytes: self.pool.bytes(),
            activations_bytes: self.buffers.activation_bytes(),
        }
    }

    /// Runs a plan's rows and returns the logits of its samples `[samples, vocab]` instead of sampling. For evaluation.
    ///
    /// # Errors
    /// As [`Executor::submit`].
    pub async fn logits(&mut self, plan: &StepPlan) -> Result<Vec<f32>, ExecutorError> {
        let (shape, clears) = self.prepare(plan)?;
        let row_bytes = u64::from(self.logits_stride) * 4;
        let bytes = u64::from(shape.num_samples) * row_bytes;
        let ring = ReadbackRing::new(&self.gpu, bytes.max(4), 1);
        let readback = ring.take(&self.gpu);
        let mut encoder = self.encode(&shape, &clears, Stage::Head);
        if bytes > 0 {
            encoder.copy_buffer_to_buffer(&self.buffers.logits, 0, readback.buffer(), 0, bytes);
        }
        let submission = self.gpu.queue.submit([encoder.finish()]);
        let data = readback.map(&self.gpu, submission, bytes.max(4)).await?;
        let words = data[..bytes as usize].chunks_exact(4);
        let logits: Vec<f32> = words.map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect();
        if let Some(error) = fault_error(&self.gpu) {
            return Err(error);
        }
        let rows = logits.chunks_exact(self.logits_stride as usize);
        Ok(rows.flat_map(|row| &row[..self.vocab_size as usize]).copied().collect())
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(crate) fn forward(&self) -> &Forward {
        &self.forward
    }

    /// Checks the plan, brings the slots up to date and uploads the step.
    pub(crate) fn prepare(&mut self, plan: &StepPlan) -> Result<(StepShape, Vec<Clear>), ExecutorError> {
        if let Some(error) = fault_error(&self.gpu) {
            return Err(error);
        }
        step_buffer::check(plan, &self.limits, self.pool.num_blocks())?;
        self.stats = StepStats::default();
        let clears = self.reset_slots(&plan.slot_resets);
        let slots = &self.slots;
        let shape = step_buffer::pack(
            plan,
            self.tile_rows,
            |sample| slots[sample.slot.index()].biased,
            &mut self.words,
        );
        for sample in plan.samples.iter().filter(|sample| step_buffer::has_penalties(sample)) {
            self.slots[sample.slot.index()].counted = true;
        }
        self.gpu.queue.write_buffer(&self.buffers.step, 0, cast_slice(&self.words));
        self.stats.bytes_uploaded += self.words.len() as u64 * 4;
        self.stats.rows = shape.num_rows;
        self.stats.samples = shape.num_samples;
        Ok((shape, clears))
    }

    /// Writes what resets carry; says which counts are to be zeroed.
    fn reset_slots(&mut self, resets: &[SlotReset]) -> Vec<Clear> {
        let mut clears = Vec::new();
        for (index, reset) in resets.iter().enumerate() {
            // Of several resets of a slot the last one counts.
            if resets[index + 1..].iter().any(|later| later.slot == reset.slot) {
                continue;
            }
            let counts = dense(self.vocab_size, reset.counts.iter().filter(|(_, count)| *count > 0).copied());
            let bias =
                dense(self.vocab_size, reset.bias.iter().map(|&(token, bias)| (token, bias.to_bits())));
            self.write_table(reset.slot, counts.as_deref(), false);
            self.write_table(reset.slot, bias.as_deref(), true);
            let state = &mut self.slots[reset.slot.index()];
            if counts.is_none() && state.counted {
                clears.push(Clear(reset.slot));
            }
            *state = SlotState { counted: counts.is_some(), biased: bias.is_some() };
        }
        clears
    }

    fn write_table(&mut self, slot: SamplerSlot, values: Option<&[u32]>, is_bias: bool) {
        let Some(values) = values else { return };
        let table = if is_bias { &self.buffers.bias } else { &self.buffers.counts };
        let bytes = cast_slice(values);
        self.gpu.queue.write_buffer(table, self.slot_start(slot), bytes);
        self.stats.bytes_uploaded += bytes.len() as u64;
    }

    fn slot_start(&self, slot: SamplerSlot) -> u64 {
        u64::from(slot.0) * u64::from(self.vocab_size) * 4
    }

    fn encode(&mut self, shape: &StepShape, clears: &[Clear], last: Stage) -> wgpu::CommandEncoder {
        let mut encoder =
            self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("step") });
        for Clear(slot) in clears {
            let size = u64::from(self.vocab_size) * 4;
            encoder.clear_buffer(&self.buffers.counts, self.slot_start(*slot), Some(size));
        }
        let mut pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("step"), timestamp_writes: None });
        let mut dispatches = 0;
        for (pipeline, group, [x, y]) in self.forward.plan(shape, last) {
            pass.set_pipeline(&pipeline.raw);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(x, y, 1);
            dispatches += 1;
        }
        drop(pass);
        self.stats.dispatches = dispatches;
        encoder
    }
}

/// A slot's whole row of a table, unless every entry is 0. Tokens outside the vocabulary are left out.
fn dense(vocab_size: u32, entries: impl Iterator<Item = (TokenId, u32)>) -> Option<Vec<u32>> {
    let mut entries = entries.peekable();
    entries.peek()?;
    let mut row = vec![0; vocab_size as usize];
    for (token, value) in entries {
        if let Some(entry) = row.get_mut(token.index()) {
            *entry = value;
        }
    }
    Some(row)
}

impl Executor for GpuExecutor {
    fn limits(&self) -> StepLimits {
        self.limits
    }

    fn submit(
        &mut self,
        plan: &StepPlan,
    ) -> Result<LocalFuture<Result<StepOutput, ExecutorError>>, ExecutorError> {
        let (shape, clears) = self.prepare(plan)?;
        let readback = self.ring.take(&self.gpu);
        let mut encoder = self.encode(&shape, &clears, Stage::Sampler);
        let bytes = u64::from(shape.num_samples) * 4;
        // Copied and mapped even if nothing is sampled: the future must not resolve before the step is done, and browsers
        // wait only for work on the buffer that is mapped.
        let copied = bytes.max(4);
        encoder.copy_buffer_to_buffer(&self.buffers.tokens, 0, readback.buffer(), 0, copied);
        let submission = self.gpu.queue.submit([encoder.finish()]);
        let mapped = readback.map(&self.gpu, submission, copied);
        let gpu = self.gpu.clone();
        let step = plan.step;
        Ok(Box::pin(async move {
            let data = mapped.await?;
            if let Some(error) = fault_error(&gpu) {
                return Err(error);
            }
            let words = data[..bytes as usize].chunks_exact(4);
            let tokens = words.map(|w| TokenId(u32::from_le_bytes([w[0], w[1], w[2], w[3]]))).collect();
            Ok(StepOutput { step, tokens })
        }))
    }

    fn resize(&mut self, num_blocks: u32) -> BorrowedFuture<'_, Result<u32, ExecutorError>> {
        let num_blocks = num_blocks.clamp(1, self.limits.max_blocks);
        let Self { gpu, pool, forward, .. } = self;
        let gpu = &*gpu;
        Box::pin(async move {
            let allocate = async |layer, bytes| allocate_arena(gpu, layer, bytes).await;
            pool.resize(gpu, num_blocks, allocate, |layer, arena| forward.rebind(gpu, layer, arena)).await
        })
    }

    fn read_blocks<'a>(
        &'a mut self,
        blocks: &[BlockId],
    ) -> BorrowedFuture<'a, Result<Vec<Vec<u8>>, ExecutorError>> {
        let blocks = blocks.to_vec();
        Box::pin(async move { self.pool.read(&self.gpu, &blocks).await })
    }

    fn write_block(&mut self, block: BlockId, bytes: &[u8]) -> Result<(), ExecutorError> {
        self.pool.write(&self.gpu, block, bytes)
    }

    fn block_bytes(&self) -> u64 {
        self.pool.block_bytes()
    }
}
