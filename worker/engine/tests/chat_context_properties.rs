//! Whatever a conversation is, and however small its room: each policy gives a prompt that fits, or the typed error.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hearth_engine::chat::error::WindowError;
use hearth_engine::chat::{ChatError, ChatModel};
use hearth_engine::ids::TokenId;
use hearth_protocol::chat::{ChatCompletionRequest, ChatMessage, Role};
use proptest::prelude::*;
use serde_json::json;
use support::chat::{Setup, a, options, vocabulary};

const WINDOW_TOKENS: u32 = 2048;

fn model() -> ChatModel {
    Setup { window_tokens: WINDOW_TOKENS, num_blocks: 256, ..Setup::default() }.idle()
}

thread_local! {
    /// One that has seen all cases before: what it remembers must make no difference.
    static EXPERIENCED: ChatModel = model();
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("fire"),
        Just("the"),
        Just("Wärme,"),
        Just("тепло"),
        Just("🔥"),
        Just("\n\n"),
        Just("end."),
        Just("4096"),
    ];
    proptest::collection::vec(word, 0..60).prop_map(|words| words.join(" "))
}

/// Almost any order of roles, with something to answer at the end.
fn conversation() -> impl Strategy<Value = Vec<ChatMessage>> {
    let role = prop_oneof![4 => Just(Role::User), 4 => Just(Role::Assistant), 1 => Just(Role::Tool)];
    let message = (role, words()).prop_map(|(role, content)| ChatMessage::new(role, content));
    let last = (any::<bool>(), words())
        .prop_map(|(tool, content)| ChatMessage::new(if tool { Role::Tool } else { Role::User }, content));
    let system = proptest::option::of(words().prop_map(|content| ChatMessage::new(Role::System, content)));
    (system, proptest::collection::vec(message, 0..40), last).prop_map(|(system, mut messages, last)| {
        messages.push(last);
        // Results follow their calls; other orders are a matter of the units' own tests.
        let mut before = Role::User;
        for message in &mut messages {
            if message.role == Role::Tool && before == Role::User {
                message.role = Role::User;
            }
            before = message.role.clone();
        }
        system.into_iter().chain(messages).collect()
    })
}

fn policy() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("auto"), Just("truncate"), Just("summarize"), Just("sliding"), Just("error")]
}

fn tokens_of(messages: &[ChatMessage], begins_reply: bool) -> Vec<TokenId> {
    let (tokenizer, template) = vocabulary();
    tokenizer.encode(&template.render(messages, begins_reply, &Default::default()).unwrap()).unwrap()
}

/// Tokens at the start that are there whatever else is said.
fn system_tokens(messages: &[ChatMessage]) -> Vec<TokenId> {
    let system: Vec<_> = messages.iter().filter(|message| message.role == Role::System).cloned().collect();
    let mut tokens = match system.is_empty() {
        true => tokens_of(&[ChatMessage::new(Role::User, "x")], false),
        false => tokens_of(&system, false),
    };
    let longest = tokens_of(messages, true).iter().zip(&tokens).take_while(|(a, b)| a == b).count();
    // What follows may be joined to the last of them.
    tokens.truncate(longest.saturating_sub(1));
    tokens
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_policy_gives_a_prompt_that_fits_or_the_typed_error(
        messages in conversation(),
        policy in policy(),
        limit in 16_u32..1200,
        reserve in proptest::option::of(0_u32..400),
    ) {
        let request = ChatCompletionRequest { messages: messages.clone(), ..ChatCompletionRequest::default() };
        let options = options(json!({
            "context_window_size": limit,
            "hearth": {"overflowPolicy": policy, "reserveOutputTokens": reserve},
        }));
        let result = EXPERIENCED.with(|model| model.prompt_of(&request, &a(), &options));
        prop_assert_eq!(&result, &model().prompt_of(&request, &a(), &options), "not deterministic");

        let all = tokens_of(&messages, true);
        let last_user = messages.iter().rposition(|message| message.role == Role::User).unwrap_or(0);
        let room = limit.saturating_sub(reserve.unwrap_or((limit / 4).min(512))) as usize;
        match result {
            Err(ChatError::Window(WindowError::Exceeded { num_prompt_tokens, window_tokens })) => {
                prop_assert!(policy != "sliding", "any prompt can slide");
                prop_assert_eq!(window_tokens, limit);
                prop_assert!(num_prompt_tokens > limit as usize && num_prompt_tokens <= all.len());
            }
            Err(other) => prop_assert!(false, "{other}"),
            Ok(prompt) if all.len() <= room || policy == "error" => prop_assert_eq!(prompt, all),
            Ok(prompt) => {
                prop_assert!(prompt.len() <= limit as usize);
                let system = system_tokens(&messages);
                if policy == "sliding" {
                    let start = system.len().min(limit as usize / 2);
                    prop_assert_eq!(&prompt[..start], &system[..start]);
                    let tail = &prompt[(system.len() + 1).min(limit as usize / 2).min(prompt.len() - 1)..];
                    prop_assert!(all.ends_with(tail), "{prompt:?} is no start and end of {all:?}");
                } else {
                    // Without its reserve only what must be kept is read.
                    let kept = EXPERIENCED.with(|model| model.measure_messages(&messages[last_user..]).unwrap());
                    prop_assert!(prompt.len() <= room || prompt.len() <= kept as usize + system.len());
                    if policy != "summarize" {
                        prop_assert_eq!(&prompt[..system.len()], &system[..]);
                    }
                    let last = &messages[messages.len() - 1..];
                    let tail = tokens_of(last, true).split_off(system_tokens(last).len() + 1);
                    // A summary before a first message may share a token with it.
                    let shared = if policy == "summarize" { tail.len().min(8) } else { 0 };
                    prop_assert!(prompt.ends_with(&tail[shared..]));
                }
            }
        }
    }
}
