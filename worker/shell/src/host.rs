//! The wasm's interface to JavaScript: messages in, answers out, and what happens after a panic.
//!
//! `handleMessage` never throws and its promise never rejects. A panic traps: the instance is marked broken by the hook,
//! answers every later message with an error, and is to be replaced by whoever made it.

use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::rc::Rc;

use hearth_protocol::WireError;
use hearth_protocol::push::PushMessage;
use hearth_protocol::reply::{Reply, ReturnContent};
use hearth_protocol::request::{Envelope, RequestBody};
use js_sys::{Function, Promise};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::client::{Client, WorkKind};
use crate::error::ShellError;
use crate::message::{self, Answers, Port};
use crate::worker::Worker;

/// The protocol's name for a kind that nobody knows.
const UNKNOWN_KIND: &str = "UnknownMessageKindError";

thread_local! {
    /// The first panic of this instance. A panic hook is the process's, so this cannot be a field of [`Host`].
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The engine for whoever hosts it: a service worker, another worker, or a page.
#[wasm_bindgen]
pub struct Host {
    worker: Rc<Worker>,
}

#[wasm_bindgen]
impl Host {
    /// `options` is `{kind}`; what the host can do is found out from its global scope.
    #[wasm_bindgen(constructor)]
    pub fn new(_options: JsValue) -> Self {
        std::panic::set_hook(Box::new(on_panic));
        Self { worker: Worker::new() }
    }

    /// Handles one message of a client. `port` is the message's transferred port or undefined; `reply` sends one message to
    /// the client. The promise resolves when everything that the message caused has ended.
    #[wasm_bindgen(js_name = handleMessage)]
    pub fn handle_message(
        &self,
        client_id: String,
        data: JsValue,
        port: JsValue,
        reply: Function,
    ) -> Promise {
        if let Some(panic) = PANIC.with_borrow(Clone::clone) {
            let answers =
                Answers::new(reply, message::find_uuid(&data).unwrap_or_default(), self.worker.log.clone());
            answers.fail(ShellError::Crashed { panic }.to_wire());
            return Promise::resolve(&JsValue::UNDEFINED);
        }
        let worker = self.worker.clone();
        future_to_promise(async move {
            handle(&worker, &client_id, &data, &port, reply).await;
            if let Some(client) = worker.clients.find(&client_id) {
                worker.save_if_changed(&client).await;
                worker.keep_pages_when_quiet(&client);
            }
            worker.sweep_if_due().await;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// A client is known to be gone: its streams end and its claims go. Hosts whose clients come by ports call this when a
    /// port closes; a service worker finds out by itself.
    #[wasm_bindgen(js_name = clientGone)]
    pub fn client_gone(&self, client_id: String) -> Promise {
        let worker = self.worker.clone();
        future_to_promise(async move {
            worker.forget(&client_id).await;
            Ok(JsValue::UNDEFINED)
        })
    }
}

fn on_panic(info: &PanicHookInfo<'_>) {
    let text = info.to_string();
    web_sys::console::error_1(&JsValue::from_str(&format!("[hearth] internal error: {text}")));
    PANIC.with_borrow_mut(|panic| panic.get_or_insert(text).shrink_to_fit());
}

async fn handle(worker: &Rc<Worker>, client_id: &str, data: &JsValue, port: &JsValue, reply: Function) {
    let answers_to = |uuid: &str| Answers::new(reply.clone(), uuid.to_owned(), worker.log.clone());
    let port = Port::find(port, worker.log.clone());
    let message = match message::read(data) {
        Ok(message) => message,
        Err(error) => return refuse(&answers_to(&message::find_uuid(data).unwrap_or_default()), port, error),
    };
    let Some(envelope) = Envelope::read(&message) else {
        return worker.log.debug("a message that is not for this worker was ignored");
    };
    let answers = answers_to(envelope.uuid);
    let request = match envelope.parse() {
        Ok(request) => request,
        // web-llm throws inside the worker and answers nothing; a kind of Hearth's own has somebody who waits.
        Err(error) if error.name == UNKNOWN_KIND && !envelope.kind.starts_with("hearth.") => {
            return worker.log.error(&error.to_string());
        }
        Err(error) => {
            worker.log.warn(&error.to_string());
            return refuse(&answers, port, error);
        }
    };
    drop(message);
    let client = worker.client(client_id);
    match (request.body, port) {
        (RequestBody::Stream(content), Some(port)) => {
            worker.push_stream(&client, content, port, &answers).await
        }
        (body, _) => match answer(worker, &client, body, &answers).await {
            Ok(Some(content)) => answers.send(&Reply::done(answers.uuid(), content)),
            Ok(None) => {}
            Err(error) => answers.fail(error.to_wire()),
        },
    }
}

/// A message that cannot be served gets its error where its sender listens.
fn refuse(answers: &Answers, port: Option<Port>, error: WireError) {
    match port {
        Some(port) => {
            port.post(&PushMessage::Error { error });
            port.inner().close();
        }
        None => answers.fail(error),
    }
}

/// What one message returns; `None` where web-llm answers nothing, and where the answer has been sent.
async fn answer(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    body: RequestBody,
    answers: &Answers,
) -> Result<Option<ReturnContent>, ShellError> {
    let content = match body {
        RequestBody::SetAppConfig(config) => {
            worker.set_app_config(client, config).await;
            return Ok(None);
        }
        RequestBody::SetLogLevel(level) => {
            worker.set_log_level(level).await;
            return Ok(None);
        }
        RequestBody::CustomRequest(()) => return Ok(None),
        RequestBody::KeepAlive => {
            answers.send(&Reply::heartbeat(answers.uuid()));
            return Ok(None);
        }
        RequestBody::CompletionStreamNextChunk(reference) => {
            worker.pull(client, reference, answers).await;
            return Ok(None);
        }
        // Handled where its port is.
        RequestBody::Stream(_) => return Err(ShellError::NoPort),
        RequestBody::Reload(content) => {
            worker.load_models(client, &content.model_id, content.chat_opts.as_deref(), answers).await?;
            ReturnContent::Nothing
        }
        RequestBody::ChatCompletionNonStreaming(content) => worker.complete(client, content, answers).await?,
        RequestBody::ChatCompletionStreamInit(content) => {
            worker.open_pull_stream(client, content, answers).await?
        }
        RequestBody::CompletionStreamReturn(reference) => {
            worker.close_pull_stream(client, &reference);
            ReturnContent::Nothing
        }
        RequestBody::InterruptGenerate(()) => {
            client.cancel_kinds(|kind| *kind == WorkKind::Reply(None));
            ReturnContent::Nothing
        }
        RequestBody::Cancel(content) => {
            client.cancel_message(&content.uuid);
            ReturnContent::Nothing
        }
        RequestBody::ResetChat(content) => {
            worker.reset_chat(client, &content);
            ReturnContent::Nothing
        }
        RequestBody::Unload(()) => {
            worker.unload(client).await;
            ReturnContent::Nothing
        }
        RequestBody::GetMessage(content) => ReturnContent::Text(worker.message(client, &content).await?),
        RequestBody::RuntimeStatsText(content) => {
            ReturnContent::Text(worker.runtime_stats(client, &content)?)
        }
        RequestBody::Usage(content) => ReturnContent::Usage(worker.usage(client, &content)?),
        RequestBody::Hello(content) => ReturnContent::Hello(worker.greet(client, content, answers)),
        RequestBody::Tab(content) => {
            worker.tab_changed(client, &content);
            return Ok(None);
        }
        RequestBody::Watch(content) => {
            worker.set_watch(client, content, answers);
            return Ok(None);
        }
        RequestBody::Measure(content) => {
            ReturnContent::Tokens(worker.measure(client, content, answers).await?)
        }
        RequestBody::Append(content) => ReturnContent::Append(worker.append(client, content, answers).await?),
        RequestBody::Fork(content) => {
            worker.fork(client, &content);
            ReturnContent::Nothing
        }
        RequestBody::Close(content) => {
            worker.close_branch(client, &content);
            ReturnContent::Nothing
        }
        RequestBody::Context(content) => {
            ReturnContent::Context(worker.context_usage(client, &content, answers).await?)
        }
        RequestBody::Tabs(content) => ReturnContent::Tabs(worker.tabs(client, &content).await),
        RequestBody::Pool(content) => ReturnContent::Pool(worker.pool(client, &content, answers).await?),
        RequestBody::Chunk(content) => ReturnContent::Chunks(worker.chunk(client, content, answers).await?),
        RequestBody::Compress(content) => {
            ReturnContent::Compressed(worker.compress(client, content, answers).await?)
        }
    };
    Ok(Some(content))
}
