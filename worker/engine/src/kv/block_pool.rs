//! Which pages of the KV cache are free, cached or held, by how many, and in which order cached ones were let go.
//!
//! Owns reference counts; knows neither tokens nor owners. Free blocks are handed out lowest number first, so that the
//! pool can be made smaller from its end. Nothing is allocated but when the pool grows.

use crate::ids::BlockId;

/// What becomes of a block that nobody holds any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// Its content is worth nothing: it is free.
    Free,
    /// Its content may be asked for again: it is cached, and was used last of all.
    Cached,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    ref_count: u32,
    /// Neighbours in the list of cached blocks; meaningful while it is in that.
    previous: u32,
    next: u32,
    is_free: bool,
}

/// Blocks in one of three states.
///
/// Invariant: a block is held when its reference count is not 0, otherwise either free or in the list of cached blocks.
#[derive(Debug)]
pub struct BlockPool {
    /// The first is the sentinel of the list of cached blocks, the one that was let go first comes after it; block `b` is
    /// number `b + 1`.
    entries: Vec<Entry>,
    /// No block below this one is free.
    lowest_free: u32,
    num_free: u32,
    num_cached: u32,
}

impl BlockPool {
    /// `num_blocks` free blocks.
    pub fn new(num_blocks: u32) -> Self {
        let mut pool = Self { entries: vec![Entry::default()], lowest_free: 0, num_free: 0, num_cached: 0 };
        pool.grow(num_blocks);
        pool
    }

    /// Blocks in all.
    pub fn num_blocks(&self) -> u32 {
        self.entries.len() as u32 - 1
    }

    /// Blocks without content.
    pub fn num_free(&self) -> u32 {
        self.num_free
    }

    /// Blocks that nobody holds and that have content.
    pub fn num_cached(&self) -> u32 {
        self.num_cached
    }

    /// How many hold a block.
    pub fn ref_count(&self, block: BlockId) -> u32 {
        self.entry(block).ref_count
    }

    /// True when the block has no content.
    pub fn is_free(&self, block: BlockId) -> bool {
        self.entry(block).is_free
    }

    /// Blocks up to and including the last one that is held.
    pub fn num_to_last_held(&self) -> u32 {
        let is_held = |entry: &Entry| entry.ref_count > 0;
        self.entries.iter().rposition(is_held).map_or(0, |index| index as u32)
    }

    /// Hands out the lowest free block with one reference.
    pub fn take(&mut self) -> Option<BlockId> {
        if self.num_free == 0 {
            return None;
        }
        while !self.is_free(BlockId(self.lowest_free)) {
            self.lowest_free += 1;
        }
        let block = BlockId(self.lowest_free);
        let entry = self.entry_mut(block);
        (entry.is_free, entry.ref_count) = (false, 1);
        self.num_free -= 1;
        Some(block)
    }

    /// Adds a reference to a block that is held or cached.
    ///
    /// # Panics
    /// When the block is free: there is nothing in it that one could want.
    pub fn retain(&mut self, block: BlockId) {
        assert!(!self.is_free(block), "a block without content is taken, not retained");
        if self.entry(block).ref_count == 0 {
            self.unlink(block);
        }
        self.entry_mut(block).ref_count += 1;
    }

    /// Drops a reference; after the last one the block is free or cached.
    ///
    /// # Panics
    /// When nobody holds the block: a double release would hand one block to two sequences.
    pub fn release(&mut self, block: BlockId, reuse: Reuse) {
        let entry = self.entry_mut(block);
        assert!(entry.ref_count > 0, "a block is released once for every time it was taken or retained");
        entry.ref_count -= 1;
        if entry.ref_count == 0 {
            match reuse {
                Reuse::Free => self.free(block),
                Reuse::Cached => self.link_last(block),
            }
        }
    }

    /// A cached block loses its content.
    pub fn free_cached(&mut self, block: BlockId) {
        self.unlink(block);
        self.free(block);
    }

    /// A cached block counts as used last of all.
    pub fn touch(&mut self, block: BlockId) {
        self.unlink(block);
        self.link_last(block);
    }

    /// The cached blocks, beginning with the one that was let go first.
    pub fn cached(&self) -> impl Iterator<Item = BlockId> {
        std::iter::successors(self.number_after(0), |number| self.number_after(*number))
            .map(|number| BlockId(number - 1))
    }

    /// Adds free blocks at the end.
    pub fn grow(&mut self, num_blocks: u32) {
        let num_added = num_blocks.saturating_sub(self.num_blocks());
        let free = Entry { is_free: true, ..Entry::default() };
        self.entries.resize((self.num_blocks() + num_added) as usize + 1, free);
        self.num_free += num_added;
    }

    /// Removes blocks at the end.
    ///
    /// # Panics
    /// When one of them is not free.
    pub fn shrink(&mut self, num_blocks: u32) {
        let num_removed = self.num_blocks().saturating_sub(num_blocks);
        let removed = (num_blocks..num_blocks + num_removed).map(BlockId);
        assert!(removed.into_iter().all(|block| self.is_free(block)), "only free blocks go away");
        self.entries.truncate((self.num_blocks() - num_removed) as usize + 1);
        self.num_free -= num_removed;
        self.lowest_free = self.lowest_free.min(num_blocks);
    }

    fn free(&mut self, block: BlockId) {
        self.entry_mut(block).is_free = true;
        self.lowest_free = self.lowest_free.min(block.0);
        self.num_free += 1;
    }

    fn link_last(&mut self, block: BlockId) {
        let number = block.0 + 1;
        let last = self.entries[0].previous;
        let entry = self.entry_mut(block);
        (entry.previous, entry.next) = (last, 0);
        self.entries[last as usize].next = number;
        self.entries[0].previous = number;
        self.num_cached += 1;
    }

    fn unlink(&mut self, block: BlockId) {
        let Entry { previous, next, .. } = *self.entry(block);
        self.entries[previous as usize].next = next;
        self.entries[next as usize].previous = previous;
        self.num_cached -= 1;
    }

    fn number_after(&self, number: u32) -> Option<u32> {
        let next = self.entries[number as usize].next;
        (next != 0).then_some(next)
    }

    fn entry(&self, block: BlockId) -> &Entry {
        &self.entries[block.index() + 1]
    }

    fn entry_mut(&mut self, block: BlockId) -> &mut Entry {
        &mut self.entries[block.index() + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(pool: &mut BlockPool) -> Vec<u32> {
        std::iter::from_fn(|| pool.take()).map(|block| block.0).collect()
    }

    fn cached(pool: &BlockPool) -> Vec<u32> {
        pool.cached().map(|block| block.0).collect()
    }

    #[test]
    fn exhaustion_is_a_value() {
        let mut pool = BlockPool::new(2);
        assert_eq!(take_all(&mut pool), [0, 1]);
        assert_eq!(pool.take(), None);
        assert_eq!(BlockPool::new(0).take(), None);
    }

    #[test]
    fn the_lowest_free_block_is_taken_first() {
        let mut pool = BlockPool::new(4);
        let held: Vec<BlockId> = (0..3).filter_map(|_| pool.take()).collect();
        for index in [2, 0, 1] {
            pool.release(held[index], Reuse::Free);
        }
        assert_eq!(take_all(&mut pool), [0, 1, 2, 3]);
    }

    #[test]
    fn cached_blocks_stay_in_the_order_in_which_they_were_let_go_or_touched() {
        let mut pool = BlockPool::new(4);
        let held: Vec<BlockId> = (0..4).filter_map(|_| pool.take()).collect();
        for index in [3, 1, 0, 2] {
            pool.release(held[index], Reuse::Cached);
        }
        pool.touch(BlockId(1));
        pool.retain(BlockId(0));
        assert_eq!((cached(&pool), pool.num_cached(), pool.take()), (vec![3, 2, 1], 3, None));
        pool.free_cached(BlockId(2));
        assert_eq!((cached(&pool), take_all(&mut pool)), (vec![3, 1], vec![2]));
    }

    #[test]
    fn a_shared_block_comes_free_with_its_last_release() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().unwrap();
        pool.retain(block);
        pool.release(block, Reuse::Free);
        assert_eq!((pool.num_free(), pool.ref_count(block)), (0, 1));
        pool.release(block, Reuse::Free);
        assert_eq!((pool.num_free(), pool.ref_count(block)), (1, 0));
    }

    #[test]
    fn a_pool_grows_and_shrinks_at_its_end() {
        let mut pool = BlockPool::new(2);
        assert_eq!(take_all(&mut pool), [0, 1]);
        pool.grow(4);
        assert_eq!((take_all(&mut pool), pool.num_to_last_held()), (vec![2, 3], 4));
        pool.release(BlockId(3), Reuse::Free);
        pool.release(BlockId(0), Reuse::Free);
        assert_eq!(pool.num_to_last_held(), 3);
        pool.shrink(3);
        assert_eq!((pool.num_blocks(), pool.num_free(), take_all(&mut pool)), (3, 1, vec![0]));
    }

    #[test]
    #[should_panic(expected = "only free blocks")]
    fn a_held_block_does_not_go_away() {
        let mut pool = BlockPool::new(1);
        pool.take();
        pool.shrink(0);
    }

    #[test]
    #[should_panic(expected = "released once")]
    fn a_double_release_is_a_broken_invariant() {
        let mut pool = BlockPool::new(1);
        let block = pool.take().unwrap();
        pool.release(block, Reuse::Free);
        pool.release(block, Reuse::Free);
    }
}
