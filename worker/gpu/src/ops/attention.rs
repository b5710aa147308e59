//! Attention over pages: one kernel for single rows (decoding), one for tiles of rows (prefill).

use crate::kernel::{Binding, Kernel, Part, SUBGROUPS, Value, read, write};
use crate::kv::KvType;
use crate::shaders;

/// Bindings of both kernels.
pub static BINDINGS: &[Binding] = &[read("step"), read("q"), read("kv"), write("out")];

/// Invocations that WebGPU always allows.
const MAX_INVOCATIONS: u32 = 256;
/// Query heads that share loads in the decode kernel.
const DECODE_HEADS: u32 = 4;

/// How the work is cut, by what suits the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionTuning {
    /// Invocations of the decode kernel; more where a head has more vectors.
    pub decode_workgroup: u32,
    /// Queries of a prefill tile, unless its workgroup would be too large. With `chunk_keys` this sets the workgroup memory:
    /// 4 bytes for each pair of them.
    pub tile_queries: u32,
    /// Keys between two rounds of the softmax in the prefill kernel; a multiple of 16.
    pub chunk_keys: u32,
    /// Quads share loads by subgroup operations.
    pub share_quads: bool,
}

/// The shape of a layer's attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub num_heads: u32,
    /// Key-value heads.
    pub num_kv_heads: u32,
    /// Elements of a head; a multiple of 4, at most 1024.
    pub head_dim: u32,
    /// Elements of a row of q.
    pub q_stride: u32,
    /// Elements of a row of the output.
    pub out_stride: u32,
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// How the work is cut.
    pub tuning: AttentionTuning,
}

impl AttentionShape {
    /// Query heads of each key-value head.
    pub fn group(&self) -> u32 {
        self.num_heads / self.num_kv_heads
    }

    fn tile_queries(&self) -> u32 {
        (MAX_INVOCATIONS / (self.head_dim / 4) * 4).clamp(4, self.tuning.tile_queries)
    }

    /// Heads of a prefill tile.
    pub fn tile_heads(&self) -> u32 {
        self.group().min(self.tile_queries())
    }

    /// Rows of a prefill tile.
    pub fn tile_rows(&self) -> u32 {
        self.tile_queries() / self.tile_heads()
    }

    /// Workgroups of [`decode_kernel`] for each row, in x; y is the rows.
    pub fn decode_grid_x(&self) -> u32 {
        self.num_kv_heads * self.group().div_ceil(DECODE_HEADS)
    }

    /// Workgroups of [`prefill_kernel`] for each tile, in x; y is the tiles.
    pub fn prefill_grid_x(&self) -> u32 {
        self.num_kv_heads * self.group().div_ceil(self.tile_heads())
    }

    fn constants(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("HEAD_DIM", Value::U32(self.head_dim)),
            ("KV_HEADS", Value::U32(self.num_kv_heads)),
            ("GROUP", Value::U32(self.group())),
            ("SCALE", Value::F32((self.head_dim as f32).sqrt().recip())),
            ("Q_STRIDE", Value::U32(self.q_stride)),
            ("OUT_STRIDE", Value::U32(self.out_stride)),
        ]
    }

    fn cache(&self) -> &'static Part {
        match self.kv_type {
            KvType::F16 => &shaders::CACHE_F16,
            KvType::F32 => &shaders::CACHE_F32,
            KvType::Q8 => &shaders::CACHE_Q8,
        }
    }
}

/// Invocations of the decode kernel: enough for a head's vectors.
fn decode_workgroup(shape: &AttentionShape) -> u32 {
    (shape.head_dim / 4).next_multiple_of(16).max(shape.tuning.decode_workgroup).min(MAX_INVOCATIONS)
}

/// Whether the quads of a workgroup ask for the same vectors, so that [`decode_kernel`] and [`prefill_kernel`] can share loads.
fn can_share(shape: &AttentionShape) -> bool {
    (shape.head_dim / 4).is_multiple_of(4)
}

fn kernel(
    shape: &AttentionShape,
    name: &str,
    constants: Vec<(&'static str, Value)>,
    main: &'static Part,
) -> Kernel {
    let share = shape.tuning.share_quads && can_share(shape);
    let mut parts = vec![shape.cache(), &shaders::ATTENTION];
    if share {
        parts.extend([&shaders::SHARE_QUAD, &shaders::SUBGROUP_ID]);
    } else {
        parts.extend([&shaders::SHARE_DIRECT, &shaders::NO_SUBGROUP_ID]);
    }
    parts.push(main);
    Kernel {
        label: format!("attention_{name}_{}", shape.head_dim),
        enables: if share { vec![SUBGROUPS] } else { vec![] },
        constants,
        parts,
        bindings: BINDINGS,
    }
}

/// Attention of single rows.
pub fn decode_kernel(shape: &AttentionShape) -> Kernel {
    let mut constants = shape.constants();
    constants.push(("WORKGROUP", Value::U32(decode_workgroup(shape))));
    kernel(shape, "decode", constants, &shaders::ATTENTION_DECODE)
}

/// Attention of tiles of rows of one sequence.
pub fn prefill_kernel(shape: &AttentionShape) -> Kernel {
    let mut constants = shape.constants();
    constants.push(("TILE_ROWS", Value::U32(shape.tile_rows())));
    constants.push(("TILE_HEADS", Value::U32(shape.tile_heads())));
    constants.push(("CHUNK", Value::U32(shape.tuning.chunk_keys)));
    kernel(shape, "prefill", constants, &shaders::ATTENTION_PREFILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(num_heads: u32, num_kv_heads: u32, head_dim: u32) -> AttentionShape {
        AttentionShape {
            num_heads,
            num_kv_heads,
            head_dim,
            q_stride: num_heads * head_dim,
            out_stride: num_heads * head_dim,
            kv_type: KvType::F16,
            tuning: AttentionTuning {
                decode_workgroup: 16,
                tile_queries: 32,
                chunk_keys: 64,
                share_quads: false,
            },
        }
    }

    #[test]
    fn prefill_tiles_fill_their_queries_within_256_invocations() {
        for (heads, kv_heads, head_dim, tile_rows, tile_heads) in [
            (9, 3, 64, 10, 3),
            (14, 2, 64, 4, 7),
            (32, 32, 96, 32, 1),
            (8, 1, 256, 2, 8),
            (64, 1, 128, 1, 32),
        ] {
            let shape = shape(heads, kv_heads, head_dim);
            assert_eq!((shape.tile_rows(), shape.tile_heads()), (tile_rows, tile_heads), "{shape:?}");
            assert!((tile_rows * tile_heads).div_ceil(4) * (head_dim / 4) <= MAX_INVOCATIONS);
        }
    }

    #[test]
    fn a_decode_workgroup_covers_a_head() {
        assert_eq!(decode_workgroup(&shape(9, 3, 64)), 16);
        assert_eq!(decode_workgroup(&shape(8, 1, 80)), 32);
        assert_eq!(decode_workgroup(&shape(8, 1, 256)), 64);
    }
}
