//! Replies have web-llm's shape to the key: what is absent, what is `null`, what is there.
#![allow(clippy::unwrap_used, missing_docs)]

use hearth_protocol::completion::*;
use serde_json::{Value, json};

fn usage() -> CompletionUsage {
    CompletionUsage {
        completion_tokens: 3,
        prompt_tokens: 5,
        total_tokens: 8,
        prompt_tokens_details: PromptTokensDetails { cached_tokens: 16 },
        extra: UsageExtra {
            e2e_latency_s: 0.5,
            prefill_tokens_per_s: 10.0,
            decode_tokens_per_s: 20.0,
            time_to_first_token_s: 0.25,
            time_per_output_token_s: 0.05,
            context: Some(ContextReport {
                window: 2048,
                used: 24,
                budget: None,
                policy: None,
                dropped_messages: None,
                dropped_tokens: None,
            }),
        },
    }
}

fn usage_json() -> Value {
    json!({
        "completion_tokens": 3, "prompt_tokens": 5, "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 16},
        "extra": {"e2e_latency_s": 0.5, "prefill_tokens_per_s": 10.0, "decode_tokens_per_s": 20.0,
                  "time_to_first_token_s": 0.25, "time_per_output_token_s": 0.05,
                  "context": {"window": 2048, "used": 24}},
    })
}

fn chunk(choices: Vec<ChunkChoice>, usage: Option<CompletionUsage>) -> ChatCompletionChunk {
    ChatCompletionChunk {
        id: "i".into(),
        choices,
        model: "m".into(),
        object: CHAT_COMPLETION_CHUNK,
        created: 7,
        usage,
    }
}

#[test]
fn a_text_chunk_has_null_logprobs_and_a_role_and_no_usage() {
    let delta = Delta { content: Some("Par".into()), role: Some(ASSISTANT) };
    let choice = ChunkChoice { delta, finish_reason: None, index: 0, logprobs: Some(None) };
    assert_eq!(
        serde_json::to_value(chunk(vec![choice], None)).unwrap(),
        json!({"id": "i", "model": "m", "object": "chat.completion.chunk", "created": 7,
               "choices": [{"delta": {"content": "Par", "role": "assistant"}, "finish_reason": null, "index": 0,
                            "logprobs": null}]})
    );
}

#[test]
fn the_ending_chunk_has_an_empty_delta_and_no_logprobs_key() {
    let choice = ChunkChoice {
        delta: Delta::default(),
        finish_reason: Some(FinishReason::Length),
        index: 0,
        logprobs: None,
    };
    assert_eq!(
        serde_json::to_value(chunk(vec![choice], None)).unwrap()["choices"],
        json!([{"delta": {}, "finish_reason": "length", "index": 0}])
    );
}

#[test]
fn the_usage_chunk_has_no_choices() {
    assert_eq!(
        serde_json::to_value(chunk(vec![], Some(usage()))).unwrap(),
        json!({"id": "i", "model": "m", "object": "chat.completion.chunk", "created": 7, "choices": [],
               "usage": usage_json()})
    );
}

#[test]
fn a_completion_has_null_logprobs() {
    let message = AssistantMessage { content: Some("Paris".into()), role: ASSISTANT };
    let completion = ChatCompletion {
        id: "i".into(),
        choices: vec![Choice { finish_reason: FinishReason::Stop, index: 0, logprobs: None, message }],
        model: "m".into(),
        object: CHAT_COMPLETION,
        created: 7,
        usage: Some(usage()),
    };
    assert_eq!(
        serde_json::to_value(completion).unwrap(),
        json!({"id": "i", "model": "m", "object": "chat.completion", "created": 7,
               "choices": [{"finish_reason": "stop", "index": 0, "logprobs": null,
                            "message": {"content": "Paris", "role": "assistant"}}],
               "usage": usage_json()})
    );
}

#[test]
fn finish_reasons_are_web_llms_words() {
    let words = [FinishReason::Stop, FinishReason::Length, FinishReason::ToolCalls, FinishReason::Abort]
        .map(|reason| serde_json::to_value(reason).unwrap());
    assert_eq!(words, ["stop", "length", "tool_calls", "abort"].map(Value::from));
}
