//! Tokens of a long text, counted window by window. Knows where a text can be divided without changing how it is cut into
//! tokens.

use std::ops::Range;

use super::sentences::is_east_asian;
use super::splitting::floor_grapheme;
use super::{TokenCounter, count};

/// Text counted at once.
const WINDOW_BYTES: usize = 8 << 10;

/// How far back a place to divide is looked for.
const SEARCH_BYTES: usize = 1 << 10;

/// A count under way.
///
/// Byte-level vocabularies cut text into words first, and a window ends only where a word does in all of them: the sum is
/// what the whole text has. Where a text has no such place for a KiB, or with another kind of vocabulary, it may differ by
/// a token for each window.
#[derive(Debug, Clone)]
pub(super) struct WindowCount {
    range: Range<usize>,
    /// Tokens so far.
    pub tokens: u32,
    /// Windows counted so far.
    pub num_windows: u32,
}

impl WindowCount {
    pub fn new(range: Range<usize>) -> Self {
        Self { range, tokens: 0, num_windows: 0 }
    }

    /// Counts one window. True when the whole range has been counted.
    pub fn advance(&mut self, text: &str, counter: &dyn TokenCounter) -> bool {
        if self.range.is_empty() {
            return true;
        }
        let end = window_end(&text[..self.range.end], self.range.start);
        self.tokens = self.tokens.saturating_add(count(counter, &text[self.range.start..end]));
        self.num_windows += 1;
        self.range.start = end;
        self.range.is_empty()
    }

    /// Whether exactly one window was the whole: then the sum is exact whatever the vocabulary.
    pub fn is_exact(&self) -> bool {
        self.num_windows <= 1
    }

    /// By how much the sum may be too large.
    pub fn slack_tokens(&self) -> u32 {
        2 * self.num_windows
    }
}

fn window_end(text: &str, start: usize) -> usize {
    if text.len() - start <= WINDOW_BYTES {
        return text.len();
    }
    let at = floor_grapheme(text, start, start + WINDOW_BYTES);
    let places =
        text[start..at].char_indices().rev().take_while(|(place, _)| start + place + SEARCH_BYTES > at);
    let mut next: Option<char> = text[at..].chars().next();
    let mut after_next = text[at..].chars().nth(1);
    for (place, character) in places {
        let end = start + place + character.len_utf8();
        if is_divide(character, next, after_next) {
            return end;
        }
        (after_next, next) = (next, Some(character));
    }
    at
}

/// Whether a word ends between `before` and `next` for every byte-level vocabulary: before the only blank before a letter and
/// before a comma or stop after a letter.
fn is_divide(before: char, next: Option<char>, after_next: Option<char>) -> bool {
    let Some(next) = next else { return true };
    let is_plain = before.is_ascii_alphanumeric() || is_letter_of_east_asia(before);
    match next {
        ' ' => !before.is_whitespace() && after_next.is_some_and(char::is_alphabetic),
        ',' | '.' | ';' | '、' | '，' | '。' => is_plain,
        _ => false,
    }
}

fn is_letter_of_east_asia(character: char) -> bool {
    is_east_asian(character) && character.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(text: &str) -> Vec<String> {
        let seen = std::cell::RefCell::new(Vec::new());
        let counter = |part: &str| {
            seen.borrow_mut().push(part.to_owned());
            1
        };
        let mut counting = WindowCount::new(0..text.len());
        while !counting.advance(text, &counter) {}
        assert_eq!(counting.num_windows as usize, seen.borrow().len());
        seen.into_inner()
    }

    #[test]
    fn windows_end_where_words_do_and_leave_nothing_out() {
        let text = "Some words, and more of them. ".repeat(1_000);
        let found = windows(&text);
        assert!(found.len() > 3);
        assert_eq!(found.concat(), text);
        assert!(found.iter().all(|window| window.len() <= WINDOW_BYTES));
        assert!(found[1..].iter().all(|window| window.starts_with([' ', ',', '.'])), "{found:?}");
    }

    #[test]
    fn text_without_a_place_to_divide_is_divided_between_characters() {
        for text in ["x".repeat(20_000), "字".repeat(10_000), "👩".repeat(5_000), " ".repeat(20_000)] {
            assert_eq!(windows(&text).concat(), text);
        }
    }
}
