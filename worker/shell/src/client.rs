//! One client of the worker: a tab, or the page itself. What it asked for and what is going on for it; nothing of it is
//! visible to other clients.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use hearth_engine::ids::OwnerId;
use hearth_protocol::config::{AppConfig, ChatOptions, ModelRecord};
use hearth_protocol::content::HelloContent;
use serde::{Deserialize, Serialize};

use crate::models::ModelKey;
use crate::pull::PullStream;

/// A model that a client has loaded, with what is needed to load it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadedRecord {
    /// The record as it was when the model was loaded.
    pub record: ModelRecord,
    /// The client's options.
    pub chat_opts: Option<ChatOptions>,
}

/// What can be going on for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkKind {
    /// A request on its way to a reply.
    Request,
    /// A wait for a model.
    Load(ModelKey),
    /// A reply.
    Reply,
}

/// One client.
pub struct Client {
    /// The browser's id of it.
    pub id: String,
    /// Its identity in the engine.
    pub owner: OwnerId,
    /// Set for pages of Hearth's own client.
    pub hello: RefCell<Option<HelloContent>>,
    /// The configuration that this client sent.
    pub app_config: RefCell<Option<Rc<AppConfig>>>,
    /// The models that it has loaded, in its order.
    pub loaded: RefCell<Vec<LoadedRecord>>,
    /// Its pull streams by their key.
    pub streams: RefCell<BTreeMap<String, Rc<PullStream>>>,
    work: RefCell<BTreeMap<u64, Work>>,
    next_work: Cell<u64>,
}

struct Work {
    kind: WorkKind,
    uuid: String,
    cancel: Rc<dyn Fn()>,
}

/// Something that is going on for a client and can be cancelled. Dropping it says that it has ended.
pub struct WorkGuard {
    client: Rc<Client>,
    number: u64,
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        self.client.work.borrow_mut().remove(&self.number);
    }
}

impl Client {
    /// A client that was not known before.
    pub fn new(id: &str, owner: OwnerId) -> Self {
        Self {
            id: id.to_owned(),
            owner,
            hello: RefCell::default(),
            app_config: RefCell::default(),
            loaded: RefCell::default(),
            streams: RefCell::default(),
            work: RefCell::default(),
            next_work: Cell::new(0),
        }
    }

    /// Registers work that the message `uuid` began, with the way to cancel it.
    pub fn begin(self: &Rc<Self>, kind: WorkKind, uuid: &str, cancel: impl Fn() + 'static) -> WorkGuard {
        let number = self.next_work.get();
        self.next_work.set(number + 1);
        let work = Work { kind, uuid: uuid.to_owned(), cancel: Rc::new(cancel) };
        self.work.borrow_mut().insert(number, work);
        WorkGuard { client: self.clone(), number }
    }

    /// Cancels what the message `uuid` began.
    pub fn cancel_message(&self, uuid: &str) {
        self.cancel_where(|work| work.uuid == uuid);
    }

    /// Cancels everything of the kinds that `matches` says.
    pub fn cancel_kinds(&self, matches: impl Fn(&WorkKind) -> bool) {
        self.cancel_where(|work| matches(&work.kind));
    }

    /// Cancels everything.
    pub fn cancel_all(&self) {
        self.cancel_where(|_| true);
    }

    /// True while something is going on for this client.
    pub fn is_busy(&self) -> bool {
        !self.work.borrow().is_empty()
    }

    /// Ids of the loaded models.
    pub fn loaded_ids(&self) -> Vec<String> {
        self.loaded.borrow().iter().map(|loaded| loaded.record.model_id.clone()).collect()
    }

    /// Cancelling may end the work at once, which removes it from the table: nothing is borrowed meanwhile.
    fn cancel_where(&self, matches: impl Fn(&Work) -> bool) {
        let cancels: Vec<_> = self
            .work
            .borrow()
            .values()
            .filter(|work| matches(work))
            .map(|work| work.cancel.clone())
            .collect();
        for cancel in cancels {
            cancel();
        }
    }
}
