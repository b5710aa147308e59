//! `StepPlan` and `StepOutput`: the only contract between scheduling and execution.
//!
//! A step runs `num_rows` token rows through the model. Rows of one sequence are contiguous and in order. There is no
//! prefill or decode here: a row is a token at a position, and some rows are sampled.

use crate::ids::{BlockId, SamplerSlot, Slot, TokenId};
use crate::sampling::SamplingSettings;

/// Where a row's token id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// Known when the plan is made.
    Known(TokenId),
    /// The token that the previous step samples into this slot: it is read on the GPU, so that the next step can be
    /// submitted before the id has come back.
    Sampled(SamplerSlot),
}

/// One token to run through the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The token.
    pub token: TokenSource,
    /// Its position for the rotary embedding: the number of tokens of the sequence before it, those included that have
    /// left the cache since. Which keys it sees is told by [`SequenceRows::context_len_tokens`], not by this.
    pub position: u32,
    /// Where its keys and values are written: in the page, of its sequence's, that its place in the cache falls into.
    pub slot: Slot,
    /// Index into [`StepPlan::sequences`].
    pub sequence: u32,
}

/// The rows and pages of one sequence in this step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceRows {
    /// First of its rows in [`StepPlan::rows`].
    pub first_row: u32,
    /// How many rows.
    pub num_rows: u32,
    /// Tokens of the sequence that are in its pages once this step has run. Row `r` of it is token number
    /// `context_len_tokens - num_rows + (r - first_row)` of those, and attends to all up to and including itself.
    pub context_len_tokens: u32,
    /// Its pages in order; `ceil(context_len_tokens / block_size_tokens)` of them. Where the sequence has slid, the pinned
    /// pages at the start are shifted copies ([`PageOp::Shift`]), and pages that it once had after them are gone.
    pub blocks: Vec<BlockId>,
}

/// One row whose next token is sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRow {
    /// Index into [`StepPlan::rows`]: the last row of its sequence.
    pub row: u32,
    /// The sampled token is left here, and the counts and biases kept here apply.
    pub slot: SamplerSlot,
    /// How to sample.
    pub settings: SamplingSettings,
    /// Uniform number in `[0, 1)` that decides the draw; unused at temperature 0.
    pub draw: f32,
}

/// Sets the sampler state of a slot before the step runs: the slot has a new owner, or its owner was resumed.
#[derive(Debug, Clone, PartialEq)]
pub struct SlotReset {
    /// The slot.
    pub slot: SamplerSlot,
    /// How often the sequence has generated each token so far (for the penalties); tokens left out count 0.
    pub counts: Vec<(TokenId, u32)>,
    /// Added to the logits of these tokens.
    pub bias: Vec<(TokenId, f32)>,
}

/// Work on whole pages before the rows of a step run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOp {
    /// Page `to` becomes a copy of page `from` in every layer, its keys rotated onward by `positions`; 0 copies plainly.
    /// Values are copied as they are. The two pages differ.
    Shift {
        /// Read; keeps its content.
        from: BlockId,
        /// Overwritten as a whole.
        to: BlockId,
        /// Positions of the rotary embedding.
        positions: u32,
    },
}

/// Everything that the executor needs for one step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepPlan {
    /// Counts steps from 1; for traces and for matching outputs.
    pub step: u64,
    /// The rows.
    pub rows: Vec<Row>,
    /// The sequences that the rows belong to.
    pub sequences: Vec<SequenceRows>,
    /// The rows to sample, at most [`StepLimits::max_samples`]; at most one per sequence.
    pub samples: Vec<SampleRow>,
    /// Applied before the rows run.
    pub slot_resets: Vec<SlotReset>,
    /// Run in this order before the rows, and after all that earlier steps do; at most [`StepLimits::max_page_ops`].
    pub page_ops: Vec<PageOp>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StepOutput {
    /// [`StepPlan::step`] of the plan that this answers.
    pub step: u64,
    /// One token per [`StepPlan::samples`], in that order.
    pub tokens: Vec<TokenId>,
}

/// The largest step and the cache that an executor was built for. Fixed while a model is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLimits {
    /// Tokens in a page.
    pub block_size_tokens: u32,
    /// Pages in the cache at the start.
    pub num_blocks: u32,
    /// Pages that the cache can grow to at most.
    pub max_blocks: u32,
    /// Rows in a step.
    pub max_rows: u32,
    /// Sequences in a step.
    pub max_sequences: u32,
    /// Sampled rows in a step.
    pub max_samples: u32,
    /// Sampler slots: sequences that can be running at the same time.
    pub num_sampler_slots: u32,
    /// Page-table entries in a step, summed over its sequences.
    pub max_table_entries: u32,
    /// Page operations in a step.
    pub max_page_ops: u32,
    /// The kernels' tile: a step costs about the same for any number of rows up to the next multiple of this.
    pub row_granularity: u32,
}
