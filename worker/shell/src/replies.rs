//! Replies on their way to a client: whole, pulled chunk by chunk, or pushed over a port.
//!
//! A generation runs whether or not anybody takes its chunks; it ends when it is cancelled, and when its client goes. A pulled one
//! that nobody has read for long is put aside until somebody does.

use std::rc::Rc;

use hearth_engine::chat::ReplyPart;
use hearth_engine::chat::routing::request_name;
use hearth_protocol::completion::ChatCompletionChunk;
use hearth_protocol::content::{ChatContent, StreamInitContent, StreamReference};
use hearth_protocol::documents::PageModels;
use hearth_protocol::push::{PushControl, PushMessage};
use hearth_protocol::reply::{Reply, ReturnContent};
use wasm_bindgen::JsCast;
use wasm_bindgen::prelude::*;
use web_sys::MessageEvent;

use crate::backlog;
use crate::browser;
use crate::client::{Client, WorkGuard, WorkKind};
use crate::error::ShellError;
use crate::message::{self, Answers, Port};
use crate::models::CancelFlag;
use crate::pull::PullStream;
use crate::running::{Ask, Running};
use crate::worker::Worker;

/// A page is sent at most this many messages a second by a stream; what comes in between goes together.
const PUSH_INTERVAL_MS: u32 = 16;

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
        let work = RequestWork::new(self, client, answers);
        let ask = self.ask_of(client, content, answers).await?;
        work.cancel.check()?;
        let running = Running::begin(self, client, ask, answers, &work.cancel).await?;
        Ok(ReturnContent::Completion(Box::new(running.collect().await?)))
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
        let work = RequestWork::new(self, client, answers);
        let key = content.stream_key().unwrap_or_default().to_owned();
        let StreamInitContent { request, model_id, chat_opts, .. } = content;
        let content = ChatContent { request, model_id, chat_opts, branch: None, resume: None };
        let ask = self.ask_of(client, content, answers).await?;
        work.cancel.check()?;
        let stream = Rc::new(PullStream::new(ask));
        // An older stream of the same name has nobody who could still pull from it.
        if let Some(old) = client.streams.borrow_mut().insert(key, stream) {
            old.close();
        }
        Ok(ReturnContent::Nothing)
    }

    /// `completionStreamNextChunk`: answers, and goes on generating until the reply is complete or nobody reads it.
    pub async fn pull(self: &Rc<Self>, client: &Rc<Client>, reference: StreamReference, answers: &Answers) {
        let key = reference.key().unwrap_or_default();
        let stream = client.streams.borrow().get(key).cloned();
        let Some(stream) = stream else { return answers.fail(ShellError::UnknownStream.to_wire()) };
        stream.is_pulled(self.clock.now_ms());
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
        match stream.take_ask() {
            Some(ask) => {
                futures::join!(answer, self.generate_into(client, &stream, ask, answers));
            }
            None => answer.await,
        }
    }

    async fn generate_into(
        self: &Rc<Self>,
        client: &Rc<Client>,
        stream: &PullStream,
        ask: Ask,
        answers: &Answers,
    ) {
        let work = RequestWork::new(self, client, answers);
        let cancel = work.cancel.clone();
        stream.on_close(move || cancel.cancel());
        let mut running = match Running::begin(self, client, ask, answers, &work.cancel).await {
            Ok(running) => running,
            Err(error) => {
                stream.push(Err(error.to_wire()));
                return stream.end();
            }
        };
        stream.on_close(running.stopper());
        while let Some(part) = running.next_part().await {
            match part {
                Ok(part) => part.chunk.into_iter().for_each(|chunk| stream.push(Ok(chunk))),
                Err(error) => stream.push(Err(error.to_wire())),
            }
            if backlog::is_abandoned(stream.num_waiting(), stream.last_pull_ms(), self.clock.now_ms()) {
                self.log.info("a stream that nobody reads is put aside; it goes on when it is read");
                return stream.put_aside(running.into_ask());
            }
        }
        stream.end();
    }

    /// `completionStreamReturn`: the page does not want the rest.
    pub fn close_pull_stream(&self, client: &Client, reference: &StreamReference) {
        let stream = client.streams.borrow_mut().remove(reference.key().unwrap_or_default());
        if let Some(stream) = stream {
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
        let work = RequestWork::new(self, client, answers);
        let (sender, uuid) = (client.clone(), answers.uuid().to_owned());
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            let control = message::read(&event.data()).and_then(|message| PushControl::parse(&message));
            // There is no reply to a control; a page that sends nonsense here gets its stream all the same.
            if let Ok(PushControl::Cancel) = control {
                sender.cancel_message(&uuid);
            }
        });
        port.inner().set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let last = match self.push_chunks(client, content, &port, answers, &work.cancel).await {
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
        mut content: ChatContent,
        port: &Port,
        answers: &Answers,
        cancel: &CancelFlag,
    ) -> Result<(), ShellError> {
        content.request.stream = Some(true);
        let ask = self.ask_of(client, content, answers).await?;
        cancel.check()?;
        let mut running = Running::begin(self, client, ask, answers, cancel).await?;
        port.post(&PushMessage::Begin { snapshot: Box::new(running.begun()) });
        while let Some(first) = running.next_part().await {
            let mut batch = Batch::default();
            batch.push(first?);
            while let Some(part) = running.ready_part() {
                batch.push(part);
            }
            batch.post(port);
            browser::sleep_ms(PUSH_INTERVAL_MS).await;
        }
        Ok(())
    }

    /// What a message asks, of a model that is loaded by now.
    async fn ask_of(
        self: &Rc<Self>,
        client: &Rc<Client>,
        content: ChatContent,
        answers: &Answers,
    ) -> Result<Ask, ShellError> {
        let ChatContent { request, model_id, chat_opts, branch, resume } = content;
        let models = PageModels { model_id, chat_opts, model: request.model.clone() };
        let (model, loaded) = self.ensure_named(client, &models, request_name::CHAT, answers).await?;
        model.chat.check(&request)?;
        Ok(Ask { loaded, request, branch, resume: resume.map(|resume| *resume) })
    }
}

/// A request from its arrival to its end: what cancels it before there is a reply to cancel. Its client is not silent meanwhile.
pub struct RequestWork {
    /// Set once it is not wanted any more.
    pub cancel: CancelFlag,
    worker: Rc<Worker>,
    client: Rc<Client>,
    _work: WorkGuard,
}

impl RequestWork {
    /// A message of the client has arrived that takes a while.
    pub fn new(worker: &Rc<Worker>, client: &Rc<Client>, answers: &Answers) -> Self {
        let cancel = CancelFlag::default();
        let flag = cancel.clone();
        let work = client.begin(WorkKind::Request, answers.uuid(), move || flag.cancel());
        worker.stir(client);
        Self { cancel, worker: worker.clone(), client: client.clone(), _work: work }
    }
}

impl Drop for RequestWork {
    fn drop(&mut self) {
        self.worker.stir(&self.client);
    }
}

/// What a page is sent together.
#[derive(Default)]
struct Batch {
    chunks: Vec<ChatCompletionChunk>,
    tokens: Vec<u32>,
}

impl Batch {
    fn push(&mut self, part: ReplyPart) {
        self.chunks.extend(part.chunk);
        self.tokens.extend(part.tokens.iter().map(|token| token.0));
    }

    fn post(self, port: &Port) {
        let Self { chunks, tokens } = self;
        if !chunks.is_empty() || !tokens.is_empty() {
            port.post(&PushMessage::Chunks { chunks, tokens });
        }
    }
}

/// The stream is over; a newer one of the same name stays.
fn remove_stream(client: &Client, key: &str, stream: &Rc<PullStream>) {
    let mut streams = client.streams.borrow_mut();
    if streams.get(key).is_some_and(|current| Rc::ptr_eq(current, stream)) {
        streams.remove(key);
    }
}
