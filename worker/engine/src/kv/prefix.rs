//! Which full blocks hold which tokens after which prefix.
//!
//! A block's keys and values depend on all tokens before it, so a block is known by its parent block and its own
//! tokens. The hash only finds a candidate; a hit is confirmed by comparing the stored tokens and the parent's identity,
//! so a collision can cost speed, never correctness. Shared by all owners. Knows nothing of reference counts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ids::{BlockId, TokenId};

/// The identity of a registered block's content, never given twice: a block id alone would not do, since a block that
/// was reused for other content would pass for the parent of the old content's children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefixId(u64);

#[derive(Debug, Clone, Copy)]
struct Node {
    id: PrefixId,
    parent: Option<PrefixId>,
    hash: u64,
}

type HashTokens = fn(parent_hash: u64, tokens: &[TokenId]) -> u64;

/// The index of registered blocks.
#[derive(Debug)]
pub struct PrefixIndex {
    block_by_hash: HashMap<u64, BlockId>,
    /// What each block is registered as.
    nodes: Vec<Option<Node>>,
    /// Tokens of every registered block: `[num_blocks, block_size_tokens]`.
    tokens: Vec<TokenId>,
    block_size_tokens: usize,
    next_id: u64,
    hash_tokens: HashTokens,
}

impl PrefixIndex {
    /// An empty index for `num_blocks` blocks.
    pub fn new(num_blocks: u32, block_size_tokens: u32) -> Self {
        Self::with_hash(num_blocks, block_size_tokens, |parent_hash, tokens| {
            let mut hasher = DefaultHasher::new();
            parent_hash.hash(&mut hasher);
            bytemuck::cast_slice::<TokenId, u8>(tokens).hash(&mut hasher);
            hasher.finish()
        })
    }

    fn with_hash(num_blocks: u32, block_size_tokens: u32, hash_tokens: HashTokens) -> Self {
        Self {
            block_by_hash: HashMap::new(),
            nodes: vec![None; num_blocks as usize],
            tokens: vec![TokenId(0); num_blocks as usize * block_size_tokens as usize],
            block_size_tokens: block_size_tokens as usize,
            next_id: 0,
            hash_tokens,
        }
    }

    /// Blocks that are registered.
    pub fn num_registered(&self) -> u32 {
        self.block_by_hash.len() as u32
    }

    /// True when the block's content may be found.
    pub fn is_registered(&self, block: BlockId) -> bool {
        self.nodes[block.index()].is_some()
    }

    /// The block that holds `tokens` (one block of them) after `parent`, itself a registered block; no parent means
    /// at the start of a sequence.
    pub fn find(&self, parent: Option<BlockId>, tokens: &[TokenId]) -> Option<BlockId> {
        let (parent_id, hash) = self.key(parent, tokens)?;
        let block = *self.block_by_hash.get(&hash)?;
        let node = self.nodes[block.index()]?;
        (node.parent == parent_id && self.tokens_of(block) == tokens).then_some(block)
    }

    /// Registers a full block. Returns false, and changes nothing, when its parent is not registered or its hash is
    /// taken by other content: then the block stays private, and so does everything after it.
    pub fn insert(&mut self, block: BlockId, parent: Option<BlockId>, tokens: &[TokenId]) -> bool {
        let Some((parent_id, hash)) = self.key(parent, tokens) else { return false };
        if self.block_by_hash.contains_key(&hash) {
            return false;
        }
        self.block_by_hash.insert(hash, block);
        self.nodes[block.index()] = Some(Node { id: PrefixId(self.next_id), parent: parent_id, hash });
        self.next_id += 1;
        let start = block.index() * self.block_size_tokens;
        self.tokens[start..start + self.block_size_tokens].copy_from_slice(tokens);
        true
    }

    /// Makes room for more blocks, or less: those that go must have been forgotten.
    pub fn resize(&mut self, num_blocks: u32) {
        self.nodes.resize(num_blocks as usize, None);
        self.tokens.resize(num_blocks as usize * self.block_size_tokens, TokenId(0));
    }

    /// Forgets what the block holds: it is about to be overwritten.
    pub fn forget(&mut self, block: BlockId) {
        if let Some(node) = self.nodes[block.index()].take() {
            self.block_by_hash.remove(&node.hash);
        }
    }

    fn key(&self, parent: Option<BlockId>, tokens: &[TokenId]) -> Option<(Option<PrefixId>, u64)> {
        match parent {
            None => Some((None, (self.hash_tokens)(0, tokens))),
            Some(parent) => {
                let node = self.nodes[parent.index()]?;
                Some((Some(node.id), (self.hash_tokens)(node.hash, tokens)))
            }
        }
    }

    fn tokens_of(&self, block: BlockId) -> &[TokenId] {
        let start = block.index() * self.block_size_tokens;
        &self.tokens[start..start + self.block_size_tokens]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [TokenId; 2] = [TokenId(1), TokenId(2)];
    const B: [TokenId; 2] = [TokenId(3), TokenId(4)];

    #[test]
    fn a_block_is_found_by_its_tokens_after_its_parent_only() {
        let mut index = PrefixIndex::new(4, 2);
        assert!(index.insert(BlockId(0), None, &A));
        assert!(index.insert(BlockId(1), Some(BlockId(0)), &B));
        assert_eq!(index.find(None, &A), Some(BlockId(0)));
        assert_eq!(index.find(Some(BlockId(0)), &B), Some(BlockId(1)));
        assert_eq!(index.find(None, &B), None);
        assert_eq!(index.find(Some(BlockId(1)), &B), None);
    }

    #[test]
    fn a_hash_collision_is_a_miss() {
        let mut index = PrefixIndex::with_hash(4, 2, |_, _| 7);
        assert!(index.insert(BlockId(0), None, &A));
        assert_eq!(index.find(None, &B), None, "same hash, other tokens");
        assert_eq!(index.find(Some(BlockId(0)), &A), None, "same hash and tokens, other parent");
        assert!(!index.insert(BlockId(1), None, &B), "the hash is taken");
        assert_eq!(index.find(None, &A), Some(BlockId(0)));
    }

    #[test]
    fn a_reused_parent_does_not_pass_for_the_old_one() {
        // A hash that ignores the parent: only the identity check can tell.
        let mut index = PrefixIndex::with_hash(4, 2, |_, tokens| u64::from(tokens[0].0));
        assert!(index.insert(BlockId(0), None, &A));
        assert!(index.insert(BlockId(1), Some(BlockId(0)), &B));
        index.forget(BlockId(0));
        assert!(index.insert(BlockId(0), None, &[TokenId(9), TokenId(9)]));
        assert_eq!(index.find(Some(BlockId(0)), &B), None);
    }

    #[test]
    fn a_forgotten_block_is_not_found_and_can_be_registered_again() {
        let mut index = PrefixIndex::new(2, 2);
        assert!(index.insert(BlockId(0), None, &A));
        index.forget(BlockId(0));
        assert_eq!((index.find(None, &A), index.num_registered()), (None, 0));
        assert!(index.insert(BlockId(1), None, &A));
        assert_eq!(index.find(None, &A), Some(BlockId(1)));
    }

    #[test]
    fn a_child_of_a_private_block_stays_private() {
        let mut index = PrefixIndex::new(2, 2);
        assert!(!index.insert(BlockId(1), Some(BlockId(0)), &B));
    }
}
