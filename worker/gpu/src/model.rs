//! A model's forward pass as a flat list of prebuilt dispatches: pipelines, bind group, rule for the grid. Recording a step creates
//! nothing. Knows the order of operations and their buffers, not who schedules.

use std::rc::Rc;

use hearth_engine::model::{Activation, ModelConfig};
use hearth_engine::plan::StepLimits;

use crate::device::{Allocator, Capabilities, Gpu};
use crate::error::{GpuError, LoadError};
use crate::layout::{ModelLayout, row_stride};
use crate::ops::attention::{self, AttentionShape, KvType};
use crate::ops::embed;
use crate::ops::matmul::{self, Epilogue, Gate, MAX_ROTATION_PAIRS, MatmulParams, MatmulVariant, QkvParams};
use crate::ops::norm::{self, NormShape};
use crate::ops::sample::{self, SampleShape};
use crate::pipelines::{Bind, Pipeline, Pipelines};
use crate::repack::WeightFormat;
use crate::select;
use crate::step_buffer::{self, BLOCK_SIZE_TOKENS, StepShape};
use crate::weights::{SegmentBuffers, Weights};

/// Uniform ranges begin at multiples of this many bytes, on every device.
const UNIFORM_ALIGNMENT: u64 = 256;
/// Rows of the logits begin at multiples of this many elements.
const LOGITS_ALIGNMENT: u32 = 32;

/// How many of what a dispatch's second grid dimension, or its columns, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Rows,
    Samples,
    SingleRows,
    Tiles,
}

impl Count {
    fn of(self, shape: &StepShape) -> u32 {
        match self {
            Self::Rows => shape.num_rows,
            Self::Samples => shape.num_samples,
            Self::SingleRows => shape.num_single_rows,
            Self::Tiles => shape.num_tiles,
        }
    }
}

#[derive(Debug)]
enum Work {
    /// One workgroup for each.
    Flat(Rc<Pipeline>, Count),
    /// `x` workgroups for each.
    Wide(Rc<Pipeline>, u32, Count),
    /// A matmul with these columns: the pipeline and grid x of each variant.
    Columns(Rc<[(Rc<Pipeline>, u32)]>, Count),
}

/// One kernel of the forward pass with its buffers.
#[derive(Debug)]
pub(crate) struct Dispatch {
    work: Work,
    group: wgpu::BindGroup,
}

/// Which part of the forward pass a dispatch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Embedding and layers.
    Body,
    /// Final norm and logits of the sampled rows.
    Head,
    /// Tokens from logits.
    Sampler,
}

/// Buffers that belong to no weight.
#[derive(Debug)]
pub(crate) struct Buffers {
    pub step: wgpu::Buffer,
    x: wgpu::Buffer,
    normed: wgpu::Buffer,
    q: wgpu::Buffer,
    attention: wgpu::Buffer,
    gated: wgpu::Buffer,
    pub logits: wgpu::Buffer,
    partials: wgpu::Buffer,
    /// `[slots, vocab]` u32.
    pub counts: wgpu::Buffer,
    /// `[slots, vocab]` f32.
    pub bias: wgpu::Buffer,
    sampled: wgpu::Buffer,
    pub tokens: wgpu::Buffer,
    uniforms: wgpu::Buffer,
    /// Bound where a kernel's binding is not read.
    unused: wgpu::Buffer,
    /// Bytes of the above.
    bytes: u64,
    /// Keys and values, one arena a layer.
    kv: Vec<wgpu::Buffer>,
    kv_bytes: u64,
}

/// What a model is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelShape<'a> {
    pub capabilities: &'a Capabilities,
    pub config: &'a ModelConfig,
    pub kv_type: KvType,
    pub limits: StepLimits,
}

impl ModelShape<'_> {
    fn q_rows(&self) -> u32 {
        self.config.num_heads * self.config.head_dim
    }

    fn kv_rows(&self) -> u32 {
        self.config.num_kv_heads * self.config.head_dim
    }

    fn attention(&self) -> AttentionShape {
        AttentionShape {
            num_heads: self.config.num_heads,
            num_kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
            q_stride: self.q_rows(),
            out_stride: row_stride(self.q_rows()),
            kv_type: self.kv_type,
            tuning: select::attention_tuning(self.capabilities),
        }
    }

    fn sample(&self) -> SampleShape {
        SampleShape {
            vocab: self.config.vocab_size,
            logits_stride: self.logits_stride(),
            workgroup: select::sample_workgroup(self.capabilities),
        }
    }

    /// Elements of a row of the logits.
    pub fn logits_stride(&self) -> u32 {
        self.config.vocab_size.next_multiple_of(LOGITS_ALIGNMENT)
    }

    /// Rows of a tile of the prefill attention.
    pub fn tile_rows(&self) -> u32 {
        self.attention().tile_rows()
    }

    fn norm(&self, only_sampled: bool) -> NormShape {
        let hidden = self.config.hidden_size;
        NormShape {
            hidden,
            stride: row_stride(hidden),
            eps: self.config.rms_norm_eps,
            only_sampled,
            workgroup: select::norm_workgroup(self.capabilities),
        }
    }

    fn gate(&self) -> Epilogue {
        Epilogue::Gated(find_gate(self.config.activation).unwrap_or(Gate::Silu))
    }

    /// Refuses shapes that the kernels cannot compute.
    pub fn check(&self) -> Result<(), LoadError> {
        let config = self.config;
        let unsupported = |what, got, expected| Err(LoadError::UnsupportedShape { what, got, expected });
        if config.head_dim == 0 || !config.head_dim.is_multiple_of(4) || config.head_dim > 1024 {
            return unsupported("a head size", config.head_dim, "a multiple of 4, at most 1024");
        }
        if config.num_kv_heads == 0 || !config.num_heads.is_multiple_of(config.num_kv_heads) {
            return unsupported(
                "a number of query heads",
                config.num_heads,
                "a multiple of the key-value heads",
            );
        }
        let rotary = config.rope.rotary_dim;
        if !rotary.is_multiple_of(2) || rotary > config.head_dim || rotary / 2 > MAX_ROTATION_PAIRS {
            return unsupported("a rotary size", rotary, "even, at most the head size, at most 512");
        }
        if config.rope.inverse_frequencies.len() != rotary as usize / 2 {
            let got = config.rope.inverse_frequencies.len() as u32;
            return unsupported("a number of rotary frequencies", got, "half the rotary size");
        }
        if find_gate(config.activation).is_none() {
            return Err(LoadError::UnsupportedActivation { got: config.activation });
        }
        for (what, got) in [
            ("a vocabulary", config.vocab_size),
            ("a hidden size", config.hidden_size),
            ("an intermediate size", config.intermediate_size),
            ("a number of layers", config.num_layers),
        ] {
            if got == 0 {
                return unsupported(what, got, "above 0");
            }
        }
        Ok(())
    }
}

/// All pipelines of a model; created before its weights arrive.
pub(crate) struct ModelPipelines {
    variants: Vec<MatmulVariant>,
    pipelines: Pipelines,
}

impl ModelPipelines {
    pub fn new(gpu: &Gpu) -> Self {
        Self { variants: select::matmul_variants(gpu.capabilities()), pipelines: Pipelines::default() }
    }

    /// Starts compiling what this layout needs.
    pub fn start(&mut self, gpu: &Gpu, shape: &ModelShape<'_>, layout: &ModelLayout) {
        let mut of_matrix = |matrix: usize, epilogue| {
            for segment in &layout.matrices[matrix].segments {
                self.matmul(gpu, epilogue, segment.format, segment.num_rows);
            }
        };
        for layer in &layout.layers {
            of_matrix(layer.qkv, Epilogue::Qkv(shape.kv_type));
            of_matrix(layer.attention_output, Epilogue::Residual);
            of_matrix(layer.gate_up, shape.gate());
            of_matrix(layer.down, Epilogue::Residual);
        }
        of_matrix(layout.head, Epilogue::Logits);
    }

    /// Waits until everything is compiled.
    pub async fn finish(&mut self) -> Result<(), GpuError> {
        self.pipelines.finish().await
    }

    fn matmul(
        &mut self,
        gpu: &Gpu,
        epilogue: Epilogue,
        format: WeightFormat,
        num_rows: u32,
    ) -> Rc<[(Rc<Pipeline>, u32)]> {
        let variants = self.variants.clone();
        variants
            .into_iter()
            .map(|variant| {
                let pipeline = self.pipelines.get(gpu, &matmul::kernel(epilogue, format, variant));
                (pipeline, variant.core.grid_x(num_rows))
            })
            .collect()
    }
}

/// The kernels' activation. `None` for one that has no kernel, which [`ModelShape::check`] refuses.
fn find_gate(activation: Activation) -> Option<Gate> {
    match activation {
        Activation::Silu => Some(Gate::Silu),
        _ => None,
    }
}

impl Buffers {
    /// Activations for the largest step, sampler state and the KV arenas.
    pub async fn allocate(gpu: &Gpu, shape: &ModelShape<'_>, num_uniforms: u64) -> Result<Self, GpuError> {
        let config = shape.config;
        let limits = &shape.limits;
        let arena_bytes = u64::from(limits.num_blocks)
            * u64::from(BLOCK_SIZE_TOKENS * 2)
            * u64::from(shape.kv_rows())
            * u64::from(shape.kv_type.bytes());
        let kv = gpu
            .allocate("the KV cache", |allocator| {
                (0..config.num_layers)
                    .map(|layer| allocator.storage(&format!("layer {layer} kv"), arena_bytes))
                    .collect::<Vec<_>>()
            })
            .await?;
        gpu.allocate("activations", |allocator| Self::create(allocator, shape, num_uniforms, kv, arena_bytes))
            .await
    }

    fn create(
        allocator: &mut Allocator<'_>,
        shape: &ModelShape<'_>,
        num_uniforms: u64,
        kv: Vec<wgpu::Buffer>,
        arena_bytes: u64,
    ) -> Self {
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
            kv_bytes: arena_bytes * kv.len() as u64,
            kv,
        };
        buffers.bytes = allocator.bytes();
        buffers
    }

    pub fn activation_bytes(&self) -> u64 {
        self.bytes
    }

    pub fn kv_bytes(&self) -> u64 {
        self.kv_bytes
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

/// The whole forward pass.
#[derive(Debug)]
pub(crate) struct Forward {
    dispatches: Vec<(Stage, Dispatch)>,
    variants: Vec<MatmulVariant>,
}

/// Puts the list together; at the end the uniforms are uploaded at once.
struct Builder<'a> {
    gpu: &'a Gpu,
    shape: &'a ModelShape<'a>,
    buffers: &'a Buffers,
    pipelines: &'a mut ModelPipelines,
    uniforms: Vec<u8>,
    dispatches: Vec<(Stage, Dispatch)>,
}

impl Forward {
    pub async fn new(
        gpu: &Gpu,
        shape: &ModelShape<'_>,
        layout: &ModelLayout,
        weights: &Weights,
        buffers: &Buffers,
        pipelines: &mut ModelPipelines,
    ) -> Result<Self, GpuError> {
        let mut builder =
            Builder { gpu, shape, buffers, pipelines, uniforms: Vec::new(), dispatches: Vec::new() };
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        builder.build(layout, weights);
        let Builder { dispatches, uniforms, .. } = builder;
        gpu.queue.write_buffer(&buffers.uniforms, 0, &uniforms);
        if let Some(error) = scope.pop().await {
            return Err(GpuError::Device {
                what: "building the forward pass".to_owned(),
                reason: error.to_string(),
            });
        }
        pipelines.finish().await?;
        Ok(Self { dispatches, variants: pipelines.variants.clone() })
    }

    /// The dispatches of a step up to a stage, with their pipelines and grids.
    pub fn plan<'a>(
        &'a self,
        shape: &'a StepShape,
        last: Stage,
    ) -> impl Iterator<Item = (&'a Pipeline, &'a wgpu::BindGroup, [u32; 2])> {
        self.dispatches.iter().filter(move |(stage, _)| *stage <= last).filter_map(move |(_, dispatch)| {
            let (pipeline, grid) = match &dispatch.work {
                Work::Flat(pipeline, count) => (pipeline, [count.of(shape), 1]),
                Work::Wide(pipeline, x, count) => (pipeline, [*x, count.of(shape)]),
                Work::Columns(variants, count) => {
                    let columns = count.of(shape);
                    let index = select::variant_for(&self.variants, columns);
                    let (pipeline, x) = &variants[index];
                    (pipeline, [*x, columns.div_ceil(self.variants[index].columns)])
                }
            };
            (grid[0] > 0 && grid[1] > 0).then_some((&**pipeline, &dispatch.group, grid))
        })
    }
}

impl Builder<'_> {
    fn build(&mut self, layout: &ModelLayout, weights: &Weights) {
        let buffers = self.buffers;
        let frequencies = self.put_frequencies();
        let blocks = |matrix: usize| layout.matrices[matrix].blocks_per_row();
        for segment in &weights.matrices[layout.embedding] {
            self.embed(segment, blocks(layout.embedding));
        }
        for (layer, kv) in layout.layers.iter().zip(&buffers.kv) {
            self.norm(&weights.vectors[layer.attention_norm], false);
            for segment in &weights.matrices[layer.qkv] {
                self.qkv(segment, blocks(layer.qkv), kv, frequencies);
            }
            self.attention(kv);
            for segment in &weights.matrices[layer.attention_output] {
                self.residual(segment, blocks(layer.attention_output), &buffers.attention);
            }
            self.norm(&weights.vectors[layer.mlp_norm], false);
            for segment in &weights.matrices[layer.gate_up] {
                self.gated(segment, blocks(layer.gate_up));
            }
            for segment in &weights.matrices[layer.down] {
                self.residual(segment, blocks(layer.down), &buffers.gated);
            }
        }
        self.norm(&weights.vectors[layout.final_norm], true);
        for segment in &weights.matrices[layout.head] {
            self.logits(segment, blocks(layout.head));
        }
        self.sampler();
    }

    fn push(&mut self, stage: Stage, label: &str, work: Work, binds: &[Bind<'_>]) {
        let pipeline = match &work {
            Work::Flat(pipeline, _) | Work::Wide(pipeline, _, _) => pipeline,
            // All variants have the same layout.
            Work::Columns(variants, _) => &variants[0].0,
        };
        let group = pipeline.bind(self.gpu, label, binds);
        self.dispatches.push((stage, Dispatch { work, group }));
    }

    fn put_uniform(&mut self, bytes: &[u8]) -> (u64, u64) {
        let offset = (self.uniforms.len() as u64).next_multiple_of(UNIFORM_ALIGNMENT);
        self.uniforms.resize(offset as usize, 0);
        self.uniforms.extend_from_slice(bytes);
        (offset, bytes.len() as u64)
    }

    fn put_frequencies(&mut self) -> (u64, u64) {
        let mut frequencies = self.shape.config.rope.inverse_frequencies.clone();
        frequencies.resize(MAX_ROTATION_PAIRS as usize, 0.0);
        self.put_uniform(bytemuck::cast_slice(&frequencies))
    }

    fn put_params(
        &mut self,
        segment: &SegmentBuffers,
        blocks_per_row: u32,
        output_stride: u32,
    ) -> (u64, u64) {
        self.put_uniform(bytemuck::bytes_of(&MatmulParams {
            first_row: segment.segment.first_row,
            num_rows: segment.segment.num_rows,
            blocks_per_row,
            output_stride,
        }))
    }

    fn columns(&mut self, epilogue: Epilogue, segment: &SegmentBuffers, count: Count) -> Work {
        let (format, rows) = (segment.segment.format, segment.segment.num_rows);
        Work::Columns(self.pipelines.matmul(self.gpu, epilogue, format, rows), count)
    }

    fn embed(&mut self, segment: &SegmentBuffers, blocks_per_row: u32) {
        let buffers = self.buffers;
        let params = self.put_params(segment, blocks_per_row, row_stride(self.shape.config.hidden_size));
        let pipeline = self.pipelines.pipelines.get(self.gpu, &embed::kernel(segment.segment.format));
        let work = Work::Wide(pipeline, embed::grid_x(blocks_per_row), Count::Rows);
        let params = Bind { buffer: &buffers.uniforms, offset: params.0, size: Some(params.1) };
        self.push(
            Stage::Body,
            "embed",
            work,
            &[
                (&segment.codes).into(),
                (&segment.scales).into(),
                (&buffers.step).into(),
                (&buffers.sampled).into(),
                (&buffers.x).into(),
                params,
            ],
        );
    }

    fn norm(&mut self, weight: &wgpu::Buffer, only_sampled: bool) {
        let buffers = self.buffers;
        let pipeline = self.pipelines.pipelines.get(self.gpu, &norm::kernel(&self.shape.norm(only_sampled)));
        let (stage, count) =
            if only_sampled { (Stage::Head, Count::Samples) } else { (Stage::Body, Count::Rows) };
        self.push(
            stage,
            "rms_norm",
            Work::Flat(pipeline, count),
            &[(&buffers.step).into(), (&buffers.x).into(), weight.into(), (&buffers.normed).into()],
        );
    }

    fn qkv(
        &mut self,
        segment: &SegmentBuffers,
        blocks_per_row: u32,
        kv: &wgpu::Buffer,
        frequencies: (u64, u64),
    ) {
        let buffers = self.buffers;
        let params = self.put_uniform(bytemuck::bytes_of(&QkvParams {
            first_row: segment.segment.first_row,
            num_rows: segment.segment.num_rows,
            blocks_per_row,
            q_rows: self.shape.q_rows(),
            kv_rows: self.shape.kv_rows(),
            head_dim: self.shape.config.head_dim,
            rotary_dim: self.shape.config.rope.rotary_dim,
            rope_scale: 1.0,
        }));
        let work = self.columns(Epilogue::Qkv(self.shape.kv_type), segment, Count::Rows);
        let uniform = |(offset, size)| Bind { buffer: &buffers.uniforms, offset, size: Some(size) };
        self.push(
            Stage::Body,
            "qkv",
            work,
            &[
                (&segment.codes).into(),
                (&segment.scales).into(),
                (&buffers.normed).into(),
                (&buffers.unused).into(),
                (&buffers.step).into(),
                (&buffers.q).into(),
                kv.into(),
                uniform(params),
                uniform(frequencies),
            ],
        );
    }

    fn attention(&mut self, kv: &wgpu::Buffer) {
        let buffers = self.buffers;
        let shape = self.shape.attention();
        let pipelines = &mut self.pipelines.pipelines;
        let decode = pipelines.get(self.gpu, &attention::decode_kernel(&shape));
        let prefill = pipelines.get(self.gpu, &attention::prefill_kernel(&shape));
        let binds = [(&buffers.step).into(), (&buffers.q).into(), kv.into(), (&buffers.attention).into()];
        let decode = Work::Wide(decode, shape.decode_grid_x(), Count::SingleRows);
        self.push(Stage::Body, "attention_decode", decode, &binds);
        let prefill = Work::Wide(prefill, shape.prefill_grid_x(), Count::Tiles);
        self.push(Stage::Body, "attention_prefill", prefill, &binds);
    }

    fn residual(&mut self, segment: &SegmentBuffers, blocks_per_row: u32, input: &wgpu::Buffer) {
        let buffers = self.buffers;
        let params = self.put_params(segment, blocks_per_row, row_stride(self.shape.config.hidden_size));
        let work = self.columns(Epilogue::Residual, segment, Count::Rows);
        self.push(
            Stage::Body,
            "residual",
            work,
            &[
                (&segment.codes).into(),
                (&segment.scales).into(),
                input.into(),
                (&buffers.unused).into(),
                (&buffers.step).into(),
                (&buffers.x).into(),
                Bind { buffer: &buffers.uniforms, offset: params.0, size: Some(params.1) },
            ],
        );
    }

    fn gated(&mut self, segment: &SegmentBuffers, blocks_per_row: u32) {
        let params =
            self.put_params(segment, blocks_per_row, row_stride(self.shape.config.intermediate_size));
        let work = self.columns(self.shape.gate(), segment, Count::Rows);
        let io = [&self.buffers.normed, &self.buffers.gated];
        self.product(Stage::Body, work, segment, io, params);
    }

    fn product(
        &mut self,
        stage: Stage,
        work: Work,
        segment: &SegmentBuffers,
        io: [&wgpu::Buffer; 2],
        params: (u64, u64),
    ) {
        let label = if stage == Stage::Head { "logits" } else { "gated" };
        let [input, out] = io;
        self.push(
            stage,
            label,
            work,
            &[
                (&segment.codes).into(),
                (&segment.scales).into(),
                input.into(),
                (&self.buffers.step).into(),
                out.into(),
                Bind { buffer: &self.buffers.uniforms, offset: params.0, size: Some(params.1) },
            ],
        );
    }

    fn logits(&mut self, segment: &SegmentBuffers, blocks_per_row: u32) {
        let params = self.put_params(segment, blocks_per_row, self.shape.logits_stride());
        let work = self.columns(Epilogue::Logits, segment, Count::Samples);
        let io = [&self.buffers.normed, &self.buffers.logits];
        self.product(Stage::Head, work, segment, io, params);
    }

    fn sampler(&mut self) {
        let buffers = self.buffers;
        let shape = self.shape.sample();
        let prepare = self.pipelines.pipelines.get(self.gpu, &sample::prepare_kernel(&shape));
        let pick = self.pipelines.pipelines.get(self.gpu, &sample::pick_kernel(&shape));
        self.push(
            Stage::Sampler,
            "sample_prepare",
            Work::Wide(prepare, shape.chunks(), Count::Samples),
            &[
                (&buffers.step).into(),
                (&buffers.counts).into(),
                (&buffers.bias).into(),
                (&buffers.logits).into(),
                (&buffers.partials).into(),
            ],
        );
        self.push(
            Stage::Sampler,
            "sample_pick",
            Work::Flat(pick, Count::Samples),
            &[
                (&buffers.step).into(),
                (&buffers.logits).into(),
                (&buffers.partials).into(),
                (&buffers.counts).into(),
                (&buffers.sampled).into(),
                (&buffers.tokens).into(),
            ],
        );
    }
}
