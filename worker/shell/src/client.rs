//! One client of the worker: a tab, or the page itself. What it asked for and what is going on for it; nothing of it is
//! visible to other clients.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hearth_engine::chat::TabOptions;
use hearth_engine::ids::OwnerId;
use hearth_protocol::config::{AppConfig, ChatOptions, ModelRecord};
use hearth_protocol::content::HelloContent;
use serde::{Deserialize, Serialize};

use crate::attention::Attention;
use crate::error::ShellError;
use crate::message::Outlet;
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

impl LoadedRecord {
    /// The tab's options, laid over the record's.
    ///
    /// # Errors
    /// They make no sense.
    pub fn tab_options(&self) -> Result<TabOptions, ShellError> {
        Ok(TabOptions::resolve(self.record.overrides.as_ref(), self.chat_opts.as_ref())?)
    }
}

/// What was said last in a conversation, as far as it outlives the worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Said {
    /// The text of the last reply.
    pub text: String,
    /// Tokens of the conversation.
    pub context_tokens: u32,
}

/// The tokens of a conversation, as the cache has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// Of the last prompt and its reply.
    pub tokens: Vec<u32>,
    /// Its pages are stored, as far as they are worth it.
    pub is_kept: bool,
}

/// What of a client outlives the worker.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientRecord {
    /// Its models with its options, its budget among them.
    pub loaded: Vec<LoadedRecord>,
    /// What was said last, by model id; without branches.
    pub said: BTreeMap<String, Said>,
}

/// What can be going on for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkKind {
    /// A request on its way to a reply.
    Request,
    /// A wait for a model.
    Load(ModelKey),
    /// A reply to one of the page's branches; none for the page itself.
    Reply(Option<String>),
}

/// One client.
pub struct Client {
    /// The browser's id of it.
    pub id: String,
    /// Its identity in the engine.
    pub owner: OwnerId,
    /// Set for pages of Hearth's own client.
    pub hello: RefCell<Option<HelloContent>>,
    /// Names of the Web Locks that are free when the page is gone.
    pub locks: RefCell<BTreeSet<String>>,
    /// Where events go; only pages of Hearth's own client know them.
    pub outlet: RefCell<Option<Outlet>>,
    /// Events of all tabs are wanted.
    pub watches_all: Cell<bool>,
    /// What the browser does with the page.
    pub attention: Cell<Attention>,
    /// The page is gone: what still ends for it leaves nothing behind.
    pub is_gone: Cell<bool>,
    /// The page's title.
    pub title: RefCell<Option<String>>,
    /// When its last request began or its last reply ended.
    pub active_ms: Cell<f64>,
    /// Its pages went because it was silent, and it has been silent since.
    pub is_put_to_rest: Cell<bool>,
    /// The configuration that this client sent.
    pub app_config: RefCell<Option<Rc<AppConfig>>>,
    /// The models that it has loaded, in its order.
    pub loaded: RefCell<Vec<LoadedRecord>>,
    /// What was said last, by model id.
    pub said: RefCell<BTreeMap<String, Said>>,
    /// The last conversation with each model.
    pub conversations: RefCell<BTreeMap<ModelKey, Conversation>>,
    /// Somebody waits for it to be quiet, to store its pages.
    pub is_resting: Cell<bool>,
    /// What is stored of it is not what it is now.
    pub is_unsaved: Cell<bool>,
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
            locks: RefCell::default(),
            outlet: RefCell::default(),
            watches_all: Cell::new(false),
            attention: Cell::default(),
            is_gone: Cell::new(false),
            title: RefCell::default(),
            active_ms: Cell::new(0.0),
            is_put_to_rest: Cell::new(false),
            app_config: RefCell::default(),
            loaded: RefCell::default(),
            said: RefCell::default(),
            conversations: RefCell::default(),
            is_resting: Cell::new(false),
            is_unsaved: Cell::new(false),
            streams: RefCell::default(),
            work: RefCell::default(),
            next_work: Cell::new(0),
        }
    }

    /// The identity that other pages see: the page's own, where it has one.
    pub fn tab_id(&self) -> String {
        self.hello.borrow().as_ref().map_or_else(|| self.id.clone(), |hello| hello.tab.clone())
    }

    /// True for a page that will be missed at once when it goes: its Web Lock comes free.
    pub fn holds_lock(&self) -> bool {
        !self.locks.borrow().is_empty()
    }

    /// What an earlier run of the worker knew of it; what this run knows wins.
    pub fn remember(&self, record: ClientRecord) {
        if self.loaded.borrow().is_empty() {
            *self.loaded.borrow_mut() = record.loaded;
        }
        let mut said = self.said.borrow_mut();
        for (model_id, earlier) in record.said {
            said.entry(model_id).or_insert(earlier);
        }
    }

    /// What of it outlives the worker.
    pub fn record(&self) -> ClientRecord {
        ClientRecord { loaded: self.loaded.borrow().clone(), said: self.said.borrow().clone() }
    }

    /// The model and options that the client has loaded under this key.
    pub fn find_loaded(&self, key: &ModelKey) -> Option<LoadedRecord> {
        self.loaded.borrow().iter().find(|loaded| ModelKey::of(&loaded.record) == *key).cloned()
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
