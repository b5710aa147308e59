//! An error as it crosses the wire: a name, a message, and numbers for programs.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a page gets instead of a result. Its `Display` is what JavaScript's `String(error)` gives: `<name>: <message>`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct WireError {
    /// Class of the error, e.g. `ContextWindowSizeExceededError`; callers match on it.
    pub name: String,
    /// What was expected, what came, what to do.
    pub message: String,
    /// The numbers of the message, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "Record<string, unknown>"))]
    pub details: Option<Map<String, Value>>,
}

impl WireError {
    /// An error without details.
    pub fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into(), details: None }
    }

    /// A page asks for a chunk of a stream that there is not: web-llm's words, which stock clients get after a restart.
    pub fn unknown_stream() -> Self {
        Self::new("Error", "InternalError: Chunk generator in worker should be instantiated by now.")
    }

    /// Adds one detail.
    #[must_use]
    pub fn with_detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.details.get_or_insert_with(Map::new).insert(key.to_owned(), value.into());
        self
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.message.as_str()) {
            (name, "") => formatter.write_str(name),
            ("", message) => formatter.write_str(message),
            (name, message) => write!(formatter, "{name}: {message}"),
        }
    }
}

impl std::error::Error for WireError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_like_a_javascript_error() {
        assert_eq!(WireError::new("RangeError", "too big").to_string(), "RangeError: too big");
        assert_eq!(WireError::new("Error", "").to_string(), "Error");
        assert_eq!(WireError::new("", "too big").to_string(), "too big");
    }

    #[test]
    fn an_unknown_stream_has_web_llms_words() {
        assert_eq!(
            WireError::unknown_stream().to_string(),
            "Error: InternalError: Chunk generator in worker should be instantiated by now."
        );
    }

    #[test]
    fn details_are_left_out_when_there_are_none() {
        let json = serde_json::to_value(WireError::new("A", "b")).unwrap();
        assert_eq!(json, serde_json::json!({"name": "A", "message": "b"}));
        let json = serde_json::to_value(WireError::new("A", "b").with_detail("window", 7)).unwrap();
        assert_eq!(json, serde_json::json!({"name": "A", "message": "b", "details": {"window": 7}}));
    }
}
