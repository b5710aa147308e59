//! The synchronous state machine: sequences in, plans out, tokens in, text out.
//!
//! Owns the scheduler and the text of every reply. It has no clock and waits for nothing: `driver` turns it into a loop.
//! A step may be planned while the one before it is in flight: a token that is not known yet is read on the GPU, and
//! stops are applied when it comes back. Then one row has run for nothing; its token is thrown away and its page
//! released, never to be found by others.

mod pool;
mod usage;

use std::collections::VecDeque;
use std::rc::Rc;

pub use crate::error::EngineError;
use crate::ids::{OwnerId, SequenceId, TokenId};
use crate::plan::{StepLimits, StepOutput, StepPlan};
use crate::sampling::rng::Rng;
use crate::scheduler::{Happened, PoolShape, Scheduler, StepTargets};
pub use crate::scheduler::{OwnerBudget, OwnerEvent};
use crate::sequence::SlidingWindow;
use crate::sequence::state::Sequence;
pub use crate::sequence::{
    ContextLimits, Finish, FinishReason, SequenceEvent, SequenceRequest, SequenceStats, WhenFull,
};
use crate::tokenizer::Vocabulary;

pub use usage::{EngineUsage, OwnerUsage, PageInfo, PageState};

/// Steps that may be planned and not committed: the one that runs and the one behind it. A token that is not known yet
/// comes from the step just before, so more would need another contract with the executor.
pub const MAX_STEPS_IN_FLIGHT: usize = 2;

/// What an engine is built with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EngineConfig {
    /// The executor's limits.
    pub limits: StepLimits,
    /// Tokens of prompt and reply together, at most.
    pub context_window_tokens: u32,
    /// Wanted length of a step while somebody waits for the next token of a reply.
    pub target_decode_step_ms: f64,
    /// Wanted length of a step that only reads prompts: how long a newcomer or a cancel waits.
    pub target_prefill_step_ms: f64,
    /// Pages by which the pool grows, from `limits.num_blocks` to `limits.max_blocks`.
    pub slab_blocks: u32,
    /// Where draws of sequences without a seed come from. The engine has no randomness of its own.
    pub entropy_seed: u64,
}

impl EngineConfig {
    /// The default targets, and entropy 0: give it something better.
    pub fn new(limits: StepLimits, context_window_tokens: u32) -> Self {
        Self {
            limits,
            context_window_tokens,
            target_decode_step_ms: 250.0,
            target_prefill_step_ms: 1000.0,
            slab_blocks: 64,
            entropy_seed: 0,
        }
    }

    fn validate(&self) -> Result<(), EngineError> {
        let limits = &self.limits;
        for (limit, got) in [
            ("block_size_tokens", limits.block_size_tokens),
            ("num_blocks", limits.num_blocks),
            ("max_rows", limits.max_rows),
            ("max_sequences", limits.max_sequences),
            ("max_samples", limits.max_samples),
            ("num_sampler_slots", limits.num_sampler_slots),
            ("max_table_entries", limits.max_table_entries),
            ("max_blocks", limits.max_blocks),
            ("row_granularity", limits.row_granularity),
            ("context_window_tokens", self.context_window_tokens),
            ("slab_blocks", self.slab_blocks),
        ] {
            if got == 0 {
                return Err(EngineError::InvalidLimit { limit, got });
            }
        }
        Ok(())
    }
}

/// A step that was planned and has not been committed.
#[derive(Debug, Default)]
struct InFlight {
    step: u64,
    num_rows: u32,
    planned_ms: f64,
    /// Whose token each sampled row gives.
    samples: Vec<SequenceId>,
    /// Who has been read and wanted no more than that.
    filled: Vec<SequenceId>,
}

/// Sequences, pages and replies of one model.
pub struct Engine {
    config: EngineConfig,
    vocabulary: Rc<dyn Vocabulary>,
    scheduler: Scheduler,
    /// Pages that one sequence can have: all that the pool can grow to.
    max_blocks: u32,
    in_flight: VecDeque<InFlight>,
    spare_samples: Vec<Vec<SequenceId>>,
    events: Vec<(SequenceId, SequenceEvent)>,
    next_sequence: u64,
    next_step: u64,
    last_commit_ms: f64,
}

impl Engine {
    /// An engine with nothing to do.
    ///
    /// # Errors
    /// [`EngineError::InvalidLimit`] when a limit is 0.
    pub fn new(config: EngineConfig, vocabulary: Rc<dyn Vocabulary>) -> Result<Self, EngineError> {
        config.validate()?;
        Ok(Self {
            scheduler: new_scheduler(&config, config.limits.num_blocks, config.limits.max_blocks),
            max_blocks: config.limits.max_blocks,
            config,
            vocabulary,
            in_flight: VecDeque::new(),
            spare_samples: Vec::new(),
            events: Vec::new(),
            next_sequence: 1,
            next_step: 1,
            last_commit_ms: f64::NEG_INFINITY,
        })
    }

    /// Tokens of prompt and reply together that one sequence can have: the window, or the whole cache if that is less.
    pub fn context_window_tokens(&self) -> u32 {
        self.config
            .context_window_tokens
            .min(self.max_pages_per_sequence().saturating_mul(self.block_size_tokens()))
    }

    /// Queues a sequence. Its text and its end come as events.
    ///
    /// # Errors
    /// The request makes no sense, or its prompt can never fit.
    pub fn add(&mut self, request: SequenceRequest, now_ms: f64) -> Result<SequenceId, EngineError> {
        request.settings.validate()?;
        if request.max_tokens == Some(0) {
            return Err(EngineError::NoOutputTokens);
        }
        let prompt_tokens = u32::try_from(request.prompt.len()).unwrap_or(u32::MAX);
        if prompt_tokens == 0 {
            return Err(EngineError::EmptyPrompt);
        }
        let context_window_tokens = self.config.context_window_tokens.min(request.context.max_tokens);
        let window = match request.context.when_full {
            WhenFull::Slide { pinned_tokens } => Some(SlidingWindow::new(
                &self.config.limits,
                self.max_pages_per_sequence(),
                context_window_tokens,
                pinned_tokens,
            )),
            WhenFull::Stop => {
                self.check_fits(prompt_tokens, context_window_tokens)?;
                None
            }
        };
        // The last token is never fed back, so it needs no room.
        let room = match window {
            Some(_) => u32::MAX,
            None => self.context_window_tokens().min(context_window_tokens) - prompt_tokens + 1,
        };
        let max_new_tokens = request.max_tokens.unwrap_or(u32::MAX).min(room);
        let id = SequenceId(self.next_sequence);
        self.next_sequence += 1;
        let rng = match request.seed {
            Some(seed) => Rng::from_seed(seed),
            None => Rng::from_entropy(self.config.entropy_seed, id.0),
        };
        let mut sequence = Sequence::new(id, request, max_new_tokens, window, rng, now_ms);
        match self.replay_text(&mut sequence) {
            // What was held back came with the last token.
            Some(reason) => self.emit_end(&sequence, reason, now_ms),
            None => self.scheduler.add(sequence),
        }
        Ok(id)
    }

    fn check_fits(&self, prompt_tokens: u32, context_window_tokens: u32) -> Result<(), EngineError> {
        if prompt_tokens > context_window_tokens {
            return Err(EngineError::PromptExceedsWindow { prompt_tokens, context_window_tokens });
        }
        let needed_pages = prompt_tokens.div_ceil(self.block_size_tokens());
        let available_pages = self.max_pages_per_sequence();
        if needed_pages > available_pages {
            return Err(EngineError::PromptExceedsCache { prompt_tokens, needed_pages, available_pages });
        }
        Ok(())
    }

    /// Brings the text of a sequence to where an earlier run had it: what that let out is not let out again. A reason, when
    /// the tokens that are there already end it.
    fn replay_text(&self, sequence: &mut Sequence) -> Option<FinishReason> {
        let mut let_out = String::new();
        let mut stopped = false;
        for token in sequence.generated().to_vec() {
            stopped |= sequence.reply.push(token, self.vocabulary.token_bytes(token), &mut let_out);
        }
        sequence.reply.forget_unreported();
        match (sequence.is_full(), stopped) {
            (true, _) => Some(FinishReason::Length),
            (false, true) => Some(FinishReason::Stop),
            (false, false) => None,
        }
    }

    /// Ends a sequence early; it finishes with [`FinishReason::Abort`]. Nothing happens when it has ended already.
    pub fn cancel(&mut self, id: SequenceId, now_ms: f64) {
        if let Some(sequence) = self.scheduler.remove(id) {
            self.finish(sequence, FinishReason::Abort, String::new(), now_ms);
        }
    }

    /// Ends all sequences of an owner early.
    pub fn cancel_owner(&mut self, owner: OwnerId, now_ms: f64) {
        for id in self.ids(|sequence| sequence.owner == owner) {
            self.cancel(id, now_ms);
        }
    }

    /// How much of the machine an owner gets relative to others: 1 by default, 1 for anything that is not above 0.
    pub fn set_owner_weight(&mut self, owner: OwnerId, weight: f64) {
        let weight = if weight.is_finite() && weight > 0.0 { weight } else { 1.0 };
        self.scheduler.set_owner_weight(owner, weight);
    }

    /// Fills `plan` with the next step and counts it as in flight; its lists are reused, so give the same one again.
    /// False when there is nothing to run before something is committed or added.
    pub fn plan(&mut self, now_ms: f64, plan: &mut StepPlan) -> bool {
        if self.in_flight.len() >= MAX_STEPS_IN_FLIGHT {
            return false;
        }
        let has_rows = self.scheduler.plan(self.next_step, now_ms, plan);
        // Somebody may have been preempted for a plan that then had no rows.
        self.note_happened();
        if !has_rows {
            return false;
        }
        self.next_step += 1;
        let mut samples = self.spare_samples.pop().unwrap_or_default();
        samples.extend(self.scheduler.sampled());
        self.in_flight.push_back(InFlight {
            step: plan.step,
            num_rows: plan.rows.len() as u32,
            planned_ms: now_ms,
            samples,
            filled: self.scheduler.filled().collect(),
        });
        true
    }

    /// Takes the tokens of the oldest step in flight. Only this makes text and ends sequences.
    ///
    /// # Errors
    /// [`EngineError::UnexpectedOutput`] when it is not the answer to that step; then nothing has changed, and the only way
    /// on is [`Engine::fail_all`].
    pub fn commit(&mut self, output: &StepOutput, now_ms: f64) -> Result<(), EngineError> {
        let matches = |due: &InFlight| due.step == output.step && due.samples.len() == output.tokens.len();
        let Some(mut due) = self.in_flight.pop_front_if(|due| matches(due)) else {
            return Err(self.unexpected(output));
        };
        self.scheduler.observe(due.num_rows, now_ms - due.planned_ms.max(self.last_commit_ms));
        self.last_commit_ms = now_ms;
        for (id, token) in due.samples.drain(..).zip(&output.tokens) {
            // A sequence that ended in the meantime has no use for it.
            let Some(sequence) = self.scheduler.get_mut(id) else { continue };
            sequence.accept(*token, now_ms);
            let mut text = String::new();
            let stopped = sequence.reply.push(*token, self.vocabulary.token_bytes(*token), &mut text);
            let reason = match (sequence.is_full(), stopped) {
                (true, _) => FinishReason::Length,
                (false, true) => FinishReason::Stop,
                (false, false) => {
                    let tokens = sequence.reply.take_unreported(&text);
                    self.emit_delta(id, text, tokens);
                    continue;
                }
            };
            if let Some(sequence) = self.scheduler.remove(id) {
                self.finish(sequence, reason, text, now_ms);
            }
        }
        for id in due.filled {
            if let Some(sequence) = self.scheduler.remove(id) {
                self.finish(sequence, FinishReason::Stop, String::new(), now_ms);
            }
        }
        self.spare_samples.push(due.samples);
        Ok(())
    }

    /// Takes what has happened since the last call, in order; the deltas of a sequence are put together.
    pub fn take_events(&mut self) -> Vec<(SequenceId, SequenceEvent)> {
        std::mem::take(&mut self.events)
    }

    /// Ends every sequence with an error and forgets the cache: what the steps in flight were to write never came.
    pub fn fail_all(&mut self, error: &EngineError, now_ms: f64) {
        for id in self.ids(|_| true) {
            if let Some(sequence) = self.scheduler.remove(id) {
                self.finish(sequence, FinishReason::Failed(error.clone()), String::new(), now_ms);
            }
        }
        self.in_flight.clear();
        let num_blocks = self.scheduler.kv().counts().total;
        self.scheduler = new_scheduler(&self.config, num_blocks, self.max_blocks);
    }

    /// True while a step is in flight.
    pub fn is_busy(&self) -> bool {
        !self.in_flight.is_empty()
    }

    fn note_happened(&mut self) {
        for (id, happened) in self.scheduler.take_happened() {
            let event = match happened {
                Happened::Slid { dropped_tokens } => SequenceEvent::Slid { dropped_tokens },
                Happened::Preempted { tokens } => SequenceEvent::Preempted { tokens },
                Happened::Restored { tokens } => SequenceEvent::Restored { tokens },
            };
            self.events.push((id, event));
        }
    }

    /// Every broken invariant of pages, slots and queues, in words. For tests: it counts everything again.
    pub fn audit(&self) -> Vec<String> {
        self.scheduler.audit()
    }

    fn finish(&mut self, mut sequence: Sequence, reason: FinishReason, mut text: String, now_ms: f64) {
        // A reply that fails may go on elsewhere: what is held back is not known to be all of it.
        if !matches!(reason, FinishReason::Failed(_)) {
            sequence.reply.finish(&mut text);
        }
        let tokens = sequence.reply.take_unreported(&text);
        self.emit_delta(sequence.id, text, tokens);
        self.emit_end(&sequence, reason, now_ms);
    }

    fn emit_end(&mut self, sequence: &Sequence, reason: FinishReason, now_ms: f64) {
        let finish = Finish { reason, stats: sequence.stats(now_ms) };
        self.events.push((sequence.id, SequenceEvent::Finished(finish)));
    }

    fn emit_delta(&mut self, id: SequenceId, text: String, tokens: Vec<TokenId>) {
        if text.is_empty() {
            return;
        }
        let last = self.events.iter_mut().rev().find(|(other, _)| *other == id);
        if let Some((_, SequenceEvent::Delta { text: earlier, tokens: earlier_tokens })) = last {
            earlier.push_str(&text);
            earlier_tokens.extend(tokens);
        } else {
            self.events.push((id, SequenceEvent::Delta { text, tokens }));
        }
    }

    fn ids(&self, wanted: impl Fn(&Sequence) -> bool) -> Vec<SequenceId> {
        let mut ids: Vec<_> = self.scheduler.sequences().filter(|s| wanted(s)).map(|s| s.id).collect();
        ids.sort_unstable();
        ids
    }

    fn unexpected(&self, output: &StepOutput) -> EngineError {
        let due = self.in_flight.front();
        EngineError::UnexpectedOutput {
            expected_step: due.map(|due| due.step),
            got_step: output.step,
            expected_tokens: due.map_or(0, |due| due.samples.len()),
            got_tokens: output.tokens.len(),
        }
    }

    fn block_size_tokens(&self) -> u32 {
        self.config.limits.block_size_tokens
    }

    fn max_pages_per_sequence(&self) -> u32 {
        self.max_blocks.min(self.config.limits.max_table_entries)
    }
}

fn new_scheduler(config: &EngineConfig, num_blocks: u32, max_blocks: u32) -> Scheduler {
    let targets =
        StepTargets { decode_ms: config.target_decode_step_ms, prefill_ms: config.target_prefill_step_ms };
    let pool = PoolShape {
        num_blocks,
        max_blocks,
        slab_blocks: config.slab_blocks,
        window_tokens: config.context_window_tokens,
    };
    Scheduler::new(config.limits, targets, pool)
}
