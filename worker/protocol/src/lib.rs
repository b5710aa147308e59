//! What crosses the wire between a page and the worker, and nothing else: requests, replies, pushed stream messages,
//! errors, and the configuration that pages send along.
//!
//! Knows serde and JSON; knows neither the engine nor the browser. Message kinds, field names and texts are those of
//! `@mlc-ai/web-llm` 0.2.86; what only Hearth has starts with `hearth`.
//!
//! A page's message is untrusted. It is read in two stages, so that an error can be sent back to whoever caused it:
//! [`Envelope::read`] finds kind and uuid, [`Envelope::parse`] then reads the content for that kind.

pub mod chat;
pub mod completion;
pub mod config;
pub mod content;
pub mod context;
pub mod documents;
pub mod error;
pub mod logging;
pub mod progress;
pub mod push;
mod read;
pub mod reply;
pub mod request;
#[cfg(feature = "typescript")]
mod typescript;
pub mod version;
mod well_formed;

pub use error::WireError;
pub use read::javascript_string;
pub use request::{Envelope, Request, RequestBody};
#[cfg(feature = "typescript")]
pub use typescript::typescript;
pub use well_formed::well_formed;
