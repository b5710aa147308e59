//! A window that slides over a long text: pages leave, pinned ones stay and are rotated to be near.

mod support;

use std::collections::VecDeque;

use hearth_engine::ids::{BlockId, SamplerSlot, Slot, TokenId};
use hearth_engine::plan::{PageOp, Row, SampleRow, SequenceRows, StepPlan, TokenSource};
use hearth_engine::ports::Executor;
use hearth_engine::sampling::SamplingSettings;
use hearth_gpu::{ExecutorOptions, Forward, GpuExecutor, KvType};
use support::cache::KV_TYPES;
use support::*;

const BLOCK: usize = 16;
/// Pages of the window.
const WINDOW_PAGES: usize = 8;
/// The page that is pinned, and its rotated copy.
const ORIGINAL: BlockId = BlockId(30);
const COPY: BlockId = BlockId(31);

/// Logits after each of `ids`, which are in the cache after `before` tokens and at positions from `position` on. Each row is a
/// sequence of its own on the same pages, because one row of a sequence is sampled.
fn page_logits(
    executor: &mut GpuExecutor,
    step: u64,
    table: &[BlockId],
    before: usize,
    position: usize,
    ids: &[u32],
    page_ops: Vec<PageOp>,
) -> Vec<f32> {
    let mut plan = StepPlan { step, page_ops, ..StepPlan::default() };
    for (offset, id) in ids.iter().enumerate() {
        let (row, place) = (offset as u32, before + offset);
        let slot = Slot(table[place / BLOCK].0 * BLOCK as u32 + (place % BLOCK) as u32);
        let token = TokenSource::Known(TokenId(*id));
        plan.rows.push(Row { token, position: (position + offset) as u32, slot, sequence: row });
        plan.sequences.push(SequenceRows {
            first_row: row,
            num_rows: 1,
            context_len_tokens: place as u32 + 1,
            blocks: table[..=place / BLOCK].to_vec(),
        });
        plan.samples.push(SampleRow {
            row,
            slot: SamplerSlot(row),
            settings: SamplingSettings::greedy(),
            draw: 0.0,
        });
    }
    pollster::block_on(executor.logits(&plan)).expect("the step runs")
}

/// Adds the probability of each token's successor.
fn push_probabilities(logits: &[f32], first: usize, ids: &[u32], probabilities: &mut Vec<f64>) {
    let rows = logits.len() / (logits.len() / BLOCK);
    for (row, logits) in logits.chunks_exact(logits.len() / rows).enumerate() {
        if let Some(next) = ids.get(first + row + 1) {
            probabilities.push(log_probability(logits, *next));
        }
    }
}

/// Streams `ids` through the window page by page, as the engine does, and gives the probabilities of what follows each token of
/// the pages `measured`. The first page is pinned; between it and the second, `skipped` positions have gone by already, as
/// in a long run. `rotated` says whether the pinned page comes along.
fn stream(
    executor: &mut GpuExecutor,
    ids: &[u32],
    measured: impl Fn(usize) -> bool,
    skipped: usize,
    rotated: bool,
) -> Vec<f64> {
    let mut probabilities = Vec::new();
    let mut ring: VecDeque<BlockId> = VecDeque::new();
    let mut free: Vec<BlockId> = (0..WINDOW_PAGES as u32).map(|i| BlockId((i * 5 + 2) % 8)).collect();
    let mut gone = 0;
    for (page, chunk) in ids.chunks_exact(BLOCK).enumerate() {
        let mut page_ops = Vec::new();
        let (mut table, mut position) = (vec![ORIGINAL], 0);
        if page > 0 {
            position = page * BLOCK + skipped;
            if ring.len() + 1 == WINDOW_PAGES {
                free.extend(ring.pop_front());
                gone += 1;
            }
            let positions = if rotated { (gone * BLOCK + skipped) as u32 } else { 0 };
            // Always of the original, so that errors do not add up.
            page_ops.push(PageOp::Shift { from: ORIGINAL, to: COPY, positions });
            ring.push_back(free.pop().expect("a page of the window is free"));
            table = vec![COPY];
            table.extend(&ring);
        }
        let before = (table.len() - 1) * BLOCK;
        let logits = page_logits(executor, page as u64 + 1, &table, before, position, chunk, page_ops);
        if measured(page) {
            push_probabilities(&logits, page * BLOCK, ids, &mut probabilities);
        }
    }
    probabilities
}

/// The same with a fresh context for each page: the pinned page and the last ones of the window, computed again.
fn refill(executor: &mut GpuExecutor, ids: &[u32], measured: impl Fn(usize) -> bool) -> Vec<f64> {
    let mut probabilities = Vec::new();
    let table: Vec<_> = (0..WINDOW_PAGES as u32).map(BlockId).collect();
    for (page, chunk) in ids.chunks_exact(BLOCK).enumerate().filter(|(page, _)| measured(*page)) {
        let kept = page + 2 - WINDOW_PAGES;
        let mut context = ids[..BLOCK].to_vec();
        context.extend(&ids[kept * BLOCK..page * BLOCK]);
        let mut plan = StepPlan { step: 1, ..StepPlan::default() };
        plan.rows.extend((0..).zip(&context).map(|(place, id)| Row {
            token: TokenSource::Known(TokenId(*id)),
            position: place,
            slot: Slot(place),
            sequence: 0,
        }));
        plan.sequences.push(SequenceRows {
            first_row: 0,
            num_rows: context.len() as u32,
            context_len_tokens: context.len() as u32,
            blocks: table[..context.len() / BLOCK].to_vec(),
        });
        pollster::block_on(executor.submit(&plan).expect("the plan fits")).expect("the step runs");
        let logits = page_logits(executor, 2, &table, context.len(), context.len(), chunk, Vec::new());
        push_probabilities(&logits, page * BLOCK, ids, &mut probabilities);
    }
    probabilities
}

fn smollm2_executor(kv_type: KvType) -> GpuExecutor {
    let options = ExecutorOptions {
        kv_type,
        kv_tokens: 512,
        max_kv_tokens: 512,
        max_rows: 128,
        max_sequences: 16,
        max_samples: 16,
        num_sampler_slots: 16,
    };
    load_gguf(&gpu(), &smollm2(), &options)
}

#[test]
fn a_sliding_window_predicts_a_text_as_well_as_contexts_computed_afresh() {
    let (ids, _) = perplexity_golden();
    let mut executor = smollm2_executor(KvType::F16);
    // Every third page after the first slide.
    let measured = |page| page >= WINDOW_PAGES && page % 3 == 0;
    let fresh = perplexity(&refill(&mut executor, &ids, measured));
    let near = stream(&mut executor, &ids, measured, 0, true);
    let sliding = perplexity(&near);
    // The rest of the text tells no more about distances.
    let start = &ids[..10 * BLOCK];
    let long_run = stream(&mut executor, start, measured, 32_000, true);
    let near_start = perplexity(&near[..long_run.len()]);
    let long_run = perplexity(&long_run);
    let left_behind = perplexity(&stream(&mut executor, start, measured, 32_000, false));
    println!(
        "perplexity: sliding {sliding:.3}, computed afresh {fresh:.3}; at the start {near_start:.3}, after 32,000 more tokens \
         {long_run:.3}, with the pinned page left behind {left_behind:.3}"
    );
    // Not worse by 5 %. It is better by 4 to 6 %, depending on the pages measured: the window's keys were computed when they
    // still saw the pages that have left since. Much better would mean that those are still seen.
    assert!((0.9..1.05).contains(&(sliding / fresh)), "{sliding}, computed afresh {fresh}");
    assert!((long_run / near_start - 1.0).abs() < 0.005, "{long_run}, {near_start} without the long run");
    assert!(left_behind > 2.0 * near_start, "the distance must matter: {left_behind}, {near_start}");
}

#[test]
fn eight_bits_of_keys_and_values_cost_under_one_percent_of_perplexity() {
    let (ids, expected) = perplexity_golden();
    // As much of the text as tells.
    let (ids, expected) = (&ids[..257], &expected[..256]);
    let tokens: Vec<_> = ids.iter().map(|id| TokenId(*id)).collect();
    let executor = smollm2_executor(KvType::Q8);
    let mut forward = Forward::new(executor, 49_152);
    let mut probabilities = Vec::new();
    let run = forward.each_logits(&tokens[..tokens.len() - 1], |position, logits| {
        probabilities.push(log_probability(logits, ids[position + 1]));
    });
    pollster::block_on(run).expect("the steps run");
    let (got, want) = (perplexity(&probabilities), perplexity(expected));
    println!("perplexity with 8 bits {got:.3}, expected {want:.3}");
    assert!((got / want - 1.0).abs() < 0.01, "{got}, expected {want}");
}

/// Logits after a prompt whose first page is computed at 0 and moved, and whose rest is computed at positions later by `later`.
fn moved_logits(kv_type: KvType, prompt: &[u32], shift: u32, later: u32) -> Vec<f32> {
    let mut executor = load_gguf(&gpu(), &fixture("tiny/gguf-llama/model.gguf"), &options(kv_type));
    let table = [COPY, BlockId(3), BlockId(4)];
    let (pinned, rest) = prompt.split_at(BLOCK);
    let sequence = |ids: &[u32], table: &[BlockId], before: usize, position: u32| {
        let mut plan = StepPlan { step: 1, ..StepPlan::default() };
        plan.rows.extend(ids.iter().enumerate().map(|(offset, id)| {
            let place = before + offset;
            let slot = Slot(table[place / BLOCK].0 * BLOCK as u32 + (place % BLOCK) as u32);
            let token = TokenSource::Known(TokenId(*id));
            Row { token, position: position + offset as u32, slot, sequence: 0 }
        }));
        plan.sequences.push(SequenceRows {
            first_row: 0,
            num_rows: ids.len() as u32,
            context_len_tokens: (before + ids.len()) as u32,
            blocks: table[..(before + ids.len()).div_ceil(BLOCK)].to_vec(),
        });
        plan
    };
    let plan = sequence(pinned, &[ORIGINAL], 0, 0);
    pollster::block_on(executor.submit(&plan).expect("the plan fits")).expect("the step runs");
    let mut plan = sequence(rest, &table, BLOCK, BLOCK as u32 + later);
    plan.page_ops = vec![PageOp::Shift { from: ORIGINAL, to: COPY, positions: shift }];
    let row = rest.len() as u32 - 1;
    plan.samples.push(SampleRow {
        row,
        slot: SamplerSlot(0),
        settings: SamplingSettings::greedy(),
        draw: 0.0,
    });
    pollster::block_on(executor.logits(&plan)).expect("the step runs")
}

#[test]
fn a_context_that_is_moved_as_a_whole_gives_the_same_logits() {
    let prompt: Vec<u32> = (0..45).map(|i| (i * 29 + 7) % 300).collect();
    for kv_type in KV_TYPES {
        let atol = match kv_type {
            KvType::F32 => 2e-4,
            KvType::F16 => 2e-2,
            KvType::Q8 => 0.3,
        };
        let expected = moved_logits(kv_type, &prompt, 0, 0);
        for shift in [1, 16, 16 * 60] {
            let moved = moved_logits(kv_type, &prompt, shift, shift);
            assert_close(&format!("{kv_type:?}, moved by {shift}"), &moved, &expected, atol, 1e-3);
        }
        // A page that stays behind is seen from further away.
        let behind = moved_logits(kv_type, &prompt, 0, 16 * 60);
        assert!(worst(&behind, &expected, 1.0, 0.0).0 > 0.0, "{kv_type:?}: the distance must matter");
    }
}
