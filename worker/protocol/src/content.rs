//! The content of each kind of message that has one.

use serde::{Deserialize, Serialize};

use crate::chat::{ChatCompletionRequest, ChatMessage};
use crate::config::ChatOptions;
use crate::context::ReplySnapshot;
use crate::documents::PageModels;
use crate::read::{nulls_as_default, one_or_many};

/// Content of `reload`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ReloadContent {
    /// The models to load; all others are let go.
    #[serde(deserialize_with = "one_or_many")]
    pub model_id: Vec<String>,
    /// Options of each model.
    #[serde(default, deserialize_with = "nulls_as_default", skip_serializing_if = "Option::is_none")]
    pub chat_opts: Option<Vec<ChatOptions>>,
}

/// Content of `chatCompletionNonStreaming` and `hearth.stream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ChatContent {
    /// The request.
    pub request: ChatCompletionRequest,
    /// The models that the page has loaded: loaded again where the worker has forgotten them.
    #[serde(deserialize_with = "one_or_many")]
    pub model_id: Vec<String>,
    /// Options of each model.
    #[serde(default, deserialize_with = "nulls_as_default", skip_serializing_if = "Option::is_none")]
    pub chat_opts: Option<Vec<ChatOptions>>,
    /// Which of the page's branches; absent for the page itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Goes on with a reply that an earlier run of the worker began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Box<ReplySnapshot>>,
}

/// Content of `chatCompletionStreamInit`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct StreamInitContent {
    /// The request.
    pub request: ChatCompletionRequest,
    /// The models that the page has loaded: loaded again where the worker has forgotten them.
    #[serde(deserialize_with = "one_or_many")]
    pub model_id: Vec<String>,
    /// Options of each model.
    #[serde(default, deserialize_with = "nulls_as_default", skip_serializing_if = "Option::is_none")]
    pub chat_opts: Option<Vec<ChatOptions>>,
    /// The page's name of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// The model; clients older than `streamId` name the stream by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected_model_id: Option<String>,
}

impl StreamInitContent {
    /// What later messages name the stream by.
    pub fn stream_key(&self) -> Option<&str> {
        self.stream_id.as_deref().or(self.selected_model_id.as_deref())
    }
}

/// Names a stream, in either generation of the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct StreamReference {
    /// The page's name of the stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_id: Option<String>,
    /// The stream's model; clients older than `streamId` name the stream by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected_model_id: Option<String>,
}

impl StreamReference {
    /// What the stream was registered under: [`StreamInitContent::stream_key`]. Present in every request that was
    /// parsed.
    pub fn key(&self) -> Option<&str> {
        self.stream_id.as_deref().or(self.selected_model_id.as_deref())
    }
}

/// Content of `resetChat`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ResetChatContent {
    /// Whether the totals of `runtimeStatsText` are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_stats: Option<bool>,
    /// Which of several models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Which of the page's branches; absent for the page itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// Names a model where there may be several.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ModelReference {
    /// Which of several models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Which of the page's branches; absent for the page itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// Content of `hearth.hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct HelloContent {
    /// Version of the wire that the page speaks.
    pub protocol: u32,
    /// Identity of the tab, a UUID that the page made.
    pub tab: String,
    /// Title of the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The page holds the Web Lock `hearth-tab:<tab>` for as long as it lives.
    #[serde(default)]
    pub holds_lock: bool,
}

/// Content of `hearth.cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct CancelContent {
    /// The request to cancel.
    pub uuid: String,
}

/// Content of `hearth.measure`: messages or a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct MeasureContent {
    /// Measured with the model's template, up to where the reply begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<ChatMessage>>,
    /// Measured as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The model whose tokens count.
    #[serde(flatten)]
    pub models: PageModels,
}

/// Content of `hearth.append`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct AppendContent {
    /// The conversation so far; it may end with any role.
    pub messages: Vec<ChatMessage>,
    /// The model that reads it.
    #[serde(flatten)]
    pub models: PageModels,
    /// Which of the page's branches; absent for the page itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

/// Content of `hearth.fork`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ForkContent {
    /// The page's name of the new branch, a UUID.
    pub branch: String,
    /// The branch that it begins as; absent for the page itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Content of `hearth.close`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct CloseContent {
    /// The branch that is no longer wanted.
    pub branch: String,
}

/// Content of `hearth.tab`: what the browser does with the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct TabContent {
    /// It has the focus.
    pub focused: bool,
    /// It can be seen.
    pub visible: bool,
    /// It is about to be frozen: it will read nothing until it says otherwise.
    pub frozen: bool,
    /// Its title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// Content of `hearth.watch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct WatchContent {
    /// Events of all tabs are wanted, not only of this one.
    pub all: bool,
}
