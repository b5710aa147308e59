//! The family that GGUF calls `llama`: keys to [`ModelConfig`], tensor names to [`TensorName`].
//!
//! Llama.cpp's converter re-orders the rows of q and k so that rotation pairs are adjacent, which is the engine's own
//! convention: nothing is permuted here.

use crate::model::config::{Activation, Architecture, ModelConfig, RopeConfig};
use crate::model::gguf::{Gguf, GgufError, GgufTensor, Metadata, quote};
use crate::model::quant::BlockFormat;
use crate::model::tensors::{LayerTensor, ModelTensors, TensorInfo, TensorName};
use crate::ports::ByteSource;

/// Base of the rotary frequencies when the file does not say.
const DEFAULT_ROPE_BASE: f32 = 10_000.0;

/// One divisor for each rotary frequency, `[rotary_dim / 2]` f32: how Llama 3.1's scaling is stored.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// Largest size that a config may claim for anything, so that products of three fit 64 bits.
const MAX_SIZE: u32 = 1 << 21;

const LAYER_TENSORS: [(LayerTensor, &str); 9] = [
    (LayerTensor::AttentionNorm, "attn_norm"),
    (LayerTensor::Query, "attn_q"),
    (LayerTensor::Key, "attn_k"),
    (LayerTensor::Value, "attn_v"),
    (LayerTensor::AttentionOutput, "attn_output"),
    (LayerTensor::MlpNorm, "ffn_norm"),
    (LayerTensor::Gate, "ffn_gate"),
    (LayerTensor::Up, "ffn_up"),
    (LayerTensor::Down, "ffn_down"),
];

pub(super) async fn read_model(
    gguf: &Gguf,
    source: &dyn ByteSource,
) -> Result<(ModelConfig, ModelTensors), GgufError> {
    let mut config = read_config(gguf)?;
    let tensors = map_tensors(gguf, &config)?;
    divide_frequencies(gguf, source, &mut config.rope).await?;
    Ok((config, tensors))
}

/// A size under a key, at least 1.
fn size(metadata: &Metadata, key: &str) -> Result<Option<u32>, GgufError> {
    match metadata.find_u32(key)? {
        Some(got) if got == 0 || got > MAX_SIZE => {
            Err(GgufError::InvalidValue { key: quote(key), got: got.to_string(), expected: "1 to 2097152" })
        }
        size => Ok(size),
    }
}

fn required_size(metadata: &Metadata, key: &str) -> Result<u32, GgufError> {
    size(metadata, key)?.ok_or_else(|| GgufError::MissingKey { key: key.to_owned() })
}

fn read_config(gguf: &Gguf) -> Result<ModelConfig, GgufError> {
    let metadata = gguf.metadata();
    if metadata.find_u32("llama.expert_count")?.unwrap_or(0) > 0 {
        return Err(GgufError::UnsupportedFeature { what: "a mixture of experts".to_owned() });
    }
    let hidden_size = required_size(metadata, "llama.embedding_length")?;
    let num_heads = required_size(metadata, "llama.attention.head_count")?;
    let num_kv_heads = size(metadata, "llama.attention.head_count_kv")?.unwrap_or(num_heads);
    if !num_heads.is_multiple_of(num_kv_heads) {
        return Err(GgufError::InvalidValue {
            key: "llama.attention.head_count_kv".to_owned(),
            got: num_kv_heads.to_string(),
            expected: "a divisor of llama.attention.head_count",
        });
    }
    let head_dim = read_head_dim(metadata, hidden_size, num_heads)?;
    let rms_norm_eps = metadata.f32("llama.attention.layer_norm_rms_epsilon")?;
    if !(rms_norm_eps.is_finite() && rms_norm_eps >= 0.0) {
        return Err(GgufError::InvalidValue {
            key: "llama.attention.layer_norm_rms_epsilon".to_owned(),
            got: rms_norm_eps.to_string(),
            expected: "a finite number of at least 0",
        });
    }
    Ok(ModelConfig {
        architecture: Architecture::Llama,
        vocab_size: read_vocab_size(gguf)?,
        hidden_size,
        intermediate_size: required_size(metadata, "llama.feed_forward_length")?,
        num_layers: required_size(metadata, "llama.block_count")?,
        num_heads,
        num_kv_heads,
        head_dim,
        rms_norm_eps,
        rope: read_rope(metadata, head_dim)?,
        activation: Activation::Silu,
        tied_embeddings: gguf.find_tensor("output.weight").is_none(),
        context_length_tokens: match metadata.u32("llama.context_length")? {
            0 => {
                return Err(GgufError::InvalidValue {
                    key: "llama.context_length".to_owned(),
                    got: "0".to_owned(),
                    expected: "at least 1",
                });
            }
            tokens => tokens,
        },
    })
}

fn read_head_dim(metadata: &Metadata, hidden_size: u32, num_heads: u32) -> Result<u32, GgufError> {
    let invalid = |key: &str, got: u32, expected| {
        Err(GgufError::InvalidValue { key: key.to_owned(), got: got.to_string(), expected })
    };
    let head_dim = match size(metadata, "llama.attention.key_length")? {
        Some(key_length) => key_length,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            return invalid("llama.attention.head_count", num_heads, "a divisor of llama.embedding_length");
        }
    };
    if !head_dim.is_multiple_of(2) {
        return invalid("llama.attention.key_length", head_dim, "an even number");
    }
    let value_length = size(metadata, "llama.attention.value_length")?.unwrap_or(head_dim);
    if value_length != head_dim {
        return invalid(
            "llama.attention.value_length",
            value_length,
            "the same as llama.attention.key_length",
        );
    }
    Ok(head_dim)
}

/// Rows of the embedding; the metadata, where it speaks of them, must agree.
fn read_vocab_size(gguf: &Gguf) -> Result<u32, GgufError> {
    let embedding = find_tensor(gguf, "token_embd.weight")?;
    let rows = embedding.dims.get(1).copied().unwrap_or(1);
    let claimed = match size(gguf.metadata(), "llama.vocab_size")? {
        Some(claimed) => u64::from(claimed),
        None => rows,
    };
    let num_tokens =
        gguf.metadata().find_texts("tokenizer.ggml.tokens")?.map_or(0, |tokens| tokens.len() as u64);
    if rows != claimed || rows < num_tokens || rows > u64::from(MAX_SIZE) {
        return Err(GgufError::ShapeMismatch {
            tensor: embedding.name.clone(),
            expected: vec![embedding.dims[0], claimed.max(num_tokens)],
            got: embedding.dims.clone(),
        });
    }
    Ok(rows as u32)
}

/// Frequencies without the divisors, which are a tensor.
fn read_rope(metadata: &Metadata, head_dim: u32) -> Result<RopeConfig, GgufError> {
    let rotary_dim = size(metadata, "llama.rope.dimension_count")?.unwrap_or(head_dim);
    if rotary_dim > head_dim || !rotary_dim.is_multiple_of(2) {
        return Err(GgufError::InvalidValue {
            key: "llama.rope.dimension_count".to_owned(),
            got: rotary_dim.to_string(),
            expected: "an even number, at most the width of a head",
        });
    }
    let base = positive(metadata, "llama.rope.freq_base")?.unwrap_or(DEFAULT_ROPE_BASE);
    let linear_factor = match metadata.find_text("llama.rope.scaling.type")? {
        None => positive(metadata, "llama.rope.scale_linear")?.unwrap_or(1.0),
        Some("none") => 1.0,
        Some("linear") => positive(metadata, "llama.rope.scaling.factor")?.unwrap_or(1.0),
        Some(other) => {
            return Err(GgufError::UnsupportedFeature { what: format!("`{}` rotary scaling", quote(other)) });
        }
    };
    // In f64: at position 100 000 an error of one f32 rounding is already a hundredth of a radian.
    let inverse_frequencies = (0..rotary_dim / 2)
        .map(|pair| {
            let exponent = -2.0 * f64::from(pair) / f64::from(rotary_dim);
            (f64::from(base).powf(exponent) / f64::from(linear_factor)) as f32
        })
        .collect();
    Ok(RopeConfig { rotary_dim, inverse_frequencies })
}

fn positive(metadata: &Metadata, key: &str) -> Result<Option<f32>, GgufError> {
    match metadata.find_f32(key)? {
        Some(got) if !(got.is_finite() && got > 0.0) => Err(GgufError::InvalidValue {
            key: key.to_owned(),
            got: got.to_string(),
            expected: "a finite number above 0",
        }),
        value => Ok(value),
    }
}

async fn divide_frequencies(
    gguf: &Gguf,
    source: &dyn ByteSource,
    rope: &mut RopeConfig,
) -> Result<(), GgufError> {
    let Some(tensor) = gguf.find_tensor(ROPE_FREQS) else {
        return Ok(());
    };
    let expected = vec![rope.inverse_frequencies.len() as u64];
    if tensor.dims != expected {
        return Err(GgufError::ShapeMismatch {
            tensor: tensor.name.clone(),
            expected,
            got: tensor.dims.clone(),
        });
    }
    let format = vector_format(tensor)?;
    let bytes = source.read(tensor.offset_bytes..tensor.offset_bytes + tensor.len_bytes).await?;
    let mut divisors = vec![0.0; rope.inverse_frequencies.len()];
    format.decode(&bytes, &mut divisors).map_err(|error| GgufError::ShortRead {
        start: tensor.offset_bytes,
        expected: error.expected_bytes,
        got: error.got_bytes,
    })?;
    for (frequency, divisor) in rope.inverse_frequencies.iter_mut().zip(divisors) {
        if !(divisor.is_finite() && divisor > 0.0) {
            return Err(GgufError::InvalidValue {
                key: ROPE_FREQS.to_owned(),
                got: divisor.to_string(),
                expected: "finite numbers above 0",
            });
        }
        *frequency /= divisor;
    }
    Ok(())
}

fn find_tensor<'g>(gguf: &'g Gguf, name: &str) -> Result<&'g GgufTensor, GgufError> {
    gguf.find_tensor(name).ok_or_else(|| GgufError::MissingTensor { name: name.to_owned() })
}

fn format_of(tensor: &GgufTensor) -> Result<BlockFormat, GgufError> {
    tensor.tensor_type.block_format().ok_or_else(|| GgufError::UnsupportedTensorType {
        tensor: quote(&tensor.name),
        type_name: tensor.tensor_type.name,
    })
}

/// Vectors are small and enter additions and multiplications directly: never quantised.
fn vector_format(tensor: &GgufTensor) -> Result<BlockFormat, GgufError> {
    match format_of(tensor)? {
        format @ (BlockFormat::F32 | BlockFormat::F16 | BlockFormat::Bf16) => Ok(format),
        _ => Err(GgufError::UnsupportedFeature {
            what: format!("{} for the vector `{}`", tensor.tensor_type.name, quote(&tensor.name)),
        }),
    }
}

fn map_tensors(gguf: &Gguf, config: &ModelConfig) -> Result<ModelTensors, GgufError> {
    let hidden = config.hidden_size;
    let mut tensors = vec![
        map_tensor(gguf, TensorName::Embedding, "token_embd.weight", Some(config.vocab_size), hidden)?,
        map_tensor(gguf, TensorName::FinalNorm, "output_norm.weight", None, hidden)?,
    ];
    if !config.tied_embeddings {
        tensors.push(map_tensor(gguf, TensorName::Head, "output.weight", Some(config.vocab_size), hidden)?);
    }
    let attention_width = config.num_heads.checked_mul(config.head_dim);
    let attention_width = attention_width.ok_or_else(|| GgufError::InvalidValue {
        key: "llama.attention.head_count".to_owned(),
        got: config.num_heads.to_string(),
        expected: "fewer heads for their width",
    })?;
    let kv_width = attention_width / (config.num_heads / config.num_kv_heads);
    let mlp = config.intermediate_size;
    for layer in 0..config.num_layers {
        for (role, stem) in LAYER_TENSORS {
            let (rows, columns) = match role {
                LayerTensor::AttentionNorm | LayerTensor::MlpNorm => (None, hidden),
                LayerTensor::Query => (Some(attention_width), hidden),
                LayerTensor::Key | LayerTensor::Value => (Some(kv_width), hidden),
                LayerTensor::AttentionOutput => (Some(hidden), attention_width),
                LayerTensor::Gate | LayerTensor::Up => (Some(mlp), hidden),
                LayerTensor::Down => (Some(hidden), mlp),
            };
            let file_name = format!("blk.{layer}.{stem}.weight");
            tensors.push(map_tensor(gguf, TensorName::Layer(layer, role), &file_name, rows, columns)?);
        }
    }
    refuse_unexpected(gguf, &tensors)?;
    tensors.sort_by_key(|tensor| tensor.offset_bytes);
    Ok(ModelTensors { tensors })
}

/// `rows` is none for a vector.
fn map_tensor(
    gguf: &Gguf,
    name: TensorName,
    file_name: &str,
    rows: Option<u32>,
    columns: u32,
) -> Result<TensorInfo, GgufError> {
    let tensor = find_tensor(gguf, file_name)?;
    let expected: Vec<u64> = std::iter::once(columns).chain(rows).map(u64::from).collect();
    if tensor.dims != expected {
        return Err(GgufError::ShapeMismatch {
            tensor: quote(file_name),
            expected,
            got: tensor.dims.clone(),
        });
    }
    let format = if rows.is_none() { vector_format(tensor)? } else { format_of(tensor)? };
    Ok(TensorInfo {
        name,
        file_name: file_name.to_owned(),
        format,
        rows: rows.unwrap_or(1),
        columns,
        offset_bytes: tensor.offset_bytes,
    })
}

/// A bias or a second norm that nobody applies would make the model talk nonsense without a word of warning.
fn refuse_unexpected(gguf: &Gguf, used: &[TensorInfo]) -> Result<(), GgufError> {
    let used: std::collections::BTreeSet<&str> =
        used.iter().map(|tensor| tensor.file_name.as_str()).collect();
    // `attn_rot_embd` is a table of the same frequencies that very old converters wrote.
    let harmless = |name: &str| name == ROPE_FREQS || name.ends_with(".attn_rot_embd");
    match gguf.tensors().iter().find(|t| !used.contains(t.name.as_str()) && !harmless(&t.name)) {
        Some(tensor) => Err(GgufError::UnexpectedTensor { name: quote(&tensor.name) }),
        None => Ok(()),
    }
}
