//! Puts the list of dispatches together: the order of operations of a llama layer, and which buffers each takes.

use crate::device::Gpu;
use crate::layout::{ModelLayout, row_stride};
use crate::model::buffers::{Buffers, UNIFORM_ALIGNMENT};
use crate::model::shape::ModelShape;
use crate::model::{Count, Dispatch, ModelPipelines, Rebind, Stage, Work};
use crate::ops::matmul::{Epilogue, MAX_ROTATION_PAIRS, MatmulParams, QkvParams};
use crate::ops::{attention, embed, norm, quantize, sample, shift};
use crate::pipelines::Bind;
use crate::pool::KvPool;
use crate::weights::{SegmentBuffers, Weights};

/// Puts the list together; at the end the uniforms are uploaded at once.
pub(super) struct Builder<'a> {
    pub gpu: &'a Gpu,
    pub shape: &'a ModelShape<'a>,
    pub buffers: &'a Buffers,
    pub pool: &'a KvPool,
    pub pipelines: &'a mut ModelPipelines,
    pub uniforms: Vec<u8>,
    pub dispatches: Vec<(Stage, Dispatch)>,
}

impl<'a> Builder<'a> {
    pub fn build(&mut self, layout: &ModelLayout, weights: &Weights) {
        let buffers = self.buffers;
        let frequencies = self.put_frequencies();
        let blocks = |matrix: usize| layout.matrices[matrix].blocks_per_row();
        for layer in 0..layout.layers.len() {
            self.shift(layer, frequencies);
        }
        for segment in &weights.matrices[layout.embedding] {
            self.embed(segment, blocks(layout.embedding));
        }
        for (index, layer) in layout.layers.iter().enumerate() {
            self.norm(&weights.vectors[layer.attention_norm], false);
            for segment in &weights.matrices[layer.qkv] {
                self.qkv(segment, blocks(layer.qkv), index, frequencies);
            }
            self.quantize(index);
            self.attention(index);
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
        let group = work.pipeline().bind(self.gpu, label, binds);
        self.dispatches.push((stage, Dispatch { work, group, rebind: None }));
    }

    /// As [`Self::push`] in a layer's body; `None` is bound to the layer's arena.
    fn push_on_arena(&mut self, layer: usize, label: &str, work: Work, binds: &[Option<Bind<'_>>]) {
        let own = |bind: &Bind<'_>| (bind.buffer.clone(), bind.offset, bind.size);
        let binds = binds.iter().map(|bind| bind.as_ref().map(own)).collect();
        let rebind = Rebind { label: label.to_owned(), layer, binds };
        let group = rebind.group(self.gpu, work.pipeline(), &self.pool.arenas()[layer]);
        self.dispatches.push((Stage::Body, Dispatch { work, group, rebind: Some(rebind) }));
    }

    fn uniform(&self, (offset, size): (u64, u64)) -> Bind<'a> {
        Bind { buffer: &self.buffers.uniforms, offset, size: Some(size) }
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

    fn shift(&mut self, layer: usize, frequencies: (u64, u64)) {
        let page = self.shape.page();
        let kernel = shift::kernel(&page, self.shape.config.rope.rotary_dim);
        let work = Work::Wide(
            self.pipelines.pipelines.get(self.gpu, &kernel),
            shift::grid_x(&page),
            Count::PageChains,
        );
        let buffers = self.buffers;
        let frequencies = self.uniform(frequencies);
        self.push_on_arena(
            layer,
            "shift_page",
            work,
            &[Some((&buffers.step).into()), None, Some(frequencies)],
        );
    }

    fn embed(&mut self, segment: &SegmentBuffers, blocks_per_row: u32) {
        let buffers = self.buffers;
        let params = self.put_params(segment, blocks_per_row, row_stride(self.shape.config.hidden_size));
        let pipeline = self.pipelines.pipelines.get(self.gpu, &embed::kernel(segment.segment.format));
        let work = Work::Wide(pipeline, embed::grid_x(blocks_per_row), Count::Rows);
        let params = self.uniform(params);
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

    fn qkv(&mut self, segment: &SegmentBuffers, blocks_per_row: u32, layer: usize, frequencies: (u64, u64)) {
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
        self.push_on_arena(
            layer,
            "qkv",
            work,
            &[
                Some((&segment.codes).into()),
                Some((&segment.scales).into()),
                Some((&buffers.normed).into()),
                Some((&buffers.unused).into()),
                Some((&buffers.step).into()),
                Some((&buffers.q).into()),
                buffers.staged.as_ref().map(Bind::from),
                Some(self.uniform(params)),
                Some(self.uniform(frequencies)),
            ],
        );
    }

    /// Only where new keys and values were staged.
    fn quantize(&mut self, layer: usize) {
        let buffers = self.buffers;
        let Some(staged) = &buffers.staged else { return };
        let page = self.shape.page();
        let pipeline = self.pipelines.pipelines.get(self.gpu, &quantize::kernel(&page));
        let work = Work::Wide(pipeline, quantize::grid_x(&page), Count::Rows);
        let binds = [Some((&buffers.step).into()), Some(staged.into()), None];
        self.push_on_arena(layer, "quantize_kv", work, &binds);
    }

    fn attention(&mut self, layer: usize) {
        let buffers = self.buffers;
        let shape = self.shape.attention();
        let pipelines = &mut self.pipelines.pipelines;
        let decode = pipelines.get(self.gpu, &attention::decode_kernel(&shape));
        let prefill = pipelines.get(self.gpu, &attention::prefill_kernel(&shape));
        let some = |buffer| Some(Bind::from(buffer));
        let binds = [some(&buffers.step), some(&buffers.q), None, some(&buffers.attention)];
        let decode = Work::Wide(decode, shape.decode_grid_x(), Count::SingleRows);
        self.push_on_arena(layer, "attention_decode", decode, &binds);
        let prefill = Work::Wide(prefill, shape.prefill_grid_x(), Count::Tiles);
        self.push_on_arena(layer, "attention_prefill", prefill, &binds);
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
                self.uniform(params),
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
                self.uniform(params),
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
