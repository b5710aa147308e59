//! A step's page operations as chains: operations of one chain run in order, chains run at the same time. Pure data; the kernel
//! is `shaders/shift_page.wgsl`.

use hearth_engine::ids::BlockId;
use hearth_engine::plan::PageOp;

/// Words of a chain: its first operation's first word, and how many it has.
pub const CHAIN_WORDS: usize = 2;
/// Words of an operation: from, to, positions.
pub const OP_WORDS: usize = 3;

/// Pages that an operation reads and writes.
pub fn pages(op: &PageOp) -> [BlockId; 2] {
    match *op {
        PageOp::Shift { from, to, .. } => [from, to],
    }
}

/// Whether two operations must keep their order: one writes what the other touches.
fn conflict(a: &PageOp, b: &PageOp) -> bool {
    let ([a_from, a_to], [b_from, b_to]) = (pages(a), pages(b));
    a_to == b_to || a_to == b_from || a_from == b_to
}

/// The operations in chains, each in the order given.
fn chains(ops: &[PageOp]) -> Vec<Vec<PageOp>> {
    let mut chains: Vec<Vec<PageOp>> = Vec::new();
    for op in ops {
        let (conflicting, rest): (Vec<_>, Vec<_>) =
            chains.into_iter().partition(|chain| chain.iter().any(|earlier| conflict(earlier, op)));
        // Chains that this operation joins had nothing in common so far, so any order of them is right.
        let mut joined = conflicting.concat();
        joined.push(*op);
        chains = rest;
        chains.push(joined);
    }
    chains
}

/// Appends the words of the operations, chains first, and says how many chains there are.
pub fn pack(ops: &[PageOp], words: &mut Vec<u32>) -> u32 {
    if ops.is_empty() {
        return 0;
    }
    let chains = chains(ops);
    let mut first = words.len() + chains.len() * CHAIN_WORDS;
    for chain in &chains {
        words.extend([first as u32, chain.len() as u32]);
        first += chain.len() * OP_WORDS;
    }
    for op in chains.iter().flatten() {
        let PageOp::Shift { from, to, positions } = *op;
        words.extend([from.0, to.0, positions]);
    }
    chains.len() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shift(from: u32, to: u32) -> PageOp {
        PageOp::Shift { from: BlockId(from), to: BlockId(to), positions: from * 16 }
    }

    #[test]
    fn operations_that_share_only_what_they_read_are_chains_of_their_own() {
        let mut words = vec![7; 5];
        assert_eq!(pack(&[shift(1, 2), shift(1, 3)], &mut words), 2);
        assert_eq!(words[5..], [9, 1, 12, 1, 1, 2, 16, 1, 3, 16]);
    }

    #[test]
    fn operations_on_a_written_page_keep_their_order() {
        let order = |ops: &[PageOp]| chains(ops);
        let read_after_write = [shift(1, 2), shift(2, 3)];
        let write_after_read = [shift(1, 2), shift(3, 1)];
        let write_after_write = [shift(1, 2), shift(3, 2)];
        for ops in [read_after_write, write_after_read, write_after_write] {
            assert_eq!(order(&ops), [ops.to_vec()]);
        }
        // The last one joins the first two; the third stays apart.
        let ops = [shift(1, 2), shift(3, 4), shift(5, 6), shift(2, 4)];
        assert_eq!(order(&ops), [vec![ops[2]], vec![ops[0], ops[1], ops[3]]]);
    }

    #[test]
    fn no_operations_take_no_words() {
        let mut words = Vec::new();
        assert_eq!(pack(&[], &mut words), 0);
        assert!(words.is_empty());
    }
}
