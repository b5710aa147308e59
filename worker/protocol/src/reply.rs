//! The worker's answer to a request.

use serde::{Deserialize, Serialize};

use crate::WireError;
use crate::completion::{ChatCompletion, ChatCompletionChunk};
use crate::context::{ContextUsage, PoolReport, TabEvent, TabReport};
use crate::documents::{CompressedText, TextChunk};
use crate::progress::InitProgressReport;

/// A message from the worker.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum Reply {
    /// The result.
    #[cfg_attr(feature = "typescript", ts(optional_fields))]
    Return {
        /// Of the request.
        uuid: String,
        /// The key is absent at the end of a stream; clients know the end by that.
        #[serde(skip_serializing_if = "Option::is_none")]
        content: Option<ReturnContent>,
    },
    /// The failure.
    Throw {
        /// Of the request.
        uuid: String,
        /// `<name>: <message>`, all that web-llm's client reads.
        content: String,
        /// The same in parts.
        error: WireError,
    },
    /// Progress of a load.
    InitProgressCallback {
        /// Of the request that waits for the load.
        uuid: String,
        /// How far it is.
        content: InitProgressReport,
    },
    /// Something was done to a context. Only to pages of Hearth's own client, at any time.
    #[serde(rename = "hearth.event")]
    Event {
        /// Empty: it answers nothing.
        uuid: String,
        /// What.
        content: TabEvent,
    },
    /// Answer to `keepAlive`.
    Heartbeat {
        /// Of the request.
        uuid: String,
    },
}

impl Reply {
    /// The request succeeded.
    pub fn done(uuid: &str, content: ReturnContent) -> Self {
        Self::Return { uuid: uuid.to_owned(), content: Some(content) }
    }

    /// The stream that the request pulls from has ended.
    pub fn end_of_stream(uuid: &str) -> Self {
        Self::Return { uuid: uuid.to_owned(), content: None }
    }

    /// The request failed.
    pub fn failed(uuid: &str, error: WireError) -> Self {
        Self::Throw { uuid: uuid.to_owned(), content: error.to_string(), error }
    }

    /// How far a load is.
    pub fn progress(uuid: &str, content: InitProgressReport) -> Self {
        Self::InitProgressCallback { uuid: uuid.to_owned(), content }
    }

    /// The worker is alive.
    pub fn heartbeat(uuid: &str) -> Self {
        Self::Heartbeat { uuid: uuid.to_owned() }
    }
}

/// What a request can return.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ReturnContent {
    /// `null`: done, there is nothing to say.
    Nothing,
    /// A text.
    Text(String),
    /// A whole reply.
    Completion(Box<ChatCompletion>),
    /// The next chunk of a stream.
    Chunk(Box<ChatCompletionChunk>),
    /// Answer to `hearth.hello`.
    Hello(HelloReply),
    /// Answer to `hearth.usage`.
    Usage(UsageReport),
    /// Answer to `hearth.measure`, in tokens.
    Tokens(u32),
    /// Answer to `hearth.append`.
    Append(AppendReply),
    /// Answer to `hearth.context`.
    Context(ContextUsage),
    /// Answer to `hearth.tabs`.
    Tabs(Vec<TabReport>),
    /// Answer to `hearth.pool`.
    Pool(PoolReport),
    /// Answer to `hearth.chunk`.
    Chunks(Vec<TextChunk>),
    /// Answer to `hearth.compress`.
    Compressed(CompressedText),
}

/// What reading ahead came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct AppendReply {
    /// Tokens of the conversation so far, template included.
    pub tokens: u32,
    /// Those of them that were in the cache already.
    pub cached_tokens: u32,
}

/// Who the worker is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct HelloReply {
    /// Version of the wire that the worker speaks.
    pub protocol: u32,
    /// Version of the worker.
    pub version: String,
    /// Identity of this run of the worker: another one means that it was restarted.
    pub worker: String,
}

/// The state of a model's KV cache, and this page's part in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct UsageReport {
    /// Pages in the cache.
    pub pages_total: u32,
    /// Pages that hold nothing.
    pub pages_free: u32,
    /// Pages that hold what may be wanted again and nobody is using.
    pub pages_cached: u32,
    /// Pages that this page's generations hold; of a page shared by several generations, each holds its part.
    pub pages_held: f64,
    /// Tokens in a page.
    pub block_size_tokens: u32,
    /// Tokens of this page's generations; while there are none, of its last conversation.
    pub context_tokens: u32,
    /// The context window.
    pub window_tokens: u32,
    /// Generations that are running, of all pages.
    pub running: u32,
    /// Generations that wait for room, of all pages.
    pub waiting: u32,
    /// What the worker and its device use; absent where the host cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional))]
    pub device: Option<DeviceUsage>,
}

/// What a model takes of the machine, and the size of the engine's last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct DeviceUsage {
    /// The wasm's heap, of all models.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub wasm_memory_bytes: u64,
    /// The model's buffers on the GPU: weights, pages, activations.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub gpu_memory_bytes: u64,
    /// Kernels dispatched in the last step; 0 before the first.
    pub step_dispatches: u32,
    /// Models that this run of the worker has loaded so far.
    pub loads: u32,
    /// Bytes written to the GPU for the last step; 0 before the first.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub step_uploaded_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replies_have_the_shape_that_web_llm_reads() {
        for (reply, expected) in [
            (
                Reply::done("u", ReturnContent::Nothing),
                json!({"kind": "return", "uuid": "u", "content": null}),
            ),
            (
                Reply::done("u", ReturnContent::Text("hi".into())),
                json!({"kind": "return", "uuid": "u", "content": "hi"}),
            ),
            (Reply::end_of_stream("u"), json!({"kind": "return", "uuid": "u"})),
            (
                Reply::failed("u", WireError::new("RangeError", "no")),
                json!({"kind": "throw", "uuid": "u", "content": "RangeError: no",
                       "error": {"name": "RangeError", "message": "no"}}),
            ),
            (Reply::heartbeat("u"), json!({"kind": "heartbeat", "uuid": "u"})),
            (
                Reply::progress("u", InitProgressReport::start()),
                json!({"kind": "initProgressCallback", "uuid": "u",
                       "content": {"progress": 0.0, "timeElapsed": 0.0, "text": "Start to fetch params"}}),
            ),
        ] {
            assert_eq!(serde_json::to_value(&reply).unwrap(), expected);
        }
    }
}
