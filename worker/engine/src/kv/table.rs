//! The pages of one sequence in order, and where each of its tokens lies.

use crate::ids::{BlockId, OwnerId, Slot};

/// A sequence's block table. Full blocks whose tokens are known may be shared with other sequences; the rest are this
/// sequence's own. Only full blocks are ever shared, so nobody writes to a shared block and copy-on-write is not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockTable {
    pub(super) owner: OwnerId,
    pub(super) blocks: Vec<BlockId>,
    /// Leading blocks that are in the prefix index.
    pub(super) num_registered: usize,
}

impl BlockTable {
    /// A table without blocks, whose blocks will be this owner's.
    pub fn new(owner: OwnerId) -> Self {
        Self { owner, blocks: Vec::new(), num_registered: 0 }
    }

    /// The blocks in order.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// Leading blocks that others may share.
    pub fn num_registered(&self) -> usize {
        self.num_registered
    }

    /// Where the token at `position` lies.
    ///
    /// # Panics
    /// When the table does not reach that far: a write to a made-up slot would damage somebody else's tokens.
    pub fn slot(&self, position: u32, block_size_tokens: u32) -> Slot {
        let block = self.blocks.get((position / block_size_tokens) as usize);
        let block = block.expect("a row is planned only after its block was allocated");
        Slot(block.0 * block_size_tokens + position % block_size_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_blocks() {
        let table = BlockTable { blocks: vec![BlockId(5), BlockId(2)], ..BlockTable::new(OwnerId(0)) };
        assert_eq!(table.slot(0, 4), Slot(20));
        assert_eq!(table.slot(3, 4), Slot(23));
        assert_eq!(table.slot(4, 4), Slot(8));
    }

    #[test]
    #[should_panic(expected = "planned only after")]
    fn a_position_beyond_the_table_is_a_broken_invariant() {
        BlockTable::new(OwnerId(0)).slot(0, 4);
    }
}
