//! Token bytes to text, a token at a time.
//!
//! Knows bytes only: which bytes a token stands for is the vocabulary's business.

/// The longest unfinished beginning of a UTF-8 sequence.
const MAX_PENDING_BYTES: usize = 3;

/// Turns the bytes of successive tokens into text that never ends within a character.
///
/// The concatenation of everything that comes out equals `String::from_utf8_lossy` of all bytes that went in. Work
/// per token is proportional to its own bytes.
#[derive(Debug, Clone, Default)]
pub struct Detokenizer {
    pending: [u8; MAX_PENDING_BYTES],
    num_pending: usize,
}

impl Detokenizer {
    /// Starts with nothing pending.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the bytes of one token and appends the characters that are complete now to `out`. Bytes that cannot be
    /// part of UTF-8 become U+FFFD; a sequence that has only begun is kept for the next token.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        let mut rest = bytes;
        // At most three bytes of the new ones can be needed to decide the pending sequence.
        while self.num_pending > 0 {
            let Some((&byte, after)) = rest.split_first() else { return };
            let mut sequence = [0; MAX_PENDING_BYTES + 1];
            sequence[..self.num_pending].copy_from_slice(&self.pending[..self.num_pending]);
            sequence[self.num_pending] = byte;
            let sequence = &sequence[..=self.num_pending];
            match std::str::from_utf8(sequence) {
                Ok(text) => {
                    out.push_str(text);
                    self.num_pending = 0;
                    rest = after;
                }
                Err(error) if error.error_len().is_none() => {
                    self.pending[self.num_pending] = byte;
                    self.num_pending += 1;
                    rest = after;
                }
                Err(_) => {
                    // The byte does not continue the sequence: the sequence is one error, the byte begins anew.
                    out.push(char::REPLACEMENT_CHARACTER);
                    self.num_pending = 0;
                }
            }
        }
        for chunk in rest.utf8_chunks() {
            out.push_str(chunk.valid());
            let invalid = chunk.invalid();
            if invalid.is_empty() {
                continue;
            }
            let at_end = invalid.as_ptr_range().end == rest.as_ptr_range().end;
            let unfinished = std::str::from_utf8(invalid).is_err_and(|error| error.error_len().is_none());
            if at_end && unfinished {
                self.pending[..invalid.len()].copy_from_slice(invalid);
                self.num_pending = invalid.len();
            } else {
                out.push(char::REPLACEMENT_CHARACTER);
            }
        }
    }

    /// Ends the text: a sequence that was begun and never finished becomes U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if self.num_pending > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
            self.num_pending = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(tokens: &[&[u8]]) -> Vec<String> {
        let mut detokenizer = Detokenizer::new();
        let mut texts = Vec::new();
        for token in tokens {
            let mut out = String::new();
            detokenizer.push(token, &mut out);
            texts.push(out);
        }
        let mut out = String::new();
        detokenizer.finish(&mut out);
        texts.push(out);
        texts
    }

    #[test]
    fn a_character_spread_over_tokens_comes_out_whole() {
        assert_eq!(run(&[b"a\xF0\x9F", b"\x94", b"\xA5b"]), ["a", "", "🔥b", ""]);
    }

    #[test]
    fn an_interrupted_sequence_becomes_one_replacement_character() {
        assert_eq!(run(&[b"\xE2\x82", b"x"]), ["", "\u{FFFD}x", ""]);
        assert_eq!(run(&[b"\xE2\x82", b"\xE2\x82\xAC"]), ["", "\u{FFFD}€", ""]);
    }

    #[test]
    fn a_byte_that_no_other_can_complete_is_not_waited_upon() {
        assert_eq!(run(&[b"a\xFF", b"b"]), ["a\u{FFFD}", "b", ""]);
    }

    #[test]
    fn an_unfinished_sequence_is_flushed_at_the_end() {
        assert_eq!(run(&[b"ok\xF0\x9F\x94"]), ["ok", "\u{FFFD}"]);
    }

    #[test]
    fn empty_tokens_change_nothing() {
        assert_eq!(run(&[b"\xC3", b"", b"\xA9"]), ["", "", "é", ""]);
    }

    /// Bytes that are often close to valid UTF-8.
    fn tricky_byte() -> impl Strategy<Value = u8> {
        prop_oneof![
            0x80u8..0xC0,
            Just(0x41),
            Just(0xC3),
            Just(0xE2),
            Just(0xED),
            Just(0xF0),
            Just(0xF4),
            Just(0x82),
            Just(0x9F),
            any::<u8>(),
        ]
    }

    proptest! {
        #[test]
        fn all_pieces_together_equal_a_lossy_decode_of_the_whole(
            tokens in proptest::collection::vec(proptest::collection::vec(tricky_byte(), 0..5), 0..12),
        ) {
            let pieces: Vec<&[u8]> = tokens.iter().map(Vec::as_slice).collect();
            let whole = tokens.concat();
            prop_assert_eq!(run(&pieces).concat(), String::from_utf8_lossy(&whole));
        }
    }
}
