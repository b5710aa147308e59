//! The GPU device: how it is asked for, what it can do, and what became of it. Knows nothing of models.
//!
//! Errors that nobody awaited (validation, loss) are kept in a [`FaultCell`]; the executor looks there at every step, so
//! that nothing on the GPU's side ever panics.

use std::sync::{Arc, Mutex, PoisonError};

use futures::task::AtomicWaker;

use crate::error::GpuError;

/// Sizes of the subgroups that the adapter may choose, in invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubgroupSizes {
    /// Smallest.
    pub min: u32,
    /// Largest.
    pub max: u32,
}

/// What kernels may use: facts of the device, less what [`CapabilityMask`] hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The "GPU" is the CPU: lavapipe, SwiftShader, WARP.
    pub software: bool,
    /// Subgroup operations, where the device has them.
    pub subgroups: Option<SubgroupSizes>,
    /// `enable f16;` in WGSL.
    pub shader_f16: bool,
    /// Timestamps at pass boundaries.
    pub timestamps: bool,
    /// Largest storage binding.
    pub max_binding_bytes: u64,
    /// Largest buffer.
    pub max_buffer_bytes: u64,
    /// Workgroup memory of one pipeline.
    pub max_workgroup_bytes: u32,
    /// Invocations of one workgroup.
    pub max_invocations: u32,
    /// Workgroups in one dimension of a dispatch.
    pub max_workgroups_per_dimension: u32,
}

/// Capabilities to leave unused although the device has them: tests run every variant this way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapabilityMask {
    /// Take only WebGPU's default limits.
    pub default_limits: bool,
    /// Use no subgroup operations.
    pub no_subgroups: bool,
    /// Use no f16 arithmetic.
    pub no_shader_f16: bool,
    /// Treat a software adapter as hardware when kernels are chosen.
    pub no_software: bool,
    /// Bind no more than this at once.
    pub max_binding_bytes: Option<u64>,
}

/// How to ask for a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GpuOptions {
    /// What to leave unused.
    pub mask: CapabilityMask,
}

/// What went wrong on the device without a caller to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The device is gone.
    Lost(String),
    /// Validation or memory.
    Error(String),
}

/// The first [`Fault`] of a device, written by its callbacks.
#[derive(Debug, Default)]
pub struct FaultCell {
    fault: Mutex<Option<Fault>>,
    waker: AtomicWaker,
}

impl FaultCell {
    /// Keeps the first error; a loss replaces an error.
    fn report(&self, fault: Fault) {
        let mut slot = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() || (matches!(fault, Fault::Lost(_)) && !matches!(*slot, Some(Fault::Lost(_)))) {
            *slot = Some(fault);
        }
        drop(slot);
        self.waker.wake();
    }

    /// The fault so far.
    pub fn find(&self) -> Option<Fault> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A device with its queue, and what is known about it.
#[derive(Debug, Clone)]
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) fault: Arc<FaultCell>,
    capabilities: Capabilities,
    description: String,
}

/// What the browser says about an adapter that wgpu does not pass on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct AdapterFacts {
    /// `GPUAdapterInfo` vendor, architecture, device and description, joined.
    pub identity: String,
    /// `isFallbackAdapter`.
    pub fallback: bool,
    /// The device will have WebGPU's `subgroups` although wgpu does not know it.
    pub subgroups: bool,
}

/// Words in an adapter's name that mean that a CPU does the work.
const SOFTWARE_NAMES: [&str; 5] =
    ["swiftshader", "llvmpipe", "lavapipe", "softpipe", "microsoft basic render"];

fn is_software(device_type: wgpu::DeviceType, name: &str, facts: &AdapterFacts) -> bool {
    let names = format!("{name} {}", facts.identity).to_lowercase();
    device_type == wgpu::DeviceType::Cpu
        || facts.fallback
        || SOFTWARE_NAMES.iter().any(|word| names.contains(word))
}

impl Gpu {
    /// Asks for the best adapter and a device with all that it offers and we use.
    ///
    /// # Errors
    /// [`GpuError::NoWebGpu`], [`GpuError::NoAdapter`], [`GpuError::DeviceRefused`].
    pub async fn request(options: GpuOptions) -> Result<Self, GpuError> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());

        #[cfg(target_arch = "wasm32")]
        let (adapter, facts) = crate::web::request_adapter(&instance, &options.mask).await?;
        #[cfg(not(target_arch = "wasm32"))]
        let (adapter, facts) = (native_adapter(&instance).await?, AdapterFacts::default());

        let info = adapter.get_info();
        let offered = adapter.features();
        let mut features = wgpu::Features::TIMESTAMP_QUERY;
        if !options.mask.no_subgroups {
            features |= wgpu::Features::SUBGROUP;
        }
        if !options.mask.no_shader_f16 {
            features |= wgpu::Features::SHADER_F16;
        }
        features &= offered;
        let limits = if options.mask.default_limits { wgpu::Limits::default() } else { adapter.limits() };
        let (device, queue) = adapter
            .request_device(&wgpu::DeviceDescriptor {
                label: Some("hearth"),
                required_features: features,
                required_limits: limits.clone(),
                memory_hints: wgpu::MemoryHints::Performance,
                ..Default::default()
            })
            .await
            .map_err(|error| GpuError::DeviceRefused {
                adapter: info.name.clone(),
                reason: error.to_string(),
            })?;

        let fault = Arc::new(FaultCell::default());
        let on_error = Arc::clone(&fault);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            on_error.report(Fault::Error(error.to_string()));
        }));
        let on_lost = Arc::clone(&fault);
        device.set_device_lost_callback(move |_, reason| on_lost.report(Fault::Lost(reason)));

        let has_subgroups = !options.mask.no_subgroups
            && (features.contains(wgpu::Features::SUBGROUP) || facts.subgroups)
            && info.subgroup_min_size > 0;
        let capabilities = Capabilities {
            software: !options.mask.no_software && is_software(info.device_type, &info.name, &facts),
            subgroups: has_subgroups
                .then_some(SubgroupSizes { min: info.subgroup_min_size, max: info.subgroup_max_size }),
            shader_f16: features.contains(wgpu::Features::SHADER_F16),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding_bytes: (options.mask.max_binding_bytes.unwrap_or(u64::MAX))
                .min(limits.max_storage_buffer_binding_size),
            max_buffer_bytes: limits.max_buffer_size,
            max_workgroup_bytes: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
            max_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
        };
        let description = [info.name.as_str(), &facts.identity, &info.driver, &info.driver_info]
            .into_iter()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" / ");
        Ok(Self { device, queue, fault, capabilities, description })
    }

    /// What kernels may use.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Adapter and driver in words.
    pub fn description(&self) -> String {
        if self.description.is_empty() { "unnamed adapter".to_owned() } else { self.description.clone() }
    }

    /// What went wrong so far, if anything did.
    pub fn fault(&self) -> Option<Fault> {
        let fault = self.fault.find()?;
        if let Fault::Error(_) = fault {
            // The error may come of a loss, of which native backends tell only when they are polled.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
        self.fault.find()
    }

    /// Resolves with the reason when the device is lost. One waiter at a time: a later call takes over.
    pub fn lost(&self) -> impl Future<Output = String> + use<> {
        let cell = Arc::clone(&self.fault);
        std::future::poll_fn(move |context| {
            cell.waker.register(context.waker());
            match cell.find() {
                Some(Fault::Lost(reason)) => std::task::Poll::Ready(reason),
                Some(Fault::Error(_)) | None => std::task::Poll::Pending,
            }
        })
    }

    /// Gives the device up: everything on it is freed, and everything in flight fails as lost.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// Creates buffers in one pair of error scopes.
    ///
    /// # Errors
    /// [`GpuError::OutOfMemory`] when the device has no room or a buffer is larger than it allows.
    pub async fn allocate<T>(
        &self,
        what: &str,
        create: impl FnOnce(&mut Allocator<'_>) -> T,
    ) -> Result<T, GpuError> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let mut allocator = Allocator { gpu: self, bytes: 0, too_large: None };
        let created = create(&mut allocator);
        let Allocator { bytes, too_large, .. } = allocator;
        let (validation, memory) = (validation.pop(), memory.pop());
        let (validation, memory) = (validation.await, memory.await);
        if let Some((what, bytes)) = too_large {
            return Err(GpuError::OutOfMemory { what, bytes });
        }
        if memory.is_some() {
            return Err(GpuError::OutOfMemory { what: what.to_owned(), bytes });
        }
        match validation {
            Some(error) => Err(GpuError::Device {
                what: format!("creating buffers for {what}"),
                reason: error.to_string(),
            }),
            None => Ok(created),
        }
    }

    /// Waits until the device has done everything that was submitted or written.
    ///
    /// # Errors
    /// [`GpuError::Lost`] or [`GpuError::Device`] when something went wrong meanwhile.
    pub async fn drain(&self) -> Result<(), GpuError> {
        self.queue.submit([]);
        let (sender, receiver) = futures::channel::oneshot::channel();
        self.queue.on_submitted_work_done(move || {
            // The receiver is gone only when the caller gave up waiting.
            let _ = sender.send(());
        });
        self.wait_native(None);
        let done = receiver.await;
        match self.fault() {
            Some(Fault::Lost(reason)) => Err(GpuError::Lost { reason }),
            Some(Fault::Error(reason)) => {
                Err(GpuError::Device { what: "writing buffers".to_owned(), reason })
            }
            None if done.is_err() => {
                Err(GpuError::Lost { reason: "the queue dropped its callbacks".to_owned() })
            }
            None => Ok(()),
        }
    }

    /// Blocks until a submission (or everything submitted) is done and its callbacks were called. In a browser callbacks come
    /// by themselves, and this returns at once.
    pub(crate) fn wait_native(&self, submission: Option<wgpu::SubmissionIndex>) {
        let waited = self.device.poll(wgpu::PollType::Wait { submission_index: submission, timeout: None });
        if let Err(error) = waited {
            self.fault.report(Fault::Error(error.to_string()));
        }
    }
}

/// Creates buffers inside [`Gpu::allocate`].
#[derive(Debug)]
pub struct Allocator<'a> {
    gpu: &'a Gpu,
    bytes: u64,
    too_large: Option<(String, u64)>,
}

impl Allocator<'_> {
    /// A zeroed storage buffer that can be written from the host and cleared.
    pub fn storage(&mut self, label: &str, bytes: u64) -> wgpu::Buffer {
        self.buffer(
            label,
            bytes,
            wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC,
        )
    }

    /// A zeroed buffer.
    pub fn buffer(&mut self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let capabilities = &self.gpu.capabilities;
        // Never an empty binding, and room for a vec4.
        let mut size = bytes.next_multiple_of(16).max(16);
        let limit = if usage.contains(wgpu::BufferUsages::STORAGE) {
            capabilities.max_buffer_bytes.min(capabilities.max_binding_bytes)
        } else {
            capabilities.max_buffer_bytes
        };
        if size > limit {
            self.too_large.get_or_insert((label.to_owned(), size));
            size = 16;
        }
        self.bytes += size;
        self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Bytes created so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The first hardware adapter, else a software one: natively a CPU adapter is better than none.
#[cfg(not(target_arch = "wasm32"))]
async fn native_adapter(instance: &wgpu::Instance) -> Result<wgpu::Adapter, GpuError> {
    instance
        .request_adapter(&wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        })
        .await
        .map_err(|error| GpuError::NoAdapter { reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_adapters_are_known_by_type_flag_or_name() {
        let facts = |identity: &str, fallback| AdapterFacts {
            identity: identity.to_owned(),
            fallback,
            subgroups: false,
        };
        assert!(is_software(wgpu::DeviceType::Cpu, "", &facts("", false)));
        assert!(is_software(wgpu::DeviceType::Other, "", &facts("google swiftshader", false)));
        assert!(is_software(wgpu::DeviceType::Other, "SwiftShader Device", &facts("", false)));
        assert!(is_software(wgpu::DeviceType::Other, "", &facts("", true)));
        assert!(!is_software(wgpu::DeviceType::Other, "", &facts("nvidia hopper", false)));
    }

    #[test]
    fn a_loss_outranks_an_earlier_error() {
        let cell = FaultCell::default();
        cell.report(Fault::Error("first".to_owned()));
        cell.report(Fault::Error("second".to_owned()));
        assert_eq!(cell.find(), Some(Fault::Error("first".to_owned())));
        cell.report(Fault::Lost("gone".to_owned()));
        assert_eq!(cell.find(), Some(Fault::Lost("gone".to_owned())));
    }
}
