//! Which tensors a model has, under names of our own, and where their bytes are.

use crate::model::quant::BlockFormat;

/// A tensor of a decoder layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerTensor {
    /// RMSNorm weight before attention, `[hidden]`.
    AttentionNorm,
    /// `[num_heads * head_dim, hidden]`, rotation pairs adjacent.
    Query,
    /// `[num_kv_heads * head_dim, hidden]`, rotation pairs adjacent.
    Key,
    /// `[num_kv_heads * head_dim, hidden]`.
    Value,
    /// `[hidden, num_heads * head_dim]`.
    AttentionOutput,
    /// RMSNorm weight before the MLP, `[hidden]`.
    MlpNorm,
    /// `[intermediate, hidden]`.
    Gate,
    /// `[intermediate, hidden]`.
    Up,
    /// `[hidden, intermediate]`.
    Down,
}

/// A tensor by its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TensorName {
    /// `[vocab, hidden]`; also the logits' matrix when embeddings are tied.
    Embedding,
    /// RMSNorm weight before the logits, `[hidden]`.
    FinalNorm,
    /// `[vocab, hidden]`; absent when embeddings are tied.
    Head,
    /// Of layer `.0`.
    Layer(u32, LayerTensor),
}

/// Where a tensor's bytes are and how they are encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its role.
    pub name: TensorName,
    /// What the file calls it; for messages.
    pub file_name: String,
    /// Encoding of each row.
    pub format: BlockFormat,
    /// Rows (outputs); 1 for a vector.
    pub rows: u32,
    /// Columns (inputs), a multiple of the format's block length.
    pub columns: u32,
    /// First byte in the file.
    pub offset_bytes: u64,
}

impl TensorInfo {
    /// Bytes of one row in the file.
    pub fn row_bytes(&self) -> u64 {
        self.format.row_bytes(self.columns)
    }

    /// Bytes of the tensor in the file.
    pub fn len_bytes(&self) -> u64 {
        self.row_bytes() * u64::from(self.rows)
    }
}

/// All tensors that the forward pass needs: shapes are checked against the config, ranges against the file, and the
/// order is that of the bytes in the file, so that a loader reads forward only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelTensors {
    /// In file order.
    pub tensors: Vec<TensorInfo>,
}

impl ModelTensors {
    /// The tensor with this role.
    pub fn find(&self, name: TensorName) -> Option<&TensorInfo> {
        self.tensors.iter().find(|t| t.name == name)
    }

    /// Bytes that a load reads.
    pub fn total_bytes(&self) -> u64 {
        self.tensors.iter().map(TensorInfo::len_bytes).sum()
    }
}
