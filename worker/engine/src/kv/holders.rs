//! Which owners have which pages, in use or cached, and what each is charged for them.
//!
//! A page that several have is charged to each in equal parts. Knows neither tokens nor reference counts.

use std::collections::BTreeMap;

use crate::ids::{BlockId, OwnerId};

/// The owners of every page.
#[derive(Debug)]
pub(super) struct Holders {
    /// Sorted; empty for a page whose owners are all gone, and for one that nobody ever had.
    of_block: Vec<Vec<OwnerId>>,
}

impl Holders {
    pub(super) fn new(num_blocks: u32) -> Self {
        Self { of_block: vec![Vec::new(); num_blocks as usize] }
    }

    pub(super) fn of(&self, block: BlockId) -> &[OwnerId] {
        &self.of_block[block.index()]
    }

    /// The owner has the page too.
    pub(super) fn add(&mut self, block: BlockId, owner: OwnerId) {
        let owners = &mut self.of_block[block.index()];
        if let Err(at) = owners.binary_search(&owner) {
            owners.insert(at, owner);
        }
    }

    /// The owner has the page alone: its content is new.
    pub(super) fn replace(&mut self, block: BlockId, owner: OwnerId) {
        let owners = &mut self.of_block[block.index()];
        owners.clear();
        owners.push(owner);
    }

    /// Nobody has the page.
    pub(super) fn clear(&mut self, block: BlockId) {
        self.of_block[block.index()].clear();
    }

    /// The owner has the page no more.
    pub(super) fn remove(&mut self, block: BlockId, owner: OwnerId) {
        self.of_block[block.index()].retain(|other| *other != owner);
    }

    /// The owner has nothing any more.
    pub(super) fn forget(&mut self, owner: OwnerId) {
        for owners in &mut self.of_block {
            owners.retain(|other| *other != owner);
        }
    }

    /// Pages charged to each owner.
    pub(super) fn charges(&self) -> BTreeMap<OwnerId, f64> {
        let mut charges = BTreeMap::new();
        for owners in &self.of_block {
            for owner in owners {
                *charges.entry(*owner).or_insert(0.0) += 1.0 / owners.len() as f64;
            }
        }
        charges
    }

    pub(super) fn resize(&mut self, num_blocks: u32) {
        self.of_block.resize_with(num_blocks as usize, Vec::new);
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
        holders.replace(BlockId(0), A);
        holders.replace(BlockId(1), B);
        holders.add(BlockId(1), A);
        holders.add(BlockId(1), A);
        assert_eq!(holders.charges(), BTreeMap::from([(A, 1.5), (B, 0.5)]));
        assert_eq!(holders.of(BlockId(1)), [A, B]);
        holders.forget(B);
        assert_eq!(holders.charges(), BTreeMap::from([(A, 2.0)]));
        holders.remove(BlockId(0), A);
        holders.clear(BlockId(1));
        assert!(holders.charges().is_empty());
    }
}
