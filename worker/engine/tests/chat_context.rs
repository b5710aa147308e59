//! What of a conversation is read when it outgrows its room, under each policy, and what a page is told of it.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use hearth_engine::chat::{ChatModel, TabOptions};
use hearth_engine::ids::TokenId;
use hearth_engine::tokenizer::{Tokenizer, Vocabulary};
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::{CompletionUsage, ContextReport, FinishReason};
use hearth_protocol::config::OverflowPolicy;
use hearth_protocol::context::{ContextEvent, OverflowPhase};
use serde_json::{Value, json};
use support::chat::{REPLY, Setup, a, b, chunks, events, finish_reason, options, request, vocabulary};

const SYSTEM: &str = "You are a helpful assistant. Answer in one short sentence.";

fn system() -> Value {
    json!({"role": "system", "content": SYSTEM})
}

fn user(content: &str) -> Value {
    json!({"role": "user", "content": content})
}

fn assistant(content: &str) -> Value {
    json!({"role": "assistant", "content": content})
}

fn question(turn: usize) -> String {
    format!("Turn {turn}: tell me one thing about the number {}, please.", turn * 7 + 3)
}

/// A system prompt, turns that have been answered, and one that has not.
fn conversation(num_turns: usize) -> Vec<Value> {
    let mut messages = vec![system()];
    for turn in 1..=num_turns {
        messages.push(user(&question(turn)));
        messages.push(assistant(&format!("The number {} is odd or even.", turn * 7 + 3)));
    }
    messages.pop();
    messages
}

fn asked(messages: &[Value]) -> ChatCompletionRequest {
    request(json!({"messages": messages}))
}

/// The prompt as text, with the control tokens left out.
fn text(tokenizer: &Tokenizer, prompt: &[TokenId]) -> String {
    let bytes: Vec<u8> = prompt.iter().flat_map(|token| tokenizer.token_bytes(*token)).copied().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn prompt(model: &ChatModel, request: &ChatCompletionRequest, options: &TabOptions) -> Vec<TokenId> {
    model.prompt_of(request, &a(), options).unwrap()
}

async fn usage(model: &ChatModel, request: &ChatCompletionRequest, options: &TabOptions) -> CompletionUsage {
    model.start(request, &a(), options).unwrap().collect().await.unwrap().usage.unwrap()
}

async fn report(model: &ChatModel, request: &ChatCompletionRequest, options: &TabOptions) -> ContextReport {
    usage(model, request, options).await.extra.context.unwrap()
}

fn in_window(window: u32) -> Setup {
    Setup { window_tokens: window, num_blocks: 256, ..Setup::default() }
}

fn policy(window: u32, policy: &str) -> TabOptions {
    options(json!({"context_window_size": window, "hearth": {"overflowPolicy": policy}}))
}

#[test]
fn forty_turns_in_a_small_window_never_fail_and_keep_the_system_prompt() {
    in_window(2048).run(async |model| {
        let (tokenizer, _) = vocabulary();
        let options = options(json!({"context_window_size": 512}));
        let mut messages = vec![system()];
        let mut dropped = Vec::new();
        let mut read_again = 0;
        for turn in 1..=40 {
            messages.push(user(&question(turn)));
            let asked = request(json!({"messages": messages, "max_tokens": 8}));
            let prompt = prompt(&model, &asked, &options);
            let text = text(&tokenizer, &prompt);
            assert!(text.starts_with(&format!("system\n{SYSTEM}")), "{text}");
            assert!(text.ends_with(&format!("user\n{}\nassistant\n", question(turn))), "{text}");
            let completion = model.start(&asked, &a(), &options).unwrap().collect().await.unwrap();
            let usage = completion.usage.unwrap();
            let context = usage.extra.context.unwrap();
            assert!(prompt.len() <= 512 - 8 && context.used <= 512 && context.window == 512, "{context:?}");
            read_again += u32::from(usage.prompt_tokens > 120);
            dropped.push(context.dropped_messages.unwrap_or(0));
            messages.push(assistant(completion.choices[0].message.content.as_deref().unwrap()));
        }
        assert_eq!(dropped[5], 0);
        assert!(dropped[39] > 30 && dropped[39] < 78, "{dropped:?}");
        assert!(dropped.is_sorted(), "{dropped:?}");
        assert!(read_again < 8, "{read_again} turns had to read much again");
    });
}

#[test]
fn turns_after_a_cut_extend_the_same_prompt_until_the_next_cut() {
    in_window(2048).run(async |model| {
        // A turn has 30 tokens: a cut frees half of the window at once, a slide a quarter.
        for (name, least) in [("truncate", 48), ("summarize", 45), ("sliding", 40)] {
            let options = policy(512, name);
            let prompts: Vec<_> =
                (1..60).map(|turns| prompt(&model, &asked(&conversation(turns)), &options)).collect();
            let extends = |pair: &&[Vec<TokenId>]| {
                let same = pair[0].iter().zip(&pair[1]).take_while(|(a, b)| a == b).count();
                same + 4 >= pair[0].len()
            };
            let num_extended = prompts.windows(2).filter(extends).count();
            assert!(num_extended >= least, "{name}: only {num_extended} of 58 turns extend the one before");
            assert!(num_extended < 58, "{name}: the window was never full");
        }
    });
}

#[test]
fn truncating_leaves_out_whole_turns_and_says_how_many() {
    in_window(2048).run(async |model| {
        let (tokenizer, _) = vocabulary();
        let options = policy(256, "truncate");
        let messages = conversation(12);
        let all = model.measure_messages(&asked(&messages).messages).unwrap();
        let prompt = prompt(&model, &asked(&messages), &options);
        let text = text(&tokenizer, &prompt);
        let num_kept = (1..=12).filter(|turn| text.contains(&question(*turn))).count();
        assert!((2..8).contains(&num_kept), "{text}");
        let first = 12 - num_kept + 1;
        assert!((first..=12).all(|turn| text.contains(&question(turn))), "{text}");
        let report = report(&model, &request(json!({"messages": messages, "max_tokens": 1})), &options).await;
        // A reply of one token needs less room, and so more is kept.
        assert_eq!((report.policy, report.window), (Some(OverflowPolicy::Truncate), 256));
        let dropped = report.dropped_messages.unwrap();
        assert!(dropped % 2 == 0 && dropped <= 2 * (first as u32 - 1), "{report:?}");
        assert_eq!(report.used - 1 + report.dropped_tokens.unwrap(), all, "{report:?}");
    });
}

#[test]
fn a_tool_call_goes_or_stays_with_its_results() {
    in_window(2048).run(async |model| {
        let (tokenizer, _) = vocabulary();
        let call =
            json!({"role": "assistant", "content": "CALL", "tool_calls": [{"id": "1", "type": "function"}]});
        let result = json!({"role": "tool", "content": "RESULT", "tool_call_id": "1"});
        for num_before in 0..12 {
            for num_after in 0..12 {
                let mut messages = vec![system()];
                messages.extend(conversation(num_before + 1).into_iter().skip(1));
                messages.extend([
                    assistant("ok"),
                    user("USE IT"),
                    call.clone(),
                    result.clone(),
                    assistant("DONE"),
                ]);
                messages.extend(conversation(num_after + 1).into_iter().skip(1));
                let prompt = prompt(&model, &asked(&messages), &policy(300, "truncate"));
                let text = text(&tokenizer, &prompt);
                let kept = ["USE IT", "CALL", "RESULT", "DONE"].map(|word| text.contains(word));
                assert!(kept == [true; 4] || kept == [false; 4], "{kept:?} of\n{text}");
            }
        }
    });
}

#[test]
fn the_last_unit_stays_whole_even_where_that_takes_the_room_of_the_reply() {
    in_window(2048).run(async |model| {
        let options = options(json!({"context_window_size": 256, "hearth": {"reserveOutputTokens": 250}}));
        let mut messages = conversation(12);
        let last = user(&"fire ".repeat(150));
        messages.extend([assistant("ok"), last.clone()]);
        let prompt = prompt(&model, &asked(&messages), &options);
        assert_eq!(prompt, self::prompt(&model, &asked(&[system(), last]), &TabOptions::default()));
        assert!(prompt.len() > 150 && prompt.len() <= 256);
    });
}

#[test]
fn what_cannot_fit_at_all_is_web_llms_error_with_the_numbers() {
    in_window(2048).run(async |model| {
        let last = user(&"fire ".repeat(300));
        let needed = model.measure_messages(&asked(&[system(), last.clone()]).messages).unwrap();
        let mut messages = conversation(12);
        messages.extend([assistant("ok"), last]);
        for name in ["auto", "truncate", "summarize"] {
            let error = model.start(&asked(&messages), &a(), &policy(256, name)).map(|_| ()).unwrap_err().to_wire();
            assert_eq!(error.name, "ContextWindowSizeExceededError", "{name}");
            assert_eq!(error.details.clone().unwrap()["promptTokens"], json!(needed), "{name}");
            assert_eq!(error.details.clone().unwrap()["contextWindowSize"], json!(256), "{name}");
        }
        // Under `error` the whole conversation has to fit.
        let all = model.measure_messages(&asked(&messages).messages).unwrap();
        let error = model.start(&asked(&messages), &a(), &policy(256, "error")).map(|_| ()).unwrap_err().to_wire();
        assert_eq!(
            error.to_string(),
            format!(
                "ContextWindowSizeExceededError: Prompt tokens exceed context window size: number of prompt tokens: {all}; \
                 context window size: 256\nConsider shortening the prompt, or increase `context_window_size`, or using \
                 sliding window via `sliding_window_size`."
            )
        );
        assert!(model.start(&asked(&messages), &a(), &policy(256, "sliding")).is_ok());
        assert_eq!(model.usage(&a()).running, 0);
    });
}

#[test]
fn a_request_may_have_a_policy_and_a_reserve_of_its_own() {
    in_window(2048).run(async |model| {
        let options = policy(256, "error");
        let messages = conversation(12);
        assert!(model.start(&asked(&messages), &a(), &options).is_err());
        let own = |hearth: Value| request(json!({"messages": messages, "max_tokens": 1, "hearth": hearth}));
        let report = report(&model, &own(json!({"overflowPolicy": "truncate"})), &options).await;
        assert_eq!(report.policy, Some(OverflowPolicy::Truncate));
        let small = own(json!({"overflowPolicy": "truncate", "reserveOutputTokens": 200}));
        assert!(prompt(&model, &small, &options).len() <= 56);
        let wrong = own(json!({"reserveOutputTokens": -1}));
        let error = model.start(&wrong, &a(), &options).map(|_| ()).unwrap_err().to_wire();
        assert_eq!(error.to_string(), "NonNegativeError: Make sure hearth.reserveOutputTokens >= 0.");
    });
}

#[test]
fn a_budget_below_the_window_is_the_limit() {
    in_window(2048).run(async |model| {
        let options = options(json!({"context_window_size": 1024, "hearth": {"tabBudgetTokens": 256}}));
        let asked = request(json!({"messages": conversation(12), "max_tokens": 1}));
        let prompt = prompt(&model, &asked, &options);
        assert!(prompt.len() <= 255, "{}", prompt.len());
        let report = report(&model, &asked, &options).await;
        assert_eq!((report.window, report.budget), (1024, Some(256)));
        let context = model.context(&a(), &options);
        assert_eq!((context.window, context.budget, context.reserved), (1024, 256, 64));
        assert_eq!(context.used, report.used);
    });
}

#[test]
fn sliding_reads_the_start_and_the_end_of_any_prompt() {
    in_window(2048).run(async |model| {
        let (tokenizer, template) = vocabulary();
        let options =
            options(json!({"context_window_size": -1, "sliding_window_size": 256, "attention_sink_size": 4}));
        let render = |messages: &[Value]| {
            tokenizer.encode(&template.render(messages, true, &Default::default()).unwrap()).unwrap()
        };
        let start =
            tokenizer.encode(&template.render(&[system()], false, &Default::default()).unwrap()).unwrap();
        for messages in [conversation(30), vec![system(), user(&"many words ".repeat(500))]] {
            let all = render(&messages);
            let prompt = prompt(&model, &asked(&messages), &options);
            assert!(prompt.len() <= 192 && prompt.len() >= 128, "{}", prompt.len());
            assert_eq!(prompt[..start.len()], all[..start.len()]);
            assert_eq!(prompt[start.len()..], all[all.len() - (prompt.len() - start.len())..]);
            let report =
                report(&model, &request(json!({"messages": messages, "max_tokens": 1})), &options).await;
            assert_eq!(report.policy, Some(OverflowPolicy::Sliding));
            assert_eq!(report.dropped_tokens.unwrap() + report.used - 1, all.len() as u32);
        }
    });
}

#[test]
fn a_sink_larger_than_the_system_prompt_is_the_start_of_the_whole_conversation() {
    in_window(2048).run(async |model| {
        let (tokenizer, template) = vocabulary();
        let options = options(
            json!({"context_window_size": -1, "sliding_window_size": 256, "attention_sink_size": 100}),
        );
        let messages = conversation(30);
        let all = tokenizer.encode(&template.render(&messages, true, &Default::default()).unwrap()).unwrap();
        let prompt = prompt(&model, &asked(&messages), &options);
        assert_eq!(prompt[..100], all[..100]);
        assert_eq!(prompt[100..], all[all.len() - (prompt.len() - 100)..]);
        let reply = model.start(&asked(&messages), &a(), &options).unwrap();
        assert_eq!((reply.begin().pinned_tokens, reply.begin().context_tokens), (Some(100), 256));
    });
}

#[test]
fn a_summary_of_what_was_dropped_follows_the_system_prompt() {
    in_window(2048).run(async |model| {
        let (tokenizer, _) = vocabulary();
        let options = policy(400, "summarize");
        let mut messages = conversation(30);
        messages.insert(3, user("My boat is called Morning Star and it lies in the harbour of Oban."));
        messages.insert(4, assistant("What a lovely boat."));
        let last = messages.len() - 1;
        messages[last] = user("What is my boat called?");
        let prompt = prompt(&model, &asked(&messages), &options);
        let text = text(&tokenizer, &prompt);
        let start = format!("system\n{SYSTEM}\n\nSummary of the earlier conversation:\n");
        assert!(text.starts_with(&start), "{text}");
        assert!(prompt.len() <= 300, "{}", prompt.len());
        let report = report(&model, &request(json!({"messages": messages, "max_tokens": 4})), &options).await;
        assert_eq!(report.policy, Some(OverflowPolicy::Summarize));
        // Without a system message there is none made up: the template has its own.
        let bare: Vec<Value> = messages[1..].to_vec();
        let bare_prompt = self::prompt(&model, &asked(&bare), &options);
        let bare_text = self::text(&tokenizer, &bare_prompt);
        assert!(bare_text.starts_with("system\nYou are a helpful AI assistant"), "{bare_text}");
        assert!(bare_text.contains("user\nSummary of the earlier conversation:\n"), "{bare_text}");
    });
}

#[test]
fn an_overflow_before_the_reply_is_the_first_event() {
    in_window(2048).run(async |model| {
        let asked = request(json!({"messages": conversation(20), "max_tokens": 3}));
        let reply = model.start(&asked, &a(), &policy(256, "auto")).unwrap();
        let begun = reply.begin().clone();
        let events = events(reply).await;
        assert_eq!(
            events,
            [ContextEvent::Overflow {
                policy: OverflowPolicy::Truncate,
                phase: OverflowPhase::Prefill,
                dropped_messages: begun.report.dropped_messages.unwrap(),
                dropped_tokens: begun.report.dropped_tokens.unwrap(),
                kept_tokens: begun.prompt.len() as u32,
                window: 256,
                budget: 4096,
            }]
        );
    });
}

#[test]
fn a_reply_that_fills_its_context_slides_and_tells_once_for_each_window() {
    Setup { repeats: true, ..in_window(2048) }.run(async |model| {
        for name in ["auto", "sliding"] {
            let options = policy(128, name);
            let asked = request(json!({"messages": [system(), user("Go on.")], "max_tokens": 500}));
            let reply = model.start(&asked, &a(), &options).unwrap();
            let prompt_tokens = reply.begin().prompt.len() as u32;
            let overflows: Vec<_> = events(reply)
                .await
                .into_iter()
                .filter_map(|event| match event {
                    ContextEvent::Overflow {
                        phase: OverflowPhase::Decode, policy, dropped_tokens, ..
                    } => {
                        assert_eq!(policy, OverflowPolicy::Sliding);
                        Some(dropped_tokens)
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(overflows, [16, 128, 256, 384], "{name}");
            let completion = model.start(&asked, &a(), &options).unwrap().collect().await.unwrap();
            let usage = completion.usage.unwrap();
            assert_eq!(
                (completion.choices[0].finish_reason, usage.completion_tokens),
                (FinishReason::Length, 500)
            );
            let context = usage.extra.context.unwrap();
            let dropped = context.dropped_tokens.unwrap();
            assert_eq!(context.policy, Some(OverflowPolicy::Sliding));
            assert!(dropped % 16 == 0 && context.used <= 128 && context.used > 128 - 17, "{context:?}");
            // The last token was never fed back.
            assert!((context.used + dropped).abs_diff(prompt_tokens + 500) <= 1, "{context:?}");
        }
    });
}

#[test]
fn only_auto_ends_a_reply_of_unknown_length_and_only_what_cannot_slide_ends_when_full() {
    Setup { repeats: true, ..in_window(2048) }.run(async |model| {
        let asked = request(json!({"messages": [system(), user("Go on.")]}));
        let auto = usage(&model, &asked, &policy(128, "auto")).await;
        assert_eq!(auto.completion_tokens, 128);
        let prompt_tokens = prompt(&model, &asked, &policy(128, "auto")).len() as u32;
        for name in ["truncate", "summarize", "error"] {
            let full = usage(&model, &asked, &policy(128, name)).await;
            assert_eq!(full.completion_tokens, 128 - prompt_tokens + 1, "{name}");
            assert_eq!(full.extra.context.unwrap().used, 128, "{name}");
        }
        let mut endless = model.start(&asked, &a(), &policy(128, "sliding")).unwrap();
        for _ in 0..300 {
            assert!(endless.next_chunk().await.unwrap().is_ok());
        }
        endless.cancel();
        assert_eq!(finish_reason(&chunks(endless).await), "abort");
    });
}

#[test]
fn short_room_is_told_once_until_there_is_room_again() {
    Setup { repeats: true, ..in_window(2048) }.run(async |model| {
        let options = options(json!({"context_window_size": 200, "hearth": {"nearLimitFraction": 0.5}}));
        let near = async |request: &ChatCompletionRequest| {
            let events = events(model.start(request, &a(), &options).unwrap()).await;
            let near = events.into_iter().filter(|event| matches!(event, ContextEvent::NearLimit { .. }));
            near.collect::<Vec<_>>()
        };
        let short = request(json!({"max_tokens": 3}));
        let long = request(json!({"max_tokens": 140}));
        assert_eq!(near(&short).await, []);
        let told = near(&long).await;
        let [ContextEvent::NearLimit { used, limit: 200, fraction }] = told[..] else { panic!("{told:?}") };
        assert!((100..110).contains(&used) && fraction == f64::from(used) / 200.0, "{told:?}");
        // The same conversation goes on, then another one begins.
        let prompt = request(json!({"messages": [user(&"fire ".repeat(120))], "max_tokens": 2}));
        assert_eq!(near(&prompt).await, []);
        assert_eq!(near(&short).await, []);
        assert_eq!(near(&prompt).await.len(), 1);
    });
}

#[test]
fn a_page_can_measure_and_see_its_room() {
    in_window(512).run(async |model| {
        let asked = request(json!({"max_tokens": 3}));
        assert_eq!(model.measure_text("").unwrap(), 0);
        let measured = model.measure_messages(&asked.messages).unwrap();
        assert_eq!(measured, prompt(&model, &asked, &TabOptions::default()).len() as u32);
        assert_eq!(model.context(&a(), &TabOptions::default()).used, 0);
        let mut reply = model.start(&asked, &a(), &TabOptions::default()).unwrap();
        while reply.next_chunk().await.is_some() {
            assert!(model.context(&a(), &TabOptions::default()).used > measured);
        }
        drop(reply);
        let context = model.context(&a(), &TabOptions::default());
        assert_eq!((context.used, context.window, context.reserved), (measured + 3, 512, 128));
        assert_eq!((context.pages_held, context.cached_tokens), (0.0, measured / 16 * 16));
        assert_eq!(model.context(&b(), &TabOptions::default()).used, 0);
    });
}

#[test]
fn reading_ahead_leaves_a_question_only_its_own_tokens() {
    in_window(2048).run(async |model| {
        let options = TabOptions::default();
        let mut messages = conversation(8);
        messages.push(assistant("That was the last one."));
        let history = asked(&messages).messages;
        let first = model.append(&history, &a(), &options).unwrap().await.unwrap();
        assert_eq!(first.cached_tokens, 0);
        let again = model.append(&history, &a(), &options).unwrap().await.unwrap();
        assert_eq!(again.tokens, first.tokens);
        assert!(again.cached_tokens + 16 >= again.tokens, "{again:?}");
        assert_eq!((model.message(&a()), model.context(&a(), &options).used), (String::new(), first.tokens));
        messages.push(user("And now?"));
        let usage = usage(&model, &request(json!({"messages": messages, "max_tokens": 1})), &options).await;
        assert!(usage.prompt_tokens < 32, "{usage:?}");
        let error =
            model.append(&asked(&[user("a"), system()]).messages, &a(), &options).map(|_| ()).unwrap_err();
        assert_eq!(error.name(), "SystemMessageOrderError");
        let long = asked(&[user(&"fire ".repeat(3000))]).messages;
        let error = model.append(&long, &a(), &options).map(|_| ()).unwrap_err();
        assert_eq!(error.name(), "ContextWindowSizeExceededError");
    });
}

#[test]
fn a_branch_has_its_own_message_interrupt_and_reset() {
    Setup::default().run(async |model| {
        let options = TabOptions::default();
        let side = hearth_engine::chat::Speaker { branch: Some("side".into()), ..a() };
        model.start(&request(json!({"max_tokens": 2})), &a(), &options).unwrap().collect().await.unwrap();
        model.fork(a().owner, None, "side");
        assert_eq!(model.message(&side), "The fire");
        assert_eq!(model.context(&side, &options).used, model.context(&a(), &options).used);
        let asked = request(json!({"ignore_eos": true}));
        let own = model.start(&asked, &a(), &options).unwrap();
        let branch = model.start(&asked, &side, &options).unwrap();
        model.interrupt(&side);
        assert_eq!(finish_reason(&chunks(branch).await), "abort");
        assert_eq!(finish_reason(&chunks(own).await), "length");
        assert!(model.message(&a()).starts_with(REPLY));
        model.reset(&a(), false);
        assert!(model.context(&side, &options).used > 0);
        let running = model.start(&asked, &side, &options).unwrap();
        model.close_branch(a().owner, "side");
        assert_eq!(finish_reason(&chunks(running).await), "abort");
        assert_eq!((model.message(&side), model.context(&side, &options).used), (String::new(), 0));
    });
}

#[test]
fn a_text_is_cut_and_shortened_by_the_models_tokens() {
    Setup::default().run(async |model| {
        let text = "The keeper lit the lamp. The sea was calm. A ship came in from the west. ".repeat(20);
        let pieces = model.chunk(&text, 40, 0).unwrap();
        assert!(pieces.len() > 5 && pieces.iter().all(|piece| piece.tokens <= 40));
        let short = model.compress(&text, 30, Some("Where did the ship come from?")).unwrap();
        assert!(short.tokens <= 30 && short.text.contains("ship"), "{short:?}");
        assert_eq!(model.chunk(&text, 0, 0).unwrap_err().name(), "DocumentError");
    });
}

/// The bound is loose, since others share the machine: what it would notice is work that grows with the square.
#[test]
fn a_conversation_of_500_messages_is_cut_in_no_time() {
    in_window(8192).run(async |model| {
        let messages = conversation(250);
        for name in ["truncate", "summarize", "sliding"] {
            let start = std::time::Instant::now();
            prompt(&model, &asked(&messages), &policy(4096, name));
            assert!(start.elapsed().as_millis() < 500, "{name}: {:?}", start.elapsed());
        }
    });
}
