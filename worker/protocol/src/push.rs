//! Messages on the port of a pushed stream, which only Hearth's own client opens.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::WireError;
use crate::completion::ChatCompletionChunk;
use crate::context::ReplySnapshot;
use crate::read::{INVALID_MESSAGE, read};

/// From the worker to the page. After `end` or `error` nothing more comes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum PushMessage {
    /// The reply has begun; first message of every stream that does not fail before. Keep it: with the tokens of later
    /// messages added, it is what `resume` of `hearth.stream` takes.
    Begin {
        /// With no tokens, or with those that were resumed from.
        snapshot: Box<ReplySnapshot>,
    },
    /// What has come since the last message, in order.
    Chunks {
        /// May be empty where tokens have made no text yet.
        chunks: Vec<ChatCompletionChunk>,
        /// Ids of the tokens generated since the last message whose text has been let out.
        tokens: Vec<u32>,
    },
    /// The reply is complete.
    End,
    /// The reply failed.
    Error {
        /// Why.
        error: WireError,
    },
}

/// From the page to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum PushControl {
    /// Stop; the final chunks and `end` still come.
    Cancel,
}

impl PushControl {
    /// Reads a page's message.
    ///
    /// # Errors
    /// `InvalidMessageError` for anything but a control.
    pub fn parse(message: &Value) -> Result<Self, WireError> {
        if !message.is_object() {
            let text = "a message on a stream's port must be an object with a `type`";
            return Err(WireError::new(INVALID_MESSAGE, text));
        }
        read("stream control", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn controls_parse_and_anything_else_is_a_typed_error() {
        assert_eq!(PushControl::parse(&json!({"type": "cancel"})), Ok(PushControl::Cancel));
        for bad in [
            json!(null),
            json!("cancel"),
            json!([]),
            json!({"type": "explode"}),
            json!({"type": 7}),
            json!({}),
        ] {
            assert_eq!(PushControl::parse(&bad).unwrap_err().name, INVALID_MESSAGE, "{bad}");
        }
    }

    #[test]
    fn pushed_messages_are_discriminated_by_type() {
        assert_eq!(serde_json::to_value(PushMessage::End).unwrap(), json!({"type": "end"}));
        let error = PushMessage::Error { error: WireError::new("A", "b") };
        assert_eq!(
            serde_json::to_value(error).unwrap(),
            json!({"type": "error", "error": {"name": "A", "message": "b"}})
        );
        assert_eq!(
            serde_json::to_value(PushMessage::Chunks { chunks: vec![], tokens: vec![7] }).unwrap(),
            json!({"type": "chunks", "chunks": [], "tokens": [7]})
        );
    }
}
