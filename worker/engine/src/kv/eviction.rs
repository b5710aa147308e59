//! Which cached pages go, and in what order.
//!
//! First those that no owner has any more; then those of owners that are over their budgets, as many of each as to leave them
//! equally far over it; within each the longest unused, so that tails go before what they follow. A page that an owner within
//! its budget has too is spared until nothing else is left; then the longest unused of all go. Finding pages takes a few walks
//! over the cached ones, for any number of pages that go at once.

use std::collections::BTreeMap;

use super::KvCache;
use crate::ids::{BlockId, OwnerId};

impl KvCache {
    /// Sees to it that so many pages are empty, for an owner that is about to take them. False, and nothing has changed, where
    /// too few could be.
    pub(super) fn make_empty(&mut self, num_pages: u32, taker: OwnerId) -> bool {
        if num_pages > self.num_available() {
            return false;
        }
        let missing = |cache: &Self| num_pages.saturating_sub(cache.pool.num_free()) as usize;
        if missing(self) == 0 {
            return true;
        }
        let unowned = |block: &BlockId| self.holders.of(*block).is_empty();
        let victims: Vec<_> = self.pool.cached().filter(unowned).take(missing(self)).collect();
        self.evict(&victims);
        while missing(self) > 0 {
            let victims = self.find_over_budget(missing(self) as u32, taker);
            if victims.is_empty() {
                break;
            }
            self.evict(&victims);
        }
        let victims: Vec<_> = self.pool.cached().take(missing(self)).collect();
        self.evict(&victims);
        true
    }

    /// Frees the cached pages that only this owner has; returns how many. Of others it has no part any more.
    pub fn evict_owner(&mut self, owner: OwnerId) -> u32 {
        let num_free = self.pool.num_free();
        let cached: Vec<_> =
            self.pool.cached().filter(|block| self.holders.of(*block).contains(&owner)).collect();
        for block in &cached {
            self.holders.remove(*block, owner);
        }
        let own: Vec<_> = cached.into_iter().filter(|block| self.holders.of(*block).is_empty()).collect();
        self.evict(&own);
        self.pool.num_free() - num_free
    }

    /// Cached pages lose their content, and so do those that follow them: nobody could find those. Owners are noted down.
    pub(super) fn evict(&mut self, blocks: &[BlockId]) {
        let mut gone = std::mem::take(&mut self.spare_blocks);
        for block in blocks {
            // It may have followed another.
            if self.is_cached(*block) {
                self.prefixes.forget(*block, &mut gone);
                gone.push(*block);
            }
            for block in gone.drain(..) {
                // One that is in use becomes empty when it is let go of.
                if self.pool.ref_count(block) == 0 {
                    self.evicted.extend(self.holders.of(block));
                    self.holders.clear(block);
                    self.pool.free_cached(block);
                }
            }
        }
        self.spare_blocks = gone;
    }

    /// At most `num_pages` cached pages of owners that are over their budgets, or will be when the taker has its pages.
    fn find_over_budget(&self, num_pages: u32, taker: OwnerId) -> Vec<BlockId> {
        // By how much each is over, and how many pages it gives.
        let mut over: BTreeMap<OwnerId, (f64, u32)> = BTreeMap::new();
        for (owner, budget) in &self.budgets {
            let about_to_take = if *owner == taker { num_pages } else { 0 };
            let excess = self.holders.charge(*owner) + f64::from(about_to_take) - f64::from(*budget);
            if excess > 0.0 {
                over.insert(*owner, (excess, 0));
            }
        }
        for _ in 0..num_pages {
            let most =
                over.values_mut().max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(excess, _)| *excess > 0.0);
            let Some((excess, quota)) = most else { break };
            *excess -= 1.0;
            *quota += 1;
        }
        let mut victims = Vec::new();
        for block in self.pool.cached() {
            if victims.len() >= num_pages as usize {
                break;
            }
            let owners = self.holders.of(block);
            if owners.iter().all(|owner| over.contains_key(owner))
                && let Some(owner) = owners.iter().find(|owner| over[*owner].1 > 0)
            {
                over.entry(*owner).and_modify(|(_, quota)| *quota -= 1);
                victims.push(block);
            }
        }
        victims
    }
}
