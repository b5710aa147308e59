use super::*;
use serde_json::{Value, json};

fn read(json: Value) -> Option<ChatOptions> {
    serde_json::from_value(json).unwrap()
}

fn tab(overrides: Value, chat_opts: Value) -> Result<TabOptions, OptionsError> {
    TabOptions::resolve(read(overrides).as_ref(), read(chat_opts).as_ref())
}

fn model(overrides: Value, chat_opts: Value) -> Result<ModelOptions, OptionsError> {
    ModelOptions::resolve(read(overrides).as_ref(), read(chat_opts).as_ref())
}

fn resolved(chat_opts: Value) -> TabOptions {
    tab(json!(null), chat_opts.clone()).unwrap_or_else(|error| panic!("{chat_opts}: {error}"))
}

fn text(error: OptionsError) -> String {
    match error {
        OptionsError::Window(error) => format!("{}: {error}", error.name()),
        OptionsError::Value(error) => format!("{}: {error}", error.name()),
    }
}

fn error(chat_opts: Value) -> String {
    text(tab(json!(null), chat_opts.clone()).expect_err(&chat_opts.to_string()))
}

#[test]
fn without_options_the_defaults_hold() {
    assert_eq!(tab(json!(null), json!(null)), Ok(TabOptions::default()));
    assert_eq!(tab(json!({}), json!({"hearth": {}})), Ok(TabOptions::default()));
    let defaults = TabOptions::default();
    assert_eq!((defaults.policy, defaults.near_limit_fraction), (OverflowPolicy::Auto, 0.9));
    assert_eq!((defaults.window(100_000), defaults.window(1000), defaults.sink_tokens()), (4096, 1000, 0));
    assert_eq!(
        model(json!(null), json!(null)),
        Ok(ModelOptions { kv_cache_tokens: None, kv_cache_type: KvCacheType::F16 })
    );
}

#[test]
fn the_pages_options_lie_over_the_records() {
    let overrides = json!({"context_window_size": 1024, "temperature": 0.6, "top_p": 0.9,
                           "hearth": {"kvCacheTokens": 4096, "kvCacheType": "f32", "reserveOutputTokens": 9}});
    let chat_opts = json!({"context_window_size": 512, "top_p": 0.5, "hearth": {"kvCacheType": "q8"}});
    let options = tab(overrides.clone(), chat_opts.clone()).unwrap();
    assert_eq!((options.window_tokens, options.reserve_output_tokens), (Some(512), Some(9)));
    assert_eq!((options.sampling.temperature, options.sampling.top_p), (0.6, 0.5));
    let options = model(overrides, chat_opts).unwrap();
    assert_eq!((options.kv_cache_tokens, options.kv_cache_type), (Some(4096), KvCacheType::Q8));
}

#[test]
fn both_spellings_of_the_windows_count() {
    assert_eq!(resolved(json!({"contextWindowSize": 300})).window_tokens, Some(300));
    let stock = json!({"context_window_size": 300, "sliding_window_size": -1, "attention_sink_size": -1});
    assert_eq!(resolved(stock), resolved(json!({"contextWindowSize": 300})));
    let slides = SlidingWindow { window_tokens: 256, sink_tokens: 4 };
    for options in [
        json!({"context_window_size": -1, "sliding_window_size": 256, "attention_sink_size": 4}),
        json!({"contextWindowSize": -1, "slidingWindowSize": 256, "attentionSinkSize": 4}),
        json!({"slidingWindowSize": 256, "attentionSinkSize": 4}),
        json!({"contextWindowSize": 256, "slidingWindow": true, "attentionSinkSize": 4}),
    ] {
        let options = resolved(options);
        assert_eq!((options.sliding, options.policy), (Some(slides), OverflowPolicy::Sliding));
        assert_eq!((options.window(1000), options.window(100), options.sink_tokens()), (256, 100, 4));
    }
}

#[test]
fn a_window_slides_where_it_is_told_to() {
    let options = resolved(json!({"slidingWindow": true}));
    assert_eq!(
        (options.policy, options.sliding, options.window(1000)),
        (OverflowPolicy::Sliding, None, 1000)
    );
    assert_eq!(resolved(json!({"slidingWindow": false})), TabOptions::default());
    let auto = json!({"slidingWindow": true, "hearth": {"overflowPolicy": "auto"}});
    assert_eq!(resolved(auto).policy, OverflowPolicy::Sliding);
    // A policy by name wins; the size stays.
    let truncating = json!({"context_window_size": -1, "sliding_window_size": 256, "attention_sink_size": 0,
                            "hearth": {"overflowPolicy": "truncate"}});
    let options = resolved(truncating);
    assert_eq!((options.policy, options.window(1000)), (OverflowPolicy::Truncate, 256));
}

#[test]
fn hearths_own_options_are_taken() {
    let options = resolved(json!({"prefillChunkSize": 128, "hearth": {
        "overflowPolicy": "summarize", "tabBudgetTokens": 700, "idleEvictSeconds": 2.5, "reserveOutputTokens": 0,
        "nearLimitFraction": 0.5}}));
    assert_eq!((options.policy, options.budget), (OverflowPolicy::Summarize, OwnerBudget::Tokens(700)));
    assert_eq!((options.idle_evict_seconds, options.reserve_output_tokens), (Some(2.5), Some(0)));
    assert_eq!(options.near_limit_fraction, 0.5);
    assert_eq!(resolved(json!({"hearth": {"tabBudgetTokens": "fair"}})).budget, OwnerBudget::Fair);
    assert_eq!(resolved(json!({"hearth": {"overflowPolicy": "error"}})).policy, OverflowPolicy::Error);
    assert_eq!(
        model(json!(null), json!({"hearth": {"kvCacheTokens": "auto"}})).unwrap().kv_cache_tokens,
        None
    );
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
    ] {
        assert_eq!(error(chat_opts), expected);
    }
    // A window of the record and a sliding one of the page contradict each other too, as in web-llm.
    let both = tab(
        json!({"context_window_size": 4096}),
        json!({"sliding_window_size": 256, "attention_sink_size": 0}),
    );
    assert!(matches!(both, Err(OptionsError::Window(WindowError::Both { .. }))), "{both:?}");
}

#[test]
fn values_out_of_range_are_named() {
    for (chat_opts, expected) in [
        (json!({"context_window_size": 0}), "MinValueError: Make sure `context_window_size` > 0."),
        (json!({"sliding_window_size": 0}), "MinValueError: Make sure `sliding_window_size` > 0."),
        (json!({"sliding_window_size": -2}), "MinValueError: Make sure `sliding_window_size` > 0."),
        (json!({"prefillChunkSize": 0}), "MinValueError: Make sure `prefillChunkSize` > 0."),
        (json!({"temperature": -1}), "MinValueError: Make sure `temperature` > 0."),
        (json!({"top_p": 2}), "RangeError: Make sure 0 < top_p <= 1."),
        (json!({"hearth": {"tabBudgetTokens": 0}}), "MinValueError: Make sure `hearth.tabBudgetTokens` > 0."),
        (
            json!({"hearth": {"reserveOutputTokens": -1}}),
            "NonNegativeError: Make sure hearth.reserveOutputTokens >= 0.",
        ),
        (
            json!({"hearth": {"idleEvictSeconds": -0.5}}),
            "NonNegativeError: Make sure hearth.idleEvictSeconds >= 0.",
        ),
        (
            json!({"hearth": {"nearLimitFraction": 0}}),
            "RangeError: Make sure 0 < hearth.nearLimitFraction <= 1. Got 0",
        ),
        (
            json!({"hearth": {"nearLimitFraction": 1.5}}),
            "RangeError: Make sure 0 < hearth.nearLimitFraction <= 1. Got 1.5",
        ),
    ] {
        assert_eq!(error(chat_opts), expected);
    }
    let cache = model(json!(null), json!({"hearth": {"kvCacheTokens": 0}})).unwrap_err();
    assert_eq!(text(cache), "MinValueError: Make sure `hearth.kvCacheTokens` > 0.");
}
