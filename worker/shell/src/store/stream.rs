//! The file from a server that ignores ranges: one body, read forward once, cut into chunks.
//!
//! Chunks go to the store as they arrive; where nothing can be stored they go to a spool of blobs, which the browser keeps
//! outside of its script heap. Nobody holds the whole file.

use std::cell::RefCell;
use std::rc::Rc;

use futures::channel::oneshot;
use hearth_engine::ports::SourceError;
use js_sys::{Array, ArrayBuffer, Uint8Array};
use wasm_bindgen_futures::spawn_local;
use web_sys::Blob;

use super::download::Piece;
use super::file::{File, Stream};
use super::range_request::{Body, RequestFailure, join};
use crate::browser;

/// How often the body is begun again when its connection breaks.
const STREAM_RESTARTS: u32 = 3;
/// Doubles with each restart.
const STREAM_BACKOFF_MS: u32 = 1_000;

/// Collects pieces of any length and gives chunks of one length.
pub struct Splitter {
    chunk_bytes: u32,
    pieces: Array,
    filled_bytes: u32,
}

impl Splitter {
    /// For chunks of this length.
    pub fn new(chunk_bytes: u32) -> Self {
        Self { chunk_bytes, pieces: Array::new(), filled_bytes: 0 }
    }

    /// Takes a piece and gives the chunks that it completed.
    pub fn push(&mut self, piece: &Uint8Array) -> Vec<ArrayBuffer> {
        let mut chunks = Vec::new();
        let mut taken = 0;
        while taken < piece.length() {
            let end = piece.length().min(taken + (self.chunk_bytes - self.filled_bytes));
            self.pieces.push(&piece.subarray(taken, end));
            self.filled_bytes += end - taken;
            taken = end;
            if self.filled_bytes == self.chunk_bytes {
                chunks.extend(self.rest());
            }
        }
        chunks
    }

    /// What has not filled a chunk: the file's end.
    pub fn rest(&mut self) -> Option<ArrayBuffer> {
        if self.filled_bytes == 0 {
            return None;
        }
        let chunk = join(&self.pieces, self.filled_bytes);
        self.pieces = Array::new();
        self.filled_bytes = 0;
        Some(chunk)
    }
}

/// Wakes everyone who waits for something to arrive.
#[derive(Default)]
pub struct Arrivals {
    waiting: RefCell<Vec<oneshot::Sender<()>>>,
}

impl Arrivals {
    /// Resolves at the next [`Self::announce`]. Ask before looking, so that nothing is missed in between.
    pub fn next(&self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().push(sender);
        receiver
    }

    /// Something arrived, or nothing more will.
    pub fn announce(&self) {
        for sender in self.waiting.take() {
            let _ = sender.send(());
        }
    }
}

impl File {
    /// Reads `body` from its first byte in the background, unless that is going on already.
    pub(super) fn begin_stream(self: &Rc<Self>, mut body: Body) {
        if matches!(*self.stream.borrow(), Stream::Running) {
            return body.cancel();
        }
        *self.stream.borrow_mut() = Stream::Running;
        let file = self.clone();
        spawn_local(async move {
            let end = match file.run_stream(body).await {
                Ok(()) => Stream::Ended,
                Err(error) => Stream::Failed(error),
            };
            *file.stream.borrow_mut() = end;
            file.arrivals.announce();
        });
    }

    /// Reads the body to its end; begins again from byte 0 when the connection breaks.
    async fn run_stream(&self, body: Body) -> Result<(), SourceError> {
        let mut body = body;
        for restart in 0.. {
            let failure = match self.cut_up(body).await? {
                None => return Ok(()),
                Some(failure) => failure,
            };
            if self.download.is_cancelled() {
                return Err(SourceError::Cancelled);
            }
            if restart == STREAM_RESTARTS {
                return Err(self.download.give_up(failure));
            }
            browser::sleep_ms(STREAM_BACKOFF_MS << restart).await;
            body = match self.download.range(self.range_of(0)).await? {
                Piece::Whole(body) => body,
                Piece::Bytes(_) => return Err(self.download.give_up(failure)),
            };
        }
        Ok(())
    }

    /// Passes the body's chunks on; those that are here already are skipped. `Some` is a failure that a retry may mend.
    async fn cut_up(&self, mut body: Body) -> Result<Option<RequestFailure>, SourceError> {
        let mut splitter = Splitter::new(self.chunk_bytes as u32);
        let (mut index, mut position, mut counted) = (0, 0_u64, 0_u64);
        loop {
            let piece = match body.next().await {
                Ok(piece) => piece,
                Err(failure) => {
                    self.download.uncount_received(counted);
                    return Ok(Some(failure));
                }
            };
            let ready = match &piece {
                Some(piece) => splitter.push(piece),
                None => Vec::new(),
            };
            if let Some(piece) = &piece {
                position += u64::from(piece.length());
                if !self.is_kept(index) {
                    counted += u64::from(piece.length());
                    self.download.count_received(u64::from(piece.length()));
                    self.report_progress();
                }
            }
            if let Some(len_bytes) = self.len_bytes.get()
                && (position > len_bytes || (piece.is_none() && position < len_bytes))
            {
                body.cancel();
                self.download.uncount_received(counted);
                let reason = format!("the body has {position} bytes, {len_bytes} were announced");
                return Ok(Some(RequestFailure::Connection(reason)));
            }
            for chunk in ready {
                self.deliver(index, chunk).await?;
                (index, counted) = (index + 1, 0);
            }
            if piece.is_none() {
                if self.len_bytes.get().is_none() {
                    self.len_bytes.set(Some(position));
                }
                if let Some(chunk) = splitter.rest() {
                    self.deliver(index, chunk).await?;
                }
                return Ok(None);
            }
        }
    }

    async fn deliver(&self, index: u32, chunk: ArrayBuffer) -> Result<(), SourceError> {
        if !self.is_kept(index) {
            self.keep(index, &chunk).await?;
            if !self.stored.borrow().contains_key(&index)
                && let Ok(blob) = Blob::new_with_buffer_source_sequence(&Array::of1(&chunk))
            {
                self.spool.borrow_mut().insert(index, blob);
            }
        }
        self.arrivals.announce();
        Ok(())
    }

    /// Waits until the stream has come to this chunk.
    pub(super) async fn chunk_of_stream(&self, index: u32) -> Result<ArrayBuffer, SourceError> {
        loop {
            let arrival = self.arrivals.next();
            if self.is_kept(index)
                && let Some(chunk) = self.kept_chunk(index).await
            {
                return Ok(chunk);
            }
            self.check_stream()?;
            let _ = arrival.await;
        }
    }

    /// Waits for the end of a stream whose length is not known before.
    pub(super) async fn length_from_stream(&self) -> Result<(), SourceError> {
        while self.len_bytes.get().is_none() {
            let arrival = self.arrivals.next();
            self.check_stream()?;
            let _ = arrival.await;
        }
        Ok(())
    }

    fn is_kept(&self, index: u32) -> bool {
        self.stored.borrow().contains_key(&index) || self.spool.borrow().contains_key(&index)
    }

    /// An error when nothing more will arrive.
    fn check_stream(&self) -> Result<(), SourceError> {
        if self.download.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        match &*self.stream.borrow() {
            Stream::Running => Ok(()),
            Stream::Failed(error) => Err(error.clone()),
            Stream::None | Stream::Ended => Err(self.download.give_up(RequestFailure::Connection(
                "a piece that had arrived is gone from the browser's storage".to_owned(),
            ))),
        }
    }
}
