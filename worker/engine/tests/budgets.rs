//! Budgets, a pool that grows, and what happens when it cannot: nobody waits for ever, and nobody loses pages without need.

mod common;

use common::{Harness, request, roomy_limits};
use futures::FutureExt;
use hearth_engine::engine::{EngineConfig, EngineError, FinishReason, OwnerEvent};
use hearth_engine::ids::OwnerId;
use hearth_engine::plan::StepLimits;
use hearth_engine::ports::Executor;

/// A pool of `num_blocks` pages that grows by four to `max_blocks`.
fn growing(num_blocks: u32, max_blocks: u32) -> Harness {
    let limits = StepLimits { num_blocks, max_blocks, ..roomy_limits() };
    Harness::with_config(EngineConfig { slab_blocks: 4, ..EngineConfig::new(limits, 400) })
}

/// One turn of the loop, as the driver does it: the pool changes while no step is in flight. `most`: the device has no room
/// for more pages.
fn turn(harness: &mut Harness, most: u32) -> bool {
    while harness.in_flight.len() < 2 {
        if let Some(asked) = harness.engine.wanted_blocks() {
            if !harness.in_flight.is_empty() {
                break;
            }
            let got = asked.min(most);
            harness.executor.resize(got).now_or_never().expect("a fake does not wait").expect("nor fail");
            harness.engine.set_num_blocks(got, asked, harness.now_ms);
            harness.settle();
            continue;
        }
        if !harness.plan() {
            break;
        }
    }
    assert_eq!(harness.engine.audit(), Vec::<String>::new());
    assert_eq!(harness.executor.faults(), Vec::<String>::new());
    harness.commit()
}

fn run(harness: &mut Harness, most: u32) {
    for _ in 0..10_000 {
        if !turn(harness, most) {
            return;
        }
    }
    panic!("the engine never comes to rest");
}

/// A prompt that shares nothing with those of other salts.
fn prompt(salt: u32, num_tokens: u32) -> impl Iterator<Item = u32> {
    (0..num_tokens).map(move |index| if index == 0 { salt } else { (index * 7 + salt) % 40 })
}

#[test]
fn what_can_never_fit_ends_when_the_pool_cannot_grow_after_all() {
    let mut harness = growing(8, 32);
    let long = harness.add(request(1, prompt(1, 60), 4));
    let behind = harness.add(request(2, prompt(2, 8), 4));
    run(&mut harness, 8);
    let reason = harness.outcome(long).reason();
    assert!(
        matches!(
            reason,
            Some(FinishReason::Failed(EngineError::PromptExceedsCache {
                prompt_tokens: 60,
                needed_pages: 15,
                available_pages: 8
            }))
        ),
        "{reason:?}"
    );
    assert_eq!(harness.outcome(behind).reason(), Some(FinishReason::Length));
    assert!(harness.engine.add(request(1, prompt(1, 60), 4), 0.0).is_err(), "the next is refused at once");
}

#[test]
fn a_reply_that_outgrows_a_pool_that_cannot_grow_ends_with_length() {
    let mut harness = growing(8, 32);
    let long = harness.add(request(1, prompt(1, 20), 80));
    run(&mut harness, 8);
    assert_eq!(harness.outcome(long).reason(), Some(FinishReason::Length));
    assert_eq!(
        harness.outcome(long).stats().completion_tokens,
        13,
        "as if the cache had been that small at once"
    );
}

#[test]
fn while_the_pool_can_grow_nobody_gives_way_and_nothing_cached_goes() {
    let mut harness = growing(12, 128);
    let warm = harness.add(request(3, prompt(3, 16), 1));
    run(&mut harness, 128);
    assert_eq!(harness.outcome(warm).reason(), Some(FinishReason::Length));
    let cached = prompt(3, 16).map(hearth_engine::ids::TokenId).collect::<Vec<_>>();
    assert_eq!(harness.engine.cached_tokens(&cached), 16);
    let mut ids: Vec<_> = (0..4).map(|index| harness.add(request(1, prompt(10 + index, 20), 30))).collect();
    for _ in 0..4 {
        turn(&mut harness, 128);
    }
    // Both at once: the room for the first is not made for the second.
    ids.push(harness.add(request(2, prompt(20, 40), 30)));
    ids.push(harness.add(request(4, prompt(30, 40), 30)));
    run(&mut harness, 128);
    for id in ids {
        assert_eq!(harness.outcome(id).stats().preemptions, 0);
    }
    assert_eq!(harness.engine.cached_tokens(&cached), 16);
    let evicted = |(_, event): &(OwnerId, OwnerEvent)| matches!(event, OwnerEvent::Evicted { .. });
    assert!(!harness.engine.take_owner_events().iter().any(evicted));
}

#[test]
fn what_is_found_in_the_cache_is_no_reason_to_grow() {
    let mut harness = growing(32, 128);
    harness.add(request(1, prompt(1, 80), 1));
    run(&mut harness, 128);
    harness.add(request(1, prompt(1, 80).chain([5, 6]), 1));
    run(&mut harness, 128);
    let pages = harness.engine.usage().pages;
    assert_eq!((pages.total, pages.free + pages.cached), (32, 32));
}
