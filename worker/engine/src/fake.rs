//! An executor without a model, for tests: the next token is a pure function of the history that the pages hold.
//!
//! It keeps, for each slot of its cache, a digest of everything that attention could have seen when the slot was written,
//! through the page table of that row. A wrong page, slot, position or parent, a page reused too early, a token fed twice
//! or not at all: each changes every later token. What no executor could forgive is listed in [`FakeExecutor::faults`].

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::ids::{BlockId, SamplerSlot, TokenId};
use crate::plan::{PageOp, SampleRow, SequenceRows, StepLimits, StepOutput, StepPlan, TokenSource};
use crate::ports::{BorrowedFuture, Clock, Executor, ExecutorError, LocalFuture};
use crate::sampling::reference::{self, SamplerState};
use crate::tokenizer::Vocabulary;

/// One token's keys and values, as far as a fake needs them.
#[derive(Debug, Clone, Copy)]
struct Entry {
    digest: u64,
    position: u32,
    step: u64,
    /// Index of the sequence in the step that wrote it.
    sequence: u32,
}

#[derive(Debug, Clone, Default)]
struct SlotState {
    sampler: SamplerState,
    last_token: Option<TokenId>,
    last_step: u64,
}

/// The state that a [`FakeExecutor`] shares with the test that watches it.
#[derive(Debug)]
struct State {
    limits: StepLimits,
    vocab_size: u32,
    cache: Vec<Option<Entry>>,
    slots: BTreeMap<SamplerSlot, SlotState>,
    last_step: u64,
    faults: Vec<String>,
    /// Steps that have not come back; with `hold`, they wait for [`FakeExecutor::release`].
    hold: bool,
    num_released: u64,
    num_submitted: u64,
    waiting: VecDeque<Waker>,
    /// The device has room for no more.
    most_blocks: u32,
    fail_submit: Option<ExecutorError>,
    fail_output: Option<ExecutorError>,
}

/// A deterministic executor. Clones are the same executor, so a test keeps one and gives the other away.
#[derive(Debug, Clone)]
pub struct FakeExecutor {
    state: Rc<RefCell<State>>,
}

impl FakeExecutor {
    /// An empty cache; steps come back at once.
    pub fn new(limits: StepLimits, vocab_size: u32) -> Self {
        let num_tokens = limits.num_blocks as usize * limits.block_size_tokens as usize;
        Self {
            state: Rc::new(RefCell::new(State {
                limits,
                vocab_size,
                cache: vec![None; num_tokens],
                slots: BTreeMap::new(),
                last_step: 0,
                faults: Vec::new(),
                hold: false,
                num_released: 0,
                num_submitted: 0,
                waiting: VecDeque::new(),
                most_blocks: u32::MAX,
                fail_submit: None,
                fail_output: None,
            })),
        }
    }

    /// Steps submitted from now on come back only when they are released.
    pub fn hold(&self) {
        let mut state = self.state.borrow_mut();
        state.hold = true;
        state.num_released = state.num_submitted;
    }

    /// Lets the oldest held step come back. False when none is held.
    pub fn release(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if state.num_released == state.num_submitted {
            return false;
        }
        state.num_released += 1;
        let wakers: Vec<Waker> = state.waiting.drain(..).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    /// The device has room for no more than these pages, whatever is asked for.
    pub fn limit_blocks(&self, most_blocks: u32) {
        self.state.borrow_mut().most_blocks = most_blocks;
    }

    /// The next submission is refused.
    pub fn fail_next_submit(&self, error: ExecutorError) {
        self.state.borrow_mut().fail_submit = Some(error);
    }

    /// The next submitted step comes back with an error.
    pub fn fail_next_output(&self, error: ExecutorError) {
        self.state.borrow_mut().fail_output = Some(error);
    }

    /// Steps submitted so far.
    pub fn num_submitted(&self) -> u64 {
        self.state.borrow().num_submitted
    }

    /// Everything about the plans so far that no executor could run rightly.
    pub fn faults(&self) -> Vec<String> {
        self.state.borrow().faults.clone()
    }

    /// Runs a step and returns its tokens at once.
    ///
    /// # Errors
    /// [`ExecutorError::PlanTooLarge`].
    pub fn execute(&self, plan: &StepPlan) -> Result<StepOutput, ExecutorError> {
        let mut state = self.state.borrow_mut();
        check_limits(plan, &state.limits)?;
        Ok(state.execute(plan))
    }
}

impl Executor for FakeExecutor {
    fn limits(&self) -> StepLimits {
        self.state.borrow().limits
    }

    fn submit(
        &mut self,
        plan: &StepPlan,
    ) -> Result<LocalFuture<Result<StepOutput, ExecutorError>>, ExecutorError> {
        if let Some(error) = self.state.borrow_mut().fail_submit.take() {
            return Err(error);
        }
        // Steps run in the order of submission, so running now and answering later makes no difference.
        let output = self.execute(plan)?;
        let (ticket, result) = {
            let mut state = self.state.borrow_mut();
            state.num_submitted += 1;
            let failure = state.fail_output.take();
            (state.num_submitted, failure.map_or(Ok(output), Err))
        };
        let shared = self.state.clone();
        let mut result = Some(result);
        Ok(Box::pin(poll_fn(move |context| {
            let mut state = shared.borrow_mut();
            if state.hold && state.num_released < ticket {
                state.waiting.push_back(context.waker().clone());
                return Poll::Pending;
            }
            match result.take() {
                Some(result) => Poll::Ready(result),
                None => Poll::Pending,
            }
        })))
    }

    fn resize(&mut self, num_blocks: u32) -> BorrowedFuture<'_, Result<u32, ExecutorError>> {
        let mut state = self.state.borrow_mut();
        let num_now = (state.cache.len() / state.limits.block_size_tokens as usize) as u32;
        let num_blocks = num_blocks.min(state.most_blocks.max(num_now));
        let num_tokens = num_blocks as usize * state.limits.block_size_tokens as usize;
        state.cache.resize(num_tokens, None);
        Box::pin(std::future::ready(Ok(num_blocks)))
    }

    fn read_blocks<'a>(
        &'a mut self,
        blocks: &[BlockId],
    ) -> BorrowedFuture<'a, Result<Vec<Vec<u8>>, ExecutorError>> {
        let state = self.state.borrow();
        let pages = blocks.iter().map(|block| state.page(*block)).collect();
        Box::pin(std::future::ready(Ok(pages)))
    }

    fn write_block(&mut self, block: BlockId, bytes: &[u8]) -> Result<(), ExecutorError> {
        let expected_bytes = self.block_bytes();
        if bytes.len() as u64 != expected_bytes {
            return Err(ExecutorError::WrongPageSize { expected_bytes, got_bytes: bytes.len() as u64 });
        }
        let mut state = self.state.borrow_mut();
        let start = (block.0 * state.limits.block_size_tokens) as usize;
        for (offset, entry) in bytes.chunks_exact(ENTRY_BYTES).enumerate() {
            let (digest, position) = entry.split_at(8);
            let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            let entry =
                Entry { digest: number(digest), position: number(position) as u32, step: 0, sequence: 0 };
            state.cache[start + offset] = Some(entry);
        }
        Ok(())
    }

    fn block_bytes(&self) -> u64 {
        u64::from(self.state.borrow().limits.block_size_tokens) * ENTRY_BYTES as u64
    }
}

/// Digest and position of a token.
const ENTRY_BYTES: usize = 12;

impl State {
    fn page(&self, block: BlockId) -> Vec<u8> {
        let start = (block.0 * self.limits.block_size_tokens) as usize;
        let entries = &self.cache[start..start + self.limits.block_size_tokens as usize];
        let bytes = |entry: &Option<Entry>| {
            let (digest, position) = entry.map_or((0, 0), |entry| (entry.digest, entry.position));
            digest.to_le_bytes().into_iter().chain(position.to_le_bytes())
        };
        entries.iter().flat_map(bytes).collect()
    }

    fn execute(&mut self, plan: &StepPlan) -> StepOutput {
        if plan.step <= self.last_step {
            self.fault(plan, "steps must count up");
        }
        for reset in &plan.slot_resets {
            let sampler =
                SamplerState { counts: reset.counts.iter().copied().collect(), bias: reset.bias.clone() };
            self.slots.insert(reset.slot, SlotState { sampler, ..SlotState::default() });
        }
        self.check_shape(plan);
        for op in &plan.page_ops {
            self.run_page_op(plan, *op);
        }
        let mut last_digests = Vec::new();
        for (index, sequence) in plan.sequences.iter().enumerate() {
            last_digests.push(self.run_sequence(plan, index as u32, sequence));
        }
        let sampled = plan.samples.iter().map(|sample| self.sample(plan, sample, &last_digests)).collect();
        self.last_step = plan.step;
        StepOutput { step: plan.step, tokens: sampled }
    }

    /// Copies a page; to whoever attends to the copy its tokens are as many positions further on.
    fn run_page_op(&mut self, plan: &StepPlan, PageOp::Shift { from, to, positions }: PageOp) {
        let block_size = self.limits.block_size_tokens;
        if from == to {
            self.fault(plan, "a page is shifted onto itself");
        }
        for offset in 0..block_size {
            let entry = self.cache[(from.0 * block_size + offset) as usize];
            if entry.is_none() {
                self.fault(plan, "a page is shifted before it was written");
            }
            self.cache[(to.0 * block_size + offset) as usize] = entry.map(|entry| Entry {
                position: entry.position + positions,
                step: plan.step - 1,
                ..entry
            });
        }
    }

    /// Writes a sequence's rows and returns the digest of the last of them.
    fn run_sequence(&mut self, plan: &StepPlan, index: u32, sequence: &SequenceRows) -> u64 {
        let block_size = self.limits.block_size_tokens;
        let first = sequence.context_len_tokens - sequence.num_rows;
        let num_dropped = plan.rows[sequence.first_row as usize].position - first;
        let mut seen = 0;
        for place in 0..first {
            seen = self.attend(plan, index, sequence, place, num_dropped, seen);
        }
        let mut digest = 0;
        for offset in 0..sequence.num_rows {
            let row = plan.rows[(sequence.first_row + offset) as usize];
            let place = first + offset;
            let slot = sequence.blocks[(place / block_size) as usize].0 * block_size + place % block_size;
            if row.sequence != index || row.position != num_dropped + place || row.slot.0 != slot {
                self.fault(plan, "a row is not where its sequence's table puts it");
            }
            let token = self.token(plan, row.token);
            digest = mix(mix(seen, u64::from(token.0)), u64::from(row.position));
            let old = self.cache[row.slot.index()].replace(Entry {
                digest,
                position: row.position,
                step: plan.step,
                sequence: index,
            });
            if old.is_some_and(|old| old.step == plan.step) {
                self.fault(plan, "a slot is written twice in one step");
            }
            seen = self.attend(plan, index, sequence, place, num_dropped, seen);
        }
        digest
    }

    /// Folds one place of the context, as the page table shows it, into what a row has seen. A key's distance to the row is
    /// what its place says, whatever has been dropped between.
    fn attend(
        &mut self,
        plan: &StepPlan,
        index: u32,
        sequence: &SequenceRows,
        place: u32,
        num_dropped: u32,
        seen: u64,
    ) -> u64 {
        let block_size = self.limits.block_size_tokens;
        let block = sequence.blocks[(place / block_size) as usize];
        match self.cache[(block.0 * block_size + place % block_size) as usize] {
            None => {
                self.fault(plan, "a row attends to a slot that was never written");
                mix(seen, u64::MAX)
            }
            Some(entry) => {
                if entry.step == plan.step && entry.sequence != index {
                    self.fault(plan, "a row attends to what another sequence writes in the same step");
                }
                if entry.position != place + num_dropped {
                    self.fault(plan, "a row attends to a token of another position");
                }
                mix(seen, entry.digest)
            }
        }
    }

    fn token(&mut self, plan: &StepPlan, source: TokenSource) -> TokenId {
        match source {
            TokenSource::Known(token) => token,
            TokenSource::Sampled(slot) => {
                let state = self.slots.entry(slot).or_default().clone();
                if state.last_step + 1 != plan.step {
                    self.fault(plan, "a row takes a token that the previous step did not sample");
                }
                state.last_token.unwrap_or(TokenId(0))
            }
        }
    }

    fn sample(&mut self, plan: &StepPlan, sample: &SampleRow, last_digests: &[u64]) -> TokenId {
        let row = plan.rows[sample.row as usize];
        let sequence = &plan.sequences[row.sequence as usize];
        if sample.row != sequence.first_row + sequence.num_rows - 1 {
            self.fault(plan, "a sampled row is not the last of its sequence");
        }
        let logits = logits(last_digests[row.sequence as usize], self.vocab_size);
        let slot = self.slots.entry(sample.slot).or_default();
        let token = reference::sample(&logits, &slot.sampler, &sample.settings, sample.draw);
        *slot.sampler.counts.entry(token).or_insert(0) += 1;
        slot.last_token = Some(token);
        slot.last_step = plan.step;
        token
    }

    fn check_shape(&mut self, plan: &StepPlan) {
        let mut next_row = 0;
        for sequence in &plan.sequences {
            if sequence.first_row != next_row || sequence.num_rows == 0 {
                self.fault(plan, "rows of a sequence are not contiguous");
            }
            next_row += sequence.num_rows;
            let num_blocks = sequence.context_len_tokens.div_ceil(self.limits.block_size_tokens);
            if sequence.blocks.len() != num_blocks as usize {
                self.fault(plan, "a page table has not exactly the pages that its context takes");
            }
        }
        if next_row as usize != plan.rows.len() || plan.rows.is_empty() {
            self.fault(plan, "rows and sequences do not add up");
        }
        let mut slots: Vec<_> = plan.samples.iter().map(|sample| sample.slot).collect();
        slots.sort_unstable();
        if slots.windows(2).any(|pair| pair[0] == pair[1]) {
            self.fault(plan, "a sampler slot is used twice in one step");
        }
        if slots.last().is_some_and(|slot| slot.0 >= self.limits.num_sampler_slots) {
            self.fault(plan, "a sampler slot does not exist");
        }
    }

    fn fault(&mut self, plan: &StepPlan, what: &str) {
        self.faults.push(format!("step {}: {what}", plan.step));
    }
}

fn check_limits(plan: &StepPlan, limits: &StepLimits) -> Result<(), ExecutorError> {
    let num_entries: usize = plan.sequences.iter().map(|sequence| sequence.blocks.len()).sum();
    for (what, got, limit) in [
        ("rows", plan.rows.len(), limits.max_rows),
        ("sequences", plan.sequences.len(), limits.max_sequences),
        ("samples", plan.samples.len(), limits.max_samples),
        ("table entries", num_entries, limits.max_table_entries),
        ("page operations", plan.page_ops.len(), limits.max_page_ops),
    ] {
        if got > limit as usize {
            return Err(ExecutorError::PlanTooLarge { what, got: got as u32, limit });
        }
    }
    Ok(())
}

/// Pseudo-logits between -4 and 4.
fn logits(digest: u64, vocab_size: u32) -> Vec<f32> {
    (0..u64::from(vocab_size))
        .map(|token| (mix(digest, token) >> 40) as f32 / (1 << 21) as f32 - 4.0)
        .collect()
}

fn mix(seen: u64, value: u64) -> u64 {
    let mut mixed = (seen.rotate_left(23) ^ value.wrapping_add(0x9E37_79B9_7F4A_7C15))
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed ^= mixed >> 29;
    mixed.wrapping_mul(0x94D0_49BB_1331_11EB)
}

/// A vocabulary in which every token is a few bytes, some of them only part of a character.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeVocabulary;

impl Vocabulary for FakeVocabulary {
    fn token_bytes(&self, token: TokenId) -> &[u8] {
        const PIECES: [&[u8]; 16] = [
            b"a",
            b"b",
            b"c",
            b"ab",
            b" ",
            b"\xE2\x82",
            b"\xAC",
            b"\xC3",
            b"\xA9",
            b"x",
            b"y",
            b"z",
            b"",
            b"\n",
            b"q",
            b"\xFF",
        ];
        PIECES[token.index() % PIECES.len()]
    }
}

/// A clock that a test sets.
#[derive(Debug, Default)]
pub struct FakeClock {
    now_ms: std::cell::Cell<f64>,
}

impl FakeClock {
    /// Moves time forward.
    pub fn advance(&self, elapsed_ms: f64) {
        self.now_ms.set(self.now_ms.get() + elapsed_ms);
    }
}

impl Clock for FakeClock {
    fn now_ms(&self) -> f64 {
        self.now_ms.get()
    }
}
