//! Contexts that slide, and replies that go on from where an earlier run had them.

mod common;

use common::{Harness, Outcome, request, roomy_limits, tokens};
use hearth_engine::engine::{ContextLimits, FinishReason, SequenceRequest, WhenFull};
use hearth_engine::ids::TokenId;
use hearth_engine::plan::{PageOp, StepLimits};
use hearth_engine::sampling::SamplingSettings;
use proptest::prelude::*;

const WINDOW: u32 = 400;

fn sliding(max_tokens: u32, pinned_tokens: u32) -> ContextLimits {
    ContextLimits { max_tokens, when_full: WhenFull::Slide { pinned_tokens } }
}

fn sampled(prompt: std::ops::Range<u32>, max_tokens: u32) -> SequenceRequest {
    let settings =
        SamplingSettings { temperature: 1.0, presence_penalty: 0.4, ..SamplingSettings::default() };
    SequenceRequest { settings, ..request(1, prompt, max_tokens) }
}

#[test]
fn a_full_context_drops_the_oldest_page_that_is_not_pinned_and_goes_on() {
    let mut harness = Harness::new(roomy_limits(), WINDOW);
    let id = harness.add(SequenceRequest { context: sliding(24, 6), ..request(1, 0..10, 60) });
    let mut ops = Vec::new();
    while harness.plan() {
        let [sequence] = &harness.plan.sequences[..] else { panic!("one sequence runs") };
        let row = harness.plan.rows.last().expect("a step has rows");
        let num_dropped = row.position + 1 - sequence.context_len_tokens;
        assert!(sequence.context_len_tokens <= 24, "no more than the window");
        assert_eq!(num_dropped, ((row.position / 4 + 1).saturating_sub(6)) * 4);
        for PageOp::Shift { from, to, positions } in harness.plan.page_ops.clone() {
            assert_eq!(
                positions, num_dropped,
                "pinned pages are as near as what has been dropped makes them"
            );
            assert!(sequence.blocks[..2].contains(&to) && !sequence.blocks.contains(&from));
            ops.push((from, to));
        }
        harness.commit();
        assert_eq!(harness.engine.audit(), Vec::<String>::new());
    }
    assert_eq!(ops.len() % 2, 0, "both pinned pages follow at every slide");
    assert!(ops.chunks(2).all(|pair| pair == &ops[..2]), "always made from the same originals");
    let outcome = harness.outcome(id);
    assert_eq!(outcome.text.chars().count(), 60);
    assert_eq!(outcome.reason(), Some(FinishReason::Length));
    assert_eq!(outcome.dropped_tokens, 48, "of 69 tokens that ran, 24 at most stay");
    assert_eq!(harness.executor.faults(), Vec::<String>::new());
    assert_eq!(harness.engine.usage().pages.held, 0);
}

#[test]
fn what_is_dropped_no_longer_counts_and_what_is_pinned_does() {
    let text = |prompt: Vec<u32>, pinned: u32| {
        let outcome = Harness::alone(
            SequenceRequest { context: sliding(16, pinned), ..request(1, prompt, 40) },
            WINDOW,
        );
        outcome.text
    };
    let base: Vec<u32> = (0..12).collect();
    assert_ne!(text(base.clone(), 4), text(base, 0));
}

#[test]
fn a_sliding_sequence_that_gave_way_goes_on_with_the_same_text() {
    let long = |owner| SequenceRequest { context: sliding(24, 4), ..request(owner, 0..8, 120) };
    let alone = Harness::alone(long(1), WINDOW);
    let mut harness = Harness::new(StepLimits { num_blocks: 14, max_blocks: 14, ..roomy_limits() }, 56);
    let first = harness.add(request(9, (0..10).map(|t| t + 20), 40));
    let second = harness.add(long(1));
    harness.run();
    assert!(harness.outcome(second).stats().preemptions > 0, "the pool is too small for both");
    assert_eq!(harness.outcome(second).text, alone.text);
    assert!(harness.outcome(first).end.is_some());
    assert_eq!(harness.executor.faults(), Vec::<String>::new());
}

/// Runs a request again from every delta of a whole run: text, tokens and end must be the rest of the whole run.
fn check_every_resume(request: &SequenceRequest, limits: StepLimits) {
    let run = |request: SequenceRequest| -> Outcome {
        let mut harness = Harness::new(limits, WINDOW);
        let id = harness.add(request);
        harness.run();
        assert_eq!(harness.executor.faults(), Vec::<String>::new());
        assert_eq!(harness.engine.usage().pages.held, 0);
        harness.outcome(id).clone()
    };
    let whole = run(request.clone());
    let mut starts = vec![(0, 0)];
    starts.extend(&whole.deltas);
    for (num_bytes, num_tokens) in starts {
        let generated = whole.tokens[..num_tokens].to_vec();
        let rest = run(SequenceRequest { generated, ..request.clone() });
        assert_eq!(rest.text, whole.text[num_bytes..], "after {num_tokens} tokens");
        assert_eq!(rest.tokens, whole.tokens[num_tokens..]);
        assert_eq!(rest.reason(), whole.reason());
        assert_eq!(rest.stats().completion_tokens, whole.stats().completion_tokens);
    }
}

#[test]
fn a_reply_goes_on_from_any_of_its_tokens() {
    check_every_resume(&sampled(0..13, 40), roomy_limits());
    check_every_resume(&request(1, 0..13, 40), StepLimits { max_rows: 3, ..roomy_limits() });
}

#[test]
fn a_sliding_reply_goes_on_from_any_of_its_tokens_and_reports_only_new_slides() {
    check_every_resume(&SequenceRequest { context: sliding(20, 5), ..sampled(0..9, 50) }, roomy_limits());
}

#[test]
fn a_reply_that_was_complete_ends_at_once() {
    let whole = Harness::alone(sampled(0..5, 20), WINDOW);
    let mut harness = Harness::new(roomy_limits(), WINDOW);
    let id = harness.add(SequenceRequest { generated: whole.tokens.clone(), ..sampled(0..5, 20) });
    harness.run();
    assert_eq!(
        (harness.outcome(id).text.as_str(), harness.outcome(id).reason()),
        ("", Some(FinishReason::Length))
    );
}

#[test]
fn a_prompt_that_is_only_read_is_found_by_the_next_request() {
    let mut harness = Harness::new(roomy_limits(), WINDOW);
    let ahead = harness.add(SequenceRequest { prefill_only: true, ..request(1, 0..32, 1) });
    harness.run();
    assert_eq!(
        (harness.outcome(ahead).text.as_str(), harness.outcome(ahead).reason()),
        ("", Some(FinishReason::Stop))
    );
    assert_eq!(harness.outcome(ahead).stats().completion_tokens, 0);
    let next = harness.add(request(1, 0..40, 5));
    harness.run();
    assert_eq!(harness.outcome(next).stats().cached_tokens, 32);
    assert_eq!(harness.outcome(next).text, Harness::alone(request(1, 0..40, 5), WINDOW).text);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sliding_reply_goes_on_from_any_of_its_tokens(
        prompt in prop::collection::vec(0u32..40, 1..30),
        max_tokens in 1u32..60,
        window in 1u32..40,
        pinned in 0u32..20,
        max_rows in 1u32..12,
        max_page_ops in 0u32..4,
        stop in prop::option::of(0u32..40),
    ) {
        let limits = StepLimits { max_rows, max_page_ops, ..roomy_limits() };
        let request = SequenceRequest {
            context: sliding(window, pinned),
            prompt: tokens(prompt),
            stop_tokens: stop.map(TokenId).into_iter().collect(),
            ..sampled(0..1, max_tokens)
        };
        check_every_resume(&request, limits);
    }
}
