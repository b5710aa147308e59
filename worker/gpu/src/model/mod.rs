//! A model's forward pass as a flat list of prebuilt dispatches: pipelines, bind group, rule for the grid. Recording a step creates
//! nothing. Knows the order of operations and their buffers, not who schedules.

mod buffers;
mod builder;
mod shape;

use std::rc::Rc;

use crate::device::Gpu;
use crate::error::GpuError;
use crate::layout::ModelLayout;
use crate::ops::matmul::{self, Epilogue, MatmulVariant};
use crate::pipelines::{Bind, Pipeline, Pipelines};
use crate::pool::KvPool;
use crate::repack::WeightFormat;
use crate::select;
use crate::step_buffer::StepShape;
use crate::weights::Weights;

use self::builder::Builder;

pub(crate) use self::buffers::{Buffers, count_uniforms};
pub(crate) use self::shape::ModelShape;

/// How many of what a dispatch's second grid dimension, or its columns, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Count {
    Rows,
    Samples,
    SingleRows,
    Tiles,
    PageChains,
}

impl Count {
    fn of(self, shape: &StepShape) -> u32 {
        match self {
            Self::Rows => shape.num_rows,
            Self::Samples => shape.num_samples,
            Self::SingleRows => shape.num_single_rows,
            Self::Tiles => shape.num_tiles,
            Self::PageChains => shape.num_page_chains,
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
    /// For one that is bound to a layer's arena.
    rebind: Option<Rebind>,
}

/// What a bind group is made again of when the layer's arena is replaced.
#[derive(Debug)]
struct Rebind {
    label: String,
    layer: usize,
    /// In the order of the bindings: buffer, offset, bytes. `None` is the arena.
    binds: Vec<Option<(wgpu::Buffer, u64, Option<u64>)>>,
}

impl Rebind {
    fn group(&self, gpu: &Gpu, pipeline: &Pipeline, arena: &wgpu::Buffer) -> wgpu::BindGroup {
        let binds: Vec<_> = self
            .binds
            .iter()
            .map(|bind| match bind {
                Some((buffer, offset, size)) => Bind { buffer, offset: *offset, size: *size },
                None => arena.into(),
            })
            .collect();
        pipeline.bind(gpu, &self.label, &binds)
    }
}

impl Work {
    /// The pipeline that the bind group is made for; all variants have the same layout.
    fn pipeline(&self) -> &Pipeline {
        match self {
            Self::Flat(pipeline, _) | Self::Wide(pipeline, _, _) => pipeline,
            Self::Columns(variants, _) => &variants[0].0,
        }
    }
}

/// Which part of the forward pass a dispatch belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Page operations, embedding and layers.
    Body,
    /// Final norm and logits of the sampled rows.
    Head,
    /// Tokens from logits.
    Sampler,
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

/// The whole forward pass.
#[derive(Debug)]
pub(crate) struct Forward {
    dispatches: Vec<(Stage, Dispatch)>,
    variants: Vec<MatmulVariant>,
}

impl Forward {
    pub async fn new(
        gpu: &Gpu,
        shape: &ModelShape<'_>,
        layout: &ModelLayout,
        weights: &Weights,
        buffers: &Buffers,
        pool: &KvPool,
        pipelines: &mut ModelPipelines,
    ) -> Result<Self, GpuError> {
        let mut builder =
            Builder { gpu, shape, buffers, pool, pipelines, uniforms: Vec::new(), dispatches: Vec::new() };
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

    /// Binds what is bound to a layer's arena to a new one.
    pub fn rebind(&mut self, gpu: &Gpu, layer: usize, arena: &wgpu::Buffer) {
        for (_, dispatch) in &mut self.dispatches {
            if let Some(rebind) = dispatch.rebind.as_ref().filter(|rebind| rebind.layer == layer) {
                dispatch.group = rebind.group(gpu, dispatch.work.pipeline(), arena);
            }
        }
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
