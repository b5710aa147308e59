//! Which full blocks hold which tokens after which prefix.
//!
//! A block's keys and values depend on all tokens before it, so a block is known by its parent block and its own
//! tokens. The hash only finds a candidate; a hit is confirmed by comparing the stored tokens and the parent's identity,
//! so a collision can cost speed, never correctness. The parent of a registered block is registered too: a block that is
//! forgotten takes all that follow it along. Shared by all owners. Knows nothing of reference counts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ids::{BlockId, TokenId};

/// The identity of a registered block's content, never given twice: a block id alone would not do, since a block that
/// was reused for other content would pass for the parent of the old content's children.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PrefixId(u64);

#[derive(Debug, Clone, Copy)]
struct Node {
    id: PrefixId,
    parent: Option<(PrefixId, BlockId)>,
    num_children: u32,
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
        let node = Node { id: PrefixId(self.next_id), parent: parent_id, num_children: 0, hash };
        self.nodes[block.index()] = Some(node);
        self.next_id += 1;
        if let Some(parent) = parent.and_then(|parent| self.nodes[parent.index()].as_mut()) {
            parent.num_children += 1;
        }
        let start = block.index() * self.block_size_tokens;
        self.tokens[start..start + self.block_size_tokens].copy_from_slice(tokens);
        true
    }

    /// Forgets what the block holds: it is about to be overwritten. What follows it cannot be found any more and is
    /// forgotten too; those blocks are appended to `orphans`, children after their parents.
    pub fn forget(&mut self, block: BlockId, orphans: &mut Vec<BlockId>) {
        let Some(node) = self.nodes[block.index()].take() else { return };
        self.block_by_hash.remove(&node.hash);
        if let Some(parent) = node.parent.and_then(|(_, parent)| self.nodes[parent.index()].as_mut()) {
            parent.num_children -= 1;
        }
        if node.num_children > 0 {
            self.forget_descendants(node.id, orphans);
        }
    }

    /// Tails go before what they follow, so this is rare: only a context that slides lets go of a beginning first.
    fn forget_descendants(&mut self, forgotten: PrefixId, orphans: &mut Vec<BlockId>) {
        let mut registered: Vec<(Node, BlockId)> = self
            .nodes
            .iter()
            .zip((0..).map(BlockId))
            .filter_map(|(node, block)| Some(((*node)?, block)))
            .collect();
        // A child is registered after its parent.
        registered.sort_unstable_by_key(|(node, _)| node.id);
        let mut lost = vec![forgotten];
        for (node, block) in registered {
            if node.parent.is_some_and(|(parent, _)| lost.contains(&parent)) {
                lost.push(node.id);
                self.nodes[block.index()] = None;
                self.block_by_hash.remove(&node.hash);
                orphans.push(block);
            }
        }
    }

    /// There are more or fewer blocks; those that go are not registered.
    pub fn resize(&mut self, num_blocks: u32) {
        self.nodes.resize(num_blocks as usize, None);
        self.tokens.resize(num_blocks as usize * self.block_size_tokens, TokenId(0));
    }

    /// Whether the parents of all registered blocks are registered, and know how many children they have.
    pub fn is_whole(&self) -> bool {
        let mut num_children = vec![0u32; self.nodes.len()];
        for (parent, block) in self.nodes.iter().flatten().filter_map(|node| node.parent) {
            if self.nodes[block.index()].is_none_or(|node| node.id != parent) {
                return false;
            }
            num_children[block.index()] += 1;
        }
        let is_counted =
            |(node, counted): (&Option<Node>, u32)| node.is_none_or(|node| node.num_children == counted);
        self.nodes.iter().zip(num_children).all(is_counted)
    }

    fn key(&self, parent: Option<BlockId>, tokens: &[TokenId]) -> Option<(Option<(PrefixId, BlockId)>, u64)> {
        match parent {
            None => Some((None, (self.hash_tokens)(0, tokens))),
            Some(parent) => {
                let node = self.nodes[parent.index()]?;
                Some((Some((node.id, parent)), (self.hash_tokens)(node.hash, tokens)))
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
        index.forget(BlockId(0), &mut Vec::new());
        assert!(index.insert(BlockId(0), None, &[TokenId(9), TokenId(9)]));
        assert_eq!(index.find(Some(BlockId(0)), &B), None);
    }

    #[test]
    fn a_forgotten_block_is_not_found_and_can_be_registered_again() {
        let mut index = PrefixIndex::new(2, 2);
        assert!(index.insert(BlockId(0), None, &A));
        index.forget(BlockId(0), &mut Vec::new());
        assert_eq!((index.find(None, &A), index.num_registered()), (None, 0));
        assert!(index.insert(BlockId(1), None, &A));
        assert_eq!(index.find(None, &A), Some(BlockId(1)));
    }

    #[test]
    fn a_child_of_a_private_block_stays_private() {
        let mut index = PrefixIndex::new(2, 2);
        assert!(!index.insert(BlockId(1), Some(BlockId(0)), &B));
    }

    #[test]
    fn a_forgotten_block_takes_all_that_follow_it_along() {
        let mut index = PrefixIndex::new(5, 2);
        assert!(index.insert(BlockId(4), None, &A));
        assert!(index.insert(BlockId(2), Some(BlockId(4)), &A));
        assert!(index.insert(BlockId(3), Some(BlockId(2)), &A));
        assert!(index.insert(BlockId(1), Some(BlockId(4)), &B));
        assert!(index.insert(BlockId(0), None, &B));
        let mut orphans = Vec::new();
        index.forget(BlockId(3), &mut orphans);
        assert!(orphans.is_empty() && index.is_whole());
        assert!(index.insert(BlockId(3), Some(BlockId(2)), &B));
        index.forget(BlockId(4), &mut orphans);
        assert_eq!((orphans, index.num_registered()), (vec![BlockId(2), BlockId(1), BlockId(3)], 1));
        assert!(index.is_whole());
    }
}
