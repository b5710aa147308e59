//! A tokenizer from the vocabulary and merges that a GGUF file carries in its header.

use std::collections::BTreeSet;

use ahash::AHashMap;
use tokenizers::AddedToken;
use tokenizers::models::bpe::BPE;

use crate::ids::TokenId;
use crate::model::gguf::{Gguf, Metadata, TextArray, quote};
use crate::tokenizer::bytes::{ByteAlphabet, TokenBytes};
use crate::tokenizer::family::Family;
use crate::tokenizer::{SpecialTokens, Tokenizer, TokenizerError};

/// Most tokens that are read; real vocabularies have up to 260 000.
const MAX_TOKENS: usize = 1 << 20;

/// Most merges that are read; real vocabularies have up to 600 000.
const MAX_MERGES: usize = 1 << 21;

/// Tokens that end a turn wherever they exist as control tokens, whatever `eos_token_id` says: files name only one.
const END_OF_TURN: [&str; 6] =
    ["<|im_end|>", "<|eot_id|>", "<|end|>", "<|endoftext|>", "</s>", "<end_of_turn>"];

/// What a token is, as `tokenizer.ggml.token_type` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    /// Made by merges.
    Normal,
    /// Has a meaning instead of text.
    Control,
    /// Text that is always one token.
    UserDefined,
    /// A row without use.
    Unused,
}

impl TokenKind {
    fn from_id(id: i32) -> Self {
        match id {
            // 2 is the unknown token: like a control token, it has no text of its own.
            2 | 3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            // 1 normal, 6 a byte; anything else is ggml's 0, undefined.
            _ => Self::Normal,
        }
    }
}

impl Tokenizer {
    /// Builds the tokenizer of a GGUF file.
    ///
    /// # Errors
    /// [`TokenizerError`], naming the kind that is not supported or what is wrong with the file.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, TokenizerError> {
        let metadata = gguf.metadata();
        match metadata.text("tokenizer.ggml.model")? {
            "gpt2" => {}
            other => {
                return Err(TokenizerError::UnsupportedModel {
                    got: quote(other),
                    supported: "gpt2 (byte-level BPE)",
                });
            }
        }
        let family = Family::from_name(metadata.find_text("tokenizer.ggml.pre")?.unwrap_or("default"))?;
        let tokens = metadata.texts("tokenizer.ggml.tokens")?;
        let merges = metadata.texts("tokenizer.ggml.merges")?;
        check_count("tokens", tokens.len(), MAX_TOKENS)?;
        check_count("merges", merges.len(), MAX_MERGES)?;
        if tokens.is_empty() {
            return Err(TokenizerError::Empty);
        }
        let kinds = read_kinds(metadata, tokens.len())?;

        let mut vocabulary = AHashMap::with_capacity(tokens.len());
        let mut token_bytes = TokenBytes::with_capacity(tokens.len());
        let mut added = Vec::new();
        let alphabet = ByteAlphabet::new();
        for (id, text) in tokens.iter().enumerate() {
            let text = text?;
            let kind = kinds.get(id).copied().unwrap_or(TokenKind::Normal);
            token_bytes.push(|out| match kind {
                TokenKind::Normal => alphabet.decode_onto(text, out),
                TokenKind::UserDefined => out.extend_from_slice(text.as_bytes()),
                TokenKind::Control | TokenKind::Unused => {}
            });
            vocabulary.insert(text.to_owned(), id as u32);
            match kind {
                TokenKind::Control => added.push(AddedToken::from(text, true)),
                TokenKind::UserDefined => added.push(AddedToken::from(text, false).normalized(false)),
                TokenKind::Normal | TokenKind::Unused => {}
            }
        }
        let special = read_special_tokens(metadata, &tokens, &vocabulary, &kinds)?;
        let pairs = read_merges(&merges)?;

        let model = BPE::builder()
            .vocab_and_merges(vocabulary, pairs)
            .ignore_merges(family.ignores_merges())
            .build()
            .map_err(|error| {
                find_bad_merge(&merges, &tokens).unwrap_or_else(|| TokenizerError::Library {
                    during: "building the tokenizer",
                    reason: error.to_string(),
                })
            })?;
        let mut pipeline = tokenizers::Tokenizer::new(model);
        pipeline.with_normalizer(family.normalizer());
        pipeline.with_pre_tokenizer(Some(family.pre_tokenizer()?));
        pipeline.add_tokens(&added);
        Ok(Self { pipeline, token_bytes, special })
    }
}

fn check_count(what: &'static str, got: usize, limit: usize) -> Result<(), TokenizerError> {
    if got > limit {
        return Err(TokenizerError::TooMany { what, got, limit });
    }
    Ok(())
}

/// One kind for each token; empty when the file does not say, and all are normal.
fn read_kinds(metadata: &Metadata, num_tokens: usize) -> Result<Vec<TokenKind>, TokenizerError> {
    let Some(ids) = metadata.find_i32s("tokenizer.ggml.token_type")? else {
        return Ok(Vec::new());
    };
    if ids.len() != num_tokens {
        return Err(TokenizerError::TypeCount { expected: num_tokens, got: ids.len() });
    }
    Ok(ids.into_iter().map(TokenKind::from_id).collect())
}

fn read_merges(merges: &TextArray<'_>) -> Result<Vec<(String, String)>, TokenizerError> {
    let mut pairs = Vec::with_capacity(merges.len());
    for (index, merge) in merges.iter().enumerate() {
        let merge = merge?;
        let (left, right) =
            merge.split_once(' ').ok_or_else(|| TokenizerError::BadMerge { index, merge: quote(merge) })?;
        pairs.push((left.to_owned(), right.to_owned()));
    }
    Ok(pairs)
}

/// Which merge the library stumbled over. Only asked after a failure: it takes as long as the building itself.
fn find_bad_merge(merges: &TextArray<'_>, tokens: &TextArray<'_>) -> Option<TokenizerError> {
    let vocabulary: BTreeSet<&str> = tokens.iter().flatten().collect();
    let is_bad = |merge: &str| {
        let (left, right) = merge.split_once(' ').unwrap_or_default();
        [left, right, &format!("{left}{right}")].into_iter().any(|part| !vocabulary.contains(part))
    };
    let (index, merge) = merges.iter().flatten().enumerate().find(|(_, merge)| is_bad(merge))?;
    Some(TokenizerError::BadMerge { index, merge: quote(merge) })
}

fn read_special_tokens(
    metadata: &Metadata,
    tokens: &TextArray<'_>,
    vocabulary: &AHashMap<String, u32>,
    kinds: &[TokenKind],
) -> Result<SpecialTokens, TokenizerError> {
    let find = |key: &'static str| -> Result<Option<TokenId>, TokenizerError> {
        match metadata.find_u32(key)? {
            Some(got) if got as usize >= tokens.len() => {
                Err(TokenizerError::TokenOutOfRange { key, got, num_tokens: tokens.len() })
            }
            id => Ok(id.map(TokenId)),
        }
    };
    let with_text = |id: Option<TokenId>| -> Result<Option<(String, TokenId)>, TokenizerError> {
        match id {
            Some(id) => match tokens.iter().nth(id.index()) {
                Some(text) => Ok(Some((text?.to_owned(), id))),
                None => Ok(None),
            },
            None => Ok(None),
        }
    };
    let eos = find("tokenizer.ggml.eos_token_id")?;
    let named = END_OF_TURN.into_iter().filter_map(|text| vocabulary.get(text).copied());
    let end_of_turn: BTreeSet<TokenId> = named
        .filter(|id| kinds.get(*id as usize) == Some(&TokenKind::Control))
        .map(TokenId)
        .chain(eos)
        .chain(find("tokenizer.ggml.eot_token_id")?)
        .collect();
    Ok(SpecialTokens {
        bos: with_text(find("tokenizer.ggml.bos_token_id")?)?,
        eos: with_text(eos)?,
        add_bos: metadata.find_bool("tokenizer.ggml.add_bos_token")?.unwrap_or(false),
        end_of_turn: end_of_turn.into_iter().collect(),
    })
}
