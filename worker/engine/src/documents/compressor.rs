//! Shortening a text by leaving out sentences. Owns the order of the work and the wording of the result; what a sentence
//! is, what it is worth and which are kept are others' affairs.

use std::ops::ControlFlow::{self, Break, Continue};

use ahash::AHashMap;

use super::blocks::BlockKind;
use super::counting::WindowCount;
use super::features::{Terms, Vectors};
use super::outline::{Outline, Sentence};
use super::rank::{Centrality, relevance};
use super::selection::{Candidate, Selection};
use super::splitting::word_len;
use super::{CompressOptions, Compressed, DocumentError, SLICE_BYTES, TokenCounter, check, count};

/// Candidates considered in one slice of work.
const SLICE_CANDIDATES: usize = 128;

/// How often the rest of the room is filled: the last sentences are short, and each count is one of the whole result.
const MAX_FILLS: u32 = 16;

/// Terms that more sentences share tell nothing, and cost most.
const MAX_SHARING: u32 = 1_000;

/// Few sentences may all share a term and it still tells: no term is common below this.
const MIN_SHARING: u32 = 8;

/// What a sentence is worth: shares of relevance to the query, centrality and position.
const WITH_QUERY: [f32; 3] = [0.6, 0.25, 0.15];
const WITHOUT_QUERY: [f32; 3] = [0.0, 0.75, 0.25];

/// Part of a sentence's relevance that its neighbours get: answers stand beside what names the question.
const NEIGHBOUR_SHARE: f32 = 0.25;

/// Part of a heading's relevance that what it is the heading of gets.
const HEADING_SHARE: f32 = 0.3;

/// What code and tables are worth where nobody asks for them.
const UNASKED_CODE: f32 = 0.7;

/// Sentences with fewer terms say little.
const FEW_TERMS: usize = 3;
const FEW_TERMS_WORTH: f32 = 0.6;

/// A text being shortened.
pub struct Compressor<'a> {
    text: &'a str,
    options: CompressOptions<'a>,
    original_tokens: u32,
    outline: Outline<'a>,
    terms: Terms,
    state: State,
}

enum State {
    /// Options are still to be checked.
    New,
    Counting(WindowCount),
    /// It may fit: only the count of all of it tells.
    Fitting,
    /// It fits: only its sentences are still to be counted.
    Outlining,
    Measuring,
    Ranking(Vectors, Centrality),
    Selecting(Vectors, Selection),
    Filling(Filling),
}

/// A selection whose result is being counted.
struct Filling {
    vectors: Vectors,
    selection: Selection,
    /// The fullest result so far that fits.
    best: Option<Compressed>,
    fills: u32,
}

impl<'a> Compressor<'a> {
    /// Prepares to shorten `text`.
    pub fn new(text: &'a str, options: CompressOptions<'a>) -> Self {
        Self {
            text,
            options,
            original_tokens: 0,
            outline: Outline::new(text),
            terms: Terms::new(),
            state: State::New,
        }
    }

    /// Does one slice of the work; the outcome once it is done. Not to be called after that.
    pub fn advance(&mut self, counter: &dyn TokenCounter) -> Option<Result<Compressed, DocumentError>> {
        match std::mem::replace(&mut self.state, State::New) {
            State::New => match check(self.text, self.options.max_tokens) {
                Ok(()) => {
                    self.state = State::Counting(WindowCount::new(0..self.text.len()));
                    None
                }
                Err(error) => Some(Err(error)),
            },
            state => match self.step(state, counter) {
                Continue(state) => {
                    self.state = state;
                    None
                }
                Break(compressed) => Some(Ok(compressed)),
            },
        }
    }

    fn step(&mut self, state: State, counter: &dyn TokenCounter) -> ControlFlow<Compressed, State> {
        let max_tokens = self.options.max_tokens;
        match state {
            State::New => Continue(State::New),
            State::Counting(counting) => Continue(self.count_on(counting, counter)),
            State::Fitting => {
                self.original_tokens = count(counter, self.text);
                let fits = self.original_tokens <= max_tokens;
                Continue(if fits { State::Outlining } else { State::Measuring })
            }
            State::Outlining => {
                let mut slice_bytes = 0;
                while slice_bytes < 4 * SLICE_BYTES {
                    match self.outline.read_next(None) {
                        Some(bytes) => slice_bytes += bytes,
                        None => return Break(self.unchanged()),
                    }
                }
                Continue(State::Outlining)
            }
            State::Measuring => Continue(self.measure_on(counter)),
            State::Ranking(vectors, mut centrality) => Continue(if centrality.advance(&vectors) {
                let selection = Selection::new(self.candidates(&centrality.scores), max_tokens);
                State::Selecting(vectors, selection)
            } else {
                State::Ranking(vectors, centrality)
            }),
            State::Selecting(vectors, mut selection) => {
                let is_done = (0..SLICE_CANDIDATES).any(|_| !selection.take_best(max_tokens, &vectors));
                Continue(if is_done {
                    State::Filling(Filling { vectors, selection, best: None, fills: 0 })
                } else {
                    State::Selecting(vectors, selection)
                })
            }
            State::Filling(filling) => self.fill_on(filling, counter),
        }
    }

    fn count_on(&mut self, mut counting: WindowCount, counter: &dyn TokenCounter) -> State {
        if !counting.advance(self.text, counter) {
            return State::Counting(counting);
        }
        self.original_tokens = counting.tokens;
        let max_tokens = self.options.max_tokens;
        if counting.is_exact() && counting.tokens <= max_tokens {
            State::Outlining
        } else if counting.tokens.saturating_sub(counting.slack_tokens()) <= max_tokens {
            State::Fitting
        } else {
            State::Measuring
        }
    }

    fn measure_on(&mut self, counter: &dyn TokenCounter) -> State {
        let mut slice_bytes = 0;
        while slice_bytes < SLICE_BYTES {
            let Some(bytes) = self.outline.read_next(Some(counter)) else {
                let sharing = (self.terms.num_sentences() as u32 / 4).clamp(MIN_SHARING, MAX_SHARING);
                return State::Ranking(Vectors::new(&self.terms, sharing), Centrality::new());
            };
            slice_bytes += bytes;
            for sentence in &self.outline.sentences[self.terms.num_sentences()..] {
                self.terms.push(&self.text[sentence.content.clone()]);
            }
        }
        State::Measuring
    }

    /// Counts what is kept, and drops or adds some.
    fn fill_on(
        &mut self,
        mut filling: Filling,
        counter: &dyn TokenCounter,
    ) -> ControlFlow<Compressed, State> {
        let max_tokens = self.options.max_tokens;
        let compressed = self.assemble(&filling.selection, counter);
        if compressed.tokens > max_tokens {
            filling.selection.drop_last(compressed.tokens - max_tokens);
            return Continue(State::Filling(filling));
        }
        let room = max_tokens - compressed.tokens;
        if filling.best.as_ref().is_none_or(|best| best.tokens < compressed.tokens) {
            filling.best = Some(compressed);
        }
        if filling.fills < MAX_FILLS && filling.selection.fill(room, &filling.vectors) {
            filling.fills += 1;
            return Continue(State::Filling(filling));
        }
        Break(match filling.best {
            Some(best) if best.sentences_kept > 0 => best,
            _ => self.beginning_of_best(&filling.selection, counter),
        })
    }

    fn unchanged(&self) -> Compressed {
        let num_sentences = self.outline.sentences.len() as u32;
        Compressed {
            text: self.text.to_owned(),
            tokens: self.original_tokens,
            original_tokens: self.original_tokens,
            sentences_kept: num_sentences,
            sentences_total: num_sentences,
        }
    }

    fn assemble(&self, selection: &Selection, counter: &dyn TokenCounter) -> Compressed {
        let mut text = String::new();
        let mut previous: Option<usize> = None;
        for index in selection.kept.iter().map(|index| *index as usize) {
            if let Some(previous) = previous {
                text.push_str(self.outline.joint(previous, index));
            }
            text.push_str(&self.text[self.outline.sentences[index].content.clone()]);
            previous = Some(index);
        }
        self.result(text, selection.kept.len(), counter)
    }

    fn result(&self, text: String, num_kept: usize, counter: &dyn TokenCounter) -> Compressed {
        Compressed {
            tokens: count(counter, &text),
            text,
            original_tokens: self.original_tokens,
            sentences_kept: num_kept as u32,
            sentences_total: self.outline.sentences.len() as u32,
        }
    }

    /// Where not one sentence fits: as many words as fit of the best one that may be cut. No sentence counts as kept.
    fn beginning_of_best(&self, selection: &Selection, counter: &dyn TokenCounter) -> Compressed {
        let may_be_cut = |index: u32| self.outline.sentences[index as usize].is_prose();
        let Some(best) = selection.best(may_be_cut) else { return self.result(String::new(), 0, counter) };
        let content = self.outline.sentences[best as usize].content.clone();
        let sentence = &self.text[content];
        let mut ends = Vec::new();
        let mut position = 0;
        while position < sentence.len() {
            position += word_len(&sentence[position..]);
            ends.push(position);
        }
        let fits = |end: &usize| count(counter, sentence[..*end].trim_end()) <= self.options.max_tokens;
        let at = ends.partition_point(fits);
        // More words may have fewer tokens than less, so what is found is made sure of.
        let end = ends[..at].iter().rev().copied().find(fits).unwrap_or(0);
        self.result(sentence[..end].trim_end().to_owned(), 0, counter)
    }

    fn candidates(&self, centrality: &[f32]) -> Vec<Candidate> {
        let sentences = &self.outline.sentences;
        let relevance = self.options.query.and_then(|query| relevance(&self.terms, query));
        let relevance = relevance.map(|own| self.with_surroundings(&own));
        let mut originals: AHashMap<String, u32> = AHashMap::new();
        let has_text = sentences.iter().any(|sentence| !sentence.is_heading());
        let total: u64 = sentences.iter().map(|sentence| u64::from(sentence.tokens)).sum();
        let mean_tokens = (total as f32 / sentences.len().max(1) as f32).max(1.0);
        sentences
            .iter()
            .enumerate()
            .map(|(index, sentence)| {
                let content = &self.text[sentence.content.clone()];
                let words: Vec<&str> = content.split_whitespace().collect();
                let original = *originals.entry(words.join(" ")).or_insert(index as u32);
                // Headings come with what stands under them.
                let counts = content.contains(char::is_alphanumeric) && !(has_text && sentence.is_heading());
                let score = counts.then(|| {
                    let shares = if relevance.is_some() { WITH_QUERY } else { WITHOUT_QUERY };
                    let asked = relevance.as_ref().map_or(0.0, |relevance| relevance[index]);
                    let position = self.outline.position_worth(index);
                    let score = shares[0] * asked + shares[1] * centrality[index] + shares[2] * position;
                    let is_unasked_code = relevance.is_none() && !sentence.is_prose();
                    let few_terms = self.terms.of(index).len() < FEW_TERMS;
                    // A long sentence has to be worth its room, but not in proportion.
                    let length = (mean_tokens / sentence.tokens.max(1) as f32).sqrt().sqrt().clamp(0.5, 1.2);
                    score
                        * length
                        * if is_unasked_code { UNASKED_CODE } else { 1.0 }
                        * if few_terms { FEW_TERMS_WORTH } else { 1.0 }
                });
                Candidate { score, tokens: sentence.tokens, heading: sentence.heading, original }
            })
            .collect()
    }

    fn with_surroundings(&self, own: &[f32]) -> Vec<f32> {
        let sentences = &self.outline.sentences;
        let in_block = |index: Option<usize>, sentence: &Sentence| {
            let index = index
                .filter(|index| sentences.get(*index).is_some_and(|other| other.block == sentence.block));
            index.map_or(0.0, |index| own[index])
        };
        sentences
            .iter()
            .enumerate()
            .map(|(index, sentence)| {
                let beside =
                    in_block(index.checked_sub(1), sentence).max(in_block(Some(index + 1), sentence));
                let above = sentence.heading.map_or(0.0, |heading| own[heading as usize]);
                (own[index] + NEIGHBOUR_SHARE * beside + HEADING_SHARE * above).min(1.0)
            })
            .collect()
    }
}

impl Sentence {
    fn is_heading(&self) -> bool {
        matches!(self.kind, BlockKind::Heading { .. })
    }

    /// Whether it is running text, which could be cut where there is no other way.
    fn is_prose(&self) -> bool {
        matches!(self.kind, BlockKind::Paragraph | BlockKind::ListItem | BlockKind::Heading { .. })
    }
}
