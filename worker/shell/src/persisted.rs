//! What the worker remembers across its own restarts: the app's configuration, the log level, and of each client
//! what it has loaded and what was said to it last. Small records; weights are the store's business.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use hearth_protocol::config::AppConfig;
use hearth_protocol::logging::LogLevel;
use serde::{Deserialize, Serialize};

use crate::client::ClientRecord;
use crate::log::Logger;
use crate::store::{StateStore, StoreError, parse_record};

/// Record of what all clients share.
const SHARED: &str = "shared";
/// Records of single clients: this, then the client's id.
const CLIENT_PREFIX: &str = "client:";

/// What all clients share: the values that were set last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SharedRecord {
    /// For clients that have not sent a configuration in this run of the worker.
    pub app_config: Option<Rc<AppConfig>>,
    /// How much is logged.
    pub log_level: Option<LogLevel>,
}

/// Everything that was remembered.
#[derive(Default)]
pub struct Restored {
    /// What all clients share.
    pub shared: SharedRecord,
    /// What clients had, by their ids.
    pub clients: BTreeMap<String, ClientRecord>,
}

/// Writes and reads the records. Where nothing can be stored, a restart forgets; that is logged and no error.
pub struct Persisted {
    state: StateStore,
    log: Logger,
    last_shared: RefCell<Option<SharedRecord>>,
    has_warned: Cell<bool>,
}

impl Persisted {
    /// On this store.
    pub fn new(state: StateStore, log: Logger) -> Self {
        Self { state, log, last_shared: RefCell::default(), has_warned: Cell::new(false) }
    }

    /// Reads all records; those that cannot be read count as absent.
    pub async fn restore(&self) -> Restored {
        let mut restored = Restored::default();
        let records = match self.state.read_all().await {
            Ok(records) => records,
            Err(error) => {
                self.log.warn(&format!("what earlier runs of the worker knew is not available: {error}"));
                return restored;
            }
        };
        for (name, text) in records {
            if name == SHARED {
                restored.shared = parse_record(&text).unwrap_or_default();
            } else if let Some(id) = name.strip_prefix(CLIENT_PREFIX)
                && let Some(record) = parse_record::<ClientRecord>(&text)
            {
                restored.clients.insert(id.to_owned(), record);
            }
        }
        *self.last_shared.borrow_mut() = Some(restored.shared.clone());
        restored
    }

    /// Remembers what all clients share.
    pub async fn save_shared(&self, record: SharedRecord) {
        // Every page sends its configuration again; most of the time it is the one that is stored.
        if self.last_shared.borrow().as_ref() == Some(&record) {
            return;
        }
        *self.last_shared.borrow_mut() = Some(record.clone());
        self.report(self.state.write(SHARED, &record).await);
    }

    /// Remembers what a client has; nothing of one that has no model.
    pub async fn save_client(&self, id: &str, record: &ClientRecord) {
        let name = format!("{CLIENT_PREFIX}{id}");
        if record.loaded.is_empty() {
            self.report(self.state.delete(&[name]).await);
        } else {
            self.report(self.state.write(&name, record).await);
        }
    }

    /// Forgets clients that are gone.
    pub async fn forget_clients(&self, ids: &[String]) {
        if !ids.is_empty() {
            let names: Vec<String> = ids.iter().map(|id| format!("{CLIENT_PREFIX}{id}")).collect();
            self.report(self.state.delete(&names).await);
        }
    }

    /// Said once: where one write fails, the others will.
    fn report(&self, result: Result<(), StoreError>) {
        if let Err(error) = result
            && !self.has_warned.replace(true)
        {
            self.log
                .warn(&format!("a restart of the worker will have forgotten what tabs had loaded: {error}"));
        }
    }
}
