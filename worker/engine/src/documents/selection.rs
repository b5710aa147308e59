//! Which sentences are kept: the best first, each held against what is kept already, as many as fit. Knows scores, costs
//! and vectors, no text.

use std::collections::{BTreeSet, BinaryHeap};

use super::features::Vectors;

/// How much being like a kept sentence takes off.
const REDUNDANCY: f32 = 0.7;

/// More alike sentences say the same: one is enough.
const SAME: f32 = 0.93;

/// Part of the room that headings may take.
const HEADING_SHARE: u32 = 8;

/// What a sentence is to the selection.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// What it is worth by itself; none for what is never kept for its own sake.
    pub score: Option<f32>,
    /// Tokens that it adds, about.
    pub tokens: u32,
    /// The heading that it stands under, as a candidate, or the heading around this heading.
    pub heading: Option<u32>,
    /// The first sentence with exactly the same words: itself, or one that it repeats.
    pub original: u32,
}

/// Sentences being picked.
pub(super) struct Selection {
    pub candidates: Vec<Candidate>,
    /// How alike each is to what is kept.
    likeness: Vec<f32>,
    queue: BinaryHeap<Entry>,
    /// Those that did not fit when it was their turn, best first.
    waiting: Vec<u32>,
    /// Kept ones in the order of the text.
    pub kept: BTreeSet<u32>,
    /// Originals of those that are kept.
    kept_originals: BTreeSet<u32>,
    /// In the order in which they were kept; headings after the sentence that brought them.
    order: Vec<u32>,
    heading_room: u32,
    estimate: u64,
}

/// A candidate by what it is worth now.
#[derive(Debug, PartialEq)]
struct Entry {
    worth: f32,
    index: u32,
}

impl Selection {
    pub fn new(candidates: Vec<Candidate>, max_tokens: u32) -> Self {
        Self {
            queue: scored(&candidates).collect(),
            likeness: vec![0.0; candidates.len()],
            waiting: Vec::new(),
            kept: BTreeSet::new(),
            kept_originals: BTreeSet::new(),
            order: Vec::new(),
            heading_room: max_tokens / HEADING_SHARE,
            estimate: 0,
            candidates,
        }
    }

    /// Considers the best candidate that is left, with `max_tokens` for all by the estimates. False when none is left.
    pub fn take_best(&mut self, max_tokens: u32, vectors: &Vectors) -> bool {
        let Some(entry) = self.queue.pop() else { return false };
        let worth = self.worth(entry.index);
        if worth < entry.worth {
            self.queue.push(Entry { worth, ..entry });
            return true;
        }
        if self.says_nothing_new(entry.index) {
            return true;
        }
        let room = u64::from(max_tokens).saturating_sub(self.estimate);
        if u64::from(self.candidates[entry.index as usize].tokens) > room {
            self.waiting.push(entry.index);
            return true;
        }
        self.keep(entry.index, room, vectors);
        true
    }

    /// Keeps waiting ones that fit into `room`, best first. False when none does.
    pub fn fill(&mut self, room: u32, vectors: &Vectors) -> bool {
        let mut left = u64::from(room);
        let mut has_kept = false;
        for index in std::mem::take(&mut self.waiting) {
            let tokens = u64::from(self.candidates[index as usize].tokens);
            if tokens > left {
                self.waiting.push(index);
            } else if !self.says_nothing_new(index) {
                let before = self.estimate;
                self.keep(index, left, vectors);
                left -= (self.estimate - before).min(left);
                has_kept = true;
            }
        }
        has_kept
    }

    /// Drops those that were kept last until `tokens` fewer are kept by the estimates, but at least one. They are not
    /// considered again.
    pub fn drop_last(&mut self, tokens: u32) {
        let target = self.estimate.saturating_sub(u64::from(tokens));
        while let Some(index) = self.order.pop() {
            self.kept.remove(&index);
            self.kept_originals.remove(&self.candidates[index as usize].original);
            self.estimate -= u64::from(self.candidates[index as usize].tokens);
            if self.estimate <= target {
                break;
            }
        }
    }

    /// The best sentence of those that are `eligible`, kept or not.
    pub fn best(&self, eligible: impl Fn(u32) -> bool) -> Option<u32> {
        let scored = scored(&self.candidates).filter(|entry| eligible(entry.index));
        scored.max().map(|entry| entry.index)
    }

    fn keep(&mut self, index: u32, room: u64, vectors: &Vectors) {
        self.add(index);
        let mut left = room - u64::from(self.candidates[index as usize].tokens);
        let mut heading = self.candidates[index as usize].heading;
        // From the nearest heading outwards.
        while let Some(title) = heading {
            let Candidate { tokens, heading: outer, .. } = self.candidates[title as usize];
            if !self.kept.contains(&title) {
                if tokens > self.heading_room || u64::from(tokens) > left {
                    break;
                }
                self.heading_room -= tokens;
                left -= u64::from(tokens);
                self.add(title);
            }
            heading = outer;
        }
        self.spread_likeness(index, vectors);
    }

    fn add(&mut self, index: u32) {
        if self.kept.insert(index) {
            self.kept_originals.insert(self.candidates[index as usize].original);
            self.order.push(index);
            self.estimate += u64::from(self.candidates[index as usize].tokens);
        }
    }

    fn spread_likeness(&mut self, index: u32, vectors: &Vectors) {
        let mut products: Vec<(u32, f32)> = Vec::new();
        for (term, weight) in vectors.of(index as usize) {
            products
                .extend(vectors.having(*term).iter().map(|(sentence, other)| (*sentence, weight * other)));
        }
        products.sort_by_key(|(sentence, _)| *sentence);
        for run in products.chunk_by(|a, b| a.0 == b.0) {
            let likeness = run.iter().map(|(_, product)| product).sum::<f32>();
            let of = &mut self.likeness[run[0].0 as usize];
            *of = of.max(likeness);
        }
    }

    fn worth(&self, index: u32) -> f32 {
        let score = self.candidates[index as usize].score.unwrap_or(0.0);
        score * (1.0 - REDUNDANCY * self.likeness[index as usize].min(1.0))
    }

    fn says_nothing_new(&self, index: u32) -> bool {
        self.kept_originals.contains(&self.candidates[index as usize].original)
            || self.likeness[index as usize] >= SAME
    }
}

fn scored(candidates: &[Candidate]) -> impl Iterator<Item = Entry> {
    candidates
        .iter()
        .zip(0..)
        .filter_map(|(candidate, index)| candidate.score.map(|worth| Entry { worth, index }))
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Of equals the earlier sentence is greater.
        self.worth.total_cmp(&other.worth).then(other.index.cmp(&self.index))
    }
}

#[cfg(test)]
mod tests {
    use super::super::features::Terms;
    use super::*;

    fn selection(sentences: &[(&str, f32, u32)], max_tokens: u32) -> (Selection, Vectors) {
        let mut terms = Terms::new();
        sentences.iter().for_each(|(text, _, _)| terms.push(text));
        let candidates = sentences
            .iter()
            .zip(0..)
            .map(|((_, score, tokens), original)| Candidate {
                score: Some(*score),
                tokens: *tokens,
                heading: None,
                original,
            })
            .collect();
        (Selection::new(candidates, max_tokens), Vectors::new(&terms, 100))
    }

    fn run(selection: &mut Selection, vectors: &Vectors, max_tokens: u32) -> Vec<u32> {
        while selection.take_best(max_tokens, vectors) {}
        selection.kept.iter().copied().collect()
    }

    #[test]
    fn what_is_like_a_kept_sentence_comes_after_what_is_new() {
        let (mut chosen, vectors) = selection(
            &[("red fox hunts", 0.9, 3), ("red fox sleeps", 0.8, 3), ("green house burns", 0.7, 3)],
            6,
        );
        assert_eq!(run(&mut chosen, &vectors, 6), [0, 2]);
    }

    #[test]
    fn the_same_words_are_never_kept_twice_though_there_is_room() {
        let (mut chosen, vectors) = selection(&[("red fox", 0.9, 2), ("red fox", 0.8, 2)], 100);
        assert_eq!(run(&mut chosen, &vectors, 100), [0]);
        assert!(!chosen.fill(100, &vectors));
    }

    #[test]
    fn what_did_not_fit_waits_and_what_was_dropped_does_not_come_back() {
        let (mut chosen, vectors) =
            selection(&[("alpha beta", 0.9, 5), ("gamma delta", 0.8, 9), ("epsilon zeta", 0.7, 4)], 10);
        assert_eq!(run(&mut chosen, &vectors, 10), [0, 2]);
        chosen.drop_last(1);
        assert_eq!(chosen.kept.iter().copied().collect::<Vec<_>>(), [0]);
        assert!(!chosen.fill(8, &vectors));
        assert!(chosen.fill(9, &vectors));
        assert_eq!(chosen.kept.iter().copied().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn ties_go_to_the_earlier_sentence() {
        let (mut chosen, vectors) = selection(&[("alpha", 0.5, 5), ("beta", 0.5, 5)], 5);
        assert_eq!(run(&mut chosen, &vectors, 5), [0]);
    }
}
