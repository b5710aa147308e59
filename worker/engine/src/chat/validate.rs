//! Whether a request makes sense: web-llm's rules, in web-llm's order, so that of several faults the same one is named.
//!
//! Knows the request only, neither tokens nor templates.

use hearth_protocol::chat::{
    ChatCompletionRequest, ChatMessage, ContentPart, MessageContent, ResponseFormat, Role,
};
use hearth_protocol::javascript_string;
use serde_json::Value;

use super::error::{FieldError, MessageError};

/// Checks everything but the ranges of values.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_fields(request: &ChatCompletionRequest, model_id: &str) -> Result<(), RequestError> {
    check_messages(&request.messages, model_id)?;
    let num_replies = request.n.unwrap_or(1.0);
    if request.is_streaming() && num_replies > 1.0 {
        return Err(FieldError::StreamingCount.into());
    }
    if let Some(seed) = &request.seed {
        read_seed(seed)?;
    }
    if let Some(format) = &request.response_format {
        check_response_format(format)?;
    }
    if request.tools.is_some() {
        return Err(FieldError::not_yet("tools").into());
    }
    if request.stream_options.is_some() && !request.is_streaming() {
        return Err(FieldError::StreamOptions.into());
    }
    if num_replies > 1.0 {
        return Err(FieldError::not_yet("n > 1").into());
    }
    match request.response_format.as_ref().and_then(|format| format.format.as_deref()) {
        None | Some("text") => {}
        Some(other) => return Err(FieldError::not_yet(format!("response_format.type: {other}")).into()),
    }
    if is_resumable(request) {
        return Err(FieldError::not_yet("extra_body.resumable").into());
    }
    check_assistant_messages(&request.messages)?;
    Ok(())
}

/// Why a request makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RequestError {
    /// Its messages.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// Its fields.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Checks a conversation that nobody is about to answer: it may end with any role.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_history(messages: &[ChatMessage], model_id: &str) -> Result<(), MessageError> {
    check_contents(messages, model_id)?;
    check_assistant_messages(messages)
}

/// What the user and system messages are, and who speaks last.
fn check_messages(messages: &[ChatMessage], model_id: &str) -> Result<(), MessageError> {
    check_contents(messages, model_id)?;
    match messages.last().map(|message| &message.role) {
        Some(Role::User | Role::Tool) => Ok(()),
        Some(Role::System | Role::Assistant | Role::Other(_)) | None => Err(MessageError::LastMessage),
    }
}

fn check_contents(messages: &[ChatMessage], model_id: &str) -> Result<(), MessageError> {
    for (index, message) in messages.iter().enumerate() {
        match message.role {
            Role::User => check_user_content(message, model_id)?,
            Role::System if index != 0 => return Err(MessageError::SystemNotFirst),
            Role::System | Role::Assistant | Role::Tool | Role::Other(_) => {}
        }
    }
    Ok(())
}

fn check_user_content(message: &ChatMessage, model_id: &str) -> Result<(), MessageError> {
    let wrong = |content: String| MessageError::PartsForTextModel { model_id: model_id.to_owned(), content };
    let parts = match &message.content {
        Some(MessageContent::Text(_)) => return Ok(()),
        Some(MessageContent::Parts(parts)) => parts,
        None => return Err(wrong("null".to_owned())),
    };
    let is_text = |part: &ContentPart| matches!(part, ContentPart::Text { .. });
    if parts.is_empty() || !parts.iter().all(is_text) {
        return Err(wrong(vec!["[object Object]"; parts.len()].join(",")));
    }
    if parts.len() > 1 { Err(MessageError::SeveralTexts) } else { Ok(()) }
}

/// What is wrong with the other messages; web-llm finds it when it builds the prompt.
fn check_assistant_messages(messages: &[ChatMessage]) -> Result<(), MessageError> {
    for message in messages {
        match &message.role {
            Role::User => {}
            Role::System | Role::Assistant | Role::Tool => {
                if message.text().is_none() {
                    return Err(MessageError::NotText { role: message.role.as_str().to_owned() });
                }
            }
            Role::Other(role) => return Err(MessageError::UnsupportedRole { role: role.clone() }),
        }
    }
    Ok(())
}

fn check_response_format(format: &ResponseFormat) -> Result<(), FieldError> {
    let is_type = |name: &str| format.format.as_deref() == Some(name);
    if format.schema.is_some() && !is_type("json_object") {
        return Err(FieldError::Schema);
    }
    if format.grammar.is_some() != is_type("grammar") {
        return Err(FieldError::Grammar);
    }
    if format.structural_tag.is_some() != is_type("structural_tag") {
        return Err(FieldError::StructuralTag);
    }
    Ok(())
}

/// The seed as an integer.
///
/// # Errors
/// It is none. Numbers that are integers by value count, as in JavaScript.
pub fn read_seed(seed: &Value) -> Result<i64, FieldError> {
    let wrong = || FieldError::SeedType { got: javascript_string(seed) };
    match seed.as_i64() {
        Some(integer) => Ok(integer),
        None => match seed.as_f64() {
            // Saturates: beyond that the generator has no more states anyway.
            Some(number) if number.is_finite() && number.fract() == 0.0 => Ok(number as i64),
            Some(_) | None => Err(wrong()),
        },
    }
}

fn is_resumable(request: &ChatCompletionRequest) -> bool {
    let resumable = request.extra_body.as_ref().and_then(|extra| extra.resumable.as_ref());
    resumable.is_some_and(|config| config.get("enabled") != Some(&Value::Bool(false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut request: Value) -> Result<(), String> {
        if request.get("messages").is_none() {
            request["messages"] = json!([{"role": "user", "content": "hi"}]);
        }
        let request: ChatCompletionRequest = serde_json::from_value(request).unwrap();
        check_fields(&request, "tiny").map_err(|error| match error {
            RequestError::Message(error) => format!("{}: {error}", error.name()),
            RequestError::Field(error) => format!("{}: {error}", error.name()),
        })
    }

    fn error(request: Value) -> String {
        check(request.clone()).expect_err(&request.to_string())
    }

    #[test]
    fn ordinary_requests_pass() {
        for request in [
            json!({}),
            json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]}),
            json!({"messages": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"},
                                {"role": "tool", "content": "t", "tool_call_id": "0"}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "u"}]}]}),
            json!({"seed": 7}),
            json!({"seed": -7}),
            json!({"seed": 7.0}),
            json!({"seed": null}),
            json!({"n": 1}),
            json!({"n": 0}),
            json!({"stream": true, "stream_options": {"include_usage": true}}),
            json!({"response_format": {"type": "text"}}),
            json!({"response_format": {}}),
            json!({"extra_body": {"enable_thinking": false, "enable_latency_breakdown": true}}),
            json!({"extra_body": {"resumable": {"enabled": false}}}),
            json!({"tool_choice": "auto"}),
        ] {
            assert_eq!(check(request.clone()), Ok(()), "{request}");
        }
    }

    #[test]
    fn messages_out_of_order_are_named() {
        let user = json!({"role": "user", "content": "u"});
        let last = "MessageOrderError: Last message should be from either `user` or `tool`.";
        assert_eq!(error(json!({"messages": []})), last);
        assert_eq!(error(json!({"messages": [{"role": "system", "content": "s"}]})), last);
        assert_eq!(error(json!({"messages": [user, {"role": "assistant", "content": "a"}]})), last);
        assert_eq!(
            error(json!({"messages": [user, {"role": "system", "content": "s"}, user]})),
            "SystemMessageOrderError: System prompt should always be the first message in `messages`."
        );
    }

    #[test]
    fn a_history_may_end_with_any_role_but_is_checked_otherwise() {
        let check = |messages: Value| {
            let messages: Vec<ChatMessage> = serde_json::from_value(messages).unwrap();
            check_history(&messages, "tiny").map_err(|error| error.name())
        };
        let user = json!({"role": "user", "content": "u"});
        assert_eq!(check(json!([])), Ok(()));
        assert_eq!(check(json!([user, {"role": "assistant", "content": "a"}])), Ok(()));
        assert_eq!(check(json!([{"role": "system", "content": "s"}])), Ok(()));
        assert_eq!(check(json!([user, {"role": "system", "content": "s"}])), Err("SystemMessageOrderError"));
        assert_eq!(check(json!([user, {"role": "assistant"}])), Err("ContentTypeError"));
        assert_eq!(check(json!([{"role": "user"}])), Err("UserMessageContentErrorForNonVLM"));
    }

    #[test]
    fn content_that_is_not_text_is_named() {
        let user = json!({"role": "user", "content": "u"});
        for role in ["assistant", "tool", "system"] {
            for content in [json!(null), json!([{"type": "image_url", "image_url": {}}])] {
                assert_eq!(
                    error(json!({"messages": [{"role": role, "content": content}, user]})),
                    format!("ContentTypeError: {role}'s message should have string content.")
                );
            }
        }
        for (content, printed) in [
            (json!([{"type": "image_url", "image_url": {"url": "http://x"}}]), "[object Object]"),
            (
                json!([{"type": "text", "text": "t"}, {"type": "input_audio", "input_audio": {}}]),
                "[object Object],[object Object]",
            ),
            (json!([]), ""),
            (json!(null), "null"),
        ] {
            assert_eq!(
                error(json!({"messages": [{"role": "user", "content": content}]})),
                format!(
                    "UserMessageContentErrorForNonVLM: The model loaded is not of type ModelType.VLM (vision-language \
                     model). Therefore, user message only supports string content, but received: {printed}\nLoaded \
                     modelId: tiny, modelType: LLM"
                )
            );
        }
        let text = json!({"type": "text", "text": "t"});
        assert_eq!(
            error(json!({"messages": [{"role": "user", "content": [text, text]}]})),
            "MultipleTextContentError: Each message can have at most one text contentPart, but received more than 1."
        );
    }

    #[test]
    fn unknown_roles_are_named() {
        let user = json!({"role": "user", "content": "u"});
        assert_eq!(
            error(json!({"messages": [{"role": "referee", "content": "x"}, user]})),
            "UnsupportedRoleError: Unsupported role of message: referee"
        );
    }

    #[test]
    fn fields_that_do_not_go_together_are_named() {
        let grammar = "InvalidResponseFormatGrammarError: When ResponseFormat.type is `grammar`, \
                       ResponseFormat.grammar needs to be specified.\nWhen ResponseFormat.grammar is specified, \
                       ResponseFormat.type needs to be grammar.";
        let tag = "InvalidResponseFormatStructuralTagError: When ResponseFormat.type is `structural_tag`, \
                   ResponseFormat.structural_tag needs to be specified.\nWhen ResponseFormat.structural_tag is \
                   specified, ResponseFormat.type needs to be structural_tag.";
        let schema =
            "InvalidResponseFormatError: JSON schema is only supported with `json_object` response format.";
        for (request, expected) in [
            (json!({"stream": true, "n": 2}), "StreamingCountError: When streaming, `n` cannot be > 1."),
            (json!({"seed": 1.5}), "SeedTypeError: `seed` should be an integer, but got 1.5"),
            (json!({"seed": "42"}), "SeedTypeError: `seed` should be an integer, but got 42"),
            (json!({"seed": {}}), "SeedTypeError: `seed` should be an integer, but got [object Object]"),
            (
                json!({"stream_options": {"include_usage": true}}),
                "InvalidStreamOptionsError: Only specify stream_options when stream=True.",
            ),
            (json!({"response_format": {"schema": "{}"}}), schema),
            (json!({"response_format": {"type": "text", "schema": "{}"}}), schema),
            (json!({"response_format": {"type": "grammar"}}), grammar),
            (json!({"response_format": {"type": "json_object", "grammar": "root ::= x"}}), grammar),
            (json!({"response_format": {"type": "structural_tag"}}), tag),
            (json!({"response_format": {"type": "text", "structural_tag": {}}}), tag),
        ] {
            assert_eq!(error(request.clone()), expected, "{request}");
        }
    }

    #[test]
    fn what_is_not_supported_yet_is_named_and_not_ignored() {
        for (request, field) in [
            (json!({"tools": [{"type": "function", "function": {"name": "f"}}]}), "tools"),
            (json!({"n": 2}), "n > 1"),
            (json!({"response_format": {"type": "json_object"}}), "response_format.type: json_object"),
            (
                json!({"response_format": {"type": "grammar", "grammar": "g"}}),
                "response_format.type: grammar",
            ),
            (json!({"response_format": {"type": "xml"}}), "response_format.type: xml"),
            (json!({"extra_body": {"resumable": {"enabled": true}}}), "extra_body.resumable"),
        ] {
            assert_eq!(
                error(request),
                format!("NotSupportedYetError: `{field}` is not supported yet by this version of Hearth")
            );
        }
    }
}
