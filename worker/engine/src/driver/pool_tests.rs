//! The pool between steps: it grows, shrinks, and pages travel from one engine to another.

use std::cell::Cell;
use std::rc::Rc;

use futures::StreamExt;
use futures::future::join;

use super::tests::{Polled, request};
use super::*;
use crate::engine::FinishReason;
use crate::fake::{FakeClock, FakeExecutor, FakeVocabulary};
use crate::ids::BlockId;
use crate::plan::StepLimits;
use crate::ports::BorrowedFuture;

const LIMITS: StepLimits = StepLimits {
    block_size_tokens: 4,
    num_blocks: 8,
    max_blocks: 64,
    max_page_ops: 8,
    max_rows: 32,
    max_sequences: 4,
    max_samples: 4,
    num_sampler_slots: 4,
    max_table_entries: 128,
    row_granularity: 8,
};

fn engine() -> (EngineHandle, FakeExecutor) {
    let clock = Rc::new(FakeClock::default());
    let config = EngineConfig { slab_blocks: 8, ..EngineConfig::new(LIMITS, 200) };
    (EngineHandle::new(config, Rc::new(FakeVocabulary), clock).unwrap(), FakeExecutor::new(LIMITS, 64))
}

fn long_prompt() -> Vec<TokenId> {
    (0..40).map(|token| TokenId(token % 13)).collect()
}

fn long_request(owner: u64) -> SequenceRequest {
    SequenceRequest { prompt: long_prompt(), ..request(owner, 20) }
}

/// Runs `work` beside an engine's loop, which ends with it.
fn beside<T>(handle: &EngineHandle, executor: Box<dyn Executor>, work: impl Future<Output = T>) -> T {
    let stopped = async {
        let result = work.await;
        handle.stop();
        result
    };
    pollster::block_on(join(run(handle.clone(), executor), stopped)).1
}

async fn text(generation: Generation) -> String {
    super::tests::read(generation).await.0
}

#[test]
fn the_pool_grows_between_steps_and_shrinks_on_request() {
    let (handle, executor) = engine();
    let pages = || handle.usage().pages;
    let (during, after, left) = beside(&handle, Box::new(executor.clone()), async {
        let mut generation = handle.submit(long_request(1)).unwrap();
        assert!(generation.events.next().await.is_some());
        let during = pages().total;
        text(generation).await;
        let after = pages().cached;
        (during, after, handle.shrink_pool().await.unwrap())
    });
    assert_eq!((during, left), (16, 8), "in whole slabs");
    assert!(after > 8);
    assert_eq!((pages().total, pages().held), (8, 0));
    assert_eq!(executor.faults(), Vec::<String>::new());
}

#[test]
fn a_device_without_room_ends_what_cannot_fit_and_nothing_else() {
    let (handle, executor) = engine();
    executor.limit_blocks(8);
    let ends = beside(&handle, Box::new(executor), async {
        let (long, short) = (handle.submit(long_request(1)).unwrap(), handle.submit(request(2, 5)).unwrap());
        join(super::tests::read(long), super::tests::read(short)).await
    });
    assert!(
        matches!(ends.0.1, Some(FinishReason::Failed(EngineError::PromptExceedsCache { .. }))),
        "{ends:?}"
    );
    assert_eq!(ends.1.1, Some(FinishReason::Length));
}

#[test]
fn pages_travel_from_one_engine_to_another() {
    let (handle, executor) = engine();
    let (first_text, pages) = beside(&handle, Box::new(executor), async {
        let text = text(handle.submit(long_request(1)).unwrap()).await;
        (text, handle.export_pages(&long_prompt(), 0).await.unwrap())
    });
    assert_eq!(pages.len(), 10);
    let (handle, executor) = engine();
    handle.add_owner(OwnerId(1));
    let tail = pages[4..].to_vec();
    let (too_far, head, all, second_text) = beside(&handle, Box::new(executor.clone()), async {
        let too_far = handle.import_pages(OwnerId(1), &long_prompt(), 4, tail.clone()).await.unwrap();
        let head = handle.import_pages(OwnerId(1), &long_prompt(), 0, pages[..4].to_vec()).await.unwrap();
        let all = handle.import_pages(OwnerId(1), &long_prompt(), 4, tail).await.unwrap();
        (too_far, head, all, text(handle.submit(long_request(1)).unwrap()).await)
    });
    assert_eq!((too_far, head), (0, 16), "the pages before must be there");
    assert!(all >= 32, "as far as there was room: {all}");
    assert_eq!(second_text, first_text);
    assert_eq!(executor.faults(), Vec::<String>::new());
}

#[test]
fn pages_of_a_wrong_size_and_of_owners_that_are_gone_are_not_taken() {
    let (handle, executor) = engine();
    let page = vec![0; executor.block_bytes() as usize];
    let (wrong, gone) = beside(&handle, Box::new(executor), async {
        let gone = handle.import_pages(OwnerId(1), &long_prompt(), 0, vec![page.clone()]).await;
        handle.add_owner(OwnerId(1));
        let pages = vec![page, vec![0; 3]];
        (handle.import_pages(OwnerId(1), &long_prompt(), 0, pages).await, gone)
    });
    assert!(matches!(wrong, Err(EngineError::Executor(ExecutorError::WrongPageSize { .. }))), "{wrong:?}");
    assert_eq!(gone, Ok(0));
    assert_eq!(handle.usage().pages.cached, 0);
}

/// Its second page cannot be written.
struct Failing {
    inner: FakeExecutor,
    num_written: Cell<u32>,
}

impl Executor for Failing {
    fn limits(&self) -> StepLimits {
        self.inner.limits()
    }

    fn submit(&mut self, plan: &StepPlan) -> Result<StepFuture, ExecutorError> {
        self.inner.submit(plan)
    }

    fn resize(&mut self, num_blocks: u32) -> BorrowedFuture<'_, Result<u32, ExecutorError>> {
        self.inner.resize(num_blocks)
    }

    fn read_blocks<'a>(
        &'a mut self,
        blocks: &[BlockId],
    ) -> BorrowedFuture<'a, Result<Vec<Vec<u8>>, ExecutorError>> {
        self.inner.read_blocks(blocks)
    }

    fn write_block(&mut self, block: BlockId, bytes: &[u8]) -> Result<(), ExecutorError> {
        self.num_written.set(self.num_written.get() + 1);
        if self.num_written.get() == 2 {
            return Err(ExecutorError::Device { reason: "test".into() });
        }
        self.inner.write_block(block, bytes)
    }

    fn block_bytes(&self) -> u64 {
        self.inner.block_bytes()
    }
}

#[test]
fn pages_that_could_not_be_written_are_not_found() {
    let (handle, inner) = engine();
    handle.add_owner(OwnerId(1));
    let pages = vec![vec![0; inner.block_bytes() as usize]; 3];
    let failing = Failing { inner, num_written: Cell::new(0) };
    let (outcome, cached) = beside(&handle, Box::new(failing), async {
        let outcome = handle.import_pages(OwnerId(1), &long_prompt(), 0, pages).await;
        (outcome, handle.cached_tokens(&long_prompt()))
    });
    assert!(outcome.is_err());
    assert_eq!(cached, 0);
}

#[test]
fn work_waits_for_the_steps_in_flight_and_ends_with_the_engine() {
    let (handle, executor) = engine();
    executor.hold();
    let _generation = handle.submit(request(1, 20)).unwrap();
    let mut loop_ = Polled::new(run(handle.clone(), Box::new(executor.clone())));
    assert!(loop_.settle().is_pending());
    let mut export = Polled::new(handle.export_pages(&[], 0));
    assert!(export.settle().is_pending());
    assert_eq!(executor.num_submitted(), 2);
    assert!(executor.release() && loop_.settle().is_pending());
    assert_eq!(executor.num_submitted(), 2, "no step is begun before it");
    assert!(export.settle().is_pending());
    assert!(executor.release() && loop_.settle().is_pending());
    assert_eq!(export.settle(), Poll::Ready(Ok(Vec::new())));
    assert_eq!(executor.num_submitted(), 4, "then the steps go on");
    let mut shrink = Polled::new(handle.shrink_pool());
    assert!(shrink.settle().is_pending());
    drop(loop_);
    assert_eq!(shrink.settle(), Poll::Ready(Err(EngineError::Stopped)));
}

#[test]
fn owners_hear_of_their_budgets() {
    let (handle, _) = engine();
    let mut events = handle.take_owner_events();
    handle.add_owner(OwnerId(1));
    handle.add_owner(OwnerId(2));
    handle.set_owner_budget(OwnerId(2), OwnerBudget::Tokens(56));
    let heard: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    let changed = |owner, budget_tokens, previous_tokens| {
        (OwnerId(owner), OwnerEvent::BudgetChanged { budget_tokens, previous_tokens, num_owners: 2 })
    };
    // The window is 200 tokens: nobody has less than that.
    assert_eq!(heard, [changed(1, 200, 256), changed(2, 56, 200)]);
}
