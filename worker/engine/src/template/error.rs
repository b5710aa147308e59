//! Why a conversation could not be written out as the model's prompt.

use thiserror::Error;

/// Why a template cannot be used, or did not finish.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The model has neither a template nor ChatML's tokens.
    #[error(
        "this model has no chat template and no ChatML tokens: it is a base model; use completions instead of chat"
    )]
    Missing,
    /// The file's template is not text.
    #[error("the model's chat template cannot be read: {reason}")]
    Unreadable {
        /// What is wrong with it.
        reason: String,
    },
    /// The source is larger or more deeply built than any real template.
    #[error("the chat template has {got} {what}, at most {limit} are allowed")]
    TooComplex {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        got: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The source is not a template that can be compiled.
    #[error("the chat template cannot be compiled: line {line}: {reason}")]
    Syntax {
        /// Line of the template, from 1; 0 when unknown.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The template itself refused the conversation: its author's words.
    #[error("the model's chat template refuses this conversation: {message}")]
    Raised {
        /// The author's words.
        message: String,
    },
    /// The template did more than any real one does.
    #[error("the chat template needs more than {fuel} steps for this conversation: it may never end")]
    TooMuchWork {
        /// Steps allowed.
        fuel: u64,
    },
    /// The template failed in the middle.
    #[error("the chat template failed at line {line}: {reason}")]
    Failed {
        /// Line of the template, from 1; 0 when unknown.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}
