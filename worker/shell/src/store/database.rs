//! The connection to IndexedDB database `hearth`: opening, schema steps, transactions that end in a value.
//!
//! Knows the stores' names and nothing about what is in them.

use std::cell::RefCell;
use std::rc::Rc;

use futures::channel::oneshot;
use idb::event::VersionChangeEvent;
use idb::{DatabaseEvent, Factory, ObjectStore, ObjectStoreParams, Transaction, TransactionMode};
use thiserror::Error;
use wasm_bindgen::JsCast;

use crate::browser;

/// One record per model file: see [`super::manifest`].
pub const MANIFESTS: &str = "manifests";
/// The bytes: see [`super::chunks`].
pub const CHUNKS: &str = "chunks";
/// The shell's own state: see [`super::state`].
pub const STATE: &str = "state";
/// What is known of each kept page of the cache: see [`super::pages`].
pub const PAGES: &str = "pages";
/// The bytes of those pages.
pub const PAGE_BYTES: &str = "pageBytes";

const DATABASE_NAME: &str = "hearth";
/// Another page of an older version may hold the database open and refuse to close it; do not wait for it forever.
const OPEN_TIMEOUT_MS: u32 = 8_000;

type SchemaStep = fn(&idb::Database) -> Result<(), idb::Error>;
/// Step `i` brings a database from version `i` to `i + 1`. Steps that have shipped never change; new ones are appended.
const SCHEMA_STEPS: [SchemaStep; 2] = [
    |database| create_stores(database, &[MANIFESTS, CHUNKS, STATE]),
    |database| create_stores(database, &[PAGES, PAGE_BYTES]),
];

fn create_stores(database: &idb::Database, names: &[&str]) -> Result<(), idb::Error> {
    names.iter().try_for_each(|name| database.create_object_store(name, ObjectStoreParams::new()).map(|_| ()))
}

/// Why something was not stored or not read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StoreError {
    /// There is no IndexedDB here (private mode, blocked by the user) or it does not open.
    #[error("IndexedDB is not available: {reason}")]
    Unavailable {
        /// The browser's words.
        reason: String,
    },
    /// The browser grants no more room.
    #[error("the browser's storage for this site is full: {reason}")]
    Full {
        /// The browser's words.
        reason: String,
    },
    /// Anything else that IndexedDB refused.
    #[error("IndexedDB failed: {reason}")]
    Failed {
        /// The browser's words.
        reason: String,
    },
    /// A record does not have the shape that this version writes.
    #[error("the stored record {key} has an unexpected shape: {reason}")]
    Shape {
        /// Which record.
        key: String,
        /// What was wrong.
        reason: String,
    },
}

impl From<idb::Error> for StoreError {
    fn from(error: idb::Error) -> Self {
        let reason = error.to_string();
        match reason.contains("QuotaExceeded") {
            true => Self::Full { reason },
            false => Self::Failed { reason },
        }
    }
}

/// A handle that opens the database on first use and again after the browser closed it. Clones share the connection.
#[derive(Clone, Default)]
pub struct Database {
    connection: Rc<RefCell<Option<Rc<idb::Database>>>>,
}

impl Database {
    /// Runs `work` with the stores in one transaction and waits until the transaction has ended, so that what was
    /// written is there and an abort (a full disk) is an error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the database cannot be opened, else what the transaction failed with.
    pub async fn transact<T, W>(
        &self,
        stores: &[&str],
        mode: TransactionMode,
        work: W,
    ) -> Result<T, StoreError>
    where
        W: AsyncFnOnce(&[ObjectStore]) -> Result<T, StoreError>,
    {
        let mut transaction = match self.connect().await?.transaction(stores, mode) {
            Ok(transaction) => transaction,
            Err(_) => {
                // The browser closed the connection (site data cleared, disk trouble): one fresh one.
                self.forget();
                self.connect().await?.transaction(stores, mode)?
            }
        };
        let ended = listen_for_end(&mut transaction);
        let opened: Result<Vec<ObjectStore>, idb::Error> =
            stores.iter().map(|store| transaction.object_store(store)).collect();
        let result = match opened {
            Ok(opened) => work(&opened).await,
            Err(error) => Err(error.into()),
        };
        match (result, ended.await) {
            (Ok(value), Ok(Ok(()))) => Ok(value),
            // The reason of the abort says more than the request that failed because of it.
            (_, Ok(Err(error))) => Err(error),
            (Err(error), _) => Err(error),
            (Ok(_), Err(_)) => Err(StoreError::Failed { reason: "the transaction was dropped".to_owned() }),
        }
    }

    /// Opens the database now.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when that is impossible.
    pub async fn connect(&self) -> Result<Rc<idb::Database>, StoreError> {
        if let Some(connection) = self.connection.borrow().clone() {
            return Ok(connection);
        }
        let opened = browser::within_ms(OPEN_TIMEOUT_MS, open()).await;
        let mut database = match opened {
            Some(Ok(database)) => database,
            Some(Err(error)) => return Err(unavailable(error)),
            None => {
                return Err(StoreError::Unavailable {
                    reason: "another tab with an older version of this site holds the database; close it"
                        .to_owned(),
                });
            }
        };
        // A newer version of the code wants to upgrade, or the user clears the site's data: let go at once.
        let slot = Rc::downgrade(&self.connection);
        database.on_version_change(move |_| {
            if let Some(database) = slot.upgrade().and_then(|slot| slot.borrow_mut().take()) {
                database.close();
            }
        });
        let slot = Rc::downgrade(&self.connection);
        database.on_close(move |_| {
            if let Some(slot) = slot.upgrade() {
                slot.borrow_mut().take();
            }
        });
        let database = Rc::new(database);
        *self.connection.borrow_mut() = Some(database.clone());
        Ok(database)
    }

    fn forget(&self) {
        if let Some(database) = self.connection.borrow_mut().take() {
            database.close();
        }
    }
}

fn unavailable(error: StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason } | StoreError::Failed { reason } | StoreError::Full { reason } => {
            StoreError::Unavailable { reason }
        }
        StoreError::Shape { .. } => StoreError::Unavailable { reason: error.to_string() },
    }
}

async fn open() -> Result<idb::Database, StoreError> {
    let version = SCHEMA_STEPS.len() as u32;
    let mut request = Factory::new()?.open(DATABASE_NAME, Some(version))?;
    let failure: Rc<RefCell<Option<StoreError>>> = Rc::default();
    let report = failure.clone();
    request.on_upgrade_needed(move |event| {
        if let Err(error) = upgrade(&event) {
            *report.borrow_mut() = Some(error.into());
        }
    });
    let database = request.await?;
    match failure.borrow_mut().take() {
        Some(error) => Err(error),
        None => Ok(database),
    }
}

fn upgrade(event: &VersionChangeEvent) -> Result<(), idb::Error> {
    let old_version = event.old_version()? as usize;
    let database = event.database()?;
    SCHEMA_STEPS.iter().skip(old_version).try_for_each(|step| step(&database))
}

/// `complete` and `abort` are the two ends of a transaction and exactly one of them comes; an `error` event only
/// precedes the abort. The listeners belong to the transaction and live as long as it is awaited.
fn listen_for_end(transaction: &mut Transaction) -> oneshot::Receiver<Result<(), StoreError>> {
    let (sender, receiver) = oneshot::channel();
    let sender = Rc::new(RefCell::new(Some(sender)));
    let on_complete = sender.clone();
    transaction.on_complete(move |_| {
        if let Some(sender) = on_complete.borrow_mut().take() {
            let _ = sender.send(Ok(()));
        }
    });
    transaction.on_abort(move |event| {
        let transaction = event.target().and_then(|target| target.dyn_into::<web_sys::IdbTransaction>().ok());
        let error = transaction.and_then(|transaction| transaction.error());
        let error = match error {
            Some(error) if error.name() == "QuotaExceededError" => {
                StoreError::Full { reason: error.message() }
            }
            Some(error) => StoreError::Failed { reason: format!("{}: {}", error.name(), error.message()) },
            None => StoreError::Failed { reason: "the transaction was aborted".to_owned() },
        };
        if let Some(sender) = sender.borrow_mut().take() {
            let _ = sender.send(Err(error));
        }
    });
    receiver
}
