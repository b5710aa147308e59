//! A model file that is in memory already: small models and tests.

use std::ops::Range;

use crate::ports::{ByteSource, LocalFuture, SourceError};

/// Bytes in memory as a [`ByteSource`].
#[derive(Debug, Clone)]
pub struct SliceSource {
    bytes: Vec<u8>,
}

impl SliceSource {
    /// A file of these bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes }
    }
}

impl ByteSource for SliceSource {
    fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<Result<Vec<u8>, SourceError>> {
        let bytes = check_range(&range, self.len_bytes())
            .map(|()| self.bytes[range.start as usize..range.end as usize].to_vec());
        Box::pin(async move { bytes })
    }
}

/// Refuses a range that is not in a file of `len_bytes`.
pub(crate) fn check_range(range: &Range<u64>, len_bytes: u64) -> Result<(), SourceError> {
    if range.start > range.end || range.end > len_bytes {
        return Err(SourceError::OutOfRange { start: range.start, end: range.end, len_bytes });
    }
    Ok(())
}
