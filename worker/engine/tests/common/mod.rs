//! An engine on a fake executor, stepped by hand.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use hearth_engine::engine::{
    Engine, EngineConfig, FinishReason, SequenceEvent, SequenceRequest, SequenceStats,
};
use hearth_engine::fake::FakeExecutor;
use hearth_engine::ids::{OwnerId, SequenceId, TokenId};
use hearth_engine::plan::{StepLimits, StepOutput, StepPlan};
use hearth_engine::tokenizer::Vocabulary;

pub const VOCAB_SIZE: u32 = 40;

/// Every token is one character of its own, so that a text tells its tokens.
pub struct OneCharacterEach(Vec<String>);

impl Default for OneCharacterEach {
    fn default() -> Self {
        Self((0..VOCAB_SIZE).map(|token| char_of(TokenId(token)).to_string()).collect())
    }
}

impl Vocabulary for OneCharacterEach {
    fn token_bytes(&self, token: TokenId) -> &[u8] {
        self.0.get(token.index()).map_or(&[], |text| text.as_bytes())
    }
}

pub fn char_of(token: TokenId) -> char {
    char::from_u32(0x4E00 + token.0).expect("a character of the block of unified ideographs")
}

/// What came of a sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub text: String,
    /// Tokens whose text has come.
    pub tokens: Vec<TokenId>,
    /// Bytes of text and number of tokens after each delta.
    pub deltas: Vec<(usize, usize)>,
    pub dropped_tokens: u32,
    pub end: Option<(FinishReason, SequenceStats)>,
}

impl Outcome {
    pub fn reason(&self) -> Option<FinishReason> {
        self.end.as_ref().map(|(reason, _)| reason.clone())
    }

    pub fn stats(&self) -> SequenceStats {
        self.end.as_ref().expect("the sequence has ended").1
    }
}

pub struct Harness {
    pub engine: Engine,
    pub executor: FakeExecutor,
    pub plan: StepPlan,
    pub in_flight: VecDeque<StepOutput>,
    pub outcomes: HashMap<SequenceId, Outcome>,
    pub now_ms: f64,
    pub limits: StepLimits,
}

pub fn roomy_limits() -> StepLimits {
    StepLimits {
        block_size_tokens: 4,
        num_blocks: 256,
        max_blocks: 256,
        max_page_ops: 64,
        max_rows: 64,
        max_sequences: 8,
        max_samples: 8,
        num_sampler_slots: 8,
        max_table_entries: 512,
        row_granularity: 8,
    }
}

pub fn tokens(ids: impl IntoIterator<Item = u32>) -> Vec<TokenId> {
    ids.into_iter().map(TokenId).collect()
}

pub fn request(owner: u64, prompt: impl IntoIterator<Item = u32>, max_tokens: u32) -> SequenceRequest {
    SequenceRequest {
        seed: Some(7),
        max_tokens: Some(max_tokens),
        ..SequenceRequest::new(OwnerId(owner), tokens(prompt))
    }
}

impl Harness {
    pub fn new(limits: StepLimits, context_window_tokens: u32) -> Self {
        Self::with_config(EngineConfig::new(limits, context_window_tokens))
    }

    pub fn with_config(config: EngineConfig) -> Self {
        Self {
            engine: Engine::new(config, Rc::new(OneCharacterEach::default())).expect("the limits are not 0"),
            executor: FakeExecutor::new(config.limits, VOCAB_SIZE),
            plan: StepPlan::default(),
            in_flight: VecDeque::new(),
            outcomes: HashMap::new(),
            now_ms: 0.0,
            limits: config.limits,
        }
    }

    pub fn add(&mut self, request: SequenceRequest) -> SequenceId {
        let id = self.engine.add(request, self.now_ms).expect("the request fits");
        self.outcomes.insert(id, Outcome::default());
        self.collect();
        id
    }

    pub fn cancel(&mut self, id: SequenceId) {
        self.engine.cancel(id, self.now_ms);
        self.collect();
    }

    /// Plans and submits a step; false when there is nothing to run.
    pub fn plan(&mut self) -> bool {
        let planned = self.engine.plan(self.now_ms, &mut self.plan);
        if planned {
            self.in_flight
                .push_back(self.executor.execute(&self.plan).expect("the plan is within the limits"));
        }
        planned
    }

    /// Commits the oldest step; false when none is in flight.
    pub fn commit(&mut self) -> bool {
        let Some(output) = self.in_flight.pop_front() else { return false };
        self.now_ms += 10.0;
        self.engine.commit(&output, self.now_ms).expect("outputs come in order");
        self.collect();
        true
    }

    /// One turn of the loop with a step of run-ahead; false when nothing is left to do.
    pub fn turn(&mut self) -> bool {
        while self.in_flight.len() < 2 && self.plan() {}
        self.commit()
    }

    pub fn run(&mut self) {
        for _ in 0..100_000 {
            if !self.turn() {
                return;
            }
        }
        panic!("the engine never comes to rest");
    }

    pub fn outcome(&self, id: SequenceId) -> &Outcome {
        &self.outcomes[&id]
    }

    /// Runs a request on a fresh, roomy engine by itself.
    pub fn alone(request: SequenceRequest, context_window_tokens: u32) -> Outcome {
        let mut harness = Self::new(roomy_limits(), context_window_tokens);
        let id = harness.add(request);
        harness.run();
        assert_eq!(harness.executor.faults(), Vec::<String>::new());
        harness.outcome(id).clone()
    }

    /// Takes what has happened without a step.
    pub fn settle(&mut self) {
        self.collect();
    }

    fn collect(&mut self) {
        for (id, event) in self.engine.take_events() {
            let outcome = self.outcomes.get_mut(&id).expect("events are of sequences that were added");
            assert_eq!(outcome.end, None, "nothing comes after the end");
            match event {
                SequenceEvent::Delta { text, tokens } => {
                    assert!(!text.is_empty(), "a delta has text");
                    outcome.text.push_str(&text);
                    outcome.tokens.extend(tokens);
                    outcome.deltas.push((outcome.text.len(), outcome.tokens.len()));
                }
                SequenceEvent::Slid { dropped_tokens } => {
                    assert!(
                        dropped_tokens > outcome.dropped_tokens,
                        "what was reported is not reported again"
                    );
                    outcome.dropped_tokens = dropped_tokens;
                }
                SequenceEvent::Preempted { .. } | SequenceEvent::Restored { .. } => {}
                SequenceEvent::Finished(finish) => outcome.end = Some((finish.reason, finish.stats)),
            }
        }
    }
}
