//! A reply that outlives its device: when the device is lost, the model is loaded again and the reply goes on where it was, token
//! for token. Whoever takes its parts notices nothing but the wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hearth_engine::chat::{ChatError, ChatReply, ReplyCanceller, ReplyPart, Speaker};
use hearth_engine::ids::TokenId;
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::ChatCompletion;
use hearth_protocol::context::{ContextEvent, ReplySnapshot, RestoreSource};

use crate::client::{Client, Conversation, LoadedRecord, Said, WorkGuard, WorkKind};
use crate::error::ShellError;
use crate::loaded::LoadedModel;
use crate::message::Answers;
use crate::models::{CancelFlag, ModelKey};
use crate::retries::Retries;
use crate::worker::Worker;

/// What is to be answered.
pub struct Ask {
    /// The model and the tab's options.
    pub loaded: LoadedRecord,
    /// What is asked.
    pub request: ChatCompletionRequest,
    /// Which of the page's branches.
    pub branch: Option<String>,
    /// Where an earlier run of the reply had got to.
    pub resume: Option<ReplySnapshot>,
}

/// Stops whichever reply is there, or the next one.
#[derive(Default)]
struct Stop {
    is_wanted: Cell<bool>,
    canceller: RefCell<Option<ReplyCanceller>>,
}

impl Stop {
    fn stop(&self) {
        self.is_wanted.set(true);
        let canceller = self.canceller.borrow().clone();
        if let Some(canceller) = canceller {
            canceller.cancel();
        }
    }

    fn attach(&self, canceller: ReplyCanceller) {
        *self.canceller.borrow_mut() = Some(canceller.clone());
        if self.is_wanted.get() {
            canceller.cancel();
        }
    }
}

/// A prompt that is being read.
struct Reading {
    started_ms: f64,
    /// Tokens of it that were not in the cache.
    num_tokens: u32,
}

/// A reply under way, as its client's work. Dropping it cancels the generation.
pub struct Running {
    worker: Rc<Worker>,
    client: Rc<Client>,
    answers: Answers,
    cancel: CancelFlag,
    ask: Ask,
    speaker: Speaker,
    model: Rc<LoadedModel>,
    reply: ChatReply,
    /// Until its first token has come.
    reading: Option<Reading>,
    /// Has been met and is to be dealt with.
    failure: Option<ChatError>,
    stop: Rc<Stop>,
    retries: Retries,
    _work: WorkGuard,
}

impl Running {
    /// Begins a reply, or goes on with one.
    ///
    /// # Errors
    /// Whatever is wrong with the request, its model, or the engine.
    pub async fn begin(
        worker: &Rc<Worker>,
        client: &Rc<Client>,
        mut ask: Ask,
        answers: &Answers,
        cancel: &CancelFlag,
    ) -> Result<Self, ShellError> {
        let stop = Rc::new(Stop::default());
        let stopped = stop.clone();
        let kind = WorkKind::Reply(ask.branch.clone());
        let work = client.begin(kind, answers.uuid(), move || stopped.stop());
        let speaker = Speaker { owner: client.owner, branch: ask.branch.clone() };
        let mut retries = Retries::default();
        let resume = ask.resume.take();
        let (model, reply, reading) = loop {
            match open(worker, client, &ask, &speaker, resume.clone(), answers, cancel).await {
                Ok(opened) => break opened,
                // Lost between the load and the start.
                Err(error) if error.is_device_lost() && retries.take(0) => {}
                Err(error) => return Err(error),
            }
        };
        stop.attach(reply.canceller());
        worker.watch();
        let (worker, client) = (worker.clone(), client.clone());
        let (answers, cancel) = (answers.clone(), cancel.clone());
        Ok(Self {
            worker,
            client,
            answers,
            cancel,
            ask,
            speaker,
            model,
            reply,
            reading: Some(reading),
            failure: None,
            stop,
            retries,
            _work: work,
        })
    }

    /// What the reply was when it began.
    pub fn begun(&self) -> ReplySnapshot {
        self.reply.begin().clone()
    }

    /// What [`Self::begin`] takes to go on with it.
    pub fn into_ask(self) -> Ask {
        let Self { ask, reply, .. } = self;
        Ask { resume: Some(reply.snapshot()), ..ask }
    }

    /// Waits for what comes next; `None` when there is nothing more, also after an error.
    pub async fn next_part(&mut self) -> Option<Result<ReplyPart, ShellError>> {
        loop {
            let failure = match self.failure.take() {
                Some(failure) => failure,
                None => match self.reply.next_chunk().await {
                    None => {
                        self.conclude();
                        return None;
                    }
                    Some(Ok(part)) => return Some(Ok(self.pass(part))),
                    Some(Err(failure)) => failure,
                },
            };
            let error = self.model.explain(failure).await;
            if let Err(error) = self.go_on_after(error).await {
                self.conclude();
                return Some(Err(error));
            }
        }
    }

    /// What is there already, without waiting. A failure is left to [`Self::next_part`].
    pub fn ready_part(&mut self) -> Option<ReplyPart> {
        if self.failure.is_some() {
            return None;
        }
        match self.reply.ready_chunk()? {
            Ok(part) => Some(self.pass(part)),
            Err(error) => {
                self.failure = Some(error);
                None
            }
        }
    }

    /// Waits for the whole reply.
    ///
    /// # Errors
    /// As [`Self::next_part`].
    pub async fn collect(mut self) -> Result<ChatCompletion, ShellError> {
        let outcome = loop {
            let (worker, client) = (self.worker.clone(), self.client.clone());
            let model_id = &self.ask.loaded.record.model_id;
            let tell = |event| worker.tell(&client, model_id, event);
            let failure = match self.reply.collect_with(tell).await {
                Ok(completion) => {
                    if let Some(usage) = &completion.usage {
                        let ms_per_token = 1_000.0 / usage.extra.prefill_tokens_per_s;
                        self.model
                            .has_read(usage.prompt_tokens, f64::from(usage.prompt_tokens) * ms_per_token);
                    }
                    break Ok(completion);
                }
                Err(failure) => failure,
            };
            let error = self.model.explain(failure).await;
            if let Err(error) = self.go_on_after(error).await {
                break Err(error);
            }
        };
        self.conclude();
        outcome
    }

    /// The reply has failed: begins it again where it was, if its device was lost.
    ///
    /// # Errors
    /// `error`, if that is something else or has come too often; else what is wrong with the new beginning.
    async fn go_on_after(&mut self, mut error: ShellError) -> Result<(), ShellError> {
        let snapshot = self.reply.snapshot();
        loop {
            if !error.is_device_lost() || !self.retries.take(snapshot.tokens.len()) {
                return Err(error);
            }
            self.worker.log.warn(&format!("{error}; going on after {} tokens", snapshot.tokens.len()));
            let resume = Some(snapshot.clone());
            let Self { worker, client, ask, speaker, answers, cancel, .. } = self;
            match open(worker, client, ask, speaker, resume, answers, cancel).await {
                Ok((model, reply, reading)) => {
                    self.stop.attach(reply.canceller());
                    self.reading = Some(reading);
                    self.model = model;
                    self.reply = reply;
                    return Ok(());
                }
                Err(next) => error = next,
            }
        }
    }

    /// Ends the reply early, whichever run of it is there then; its last chunks still come.
    pub fn stopper(&self) -> impl FnOnce() + 'static {
        let (stop, cancel) = (self.stop.clone(), self.cancel.clone());
        move || {
            cancel.cancel();
            stop.stop();
        }
    }

    fn pass(&mut self, part: ReplyPart) -> ReplyPart {
        if !part.tokens.is_empty()
            && let Some(Reading { started_ms, num_tokens }) = self.reading.take()
        {
            self.model.has_read(num_tokens, self.worker.clock.now_ms() - started_ms);
        }
        if let Some(event) = &part.event {
            self.worker.tell(&self.client, &self.ask.loaded.record.model_id, event.clone());
        }
        part
    }

    /// The reply is over: what was said is remembered, and its pages may be kept.
    fn conclude(&self) {
        let key = ModelKey::of(&self.ask.loaded.record);
        // Gone or let go of meanwhile: nothing is to be remembered.
        if self.client.is_gone.get() || self.client.find_loaded(&key).is_none() {
            return;
        }
        if self.ask.branch.is_none() {
            let text = self.model.chat.message(&self.speaker);
            let context_tokens = match self.ask.loaded.tab_options() {
                Ok(options) => self.model.chat.context(&self.speaker, &options).used,
                Err(_) => 0,
            };
            let said = Said { text, context_tokens };
            self.client.said.borrow_mut().insert(key.model_id.clone(), said);
            self.client.is_unsaved.set(true);
        }
        let ReplySnapshot { mut prompt, tokens, .. } = self.reply.snapshot();
        prompt.extend(tokens);
        let conversation = Conversation { tokens: prompt, is_kept: false };
        self.client.conversations.borrow_mut().insert(key, conversation);
    }
}

/// Loads the model if need be, brings back the pages that are stored, and starts.
async fn open(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    ask: &Ask,
    speaker: &Speaker,
    resume: Option<ReplySnapshot>,
    answers: &Answers,
    cancel: &CancelFlag,
) -> Result<(Rc<LoadedModel>, ChatReply, Reading), ShellError> {
    let model = worker.ensure(client, &ask.loaded, answers).await?.model;
    cancel.check()?;
    let options = ask.loaded.tab_options()?;
    if worker.pages.has_pages_for(&model).await {
        let tokens: Vec<u32> = match &resume {
            Some(snapshot) => snapshot.prompt.iter().chain(&snapshot.tokens).copied().collect(),
            None => {
                let prompt = model.chat.prompt_of(&ask.request, speaker, &options)?;
                prompt.into_iter().map(|token| token.0).collect()
            }
        };
        let restored = worker.pages.restore(&model, client.owner, &tokens, cancel).await;
        cancel.check()?;
        if restored > 0 {
            let event = ContextEvent::Restored { tokens: restored, source: RestoreSource::Store };
            worker.tell(client, &ask.loaded.record.model_id, event);
        }
    }
    let reply = match resume {
        Some(snapshot) => model.chat.resume(&ask.request, snapshot, speaker, &options),
        None => model.chat.start(&ask.request, speaker, &options),
    };
    match reply {
        Ok(reply) => {
            let ReplySnapshot { prompt, tokens, .. } = reply.begin();
            let ids: Vec<TokenId> = prompt.iter().chain(tokens).copied().map(TokenId).collect();
            let num_tokens = (ids.len() as u32).saturating_sub(model.chat.engine().cached_tokens(&ids));
            Ok((model, reply, Reading { started_ms: worker.clock.now_ms(), num_tokens }))
        }
        Err(error) => Err(model.explain(error).await),
    }
}
