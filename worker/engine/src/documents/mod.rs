//! Long texts: cutting them into pieces of so many tokens, and shortening them to so many. Knows text and a way to count
//! its tokens, neither models nor conversations. The same text and options always give the same result.
//!
//! [`Chunker`] and [`Compressor`] do the work in slices so that a worker can answer others between them; [`chunk`] and
//! [`compress`] run them through. A slice hands about 16 KiB of text to the counter, or as much as one piece of
//! `max_tokens` has: that count cannot be divided without losing its exactness. Two steps of shortening are not divided
//! either, the indexing and the scoring of all sentences: natively about 15 ms for each MiB of prose, 30 ms where
//! sentences have a word each.

mod blocks;
mod chunker;
mod compressor;
mod counting;
mod error;
mod features;
mod lines;
mod outline;
mod pieces;
mod rank;
mod selection;
mod sentences;
mod splitting;
mod units;
mod words;

use crate::tokenizer::Tokenizer;

pub use hearth_protocol::documents::{CompressedText as Compressed, TextChunk as Chunk};

pub use self::chunker::Chunker;
pub use self::compressor::Compressor;
pub use self::error::DocumentError;

/// Longest text that is taken, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// Text handed to the counter in one slice of work: a few milliseconds of a tokenizer in a browser.
const SLICE_BYTES: usize = 16 << 10;

/// Counts the tokens of a text. The same text must always have the same number.
pub trait TokenCounter {
    /// Tokens of `text`.
    fn count(&self, text: &str) -> usize;
}

impl<F: Fn(&str) -> usize> TokenCounter for F {
    fn count(&self, text: &str) -> usize {
        self(text)
    }
}

impl TokenCounter for Tokenizer {
    fn count(&self, text: &str) -> usize {
        // A byte-level vocabulary never has more tokens than bytes, so a failure of the library makes pieces short, not
        // too long.
        self.encode(text).map_or(text.len(), |tokens| tokens.len())
    }
}

/// How a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkOptions {
    /// Tokens of a piece at most; at least 1.
    pub max_tokens: u32,
    /// Tokens that a piece repeats of the one before it at most, in whole sentences; less than `max_tokens`.
    pub overlap_tokens: u32,
}

/// How a text is shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompressOptions<'a> {
    /// Tokens of the result at most; at least 1.
    pub max_tokens: u32,
    /// What the reader wants to know.
    pub query: Option<&'a str>,
}

/// Cuts a text into pieces of at most `max_tokens`, at headings, paragraphs, list items and sentences where it can.
///
/// Without their overlaps the pieces are the text, character for character. An empty text has no pieces.
///
/// # Errors
/// [`DocumentError`] where the options contradict themselves, the text is too long, or one character does not fit.
pub fn chunk(
    text: &str,
    options: ChunkOptions,
    counter: &dyn TokenCounter,
) -> Result<Vec<Chunk>, DocumentError> {
    let mut chunker = Chunker::new(text, options);
    loop {
        if let Some(outcome) = chunker.advance(counter) {
            return outcome;
        }
    }
}

/// Shortens a text to at most `max_tokens` by leaving out sentences; a text that fits comes back as it is.
///
/// Where not even one sentence fits, the beginning of the best one does and none counts as kept; code and tables are never
/// cut. The tokens of the whole text are counted in parts where it is long: see `counting`.
///
/// # Errors
/// [`DocumentError`] where nothing could fit or the text is too long.
pub fn compress(
    text: &str,
    options: CompressOptions<'_>,
    counter: &dyn TokenCounter,
) -> Result<Compressed, DocumentError> {
    let mut compressor = Compressor::new(text, options);
    loop {
        if let Some(outcome) = compressor.advance(counter) {
            return outcome;
        }
    }
}

/// What is wrong with a text and a number of tokens, whatever is to be done with them.
fn check(text: &str, max_tokens: u32) -> Result<(), DocumentError> {
    if max_tokens == 0 {
        return Err(DocumentError::NoRoom);
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(DocumentError::TextTooLong { got_bytes: text.len(), limit_bytes: MAX_TEXT_BYTES });
    }
    Ok(())
}

/// Tokens of a text in the width that they are reported in.
fn count(counter: &dyn TokenCounter, text: &str) -> u32 {
    u32::try_from(counter.count(text)).unwrap_or(u32::MAX)
}
