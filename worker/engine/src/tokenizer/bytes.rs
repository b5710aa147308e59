//! GPT-2's byte alphabet, and the bytes of every token in one piece of memory.

use crate::ids::TokenId;

/// Bytes that print as themselves in GPT-2's alphabet; the other 68 are written as U+0100 and up, in order.
fn prints_as_itself(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// Characters of the alphabet are below this.
const ALPHABET_END: usize = 0x144;

/// The alphabet backwards: character to byte.
pub(super) struct ByteAlphabet {
    bytes: [Option<u8>; ALPHABET_END],
}

impl ByteAlphabet {
    pub(super) fn new() -> Self {
        let mut bytes = [None; ALPHABET_END];
        let mut next = 0x100;
        for byte in 0..=u8::MAX {
            if prints_as_itself(byte) {
                bytes[usize::from(byte)] = Some(byte);
            } else {
                bytes[next] = Some(byte);
                next += 1;
            }
        }
        Self { bytes }
    }

    /// Bytes of a token's text; text outside the alphabet stands for itself.
    pub(super) fn decode_onto(&self, text: &str, out: &mut Vec<u8>) {
        let start = out.len();
        for character in text.chars() {
            match self.bytes.get(character as usize).copied().flatten() {
                Some(byte) => out.push(byte),
                None => {
                    out.truncate(start);
                    out.extend_from_slice(text.as_bytes());
                    return;
                }
            }
        }
    }
}

/// The bytes of all tokens, one after another.
#[derive(Debug, Clone)]
pub(super) struct TokenBytes {
    bytes: Vec<u8>,
    /// Where each token ends.
    ends: Vec<u32>,
}

impl TokenBytes {
    pub(super) fn with_capacity(num_tokens: usize) -> Self {
        Self { bytes: Vec::with_capacity(num_tokens * 6), ends: Vec::with_capacity(num_tokens) }
    }

    /// Adds the next token, whose bytes `write` appends.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    pub(super) fn len(&self) -> u32 {
        self.ends.len() as u32
    }

    /// Empty for ids outside.
    pub(super) fn get(&self, token: TokenId) -> &[u8] {
        let index = token.index();
        let Some(end) = self.ends.get(index) else {
            return &[];
        };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..*end as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let alphabet = ByteAlphabet::new();
        let mut bytes: Vec<u8> = alphabet.bytes.iter().flatten().copied().collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=u8::MAX).collect::<Vec<_>>());
        let mut out = Vec::new();
        alphabet.decode_onto("Ġhello", &mut out);
        alphabet.decode_onto("Ċ", &mut out);
        alphabet.decode_onto("ĠÅĵ", &mut out);
        assert_eq!(out, " hello\n œ".as_bytes());
    }

    #[test]
    fn text_outside_the_alphabet_stands_for_itself() {
        let mut out = b"kept".to_vec();
        ByteAlphabet::new().decode_onto("Ġ東", &mut out);
        assert_eq!(out, "keptĠ東".as_bytes());
    }

    #[test]
    fn tokens_are_found_by_id_and_unknown_ids_are_empty() {
        let mut tokens = TokenBytes::with_capacity(3);
        for text in ["ab", "", "c"] {
            tokens.push(|out| out.extend_from_slice(text.as_bytes()));
        }
        let all: Vec<&[u8]> = (0..5).map(|id| tokens.get(TokenId(id))).collect();
        assert_eq!(all, [&b"ab"[..], b"", b"c", b"", b""]);
        assert_eq!(tokens.get(TokenId(u32::MAX)), b"");
    }
}
