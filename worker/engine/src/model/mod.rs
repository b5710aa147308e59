//! Models as data: hyper-parameters, tensors and where their bytes are. Knows file formats, not devices.

pub mod config;
#[cfg(not(target_arch = "wasm32"))]
pub mod file_source;
pub mod gguf;
pub mod quant;
pub mod slice_source;
pub mod tensors;

pub use config::{Activation, Architecture, ModelConfig, RopeConfig};
#[cfg(not(target_arch = "wasm32"))]
pub use file_source::FileSource;
pub use gguf::{Gguf, GgufError};
pub use slice_source::SliceSource;
pub use tensors::{LayerTensor, ModelTensors, TensorInfo, TensorName};
