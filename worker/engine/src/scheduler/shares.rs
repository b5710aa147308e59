//! What each live tab may hold: its budget of pages, and whether it is paused.
//!
//! A fixed budget is what its tab asked for; the rest of the pool, at its largest, is divided evenly among the others. A share
//! never falls below what a short conversation needs: where there are more tabs than that allows, they share by pressure. Knows
//! budgets only; what is held is the cache's business.

use std::collections::BTreeMap;

use crate::ids::OwnerId;

/// A fair share is never smaller than this, unless the window or the pool is.
const MIN_FAIR_TOKENS: u32 = 512;

/// What an owner may hold of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OwnerBudget {
    /// An even part of what fixed budgets leave.
    #[default]
    Fair,
    /// So many tokens, but no more than the pool has.
    Tokens(u32),
}

/// The live owners.
#[derive(Debug)]
pub(super) struct Shares {
    owners: BTreeMap<OwnerId, Share>,
    /// Tokens of the pool at its largest.
    pool_tokens: u32,
    window_tokens: u32,
    /// Budgets that were in force when somebody last asked what had changed.
    known: BTreeMap<OwnerId, u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Share {
    budget: OwnerBudget,
    is_paused: bool,
}

/// An owner's budget is another than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BudgetChange {
    pub(super) owner: OwnerId,
    pub(super) budget_tokens: u32,
    pub(super) previous_tokens: u32,
}

impl Shares {
    pub(super) fn new(pool_tokens: u32, window_tokens: u32) -> Self {
        Self { owners: BTreeMap::new(), pool_tokens, window_tokens, known: BTreeMap::new() }
    }

    pub(super) fn num_owners(&self) -> u32 {
        self.owners.len() as u32
    }

    pub(super) fn owners(&self) -> impl Iterator<Item = OwnerId> {
        self.owners.keys().copied()
    }

    pub(super) fn add(&mut self, owner: OwnerId) {
        self.owners.entry(owner).or_default();
    }

    pub(super) fn remove(&mut self, owner: OwnerId) {
        self.owners.remove(&owner);
        self.known.remove(&owner);
    }

    pub(super) fn set_budget(&mut self, owner: OwnerId, budget: OwnerBudget) {
        self.owners.entry(owner).or_default().budget = budget;
    }

    pub(super) fn set_paused(&mut self, owner: OwnerId, is_paused: bool) {
        self.owners.entry(owner).or_default().is_paused = is_paused;
    }

    pub(super) fn is_paused(&self, owner: OwnerId) -> bool {
        self.owners.get(&owner).is_some_and(|share| share.is_paused)
    }

    /// The pool cannot become as large as was thought.
    pub(super) fn set_pool_tokens(&mut self, pool_tokens: u32) {
        self.pool_tokens = pool_tokens;
    }

    /// What the owner may hold now, in tokens.
    pub(super) fn budget_tokens(&self, owner: OwnerId) -> u32 {
        match self.owners.get(&owner).map_or(OwnerBudget::Fair, |share| share.budget) {
            OwnerBudget::Tokens(tokens) => tokens.min(self.pool_tokens),
            OwnerBudget::Fair => self.fair_tokens(),
        }
    }

    /// All budgets, in tokens.
    pub(super) fn budgets(&self) -> BTreeMap<OwnerId, u32> {
        self.owners.keys().map(|owner| (*owner, self.budget_tokens(*owner))).collect()
    }

    /// Budgets that are others than at the last call. An owner's first is no change.
    pub(super) fn take_changes(&mut self) -> Vec<BudgetChange> {
        let now = self.budgets();
        let before = std::mem::replace(&mut self.known, now.clone());
        let change = |(owner, budget_tokens): (OwnerId, u32)| {
            let previous_tokens = *before.get(&owner)?;
            (previous_tokens != budget_tokens).then_some(BudgetChange {
                owner,
                budget_tokens,
                previous_tokens,
            })
        };
        now.into_iter().filter_map(change).collect()
    }

    fn fair_tokens(&self) -> u32 {
        let mut left = self.pool_tokens;
        let mut num_fair = 0;
        for share in self.owners.values() {
            match share.budget {
                OwnerBudget::Fair => num_fair += 1,
                OwnerBudget::Tokens(tokens) => left = left.saturating_sub(tokens),
            }
        }
        let least = MIN_FAIR_TOKENS.min(self.window_tokens).min(self.pool_tokens);
        (left / num_fair.max(1)).max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(budgets: &[OwnerBudget]) -> Shares {
        let mut shares = Shares::new(8192, 2048);
        for (index, budget) in budgets.iter().enumerate() {
            shares.set_budget(OwnerId(index as u64), *budget);
        }
        shares
    }

    fn budgets(shares: &Shares) -> Vec<u32> {
        shares.budgets().into_values().collect()
    }

    #[test]
    fn what_fixed_budgets_leave_is_divided_evenly() {
        use OwnerBudget::{Fair, Tokens};
        assert_eq!(budgets(&shares(&[Fair])), [8192]);
        assert_eq!(budgets(&shares(&[Fair, Fair])), [4096, 4096]);
        assert_eq!(budgets(&shares(&[Fair, Tokens(2000), Fair])), [3096, 2000, 3096]);
        assert_eq!(budgets(&shares(&[Tokens(100_000), Fair])), [8192, 512], "nobody has more than there is");
        assert_eq!(budgets(&shares(&[Fair; 50])), [512; 50], "nor less than a short conversation needs");
    }

    #[test]
    fn changes_are_told_once_and_not_to_newcomers() {
        let mut shares = shares(&[OwnerBudget::Fair]);
        assert_eq!(shares.take_changes(), []);
        shares.add(OwnerId(9));
        let change = |budget_tokens, previous_tokens| BudgetChange {
            owner: OwnerId(0),
            budget_tokens,
            previous_tokens,
        };
        assert_eq!(shares.take_changes(), [change(4096, 8192)]);
        assert_eq!(shares.take_changes(), []);
        shares.remove(OwnerId(9));
        assert_eq!(shares.take_changes(), [change(8192, 4096)]);
    }
}
