//! Headers and the llama mapping: what a good file gives, and which error each kind of bad file gets.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use hearth_engine::model::gguf::MAX_HEADER_BYTES;
use hearth_engine::model::quant::BlockFormat;
use hearth_engine::model::{
    Gguf, GgufError, LayerTensor, ModelConfig, ModelTensors, SliceSource, TensorName,
};
use support::{CountingSource, Writer, fixture, open, tiny_llama};

fn model(bytes: Vec<u8>) -> Result<(ModelConfig, ModelTensors), GgufError> {
    let source = SliceSource::new(bytes);
    pollster::block_on(async { Gguf::open(&source).await?.read_model(&source).await })
}

fn open_error(writer: Writer) -> GgufError {
    open(writer.bytes()).unwrap_err()
}

fn model_error(writer: Writer) -> GgufError {
    model(writer.bytes()).unwrap_err()
}

#[test]
fn the_golden_llama_is_mapped_whole() {
    let (config, tensors) = model(fixture("tiny/gguf-llama/model.gguf")).unwrap();
    assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (320, 64, 128));
    assert_eq!((config.num_layers, config.num_heads, config.num_kv_heads, config.head_dim), (2, 4, 2, 16));
    assert_eq!((config.context_length_tokens, config.tied_embeddings), (512, false));
    assert_eq!(config.rms_norm_eps, 1e-5);
    assert_eq!(tensors.tensors.len(), 3 + 2 * 9);
    assert!(tensors.tensors.is_sorted_by_key(|tensor| tensor.offset_bytes));
    let head = tensors.find(TensorName::Head).unwrap();
    assert_eq!((head.format, head.rows, head.columns, head.offset_bytes), (BlockFormat::F16, 320, 64, 86400));
    let key = tensors.find(TensorName::Layer(1, LayerTensor::Key)).unwrap();
    assert_eq!(
        (key.format, key.rows, key.columns, key.len_bytes()),
        (BlockFormat::Q8_0, 32, 64, 32 * 2 * 34)
    );
    assert_eq!(key.file_name, "blk.1.attn_k.weight");
    let norm = tensors.find(TensorName::Layer(0, LayerTensor::MlpNorm)).unwrap();
    assert_eq!((norm.format, norm.rows, norm.columns), (BlockFormat::F32, 1, 64));
}

#[test]
fn the_golden_llamas_frequencies_are_llama_3_scaled() {
    let bytes = fixture("tiny/gguf-llama/model.gguf");
    let divisors: Vec<f32> = bytes[7520..7520 + 32]
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    assert!(divisors[0] == 1.0 && divisors[7] > 1.0, "{divisors:?}");
    let (config, _) = model(bytes).unwrap();
    assert_eq!(config.rope.rotary_dim, 16);
    for (pair, (frequency, divisor)) in config.rope.inverse_frequencies.iter().zip(divisors).enumerate() {
        let expected = 10000f64.powf(-(pair as f64) / 8.0) / f64::from(divisor);
        assert!((f64::from(*frequency) / expected - 1.0).abs() < 1e-6, "{pair}: {frequency} {expected}");
    }
}

#[test]
fn tied_embeddings_and_defaults_follow_from_what_is_absent() {
    let writer = tiny_llama().without("llama.attention.head_count_kv").without("llama.rope.freq_base");
    let writer = writer
        .without_tensor("blk.0.attn_k.weight")
        .without_tensor("blk.0.attn_v.weight")
        .f32_tensor("blk.0.attn_k.weight", &[8, 8])
        .f32_tensor("blk.0.attn_v.weight", &[8, 8]);
    let (config, tensors) = model(writer.bytes()).unwrap();
    assert!(config.tied_embeddings && tensors.find(TensorName::Head).is_none());
    assert_eq!((config.num_kv_heads, config.head_dim, config.vocab_size), (2, 4, 6));
    assert_eq!(config.rope.inverse_frequencies, [1.0, 0.01]);
    assert!(tensors.tensors.is_sorted_by_key(|tensor| tensor.offset_bytes));
}

#[test]
fn rotary_scaling_is_applied_or_refused() {
    let linear = tiny_llama().text("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 4.0);
    assert_eq!(model(linear.bytes()).unwrap().0.rope.inverse_frequencies, [0.25, 0.0025]);
    let partial = tiny_llama().u32("llama.rope.dimension_count", 2);
    assert_eq!(model(partial.bytes()).unwrap().0.rope.inverse_frequencies, [1.0]);
    let yarn = tiny_llama().text("llama.rope.scaling.type", "yarn");
    assert!(matches!(model_error(yarn), GgufError::UnsupportedFeature { what } if what.contains("yarn")));
    let zero = tiny_llama().tensor("rope_freqs.weight", &[2], 0, &[0; 8]);
    assert!(matches!(model_error(zero), GgufError::InvalidValue { key, .. } if key == "rope_freqs.weight"));
    let long = tiny_llama().f32_tensor("rope_freqs.weight", &[3]);
    assert!(matches!(model_error(long), GgufError::ShapeMismatch { .. }));
}

#[test]
fn a_large_header_is_read_in_pieces_and_the_data_are_not() {
    let padding = vec![7; 5 << 20];
    let writer = tiny_llama().array("general.padding", 0, padding.len() as u64, &padding);
    let mut bytes = writer.bytes();
    bytes.extend(vec![0; 20 << 20]);
    let source = CountingSource::new(bytes);
    pollster::block_on(Gguf::open(&source)).unwrap();
    assert!(source.read_bytes.get() <= 8 << 20, "{}", source.read_bytes.get());
    let small = CountingSource::new({
        let mut bytes = tiny_llama().bytes();
        bytes.extend(vec![0; 20 << 20]);
        bytes
    });
    pollster::block_on(Gguf::open(&small)).unwrap();
    assert_eq!(small.read_bytes.get(), 1 << 20);
}

#[test]
fn version_2_and_other_alignments_are_read() {
    let mut writer = Writer { version: 2, alignment: 64, ..Writer::new() }.u32("general.alignment", 64);
    writer = writer.f32_tensor("x", &[3]).f32_tensor("y", &[2]);
    let gguf = open(writer.bytes()).unwrap();
    assert_eq!(gguf.find_tensor("y").unwrap().offset_bytes - gguf.find_tensor("x").unwrap().offset_bytes, 64);
    assert!(gguf.find_tensor("z").is_none());
}

#[test]
fn what_is_not_a_gguf_file_is_said_to_be_none() {
    assert!(
        matches!(open_error(Writer { magic: *b"<!DO", ..Writer::new() }), GgufError::NotGguf { got } if &got == b"<!DO")
    );
    assert_eq!(open_error(Writer { version: 1, ..Writer::new() }), GgufError::UnsupportedVersion { got: 1 });
    assert_eq!(open_error(Writer { version: 4, ..Writer::new() }), GgufError::UnsupportedVersion { got: 4 });
    assert_eq!(open_error(Writer { version: 3 << 24, ..Writer::new() }), GgufError::BigEndian);
    assert!(matches!(open(Vec::new()), Err(GgufError::Truncated { needed_bytes: 4, len_bytes: 0 })));
}

#[test]
fn counts_and_lengths_that_cannot_be_are_refused() {
    let many = |keys, tensors| open_error(Writer { num_keys: keys, num_tensors: tensors, ..Writer::new() });
    assert!(matches!(many(Some(u64::MAX), None), GgufError::TooMany { what: "keys", .. }));
    assert!(matches!(many(None, Some(1 << 40)), GgufError::TooMany { what: "tensors", .. }));
    assert!(matches!(many(Some(1000), None), GgufError::Truncated { .. }));
    let key = Writer::new().raw_key("k", 8, &u64::MAX.to_le_bytes());
    assert!(matches!(open_error(key), GgufError::Truncated { needed_bytes: u64::MAX, .. }));
    for element in [0, 4, 8, 12] {
        let array = Writer::new().array("k", element, u64::MAX / 2, &[0; 64]);
        assert!(matches!(open_error(array), GgufError::TooMany { what: "elements of an array", .. }));
    }
    let name = Writer::new().raw_tensor(&"x".repeat(1025), &[1], 0, 0);
    assert!(matches!(open_error(name), GgufError::TooMany { what: "bytes of a tensor name", got: 1025, .. }));
    let key = Writer::new().u32(&"x".repeat(70_000), 1);
    assert!(matches!(open_error(key), GgufError::TooMany { what: "bytes of a key", .. }));
}

#[test]
fn a_header_beyond_the_limit_is_refused_before_it_is_read() {
    let mut source = CountingSource::new(Writer::new().raw_key("k", 8, &(80u64 << 20).to_le_bytes()).bytes());
    source.inner = SliceSource::new({
        let mut bytes = Writer::new().raw_key("k", 8, &(80u64 << 20).to_le_bytes()).bytes();
        bytes.resize(100 << 20, b'x');
        bytes
    });
    let error = pollster::block_on(Gguf::open(&source)).unwrap_err();
    assert!(matches!(error, GgufError::HeaderTooLarge { limit_bytes: MAX_HEADER_BYTES, .. }), "{error}");
    assert_eq!(source.read_bytes.get(), 1 << 20);
}

#[test]
fn values_outside_the_format_are_refused() {
    assert!(matches!(
        open_error(Writer::new().raw_key("k", 13, &[0; 8])),
        GgufError::UnknownValueType { got: 13, .. }
    ));
    assert!(matches!(open_error(Writer::new().raw_key("k", 7, &[2])), GgufError::InvalidBool { got: 2, .. }));
    let nested = Writer::new().array("k", 9, 1, &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert!(matches!(open_error(nested), GgufError::NestedArray { .. }));
    let twice = Writer::new().u32("k", 1).u32("k", 1);
    assert!(matches!(open_error(twice), GgufError::DuplicateKey { key } if key == "k"));
    let mut bytes = Writer::new().u32("key", 1).bytes();
    bytes[24 + 8] = 0xff;
    assert!(matches!(open(bytes), Err(GgufError::InvalidUtf8 { .. })));
    let mut bytes = Writer::new().text("k", "vvv").bytes();
    let at = bytes.len() - bytes.iter().rev().position(|byte| *byte == b'v').unwrap() - 1;
    bytes[at] = 0xff;
    assert!(matches!(open(bytes).unwrap().metadata().text("k"), Err(GgufError::InvalidUtf8 { .. })));
}

#[test]
fn typed_reads_say_what_they_expected() {
    let gguf = open(Writer::new().u32("n", 7).text("t", "x").raw_key("i", 5, &(-1i32).to_le_bytes()).bytes())
        .unwrap();
    let metadata = gguf.metadata();
    assert_eq!((metadata.u32("n"), metadata.text("t")), (Ok(7), Ok("x")));
    assert!(metadata.has("n") && !metadata.has("m"));
    assert_eq!(metadata.text("m"), Err(GgufError::MissingKey { key: "m".to_owned() }));
    let wrong = GgufError::WrongType { key: "n".to_owned(), expected: "text", got: "an integer" };
    assert_eq!(metadata.text("n"), Err(wrong));
    assert!(matches!(metadata.u32("i"), Err(GgufError::InvalidValue { .. })));
    assert!(matches!(metadata.f32("n"), Err(GgufError::WrongType { .. })));
    assert!(matches!(metadata.find_bool("n"), Err(GgufError::WrongType { .. })));
    assert!(matches!(metadata.find_texts("t"), Err(GgufError::WrongType { .. })));
    assert!(matches!(metadata.find_i32s("t"), Err(GgufError::WrongType { .. })));
}

#[test]
fn tensors_that_cannot_be_are_refused() {
    let tensor = |dims: &[u64], kind, offset| open_error(Writer::new().raw_tensor("x", dims, kind, offset));
    assert!(matches!(tensor(&[], 0, 0), GgufError::BadDimensionCount { got: 0, .. }));
    assert!(matches!(tensor(&[1; 5], 0, 0), GgufError::BadDimensionCount { got: 5, .. }));
    assert!(matches!(tensor(&[4, 0], 0, 0), GgufError::BadDimensions { .. }));
    assert!(matches!(tensor(&[1 << 32, 1 << 32], 0, 0), GgufError::BadDimensions { .. }));
    assert!(matches!(tensor(&[1 << 32, (1 << 32) + 1], 0, 0), GgufError::BadDimensions { .. }));
    assert!(matches!(tensor(&[1 << 62], 0, 0), GgufError::BadDimensions { .. }));
    assert!(matches!(tensor(&[32], 4, 0), GgufError::UnknownTensorType { got: 4, .. }));
    assert!(matches!(tensor(&[33], 2, 0), GgufError::PartialBlock { columns: 33, block_len: 32, .. }));
    assert!(matches!(tensor(&[8], 0, 8), GgufError::MisalignedTensor { offset_bytes: 8, .. }));
    assert!(matches!(tensor(&[8], 0, 0), GgufError::TensorOutOfFile { .. }));
    assert!(matches!(tensor(&[8], 0, u64::MAX - 31), GgufError::TensorOutOfFile { .. }));
    let overlapping = Writer::new().f32_tensor("x", &[32]).raw_tensor("y", &[8], 0, 96);
    assert!(
        matches!(open_error(overlapping), GgufError::TensorsOverlap { first, second } if first == "x" && second == "y")
    );
    let twice = Writer::new().f32_tensor("x", &[8]).f32_tensor("x", &[8]);
    assert!(matches!(open_error(twice), GgufError::DuplicateTensor { name } if name == "x"));
    for alignment in [0, 3, 48] {
        let error = open_error(Writer::new().u32("general.alignment", alignment));
        assert_eq!(error, GgufError::BadAlignment { got: alignment });
    }
}

#[test]
fn models_that_cannot_run_are_refused_by_name() {
    let other = tiny_llama().without("general.architecture").text("general.architecture", "mamba");
    let error = model_error(other);
    assert!(matches!(&error, GgufError::UnsupportedArchitecture { got, .. } if got == "mamba"));
    assert!(error.to_string().contains("supported: llama"), "{error}");

    let k_quant = tiny_llama()
        .without_tensor("blk.0.ffn_down.weight")
        .without("llama.feed_forward_length")
        .u32("llama.feed_forward_length", 256)
        .without_tensor("blk.0.ffn_gate.weight")
        .without_tensor("blk.0.ffn_up.weight")
        .f32_tensor("blk.0.ffn_gate.weight", &[8, 256])
        .f32_tensor("blk.0.ffn_up.weight", &[8, 256])
        .tensor("blk.0.ffn_down.weight", &[256, 8], 12, &[0; 8 * 144]);
    let error = model_error(k_quant);
    assert!(matches!(&error, GgufError::UnsupportedTensorType { type_name: "Q4_K", .. }));
    assert!(error.to_string().contains("Q4_K is not supported yet"), "{error}");

    for (name, got) in
        [("blk.0.attn_q.weight", [8, 4]), ("token_embd.weight", [8, 5]), ("blk.0.ffn_down.weight", [8, 16])]
    {
        let error = model_error(tiny_llama().without_tensor(name).f32_tensor(name, &got));
        assert!(matches!(&error, GgufError::ShapeMismatch { tensor, .. } if tensor == name), "{error}");
        let error = model_error(tiny_llama().without_tensor(name));
        assert_eq!(error, GgufError::MissingTensor { name: name.to_owned() });
    }
    let bias = tiny_llama().f32_tensor("blk.0.attn_q.bias", &[8]);
    assert!(matches!(model_error(bias), GgufError::UnexpectedTensor { name } if name == "blk.0.attn_q.bias"));
    let experts = tiny_llama().u32("llama.expert_count", 8);
    assert!(matches!(model_error(experts), GgufError::UnsupportedFeature { .. }));
    let norm = tiny_llama().without_tensor("output_norm.weight");
    let norm = norm.tensor("output_norm.weight", &[8], 24, &[0; 8]);
    assert!(matches!(model_error(norm), GgufError::UnsupportedTensorType { type_name: "I8", .. }));
}

#[test]
fn hyper_parameters_that_cannot_be_are_refused_by_key() {
    let keys = [
        ("llama.embedding_length", 0),
        ("llama.attention.head_count", 3),
        ("llama.attention.head_count_kv", 3),
        ("llama.block_count", u32::MAX),
        ("llama.feed_forward_length", u32::MAX),
        ("llama.attention.key_length", 3),
        ("llama.attention.value_length", 6),
        ("llama.rope.dimension_count", 6),
        ("llama.context_length", 0),
    ];
    for (key, value) in keys {
        let error = model_error(tiny_llama().without(key).u32(key, value));
        assert!(
            matches!(&error, GgufError::InvalidValue { key: at, .. } if at.starts_with("llama.")),
            "{key}: {error}"
        );
    }
    for key in ["llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base"] {
        for value in [f32::NAN, -1.0, f32::INFINITY] {
            let error = model_error(tiny_llama().without(key).f32(key, value));
            assert!(matches!(&error, GgufError::InvalidValue { key: at, .. } if at == key), "{error}");
        }
    }
    let required = [
        "general.architecture",
        "llama.embedding_length",
        "llama.block_count",
        "llama.context_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    ];
    for key in required {
        assert_eq!(model_error(tiny_llama().without(key)), GgufError::MissingKey { key: key.to_owned() });
    }
    let wrong = tiny_llama().without("llama.block_count").text("llama.block_count", "1");
    assert!(matches!(model_error(wrong), GgufError::WrongType { expected: "an integer", got: "text", .. }));
    let layers = tiny_llama().without("llama.block_count").u32("llama.block_count", 2_000_000);
    assert!(
        matches!(model_error(layers), GgufError::MissingTensor { name } if name == "blk.1.attn_norm.weight")
    );
}
