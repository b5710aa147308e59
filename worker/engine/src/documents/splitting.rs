//! Parts of a text that are small enough: sentences where they fit, else words, else characters. Knows the counter, not
//! where pieces begin.

use std::ops::Range;

use unicode_segmentation::{GraphemeCursor, UnicodeSegmentation};

use super::units::{Boundary, Unit};
use super::{DocumentError, TokenCounter, count};

/// Longest part of a word that is one unit: short enough to fill pieces well, long enough to count few.
const FRAGMENT_BYTES: usize = 48;

/// How far back the beginning of a character is looked for, marks included.
const GRAPHEME_BYTES: usize = 128;

/// How finely a part is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    Sentence,
    Word,
    Fragment,
    Grapheme,
    Character,
}

/// Cuts a text until every part has at most `max_tokens`.
pub(super) struct Splitter<'a> {
    pub text: &'a str,
    pub max_tokens: u32,
    pub counter: &'a dyn TokenCounter,
}

impl Splitter<'_> {
    /// Adds the units of a sentence or a line: one, or as many as it takes. `first` is what stands before the first unit.
    pub fn split(
        &self,
        range: Range<usize>,
        first: Unit,
        units: &mut Vec<Unit>,
    ) -> Result<(), DocumentError> {
        self.split_at(Grain::Sentence, range, first, units)
    }

    fn split_at(
        &self,
        grain: Grain,
        range: Range<usize>,
        first: Unit,
        units: &mut Vec<Unit>,
    ) -> Result<(), DocumentError> {
        let part = &self.text[range.clone()];
        let tokens = count(self.counter, part);
        if tokens <= self.max_tokens {
            units.push(Unit { end: range.end, tokens, ..first });
            return Ok(());
        }
        let (finer, boundary) = match grain {
            Grain::Sentence => (Grain::Word, Boundary::Word),
            Grain::Word => (Grain::Fragment, Boundary::Character),
            Grain::Fragment => (Grain::Grapheme, Boundary::Character),
            Grain::Grapheme => (Grain::Character, Boundary::Character),
            Grain::Character => {
                return Err(DocumentError::CharacterTooLarge {
                    character: part.chars().next().unwrap_or_default(),
                    tokens,
                    max_tokens: self.max_tokens,
                });
            }
        };
        let mut start = range.start;
        let mut unit = first;
        while start < range.end {
            let end = start + finer.first_len(&self.text[start..range.end]);
            self.split_at(finer, start..end, unit, units)?;
            unit = Unit { boundary, begins_sentence: false, ..first };
            start = end;
        }
        Ok(())
    }
}

impl Grain {
    /// Length of the first part of this grain; never 0 for a text that is not empty.
    fn first_len(self, text: &str) -> usize {
        match self {
            Self::Sentence => text.len(),
            Self::Word => word_len(text),
            Self::Fragment if text.len() <= FRAGMENT_BYTES => text.len(),
            Self::Fragment => floor_grapheme(text, 0, FRAGMENT_BYTES),
            Self::Grapheme => text.graphemes(true).next().map_or(text.len(), str::len),
            Self::Character => text.chars().next().map_or(text.len(), char::len_utf8),
        }
    }
}

/// Length of the first word with the blanks after it. Where no blanks are, a comma ends it.
pub(super) fn word_len(text: &str) -> usize {
    let end = text.char_indices().find_map(|(at, character)| match character {
        '、' | '，' | '；' | '：' => Some(at + character.len_utf8()),
        blank if blank.is_whitespace() && at > 0 => Some(at),
        _ => None,
    });
    let end = end.unwrap_or(text.len());
    text.len() - text[end..].trim_start().len()
}

/// The last place at or before `at` where a character as readers see it begins; `from` is before it and begins one. A
/// single one that is longer than can be looked at is cut between its code points.
pub(super) fn floor_grapheme(text: &str, from: usize, at: usize) -> usize {
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let at = (from..=at.min(text.len())).rev().find(is_boundary).unwrap_or(from);
    let context =
        (from..=from.max(at.saturating_sub(GRAPHEME_BYTES))).rev().find(is_boundary).unwrap_or(from);
    let context_end = (at..=text.len().min(at + GRAPHEME_BYTES)).rev().find(is_boundary).unwrap_or(at);
    let around = &text[context..context_end];
    let mut cursor = GraphemeCursor::new(at - context, around.len(), true);
    if cursor.is_boundary(around, 0).unwrap_or(true) && at > from {
        return at;
    }
    match cursor.prev_boundary(around, 0) {
        Ok(Some(boundary)) if context + boundary > from => context + boundary,
        _ if at > from => at,
        // Not even one code point before `at`.
        _ => from + text[from..].chars().next().map_or(0, char::len_utf8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str, max_tokens: u32, counter: &dyn TokenCounter) -> Result<Vec<String>, DocumentError> {
        let mut units = Vec::new();
        Splitter { text, max_tokens, counter }.split(0..text.len(), Unit::default(), &mut units)?;
        let mut start = 0;
        Ok(units
            .iter()
            .map(|unit| {
                let part = text[start..unit.end].to_owned();
                start = unit.end;
                part
            })
            .collect())
    }

    #[test]
    fn parts_become_finer_only_where_they_must() {
        let chars = |text: &str| text.chars().count();
        assert_eq!(parts("one two", 7, &chars).unwrap(), ["one two"]);
        assert_eq!(parts("one two", 4, &chars).unwrap(), ["one ", "two"]);
        assert_eq!(parts("一二、三四", 3, &chars).unwrap(), ["一二、", "三四"]);
        assert_eq!(parts("one twotwo", 4, &chars).unwrap(), ["one ", "t", "w", "o", "t", "w", "o"]);
    }

    #[test]
    fn characters_as_readers_see_them_stay_whole_where_they_fit() {
        let bytes = |text: &str| text.len();
        assert_eq!(parts("e\u{301}e\u{301}", 3, &bytes).unwrap(), ["e\u{301}", "e\u{301}"]);
        assert_eq!(parts("👨‍👩‍👧", 4, &bytes).unwrap(), ["👨", "\u{200d}", "👩", "\u{200d}", "👧"]);
        let error = parts("a👩", 3, &bytes).unwrap_err();
        assert_eq!(error, DocumentError::CharacterTooLarge { character: '👩', tokens: 4, max_tokens: 3 });
    }

    #[test]
    fn the_floor_never_stands_still() {
        let marks = format!("a{}", "\u{301}".repeat(500));
        let at = floor_grapheme(&marks, 0, 300);
        assert!(at > 0 && at <= 300);
        assert_eq!(floor_grapheme("👩👩", 0, 2), 4);
        assert_eq!(floor_grapheme("👩👩", 0, 6), 4);
        assert_eq!(floor_grapheme("👨‍👩‍👧👨‍👩‍👧", 0, 26), 18, "inside the second family");
        assert_eq!(floor_grapheme("abc", 0, 3), 3);
    }
}
