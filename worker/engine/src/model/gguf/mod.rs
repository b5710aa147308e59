//! GGUF files, versions 2 and 3, read by ranges: the header in growing pieces, tensors only as places in the file.
//!
//! Everything in a file is untrusted: counts, lengths, offsets and shapes are checked before they are used, and what is
//! kept is bounded by the header's bytes. Knows the format and, in [`llama`](self), one family's names; no device.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod cursor;
mod error;
mod llama;
mod metadata;
mod tensor;

use std::collections::BTreeMap;

use crate::model::config::ModelConfig;
use crate::model::tensors::ModelTensors;
use crate::ports::ByteSource;

use self::cursor::{Cursor, HeaderReader, Stop};
use self::metadata::Entry;

pub use self::cursor::MAX_HEADER_BYTES;
pub use self::error::GgufError;
pub(crate) use self::error::quote;
pub use self::metadata::{Metadata, TextArray};
pub use self::tensor::{GgufTensor, TensorType};

/// Most keys that are read. Real files have about fifty.
const MAX_KEYS: u64 = 1 << 16;

/// Most tensors that are read. The largest real files have a few thousand.
const MAX_TENSORS: u64 = 1 << 16;

/// Alignment of the data when `general.alignment` is absent.
const DEFAULT_ALIGNMENT_BYTES: u32 = 32;

/// Families that [`Gguf::read_model`] knows, for messages.
const SUPPORTED_ARCHITECTURES: &str = "llama";

/// The header of a GGUF file.
#[derive(Debug, Clone)]
pub struct Gguf {
    metadata: Metadata,
    tensors: Vec<GgufTensor>,
    names: BTreeMap<String, usize>,
}

impl Gguf {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`GgufError`], naming what is wrong with the file.
    pub async fn open(source: &dyn ByteSource) -> Result<Self, GgufError> {
        let mut reader = HeaderReader::new(source);
        let preamble = reader.parse(Preamble::parse).await?;
        let mut metadata = Metadata::new();
        for _ in 0..preamble.num_keys {
            metadata.insert(reader.parse(Entry::parse).await?)?;
        }
        let mut tensors = Vec::new();
        for _ in 0..preamble.num_tensors {
            tensors.push(reader.parse(GgufTensor::parse).await?);
        }
        let header = reader.finish();
        let header_bytes = header.len() as u64;
        metadata.set_header(header);

        let alignment = metadata.find_u32("general.alignment")?.unwrap_or(DEFAULT_ALIGNMENT_BYTES);
        if !alignment.is_power_of_two() {
            return Err(GgufError::BadAlignment { got: alignment });
        }
        let alignment = u64::from(alignment);
        let data_start = header_bytes.next_multiple_of(alignment);
        tensor::place(&mut tensors, data_start, alignment, source.len_bytes())?;
        let names = tensor::index_names(&tensors)?;
        Ok(Self { metadata, tensors, names })
    }

    /// The keys.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// All tensors, by place in the file.
    pub fn tensors(&self) -> &[GgufTensor] {
        &self.tensors
    }

    /// The tensor with this name.
    pub fn find_tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.names.get(name).map(|index| &self.tensors[*index])
    }

    /// Hyper-parameters and tensors in the engine's own terms. Reads the few tensors that are parameters themselves
    /// (rotary frequencies) from `source`.
    ///
    /// # Errors
    /// [`GgufError`], naming what is missing, wrong or not supported.
    pub async fn read_model(
        &self,
        source: &dyn ByteSource,
    ) -> Result<(ModelConfig, ModelTensors), GgufError> {
        match self.metadata.text("general.architecture")? {
            "llama" => llama::read_model(self, source).await,
            other => Err(GgufError::UnsupportedArchitecture {
                got: quote(other),
                supported: SUPPORTED_ARCHITECTURES,
            }),
        }
    }
}

/// What comes before the keys.
struct Preamble {
    num_tensors: u64,
    num_keys: u64,
}

impl Preamble {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Stop> {
        let magic = cursor.array()?;
        if &magic != b"GGUF" {
            return Err(GgufError::NotGguf { got: magic }.into());
        }
        match cursor.u32()? {
            2 | 3 => {}
            // A small version read in the wrong order has only its last byte set.
            got if got & 0x00ff_ffff == 0 && got != 0 => return Err(GgufError::BigEndian.into()),
            got => return Err(GgufError::UnsupportedVersion { got }.into()),
        }
        let num_tensors = cursor.u64()?;
        let num_keys = cursor.u64()?;
        for (what, got, limit) in [("tensors", num_tensors, MAX_TENSORS), ("keys", num_keys, MAX_KEYS)] {
            if got > limit {
                return Err(GgufError::TooMany { what, got, limit }.into());
            }
        }
        Ok(Self { num_tensors, num_keys })
    }
}
