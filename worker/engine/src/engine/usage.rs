//! What an engine holds at a moment, and whose it is. Changes nothing.

use std::collections::BTreeMap;

use super::Engine;
use crate::ids::{BlockId, OwnerId};
use crate::kv::PageCounts;

/// What the engine holds at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineUsage {
    /// Pages of the cache by state.
    pub pages: PageCounts,
    /// Tokens in a page.
    pub block_size_tokens: u32,
    /// Tokens of prompt and reply together that one sequence can have.
    pub context_window_tokens: u32,
    /// Sequences with pages.
    pub running: u32,
    /// Sequences that wait for pages or a slot.
    pub waiting: u32,
    /// Measured milliseconds for `row_granularity` rows; none before the first step.
    pub ms_per_granule: Option<f64>,
    /// Every live owner, by id.
    pub owners: Vec<OwnerUsage>,
}

/// State of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageState {
    /// Empty.
    Free,
    /// Not in use, its content can be found.
    Cached,
    /// In use.
    Held,
}

/// One page of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageInfo {
    /// Its state.
    pub state: PageState,
    /// Whose it is, in order.
    pub owners: Vec<OwnerId>,
}

/// What one owner's sequences hold at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnerUsage {
    /// The owner.
    pub owner: OwnerId,
    /// Pages in use, a shared page divided among the owners that have it.
    pub held_pages: f64,
    /// Pages cached, counted likewise.
    pub cached_pages: f64,
    /// Pages, in use or cached, that another owner has too.
    pub shared_pages: u32,
    /// What it may hold.
    pub budget_tokens: u32,
    /// It waits until it is no longer paused.
    pub paused: bool,
    /// Tokens whose keys and values are in the cache.
    pub tokens: u32,
    /// Its sequences with pages.
    pub running: u32,
    /// Its sequences that wait.
    pub waiting: u32,
}

impl Engine {
    /// What is held by whom.
    pub fn usage(&self) -> EngineUsage {
        let kv = self.scheduler.kv();
        let mut owners: BTreeMap<OwnerId, OwnerUsage> =
            self.scheduler.owners().map(|owner| (owner, self.owner_usage(owner))).collect();
        for info in self.pages() {
            let part = 1.0 / info.owners.len().max(1) as f64;
            for owner in &info.owners {
                let usage = owners.entry(*owner).or_insert_with(|| self.owner_usage(*owner));
                *(if info.state == PageState::Held {
                    &mut usage.held_pages
                } else {
                    &mut usage.cached_pages
                }) += part;
                usage.shared_pages += u32::from(info.owners.len() > 1);
            }
        }
        for sequence in self.scheduler.sequences() {
            let usage = owners.entry(sequence.owner).or_insert_with(|| self.owner_usage(sequence.owner));
            usage.tokens += sequence.place_in_context(sequence.num_scheduled);
            *(if sequence.slot.is_some() { &mut usage.running } else { &mut usage.waiting }) += 1;
        }
        let running = self.scheduler.num_running() as u32;
        EngineUsage {
            pages: kv.counts(),
            block_size_tokens: kv.block_size_tokens(),
            context_window_tokens: self.context_window_tokens(),
            running,
            waiting: self.scheduler.sequences().count() as u32 - running,
            ms_per_granule: self.scheduler.ms_per_granule(),
            owners: owners.into_values().collect(),
        }
    }

    fn owner_usage(&self, owner: OwnerId) -> OwnerUsage {
        OwnerUsage {
            owner,
            held_pages: 0.0,
            cached_pages: 0.0,
            shared_pages: 0,
            budget_tokens: self.scheduler.budget_tokens(owner),
            paused: self.scheduler.is_paused(owner),
            tokens: 0,
            running: 0,
            waiting: 0,
        }
    }

    /// Every page of the pool, by number.
    pub fn pages(&self) -> Vec<PageInfo> {
        let kv = self.scheduler.kv();
        let blocks = (0..kv.counts().total).map(BlockId);
        blocks
            .map(|block| PageInfo {
                state: match (kv.ref_count(block), kv.is_cached(block)) {
                    (0, false) => PageState::Free,
                    (0, true) => PageState::Cached,
                    _ => PageState::Held,
                },
                owners: kv.owners_of(block).to_vec(),
            })
            .collect()
    }
}
