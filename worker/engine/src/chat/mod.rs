//! web-llm's and OpenAI's chat on top of an engine: requests are checked, turned into prompts, and answered by chunks.
//!
//! Knows messages, texts and names of errors; what a token costs and when it runs is the engine's business, and how a
//! message travels is the shell's.

mod context;
pub mod error;
pub mod failure;
pub mod identity;
mod meter;
mod model;
pub mod options;
mod reply;
pub mod routing;
pub mod snapshot;
mod speakers;
mod usage;
pub mod validate;
pub mod values;

pub use failure::ChatError;
pub use identity::Identities;
pub use model::{ChatModel, ChatParts};
pub use options::{ModelOptions, SlidingWindow, TabOptions};
pub use reply::{ChatReply, ReplyCanceller, ReplyPart};
pub use snapshot::SnapshotError;
pub use speakers::Speaker;
