//! What a page gets: the chat completion and its chunks. Which keys are absent and which are `null` is part of the shape.

use serde::{Deserialize, Serialize};

use crate::config::OverflowPolicy;

/// Value of [`ChatCompletion::object`].
pub const CHAT_COMPLETION: &str = "chat.completion";
/// Value of [`ChatCompletionChunk::object`].
pub const CHAT_COMPLETION_CHUNK: &str = "chat.completion.chunk";
/// The role of everything that a model says.
pub const ASSISTANT: &str = "assistant";

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct ChatCompletion {
    /// Unique; a bare UUID.
    pub id: String,
    /// The replies; one, unless the request's `n` says otherwise.
    pub choices: Vec<Choice>,
    /// Id of the model.
    pub model: String,
    /// Always `chat.completion`.
    #[cfg_attr(feature = "typescript", ts(type = "\"chat.completion\""))]
    pub object: &'static str,
    /// Unix time in seconds.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub created: u64,
    /// What it cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<CompletionUsage>,
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Choice {
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Its place in the list.
    pub index: u32,
    /// `null` unless asked for.
    pub logprobs: Option<ChoiceLogprobs>,
    /// The reply.
    pub message: AssistantMessage,
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct AssistantMessage {
    /// The text; `null` where the reply is a tool call.
    #[cfg_attr(feature = "typescript", ts(optional = false))]
    pub content: Option<String>,
    /// Always `assistant`.
    #[cfg_attr(feature = "typescript", ts(type = "\"assistant\""))]
    pub role: &'static str,
}

/// Log probabilities of a reply's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ChoiceLogprobs {
    /// One entry per token.
    pub content: Vec<TokenLogprob>,
}

/// Log probability of one token.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TokenLogprob {
    /// The token's text.
    pub token: String,
    /// Its bytes.
    pub bytes: Option<Vec<u8>>,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The most likely tokens at this place.
    pub top_logprobs: Vec<TopLogprob>,
}

/// Log probability of an alternative.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct TopLogprob {
    /// The token's text.
    pub token: String,
    /// Its bytes.
    pub bytes: Option<Vec<u8>>,
    /// Natural logarithm of its probability.
    pub logprob: f64,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum FinishReason {
    /// The model was done, or a stop string came.
    Stop,
    /// `max_tokens` or the context window was reached.
    Length,
    /// The reply is a tool call.
    ToolCalls,
    /// It was interrupted.
    Abort,
}

/// A piece of a streamed reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct ChatCompletionChunk {
    /// The same in all chunks of a reply; a bare UUID.
    pub id: String,
    /// One, or none in the chunk with the usage.
    pub choices: Vec<ChunkChoice>,
    /// Id of the model.
    pub model: String,
    /// Always `chat.completion.chunk`.
    #[cfg_attr(feature = "typescript", ts(type = "\"chat.completion.chunk\""))]
    pub object: &'static str,
    /// Unix time in seconds; the same in all chunks of a reply.
    #[cfg_attr(feature = "typescript", ts(type = "number"))]
    pub created: u64,
    /// Only in the last chunk, and only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<CompletionUsage>,
}

/// What a chunk adds to a reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct ChunkChoice {
    /// What is new.
    pub delta: Delta,
    /// `null` until the chunk that says why the reply ended.
    #[cfg_attr(feature = "typescript", ts(optional = false))]
    pub finish_reason: Option<FinishReason>,
    /// Which reply.
    pub index: u32,
    /// `null` unless asked for; the key is absent in the chunk that ends the reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Option<ChoiceLogprobs>>,
}

/// New text, or nothing in the chunk that ends the reply.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct Delta {
    /// The new text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// `assistant`, in every chunk with text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "\"assistant\""))]
    pub role: Option<&'static str>,
}

/// What a reply cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct CompletionUsage {
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Tokens of the prompt that were not in the cache.
    pub prompt_tokens: u32,
    /// Both.
    pub total_tokens: u32,
    /// The rest of the prompt.
    pub prompt_tokens_details: PromptTokensDetails,
    /// Times and rates.
    pub extra: UsageExtra,
}

/// Where the prompt's tokens came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PromptTokensDetails {
    /// Tokens of the prompt that were in the cache.
    pub cached_tokens: u32,
}

/// Times and rates of a reply; always finite numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct UsageExtra {
    /// Seconds from the request to the end of the reply, waiting included.
    pub e2e_latency_s: f64,
    /// Prompt tokens per second of prefill.
    pub prefill_tokens_per_s: f64,
    /// Tokens per second after the first.
    pub decode_tokens_per_s: f64,
    /// Seconds from the start of prefill to the first token.
    pub time_to_first_token_s: f64,
    /// Seconds per token after the first.
    pub time_per_output_token_s: f64,
    /// Room in the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<ContextReport>,
}

/// Room in the context after a reply, in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct ContextReport {
    /// The window.
    pub window: u32,
    /// Taken by prompt and reply.
    pub used: u32,
    /// What the tab may hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<u32>,
    /// What was done about an overflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<OverflowPolicy>,
    /// Messages left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_messages: Option<u32>,
    /// Tokens left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped_tokens: Option<u32>,
}
