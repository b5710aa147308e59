//! Which models a client gets: loads are joined, claimed, repeated where they were forgotten, and every tab that claims a model
//! is made known to its engine.

use std::rc::Rc;

use hearth_engine::chat::routing;
use hearth_protocol::config::{AppConfig, ChatOptions, ModelRecord};
use hearth_protocol::documents::PageModels;
use hearth_protocol::progress::InitProgressReport;
use hearth_protocol::reply::Reply;
use wasm_bindgen_futures::spawn_local;

use crate::client::{Client, LoadedRecord, WorkKind};
use crate::error::ShellError;
use crate::load::{self, LoadRequest};
use crate::loaded::LoadedModel;
use crate::message::Answers;
use crate::models::{Found, ModelKey, PendingLoad};
use crate::progress::LoadReporter;
use crate::worker::Worker;

/// A model that is loaded by now.
pub struct Ensured {
    /// The model.
    pub model: Rc<LoadedModel>,
    /// It was loaded before anybody asked.
    pub was_loaded: bool,
}

impl Worker {
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
            let loaded = LoadedRecord { record, chat_opts };
            // Nothing is let go of for options that make no sense.
            loaded.tab_options()?;
            wanted.push(loaded);
        }
        let keys: Vec<ModelKey> = wanted.iter().map(|loaded| ModelKey::of(&loaded.record)).collect();
        client.cancel_kinds(|kind| matches!(kind, WorkKind::Load(key) if !keys.contains(key)));
        self.let_go(client, &keys);
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
        self.save_client(client).await;
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

    /// The model that a page's message is about, loaded by now.
    ///
    /// # Errors
    /// web-llm's, when it is not clear which model is meant; those of the load.
    pub async fn ensure_named(
        self: &Rc<Self>,
        client: &Rc<Client>,
        models: &PageModels,
        request: &'static str,
        answers: &Answers,
    ) -> Result<(Rc<LoadedModel>, LoadedRecord), ShellError> {
        self.load_if_unmatched(client, &models.model_id, models.chat_opts.as_deref(), answers).await?;
        let loaded = self.select(client, models.model.as_deref(), request)?;
        let model = self.ensure(client, &loaded, answers).await?.model;
        Ok((model, loaded))
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
        let options = loaded.tab_options()?;
        let key = ModelKey::of(&loaded.record);
        if client.is_gone.get() {
            return Err(ShellError::LoadCancelled);
        }
        self.models.claim(&key, &client.id);
        let ready = |model: Rc<LoadedModel>| {
            model.admit(client, &options);
            Ensured { model, was_loaded: true }
        };
        if let Some(model) = self.models.find(&key) {
            if model.serves(loaded)? || self.models.is_shared(&key, &client.id) || model.is_busy() {
                return Ok(ready(model));
            }
            self.log.info(&format!("{} is loaded again for another cache", key.model_id));
            self.models.evict(&key);
        }
        let sink = answers.clone();
        let on_progress =
            move |report: &InitProgressReport| sink.send(&Reply::progress(sink.uuid(), report.clone()));
        let waiting = match self.models.request(&key, Some(Box::new(on_progress))) {
            Found::Ready(model) => return Ok(ready(model)),
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
        if model.is_err() && client.find_loaded(&key).is_none() {
            self.models.unclaim(&key, &client.id);
        }
        let model = model?;
        if client.is_gone.get() {
            return Err(ShellError::LoadCancelled);
        }
        // Whoever joined another client's load is told here what is wrong with its own options.
        model.serves(loaded)?;
        model.admit(client, &options);
        Ok(Ensured { model, was_loaded: false })
    }

    fn start_load(self: &Rc<Self>, key: ModelKey, load: Rc<PendingLoad>, request: LoadRequest) {
        self.models.free_unclaimed();
        let worker = self.clone();
        spawn_local(async move {
            let reports = load.clone();
            let send = Box::new(move |report| reports.report(report));
            let reporter = Rc::new(LoadReporter::new(worker.clock.clone(), send));
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
            let outcome = outcome.map(Rc::new);
            if let Ok(model) = &outcome {
                worker.num_loads.set(worker.num_loads.get() + 1);
                worker.welcome(&key, model);
            }
            worker.models.finish(&key, &load, outcome);
        });
    }

    /// A model has been loaded: tabs that had it before (the device was lost) count from the start, and its engine is listened to.
    fn welcome(self: &Rc<Self>, key: &ModelKey, model: &Rc<LoadedModel>) {
        for client in self.clients.all() {
            if let Some(Ok(options)) = client.find_loaded(key).map(|loaded| loaded.tab_options()) {
                model.admit(&client, &options);
            }
        }
        self.listen(key, model);
    }

    /// The client's models but those of `keep` are let go of, with all that goes on there for it.
    pub fn let_go(&self, client: &Client, keep: &[ModelKey]) {
        for (key, model) in self.models.loaded() {
            if !keep.contains(&key) {
                model.dismiss(client.owner);
            }
        }
        client.conversations.borrow_mut().retain(|key, _| keep.contains(key));
        self.models.release(&client.id, keep);
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
