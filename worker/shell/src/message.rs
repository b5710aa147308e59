//! JavaScript values to JSON and back. A page's message is untrusted: what cannot be JSON is an error, never a trap.

use hearth_protocol::context::TabEvent;
use hearth_protocol::push::PushMessage;
use hearth_protocol::reply::Reply;
use hearth_protocol::{WireError, well_formed};
use js_sys::{Function, JSON, Reflect};
use serde::Serialize;
use serde_json::Value;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::MessagePort;

use crate::browser;
use crate::log::Logger;

/// Longer messages are refused: reading one would stall every tab, and no conversation is that long.
const MAX_MESSAGE_CHARS: u32 = 64 << 20;

/// Reads a message as JSON. Values that JSON leaves out (undefined, functions) are left out.
///
/// # Errors
/// `InvalidMessageError` for cycles, BigInts, endless depth and anything else that has no JSON.
pub fn read(data: &JsValue) -> Result<Value, WireError> {
    let invalid = |reason: String| {
        WireError::new(
            "InvalidMessageError",
            format!("the message cannot be read as JSON: {reason}; send plain data"),
        )
    };
    let text = JSON::stringify(data).map_err(|error| invalid(browser::describe(&error)))?;
    // `JSON.stringify(undefined)` is undefined, whatever its declared type says.
    if !text.is_string() {
        return Ok(Value::Null);
    }
    if text.length() > MAX_MESSAGE_CHARS {
        return Err(invalid(format!(
            "it has {} characters, at most {MAX_MESSAGE_CHARS} are read",
            text.length()
        )));
    }
    serde_json::from_str(&well_formed(String::from(text))).map_err(|error| invalid(error.to_string()))
}

/// The `uuid` of a message that could not be read as a whole.
pub fn find_uuid(data: &JsValue) -> Option<String> {
    data.is_object().then(|| Reflect::get(data, &JsValue::from_str("uuid")).ok()?.as_string())?
}

fn to_js<T: Serialize>(value: &T) -> Result<JsValue, String> {
    value.serialize(&serde_wasm_bindgen::Serializer::json_compatible()).map_err(|error| error.to_string())
}

/// Where the answers to one message go.
#[derive(Clone)]
pub struct Answers {
    reply: Function,
    uuid: String,
    log: Logger,
}

impl Answers {
    /// Answers go through `reply` under `uuid`.
    pub fn new(reply: Function, uuid: String, log: Logger) -> Self {
        Self { reply, uuid, log }
    }

    /// The uuid of the message.
    pub fn uuid(&self) -> &str {
        &self.uuid
    }

    /// Sends one answer. A client that is gone cannot be answered; that is no error of anybody's.
    pub fn send(&self, reply: &Reply) {
        let sent = to_js(reply).and_then(|message| {
            self.reply.call1(&JsValue::UNDEFINED, &message).map_err(|error| browser::describe(&error))
        });
        if let Err(reason) = sent {
            self.log.debug(&format!("an answer could not be sent: {reason}"));
        }
    }

    /// The way to the same page for events.
    pub fn outlet(&self) -> Outlet {
        Outlet { reply: self.reply.clone(), log: self.log.clone() }
    }

    /// The request failed.
    pub fn fail(&self, error: WireError) {
        self.send(&Reply::failed(&self.uuid, error));
    }
}

/// Where a page listens for what it did not ask for.
#[derive(Clone)]
pub struct Outlet {
    reply: Function,
    log: Logger,
}

impl Outlet {
    /// Sends one event. A page that is gone hears nothing.
    pub fn send(&self, event: TabEvent) {
        let sent = to_js(&Reply::Event { uuid: String::new(), content: event }).and_then(|message| {
            self.reply.call1(&JsValue::UNDEFINED, &message).map_err(|error| browser::describe(&error))
        });
        if let Err(reason) = sent {
            self.log.debug(&format!("an event could not be sent: {reason}"));
        }
    }
}

/// A push stream's port.
pub struct Port {
    port: MessagePort,
    log: Logger,
}

impl Port {
    /// The port that came with a message, if it is one.
    pub fn find(value: &JsValue, log: Logger) -> Option<Self> {
        let port = value.dyn_ref::<MessagePort>()?.clone();
        Some(Self { port, log })
    }

    /// The port itself, to listen on.
    pub fn inner(&self) -> &MessagePort {
        &self.port
    }

    /// Posts one message.
    pub fn post(&self, message: &PushMessage) {
        let sent = to_js(message)
            .and_then(|message| self.port.post_message(&message).map_err(|error| browser::describe(&error)));
        if let Err(reason) = sent {
            self.log.debug(&format!("a stream's message could not be sent: {reason}"));
        }
    }
}
