//! The worker: what all clients share, who the clients are, and which models they have.
//!
//! Owns restoring after a restart, joined loads and what happens when a client goes. Knows nothing of kinds of messages.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures::FutureExt;
use futures::future::{LocalBoxFuture, Shared};
use hearth_engine::chat::routing;
use hearth_engine::ports::Clock;
use hearth_protocol::config::{AppConfig, ChatOptions, ModelRecord};
use hearth_protocol::logging::LogLevel;
use hearth_protocol::progress::InitProgressReport;
use hearth_protocol::reply::Reply;
use wasm_bindgen_futures::spawn_local;

use crate::browser::{self, BrowserClock};
use crate::client::{Client, LoadedRecord, WorkKind};
use crate::clients::Clients;
use crate::device::SharedDevice;
use crate::error::ShellError;
use crate::load::{self, LoadContext, LoadRequest, LoadedModel};
use crate::log::Logger;
use crate::message::Answers;
use crate::models::{Found, ModelKey, ModelTable, PendingLoad};
use crate::persisted::{Persisted, Restored, SharedRecord};
use crate::progress::LoadReporter;
use crate::store::{Database, StateStore};

/// While something is generated, the clients it is for are looked after this often.
const WATCH_INTERVAL_MS: u32 = 1_000;
/// Otherwise a message is the occasion, if the last one was longer ago than this.
const SWEEP_INTERVAL_MS: f64 = 10_000.0;

/// One run of the worker.
pub struct Worker {
    /// Identity of this run.
    pub run_id: String,
    /// The console.
    pub log: Logger,
    /// Loaded models.
    pub models: ModelTable,
    clients: Clients,
    context: Rc<LoadContext>,
    persisted: Persisted,
    shared: RefCell<SharedRecord>,
    /// Records of clients that have not spoken in this run yet.
    restored_clients: RefCell<BTreeMap<String, Vec<LoadedRecord>>>,
    restoring: RefCell<Option<Shared<LocalBoxFuture<'static, ()>>>>,
    is_watching: Cell<bool>,
    last_sweep_ms: Cell<f64>,
}

/// A model that is loaded by now.
pub struct Ensured {
    /// The model.
    pub model: Rc<LoadedModel>,
    /// It was loaded before anybody asked.
    pub was_loaded: bool,
}

impl Worker {
    /// Nothing is loaded, nothing is asked of the browser yet.
    pub fn new() -> Rc<Self> {
        let log = Logger::new();
        let database = Database::default();
        let clock: Rc<dyn Clock> = Rc::new(BrowserClock::new());
        Rc::new(Self {
            run_id: browser::random_uuid(),
            models: ModelTable::default(),
            clients: Clients::default(),
            persisted: Persisted::new(StateStore::new(database.clone()), log.clone()),
            context: Rc::new(LoadContext {
                device: SharedDevice::new(log.clone()),
                database,
                clock,
                log: log.clone(),
            }),
            log,
            shared: RefCell::default(),
            restored_clients: RefCell::default(),
            restoring: RefCell::default(),
            is_watching: Cell::new(false),
            last_sweep_ms: Cell::new(f64::NEG_INFINITY),
        })
    }

    /// The client with this id; one that was not known is welcome.
    pub fn client(&self, id: &str) -> Rc<Client> {
        if let Some(client) = self.clients.find(id) {
            return client;
        }
        let client = self.clients.add(id);
        if let Some(loaded) = self.restored_clients.borrow_mut().remove(id) {
            *client.loaded.borrow_mut() = loaded;
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

    async fn save_shared(self: &Rc<Self>) {
        // What an earlier run stored is read before it is written over.
        self.restored().await;
        let record = self.shared.borrow().clone();
        self.persisted.save_shared(record).await;
    }

    /// Loads `model_ids` for the client and lets go of its other models. Loads that others have begun are joined.
    ///
    /// # Errors
    /// The first model that fails; those before it stay loaded.
    pub async fn load_models(
        self: &Rc<Self>,
        client: &Rc<Client>,
        model_ids: &[String],
        chat_opts: Option<&[ChatOptions]>,
        answers: &Answers,
    ) -> Result<(), ShellError> {
        routing::check_reload(model_ids, chat_opts.map(<[ChatOptions]>::len))?;
        self.restored().await;
        let mut wanted = Vec::with_capacity(model_ids.len());
        for (index, model_id) in model_ids.iter().enumerate() {
            let record = self.find_record(client, model_id)?;
            let chat_opts = chat_opts.and_then(|options| options.get(index)).cloned();
            wanted.push(LoadedRecord { record, chat_opts });
        }
        let keys: Vec<ModelKey> = wanted.iter().map(|loaded| ModelKey::of(&loaded.record)).collect();
        client.cancel_kinds(|kind| matches!(kind, WorkKind::Load(key) if !keys.contains(key)));
        self.models.release(&client.id, &keys);
        client.loaded.borrow_mut().clear();
        for loaded in wanted {
            let ensured = self.ensure(client, &loaded, answers).await?;
            if ensured.was_loaded {
                // This page has waited for nothing, but it waits for the word that the load is finished.
                let report = InitProgressReport::finish(&ensured.model.device(), 0.0);
                answers.send(&Reply::progress(answers.uuid(), report));
            }
            client.loaded.borrow_mut().push(loaded);
        }
        let loaded = client.loaded.borrow().clone();
        self.persisted.save_client(&client.id, loaded).await;
        Ok(())
    }

    /// The client's models are loaded again where this run of the worker does not have them.
    ///
    /// # Errors
    /// As [`Self::load_models`].
    pub async fn load_if_unmatched(
        self: &Rc<Self>,
        client: &Rc<Client>,
        model_ids: &[String],
        chat_opts: Option<&[ChatOptions]>,
        answers: &Answers,
    ) -> Result<(), ShellError> {
        self.restored().await;
        if model_ids.is_empty() || client.loaded_ids() == model_ids {
            return Ok(());
        }
        self.log.info(&format!("{} is not what this tab has loaded here; loading it", model_ids.join(", ")));
        self.load_models(client, model_ids, chat_opts, answers).await
    }

    /// The model of one of the client's records, loaded if need be: after a restart, or after the device was lost.
    ///
    /// # Errors
    /// Those of the load.
    pub async fn ensure(
        self: &Rc<Self>,
        client: &Rc<Client>,
        loaded: &LoadedRecord,
        answers: &Answers,
    ) -> Result<Ensured, ShellError> {
        let key = ModelKey::of(&loaded.record);
        self.models.claim(&key, &client.id);
        if let Some(model) = self.models.find(&key) {
            if model.serves(loaded.chat_opts.as_ref(), loaded.record.overrides.as_ref())?
                || self.models.is_shared(&key, &client.id)
                || model.is_busy()
            {
                return Ok(Ensured { model, was_loaded: true });
            }
            self.log.info(&format!("{} is loaded again for another context size", key.model_id));
            self.models.evict(&key);
        }
        let sink = answers.clone();
        let on_progress =
            move |report: &InitProgressReport| sink.send(&Reply::progress(sink.uuid(), report.clone()));
        let waiting = match self.models.request(&key, Some(Box::new(on_progress))) {
            Found::Ready(model) => return Ok(Ensured { model, was_loaded: true }),
            Found::Waiting(waiting) => waiting,
        };
        if let Some(load) = waiting.start {
            let request = LoadRequest { record: loaded.record.clone(), chat_opts: loaded.chat_opts.clone() };
            self.start_load(key.clone(), load, request);
        }
        let worker = self.clone();
        let give_up = move || worker.models.give_up(waiting.id);
        let work = client.begin(WorkKind::Load(key.clone()), answers.uuid(), give_up);
        self.watch();
        let outcome = waiting.outcome.await;
        drop(work);
        let model = match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(ShellError::LoadVanished { model_id: key.model_id.clone() }),
        };
        if model.is_err() && !client.loaded.borrow().iter().any(|loaded| ModelKey::of(&loaded.record) == key)
        {
            self.models.unclaim(&key, &client.id);
        }
        let model = model?;
        // Whoever joined another client's load is told here what is wrong with its own options.
        model.serves(loaded.chat_opts.as_ref(), loaded.record.overrides.as_ref())?;
        Ok(Ensured { model, was_loaded: false })
    }

    fn start_load(self: &Rc<Self>, key: ModelKey, load: Rc<PendingLoad>, request: LoadRequest) {
        self.models.free_unclaimed();
        let worker = self.clone();
        spawn_local(async move {
            let reports = load.clone();
            let send = Box::new(move |report| reports.report(report));
            let reporter = Rc::new(LoadReporter::new(worker.context.clock.clone(), send));
            let outcome = load::load(&worker.context, &request, &load.cancel, &reporter).await;
            match &outcome {
                Ok(_) => {
                    worker.log.info(&format!("{} loaded in {:.1} s", key.model_id, reporter.elapsed_s()))
                }
                Err(ShellError::LoadCancelled) => {
                    worker.log.info(&format!("loading {} was called off", key.model_id))
                }
                Err(error) => {
                    worker.log.error(&format!("loading {} failed: {}", key.model_id, error.to_wire()))
                }
            }
            worker.models.finish(&key, &load, outcome.map(Rc::new));
        });
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
        loaded.ok_or_else(|| routing_nothing_loaded(request))
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
        self.models.find(&ModelKey::of(&loaded.record)).ok_or_else(|| routing_nothing_loaded(request))
    }

    /// Drops the client's models and ends everything that goes on for it.
    pub async fn unload(&self, client: &Rc<Client>) {
        client.cancel_all();
        client.streams.borrow_mut().clear();
        client.loaded.borrow_mut().clear();
        self.models.release(&client.id, &[]);
        self.persisted.save_client(&client.id, Vec::new()).await;
    }

    /// A client has gone: nothing of it stays but its models, which the next page may want.
    pub async fn forget(&self, id: &str) {
        let Some(client) = self.clients.remove(id) else { return };
        self.log.debug(&format!("client {id} is gone"));
        client.cancel_all();
        client.streams.borrow_mut().clear();
        for model in self.models.loaded() {
            model.chat.forget(client.owner);
        }
        self.models.forget_client(id);
        self.persisted.forget_clients(&[id.to_owned()]).await;
    }

    /// Looks after clients while anything goes on for one. A page's timer may be throttled; this one is the worker's.
    pub fn watch(self: &Rc<Self>) {
        if !browser::is_service_worker() || self.is_watching.replace(true) {
            return;
        }
        let worker = self.clone();
        spawn_local(async move {
            while worker.clients.all().iter().any(|client| client.is_busy()) {
                browser::sleep_ms(WATCH_INTERVAL_MS).await;
                worker.sweep().await;
            }
            worker.is_watching.set(false);
        });
    }

    /// The same at a message's occasion, rarely.
    pub async fn sweep_if_due(&self) {
        let now_ms = self.context.clock.now_ms();
        if browser::is_service_worker() && now_ms - self.last_sweep_ms.get() >= SWEEP_INTERVAL_MS {
            self.sweep().await;
        }
    }

    async fn sweep(&self) {
        self.last_sweep_ms.set(self.context.clock.now_ms());
        for client in self.clients.all() {
            if !browser::client_is_alive(&client.id).await {
                self.forget(&client.id).await;
            }
        }
    }

    /// Waits until what earlier runs stored is known.
    pub async fn restored(self: &Rc<Self>) {
        let restoring = self
            .restoring
            .borrow_mut()
            .get_or_insert_with(|| {
                let worker = self.clone();
                async move { worker.apply(worker.persisted.restore().await).await }.boxed_local().shared()
            })
            .clone();
        restoring.await;
    }

    /// What was set in this run wins over what was stored.
    async fn apply(&self, restored: Restored) {
        let mut gone = Vec::new();
        for (id, loaded) in restored.clients {
            if let Some(client) = self.clients.find(&id) {
                if client.loaded.borrow().is_empty() {
                    *client.loaded.borrow_mut() = loaded;
                }
            } else if !browser::client_is_alive(&id).await {
                gone.push(id);
            } else if self.clients.find(&id).is_none() {
                // It may have spoken for the first time meanwhile; then it says itself what it wants.
                self.restored_clients.borrow_mut().insert(id, loaded);
            }
        }
        self.apply_shared(restored.shared);
        self.persisted.forget_clients(&gone).await;
    }

    fn apply_shared(&self, stored: SharedRecord) {
        let mut shared = self.shared.borrow_mut();
        if shared.app_config.is_none() {
            shared.app_config = stored.app_config;
        }
        if let (None, Some(level)) = (shared.log_level, stored.log_level) {
            shared.log_level = Some(level);
            self.log.set_level(level);
        }
    }

    /// The client's own configuration, then what it had loaded before a restart, then what any client sent last.
    fn find_record(&self, client: &Client, model_id: &str) -> Result<ModelRecord, ShellError> {
        if let Some(config) = &*client.app_config.borrow() {
            return Ok(routing::find_record(config, model_id)?.clone());
        }
        if let Some(loaded) = client.loaded.borrow().iter().find(|loaded| loaded.record.model_id == model_id)
        {
            return Ok(loaded.record.clone());
        }
        let shared = self.shared.borrow();
        let none = AppConfig::default();
        Ok(routing::find_record(shared.app_config.as_deref().unwrap_or(&none), model_id)?.clone())
    }
}

fn routing_nothing_loaded(request: &'static str) -> ShellError {
    hearth_engine::chat::error::RoutingError::NothingLoaded { request }.into()
}
