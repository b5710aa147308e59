//! The only crate that knows wgpu: device, kernels, KV arenas, model forward, sampling. The same code runs natively and in
//! the browser.
//!
//! [`Gpu`] is a device. A model's weights are streamed onto it and become an executor of the engine's step plans. Knows
//! neither the web (but for [`Gpu::request`]'s feature shim) nor what tokens mean.

pub mod device;
pub mod error;
pub mod executor;
pub mod forward;
pub mod harness;
pub mod kernel;
pub mod kv;
pub mod layout;
mod model;
pub mod ops;
pub mod page_ops;
pub mod pipelines;
mod pool;
pub mod profile;
mod readback;
pub mod repack;
pub mod select;
pub mod shaders;
pub mod step_buffer;
#[cfg(target_arch = "wasm32")]
mod web;
pub mod weights;

pub use device::{Capabilities, CapabilityMask, Fault, Gpu, GpuOptions, SubgroupSizes};
pub use error::{GpuError, LoadError};
pub use executor::{ExecutorOptions, GpuExecutor, MemoryUse, StepStats, load};
pub use forward::Forward;
pub use kv::KvType;
pub use weights::LoadProgress;
