//! A model that answers: its chat, its part of the device, and the tabs that have it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use hearth_engine::chat::{ChatError, ChatModel, ModelOptions, TabOptions};
use hearth_engine::engine::{EngineError, OwnerUsage};
use hearth_engine::ids::OwnerId;
use hearth_engine::plan::StepLimits;
use hearth_engine::ports::ExecutorError;
use hearth_engine::tokenizer::Tokenizer;
use hearth_gpu::{Fault, Gpu, MemoryUse, StepStats};
use hearth_protocol::config::KvCacheType;
use hearth_protocol::reply::DeviceUsage;

use crate::browser;
use crate::client::{Client, LoadedRecord};
use crate::error::ShellError;
use crate::page_keeper::PageLayout;
use crate::pages::payoff::ReadingSpeed;

/// How long after the first failure the browser's notice of a lost device may come.
const LOSS_NOTICE_MS: u32 = 100;

/// What a loaded model is made of besides its chat.
pub struct LoadedParts {
    /// The device.
    pub gpu: Gpu,
    /// Bytes on it when the model was loaded; the cache may have grown since.
    pub memory: MemoryUse,
    /// Size of the engine's last step.
    pub last_step: Rc<Cell<StepStats>>,
    /// What is fixed at load.
    pub options: ModelOptions,
    /// The vocabulary.
    pub tokenizer: Rc<Tokenizer>,
    /// Size of the cache and of its steps.
    pub limits: StepLimits,
    /// Bytes of a page, all layers.
    pub page_bytes: u64,
}

/// A model that answers.
pub struct LoadedModel {
    /// The chat on top of its engine.
    pub chat: ChatModel,
    parts: LoadedParts,
    page_layout: OnceCell<PageLayout>,
    reading_speed: Cell<ReadingSpeed>,
    /// The tabs that have it, with their options.
    tabs: RefCell<BTreeMap<OwnerId, TabOptions>>,
}

impl Drop for LoadedModel {
    /// The loop holds the executor and with it all buffers: it must be told to go.
    fn drop(&mut self) {
        self.chat.engine().stop();
    }
}

impl LoadedModel {
    /// Nobody has it yet.
    pub fn new(chat: ChatModel, parts: LoadedParts) -> Self {
        Self {
            chat,
            parts,
            page_layout: OnceCell::new(),
            reading_speed: Cell::default(),
            tabs: RefCell::default(),
        }
    }

    /// False once the device is lost or the engine has stopped.
    pub fn is_alive(&self) -> bool {
        self.chat.engine().ended().is_none() && self.parts.gpu.fault().is_none()
    }

    /// The error of a reply, with its true cause: when a device goes, what was in flight fails in other words, a moment before
    /// the browser says that the device is lost, and what is asked later finds an engine that has stopped.
    pub async fn explain(&self, error: ChatError) -> ShellError {
        let may_be_loss = match &error {
            ChatError::Engine(EngineError::Executor(ExecutorError::Device { .. })) => true,
            ChatError::Engine(EngineError::Stopped) => self.parts.gpu.fault().is_some(),
            _ => false,
        };
        if !may_be_loss {
            return error.into();
        }
        if self.parts.gpu.fault().is_none() {
            browser::sleep_ms(LOSS_NOTICE_MS).await;
        }
        match self.parts.gpu.fault() {
            Some(Fault::Lost(reason)) => EngineError::Executor(ExecutorError::DeviceLost { reason }).into(),
            Some(Fault::Error(_)) | None => error.into(),
        }
    }

    /// Adapter in words, for progress texts.
    pub fn device(&self) -> String {
        self.parts.gpu.description()
    }

    /// What the model takes of the machine; the number of loads is for the worker to add.
    pub fn device_usage(&self, num_loads: u32) -> DeviceUsage {
        let MemoryUse { weights_bytes, activations_bytes, .. } = self.parts.memory;
        let kv_bytes = u64::from(self.chat.engine().usage().pages.total) * self.parts.page_bytes;
        let step = self.parts.last_step.get();
        DeviceUsage {
            wasm_memory_bytes: browser::wasm_memory_bytes(),
            gpu_memory_bytes: weights_bytes + kv_bytes + activations_bytes,
            step_dispatches: step.dispatches,
            loads: num_loads,
            step_uploaded_bytes: step.bytes_uploaded,
        }
    }

    /// The vocabulary.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.parts.tokenizer
    }

    /// Tokens in a page.
    pub fn page_tokens(&self) -> u32 {
        self.parts.limits.block_size_tokens
    }

    /// Bytes of a page, all layers.
    pub fn page_bytes(&self) -> u64 {
        self.parts.page_bytes
    }

    /// The cache's number format, as a word.
    pub fn kv_type_name(&self) -> &'static str {
        match self.parts.options.kv_cache_type {
            KvCacheType::F16 => "f16",
            KvCacheType::F32 => "f32",
            KvCacheType::Q8 => "q8",
        }
    }

    /// Pages that the cache may grow to.
    pub fn max_pages(&self) -> u32 {
        self.parts.limits.max_blocks
    }

    /// Measured milliseconds for one token of a prompt; none before the first step.
    pub fn prefill_ms_per_token(&self) -> Option<f64> {
        // What prompts have taken is surer than what steps have: a step that samples nothing may seem to end at once.
        if let Some(ms_per_token) = self.reading_speed.get().ms_per_token() {
            return Some(ms_per_token);
        }
        let ms_per_granule = self.chat.engine().usage().ms_per_granule?;
        Some(ms_per_granule / f64::from(self.parts.limits.row_granularity.max(1)))
    }

    /// A prompt has been read: so many tokens that were not in the cache, up to the first token of the reply.
    pub fn has_read(&self, num_tokens: u32, elapsed_ms: f64) {
        let mut speed = self.reading_speed.get();
        speed.has_read(num_tokens, elapsed_ms);
        self.reading_speed.set(speed);
    }

    /// Where its pages are stored; `None` where its file is not.
    pub fn page_layout(&self) -> Option<PageLayout> {
        self.page_layout.get().cloned()
    }

    /// The model's file is stored: its pages can be, too.
    pub fn set_page_layout(&self, layout: PageLayout) {
        // A model is loaded once.
        let _ = self.page_layout.set(layout);
    }

    /// True while anybody's reply is under way.
    pub fn is_busy(&self) -> bool {
        let usage = self.chat.engine().usage();
        usage.running + usage.waiting > 0
    }

    /// What an owner has of it.
    pub fn usage_of(&self, owner: OwnerId) -> Option<OwnerUsage> {
        self.chat.engine().usage().owners.into_iter().find(|used| used.owner == owner)
    }

    /// True while an owner has pages, in use or cached.
    pub fn has_pages_of(&self, owner: OwnerId) -> bool {
        self.usage_of(owner).is_some_and(|used| used.held_pages + used.cached_pages > 0.0)
    }

    /// Whether the model as it is loaded is what these options ask for. Windows, policies and budgets are each tab's own; the
    /// cache is fixed at load, and a tab that has no wish takes it as it is.
    ///
    /// # Errors
    /// The options make no sense.
    pub fn serves(&self, loaded: &LoadedRecord) -> Result<bool, ShellError> {
        let wanted = ModelOptions::resolve(loaded.record.overrides.as_ref(), loaded.chat_opts.as_ref())?;
        let held = &self.parts.options;
        Ok(wanted.kv_cache_type == held.kv_cache_type
            && (wanted.kv_cache_tokens.is_none() || wanted.kv_cache_tokens == held.kv_cache_tokens))
    }

    /// The client's tab has this model from now on.
    pub fn admit(&self, client: &Client, options: &TabOptions) {
        let before = self.tabs.borrow_mut().insert(client.owner, *options);
        if before.as_ref() == Some(options) {
            return;
        }
        let engine = self.chat.engine();
        engine.add_owner(client.owner);
        engine.set_owner_budget(client.owner, options.budget);
        self.attend(client);
    }

    /// The client's tab has let go of it, or is gone.
    pub fn dismiss(&self, owner: OwnerId) {
        if self.tabs.borrow_mut().remove(&owner).is_some() {
            self.chat.engine().remove_owner(owner);
            self.chat.forget(owner);
        }
    }

    /// The browser does something else with the tab than before.
    pub fn attend(&self, client: &Client) {
        if self.tabs.borrow().contains_key(&client.owner) {
            let (engine, attention) = (self.chat.engine(), client.attention.get());
            engine.set_owner_weight(client.owner, attention.weight());
            engine.pause_owner(client.owner, attention.frozen);
        }
    }
}
