//! Long texts: cutting them into pieces of so many tokens, and shortening them to so many.

use serde::{Deserialize, Serialize};

use crate::config::ChatOptions;
use crate::read::{nulls_as_default, one_or_many};

/// Content of `hearth.chunk`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ChunkContent {
    /// The text.
    pub text: String,
    /// Tokens of a piece at most; at least 1.
    pub max_tokens: f64,
    /// Tokens that a piece repeats of the one before it, at most; 0 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap_tokens: Option<f64>,
    /// The model whose tokens count.
    #[serde(flatten)]
    pub models: PageModels,
}

/// Content of `hearth.compress`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct CompressContent {
    /// The text.
    pub text: String,
    /// Tokens of the result at most; at least 1.
    pub max_tokens: f64,
    /// What the reader wants to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The model whose tokens count.
    #[serde(flatten)]
    pub models: PageModels,
}

/// The models that a page has loaded, as every request of it repeats them: they are loaded again where the worker has
/// forgotten them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct PageModels {
    /// The models.
    #[serde(default, deserialize_with = "one_or_many")]
    pub model_id: Vec<String>,
    /// Options of each model.
    #[serde(default, deserialize_with = "nulls_as_default", skip_serializing_if = "Option::is_none")]
    pub chat_opts: Option<Vec<ChatOptions>>,
    /// Which of several models is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// One piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields))]
pub struct TextChunk {
    /// The piece, exactly as it stands in the text.
    pub text: String,
    /// Its tokens.
    pub tokens: u32,
    /// Where it begins in the text, in UTF-16 code units as JavaScript counts.
    pub start: u32,
    /// One past its end, likewise.
    pub end: u32,
    /// The headings that it stands under, outermost first.
    pub headings: Vec<String>,
}

/// A shortened text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct CompressedText {
    /// Sentences of the text in their order.
    pub text: String,
    /// Its tokens.
    pub tokens: u32,
    /// Tokens of the whole text.
    pub original_tokens: u32,
    /// Sentences kept.
    pub sentences_kept: u32,
    /// Sentences of the whole text; a code block counts as one.
    pub sentences_total: u32,
}
