//! What a page asks for: the chat completion request with all fields of web-llm and those OpenAI fields that fit.
//!
//! Types are checked here, values and order of messages are not: the engine does that, with web-llm's error names.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::config::OverflowPolicy;

/// A chat completion request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(
    feature = "typescript",
    derive(ts_rs::TS),
    ts(optional_fields = nullable, rename = "ChatCompletionRequestBase")
)]
pub struct ChatCompletionRequest {
    /// The conversation so far; the last message is the one to answer.
    pub messages: Vec<ChatMessage>,
    /// Whether chunks are wanted instead of one result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Only with `stream`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_options: Option<StreamOptions>,
    /// How many replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<f64>,
    /// -2 to 2: against tokens in proportion to how often they came in this reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// -2 to 2: against tokens that came in this reply at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Above 0; 1 does nothing: divides the logits of tokens that came in this reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Tokens of the reply at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<f64>,
    /// OpenAI's newer name of `max_tokens`, which wins where both are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<f64>,
    /// Texts at which the reply ends, without them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopStrings>,
    /// 0 takes the most likely token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Above 0, at most 1: sample among the most likely tokens with this much probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Sample among this many most likely tokens; 0 or absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<f64>,
    /// Token id in decimal to what is added to its logit, -100 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "Record<string, number> | null"))]
    pub logit_bias: Option<BTreeMap<String, Option<f64>>>,
    /// Whether log probabilities are wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<bool>,
    /// How many alternatives with `logprobs`, 0 to 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_logprobs: Option<f64>,
    /// Integer that fixes the random numbers; any JSON here, so that the error can quote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "number | null"))]
    pub seed: Option<Value>,
    /// Which tool to call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "unknown"))]
    pub tool_choice: Option<Value>,
    /// Tools that the model may call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "Array<unknown> | null"))]
    pub tools: Option<Value>,
    /// What the reply must look like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
    /// Whether to go on past the model's end of turn and all `stop`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_eos: Option<bool>,
    /// Which of the loaded models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What only web-llm has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_body: Option<ExtraBody>,
    /// What only Hearth has, for this request alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hearth: Option<HearthRequestOptions>,
}

/// Hearth's options of one request; they win over those of the model.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct HearthRequestOptions {
    /// What happens when the conversation outgrows its room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_policy: Option<OverflowPolicy>,
    /// Tokens kept free for the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_output_tokens: Option<f64>,
}

impl ChatCompletionRequest {
    /// Whether chunks are wanted.
    pub fn is_streaming(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether the last chunk of a stream is to carry the usage.
    pub fn wants_usage_chunk(&self) -> bool {
        self.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)
    }
}

/// Options of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct StreamOptions {
    /// Whether a last chunk with `usage` is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub include_usage: Option<bool>,
}

/// Fields that web-llm has beyond OpenAI's.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ExtraBody {
    /// `false` asks a thinking model not to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_thinking: Option<bool>,
    /// Whether `usage.extra.latencyBreakdown` is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_latency_breakdown: Option<bool>,
    /// Crash-resumable generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "unknown"))]
    pub resumable: Option<Value>,
}

/// What the reply must look like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ResponseFormat {
    /// `text`, `json_object`, `grammar` or `structural_tag`; absent is `text`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// JSON schema as text, only with `json_object`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "unknown"))]
    pub schema: Option<Value>,
    /// EBNF, only with `grammar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "unknown"))]
    pub grammar: Option<Value>,
    /// Only with `structural_tag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "unknown"))]
    pub structural_tag: Option<Value>,
}

/// One stop string or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum StopStrings {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl StopStrings {
    /// All of them.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<MessageContent>,
    /// Who exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Calls that the assistant made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "Array<unknown> | null"))]
    pub tool_calls: Option<Value>,
    /// The call that a `tool` message answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
}

impl ChatMessage {
    /// A message of plain text.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: Some(MessageContent::Text(content.into())),
            name: None,
            tool_calls: None,
            tool_call_id: None,
        }
    }

    /// The message's text, parts joined; `None` where there is none or where there are parts other than text.
    pub fn text(&self) -> Option<String> {
        match self.content.as_ref()? {
            MessageContent::Text(text) => Some(text.clone()),
            MessageContent::Parts(parts) => parts
                .iter()
                .map(|part| match part {
                    ContentPart::Text { text } => Some(text.as_str()),
                    ContentPart::ImageUrl { .. } | ContentPart::InputAudio { .. } => None,
                })
                .collect(),
        }
    }
}

/// Who speaks. Roles that no template knows are kept, so that the error can name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
#[cfg_attr(feature = "typescript", ts(type = "\"system\" | \"user\" | \"assistant\" | \"tool\""))]
pub enum Role {
    /// Instructions, only as the first message.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// Anything else.
    Other(String),
}

impl Role {
    /// The word on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Other(role) => role,
        }
    }
}

impl From<String> for Role {
    fn from(role: String) -> Self {
        match role.as_str() {
            "system" => Self::System,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" => Self::Tool,
            _ => Self::Other(role),
        }
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.as_str().to_owned()
    }
}

/// A message's content: text, or parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum MessageContent {
    /// Text.
    Text(String),
    /// Text and other media.
    Parts(Vec<ContentPart>),
}

/// One part of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ContentPart {
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    ImageUrl {
        /// Where it is.
        #[cfg_attr(feature = "typescript", ts(type = "unknown"))]
        image_url: Value,
    },
    /// A recording.
    InputAudio {
        /// The samples.
        #[cfg_attr(feature = "typescript", ts(type = "unknown"))]
        input_audio: Value,
    },
}

/// Reads a string or a list into one of two variants, with serde's own precise errors for both.
struct TextOrList<T, Made> {
    expecting: &'static str,
    text: fn(String) -> Made,
    list: fn(Vec<T>) -> Made,
}

impl<'de, T: Deserialize<'de>, Made> Visitor<'de> for TextOrList<T, Made> {
    type Value = Made;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.expecting)
    }

    fn visit_str<E>(self, text: &str) -> Result<Made, E> {
        Ok((self.text)(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Made, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items)).map(self.list)
    }
}

impl<'de> Deserialize<'de> for MessageContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor =
            TextOrList { expecting: "text or a list of content parts", text: Self::Text, list: Self::Parts };
        deserializer.deserialize_any(visitor)
    }
}

impl<'de> Deserialize<'de> for StopStrings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor =
            TextOrList { expecting: "a string or a list of strings", text: Self::One, list: Self::Many };
        deserializer.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(json: Value) -> Result<ChatMessage, serde_json::Error> {
        serde_json::from_value(json)
    }

    #[test]
    fn content_is_text_or_parts() {
        let text = message(json!({"role": "user", "content": "hi"})).unwrap();
        assert_eq!(text.text().as_deref(), Some("hi"));
        let parts = message(json!({"role": "user", "content": [{"type": "text", "text": "a"}]})).unwrap();
        assert_eq!(parts.text().as_deref(), Some("a"));
        let image =
            message(json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}));
        assert_eq!(image.unwrap().text(), None);
        assert_eq!(message(json!({"role": "assistant", "content": null})).unwrap().content, None);
    }

    #[test]
    fn errors_say_what_content_may_be() {
        let error = message(json!({"role": "user", "content": 7})).unwrap_err().to_string();
        assert!(error.contains("expected text or a list of content parts"), "{error}");
        let error = message(json!({"role": "user", "content": [{"type": "video"}]})).unwrap_err().to_string();
        assert!(error.contains("unknown variant `video`"), "{error}");
    }

    #[test]
    fn roles_are_read_and_written_by_their_words() {
        for role in [Role::System, Role::User, Role::Assistant, Role::Tool] {
            assert_eq!(serde_json::from_value::<Role>(json!(role.as_str())).unwrap(), role);
            assert_eq!(serde_json::to_value(&role).unwrap(), role.as_str());
        }
        let words = [Role::System, Role::User, Role::Assistant, Role::Tool].map(String::from);
        assert_eq!(words, ["system", "user", "assistant", "tool"]);
    }

    #[test]
    fn unknown_roles_survive() {
        let message = message(json!({"role": "referee", "content": "hi"})).unwrap();
        assert_eq!(message.role, Role::Other("referee".to_owned()));
        assert_eq!(serde_json::to_value(&message).unwrap()["role"], "referee");
    }
}
