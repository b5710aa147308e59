//! How text is cut into words before byte-pair merging: one entry for each family that GGUF names in
//! `tokenizer.ggml.pre`.
//!
//! Expressions are those of the families' own `tokenizer.json` files.

use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{NormalizerWrapper, SplitDelimiterBehavior};

use crate::model::gguf::quote;
use crate::tokenizer::TokenizerError;

/// Names that [`Family::from_name`] knows, for messages.
const SUPPORTED: &str = "default, gpt-2, smollm, llama-bpe, qwen2";

/// Llama 3: numbers in groups of up to three digits.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2 to 3: each digit by itself.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A family of byte-level tokenizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// GPT-2's expression.
    Gpt2,
    /// Digits by themselves, then GPT-2's expression.
    SmolLm,
    /// [`LLAMA3`]; whole words in the vocabulary win over merges.
    Llama3,
    /// [`QWEN2`] on composed characters.
    Qwen2,
}

impl Family {
    pub(super) fn from_name(name: &str) -> Result<Self, TokenizerError> {
        match name {
            "default" | "gpt-2" => Ok(Self::Gpt2),
            "smollm" => Ok(Self::SmolLm),
            "llama-bpe" | "llama3" | "llama-v3" => Ok(Self::Llama3),
            "qwen2" | "deepseek-r1-qwen" => Ok(Self::Qwen2),
            other => Err(TokenizerError::UnsupportedFamily { got: quote(other), supported: SUPPORTED }),
        }
    }

    pub(super) fn normalizer(self) -> Option<NormalizerWrapper> {
        match self {
            Self::Qwen2 => Some(NFC.into()),
            Self::Gpt2 | Self::SmolLm | Self::Llama3 => None,
        }
    }

    pub(super) fn ignores_merges(self) -> bool {
        match self {
            Self::Llama3 => true,
            Self::Gpt2 | Self::SmolLm | Self::Qwen2 => false,
        }
    }

    pub(super) fn pre_tokenizer(self) -> Result<PreTokenizerWrapper, TokenizerError> {
        let with_own_expression = ByteLevel::new(false, true, true);
        let bytes_only = ByteLevel::new(false, true, false);
        Ok(match self {
            Self::Gpt2 => with_own_expression.into(),
            Self::SmolLm => sequence(Digits::new(true).into(), with_own_expression),
            Self::Llama3 => sequence(split(LLAMA3)?, bytes_only),
            Self::Qwen2 => sequence(split(QWEN2)?, bytes_only),
        })
    }
}

fn sequence(first: PreTokenizerWrapper, then: ByteLevel) -> PreTokenizerWrapper {
    Sequence::new(vec![first, then.into()]).into()
}

fn split(expression: &str) -> Result<PreTokenizerWrapper, TokenizerError> {
    Split::new(SplitPattern::Regex(expression.to_owned()), SplitDelimiterBehavior::Isolated, false)
        .map(Into::into)
        .map_err(|error| TokenizerError::Library {
            during: "compiling the pre-tokenizer",
            reason: error.to_string(),
        })
}
