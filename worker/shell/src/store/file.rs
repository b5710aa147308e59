//! The chunks of one model file: found in the store, fetched, verified, written through.
//!
//! Owns the state behind [`super::source::ModelSource`]. Knows nothing of what the bytes mean.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::{Rc, Weak};

use futures::FutureExt;
use futures::future::{LocalBoxFuture, Shared};
use hearth_engine::ports::SourceError;
use js_sys::ArrayBuffer;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AbortController, Blob};

use super::chunks;
use super::database::Database;
use super::download::{Download, Piece};
use super::manifest::{self, Manifest, num_chunks};
use super::range_request::{Identity, RequestFailure};
use super::source::{SourceEvent, SourceOptions, SourceProgress};
use super::stream::Arrivals;
use crate::browser;
use crate::pages::chain::ChainDigest;

/// Large enough that a request's round trip does not matter, small enough that a few in memory do not either.
pub const CHUNK_BYTES: u64 = 8 << 20;
/// Bounds what a stored manifest may claim.
const MAX_CHUNK_BYTES: u64 = 64 << 20;
/// Chunks requested ahead of the reader, so three downloads run at a time.
const NUM_CHUNKS_AHEAD: u32 = 2;

type SharedChunk = Shared<LocalBoxFuture<'static, Result<ArrayBuffer, SourceError>>>;

/// How the reading of a body that only comes from its beginning is going.
pub enum Stream {
    /// Ranges work, as far as is known.
    None,
    /// Going on.
    Running,
    /// All of it has been read.
    Ended,
    /// It broke for good.
    Failed(SourceError),
}

/// One model file and what is known of it.
pub struct File {
    pub(super) url: String,
    pub(super) chunk_bytes: u64,
    pub(super) database: Database,
    pub(super) download: Download,
    /// The manifest that was found complete: its digests bind.
    pub(super) complete: Option<Manifest>,
    pub(super) caching: Cell<bool>,
    pub(super) len_bytes: Cell<Option<u64>>,
    pub(super) stored_bytes_at_start: Cell<u64>,
    /// Chunks in the database and their digests, where known.
    pub(super) stored: RefCell<BTreeMap<u32, Option<String>>>,
    /// Chunks of a stream that cannot be stored, kept by the browser outside of this heap.
    pub(super) spool: RefCell<BTreeMap<u32, Blob>>,
    /// The few chunks around the reader.
    pub(super) window: RefCell<BTreeMap<u32, ArrayBuffer>>,
    pub(super) window_start: Cell<u32>,
    pub(super) in_flight: RefCell<BTreeMap<u32, SharedChunk>>,
    pub(super) stream: RefCell<Stream>,
    /// This load has written one, which must not outlive the chunks.
    pub(super) has_manifest: Cell<bool>,
    /// Of all bytes; known once the file is kept as a whole.
    pub(super) fingerprint: Cell<Option<ChainDigest>>,
    pub(super) arrivals: Arrivals,
    pub(super) on_event: Rc<dyn Fn(SourceEvent)>,
}

impl File {
    /// Looks the file up in the store.
    pub async fn find(options: SourceOptions) -> Result<Rc<Self>, SourceError> {
        let SourceOptions { url, database, on_event } = options;
        let mut caching = true;
        let mut stored = BTreeMap::new();
        let mut found = match manifest::read(&database, &url).await {
            Ok(manifest) => manifest.filter(|manifest| manifest.chunk_bytes <= MAX_CHUNK_BYTES),
            Err(error) => {
                caching = false;
                on_event(SourceEvent::Notice(format!(
                    "the model is downloaded again at every visit: {error}"
                )));
                None
            }
        };
        if caching {
            let indices = chunks::stored_indices(&database, &url).await.unwrap_or_default();
            if found.is_none() && !indices.is_empty() {
                // Chunks of which nothing is known: a manifest of another version or none at all.
                let _ = manifest::delete_file(&database, &url).await;
            } else {
                stored.extend(indices.into_iter().map(|index| (index, None)));
            }
        }
        if let Some(manifest) = &mut found
            && manifest.complete
        {
            manifest.complete = (0..manifest.num_chunks()).all(|index| stored.contains_key(&index));
        }
        let known = found.as_ref().map_or_else(Identity::default, |manifest| Identity {
            len_bytes: Some(manifest.len_bytes),
            etag: manifest.etag.clone(),
            last_modified: manifest.last_modified.clone(),
        });
        let chunk_bytes = found.as_ref().map_or(CHUNK_BYTES, |manifest| manifest.chunk_bytes);
        let abort = AbortController::new()
            .map_err(|error| SourceError::Storage { reason: browser::describe(&error) })?;
        let file = Rc::new_cyclic(|weak: &Weak<Self>| {
            let weak = weak.clone();
            let on_bytes = move || {
                if let Some(file) = weak.upgrade() {
                    file.report_progress();
                }
            };
            Self {
                download: Download::new(&url, known, abort, Box::new(on_bytes)),
                len_bytes: Cell::new(found.as_ref().map(|manifest| manifest.len_bytes)),
                complete: found.filter(|manifest| manifest.complete),
                url,
                chunk_bytes,
                database,
                caching: Cell::new(caching),
                stored_bytes_at_start: Cell::new(0),
                stored: RefCell::new(stored),
                spool: RefCell::default(),
                window: RefCell::default(),
                window_start: Cell::new(0),
                in_flight: RefCell::default(),
                stream: RefCell::new(Stream::None),
                has_manifest: Cell::new(false),
                fingerprint: Cell::new(None),
                arrivals: Arrivals::default(),
                on_event,
            }
        });
        file.stored_bytes_at_start.set(file.count_stored_bytes());
        Ok(file)
    }

    /// Length of the file; 0 until [`Self::first_contact`].
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes.get().unwrap_or(0)
    }

    /// Bytes of every chunk but the last.
    pub fn chunk_bytes(&self) -> u64 {
        self.chunk_bytes
    }

    /// See [`super::source::ModelSource::fingerprint`].
    pub fn fingerprint(&self) -> Option<ChainDigest> {
        self.fingerprint.get()
    }

    /// How much is here.
    pub fn progress(&self) -> SourceProgress {
        let total_bytes = self.len_bytes();
        let available = self.stored_bytes_at_start.get() + self.download.received_bytes();
        let available_bytes = if total_bytes == 0 { available } else { available.min(total_bytes) };
        let available_chunks = (available_bytes / self.chunk_bytes) as u32;
        let total_chunks = self.num_chunks();
        let all_here = total_bytes > 0 && available_bytes == total_bytes;
        let available_chunks = if all_here { total_chunks } else { available_chunks };
        SourceProgress { available_bytes, available_chunks, total_bytes, total_chunks }
    }

    /// Asks the server for the first missing chunk: that tells length and identity, whether it is still the file that an
    /// earlier visit began with, and whether there is room for it.
    pub async fn first_contact(self: &Rc<Self>) -> Result<(), SourceError> {
        if self.complete.is_some() {
            return Ok(());
        }
        let index = match self.len_bytes.get() {
            Some(_) => self.first_missing(),
            None => Some(0),
        };
        // Everything is there, only the last word was missing.
        let Some(index) = index else { return Ok(()) };
        let (index, piece) = match self.download.range(self.range_of(index)).await {
            Ok(piece) => (index, piece),
            Err(SourceError::Changed { url }) => {
                self.notice(format!(
                    "{url} has changed since it was stored in part; it is downloaded from its beginning"
                ));
                self.start_over().await;
                (0, self.download.range(self.range_of(0)).await?)
            }
            Err(error) => return Err(error),
        };
        match piece {
            Piece::Bytes(bytes) => {
                let len_bytes = self
                    .download
                    .identity()
                    .len_bytes
                    .or_else(|| self.length_from_short_chunk(index, &bytes));
                self.len_bytes.set(Some(len_bytes.ok_or_else(|| self.length_unknown())?));
                self.decide_caching().await;
                self.keep(index, &bytes).await?;
                self.window.borrow_mut().insert(index, bytes);
            }
            Piece::Whole(body) => {
                self.len_bytes.set(self.download.identity().len_bytes);
                self.decide_caching().await;
                self.begin_stream(body);
                self.length_from_stream().await?;
            }
        }
        Ok(())
    }

    /// See [`super::source::ModelSource::finish`].
    pub async fn finish(self: &Rc<Self>) -> Result<(), SourceError> {
        while let Some(index) = self.first_missing().filter(|_| self.caching.get()) {
            self.chunk(index).await?;
        }
        self.window.borrow_mut().clear();
        self.spool.borrow_mut().clear();
        if !self.caching.get() {
            self.remove_unless_kept().await;
        } else if let Err(error) = self.write_manifest(true).await {
            self.notice(format!("{} is not kept for the next visit: {error}", self.url));
        }
        Ok(())
    }

    /// Stops all requests.
    pub fn cancel(&self) {
        self.download.cancel();
        self.arrivals.announce();
    }

    /// One chunk, wherever it is; and its successors are asked for.
    pub async fn chunk(self: &Rc<Self>, index: u32) -> Result<ArrayBuffer, SourceError> {
        if self.download.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        self.window_start.set(index);
        self.window.borrow_mut().retain(|at, _| *at + 1 >= index && *at <= index + NUM_CHUNKS_AHEAD);
        for ahead in 0..=NUM_CHUNKS_AHEAD {
            self.request_chunk(index.saturating_add(ahead));
        }
        if let Some(chunk) = self.window.borrow().get(&index) {
            return Ok(chunk.clone());
        }
        let request = self.in_flight.borrow().get(&index).cloned();
        match request {
            Some(request) => request.await,
            None => Err(SourceError::OutOfRange {
                start: u64::from(index) * self.chunk_bytes,
                end: u64::from(index) * self.chunk_bytes + 1,
                len_bytes: self.len_bytes(),
            }),
        }
    }

    fn request_chunk(self: &Rc<Self>, index: u32) {
        let is_here =
            self.window.borrow().contains_key(&index) || self.in_flight.borrow().contains_key(&index);
        if is_here || index >= self.num_chunks() {
            return;
        }
        let request: SharedChunk = self.clone().obtain(index).boxed_local().shared();
        self.in_flight.borrow_mut().insert(index, request.clone());
        let file = self.clone();
        spawn_local(async move {
            let result = request.await;
            file.in_flight.borrow_mut().remove(&index);
            let start = file.window_start.get();
            if let Ok(chunk) = result
                && index + 1 >= start
                && index <= start + NUM_CHUNKS_AHEAD
            {
                file.window.borrow_mut().insert(index, chunk);
            }
        });
    }

    async fn obtain(self: Rc<Self>, index: u32) -> Result<ArrayBuffer, SourceError> {
        if let Some(bytes) = self.kept_chunk(index).await {
            return Ok(bytes);
        }
        if matches!(*self.stream.borrow(), Stream::Running) {
            return self.chunk_of_stream(index).await;
        }
        match self.download.range(self.range_of(index)).await? {
            Piece::Bytes(bytes) => {
                self.keep(index, &bytes).await?;
                Ok(bytes)
            }
            Piece::Whole(body) => {
                self.begin_stream(body);
                self.chunk_of_stream(index).await
            }
        }
    }

    /// Reports [`Self::progress`] to the owner.
    pub(super) fn report_progress(&self) {
        (self.on_event)(SourceEvent::Progress(self.progress()));
    }

    pub(super) fn notice(&self, text: String) {
        (self.on_event)(SourceEvent::Notice(text));
    }

    pub(super) fn num_chunks(&self) -> u32 {
        self.len_bytes.get().map_or(0, |len_bytes| num_chunks(len_bytes, self.chunk_bytes))
    }

    /// The bytes of a chunk; the last one ends with the file, where its length is known.
    pub(super) fn range_of(&self, index: u32) -> Range<u64> {
        let start = u64::from(index) * self.chunk_bytes;
        let end = start + self.chunk_bytes;
        start..self.len_bytes.get().map_or(end, |len_bytes| end.min(len_bytes).max(start))
    }

    fn first_missing(&self) -> Option<u32> {
        let stored = self.stored.borrow();
        (0..self.num_chunks()).find(|index| !stored.contains_key(index))
    }

    pub(super) fn count_stored_bytes(&self) -> u64 {
        let bytes = |index: &u32| {
            let range = self.range_of(*index);
            range.end - range.start
        };
        self.stored.borrow().keys().filter(|index| **index < self.num_chunks()).map(bytes).sum()
    }

    /// A first chunk that is shorter than asked for tells where the file ends.
    fn length_from_short_chunk(&self, index: u32, bytes: &ArrayBuffer) -> Option<u64> {
        let len_bytes = u64::from(bytes.byte_length());
        (index == 0 && len_bytes < self.chunk_bytes).then_some(len_bytes)
    }

    fn length_unknown(&self) -> SourceError {
        self.download.give_up(RequestFailure::Connection(
            "the server does not say how long the file is; it must expose Content-Range or Content-Length"
                .to_owned(),
        ))
    }
}
