//! The tensor part of a header: names, shapes, types, and where the bytes are.

use std::collections::BTreeMap;

use crate::model::gguf::cursor::{Cursor, Stop};
use crate::model::gguf::error::{GgufError, quote};
use crate::model::quant::BlockFormat;

/// Longest tensor name; ggml itself stops at 64.
const MAX_NAME_BYTES: u64 = 1024;

/// Most dimensions of a tensor: the format's own limit.
const MAX_DIMS: u32 = 4;

/// A tensor type of ggml: its number, name and block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorType {
    id: u32,
    /// ggml's name.
    pub name: &'static str,
    /// Values in a block.
    pub block_len: u64,
    /// Bytes of a block.
    pub block_bytes: u64,
}

const fn tensor_type(id: u32, name: &'static str, block_len: u64, block_bytes: u64) -> TensorType {
    TensorType { id, name, block_len, block_bytes }
}

/// From ggml's `type_traits`; sizes matter also for types that no kernel reads, to say so and nothing worse.
const TENSOR_TYPES: [TensorType; 34] = [
    tensor_type(0, "F32", 1, 4),
    tensor_type(1, "F16", 1, 2),
    tensor_type(2, "Q4_0", 32, 18),
    tensor_type(3, "Q4_1", 32, 20),
    tensor_type(6, "Q5_0", 32, 22),
    tensor_type(7, "Q5_1", 32, 24),
    tensor_type(8, "Q8_0", 32, 34),
    tensor_type(9, "Q8_1", 32, 36),
    tensor_type(10, "Q2_K", 256, 84),
    tensor_type(11, "Q3_K", 256, 110),
    tensor_type(12, "Q4_K", 256, 144),
    tensor_type(13, "Q5_K", 256, 176),
    tensor_type(14, "Q6_K", 256, 210),
    tensor_type(15, "Q8_K", 256, 292),
    tensor_type(16, "IQ2_XXS", 256, 66),
    tensor_type(17, "IQ2_XS", 256, 74),
    tensor_type(18, "IQ3_XXS", 256, 98),
    tensor_type(19, "IQ1_S", 256, 50),
    tensor_type(20, "IQ4_NL", 32, 18),
    tensor_type(21, "IQ3_S", 256, 110),
    tensor_type(22, "IQ2_S", 256, 82),
    tensor_type(23, "IQ4_XS", 256, 136),
    tensor_type(24, "I8", 1, 1),
    tensor_type(25, "I16", 1, 2),
    tensor_type(26, "I32", 1, 4),
    tensor_type(27, "I64", 1, 8),
    tensor_type(28, "F64", 1, 8),
    tensor_type(29, "IQ1_M", 256, 56),
    tensor_type(30, "BF16", 1, 2),
    tensor_type(34, "TQ1_0", 256, 54),
    tensor_type(35, "TQ2_0", 256, 66),
    tensor_type(39, "MXFP4", 32, 17),
    tensor_type(40, "NVFP4", 64, 36),
    tensor_type(41, "Q1_0", 128, 18),
];

impl TensorType {
    fn from_id(id: u32) -> Option<Self> {
        TENSOR_TYPES.into_iter().find(|kind| kind.id == id)
    }

    /// The format as the engine knows it; none for types that no kernel reads.
    pub fn block_format(self) -> Option<BlockFormat> {
        Some(match self.id {
            0 => BlockFormat::F32,
            1 => BlockFormat::F16,
            2 => BlockFormat::Q4_0,
            3 => BlockFormat::Q4_1,
            6 => BlockFormat::Q5_0,
            7 => BlockFormat::Q5_1,
            8 => BlockFormat::Q8_0,
            30 => BlockFormat::Bf16,
            _ => return None,
        })
    }
}

/// One tensor of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Innermost first: `[columns, rows]`.
    pub dims: Vec<u64>,
    /// How its rows are encoded.
    pub tensor_type: TensorType,
    /// First byte in the file.
    pub offset_bytes: u64,
    /// Bytes in the file.
    pub len_bytes: u64,
}

impl GgufTensor {
    /// Offsets are still from the start of the data; [`place`] moves them.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let name_len = cursor.u64()?;
        if name_len > MAX_NAME_BYTES {
            let error =
                GgufError::TooMany { what: "bytes of a tensor name", got: name_len, limit: MAX_NAME_BYTES };
            return Err(error.into());
        }
        let name = std::str::from_utf8(cursor.take(name_len)?)
            .map_err(|_| GgufError::InvalidUtf8 { what: "a tensor name".to_owned() })?
            .to_owned();
        let num_dims = cursor.u32()?;
        if !(1..=MAX_DIMS).contains(&num_dims) {
            return Err(GgufError::BadDimensionCount { tensor: quote(&name), got: num_dims }.into());
        }
        let dims = (0..num_dims).map(|_| cursor.u64()).collect::<Result<Vec<_>, _>>()?;
        let type_id = cursor.u32()?;
        let tensor_type = TensorType::from_id(type_id)
            .ok_or_else(|| GgufError::UnknownTensorType { tensor: quote(&name), got: type_id })?;
        let offset_bytes = cursor.u64()?;
        let len_bytes = checked_len_bytes(&name, &dims, tensor_type)?;
        Ok(Self { name, dims, tensor_type, offset_bytes, len_bytes })
    }
}

fn checked_len_bytes(name: &str, dims: &[u64], tensor_type: TensorType) -> Result<u64, GgufError> {
    let bad = || GgufError::BadDimensions { tensor: quote(name), dims: dims.to_vec() };
    let values = dims.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim)).ok_or_else(bad)?;
    if values == 0 {
        return Err(bad());
    }
    if !dims[0].is_multiple_of(tensor_type.block_len) {
        return Err(GgufError::PartialBlock {
            tensor: quote(name),
            columns: dims[0],
            block_len: tensor_type.block_len,
            type_name: tensor_type.name,
        });
    }
    (values / tensor_type.block_len).checked_mul(tensor_type.block_bytes).ok_or_else(bad)
}

/// Turns offsets from the start of the data into offsets in the file, checks every range, and sorts by offset.
pub(super) fn place(
    tensors: &mut [GgufTensor],
    data_start: u64,
    alignment_bytes: u64,
    len_bytes: u64,
) -> Result<(), GgufError> {
    for tensor in tensors.iter_mut() {
        if !tensor.offset_bytes.is_multiple_of(alignment_bytes) {
            return Err(GgufError::MisalignedTensor {
                tensor: quote(&tensor.name),
                offset_bytes: tensor.offset_bytes,
                alignment_bytes,
            });
        }
        let start = data_start.saturating_add(tensor.offset_bytes);
        let end_bytes = start.saturating_add(tensor.len_bytes);
        if end_bytes > len_bytes || end_bytes == u64::MAX {
            return Err(GgufError::TensorOutOfFile { tensor: quote(&tensor.name), end_bytes, len_bytes });
        }
        tensor.offset_bytes = start;
    }
    tensors.sort_by_key(|tensor| tensor.offset_bytes);
    for pair in tensors.windows(2) {
        if pair[0].offset_bytes + pair[0].len_bytes > pair[1].offset_bytes {
            return Err(GgufError::TensorsOverlap {
                first: quote(&pair[0].name),
                second: quote(&pair[1].name),
            });
        }
    }
    Ok(())
}

/// Where each name is in `tensors`.
pub(super) fn index_names(tensors: &[GgufTensor]) -> Result<BTreeMap<String, usize>, GgufError> {
    let mut names = BTreeMap::new();
    for (index, tensor) in tensors.iter().enumerate() {
        if names.insert(tensor.name.clone(), index).is_some() {
            return Err(GgufError::DuplicateTensor { name: quote(&tensor.name) });
        }
    }
    Ok(names)
}
