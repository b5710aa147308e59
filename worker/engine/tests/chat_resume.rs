//! Replies that are taken up again in another run, from what an earlier run has let out.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use futures::future::join;
use hearth_engine::chat::{ChatModel, ChatReply, TabOptions};
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::{CompletionUsage, FinishReason};
use hearth_protocol::context::{ContextEvent, EvictionReason, ReplySnapshot, RestoreSource};
use serde_json::{Value, json};
use support::chat::{REPLY, Setup, a, b, chunks, events, options, request};

/// What a whole run of a reply came to.
#[derive(Debug, Clone, Default)]
struct Run {
    /// Before each part, and at the end.
    snapshots: Vec<ReplySnapshot>,
    /// The text of each part, if it has any.
    texts: Vec<Option<String>>,
    events: Vec<Option<ContextEvent>>,
    reason: Option<FinishReason>,
    usage: Option<CompletionUsage>,
}

async fn record(mut reply: ChatReply) -> Run {
    let mut run = Run { snapshots: vec![reply.snapshot()], ..Run::default() };
    while let Some(part) = reply.next_chunk().await {
        let part = part.unwrap();
        let mut text = None;
        if let Some(chunk) = part.chunk {
            assert_eq!((chunk.id.as_str(), chunk.created), ("reply-1", 1_700_000_000));
            run.usage = chunk.usage.or(run.usage);
            if let Some(choice) = chunk.choices.first() {
                text = choice.delta.content.clone();
                run.reason = choice.finish_reason;
            }
        }
        assert_eq!(text.is_some(), !part.tokens.is_empty());
        run.snapshots.push(reply.snapshot());
        run.texts.push(text);
        run.events.push(part.event);
    }
    run
}

fn run(setup: Setup, test: impl AsyncFnOnce(&ChatModel) -> Run) -> Run {
    let mut run = Run::default();
    setup.run(async |model| run = test(&model).await);
    run
}

fn text(texts: &[Option<String>]) -> String {
    texts.iter().flatten().cloned().collect()
}

/// Breaks a reply off after each of its parts and goes on in a new run.
fn check_every_break(setup: Setup, request: &ChatCompletionRequest, options: &TabOptions) -> Run {
    let whole = run(setup, async |model| record(model.start(request, &a(), options).unwrap()).await);
    for at in 0..=whole.texts.len() {
        // As it comes back from a page.
        let json = serde_json::to_value(&whole.snapshots[at]).unwrap();
        let snapshot: ReplySnapshot = serde_json::from_value(json).unwrap();
        let resumed = run(setup, async |model| {
            let reply = model.resume(request, snapshot.clone(), &a(), options).unwrap();
            assert_eq!(*reply.begin(), snapshot);
            assert_eq!(model.message(&a()), text(&whole.texts[..at]), "at part {at}");
            let run = record(reply).await;
            assert_eq!(model.message(&a()), text(&whole.texts), "at part {at}");
            run
        });
        assert_eq!(text(&resumed.texts), text(&whole.texts[at..]), "at part {at}");
        let rest = |texts: &[Option<String>]| texts.iter().flatten().cloned().collect::<Vec<_>>();
        assert_eq!(rest(&resumed.texts), rest(&whole.texts[at..]), "at part {at}");
        assert_eq!(resumed.reason, whole.reason, "at part {at}");
        assert_eq!(resumed.snapshots.last(), whole.snapshots.last(), "at part {at}");
        let (usage, expected) = (resumed.usage.unwrap(), whole.usage.clone().unwrap());
        assert_eq!(usage.completion_tokens, expected.completion_tokens, "at part {at}");
        assert_eq!(usage.extra.context, expected.extra.context, "at part {at}");

        let collected = run(setup, async |model| {
            let mut reply = model.resume(request, snapshot.clone(), &a(), options).unwrap();
            let completion = reply.collect().await.unwrap();
            let said = completion.choices[0].message.content.clone();
            Run { texts: vec![said], reason: Some(completion.choices[0].finish_reason), ..Run::default() }
        });
        assert_eq!(text(&collected.texts), text(&whole.texts), "at part {at}");
        assert_eq!(collected.reason, whole.reason, "at part {at}");
    }
    whole
}

fn streamed(mut fields: Value) -> ChatCompletionRequest {
    fields["stream"] = json!(true);
    fields["stream_options"] = json!({"include_usage": true});
    request(fields)
}

#[test]
fn a_reply_goes_on_at_every_token_with_the_very_next_text() {
    let whole = check_every_break(Setup::default(), &streamed(json!({})), &TabOptions::default());
    assert_eq!(text(&whole.texts), REPLY);
    assert!(whole.texts.len() > 10);
}

#[test]
fn stops_and_limits_come_at_the_same_token() {
    for fields in [
        json!({"stop": " is"}),
        json!({"stop": [" is cold", "Wärme!"]}),
        json!({"max_tokens": 1}),
        // In the middle of the fire.
        json!({"max_tokens": 4}),
        json!({"max_tokens": 12, "stop": ["is warm: nothing"]}),
        json!({"ignore_eos": true, "stop": " is", "max_tokens": 30}),
    ] {
        check_every_break(Setup::default(), &streamed(fields), &TabOptions::default());
    }
}

#[test]
fn a_full_context_ends_or_slides_at_the_same_token() {
    let setup = Setup { repeats: true, ..Setup::default() };
    let asked = |max_tokens: Option<u32>| streamed(json!({"max_tokens": max_tokens}));
    let window =
        |policy: &str| options(json!({"context_window_size": 64, "hearth": {"overflowPolicy": policy}}));
    let full = check_every_break(setup, &asked(None), &window("truncate"));
    assert_eq!(full.reason, Some(FinishReason::Length));
    check_every_break(setup, &asked(None), &window("auto"));
    let slid = check_every_break(setup, &asked(Some(100)), &window("sliding"));
    assert!(slid.usage.unwrap().extra.context.unwrap().dropped_tokens.unwrap() >= 48);
}

#[test]
fn what_was_told_is_not_told_again() {
    let setup = Setup { repeats: true, ..Setup::default() };
    let history: Vec<_> = (0..21)
        .map(|index| json!({"role": if index % 2 == 0 { "user" } else { "assistant" }, "content": "words and words"}))
        .collect();
    let asked = streamed(json!({"messages": history, "max_tokens": 300}));
    let options = options(json!({"context_window_size": 96}));
    let whole = run(setup, async |model| record(model.start(&asked, &a(), &options).unwrap()).await);
    let told = |events: &[Option<ContextEvent>]| events.iter().flatten().cloned().collect::<Vec<_>>();
    let all = told(&whole.events);
    let is_near = |event: &&ContextEvent| matches!(event, ContextEvent::NearLimit { .. });
    assert_eq!(all.iter().filter(is_near).count(), 1);
    assert!(all.len() >= 5, "{all:?}");
    for at in 0..=whole.texts.len() {
        let snapshot = whole.snapshots[at].clone();
        let resumed =
            run(setup, async |model| record(model.resume(&asked, snapshot, &a(), &options).unwrap()).await);
        let rest = told(&resumed.events);
        let num_told = told(&whole.events[..at]).len();
        // An event may be lost that was due between the text with which it came and the break; none comes twice.
        assert!(all[num_told..].ends_with(&rest), "at part {at}: {rest:?} of {all:?}");
        assert!(num_told + rest.len() + 1 >= all.len(), "at part {at}: {rest:?} of {all:?}");
    }
}

/// Wherever it is lost: also in the middle of a character, or of what may become a stop string.
#[test]
fn a_lost_device_loses_nothing_of_a_reply_and_doubles_nothing() {
    let request = streamed(json!({"stop": [" is cold", "Wärme!"]}));
    for lost_after in 1..12 {
        let broken = Setup { lost_after: Some(lost_after), ..Setup::default() };
        let (mut before, mut left) = (String::new(), None);
        broken.run(async |model| {
            let mut reply = model.start(&request, &a(), &TabOptions::default()).unwrap();
            while let Some(Ok(part)) = reply.next_chunk().await {
                let delta = part.chunk.and_then(|chunk| chunk.choices.into_iter().next());
                before.push_str(&delta.and_then(|choice| choice.delta.content).unwrap_or_default());
            }
            left = Some(reply.snapshot());
        });
        assert!(REPLY.starts_with(&before), "after {lost_after}: {before}");
        Setup::default().run(async |model| {
            let mut reply = model.resume(&request, left.unwrap(), &a(), &TabOptions::default()).unwrap();
            assert_eq!(model.message(&a()), before);
            let completion = reply.collect().await.unwrap();
            assert_eq!(completion.id, "reply-1");
            assert_eq!(completion.choices[0].message.content.as_deref(), Some(REPLY), "after {lost_after}");
        });
    }
}

#[test]
fn the_whole_reply_has_also_what_was_taken_in_parts() {
    Setup::default().run(async |model| {
        let mut reply = model.start(&streamed(json!({})), &a(), &TabOptions::default()).unwrap();
        for _ in 0..3 {
            reply.next_chunk().await.unwrap().unwrap();
        }
        let completion = reply.collect().await.unwrap();
        assert_eq!(completion.choices[0].message.content.as_deref(), Some(REPLY));
    });
}

#[test]
fn every_reply_has_a_seed_that_a_page_can_hold() {
    Setup::default().run(async |model| {
        let seed =
            |fields: Value| model.start(&request(fields), &a(), &TabOptions::default()).unwrap().begin().seed;
        assert_eq!(seed(json!({"seed": 42})), 42);
        for fields in [json!({}), json!({"seed": -5}), json!({"seed": 1e300}), json!({"seed": i64::MIN})] {
            let seed = seed(fields.clone());
            assert!((1..1 << 31).contains(&seed), "{fields}: {seed}");
        }
        assert_ne!(seed(json!({})), seed(json!({})));
    });
}

#[test]
fn a_snapshot_that_is_none_of_ours_is_refused_by_name() {
    Setup::default().run(async |model| {
        let asked = request(json!({}));
        let good = model.start(&asked, &a(), &TabOptions::default()).unwrap().snapshot();
        for wrong in [
            ReplySnapshot { prompt: vec![], ..good.clone() },
            ReplySnapshot { prompt: vec![u32::MAX], ..good.clone() },
            ReplySnapshot { tokens: vec![49_152], ..good.clone() },
            ReplySnapshot { context_tokens: 3, ..good.clone() },
            ReplySnapshot { max_new_tokens: Some(0), tokens: vec![1], ..good.clone() },
        ] {
            let error = model.resume(&asked, wrong.clone(), &a(), &TabOptions::default()).map(|_| ());
            assert_eq!(error.unwrap_err().name(), "InvalidSnapshotError", "{wrong:?}");
        }
        // A context that this run does not have is the engine's to refuse.
        let large =
            ReplySnapshot { prompt: vec![1; 300], context_tokens: 4000, pinned_tokens: None, ..good.clone() };
        let error = model.resume(&asked, large, &a(), &TabOptions::default()).map(|_| ());
        assert_eq!(error.unwrap_err().name(), "ContextWindowSizeExceededError");
        let error = model.resume(&request(json!({"temperature": -1})), good, &a(), &TabOptions::default());
        assert_eq!(error.map(|_| ()).unwrap_err().name(), "NonNegativeError");
        assert_eq!(model.usage(&a()).running + model.usage(&a()).waiting, 0);
    });
}

#[test]
fn a_reply_that_gives_way_says_so_and_comes_back() {
    // 12 pages for two replies of 8 each.
    let setup = Setup { repeats: true, num_blocks: 12, ..Setup::default() };
    setup.run(async |model| {
        let asked = streamed(json!({"max_tokens": 90}));
        // Nothing of it is shared with the other.
        let other = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is fire?"}]);
        let second = streamed(json!({"max_tokens": 90, "messages": other}));
        let first = model.start(&asked, &a(), &TabOptions::default()).unwrap();
        let second = model.start(&second, &b(), &TabOptions::default()).unwrap();
        let (first, second) = join(events(first), events(second)).await;
        let told: Vec<_> = first.into_iter().chain(second).collect();
        let evicted = told.iter().find_map(|event| match event {
            ContextEvent::Evicted { pages, tokens, reason: EvictionReason::Preempted } => Some((*pages, *tokens)),
            _ => None,
        });
        let (pages, tokens) = evicted.unwrap_or_else(|| panic!("{told:?}"));
        assert_eq!(pages, tokens.div_ceil(16));
        assert!(told.iter().any(|event| {
            matches!(event, ContextEvent::Restored { tokens: back, source: RestoreSource::Recomputed } if *back >= tokens)
        }), "{told:?}");
        assert_eq!(model.message(&a()), model.message(&b()));
        assert!(!chunks(model.start(&asked, &a(), &TabOptions::default()).unwrap()).await.is_empty());
    });
}
