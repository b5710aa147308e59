//! What follows from a model's hyper-parameters, the device and the options: the shapes of all kernels. Pure data.

use hearth_engine::model::{Activation, ModelConfig};
use hearth_engine::plan::StepLimits;

use crate::device::Capabilities;
use crate::error::LoadError;
use crate::kv::{KvType, PageShape};
use crate::layout::row_stride;
use crate::ops::attention::AttentionShape;
use crate::ops::matmul::{Epilogue, Gate, MAX_ROTATION_PAIRS};
use crate::ops::norm::NormShape;
use crate::ops::sample::SampleShape;
use crate::select;

/// Rows of the logits begin at multiples of this many elements.
const LOGITS_ALIGNMENT: u32 = 32;

/// What a model is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelShape<'a> {
    pub capabilities: &'a Capabilities,
    pub config: &'a ModelConfig,
    pub kv_type: KvType,
    pub limits: StepLimits,
}

impl ModelShape<'_> {
    pub fn q_rows(&self) -> u32 {
        self.config.num_heads * self.config.head_dim
    }

    pub fn kv_rows(&self) -> u32 {
        self.config.num_kv_heads * self.config.head_dim
    }

    /// A page of one layer.
    pub fn page(&self) -> PageShape {
        PageShape {
            kv_type: self.kv_type,
            num_kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
        }
    }

    pub fn attention(&self) -> AttentionShape {
        AttentionShape {
            num_heads: self.config.num_heads,
            num_kv_heads: self.config.num_kv_heads,
            head_dim: self.config.head_dim,
            q_stride: self.q_rows(),
            out_stride: row_stride(self.q_rows()),
            kv_type: self.kv_type,
            tuning: select::attention_tuning(self.capabilities),
        }
    }

    pub fn sample(&self) -> SampleShape {
        SampleShape {
            vocab: self.config.vocab_size,
            logits_stride: self.logits_stride(),
            workgroup: select::sample_workgroup(self.capabilities),
        }
    }

    /// Elements of a row of the logits.
    pub fn logits_stride(&self) -> u32 {
        self.config.vocab_size.next_multiple_of(LOGITS_ALIGNMENT)
    }

    /// Rows of a tile of the prefill attention.
    pub fn tile_rows(&self) -> u32 {
        self.attention().tile_rows()
    }

    pub fn norm(&self, only_sampled: bool) -> NormShape {
        let hidden = self.config.hidden_size;
        NormShape {
            hidden,
            stride: row_stride(hidden),
            eps: self.config.rms_norm_eps,
            only_sampled,
            workgroup: select::norm_workgroup(self.capabilities),
        }
    }

    pub fn gate(&self) -> Epilogue {
        Epilogue::Gated(find_gate(self.config.activation).unwrap_or(Gate::Silu))
    }

    /// Refuses shapes that the kernels cannot compute.
    pub fn check(&self) -> Result<(), LoadError> {
        let config = self.config;
        let unsupported = |what, got, expected| Err(LoadError::UnsupportedShape { what, got, expected });
        if config.head_dim == 0 || !config.head_dim.is_multiple_of(4) || config.head_dim > 1024 {
            return unsupported("a head size", config.head_dim, "a multiple of 4, at most 1024");
        }
        if config.num_kv_heads == 0 || !config.num_heads.is_multiple_of(config.num_kv_heads) {
            return unsupported(
                "a number of query heads",
                config.num_heads,
                "a multiple of the key-value heads",
            );
        }
        let rotary = config.rope.rotary_dim;
        if !rotary.is_multiple_of(2) || rotary > config.head_dim || rotary / 2 > MAX_ROTATION_PAIRS {
            return unsupported("a rotary size", rotary, "even, at most the head size, at most 512");
        }
        if config.rope.inverse_frequencies.len() != rotary as usize / 2 {
            let got = config.rope.inverse_frequencies.len() as u32;
            return unsupported("a number of rotary frequencies", got, "half the rotary size");
        }
        if find_gate(config.activation).is_none() {
            return Err(LoadError::UnsupportedActivation { got: config.activation });
        }
        for (what, got) in [
            ("a vocabulary", config.vocab_size),
            ("a hidden size", config.hidden_size),
            ("an intermediate size", config.intermediate_size),
            ("a number of layers", config.num_layers),
        ] {
            if got == 0 {
                return unsupported(what, got, "above 0");
            }
        }
        Ok(())
    }
}

/// The kernels' activation. `None` for one that has no kernel, which [`ModelShape::check`] refuses.
fn find_gate(activation: Activation) -> Option<Gate> {
    match activation {
        Activation::Silu => Some(Gate::Silu),
        _ => None,
    }
}
