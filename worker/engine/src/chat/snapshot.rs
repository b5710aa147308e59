//! Replies that an earlier run of the worker began. A snapshot comes from a page, so nothing of it is believed.

use hearth_protocol::context::ReplySnapshot;
use thiserror::Error;

use crate::ids::TokenId;
use crate::sampling::stop::StopStrings;
use crate::tokenizer::detokenize::Detokenizer;
use crate::tokenizer::{Tokenizer, Vocabulary};

/// Longest id of a reply; a UUID has 36.
const MAX_ID_BYTES: usize = 128;

/// The generator of draws has this modulus: seeds that differ by it are the same.
const SEED_MODULUS: i64 = (1 << 31) - 1;

/// Why a reply cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// There is nothing that the reply answers.
    #[error("the snapshot's prompt has no tokens: send the request again without `resume`")]
    EmptyPrompt,
    /// A token that the model does not have.
    #[error(
        "token {token} of the snapshot is not below {vocab_size}, the size of the vocabulary: it was made with another \
         model; send the request again without `resume`"
    )]
    UnknownToken {
        /// Its id.
        token: u32,
        /// Ids are below this.
        vocab_size: u32,
    },
    /// More of something than its own limits allow.
    #[error("the snapshot has {got} {what}, at most {limit} go together with its other numbers")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        got: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Checks that a snapshot could have come from a reply of this model.
///
/// # Errors
/// The first thing that could not.
pub(super) fn check(snapshot: &ReplySnapshot, vocab_size: u32) -> Result<(), SnapshotError> {
    let limit = |what: &'static str, got: usize, limit: usize| {
        if got > limit { Err(SnapshotError::TooMany { what, got, limit }) } else { Ok(()) }
    };
    if snapshot.prompt.is_empty() {
        return Err(SnapshotError::EmptyPrompt);
    }
    if let Some(token) = snapshot.prompt.iter().chain(&snapshot.tokens).find(|token| **token >= vocab_size) {
        return Err(SnapshotError::UnknownToken { token: *token, vocab_size });
    }
    limit("bytes of id", snapshot.id.len(), MAX_ID_BYTES)?;
    let context = snapshot.context_tokens as usize;
    limit("prompt tokens", snapshot.prompt.len(), context)?;
    if let Some(pinned) = snapshot.pinned_tokens {
        limit("pinned tokens", pinned as usize, context)?;
    } else {
        // The last token of a full context is never fed back, so it needs no room.
        limit("generated tokens", snapshot.tokens.len(), context - snapshot.prompt.len() + 1)?;
    }
    if let Some(max_new_tokens) = snapshot.max_new_tokens {
        limit("generated tokens", snapshot.tokens.len(), max_new_tokens as usize)?;
    }
    Ok(())
}

/// The seed that gives the same draws and that every number on the way to a page and back can hold.
pub(super) fn small_seed(seed: i64) -> i64 {
    seed.rem_euclid(SEED_MODULUS).max(1)
}

/// True when the tokens of a snapshot are all that its limits allow.
fn is_full(snapshot: &ReplySnapshot) -> bool {
    let num_tokens = snapshot.tokens.len();
    let fills_context = snapshot.pinned_tokens.is_none()
        && snapshot.prompt.len() + num_tokens > snapshot.context_tokens as usize;
    fills_context || snapshot.max_new_tokens.is_some_and(|limit| num_tokens >= limit as usize)
}

/// The text that the tokens of a snapshot have let out.
pub(super) fn text_so_far(
    snapshot: &ReplySnapshot,
    tokenizer: &Tokenizer,
    stop_strings: &[String],
    ignores_stops: bool,
) -> String {
    let mut detokenizer = Detokenizer::new();
    let mut stops = StopStrings::new(if ignores_stops { Vec::new() } else { stop_strings.to_vec() });
    let mut text = String::new();
    let mut characters = String::new();
    let mut has_ended = is_full(snapshot);
    for token in snapshot.tokens.iter().copied().map(TokenId) {
        if !ignores_stops && tokenizer.end_of_turn().contains(&token) {
            has_ended = true;
            break;
        }
        characters.clear();
        detokenizer.push(tokenizer.token_bytes(token), &mut characters);
        if stops.push(&characters, &mut text) {
            return text;
        }
    }
    if has_ended {
        // What was held back came out with the last token.
        characters.clear();
        detokenizer.finish(&mut characters);
        if !stops.push(&characters, &mut text) {
            stops.finish(&mut text);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_protocol::completion::ContextReport;

    fn snapshot() -> ReplySnapshot {
        ReplySnapshot {
            id: "id".into(),
            created: 0,
            seed: 1,
            prompt: vec![1, 2, 3],
            tokens: vec![4, 5],
            context_tokens: 16,
            pinned_tokens: None,
            max_new_tokens: None,
            report: ContextReport::default(),
        }
    }

    #[test]
    fn a_snapshot_of_this_model_passes() {
        assert_eq!(check(&snapshot(), 6), Ok(()));
        assert_eq!(check(&ReplySnapshot { tokens: vec![5; 14], ..snapshot() }, 6), Ok(()));
        let sliding = ReplySnapshot { tokens: vec![5; 1000], pinned_tokens: Some(16), ..snapshot() };
        assert_eq!(check(&sliding, 6), Ok(()));
    }

    #[test]
    fn what_cannot_have_come_from_here_is_named() {
        let too_many = |what, got, limit| Err(SnapshotError::TooMany { what, got, limit });
        let unknown = Err(SnapshotError::UnknownToken { token: 5, vocab_size: 5 });
        for (wrong, vocab_size, expected) in [
            (ReplySnapshot { prompt: vec![], ..snapshot() }, 6, Err(SnapshotError::EmptyPrompt)),
            (snapshot(), 5, unknown.clone()),
            (ReplySnapshot { prompt: vec![5], tokens: vec![], ..snapshot() }, 5, unknown),
            (ReplySnapshot { id: "x".repeat(129), ..snapshot() }, 6, too_many("bytes of id", 129, 128)),
            (ReplySnapshot { context_tokens: 2, ..snapshot() }, 6, too_many("prompt tokens", 3, 2)),
            (ReplySnapshot { context_tokens: 0, ..snapshot() }, 6, too_many("prompt tokens", 3, 0)),
            (ReplySnapshot { pinned_tokens: Some(17), ..snapshot() }, 6, too_many("pinned tokens", 17, 16)),
            (ReplySnapshot { tokens: vec![5; 15], ..snapshot() }, 6, too_many("generated tokens", 15, 14)),
            (ReplySnapshot { max_new_tokens: Some(1), ..snapshot() }, 6, too_many("generated tokens", 2, 1)),
        ] {
            assert_eq!(check(&wrong, vocab_size), expected, "{wrong:?}");
        }
    }

    #[test]
    fn every_seed_becomes_a_small_one() {
        assert_eq!([7, 0, -1, i64::MAX].map(small_seed), [7, 1, 2_147_483_646, 1]);
        assert!(
            [i64::MIN, i64::MAX, SEED_MODULUS].map(small_seed).iter().all(|seed| (1..1 << 31).contains(seed))
        );
    }
}
