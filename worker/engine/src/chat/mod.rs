//! web-llm's and OpenAI's chat on top of an engine: requests are checked, turned into prompts, and answered by chunks.
//!
//! Knows messages, texts and names of errors; what a token costs and when it runs is the engine's business, and how a
//! message travels is the shell's.

pub mod error;
pub mod failure;
pub mod identity;
mod model;
pub mod options;
mod owners;
mod prompt;
mod reply;
pub mod routing;
mod usage;
pub mod validate;
pub mod values;

pub use failure::ChatError;
pub use identity::Identities;
pub use model::{ChatModel, ChatParts};
pub use options::ModelOptions;
pub use reply::{ChatReply, ReplyCanceller};
