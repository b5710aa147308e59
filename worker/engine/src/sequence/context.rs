//! How much of a sequence is in the cache, and what happens when that is full.
//!
//! Whether a row makes the context slide is a pure function of how many tokens come before it, so that a sequence that is
//! run again slides at the same tokens.

use crate::plan::StepLimits;

/// The context of one sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContextLimits {
    /// Tokens of it that are in the cache, at most; the engine's own window and the cache limit them too.
    pub max_tokens: u32,
    /// What happens then.
    pub when_full: WhenFull,
}

impl Default for ContextLimits {
    /// The engine's window, and the generation ends when it is full.
    fn default() -> Self {
        Self { max_tokens: u32::MAX, when_full: WhenFull::Stop }
    }
}

/// What happens to a sequence whose context is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// It ends with `FinishReason::Length`.
    Stop,
    /// The oldest page that is not pinned leaves the context, and it goes on.
    Slide {
        /// Tokens at the start that stay, rounded up to whole pages; at most half of the context.
        pinned_tokens: u32,
    },
}

/// A context that slides, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlidingWindow {
    /// Pages of the context, pinned ones included. At least one more than those.
    pub(crate) num_pages: u32,
    /// Pages at the start that stay.
    pub(crate) num_pinned: u32,
    /// Tokens in a page.
    pub(crate) page_tokens: u32,
}

impl SlidingWindow {
    /// As large as `max_tokens` allows, but no larger than the cache has room for: `max_pages` pages for one sequence, which
    /// while it slides holds its pinned pages twice.
    pub(crate) fn new(limits: &StepLimits, max_pages: u32, max_tokens: u32, pinned_tokens: u32) -> Self {
        let page_tokens = limits.block_size_tokens;
        let of_size = |num_pages: u32| {
            let at_most_half = (num_pages / 2).max(1).min(num_pages - 1);
            let num_pinned = pinned_tokens.div_ceil(page_tokens).min(at_most_half).min(limits.max_page_ops);
            Self { num_pages, num_pinned, page_tokens }
        };
        let largest = (max_tokens / page_tokens).min(max_pages).max(1);
        let fits = |window: &Self| window.num_pages + window.num_pinned <= max_pages;
        (1..=largest).rev().map(of_size).find(fits).unwrap_or_else(|| of_size(1))
    }

    /// Tokens that the context holds.
    pub(crate) fn num_tokens(&self) -> u32 {
        self.num_pages * self.page_tokens
    }

    /// Tokens that have left the context when the row of token number `index` runs.
    pub(crate) fn dropped_before(&self, index: u32) -> u32 {
        (index / self.page_tokens + 1).saturating_sub(self.num_pages) * self.page_tokens
    }

    /// Rows from token number `index` on that run while no more than `num_dropped` tokens have left.
    pub(crate) fn rows_with(&self, index: u32, num_dropped: u32) -> u32 {
        (self.num_tokens() + num_dropped).saturating_sub(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(max_pages: u32, max_page_ops: u32, max_tokens: u32, pinned_tokens: u32) -> (u32, u32) {
        let limits = StepLimits {
            block_size_tokens: 4,
            num_blocks: 64,
            max_blocks: 64,
            max_rows: 8,
            max_sequences: 1,
            max_samples: 1,
            num_sampler_slots: 1,
            max_table_entries: 64,
            max_page_ops,
            row_granularity: 1,
        };
        let window = SlidingWindow::new(&limits, max_pages, max_tokens, pinned_tokens);
        (window.num_pages, window.num_pinned)
    }

    #[test]
    fn pinned_tokens_are_rounded_up_and_at_most_half_of_the_context() {
        assert_eq!(window(64, 64, 39, 0), (9, 0));
        assert_eq!(window(64, 64, 39, 1), (9, 1));
        assert_eq!(window(64, 64, 39, 13), (9, 4));
        assert_eq!(window(64, 64, 39, u32::MAX), (9, 4));
        assert_eq!(window(64, 64, 8, 8), (2, 1));
        assert_eq!(window(64, 64, 7, 8), (1, 0), "one page must be left to slide");
        assert_eq!(window(64, 64, 3, 8), (1, 0), "a context is a page at least");
    }

    #[test]
    fn pinned_pages_are_held_twice_within_the_cache() {
        assert_eq!(window(9, 64, 400, 9), (6, 3));
        assert_eq!(window(10, 64, 400, 400), (7, 3));
        assert_eq!(window(2, 64, 400, 400), (1, 0));
        assert_eq!(window(1, 64, 400, 400), (1, 0));
    }

    #[test]
    fn a_slide_fits_into_one_step() {
        assert_eq!(window(64, 2, 39, 13), (9, 2));
        assert_eq!(window(64, 0, 39, 13), (9, 0));
    }

    #[test]
    fn a_page_leaves_with_the_first_row_that_finds_no_room() {
        let window = SlidingWindow { num_pages: 3, num_pinned: 1, page_tokens: 4 };
        assert_eq!([0, 11, 12, 15, 16, 20].map(|index| window.dropped_before(index)), [0, 0, 4, 4, 8, 12]);
        assert_eq!(
            [(0, 0), (11, 0), (12, 0), (12, 4), (15, 4)].map(|(i, d)| window.rows_with(i, d)),
            [12, 1, 0, 4, 1]
        );
    }
}
