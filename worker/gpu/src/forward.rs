//! Single sequences through the executor, plan by plan, without a scheduler: evaluation wants logits, and its own order.
//! Serves whoever compares a model's numbers with expected ones, natively and in browsers; does not know what is expected.

use hearth_engine::ids::{BlockId, SamplerSlot, Slot, TokenId};
use hearth_engine::plan::{Row, SampleRow, SequenceRows, SlotReset, StepLimits, StepPlan, TokenSource};
use hearth_engine::ports::{Executor, ExecutorError};
use hearth_engine::sampling::SamplingSettings;

use crate::executor::GpuExecutor;

/// The one sampler slot in use.
const SLOT: SamplerSlot = SamplerSlot(0);

/// Runs one sequence at a time, always in the first pages of the cache.
pub struct Forward {
    executor: GpuExecutor,
    limits: StepLimits,
    vocab_size: usize,
    step: u64,
}

impl Forward {
    /// Takes the executor of a model over; `vocab_size` is the model's.
    pub fn new(executor: GpuExecutor, vocab_size: u32) -> Self {
        let limits = executor.limits();
        Self { executor, limits, vocab_size: vocab_size as usize, step: 0 }
    }

    /// Whether a sequence of this length fits into the cache.
    ///
    /// # Errors
    /// [`ExecutorError::PlanTooLarge`] with the numbers.
    pub fn check_length(&self, num_tokens: usize) -> Result<(), ExecutorError> {
        let limit = self.limits.num_blocks.saturating_mul(self.limits.block_size_tokens);
        match u32::try_from(num_tokens) {
            Ok(got) if got <= limit => Ok(()),
            got => Err(ExecutorError::PlanTooLarge { what: "tokens", got: got.unwrap_or(u32::MAX), limit }),
        }
    }

    /// Runs a prompt in steps as large as the executor takes; logits `[vocab]` after its last token.
    ///
    /// # Errors
    /// Those of the executor; the prompt does not fit into the cache.
    pub async fn prefill(&mut self, ids: &[TokenId]) -> Result<Vec<f32>, ExecutorError> {
        self.check_length(ids.len())?;
        let mut logits = Vec::new();
        let max_rows = self.limits.max_rows as usize;
        for (index, chunk) in ids.chunks(max_rows).enumerate() {
            let first = index * max_rows;
            let is_last = first + chunk.len() == ids.len();
            let plan = self.plan(chunk, first, is_last);
            logits = self.executor.logits(&plan).await?;
        }
        Ok(logits)
    }

    /// Continues with `first` at `position`: the `count` tokens that the device picks after it at temperature 0.
    ///
    /// # Errors
    /// Those of the executor; the tokens do not fit into the cache.
    pub async fn greedy(
        &mut self,
        first: TokenId,
        position: usize,
        count: usize,
    ) -> Result<Vec<TokenId>, ExecutorError> {
        self.check_length(position + count)?;
        let mut token = first;
        let mut tokens = Vec::with_capacity(count);
        for step in 0..count {
            let plan = self.plan(&[token], position + step, true);
            let output = self.executor.submit(&plan)?.await?;
            // One row was sampled, so one token comes back.
            token = output.tokens[0];
            tokens.push(token);
        }
        Ok(tokens)
    }

    /// Logits `[vocab]` at every position. A step samples one row of a sequence, so each row goes as a sequence of its
    /// own on the same pages: all rows of a step are in the cache before any of them attends.
    ///
    /// # Errors
    /// Those of the executor; the tokens do not fit into the cache.
    pub async fn each_logits(
        &mut self,
        ids: &[TokenId],
        mut on_logits: impl FnMut(usize, &[f32]),
    ) -> Result<(), ExecutorError> {
        self.check_length(ids.len())?;
        let limits = &self.limits;
        let longest_table = ids.len().div_ceil(limits.block_size_tokens as usize).max(1);
        let by_table = limits.max_table_entries as usize / longest_table;
        let rows_in_step =
            (limits.max_samples.min(limits.max_sequences).min(limits.max_rows) as usize).min(by_table).max(1);
        for (index, chunk) in ids.chunks(rows_in_step).enumerate() {
            let first = index * rows_in_step;
            self.step += 1;
            let mut plan = StepPlan { step: self.step, slot_resets: vec![reset()], ..StepPlan::default() };
            for (offset, &id) in chunk.iter().enumerate() {
                let row = offset as u32;
                plan.rows.push(self.row(id, first + offset, row));
                plan.sequences.push(self.sequence(row, 1, first + offset + 1));
                plan.samples.push(sample(row));
            }
            let logits = self.executor.logits(&plan).await?;
            for (offset, logits) in logits.chunks_exact(self.vocab_size).enumerate() {
                on_logits(first + offset, logits);
            }
        }
        Ok(())
    }

    fn plan(&mut self, ids: &[TokenId], first: usize, sampled: bool) -> StepPlan {
        self.step += 1;
        let num_rows = ids.len() as u32;
        StepPlan {
            step: self.step,
            rows: ids.iter().enumerate().map(|(offset, &id)| self.row(id, first + offset, 0)).collect(),
            sequences: vec![self.sequence(0, num_rows, first + ids.len())],
            samples: if sampled { vec![sample(num_rows - 1)] } else { Vec::new() },
            slot_resets: vec![reset()],
            page_ops: Vec::new(),
        }
    }

    fn row(&self, id: TokenId, position: usize, sequence: u32) -> Row {
        // Pages are used in order, so a token's slot is its position.
        Row {
            token: TokenSource::Known(id),
            position: position as u32,
            slot: Slot(position as u32),
            sequence,
        }
    }

    fn sequence(&self, first_row: u32, num_rows: u32, context_len: usize) -> SequenceRows {
        let num_blocks = context_len.div_ceil(self.limits.block_size_tokens as usize) as u32;
        let blocks = (0..num_blocks).map(BlockId).collect();
        SequenceRows { first_row, num_rows, context_len_tokens: context_len as u32, blocks }
    }
}

fn sample(row: u32) -> SampleRow {
    SampleRow { row, slot: SLOT, settings: SamplingSettings::greedy(), draw: 0.0 }
}

fn reset() -> SlotReset {
    SlotReset { slot: SLOT, counts: Vec::new(), bias: Vec::new() }
}
