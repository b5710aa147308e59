//! A chat model with a real tokenizer and template, on an executor that says what it is told to.

use std::cell::Cell;
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;

use futures::future::{Either, select};
use hearth_engine::chat::{ChatModel, ChatParts, ChatReply, Identities, Speaker, TabOptions};
use hearth_engine::driver::{EngineHandle, run};
use hearth_engine::engine::EngineConfig;
use hearth_engine::ids::{BlockId, OwnerId, SamplerSlot, TokenId};
use hearth_engine::plan::{SampleRow, StepLimits, StepOutput, StepPlan};
use hearth_engine::ports::{BorrowedFuture, Clock, Executor, ExecutorError, LocalFuture};
use hearth_engine::template::ChatTemplate;
use hearth_engine::tokenizer::Tokenizer;
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::config::ChatOptions;
use hearth_protocol::context::ContextEvent;
use serde_json::{Value, json};

use super::{fixture, open};

pub const WINDOW_TOKENS: u32 = 256;

/// The fire and the two letters of other alphabets take several tokens each.
pub const REPLY: &str = "The fire 🔥 is warm: Wärme, тепло.";

pub fn a() -> Speaker {
    OwnerId(1).into()
}

pub fn b() -> Speaker {
    OwnerId(2).into()
}

/// Every reply is the same text, then the end of turn again and again; or the same text over and over.
struct Script {
    limits: StepLimits,
    tokens: Vec<TokenId>,
    repeats: bool,
    num_said: HashMap<SamplerSlot, usize>,
    lost_after: Option<usize>,
}

impl Executor for Script {
    fn limits(&self) -> StepLimits {
        self.limits
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
            let index = *at - 1;
            let len = self.tokens.len();
            self.tokens[if self.repeats { index % len } else { index.min(len - 1) }]
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

    fn resize(&mut self, _num_blocks: u32) -> BorrowedFuture<'_, Result<u32, ExecutorError>> {
        Box::pin(std::future::ready(Ok(self.limits.num_blocks)))
    }

    fn read_blocks<'a>(
        &'a mut self,
        blocks: &[BlockId],
    ) -> BorrowedFuture<'a, Result<Vec<Vec<u8>>, ExecutorError>> {
        Box::pin(std::future::ready(Ok(vec![Vec::new(); blocks.len()])))
    }

    fn write_block(&mut self, _block: BlockId, _bytes: &[u8]) -> Result<(), ExecutorError> {
        Ok(())
    }

    fn block_bytes(&self) -> u64 {
        0
    }
}

/// Lets everybody else go on once.
pub async fn yield_now() {
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
struct Numbers {
    replies: Cell<u32>,
    entropy: Cell<u64>,
}

impl Identities for Numbers {
    fn reply_id(&self) -> String {
        self.replies.set(self.replies.get() + 1);
        format!("reply-{}", self.replies.get())
    }

    fn unix_time_s(&self) -> u64 {
        1_700_000_000
    }

    fn entropy(&self) -> u64 {
        self.entropy.set(self.entropy.get() + 1);
        self.entropy.get().wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// What a test runs on.
#[derive(Clone, Copy)]
pub struct Setup {
    /// What every reply says.
    pub reply: &'static str,
    /// It says it again and again and never ends.
    pub repeats: bool,
    /// Tokens of a reply after which the device is lost.
    pub lost_after: Option<usize>,
    /// The longest context of the model.
    pub window_tokens: u32,
    /// Pages of the cache.
    pub num_blocks: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self { reply: REPLY, repeats: false, lost_after: None, window_tokens: WINDOW_TOKENS, num_blocks: 64 }
    }
}

impl Setup {
    /// Runs `test` beside an engine.
    pub fn run(self, test: impl AsyncFnOnce(ChatModel)) {
        let (model, script) = self.build();
        let drive = run(model.engine().clone(), Box::new(script));
        pollster::block_on(async {
            // The engine may end first, when its device is lost; the test then goes on alone.
            match select(pin!(drive), pin!(test(model))).await {
                Either::Left((_error, test)) => test.await,
                Either::Right(((), _)) => {}
            }
        });
    }

    /// A model that can be asked what it would read; it generates nothing.
    pub fn idle(self) -> ChatModel {
        self.build().0
    }

    fn build(self) -> (ChatModel, Script) {
        let (tokenizer, template) = vocabulary();
        let mut tokens = tokenizer.encode(self.reply).unwrap();
        if !self.repeats {
            tokens.push(tokenizer.end_of_turn()[0]);
        }
        let limits = StepLimits {
            block_size_tokens: 16,
            num_blocks: self.num_blocks,
            max_blocks: self.num_blocks,
            max_rows: 32,
            max_sequences: 8,
            max_samples: 8,
            num_sampler_slots: 8,
            max_table_entries: 512,
            max_page_ops: 256,
            row_granularity: 1,
        };
        let num_said = HashMap::new();
        let script = Script { limits, tokens, repeats: self.repeats, num_said, lost_after: self.lost_after };
        let config = EngineConfig::new(limits, self.window_tokens);
        let engine = EngineHandle::new(config, tokenizer.clone(), Rc::new(Ticks::default())).unwrap();
        let identities = Rc::new(Numbers::default());
        let parts = ChatParts { model_id: "smol".into(), tokenizer, template, engine, identities };
        (ChatModel::new(parts), script)
    }
}

/// The real vocabulary and template of a small model.
pub fn vocabulary() -> (Rc<Tokenizer>, ChatTemplate) {
    thread_local! {
        static READ: (Rc<Tokenizer>, ChatTemplate) = {
            let gguf = open(fixture("smollm2-135m/vocabulary.gguf")).unwrap();
            let tokenizer = Rc::new(Tokenizer::from_gguf(&gguf).unwrap());
            let template = ChatTemplate::from_gguf(&gguf, &tokenizer).unwrap();
            (tokenizer, template)
        };
    }
    READ.with(Clone::clone)
}

/// A request; asks something where it brings no messages.
pub fn request(mut json: Value) -> ChatCompletionRequest {
    if json.get("messages").is_none() {
        json["messages"] = json!([{"role": "user", "content": "What is fire?"}]);
    }
    serde_json::from_value(json).unwrap()
}

/// The options of a tab.
pub fn options(json: Value) -> TabOptions {
    let read: ChatOptions = serde_json::from_value(json).unwrap();
    TabOptions::resolve(None, Some(&read)).unwrap()
}

/// All chunks as they cross the wire.
pub async fn chunks(mut reply: ChatReply) -> Vec<Value> {
    let mut chunks = Vec::new();
    while let Some(part) = reply.next_chunk().await {
        chunks.extend(part.unwrap().chunk.map(|chunk| serde_json::to_value(chunk).unwrap()));
    }
    chunks
}

/// All events of a reply.
pub async fn events(mut reply: ChatReply) -> Vec<ContextEvent> {
    let mut events = Vec::new();
    while let Some(part) = reply.next_chunk().await {
        events.extend(part.unwrap().event);
    }
    events
}

pub fn text(chunks: &[Value]) -> String {
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

pub fn finish_reason(chunks: &[Value]) -> &str {
    chunks.iter().find_map(|chunk| chunk["choices"][0]["finish_reason"].as_str()).unwrap()
}
