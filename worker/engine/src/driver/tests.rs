use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::join;
use futures::{FutureExt, StreamExt};

use super::*;
use crate::engine::FinishReason;
use crate::fake::{FakeClock, FakeExecutor, FakeVocabulary};
use crate::ids::TokenId;
use crate::plan::StepLimits;

const LIMITS: StepLimits = StepLimits {
    block_size_tokens: 4,
    num_blocks: 64,
    max_blocks: 64,
    max_page_ops: 64,
    max_rows: 32,
    max_sequences: 4,
    max_samples: 4,
    num_sampler_slots: 4,
    max_table_entries: 128,
    row_granularity: 8,
};

fn engine() -> (EngineHandle, FakeExecutor) {
    let clock = Rc::new(FakeClock::default());
    let handle = EngineHandle::new(EngineConfig::new(LIMITS, 200), Rc::new(FakeVocabulary), clock).unwrap();
    (handle, FakeExecutor::new(LIMITS, 64))
}

pub(super) fn request(owner: u64, max_tokens: u32) -> SequenceRequest {
    let prompt = (0..10).map(|t| TokenId(t + owner as u32)).collect();
    SequenceRequest {
        seed: Some(1),
        max_tokens: Some(max_tokens),
        ..SequenceRequest::new(OwnerId(owner), prompt)
    }
}

pub(super) async fn read(mut generation: Generation) -> (String, Option<FinishReason>) {
    let mut text = String::new();
    let mut reason = None;
    while let Some(event) = generation.events.next().await {
        match event {
            SequenceEvent::Delta { text: more, .. } => text.push_str(&more),
            SequenceEvent::Finished(finish) => reason = Some(finish.reason),
            SequenceEvent::Slid { .. } | SequenceEvent::Preempted { .. } | SequenceEvent::Restored { .. } => {
            }
        }
    }
    (text, reason)
}

/// The end of a generation that has ended: waiting for more would be waiting for ever.
fn read_now(generation: Generation) -> Option<FinishReason> {
    read(generation).now_or_never().expect("its last event has come").1
}

/// Polls a future by hand and counts wake-ups.
pub(super) struct Polled<F> {
    future: Pin<Box<F>>,
    wakes: Arc<Wakes>,
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl<F: Future> Polled<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Box::pin(future), wakes: Arc::default() }
    }

    fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(self.wakes.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls until nothing wakes it any more.
    pub(super) fn settle(&mut self) -> Poll<F::Output> {
        loop {
            self.wakes.0.store(0, Ordering::Relaxed);
            let polled = self.poll();
            if polled.is_ready() || self.wakes.0.load(Ordering::Relaxed) == 0 {
                return polled;
            }
        }
    }
}

#[test]
fn generations_run_together_under_a_plain_block_on() {
    let (handle, executor) = engine();
    let generations = [1, 2, 3].map(|owner| handle.submit(request(owner, 20)).unwrap());
    let stopper = handle.clone();
    let readers = async move {
        let texts = futures::future::join_all(generations.map(read)).await;
        stopper.stop();
        texts
    };
    let (ended, texts) = pollster::block_on(join(run(handle, Box::new(executor.clone())), readers));
    assert_eq!(ended, EngineError::Stopped);
    assert!(texts.iter().all(|(text, reason)| !text.is_empty() && *reason == Some(FinishReason::Length)));
    assert!(
        executor.num_submitted() < 30,
        "{} steps for three times twenty tokens",
        executor.num_submitted()
    );
    assert_eq!(executor.faults(), Vec::<String>::new());
}

#[test]
fn one_step_is_submitted_ahead_and_no_more() {
    let (handle, executor) = engine();
    executor.hold();
    let _generation = handle.submit(request(1, 20)).unwrap();
    let mut loop_ = Polled::new(run(handle, Box::new(executor.clone())));
    assert!(loop_.settle().is_pending());
    // Of ten tokens of prompt the first granule leaves two: both steps are known before anything comes back.
    assert_eq!(executor.num_submitted(), 2);
    assert!(executor.release());
    assert!(loop_.settle().is_pending());
    assert_eq!(executor.num_submitted(), 3);
}

#[test]
fn an_idle_loop_sleeps_until_something_is_submitted() {
    let (handle, executor) = engine();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor.clone())));
    assert!(loop_.settle().is_pending());
    assert_eq!(executor.num_submitted(), 0);
    let generation = handle.submit(request(1, 3)).unwrap();
    assert_eq!(loop_.wakes.0.load(Ordering::Relaxed), 1, "submitting wakes it");
    assert!(loop_.settle().is_pending());
    assert_eq!(read_now(generation), Some(FinishReason::Length));
}

#[test]
fn a_request_that_comes_while_a_step_runs_is_planned_behind_it() {
    let (handle, executor) = engine();
    executor.hold();
    let _first = handle.submit(request(1, 1)).unwrap();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor.clone())));
    assert!(loop_.settle().is_pending());
    executor.release();
    assert!(loop_.settle().is_pending());
    assert_eq!(executor.num_submitted(), 2, "the last step of the first request is running");
    let _second = handle.submit(request(2, 1)).unwrap();
    assert!(loop_.settle().is_pending());
    assert_eq!(executor.num_submitted(), 3);
}

#[test]
fn dropping_a_generation_cancels_it_and_returns_its_pages() {
    let (handle, executor) = engine();
    executor.hold();
    let generation = handle.submit(request(1, 50)).unwrap();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor.clone())));
    assert!(loop_.settle().is_pending());
    assert!(handle.usage().pages.held > 0);
    drop(generation);
    assert_eq!((handle.usage().pages.held, handle.usage().running), (0, 0));
    while executor.release() {
        assert!(loop_.settle().is_pending());
    }
    assert_eq!(executor.num_submitted(), 2, "nothing more is run for it");
}

#[test]
fn a_receiver_that_is_gone_cancels_too() {
    let (handle, executor) = engine();
    let mut generation = handle.submit(request(1, 100)).unwrap();
    generation.events.close();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor.clone())));
    assert!(loop_.settle().is_pending());
    assert!(executor.num_submitted() < 20, "{} steps", executor.num_submitted());
    assert_eq!(handle.usage().running, 0);
}

#[test]
fn cancelling_tells_the_listener_at_once() {
    let (handle, executor) = engine();
    executor.hold();
    let generation = handle.submit(request(1, 50)).unwrap();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor)));
    assert!(loop_.settle().is_pending());
    generation.cancel();
    assert_eq!(read_now(generation), Some(FinishReason::Abort));
}

#[test]
fn a_lost_device_ends_everything_with_its_error() {
    let lost = ExecutorError::DeviceLost { reason: "test".into() };
    let ended = EngineError::Executor(lost.clone());
    for at_submit in [true, false] {
        let (handle, executor) = engine();
        let generations = [1, 2].map(|owner| handle.submit(request(owner, 50)).unwrap());
        if at_submit {
            executor.fail_next_submit(lost.clone());
        } else {
            executor.fail_next_output(lost.clone());
        }
        assert_eq!(pollster::block_on(run(handle.clone(), Box::new(executor))), ended);
        for generation in generations {
            assert_eq!(read_now(generation), Some(FinishReason::Failed(ended.clone())));
        }
        assert_eq!(handle.submit(request(1, 1)).err(), Some(ended.clone()));
        assert_eq!(handle.ended(), Some(ended.clone()));
    }
}

#[test]
fn a_plan_that_the_executor_refuses_is_an_error_and_not_a_panic() {
    let (handle, _) = engine();
    let generation = handle.submit(request(1, 50)).unwrap();
    let small = FakeExecutor::new(StepLimits { max_rows: 2, ..LIMITS }, 64);
    let ended = pollster::block_on(run(handle, Box::new(small)));
    assert!(
        matches!(ended, EngineError::Executor(ExecutorError::PlanTooLarge { limit: 2, .. })),
        "{ended:?}"
    );
    assert!(matches!(read_now(generation), Some(FinishReason::Failed(_))));
}

#[test]
fn dropping_the_loop_tells_everybody() {
    let (handle, executor) = engine();
    executor.hold();
    let generation = handle.submit(request(1, 50)).unwrap();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor)));
    assert!(loop_.settle().is_pending());
    drop(loop_);
    let reason = read_now(generation);
    assert_eq!(reason, Some(FinishReason::Failed(EngineError::Stopped)));
    assert_eq!(handle.submit(request(1, 1)).err(), Some(EngineError::Stopped));
}

#[test]
fn stopping_ends_the_loop_even_while_a_step_runs() {
    let (handle, executor) = engine();
    executor.hold();
    let _generation = handle.submit(request(1, 50)).unwrap();
    let mut loop_ = pin!(Polled::new(run(handle.clone(), Box::new(executor))));
    assert!(loop_.settle().is_pending());
    handle.stop();
    assert_eq!(loop_.settle(), Poll::Ready(EngineError::Stopped));
}
