//! Everything that a chat request can fail with, and the one place where it becomes an error on the wire.

use hearth_protocol::WireError;
use thiserror::Error;

use super::error::{FieldError, MessageError, RoutingError, ValueError, WindowError};
use super::options::OptionsError;
use super::snapshot::SnapshotError;
use super::validate::RequestError;
use super::values::ValuesError;
use crate::documents::DocumentError;
use crate::error::EngineError;
use crate::ports::ExecutorError;
use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;

/// Why there is no reply, or no more of it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ChatError {
    /// The messages make no sense.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The fields make no sense.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A value is out of its range.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// No model, or not clear which.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// The window is misconfigured or too small.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// The model's template refused or failed.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The prompt could not be cut into tokens.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The reply to go on with is none of this model's.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A text could not be cut or shortened.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The engine refused or failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<RequestError> for ChatError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Message(error) => Self::Message(error),
            RequestError::Field(error) => Self::Field(error),
        }
    }
}

impl From<ValuesError> for ChatError {
    fn from(error: ValuesError) -> Self {
        match error {
            ValuesError::Value(error) => Self::Value(error),
            ValuesError::Field(error) => Self::Field(error),
        }
    }
}

impl From<OptionsError> for ChatError {
    fn from(error: OptionsError) -> Self {
        match error {
            OptionsError::Window(error) => Self::Window(error),
            OptionsError::Value(error) => Self::Value(error),
        }
    }
}

impl ChatError {
    /// The class that callers match on; web-llm's where web-llm has one.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Message(error) => error.name(),
            Self::Field(error) => error.name(),
            Self::Value(error) => error.name(),
            Self::Routing(error) => error.name(),
            Self::Window(error) => error.name(),
            Self::Template(_) => "ChatTemplateError",
            Self::Tokenizer(_) => "TokenizerError",
            Self::Snapshot(_) => "InvalidSnapshotError",
            Self::Document(_) => "DocumentError",
            Self::Engine(error) => engine_error_name(error),
        }
    }

    /// The error as it crosses the wire, with the numbers that a program may want.
    pub fn to_wire(&self) -> WireError {
        let error = WireError::new(self.name(), self.to_string());
        match self {
            Self::Window(WindowError::Exceeded { num_prompt_tokens, window_tokens }) => error
                .with_detail("promptTokens", *num_prompt_tokens)
                .with_detail("contextWindowSize", *window_tokens),
            Self::Field(FieldError::NotSupportedYet { field }) => error.with_detail("field", field.as_str()),
            Self::Value(
                ValueError::Minimum { parameter, .. }
                | ValueError::Range { parameter, .. }
                | ValueError::Negative { parameter }
                | ValueError::NumberString { parameter, .. }
                | ValueError::Dependency { parameter, .. },
            ) => error.with_detail("field", *parameter),
            Self::Routing(
                RoutingError::ModelNotFound { model_id } | RoutingError::NotLoaded { model_id, .. },
            ) => error.with_detail("modelId", model_id.as_str()),
            Self::Message(_)
            | Self::Field(_)
            | Self::Routing(_)
            | Self::Window(_)
            | Self::Template(_)
            | Self::Tokenizer(_)
            | Self::Snapshot(_)
            | Self::Document(_)
            | Self::Engine(_) => error,
        }
    }
}

/// web-llm knows few of these; what is an app's to handle has its class, what is not is an `EngineError`.
fn engine_error_name(error: &EngineError) -> &'static str {
    match error {
        EngineError::PromptExceedsWindow { .. } | EngineError::PromptExceedsCache { .. } => {
            "ContextWindowSizeExceededError"
        }
        EngineError::Settings(_) | EngineError::NoOutputTokens => "ConfigValueError",
        EngineError::Executor(ExecutorError::DeviceLost { .. }) => "DeviceLostError",
        EngineError::Stopped => "ModelUnloadedError",
        EngineError::EmptyPrompt
        | EngineError::InvalidLimit { .. }
        | EngineError::UnexpectedOutput { .. }
        | EngineError::Executor(
            ExecutorError::PlanTooLarge { .. }
            | ExecutorError::WrongPageSize { .. }
            | ExecutorError::Device { .. },
        ) => "EngineError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_exceeded_window_has_web_llms_words_and_the_numbers() {
        let error =
            ChatError::from(WindowError::Exceeded { num_prompt_tokens: 2100, window_tokens: 2048 }).to_wire();
        assert_eq!(
            error.to_string(),
            "ContextWindowSizeExceededError: Prompt tokens exceed context window size: number of prompt tokens: 2100; \
             context window size: 2048\nConsider shortening the prompt, or increase `context_window_size`, or using \
             sliding window via `sliding_window_size`."
        );
        let details = serde_json::Value::Object(error.details.unwrap());
        assert_eq!(details, json!({"promptTokens": 2100, "contextWindowSize": 2048}));
    }

    #[test]
    fn every_error_names_its_class_once() {
        for (error, text) in [
            (ChatError::from(MessageError::SeveralTexts), "MultipleTextContentError: Each message"),
            (ChatError::from(FieldError::StreamingCount), "StreamingCountError: When streaming"),
            (ChatError::from(ValueError::Negative { parameter: "x" }), "NonNegativeError: Make sure x >= 0."),
            (
                ChatError::from(RoutingError::NothingLoaded { request: "r" }),
                "ModelNotLoadedError: Model not loaded",
            ),
            (ChatError::from(TemplateError::Missing), "ChatTemplateError: this model has no chat template"),
            (
                ChatError::from(SnapshotError::EmptyPrompt),
                "InvalidSnapshotError: the snapshot's prompt has no tokens",
            ),
            (ChatError::from(DocumentError::NoRoom), "DocumentError: maxTokens is 0"),
            (ChatError::from(EngineError::Stopped), "ModelUnloadedError: the engine has been stopped"),
            (ChatError::from(EngineError::EmptyPrompt), "EngineError: the prompt has no tokens"),
            (
                ChatError::from(EngineError::from(ExecutorError::DeviceLost { reason: "gone".into() })),
                "DeviceLostError: the GPU device was lost: gone",
            ),
        ] {
            let wire = error.to_wire().to_string();
            assert!(wire.starts_with(text), "{wire}");
        }
    }
}
