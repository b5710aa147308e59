//! Configuration that pages send: where models are (`AppConfig`) and how to run one (`ChatOptions`).
//!
//! Field names are web-llm's. Of web-llm's options those are left out that describe a template or a tokenizer: a model
//! file brings its own.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The models that an application knows, and where it wants them cached.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct AppConfig {
    /// The models; the first record with a wanted id counts.
    pub model_list: Vec<ModelRecord>,
    /// `cache`, `indexeddb`, `opfs` or `cross-origin`; kept, Hearth has one store of its own.
    #[serde(default, rename = "cacheBackend", skip_serializing_if = "Option::is_none")]
    pub cache_backend: Option<String>,
    /// `async`, `sync` or `auto`; kept.
    #[serde(default, rename = "opfsAccessMode", skip_serializing_if = "Option::is_none")]
    pub opfs_access_mode: Option<String>,
}

impl AppConfig {
    /// The first record with this id.
    pub fn find_model(&self, model_id: &str) -> Option<&ModelRecord> {
        self.model_list.iter().find(|record| record.model_id == model_id)
    }
}

/// One model that can be loaded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ModelRecord {
    /// URL of the weights: a file that ends in `.gguf`, or a folder.
    pub model: String,
    /// The name by which requests ask for it.
    pub model_id: String,
    /// web-llm's compiled library; kept and ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_lib: Option<String>,
    /// Laid over the model's own configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<ChatOptions>,
    /// For the application's own use.
    #[serde(default, rename = "vram_required_MB", skip_serializing_if = "Option::is_none")]
    pub vram_required_mb: Option<f64>,
    /// For the application's own use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_resource_required: Option<bool>,
    /// For the application's own use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_size_required_bytes: Option<f64>,
    /// WebGPU features that web-llm's library needs; Hearth needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_features: Option<Vec<String>>,
    /// 0 text, 1 embedding, 2 vision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_type: Option<u32>,
    /// Digests of the model's small files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "typescript", ts(optional, type = "unknown"))]
    pub integrity: Option<Value>,
    /// Path of a package manifest relative to `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_manifest: Option<String>,
}

/// How to run a model: laid over the defaults of the model and of its record.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct ChatOptions {
    /// Tokens of prompt and reply together; -1 means no fixed window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window_size: Option<f64>,
    /// Tokens of the sliding window; -1 means none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliding_window_size: Option<f64>,
    /// Tokens at the start that a sliding window always keeps; -1 means unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attention_sink_size: Option<f64>,
    /// Default of the requests' field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Default of the requests' field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Default of the requests' field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Default of the requests' field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frequency_penalty: Option<f64>,
    /// Default of the requests' field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence_penalty: Option<f64>,
    /// Hearth's spelling of `context_window_size`.
    #[serde(default, rename = "contextWindowSize", skip_serializing_if = "Option::is_none")]
    pub context_window_size_tokens: Option<f64>,
    /// Whether to slide once the window is full.
    #[serde(default, rename = "slidingWindow", skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<bool>,
    /// Hearth's spelling of `sliding_window_size`.
    #[serde(default, rename = "slidingWindowSize", skip_serializing_if = "Option::is_none")]
    pub sliding_window_size_tokens: Option<f64>,
    /// Hearth's spelling of `attention_sink_size`.
    #[serde(default, rename = "attentionSinkSize", skip_serializing_if = "Option::is_none")]
    pub attention_sink_size_tokens: Option<f64>,
    /// Tokens that one step prefills at most.
    #[serde(default, rename = "prefillChunkSize", skip_serializing_if = "Option::is_none")]
    pub prefill_chunk_size_tokens: Option<f64>,
    /// What only Hearth has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hearth: Option<HearthOptions>,
}

impl ChatOptions {
    /// The window in tokens, in either spelling; Hearth's own wins.
    pub fn window_tokens(&self) -> Option<f64> {
        self.context_window_size_tokens.or(self.context_window_size)
    }

    /// The sliding window in tokens, in either spelling; Hearth's own wins.
    pub fn sliding_tokens(&self) -> Option<f64> {
        self.sliding_window_size_tokens.or(self.sliding_window_size)
    }

    /// The attention sink in tokens, in either spelling; Hearth's own wins.
    pub fn sink_tokens(&self) -> Option<f64> {
        self.attention_sink_size_tokens.or(self.attention_sink_size)
    }
}

/// Options that only Hearth has.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(optional_fields = nullable))]
pub struct HearthOptions {
    /// What happens when a conversation outgrows its room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overflow_policy: Option<OverflowPolicy>,
    /// Tokens that this tab may hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tab_budget_tokens: Option<TabBudget>,
    /// Size of the shared KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<KvCacheTokens>,
    /// Number format of the KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_type: Option<KvCacheType>,
    /// Tokens kept free for the reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserve_output_tokens: Option<f64>,
    /// Seconds after which a silent tab's pages may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_evict_seconds: Option<f64>,
    /// Part of the room, above 0 and at most 1, from which the page is told that it gets short; 0.9 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near_limit_fraction: Option<f64>,
}

/// What happens when a conversation outgrows its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum OverflowPolicy {
    /// Hearth chooses.
    Auto,
    /// Drop the oldest turns.
    Truncate,
    /// Keep the start and the most recent tokens.
    Sliding,
    /// Replace old turns by a summary.
    Summarize,
    /// Fail, as web-llm does.
    Error,
}

/// A tab's share of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum TabBudget {
    /// So many tokens.
    Tokens(f64),
    /// A word.
    Word(FairWord),
}

/// The word `fair`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum FairWord {
    /// Divided among the live tabs.
    Fair,
}

/// Size of the shared KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum KvCacheTokens {
    /// So many tokens.
    Tokens(f64),
    /// A word.
    Word(AutoWord),
}

/// The word `auto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum AutoWord {
    /// As the device allows.
    Auto,
}

/// Number format of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum KvCacheType {
    /// Two bytes a number; the default.
    F16,
    /// Four bytes a number.
    F32,
    /// One byte a number.
    Q8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hearths_own_options_are_written_as_they_are_read() {
        let options = json!({
            "contextWindowSize": 1024.0, "slidingWindow": true, "slidingWindowSize": 512.0, "attentionSinkSize": 4.0,
            "prefillChunkSize": 128.0,
            "hearth": {"overflowPolicy": "truncate", "tabBudgetTokens": "fair", "kvCacheTokens": 4096.0,
                       "kvCacheType": "q8", "reserveOutputTokens": 64.0, "idleEvictSeconds": 60.0},
        });
        let read: ChatOptions = serde_json::from_value(options.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), options);
        let spelled = (read.window_tokens(), read.sliding_tokens(), read.sink_tokens());
        assert_eq!(spelled, (Some(1024.0), Some(512.0), Some(4.0)));
    }

    #[test]
    fn words_stand_where_numbers_may() {
        let read = |json| serde_json::from_value::<HearthOptions>(json);
        let auto = read(json!({"kvCacheTokens": "auto", "tabBudgetTokens": 7})).unwrap();
        assert_eq!(auto.kv_cache_tokens, Some(KvCacheTokens::Word(AutoWord::Auto)));
        assert_eq!(auto.tab_budget_tokens, Some(TabBudget::Tokens(7.0)));
        assert!(read(json!({"kvCacheTokens": "plenty"})).is_err());
    }

    #[test]
    fn the_first_record_with_an_id_counts() {
        let record = |model: &str| json!({"model": model, "model_id": "m"});
        let config: AppConfig =
            serde_json::from_value(json!({"model_list": [record("first"), record("second")]})).unwrap();
        assert_eq!(config.find_model("m").unwrap().model, "first");
    }
}
