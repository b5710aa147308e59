//! Compiled kernels: each variant once, with an explicit bind group layout.

use std::collections::HashMap;
use std::rc::Rc;

use hearth_engine::ports::LocalFuture;

use crate::device::Gpu;
use crate::error::GpuError;
use crate::kernel::{Access, Dialect, Kernel};

/// A compiled kernel.
#[derive(Debug)]
pub struct Pipeline {
    /// [`Kernel::label`].
    pub label: String,
    pub(crate) raw: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

/// A buffer range for a binding.
#[derive(Debug, Clone, Copy)]
pub struct Bind<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// First byte, a multiple of 256.
    pub offset: u64,
    /// Bytes; `None` is the rest of the buffer.
    pub size: Option<u64>,
}

impl<'a> From<&'a wgpu::Buffer> for Bind<'a> {
    fn from(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, size: None }
    }
}

impl Pipeline {
    /// Binds buffers in the order of [`Kernel::bindings`].
    pub fn bind(&self, gpu: &Gpu, label: &str, buffers: &[Bind<'_>]) -> wgpu::BindGroup {
        let entries: Vec<_> = (0u32..)
            .zip(buffers)
            .map(|(binding, bind)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: bind.buffer,
                    offset: bind.offset,
                    size: bind.size.and_then(std::num::NonZeroU64::new),
                }),
            })
            .collect();
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(label),
            layout: &self.layout,
            entries: &entries,
        })
    }
}

/// All pipelines of a model. Equal kernels share one.
#[derive(Default)]
pub struct Pipelines {
    by_source: HashMap<String, Rc<Pipeline>>,
    checks: Vec<(String, LocalFuture<Option<wgpu::Error>>)>,
}

impl Pipelines {
    /// The pipeline of this kernel, compiled from now on unless it was before. Whether the device accepts it, [`Self::finish`]
    /// says: browsers compile several at the same time.
    pub fn get(&mut self, gpu: &Gpu, kernel: &Kernel) -> Rc<Pipeline> {
        let source = kernel.source(Dialect::NATIVE);
        if let Some(found) = self.by_source.get(&source) {
            return Rc::clone(found);
        }
        let scope = gpu.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let pipeline = Rc::new(compile(gpu, kernel, &source));
        self.checks.push((kernel.label.clone(), Box::pin(scope.pop())));
        self.by_source.insert(source, Rc::clone(&pipeline));
        pipeline
    }

    /// Waits for everything that was compiled since the last call.
    ///
    /// # Errors
    /// [`GpuError::Device`] with the first kernel that the device refused.
    pub async fn finish(&mut self) -> Result<(), GpuError> {
        for (label, check) in std::mem::take(&mut self.checks) {
            if let Some(error) = check.await {
                return Err(GpuError::Device {
                    what: format!("compiling kernel {label}"),
                    reason: error.to_string(),
                });
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_source.len()
    }

    /// None yet.
    pub fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }
}

fn compile(gpu: &Gpu, kernel: &Kernel, source: &str) -> Pipeline {
    let label = Some(kernel.label.as_str());
    let entries: Vec<_> = (0u32..)
        .zip(kernel.bindings)
        .map(|(binding, spec)| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match spec.access {
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                    Access::Uniform(_) => wgpu::BufferBindingType::Uniform,
                },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            count: None,
        })
        .collect();
    let layout =
        gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let pipeline_layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let module = gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let raw = gpu.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&pipeline_layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            // No kernel reads workgroup memory that it has not written.
            zero_initialize_workgroup_memory: false,
            ..Default::default()
        },
        cache: None,
    });
    Pipeline { label: kernel.label.clone(), raw, layout }
}
