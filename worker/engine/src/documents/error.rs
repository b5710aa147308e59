//! Why a text cannot be cut or shortened.

use thiserror::Error;

/// Why a text cannot be cut or shortened as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// No text fits into nothing.
    #[error("maxTokens is 0, expected at least 1")]
    NoRoom,
    /// A piece that only repeats would never come to an end.
    #[error("overlapTokens is {overlap_tokens}, expected less than maxTokens, which is {max_tokens}")]
    OverlapTooLarge {
        /// Tokens that a piece was to repeat.
        overlap_tokens: u32,
        /// Tokens of a piece.
        max_tokens: u32,
    },
    /// One character alone has more tokens than a piece may have.
    #[error(
        "`{character}` alone has {tokens} tokens, more than maxTokens, which is {max_tokens}; ask for larger pieces"
    )]
    CharacterTooLarge {
        /// The character.
        character: char,
        /// Its tokens.
        tokens: u32,
        /// Tokens of a piece.
        max_tokens: u32,
    },
    /// More text than is taken at once.
    #[error("the text has {got_bytes} bytes, at most {limit_bytes} are taken; cut it up before")]
    TextTooLong {
        /// Bytes of the text as UTF-8.
        got_bytes: usize,
        /// Bytes that are taken.
        limit_bytes: usize,
    },
}
