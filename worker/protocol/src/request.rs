//! A page's message: the envelope, and which kinds there are.

use serde::Serialize;
use serde_json::Value;

use crate::WireError;
use crate::config::AppConfig;
use crate::content::{
    AppendContent, CancelContent, ChatContent, CloseContent, ForkContent, HelloContent, MeasureContent,
    ModelReference, ReloadContent, ResetChatContent, StreamInitContent, StreamReference, TabContent,
    WatchContent,
};
use crate::documents::{ChunkContent, CompressContent};
use crate::logging::LogLevel;
use crate::read::{INVALID_MESSAGE, javascript_string, read, read_or_empty};

/// Name of the error for something that web-llm can do and this version cannot.
pub const NOT_SUPPORTED_YET: &str = "NotSupportedYetError";

/// Kinds of web-llm that this version only names in an error.
const KINDS_NOT_SUPPORTED_YET: [&str; 10] = [
    "completionNonStreaming",
    "completionStreamInit",
    "embedding",
    "forwardTokensAndSample",
    "getMaxStorageBufferBindingSize",
    "getGPUVendor",
    "listResumableSessions",
    "resumeChatCompletion",
    "resumeChatCompletionStreamInit",
    "deleteResumableSession",
];

/// The outside of a message: enough to know what it is and whom to answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Envelope<'a> {
    /// What is asked.
    pub kind: &'a str,
    /// Goes into the answer; empty where the page gave none.
    pub uuid: &'a str,
    /// The rest; `null` where the page gave none.
    pub content: &'a Value,
}

impl<'a> Envelope<'a> {
    /// Finds the envelope. `None` means that the message is somebody else's (no `kind`, or an unknown kind without
    /// content) and is to be ignored, as web-llm does.
    pub fn read(message: &'a Value) -> Option<Self> {
        const NO_CONTENT: &Value = &Value::Null;
        let kind = message.get("kind")?.as_str()?;
        let uuid = message.get("uuid").and_then(Value::as_str).unwrap_or_default();
        let content = message.get("content").unwrap_or(NO_CONTENT);
        let is_known = Kind::find(kind).is_some() || KINDS_NOT_SUPPORTED_YET.contains(&kind);
        (is_known || is_truthy(content)).then_some(Self { kind, uuid, content })
    }

    /// Reads the content for the kind.
    ///
    /// # Errors
    /// `UnknownMessageKindError`; `NotSupportedYetError` for a kind of web-llm that this version lacks;
    /// `InvalidMessageError` with the path of the field that is wrong.
    pub fn parse(&self) -> Result<Request, WireError> {
        let body = match Kind::find(self.kind) {
            Some(kind) => kind.read(self.content)?,
            None if KINDS_NOT_SUPPORTED_YET.contains(&self.kind) => {
                let text =
                    format!("message kind `{}` is not supported yet by this version of Hearth", self.kind);
                return Err(WireError::new(NOT_SUPPORTED_YET, text).with_detail("kind", self.kind));
            }
            None => {
                let content = javascript_string(self.content);
                let text = format!("Unknown message kind, msg: [{}] {content}", self.kind);
                return Err(WireError::new("UnknownMessageKindError", text).with_detail("kind", self.kind));
            }
        };
        Ok(Request { uuid: self.uuid.to_owned(), body })
    }
}

/// A message that has been understood.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Request {
    /// Goes into the answer; empty where the page gave none.
    pub uuid: String,
    /// What is asked.
    #[serde(flatten)]
    pub body: RequestBody,
}

impl Request {
    /// Reads a message in one go.
    ///
    /// # Errors
    /// As [`Envelope::parse`]; `InvalidMessageError` too where there is no envelope.
    pub fn parse(message: &Value) -> Result<Self, WireError> {
        match Envelope::read(message) {
            Some(envelope) => envelope.parse(),
            None => {
                let text = "a message must be an object with a `kind` (text), a `uuid` and a `content`";
                Err(WireError::new(INVALID_MESSAGE, text))
            }
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", content = "content", rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum RequestBody {
    /// Which models there are. No answer.
    SetAppConfig(AppConfig),
    /// How much to log. No answer.
    SetLogLevel(LogLevel),
    /// Load models; answered by `null`.
    Reload(ReloadContent),
    /// Answered by a `ChatCompletion`.
    ChatCompletionNonStreaming(ChatContent),
    /// Answered by `null`; the chunks are then fetched by `streamId`.
    ChatCompletionStreamInit(StreamInitContent),
    /// Answered by a chunk, or by no content at the end.
    CompletionStreamNextChunk(StreamReference),
    /// Ends a stream early; answered by `null`.
    CompletionStreamReturn(StreamReference),
    /// Stops this page's generations; answered by `null`.
    InterruptGenerate(()),
    /// Answered by `null`.
    ResetChat(ResetChatContent),
    /// Answered by `null`.
    Unload(()),
    /// Answered by the last text generated for this page.
    GetMessage(ModelReference),
    /// Answered by a text.
    RuntimeStatsText(ModelReference),
    /// Answered by a heartbeat.
    KeepAlive,
    /// web-llm's hook for subclasses of its handler. No answer.
    CustomRequest(()),
    /// A page of Hearth's own client says who it is; answered by a `HelloReply`.
    #[serde(rename = "hearth.hello")]
    Hello(HelloContent),
    /// A stream that is pushed over the port that comes with the message. No answer.
    #[serde(rename = "hearth.stream")]
    Stream(ChatContent),
    /// Cancels a request of the same page; answered by `null`.
    #[serde(rename = "hearth.cancel")]
    Cancel(CancelContent),
    /// Answered by a `UsageReport`.
    #[serde(rename = "hearth.usage")]
    Usage(ModelReference),
    /// Answered by a number of tokens.
    #[serde(rename = "hearth.measure")]
    Measure(MeasureContent),
    /// Reads a prompt ahead of its question; answered by an `AppendReply`.
    #[serde(rename = "hearth.append")]
    Append(AppendContent),
    /// A branch of the conversation; answered by `null`.
    #[serde(rename = "hearth.fork")]
    Fork(ForkContent),
    /// A branch is no longer wanted; answered by `null`.
    #[serde(rename = "hearth.close")]
    Close(CloseContent),
    /// What the browser does with the page. No answer.
    #[serde(rename = "hearth.tab")]
    Tab(TabContent),
    /// Whose events the page wants. No answer.
    #[serde(rename = "hearth.watch")]
    Watch(WatchContent),
    /// Answered by a `ContextUsage`.
    #[serde(rename = "hearth.context")]
    Context(ModelReference),
    /// Answered by a list of `TabReport`s.
    #[serde(rename = "hearth.tabs")]
    Tabs(ModelReference),
    /// Answered by a `PoolReport`.
    #[serde(rename = "hearth.pool")]
    Pool(ModelReference),
    /// Answered by a list of `TextChunk`s.
    #[serde(rename = "hearth.chunk")]
    Chunk(ChunkContent),
    /// Answered by a `CompressedText`.
    #[serde(rename = "hearth.compress")]
    Compress(CompressContent),
}

/// The kinds that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SetAppConfig,
    SetLogLevel,
    Reload,
    ChatCompletionNonStreaming,
    ChatCompletionStreamInit,
    CompletionStreamNextChunk,
    CompletionStreamReturn,
    InterruptGenerate,
    ResetChat,
    Unload,
    GetMessage,
    RuntimeStatsText,
    KeepAlive,
    CustomRequest,
    Hello,
    Stream,
    Cancel,
    Usage,
    Measure,
    Append,
    Fork,
    Close,
    Tab,
    Watch,
    Context,
    Tabs,
    Pool,
    Chunk,
    Compress,
}

impl Kind {
    fn find(word: &str) -> Option<Self> {
        Some(match word {
            "setAppConfig" => Self::SetAppConfig,
            "setLogLevel" => Self::SetLogLevel,
            "reload" => Self::Reload,
            "chatCompletionNonStreaming" => Self::ChatCompletionNonStreaming,
            "chatCompletionStreamInit" => Self::ChatCompletionStreamInit,
            "completionStreamNextChunk" => Self::CompletionStreamNextChunk,
            "completionStreamReturn" => Self::CompletionStreamReturn,
            "interruptGenerate" => Self::InterruptGenerate,
            "resetChat" => Self::ResetChat,
            "unload" => Self::Unload,
            "getMessage" => Self::GetMessage,
            "runtimeStatsText" => Self::RuntimeStatsText,
            "keepAlive" => Self::KeepAlive,
            "customRequest" => Self::CustomRequest,
            "hearth.hello" => Self::Hello,
            "hearth.stream" => Self::Stream,
            "hearth.cancel" => Self::Cancel,
            "hearth.usage" => Self::Usage,
            "hearth.measure" => Self::Measure,
            "hearth.append" => Self::Append,
            "hearth.fork" => Self::Fork,
            "hearth.close" => Self::Close,
            "hearth.tab" => Self::Tab,
            "hearth.watch" => Self::Watch,
            "hearth.context" => Self::Context,
            "hearth.tabs" => Self::Tabs,
            "hearth.pool" => Self::Pool,
            "hearth.chunk" => Self::Chunk,
            "hearth.compress" => Self::Compress,
            _ => return None,
        })
    }

    fn read(self, content: &Value) -> Result<RequestBody, WireError> {
        Ok(match self {
            Self::SetAppConfig => RequestBody::SetAppConfig(read("setAppConfig", content)?),
            Self::SetLogLevel => RequestBody::SetLogLevel(read("setLogLevel", content)?),
            Self::Reload => RequestBody::Reload(read("reload", content)?),
            Self::ChatCompletionNonStreaming => {
                RequestBody::ChatCompletionNonStreaming(read("chatCompletionNonStreaming", content)?)
            }
            Self::ChatCompletionStreamInit => {
                let init: StreamInitContent = read("chatCompletionStreamInit", content)?;
                if init.stream_key().is_none() {
                    return Err(no_stream("chatCompletionStreamInit"));
                }
                RequestBody::ChatCompletionStreamInit(init)
            }
            Self::CompletionStreamNextChunk => {
                RequestBody::CompletionStreamNextChunk(read_stream("completionStreamNextChunk", content)?)
            }
            Self::CompletionStreamReturn => {
                RequestBody::CompletionStreamReturn(read_stream("completionStreamReturn", content)?)
            }
            Self::InterruptGenerate => RequestBody::InterruptGenerate(()),
            Self::ResetChat => RequestBody::ResetChat(read_or_empty("resetChat", content)?),
            Self::Unload => RequestBody::Unload(()),
            Self::GetMessage => RequestBody::GetMessage(read_or_empty("getMessage", content)?),
            Self::RuntimeStatsText => {
                RequestBody::RuntimeStatsText(read_or_empty("runtimeStatsText", content)?)
            }
            Self::KeepAlive => RequestBody::KeepAlive,
            Self::CustomRequest => RequestBody::CustomRequest(()),
            Self::Hello => RequestBody::Hello(read("hearth.hello", content)?),
            Self::Stream => RequestBody::Stream(read("hearth.stream", content)?),
            Self::Cancel => RequestBody::Cancel(read("hearth.cancel", content)?),
            Self::Usage => RequestBody::Usage(read_or_empty("hearth.usage", content)?),
            Self::Measure => RequestBody::Measure(read("hearth.measure", content)?),
            Self::Append => RequestBody::Append(read("hearth.append", content)?),
            Self::Fork => RequestBody::Fork(read("hearth.fork", content)?),
            Self::Close => RequestBody::Close(read("hearth.close", content)?),
            Self::Tab => RequestBody::Tab(read("hearth.tab", content)?),
            Self::Watch => RequestBody::Watch(read("hearth.watch", content)?),
            Self::Context => RequestBody::Context(read_or_empty("hearth.context", content)?),
            Self::Tabs => RequestBody::Tabs(read_or_empty("hearth.tabs", content)?),
            Self::Pool => RequestBody::Pool(read_or_empty("hearth.pool", content)?),
            Self::Chunk => RequestBody::Chunk(read("hearth.chunk", content)?),
            Self::Compress => RequestBody::Compress(read("hearth.compress", content)?),
        })
    }
}

fn read_stream(kind: &str, content: &Value) -> Result<StreamReference, WireError> {
    let reference: StreamReference = read(kind, content)?;
    if reference.key().is_none() { Err(no_stream(kind)) } else { Ok(reference) }
}

fn no_stream(kind: &str) -> WireError {
    let text = format!("message `{kind}`, content: expected `streamId` (or `selectedModelId`), got neither");
    WireError::new(INVALID_MESSAGE, text).with_detail("kind", kind).with_detail("path", "content")
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
