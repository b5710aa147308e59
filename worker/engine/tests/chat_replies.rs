//! Replies of a chat model with a real tokenizer and template, on an executor that says what it is told to.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::cell::Cell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;

use futures::future::{Either, join, select};
use hearth_engine::chat::values::SamplingDefaults;
use hearth_engine::chat::{ChatError, ChatModel, ChatParts, ChatReply, Identities};
use hearth_engine::driver::{EngineHandle, run};
use hearth_engine::engine::EngineConfig;
use hearth_engine::ids::{OwnerId, SamplerSlot, TokenId};
use hearth_engine::plan::{SampleRow, StepLimits, StepOutput, StepPlan};
use hearth_engine::ports::{Clock, Executor, ExecutorError, LocalFuture};
use hearth_engine::template::ChatTemplate;
use hearth_engine::tokenizer::Tokenizer;
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::FinishReason;
use serde_json::{Value, json};
use support::{fixture, open};

const A: OwnerId = OwnerId(1);
const B: OwnerId = OwnerId(2);
const WINDOW_TOKENS: u32 = 256;
/// The fire and the two letters of other alphabets take several tokens each.
const REPLY: &str = "The fire 🔥 is warm: Wärme, тепло.";

/// Every reply is the same text, then the end of turn again and again.
struct Script {
    tokens: Vec<TokenId>,
    num_said: HashMap<SamplerSlot, usize>,
    /// Tokens of a reply after which the device is lost.
    lost_after: Option<usize>,
}

impl Executor for Script {
    fn limits(&self) -> StepLimits {
        StepLimits {
            block_size_tokens: 16,
            num_blocks: 64,
            max_rows: 32,
            max_sequences: 8,
            max_samples: 8,
            num_sampler_slots: 8,
            max_table_entries: 512,
            row_granularity: 1,
        }
    }

    fn submit(
        &mut self,
        plan: &StepPlan,
    ) -> Result<LocalFuture<Result<StepOutput, ExecutorError>>, ExecutorError> {
        for reset in &plan.slot_resets {
            let num_said: u32 = reset.counts.iter().map(|(_, count)| count).sum();
            self.num_said.insert(reset.slot, num_said as usize);
        }
        let mut next = |slot: SamplerSlot| {
            let at = self.num_said.entry(slot).or_default();
            *at += 1;
            self.tokens[(*at - 1).min(self.tokens.len() - 1)]
        };
        let tokens = plan.samples.iter().map(|sample| next(sample.slot)).collect();
        let output = StepOutput { step: plan.step, tokens };
        let has_said_enough = |sample: &SampleRow| Some(self.num_said[&sample.slot]) > self.lost_after;
        let is_lost = self.lost_after.is_some() && plan.samples.iter().any(has_said_enough);
        Ok(Box::pin(async move {
            yield_now().await;
            if is_lost { Err(ExecutorError::DeviceLost { reason: "unplugged".into() }) } else { Ok(output) }
        }))
    }
}

/// Lets everybody else go on once.
async fn yield_now() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A millisecond passes with every look.
#[derive(Default)]
struct Ticks(Cell<f64>);

impl Clock for Ticks {
    fn now_ms(&self) -> f64 {
        self.0.set(self.0.get() + 1.0);
        self.0.get()
    }
}

#[derive(Default)]
struct Numbers(Cell<u32>);

impl Identities for Numbers {
    fn reply_id(&self) -> String {
        self.0.set(self.0.get() + 1);
        format!("reply-{}", self.0.get())
    }

    fn unix_time_s(&self) -> u64 {
        1_700_000_000
    }
}

struct Setup {
    reply: &'static str,
    lost_after: Option<usize>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { reply: REPLY, lost_after: None }
    }
}

impl Setup {
    /// Runs `test` beside an engine.
    fn run(self, test: impl AsyncFnOnce(ChatModel)) {
        let gguf = open(fixture("smollm2-135m/vocabulary.gguf")).unwrap();
        let tokenizer = Rc::new(Tokenizer::from_gguf(&gguf).unwrap());
        let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap();
        let mut tokens = tokenizer.encode(self.reply).unwrap();
        tokens.push(tokenizer.end_of_turn()[0]);
        let script = Script { tokens, num_said: HashMap::new(), lost_after: self.lost_after };
        let config = EngineConfig::new(script.limits(), WINDOW_TOKENS);
        let engine = EngineHandle::new(config, tokenizer.clone(), Rc::new(Ticks::default())).unwrap();
        let drive = run(engine.clone(), Box::new(script));
        let model = ChatModel::new(ChatParts {
            model_id: "smol".into(),
            tokenizer,
            template,
            engine,
            sampling: SamplingDefaults::default(),
            identities: Rc::new(Numbers::default()),
        });
        pollster::block_on(async {
            // The engine may end first, when its device is lost; the test then goes on alone.
            match select(pin!(drive), pin!(test(model))).await {
                Either::Left((_error, test)) => test.await,
                Either::Right(((), _)) => {}
            }
        });
    }
}

fn request(mut json: Value) -> ChatCompletionRequest {
    if json.get("messages").is_none() {
        json["messages"] = json!([{"role": "user", "content": "What is fire?"}]);
    }
    serde_json::from_value(json).unwrap()
}

/// All chunks as they cross the wire.
async fn chunks(mut reply: ChatReply) -> Vec<Value> {
    let mut chunks = Vec::new();
    while let Some(chunk) = reply.next_chunk().await {
        chunks.push(serde_json::to_value(chunk.unwrap()).unwrap());
    }
    chunks
}

fn text(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

fn finish_reason(chunks: &[Value]) -> &str {
    chunks.iter().find_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).unwrap()
}

#[test]
fn streamed_text_is_the_whole_text() {
    Setup::default().run(async |model| {
        let streamed = chunks(model.start(&request(json!({"stream": true})), A).unwrap()).await;
        let whole = model.start(&request(json!({})), A).unwrap().collect().await.unwrap();
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
        let chunks = chunks(model.start(&asked, A).unwrap()).await;
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
        let chunks = chunks(model.start(&request(json!({"stream": true})), A).unwrap()).await;
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
            let completion = model.start(&request(fields.clone()), A).unwrap().collect().await.unwrap();
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
        let usage = model.start(&request(first), A).unwrap().collect().await.unwrap().usage.unwrap();
        assert_eq!(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
        let second = json!({"messages": [{"role": "user", "content": question},
                                         {"role": "assistant", "content": REPLY},
                                         {"role": "user", "content": "And ice?"}]});
        let again = model.start(&request(second), A).unwrap().collect().await.unwrap().usage.unwrap();
        assert!(again.prompt_tokens_details.cached_tokens >= 16, "{again:?}");
        assert!(again.prompt_tokens <= usage.prompt_tokens, "{again:?} after {usage:?}");
    });
}

#[test]
fn interrupting_ends_only_the_owners_own_replies() {
    Setup::default().run(async |model| {
        let asked = request(json!({"stream": true, "stream_options": {"include_usage": true}}));
        let mut mine = model.start(&asked, A).unwrap();
        let theirs = model.start(&asked, B).unwrap();
        let first = mine.next_chunk().await.unwrap().unwrap();
        model.interrupt(A);
        let (mine, theirs) = join(chunks(mine), chunks(theirs)).await;
        assert_eq!(finish_reason(&mine), "abort");
        assert_eq!(mine.last().unwrap()["choices"], json!([]));
        let said = first.choices[0].delta.content.clone().unwrap() + &text(&mine);
        assert!(REPLY.starts_with(&said) && said.len() < REPLY.len(), "{said:?}");
        assert_eq!(model.message(A), said);
        assert_eq!((finish_reason(&theirs), text(&theirs).as_str()), ("stop", REPLY));
        // An interrupt means what is running, not what comes.
        assert_eq!(finish_reason(&chunks(model.start(&asked, A).unwrap()).await), "stop");
    });
}

#[test]
fn a_whole_reply_can_be_cancelled_by_somebody_else() {
    Setup::default().run(async |model| {
        let reply = model.start(&request(json!({"ignore_eos": true})), A).unwrap();
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
        let mut reply = model.start(&request(json!({"stream": true, "ignore_eos": true})), A).unwrap();
        reply.next_chunk().await.unwrap().unwrap();
        let usage = model.usage(A);
        assert_eq!((usage.running, usage.window_tokens, usage.block_size_tokens), (1, WINDOW_TOKENS, 16));
        assert!(usage.pages_held >= 1.0 && usage.context_tokens > 16, "{usage:?}");
        assert_eq!((model.usage(B).pages_held, model.usage(B).context_tokens), (0.0, 0));
        drop(reply);
        for _ in 0..20 {
            yield_now().await;
        }
        let usage = model.usage(A);
        assert_eq!((usage.running, usage.pages_held), (0, 0.0));
        assert_eq!(usage.pages_free + usage.pages_cached, usage.pages_total);
        model.interrupt(A);
    });
}

#[test]
fn each_owner_has_its_own_message_and_numbers() {
    Setup::default().run(async |model| {
        let unused = "prefill: NaN tokens/sec, decoding: NaN tokens/sec";
        assert_eq!((model.message(A).as_str(), model.runtime_stats_text(A).as_str()), ("", unused));
        model.start(&request(json!({"max_tokens": 2})), A).unwrap().collect().await.unwrap();
        model.start(&request(json!({})), B).unwrap().collect().await.unwrap();
        assert_eq!((model.message(A).as_str(), model.message(B).as_str()), ("The fire", REPLY));
        assert!(model.usage(B).context_tokens > model.usage(A).context_tokens);
        let used = model.runtime_stats_text(A);
        assert_ne!(used, unused);
        model.reset(A, true);
        assert_eq!(model.runtime_stats_text(A), used);
        model.reset(A, false);
        assert_eq!(model.runtime_stats_text(A), unused);
        assert_eq!(model.message(A), "The fire");
        assert_ne!(model.runtime_stats_text(B), unused);
        model.forget(B);
        assert_eq!((model.message(B).as_str(), model.usage(B).context_tokens), ("", 0));
    });
}

#[test]
fn a_prompt_longer_than_the_window_is_refused_with_the_numbers() {
    Setup::default().run(async |model| {
        let asked = |num_words: usize| {
            request(json!({"messages": [{"role": "user", "content": "fire ".repeat(num_words)}]}))
        };
        let error = model.start(&asked(400), A).map(|_| ()).unwrap_err().to_wire();
        assert_eq!(error.name, "ContextWindowSizeExceededError");
        let details = error.details.clone().unwrap();
        let num_prompt_tokens = details["promptTokens"].as_u64().unwrap();
        assert_eq!(details["contextWindowSize"], json!(WINDOW_TOKENS));
        let numbers =
            format!("number of prompt tokens: {num_prompt_tokens}; context window size: {WINDOW_TOKENS}\n");
        assert!(error.message.contains(&numbers), "{error}");
        // As many words fewer as there are tokens too many: exactly full, so one token comes.
        let full = 400 - (num_prompt_tokens as usize - WINDOW_TOKENS as usize);
        assert!(model.start(&asked(full + 1), A).is_err());
        let completion = model.start(&asked(full), A).unwrap().collect().await.unwrap();
        let usage = completion.usage.unwrap();
        assert_eq!(completion.choices[0].finish_reason, FinishReason::Length);
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (WINDOW_TOKENS, 1));
    });
}

#[test]
fn a_lost_device_fails_the_reply_once_and_every_later_request() {
    Setup { lost_after: Some(2), ..Setup::default() }.run(async |model| {
        let mut reply = model.start(&request(json!({"stream": true})), A).unwrap();
        let mut said = String::new();
        let error = loop {
            match reply.next_chunk().await.unwrap() {
                Ok(chunk) => said += chunk.choices[0].delta.content.as_deref().unwrap(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_wire().to_string(), "DeviceLostError: the GPU device was lost: unplugged");
        assert!(reply.next_chunk().await.is_none());
        assert_eq!(model.message(A), said);
        assert_eq!(said, "The fire");
        let later = model.start(&request(json!({})), A).map(|_| ());
        assert!(matches!(later, Err(ChatError::Engine(_))), "{later:?}");
    });
}

#[test]
fn fields_are_checked_at_once_and_values_at_the_start() {
    Setup::default().run(async |model| {
        let error = |result: Result<(), ChatError>| result.unwrap_err().name();
        let wrong_field = request(json!({"seed": 1.5}));
        assert_eq!(error(model.check(&wrong_field)), "SeedTypeError");
        assert_eq!(error(model.start(&wrong_field, A).map(|_| ())), "SeedTypeError");
        let wrong_value = request(json!({"temperature": -1}));
        assert_eq!(model.check(&wrong_value), Ok(()));
        assert_eq!(error(model.start(&wrong_value, A).map(|_| ())), "NonNegativeError");
        assert_eq!(model.usage(A).running, 0);
    });
}

#[test]
fn text_parts_and_plain_text_are_the_same_prompt() {
    Setup::default().run(async |model| {
        let plain = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1});
        let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "max_tokens": 1});
        let first = model.start(&request(plain), A).unwrap().collect().await.unwrap().usage.unwrap();
        let second = model.start(&request(parts), B).unwrap().collect().await.unwrap().usage.unwrap();
        let total = |usage: &hearth_protocol::completion::CompletionUsage| {
            usage.prompt_tokens + usage.prompt_tokens_details.cached_tokens
        };
        assert_eq!(total(&first), total(&second));
    });
}

#[test]
fn chunks_that_are_ready_come_without_waiting() {
    Setup::default().run(async |model| {
        let mut reply = model.start(&request(json!({"stream": true})), A).unwrap();
        assert!(reply.ready_chunk().is_none());
        for _ in 0..200 {
            yield_now().await;
        }
        let mut said = String::new();
        while let Some(chunk) = reply.ready_chunk() {
            said += chunk
                .unwrap()
                .choices
                .first()
                .and_then(|choice| choice.delta.content.as_deref())
                .unwrap_or("");
        }
        assert_eq!(said, REPLY);
        assert!(reply.next_chunk().await.is_none());
    });
}
