//! Replies of a chat model with a real tokenizer and template, on an executor that says what it is told to.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use futures::future::join;
use hearth_engine::chat::{ChatError, ChatModel, ChatReply, Speaker, TabOptions};
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::FinishReason;
use serde_json::json;
use support::chat::{
    REPLY, Setup, WINDOW_TOKENS, a, b, chunks, finish_reason, options, request, text, yield_now,
};

fn start(
    model: &ChatModel,
    request: &ChatCompletionRequest,
    speaker: &Speaker,
) -> Result<ChatReply, ChatError> {
    model.start(request, speaker, &TabOptions::default())
}

#[test]
fn streamed_text_is_the_whole_text() {
    Setup::default().run(async |model| {
        let streamed = chunks(start(&model, &request(json!({"stream": true})), &a()).unwrap()).await;
        let whole = start(&model, &request(json!({})), &a()).unwrap().collect().await.unwrap();
        let whole = whole.choices[0].message.content.clone().unwrap();
        assert_eq!(whole, REPLY);
        assert_eq!(text(&streamed), REPLY);
        assert!(streamed.len() > 5, "{streamed:#?}");
    });
}

#[test]
fn chunks_have_web_llms_shape_from_first_to_last() {
    Setup::default().run(async |model| {
        let asked = request(json!({"stream": true, "stream_options": {"include_usage": true}}));
        let chunks = chunks(start(&model, &asked, &a()).unwrap()).await;
        let (last, rest) = chunks.split_last().unwrap();
        let (end, texts) = rest.split_last().unwrap();
        for chunk in &chunks {
            assert_eq!(
                (&chunk["id"], &chunk["created"], &chunk["model"], &chunk["object"]),
                (&json!("reply-1"), &json!(1_700_000_000), &json!("smol"), &json!("chat.completion.chunk"))
            );
        }
        for chunk in texts {
            let content = chunk["choices"][0]["delta"]["content"].as_str().unwrap();
            assert!(!content.is_empty() && !content.contains('\u{FFFD}'), "{content:?}");
            assert_eq!(
                chunk["choices"],
                json!([{"delta": {"content": content, "role": "assistant"}, "finish_reason": null, "index": 0,
                        "logprobs": null}])
            );
            assert_eq!(chunk.get("usage"), None);
        }
        assert_eq!(end["choices"], json!([{"delta": {}, "finish_reason": "stop", "index": 0}]));
        assert_eq!(end.get("usage"), None);
        assert_eq!(last["choices"], json!([]));
        assert!(last["usage"]["completion_tokens"].as_u64().unwrap() > 10, "{last:#}");
        assert_eq!(last["usage"]["extra"]["context"]["window"], json!(WINDOW_TOKENS));
    });
}

#[test]
fn without_asking_there_is_no_usage_chunk() {
    Setup::default().run(async |model| {
        let chunks = chunks(start(&model, &request(json!({"stream": true})), &a()).unwrap()).await;
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_none()));
    });
}

#[test]
fn replies_end_for_web_llms_reasons() {
    Setup::default().run(async |model| {
        for (fields, reason, said) in [
            (json!({}), FinishReason::Stop, REPLY),
            (json!({"max_tokens": 2}), FinishReason::Length, "The fire"),
            (json!({"stop": " is"}), FinishReason::Stop, "The fire 🔥"),
            (json!({"stop": ["nothing", "🔥 is", ""]}), FinishReason::Stop, "The fire "),
            (json!({"ignore_eos": true, "stop": " is", "max_tokens": 40}), FinishReason::Length, REPLY),
        ] {
            let completion = start(&model, &request(fields.clone()), &a()).unwrap().collect().await.unwrap();
            let choice = &completion.choices[0];
            assert_eq!(
                (choice.finish_reason, choice.message.content.as_deref()),
                (reason, Some(said)),
                "{fields}"
            );
        }
    });
}

#[test]
fn a_second_turn_counts_only_what_is_new() {
    Setup::default().run(async |model| {
        let question =
            "What is fire? Please explain it in a few sentences, for a child of six years who likes camping.";
        let first = json!({"messages": [{"role": "user", "content": question}]});
        let usage = start(&model, &request(first), &a()).unwrap().collect().await.unwrap().usage.unwrap();
        assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
        let second = json!({"messages": [{"role": "user", "content": question},
                                         {"role": "assistant", "content": REPLY},
                                         {"role": "user", "content": "And ice?"}]});
        let again = start(&model, &request(second), &a()).unwrap().collect().await.unwrap().usage.unwrap();
        assert!(again.prompt_tokens_details.cached_tokens >= 16, "{again:?}");
        assert!(again.prompt_tokens <= usage.prompt_tokens, "{again:?} after {usage:?}");
    });
}

#[test]
fn interrupting_ends_only_the_owners_own_replies() {
    Setup::default().run(async |model| {
        let asked = request(json!({"stream": true, "stream_options": {"include_usage": true}}));
        let mut mine = start(&model, &asked, &a()).unwrap();
        let theirs = start(&model, &asked, &b()).unwrap();
        let first = mine.next_chunk().await.unwrap().unwrap().chunk.unwrap();
        model.interrupt(&a());
        let (mine, theirs) = join(chunks(mine), chunks(theirs)).await;
        assert_eq!(finish_reason(&mine), "abort");
        assert_eq!(mine.last().unwrap()["choices"], json!([]));
        let said = first.choices[0].delta.content.clone().unwrap() + &text(&mine);
        assert!(REPLY.starts_with(&said) && said.len() < REPLY.len(), "{said:?}");
        assert_eq!(model.message(&a()), said);
        assert_eq!((finish_reason(&theirs), text(&theirs).as_str()), ("stop", REPLY));
        // An interrupt means what is running, not what comes.
        assert_eq!(finish_reason(&chunks(start(&model, &asked, &a()).unwrap()).await), "stop");
    });
}

#[test]
fn a_whole_reply_can_be_cancelled_by_somebody_else() {
    Setup::default().run(async |model| {
        let mut reply = start(&model, &request(json!({"ignore_eos": true})), &a()).unwrap();
        let canceller = reply.canceller();
        let (completion, ()) = join(reply.collect(), async {
            for _ in 0..20 {
                yield_now().await;
            }
            canceller.cancel();
        })
        .await;
        assert_eq!(completion.unwrap().choices[0].finish_reason, FinishReason::Abort);
        canceller.cancel();
    });
}

#[test]
fn a_dropped_reply_frees_its_pages() {
    Setup::default().run(async |model| {
        let mut reply = start(&model, &request(json!({"stream": true, "ignore_eos": true})), &a()).unwrap();
        reply.next_chunk().await.unwrap().unwrap();
        let usage = model.usage(&a());
        assert_eq!((usage.running, usage.window_tokens, usage.block_size_tokens), (1, WINDOW_TOKENS, 16));
        assert!(usage.pages_held >= 1.0 && usage.context_tokens > 16, "{usage:?}");
        assert_eq!((model.usage(&b()).pages_held, model.usage(&b()).context_tokens), (0.0, 0));
        drop(reply);
        for _ in 0..20 {
            yield_now().await;
        }
        let usage = model.usage(&a());
        assert_eq!((usage.running, usage.pages_held), (0, 0.0));
        assert_eq!(usage.pages_free + usage.pages_cached, usage.pages_total);
        model.interrupt(&a());
    });
}

#[test]
fn each_owner_has_its_own_message_and_numbers() {
    Setup::default().run(async |model| {
        let unused = "prefill: NaN tokens/sec, decoding: NaN tokens/sec";
        assert_eq!((model.message(&a()).as_str(), model.runtime_stats_text(&a()).as_str()), ("", unused));
        start(&model, &request(json!({"max_tokens": 2})), &a()).unwrap().collect().await.unwrap();
        start(&model, &request(json!({})), &b()).unwrap().collect().await.unwrap();
        assert_eq!((model.message(&a()).as_str(), model.message(&b()).as_str()), ("The fire", REPLY));
        assert!(model.usage(&b()).context_tokens > model.usage(&a()).context_tokens);
        let used = model.runtime_stats_text(&a());
        assert_ne!(used, unused);
        model.reset(&a(), true);
        assert_eq!(model.runtime_stats_text(&a()), used);
        model.reset(&a(), false);
        assert_eq!(model.runtime_stats_text(&a()), unused);
        assert_eq!(model.message(&a()), "The fire");
        assert_ne!(model.runtime_stats_text(&b()), unused);
        model.forget(b().owner);
        assert_eq!((model.message(&b()).as_str(), model.usage(&b()).context_tokens), ("", 0));
    });
}

#[test]
fn a_prompt_longer_than_the_window_is_refused_with_the_numbers() {
    Setup::default().run(async |model| {
        let strict = options(json!({"hearth": {"overflowPolicy": "error"}}));
        let asked = |num_words: usize| {
            request(json!({"messages": [{"role": "user", "content": "fire ".repeat(num_words)}]}))
        };
        let error = model.start(&asked(400), &a(), &strict).map(|_| ()).unwrap_err().to_wire();
        assert_eq!(error.name, "ContextWindowSizeExceededError");
        let details = error.details.clone().unwrap();
        let num_prompt_tokens = details["promptTokens"].as_u64().unwrap();
        assert_eq!(details["contextWindowSize"], json!(WINDOW_TOKENS));
        let numbers =
            format!("number of prompt tokens: {num_prompt_tokens}; context window size: {WINDOW_TOKENS}\n");
        assert!(error.message.contains(&numbers), "{error}");
        // As many words fewer as there are tokens too many: exactly full, so one token comes.
        let full = 400 - (num_prompt_tokens as usize - WINDOW_TOKENS as usize);
        assert!(model.start(&asked(full + 1), &a(), &strict).is_err());
        let completion = model.start(&asked(full), &a(), &strict).unwrap().collect().await.unwrap();
        let usage = completion.usage.unwrap();
        assert_eq!(completion.choices[0].finish_reason, FinishReason::Length);
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (WINDOW_TOKENS, 1));
    });
}

#[test]
fn a_lost_device_fails_the_reply_once_and_every_later_request() {
    Setup { lost_after: Some(2), ..Setup::default() }.run(async |model| {
        let mut reply = start(&model, &request(json!({"stream": true})), &a()).unwrap();
        let mut said = String::new();
        let error = loop {
            match reply.next_chunk().await.unwrap() {
                Ok(part) => said += part.chunk.unwrap().choices[0].delta.content.as_deref().unwrap(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_wire().to_string(), "DeviceLostError: the GPU device was lost: unplugged");
        assert!(reply.next_chunk().await.is_none());
        assert_eq!(model.message(&a()), said);
        assert_eq!(said, "The fire");
        let later = start(&model, &request(json!({})), &a()).map(|_| ());
        assert!(matches!(later, Err(ChatError::Engine(_))), "{later:?}");
    });
}

#[test]
fn fields_are_checked_at_once_and_values_at_the_start() {
    Setup::default().run(async |model| {
        let error = |result: Result<(), ChatError>| result.unwrap_err().name();
        let wrong_field = request(json!({"seed": 1.5}));
        assert_eq!(error(model.check(&wrong_field)), "SeedTypeError");
        assert_eq!(error(start(&model, &wrong_field, &a()).map(|_| ())), "SeedTypeError");
        let wrong_value = request(json!({"temperature": -1}));
        assert_eq!(model.check(&wrong_value), Ok(()));
        assert_eq!(error(start(&model, &wrong_value, &a()).map(|_| ())), "NonNegativeError");
        assert_eq!(model.usage(&a()).running, 0);
    });
}

#[test]
fn text_parts_and_plain_text_are_the_same_prompt() {
    Setup::default().run(async |model| {
        let plain = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1});
        let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_tokens": 1});
        let first = start(&model, &request(plain), &a()).unwrap().collect().await.unwrap().usage.unwrap();
        let second = start(&model, &request(parts), &b()).unwrap().collect().await.unwrap().usage.unwrap();
        let total = |usage: &hearth_protocol::completion::CompletionUsage| {
            usage.prompt_tokens + usage.prompt_tokens_details.cached_tokens
        };
        assert_eq!(total(&first), total(&second));
    });
}

#[test]
fn chunks_that_are_ready_come_without_waiting() {
    Setup::default().run(async |model| {
        let mut reply = start(&model, &request(json!({"stream": true})), &a()).unwrap();
        assert!(reply.ready_chunk().is_none());
        for _ in 0..200 {
            yield_now().await;
        }
        let mut said = String::new();
        while let Some(chunk) = reply.ready_chunk() {
            let chunk = chunk.unwrap().chunk.unwrap();
            said += chunk.choices.first().and_then(|choice| choice.delta.content.as_deref()).unwrap_or("");
        }
        assert_eq!(said, REPLY);
        assert!(reply.next_chunk().await.is_none());
    });
}
