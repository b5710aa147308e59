//! A model file as a [`ByteSource`]: stored chunks, verified on read, and the network for what is missing.
//!
//! Whole chunks stay in JavaScript's heap, a few at a time; only the bytes asked for are copied into wasm. What comes from
//! the network is written through. The manifest says `complete` only in [`ModelSource::finish`].

use std::ops::Range;
use std::rc::Rc;

use hearth_engine::ports::{ByteSource, LocalFuture, SourceError};
use js_sys::Uint8Array;

use super::database::Database;
use super::file::File;
use crate::pages::chain::ChainDigest;

/// What the owner of a source wants to know while it works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// More bytes are here.
    Progress(SourceProgress),
    /// Something the user should know about: the file will not be kept, or is fetched again.
    Notice(String),
}

/// How much of the file is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceProgress {
    /// Stored at the beginning or arrived since.
    pub available_bytes: u64,
    /// The same in whole chunks.
    pub available_chunks: u32,
    /// Length of the file; 0 while unknown.
    pub total_bytes: u64,
    /// Chunks of the file; 0 while unknown.
    pub total_chunks: u32,
}

/// What a source needs.
pub struct SourceOptions {
    /// The model file's URL: where it is fetched from and the name it is stored under.
    pub url: String,
    /// Where it is kept.
    pub database: Database,
    /// Hears of progress.
    pub on_event: Rc<dyn Fn(SourceEvent)>,
}

/// One model file. Clones share everything.
#[derive(Clone)]
pub struct ModelSource {
    file: Rc<File>,
}

impl ModelSource {
    /// Finds out how long the file is: from the store if it is complete there, without any request, else from the server.
    ///
    /// # Errors
    /// Any [`SourceError`] of the first request.
    pub async fn open(options: SourceOptions) -> Result<Self, SourceError> {
        let file = File::find(options).await?;
        file.first_contact().await?;
        Ok(Self { file })
    }

    /// How much is here.
    pub fn progress(&self) -> SourceProgress {
        self.file.progress()
    }

    /// Stops everything: pending and later reads fail with [`SourceError::Cancelled`].
    pub fn cancel(&self) {
        self.file.cancel();
    }

    /// The load succeeded: fetches chunks that it had no use for, and writes the manifest. A file that could not be kept
    /// is removed instead.
    ///
    /// # Errors
    /// Those of the download; errors of the store only mean that the next visit downloads again.
    pub async fn finish(&self) -> Result<(), SourceError> {
        self.file.finish().await
    }

    /// Tells two contents of the same URL apart. `None` until [`Self::finish`], and for a file that is not kept.
    pub fn fingerprint(&self) -> Option<ChainDigest> {
        self.file.fingerprint()
    }

    /// The load failed or was cancelled: what has arrived is kept for the next attempt, unless it is not being kept.
    pub async fn abandon(&self) {
        self.cancel();
        self.file.remove_unless_kept().await;
    }

    /// Removes every stored byte of the file: it is not what it should be.
    pub async fn discard(&self) {
        self.cancel();
        self.file.remove().await;
    }
}

impl ByteSource for ModelSource {
    fn len_bytes(&self) -> u64 {
        self.file.len_bytes()
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<Result<Vec<u8>, SourceError>> {
        let file = self.file.clone();
        Box::pin(async move {
            let len_bytes = file.len_bytes();
            if range.start > range.end || range.end > len_bytes {
                return Err(SourceError::OutOfRange { start: range.start, end: range.end, len_bytes });
            }
            let mut bytes = vec![0; (range.end - range.start) as usize];
            let mut filled = 0;
            while filled < bytes.len() {
                let position = range.start + filled as u64;
                let index = (position / file.chunk_bytes()) as u32;
                let chunk = file.chunk(index).await?;
                let offset = (position % file.chunk_bytes()) as u32;
                let available = chunk.byte_length().saturating_sub(offset) as usize;
                let take = available.min(bytes.len() - filled);
                if take == 0 {
                    return Err(SourceError::OutOfRange {
                        start: range.start,
                        end: range.end,
                        len_bytes: position,
                    });
                }
                Uint8Array::new_with_byte_offset_and_length(&chunk, offset, take as u32)
                    .copy_to(&mut bytes[filled..filled + take]);
                filled += take;
            }
            Ok(bytes)
        })
    }
}
