//! Every format against values that gguf-py decoded from the same bytes.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use hearth_engine::model::quant::BlockFormat;
use support::{fixture, fixture_json, open};

#[test]
fn every_format_decodes_to_exactly_the_golden_values() {
    let bytes = fixture("tiny/gguf-blocks/blocks.gguf");
    let golden: Vec<f32> = fixture("tiny/gguf-blocks/blocks.f32")
        .chunks_exact(4)
        .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
        .collect();
    let gguf = open(bytes.clone()).unwrap();
    let mut decoded = Vec::new();
    for entry in fixture_json("tiny/gguf-blocks/expected.json")["tensors"].as_array().unwrap() {
        let tensor = gguf.find_tensor(entry["name"].as_str().unwrap()).unwrap();
        assert_eq!(tensor.tensor_type.name, entry["type"].as_str().unwrap());
        let Some(format) = tensor.tensor_type.block_format() else { continue };
        let start = tensor.offset_bytes as usize;
        let mut values = vec![f32::NAN; tensor.dims.iter().product::<u64>() as usize];
        format.decode(&bytes[start..start + tensor.len_bytes as usize], &mut values).unwrap();
        let offset = entry["offset"].as_u64().unwrap() as usize;
        assert_eq!(values, golden[offset..offset + values.len()], "{format:?}");
        decoded.push(format);
    }
    use BlockFormat::*;
    assert_eq!(decoded, [F32, F16, Bf16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0]);
}

#[test]
fn bytes_that_do_not_fit_the_values_are_refused() {
    for (bytes, values) in [(17, 32), (19, 32), (18, 31), (0, 32), (36, 32)] {
        let error = BlockFormat::Q4_0.decode(&vec![0; bytes], &mut vec![0.0; values]).unwrap_err();
        assert_eq!((error.num_values, error.got_bytes), (values, bytes as u64));
    }
}
