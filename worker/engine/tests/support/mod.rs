//! Fixtures, and a writer of GGUF files that may be as wrong as a test wants.
#![allow(dead_code, clippy::unwrap_used)]

pub mod chat;

use std::cell::Cell;
use std::ops::Range;
use std::path::PathBuf;

use hearth_engine::model::{Gguf, GgufError, SliceSource};
use hearth_engine::ports::{ByteSource, LocalFuture, SourceError};

pub fn fixture(path: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures").join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn fixture_json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&fixture(path)).unwrap()
}

pub fn ids(value: &serde_json::Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

pub fn open(bytes: Vec<u8>) -> Result<Gguf, GgufError> {
    pollster::block_on(Gguf::open(&SliceSource::new(bytes)))
}

/// Counts what is read.
pub struct CountingSource {
    pub inner: SliceSource,
    pub read_bytes: Cell<u64>,
    pub largest_read_bytes: Cell<u64>,
    pub claimed_len_bytes: Option<u64>,
}

impl CountingSource {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            inner: SliceSource::new(bytes),
            read_bytes: Cell::new(0),
            largest_read_bytes: Cell::new(0),
            claimed_len_bytes: None,
        }
    }
}

impl ByteSource for CountingSource {
    fn len_bytes(&self) -> u64 {
        self.claimed_len_bytes.unwrap_or_else(|| self.inner.len_bytes())
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<Result<Vec<u8>, SourceError>> {
        let len = range.end.saturating_sub(range.start);
        self.read_bytes.set(self.read_bytes.get() + len);
        self.largest_read_bytes.set(self.largest_read_bytes.get().max(len));
        self.inner.read(range)
    }
}

/// Writes a header piece by piece. `ends` remembers where each piece ends.
#[derive(Clone)]
pub struct Writer {
    pub keys: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub num_keys: Option<u64>,
    pub num_tensors: Option<u64>,
    pub magic: [u8; 4],
    pub version: u32,
    pub data: Vec<u8>,
    pub alignment: usize,
}

pub fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

impl Writer {
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            tensors: Vec::new(),
            num_keys: None,
            num_tensors: None,
            magic: *b"GGUF",
            version: 3,
            data: Vec::new(),
            alignment: 32,
        }
    }

    pub fn raw_key(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        let mut bytes = text(key);
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(value);
        self.keys.push(bytes);
        self
    }

    pub fn u32(self, key: &str, value: u32) -> Self {
        self.raw_key(key, 4, &value.to_le_bytes())
    }

    pub fn f32(self, key: &str, value: f32) -> Self {
        self.raw_key(key, 6, &value.to_le_bytes())
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.raw_key(key, 8, &text(value))
    }

    pub fn array(self, key: &str, element: u32, count: u64, bytes: &[u8]) -> Self {
        let mut value = element.to_le_bytes().to_vec();
        value.extend_from_slice(&count.to_le_bytes());
        value.extend_from_slice(bytes);
        self.raw_key(key, 9, &value)
    }

    pub fn texts(self, key: &str, values: &[&str]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
        self.array(key, 8, values.len() as u64, &bytes)
    }

    pub fn i32s(self, key: &str, values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.array(key, 5, values.len() as u64, &bytes)
    }

    /// Removes the keys written under this name.
    pub fn without(mut self, key: &str) -> Self {
        let start = text(key);
        self.keys.retain(|bytes| !bytes.starts_with(&start));
        self
    }

    /// Removes a tensor's entry; its data stay.
    pub fn without_tensor(mut self, name: &str) -> Self {
        let start = text(name);
        self.tensors.retain(|bytes| !bytes.starts_with(&start));
        self
    }

    pub fn raw_tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let mut bytes = text(name);
        bytes.extend_from_slice(&(dims.len() as u32).to_le_bytes());
        for dim in dims {
            bytes.extend_from_slice(&dim.to_le_bytes());
        }
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    /// A tensor with `bytes` at the end of the data.
    pub fn tensor(mut self, name: &str, dims: &[u64], kind: u32, bytes: &[u8]) -> Self {
        while !self.data.len().is_multiple_of(self.alignment) {
            self.data.push(0);
        }
        let offset = self.data.len() as u64;
        self.data.extend_from_slice(bytes);
        self.raw_tensor(name, dims, kind, offset)
    }

    pub fn f32_tensor(self, name: &str, dims: &[u64]) -> Self {
        let count = dims.iter().product::<u64>() as usize;
        self.tensor(name, dims, 0, &vec![0; count * 4])
    }

    /// The file, and where each piece of its header ends.
    pub fn bytes_and_ends(&self) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = self.magic.to_vec();
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.num_tensors.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&self.num_keys.unwrap_or(self.keys.len() as u64).to_le_bytes());
        let mut ends = vec![4, 8, 16, 24];
        for piece in self.keys.iter().chain(&self.tensors) {
            bytes.extend_from_slice(piece);
            ends.push(bytes.len());
        }
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        ends.push(bytes.len());
        bytes.extend_from_slice(&self.data);
        (bytes, ends)
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_and_ends().0
    }
}

/// A llama of one layer: hidden 8, heads 2, key heads 1, MLP 16, 6 tokens.
pub fn tiny_llama() -> Writer {
    Writer::new()
        .text("general.architecture", "llama")
        .u32("llama.context_length", 64)
        .u32("llama.embedding_length", 8)
        .u32("llama.block_count", 1)
        .u32("llama.feed_forward_length", 16)
        .u32("llama.attention.head_count", 2)
        .u32("llama.attention.head_count_kv", 1)
        .f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .f32("llama.rope.freq_base", 10000.0)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts("tokenizer.ggml.tokens", &["<s>", "a", "b", "ab", "Ġ", "</s>"])
        .i32s("tokenizer.ggml.token_type", &[3, 1, 1, 1, 1, 3])
        .texts("tokenizer.ggml.merges", &["a b"])
        .u32("tokenizer.ggml.eos_token_id", 5)
        .f32_tensor("token_embd.weight", &[8, 6])
        .f32_tensor("output_norm.weight", &[8])
        .f32_tensor("blk.0.attn_norm.weight", &[8])
        .f32_tensor("blk.0.attn_q.weight", &[8, 8])
        .f32_tensor("blk.0.attn_k.weight", &[8, 4])
        .f32_tensor("blk.0.attn_v.weight", &[8, 4])
        .f32_tensor("blk.0.attn_output.weight", &[8, 8])
        .f32_tensor("blk.0.ffn_norm.weight", &[8])
        .f32_tensor("blk.0.ffn_gate.weight", &[8, 16])
        .f32_tensor("blk.0.ffn_up.weight", &[8, 16])
        .f32_tensor("blk.0.ffn_down.weight", &[16, 8])
}
