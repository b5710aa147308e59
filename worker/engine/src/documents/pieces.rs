//! Where pieces begin and end: as full as they can be, at the best place that is there. Knows units and their tokens, not
//! what they say.

use std::ops::Range;

use super::chunker::start_of;
use super::units::{Boundary, Unit};
use super::{ChunkOptions, TokenCounter, count};

/// How often a piece that has room left is tried with more: its parts have fewer tokens together than by themselves.
const MAX_EXTENSIONS: u32 = 4;

/// Puts units together, one count of a piece at a time.
pub(super) struct Packer {
    options: ChunkOptions,
    /// Tokens of all units before each, counted by themselves.
    sums: Vec<u64>,
    /// First unit that no piece has.
    first_new: usize,
    piece: Piece,
}

/// The piece being put together.
struct Piece {
    /// First unit of it; before `first_new` where it repeats some.
    first: usize,
    /// Whether the overlap has been counted.
    has_overlap: bool,
    /// What the units may have together by their own counts.
    limit_tokens: u64,
    /// It has too many tokens with this many units or more.
    too_many: usize,
    /// The longest one so far that fits: one past its last unit, and its tokens.
    best: Option<(usize, u32)>,
    extensions: u32,
}

/// What came of one count.
pub(super) enum Attempt {
    /// More counts are needed.
    Unfinished,
    /// The next piece: its units, the first of them that the one before does not have, its tokens.
    Piece { units: Range<usize>, first_new: usize, tokens: u32 },
    /// All units are in pieces.
    Done,
}

impl Packer {
    pub fn new(options: ChunkOptions, units: &[Unit]) -> Self {
        let mut sums = Vec::with_capacity(units.len() + 1);
        sums.push(0);
        let mut sum = 0;
        for unit in units {
            sum += u64::from(unit.tokens);
            sums.push(sum);
        }
        let piece = Piece::new(0, options.max_tokens, units.len());
        Self { options, sums, first_new: 0, piece: Piece { has_overlap: true, ..piece } }
    }

    /// Counts once.
    pub fn advance(&mut self, text: &str, units: &[Unit], counter: &dyn TokenCounter) -> Attempt {
        if self.first_new >= units.len() {
            return Attempt::Done;
        }
        if !self.piece.has_overlap {
            self.count_overlap(text, units, counter);
            return Attempt::Unfinished;
        }
        let end = self.choose_end(units);
        if let Some((best_end, tokens)) = self.piece.best.filter(|(best_end, _)| end <= *best_end) {
            return self.finish(best_end, tokens, units);
        }
        let text = &text[start_of(units, self.piece.first)..start_of(units, end)];
        let tokens = count(counter, text);
        if tokens > self.options.max_tokens {
            return self.shorten(end, tokens, units);
        }
        self.piece.best = Some((end, tokens));
        let room = self.options.max_tokens - tokens;
        if end == units.len() || room == 0 || self.piece.extensions == MAX_EXTENSIONS {
            return self.finish(end, tokens, units);
        }
        self.piece.extensions += 1;
        self.piece.limit_tokens = self.tokens_of(self.piece.first..end) + u64::from(room);
        Attempt::Unfinished
    }

    /// One past the last unit of the piece, by the units' own counts: the best boundary that leaves it full enough.
    fn choose_end(&self, units: &[Unit]) -> usize {
        let least = self.first_new + 1;
        let base = self.sums[self.piece.first];
        let fitting =
            self.sums.partition_point(|sum| *sum <= base + self.piece.limit_tokens).saturating_sub(1);
        let last = fitting.min(self.piece.too_many - 1).max(least);
        if last == units.len() {
            return last;
        }
        let is_full_enough = |end: usize| {
            let fill = (self.sums[end] - base) as f64 / self.piece.limit_tokens.max(1) as f64;
            fill >= units[end].boundary.least_fill()
        };
        // A heading stands last only where there is no other way.
        let ends = || (least..=last).filter(|end| units[*end].boundary != Boundary::AfterHeading);
        // The later of equals: `max_by_key` keeps the last.
        let best = ends().filter(|end| is_full_enough(*end)).max_by_key(|end| units[*end].boundary);
        best.or_else(|| ends().next_back()).unwrap_or(last)
    }

    fn shorten(&mut self, end: usize, tokens: u32, units: &[Unit]) -> Attempt {
        if end == self.first_new + 1 {
            if self.piece.first == self.first_new {
                // A unit by itself was counted when it was made.
                return self.finish(end, tokens, units);
            }
            self.piece = Piece::new(self.piece.first + 1, self.options.max_tokens, units.len());
            self.piece.has_overlap = true;
            return Attempt::Unfinished;
        }
        self.piece.too_many = end;
        let excess = u64::from(tokens - self.options.max_tokens);
        self.piece.limit_tokens = self.tokens_of(self.piece.first..end).saturating_sub(excess);
        Attempt::Unfinished
    }

    fn finish(&mut self, end: usize, tokens: u32, units: &[Unit]) -> Attempt {
        let piece = self.piece.first..end;
        let first_new = std::mem::replace(&mut self.first_new, end);
        let first = self.overlap_start(first_new, units);
        self.piece = Piece::new(first, self.options.max_tokens, units.len());
        self.piece.has_overlap = first == end;
        Attempt::Piece { units: piece, first_new, tokens }
    }

    /// First of the sentences that the next piece repeats, by their own counts. Nothing is repeated across a heading, and
    /// a piece is not repeated whole.
    fn overlap_start(&self, last_first_new: usize, units: &[Unit]) -> usize {
        let mut start = self.first_new;
        if units.get(start).is_none_or(|unit| unit.is_heading) {
            return start;
        }
        let mut candidate = start;
        while candidate > last_first_new + 1 {
            candidate -= 1;
            let unit = units[candidate];
            let too_many = self.tokens_of(candidate..self.first_new) > u64::from(self.options.overlap_tokens);
            if too_many || unit.is_heading {
                break;
            }
            if unit.begins_sentence {
                start = candidate;
            }
        }
        start
    }

    /// Drops sentences until the overlap has no more tokens than it may have.
    fn count_overlap(&mut self, text: &str, units: &[Unit], counter: &dyn TokenCounter) {
        let overlap = &text[start_of(units, self.piece.first)..start_of(units, self.first_new)];
        if count(counter, overlap) <= self.options.overlap_tokens {
            self.piece.has_overlap = true;
            return;
        }
        let shorter = self.piece.first + 1..self.first_new;
        self.piece.first =
            shorter.into_iter().find(|index| units[*index].begins_sentence).unwrap_or(self.first_new);
        self.piece.has_overlap = self.piece.first == self.first_new;
    }

    fn tokens_of(&self, units: Range<usize>) -> u64 {
        self.sums[units.end] - self.sums[units.start]
    }
}

impl Piece {
    fn new(first: usize, max_tokens: u32, num_units: usize) -> Self {
        Self {
            first,
            has_overlap: false,
            limit_tokens: u64::from(max_tokens),
            too_many: num_units + 1,
            best: None,
            extensions: 0,
        }
    }
}
