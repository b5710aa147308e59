//! What one caller sees: refusals, ends, text, statistics, and what the cache does for the next request.

mod common;

use common::{Harness, OneCharacterEach, char_of, request, roomy_limits, tokens};
use hearth_engine::engine::{
    Engine, EngineConfig, EngineError, FinishReason, SequenceEvent, SequenceRequest,
};
use hearth_engine::fake::FakeVocabulary;
use hearth_engine::ids::{OwnerId, TokenId};
use hearth_engine::plan::{StepLimits, StepOutput, StepPlan, TokenSource};
use hearth_engine::ports::ExecutorError;
use hearth_engine::sampling::SamplingSettings;
use std::rc::Rc;

const WINDOW: u32 = 200;

fn harness() -> Harness {
    Harness::new(roomy_limits(), WINDOW)
}

/// The tokens that a request generates, told from its text.
fn generated(harness: &Harness, id: hearth_engine::ids::SequenceId) -> Vec<TokenId> {
    harness.outcome(id).text.chars().map(|c| TokenId(c as u32 - char_of(TokenId(0)) as u32)).collect()
}

#[test]
fn requests_that_make_no_sense_are_refused_with_numbers() {
    let mut harness = Harness::new(StepLimits { num_blocks: 3, max_blocks: 3, ..roomy_limits() }, 50);
    let mut refuse = |request: SequenceRequest| harness.engine.add(request, 0.0).unwrap_err();
    assert_eq!(refuse(request(1, [], 1)), EngineError::EmptyPrompt);
    assert_eq!(refuse(request(1, [1], 0)), EngineError::NoOutputTokens);
    assert_eq!(
        refuse(request(1, 0..51, 1)),
        EngineError::PromptExceedsWindow { prompt_tokens: 51, context_window_tokens: 50 }
    );
    assert_eq!(
        refuse(request(1, 0..13, 1)),
        EngineError::PromptExceedsCache { prompt_tokens: 13, needed_pages: 4, available_pages: 3 }
    );
    let settings = SamplingSettings { top_p: 0.0, ..SamplingSettings::default() };
    assert!(matches!(refuse(SequenceRequest { settings, ..request(1, [1], 1) }), EngineError::Settings(_)));
    assert_eq!(harness.engine.usage().waiting, 0);
    let no_rows = EngineConfig::new(StepLimits { max_rows: 0, ..roomy_limits() }, 50);
    let refused = Engine::new(no_rows, Rc::new(OneCharacterEach::default())).err();
    assert_eq!(refused, Some(EngineError::InvalidLimit { limit: "max_rows", got: 0 }));
}

#[test]
fn a_prompt_that_fills_the_window_gets_one_token() {
    let mut harness = Harness::new(roomy_limits(), 10);
    let id = harness.add(SequenceRequest { max_tokens: None, ..request(1, 0..10, 1) });
    harness.run();
    assert_eq!(harness.outcome(id).reason(), Some(FinishReason::Length));
    assert_eq!(harness.outcome(id).stats().completion_tokens, 1);
}

#[test]
fn the_whole_cache_limits_a_reply_like_a_window() {
    let mut harness = Harness::new(StepLimits { num_blocks: 3, max_blocks: 3, ..roomy_limits() }, 50);
    assert_eq!(harness.engine.context_window_tokens(), 12);
    let id = harness.add(SequenceRequest { max_tokens: None, ..request(1, 0..8, 1) });
    harness.run();
    assert_eq!(harness.outcome(id).reason(), Some(FinishReason::Length));
    assert_eq!(harness.outcome(id).stats().completion_tokens, 5);
}

#[test]
fn an_end_known_in_advance_costs_no_row() {
    let mut harness = harness();
    harness.add(request(1, 0..10, 5));
    let mut num_rows = 0;
    loop {
        while harness.in_flight.len() < 2 && harness.plan() {
            num_rows += harness.plan.rows.len();
        }
        if !harness.commit() {
            break;
        }
    }
    assert_eq!(num_rows, 10 + 4);
}

#[test]
fn a_step_ahead_takes_its_token_from_the_slot() {
    let mut harness = harness();
    harness.add(request(1, [1], 5));
    assert!(harness.plan() && harness.plan());
    assert!(matches!(harness.plan.rows[0].token, TokenSource::Sampled(_)));
    assert!(!harness.plan(), "at most two steps are in flight");
}

#[test]
fn a_stop_token_ends_the_text_before_it_and_is_counted() {
    let mut harness = harness();
    let free = harness.add(request(1, 0..6, 12));
    harness.run();
    let tokens = generated(&harness, free);
    let stop = tokens[5];
    let first = tokens.iter().position(|token| *token == stop).unwrap();
    let stopped = harness.add(SequenceRequest { stop_tokens: vec![stop], ..request(1, 0..6, 12) });
    let ignored =
        harness.add(SequenceRequest { stop_tokens: vec![stop], ignore_eos: true, ..request(1, 0..6, 12) });
    harness.run();
    let outcome = harness.outcome(stopped);
    assert_eq!(outcome.reason(), Some(FinishReason::Stop));
    assert_eq!(outcome.stats().completion_tokens as usize, first + 1);
    assert_eq!(generated(&harness, stopped), tokens[..first]);
    assert_eq!(harness.outcome(ignored).text, harness.outcome(free).text);
}

#[test]
fn length_wins_over_stop_on_one_token() {
    let mut harness = harness();
    let free = harness.add(request(1, 0..6, 3));
    harness.run();
    let last = *generated(&harness, free).last().unwrap();
    let both = harness.add(SequenceRequest { stop_tokens: vec![last], ..request(1, 0..6, 3) });
    harness.run();
    let outcome = harness.outcome(both);
    let earlier = generated(&harness, free)[..2].contains(&last);
    assert_eq!(outcome.reason(), Some(if earlier { FinishReason::Stop } else { FinishReason::Length }));
    assert!(!outcome.text.contains(char_of(last)));
}

#[test]
fn a_stop_string_never_shows_and_cuts_at_its_beginning() {
    let mut harness = harness();
    let free = harness.add(request(1, 0..6, 12));
    harness.run();
    let text = harness.outcome(free).text.clone();
    let stop: String = text.chars().skip(4).take(3).collect();
    let id = harness.add(SequenceRequest { stop_strings: vec![stop.clone()], ..request(1, 0..6, 12) });
    harness.run();
    assert_eq!(harness.outcome(id).reason(), Some(FinishReason::Stop));
    assert_eq!(harness.outcome(id).text, text[..text.find(&stop).unwrap()]);
}

#[test]
fn the_same_seed_repeats_and_no_seed_follows_the_entropy() {
    let run = |entropy_seed: u64, seed: Option<i64>| {
        let mut harness =
            Harness::with_config(EngineConfig { entropy_seed, ..EngineConfig::new(roomy_limits(), WINDOW) });
        let ids = [0, 1].map(|_| harness.add(SequenceRequest { seed, ..request(1, 0..6, 12) }));
        harness.run();
        ids.map(|id| harness.outcome(id).text.clone())
    };
    let seeded = run(1, Some(5));
    assert_eq!(seeded[0], seeded[1]);
    assert_eq!(seeded, run(2, Some(5)));
    let unseeded = run(1, None);
    assert_ne!(unseeded[0], unseeded[1]);
    assert_eq!(unseeded, run(1, None));
    assert_ne!(unseeded, run(2, None));
}

#[test]
fn the_next_turn_finds_the_last_one_but_not_the_discarded_token() {
    // Pages of one token: a page registered for the discarded token would be found.
    let mut harness =
        Harness::new(StepLimits { block_size_tokens: 1, max_table_entries: 4096, ..roomy_limits() }, WINDOW);
    let free = harness.add(request(1, 0..6, 12));
    harness.run();
    let reply = generated(&harness, free);
    let stop = reply[4];
    let first = reply.iter().position(|token| *token == stop).unwrap();
    let mut fresh =
        Harness::new(StepLimits { block_size_tokens: 1, max_table_entries: 4096, ..roomy_limits() }, WINDOW);
    let id = fresh.add(SequenceRequest { stop_tokens: vec![stop], ..request(1, 0..6, 12) });
    fresh.run();
    assert_eq!(fresh.outcome(id).reason(), Some(FinishReason::Stop));
    let mut next = tokens(0..6);
    next.extend(&reply[..=first]);
    next.extend(tokens([38, 39]));
    let next = fresh.add(SequenceRequest { prompt: next, ..request(1, [0], 1) });
    fresh.run();
    assert_eq!(fresh.outcome(next).stats().cached_tokens as usize, 6 + first);
    assert_eq!(fresh.executor.faults(), Vec::<String>::new());
}

#[test]
fn a_preempted_sequence_goes_on_as_if_nothing_had_happened() {
    let settings = SamplingSettings {
        temperature: 0.9,
        top_p: 0.95,
        frequency_penalty: 0.8,
        repetition_penalty: 1.3,
        ..SamplingSettings::default()
    };
    let requests: Vec<_> = (0..3)
        .map(|owner| SequenceRequest { settings, ..request(owner, [1, 2, 3, owner as u32], 30) })
        .collect();
    let mut harness = Harness::new(StepLimits { num_blocks: 14, max_blocks: 14, ..roomy_limits() }, WINDOW);
    let ids: Vec<_> = requests.iter().map(|request| harness.add(request.clone())).collect();
    harness.run();
    let num_preemptions: u32 = ids.iter().map(|id| harness.outcome(*id).stats().preemptions).sum();
    assert!(num_preemptions > 0, "the pool is too small for three");
    assert_eq!(harness.outcome(ids[0]).stats().preemptions, 0, "the eldest is never preempted");
    for (id, request) in ids.iter().zip(requests) {
        assert_eq!(harness.outcome(*id).text, Harness::alone(request, 56).text);
    }
}

#[test]
fn equal_prompts_that_come_together_are_read_about_once() {
    let mut harness = Harness::new(StepLimits { max_rows: 16, ..roomy_limits() }, WINDOW);
    let ids: Vec<_> = (0..4).map(|owner| harness.add(request(owner, (0..120).map(|t| t % 40), 1))).collect();
    let mut num_rows = 0;
    loop {
        while harness.in_flight.len() < 2 && harness.plan() {
            num_rows += harness.plan.rows.len();
        }
        if !harness.commit() {
            break;
        }
    }
    assert!(num_rows < 160, "{num_rows} rows for four times the same 120 tokens");
    let texts: Vec<_> = ids.iter().map(|id| harness.outcome(*id).text.clone()).collect();
    assert!(texts.iter().all(|text| *text == texts[0] && !text.is_empty()));
}

#[test]
fn shared_pages_are_charged_in_shares() {
    let mut harness = harness();
    let first = harness.add(request(1, 0..9, 40));
    harness.turn();
    harness.turn();
    let _second = harness.add(request(2, 0..9, 40));
    harness.turn();
    harness.turn();
    let usage = harness.engine.usage();
    assert_eq!(usage.owners.len(), 2);
    // Two of the three or four pages each are shared.
    for owner in &usage.owners {
        assert!(owner.held_pages.fract() == 0.0 && owner.held_pages >= 2.0, "{owner:?}");
        assert_eq!((owner.running, owner.waiting), (1, 0));
        assert!(owner.tokens >= 9);
    }
    assert_eq!(usage.pages.held, usage.owners.iter().map(|owner| owner.held_pages).sum::<f64>() as u32);
    assert_eq!(usage.pages.free + usage.pages.cached + usage.pages.held, usage.pages.total);
    harness.cancel(first);
    let usage = harness.engine.usage();
    assert_eq!(
        (usage.owners[0].running, usage.owners[1].shared_pages),
        (0, 2),
        "what one has cached is still shared"
    );
    harness.engine.remove_owner(OwnerId(1), harness.now_ms);
    let usage = harness.engine.usage();
    assert_eq!(usage.owners.len(), 1);
    assert_eq!(usage.owners[0].held_pages, f64::from(usage.pages.held), "now it pays for all of them");
}

#[test]
fn cancelling_with_steps_in_flight_returns_everything_at_once() {
    let mut harness = harness();
    let id = harness.add(request(1, 0..9, 40));
    for _ in 0..4 {
        harness.turn();
    }
    assert!(harness.plan() || !harness.in_flight.is_empty());
    harness.cancel(id);
    assert_eq!(harness.outcome(id).reason(), Some(FinishReason::Abort));
    assert!(!harness.outcome(id).text.is_empty());
    assert_eq!(harness.engine.usage().pages.held, 0);
    let text = harness.outcome(id).text.clone();
    harness.cancel(id);
    harness.run();
    assert_eq!(harness.outcome(id).text, text);
}

#[test]
fn an_owner_is_cancelled_as_a_whole() {
    let mut harness = harness();
    let ids = [1, 1, 2].map(|owner| harness.add(request(owner, 0..9, 4)));
    harness.turn();
    harness.engine.cancel_owner(OwnerId(1), 0.0);
    harness.run();
    let reasons = ids.map(|id| harness.outcome(id).reason());
    assert_eq!(reasons, [FinishReason::Abort, FinishReason::Abort, FinishReason::Length].map(Some));
}

#[test]
fn an_output_that_is_not_due_changes_nothing() {
    let mut harness = harness();
    let id = harness.add(request(1, 0..3, 4));
    let unexpected = |result| matches!(result, Err(EngineError::UnexpectedOutput { .. }));
    assert!(unexpected(harness.engine.commit(&StepOutput::default(), 0.0)));
    harness.plan();
    let step = harness.plan.step;
    assert!(unexpected(harness.engine.commit(&StepOutput { step, tokens: vec![] }, 0.0)));
    assert!(unexpected(harness.engine.commit(&StepOutput { step: step + 1, tokens: tokens([1]) }, 0.0)));
    harness.run();
    assert_eq!(harness.outcome(id).reason(), Some(FinishReason::Length));
}

#[test]
fn a_failure_is_told_to_everybody_and_empties_the_cache() {
    let mut harness = Harness::new(StepLimits { num_sampler_slots: 1, ..roomy_limits() }, WINDOW);
    for owner in 0..2 {
        harness.engine.add(request(owner, 0..9, 40), 0.0).unwrap();
    }
    harness.plan();
    let error = EngineError::Executor(ExecutorError::DeviceLost { reason: "gone".into() });
    harness.engine.fail_all(&error, 0.0);
    let events = harness.engine.take_events();
    assert_eq!(events.len(), 2);
    for (_, event) in events {
        let SequenceEvent::Finished(finish) = event else { panic!("no text is expected: {event:?}") };
        assert_eq!(finish.reason, FinishReason::Failed(error.clone()));
    }
    let pages = harness.engine.usage().pages;
    assert_eq!((pages.free, pages.total), (256, 256));
}

#[test]
fn deltas_that_nobody_took_yet_are_put_together() {
    let limits = roomy_limits();
    let mut engine = Engine::new(EngineConfig::new(limits, WINDOW), Rc::new(FakeVocabulary)).unwrap();
    let executor = hearth_engine::fake::FakeExecutor::new(limits, 64);
    let id = engine.add(request(1, 0..3, 30), 0.0).unwrap();
    let mut plan = StepPlan::default();
    while engine.plan(0.0, &mut plan) {
        engine.commit(&executor.execute(&plan).unwrap(), 0.0).unwrap();
    }
    let events = engine.take_events();
    let [(first, SequenceEvent::Delta { text, .. }), (second, SequenceEvent::Finished(finish))] = &events[..]
    else {
        panic!("one delta and the end are expected: {events:?}")
    };
    assert_eq!((*first, *second, finish.stats.completion_tokens), (id, id, 30));
    assert!(!text.is_empty());
}

#[test]
fn times_add_up() {
    let mut harness = Harness::new(StepLimits { num_sampler_slots: 1, ..roomy_limits() }, WINDOW);
    let first = harness.add(request(1, 0..9, 10));
    let second = harness.add(request(1, 0..9, 10));
    harness.run();
    let (first, second) = (harness.outcome(first).stats(), harness.outcome(second).stats());
    assert_eq!(first.queued_ms, 0.0);
    assert!(second.queued_ms >= first.prefill_ms + first.decode_ms - 10.0, "{second:?}");
    assert!(first.prefill_ms > 0.0 && first.decode_ms >= 90.0, "{first:?}");
    assert_eq!(second.cached_tokens, 8);
}
