//! The kernels that write pages as wholes or in groups, against CPU references over seeded random shapes: pages shifted, keys and
//! values quantised.

mod support;

use hearth_engine::ids::{BlockId, Slot, TokenId};
use hearth_engine::plan::{PageOp, Row, SequenceRows, StepPlan, TokenSource};
use hearth_gpu::kv::{GROUP_LEN, PageShape};
use hearth_gpu::ops::{quantize, shift};
use hearth_gpu::{Gpu, KvType};
use support::cache::*;
use support::kernels::*;
use support::*;

/// Sizes of a head, with rotated elements of it: whole groups, short groups, none rotated, all, some.
const HEADS: [(u32, u32); 8] =
    [(4, 4), (12, 8), (20, 0), (32, 32), (64, 64), (80, 22), (100, 100), (128, 50)];

fn op(from: u32, to: u32, positions: u32) -> PageOp {
    PageOp::Shift { from: BlockId(from), to: BlockId(to), positions }
}

fn frequencies(rotary_dim: u32) -> Vec<f32> {
    // What is past the rotated pairs must not be used.
    let mut frequencies = vec![0.3; 256];
    for (i, frequency) in frequencies.iter_mut().enumerate().take(rotary_dim as usize / 2) {
        *frequency = 10_000f32.powf(-2.0 * i as f32 / rotary_dim as f32);
    }
    frequencies
}

/// Runs operations on a cache.
fn run_ops(gpu: &Gpu, cache: &Cache, rotary_dim: u32, page_ops: Vec<PageOp>) -> Cache {
    let plan = StepPlan { page_ops, ..StepPlan::default() };
    let (step, size) = step_words(&plan, 4, false);
    let buffers = vec![step, cache.words.clone(), words(&frequencies(rotary_dim))];
    let grid = [shift::grid_x(&cache.page), size.num_page_chains];
    let mut buffers = run(gpu, &shift::kernel(&cache.page, rotary_dim), &buffers, grid);
    Cache { page: cache.page, words: buffers.swap_remove(1) }
}

/// A key as it would be so many positions later. The angle is rounded to f32 as on the GPU, the rest is exact.
fn rotated(mut key: Vec<f64>, rotary_dim: u32, positions: u32) -> Vec<f64> {
    let frequencies = frequencies(rotary_dim);
    for (pair, frequency) in key[..rotary_dim as usize].chunks_exact_mut(2).zip(frequencies) {
        let (sine, cosine) = f64::from(positions as f32 * frequency).sin_cos();
        let [x, y] = [pair[0], pair[1]];
        pair.copy_from_slice(&[x * cosine - y * sine, x * sine + y * cosine]);
    }
    key
}

/// Fails unless `to` holds what `from` held, its keys later by `positions`.
fn check_shifted(name: &str, before: &Cache, after: &Cache, rotary_dim: u32, shift: (u32, u32, u32)) {
    let (from, to, positions) = shift;
    for place in before.places(BlockId(to)) {
        let source = Place { block: BlockId(from), ..place };
        if place.is_value || rotary_dim == 0 {
            assert_eq!(after.head_words(place), before.head_words(source), "{name}: {place:?}");
            continue;
        }
        let want = rotated(before.head(source), rotary_dim, positions);
        let got = after.head(place);
        for (got, want) in got.chunks(GROUP_LEN as usize).zip(want.chunks(GROUP_LEN as usize)) {
            let largest = want.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
            let tolerance = 2e-6 * largest + rounding(before.page.kv_type, largest);
            for (got, want) in got.iter().zip(want) {
                assert!(
                    (got - want).abs() <= tolerance,
                    "{name}: {place:?} has {got}, not {want} +- {tolerance}"
                );
            }
        }
    }
}

#[test]
fn a_shifted_page_equals_the_reference_in_every_type_and_shape() {
    let gpu = gpu();
    let mut random = Random(61);
    for kv_type in KV_TYPES {
        for (head_dim, rotary_dim) in HEADS {
            let num_kv_heads = 1 + random.below(3);
            let page = PageShape { kv_type, num_kv_heads, head_dim };
            let cache = Cache::new(&mut random, page, 5);
            let positions = 1 + random.below(3000);
            let after = run_ops(&gpu, &cache, rotary_dim, vec![op(1, 3, positions), op(1, 0, 16)]);
            let name = format!("{page:?}, {rotary_dim} rotated, {positions} positions");
            check_shifted(&name, &cache, &after, rotary_dim, (1, 3, positions));
            check_shifted(&name, &cache, &after, rotary_dim, (1, 0, 16));
            for untouched in [1, 2, 4].map(BlockId) {
                assert_eq!(after.page_words(untouched), cache.page_words(untouched), "{name}: {untouched:?}");
            }
        }
    }
}

#[test]
fn a_shift_by_nothing_is_a_copy_to_the_bit() {
    let gpu = gpu();
    let mut random = Random(71);
    for kv_type in KV_TYPES {
        for (head_dim, rotary_dim) in HEADS {
            let mut cache = Cache::new(&mut random, PageShape { kv_type, num_kv_heads: 2, head_dim }, 3);
            // Numbers that no arithmetic leaves as they are, and codes that no quantiser writes.
            for (word, odd) in cache
                .words
                .iter_mut()
                .step_by(5)
                .zip([0x7fc0_0001, 0x8080_8080, 0xffff_ffff, 1].iter().cycle())
            {
                *word = *odd;
            }
            let after = run_ops(&gpu, &cache, rotary_dim, vec![op(2, 0, 0)]);
            assert_eq!(after.page_words(BlockId(0)), cache.page_words(BlockId(2)), "{:?}", cache.page);
        }
    }
}

#[test]
fn operations_of_one_step_see_what_earlier_ones_wrote() {
    let gpu = gpu();
    let mut random = Random(81);
    let page = PageShape { kv_type: KvType::F32, num_kv_heads: 2, head_dim: 20 };
    let cache = Cache::new(&mut random, page, 6);
    // 1 goes to 2 and on to 3, then 2 is overwritten by 5; 4 goes to 0 beside that.
    let ops = vec![op(1, 2, 0), op(4, 0, 0), op(2, 3, 0), op(5, 2, 0)];
    let after = run_ops(&gpu, &cache, 8, ops);
    for (page, original) in [(0, 4), (1, 1), (2, 5), (3, 1), (4, 4), (5, 5)] {
        assert_eq!(after.page_words(BlockId(page)), cache.page_words(BlockId(original)), "page {page}");
    }
}

#[test]
fn quantised_rows_are_in_their_slots_within_half_a_step() {
    let gpu = gpu();
    let mut random = Random(91);
    for (head_dim, _) in HEADS {
        let num_kv_heads = 1 + random.below(3);
        let page = PageShape { kv_type: KvType::Q8, num_kv_heads, head_dim };
        let slots = [5, 6, 47, 16, 0];
        let row = |slot| Row {
            token: TokenSource::Known(TokenId(0)),
            position: 900,
            slot: Slot(slot),
            sequence: 0,
        };
        let plan = StepPlan {
            rows: slots.map(row).to_vec(),
            sequences: vec![SequenceRows {
                first_row: 0,
                num_rows: 5,
                context_len_tokens: 5,
                blocks: vec![BlockId(0)],
            }],
            ..StepPlan::default()
        };
        let mut staged: Vec<f32> = (0..5 * 2 * num_kv_heads * head_dim).map(|_| random.normal()).collect();
        // A head of zeros has a scale of zero.
        staged[..head_dim as usize].fill(0.0);
        let (step, size) = step_words(&plan, 4, false);
        let buffers = vec![step, words(&staged), Cache::zeroed(page, 3).words];
        let grid = [quantize::grid_x(&page), size.num_rows];
        let mut buffers = run(&gpu, &quantize::kernel(&page), &buffers, grid);
        let cache = Cache { page, words: buffers.swap_remove(2) };
        let mut heads = staged.chunks(head_dim as usize);
        for slot in slots {
            for is_value in [false, true] {
                for head in 0..num_kv_heads {
                    let place = Place { block: BlockId(slot / 16), is_value, head, slot: slot % 16 };
                    let want = heads.next().expect("a head for each place");
                    let got = cache.head(place);
                    let groups = got.chunks(GROUP_LEN as usize).zip(want.chunks(GROUP_LEN as usize));
                    for (got, want) in groups {
                        let largest = want.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                        let tolerance = rounding(KvType::Q8, f64::from(largest));
                        for (got, want) in got.iter().zip(want) {
                            let error = (got - f64::from(*want)).abs();
                            assert!(
                                error <= tolerance,
                                "{page:?}, {place:?}: {got}, not {want} +- {tolerance}"
                            );
                        }
                    }
                }
            }
        }
        let untouched = Place { block: BlockId(0), is_value: true, head: 0, slot: 7 };
        assert!(cache.head_words(untouched).iter().all(|word| *word == 0), "{page:?}");
    }
}
