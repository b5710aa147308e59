//! Why a tokenizer cannot be made or used.

use thiserror::Error;

use crate::model::GgufError;

/// Why a tokenizer cannot be made or used.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A key of the file is missing or wrong.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A kind of vocabulary that is not read.
    #[error("tokenizers of kind `{got}` are not supported yet; supported: {supported}")]
    UnsupportedModel {
        /// The file's `tokenizer.ggml.model`.
        got: String,
        /// The kinds that are.
        supported: &'static str,
    },
    /// A pre-tokenizer that is not known: guessing would give other tokens than the model was trained on.
    #[error("the pre-tokenizer `{got}` is not supported yet; supported: {supported}")]
    UnsupportedFamily {
        /// The file's `tokenizer.ggml.pre`.
        got: String,
        /// The families that are.
        supported: &'static str,
    },
    /// More tokens or merges than any real vocabulary.
    #[error("the vocabulary has {got} {what}, at most {limit} are read: the file is damaged")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many the file has.
        got: usize,
        /// How many are read.
        limit: usize,
    },
    /// A vocabulary without tokens.
    #[error("the vocabulary has no tokens: the file is damaged")]
    Empty,
    /// Not one type for each token.
    #[error("the vocabulary has {expected} tokens and {got} token types: the file is damaged")]
    TypeCount {
        /// Number of tokens.
        expected: usize,
        /// Number of types.
        got: usize,
    },
    /// A merge that is not two tokens which make a third.
    #[error("merge {index} (`{merge}`) is not two tokens that make a third: the file is damaged")]
    BadMerge {
        /// Its place in the list.
        index: usize,
        /// Its text.
        merge: String,
    },
    /// A special token's id outside the vocabulary.
    #[error("`{key}` is {got}, but there are only {num_tokens} tokens: the file is damaged")]
    TokenOutOfRange {
        /// The key.
        key: &'static str,
        /// The id.
        got: u32,
        /// Number of tokens.
        num_tokens: usize,
    },
    /// The tokenizer library refused.
    #[error("{during} failed: {reason}")]
    Library {
        /// What was being done.
        during: &'static str,
        /// The library's words.
        reason: String,
    },
}
