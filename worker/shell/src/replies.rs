//! Replies on their way to a client: whole, pulled chunk by chunk, or pushed over a port.
//!
//! A generation runs whether or not anybody takes its chunks; it ends when it is cancelled, and when its client goes.

use std::rc::Rc;

use hearth_engine::chat::routing::request_name;
use hearth_engine::chat::{ChatError, ChatReply};
use hearth_protocol::chat::ChatCompletionRequest;
use hearth_protocol::completion::ChatCompletionChunk;
use hearth_protocol::config::ChatOptions;
use hearth_protocol::content::{ChatContent, StreamInitContent, StreamReference};
use hearth_protocol::push::{PushControl, PushMessage};
use hearth_protocol::reply::{Reply, ReturnContent};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::MessageEvent;

use crate::browser;
use crate::client::{Client, LoadedRecord, WorkGuard, WorkKind};
use crate::error::ShellError;
use crate::load::LoadedModel;
use crate::message::{self, Answers, Port};
use crate::models::CancelFlag;
use crate::pull::{PullStream, Unbegun};
use crate::worker::Worker;

/// A page is sent at most this many messages a second by a stream; what comes in between goes together.
const PUSH_INTERVAL_MS: u32 = 16;

/// A reply that has begun, as its client's work.
struct Begun {
    reply: ChatReply,
    /// Held while the reply is under way.
    _work: WorkGuard,
    model: Rc<LoadedModel>,
}

impl Worker {
    /// `chatCompletionNonStreaming`.
    ///
    /// # Errors
    /// Whatever is wrong with the request, its model, or the engine.
    pub async fn complete(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: ChatContent,
        answers: &Answers,
    ) -> Result<ReturnContent, ShellError> {
        let request = RequestWork::new(client, answers);
        let ChatContent { request: mut body, model_id, chat_opts } = content;
        let (model, loaded) =
            self.find_model(client, &body, &model_id, chat_opts.as_deref(), answers).await?;
        request.cancel.check()?;
        lay_over(&mut body, &loaded);
        let begun = self.begin(client, &model, &body, answers)?;
        match begun.reply.collect().await {
            Ok(completion) => Ok(ReturnContent::Completion(Box::new(completion))),
            Err(error) => Err(model.explain(error).await),
        }
    }

    /// `chatCompletionStreamInit`: the request is checked; nothing is generated yet.
    ///
    /// # Errors
    /// Whatever is wrong with the fields of the request, or its model.
    pub async fn open_pull_stream(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: StreamInitContent,
        answers: &Answers,
    ) -> Result<ReturnContent, ShellError> {
        let request = RequestWork::new(client, answers);
        let key = content.stream_key().unwrap_or_default().to_owned();
        let StreamInitContent { request: mut body, model_id, chat_opts, .. } = content;
        let (model, loaded) =
            self.find_model(client, &body, &model_id, chat_opts.as_deref(), answers).await?;
        request.cancel.check()?;
        model.chat.check(&body)?;
        lay_over(&mut body, &loaded);
        let stream = Rc::new(PullStream::new(Unbegun { loaded, request: body }));
        // An older stream of the same name has nobody who could still pull from it.
        if let Some(old) = client.streams.borrow_mut().insert(key, stream) {
            old.close();
        }
        Ok(ReturnContent::Nothing)
    }

    /// `completionStreamNextChunk`: answers, and goes on generating until the reply is complete.
    pub async fn pull(self: &Rc<Self>, client: &Rc<Client>, reference: StreamReference, answers: &Answers) {
        let key = reference.key().unwrap_or_default();
        let stream = client.streams.borrow().get(key).cloned();
        let Some(stream) = stream else { return answers.fail(ShellError::UnknownStream.to_wire()) };
        let begun = match stream.take_unbegun() {
            None => None,
            Some(unbegun) => match self.begin_unbegun(client, &unbegun, answers).await {
                Ok(begun) => Some(begun),
                Err(error) => {
                    stream.close();
                    remove_stream(client, key, &stream);
                    return answers.fail(error.to_wire());
                }
            },
        };
        let answer = async {
            match stream.next().await {
                Some(Ok(chunk)) => {
                    answers.send(&Reply::done(answers.uuid(), ReturnContent::Chunk(Box::new(chunk))))
                }
                Some(Err(error)) => {
                    remove_stream(client, key, &stream);
                    answers.fail(error);
                }
                None => {
                    remove_stream(client, key, &stream);
                    answers.send(&Reply::end_of_stream(answers.uuid()));
                }
            }
        };
        match begun {
            Some(begun) => {
                futures::join!(answer, generate_into(&stream, begun));
            }
            None => answer.await,
        }
    }

    /// `completionStreamReturn`: the page does not want the rest.
    pub fn close_pull_stream(&self, client: &Client, reference: &StreamReference) {
        if let Some(stream) = client.streams.borrow_mut().remove(reference.key().unwrap_or_default()) {
            stream.close();
        }
    }

    /// `hearth.stream`: chunks go out as they come; the page can cancel over the same port.
    pub async fn push_stream(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: ChatContent,
        port: Port,
        answers: &Answers,
    ) {
        let request = RequestWork::new(client, answers);
        let (sender, uuid) = (client.clone(), answers.uuid().to_owned());
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let control = message::read(&event.data()).and_then(|message| PushControl::parse(&message));
            // There is no reply to a control; a page that sends nonsense here gets its stream all the same.
            if let Ok(PushControl::Cancel) = control {
                sender.cancel_message(&uuid);
            }
        });
        port.inner().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let last = match self.push_chunks(client, content, &port, answers, &request.cancel).await {
            Ok(()) => PushMessage::End,
            Err(error) => PushMessage::Error { error: error.to_wire() },
        };
        port.post(&last);
        port.inner().set_onmessage(None);
        port.inner().close();
    }

    async fn push_chunks(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: ChatContent,
        port: &Port,
        answers: &Answers,
        cancel: &CancelFlag,
    ) -> Result<(), ShellError> {
        let ChatContent { request: mut body, model_id, chat_opts } = content;
        body.stream = Some(true);
        let (model, loaded) =
            self.find_model(client, &body, &model_id, chat_opts.as_deref(), answers).await?;
        cancel.check()?;
        lay_over(&mut body, &loaded);
        let mut begun = self.begin(client, &model, &body, answers)?;
        while let Some(first) = begun.reply.next_chunk().await {
            let (chunks, error) = collect_ready(&mut begun.reply, first);
            if !chunks.is_empty() {
                port.post(&PushMessage::Chunks { chunks });
            }
            if let Some(error) = error {
                return Err(model.explain(error).await);
            }
            browser::sleep_ms(PUSH_INTERVAL_MS).await;
        }
        Ok(())
    }

    async fn find_model(
        self: &Rc<Self>,
        client: &Rc<Client>,
        request: &ChatCompletionRequest,
        model_ids: &[String],
        chat_opts: Option<&[ChatOptions]>,
        answers: &Answers,
    ) -> Result<(Rc<LoadedModel>, LoadedRecord), ShellError> {
        self.load_if_unmatched(client, model_ids, chat_opts, answers).await?;
        let loaded = self.select(client, request.model.as_deref(), request_name::CHAT)?;
        let model = self.ensure(client, &loaded, answers).await?.model;
        Ok((model, loaded))
    }

    async fn begin_unbegun(
        self: &Rc<Self>,
        client: &Rc<Client>,
        unbegun: &Unbegun,
        answers: &Answers,
    ) -> Result<Begun, ShellError> {
        let model = self.ensure(client, &unbegun.loaded, answers).await?.model;
        self.begin(client, &model, &unbegun.request, answers)
    }

    fn begin(
        self: &Rc<Self>,
        client: &Rc<Client>,
        model: &Rc<LoadedModel>,
        request: &ChatCompletionRequest,
        answers: &Answers,
    ) -> Result<Begun, ShellError> {
        let reply = model.chat.start(request, client.owner)?;
        let canceller = reply.canceller();
        let work = client.begin(WorkKind::Reply, answers.uuid(), move || canceller.cancel());
        self.watch();
        Ok(Begun { reply, _work: work, model: model.clone() })
    }
}

/// A request from its arrival on: what cancels it before there is a reply to cancel.
struct RequestWork {
    cancel: CancelFlag,
    _work: WorkGuard,
}

impl RequestWork {
    fn new(client: &Rc<Client>, answers: &Answers) -> Self {
        let cancel = CancelFlag::default();
        let flag = cancel.clone();
        let work = client.begin(WorkKind::Request, answers.uuid(), move || flag.cancel());
        Self { cancel, _work: work }
    }
}

async fn generate_into(stream: &PullStream, mut begun: Begun) {
    let canceller = begun.reply.canceller();
    stream.on_close(move || canceller.cancel());
    while let Some(item) = begun.reply.next_chunk().await {
        stream.push(match item {
            Ok(chunk) => Ok(chunk),
            Err(error) => Err(begun.model.explain(error).await.to_wire()),
        });
    }
    stream.end();
}

/// What can be sent together with `first`.
fn collect_ready(
    reply: &mut ChatReply,
    first: Result<ChatCompletionChunk, ChatError>,
) -> (Vec<ChatCompletionChunk>, Option<ChatError>) {
    let mut chunks = Vec::new();
    let mut next = Some(first);
    while let Some(item) = next {
        match item {
            Ok(chunk) => chunks.push(chunk),
            Err(error) => return (chunks, Some(error)),
        }
        next = reply.ready_chunk();
    }
    (chunks, None)
}

/// The stream is over; a newer one of the same name stays.
fn remove_stream(client: &Client, key: &str, stream: &Rc<PullStream>) {
    let mut streams = client.streams.borrow_mut();
    if streams.get(key).is_some_and(|current| Rc::ptr_eq(current, stream)) {
        streams.remove(key);
    }
}

/// Values that the request leaves open are those of the tab's options, then of the model's record: the model itself is
/// shared with tabs that have other options.
fn lay_over(request: &mut ChatCompletionRequest, loaded: &LoadedRecord) {
    let layers = [loaded.chat_opts.as_ref(), loaded.record.overrides.as_ref()];
    for options in layers.into_iter().flatten() {
        request.temperature = request.temperature.or(options.temperature);
        request.top_p = request.top_p.or(options.top_p);
        request.repetition_penalty = request.repetition_penalty.or(options.repetition_penalty);
        request.frequency_penalty = request.frequency_penalty.or(options.frequency_penalty);
        request.presence_penalty = request.presence_penalty.or(options.presence_penalty);
    }
}
