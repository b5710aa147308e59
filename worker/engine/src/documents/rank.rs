//! How much each sentence matters: how central it is among the others, what it has of the query, where it stands. Knows
//! vectors, no text.

use super::features::{Terms, Vectors};

/// Sentences that are compared with each other. Longer texts are ranked block by block: a sentence's neighbours matter
/// most, and the work stays proportional to the text.
const BLOCK_SENTENCES: usize = 1_000;

/// Products of weights in one slice of work: a few milliseconds.
const SLICE_PRODUCTS: usize = 400_000;

/// Less alike sentences are unrelated.
const LEAST_SIMILARITY: f32 = 0.05;

/// Part of a sentence's importance that comes from its neighbours.
const DAMPING: f32 = 0.85;

/// Rounds in which importance spreads: further ones change no order.
const ROUNDS: u32 = 25;

/// BM25: how soon repetition stops to count, and how much longer sentences are held against them.
const BM25_SATURATION: f64 = 1.2;
const BM25_LENGTH: f64 = 0.5;

/// Centrality of all sentences, in the making.
pub(super) struct Centrality {
    block: usize,
    row: usize,
    /// Neighbours of the block's sentences that have been compared, and how alike they are.
    edges: Vec<(u32, f32)>,
    /// Where each row's edges begin; one more at the end.
    starts: Vec<usize>,
    round: u32,
    importance: Vec<f32>,
    products: Vec<f32>,
    /// 0 for a sentence like no other, towards 1 for one like many; done when it has all.
    pub scores: Vec<f32>,
}

impl Centrality {
    pub fn new() -> Self {
        Self {
            block: 0,
            row: 0,
            edges: Vec::new(),
            starts: vec![0],
            round: 0,
            importance: Vec::new(),
            products: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// Does one slice of the work. True when all sentences have their score.
    pub fn advance(&mut self, vectors: &Vectors) -> bool {
        let first = self.block * BLOCK_SENTENCES;
        let end = (first + BLOCK_SENTENCES).min(vectors.num_sentences());
        if first >= end {
            return true;
        }
        let size = end - first;
        let mut work = 0;
        while self.row < size {
            if work > SLICE_PRODUCTS {
                return false;
            }
            work += self.compare(vectors, first, end);
        }
        self.importance.resize(size, 1.0);
        while self.round < ROUNDS {
            if work > SLICE_PRODUCTS {
                return false;
            }
            work += self.edges.len() + size;
            self.spread();
        }
        self.scores.extend(self.importance.iter().map(|importance| importance / (1.0 + importance)));
        self.block += 1;
        self.row = 0;
        self.round = 0;
        self.edges.clear();
        self.starts = vec![0];
        self.importance.clear();
        false
    }

    /// Compares the next sentence with its block; how many products that took.
    fn compare(&mut self, vectors: &Vectors, first: usize, end: usize) -> usize {
        let mut work = 1;
        self.products.clear();
        self.products.resize(end - first, 0.0);
        for (term, weight) in vectors.of(first + self.row) {
            let having = vectors.having(*term);
            let from = having.partition_point(|(sentence, _)| (*sentence as usize) < first);
            for (sentence, other) in
                having[from..].iter().take_while(|(sentence, _)| (*sentence as usize) < end)
            {
                self.products[*sentence as usize - first] += weight * other;
                work += 1;
            }
        }
        for (column, product) in self.products.iter().enumerate() {
            if *product >= LEAST_SIMILARITY && column != self.row {
                self.edges.push((column as u32, *product));
            }
        }
        self.starts.push(self.edges.len());
        self.row += 1;
        work + (end - first) / 8
    }

    /// One round: every sentence hands its importance on to its neighbours by how alike they are.
    fn spread(&mut self) {
        let mut next = vec![1.0 - DAMPING; self.importance.len()];
        for (row, importance) in self.importance.iter().enumerate() {
            let edges = &self.edges[self.starts[row]..self.starts[row + 1]];
            let total: f32 = edges.iter().map(|(_, similarity)| similarity).sum();
            if total > 0.0 {
                let share = DAMPING * importance / total;
                edges.iter().for_each(|(column, similarity)| next[*column as usize] += share * similarity);
            }
        }
        self.importance = next;
        self.round += 1;
    }
}

/// How much each sentence has of a query, from 0 to 1 for the one that has most; none when no sentence has any of it.
pub(super) fn relevance(terms: &Terms, query: &str) -> Option<Vec<f32>> {
    let asked = terms.known(query);
    let lengths: Vec<f64> = (0..terms.num_sentences())
        .map(|sentence| terms.of(sentence).iter().map(|(_, times)| f64::from(*times)).sum())
        .collect();
    let mean = (lengths.iter().sum::<f64>() / lengths.len().max(1) as f64).max(1.0);
    let raw: Vec<f64> = (0..terms.num_sentences())
        .map(|sentence| {
            let penalty = BM25_SATURATION * (1.0 - BM25_LENGTH + BM25_LENGTH * lengths[sentence] / mean);
            let entries = terms.of(sentence);
            asked
                .iter()
                .filter_map(|term| entries.binary_search_by_key(term, |(term, _)| *term).ok())
                .map(|at| {
                    let (term, times) = entries[at];
                    let times = f64::from(times);
                    terms.rarity(term) * times * (BM25_SATURATION + 1.0) / (times + penalty)
                })
                .sum()
        })
        .collect();
    let most = raw.iter().copied().fold(0.0, f64::max);
    (most > 0.0).then(|| raw.iter().map(|value| (value / most) as f32).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(sentences: &[&str]) -> Terms {
        let mut terms = Terms::new();
        sentences.iter().for_each(|sentence| terms.push(sentence));
        terms
    }

    #[test]
    fn the_sentence_that_many_share_words_with_is_central() {
        let terms = terms(&[
            "Foxes hunt mice",
            "Foxes sleep underground",
            "Foxes hunt underground mice while others sleep",
            "Cookies contain sugar",
        ]);
        let vectors = Vectors::new(&terms, 100);
        let mut centrality = Centrality::new();
        while !centrality.advance(&vectors) {}
        let scores = centrality.scores;
        assert_eq!(scores.len(), 4);
        assert!(scores[2] > scores[0] && scores[2] > scores[1] && scores[0] > scores[3], "{scores:?}");
    }

    #[test]
    fn long_texts_are_ranked_block_by_block_and_every_sentence_has_a_score() {
        let sentences: Vec<String> = (0..2_500).map(|n| format!("item{} group{}", n, n % 40)).collect();
        let terms = terms(&sentences.iter().map(String::as_str).collect::<Vec<_>>());
        let vectors = Vectors::new(&terms, 600);
        let mut centrality = Centrality::new();
        let mut slices = 1;
        while !centrality.advance(&vectors) {
            slices += 1;
        }
        assert_eq!(centrality.scores.len(), 2_500);
        assert!(slices >= 3);
    }

    #[test]
    fn the_query_s_rare_words_count_most() {
        let terms = terms(&["the pool has pages", "pages and pages", "the zebra has pages", "nothing here"]);
        let scores = relevance(&terms, "Which pages has the zebra?").unwrap();
        assert_eq!(scores[2], 1.0);
        assert!(scores[1] > 0.0 && scores[1] < 0.6, "{scores:?}");
        assert_eq!(scores[3], 0.0);
        assert_eq!(relevance(&terms, "unknown words"), None);
    }
}
