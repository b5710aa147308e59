//! One HTTP request for a range of a file, and its body as pieces in JavaScript's heap.
//!
//! Knows HTTP. Knows neither retries nor the store. Every header is untrusted.

use std::ops::Range;

use js_sys::{Array, ArrayBuffer, Object, Reflect, Uint8Array};
use thiserror::Error;
use wasm_bindgen::{JsCast, JsValue};
use web_sys::{AbortSignal, Headers, ReadableStreamDefaultReader, RequestCache, RequestInit, Response};

use crate::browser;

/// A connection on which nothing arrives for this long is given up.
const STALL_MS: u32 = 30_000;

/// What tells one version of a file from another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Length of the whole file.
    pub len_bytes: Option<u64>,
    /// ETag without its weakness mark.
    pub etag: Option<String>,
    /// Last-Modified.
    pub last_modified: Option<String>,
}

impl Identity {
    /// False when both name a value and the values differ. The date counts only where there is no ETag on both sides.
    pub fn may_equal(&self, other: &Self) -> bool {
        fn differ<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
            matches!((a, b), (Some(a), Some(b)) if a != b)
        }
        let tagged = self.etag.is_some() && other.etag.is_some();
        !(differ(&self.len_bytes, &other.len_bytes)
            || differ(&self.etag, &other.etag)
            || (!tagged && differ(&self.last_modified, &other.last_modified)))
    }
}

/// Why a request gave no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestFailure {
    /// The server answered with an error status.
    #[error("status {0}")]
    Status(u16),
    /// The connection failed, stalled or sent something else than announced: trying again may help.
    #[error("{0}")]
    Connection(String),
    /// The request was aborted from here.
    #[error("cancelled")]
    Cancelled,
}

impl RequestFailure {
    fn from_js(value: &JsValue) -> Self {
        match browser::error_name(value).as_deref() {
            Some("AbortError") => Self::Cancelled,
            _ => Self::Connection(browser::describe(value)),
        }
    }
}

/// How the server took the `Range` header.
pub enum Answer {
    /// It sends the range.
    Part {
        /// The file's identity as far as the headers say.
        identity: Identity,
        /// The bytes that the body will have, if the headers say.
        expected_bytes: Option<u64>,
        /// The body.
        body: Body,
    },
    /// It ignores ranges and sends the whole file.
    Whole {
        /// The file's identity as far as the headers say.
        identity: Identity,
        /// The body.
        body: Body,
    },
}

/// Asks for `range` of `url`.
///
/// # Errors
/// See [`RequestFailure`].
pub async fn request(url: &str, range: &Range<u64>, signal: &AbortSignal) -> Result<Answer, RequestFailure> {
    let headers = Object::new();
    let value = format!("bytes={}-{}", range.start, range.end.saturating_sub(1));
    Reflect::set(&headers, &JsValue::from_str("Range"), &JsValue::from_str(&value))
        .map_err(|error| RequestFailure::from_js(&error))?;
    let init = RequestInit::new();
    init.set_headers(&headers);
    init.set_signal(Some(signal));
    // The store keeps the bytes; a second copy in the HTTP cache would only cost the user's disk.
    init.set_cache(RequestCache::NoStore);
    let response = browser::within_ms(STALL_MS, browser::fetch(url, &init))
        .await
        .ok_or_else(|| RequestFailure::Connection(format!("no answer within {} s", STALL_MS / 1000)))?
        .map_err(|error| RequestFailure::from_js(&error))?;
    let status = response.status();
    let headers = response.headers();
    let mut identity = Identity {
        len_bytes: None,
        etag: header(&headers, "etag").map(|etag| etag.trim_start_matches("W/").to_owned()),
        last_modified: header(&headers, "last-modified"),
    };
    let content_length = header(&headers, "content-length").and_then(|value| value.trim().parse().ok());
    match status {
        206 => {
            let mut expected_bytes = content_length;
            if let Some(value) = header(&headers, "content-range") {
                let parsed = ContentRange::parse(&value).filter(|parsed| parsed.start == range.start);
                let parsed = parsed.ok_or_else(|| {
                    RequestFailure::Connection(format!(
                        "asked for bytes {}-{}, the server sent '{value}'",
                        range.start,
                        range.end - 1
                    ))
                })?;
                identity.len_bytes = parsed.total;
                expected_bytes = Some(parsed.last + 1 - parsed.start);
            }
            Ok(Answer::Part { identity, expected_bytes, body: Body::of(&response)? })
        }
        200..=299 => {
            // With a content encoding, the length counts compressed bytes.
            identity.len_bytes = content_length.filter(|_| header(&headers, "content-encoding").is_none());
            Ok(Answer::Whole { identity, body: Body::of(&response)? })
        }
        status => Err(RequestFailure::Status(status)),
    }
}

/// The length of the file by a HEAD request; for servers whose Content-Range may not be read from another origin.
pub async fn content_length(url: &str, signal: &AbortSignal) -> Option<u64> {
    let init = RequestInit::new();
    init.set_method("HEAD");
    init.set_signal(Some(signal));
    init.set_cache(RequestCache::NoStore);
    let response = browser::within_ms(STALL_MS, browser::fetch(url, &init)).await?.ok()?;
    match response.ok() {
        true => header(&response.headers(), "content-length")?.trim().parse().ok(),
        false => None,
    }
}

fn header(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).ok().flatten()
}

/// `bytes first-last/total`.
struct ContentRange {
    start: u64,
    last: u64,
    total: Option<u64>,
}

impl ContentRange {
    fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.trim().strip_prefix("bytes")?.trim().split_once('/')?;
        let (start, last) = range.split_once('-')?;
        let (start, last) = (start.trim().parse::<u64>().ok()?, last.trim().parse::<u64>().ok()?);
        let total = total.trim().parse().ok();
        (start <= last && total.is_none_or(|total| last < total)).then_some(Self { start, last, total })
    }
}

/// A response's body, read piece by piece.
pub struct Body {
    reader: Option<ReadableStreamDefaultReader>,
}

impl Body {
    fn of(response: &Response) -> Result<Self, RequestFailure> {
        let reader = match response.body() {
            Some(stream) => Some(stream.get_reader().dyn_into().map_err(|error| {
                RequestFailure::Connection(format!(
                    "the response's body cannot be read: {}",
                    browser::describe(&error)
                ))
            })?),
            None => None,
        };
        Ok(Self { reader })
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    /// [`RequestFailure::Connection`] when the connection fails or stalls.
    pub async fn next(&mut self) -> Result<Option<Uint8Array>, RequestFailure> {
        let Some(reader) = &self.reader else { return Ok(None) };
        let read = browser::within_ms(STALL_MS, browser::settle(reader.read())).await;
        let Some(read) = read else {
            self.cancel();
            return Err(RequestFailure::Connection(format!("nothing arrived for {} s", STALL_MS / 1000)));
        };
        let read = read.map_err(|error| RequestFailure::from_js(&error))?;
        let value = Reflect::get(&read, &JsValue::from_str("value"))
            .map_err(|error| RequestFailure::from_js(&error))?;
        Ok(value.dyn_into().ok())
    }

    /// Tells the server to stop.
    pub fn cancel(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A rejection has nobody to tell and nothing to undo, but unobserved it would be logged as an error.
            wasm_bindgen_futures::spawn_local(async move {
                let _ = browser::settle(reader.cancel()).await;
            });
        }
    }

    /// Reads the whole body of at most `limit_bytes` into one buffer. `on_bytes` hears of each piece's length.
    ///
    /// # Errors
    /// [`RequestFailure::Connection`] when it fails, or is longer than `limit_bytes` or not `expected_bytes` long.
    pub async fn collect(
        mut self,
        expected_bytes: Option<u64>,
        limit_bytes: u64,
        on_bytes: &dyn Fn(u64),
    ) -> Result<ArrayBuffer, RequestFailure> {
        let pieces = Array::new();
        let mut len_bytes = 0_u64;
        while let Some(piece) = self.next().await? {
            len_bytes += u64::from(piece.length());
            if len_bytes > limit_bytes {
                self.cancel();
                let reason = format!("the server sent more than the {limit_bytes} bytes asked for");
                return Err(RequestFailure::Connection(reason));
            }
            on_bytes(u64::from(piece.length()));
            pieces.push(&piece);
        }
        if let Some(expected) = expected_bytes.filter(|expected| *expected != len_bytes) {
            return Err(RequestFailure::Connection(format!(
                "the body ended after {len_bytes} of {expected} bytes"
            )));
        }
        Ok(join(&pieces, len_bytes as u32))
    }
}

/// One buffer of all pieces.
pub fn join(pieces: &Array, len_bytes: u32) -> ArrayBuffer {
    let joined = Uint8Array::new_with_length(len_bytes);
    let mut offset = 0;
    for piece in pieces.iter() {
        if let Ok(piece) = piece.dyn_into::<Uint8Array>() {
            joined.set(&piece, offset);
            offset += piece.length();
        }
    }
    joined.buffer()
}
