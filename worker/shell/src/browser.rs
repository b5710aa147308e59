//! The few calls into the browser that work the same in a page and in every kind of worker.
//!
//! Everything is looked up on the global object, so nothing here asks which host it runs in. Values from JavaScript are
//! untrusted: a missing interface is `None` or an error, never a panic.

use std::future::Future;
use std::pin::pin;

use futures::channel::oneshot;
use futures::future::{Either, select};
use gloo::timers::future::TimeoutFuture;
use hearth_engine::ports::Clock;
use js_sys::{ArrayBuffer, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    MessageChannel, Performance, RequestInit, Response, ServiceWorkerGlobalScope, StorageEstimate,
    StorageManager, SubtleCrypto,
};

/// Reads `globalThis.a.b.c`; undefined and null are `None`.
fn global_path(path: &[&str]) -> Option<JsValue> {
    let mut value: JsValue = js_sys::global().into();
    for name in path {
        value = Reflect::get(&value, &JsValue::from_str(name)).ok()?;
        if value.is_undefined() || value.is_null() {
            return None;
        }
    }
    Some(value)
}

/// Words for any thrown value: what `String(value)` gives.
pub fn describe(value: &JsValue) -> String {
    let text = || {
        global_path(&["String"])?
            .dyn_into::<Function>()
            .ok()?
            .call1(&JsValue::UNDEFINED, value)
            .ok()?
            .as_string()
    };
    text().unwrap_or_else(|| "a value that has no words".to_owned())
}

/// The `name` of a thrown error, such as `AbortError`.
pub fn error_name(value: &JsValue) -> Option<String> {
    Reflect::get(value, &JsValue::from_str("name")).ok()?.as_string()
}

/// Monotonic milliseconds.
pub struct BrowserClock {
    performance: Option<Performance>,
}

impl BrowserClock {
    /// Reads `performance`, or the wall clock where there is none.
    pub fn new() -> Self {
        Self { performance: global_path(&["performance"]).map(JsCast::unchecked_into) }
    }
}

impl Clock for BrowserClock {
    fn now_ms(&self) -> f64 {
        match &self.performance {
            Some(performance) => performance.now(),
            None => js_sys::Date::now(),
        }
    }
}

/// Milliseconds since 1970.
pub fn wall_clock_ms() -> f64 {
    js_sys::Date::now()
}

/// `crypto.randomUUID()`, or a time-based id in the rare host without it.
pub fn random_uuid() -> String {
    let uuid = || -> Option<String> {
        let crypto = global_path(&["crypto"])?;
        let make: Function = Reflect::get(&crypto, &JsValue::from_str("randomUUID")).ok()?.dyn_into().ok()?;
        make.call0(&crypto).ok()?.as_string()
    };
    uuid().unwrap_or_else(|| {
        format!("{:x}-{:x}", js_sys::Date::now() as u64, (js_sys::Math::random() * 1e15) as u64)
    })
}

/// 53 random bits, good enough to make draws differ.
pub fn random_bits() -> u64 {
    (js_sys::Math::random() * 9_007_199_254_740_992.0) as u64
}

/// The URL that relative URLs are resolved against.
pub fn base_url() -> Option<String> {
    global_path(&["location", "href"])?.as_string()
}

/// `url` as an absolute URL, relative to `base`; `None` when it is none.
pub fn resolve_url(url: &str, base: &str) -> Option<String> {
    Some(web_sys::Url::new_with_base(url, base).ok()?.href())
}

/// Waits for a promise.
///
/// # Errors
/// What the promise was rejected with.
pub async fn settle(promise: Promise) -> Result<JsValue, JsValue> {
    JsFuture::from(promise).await
}

/// `fetch(url, init)`.
///
/// # Errors
/// What `fetch` threw or was rejected with.
pub async fn fetch(url: &str, init: &RequestInit) -> Result<Response, JsValue> {
    let global: JsValue = js_sys::global().into();
    let function: Function = Reflect::get(&global, &JsValue::from_str("fetch"))?.dyn_into()?;
    let promise: Promise = function.call2(&global, &JsValue::from_str(url), init.as_ref())?.dyn_into()?;
    settle(promise).await?.dyn_into()
}

/// SHA-256 of the bytes as 64 lower-case hex digits, computed by the browser off this thread.
///
/// # Errors
/// What `crypto.subtle` threw; it is absent in pages that are not a secure context.
pub async fn sha256_hex(bytes: &ArrayBuffer) -> Result<String, JsValue> {
    let subtle: SubtleCrypto = global_path(&["crypto", "subtle"])
        .ok_or_else(|| JsValue::from_str("crypto.subtle is not available: this is not a secure context"))?
        .unchecked_into();
    let digest = settle(subtle.digest_with_str_and_buffer_source("SHA-256", bytes)?).await?;
    let digest = Uint8Array::new(&digest).to_vec();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the browser lets this origin store.
#[derive(Debug, Clone, Copy)]
pub struct StorageRoom {
    /// All that the origin may store.
    pub quota_bytes: u64,
    /// What it stores now.
    pub usage_bytes: u64,
}

impl StorageRoom {
    /// What can still be stored.
    pub fn free_bytes(&self) -> u64 {
        self.quota_bytes.saturating_sub(self.usage_bytes)
    }
}

/// `navigator.storage.estimate()`; `None` where the browser does not say.
pub async fn storage_room() -> Option<StorageRoom> {
    let manager: StorageManager = global_path(&["navigator", "storage"])?.unchecked_into();
    let estimate: StorageEstimate = settle(manager.estimate().ok()?).await.ok()?.unchecked_into();
    Some(StorageRoom { quota_bytes: estimate.get_quota()? as u64, usage_bytes: estimate.get_usage()? as u64 })
}

/// What a service worker's `clients` say about one of them.
pub enum Glimpse {
    /// It is gone.
    Gone,
    /// It lives, or that cannot be asked; with `(focused, visible)` where it is a window.
    Alive(Option<(bool, bool)>),
}

/// Asks a service worker's `clients` about a client.
pub async fn glimpse_client(client_id: &str) -> Glimpse {
    let Some(clients) = global_path(&["clients"]) else { return Glimpse::Alive(None) };
    let Ok(clients) = clients.dyn_into::<web_sys::Clients>() else { return Glimpse::Alive(None) };
    match settle(clients.get(client_id)).await {
        Ok(client) if client.is_undefined() || client.is_null() => Glimpse::Gone,
        Ok(client) => {
            let field = |name: &str| Reflect::get(&client, &JsValue::from_str(name)).ok();
            let focused = field("focused").and_then(|focused| focused.as_bool());
            let visible = field("visibilityState").and_then(|state| state.as_string());
            Glimpse::Alive(focused.zip(visible.map(|state| state == "visible")))
        }
        Err(_) => Glimpse::Alive(None),
    }
}

/// Waits until the Web Lock `name` is free, which it is when the page that holds it is gone. False where there are no locks to
/// wait for.
pub async fn lock_is_free(name: &str) -> bool {
    let Some(locks) = global_path(&["navigator", "locks"]) else { return false };
    let request = Reflect::get(&locks, &JsValue::from_str("request")).and_then(JsCast::dyn_into::<Function>);
    let Ok(request) = request else { return false };
    // The lock is let go of at once: it was only the sign.
    let on_free = Closure::once_into_js(|| ());
    match request.call2(&locks, &JsValue::from_str(name), &on_free).and_then(JsCast::dyn_into::<Promise>) {
        Ok(promise) => settle(promise).await.is_ok(),
        Err(_) => false,
    }
}

/// True in a service worker, where clients can be asked for.
pub fn is_service_worker() -> bool {
    js_sys::global().is_instance_of::<ServiceWorkerGlobalScope>()
}

/// Waits at least this long.
pub async fn sleep_ms(ms: u32) {
    TimeoutFuture::new(ms).await;
}

/// Lets the browser deliver messages and other work, then goes on. A message channel is not clamped to 4 ms as nested
/// timeouts are.
pub async fn yield_now() {
    let Ok(channel) = MessageChannel::new() else { return sleep_ms(0).await };
    let (sender, receiver) = oneshot::channel();
    let callback = Closure::once(move |_: JsValue| {
        let _ = sender.send(());
    });
    let port = channel.port1();
    port.set_onmessage(Some(callback.as_ref().unchecked_ref()));
    if channel.port2().post_message(&JsValue::NULL).is_err() {
        return sleep_ms(0).await;
    }
    let _ = receiver.await;
    port.set_onmessage(None);
    port.close();
}

/// The future's value, or `None` when it takes longer than `ms`; the future is dropped then.
pub async fn within_ms<T>(ms: u32, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), pin!(TimeoutFuture::new(ms))).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}

/// Size of the wasm's heap, which only grows.
pub fn wasm_memory_bytes() -> u64 {
    let memory: js_sys::WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let buffer: js_sys::ArrayBuffer = memory.buffer().unchecked_into();
    u64::from(buffer.byte_length())
}
