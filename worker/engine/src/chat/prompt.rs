//! From messages to the tokens of a prompt, by the model's own template.

use hearth_protocol::chat::{ChatCompletionRequest, ChatMessage};
use serde::Serialize;
use serde_json::Value;

use super::error::{MessageError, WindowError};
use super::failure::ChatError;
use crate::ids::TokenId;
use crate::template::{ChatTemplate, TemplateVariables};
use crate::tokenizer::Tokenizer;

/// A message as templates read it: parts joined, absent fields absent.
#[derive(Serialize)]
struct TemplateMessage<'a> {
    role: &'a str,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

impl<'a> TemplateMessage<'a> {
    fn new(message: &'a ChatMessage) -> Result<Self, MessageError> {
        let role = message.role.as_str();
        Ok(Self {
            role,
            content: message.text().ok_or_else(|| MessageError::NotText { role: role.to_owned() })?,
            name: message.name.as_deref(),
            tool_calls: message.tool_calls.as_ref(),
            tool_call_id: message.tool_call_id.as_deref(),
        })
    }
}

/// The prompt of a request that has been checked.
///
/// # Errors
/// The template refuses the conversation, or the prompt is longer than the window.
pub(super) fn prompt_tokens(
    request: &ChatCompletionRequest,
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    window_tokens: u32,
) -> Result<Vec<TokenId>, ChatError> {
    let messages: Vec<_> = request.messages.iter().map(TemplateMessage::new).collect::<Result<_, _>>()?;
    let text = template.render(&messages, true, &variables(request))?;
    let tokens = tokenizer.encode(&text)?;
    if tokens.len() > window_tokens as usize {
        return Err(WindowError::Exceeded { num_prompt_tokens: tokens.len(), window_tokens }.into());
    }
    Ok(tokens)
}

fn variables(request: &ChatCompletionRequest) -> TemplateVariables {
    let mut variables = TemplateVariables::default();
    if let Some(thinking) = request.extra_body.as_ref().and_then(|extra| extra.enable_thinking) {
        variables.extra.insert("enable_thinking".to_owned(), Value::Bool(thinking));
    }
    variables
}
