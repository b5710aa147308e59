//! How keys and values lie in a layer's arena: pages of 16 tokens, `[page][keys, values][kv_head][slot][head]`. Pure data; the
//! kernels' side is `shaders/lib/kv_*.wgsl` and `shaders/lib/cache_*.wgsl`.

use crate::step_buffer::BLOCK_SIZE_TOKENS;

/// How keys and values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KvType {
    /// Half precision, two in a word.
    #[default]
    F16,
    /// Single precision.
    F32,
    /// A signed byte, and an f32 scale for each [`GROUP_LEN`] of a head.
    Q8,
}

/// Elements of a head that share a scale; the last group of a head may be shorter.
pub const GROUP_LEN: u32 = 32;

impl KvType {
    /// Bytes of a head of one token, keys or values; `head_dim` is a multiple of 4.
    pub fn head_bytes(self, head_dim: u32) -> u32 {
        match self {
            Self::F16 => 2 * head_dim,
            Self::F32 => 4 * head_dim,
            Self::Q8 => head_dim + 4 * head_dim.div_ceil(GROUP_LEN),
        }
    }
}

/// The shape of a page of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageShape {
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// Key-value heads.
    pub num_kv_heads: u32,
    /// Elements of a head; a multiple of 4.
    pub head_dim: u32,
}

impl PageShape {
    /// Heads of a page, keys and values.
    pub fn num_heads(&self) -> u32 {
        2 * self.num_kv_heads * BLOCK_SIZE_TOKENS
    }

    /// Groups of a head.
    pub fn groups_per_head(&self) -> u32 {
        self.head_dim.div_ceil(GROUP_LEN)
    }

    /// Bytes of a page.
    pub fn bytes(&self) -> u64 {
        u64::from(self.num_heads()) * u64::from(self.kv_type.head_bytes(self.head_dim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bits_take_nine_with_their_scales() {
        let bytes = |kv_type| PageShape { kv_type, num_kv_heads: 3, head_dim: 64 }.bytes();
        let elements = 2 * 3 * 16 * 64;
        assert_eq!(
            [KvType::F32, KvType::F16, KvType::Q8].map(bytes),
            [elements * 4, elements * 2, elements * 9 / 8]
        );
        assert_eq!(KvType::Q8.head_bytes(20), 24, "a short group has a scale too");
    }
}
