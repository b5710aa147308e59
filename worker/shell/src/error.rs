//! Everything that can go wrong in the worker, and the one place where it becomes an error on the wire.

use hearth_engine::chat::ChatError;
use hearth_engine::chat::error::RoutingError;
use hearth_engine::chat::options::OptionsError;
use hearth_engine::documents::DocumentError;
use hearth_engine::engine::EngineError;
use hearth_engine::model::GgufError;
use hearth_engine::ports::{ExecutorError, SourceError};
use hearth_engine::template::TemplateError;
use hearth_engine::tokenizer::TokenizerError;
use hearth_gpu::{GpuError, LoadError};
use hearth_protocol::WireError;
use thiserror::Error;

/// Why a message could not be answered with what it asked for.
#[derive(Debug, Clone, Error)]
pub enum ShellError {
    /// The message itself, or what the chat layer says about it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// Which model is meant.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// How a model should be run.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The model's file.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The model's vocabulary.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The model's chat template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The model's bytes.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The device.
    #[error(transparent)]
    Gpu(#[from] GpuError),
    /// The model on the device.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What a request asks for, or its reply.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// A text that cannot be cut or shortened as asked.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A pull from a stream that was never begun, has ended, or died with an earlier run of the worker.
    #[error("InternalError: Chunk generator in worker should be instantiated by now.")]
    UnknownStream,
    /// `hearth.stream` without its port.
    #[error("`hearth.stream` needs one MessagePort in the message's transfer list, got none")]
    NoPort,
    /// The model's URL is a folder.
    #[error(
        "the model at {url} is a folder: MLC folders are not supported yet by this version of Hearth; \
         give the URL of a .gguf file"
    )]
    ModelFolder {
        /// The URL.
        url: String,
    },
    /// The model's URL is none.
    #[error("`{url}` is not a URL that can be fetched: give an absolute http(s) URL of a .gguf file")]
    ModelUrl {
        /// What was given.
        url: String,
    },
    /// Everyone who waited for the load has gone or called it off.
    #[error("Engine.unload() is called.")]
    LoadCancelled,
    /// The load ended without an outcome: its task was dropped.
    #[error("the load of {model_id} ended without a result; load it again")]
    LoadVanished {
        /// The model.
        model_id: String,
    },
    /// This instance of the engine has panicked.
    #[error("the engine met an internal error and is being restarted: {panic}; send the request again")]
    Crashed {
        /// The panic's words.
        panic: String,
    },
}

impl ShellError {
    /// The error as pages see it.
    pub fn to_wire(&self) -> WireError {
        let named = |name: &str| WireError::new(name, self.to_string());
        match self {
            Self::Wire(error) => error.clone(),
            Self::Routing(error) => named(error.name()),
            Self::Options(error) => named(match error {
                OptionsError::Window(error) => error.name(),
                OptionsError::Value(error) => error.name(),
            }),
            Self::Gguf(GgufError::Source(error))
            | Self::Source(error)
            | Self::Load(LoadError::Source(error)) => of_source(error),
            Self::Gguf(_) | Self::Tokenizer(_) => named("ModelFileError"),
            Self::Template(_) => named("ChatTemplateError"),
            Self::Gpu(error) | Self::Load(LoadError::Gpu(error)) => of_gpu(error),
            Self::Load(LoadError::InvalidOption { .. }) => named("ConfigValueError"),
            Self::Load(_) => named("ModelFileError"),
            Self::Engine(error) | Self::Chat(ChatError::Engine(error)) => of_engine(error),
            Self::Chat(error) => error.to_wire(),
            Self::Document(_) => named("RangeError"),
            Self::UnknownStream => named("Error"),
            Self::NoPort => named("InvalidMessageError"),
            Self::ModelFolder { url } => {
                named(hearth_protocol::request::NOT_SUPPORTED_YET).with_detail("url", url.as_str())
            }
            Self::ModelUrl { url } => named("TypeError").with_detail("url", url.as_str()),
            Self::LoadCancelled => named("AbortError"),
            Self::LoadVanished { .. } => named("InternalError"),
            Self::Crashed { .. } => named("EngineCrashedError").with_detail("retryable", true),
        }
    }

    /// True when the stored file is not what it should be: keeping it would fail every later load.
    pub fn blames_file(&self) -> bool {
        match self {
            Self::Gguf(GgufError::Source(error))
            | Self::Source(error)
            | Self::Load(LoadError::Source(error)) => {
                matches!(error, SourceError::OutOfRange { .. })
            }
            Self::Gguf(_) => true,
            _ => false,
        }
    }

    /// True when the file changed on the server in mid-load, so that beginning again may succeed.
    pub fn is_change_of_file(&self) -> bool {
        matches!(
            self,
            Self::Gguf(GgufError::Source(SourceError::Changed { .. }))
                | Self::Source(SourceError::Changed { .. })
                | Self::Load(LoadError::Source(SourceError::Changed { .. }))
        )
    }

    /// True when the device is gone, and with it all that was on it: everything can be loaded again.
    pub fn is_device_lost(&self) -> bool {
        matches!(
            self,
            Self::Engine(EngineError::Executor(ExecutorError::DeviceLost { .. }))
                | Self::Chat(ChatError::Engine(EngineError::Executor(ExecutorError::DeviceLost { .. })))
                | Self::Gpu(GpuError::Lost { .. })
                | Self::Load(LoadError::Gpu(GpuError::Lost { .. }))
        )
    }

    /// The bytes that the device had no room for, if that is the matter.
    pub fn is_out_of_gpu_memory(&self) -> bool {
        matches!(self, Self::Load(LoadError::Gpu(GpuError::OutOfMemory { .. })))
    }
}

fn of_source(error: &SourceError) -> WireError {
    let text = error.to_string();
    match error {
        SourceError::OutOfRange { start, end, len_bytes } => WireError::new("ModelFileError", text)
            .with_detail("start", *start)
            .with_detail("end", *end)
            .with_detail("lenBytes", *len_bytes),
        SourceError::Status { url, status } => WireError::new("ModelDownloadError", text)
            .with_detail("url", url.as_str())
            .with_detail("status", *status),
        SourceError::Network { url, received_bytes, .. } => WireError::new("ModelDownloadError", text)
            .with_detail("url", url.as_str())
            .with_detail("receivedBytes", *received_bytes),
        SourceError::Changed { url } => {
            WireError::new("ModelDownloadError", text).with_detail("url", url.as_str())
        }
        SourceError::Cancelled => ShellError::LoadCancelled.to_wire(),
        _ => WireError::new("ModelStorageError", text),
    }
}

fn of_gpu(error: &GpuError) -> WireError {
    let text = error.to_string();
    match error {
        GpuError::NoWebGpu => WireError::new("WebGPUNotAvailableError", WEBGPU_NOT_AVAILABLE),
        GpuError::NoAdapter { .. } => WireError::new("WebGPUNotFoundError", text),
        GpuError::OutOfMemory { bytes, .. } => {
            WireError::new("GPUOutOfMemoryError", text).with_detail("bytes", *bytes)
        }
        GpuError::Lost { .. } => WireError::new("DeviceLostError", text),
        _ => WireError::new("GPUError", text),
    }
}

fn of_engine(error: &EngineError) -> WireError {
    let text = error.to_string();
    match error {
        EngineError::Executor(ExecutorError::DeviceLost { .. }) => WireError::new(
            "DeviceLostError",
            format!("{text}; send the request again, the model is loaded anew"),
        )
        .with_detail("retryable", true),
        EngineError::Executor(_) => WireError::new("GPUError", text),
        _ => ChatError::Engine(error.clone()).to_wire(),
    }
}

/// web-llm's words.
const WEBGPU_NOT_AVAILABLE: &str = "WebGPU is not supported in your current environment, but it is necessary to run the \
     WebLLM engine. Please make sure that your browser supports WebGPU and that it is enabled in your browser settings. You \
     can also consult your browser's compatibility chart to see if it supports WebGPU. For more information about WebGPU \
     support in your browser, visit https://webgpureport.org/";
