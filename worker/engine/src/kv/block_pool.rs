//! Which pages of the KV cache are in use, by how many, and which one goes next.
//!
//! Owns reference counts and the order of reuse; knows neither tokens nor sequences. Taking, sharing and releasing a
//! block are all O(1): the list of unused blocks is threaded through the block vector, so nothing is allocated after
//! construction.

use crate::ids::BlockId;

/// When a released block is handed out again, among the unused ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Next: its content is worth nothing.
    First,
    /// After all others that are unused now: its content may be asked for again.
    Last,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    ref_count: u32,
    /// Neighbours in the list of unused blocks; meaningful while `ref_count` is 0.
    previous: u32,
    next: u32,
}

/// A number of blocks that changes only by [`BlockPool::resize`].
///
/// Invariant: a block is in the list of unused blocks exactly when its reference count is 0.
#[derive(Debug)]
pub struct BlockPool {
    entries: Vec<Entry>,
    /// The sentinel's: the list's front is after it, its back before it.
    ends: Entry,
    num_unused: u32,
}

/// Stands before the first and after the last block of the list.
const SENTINEL: u32 = u32::MAX;

impl BlockPool {
    /// `num_blocks` unused blocks, handed out in the order of their ids at first.
    pub fn new(num_blocks: u32) -> Self {
        let ends = Entry { ref_count: 0, previous: SENTINEL, next: SENTINEL };
        let mut pool = Self { entries: Vec::new(), ends, num_unused: 0 };
        pool.resize(num_blocks);
        pool
    }

    /// Adds unused blocks, which come before all others that are unused, or takes away those with the highest ids.
    ///
    /// # Panics
    /// When a block that would go is held.
    pub fn resize(&mut self, num_blocks: u32) {
        while self.num_blocks() > num_blocks {
            let last = BlockId(self.num_blocks() - 1);
            assert_eq!(self.ref_count(last), 0, "only unused blocks are taken away");
            self.retain(last);
            self.entries.pop();
        }
        let old = self.num_blocks();
        self.entries.resize(num_blocks as usize, Entry { ref_count: 1, previous: SENTINEL, next: SENTINEL });
        // The last first, so that low ids are handed out first.
        for index in (old..num_blocks).rev() {
            self.release(BlockId(index), Reuse::First);
        }
    }

    /// The unused blocks in the order in which they would be handed out.
    pub fn unused(&self) -> impl Iterator<Item = BlockId> + '_ {
        let mut at = self.ends.next;
        std::iter::from_fn(move || {
            let block = (at != SENTINEL).then_some(BlockId(at))?;
            at = self.entries[at as usize].next;
            Some(block)
        })
    }

    /// Blocks in all.
    pub fn num_blocks(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Blocks that nobody holds; whether they still have reusable content is not known here.
    pub fn num_unused(&self) -> u32 {
        self.num_unused
    }

    /// How many hold a block.
    pub fn ref_count(&self, block: BlockId) -> u32 {
        self.entries[block.index()].ref_count
    }

    /// Hands out the next unused block with one reference; `None` when all are held.
    pub fn take(&mut self) -> Option<BlockId> {
        let block = self.unused().next()?;
        self.retain(block);
        Some(block)
    }

    /// Adds a reference to a block, held or not.
    pub fn retain(&mut self, block: BlockId) {
        let Entry { ref_count, previous, next } = self.entries[block.index()];
        if ref_count == 0 {
            self.neighbour(previous).next = next;
            self.neighbour(next).previous = previous;
            self.num_unused -= 1;
        }
        self.entries[block.index()].ref_count = ref_count + 1;
    }

    /// Drops a reference; the last one makes the block unused, to be handed out again as `reuse` says.
    ///
    /// # Panics
    /// When nobody holds the block: a double release would hand one block to two sequences.
    pub fn release(&mut self, block: BlockId, reuse: Reuse) {
        let ref_count = self.entries[block.index()].ref_count;
        assert!(ref_count > 0, "a block is released once for every time it was taken or retained");
        self.entries[block.index()].ref_count = ref_count - 1;
        if ref_count > 1 {
            return;
        }
        let (previous, next) = match reuse {
            Reuse::First => (SENTINEL, self.ends.next),
            Reuse::Last => (self.ends.previous, SENTINEL),
        };
        self.entries[block.index()] = Entry { ref_count: 0, previous, next };
        self.neighbour(previous).next = block.0;
        self.neighbour(next).previous = block.0;
        self.num_unused += 1;
    }

    fn neighbour(&mut self, index: u32) -> &mut Entry {
        if index == SENTINEL { &mut self.ends } else { &mut self.entries[index as usize] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(pool: &mut BlockPool) -> Vec<u32> {
        std::iter::from_fn(|| pool.take()).map(|block| block.0).collect()
    }

    #[test]
    fn exhaustion_is_a_value() {
        let mut pool = BlockPool::new(2);
        assert_eq!(take_all(&mut pool), [0, 1]);
        assert_eq!(pool.take(), None);
        assert_eq!(BlockPool::new(0).take(), None);
    }

    #[test]
    fn released_blocks_come_back_first_or_last() {
        let mut pool = BlockPool::new(4);
        let held: Vec<BlockId> = (0..3).filter_map(|_| pool.take()).collect();
        pool.release(held[0], Reuse::Last);
        pool.release(held[1], Reuse::First);
        pool.release(held[2], Reuse::Last);
        assert_eq!(take_all(&mut pool), [1, 3, 0, 2]);
    }

    #[test]
    fn a_shared_block_is_unused_after_its_last_release() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().unwrap();
        pool.retain(block);
        pool.release(block, Reuse::First);
        assert_eq!((pool.num_unused(), pool.ref_count(block)), (0, 1));
        pool.release(block, Reuse::First);
        assert_eq!((pool.num_unused(), pool.ref_count(block)), (1, 0));
    }

    #[test]
    fn an_unused_block_can_be_retained_out_of_the_middle() {
        let mut pool = BlockPool::new(3);
        pool.retain(BlockId(1));
        assert_eq!(pool.num_unused(), 2);
        assert_eq!(take_all(&mut pool), [0, 2]);
    }

    #[test]
    fn a_pool_grows_and_shrinks_by_its_unused_blocks() {
        let mut pool = BlockPool::new(2);
        let first = pool.take().unwrap();
        pool.resize(4);
        assert_eq!((pool.num_blocks(), pool.num_unused()), (4, 3));
        assert_eq!(pool.unused().map(|block| block.0).collect::<Vec<_>>(), [2, 3, 1]);
        pool.resize(1);
        assert_eq!((pool.num_blocks(), pool.num_unused(), pool.ref_count(first)), (1, 0, 1));
        assert_eq!(pool.take(), None);
    }

    #[test]
    #[should_panic(expected = "only unused blocks")]
    fn a_held_block_cannot_be_taken_away() {
        let mut pool = BlockPool::new(1);
        pool.take();
        pool.resize(0);
    }

    #[test]
    #[should_panic(expected = "released once")]
    fn a_double_release_is_a_broken_invariant() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().unwrap();
        pool.release(block, Reuse::First);
        pool.release(block, Reuse::First);
    }
}
