//! One load of one model: file, vocabulary, template, GPU, engine. Nothing half-loaded survives a failure.
//!
//! Every piece of work is followed by a look at the cancel flag and a breath for the other tabs.

use std::cell::Cell;
use std::rc::Rc;

use hearth_engine::chat::{ChatModel, ChatParts, Identities, ModelOptions, TabOptions};
use hearth_engine::driver::{self, EngineHandle};
use hearth_engine::engine::{EngineConfig, EngineError};
use hearth_engine::ids::BlockId;
use hearth_engine::model::gguf::Gguf;
use hearth_engine::model::{ModelConfig, ModelTensors};
use hearth_engine::plan::{StepLimits, StepOutput, StepPlan};
use hearth_engine::ports::{BorrowedFuture, Clock, Executor, ExecutorError, LocalFuture};
use hearth_engine::template::ChatTemplate;
use hearth_engine::tokenizer::Tokenizer;
use hearth_gpu::{ExecutorOptions, Gpu, GpuExecutor, LoadProgress, StepStats};
use hearth_protocol::config::{ChatOptions, ModelRecord};
use wasm_bindgen_futures::spawn_local;

use crate::browser;
use crate::device::SharedDevice;
use crate::error::ShellError;
use crate::kv_room::Room;
use crate::loaded::{LoadedModel, LoadedParts};
use crate::log::Logger;
use crate::models::{CancelFlag, ModelTable};
use crate::page_keeper::{PageKeeper, PageLayout};
use crate::progress::LoadReporter;
use crate::store::{Database, ModelSource, SourceEvent, SourceOptions};

/// Written into the layout of stored pages: pages of another version of the kernels are not read.
const PAGE_FORMAT: u32 = 1;
/// Attempts when the file changes on the server in mid-load.
const FILE_ATTEMPTS: u32 = 3;
/// A synchronous piece of work that takes longer than this is worth a line in the log.
const LONG_SLICE_MS: f64 = 50.0;

/// What every load needs.
pub struct LoadContext {
    /// The device.
    pub device: SharedDevice,
    /// The weights' store.
    pub database: Database,
    /// The other models, which may have to make room.
    pub models: Rc<ModelTable>,
    /// Pages that were computed with stored weights.
    pub pages: Rc<PageKeeper>,
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
        Ok(model) => {
            if let Some(content) = source.fingerprint() {
                model.set_page_layout(page_layout(url, &content.to_string(), model));
            }
            reporter.finished(&model.device());
        }
        Err(error) if error.blames_file() || error.is_change_of_file() => {
            source.discard().await;
            context.pages.forget_model(url);
        }
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
    let overrides = request.record.overrides.as_ref();
    let options = ModelOptions::resolve(overrides, request.chat_opts.as_ref())?;
    let tab = TabOptions::resolve(overrides, request.chat_opts.as_ref())?;
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

    let room = Room::new(&config, gpu.capabilities(), &options, &tab);
    let executor = place(context, request, gpu, source, (&config, &tensors), room, cancel, reporter).await?;
    browser::yield_now().await;
    start(context, request, gpu, executor, Parts { tokenizer, template, options, config })
}

/// Puts the model on the device. Where that has no room, the other models give back what they can spare, and the cache begins
/// smaller.
#[expect(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
async fn place(
    context: &Rc<LoadContext>,
    request: &LoadRequest,
    gpu: &Gpu,
    source: &ModelSource,
    (config, tensors): (&ModelConfig, &ModelTensors),
    mut room: Room,
    cancel: &CancelFlag,
    reporter: &Rc<LoadReporter>,
) -> Result<GpuExecutor, ShellError> {
    let mut has_made_room = false;
    loop {
        let executor_options = ExecutorOptions {
            kv_type: room.kv_type,
            kv_tokens: room.start_tokens,
            max_kv_tokens: room.max_tokens,
            ..ExecutorOptions::for_device(gpu.capabilities())
        };
        let total_chunks = source.progress().total_chunks;
        let mut on_progress = |at: LoadProgress| {
            reporter.loaded(at.bytes_done, at.bytes_total, total_chunks);
        };
        let result =
            hearth_gpu::load(gpu, config, tensors, source, &executor_options, &mut on_progress).await;
        cancel.check()?;
        let error = match result.map_err(ShellError::from) {
            Ok(executor) => return Ok(executor),
            Err(error) if error.is_out_of_gpu_memory() => error,
            Err(error) => return Err(error),
        };
        let model_id = &request.record.model_id;
        if !has_made_room {
            has_made_room = true;
            make_room(context).await;
            cancel.check()?;
            context.log.warn(&format!("{model_id}: {error}; trying again after the other models made room"));
        } else if room.shrink() {
            let tokens = room.start_tokens;
            context.log.warn(&format!("{model_id}: {error}; trying a context pool of {tokens} tokens"));
        } else {
            return Err(error);
        }
    }
}

/// The other models give back what nobody uses of them at the moment.
async fn make_room(context: &LoadContext) {
    context.models.free_unclaimed();
    let others = context.models.loaded().into_iter().filter(|(_, model)| model.is_alive());
    for (key, model) in others {
        if let Err(error) = model.chat.engine().shrink_pool().await {
            context.log.debug(&format!("the cache of {} was not made smaller: {error}", key.model_id));
        }
    }
}

/// What a loaded model is made of besides its executor.
struct Parts {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    options: ModelOptions,
    config: ModelConfig,
}

/// Starts the engine's loop; it ends when the model is let go of, or with the device.
fn start(
    context: &Rc<LoadContext>,
    request: &LoadRequest,
    gpu: &Gpu,
    executor: GpuExecutor,
    parts: Parts,
) -> Result<LoadedModel, ShellError> {
    let Parts { tokenizer, template, options, config } = parts;
    let tokenizer = Rc::new(tokenizer);
    let entropy_seed = browser::random_bits();
    let limits = executor.limits();
    // Windows are each tab's own; the engine only knows what the model was trained for.
    let trained_tokens = config.context_length_tokens;
    let engine_config = EngineConfig { entropy_seed, ..EngineConfig::new(limits, trained_tokens) };
    let engine = EngineHandle::new(engine_config, tokenizer.clone(), context.clock.clone())?;
    let (log, model_id) = (context.log.clone(), request.record.model_id.clone());
    let (memory, page_bytes) = (executor.memory(), executor.block_bytes());
    let last_step = Rc::new(Cell::new(StepStats::default()));
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
        tokenizer: tokenizer.clone(),
        template,
        engine,
        identities: Rc::new(BrowserIdentities),
    });
    let gpu = gpu.clone();
    Ok(LoadedModel::new(chat, LoadedParts { gpu, memory, last_step, options, tokenizer, limits, page_bytes }))
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
        self.inner.write_block(block, bytes)
    }

    fn block_bytes(&self) -> u64 {
        self.inner.block_bytes()
    }
}

/// Where the model's pages are stored.
fn page_layout(url: &str, content: &str, model: &LoadedModel) -> PageLayout {
    let content = format!("{content}:{PAGE_FORMAT}:");
    let layout = format!("{content}{}:{}", model.kv_type_name(), model.page_bytes());
    PageLayout { url: url.to_owned(), layout, content }
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

    fn entropy(&self) -> u64 {
        browser::random_bits()
    }
}
