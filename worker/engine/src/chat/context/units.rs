//! A conversation as units that are kept or dropped whole. Knows roles and tool calls, neither tokens nor templates.

use std::ops::Range;

use hearth_protocol::chat::{ChatMessage, Role};
use serde_json::Value;

/// Messages that stay together: a user's message with all that follows up to the next, calls with their results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// Its messages, as indices into the conversation.
    pub(super) messages: Range<usize>,
    /// One past each message at which the model was asked: the conversation ended there once. The last unit always has
    /// its end among them.
    pub(super) asked_at: Vec<usize>,
}

/// Whether the conversation begins with a system message, which belongs to no unit.
pub(super) fn has_system(messages: &[ChatMessage]) -> bool {
    messages.first().is_some_and(|message| message.role == Role::System)
}

/// Cuts a conversation into units. What comes before the first user's message is a unit of its own.
pub(super) fn split(messages: &[ChatMessage]) -> Vec<Unit> {
    let first = usize::from(has_system(messages));
    let mut starts: Vec<usize> = Vec::new();
    for (index, message) in messages.iter().enumerate().skip(first) {
        match message.role {
            Role::User => starts.push(index),
            Role::Tool => {
                // A user who speaks before the result is there does not part it from its call.
                let call = find_call(&messages[first..index], message).map_or(index, |found| first + found);
                while starts.len() > 1 && starts.last().is_some_and(|start| *start > call) {
                    starts.pop();
                }
            }
            Role::System | Role::Assistant | Role::Other(_) => {}
        }
        if starts.is_empty() {
            starts.push(index);
        }
    }
    let ends = starts.iter().skip(1).copied().chain([messages.len()]);
    let ranges: Vec<_> = starts.iter().zip(ends).map(|(start, end)| *start..end).collect();
    ranges.into_iter().map(|range| unit(messages, range)).collect()
}

fn unit(messages: &[ChatMessage], range: Range<usize>) -> Unit {
    let is_asked = |end: &usize| {
        matches!(messages[end - 1].role, Role::User | Role::Tool)
            && messages.get(*end).is_none_or(|next| next.role == Role::Assistant)
            || *end == messages.len()
    };
    let asked_at = (range.start + 1..=range.end).filter(is_asked).collect();
    Unit { messages: range, asked_at }
}

/// The message with the call that a result answers: by its id, or else the latest message of the assistant.
fn find_call(before: &[ChatMessage], result: &ChatMessage) -> Option<usize> {
    let by_id = result.tool_call_id.as_deref().and_then(|id| {
        before.iter().rposition(|message| {
            let calls = message.tool_calls.as_ref().and_then(Value::as_array);
            calls.is_some_and(|calls| calls.iter().any(|call| call["id"].as_str() == Some(id)))
        })
    });
    by_id.or_else(|| before.iter().rposition(|message| message.role == Role::Assistant))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn units(roles: &[&str]) -> Vec<(Range<usize>, Vec<usize>)> {
        let read = |role: &&str| ChatMessage::new(Role::from((*role).to_owned()), "x");
        let messages: Vec<_> = roles.iter().map(read).collect();
        split(&messages).into_iter().map(|unit| (unit.messages, unit.asked_at)).collect()
    }

    #[test]
    fn a_unit_is_a_users_message_with_all_that_follows() {
        assert_eq!(
            units(&["system", "user", "assistant", "user", "assistant", "user"]),
            [(1..3, vec![2]), (3..5, vec![4]), (5..6, vec![6])]
        );
        assert_eq!(units(&["user", "user"]), [(0..1, vec![]), (1..2, vec![2])]);
        assert_eq!(units(&["assistant", "user"]), [(0..1, vec![]), (1..2, vec![2])]);
        assert_eq!(units(&["user", "assistant"]), [(0..2, vec![1, 2])]);
        assert_eq!(units(&["system"]), []);
        assert_eq!(units(&[]), []);
    }

    #[test]
    fn a_call_is_not_parted_from_its_results() {
        assert_eq!(
            units(&["user", "assistant", "tool", "tool", "assistant", "user"]),
            [(0..5, vec![1, 4]), (5..6, vec![6])]
        );
        // Somebody spoke while the tool was at work.
        assert_eq!(
            units(&["user", "user", "assistant", "user", "tool"]),
            [(0..1, vec![]), (1..5, vec![2, 5])]
        );
        assert_eq!(units(&["user", "tool"]), [(0..2, vec![2])]);
    }

    #[test]
    fn a_result_belongs_to_the_call_with_its_id() {
        let mut messages: Vec<_> = ["user", "assistant", "user", "assistant", "user", "tool"]
            .map(|role| ChatMessage::new(Role::from(role.to_owned()), "x"))
            .into();
        messages[1].tool_calls = Some(json!([{"id": "first"}]));
        messages[3].tool_calls = Some(json!([{"id": "second"}, {"no": "id"}]));
        messages[5].tool_call_id = Some("first".into());
        assert_eq!(split(&messages).len(), 1);
        messages[5].tool_call_id = Some("second".into());
        assert_eq!(split(&messages).len(), 2);
        messages[5].tool_call_id = Some("of nobody".into());
        assert_eq!(split(&messages).len(), 2);
    }
}
