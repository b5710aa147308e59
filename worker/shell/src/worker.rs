//! The worker: what all clients share, who the clients are, and which models they have.
//!
//! Owns the tables that the other modules work on, and nothing that waits: loading, restoring, looking after clients and replies
//! are modules of their own, each with its part of [`Worker`]'s methods.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::future::{LocalBoxFuture, Shared};
use hearth_engine::chat::routing;
use hearth_engine::ports::Clock;
use hearth_protocol::config::AppConfig;
use hearth_protocol::logging::LogLevel;

use crate::browser::{self, BrowserClock};
use crate::client::{Client, ClientRecord, LoadedRecord};
use crate::clients::Clients;
use crate::device::SharedDevice;
use crate::error::ShellError;
use crate::load::LoadContext;
use crate::loaded::LoadedModel;
use crate::log::Logger;
use crate::models::{ModelKey, ModelTable};
use crate::page_keeper::PageKeeper;
use crate::persisted::{Persisted, SharedRecord};
use crate::store::{Database, StateStore};

/// One run of the worker.
pub struct Worker {
    /// Identity of this run.
    pub run_id: String,
    /// The console.
    pub log: Logger,
    /// Time.
    pub clock: Rc<dyn Clock>,
    /// Loaded models.
    pub models: Rc<ModelTable>,
    /// Models that this run has loaded so far.
    pub num_loads: Cell<u32>,
    /// Everybody who has spoken in this run.
    pub clients: Clients,
    /// Pages of the cache that outlive the worker.
    pub pages: Rc<PageKeeper>,
    /// What loads need.
    pub context: Rc<LoadContext>,
    /// What outlives the worker.
    pub persisted: Persisted,
    /// What all clients share.
    pub shared: RefCell<SharedRecord>,
    /// Records of clients that have not spoken in this run yet.
    pub restored_clients: RefCell<BTreeMap<String, ClientRecord>>,
    /// The reading of what outlived the last run.
    pub restoring: RefCell<Option<Shared<LocalBoxFuture<'static, ()>>>>,
    /// Clients are being looked after.
    pub is_watching: Cell<bool>,
    /// Silent tabs are being waited for.
    pub is_waiting_for_silence: Cell<bool>,
    /// When all clients were looked after last.
    pub last_sweep_ms: Cell<f64>,
}

impl Worker {
    /// Nothing is loaded, nothing is asked of the browser yet.
    pub fn new() -> Rc<Self> {
        let log = Logger::new();
        let database = Database::default();
        let clock: Rc<dyn Clock> = Rc::new(BrowserClock::new());
        let models = Rc::new(ModelTable::default());
        let pages = Rc::new(PageKeeper::new(database.clone(), clock.clone(), log.clone()));
        Rc::new(Self {
            run_id: browser::random_uuid(),
            models: models.clone(),
            num_loads: Cell::new(0),
            clients: Clients::default(),
            persisted: Persisted::new(StateStore::new(database.clone()), log.clone()),
            context: Rc::new(LoadContext {
                device: SharedDevice::new(log.clone()),
                database,
                models,
                pages: pages.clone(),
                clock: clock.clone(),
                log: log.clone(),
            }),
            pages,
            clock,
            log,
            shared: RefCell::default(),
            restored_clients: RefCell::default(),
            restoring: RefCell::default(),
            is_watching: Cell::new(false),
            is_waiting_for_silence: Cell::new(false),
            last_sweep_ms: Cell::new(f64::NEG_INFINITY),
        })
    }

    /// The client with this id; one that was not known is welcome.
    pub fn client(&self, id: &str) -> Rc<Client> {
        if let Some(client) = self.clients.find(id) {
            return client;
        }
        let client = self.clients.add(id);
        client.active_ms.set(self.clock.now_ms());
        if let Some(record) = self.restored_clients.borrow_mut().remove(id) {
            client.remember(record);
        }
        client
    }

    /// A client's configuration; it also becomes that of clients that have sent none.
    pub async fn set_app_config(self: &Rc<Self>, client: &Client, config: AppConfig) {
        let config = Rc::new(config);
        *client.app_config.borrow_mut() = Some(config.clone());
        self.shared.borrow_mut().app_config = Some(config);
        self.save_shared().await;
    }

    /// How much is logged, for all clients.
    pub async fn set_log_level(self: &Rc<Self>, level: LogLevel) {
        self.log.set_level(level);
        self.shared.borrow_mut().log_level = Some(level);
        self.save_shared().await;
    }

    /// The client's model that `wanted` names, or its only one.
    ///
    /// # Errors
    /// web-llm's, when there is none or it is not clear which.
    pub fn select(
        &self,
        client: &Client,
        wanted: Option<&str>,
        request: &'static str,
    ) -> Result<LoadedRecord, ShellError> {
        let ids = client.loaded_ids();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let index = routing::select_model(&ids, wanted, request)?;
        // The index is one of the list that was just made of the same records.
        let loaded = client.loaded.borrow().get(index).cloned();
        loaded.ok_or_else(|| nothing_loaded(request))
    }

    /// The same, as it is loaded now, without loading anything.
    ///
    /// # Errors
    /// As [`Self::select`]; a model that is not loaded at the moment counts as none.
    pub fn select_loaded(
        &self,
        client: &Client,
        wanted: Option<&str>,
        request: &'static str,
    ) -> Result<Rc<LoadedModel>, ShellError> {
        let loaded = self.select(client, wanted, request)?;
        self.models.find(&ModelKey::of(&loaded.record)).ok_or_else(|| nothing_loaded(request))
    }
}

/// web-llm's error for a request that needs a model where there is none.
pub fn nothing_loaded(request: &'static str) -> ShellError {
    hearth_engine::chat::error::RoutingError::NothingLoaded { request }.into()
}
