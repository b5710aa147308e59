//! The name of a page: a digest of all tokens up to and including it, since its keys and values depend on all of them.
//!
//! FNV-1a of 128 bits: no defence against somebody who looks for collisions, who could only be a page of the same site.
//! The stored tokens are compared besides, as everything else is that comes from a store.

use std::fmt;

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Digest of a beginning of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainDigest(u128);

impl ChainDigest {
    /// Of no tokens.
    pub const START: Self = Self(OFFSET_BASIS);

    /// The digest with `bytes` after what it has.
    #[must_use]
    pub fn then_bytes(self, bytes: &[u8]) -> Self {
        Self(bytes.iter().fold(self.0, |digest, byte| (digest ^ u128::from(*byte)).wrapping_mul(PRIME)))
    }

    /// The digest with `tokens` after what it has.
    #[must_use]
    pub fn then(self, tokens: &[u32]) -> Self {
        tokens.iter().fold(self, |digest, token| digest.then_bytes(&token.to_le_bytes()))
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex { u128::from_str_radix(text, 16).ok().map(Self) } else { None }
    }
}

impl fmt::Display for ChainDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// Digests of all whole pages of `tokens`, in order.
pub fn page_digests(tokens: &[u32], page_tokens: usize) -> Vec<ChainDigest> {
    let mut digest = ChainDigest::START;
    let pages = tokens.chunks_exact(page_tokens.max(1));
    pages
        .map(|page| {
            digest = digest.then(page);
            digest
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_the_published_ones() {
        // Of the reference implementation's test vectors.
        assert_eq!(ChainDigest::START.then_bytes(b"foobar").to_string(), "343e1662793c64bf6f0d3597ba446f18");
        assert_eq!(ChainDigest::START.then_bytes(b"a").to_string(), "d228cb696f1a8caf78912b704e4a8964");
    }

    #[test]
    fn a_page_is_named_by_all_that_comes_before_it() {
        let tokens: Vec<u32> = (0..50).collect();
        let digests = page_digests(&tokens, 16);
        assert_eq!(digests.len(), 3);
        assert_eq!(digests[1], ChainDigest::START.then(&tokens[..32]));
        let mut other = tokens.clone();
        other[3] = 99;
        let others = page_digests(&other, 16);
        assert!(digests.iter().zip(&others).all(|(one, two)| one != two));
        assert_eq!(page_digests(&tokens[..15], 16), []);
        // Nor is a token known by its low bits alone.
        assert_ne!(ChainDigest::START.then(&[1]), ChainDigest::START.then(&[0x101]));
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = ChainDigest::START.then(&[1, 2, 3]);
        assert_eq!(ChainDigest::parse(&digest.to_string()), Some(digest));
        for bad in ["", "1", "+43e1662793c64bf6f0d3597ba446f18", "343e1662793c64bf6f0d3597ba446f1g"] {
            assert_eq!(ChainDigest::parse(bad), None, "{bad}");
        }
    }
}
