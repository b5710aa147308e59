//! Which models are loaded or being loaded, and which clients claim them.
//!
//! A second client that asks for a model joins the first one's load. A model that nobody claims any more is let go. Knows
//! nothing of how a model is loaded nor of messages.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use futures::channel::oneshot;
use hearth_protocol::config::ModelRecord;
use hearth_protocol::progress::InitProgressReport;

use crate::error::ShellError;
use crate::loaded::LoadedModel;

/// A model by what it is: two apps may give different files the same id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelKey {
    /// The id in the app's configuration.
    pub model_id: String,
    /// Where its file is.
    pub url: String,
}

impl ModelKey {
    /// The key of a record.
    pub fn of(record: &ModelRecord) -> Self {
        Self { model_id: record.model_id.clone(), url: record.model.clone() }
    }
}

type CancelHook = Box<dyn FnOnce()>;

/// Asks a load to stop at its next step.
#[derive(Clone, Default)]
pub struct CancelFlag {
    cancelled: Rc<Cell<bool>>,
    hooks: Rc<RefCell<Vec<CancelHook>>>,
}

impl CancelFlag {
    /// Stops the load.
    pub fn cancel(&self) {
        self.cancelled.set(true);
        for hook in self.hooks.take() {
            hook();
        }
    }

    /// An error once cancelled.
    ///
    /// # Errors
    /// [`ShellError::LoadCancelled`].
    pub fn check(&self) -> Result<(), ShellError> {
        if self.cancelled.get() { Err(ShellError::LoadCancelled) } else { Ok(()) }
    }

    /// Runs `hook` at cancellation, or now if that has come already.
    pub fn on_cancel(&self, hook: impl FnOnce() + 'static) {
        if self.cancelled.get() {
            hook();
        } else {
            self.hooks.borrow_mut().push(Box::new(hook));
        }
    }
}

type Outcome = Result<Rc<LoadedModel>, ShellError>;
type ProgressSink = Box<dyn Fn(&InitProgressReport)>;

struct Waiter {
    id: u64,
    on_progress: Option<ProgressSink>,
    done: oneshot::Sender<Outcome>,
}

/// A load that is going on.
pub struct PendingLoad {
    /// Stops it.
    pub cancel: CancelFlag,
    waiters: RefCell<Vec<Waiter>>,
    last_report: RefCell<Option<InitProgressReport>>,
}

impl PendingLoad {
    /// Passes a report to everyone who waits.
    pub fn report(&self, report: InitProgressReport) {
        for waiter in &*self.waiters.borrow() {
            if let Some(on_progress) = &waiter.on_progress {
                on_progress(&report);
            }
        }
        *self.last_report.borrow_mut() = Some(report);
    }
}

enum Slot {
    Loading(Rc<PendingLoad>),
    Ready(Rc<LoadedModel>),
}

/// One client's wait for a load.
pub struct Waiting {
    /// Gives it up with [`ModelTable::give_up`].
    pub id: u64,
    /// The model, or why there is none.
    pub outcome: oneshot::Receiver<Outcome>,
    /// The load to start, when nobody had asked before.
    pub start: Option<Rc<PendingLoad>>,
}

/// What [`ModelTable::request`] found.
pub enum Found {
    /// It is here.
    Ready(Rc<LoadedModel>),
    /// It is on its way.
    Waiting(Waiting),
}

/// The table.
#[derive(Default)]
pub struct ModelTable {
    slots: RefCell<BTreeMap<ModelKey, Slot>>,
    claims: RefCell<BTreeMap<ModelKey, BTreeSet<String>>>,
    next_waiter: Cell<u64>,
}

impl ModelTable {
    /// The model if it is loaded and its device lives.
    pub fn find(&self, key: &ModelKey) -> Option<Rc<LoadedModel>> {
        match self.slots.borrow().get(key) {
            Some(Slot::Ready(model)) if model.is_alive() => Some(model.clone()),
            Some(Slot::Ready(_) | Slot::Loading(_)) | None => None,
        }
    }

    /// The model, or a place among those who wait for it.
    pub fn request(&self, key: &ModelKey, on_progress: Option<ProgressSink>) -> Found {
        if let Some(model) = self.find(key) {
            return Found::Ready(model);
        }
        let mut slots = self.slots.borrow_mut();
        let (load, is_new) = match slots.get(key) {
            Some(Slot::Loading(load)) => (load.clone(), false),
            Some(Slot::Ready(_)) | None => {
                let load = Rc::new(PendingLoad {
                    cancel: CancelFlag::default(),
                    waiters: RefCell::default(),
                    last_report: RefCell::default(),
                });
                slots.insert(key.clone(), Slot::Loading(load.clone()));
                (load, true)
            }
        };
        if let (Some(on_progress), Some(report)) = (&on_progress, &*load.last_report.borrow()) {
            on_progress(report);
        }
        let id = self.next_waiter.get();
        self.next_waiter.set(id + 1);
        let (done, outcome) = oneshot::channel();
        load.waiters.borrow_mut().push(Waiter { id, on_progress, done });
        Found::Waiting(Waiting { id, outcome, start: is_new.then_some(load) })
    }

    /// One client no longer waits; a load that nobody waits for is stopped.
    pub fn give_up(&self, waiter_id: u64) {
        let mut slots = self.slots.borrow_mut();
        let mut abandoned = None;
        for (key, slot) in slots.iter() {
            let Slot::Loading(load) = slot else { continue };
            let mut waiters = load.waiters.borrow_mut();
            let Some(index) = waiters.iter().position(|waiter| waiter.id == waiter_id) else { continue };
            let _ = waiters.remove(index).done.send(Err(ShellError::LoadCancelled));
            if waiters.is_empty() {
                abandoned = Some((key.clone(), load.clone()));
            }
            break;
        }
        if let Some((key, load)) = abandoned {
            slots.remove(&key);
            drop(slots);
            load.cancel.cancel();
        }
    }

    /// The load has ended: everyone who waits is told.
    pub fn finish(&self, key: &ModelKey, load: &Rc<PendingLoad>, outcome: Outcome) {
        let mut slots = self.slots.borrow_mut();
        // The slot may belong to a later load by now: this one was cancelled.
        if matches!(slots.get(key), Some(Slot::Loading(current)) if Rc::ptr_eq(current, load)) {
            match &outcome {
                Ok(model) => slots.insert(key.clone(), Slot::Ready(model.clone())),
                Err(_) => slots.remove(key),
            };
        }
        drop(slots);
        for waiter in load.waiters.take() {
            let _ = waiter.done.send(outcome.clone());
        }
    }

    /// `client_id` uses the model.
    pub fn claim(&self, key: &ModelKey, client_id: &str) {
        self.claims.borrow_mut().entry(key.clone()).or_default().insert(client_id.to_owned());
    }

    /// `client_id` does not use the model after all.
    pub fn unclaim(&self, key: &ModelKey, client_id: &str) {
        let mut claims = self.claims.borrow_mut();
        if let Some(clients) = claims.get_mut(key) {
            clients.remove(client_id);
            if clients.is_empty() {
                claims.remove(key);
            }
        }
    }

    /// True when others than `client_id` claim the model.
    pub fn is_shared(&self, key: &ModelKey, client_id: &str) -> bool {
        self.claims.borrow().get(key).is_some_and(|clients| clients.iter().any(|id| id != client_id))
    }

    /// Lets go of a loaded model whoever claims it; claims stay.
    pub fn evict(&self, key: &ModelKey) {
        let mut slots = self.slots.borrow_mut();
        if matches!(slots.get(key), Some(Slot::Ready(_))) {
            slots.remove(key);
        }
    }

    /// The loaded models.
    pub fn loaded(&self) -> Vec<(ModelKey, Rc<LoadedModel>)> {
        let slots = self.slots.borrow();
        let ready = |(key, slot): (&ModelKey, &Slot)| match slot {
            Slot::Ready(model) => Some((key.clone(), model.clone())),
            Slot::Loading(_) => None,
        };
        slots.iter().filter_map(ready).collect()
    }

    /// `client_id` no longer uses the models that `keep` does not name; those that nobody uses are let go.
    pub fn release(&self, client_id: &str, keep: &[ModelKey]) {
        self.drop_claims(client_id, keep);
        self.free_unclaimed();
    }

    /// `client_id` has gone. Its models stay until the room is needed: pages are often loaded again.
    pub fn forget_client(&self, client_id: &str) {
        self.drop_claims(client_id, &[]);
    }

    /// Lets go of loaded models that nobody claims.
    pub fn free_unclaimed(&self) {
        let claims = self.claims.borrow();
        self.slots.borrow_mut().retain(|key, slot| match slot {
            Slot::Loading(_) => true,
            Slot::Ready(model) => claims.contains_key(key) && model.is_alive(),
        });
    }

    fn drop_claims(&self, client_id: &str, keep: &[ModelKey]) {
        self.claims.borrow_mut().retain(|key, clients| {
            if !keep.contains(key) {
                clients.remove(client_id);
            }
            !clients.is_empty()
        });
    }
}
