//! What survives the worker: weights in verified chunks, manifests written last, pages of the cache, and the shell's own
//! state.
//!
//! Knows IndexedDB and ranged downloads. Knows neither models nor messages.

mod chunks;
mod database;
mod download;
mod file;
mod keeping;
mod manifest;
pub mod pages;
mod range_request;
mod source;
mod state;
mod stream;

pub use database::{Database, StoreError};
pub use source::{ModelSource, SourceEvent, SourceOptions, SourceProgress};
pub use state::{StateStore, parse as parse_record};
pub use stream::Arrivals;
