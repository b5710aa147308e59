//! Messages as text and tokens, by the model's own template. Knows nothing of room.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hearth_protocol::chat::ChatMessage;
use serde::Serialize;
use serde_json::Value;

use crate::chat::error::MessageError;
use crate::chat::failure::ChatError;
use crate::ids::TokenId;
use crate::template::{ChatTemplate, TemplateVariables};
use crate::tokenizer::Tokenizer;

/// Counts that are remembered from one request to the next: several long conversations' worth.
const MAX_REMEMBERED_COUNTS: usize = 8192;

/// A message as templates read it: parts joined, absent fields absent.
#[derive(Debug, Clone, Serialize)]
pub(super) struct TemplateMessage<'a> {
    pub(super) role: &'a str,
    pub(super) content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

impl<'a> TemplateMessage<'a> {
    pub(super) fn new(message: &'a ChatMessage) -> Result<Self, MessageError> {
        let role = message.role.as_str();
        Ok(Self {
            content: message.text().ok_or_else(|| MessageError::NotText { role: role.to_owned() })?,
            name: message.name.as_deref(),
            tool_calls: message.tool_calls.as_ref(),
            tool_call_id: message.tool_call_id.as_deref(),
            ..Self::plain(role, "")
        })
    }

    /// A message of nothing but text.
    pub(super) fn plain(role: &'a str, content: &str) -> Self {
        Self { role, content: content.to_owned(), name: None, tool_calls: None, tool_call_id: None }
    }
}

/// Sizes of texts that were counted before. A page sends its whole conversation again and again, so most texts are known.
///
/// Two texts with the same hash would share a count: sizes guide where to cut, what is kept is always counted again.
#[derive(Debug, Default)]
pub(crate) struct CountMemory(RefCell<HashMap<u64, u32>>);

/// Renders and counts for one request.
pub(super) struct Prompter<'a> {
    pub(super) template: &'a ChatTemplate,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) memory: &'a CountMemory,
    pub(super) variables: TemplateVariables,
    /// Whether prompts end where a reply begins.
    pub(super) begins_reply: bool,
}

impl Prompter<'_> {
    /// The text of a prompt.
    pub(super) fn prompt_text(&self, messages: &[&TemplateMessage<'_>]) -> Result<String, ChatError> {
        Ok(self.template.render(messages, self.begins_reply, &self.variables)?)
    }

    /// The tokens of a prompt.
    pub(super) fn prompt(&self, messages: &[&TemplateMessage<'_>]) -> Result<Vec<TokenId>, ChatError> {
        self.encode(&self.prompt_text(messages)?)
    }

    /// The text of messages that nobody is about to answer.
    pub(super) fn history_text(&self, messages: &[&TemplateMessage<'_>]) -> Result<String, ChatError> {
        Ok(self.template.render(messages, false, &self.variables)?)
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<TokenId>, ChatError> {
        Ok(self.tokenizer.encode(text)?)
    }

    /// Tokens of a text, from memory where it has been counted before.
    pub(super) fn count(&self, text: &str) -> Result<u32, ChatError> {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let key = hasher.finish();
        if let Some(count) = self.memory.0.borrow().get(&key) {
            return Ok(*count);
        }
        let count = num_tokens(&self.encode(text)?);
        let mut memory = self.memory.0.borrow_mut();
        if memory.len() >= MAX_REMEMBERED_COUNTS {
            memory.clear();
        }
        memory.insert(key, count);
        Ok(count)
    }
}

/// A length in the width that tokens are counted in.
pub(super) fn num_tokens(tokens: &[TokenId]) -> u32 {
    u32::try_from(tokens.len()).unwrap_or(u32::MAX)
}
