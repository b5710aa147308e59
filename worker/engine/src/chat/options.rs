//! How a model is run, and how a tab uses it: the model record's overrides, then the page's options, laid over each other.
//!
//! What concerns the device is fixed when the model is loaded. Everything else is the tab's own: tabs with other windows
//! and policies share one loaded model.

use hearth_protocol::config::{
    ChatOptions, HearthOptions, KvCacheTokens, KvCacheType, OverflowPolicy, TabBudget,
};

use super::error::{ValueError, WindowError};
use super::values::SamplingDefaults;
use crate::engine::OwnerBudget;

/// The window of a tab that names none: web-llm's models come with 4096.
const DEFAULT_WINDOW_TOKENS: u32 = 4096;

/// Part of the room from which a page is told that it gets short, where it does not say.
const DEFAULT_NEAR_LIMIT_FRACTION: f64 = 0.9;

/// What holds for a loaded model, whoever uses it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelOptions {
    /// Size of the KV cache; `None` leaves it to the device.
    pub kv_cache_tokens: Option<u32>,
    /// Number format of the KV cache.
    pub kv_cache_type: KvCacheType,
}

/// How one tab uses a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TabOptions {
    /// What happens when a conversation outgrows its room.
    pub policy: OverflowPolicy,
    /// Tokens of prompt and reply together; `None` takes the default.
    pub window_tokens: Option<u32>,
    /// A window that slides, instead.
    pub sliding: Option<SlidingWindow>,
    /// Tokens kept free for the reply; `None` takes a part of the room.
    pub reserve_output_tokens: Option<u32>,
    /// Part of the room, above 0 and at most 1, from which the page is told that it gets short.
    pub near_limit_fraction: f64,
    /// What the tab may hold of the pool.
    pub budget: OwnerBudget,
    /// Seconds after which a silent tab's pages may go.
    pub idle_evict_seconds: Option<f64>,
    /// Defaults of the requests' values.
    pub sampling: SamplingDefaults,
}

/// web-llm's sliding window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Tokens of the window.
    pub window_tokens: u32,
    /// Tokens at the start that always stay, if the system prompt is not longer.
    pub sink_tokens: u32,
}

impl Default for TabOptions {
    /// What a page gets that asks for nothing.
    fn default() -> Self {
        Self {
            policy: OverflowPolicy::Auto,
            window_tokens: None,
            sliding: None,
            reserve_output_tokens: None,
            near_limit_fraction: DEFAULT_NEAR_LIMIT_FRACTION,
            budget: OwnerBudget::Fair,
            idle_evict_seconds: None,
            sampling: SamplingDefaults::default(),
        }
    }
}

/// Why a model cannot be run or used that way.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// The windows.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A value out of its range.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl ModelOptions {
    /// Lays the page's `chat_opts` over the record's `overrides`.
    ///
    /// # Errors
    /// What results is out of range.
    pub fn resolve(
        overrides: Option<&ChatOptions>,
        chat_opts: Option<&ChatOptions>,
    ) -> Result<Self, OptionsError> {
        let layers = Layers([chat_opts, overrides]);
        let kv_cache_tokens = match layers.hearth(|options| options.kv_cache_tokens) {
            None | Some(KvCacheTokens::Word(_)) => None,
            Some(KvCacheTokens::Tokens(tokens)) => Some(at_least_one("hearth.kvCacheTokens", tokens)?),
        };
        let kv_cache_type = layers.hearth(|options| options.kv_cache_type).unwrap_or(KvCacheType::F16);
        Ok(Self { kv_cache_tokens, kv_cache_type })
    }
}

impl TabOptions {
    /// Lays the page's `chat_opts` over the record's `overrides`.
    ///
    /// # Errors
    /// What results is out of range or contradicts itself.
    pub fn resolve(
        overrides: Option<&ChatOptions>,
        chat_opts: Option<&ChatOptions>,
    ) -> Result<Self, OptionsError> {
        let layers = Layers([chat_opts, overrides]);
        let sampling = layers.sampling();
        sampling.check()?;
        let (window_tokens, sliding) = layers.windows()?;
        // How much of a prompt runs in one step is chosen by how long steps take, so this is only a hint.
        if let Some(chunk) = layers.first(|options| options.prefill_chunk_size_tokens) {
            at_least_one("prefillChunkSize", chunk)?;
        }
        let wants_sliding = sliding.is_some() || layers.first(|options| options.sliding_window) == Some(true);
        let policy = match layers.hearth(|options| options.overflow_policy) {
            None | Some(OverflowPolicy::Auto) if wants_sliding => OverflowPolicy::Sliding,
            None => OverflowPolicy::Auto,
            Some(policy) => policy,
        };
        Ok(Self {
            policy,
            window_tokens,
            sliding,
            reserve_output_tokens: layers
                .hearth(|options| options.reserve_output_tokens)
                .map(|tokens| not_negative("hearth.reserveOutputTokens", tokens))
                .transpose()?
                .map(|tokens| tokens as u32),
            near_limit_fraction: layers.near_limit_fraction()?,
            budget: match layers.hearth(|options| options.tab_budget_tokens) {
                None | Some(TabBudget::Word(_)) => OwnerBudget::Fair,
                Some(TabBudget::Tokens(tokens)) => {
                    OwnerBudget::Tokens(at_least_one("hearth.tabBudgetTokens", tokens)?)
                }
            },
            idle_evict_seconds: layers
                .hearth(|options| options.idle_evict_seconds)
                .map(|seconds| not_negative("hearth.idleEvictSeconds", seconds))
                .transpose()?,
            sampling,
        })
    }

    /// Tokens of prompt and reply together on a model that can have at most `largest_tokens`.
    pub fn window(&self, largest_tokens: u32) -> u32 {
        let sliding = self.sliding.map(|sliding| sliding.window_tokens);
        sliding.or(self.window_tokens).unwrap_or(DEFAULT_WINDOW_TOKENS).min(largest_tokens)
    }

    /// Tokens at the start that a sliding window keeps at least.
    pub fn sink_tokens(&self) -> u32 {
        self.sliding.map_or(0, |sliding| sliding.sink_tokens)
    }
}

/// Options from the strongest to the weakest.
struct Layers<'a>([Option<&'a ChatOptions>; 2]);

impl Layers<'_> {
    fn first<T>(&self, field: impl Fn(&ChatOptions) -> Option<T>) -> Option<T> {
        self.0.iter().flatten().find_map(|options| field(options))
    }

    fn hearth<T>(&self, field: impl Fn(&HearthOptions) -> Option<T>) -> Option<T> {
        self.first(|options| options.hearth.as_ref().and_then(&field))
    }

    fn sampling(&self) -> SamplingDefaults {
        let defaults = SamplingDefaults::default();
        SamplingDefaults {
            temperature: self.first(|options| options.temperature).unwrap_or(defaults.temperature),
            top_p: self.first(|options| options.top_p).unwrap_or(defaults.top_p),
            repetition_penalty: self
                .first(|options| options.repetition_penalty)
                .unwrap_or(defaults.repetition_penalty),
            frequency_penalty: self
                .first(|options| options.frequency_penalty)
                .unwrap_or(defaults.frequency_penalty),
            presence_penalty: self
                .first(|options| options.presence_penalty)
                .unwrap_or(defaults.presence_penalty),
        }
    }

    /// The fixed and the sliding window. -1 is web-llm's word for "none" on the wire; it goes no further than here.
    fn windows(&self) -> Result<(Option<u32>, Option<SlidingWindow>), OptionsError> {
        let some = |size: f64| (size != -1.0).then_some(size);
        let context = self.first(ChatOptions::window_tokens);
        let sliding = self.first(ChatOptions::sliding_tokens).and_then(some);
        let sink = self.first(ChatOptions::sink_tokens);
        let Some(sliding) = sliding else {
            // Without a word about it, the model has a window of its own.
            return match context.map(some) {
                None => Ok((None, self.slides_at(None, sink)?)),
                Some(None) => Err(WindowError::Neither.into()),
                Some(Some(context)) => {
                    let context = at_least_one("context_window_size", context)?;
                    Ok((Some(context), self.slides_at(Some(context), sink)?))
                }
            };
        };
        if let Some(context) = context.and_then(some) {
            return Err(WindowError::Both { context, sliding }.into());
        }
        let window_tokens = at_least_one("sliding_window_size", sliding)?;
        match sink {
            Some(sink) if sink >= 0.0 => {
                Ok((None, Some(SlidingWindow { window_tokens, sink_tokens: sink as u32 })))
            }
            _ => Err(WindowError::Sink.into()),
        }
    }

    /// `slidingWindow: true` lets the context window slide, where it has a size and a sink of its own.
    fn slides_at(
        &self,
        context: Option<u32>,
        sink: Option<f64>,
    ) -> Result<Option<SlidingWindow>, OptionsError> {
        let wants_sliding = self.first(|options| options.sliding_window) == Some(true);
        match (context, sink.filter(|sink| *sink != -1.0)) {
            (_, Some(sink)) if wants_sliding && sink < 0.0 => Err(WindowError::Sink.into()),
            (Some(window_tokens), sink) if wants_sliding => {
                let sink_tokens = sink.unwrap_or(0.0) as u32;
                Ok(Some(SlidingWindow { window_tokens, sink_tokens }))
            }
            _ => Ok(None),
        }
    }

    fn near_limit_fraction(&self) -> Result<f64, ValueError> {
        match self.hearth(|options| options.near_limit_fraction) {
            None => Ok(DEFAULT_NEAR_LIMIT_FRACTION),
            Some(fraction) if fraction > 0.0 && fraction <= 1.0 => Ok(fraction),
            Some(fraction) => Err(ValueError::Range {
                parameter: "hearth.nearLimitFraction",
                minimum: 0.0,
                maximum: 1.0,
                note: format!(" Got {fraction}"),
            }),
        }
    }
}

/// A whole number of tokens. Not a number is none.
fn at_least_one(parameter: &'static str, tokens: f64) -> Result<u32, ValueError> {
    if tokens >= 1.0 { Ok(tokens as u32) } else { Err(ValueError::Minimum { parameter, minimum: 0.0 }) }
}

/// A number from 0 on. Not a number is none.
pub(super) fn not_negative(parameter: &'static str, value: f64) -> Result<f64, ValueError> {
    if value >= 0.0 { Ok(value) } else { Err(ValueError::Negative { parameter }) }
}

#[cfg(test)]
mod tests;
