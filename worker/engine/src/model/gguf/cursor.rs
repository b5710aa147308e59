//! Reading the header: a cursor over the bytes had so far, and the loop that fetches more when it runs out.
//!
//! Knows byte order and bounds; does not know what the bytes mean.

use crate::model::gguf::GgufError;
use crate::ports::ByteSource;

/// Smallest piece that is read. Most headers are 1 to 8 MiB: the vocabulary is in them.
const PIECE_BYTES: u64 = 1 << 20;

/// Largest header that is read. The largest real ones (250 000 tokens and their merges) are about 16 MiB.
pub const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Why a parse did not finish.
#[derive(Debug)]
pub(super) enum Stop {
    /// The header goes on to at least this byte, which exists; nothing is wrong.
    NeedMore(u64),
    /// The file is not usable.
    Invalid(GgufError),
}

impl From<GgufError> for Stop {
    fn from(error: GgufError) -> Self {
        Self::Invalid(error)
    }
}

/// A position in the bytes that have been read of a file of `len_bytes`.
pub(super) struct Cursor<'b> {
    bytes: &'b [u8],
    position: usize,
    len_bytes: u64,
}

impl<'b> Cursor<'b> {
    /// A cursor over a header that is all there.
    pub(super) fn over(bytes: &'b [u8]) -> Self {
        Self { bytes, position: 0, len_bytes: bytes.len() as u64 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Bytes from here to the end of the file, or to the largest header.
    pub(super) fn remaining_bytes(&self) -> u64 {
        self.len_bytes.min(MAX_HEADER_BYTES).saturating_sub(self.position as u64)
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: u64) -> Result<&'b [u8], Stop> {
        let end = (self.position as u64).saturating_add(count);
        if end > self.len_bytes {
            return Err(GgufError::Truncated { needed_bytes: end, len_bytes: self.len_bytes }.into());
        }
        if end > MAX_HEADER_BYTES {
            return Err(GgufError::HeaderTooLarge { needed_bytes: end, limit_bytes: MAX_HEADER_BYTES }.into());
        }
        let taken = self.bytes.get(self.position..end as usize).ok_or(Stop::NeedMore(end))?;
        self.position = end as usize;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Stop> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Stop> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length and that many bytes.
    pub(super) fn text_bytes(&mut self) -> Result<&'b [u8], Stop> {
        let len = self.u64()?;
        self.take(len)
    }
}

/// The front of a file, as far as it was needed.
pub(super) struct HeaderReader<'s> {
    source: &'s dyn ByteSource,
    bytes: Vec<u8>,
    position: usize,
}

impl<'s> HeaderReader<'s> {
    pub(super) fn new(source: &'s dyn ByteSource) -> Self {
        Self { source, bytes: Vec::new(), position: 0 }
    }

    /// Runs `parse` at the current position, fetching more and starting it again as often as it needs. Pieces grow
    /// with what there is, so nothing is parsed more than a few times.
    pub(super) async fn parse<T>(
        &mut self,
        parse: impl Fn(&mut Cursor<'_>) -> Result<T, Stop>,
    ) -> Result<T, GgufError> {
        loop {
            let mut cursor =
                Cursor { bytes: &self.bytes, position: self.position, len_bytes: self.source.len_bytes() };
            match parse(&mut cursor) {
                Ok(value) => {
                    self.position = cursor.position;
                    return Ok(value);
                }
                Err(Stop::NeedMore(end)) => self.grow(end).await?,
                Err(Stop::Invalid(error)) => return Err(error),
            }
        }
    }

    async fn grow(&mut self, end: u64) -> Result<(), GgufError> {
        let start = self.bytes.len() as u64;
        let piece_bytes = (start / 4).max(PIECE_BYTES);
        let end = end.max(start + piece_bytes).min(self.source.len_bytes()).min(MAX_HEADER_BYTES);
        let piece = self.source.read(start..end).await?;
        if piece.len() as u64 != end - start {
            return Err(GgufError::ShortRead { start, expected: end - start, got: piece.len() as u64 });
        }
        self.bytes.reserve_exact(piece.len());
        self.bytes.extend_from_slice(&piece);
        Ok(())
    }

    /// The bytes that were parsed.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.truncate(self.position);
        self.bytes.shrink_to_fit();
        self.bytes
    }
}
