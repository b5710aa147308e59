//! The record of one stored model file. It says `complete` only after every chunk is in the store.
//!
//! Store `manifests`: key = the model's URL as the app gave it, value = [`Manifest`].

use idb::TransactionMode::{ReadOnly, ReadWrite};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

use super::chunks;
use super::database::{CHUNKS, Database, MANIFESTS, PAGE_BYTES, PAGES, StoreError};
use super::pages;

/// What is known of a stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Length of the file in bytes.
    pub len_bytes: u64,
    /// The server's ETag without weakness mark, if it sends one.
    pub etag: Option<String>,
    /// The server's Last-Modified, if it sends one.
    pub last_modified: Option<String>,
    /// Bytes of every chunk but the last.
    pub chunk_bytes: u64,
    /// SHA-256 of each chunk in hex; empty until complete.
    pub digests: Vec<String>,
    /// Every chunk is stored.
    pub complete: bool,
    /// Milliseconds since 1970 of the last load.
    pub last_used_ms: u64,
}

impl Manifest {
    /// How many chunks the file has.
    pub fn num_chunks(&self) -> u32 {
        num_chunks(self.len_bytes, self.chunk_bytes)
    }

    /// True when the numbers fit together; a record may be from a broken or hostile writer.
    fn is_sound(&self) -> bool {
        self.chunk_bytes > 0
            && self.len_bytes > 0
            && self.len_bytes.div_ceil(self.chunk_bytes) <= u64::from(u32::MAX)
            && (!self.complete || self.digests.len() == self.num_chunks() as usize)
    }
}

/// Chunks of a file of this length.
pub fn num_chunks(len_bytes: u64, chunk_bytes: u64) -> u32 {
    u32::try_from(len_bytes.div_ceil(chunk_bytes)).unwrap_or(u32::MAX)
}

/// The manifest of `url`; records that make no sense count as none.
///
/// # Errors
/// Those of the database.
pub async fn read(database: &Database, url: &str) -> Result<Option<Manifest>, StoreError> {
    let key = JsValue::from_str(url);
    let value =
        database.transact(&[MANIFESTS], ReadOnly, async |stores| Ok(stores[0].get(key)?.await?)).await?;
    let manifest = value.and_then(|value| serde_wasm_bindgen::from_value::<Manifest>(value).ok());
    Ok(manifest.filter(Manifest::is_sound))
}

/// Writes the manifest of `url`.
///
/// # Errors
/// Those of the database.
pub async fn write(database: &Database, url: &str, manifest: &Manifest) -> Result<(), StoreError> {
    let value = manifest
        .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
        .map_err(|error| StoreError::Shape { key: url.to_owned(), reason: error.to_string() })?;
    let key = JsValue::from_str(url);
    database
        .transact(&[MANIFESTS], ReadWrite, async |stores| {
            stores[0].put(&value, Some(&key))?.await?;
            Ok(())
        })
        .await
}

/// Removes the file: its manifest, all its chunks and the pages of the cache that were computed with it, together.
///
/// # Errors
/// Those of the database.
pub async fn delete_file(database: &Database, url: &str) -> Result<(), StoreError> {
    let range = chunks::all_of(url)?;
    let key = JsValue::from_str(url);
    database
        .transact(&[MANIFESTS, CHUNKS, PAGES, PAGE_BYTES], ReadWrite, async |stores| {
            stores[0].delete(key)?.await?;
            stores[1].delete(range)?.await?;
            stores[2].delete(pages::all_of(url)?)?.await?;
            stores[3].delete(pages::all_of(url)?)?.await?;
            Ok(())
        })
        .await
}
