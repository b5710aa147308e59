//! A [`StepPlan`] as the words that kernels read, and the grids that follow from it. Pure data; see `shaders/lib/step.wgsl`.
//!
//! Layout, in u32 words: a header of 16, the rows (3 each), the samples (12 each), the page tables of the sequences, the rows of
//! single-row attention (3 each), the tiles of several-row attention (4 each), the page operations. Only what a plan fills is
//! uploaded. The lists for attention say what a row attends to: its sequence's table, and how many of the keys there. They
//! are counted in the cache; a row's position is for the rotation alone.

use hearth_engine::plan::{SampleRow, SequenceRows, StepLimits, StepPlan, TokenSource};
use hearth_engine::ports::ExecutorError;

use crate::page_ops;

/// Tokens in a page, fixed in the kernels.
pub const BLOCK_SIZE_TOKENS: u32 = 16;

const HEADER_WORDS: usize = 16;
const ROW_WORDS: usize = 3;
const SAMPLE_WORDS: usize = 12;
const SINGLE_WORDS: usize = 3;
const TILE_WORDS: usize = 4;

/// Sequences with fewer rows than this take the kernel for single rows, once for each.
const MIN_TILE_ROWS: u32 = 3;

/// Bit 31 of a row's token: the rest is a sampler slot.
const FROM_SAMPLER: u32 = 1 << 31;

const FLAG_PENALTIES: u32 = 1;
const FLAG_BIAS: u32 = 2;

/// Below this, dividing by the temperature overflows and the best token is the only one left: it is taken directly.
const MIN_TEMPERATURE: f32 = 1e-6;

/// How many workgroups the kernels of a step need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StepShape {
    /// Rows.
    pub num_rows: u32,
    /// Sampled rows.
    pub num_samples: u32,
    /// Rows whose attention is computed one by one.
    pub num_single_rows: u32,
    /// Tiles of rows whose attention is computed together.
    pub num_tiles: u32,
    /// Chains of page operations.
    pub num_page_chains: u32,
}

/// Whether penalties change these settings' logits.
pub fn has_penalties(sample: &SampleRow) -> bool {
    let settings = &sample.settings;
    settings.repetition_penalty != 1.0
        || settings.frequency_penalty != 0.0
        || settings.presence_penalty != 0.0
}

/// Words of the largest step.
pub fn max_words(limits: &StepLimits) -> usize {
    HEADER_WORDS
        // A row is single or in a tile.
        + limits.max_rows as usize * (ROW_WORDS + SINGLE_WORDS.max(TILE_WORDS))
        + limits.max_samples as usize * SAMPLE_WORDS
        + limits.max_table_entries as usize
        + limits.max_page_ops as usize * (page_ops::CHAIN_WORDS + page_ops::OP_WORDS)
}

/// Refuses a plan that is larger than the buffers, or whose sequences and pages do not add up. `num_blocks` is the pages that
/// there are now.
///
/// # Errors
/// [`ExecutorError::PlanTooLarge`] with the first number that is too large.
pub fn check(plan: &StepPlan, limits: &StepLimits, num_blocks: u32) -> Result<(), ExecutorError> {
    let table_entries = plan.sequences.iter().map(|s| s.blocks.len()).sum();
    let shifted = plan.page_ops.iter().flat_map(page_ops::pages);
    let blocks = plan.sequences.iter().flat_map(|s| s.blocks.iter().copied()).chain(shifted);
    let highest_block = blocks.map(|b| b.index() + 1).max();
    let highest_cache_slot =
        plan.rows.iter().map(|row| row.slot.index() / BLOCK_SIZE_TOKENS as usize + 1).max();
    let highest_slot = plan.samples.iter().map(|s| s.slot).chain(plan.slot_resets.iter().map(|r| r.slot));
    let highest_slot = highest_slot
        .chain(plan.rows.iter().filter_map(|row| match row.token {
            TokenSource::Sampled(slot) => Some(slot),
            TokenSource::Known(_) => None,
        }))
        .map(|slot| slot.index() + 1)
        .max();
    let highest_row = plan.samples.iter().map(|s| s.row as usize + 1).max();
    let highest_sequence = plan.rows.iter().map(|row| row.sequence as usize + 1).max();
    let rows_end = plan.sequences.iter().map(|s| (s.first_row + s.num_rows) as usize).max();
    for (what, got, limit) in [
        ("rows", plan.rows.len(), limits.max_rows as usize),
        ("sequences", plan.sequences.len(), limits.max_sequences as usize),
        ("samples", plan.samples.len(), limits.max_samples as usize),
        ("page-table entries", table_entries, limits.max_table_entries as usize),
        ("page operations", plan.page_ops.len(), limits.max_page_ops as usize),
        ("pages", highest_block.unwrap_or(0), num_blocks as usize),
        ("pages", highest_cache_slot.unwrap_or(0), num_blocks as usize),
        ("sampler slots", highest_slot.unwrap_or(0), limits.num_sampler_slots as usize),
        ("sampled rows", highest_row.unwrap_or(0), plan.rows.len()),
        ("rows' sequences", highest_sequence.unwrap_or(0), plan.sequences.len()),
        ("sequences' rows", rows_end.unwrap_or(0), plan.rows.len()),
    ] {
        if got > limit {
            return Err(ExecutorError::PlanTooLarge { what, got: got as u32, limit: limit as u32 });
        }
    }
    plan.sequences.iter().try_for_each(check_sequence)
}

/// Refuses a sequence whose rows or tokens are not in its pages: kernels would read past its table.
fn check_sequence(sequence: &SequenceRows) -> Result<(), ExecutorError> {
    let context = sequence.context_len_tokens;
    let room = (sequence.blocks.len() as u32).saturating_mul(BLOCK_SIZE_TOKENS);
    for (what, got, limit) in
        [("tokens in a sequence's pages", context, room), ("rows of a sequence", sequence.num_rows, context)]
    {
        if got > limit {
            return Err(ExecutorError::PlanTooLarge { what, got, limit });
        }
    }
    Ok(())
}

/// Writes the words of a plan that [`check`] let pass, replacing what is in `words`, and says how large the step is. `tile_rows` is the most rows of a
/// tile of the prefill attention; `has_bias` says whether a slot has biases.
pub fn pack(
    plan: &StepPlan,
    tile_rows: u32,
    has_bias: impl Fn(&SampleRow) -> bool,
    words: &mut Vec<u32>,
) -> StepShape {
    words.clear();
    words.resize(HEADER_WORDS, 0);
    for row in &plan.rows {
        let token = match row.token {
            TokenSource::Known(token) => token.0 & !FROM_SAMPLER,
            TokenSource::Sampled(slot) => slot.0 | FROM_SAMPLER,
        };
        words.extend([token, row.position, row.slot.0]);
    }
    let samples_start = words.len();
    for sample in &plan.samples {
        pack_sample(sample, has_bias(sample), words);
    }
    let (mut singles, mut tiles) = (Vec::new(), Vec::new());
    for sequence in &plan.sequences {
        let table = words.len() as u32;
        words.extend(sequence.blocks.iter().map(|block| block.0));
        let end = sequence.first_row + sequence.num_rows;
        // How many keys are before each row: all of its sequence's in the cache, less the rows from it on.
        let place = |row: u32| sequence.context_len_tokens - (end - row);
        if sequence.num_rows < MIN_TILE_ROWS.min(tile_rows + 1) {
            singles.extend((sequence.first_row..end).flat_map(|row| [row, place(row) + 1, table]));
        } else {
            let firsts = (sequence.first_row..end).step_by(tile_rows as usize);
            tiles.extend(firsts.flat_map(|row| [row, tile_rows.min(end - row), place(row), table]));
        }
    }
    let singles_start = words.len();
    words.append(&mut singles);
    let tiles_start = words.len();
    words.append(&mut tiles);
    let page_ops_start = words.len();
    let num_page_chains = page_ops::pack(&plan.page_ops, words);
    let shape = StepShape {
        num_rows: plan.rows.len() as u32,
        num_samples: plan.samples.len() as u32,
        num_single_rows: ((tiles_start - singles_start) / SINGLE_WORDS) as u32,
        num_tiles: ((page_ops_start - tiles_start) / TILE_WORDS) as u32,
        num_page_chains,
    };
    words[0] = shape.num_rows;
    words[1] = shape.num_samples;
    words[8] = samples_start as u32;
    words[9] = page_ops_start as u32;
    words[10] = singles_start as u32;
    words[11] = tiles_start as u32;
    shape
}

fn pack_sample(sample: &SampleRow, has_bias: bool, words: &mut Vec<u32>) {
    let settings = &sample.settings;
    let mut flags = 0;
    if has_penalties(sample) {
        flags |= FLAG_PENALTIES;
    }
    if has_bias {
        flags |= FLAG_BIAS;
    }
    let temperature = if settings.temperature < MIN_TEMPERATURE { 0.0 } else { settings.temperature };
    words.extend([
        sample.row,
        sample.slot.0,
        flags,
        temperature.to_bits(),
        settings.top_k,
        settings.top_p.to_bits(),
        settings.repetition_penalty.to_bits(),
        settings.frequency_penalty.to_bits(),
        settings.presence_penalty.to_bits(),
        sample.draw.to_bits(),
        0,
        0,
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_engine::ids::{BlockId, SamplerSlot, Slot, TokenId};
    use hearth_engine::plan::{PageOp, Row};
    use hearth_engine::sampling::SamplingSettings;

    fn limits() -> StepLimits {
        StepLimits {
            block_size_tokens: 16,
            num_blocks: 8,
            max_blocks: 8,
            max_rows: 8,
            max_sequences: 2,
            max_samples: 2,
            num_sampler_slots: 2,
            max_table_entries: 8,
            max_page_ops: 2,
            row_granularity: 8,
        }
    }

    fn row(token: TokenSource, position: u32, slot: u32, sequence: u32) -> Row {
        Row { token, position, slot: Slot(slot), sequence }
    }

    fn shift(from: u32, to: u32) -> PageOp {
        PageOp::Shift { from: BlockId(from), to: BlockId(to), positions: 32 }
    }

    fn plan() -> StepPlan {
        let mut rows = vec![row(TokenSource::Sampled(SamplerSlot(1)), 520, 4, 0)];
        rows.extend((0..5).map(|i| row(TokenSource::Known(TokenId(100 + i)), i, 32 + i, 1)));
        StepPlan {
            step: 1,
            rows,
            sequences: vec![
                SequenceRows {
                    first_row: 0,
                    num_rows: 1,
                    context_len_tokens: 21,
                    blocks: vec![BlockId(7), BlockId(0)],
                },
                SequenceRows { first_row: 1, num_rows: 5, context_len_tokens: 5, blocks: vec![BlockId(2)] },
            ],
            samples: vec![SampleRow {
                row: 0,
                slot: SamplerSlot(1),
                settings: SamplingSettings { presence_penalty: 0.5, ..Default::default() },
                draw: 0.25,
            }],
            slot_resets: vec![],
            page_ops: vec![shift(7, 6)],
        }
    }

    #[test]
    fn a_packed_plan_points_at_its_sections() {
        let mut words = vec![9; 100];
        let shape = pack(&plan(), 4, |_| true, &mut words);
        let expected =
            StepShape { num_rows: 6, num_samples: 1, num_single_rows: 1, num_tiles: 2, num_page_chains: 1 };
        assert_eq!(shape, expected);
        assert_eq!(words[..2], [6, 1]);
        assert_eq!(words[16..19], [1 << 31 | 1, 520, 4]);
        assert_eq!(words[31..34], [104, 4, 36]);
        let samples = words[8] as usize;
        assert_eq!(samples, 34);
        assert_eq!(words[samples..samples + 3], [0, 1, FLAG_PENALTIES | FLAG_BIAS]);
        assert_eq!(f32::from_bits(words[samples + 9]), 0.25);
        // The tables, then each row with its keys and table: 21 keys, although the row's position is 520.
        assert_eq!(words[46..49], [7, 0, 2]);
        let [page_ops, singles, tiles] = [9, 10, 11].map(|at| words[at] as usize);
        assert_eq!(words[singles..tiles], [0, 21, 46]);
        assert_eq!(words[tiles..page_ops], [1, 4, 0, 48, 5, 1, 4, 48]);
        assert_eq!(words[page_ops..], [page_ops as u32 + 2, 1, 7, 6, 32]);
        assert!(words.len() <= max_words(&limits()));
    }

    #[test]
    fn plans_over_a_limit_are_refused_with_the_number() {
        assert_eq!(check(&plan(), &limits(), 8), Ok(()));
        let refuse = |change: fn(&mut StepPlan), what, got, limit| {
            let mut plan = plan();
            change(&mut plan);
            let expected = Err(ExecutorError::PlanTooLarge { what, got, limit });
            assert_eq!(check(&plan, &limits(), 8), expected);
        };
        refuse(|p| p.rows.extend(p.rows.clone()), "rows", 12, 8);
        refuse(|p| p.sequences[0].blocks[0] = BlockId(8), "pages", 9, 8);
        refuse(|p| p.rows[0].slot = Slot(128), "pages", 9, 8);
        refuse(|p| p.rows[0].token = TokenSource::Sampled(SamplerSlot(2)), "sampler slots", 3, 2);
        refuse(|p| p.samples[0].row = 6, "sampled rows", 7, 6);
        refuse(|p| p.rows[0].sequence = 2, "rows' sequences", 3, 2);
        refuse(|p| p.page_ops = vec![p.page_ops[0]; 3], "page operations", 3, 2);
        refuse(|p| p.page_ops = vec![shift(8, 1)], "pages", 9, 8);
        refuse(|p| p.page_ops = vec![shift(1, 8)], "pages", 9, 8);
        refuse(|p| p.sequences[0].context_len_tokens = 33, "tokens in a sequence's pages", 33, 32);
        refuse(|p| p.sequences[1].context_len_tokens = 4, "rows of a sequence", 5, 4);
        refuse(|p| p.samples = vec![p.samples[0].clone(); 3], "samples", 3, 2);
    }

    #[test]
    fn pages_are_those_that_there_are_now() {
        let refused = check(&plan(), &limits(), 7);
        assert_eq!(refused, Err(ExecutorError::PlanTooLarge { what: "pages", got: 8, limit: 7 }));
        let mut plan = plan();
        plan.sequences[0].blocks[0] = BlockId(8);
        assert_eq!(check(&plan, &limits(), 9), Ok(()));
    }

    #[test]
    fn a_temperature_too_small_to_divide_by_is_zero() {
        let mut plan = plan();
        plan.samples[0].settings.temperature = 1e-9;
        let mut words = Vec::new();
        pack(&plan, 4, |_| false, &mut words);
        assert_eq!(words[words[8] as usize + 3], 0);
    }
}
