//! Who may have more pages, and when the pool should grow.
//!
//! In this order: empty pages, a larger pool, cached pages (the cache chooses which), and only then does anybody give way.

use std::collections::HashSet;

use super::Scheduler;
use super::shares::OwnerBudget;
use crate::ids::{BlockId, OwnerId, SequenceId};

/// What happened to an owner, not to one of its sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerEvent {
    /// Cached pages of it were taken for others.
    Evicted {
        /// How many.
        pages: u32,
        /// Tokens that they held.
        tokens: u32,
    },
    /// It may hold more or less than before.
    BudgetChanged {
        /// Now.
        budget_tokens: u32,
        /// Before.
        previous_tokens: u32,
        /// Live owners.
        num_owners: u32,
    },
}

impl Scheduler {
    pub(crate) fn add_owner(&mut self, owner: OwnerId) {
        self.shares.add(owner);
        self.budgets_changed();
    }

    /// The owner has nothing running any more: the engine has seen to that.
    pub(crate) fn remove_owner(&mut self, owner: OwnerId) {
        self.shares.remove(owner);
        self.owners.forget(owner);
        self.kv.forget_owner(owner);
        self.budgets_changed();
    }

    pub(crate) fn set_owner_budget(&mut self, owner: OwnerId, budget: OwnerBudget) {
        self.shares.set_budget(owner, budget);
        self.budgets_changed();
    }

    pub(crate) fn budget_tokens(&self, owner: OwnerId) -> u32 {
        self.shares.budget_tokens(owner)
    }

    /// The live owners, in order.
    pub(crate) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.shares.owners()
    }

    pub(crate) fn is_live(&self, owner: OwnerId) -> bool {
        self.shares.owners().any(|live| live == owner)
    }

    pub(crate) fn is_paused(&self, owner: OwnerId) -> bool {
        self.shares.is_paused(owner)
    }

    /// A paused owner's sequences lose their pages and wait, whatever comes free.
    pub(crate) fn pause_owner(&mut self, owner: OwnerId, is_paused: bool) {
        self.shares.set_paused(owner, is_paused);
        if is_paused {
            let running: Vec<SequenceId> =
                self.running.iter().copied().filter(|id| self.sequence(*id).owner == owner).collect();
            for id in running {
                self.preempt(id);
            }
        }
    }

    /// What owners have not been told yet.
    pub(crate) fn take_owner_events(&mut self) -> Vec<(OwnerId, OwnerEvent)> {
        let mut events = std::mem::take(&mut self.owner_events);
        let mut evicted = self.kv.take_evicted();
        evicted.sort_unstable();
        for same in evicted.chunk_by(|a, b| a == b) {
            let pages = same.len() as u32;
            let tokens = pages * self.limits.block_size_tokens;
            events.push((same[0], OwnerEvent::Evicted { pages, tokens }));
        }
        events
    }

    /// The size that the pool should have, where it should grow: what waits first and the next row of each that runs should not
    /// cost anybody their cached pages.
    pub(crate) fn wanted_blocks(&self) -> Option<u32> {
        let total = self.kv.counts().total;
        if total >= self.max_blocks {
            return None;
        }
        let missing = self.find_missing(self.next_admission())?;
        Some((total + missing.next_multiple_of(self.slab_blocks)).min(self.max_blocks))
    }

    /// True when a sequence cannot start before the pool has grown.
    pub(super) fn waits_for_growth(&self, id: SequenceId) -> bool {
        self.kv.counts().total < self.max_blocks && self.find_missing(Some(id)).is_some()
    }

    /// Pages that there are too few of empty ones, for a sequence to start and those that run to have their next row.
    fn find_missing(&self, starting: Option<SequenceId>) -> Option<u32> {
        let to_start = starting.map_or(0, |id| self.kv.num_new(self.sequence(id).tokens_to_admit()));
        let to_go_on: u32 = self.running.iter().map(|id| self.num_pages_for_row(*id)).sum();
        (to_start + to_go_on).checked_sub(self.kv.num_free()).filter(|missing| *missing > 0)
    }

    /// The pool has another size now. `is_largest`: there is no room for more, whatever was thought.
    pub(crate) fn set_num_blocks(&mut self, num_blocks: u32, is_largest: bool) {
        self.kv.resize(num_blocks);
        if is_largest {
            self.max_blocks = num_blocks;
            self.shares.set_pool_tokens(num_blocks * self.limits.block_size_tokens);
            self.budgets_changed();
        }
    }

    /// True when the owner has other things running and would hold more than its budget with `num_pages` more in use.
    pub(super) fn exceeds_budget(&self, owner: OwnerId, num_pages: u32) -> bool {
        let own =
            || self.running.iter().map(|id| self.sequence(*id)).filter(|sequence| sequence.owner == owner);
        if own().next().is_none() {
            return false;
        }
        let mut seen: HashSet<BlockId> = HashSet::new();
        for sequence in own() {
            seen.extend(sequence.table.blocks().iter().chain(&sequence.originals));
        }
        // Of a page that others have too, its part.
        let charge: f64 = seen.iter().map(|block| 1.0 / self.kv.owners_of(*block).len().max(1) as f64).sum();
        let budget_pages = self.budget_tokens(owner) / self.limits.block_size_tokens;
        charge + f64::from(num_pages) > f64::from(budget_pages)
    }

    fn budgets_changed(&mut self) {
        let block_size = self.limits.block_size_tokens;
        self.kv.set_budgets(
            self.shares.budgets().into_iter().map(|(owner, tokens)| (owner, tokens / block_size)).collect(),
        );
        let num_owners = self.shares.num_owners();
        for change in self.shares.take_changes() {
            let (budget_tokens, previous_tokens) = (change.budget_tokens, change.previous_tokens);
            self.owner_events.push((
                change.owner,
                OwnerEvent::BudgetChanged { budget_tokens, previous_tokens, num_owners },
            ));
        }
    }
}
