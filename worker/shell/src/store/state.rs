//! The shell's own records: small JSON values by name.
//!
//! Store `state`: key = a name such as `appConfig` or `client:<id>`, value = JSON text. Knows nothing of their meaning.

use idb::TransactionMode::{ReadOnly, ReadWrite};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;

use super::database::{Database, STATE, StoreError};

/// Reads and writes named records.
#[derive(Clone)]
pub struct StateStore {
    database: Database,
}

impl StateStore {
    /// On this database.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// All records as name and JSON text.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read_all(&self) -> Result<Vec<(String, String)>, StoreError> {
        let (keys, values) = self
            .database
            .transact(&[STATE], ReadOnly, async |stores| {
                let keys = stores[0].get_all_keys(None, None)?.await?;
                Ok((keys, stores[0].get_all(None, None)?.await?))
            })
            .await?;
        Ok(keys
            .iter()
            .zip(&values)
            .filter_map(|(key, value)| Some((key.as_string()?, value.as_string()?)))
            .collect())
    }

    /// Writes one record.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), StoreError> {
        let text = serde_json::to_string(value)
            .map_err(|error| StoreError::Shape { key: name.to_owned(), reason: error.to_string() })?;
        let key = JsValue::from_str(name);
        self.database
            .transact(&[STATE], ReadWrite, async |stores| {
                stores[0].put(&JsValue::from_str(&text), Some(&key))?.await?;
                Ok(())
            })
            .await
    }

    /// Removes records; names that are not there are fine.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        self.database
            .transact(&[STATE], ReadWrite, async |stores| {
                for name in names {
                    stores[0].delete(JsValue::from_str(name))?.await?;
                }
                Ok(())
            })
            .await
    }
}

/// Reads a record's text; one that this version cannot read counts as none.
pub fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}
