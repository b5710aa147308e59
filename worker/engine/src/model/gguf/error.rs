//! What can be wrong with a GGUF file. Every message says what was found, what was expected and what to do.

use thiserror::Error;

use crate::ports::SourceError;

/// Longest piece of text from a file that an error repeats, in characters.
const QUOTE_CHARS: usize = 80;

/// Text from an untrusted file, short enough for a message.
pub(crate) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Why a GGUF file cannot be used.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The bytes could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The source gave fewer or more bytes than were asked for.
    #[error(
        "asked for {expected} bytes of the model file at byte {start}, got {got}: try again or download it again"
    )]
    ShortRead {
        /// First byte asked for.
        start: u64,
        /// Bytes asked for.
        expected: u64,
        /// Bytes received.
        got: u64,
    },
    /// The first four bytes are not `GGUF`.
    #[error("not a GGUF file: it starts with {got:?}, expected {:?}; check the model's URL", *b"GGUF")]
    NotGguf {
        /// The first bytes.
        got: [u8; 4],
    },
    /// The file was written for big-endian machines.
    #[error("a big-endian GGUF file; convert it to little-endian")]
    BigEndian,
    /// A version of the format that is not read.
    #[error(
        "GGUF version {got} is not supported, only 2 and 3; convert the model again with a current converter"
    )]
    UnsupportedVersion {
        /// Version in the file.
        got: u32,
    },
    /// The header reaches past the end of the file.
    #[error(
        "the GGUF header needs byte {needed_bytes} but the file has {len_bytes} bytes: download it again"
    )]
    Truncated {
        /// Bytes that the header needs at least.
        needed_bytes: u64,
        /// Length of the file.
        len_bytes: u64,
    },
    /// The header is larger than any real one.
    #[error(
        "the GGUF header needs {needed_bytes} bytes, at most {limit_bytes} are read: the file is damaged"
    )]
    HeaderTooLarge {
        /// Bytes that the header needs at least.
        needed_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A count that no real file has.
    #[error("the GGUF header claims {got} {what}, at most {limit} are read: the file is damaged")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many the file claims.
        got: u64,
        /// How many are read.
        limit: u64,
    },
    /// Text that is not UTF-8.
    #[error("{what} is not UTF-8 text: the file is damaged")]
    InvalidUtf8 {
        /// Which text.
        what: String,
    },
    /// A boolean that is neither 0 nor 1.
    #[error("key `{key}` holds {got} as a boolean, expected 0 or 1: the file is damaged")]
    InvalidBool {
        /// The key.
        key: String,
        /// The byte.
        got: u8,
    },
    /// A value type outside the format.
    #[error(
        "key `{key}` has value type {got}, expected 0 to 12: the file is damaged or newer than this reader"
    )]
    UnknownValueType {
        /// The key.
        key: String,
        /// The type's number.
        got: u32,
    },
    /// An array of arrays.
    #[error("key `{key}` is an array of arrays, which is not supported")]
    NestedArray {
        /// The key.
        key: String,
    },
    /// A key that comes twice.
    #[error("key `{key}` comes twice: the file is damaged")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A tensor that comes twice.
    #[error("tensor `{name}` comes twice: the file is damaged")]
    DuplicateTensor {
        /// The tensor.
        name: String,
    },
    /// A key that the model needs.
    #[error("key `{key}` is missing: the file is incomplete; convert the model again")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// A key that holds something else than its meaning needs.
    #[error("key `{key}` holds {got}, expected {expected}")]
    WrongType {
        /// The key.
        key: String,
        /// What its meaning needs.
        expected: &'static str,
        /// What the file has.
        got: &'static str,
    },
    /// A key whose value makes no sense.
    #[error("key `{key}` is {got}, expected {expected}")]
    InvalidValue {
        /// The key.
        key: String,
        /// The value.
        got: String,
        /// What would make sense.
        expected: &'static str,
    },
    /// Alignment of the tensors' data.
    #[error("`general.alignment` is {got}, expected a power of two: the file is damaged")]
    BadAlignment {
        /// The value.
        got: u32,
    },
    /// Number of dimensions of a tensor.
    #[error("tensor `{tensor}` has {got} dimensions, expected 1 to 4: the file is damaged")]
    BadDimensionCount {
        /// The tensor.
        tensor: String,
        /// The count.
        got: u32,
    },
    /// A dimension of zero, or more values than 64 bits can count.
    #[error("tensor `{tensor}` has dimensions {dims:?}, which is impossible: the file is damaged")]
    BadDimensions {
        /// The tensor.
        tensor: String,
        /// Innermost first, as in the file.
        dims: Vec<u64>,
    },
    /// A tensor type outside the format.
    #[error("tensor `{tensor}` has the unknown type {got}: the file is damaged or newer than this reader")]
    UnknownTensorType {
        /// The tensor.
        tensor: String,
        /// The type's number.
        got: u32,
    },
    /// A tensor type that no kernel reads.
    #[error(
        "tensor `{tensor}`: {type_name} is not supported yet; use a file in F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0"
    )]
    UnsupportedTensorType {
        /// The tensor.
        tensor: String,
        /// The type's name.
        type_name: &'static str,
    },
    /// A row that ends inside a block.
    #[error(
        "tensor `{tensor}` has rows of {columns} values, expected a multiple of {block_len} for {type_name}"
    )]
    PartialBlock {
        /// The tensor.
        tensor: String,
        /// Values in a row.
        columns: u64,
        /// Values in a block.
        block_len: u64,
        /// The type's name.
        type_name: &'static str,
    },
    /// A tensor that does not start at a multiple of the alignment.
    #[error("tensor `{tensor}` starts at offset {offset_bytes}, expected a multiple of {alignment_bytes}")]
    MisalignedTensor {
        /// The tensor.
        tensor: String,
        /// Offset from the start of the data.
        offset_bytes: u64,
        /// Alignment of the file.
        alignment_bytes: u64,
    },
    /// A tensor that reaches past the end of the file.
    #[error(
        "tensor `{tensor}` ends at byte {end_bytes} but the file has {len_bytes} bytes: download it again"
    )]
    TensorOutOfFile {
        /// The tensor.
        tensor: String,
        /// One past its last byte.
        end_bytes: u64,
        /// Length of the file.
        len_bytes: u64,
    },
    /// Two tensors that share bytes.
    #[error("tensors `{first}` and `{second}` overlap: the file is damaged")]
    TensorsOverlap {
        /// The one that starts first.
        first: String,
        /// The other.
        second: String,
    },
    /// A family without a forward pass.
    #[error("models of architecture `{got}` are not supported yet; supported: {supported}")]
    UnsupportedArchitecture {
        /// The file's word.
        got: String,
        /// The families that are.
        supported: &'static str,
    },
    /// Something that the family's forward pass does not do.
    #[error("this model uses {what}, which is not supported yet")]
    UnsupportedFeature {
        /// The thing.
        what: String,
    },
    /// A tensor that the model needs.
    #[error("tensor `{name}` is missing: the file is incomplete; convert the model again")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor that the forward pass would ignore, and be wrong.
    #[error("tensor `{name}` has no place in this architecture: results would be wrong without it")]
    UnexpectedTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape than the metadata says.
    #[error("tensor `{tensor}` has shape {got:?}, expected {expected:?} from the metadata (innermost first)")]
    ShapeMismatch {
        /// The tensor.
        tensor: String,
        /// From the metadata.
        expected: Vec<u64>,
        /// In the file.
        got: Vec<u64>,
    },
}
