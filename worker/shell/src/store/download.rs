//! Ranged reads of one file on a server that may be slow, flaky, moved or changed.
//!
//! Owns retries, the `/resolve/main/` spelling and the file's identity. Knows nothing of chunks that are stored.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use hearth_engine::ports::SourceError;
use js_sys::ArrayBuffer;
use web_sys::AbortController;

use super::range_request::{self, Answer, Body, Identity, RequestFailure};
use crate::browser;

/// Waits between attempts; one more attempt than waits.
const BACKOFF_MS: [u32; 3] = [500, 1_500, 4_000];
const RESOLVE_MAIN: &str = "/resolve/main/";

/// What a ranged read gave.
pub enum Piece {
    /// The bytes asked for.
    Bytes(ArrayBuffer),
    /// The server ignores ranges: here is the whole file, from its first byte.
    Whole(Body),
}

/// One file on a server.
pub struct Download {
    /// The URL that the app gave.
    given_url: String,
    /// The URL that works; changes once to the other spelling when the first is 404.
    url: RefCell<String>,
    other_spelling: RefCell<Option<String>>,
    identity: RefCell<Identity>,
    abort: AbortController,
    cancelled: Cell<bool>,
    received_bytes: Cell<u64>,
    on_bytes: Box<dyn Fn()>,
}

impl Download {
    /// A download of `url`. `known` is what an earlier visit learnt about the file. `on_bytes` hears whenever
    /// [`Self::received_bytes`] has grown.
    pub fn new(url: &str, known: Identity, abort: AbortController, on_bytes: Box<dyn Fn()>) -> Self {
        Self {
            given_url: url.to_owned(),
            url: RefCell::new(url.to_owned()),
            other_spelling: RefCell::new(other_spelling(url)),
            identity: RefCell::new(known),
            abort,
            cancelled: Cell::new(false),
            received_bytes: Cell::new(0),
            on_bytes,
        }
    }

    /// Bytes that have arrived in this load.
    pub fn received_bytes(&self) -> u64 {
        self.received_bytes.get()
    }

    /// What is known of the file by now.
    pub fn identity(&self) -> Identity {
        self.identity.borrow().clone()
    }

    /// Forgets an earlier version of the file.
    pub fn forget_identity(&self) {
        *self.identity.borrow_mut() = Identity::default();
    }

    /// Stops all requests; every read from now on is [`SourceError::Cancelled`].
    pub fn cancel(&self) {
        self.cancelled.set(true);
        self.abort.abort();
    }

    /// Whether [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    /// Reads `range`, shorter where the file ends; retries what a retry may mend.
    ///
    /// # Errors
    /// [`SourceError::Status`], [`SourceError::Network`], [`SourceError::Changed`] or [`SourceError::Cancelled`].
    pub async fn range(&self, range: Range<u64>) -> Result<Piece, SourceError> {
        let mut waits = BACKOFF_MS.into_iter();
        loop {
            let url = self.url.borrow().clone();
            let failure = match self.attempt(&url, &range).await? {
                Ok(piece) => return Ok(piece),
                Err(failure) => failure,
            };
            if self.is_cancelled() || failure == RequestFailure::Cancelled {
                return Err(SourceError::Cancelled);
            }
            if let RequestFailure::Status(status) = failure {
                if status == 404
                    && let Some(other) = self.other_spelling.borrow_mut().take()
                {
                    *self.url.borrow_mut() = other;
                    continue;
                }
                if !is_temporary(status) {
                    return Err(SourceError::Status { url: self.given_url.clone(), status });
                }
            }
            match waits.next() {
                Some(ms) => browser::sleep_ms(ms).await,
                None => return Err(self.give_up(failure)),
            }
        }
    }

    /// The error for a connection that failed for good.
    pub fn give_up(&self, failure: RequestFailure) -> SourceError {
        let url = self.url.borrow().clone();
        match failure {
            RequestFailure::Status(status) => SourceError::Status { url, status },
            RequestFailure::Cancelled => SourceError::Cancelled,
            RequestFailure::Connection(reason) => {
                SourceError::Network { url, received_bytes: self.received_bytes.get(), reason }
            }
        }
    }

    /// Counts bytes that arrived.
    pub fn count_received(&self, bytes: u64) {
        self.received_bytes.set(self.received_bytes.get() + bytes);
        (self.on_bytes)();
    }

    /// Takes back what was counted of an attempt that failed.
    pub fn uncount_received(&self, bytes: u64) {
        self.received_bytes.set(self.received_bytes.get().saturating_sub(bytes));
    }

    async fn attempt(
        &self,
        url: &str,
        range: &Range<u64>,
    ) -> Result<Result<Piece, RequestFailure>, SourceError> {
        if self.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let answer = match range_request::request(url, range, &self.abort.signal()).await {
            Ok(answer) => answer,
            Err(failure) => return Ok(Err(failure)),
        };
        match answer {
            Answer::Whole { identity, body } => {
                self.confirm(url, identity)?;
                Ok(Ok(Piece::Whole(body)))
            }
            Answer::Part { mut identity, expected_bytes, body } => {
                if identity.len_bytes.is_none() && self.identity.borrow().len_bytes.is_none() {
                    identity.len_bytes = range_request::content_length(url, &self.abort.signal()).await;
                }
                self.confirm(url, identity)?;
                let limit = range.end - range.start;
                let known_len = self.identity.borrow().len_bytes;
                let wanted = known_len.map(|len| range.end.min(len).saturating_sub(range.start));
                let received = Cell::new(0);
                let count = |bytes: u64| {
                    received.set(received.get() + bytes);
                    self.count_received(bytes);
                };
                let collected = body.collect(wanted.or(expected_bytes), limit, &count).await;
                if collected.is_err() {
                    self.uncount_received(received.get());
                }
                Ok(collected.map(Piece::Bytes))
            }
        }
    }

    /// Checks that an answer is about the file that the download began with, and learns what it did not know.
    fn confirm(&self, url: &str, answer: Identity) -> Result<(), SourceError> {
        let mut known = self.identity.borrow_mut();
        if !known.may_equal(&answer) {
            return Err(SourceError::Changed { url: url.to_owned() });
        }
        known.len_bytes = known.len_bytes.or(answer.len_bytes);
        known.etag = known.etag.take().or(answer.etag);
        known.last_modified = known.last_modified.take().or(answer.last_modified);
        Ok(())
    }
}

fn is_temporary(status: u16) -> bool {
    matches!(status, 408 | 425 | 429) || status >= 500
}

/// Apps write model URLs with and without Hugging Face's `/resolve/main/`; servers have one of the two.
fn other_spelling(url: &str) -> Option<String> {
    if url.contains(RESOLVE_MAIN) {
        return Some(url.replacen(RESOLVE_MAIN, "/", 1));
    }
    let (folder, file) = url.rsplit_once('/')?;
    (!url.contains("/resolve/") && !file.is_empty()).then(|| format!("{folder}{RESOLVE_MAIN}{file}"))
}
