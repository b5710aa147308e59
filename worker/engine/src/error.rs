//! Everything that the engine can refuse or fail with.

use thiserror::Error;

use crate::ports::ExecutorError;
use crate::sampling::settings::SettingsError;

/// Why a sequence was refused, or why sequences ended without finishing.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// There is nothing to continue.
    #[error("the prompt has no tokens: at least one is needed to predict the next")]
    EmptyPrompt,
    /// A generation of no tokens was asked for.
    #[error("max_tokens is 0: ask for at least 1")]
    NoOutputTokens,
    /// The prompt is longer than the model's context window.
    #[error(
        "the prompt has {prompt_tokens} tokens, the context window {context_window_tokens}: shorten the prompt, or load the model with a larger window"
    )]
    PromptExceedsWindow {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Tokens that the window holds.
        context_window_tokens: u32,
    },
    /// The prompt is within the window but would not fit into the cache even if it had the cache for itself.
    #[error(
        "the prompt needs {needed_pages} pages of the KV cache, which has {available_pages}: shorten the prompt, or load the model with a larger cache"
    )]
    PromptExceedsCache {
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// Pages that they take.
        needed_pages: u32,
        /// Pages that one sequence can have.
        available_pages: u32,
    },
    /// A sampling setting is out of range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The engine was given limits that no step could keep.
    #[error("{limit} is {got}, at least 1 is needed")]
    InvalidLimit {
        /// The field of `StepLimits` or `EngineConfig`.
        limit: &'static str,
        /// Its value.
        got: u32,
    },
    /// An output that does not answer the oldest step in flight.
    #[error(
        "the executor answered step {got_step} with {got_tokens} tokens where step {expected_step:?} with {expected_tokens} was due"
    )]
    UnexpectedOutput {
        /// The oldest step in flight; none when no step is.
        expected_step: Option<u64>,
        /// The step that was answered.
        got_step: u64,
        /// Sampled rows of the oldest step in flight.
        expected_tokens: usize,
        /// Tokens that came.
        got_tokens: usize,
    },
    /// The executor failed; the engine ends with it.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The engine was stopped: its model was unloaded, or the task that ran it was dropped.
    #[error("the engine has been stopped: load the model again")]
    Stopped,
}
