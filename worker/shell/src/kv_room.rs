//! How large a model's cache is made: at the start, and at most.

use hearth_engine::chat::{ModelOptions, TabOptions};
use hearth_engine::model::ModelConfig;
use hearth_gpu::{Capabilities, KvType};
use hearth_protocol::config::KvCacheType;

/// The window of most tabs: web-llm's models come with it.
const USUAL_WINDOW_TOKENS: u32 = 4096;
/// Room for several tabs' conversations by default.
const WINDOWS_IN_POOL: u32 = 4;
/// The pool's share of the device's memory by default.
const MAX_POOL_BYTES: u64 = 512 << 20;
/// A software adapter's memory is the machine's own.
const MAX_POOL_BYTES_SOFTWARE: u64 = 256 << 20;
/// A pool smaller than this serves nobody.
const MIN_POOL_TOKENS: u32 = 256;

/// The cache that a model is loaded with.
pub struct Room {
    /// How keys and values are kept.
    pub kv_type: KvType,
    /// Tokens that there is room for at the start.
    pub start_tokens: u32,
    /// Tokens that it may grow to.
    pub max_tokens: u32,
}

impl Room {
    /// Begins with one window, which is all that a single tab needs, and grows as tabs come.
    pub fn new(
        config: &ModelConfig,
        capabilities: &Capabilities,
        options: &ModelOptions,
        tab: &TabOptions,
    ) -> Self {
        let (kv_type, element_bytes) = match options.kv_cache_type {
            KvCacheType::F32 => (KvType::F32, 4),
            KvCacheType::F16 => (KvType::F16, 2),
            KvCacheType::Q8 => (KvType::Q8, 1),
        };
        let trained_tokens = config.context_length_tokens;
        let window_tokens = tab.window(trained_tokens);
        let max_tokens = options
            .kv_cache_tokens
            .unwrap_or_else(|| pool_tokens(config, capabilities, window_tokens, element_bytes));
        let start_tokens = window_tokens.max(MIN_POOL_TOKENS).min(max_tokens);
        Self { kv_type, start_tokens, max_tokens }
    }

    /// The device has no room: begins with a quarter. False when that would serve nobody.
    pub fn shrink(&mut self) -> bool {
        let can_shrink = self.start_tokens > MIN_POOL_TOKENS;
        if can_shrink {
            self.start_tokens = (self.start_tokens / 4).max(MIN_POOL_TOKENS);
        }
        can_shrink
    }
}

/// Tokens that the pool may grow to, where the app does not say.
fn pool_tokens(
    config: &ModelConfig,
    capabilities: &Capabilities,
    window_tokens: u32,
    element_bytes: u32,
) -> u32 {
    let max_bytes = if capabilities.software { MAX_POOL_BYTES_SOFTWARE } else { MAX_POOL_BYTES };
    let fitting = max_bytes / config.kv_bytes_per_token(element_bytes).max(1);
    // Keys, or values, of one layer are one binding at most.
    let arena_bytes = u64::from(config.num_kv_heads) * u64::from(config.head_dim) * u64::from(element_bytes);
    let bindable = capabilities.max_binding_bytes.min(capabilities.max_buffer_bytes) / arena_bytes.max(1);
    // A tab with a small window says nothing about those that come after it.
    let usual_tokens = window_tokens.max(USUAL_WINDOW_TOKENS.min(config.context_length_tokens));
    let wanted = u64::from(usual_tokens) * u64::from(WINDOWS_IN_POOL);
    let tokens = wanted.min(fitting).min(bindable).max(u64::from(MIN_POOL_TOKENS));
    u32::try_from(tokens).unwrap_or(u32::MAX)
}
