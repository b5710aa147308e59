//! How rows of weights are encoded in files, and the CPU reference that decodes them.
//!
//! Layouts are ggml's (little-endian): <https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-common.h>.

use half::{bf16, f16};
use thiserror::Error;

/// Encoding of a row of weights in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockFormat {
    /// 4 bytes a value.
    F32,
    /// IEEE half, 2 bytes a value.
    F16,
    /// Upper half of an f32, 2 bytes a value.
    Bf16,
    /// Blocks of 32 values in 18 bytes: `d` f16, 16 bytes of nibbles; `d * (q - 8)`.
    Q4_0,
    /// Blocks of 32 values in 20 bytes: `d`, `m` f16, 16 bytes of nibbles; `d * q + m`.
    Q4_1,
    /// Blocks of 32 values in 22 bytes: `d` f16, 4 bytes of fifth bits, 16 bytes of nibbles; `d * (q - 16)`.
    Q5_0,
    /// Blocks of 32 values in 24 bytes: `d`, `m` f16, 4 bytes of fifth bits, 16 bytes of nibbles; `d * q + m`.
    Q5_1,
    /// Blocks of 32 values in 34 bytes: `d` f16, 32 signed bytes; `d * q`.
    Q8_0,
}

impl BlockFormat {
    /// Values in a block.
    pub fn block_len(self) -> u32 {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> u32 {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
        }
    }

    /// Bytes of a row of `columns` values; `columns` is a multiple of [`Self::block_len`].
    pub fn row_bytes(self, columns: u32) -> u64 {
        u64::from(columns / self.block_len()) * u64::from(self.block_bytes())
    }
}

/// A row whose bytes do not fit its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{format:?}: {num_values} values are {expected_bytes} bytes, got {got_bytes}")]
pub struct DecodeError {
    /// The format.
    pub format: BlockFormat,
    /// Values asked for.
    pub num_values: usize,
    /// Bytes that they take.
    pub expected_bytes: u64,
    /// Bytes given.
    pub got_bytes: u64,
}

impl BlockFormat {
    /// The reference: decodes whole blocks (a row, or many) into `values`.
    ///
    /// # Errors
    /// [`DecodeError`] when `bytes` is not exactly as long as `values` needs.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) -> Result<(), DecodeError> {
        let block_len = self.block_len() as usize;
        let expected_bytes = values.len().div_ceil(block_len) as u64 * u64::from(self.block_bytes());
        if bytes.len() as u64 != expected_bytes || !values.len().is_multiple_of(block_len) {
            return Err(DecodeError {
                format: self,
                num_values: values.len(),
                expected_bytes,
                got_bytes: bytes.len() as u64,
            });
        }
        let blocks = bytes.chunks_exact(self.block_bytes() as usize).zip(values.chunks_exact_mut(block_len));
        for (block, values) in blocks {
            match self {
                Self::F32 => values[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
                Self::F16 => values[0] = half_at(block, 0),
                Self::Bf16 => values[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
                Self::Q4_0 => {
                    let d = half_at(block, 0);
                    fill(values, |i| d * (f32::from(nibble(&block[2..], i)) - 8.0));
                }
                Self::Q4_1 => {
                    let (d, m) = (half_at(block, 0), half_at(block, 2));
                    fill(values, |i| d * f32::from(nibble(&block[4..], i)) + m);
                }
                Self::Q5_0 => {
                    let d = half_at(block, 0);
                    fill(values, |i| d * (f32::from(five_bits(&block[2..], i)) - 16.0));
                }
                Self::Q5_1 => {
                    let (d, m) = (half_at(block, 0), half_at(block, 2));
                    fill(values, |i| d * f32::from(five_bits(&block[4..], i)) + m);
                }
                Self::Q8_0 => {
                    let d = half_at(block, 0);
                    fill(values, |i| d * f32::from(block[2 + i].cast_signed()));
                }
            }
        }
        Ok(())
    }
}

fn fill(values: &mut [f32], value: impl Fn(usize) -> f32) {
    for (i, slot) in values.iter_mut().enumerate() {
        *slot = value(i);
    }
}

fn half_at(block: &[u8], offset: usize) -> f32 {
    f16::from_le_bytes([block[offset], block[offset + 1]]).to_f32()
}

/// Low nibbles are elements 0 to 15, high nibbles 16 to 31.
fn nibble(nibbles: &[u8], element: usize) -> u8 {
    let byte = nibbles[element % 16];
    if element < 16 { byte & 15 } else { byte >> 4 }
}

/// Four bytes of fifth bits, then nibbles.
fn five_bits(block: &[u8], element: usize) -> u8 {
    let fifth = (block[element / 8] >> (element % 8)) & 1;
    nibble(&block[4..], element) | (fifth << 4)
}
