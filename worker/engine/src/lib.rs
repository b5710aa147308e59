//! The machine without hardware: sequences, scheduling, pages, templates, tokens, sampling rules.
//!
//! Knows neither wgpu nor the web, has no clock and no threads of its own. What it needs from outside is in [`ports`].
//! [`plan`] is the only contract with whoever executes steps.

pub mod chat;
pub mod documents;
pub mod driver;
pub mod engine;
pub mod error;
pub mod fake;
pub mod ids;
pub mod kv;
pub mod model;
pub mod plan;
pub mod ports;
pub mod sampling;
mod scheduler;
pub mod sequence;
pub mod template;
pub mod tokenizer;
