//! The paged KV cache without its memory: pages, tables, and prefixes that are stored once.
//!
//! Owns every change to a block table. A block is *held* while some table has it, *cached* when nobody has it but its
//! content can still be found, *free* otherwise. Free blocks are handed out before cached ones, the lowest first, so that the
//! pool can be made smaller; which of the cached ones go is decided in `eviction`.

pub mod block_pool;
mod eviction;
mod holders;
pub mod prefix;
pub mod table;

use std::collections::BTreeMap;

use crate::ids::{BlockId, OwnerId, TokenId};
use block_pool::{BlockPool, Reuse};
use holders::Holders;
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
    holders: Holders,
    /// Pages that each owner may have; owners without an entry may have any number.
    budgets: BTreeMap<OwnerId, u32>,
    /// Whose cached pages have been taken for others since somebody asked, one entry for each page and owner.
    evicted: Vec<OwnerId>,
    /// Emptied list of pages that go with others.
    spare_blocks: Vec<BlockId>,
}

impl KvCache {
    /// An empty cache.
    pub fn new(num_blocks: u32, block_size_tokens: u32) -> Self {
        Self {
            pool: BlockPool::new(num_blocks),
            prefixes: PrefixIndex::new(num_blocks, block_size_tokens),
            block_size_tokens,
            holders: Holders::new(num_blocks),
            budgets: BTreeMap::new(),
            evicted: Vec::new(),
            spare_blocks: Vec::new(),
        }
    }

    /// Tokens in a page.
    pub fn block_size_tokens(&self) -> u32 {
        self.block_size_tokens
    }

    /// Pages that can be allocated now: free and cached ones.
    pub fn num_available(&self) -> u32 {
        self.pool.num_free() + self.pool.num_cached()
    }

    /// How many tables hold a block.
    pub fn ref_count(&self, block: BlockId) -> u32 {
        self.pool.ref_count(block)
    }

    /// Pages by state.
    pub fn counts(&self) -> PageCounts {
        let (total, free, cached) = (self.pool.num_blocks(), self.pool.num_free(), self.pool.num_cached());
        PageCounts { total, free, cached, held: total - free - cached }
    }

    /// Every broken invariant, in words; it counts everything again.
    pub(crate) fn audit(&self) -> Vec<String> {
        let blocks = || (0..self.pool.num_blocks()).map(BlockId);
        let num_held = blocks().filter(|block| self.pool.ref_count(*block) > 0).count() as u32;
        let num_free = blocks().filter(|block| self.pool.is_free(*block)).count() as u32;
        let num_listed = self.pool.cached().count() as u32;
        let mut broken = Vec::new();
        for (holds, what) in [
            (self.counts().held == num_held, "held pages are as many as counted"),
            (self.counts().free == num_free, "free pages are as many as counted"),
            (self.counts().cached == num_listed, "cached pages are as many as listed"),
            (
                blocks().filter(|b| self.is_cached(*b)).count() as u32 == num_listed,
                "cached pages can be found",
            ),
            (
                blocks().all(|b| !self.pool.is_free(b) || !self.prefixes.is_registered(b)),
                "a free page cannot be found",
            ),
            (self.prefixes.is_whole(), "what a registered page follows is registered"),
            (self.holders.is_exact(), "owners are charged for what they have"),
        ] {
            if !holds {
                broken.push(what.to_owned());
            }
        }
        broken
    }

    /// Pages that hold nothing.
    pub fn num_free(&self) -> u32 {
        self.pool.num_free()
    }

    /// The owners that have a page, in use or cached, in order.
    pub fn owners_of(&self, block: BlockId) -> &[OwnerId] {
        self.holders.of(block)
    }

    /// True for a page that nobody uses and whose content can be found.
    pub fn is_cached(&self, block: BlockId) -> bool {
        self.pool.ref_count(block) == 0 && self.prefixes.is_registered(block)
    }

    /// Pages that each owner may have. They decide whose cached pages go first, no more.
    pub fn set_budgets(&mut self, budgets: BTreeMap<OwnerId, u32>) {
        self.budgets = budgets;
    }

    /// Whose cached pages have been taken for others since the last call, one entry for each page and owner.
    pub fn take_evicted(&mut self) -> Vec<OwnerId> {
        std::mem::take(&mut self.evicted)
    }

    /// The owner is gone: its cached pages stay, and are the first to be reused.
    pub fn forget_owner(&mut self, owner: OwnerId) {
        self.holders.forget(owner);
        self.evicted.retain(|other| *other != owner);
    }

    /// The registered pages of the longest known prefix of `tokens`, whole pages, in order.
    pub fn find_prefix(&self, tokens: &[TokenId]) -> Vec<BlockId> {
        let mut blocks: Vec<BlockId> = Vec::new();
        for chunk in tokens.chunks_exact(self.block_size_tokens as usize) {
            let Some(block) = self.prefixes.find(blocks.last().copied(), chunk) else { break };
            blocks.push(block);
        }
        blocks
    }

    /// The pages of this prefix now belong to this owner too, and are the last to be reused.
    pub fn touch(&mut self, owner: OwnerId, tokens: &[TokenId]) {
        // The last first, so that heads outlive the tails that follow them.
        for block in self.find_prefix(tokens).into_iter().rev() {
            self.holders.add(block, owner);
            if self.is_cached(block) {
                self.pool.touch(block);
            }
        }
    }

    /// Gives the owner empty pages for the content of `tokens` from page `first_block` on, of which the pages before it are known,
    /// to be filled from outside before any step that is planned from now on. Fewer where pages run out, or where the content
    /// is known already.
    pub fn adopt(&mut self, owner: OwnerId, tokens: &[TokenId], first_block: usize) -> Vec<BlockId> {
        let mut chain = self.find_prefix(tokens);
        if chain.len() != first_block {
            return Vec::new();
        }
        // In use meanwhile, so that making room does not take them.
        for block in &chain {
            self.retain(*block);
        }
        let chunks = tokens.chunks_exact(self.block_size_tokens as usize).skip(first_block);
        for chunk in chunks {
            let Some(block) = self.take(owner) else { break };
            if !self.prefixes.insert(block, chain.last().copied(), chunk) {
                self.release(block);
                break;
            }
            chain.push(block);
        }
        let adopted = chain[first_block..].to_vec();
        self.release_all(&mut chain);
        adopted
    }

    /// Cached pages turn out not to hold what they should.
    pub fn discard(&mut self, blocks: &[BlockId]) {
        self.evict(blocks);
    }

    /// The fewest pages that the cache could have now.
    pub fn min_blocks(&self) -> u32 {
        self.pool.num_to_last_held()
    }

    /// Forgets what is cached beyond `num_blocks` and takes those pages away, or adds empty ones.
    ///
    /// # Panics
    /// When a page that would go is held; see [`KvCache::min_blocks`].
    pub fn resize(&mut self, num_blocks: u32) {
        let beyond: Vec<_> = self.pool.cached().filter(|block| block.0 >= num_blocks).collect();
        self.evict(&beyond);
        self.pool.shrink(num_blocks);
        self.pool.grow(num_blocks);
        self.prefixes.resize(num_blocks);
        self.holders.resize(num_blocks);
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

    /// How many of the pages for these tokens hold nothing of them yet.
    pub fn num_new(&self, tokens: &[TokenId]) -> u32 {
        let mut parent = None;
        let hits = self.shareable(tokens).map_while(|chunk| {
            parent = self.prefixes.find(parent, chunk);
            parent
        });
        self.blocks_for(tokens.len() as u32) - hits.count() as u32
    }

    /// Gives an empty table pages for all of `tokens`, sharing what is cached. Returns the number of leading tokens whose
    /// keys and values are there already, at most all but one: the last must be recomputed for its logits.
    /// `None`, and nothing is changed, when there are too few pages: ask [`KvCache::num_needed`] how many it takes.
    pub fn allocate(&mut self, table: &mut BlockTable, tokens: &[TokenId]) -> Option<u32> {
        debug_assert!(table.blocks.is_empty(), "a sequence is admitted with an empty table");
        if self.num_needed(tokens) > self.num_available() {
            return None;
        }
        self.extend_hits(table, tokens, 0);
        let num_hit_tokens = table.num_registered as u32 * self.block_size_tokens;
        self.make_empty(self.blocks_for(tokens.len() as u32) - table.blocks.len() as u32, table.owner);
        while (table.blocks.len() as u32) < self.blocks_for(tokens.len() as u32) {
            let block = self.take(table.owner).expect("the blocks were counted above");
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
            self.holders.add(hit, table.owner);
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
        match self.take(table.owner) {
            Some(block) => {
                table.blocks.push(block);
                true
            }
            None => false,
        }
    }

    /// Takes the first `num_pages` pages out of a table, to be kept by whoever has it, and puts empty ones in their place. The
    /// table's pages are no longer those of its tokens in order: it must not be registered from now on.
    /// `None`, and nothing is changed, when there are too few pages.
    pub fn detach(&mut self, table: &mut BlockTable, num_pages: usize) -> Option<Vec<BlockId>> {
        if !self.make_empty(num_pages as u32, table.owner) {
            return None;
        }
        table.num_registered = 0;
        let detached = table.blocks[..num_pages].to_vec();
        for block in &mut table.blocks[..num_pages] {
            *block = self.take(table.owner).expect("the pages were counted above");
        }
        Some(detached)
    }

    /// Lets go of one page of a table.
    pub fn drop_page(&mut self, table: &mut BlockTable, index: usize) {
        let block = table.blocks.remove(index);
        self.release(block);
    }

    /// Lets go of pages that are in no table, the last first.
    pub fn release_all(&mut self, blocks: &mut Vec<BlockId>) {
        while let Some(block) = blocks.pop() {
            self.release(block);
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
                    self.holders.add(canonical, table.owner);
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

    /// A page for the owner: an empty one, or the cached one that is missed least.
    fn take(&mut self, owner: OwnerId) -> Option<BlockId> {
        if !self.make_empty(1, owner) {
            return None;
        }
        let block = self.pool.take()?;
        self.holders.replace(block, owner);
        Some(block)
    }

    fn retain(&mut self, block: BlockId) {
        self.pool.retain(block);
    }

    fn release(&mut self, block: BlockId) {
        let registered = self.prefixes.is_registered(block);
        self.pool.release(block, if registered { Reuse::Cached } else { Reuse::Free });
        if self.pool.is_free(block) {
            self.holders.clear(block);
        }
    }

    /// The full blocks of `tokens` that may be hits.
    fn shareable<'a>(&self, tokens: &'a [TokenId]) -> impl Iterator<Item = &'a [TokenId]> {
        tokens[..tokens.len().saturating_sub(1)].chunks_exact(self.block_size_tokens as usize)
    }
}

#[cfg(test)]
mod eviction_tests;
#[cfg(test)]
mod tests;
