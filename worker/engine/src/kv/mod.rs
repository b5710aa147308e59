//! The paged KV cache without its memory: pages, tables, and prefixes that are stored once.
//!
//! Owns every change to a block table. A block is *held* while some table has it, *cached* when nobody has it but its
//! content can still be found, *free* otherwise. Free blocks are handed out before cached ones, cached ones in the
//! order in which they were let go, tails before the blocks that they follow.

pub mod block_pool;
pub mod prefix;
pub mod table;

use crate::ids::{BlockId, TokenId};
use block_pool::{BlockPool, Reuse};
use prefix::PrefixIndex;
pub use table::BlockTable;

/// Pages by state; the three sum to the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PageCounts {
    /// Pages in all.
    pub total: u32,
    /// Empty.
    pub free: u32,
    /// Not in use, but a prompt that begins with their content gets them back.
    pub cached: u32,
    /// In use by running sequences.
    pub held: u32,
}

/// All pages of one model's cache.
#[derive(Debug)]
pub struct KvCache {
    pool: BlockPool,
    prefixes: PrefixIndex,
    block_size_tokens: u32,
    /// Blocks that are registered and held by nobody.
    num_cached: u32,
}

impl KvCache {
    /// An empty cache.
    pub fn new(num_blocks: u32, block_size_tokens: u32) -> Self {
        Self {
            pool: BlockPool::new(num_blocks),
            prefixes: PrefixIndex::new(num_blocks, block_size_tokens),
            block_size_tokens,
            num_cached: 0,
        }
    }

    /// Tokens in a page.
    pub fn block_size_tokens(&self) -> u32 {
        self.block_size_tokens
    }

    /// Pages that can be allocated now: free and cached ones.
    pub fn num_available(&self) -> u32 {
        self.pool.num_unused()
    }

    /// How many tables hold a block.
    pub fn ref_count(&self, block: BlockId) -> u32 {
        self.pool.ref_count(block)
    }

    /// Pages by state.
    pub fn counts(&self) -> PageCounts {
        let total = self.pool.num_blocks();
        let unused = self.pool.num_unused();
        PageCounts { total, free: unused - self.num_cached, cached: self.num_cached, held: total - unused }
    }

    /// Cached pages, counted one by one: what [`KvCache::counts`] keeps track of.
    pub(crate) fn count_cached(&self) -> u32 {
        let blocks = (0..self.pool.num_blocks()).map(BlockId);
        blocks.filter(|b| self.prefixes.is_registered(*b) && self.pool.ref_count(*b) == 0).count() as u32
    }

    /// Pages that `num_tokens` tokens take.
    pub fn blocks_for(&self, num_tokens: u32) -> u32 {
        num_tokens.div_ceil(self.block_size_tokens)
    }

    /// Pages that releasing `table` would make available for `tokens`. Those that `tokens` would share with the table do
    /// not count: [`KvCache::num_needed`] counts on them already.
    pub fn num_freed_for(&self, tokens: &[TokenId], table: &BlockTable) -> u32 {
        let mut parent = None;
        let mut num_shared = 0;
        for (chunk, block) in self.shareable(tokens).zip(&table.blocks) {
            if self.prefixes.find(parent, chunk) != Some(*block) {
                break;
            }
            num_shared += 1;
            parent = Some(*block);
        }
        table.blocks[num_shared..].iter().filter(|block| self.pool.ref_count(**block) == 1).count() as u32
    }

    /// How many available pages [`KvCache::allocate`] would use up for these tokens.
    pub fn num_needed(&self, tokens: &[TokenId]) -> u32 {
        let mut needed = self.blocks_for(tokens.len() as u32);
        let mut parent = None;
        for chunk in self.shareable(tokens) {
            let Some(block) = self.prefixes.find(parent, chunk) else { break };
            needed -= u32::from(self.pool.ref_count(block) > 0);
            parent = Some(block);
        }
        needed
    }

    /// Gives an empty table pages for all of `tokens`, sharing what is cached. Returns the number of leading tokens whose
    /// keys and values are there already, at most all but one: the last must be recomputed for its logits.
    /// `None`, and nothing is changed, when there are too few pages: ask [`KvCache::num_needed`] how many it takes.
    pub fn allocate(&mut self, table: &mut BlockTable, tokens: &[TokenId]) -> Option<u32> {
        debug_assert!(table.blocks.is_empty(), "a sequence is admitted with an empty table");
        if self.num_needed(tokens) > self.pool.num_unused() {
            return None;
        }
        self.extend_hits(table, tokens, 0);
        let num_hit_tokens = table.num_registered as u32 * self.block_size_tokens;
        while (table.blocks.len() as u32) < self.blocks_for(tokens.len() as u32) {
            let block = self.take().expect("the blocks were counted above");
            table.blocks.push(block);
        }
        Some(num_hit_tokens)
    }

    /// Looks again for blocks that others have computed since the table was allocated: replaces the table's own, not
    /// yet written blocks. `num_written` tokens are in the table's blocks already. Returns the new number.
    pub fn extend_hits(&mut self, table: &mut BlockTable, tokens: &[TokenId], num_written: u32) -> u32 {
        let block_size = self.block_size_tokens as usize;
        // Only from a block boundary, and only where everything before is known to the index too.
        if num_written as usize != table.num_registered * block_size {
            return num_written;
        }
        let mut parent = table.num_registered.checked_sub(1).map(|last| table.blocks[last]);
        let num_shareable = (tokens.len().saturating_sub(1)) / block_size;
        while table.num_registered < num_shareable {
            let index = table.num_registered;
            let chunk = &tokens[index * block_size..(index + 1) * block_size];
            let Some(hit) = self.prefixes.find(parent, chunk) else { break };
            self.retain(hit);
            match table.blocks.get_mut(index) {
                Some(own) => {
                    let unused = std::mem::replace(own, hit);
                    self.release(unused);
                }
                None => table.blocks.push(hit),
            }
            table.num_registered += 1;
            parent = Some(hit);
        }
        (table.num_registered * block_size) as u32
    }

    /// Appends one page to a table; false when none is available.
    pub fn grow(&mut self, table: &mut BlockTable) -> bool {
        match self.take() {
            Some(block) => {
                table.blocks.push(block);
                true
            }
            None => false,
        }
    }

    /// Registers the blocks that the first `tokens.len()` tokens of the table's sequence fill, so that others can share them.
    /// The tokens' keys and values must be there before any step that is planned from now on runs. Where the same
    /// content is registered already, the table changes over to that block, so that equal prefixes are stored once.
    pub fn register(&mut self, table: &mut BlockTable, tokens: &[TokenId]) {
        let block_size = self.block_size_tokens as usize;
        let mut parent = table.num_registered.checked_sub(1).map(|last| table.blocks[last]);
        for chunk in tokens.chunks_exact(block_size).skip(table.num_registered) {
            let own = table.blocks[table.num_registered];
            let registered = match self.prefixes.find(parent, chunk) {
                Some(canonical) => {
                    self.retain(canonical);
                    table.blocks[table.num_registered] = canonical;
                    self.release(own);
                    canonical
                }
                None if self.prefixes.insert(own, parent, chunk) => own,
                None => break,
            };
            table.num_registered += 1;
            parent = Some(registered);
        }
    }

    /// Lets go of all pages of a table, the last first: so a tail is reused before the blocks that it follows.
    pub fn release_table(&mut self, table: &mut BlockTable) {
        while let Some(block) = table.blocks.pop() {
            self.release(block);
        }
        table.num_registered = 0;
    }

    fn take(&mut self) -> Option<BlockId> {
        let block = self.pool.take()?;
        if self.prefixes.is_registered(block) {
            self.prefixes.forget(block);
            self.num_cached -= 1;
        }
        Some(block)
    }

    fn retain(&mut self, block: BlockId) {
        if self.pool.ref_count(block) == 0 && self.prefixes.is_registered(block) {
            self.num_cached -= 1;
        }
        self.pool.retain(block);
    }

    fn release(&mut self, block: BlockId) {
        let registered = self.prefixes.is_registered(block);
        self.pool.release(block, if registered { Reuse::Last } else { Reuse::First });
        if registered && self.pool.ref_count(block) == 0 {
            self.num_cached += 1;
        }
    }

    /// The full blocks of `tokens` that may be hits.
    fn shareable<'a>(&self, tokens: &'a [TokenId]) -> impl Iterator<Item = &'a [TokenId]> {
        tokens[..tokens.len().saturating_sub(1)].chunks_exact(self.block_size_tokens as usize)
    }
}

#[cfg(test)]
mod tests;
