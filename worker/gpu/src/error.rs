//! Why the GPU could not be had or a model could not be put on it. Knows no JS, no wire codes.

use hearth_engine::model::{Activation, TensorName};
use hearth_engine::ports::SourceError;
use thiserror::Error;

/// Why there is no usable GPU.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The browser has no WebGPU in this context.
    #[error(
        "this browser has no WebGPU here: use a current Chrome, Edge, Safari or Firefox over https or localhost"
    )]
    NoWebGpu,
    /// WebGPU (or Vulkan, Metal, DX12) exists, but offers no adapter.
    #[error("no GPU adapter was found ({reason}): check the GPU driver, or that hardware acceleration is on")]
    NoAdapter {
        /// The browser's or driver's words.
        reason: String,
    },
    /// The adapter did not give a device.
    #[error("the GPU adapter {adapter} refused a device: {reason}")]
    DeviceRefused {
        /// The adapter's name.
        adapter: String,
        /// The browser's or driver's words.
        reason: String,
    },
    /// A buffer could not be allocated.
    #[error(
        "the GPU has no room for {what} ({bytes} bytes): close other tabs, or take a smaller model or context"
    )]
    OutOfMemory {
        /// What the buffer is for.
        what: String,
        /// Bytes asked for.
        bytes: u64,
    },
    /// The device is gone.
    #[error("the GPU device was lost: {reason}")]
    Lost {
        /// The browser's or driver's words.
        reason: String,
    },
    /// The device refused a call: a defect here or in the driver.
    #[error("the GPU failed at {what}: {reason}")]
    Device {
        /// What was being done.
        what: String,
        /// The browser's or driver's words.
        reason: String,
    },
}

/// Why a model could not be loaded.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The GPU.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The file.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A tensor that the architecture needs is not in the file.
    #[error("the model file has no tensor {name:?}: it is incomplete or of another architecture")]
    MissingTensor {
        /// Which one.
        name: TensorName,
    },
    /// A tensor is not of the shape that the hyper-parameters ask for.
    #[error(
        "tensor {file_name} is {rows} x {columns}, the model's configuration asks for {expected_rows} x {expected_columns}"
    )]
    TensorShape {
        /// The file's name for it.
        file_name: String,
        /// Rows found.
        rows: u32,
        /// Columns found.
        columns: u32,
        /// Rows expected.
        expected_rows: u32,
        /// Columns expected.
        expected_columns: u32,
    },
    /// The kernels cannot run a model of this shape.
    #[error("models with {what} of {got} are not supported: it must be {expected}")]
    UnsupportedShape {
        /// Which hyper-parameter.
        what: &'static str,
        /// Its value.
        got: u32,
        /// What would work.
        expected: &'static str,
    },
    /// The MLP's activation has no kernel.
    #[error("models with the activation {got:?} are not supported: it must be Silu")]
    UnsupportedActivation {
        /// Which one.
        got: Activation,
    },
    /// The options ask for something that no device can hold.
    #[error("{what} must be {expected}, got {got}")]
    InvalidOption {
        /// Which option.
        what: &'static str,
        /// Its value.
        got: u64,
        /// What would work.
        expected: String,
    },
}
