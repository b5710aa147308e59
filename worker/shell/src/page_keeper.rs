//! Pages of the cache across restarts of the worker: written when a conversation has come to rest, read before it goes on.
//!
//! Owns the index of what is stored and the measurements that say what pays. Trouble with the store only means that prompts are
//! read again. Knows neither clients nor messages.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures::lock::Mutex;
use hearth_engine::ids::{OwnerId, TokenId};
use hearth_engine::ports::Clock;

use crate::browser;
use crate::loaded::LoadedModel;
use crate::log::Logger;
use crate::models::CancelFlag;
use crate::pages::chain::page_digests;
use crate::pages::payoff::{PageWorth, Payoff};
use crate::pages::shelf::{Entry, PageKey, Shelf};
use crate::store::pages::{self, NewPage};
use crate::store::{Database, StoreError};

/// All pages together take no more than this.
const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// Nor more than this part of what the site may store.
const MAX_QUOTA_PERCENT: u64 = 5;
/// Pages that are read or written together; between two such batches everybody else has a turn.
const BATCH_PAGES: usize = 4;

/// Where a model's pages are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageLayout {
    /// The model's URL, as its weights are stored under.
    pub url: String,
    /// What the bytes depend on besides the tokens.
    pub layout: String,
    /// The part of `layout` that other content at the same URL does not share.
    pub content: String,
}

/// Reads and writes pages.
pub struct PageKeeper {
    database: Database,
    clock: Rc<dyn Clock>,
    log: Logger,
    /// Read from the database at its first use.
    shelf: RefCell<Option<Shelf>>,
    max_bytes: Cell<u64>,
    payoff: RefCell<Payoff>,
    /// The browser gives no more room in this run of the worker.
    is_full: Cell<bool>,
    /// One at a time: who opens the shelf, and who writes.
    opening: Mutex<()>,
    writing: Mutex<()>,
}

/// The whole pages of a conversation that a model may have stored.
struct Run {
    keys: Vec<PageKey>,
    page_tokens: usize,
    worth: PageWorth,
}

impl PageKeeper {
    /// Nothing is read yet.
    pub fn new(database: Database, clock: Rc<dyn Clock>, log: Logger) -> Self {
        Self {
            database,
            clock,
            log,
            shelf: RefCell::default(),
            max_bytes: Cell::new(MAX_TOTAL_BYTES),
            payoff: RefCell::default(),
            is_full: Cell::new(false),
            opening: Mutex::new(()),
            writing: Mutex::new(()),
        }
    }

    /// True when pages of the model are stored: only then is it worth the trouble to find out what a request will ask.
    pub async fn has_pages_for(&self, model: &LoadedModel) -> bool {
        let Some(layout) = model.page_layout() else { return false };
        self.open().await;
        self.with_shelf(|shelf| shelf.has_any(&layout.url, &layout.layout)).unwrap_or(false)
    }

    /// Brings back the stored pages that continue what the cache has of `tokens`. Returns the tokens that came back.
    pub async fn restore(
        &self,
        model: &LoadedModel,
        owner: OwnerId,
        tokens: &[u32],
        cancel: &CancelFlag,
    ) -> u32 {
        let Some(run) = Run::of(model, tokens) else { return 0 };
        self.open().await;
        // The last token is always computed, for what comes after it.
        let usable = run.keys.len().min(tokens.len().saturating_sub(1) / run.page_tokens);
        let engine = model.chat.engine();
        let ids = token_ids(tokens);
        let first = engine.cached_tokens(&ids) as usize / run.page_tokens;
        let missing = run.keys.get(first..usable).unwrap_or_default();
        let stored = self.with_shelf(|shelf| shelf.count_run(missing)).unwrap_or(0);
        if stored == 0 || !self.payoff.borrow().is_reading_worth(run.worth) {
            return 0;
        }
        let (mut done, end) = (first, first + stored);
        while done < end && cancel.check().is_ok() {
            let batch = done..end.min(done + BATCH_PAGES);
            let wanted: Vec<(PageKey, &[u32])> =
                batch.clone().map(|page| (run.keys[page].clone(), run.tokens_of(page, tokens))).collect();
            let started_ms = self.clock.now_ms();
            let mut read = pages::read(&self.database, &wanted).await.unwrap_or_default();
            let len_bytes = model.page_bytes() as usize;
            let sound = read.iter().take_while(|bytes| bytes.len() == len_bytes).count();
            read.truncate(sound);
            self.payoff
                .borrow_mut()
                .has_read(run.worth.bytes * sound as u64, self.clock.now_ms() - started_ms);
            if sound < wanted.len() {
                // Damaged, of another size, or removed by somebody else: not asked for again.
                self.with_shelf(|shelf| shelf.remove(&wanted[sound].0));
            }
            let reached = (batch.start + sound) * run.page_tokens;
            let cached = match engine.import_pages(owner, &ids[..reached], batch.start as u32, read).await {
                Ok(cached) => cached as usize / run.page_tokens,
                Err(error) => {
                    self.log.debug(&format!("stored pages could not be brought back: {error}"));
                    break;
                }
            };
            // Less came back than was read where the cache has no room.
            done = cached.clamp(done, end);
            if done < batch.end {
                break;
            }
            browser::yield_now().await;
        }
        self.note_use(&run.keys[..done]).await;
        ((done - first) * run.page_tokens) as u32
    }

    /// Writes the pages of a conversation that the cache has and the store has not, as long as `may_go_on`. Returns false when it
    /// was stopped by that.
    pub async fn keep(&self, model: &LoadedModel, tokens: &[u32], may_go_on: impl Fn() -> bool) -> bool {
        let (Some(run), Some(layout)) = (Run::of(model, tokens), model.page_layout()) else { return true };
        if self.is_full.get() || !self.payoff.borrow().is_writing_worth(run.worth) {
            return true;
        }
        self.open().await;
        let _one_at_a_time = self.writing.lock().await;
        let ids = token_ids(tokens);
        let engine = model.chat.engine();
        let end = run.keys.len().min(engine.cached_tokens(&ids) as usize / run.page_tokens);
        let now_ms = browser::wall_clock_ms() as u64;
        let mut done = self
            .with_shelf(|shelf| {
                let stored = shelf.count_run(&run.keys[..end]);
                run.keys[..stored].iter().for_each(|key| shelf.touch(key, now_ms));
                stored
            })
            .unwrap_or(end);
        while done < end {
            if !may_go_on() {
                return false;
            }
            let batch = done..end.min(done + BATCH_PAGES);
            let prefix = &ids[..batch.end * run.page_tokens];
            let exported = match engine.export_pages(prefix, batch.start as u32).await {
                Ok(exported) => exported,
                Err(error) => {
                    self.log.debug(&format!("pages could not be read from the device: {error}"));
                    break;
                }
            };
            let new_pages: Vec<NewPage> = batch
                .clone()
                .zip(exported)
                .take_while(|(_, bytes)| bytes.len() as u64 == run.worth.bytes)
                .map(|(page, bytes)| NewPage {
                    key: run.keys[page].clone(),
                    number: page as u32,
                    tokens: run.tokens_of(page, tokens).to_vec(),
                    bytes,
                })
                .collect();
            // Evicted from the cache meanwhile.
            if new_pages.is_empty() {
                break;
            }
            done += new_pages.len();
            if !self.write(&layout, new_pages, run.worth.bytes, now_ms).await {
                break;
            }
            browser::yield_now().await;
        }
        true
    }

    /// The model's file is gone from the store, and its pages with it.
    pub fn forget_model(&self, url: &str) {
        self.with_shelf(|shelf| shelf.remove_model(url));
    }

    async fn write(
        &self,
        layout: &PageLayout,
        new_pages: Vec<NewPage>,
        page_bytes: u64,
        now_ms: u64,
    ) -> bool {
        let total_bytes = page_bytes * new_pages.len() as u64;
        let going = self.with_shelf(|shelf| {
            let mut going = shelf.outdated(&layout.url, &layout.content);
            going.iter().for_each(|key| shelf.remove(key));
            going.extend(shelf.make_room(total_bytes, self.max_bytes.get(), now_ms)?);
            Some(going)
        });
        let Some(going) = going.flatten() else { return false };
        let kept: Vec<(PageKey, u32)> =
            new_pages.iter().map(|page| (page.key.clone(), page.number)).collect();
        let started_ms = self.clock.now_ms();
        match pages::replace(&self.database, &going, new_pages, now_ms).await {
            Ok(()) => {
                self.payoff.borrow_mut().has_written(total_bytes, self.clock.now_ms() - started_ms);
                self.with_shelf(|shelf| {
                    going.iter().for_each(|key| shelf.remove(key));
                    for (key, number) in kept {
                        let entry = Entry { len_bytes: page_bytes, number, last_used_ms: now_ms };
                        shelf.insert(key, entry);
                    }
                });
                true
            }
            Err(error) => {
                if matches!(error, StoreError::Full { .. }) {
                    self.is_full.set(true);
                }
                self.log.debug(&format!("pages are not kept: {error}"));
                false
            }
        }
    }

    async fn note_use(&self, keys: &[PageKey]) {
        let now_ms = browser::wall_clock_ms() as u64;
        let stored: Vec<PageKey> = self
            .with_shelf(|shelf| {
                keys.iter().for_each(|key| shelf.touch(key, now_ms));
                keys.iter().filter(|key| shelf.has(key)).cloned().collect()
            })
            .unwrap_or_default();
        if let Err(error) = pages::touch(&self.database, &stored, now_ms).await {
            self.log.debug(&format!("the use of stored pages was not noted: {error}"));
        }
    }

    async fn open(&self) {
        let _one_at_a_time = self.opening.lock().await;
        if self.shelf.borrow().is_some() {
            return;
        }
        let shelf = match pages::read_shelf(&self.database).await {
            Ok(shelf) => shelf,
            Err(error) => {
                self.log.debug(&format!("no pages are kept: {error}"));
                self.is_full.set(true);
                Shelf::default()
            }
        };
        if let Some(room) = browser::storage_room().await {
            self.max_bytes.set(MAX_TOTAL_BYTES.min(room.quota_bytes / 100 * MAX_QUOTA_PERCENT));
        }
        *self.shelf.borrow_mut() = Some(shelf);
    }

    fn with_shelf<T>(&self, work: impl FnOnce(&mut Shelf) -> T) -> Option<T> {
        self.shelf.borrow_mut().as_mut().map(work)
    }
}

impl Run {
    fn of(model: &LoadedModel, tokens: &[u32]) -> Option<Self> {
        let PageLayout { url, layout, .. } = model.page_layout()?;
        let page_tokens = model.page_tokens() as usize;
        let key = |digest| PageKey { model: url.clone(), layout: layout.clone(), digest };
        let worth = PageWorth {
            bytes: model.page_bytes(),
            tokens: model.page_tokens(),
            prefill_ms_per_token: model.prefill_ms_per_token(),
        };
        Some(Self {
            keys: page_digests(tokens, page_tokens).into_iter().map(key).collect(),
            page_tokens,
            worth,
        })
    }

    fn tokens_of<'a>(&self, page: usize, tokens: &'a [u32]) -> &'a [u32] {
        &tokens[page * self.page_tokens..(page + 1) * self.page_tokens]
    }
}

fn token_ids(tokens: &[u32]) -> Vec<TokenId> {
    tokens.iter().copied().map(TokenId).collect()
}
