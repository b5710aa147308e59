//! A model's raw numbers, without an engine: what tests compare with a reference on a browser's own adapter.
//!
//! The native twin is `cargo hearth eval`; both run [`hearth_gpu::Forward`]. Not reachable by messages.

use std::rc::Rc;

use hearth_engine::ids::TokenId;
use hearth_engine::model::gguf::Gguf;
use hearth_gpu::{ExecutorOptions, Forward, Gpu, GpuOptions, KvType};
use js_sys::Error;
use wasm_bindgen::prelude::*;

use crate::error::ShellError;
use crate::store::{Database, ModelSource, SourceOptions};

/// One model on a device of its own.
#[wasm_bindgen]
pub struct Evaluation {
    forward: Forward,
}

#[wasm_bindgen]
impl Evaluation {
    /// Loads the GGUF file at `url` with room for `kv_tokens` tokens, kept as f32 or as f16.
    pub async fn open(url: String, kv_tokens: u32, kv_f32: bool) -> Result<Evaluation, JsValue> {
        load(url, kv_tokens, if kv_f32 { KvType::F32 } else { KvType::F16 }).await.map_err(to_js)
    }

    /// Logits `[vocab]` after the last of these tokens.
    pub async fn prefill(&mut self, ids: Vec<u32>) -> Result<Vec<f32>, JsValue> {
        self.forward.prefill(&tokens(ids)).await.map_err(to_js)
    }

    /// The `count` tokens that the device picks at temperature 0 after `first` at `position`.
    pub async fn greedy(&mut self, first: u32, position: usize, count: usize) -> Result<Vec<u32>, JsValue> {
        let picked = self.forward.greedy(TokenId(first), position, count).await.map_err(to_js)?;
        Ok(picked.into_iter().map(|token| token.0).collect())
    }

    /// `log p(ids[i + 1] | ids[..=i])` of every token but the first.
    pub async fn logprobs(&mut self, ids: Vec<u32>) -> Result<Vec<f64>, JsValue> {
        let ids = tokens(ids);
        let mut logprobs = Vec::with_capacity(ids.len());
        let last = ids.len().saturating_sub(1);
        self.forward
            .each_logits(&ids[..last], |position, logits| {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
                let logit = logits.get(ids[position + 1].index()).copied().unwrap_or(f32::NAN);
                logprobs.push(f64::from(logit - largest) - sum.ln());
            })
            .await
            .map_err(to_js)?;
        Ok(logprobs)
    }
}

async fn load(url: String, kv_tokens: u32, kv_type: KvType) -> Result<Evaluation, ShellError> {
    let gpu = Gpu::request(GpuOptions::default()).await?;
    let options = SourceOptions { url, database: Database::default(), on_event: Rc::new(|_| ()) };
    let source = ModelSource::open(options).await?;
    let gguf = Gguf::open(&source).await?;
    let (config, tensors) = gguf.read_model(&source).await?;
    let options = ExecutorOptions { kv_type, kv_tokens, ..ExecutorOptions::for_device(gpu.capabilities()) };
    let executor = hearth_gpu::load(&gpu, &config, &tensors, &source, &options, &mut |_| ()).await?;
    source.finish().await?;
    Ok(Evaluation { forward: Forward::new(executor, config.vocab_size) })
}

fn tokens(ids: Vec<u32>) -> Vec<TokenId> {
    ids.into_iter().map(TokenId).collect()
}

fn to_js(error: impl std::fmt::Display) -> JsValue {
    Error::new(&error.to_string()).into()
}
