//! The pool of pages: it grows and shrinks under running sequences, and pages leave the device and come back.

mod support;

use hearth_engine::ids::BlockId;
use hearth_engine::ports::{Executor, ExecutorError};
use hearth_gpu::{CapabilityMask, ExecutorOptions, GpuExecutor, KvType};
use support::cache::KV_TYPES;
use support::*;

const MODEL: &str = "tiny/gguf-llama/model.gguf";
/// More than two pages.
const PROMPT: [u32; 41] = {
    let mut prompt = [0; 41];
    let mut i = 0;
    while i < prompt.len() {
        prompt[i] = (i as u32 * 37 + 11) % 300;
        i += 1;
    }
    prompt
};

fn load(kv_type: KvType) -> GpuExecutor {
    load_gguf(&gpu(), &fixture(MODEL), &options(kv_type))
}

fn resize(executor: &mut GpuExecutor, num_blocks: u32) -> u32 {
    pollster::block_on(executor.resize(num_blocks)).expect("the device is there")
}

fn read(executor: &mut GpuExecutor, blocks: &[BlockId]) -> Vec<Vec<u8>> {
    pollster::block_on(executor.read_blocks(blocks)).expect("the pages are there")
}

/// Logits after these tokens.
fn run(
    executor: &mut GpuExecutor,
    planner: &mut Planner,
    sequence: &mut TestSequence,
    ids: &[u32],
) -> Vec<f32> {
    let plan = planner.plan(&mut [(sequence, known(ids), greedy())]);
    pollster::block_on(executor.logits(&plan)).expect("the step runs")
}

/// Logits after the prompt and after each of twenty more tokens, with `between` after the prompt.
fn logits(
    executor: &mut GpuExecutor,
    planner: &mut Planner,
    between: impl FnOnce(&mut GpuExecutor, &mut Planner),
) -> Vec<f32> {
    let mut sequence = planner.sequence(0);
    let mut logits = run(executor, planner, &mut sequence, &PROMPT);
    between(executor, planner);
    for token in 60..80 {
        logits.extend(run(executor, planner, &mut sequence, &[token]));
    }
    logits
}

#[test]
fn a_pool_that_grows_under_a_sequence_changes_nothing_for_it() {
    for kv_type in KV_TYPES {
        let mut executor = load(kv_type);
        let mut planner = Planner::with_blocks(0..8);
        let expected = logits(&mut executor, &mut planner, |_, _| {});
        let before = executor.memory().kv_bytes;
        let mut planner = Planner::with_blocks(0..8);
        let grown = logits(&mut executor, &mut planner, |executor, planner| {
            assert_eq!(resize(executor, 100), 100);
            // The sequence goes on in new pages.
            planner.add_blocks(64..100);
        });
        assert!(grown == expected, "{kv_type:?}");
        assert_eq!(executor.memory().kv_bytes, before / 64 * 100, "{kv_type:?}");
    }
}

#[test]
fn a_pool_that_shrinks_under_a_sequence_changes_nothing_for_it() {
    for kv_type in KV_TYPES {
        let mut executor = load(kv_type);
        let mut planner = Planner::with_blocks(0..8);
        let expected = logits(&mut executor, &mut planner, |_, _| {});
        let before = executor.memory().kv_bytes;
        let mut planner = Planner::with_blocks(0..8);
        let shrunk = logits(&mut executor, &mut planner, |executor, _| {
            assert_eq!(resize(executor, 8), 8);
        });
        assert!(shrunk == expected, "{kv_type:?}");
        assert_eq!(executor.memory().kv_bytes, before / 8, "{kv_type:?}");
        // And back.
        assert_eq!(resize(&mut executor, 64), 64);
        let mut planner = Planner::with_blocks(40..64);
        assert!(logits(&mut executor, &mut planner, |_, _| {}) == expected, "{kv_type:?}");
    }
}

#[test]
fn plans_are_checked_against_the_pages_that_there_are_now() {
    let mut executor = load(KvType::F16);
    let plan_in = |block: u32| {
        let mut planner = Planner::with_blocks(block..block + 1);
        let mut sequence = planner.sequence(0);
        planner.plan(&mut [(&mut sequence, known(&[1]), greedy())])
    };
    let refused = |limit, got| Some(ExecutorError::PlanTooLarge { what: "pages", got, limit });
    assert_eq!(executor.submit(&plan_in(64)).err(), refused(64, 65));
    resize(&mut executor, 65);
    assert!(executor.submit(&plan_in(64)).is_ok());
    resize(&mut executor, 10);
    assert_eq!(executor.submit(&plan_in(10)).err(), refused(10, 11));
    assert!(executor.submit(&plan_in(9)).is_ok());
    assert_eq!(executor.limits().num_blocks, 64, "limits are what the executor was built for");
}

#[test]
fn a_pool_grows_no_further_than_its_limit() {
    let mut executor = load(KvType::F32);
    assert_eq!((executor.limits().num_blocks, executor.limits().max_blocks), (64, 128));
    assert_eq!(resize(&mut executor, u32::MAX), 128);
    assert_eq!(resize(&mut executor, 0), 1, "an arena is never empty");
    // What a binding holds is a limit too.
    let page_bytes = executor.block_bytes() / 2;
    let mask = CapabilityMask { max_binding_bytes: Some(page_bytes * 70 + 100), ..CapabilityMask::default() };
    let small = ExecutorOptions { max_rows: 16, ..options(KvType::F32) };
    let mut executor = load_gguf(&masked_gpu(mask), &fixture(MODEL), &small);
    assert_eq!(executor.limits().max_blocks, 70);
    assert_eq!(resize(&mut executor, 128), 70);
    let fixed = ExecutorOptions { max_kv_tokens: 0, ..options(KvType::F32) };
    assert_eq!(load_gguf(&gpu(), &fixture(MODEL), &fixed).limits().max_blocks, 64);
}

#[test]
fn pages_that_left_the_device_go_on_in_others_as_if_they_had_stayed() {
    for kv_type in KV_TYPES {
        let mut executor = load(kv_type);
        let mut planner = Planner::with_blocks(0..8);
        let mut sequence = planner.sequence(0);
        run(&mut executor, &mut planner, &mut sequence, &PROMPT);
        let pages = read(&mut executor, &sequence.blocks);
        assert_eq!(pages.len(), 3);
        assert!(pages.iter().all(|page| page.len() as u64 == executor.block_bytes()));
        let expected = run(&mut executor, &mut planner, &mut sequence, &[7]);

        let mut other = load(kv_type);
        let mut planner = Planner::with_blocks(20..40);
        let mut restored = planner.sequence(0);
        for page in &pages {
            let block = planner.take_block();
            other.write_block(block, page).expect("the page fits");
            restored.blocks.push(block);
        }
        restored.num_computed = PROMPT.len() as u32;
        assert_eq!(read(&mut other, &restored.blocks), pages, "{kv_type:?}");
        assert!(run(&mut other, &mut planner, &mut restored, &[7]) == expected, "{kv_type:?}");
    }
}

#[test]
fn more_pages_than_one_readback_holds_come_back_each_in_its_place() {
    let options = ExecutorOptions { kv_tokens: 16 * 2500, ..options(KvType::F32) };
    let mut executor = load_gguf(&gpu(), &fixture(MODEL), &options);
    let block_bytes = executor.block_bytes() as usize;
    assert!(2500 * block_bytes > 16 << 20, "{block_bytes} bytes a page");
    let page_of = |block: u32| -> Vec<u8> {
        (0..block_bytes)
            .map(|byte| (block.wrapping_mul(2_654_435_761) >> (byte % 25)) as u8 ^ byte as u8)
            .collect()
    };
    for block in 0..2500 {
        executor.write_block(BlockId(block), &page_of(block)).expect("the page fits");
    }
    let blocks: Vec<_> = (0..2500).rev().map(BlockId).collect();
    for (page, block) in read(&mut executor, &blocks).iter().zip(&blocks) {
        assert!(*page == page_of(block.0), "{block:?}");
    }
    assert_eq!(read(&mut executor, &[]), Vec::<Vec<u8>>::new());
}

#[test]
fn wrong_pages_are_refused() {
    let mut executor = load(KvType::Q8);
    let expected_bytes = executor.block_bytes();
    for len in [0, expected_bytes - 1, expected_bytes + 1] {
        let refused = executor.write_block(BlockId(0), &vec![1; len as usize]);
        assert_eq!(refused, Err(ExecutorError::WrongPageSize { expected_bytes, got_bytes: len }));
    }
    assert_eq!(read(&mut executor, &[BlockId(0)]), [vec![0; expected_bytes as usize]]);
    let missing = ExecutorError::PlanTooLarge { what: "pages", got: 65, limit: 64 };
    let page = vec![0; expected_bytes as usize];
    assert_eq!(executor.write_block(BlockId(64), &page), Err(missing.clone()));
    assert_eq!(pollster::block_on(executor.read_blocks(&[BlockId(64)])), Err(missing));
}

#[test]
fn a_lost_device_is_an_error_for_pages_too() {
    let gpu = gpu();
    let mut executor = load_gguf(&gpu, &fixture(MODEL), &options(KvType::F16));
    let page = vec![0; executor.block_bytes() as usize];
    gpu.destroy();
    let lost = |error| matches!(error, Some(ExecutorError::DeviceLost { .. }));
    assert!(lost(pollster::block_on(executor.resize(100)).err()));
    assert!(lost(pollster::block_on(executor.read_blocks(&[BlockId(0)])).err()));
    assert!(lost(executor.write_block(BlockId(0), &page).err()));
}
