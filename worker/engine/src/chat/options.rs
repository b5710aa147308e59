//! How a model is run: its own defaults, then its record's overrides, then the page's options, laid over each other.

use hearth_protocol::config::{
    ChatOptions, HearthOptions, KvCacheTokens, KvCacheType, OverflowPolicy, TabBudget,
};

use super::error::{FieldError, ValueError, WindowError};
use super::values::SamplingDefaults;

/// What holds for a loaded model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelOptions {
    /// Tokens of prompt and reply together.
    pub window_tokens: u32,
    /// Defaults of the requests' values.
    pub sampling: SamplingDefaults,
    /// Size of the KV cache; `None` leaves it to the device.
    pub kv_cache_tokens: Option<u32>,
    /// Number format of the KV cache.
    pub kv_cache_type: KvCacheType,
}

/// Why a model cannot be run that way.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// The windows.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A value out of its range.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// An option that this version lacks.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl ModelOptions {
    /// Lays the record's `overrides` and the page's `chat_opts` over the model's own defaults, of which a GGUF file gives
    /// only the length of context that it was trained for.
    ///
    /// # Errors
    /// What results is out of range, contradicts itself, or is not supported yet.
    pub fn resolve(
        trained_context_tokens: u32,
        overrides: Option<&ChatOptions>,
        chat_opts: Option<&ChatOptions>,
    ) -> Result<Self, OptionsError> {
        let layers = Layers([chat_opts, overrides]);
        let sampling = layers.sampling();
        sampling.check()?;
        let hearth =
            Hearth([chat_opts, overrides].map(|options| options.and_then(|options| options.hearth.as_ref())));
        hearth.check_supported()?;
        Ok(Self {
            window_tokens: layers.window(trained_context_tokens)?,
            sampling,
            kv_cache_tokens: hearth.kv_cache_tokens()?,
            kv_cache_type: hearth.first(|options| options.kv_cache_type).unwrap_or(KvCacheType::F16),
        })
    }
}

/// Options from the strongest to the weakest.
struct Layers<'a>([Option<&'a ChatOptions>; 2]);

impl Layers<'_> {
    fn first<T>(&self, field: impl Fn(&ChatOptions) -> Option<T>) -> Option<T> {
        self.0.iter().flatten().find_map(|options| field(options))
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

    /// -1 is web-llm's word for "none" on the wire; it goes no further than here.
    fn window(&self, trained_context_tokens: u32) -> Result<u32, OptionsError> {
        let some = |size: f64| (size != -1.0).then_some(size);
        let context =
            some(self.first(ChatOptions::window_tokens).unwrap_or(f64::from(trained_context_tokens)));
        let sliding = self.first(ChatOptions::sliding_tokens).and_then(some);
        match (context, sliding) {
            (Some(context), Some(sliding)) => Err(WindowError::Both { context, sliding }.into()),
            (None, None) => Err(WindowError::Neither.into()),
            (None, Some(_)) if self.first(ChatOptions::sink_tokens).is_none_or(|sink| sink < 0.0) => {
                Err(WindowError::Sink.into())
            }
            (None, Some(_)) => Err(FieldError::not_yet("sliding_window_size").into()),
            (Some(_), None) if self.first(|options| options.sliding_window) == Some(true) => {
                Err(FieldError::not_yet("slidingWindow").into())
            }
            (Some(context), None) if context >= 1.0 => Ok(context as u32),
            (Some(_), None) => {
                Err(ValueError::Minimum { parameter: "context_window_size", minimum: 0.0 }.into())
            }
        }
    }
}

/// Hearth's own options from the strongest to the weakest.
struct Hearth<'a>([Option<&'a HearthOptions>; 2]);

impl Hearth<'_> {
    fn first<T>(&self, field: impl Fn(&HearthOptions) -> Option<T>) -> Option<T> {
        self.0.iter().flatten().find_map(|options| field(options))
    }

    fn kv_cache_tokens(&self) -> Result<Option<u32>, ValueError> {
        match self.first(|options| options.kv_cache_tokens) {
            None | Some(KvCacheTokens::Word(_)) => Ok(None),
            Some(KvCacheTokens::Tokens(tokens)) if tokens >= 1.0 => Ok(Some(tokens as u32)),
            Some(KvCacheTokens::Tokens(_)) => {
                Err(ValueError::Minimum { parameter: "hearth.kvCacheTokens", minimum: 0.0 })
            }
        }
    }

    /// Options that would change what a page sees are refused until they do; those that ask for what happens anyway pass.
    fn check_supported(&self) -> Result<(), FieldError> {
        match self.first(|options| options.overflow_policy) {
            None | Some(OverflowPolicy::Auto | OverflowPolicy::Error) => {}
            Some(OverflowPolicy::Truncate | OverflowPolicy::Sliding | OverflowPolicy::Summarize) => {
                return Err(FieldError::not_yet("hearth.overflowPolicy"));
            }
        }
        match self.first(|options| options.tab_budget_tokens) {
            None | Some(TabBudget::Word(_)) => {}
            Some(TabBudget::Tokens(_)) => return Err(FieldError::not_yet("hearth.tabBudgetTokens")),
        }
        match self.first(|options| options.kv_cache_type) {
            None | Some(KvCacheType::F16 | KvCacheType::F32) => {}
            Some(KvCacheType::Q8) => return Err(FieldError::not_yet("hearth.kvCacheType: q8")),
        }
        for (is_given, field) in [
            (self.first(|options| options.reserve_output_tokens).is_some(), "hearth.reserveOutputTokens"),
            (self.first(|options| options.idle_evict_seconds).is_some(), "hearth.idleEvictSeconds"),
        ] {
            if is_given {
                return Err(FieldError::not_yet(field));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn resolve(overrides: Value, chat_opts: Value) -> Result<ModelOptions, OptionsError> {
        let read = |json: Value| serde_json::from_value::<Option<ChatOptions>>(json).unwrap();
        ModelOptions::resolve(2048, read(overrides).as_ref(), read(chat_opts).as_ref())
    }

    fn error(chat_opts: Value) -> String {
        match resolve(json!(null), chat_opts.clone()).expect_err(&chat_opts.to_string()) {
            OptionsError::Window(error) => format!("{}: {error}", error.name()),
            OptionsError::Value(error) => format!("{}: {error}", error.name()),
            OptionsError::Field(error) => format!("{}: {error}", error.name()),
        }
    }

    #[test]
    fn without_options_the_models_own_hold() {
        let options = resolve(json!(null), json!(null)).unwrap();
        assert_eq!(options.window_tokens, 2048);
        assert_eq!(options.sampling, SamplingDefaults::default());
        assert_eq!((options.kv_cache_tokens, options.kv_cache_type), (None, KvCacheType::F16));
    }

    #[test]
    fn the_pages_options_lie_over_the_records_and_those_over_the_models() {
        let options = resolve(
            json!({"context_window_size": 1024, "temperature": 0.6, "top_p": 0.9,
                   "hearth": {"kvCacheTokens": 4096, "kvCacheType": "f32"}}),
            json!({"context_window_size": 512, "top_p": 0.5, "hearth": {"kvCacheType": "f16"}}),
        )
        .unwrap();
        assert_eq!(options.window_tokens, 512);
        assert_eq!((options.sampling.temperature, options.sampling.top_p), (0.6, 0.5));
        assert_eq!((options.kv_cache_tokens, options.kv_cache_type), (Some(4096), KvCacheType::F16));
    }

    #[test]
    fn both_spellings_of_the_window_count() {
        assert_eq!(resolve(json!(null), json!({"contextWindowSize": 300})).unwrap().window_tokens, 300);
        let stock = json!({"context_window_size": 300, "sliding_window_size": -1, "attention_sink_size": -1});
        assert_eq!(resolve(json!(null), stock).unwrap().window_tokens, 300);
    }

    #[test]
    fn what_asks_for_the_present_behaviour_passes() {
        let hearth =
            json!({"hearth": {"overflowPolicy": "auto", "tabBudgetTokens": "fair", "kvCacheTokens": "auto"}});
        assert!(resolve(json!(null), hearth).is_ok());
        assert!(resolve(json!(null), json!({"slidingWindow": false})).is_ok());
    }

    #[test]
    fn contradictions_get_web_llms_words() {
        for (chat_opts, expected) in [
            (
                json!({"context_window_size": 512, "sliding_window_size": 256}),
                "WindowSizeConfigurationError: Only one of context_window_size and sliding_window_size can be positive. \
                 Got: context_window_size: 512, sliding_window_size: 256\nConsider modifying ModelRecord.overrides to \
                 set one of them to -1.",
            ),
            (
                json!({"context_window_size": -1}),
                "WindowSizeSpecificationError: Need to specify either sliding_window_size or max_window_size.\nConsider \
                 modifying ModelRecord.overrides to set one of them to positive.",
            ),
            (
                json!({"context_window_size": -1, "sliding_window_size": 256}),
                "AttentionSinkSizeError: Need to specify non-negative attention_sink_size if using sliding window. \
                 Consider modifying ModelRecord.overrides. Use `attention_sink_size=0` for default sliding window.",
            ),
            (
                json!({"context_window_size": -1, "sliding_window_size": 256, "attention_sink_size": -1}),
                "AttentionSinkSizeError: Need to specify non-negative attention_sink_size if using sliding window. \
                 Consider modifying ModelRecord.overrides. Use `attention_sink_size=0` for default sliding window.",
            ),
            (json!({"context_window_size": 0}), "MinValueError: Make sure `context_window_size` > 0."),
            (json!({"temperature": -1}), "MinValueError: Make sure `temperature` > 0."),
            (json!({"top_p": 2}), "RangeError: Make sure 0 < top_p <= 1."),
            (json!({"hearth": {"kvCacheTokens": 0}}), "MinValueError: Make sure `hearth.kvCacheTokens` > 0."),
        ] {
            assert_eq!(error(chat_opts), expected);
        }
    }

    #[test]
    fn what_is_not_supported_yet_is_named_and_not_ignored() {
        for (chat_opts, field) in [
            (
                json!({"context_window_size": -1, "sliding_window_size": 256, "attention_sink_size": 0}),
                "sliding_window_size",
            ),
            (json!({"slidingWindow": true}), "slidingWindow"),
            (json!({"hearth": {"overflowPolicy": "truncate"}}), "hearth.overflowPolicy"),
            (json!({"hearth": {"tabBudgetTokens": 100}}), "hearth.tabBudgetTokens"),
            (json!({"hearth": {"kvCacheType": "q8"}}), "hearth.kvCacheType: q8"),
            (json!({"hearth": {"reserveOutputTokens": 100}}), "hearth.reserveOutputTokens"),
            (json!({"hearth": {"idleEvictSeconds": 60}}), "hearth.idleEvictSeconds"),
        ] {
            assert_eq!(
                error(chat_opts),
                format!("NotSupportedYetError: `{field}` is not supported yet by this version of Hearth")
            );
        }
    }
}
