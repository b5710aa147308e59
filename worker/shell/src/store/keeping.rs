//! What of a file is kept: chunks verified on read and written through, the room there is, the manifest written last.
//!
//! Trouble with the store ends the keeping, never the load.

use hearth_engine::ports::SourceError;
use js_sys::ArrayBuffer;
use wasm_bindgen::JsCast;

use super::chunks;
use super::database::StoreError;
use super::file::File;
use super::manifest::{self, Manifest};
use super::range_request::RequestFailure;
use crate::browser;
use crate::pages::chain::ChainDigest;

/// The browser's own records take room too.
const ROOM_MARGIN_PERCENT: u64 = 105;
const MIB: u64 = 1 << 20;

impl File {
    /// The chunk from the database or the spool; a damaged one is forgotten.
    pub(super) async fn kept_chunk(&self, index: u32) -> Option<ArrayBuffer> {
        let spooled = self.spool.borrow().get(&index).cloned();
        if let Some(blob) = spooled {
            return browser::settle(blob.array_buffer()).await.ok()?.dyn_into().ok();
        }
        if !self.stored.borrow().contains_key(&index) {
            return None;
        }
        let expected_bytes = self.range_of(index).end - self.range_of(index).start;
        let damage = match chunks::read(&self.database, &self.url, index).await {
            Ok(Some(chunk)) if u64::from(chunk.bytes.byte_length()) == expected_bytes => {
                let expected = self.binding_digest(index).unwrap_or(chunk.sha256);
                match browser::sha256_hex(&chunk.bytes).await {
                    Ok(digest) if digest == expected => {
                        self.stored.borrow_mut().insert(index, Some(digest));
                        return Some(chunk.bytes);
                    }
                    Ok(_) => "its digest does not match".to_owned(),
                    Err(error) => browser::describe(&error),
                }
            }
            Ok(Some(chunk)) => {
                format!("it has {} bytes instead of {expected_bytes}", chunk.bytes.byte_length())
            }
            Ok(None) => "it is gone".to_owned(),
            Err(error) => error.to_string(),
        };
        self.stored.borrow_mut().remove(&index);
        self.stored_bytes_at_start.set(self.stored_bytes_at_start.get().saturating_sub(expected_bytes));
        self.notice(format!("piece {} of {} is fetched again: {damage}", index + 1, self.url));
        None
    }

    /// Checks a fetched chunk and writes it through. Trouble with the store ends caching, not the load.
    pub(super) async fn keep(&self, index: u32, bytes: &ArrayBuffer) -> Result<(), SourceError> {
        if self.download.is_cancelled() {
            return Err(SourceError::Cancelled);
        }
        let range = self.range_of(index);
        let (got, expected) = (u64::from(bytes.byte_length()), range.end - range.start);
        if got != expected {
            let reason = format!("bytes {}..{} came as {got} bytes", range.start, range.end);
            return Err(self.download.give_up(RequestFailure::Connection(reason)));
        }
        let binding = self.binding_digest(index);
        if !self.caching.get() && binding.is_none() {
            return Ok(());
        }
        let digest = match browser::sha256_hex(bytes).await {
            Ok(digest) => digest,
            Err(error) => {
                self.stop_caching(&StoreError::Failed { reason: browser::describe(&error) });
                return Ok(());
            }
        };
        if binding.is_some_and(|binding| binding != digest) {
            return Err(SourceError::Changed { url: self.url.clone() });
        }
        if self.caching.get() {
            match chunks::write(&self.database, &self.url, index, bytes, &digest).await {
                Ok(()) => {
                    self.stored.borrow_mut().insert(index, Some(digest));
                }
                Err(StoreError::Full { .. }) => self.stop_caching(&self.refused()),
                Err(error) => self.stop_caching(&error),
            }
        }
        Ok(())
    }

    /// The browser took some of the file and no more, with the numbers that it does not give itself.
    fn refused(&self) -> StoreError {
        let stored = self.download.received_bytes() / MIB;
        let reason = match self.len_bytes.get() {
            Some(len_bytes) => format!(
                "the model needs {} MB, the browser refused more after {stored} MB",
                len_bytes.div_ceil(MIB)
            ),
            None => format!("the browser refused more after {stored} MB of the model"),
        };
        StoreError::Full { reason }
    }

    fn binding_digest(&self, index: u32) -> Option<String> {
        self.complete.as_ref()?.digests.get(index as usize).cloned()
    }

    /// Whether there is room for what is missing; and the manifest of a file in the making.
    pub(super) async fn decide_caching(&self) {
        if !self.caching.get() {
            return;
        }
        if let (Some(len_bytes), Some(room)) = (self.len_bytes.get(), browser::storage_room().await) {
            let missing_bytes = len_bytes.saturating_sub(self.stored_bytes_at_start.get());
            if room.free_bytes() < missing_bytes * ROOM_MARGIN_PERCENT / 100 {
                let reason = format!(
                    "the model needs {} MB, this site may store {} MB more of its {} MB",
                    missing_bytes.div_ceil(MIB),
                    room.free_bytes() / MIB,
                    room.quota_bytes / MIB
                );
                return self.stop_caching(&StoreError::Full { reason });
            }
        }
        if self.len_bytes.get().is_some()
            && let Err(error) = self.write_manifest(false).await
        {
            self.stop_caching(&error);
        }
    }

    /// From now on nothing is stored; what is stored already serves this load and is removed at its end.
    fn stop_caching(&self, error: &StoreError) {
        if self.caching.replace(false) {
            self.notice(format!("not kept for the next visit: {error}"));
        }
    }

    pub(super) async fn write_manifest(&self, complete: bool) -> Result<(), StoreError> {
        let identity = self.download.identity();
        let mut manifest = Manifest {
            len_bytes: self.len_bytes(),
            etag: identity.etag,
            last_modified: identity.last_modified,
            chunk_bytes: self.chunk_bytes,
            digests: Vec::new(),
            complete: false,
            last_used_ms: browser::wall_clock_ms() as u64,
        };
        if complete {
            for index in 0..self.num_chunks() {
                let known = self.stored.borrow().get(&index).cloned().flatten();
                let digest = match known.or_else(|| self.binding_digest(index)) {
                    Some(digest) => Some(digest),
                    None => chunks::read(&self.database, &self.url, index).await?.map(|chunk| chunk.sha256),
                };
                manifest.digests.push(digest.ok_or_else(|| StoreError::Shape {
                    key: format!("{} {index}", self.url),
                    reason: "the chunk is gone".to_owned(),
                })?);
            }
            manifest.complete = true;
        }
        if manifest.complete {
            let digest = manifest
                .digests
                .iter()
                .fold(ChainDigest::START, |all, digest| all.then_bytes(digest.as_bytes()));
            self.fingerprint.set(Some(digest));
        }
        manifest::write(&self.database, &self.url, &manifest).await?;
        self.has_manifest.set(true);
        Ok(())
    }

    /// Forgets the stored part of a file that has changed.
    pub(super) async fn start_over(&self) {
        let _ = manifest::delete_file(&self.database, &self.url).await;
        self.download.forget_identity();
        self.stored.borrow_mut().clear();
        self.stored_bytes_at_start.set(0);
        self.len_bytes.set(None);
    }

    /// Removes what was stored of a file that is not being kept.
    pub async fn remove_unless_kept(&self) {
        let has_left_something = self.has_manifest.get() || !self.stored.borrow().is_empty();
        if !self.caching.get() && self.complete.is_none() && has_left_something {
            self.remove().await;
        }
    }

    /// Removes all that is stored of the file.
    pub async fn remove(&self) {
        self.caching.set(false);
        self.stored.borrow_mut().clear();
        // What cannot be removed is verified or replaced by the next load.
        let _ = manifest::delete_file(&self.database, &self.url).await;
    }
}
