//! Random traffic on random limits: the books are right after every step, and nobody can tell that there were others.

mod common;

use std::collections::HashMap;

use common::{Harness, Outcome, VOCAB_SIZE, char_of, tokens};
use hearth_engine::engine::{ContextLimits, EngineConfig, FinishReason, SequenceRequest};
use hearth_engine::ids::{OwnerId, SequenceId, TokenId};
use hearth_engine::plan::StepLimits;
use hearth_engine::sampling::SamplingSettings;
use proptest::prelude::*;

/// A request, when it comes and when it is cancelled, in turns of the loop.
#[derive(Debug, Clone)]
struct Arrival {
    at_turn: u32,
    cancel_at_turn: Option<u32>,
    request: SequenceRequest,
}

#[derive(Debug, Clone)]
struct Scenario {
    limits: StepLimits,
    context_window_tokens: u32,
    arrivals: Vec<Arrival>,
    /// For each turn in rotation: whether the next step is planned before this one is committed.
    run_ahead: Vec<bool>,
    /// For each step in rotation: how long it takes.
    step_ms: Vec<f64>,
}

fn limits() -> impl Strategy<Value = StepLimits> {
    let sizes = (1u32..6, 3u32..24, 1u32..24, 1u32..6);
    let counts = (1u32..5, 1u32..6, 3u32..40, prop_oneof![Just(1u32), Just(4), Just(8)]);
    (sizes, counts).prop_map(
        |(
            (block_size_tokens, num_blocks, max_rows, max_sequences),
            (max_samples, slots, entries, granule),
        )| {
            StepLimits {
                block_size_tokens,
                num_blocks,
                max_blocks: num_blocks,
                max_page_ops: 8,
                max_rows,
                max_sequences,
                max_samples,
                num_sampler_slots: slots,
                max_table_entries: entries,
                row_granularity: granule,
            }
        },
    )
}

fn settings() -> impl Strategy<Value = SamplingSettings> {
    let penalties = prop_oneof![Just((1.0f32, 0.0f32, 0.0f32)), Just((1.5, 0.7, 0.4))];
    (prop_oneof![Just(0.0f32), Just(0.7), Just(1.0)], prop_oneof![Just(1.0f32), Just(0.8)], penalties)
        .prop_map(|(temperature, top_p, (repetition_penalty, frequency_penalty, presence_penalty))| {
            SamplingSettings {
                temperature,
                top_p,
                top_k: 0,
                repetition_penalty,
                frequency_penalty,
                presence_penalty,
            }
        })
}

/// Prompts that share prefixes: the beginning of one of two texts, then a little of their own.
fn prompt() -> impl Strategy<Value = Vec<TokenId>> {
    (0u32..2, 0usize..30, prop::collection::vec(0u32..VOCAB_SIZE, 1..5)).prop_map(
        |(text, num_shared, own)| {
            let shared = (0..num_shared as u32).map(|index| (index * 7 + text * 3) % VOCAB_SIZE);
            tokens(shared.chain(own))
        },
    )
}

fn sequence_request() -> impl Strategy<Value = SequenceRequest> {
    let stops = (
        prop::collection::vec((0..VOCAB_SIZE).prop_map(TokenId), 0..2),
        prop::collection::vec((0..VOCAB_SIZE, 0..VOCAB_SIZE), 0..3),
        any::<bool>(),
    );
    (0u64..4, prompt(), settings(), any::<i64>(), prop::option::of(1u32..40), stops).prop_map(
        |(owner, prompt, settings, seed, max_tokens, (stop_tokens, stop_pairs, ignore_eos))| {
            SequenceRequest {
                owner: OwnerId(owner),
                prompt,
                settings,
                bias: vec![(TokenId(3), 1.5), (TokenId(5), -100.0)],
                seed: Some(seed),
                max_tokens,
                stop_tokens,
                stop_strings: stop_pairs
                    .into_iter()
                    .map(|(a, b)| [a, b].map(|token| char_of(TokenId(token))).iter().collect())
                    .collect(),
                ignore_eos,
                context: ContextLimits::default(),
                generated: Vec::new(),
                prefill_only: false,
            }
        },
    )
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let arrival = (0u32..40, prop::option::weighted(0.2, 0u32..60), sequence_request()).prop_map(
        |(at_turn, cancel_after, request)| Arrival {
            at_turn,
            cancel_at_turn: cancel_after.map(|after| at_turn + after),
            request,
        },
    );
    (
        limits(),
        8u32..80,
        prop::collection::vec(arrival, 1..12),
        prop::collection::vec(any::<bool>(), 1..6),
        prop::collection::vec(0.0f64..900.0, 1..6),
    )
        .prop_map(|(limits, context_window_tokens, arrivals, run_ahead, step_ms)| Scenario {
            limits,
            context_window_tokens,
            arrivals,
            run_ahead,
            step_ms,
        })
}

/// Runs a scenario with all checks after every call and returns what came of each sequence.
fn run(scenario: &Scenario) -> Vec<(Arrival, Outcome)> {
    let mut harness =
        Harness::with_config(EngineConfig::new(scenario.limits, scenario.context_window_tokens));
    let window = harness.engine.context_window_tokens();
    let mut arrivals = scenario.arrivals.clone();
    // A prompt that can never fit is refused when it is added; that has a test of its own.
    arrivals.retain(|arrival| arrival.request.prompt.len() <= window as usize);
    arrivals.sort_by_key(|arrival| arrival.at_turn);
    let mut ids: HashMap<usize, SequenceId> = HashMap::new();
    let work: u32 = arrivals.iter().map(|a| window + a.request.prompt.len() as u32).sum();
    let mut turn = 0u32;
    loop {
        for (index, arrival) in arrivals.iter().enumerate() {
            if arrival.at_turn == turn {
                ids.insert(index, harness.add(arrival.request.clone()));
            }
            if arrival.cancel_at_turn == Some(turn)
                && let Some(id) = ids.get(&index)
            {
                harness.cancel(*id);
                check(&harness);
            }
        }
        let depth = if scenario.run_ahead[turn as usize % scenario.run_ahead.len()] { 2 } else { 1 };
        while harness.in_flight.len() < depth && harness.plan() {
            check(&harness);
        }
        harness.now_ms += scenario.step_ms[turn as usize % scenario.step_ms.len()];
        let committed = harness.commit();
        check(&harness);
        let all_came = arrivals.iter().all(|arrival| arrival.at_turn <= turn);
        if all_came && !committed && harness.in_flight.is_empty() {
            break;
        }
        turn += 1;
        // Each turn commits a step of at least one row; preemption may repeat rows, but not without end.
        assert!(turn < 100 + 20 * work, "no end after {turn} turns for {work} tokens of work");
    }
    let usage = harness.engine.usage();
    assert_eq!((usage.running, usage.waiting), (0, 0), "everybody has ended");
    assert_eq!(usage.pages.held, 0, "no page is leaked");
    assert!(usage.owners.iter().all(|owner| owner.held_pages == 0.0 && owner.tokens == 0));
    (0..arrivals.len()).map(|index| (arrivals[index].clone(), harness.outcome(ids[&index]).clone())).collect()
}

fn check(harness: &Harness) {
    assert_eq!(harness.engine.audit(), Vec::<String>::new());
    assert_eq!(harness.executor.faults(), Vec::<String>::new());
    let usage = harness.engine.usage();
    let shares: f64 = usage.owners.iter().map(|owner| owner.held_pages).sum();
    assert!((shares - f64::from(usage.pages.held)).abs() < 1e-6, "shares of pages add up to the pages held");
}

fn check_scenario(scenario: &Scenario) {
    let window = Harness::new(scenario.limits, scenario.context_window_tokens).engine.context_window_tokens();
    for (arrival, outcome) in run(scenario) {
        let alone = Harness::alone(arrival.request.clone(), window);
        let reason = outcome.reason().expect("every sequence ends");
        if reason == FinishReason::Abort {
            assert!(arrival.cancel_at_turn.is_some());
            // What was held back as the possible beginning of a stop string comes out when the sequence is cancelled.
            let unstopped = SequenceRequest { ignore_eos: true, ..arrival.request };
            let alone = Harness::alone(unstopped, window);
            assert!(
                alone.text.starts_with(&outcome.text),
                "{:?} is not how {:?} begins",
                outcome.text,
                alone.text
            );
        } else {
            assert_eq!(outcome.text, alone.text);
            assert_eq!(Some(reason), alone.reason());
            assert_eq!(outcome.stats().completion_tokens, alone.stats().completion_tokens);
        }
        assert!(outcome.tokens.len() as u32 <= outcome.stats().completion_tokens);
        assert!(outcome.stats().cached_tokens < outcome.stats().prompt_tokens);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sequence_among_others_gets_what_it_gets_alone(scenario in scenario()) {
        check_scenario(&scenario);
    }
}

/// The random traffic would prove little if it seldom ran into what it is meant to provoke.
#[test]
fn random_traffic_preempts_shares_and_evicts() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut num_sequences, mut num_preempted, mut num_cached) = (0, 0, 0);
    for _ in 0..200 {
        let scenario = scenario().new_tree(&mut runner).expect("the strategy filters nothing").current();
        for (_, outcome) in run(&scenario) {
            num_sequences += 1;
            num_preempted += u32::from(outcome.stats().preemptions > 0);
            num_cached += u32::from(outcome.stats().cached_tokens > 0);
        }
    }
    assert!(num_preempted * 10 > num_sequences, "{num_preempted} of {num_sequences} were preempted");
    assert!(num_cached * 10 > num_sequences, "{num_cached} of {num_sequences} found something in the cache");
}
