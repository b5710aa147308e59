//! Text to token ids and ids to bytes. Knows vocabularies and pre-tokenizers, not templates and not models.

mod bytes;
pub mod detokenize;
mod error;
mod family;
mod gguf;

use crate::ids::TokenId;

use self::bytes::TokenBytes;

pub use self::error::TokenizerError;

/// What a token stands for.
pub trait Vocabulary {
    /// Bytes of a token, not necessarily whole characters; empty for control tokens and unknown ids.
    fn token_bytes(&self, token: TokenId) -> &[u8];
}

/// A model's own vocabulary and the rules to cut text into it.
pub struct Tokenizer {
    pipeline: tokenizers::Tokenizer,
    token_bytes: TokenBytes,
    special: SpecialTokens,
}

/// Tokens that mean something to the machinery around the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Text and id of the token that begins a text.
    pub bos: Option<(String, TokenId)>,
    /// Text and id of the token that ends a text.
    pub eos: Option<(String, TokenId)>,
    /// True when raw text (a completion without a template) begins with `bos`.
    pub add_bos: bool,
    /// Tokens after which the model's turn is over; sorted.
    pub end_of_turn: Vec<TokenId>,
}

impl Tokenizer {
    /// Cuts text into tokens. Control and user-defined tokens written in the text are recognised; none is added.
    ///
    /// Bytes that the vocabulary has no token for vanish.
    ///
    /// # Errors
    /// [`TokenizerError::Library`] when the pre-tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, TokenizerError> {
        let encoding = self
            .pipeline
            .encode_fast(text, false)
            .map_err(|error| TokenizerError::Library { during: "encoding", reason: error.to_string() })?;
        Ok(encoding.get_ids().iter().copied().map(TokenId).collect())
    }

    /// Number of tokens; the model's embedding may have more rows.
    pub fn vocab_size(&self) -> u32 {
        self.token_bytes.len()
    }

    /// Tokens after which the model's turn is over; sorted.
    pub fn end_of_turn(&self) -> &[TokenId] {
        &self.special.end_of_turn
    }

    /// The other tokens with a meaning.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The id of a token by its text as the vocabulary writes it.
    pub fn find_token(&self, text: &str) -> Option<TokenId> {
        self.pipeline.token_to_id(text).map(TokenId)
    }
}

impl Vocabulary for Tokenizer {
    fn token_bytes(&self, token: TokenId) -> &[u8] {
        self.token_bytes.get(token)
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}
