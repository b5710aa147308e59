//! One load of one model: file, vocabulary, template, GPU, engine. Nothing half-loaded survives a failure.
//!
//! Every piece of work is followed by a look at the cancel flag and a breath for the other tabs.

use std::cell::Cell;
use std::rc::Rc;

use hearth_engine::chat::values::SamplingDefaults;
use hearth_engine::chat::{ChatError, ChatModel, ChatParts, Identities, ModelOptions};
use hearth_engine::driver::{self, EngineHandle};
use hearth_engine::engine::{EngineConfig, EngineError};
use hearth_engine::model::ModelConfig;
use hearth_engine::model::gguf::Gguf;
use hearth_engine::plan::{StepLimits, StepOutput, StepPlan};
use hearth_engine::ports::{Clock, Executor, ExecutorError, LocalFuture};
use hearth_engine::template::ChatTemplate;
use hearth_engine::tokenizer::Tokenizer;
use hearth_gpu::{
    Capabilities, ExecutorOptions, Fault, Gpu, GpuExecutor, KvType, LoadProgress, MemoryUse, StepStats,
};
use hearth_protocol::config::{ChatOptions, KvCacheType, ModelRecord};
use hearth_protocol::reply::DeviceUsage;
use wasm_bindgen_futures::spawn_local;

use crate::browser;
use crate::device::SharedDevice;
use crate::error::ShellError;
use crate::log::Logger;
use crate::models::CancelFlag;
use crate::progress::LoadReporter;
use crate::store::{Database, ModelSource, SourceEvent, SourceOptions};

/// The window of a model whose app names none: web-llm's models come with 4096.
const DEFAULT_WINDOW_TOKENS: u32 = 4096;
/// Room for several tabs' conversations by default.
const WINDOWS_IN_POOL: u32 = 4;
/// The pool's share of the device's memory by default.
const MAX_POOL_BYTES: u64 = 512 << 20;
/// A software adapter's memory is the machine's own.
const MAX_POOL_BYTES_SOFTWARE: u64 = 256 << 20;
/// A pool smaller than this serves nobody.
const MIN_POOL_TOKENS: u32 = 256;
/// Attempts with half the pool each when the device has no room.
const POOL_ATTEMPTS: u32 = 3;
/// Attempts when the file changes on the server in mid-load.
const FILE_ATTEMPTS: u32 = 3;
/// How long after the first failure the browser's notice of a lost device may come.
const LOSS_NOTICE_MS: u32 = 100;
/// A synchronous piece of work that takes longer than this is worth a line in the log.
const LONG_SLICE_MS: f64 = 50.0;

/// A model that answers.
pub struct LoadedModel {
    /// The chat on top of its engine.
    pub chat: ChatModel,
    engine: EngineHandle,
    gpu: Gpu,
    memory: MemoryUse,
    last_step: Rc<Cell<StepStats>>,
    options: ModelOptions,
    trained_tokens: u32,
}

impl Drop for LoadedModel {
    /// The loop holds the executor and with it all buffers: it must be told to go.
    fn drop(&mut self) {
        self.engine.stop();
    }
}

impl LoadedModel {
    /// False once the device is lost or the engine has stopped.
    pub fn is_alive(&self) -> bool {
        self.engine.ended().is_none() && self.gpu.fault().is_none()
    }

    /// The error of a reply, with its true cause: when a device goes, what was in flight fails in other words, a moment before
    /// the browser says that the device is lost.
    pub async fn explain(&self, error: ChatError) -> ShellError {
        if !matches!(error, ChatError::Engine(EngineError::Executor(ExecutorError::Device { .. }))) {
            return error.into();
        }
        browser::sleep_ms(LOSS_NOTICE_MS).await;
        match self.gpu.fault() {
            Some(Fault::Lost(reason)) => EngineError::Executor(ExecutorError::DeviceLost { reason }).into(),
            Some(Fault::Error(_)) | None => error.into(),
        }
    }

    /// Adapter in words, for progress texts.
    pub fn device(&self) -> String {
        self.gpu.description()
    }

    /// What the model takes of the machine.
    pub fn device_usage(&self) -> DeviceUsage {
        let MemoryUse { weights_bytes, kv_bytes, activations_bytes } = self.memory;
        let step = self.last_step.get();
        DeviceUsage {
            wasm_memory_bytes: browser::wasm_memory_bytes(),
            gpu_memory_bytes: weights_bytes + kv_bytes + activations_bytes,
            step_dispatches: step.dispatches,
            step_uploaded_bytes: step.bytes_uploaded,
        }
    }

    /// True while anybody's reply is under way.
    pub fn is_busy(&self) -> bool {
        let usage = self.engine.usage();
        usage.running + usage.waiting > 0
    }

    /// Whether the model as it is loaded is what these options ask for: sampling values are laid over each request, sizes
    /// are fixed at load.
    ///
    /// # Errors
    /// The options make no sense.
    pub fn serves(
        &self,
        chat_opts: Option<&ChatOptions>,
        overrides: Option<&ChatOptions>,
    ) -> Result<bool, ShellError> {
        let wanted = resolve(self.trained_tokens, overrides, chat_opts)?;
        Ok(wanted.window_tokens == self.options.window_tokens
            && wanted.kv_cache_tokens == self.options.kv_cache_tokens
            && wanted.kv_cache_type == self.options.kv_cache_type)
    }
}

/// What a model's own length of context, its record and a client's options come to.
fn resolve(
    trained_tokens: u32,
    overrides: Option<&ChatOptions>,
    chat_opts: Option<&ChatOptions>,
) -> Result<ModelOptions, ShellError> {
    let mut options = ModelOptions::resolve(trained_tokens.min(DEFAULT_WINDOW_TOKENS), overrides, chat_opts)?;
    options.window_tokens = options.window_tokens.min(trained_tokens);
    Ok(options)
}

/// What every load needs.
pub struct LoadContext {
    /// The device.
    pub device: SharedDevice,
    /// The weights' store.
    pub database: Database,
    /// Time.
    pub clock: Rc<dyn Clock>,
    /// The console.
    pub log: Logger,
}

/// One load.
pub struct LoadRequest {
    /// The model.
    pub record: ModelRecord,
    /// The options of the client that asked first.
    pub chat_opts: Option<ChatOptions>,
}

/// Loads a model; begins again when the file changes in the middle.
///
/// # Errors
/// Any [`ShellError`]; nothing of the load is left on the GPU then, and what is stored of a sound file stays stored.
pub async fn load(
    context: &Rc<LoadContext>,
    request: &LoadRequest,
    cancel: &CancelFlag,
    reporter: &Rc<LoadReporter>,
) -> Result<LoadedModel, ShellError> {
    let url = file_url(&request.record)?;
    let mut attempt = 1;
    loop {
        let error = match load_from(context, request, &url, cancel, reporter).await {
            Ok(model) => return Ok(model),
            Err(error) => error,
        };
        // A cancelled download fails in many words; there is one truth.
        cancel.check()?;
        if !error.is_change_of_file() || attempt == FILE_ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        context.log.warn(&format!("{error}; beginning again"));
        reporter.notice("the file changed on the server, the download began again".to_owned());
    }
}

/// The absolute URL of the record's file.
fn file_url(record: &ModelRecord) -> Result<String, ShellError> {
    let invalid = || ShellError::ModelUrl { url: record.model.clone() };
    let url = match browser::base_url() {
        Some(base) => browser::resolve_url(&record.model, &base),
        None => Some(record.model.clone()),
    };
    let url = url.ok_or_else(invalid)?;
    if !url.starts_with("http") {
        return Err(invalid());
    }
    let path = url.split(['?', '#']).next().unwrap_or_default();
    if path.to_ascii_lowercase().ends_with(".gguf") { Ok(url) } else { Err(ShellError::ModelFolder { url }) }
}

async fn load_from(
    context: &Rc<LoadContext>,
    request: &LoadRequest,
    url: &str,
    cancel: &CancelFlag,
    reporter: &Rc<LoadReporter>,
) -> Result<LoadedModel, ShellError> {
    // Without a GPU nothing should be downloaded.
    let gpu = context.device.get().await?;
    cancel.check()?;
    let source = open_source(context, url, reporter).await?;
    let stop = source.clone();
    cancel.on_cancel(move || stop.cancel());
    let result = match assemble(context, request, &gpu, &source, cancel, reporter).await {
        Ok(model) => source.finish().await.map(|()| model).map_err(ShellError::from),
        Err(error) => Err(error),
    };
    match &result {
        Ok(model) => reporter.finished(&model.device()),
        Err(error) if error.blames_file() || error.is_change_of_file() => source.discard().await,
        Err(_) => source.abandon().await,
    }
    result
}

async fn open_source(
    context: &Rc<LoadContext>,
    url: &str,
    reporter: &Rc<LoadReporter>,
) -> Result<ModelSource, ShellError> {
    let (reporter, log) = (reporter.clone(), context.log.clone());
    let on_event = move |event| match event {
        SourceEvent::Progress(at) => reporter.fetched(at),
        SourceEvent::Notice(text) => {
            log.warn(&text);
            reporter.notice(text);
        }
    };
    let options = SourceOptions {
        url: url.to_owned(),
        database: context.database.clone(),
        on_event: Rc::new(on_event),
    };
    Ok(ModelSource::open(options).await?)
}

async fn assemble(
    context: &Rc<LoadContext>,
    request: &LoadRequest,
    gpu: &Gpu,
    source: &ModelSource,
    cancel: &CancelFlag,
    reporter: &Rc<LoadReporter>,
) -> Result<LoadedModel, ShellError> {
    let gguf = Gguf::open(source).await?;
    let (config, tensors) = gguf.read_model(source).await?;
    let options =
        resolve(config.context_length_tokens, request.record.overrides.as_ref(), request.chat_opts.as_ref())?;
    let window_tokens = options.window_tokens;
    cancel.check()?;
    browser::yield_now().await;

    let started_ms = context.clock.now_ms();
    let tokenizer = Tokenizer::from_gguf(&gguf)?;
    let elapsed_ms = context.clock.now_ms() - started_ms;
    if elapsed_ms > LONG_SLICE_MS {
        context
            .log
            .info(&format!("building the tokenizer of {} took {elapsed_ms:.0} ms", request.record.model_id));
    }
    browser::yield_now().await;
    let template = ChatTemplate::from_gguf(&gguf, &tokenizer)?;
    drop(gguf);
    cancel.check()?;

    let (kv_type, element_bytes) = match options.kv_cache_type {
        KvCacheType::F32 => (KvType::F32, 4),
        // q8 is refused when the options are resolved.
        KvCacheType::F16 | KvCacheType::Q8 => (KvType::F16, 2),
    };
    let mut kv_tokens = options
        .kv_cache_tokens
        .unwrap_or_else(|| pool_tokens(&config, gpu.capabilities(), window_tokens, element_bytes));
    let mut attempt = 1;
    let executor = loop {
        let executor_options =
            ExecutorOptions { kv_type, kv_tokens, ..ExecutorOptions::for_device(gpu.capabilities()) };
        let total_chunks = source.progress().total_chunks;
        let mut on_progress = |at: LoadProgress| {
            reporter.loaded(at.bytes_done, at.bytes_total, total_chunks);
        };
        let result =
            hearth_gpu::load(gpu, &config, &tensors, source, &executor_options, &mut on_progress).await;
        cancel.check()?;
        match result.map_err(ShellError::from) {
            Ok(executor) => break executor,
            Err(error)
                if error.is_out_of_gpu_memory() && attempt < POOL_ATTEMPTS && kv_tokens > MIN_POOL_TOKENS =>
            {
                attempt += 1;
                kv_tokens = (kv_tokens / 2).max(MIN_POOL_TOKENS);
                context.log.warn(&format!("{error}; trying a context pool of {kv_tokens} tokens"));
            }
            Err(error) => return Err(error),
        }
    };
    browser::yield_now().await;
    let parts =
        Parts { tokenizer, template, options, window_tokens, trained_tokens: config.context_length_tokens };
    start(context, request, gpu, executor, parts)
}

/// What a loaded model is made of besides its executor.
struct Parts {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    options: ModelOptions,
    window_tokens: u32,
    trained_tokens: u32,
}

/// Starts the engine's loop; it ends when the model is let go of, or with the device.
fn start(
    context: &Rc<LoadContext>,
    request: &LoadRequest,
    gpu: &Gpu,
    executor: GpuExecutor,
    parts: Parts,
) -> Result<LoadedModel, ShellError> {
    let Parts { tokenizer, template, options, window_tokens, trained_tokens } = parts;
    let tokenizer = Rc::new(tokenizer);
    let entropy_seed = browser::random_bits();
    let config = EngineConfig { entropy_seed, ..EngineConfig::new(executor.limits(), window_tokens) };
    let engine = EngineHandle::new(config, tokenizer.clone(), context.clock.clone())?;
    let (log, model_id) = (context.log.clone(), request.record.model_id.clone());
    let (memory, last_step) = (executor.memory(), Rc::new(Cell::new(StepStats::default())));
    let watched = WatchedExecutor { inner: executor, last_step: last_step.clone() };
    let run = driver::run(engine.clone(), Box::new(watched));
    spawn_local(async move {
        match run.await {
            EngineError::Stopped => log.debug(&format!("{model_id} is unloaded")),
            error => log.error(&format!("the engine of {model_id} has stopped: {error}")),
        }
    });
    let chat = ChatModel::new(ChatParts {
        model_id: request.record.model_id.clone(),
        tokenizer,
        template,
        engine: engine.clone(),
        // A record's and a tab's values are laid over each request.
        sampling: SamplingDefaults::default(),
        identities: Rc::new(BrowserIdentities),
    });
    Ok(LoadedModel { chat, engine, gpu: gpu.clone(), memory, last_step, options, trained_tokens })
}

/// The executor, which leaves the size of its last step where the model can see it.
struct WatchedExecutor {
    inner: GpuExecutor,
    last_step: Rc<Cell<StepStats>>,
}

impl Executor for WatchedExecutor {
    fn limits(&self) -> StepLimits {
        self.inner.limits()
    }

    fn submit(
        &mut self,
        plan: &StepPlan,
    ) -> Result<LocalFuture<Result<StepOutput, ExecutorError>>, ExecutorError> {
        let step = self.inner.submit(plan)?;
        self.last_step.set(self.inner.step_stats());
        Ok(step)
    }
}

/// Tokens of the pool that all tabs share, where the app does not say.
fn pool_tokens(
    config: &ModelConfig,
    capabilities: &Capabilities,
    window_tokens: u32,
    element_bytes: u32,
) -> u32 {
    let max_bytes = if capabilities.software { MAX_POOL_BYTES_SOFTWARE } else { MAX_POOL_BYTES };
    let fitting = max_bytes / config.kv_bytes_per_token(element_bytes).max(1);
    // Keys, or values, of one layer are one binding at most.
    let arena_bytes = u64::from(config.num_kv_heads) * u64::from(config.head_dim) * u64::from(element_bytes);
    let bindable = capabilities.max_binding_bytes.min(capabilities.max_buffer_bytes) / arena_bytes.max(1);
    let wanted = u64::from(window_tokens) * u64::from(WINDOWS_IN_POOL);
    let tokens = wanted.min(fitting).min(bindable).max(u64::from(MIN_POOL_TOKENS));
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// Random UUIDs and the wall clock.
struct BrowserIdentities;

impl Identities for BrowserIdentities {
    fn reply_id(&self) -> String {
        browser::random_uuid()
    }

    fn unix_time_s(&self) -> u64 {
        (browser::wall_clock_ms() / 1000.0) as u64
    }
}
