//! Pages of the cache, so that a long chat is not read again after the worker was stopped.
//!
//! Store `pages`: key = `[model URL, layout, digest]`, value = [`PageRecord`]. Store `pageBytes`: the same key, value = the
//! bytes as an `ArrayBuffer`. They are apart so that the list of pages can be read without their bytes. Knows neither the
//! engine nor which pages are worth it.

use idb::KeyRange;
use idb::TransactionMode::{ReadOnly, ReadWrite};
use js_sys::{Array, ArrayBuffer, Uint8Array};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue};

use super::database::{Database, PAGE_BYTES, PAGES, StoreError};
use crate::browser;
use crate::pages::chain::ChainDigest;
use crate::pages::shelf::{Entry, PageKey, Shelf};

/// What is known of a page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageRecord {
    len_bytes: u64,
    sha256: String,
    /// Its own tokens, without those before it.
    tokens: Vec<u32>,
    number: u32,
    last_used_ms: u64,
}

/// A page to write.
pub struct NewPage {
    /// Where.
    pub key: PageKey,
    /// Its number in its conversation.
    pub number: u32,
    /// Its own tokens.
    pub tokens: Vec<u32>,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

fn key(page: &PageKey) -> JsValue {
    Array::of3(
        &JsValue::from_str(&page.model),
        &JsValue::from_str(&page.layout),
        &JsValue::from_str(&page.digest.to_string()),
    )
    .into()
}

fn parse_key(key: JsValue) -> Option<PageKey> {
    let parts: Array = key.dyn_into().ok()?;
    let digest = ChainDigest::parse(&parts.get(2).as_string()?)?;
    Some(PageKey { model: parts.get(0).as_string()?, layout: parts.get(1).as_string()?, digest })
}

/// The keys of all pages of the model at `url`.
///
/// # Errors
/// When the browser refuses the range.
pub fn all_of(url: &str) -> Result<KeyRange, StoreError> {
    let url = JsValue::from_str(url);
    // An array is greater than every text.
    Ok(KeyRange::bound(&Array::of1(&url), &Array::of2(&url, &Array::new()), None, None)?)
}

/// Which pages there are.
///
/// # Errors
/// Those of the database.
pub async fn read_shelf(database: &Database) -> Result<Shelf, StoreError> {
    let (keys, records) = database
        .transact(&[PAGES], ReadOnly, async |stores| {
            let keys = stores[0].get_all_keys(None, None)?.await?;
            Ok((keys, stores[0].get_all(None, None)?.await?))
        })
        .await?;
    let mut shelf = Shelf::default();
    for (key, record) in keys.into_iter().zip(records) {
        let record = serde_wasm_bindgen::from_value::<PageRecord>(record);
        if let (Some(key), Ok(record)) = (parse_key(key), record) {
            let PageRecord { len_bytes, number, last_used_ms, .. } = record;
            shelf.insert(key, Entry { len_bytes, number, last_used_ms });
        }
    }
    Ok(shelf)
}

/// The bytes of pages that follow each other, each with the tokens that it must be of, until the first that is not there or not
/// what was written.
///
/// # Errors
/// Those of the database.
pub async fn read(database: &Database, pages: &[(PageKey, &[u32])]) -> Result<Vec<Vec<u8>>, StoreError> {
    let found = database
        .transact(&[PAGES, PAGE_BYTES], ReadOnly, async |stores| {
            let mut found = Vec::with_capacity(pages.len());
            for (page, _) in pages {
                let record = stores[0].get(key(page))?.await?;
                found.push((record, stores[1].get(key(page))?.await?));
            }
            Ok(found)
        })
        .await?;
    let mut read = Vec::with_capacity(pages.len());
    for ((record, bytes), (_, tokens)) in found.into_iter().zip(pages) {
        let record = record.and_then(|record| serde_wasm_bindgen::from_value::<PageRecord>(record).ok());
        let bytes = bytes.and_then(|bytes| bytes.dyn_into::<ArrayBuffer>().ok());
        let (Some(record), Some(bytes)) = (record, bytes) else { break };
        let is_of_size = record.len_bytes == u64::from(bytes.byte_length());
        if !is_of_size || record.tokens != *tokens {
            break;
        }
        match browser::sha256_hex(&bytes).await {
            Ok(digest) if digest == record.sha256 => read.push(Uint8Array::new(&bytes).to_vec()),
            Ok(_) | Err(_) => break,
        }
    }
    Ok(read)
}

/// Removes `going` and writes `pages`, together.
///
/// # Errors
/// [`StoreError::Full`] when the quota is used up, else those of the database; nothing has changed then.
pub async fn replace(
    database: &Database,
    going: &[PageKey],
    pages: Vec<NewPage>,
    now_ms: u64,
) -> Result<(), StoreError> {
    let mut written = Vec::with_capacity(pages.len());
    for NewPage { key: page, number, tokens, bytes } in pages {
        let buffer = Uint8Array::from(bytes.as_slice()).buffer();
        drop(bytes);
        let failed = |reason: String| StoreError::Shape { key: page.digest.to_string(), reason };
        let sha256 = browser::sha256_hex(&buffer).await.map_err(|error| failed(browser::describe(&error)))?;
        let len_bytes = u64::from(buffer.byte_length());
        let record = PageRecord { len_bytes, sha256, tokens, number, last_used_ms: now_ms };
        let record = record
            .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
            .map_err(|error| failed(error.to_string()))?;
        written.push((key(&page), record, buffer));
    }
    database
        .transact(&[PAGES, PAGE_BYTES], ReadWrite, async |stores| {
            for page in going {
                stores[0].delete(key(page))?.await?;
                stores[1].delete(key(page))?.await?;
            }
            for (key, record, buffer) in &written {
                stores[0].put(record, Some(key))?.await?;
                stores[1].put(buffer, Some(key))?.await?;
            }
            Ok(())
        })
        .await
}

/// Notes that pages have been used.
///
/// # Errors
/// Those of the database.
pub async fn touch(database: &Database, pages: &[PageKey], now_ms: u64) -> Result<(), StoreError> {
    database
        .transact(&[PAGES], ReadWrite, async |stores| {
            for page in pages {
                let record = stores[0].get(key(page))?.await?;
                let record =
                    record.and_then(|record| serde_wasm_bindgen::from_value::<PageRecord>(record).ok());
                let Some(record) = record else { continue };
                let record = PageRecord { last_used_ms: now_ms, ..record }
                    .serialize(&serde_wasm_bindgen::Serializer::json_compatible())
                    .map_err(|error| StoreError::Shape {
                        key: page.digest.to_string(),
                        reason: error.to_string(),
                    })?;
                stores[0].put(&record, Some(&key(page)))?.await?;
            }
            Ok(())
        })
        .await
}
