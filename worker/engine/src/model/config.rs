//! The hyper-parameters that a forward pass needs, whatever file they came from.

/// Families whose forward pass exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Architecture {
    /// Llama 1 to 3.2, SmolLM2, TinyLlama: RMSNorm, rotary, grouped-query attention, SwiGLU.
    Llama,
}

/// The function between gate and up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
}

/// Rotary position embedding.
///
/// Throughout the engine and the GPU, rotation pairs are **adjacent** dims `(2i, 2i + 1)`: GGUF stores llama so, and
/// other sources have the rows of q and k re-ordered at load. Attention does not change under a permutation of the
/// dims of q and k together.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Rotated dims of each head, from dim 0; even, at most `head_dim`.
    pub rotary_dim: u32,
    /// Radians per position of each pair, `[rotary_dim / 2]`: `base^(-2i / rotary_dim)`, scaling applied.
    pub inverse_frequencies: Vec<f32>,
}

/// One model's hyper-parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Rows of the embedding and of the logits.
    pub vocab_size: u32,
    /// Width of the residual stream.
    pub hidden_size: u32,
    /// Width of the MLP.
    pub intermediate_size: u32,
    /// Decoder layers.
    pub num_layers: u32,
    /// Query heads.
    pub num_heads: u32,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: u32,
    /// Width of a head; even.
    pub head_dim: u32,
    /// Added under the root of every RMSNorm.
    pub rms_norm_eps: f32,
    /// Rotary embedding.
    pub rope: RopeConfig,
    /// Between gate and up.
    pub activation: Activation,
    /// True when the logits use the embedding table.
    pub tied_embeddings: bool,
    /// Positions that the model was trained for, in tokens.
    pub context_length_tokens: u32,
}

impl ModelConfig {
    /// Bytes of keys and values that one token takes in all layers together, at `bytes_per_element`.
    pub fn kv_bytes_per_token(&self, bytes_per_element: u32) -> u64 {
        2 * u64::from(self.num_layers)
            * u64::from(self.num_kv_heads)
            * u64::from(self.head_dim)
            * u64::from(bytes_per_element)
    }
}
