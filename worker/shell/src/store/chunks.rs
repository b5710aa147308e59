//! The bytes of model files in pieces, each with its own digest.
//!
//! Store `chunks`: key = `[url, index]`, value = `{bytes: ArrayBuffer, sha256: hex}`. Bytes stay in JavaScript's heap:
//! nothing here copies them into wasm.

use idb::KeyRange;
use idb::TransactionMode::{ReadOnly, ReadWrite};
use js_sys::{Array, ArrayBuffer, Object, Reflect};
use wasm_bindgen::{JsCast, JsValue};

use super::database::{CHUNKS, Database, StoreError};

/// One stored piece.
pub struct StoredChunk {
    /// The bytes, not yet verified.
    pub bytes: ArrayBuffer,
    /// The digest that was written with them.
    pub sha256: String,
}

fn key(url: &str, index: u32) -> JsValue {
    Array::of2(&JsValue::from_str(url), &JsValue::from_f64(f64::from(index))).into()
}

/// The keys of all chunks of `url`.
///
/// # Errors
/// When the browser refuses the range.
pub fn all_of(url: &str) -> Result<KeyRange, StoreError> {
    Ok(KeyRange::bound(&key(url, 0), &key(url, u32::MAX), None, None)?)
}

/// Which chunks of `url` are there.
///
/// # Errors
/// Those of the database.
pub async fn stored_indices(database: &Database, url: &str) -> Result<Vec<u32>, StoreError> {
    let range = all_of(url)?;
    let keys = database
        .transact(&[CHUNKS], ReadOnly, async |stores| {
            Ok(stores[0].get_all_keys(Some(range.into()), None)?.await?)
        })
        .await?;
    let index = |key: JsValue| key.dyn_into::<Array>().ok()?.get(1).as_f64().map(|index| index as u32);
    Ok(keys.into_iter().filter_map(index).collect())
}

/// One chunk, if it is there in the right shape.
///
/// # Errors
/// Those of the database.
pub async fn read(database: &Database, url: &str, index: u32) -> Result<Option<StoredChunk>, StoreError> {
    let key = key(url, index);
    let value = database.transact(&[CHUNKS], ReadOnly, async |stores| Ok(stores[0].get(key)?.await?)).await?;
    Ok(value.and_then(|value| {
        let bytes = Reflect::get(&value, &JsValue::from_str("bytes")).ok()?.dyn_into().ok()?;
        let sha256 = Reflect::get(&value, &JsValue::from_str("sha256")).ok()?.as_string()?;
        Some(StoredChunk { bytes, sha256 })
    }))
}

/// Writes one chunk.
///
/// # Errors
/// [`StoreError::Full`] when the quota is used up, else those of the database.
pub async fn write(
    database: &Database,
    url: &str,
    index: u32,
    bytes: &ArrayBuffer,
    sha256: &str,
) -> Result<(), StoreError> {
    let value = Object::new();
    let shape = |_| StoreError::Shape { key: format!("{url} {index}"), reason: "not an object".to_owned() };
    Reflect::set(&value, &JsValue::from_str("bytes"), bytes).map_err(shape)?;
    Reflect::set(&value, &JsValue::from_str("sha256"), &JsValue::from_str(sha256)).map_err(shape)?;
    let key = key(url, index);
    database
        .transact(&[CHUNKS], ReadWrite, async |stores| {
            stores[0].put(&value, Some(&key))?.await?;
            Ok(())
        })
        .await
}
