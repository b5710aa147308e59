//! Owners and the pool that they share: who is there, what each may hold, pages that come from and go to elsewhere, and the size
//! of the pool. Which pages go when there is no room is the scheduler's and the cache's business.

use super::{Engine, EngineError, FinishReason, OwnerBudget, OwnerEvent};
use crate::ids::{BlockId, OwnerId, TokenId};

impl Engine {
    /// A live owner: fair shares count it from now on. Adding a sequence does the same.
    pub fn add_owner(&mut self, owner: OwnerId) {
        self.scheduler.add_owner(owner);
    }

    /// The owner is gone: its sequences end, and its cached pages are the first to be reused.
    pub fn remove_owner(&mut self, owner: OwnerId, now_ms: f64) {
        self.cancel_owner(owner, now_ms);
        self.scheduler.remove_owner(owner);
    }

    /// What the owner may hold.
    pub fn set_owner_budget(&mut self, owner: OwnerId, budget: OwnerBudget) {
        self.scheduler.set_owner_budget(owner, budget);
    }

    /// What the owner may hold now, in tokens.
    pub fn budget_tokens(&self, owner: OwnerId) -> u32 {
        self.scheduler.budget_tokens(owner)
    }

    /// A paused owner's sequences give up their pages and wait until it is paused no longer.
    pub fn pause_owner(&mut self, owner: OwnerId, is_paused: bool) {
        self.scheduler.pause_owner(owner, is_paused);
        self.note_happened();
    }

    /// Frees the cached pages that only this owner has; returns how many.
    pub fn evict_owner(&mut self, owner: OwnerId) -> u32 {
        // Not an event: it is the caller who tells why.
        self.scheduler.kv_mut().evict_owner(owner)
    }

    /// The cached pages of these tokens now belong to this owner too, if it is live, and are the last to go.
    pub fn touch_prefix(&mut self, owner: OwnerId, tokens: &[TokenId]) {
        if self.scheduler.is_live(owner) {
            self.scheduler.kv_mut().touch(owner, tokens);
        }
    }

    /// Tokens of the longest prefix whose pages are in the pool, whole pages.
    pub fn cached_tokens(&self, tokens: &[TokenId]) -> u32 {
        self.scheduler.kv().find_prefix(tokens).len() as u32 * self.block_size_tokens()
    }

    /// The pages of the longest known prefix of `tokens`, from page `first_block` on: to be read before any further step.
    pub fn prefix_blocks(&self, tokens: &[TokenId], first_block: u32) -> Vec<BlockId> {
        let mut blocks = self.scheduler.kv().find_prefix(tokens);
        blocks.split_off((first_block as usize).min(blocks.len()))
    }

    /// Empty pages for the content of `tokens` from page `first_block` on, to be written before any further step; fewer where the
    /// pool has no more, none where the pages before them are not known or the owner is gone.
    pub fn adopt_blocks(&mut self, owner: OwnerId, tokens: &[TokenId], first_block: u32) -> Vec<BlockId> {
        if !self.scheduler.is_live(owner) {
            return Vec::new();
        }
        self.scheduler.kv_mut().adopt(owner, tokens, first_block as usize)
    }

    /// Pages that were to be written could not be: nobody may find them.
    pub fn discard_blocks(&mut self, blocks: &[BlockId]) {
        self.scheduler.kv_mut().discard(blocks);
    }

    /// What happened to owners since the last call.
    pub fn take_owner_events(&mut self) -> Vec<(OwnerId, OwnerEvent)> {
        self.scheduler.take_owner_events()
    }

    /// The size to which the pool should grow before the next step; `None` where it need not or cannot.
    pub fn wanted_blocks(&mut self) -> Option<u32> {
        self.scheduler.wanted_blocks()
    }

    /// The smallest size that the pool could have now, in whole slabs.
    pub fn min_blocks(&self) -> u32 {
        let slabs = self.scheduler.kv().min_blocks().max(1).div_ceil(self.config.slab_blocks);
        (slabs * self.config.slab_blocks).min(self.scheduler.kv().counts().total)
    }

    /// The executor's pool has this many pages now, of which those beyond the old number are empty. To be called with no step in
    /// flight. `asked` is what it was asked for: with less, there is no room for more, and sequences that will never have
    /// the pages that they need end.
    pub fn set_num_blocks(&mut self, num_blocks: u32, asked: u32, now_ms: f64) {
        let is_largest = num_blocks < asked;
        self.scheduler.set_num_blocks(num_blocks, is_largest);
        if is_largest {
            self.max_blocks = num_blocks;
            self.end_misfits(now_ms);
        }
    }

    /// The pool will not be as large as was thought: nobody may wait for ever for pages that will not come, nor keep others
    /// waiting behind.
    fn end_misfits(&mut self, now_ms: f64) {
        let available_pages = self.max_pages_per_sequence();
        let block_size = self.block_size_tokens();
        for id in self.ids(|_| true) {
            let Some(sequence) = self.scheduler.get_mut(id) else { continue };
            let needed_pages = sequence.limit_pages(available_pages, block_size);
            if needed_pages <= available_pages && !sequence.is_full() {
                continue;
            }
            let prompt_tokens = sequence.stats(now_ms).prompt_tokens;
            let reason = match sequence.num_generated() {
                0 => FinishReason::Failed(EngineError::PromptExceedsCache {
                    prompt_tokens,
                    needed_pages,
                    available_pages,
                }),
                _ => FinishReason::Length,
            };
            if let Some(sequence) = self.scheduler.remove(id) {
                self.finish(sequence, reason, String::new(), now_ms);
            }
        }
    }
}
