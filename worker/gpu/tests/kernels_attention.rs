//! Attention kernels against a CPU reference in f64 over seeded random shapes, pages and context lengths.
//!
//! Tolerance: 2e-5 absolute on values of about 1, for f32 accumulation and the GPU's exp. Keys and values are random numbers of
//! the cache's type that the reference reads exactly. Positions are far from the place in the cache: they must not matter.

mod support;

use hearth_engine::ids::{BlockId, Slot, TokenId};
use hearth_engine::plan::{Row, SequenceRows, StepPlan, TokenSource};
use hearth_gpu::kv::PageShape;
use hearth_gpu::ops::attention::{self, AttentionShape};
use hearth_gpu::{Gpu, KvType, select};
use support::cache::{BLOCK, Cache, KV_TYPES, Place};
use support::kernels::*;
use support::*;

/// What one query gets.
fn reference(cache: &Cache, blocks: &[BlockId], head: u32, q: &[f32], num_keys: u32) -> Vec<f32> {
    let vectors = |is_value| {
        (0..num_keys).map(move |key| {
            let block = blocks[(key / BLOCK) as usize];
            cache.head(Place { block, is_value, head, slot: key % BLOCK })
        })
    };
    let scale = f64::from(cache.page.head_dim).sqrt().recip();
    let dot = |key: Vec<f64>| key.iter().zip(q).map(|(k, q)| k * f64::from(*q)).sum::<f64>() * scale;
    let scores: Vec<f64> = vectors(false).map(dot).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut sum = vec![0.0; cache.page.head_dim as usize];
    for (value, weight) in vectors(true).zip(weights) {
        for (sum, value) in sum.iter_mut().zip(value) {
            *sum += weight * value;
        }
    }
    sum.into_iter().map(|sum| (sum / total) as f32).collect()
}

/// Sequences of (rows, tokens in the cache before them) with pages in no order.
fn check(
    gpu: &Gpu,
    random: &mut Random,
    heads: [u32; 2],
    head_dim: u32,
    kv_type: KvType,
    sequences: &[(u32, u32)],
) {
    let [num_heads, num_kv_heads] = heads;
    let q_stride = num_heads * head_dim;
    let shape = AttentionShape {
        num_heads,
        num_kv_heads,
        head_dim,
        q_stride,
        out_stride: q_stride.next_multiple_of(32),
        kv_type,
        tuning: select::attention_tuning(gpu.capabilities()),
    };
    let num_blocks: u32 = sequences.iter().map(|(rows, before)| (rows + before).div_ceil(BLOCK)).sum();
    let mut free: Vec<_> = (0..num_blocks).map(BlockId).collect();
    let mut plan = StepPlan::default();
    for (index, &(num_rows, before)) in sequences.iter().enumerate() {
        let context_len_tokens = before + num_rows;
        let blocks = (0..context_len_tokens.div_ceil(BLOCK))
            .map(|_| free.swap_remove(random.below(free.len() as u32) as usize))
            .collect();
        let first_row = plan.rows.len() as u32;
        plan.rows.extend((before..context_len_tokens).map(|_| Row {
            token: TokenSource::Known(TokenId(0)),
            position: 3 + random.below(4000),
            slot: Slot(0),
            sequence: index as u32,
        }));
        plan.sequences.push(SequenceRows { first_row, num_rows, context_len_tokens, blocks });
    }
    let cache = Cache::new(random, PageShape { kv_type, num_kv_heads, head_dim }, num_blocks);
    let num_rows = plan.rows.len() as u32;
    let q: Vec<f32> = (0..num_rows * q_stride).map(|_| random.normal()).collect();
    let (step, size) = step_words(&plan, shape.tile_rows(), false);
    let out = vec![0; (num_rows * shape.out_stride) as usize];
    let mut buffers = vec![step, words(&q), cache.words.clone(), out];
    if size.num_single_rows > 0 {
        let grid = [shape.decode_grid_x(), size.num_single_rows];
        buffers = run(gpu, &attention::decode_kernel(&shape), &buffers, grid);
    }
    if size.num_tiles > 0 {
        let grid = [shape.prefill_grid_x(), size.num_tiles];
        buffers = run(gpu, &attention::prefill_kernel(&shape), &buffers, grid);
    }
    let out = floats(&buffers[3]);
    for (index, row) in plan.rows.iter().enumerate() {
        let sequence = &plan.sequences[row.sequence as usize];
        let num_keys =
            sequence.context_len_tokens - sequence.num_rows + (index as u32 - sequence.first_row) + 1;
        for head in 0..num_heads {
            let q = &q[index * q_stride as usize + (head * head_dim) as usize..][..head_dim as usize];
            let want = reference(&cache, &sequence.blocks, head / (num_heads / num_kv_heads), q, num_keys);
            let start = index * shape.out_stride as usize + (head * head_dim) as usize;
            let got = &out[start..start + head_dim as usize];
            let name = format!(
                "{heads:?} heads of {head_dim}, {kv_type:?}, row {index} of {sequences:?}, head {head}"
            );
            assert_close(&name, got, &want, 2e-5, 0.0);
        }
    }
}

#[test]
fn single_rows_equal_the_reference_at_every_length_of_context() {
    for (index, (_, mask)) in masks().into_iter().enumerate() {
        let gpu = masked_gpu(mask);
        let mut random = Random(31 + index as u64);
        for (kv_type, before) in KV_TYPES
            .into_iter()
            .cycle()
            .zip([0, 1, 14, 15, 16, 62, 63, 64, 127, 128, 300, 510, 511, 512, 1100])
        {
            check(&gpu, &mut random, [3, 1], 16, kv_type, &[(1, before), (2, before / 2)]);
        }
    }
}

#[test]
fn tiles_equal_the_reference_at_every_length_of_context() {
    for (index, (_, mask)) in masks().into_iter().enumerate() {
        let gpu = masked_gpu(mask);
        let mut random = Random(41 + index as u64);
        for (kv_type, (rows, before)) in KV_TYPES.into_iter().cycle().zip([
            (3, 0),
            (9, 1),
            (10, 7),
            (11, 16),
            (32, 33),
            (33, 0),
            (70, 200),
            (31, 250),
            (40, 520),
        ]) {
            check(&gpu, &mut random, [3, 1], 16, kv_type, &[(rows, before)]);
        }
    }
}

#[test]
fn every_size_of_head_and_group_equals_the_reference() {
    for (index, (_, mask)) in masks().into_iter().enumerate() {
        let gpu = masked_gpu(mask);
        let mut random = Random(51 + index as u64);
        for (heads, head_dim) in [
            ([1, 1], 4),
            ([5, 1], 12),
            ([4, 2], 20),
            ([9, 3], 64),
            ([14, 2], 64),
            ([2, 2], 80),
            ([6, 2], 96),
            ([8, 1], 128),
            ([4, 1], 256),
        ] {
            let kv_type = KV_TYPES[random.below(3) as usize];
            let lengths = [(1, random.below(80)), (5 + random.below(12), random.below(70)), (2, 0)];
            check(&gpu, &mut random, heads, head_dim, kv_type, &lengths);
        }
    }
}

#[test]
fn values_of_other_sequences_cannot_reach_a_result() {
    // Slots after the last key hold what an earlier owner of the page left: here not-a-number.
    let gpu = gpu();
    for tuned in masks().map(|(_, mask)| masked_gpu(mask)) {
        let shape = AttentionShape {
            num_heads: 2,
            num_kv_heads: 1,
            head_dim: 16,
            q_stride: 32,
            out_stride: 32,
            kv_type: KvType::F32,
            tuning: select::attention_tuning(tuned.capabilities()),
        };
        for num_rows in [1u32, 5] {
            let mut plan = StepPlan::default();
            plan.rows.extend((0..num_rows).map(|position| Row {
                token: TokenSource::Known(TokenId(0)),
                position,
                slot: Slot(0),
                sequence: 0,
            }));
            let blocks = vec![BlockId(0)];
            plan.sequences.push(SequenceRows {
                first_row: 0,
                num_rows,
                context_len_tokens: num_rows,
                blocks,
            });
            let mut cache = vec![f32::NAN.to_bits(); (2 * BLOCK * 16) as usize];
            for vector in 0..num_rows as usize {
                for start in [0, (BLOCK * 16) as usize] {
                    cache[start + vector * 16..start + (vector + 1) * 16].fill(1f32.to_bits());
                }
            }
            let (step, size) = step_words(&plan, shape.tile_rows(), false);
            let buffers =
                vec![step, words(&vec![1.0; 32 * num_rows as usize]), cache, vec![0; 32 * num_rows as usize]];
            let out = if size.num_single_rows > 0 {
                run(
                    &gpu,
                    &attention::decode_kernel(&shape),
                    &buffers,
                    [shape.decode_grid_x(), size.num_single_rows],
                )
            } else {
                run(
                    &gpu,
                    &attention::prefill_kernel(&shape),
                    &buffers,
                    [shape.prefill_grid_x(), size.num_tiles],
                )
            };
            assert_close("all ones", &floats(&out[3]), &vec![1.0; 32 * num_rows as usize], 1e-6, 0.0);
        }
    }
}
