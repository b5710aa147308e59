//! The loop that owns schedule, submit and commit: one submit for each step, one step of run-ahead.
//!
//! Everything is on one thread and needs no runtime: [`run`] is a future for whatever polls futures, and sleeps on its
//! waker when there is nothing to do. The engine is never borrowed across an await, nor while somebody else's code runs.

mod between_steps;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::channel::oneshot;

use crate::engine::{
    Engine, EngineConfig, EngineError, EngineUsage, MAX_STEPS_IN_FLIGHT, OwnerBudget, OwnerEvent, PageInfo,
    SequenceEvent, SequenceRequest,
};
use crate::ids::{OwnerId, SequenceId, TokenId};
use crate::plan::{StepOutput, StepPlan};
use crate::ports::{Clock, Executor, ExecutorError, LocalFuture};
use crate::tokenizer::Vocabulary;

use between_steps::{Command, Import, work_between_steps};

type StepFuture = LocalFuture<Result<StepOutput, ExecutorError>>;

/// What handles, generations and the loop share.
struct Shared {
    engine: RefCell<Engine>,
    clock: Rc<dyn Clock>,
    /// Who listens to each sequence.
    listeners: RefCell<HashMap<SequenceId, UnboundedSender<SequenceEvent>>>,
    /// Who listens to what happens to owners.
    owner_listener: RefCell<Option<UnboundedSender<(OwnerId, OwnerEvent)>>>,
    /// Work on the executor that waits until no step is in flight.
    commands: RefCell<VecDeque<Command>>,
    /// The loop's, while it waits.
    waker: Cell<Option<Waker>>,
    /// Something changed that the loop should look at.
    has_news: Cell<bool>,
    /// Why nothing runs any more.
    ended: RefCell<Option<EngineError>>,
}

/// Access to an engine, for everybody who is not the loop. Clones are the same engine.
#[derive(Clone)]
pub struct EngineHandle {
    shared: Rc<Shared>,
}

/// A sequence that was submitted. Dropping it cancels the sequence.
pub struct Generation {
    /// The sequence.
    pub id: SequenceId,
    /// Its events; the last one is [`SequenceEvent::Finished`].
    pub events: UnboundedReceiver<SequenceEvent>,
    shared: Rc<Shared>,
}

impl EngineHandle {
    /// An engine with nothing to do; [`run`] makes it go.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn new(
        config: EngineConfig,
        vocabulary: Rc<dyn Vocabulary>,
        clock: Rc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        let engine = RefCell::new(Engine::new(config, vocabulary)?);
        Ok(Self {
            shared: Rc::new(Shared {
                engine,
                clock,
                listeners: RefCell::default(),
                owner_listener: RefCell::default(),
                commands: RefCell::default(),
                waker: Cell::default(),
                has_news: Cell::new(false),
                ended: RefCell::new(None),
            }),
        })
    }

    /// Queues a sequence. It may be submitted before [`run`] is first polled.
    ///
    /// # Errors
    /// As [`Engine::add`]; or the error with which the engine has ended.
    pub fn submit(&self, request: SequenceRequest) -> Result<Generation, EngineError> {
        if let Some(error) = self.ended() {
            return Err(error);
        }
        let now_ms = self.shared.clock.now_ms();
        let id = self.shared.engine.borrow_mut().add(request, now_ms)?;
        let (sender, events) = unbounded();
        self.shared.listeners.borrow_mut().insert(id, sender);
        // A reply that goes on may have been complete already.
        self.shared.deliver();
        self.shared.notify();
        Ok(Generation { id, events, shared: self.shared.clone() })
    }

    /// Ends a sequence early: its last event comes at once. Nothing happens when it has ended already.
    pub fn cancel(&self, id: SequenceId) {
        self.shared.cancel(id);
    }

    /// Ends all sequences of an owner early.
    pub fn cancel_owner(&self, owner: OwnerId) {
        let now_ms = self.shared.clock.now_ms();
        self.shared.engine.borrow_mut().cancel_owner(owner, now_ms);
        self.shared.deliver();
        self.shared.notify();
    }

    /// As [`Engine::set_owner_weight`].
    pub fn set_owner_weight(&self, owner: OwnerId, weight: f64) {
        self.shared.engine.borrow_mut().set_owner_weight(owner, weight);
    }

    /// As [`Engine::add_owner`].
    pub fn add_owner(&self, owner: OwnerId) {
        self.with_engine(|engine, _| engine.add_owner(owner));
    }

    /// As [`Engine::remove_owner`].
    pub fn remove_owner(&self, owner: OwnerId) {
        self.with_engine(|engine, now_ms| engine.remove_owner(owner, now_ms));
    }

    /// As [`Engine::set_owner_budget`].
    pub fn set_owner_budget(&self, owner: OwnerId, budget: OwnerBudget) {
        self.with_engine(|engine, _| engine.set_owner_budget(owner, budget));
    }

    /// As [`Engine::pause_owner`].
    pub fn pause_owner(&self, owner: OwnerId, is_paused: bool) {
        self.with_engine(|engine, _| engine.pause_owner(owner, is_paused));
    }

    /// As [`Engine::evict_owner`].
    pub fn evict_owner(&self, owner: OwnerId) -> u32 {
        self.with_engine(|engine, _| engine.evict_owner(owner))
    }

    /// As [`Engine::touch_prefix`].
    pub fn touch_prefix(&self, owner: OwnerId, tokens: &[TokenId]) {
        self.with_engine(|engine, _| engine.touch_prefix(owner, tokens));
    }

    /// As [`Engine::budget_tokens`].
    pub fn budget_tokens(&self, owner: OwnerId) -> u32 {
        self.shared.engine.borrow().budget_tokens(owner)
    }

    /// As [`Engine::cached_tokens`].
    pub fn cached_tokens(&self, tokens: &[TokenId]) -> u32 {
        self.shared.engine.borrow().cached_tokens(tokens)
    }

    /// As [`Engine::pages`].
    pub fn pages(&self) -> Vec<PageInfo> {
        self.shared.engine.borrow().pages()
    }

    /// What happens to owners from now on; a second call takes it over from the first.
    pub fn take_owner_events(&self) -> UnboundedReceiver<(OwnerId, OwnerEvent)> {
        let (sender, receiver) = unbounded();
        *self.shared.owner_listener.borrow_mut() = Some(sender);
        receiver
    }

    /// What the pages of the longest known prefix of `tokens` hold, from page `first_block` on. Read between two steps.
    ///
    /// # Errors
    /// The device failed, or the engine has ended.
    pub async fn export_pages(
        &self,
        tokens: &[TokenId],
        first_block: u32,
    ) -> Result<Vec<Vec<u8>>, EngineError> {
        let tokens = tokens.to_vec();
        self.command(|done| Command::Export { tokens, first_block, done }).await
    }

    /// Puts pages that were exported into the cache, as the owner's, where there is room or pages that nobody uses. Returns the
    /// tokens of the prefix that are cached now.
    ///
    /// # Errors
    /// A page has the wrong size, the device failed, or the engine has ended.
    pub async fn import_pages(
        &self,
        owner: OwnerId,
        tokens: &[TokenId],
        first_block: u32,
        pages: Vec<Vec<u8>>,
    ) -> Result<u32, EngineError> {
        let tokens = tokens.to_vec();
        self.command(|done| Command::Import(Import { owner, tokens, first_block, pages, done })).await
    }

    /// Gives memory back: what is cached goes, and the pool becomes as small as the pages in use allow, in whole slabs. Returns
    /// the pages that are left.
    ///
    /// # Errors
    /// The device failed, or the engine has ended.
    pub async fn shrink_pool(&self) -> Result<u32, EngineError> {
        self.command(|done| Command::Shrink { done }).await
    }

    async fn command<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, EngineError>>) -> Command,
    ) -> Result<T, EngineError> {
        if let Some(error) = self.ended() {
            return Err(error);
        }
        let (done, outcome) = oneshot::channel();
        self.shared.commands.borrow_mut().push_back(make(done));
        self.shared.notify();
        outcome.await.unwrap_or_else(|_| Err(self.ended().unwrap_or(EngineError::Stopped)))
    }

    fn with_engine<T>(&self, change: impl FnOnce(&mut Engine, f64) -> T) -> T {
        let now_ms = self.shared.clock.now_ms();
        let result = change(&mut self.shared.engine.borrow_mut(), now_ms);
        self.shared.deliver();
        self.shared.notify();
        result
    }

    /// What is held by whom.
    pub fn usage(&self) -> EngineUsage {
        self.shared.engine.borrow().usage()
    }

    /// Tokens of prompt and reply together that one sequence can have.
    pub fn context_window_tokens(&self) -> u32 {
        self.shared.engine.borrow().context_window_tokens()
    }

    /// Why nothing runs any more; `None` while the engine is alive.
    pub fn ended(&self) -> Option<EngineError> {
        self.shared.ended.borrow().clone()
    }

    /// Ends the engine: every sequence is told, and [`run`] returns.
    pub fn stop(&self) {
        self.shared.end(&EngineError::Stopped);
    }
}

impl Generation {
    /// Ends it early: the rest of its events come at once, the last of them with the reason `Abort`.
    pub fn cancel(&self) {
        self.shared.cancel(self.id);
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        let listener = self.shared.listeners.borrow_mut().remove(&self.id);
        if listener.is_some() {
            self.shared.cancel(self.id);
        }
    }
}

impl Shared {
    fn cancel(&self, id: SequenceId) {
        let now_ms = self.clock.now_ms();
        self.engine.borrow_mut().cancel(id, now_ms);
        self.deliver();
        // Pages have come free for somebody who waits.
        self.notify();
    }

    /// Ends the engine; the first reason stands.
    fn end(&self, error: &EngineError) {
        if self.ended.borrow().is_some() {
            return;
        }
        *self.ended.borrow_mut() = Some(error.clone());
        let now_ms = self.clock.now_ms();
        self.engine.borrow_mut().fail_all(error, now_ms);
        // Those who wait for them hear that they are gone.
        self.commands.borrow_mut().clear();
        self.deliver();
        self.notify();
    }

    /// Hands events to those who listen.
    fn deliver(&self) {
        let owner_events = self.engine.borrow_mut().take_owner_events();
        if let Some(listener) = &*self.owner_listener.borrow() {
            for event in owner_events {
                // Whoever took it and dropped it does not want to know.
                let _ = listener.unbounded_send(event);
            }
        }
        let events = self.engine.borrow_mut().take_events();
        for (id, event) in events {
            let is_last = matches!(event, SequenceEvent::Finished(_));
            let listener = {
                let mut listeners = self.listeners.borrow_mut();
                if is_last { listeners.remove(&id) } else { listeners.get(&id).cloned() }
            };
            // A receiver that was taken out of its generation and dropped: nobody wants the rest.
            let unheard = listener.is_some_and(|listener| listener.unbounded_send(event).is_err());
            if unheard && !is_last {
                self.listeners.borrow_mut().remove(&id);
                let now_ms = self.clock.now_ms();
                self.engine.borrow_mut().cancel(id, now_ms);
            }
        }
    }

    fn has_work_between_steps(&self) -> bool {
        !self.commands.borrow().is_empty() || self.engine.borrow_mut().wanted_blocks().is_some()
    }

    fn notify(&self) {
        self.has_news.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Ready once after each [`Shared::notify`].
    fn poll_news(&self, context: &Context<'_>) -> Poll<()> {
        if self.has_news.take() {
            return Poll::Ready(());
        }
        self.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

/// Ends the engine when the loop's future is dropped, so that nobody waits for events that never come.
struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end(&EngineError::Stopped);
    }
}

/// Runs an engine on its executor until it is stopped or the executor fails; every sequence has been told by then.
/// Returns the reason: [`EngineError::Stopped`] after [`EngineHandle::stop`]. Poll it once per engine.
pub async fn run(handle: EngineHandle, mut executor: Box<dyn Executor>) -> EngineError {
    let shared = &*handle.shared;
    let _ended = EndOnDrop(shared);
    let mut plan = StepPlan::default();
    let mut in_flight: VecDeque<StepFuture> = VecDeque::with_capacity(MAX_STEPS_IN_FLIGHT);
    loop {
        if let Some(error) = handle.ended() {
            return error;
        }
        let has_work = shared.has_work_between_steps();
        if has_work
            && in_flight.is_empty()
            && let Err(error) = work_between_steps(shared, &mut *executor).await
        {
            shared.end(&error);
            continue;
        }
        // With work waiting, the steps in flight come back first.
        while in_flight.len() < MAX_STEPS_IN_FLIGHT && !shared.has_work_between_steps() {
            let now_ms = shared.clock.now_ms();
            if !shared.engine.borrow_mut().plan(now_ms, &mut plan) {
                break;
            }
            match executor.submit(&plan) {
                Ok(step) => in_flight.push_back(step),
                Err(error) => shared.end(&EngineError::Executor(error)),
            }
            if shared.ended.borrow().is_some() {
                break;
            }
        }
        match next_turn(shared, &mut in_flight).await {
            Turn::News => {}
            Turn::Output(Ok(output)) => {
                let now_ms = shared.clock.now_ms();
                let committed = shared.engine.borrow_mut().commit(&output, now_ms);
                shared.deliver();
                if let Err(error) = committed {
                    shared.end(&error);
                }
                // An executor that is always ready must not keep those who listen from being polled.
                yield_once().await;
            }
            Turn::Output(Err(error)) => shared.end(&EngineError::Executor(error)),
        }
    }
}

enum Turn {
    /// Something was submitted, cancelled or stopped.
    News,
    /// The oldest step has come back.
    Output(Result<StepOutput, ExecutorError>),
}

/// Waits for the oldest step in flight, or for news where news could make a difference.
async fn next_turn(shared: &Shared, in_flight: &mut VecDeque<StepFuture>) -> Turn {
    poll_fn(|context| {
        if let Some(step) = in_flight.front_mut()
            && let Poll::Ready(output) = step.as_mut().poll(context)
        {
            in_flight.pop_front();
            return Poll::Ready(Turn::Output(output));
        }
        shared.poll_news(context).map(|()| Turn::News)
    })
    .await
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod pool_tests;
#[cfg(test)]
mod tests;
