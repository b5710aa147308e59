//! Which owners have which pages, in use or cached, and what each is charged for them.
//!
//! A page that several have is charged to each in equal parts. Charges are kept as counts of pages by how many have them, so
//! that they are exact however often they change, and known without looking at the pages. The lists of a page and of an owner
//! keep their room: pages that come and go allocate nothing. Knows neither tokens nor reference counts.

use std::collections::BTreeMap;

use crate::ids::{BlockId, OwnerId};

/// Pages that `index + 1` owners have.
type PagesByOwners = Vec<u32>;

/// The owners of every page.
#[derive(Debug)]
pub(super) struct Holders {
    /// Sorted; empty for a page whose owners are all gone, and for one that nobody ever had.
    of_block: Vec<Vec<OwnerId>>,
    pages: BTreeMap<OwnerId, PagesByOwners>,
}

impl Holders {
    pub(super) fn new(num_blocks: u32) -> Self {
        Self { of_block: vec![Vec::new(); num_blocks as usize], pages: BTreeMap::new() }
    }

    pub(super) fn of(&self, block: BlockId) -> &[OwnerId] {
        &self.of_block[block.index()]
    }

    /// The owner has the page too.
    pub(super) fn add(&mut self, block: BlockId, owner: OwnerId) {
        if let Err(at) = self.of(block).binary_search(&owner) {
            self.change(block, |owners| owners.insert(at, owner));
        }
    }

    /// The owner has the page alone: its content is new.
    pub(super) fn replace(&mut self, block: BlockId, owner: OwnerId) {
        self.change(block, |owners| {
            owners.clear();
            owners.push(owner);
        });
    }

    /// Nobody has the page.
    pub(super) fn clear(&mut self, block: BlockId) {
        self.change(block, Vec::clear);
    }

    /// The owner has the page no more.
    pub(super) fn remove(&mut self, block: BlockId, owner: OwnerId) {
        self.change(block, |owners| owners.retain(|other| *other != owner));
    }

    /// The owner has nothing any more.
    pub(super) fn forget(&mut self, owner: OwnerId) {
        for block in (0..self.of_block.len() as u32).map(BlockId) {
            if self.of(block).contains(&owner) {
                self.remove(block, owner);
            }
        }
        self.pages.remove(&owner);
    }

    /// Pages charged to an owner.
    pub(super) fn charge(&self, owner: OwnerId) -> f64 {
        let parts = |pages: &PagesByOwners| -> f64 {
            pages.iter().zip(1u32..).map(|(pages, owners)| f64::from(*pages) / f64::from(owners)).sum()
        };
        self.pages.get(&owner).map_or(0.0, parts)
    }

    pub(super) fn resize(&mut self, num_blocks: u32) {
        self.of_block.resize_with(num_blocks as usize, Vec::new);
    }

    /// Whether what is charged is what a look at all pages gives.
    pub(super) fn is_exact(&self) -> bool {
        let mut counted = Self::new(self.of_block.len() as u32);
        for (owners, block) in self.of_block.iter().zip((0..).map(BlockId)) {
            counted.change(block, |counted| counted.extend_from_slice(owners));
        }
        let mut owners = self.pages.keys().chain(counted.pages.keys());
        self.of_block.iter().all(|owners| owners.is_sorted())
            && owners.all(|owner| self.charge(*owner) == counted.charge(*owner))
    }

    fn change(&mut self, block: BlockId, change: impl FnOnce(&mut Vec<OwnerId>)) {
        let owners = &mut self.of_block[block.index()];
        for owner in &*owners {
            let pages = self.pages.get_mut(owner).expect("whoever has a page is charged for it");
            pages[owners.len() - 1] -= 1;
        }
        change(owners);
        for owner in &*owners {
            let pages = self.pages.entry(*owner).or_default();
            if pages.len() < owners.len() {
                pages.resize(owners.len(), 0);
            }
            pages[owners.len() - 1] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: OwnerId = OwnerId(1);
    const B: OwnerId = OwnerId(2);

    #[test]
    fn shared_pages_are_charged_in_parts_and_what_is_charged_adds_up() {
        let mut holders = Holders::new(3);
        let charges = |holders: &Holders| [A, B].map(|owner| holders.charge(owner));
        holders.replace(BlockId(0), A);
        holders.replace(BlockId(1), B);
        holders.add(BlockId(1), A);
        holders.add(BlockId(1), A);
        assert_eq!(charges(&holders), [1.5, 0.5]);
        assert_eq!(holders.of(BlockId(1)), [A, B]);
        holders.forget(B);
        assert_eq!(charges(&holders), [2.0, 0.0]);
        holders.remove(BlockId(0), A);
        assert!(holders.is_exact());
        holders.clear(BlockId(1));
        assert_eq!(charges(&holders), [0.0, 0.0]);
    }

    #[test]
    fn a_wrong_charge_is_seen() {
        let mut holders = Holders::new(1);
        holders.replace(BlockId(0), A);
        holders.of_block[0].push(B);
        assert!(!holders.is_exact());
    }
}
