//! Log levels by the names that web-llm uses.

use serde::{Deserialize, Serialize};

/// How much the worker logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum LogLevel {
    /// Everything.
    #[serde(alias = "trace")]
    Trace,
    /// For developers of Hearth.
    #[serde(alias = "debug")]
    Debug,
    /// What happens.
    #[serde(alias = "info")]
    Info,
    /// What is probably not meant; the default.
    #[serde(alias = "warn")]
    Warn,
    /// What failed.
    #[serde(alias = "error")]
    Error,
    /// Nothing.
    #[serde(alias = "silent")]
    Silent,
}
