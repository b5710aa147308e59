//! Many against one: an owner's hundred requests, long prompts and long replies do not keep others from theirs.

mod common;

use common::{Harness, request, roomy_limits};
use hearth_engine::ids::{OwnerId, SequenceId};
use hearth_engine::plan::StepLimits;

const WINDOW: u32 = 400;

/// Turns of the loop until a sequence has text.
fn turns_until_text(harness: &mut Harness, id: SequenceId) -> u32 {
    for turn in 0..10_000 {
        if !harness.outcome(id).text.is_empty() {
            return turn;
        }
        assert!(harness.turn(), "the engine came to rest without text for {id:?}");
        assert_eq!(harness.engine.audit(), Vec::<String>::new());
    }
    panic!("{id:?} starves");
}

fn text_len(harness: &Harness, id: SequenceId) -> usize {
    harness.outcome(id).text.chars().count()
}

#[test]
fn one_request_among_a_hundred_of_another_owner_is_served_at_once() {
    let mut harness = Harness::new(StepLimits { num_sampler_slots: 4, ..roomy_limits() }, WINDOW);
    let many: Vec<_> =
        (0..100).map(|index| harness.add(request(1, (0..40).map(|t| (t + index) % 40), 100))).collect();
    for _ in 0..30 {
        harness.turn();
    }
    let one = harness.add(request(2, 0..20, 100));
    assert!(turns_until_text(&mut harness, one) <= 10);
    let before = many.iter().map(|id| text_len(&harness, *id)).sum::<usize>();
    let start = text_len(&harness, one);
    for _ in 0..50 {
        harness.turn();
    }
    assert!(text_len(&harness, one) >= start + 48, "the one gets a token in every step");
    assert!(
        many.iter().map(|id| text_len(&harness, *id)).sum::<usize>() >= before + 100,
        "the many go on too"
    );
    harness.run();
    assert!(many.iter().all(|id| harness.outcome(*id).end.is_some()));
}

#[test]
fn pages_that_an_owner_has_in_plenty_are_given_to_one_that_has_none() {
    let limits = StepLimits { num_blocks: 40, max_blocks: 40, num_sampler_slots: 8, ..roomy_limits() };
    let mut harness = Harness::new(limits, 160);
    for index in 0..20 {
        harness.add(request(1, (0..36).map(|t| (t * 3 + index) % 40), 60));
    }
    for _ in 0..10 {
        harness.turn();
    }
    let one = harness.add(request(2, (0..80).map(|t| t % 7), 10));
    assert!(turns_until_text(&mut harness, one) <= 25);
    harness.run();
}

#[test]
fn when_pages_run_out_an_owner_with_many_gives_way_before_one_with_one() {
    // Whoever happens to need the first page that is not there.
    for lengths in [[1, 1, 1, 1], [3, 1, 1, 1], [1, 4, 2, 3], [2, 3, 4, 1], [4, 3, 3, 2], [4, 2, 2, 2]] {
        let mut harness = Harness::new(StepLimits { num_blocks: 30, max_blocks: 30, ..roomy_limits() }, 120);
        let prompt = |index: u32, length: u32| (0..length).map(move |t| index * 9 + t);
        let many: Vec<_> = (0..3u32)
            .map(|index| harness.add(request(1, prompt(index, lengths[index as usize]), 40)))
            .collect();
        let one = harness.add(request(2, prompt(3, lengths[3]), 40));
        harness.run();
        let preemptions = |id: &SequenceId| harness.outcome(*id).stats().preemptions;
        assert!(many.iter().any(|id| preemptions(id) > 0), "the pool is too small for four");
        assert_eq!(preemptions(&one), 0, "though it is the youngest: {lengths:?}");
    }
}

#[test]
fn more_owners_than_slots_take_turns() {
    let mut harness = Harness::new(StepLimits { num_sampler_slots: 2, ..roomy_limits() }, WINDOW);
    let ids: Vec<_> = (0..5).map(|owner| harness.add(request(owner, [owner as u32, 1, 2], 300))).collect();
    let mut longest = 0;
    for id in &ids {
        longest = longest.max(turns_until_text(&mut harness, *id));
    }
    assert!(longest <= 250, "the last owner waited for {longest} turns");
    harness.run();
    assert!(ids.iter().all(|id| text_len(&harness, *id) == 300));
}

#[test]
fn decode_turns_go_round_owners_and_their_sequences() {
    let limits = StepLimits { max_samples: 1, max_sequences: 1, ..roomy_limits() };
    let mut harness = Harness::new(limits, WINDOW);
    let many: Vec<_> = (0..3).map(|index| harness.add(request(1, [index], 200))).collect();
    let one = harness.add(request(2, [9], 200));
    for _ in 0..120 {
        harness.turn();
    }
    let lens: Vec<_> = many.iter().map(|id| text_len(&harness, *id)).collect();
    assert!((55..=62).contains(&text_len(&harness, one)), "half of the turns: {}", text_len(&harness, one));
    assert!(lens.iter().all(|len| (17..=22).contains(len)), "a third of the other half each: {lens:?}");
}

#[test]
fn an_owner_with_twice_the_weight_gets_twice_the_turns() {
    let limits = StepLimits { max_samples: 3, max_sequences: 3, ..roomy_limits() };
    let mut harness = Harness::new(limits, WINDOW);
    harness.engine.set_owner_weight(OwnerId(1), 2.0);
    let mut len_of = |owner| {
        (0..4).map(|index| harness.add(request(owner, [index, owner as u32], 200))).collect::<Vec<_>>()
    };
    let (heavy, light) = (len_of(1), len_of(2));
    for _ in 0..100 {
        harness.turn();
    }
    let sum = |ids: &[SequenceId]| ids.iter().map(|id| text_len(&harness, *id)).sum::<usize>();
    let (heavy, light) = (sum(&heavy), sum(&light));
    assert!(heavy * 10 > light * 17 && heavy * 10 < light * 23, "{heavy} to {light}");
}

#[test]
fn a_long_prompt_does_not_hold_up_those_who_are_decoding_nor_a_short_prompt() {
    let mut harness = Harness::new(StepLimits { max_rows: 16, ..roomy_limits() }, WINDOW);
    let decoding = harness.add(request(1, [1], 300));
    turns_until_text(&mut harness, decoding);
    let long = harness.add(request(2, (0..380).map(|t| t % 39), 2));
    for _ in 0..3 {
        harness.turn();
    }
    let start = text_len(&harness, decoding);
    let short = harness.add(request(3, (0..10).map(|t| 39 - t), 2));
    assert!(turns_until_text(&mut harness, short) <= 6);
    let turns = turns_until_text(&mut harness, long);
    assert!(turns > 10, "the long prompt takes many steps");
    assert!(
        text_len(&harness, decoding) >= start + turns as usize,
        "every step has a token for who is decoding"
    );
}

#[test]
fn prompts_advance_where_decoding_could_fill_every_step() {
    for limits in [
        StepLimits { max_rows: 1, ..roomy_limits() },
        StepLimits { max_sequences: 2, max_samples: 2, ..roomy_limits() },
        StepLimits { max_rows: 8, ..roomy_limits() },
        StepLimits { max_table_entries: 30, ..roomy_limits() },
    ] {
        let mut harness = Harness::new(limits, 100);
        let decoding: Vec<_> = (0..7).map(|index| harness.add(request(index, [index as u32], 60))).collect();
        for id in decoding {
            turns_until_text(&mut harness, id);
        }
        let late = harness.add(request(9, (0..30).map(|t| 39 - t), 60));
        assert!(turns_until_text(&mut harness, late) <= 140, "{limits:?}");
    }
}

#[test]
fn a_sequence_whose_token_is_in_flight_is_not_resumed_before_it_has_come() {
    let limits = StepLimits { num_blocks: 50, max_blocks: 50, ..roomy_limits() };
    let mut harness = Harness::new(limits, 180);
    harness.engine.set_owner_weight(OwnerId(1), 2.0);
    let prompt = |length: u32, salt: u32| (0..length).map(move |t| (t * 7 + salt) % 40);
    for (owner, length) in [(1, 4), (2, 4), (2, 80)] {
        harness.add(request(owner, prompt(length, owner as u32 + length), 60));
    }
    let small = harness.add(request(1, prompt(8, 3), 60));
    turns_until_text(&mut harness, small);
    // Room for this one takes the small sequence's pages and then the long one's, which leaves enough for the small one
    // to come back in the same plan.
    harness.add(request(3, prompt(100, 5), 2));
    while harness.in_flight.len() < 2 {
        assert!(harness.plan());
        assert_eq!(harness.engine.audit(), Vec::<String>::new());
    }
    harness.run();
    assert!(harness.outcome(small).stats().preemptions > 0, "the case that this test is about");
    assert_eq!(harness.executor.faults(), Vec::<String>::new());
    assert_eq!(harness.outcome(small).text, Harness::alone(request(1, prompt(8, 3), 60), 180).text);
}

/// Turns the adapter's speed into the time that each step takes.
fn run_on_adapter(harness: &mut Harness, step_ms: impl Fn(usize) -> f64) -> Vec<(usize, bool)> {
    let mut steps = Vec::new();
    let mut ends = std::collections::VecDeque::new();
    loop {
        while harness.in_flight.len() < 2 && harness.plan() {
            let num_rows = harness.plan.rows.len();
            let decodes = harness.plan.sequences.iter().any(|sequence| sequence.num_rows == 1);
            steps.push((num_rows, decodes));
            ends.push_back(step_ms(num_rows));
        }
        let Some(ms) = ends.pop_front() else { return steps };
        harness.now_ms += ms - 10.0;
        harness.commit();
    }
}

#[test]
fn steps_fit_a_slow_adapter_and_a_fast_one() {
    let limits = StepLimits {
        max_rows: 512,
        num_blocks: 1024,
        max_table_entries: 2048,
        block_size_tokens: 16,
        ..roomy_limits()
    };
    let mut slow = Harness::new(limits, 2000);
    slow.add(request(1, [1], 40));
    slow.add(request(2, (0..200).map(|t| t % 40), 3));
    let steps = run_on_adapter(&mut slow, |rows| rows.div_ceil(8) as f64 * 8.0 / 15.0 * 1000.0);
    assert!(steps.iter().all(|(rows, _)| *rows <= 8), "a granule at a time: {steps:?}");
    assert!(steps.iter().filter(|(rows, _)| *rows == 8).count() >= 20, "granules are filled up: {steps:?}");

    let mut fast = Harness::new(limits, 2000);
    fast.add(request(1, [1], 40));
    fast.add(request(2, (0..1500).map(|t| t % 40), 3));
    let steps = run_on_adapter(&mut fast, |rows| 4.0 + rows as f64 / 40.0);
    assert!(steps.iter().any(|(rows, _)| *rows == 512), "whole chunks: {steps:?}");
    let before_full = steps.iter().position(|(rows, _)| *rows == 512).unwrap();
    assert!(before_full <= 4, "the first steps are the measurement: {steps:?}");
}

/// Turns in which `starved` gets no further text, at most, while `turns` turns go by.
fn longest_silence(harness: &mut Harness, starved: &[SequenceId], turns: u32) -> u32 {
    let (mut silence, mut longest, mut before) = (0, 0, 0);
    for _ in 0..turns {
        assert!(harness.turn());
        let now = starved.iter().map(|id| text_len(harness, *id)).sum::<usize>();
        silence = if now > before { 0 } else { silence + 1 };
        longest = longest.max(silence);
        before = now;
    }
    longest
}

#[test]
fn rows_that_an_owner_did_not_want_are_not_saved_up() {
    let limits = StepLimits { max_samples: 4, max_sequences: 4, ..roomy_limits() };
    let mut harness = Harness::new(limits, WINDOW);
    let many: Vec<_> = (0..3).map(|index| harness.add(request(1, [index, 1], 390))).collect();
    harness.add(request(2, [9, 2], 390));
    for _ in 0..120 {
        harness.turn();
    }
    // Everybody had what they wanted; from now on there is less than is wanted.
    for index in 0..3 {
        harness.add(request(2, [10 + index, 2], 390));
    }
    let silence = longest_silence(&mut harness, &many, 100);
    assert!(silence <= 4, "the first owner had no token in {silence} steps");
}

#[test]
fn neither_a_pause_nor_a_newcomer_gets_ahead_of_those_who_run() {
    let limits = StepLimits { max_samples: 2, max_sequences: 2, ..roomy_limits() };
    let mut harness = Harness::new(limits, WINDOW);
    let ids: Vec<_> = (0..4).map(|index| harness.add(request(1, [index, 1], 390))).collect();
    harness.add(request(2, [9, 2], 390));
    harness.add(request(2, [8, 2], 390));
    harness.turn();
    harness.engine.pause_owner(OwnerId(2), true);
    for _ in 0..150 {
        harness.turn();
    }
    harness.add(request(3, [9, 3], 390));
    harness.add(request(3, [8, 3], 390));
    let silence = longest_silence(&mut harness, &ids, 60);
    assert!(silence <= 4, "beside a newcomer the first owner had no token in {silence} steps");
    harness.engine.pause_owner(OwnerId(2), false);
    let silence = longest_silence(&mut harness, &ids, 60);
    assert!(silence <= 4, "beside one that is back the first owner had no token in {silence} steps");
}

#[test]
fn service_divided_by_weight_stays_within_the_bound() {
    for (weights, num_samples) in [([1.0, 3.0], 2), ([1.0, 1.0], 3), ([0.5, 4.0], 1), ([2.0, 3.0], 3)] {
        let limits = StepLimits { max_samples: num_samples, max_sequences: num_samples, ..roomy_limits() };
        let mut harness = Harness::new(limits, WINDOW);
        let mut ids = [Vec::new(), Vec::new()];
        for (index, weight) in weights.into_iter().enumerate() {
            harness.engine.set_owner_weight(OwnerId(index as u64), weight);
            // The one brings many short replies, the other few long ones: neither must matter.
            for number in 0..if index == 0 { 60 } else { 4 } {
                let max_tokens = if index == 0 { 15 } else { 390 };
                ids[index].push(harness.add(request(index as u64, [number % 40, index as u32], max_tokens)));
            }
        }
        for _ in 0..40 {
            harness.turn();
        }
        let lead = |harness: &Harness| {
            let served = |index: usize| -> f64 {
                // A reply's first token is a prompt row's, which the other clock counts.
                let num_decoded = |id: &SequenceId| harness.outcome(*id).tokens.len().saturating_sub(1);
                ids[index].iter().map(num_decoded).sum::<usize>() as f64 / weights[index]
            };
            served(0) - served(1)
        };
        let (mut least, mut most) = (lead(&harness), lead(&harness));
        for _ in 0..150 {
            harness.turn();
            least = least.min(lead(&harness));
            most = most.max(lead(&harness));
        }
        let bound = 1.0 / weights[0] + 1.0 / weights[1];
        assert!(
            most - least <= bound + 1e-9,
            "{weights:?}, {num_samples} samples: {} of {bound}",
            most - least
        );
    }
}

#[test]
fn a_stream_of_newcomers_does_not_starve_who_was_there() {
    let mut harness = Harness::new(StepLimits { max_rows: 16, ..roomy_limits() }, WINDOW);
    let long = harness.add(request(0, (0..380).map(|t| t % 39), 2));
    // One in every step, with as much to read as a step has room for: there are never fewer than eight who want all of it.
    for owner in 1..320 {
        let prompt = [owner as u32 % 40, owner as u32 / 40].into_iter().chain(0..14);
        harness.add(request(owner, prompt, 1));
        harness.turn();
    }
    assert!(!harness.outcome(long).text.is_empty(), "an eighth of 320 steps is enough for 380 rows");
}
