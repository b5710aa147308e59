//! Ranges of the sampling values, and what is sampled with once defaults and request are laid over each other.
//!
//! The order of the checks is web-llm's. Not a number is out of every range.

use std::collections::BTreeMap;

use hearth_protocol::chat::ChatCompletionRequest;

use super::error::{FieldError, ValueError};
use crate::ids::TokenId;
use crate::sampling::SamplingSettings;

/// Defaults of the values that a request may give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingDefaults {
    /// 0 takes the most likely token.
    pub temperature: f64,
    /// 1 keeps all tokens.
    pub top_p: f64,
    /// 1 does nothing.
    pub repetition_penalty: f64,
    /// 0 does nothing.
    pub frequency_penalty: f64,
    /// 0 does nothing.
    pub presence_penalty: f64,
}

impl Default for SamplingDefaults {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
        }
    }
}

impl SamplingDefaults {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first value out of its range; the temperature has another error here than in a request, as in web-llm.
    pub fn check(&self) -> Result<(), ValueError> {
        check_top_p(self.top_p)?;
        if !is_at_least(self.temperature, 0.0) {
            return Err(ValueError::Minimum { parameter: "temperature", minimum: 0.0 });
        }
        check_above_zero("repetition_penalty", self.repetition_penalty)?;
        check_penalty("frequency_penalty", self.frequency_penalty)?;
        check_penalty("presence_penalty", self.presence_penalty)
    }
}

/// Why the values of a request cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ValuesError {
    /// One is out of its range.
    #[error(transparent)]
    Value(#[from] ValueError),
    /// One asks for what this version lacks.
    #[error(transparent)]
    Field(#[from] FieldError),
}

/// Checks the ranges of a request's values.
///
/// # Errors
/// The first value out of its range, or log probabilities.
pub fn check_values(request: &ChatCompletionRequest) -> Result<(), ValuesError> {
    if let Some(penalty) = request.frequency_penalty {
        check_penalty("frequency_penalty", penalty)?;
    }
    if let Some(penalty) = request.presence_penalty {
        check_penalty("presence_penalty", penalty)?;
    }
    if let Some(penalty) = request.repetition_penalty {
        check_above_zero("repetition_penalty", penalty)?;
    }
    if let Some(max_tokens) = request.max_tokens {
        check_above_zero("max_tokens", max_tokens)?;
    }
    if let Some(max_tokens) = request.max_completion_tokens {
        check_above_zero("max_completion_tokens", max_tokens)?;
    }
    if let Some(top_p) = request.top_p {
        check_top_p(top_p)?;
    }
    if let Some(temperature) = request.temperature {
        check_not_negative("temperature", temperature)?;
    }
    if let Some(top_k) = request.top_k {
        check_not_negative("top_k", top_k)?;
    }
    if let Some(bias) = &request.logit_bias {
        check_logit_bias(bias)?;
    }
    check_logprobs(request)
}

/// What to sample with: the request's values over the defaults. Both have been checked.
pub fn settings(request: &ChatCompletionRequest, defaults: &SamplingDefaults) -> SamplingSettings {
    let value = |given: Option<f64>, default: f64| given.unwrap_or(default) as f32;
    SamplingSettings {
        temperature: value(request.temperature, defaults.temperature),
        top_p: value(request.top_p, defaults.top_p),
        top_k: request.top_k.unwrap_or(0.0) as u32,
        repetition_penalty: value(request.repetition_penalty, defaults.repetition_penalty),
        frequency_penalty: value(request.frequency_penalty, defaults.frequency_penalty),
        presence_penalty: value(request.presence_penalty, defaults.presence_penalty),
    }
}

/// The most tokens that the request allows, if it sets a limit. It has been checked.
pub fn max_tokens(request: &ChatCompletionRequest) -> Option<u32> {
    request.max_tokens.or(request.max_completion_tokens).map(|limit| limit.ceil() as u32)
}

/// The biases by token. Ids that are no token of the vocabulary can never be sampled, so their bias means nothing.
pub fn logit_bias(request: &ChatCompletionRequest, vocab_size: u32) -> Vec<(TokenId, f32)> {
    let biases = request.logit_bias.iter().flatten();
    biases
        .filter_map(|(key, bias)| {
            let token = u32::try_from(leading_integer(key)?).ok()?;
            (token < vocab_size).then_some((TokenId(token), bias.unwrap_or(0.0) as f32))
        })
        .collect()
}

fn is_at_least(value: f64, minimum: f64) -> bool {
    value >= minimum
}

fn check_penalty(parameter: &'static str, value: f64) -> Result<(), ValueError> {
    check_range(parameter, value, -2.0, 2.0, String::new)
}

fn check_range(
    parameter: &'static str,
    value: f64,
    minimum: f64,
    maximum: f64,
    note: impl FnOnce() -> String,
) -> Result<(), ValueError> {
    if (minimum..=maximum).contains(&value) {
        Ok(())
    } else {
        Err(ValueError::Range { parameter, minimum, maximum, note: note() })
    }
}

fn check_top_p(value: f64) -> Result<(), ValueError> {
    if value > 0.0 && value <= 1.0 {
        Ok(())
    } else {
        Err(ValueError::Range { parameter: "top_p", minimum: 0.0, maximum: 1.0, note: String::new() })
    }
}

fn check_above_zero(parameter: &'static str, value: f64) -> Result<(), ValueError> {
    if value > 0.0 { Ok(()) } else { Err(ValueError::Minimum { parameter, minimum: 0.0 }) }
}

fn check_not_negative(parameter: &'static str, value: f64) -> Result<(), ValueError> {
    if is_at_least(value, 0.0) { Ok(()) } else { Err(ValueError::Negative { parameter }) }
}

fn check_logit_bias(bias: &BTreeMap<String, Option<f64>>) -> Result<(), ValueError> {
    for (key, bias) in bias {
        // Not a number becomes `null` on its way through JSON.
        let value = bias.unwrap_or(f64::NAN);
        check_range("logit_bias", value, -100.0, 100.0, || format!(" Got {value} for tokenID {key}"))?;
        if leading_integer(key).is_none() {
            let note = if key.is_empty() { String::new() } else { format!(" Got {key}") };
            return Err(ValueError::NumberString { parameter: "logit_bias's keys", note });
        }
    }
    Ok(())
}

fn check_logprobs(request: &ChatCompletionRequest) -> Result<(), ValuesError> {
    let wants_logprobs = request.logprobs.unwrap_or(false);
    if let Some(count) = request.top_logprobs {
        if !wants_logprobs {
            let error =
                ValueError::Dependency { parameter: "top_logprobs", required: "logprobs", value: true };
            return Err(error.into());
        }
        check_range("top_logprobs", count, 0.0, 5.0, || format!(" Got {count}"))?;
    }
    if wants_logprobs { Err(FieldError::not_yet("logprobs").into()) } else { Ok(()) }
}

/// JavaScript's `parseInt`: the integer that a text begins with, after spaces. Saturates.
fn leading_integer(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
    let digits = &digits[..end];
    if digits.is_empty() { None } else { Some(digits.parse::<i64>().map_or(i64::MAX, |value| sign * value)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn request(mut json: Value) -> ChatCompletionRequest {
        json["messages"] = json!([]);
        serde_json::from_value(json).unwrap()
    }

    fn error(json: Value) -> String {
        match check_values(&request(json.clone())).expect_err(&json.to_string()) {
            ValuesError::Value(error) => format!("{}: {error}", error.name()),
            ValuesError::Field(error) => format!("{}: {error}", error.name()),
        }
    }

    #[test]
    fn values_within_their_ranges_pass() {
        for json in [
            json!({}),
            json!({"frequency_penalty": -2, "presence_penalty": 2, "repetition_penalty": 0.01}),
            json!({"max_tokens": 1, "top_p": 1, "temperature": 0}),
            json!({"temperature": 100, "top_p": 1e-9, "top_k": 0}),
            json!({"logit_bias": {"0": -100, "7": 100, "12abc": 0, "-3": 1}}),
            json!({"logprobs": false}),
            json!({"temperature": null, "max_tokens": null, "logit_bias": null}),
        ] {
            assert_eq!(check_values(&request(json.clone())), Ok(()), "{json}");
        }
    }

    #[test]
    fn values_out_of_range_get_web_llms_words() {
        for (json, expected) in [
            (json!({"frequency_penalty": -2.1}), "RangeError: Make sure -2 < frequency_penalty <= 2."),
            (json!({"presence_penalty": 2.1}), "RangeError: Make sure -2 < presence_penalty <= 2."),
            (json!({"repetition_penalty": 0}), "MinValueError: Make sure `repetition_penalty` > 0."),
            (json!({"max_tokens": 0}), "MinValueError: Make sure `max_tokens` > 0."),
            (json!({"max_tokens": -1}), "MinValueError: Make sure `max_tokens` > 0."),
            (json!({"max_completion_tokens": 0}), "MinValueError: Make sure `max_completion_tokens` > 0."),
            (json!({"top_p": 0}), "RangeError: Make sure 0 < top_p <= 1."),
            (json!({"top_p": 1.01}), "RangeError: Make sure 0 < top_p <= 1."),
            (json!({"temperature": -0.1}), "NonNegativeError: Make sure temperature >= 0."),
            (json!({"top_k": -1}), "NonNegativeError: Make sure top_k >= 0."),
            (
                json!({"logit_bias": {"42": -100.5}}),
                "RangeError: Make sure -100 < logit_bias <= 100. Got -100.5 for tokenID 42",
            ),
            (
                json!({"logit_bias": {"42": null}}),
                "RangeError: Make sure -100 < logit_bias <= 100. Got NaN for tokenID 42",
            ),
            (
                json!({"logit_bias": {"Paris": 1}}),
                "InvalidNumberStringError: Make sure logit_bias's keys to be number represented in string. Got Paris",
            ),
            (
                json!({"logit_bias": {"": 1}}),
                "InvalidNumberStringError: Make sure logit_bias's keys to be number represented in string.",
            ),
            (json!({"top_logprobs": 2}), "DependencyError: top_logprobs requires logprobs to be true."),
            (
                json!({"logprobs": true, "top_logprobs": 6}),
                "RangeError: Make sure 0 < top_logprobs <= 5. Got 6",
            ),
            (
                json!({"logprobs": true}),
                "NotSupportedYetError: `logprobs` is not supported yet by this version of Hearth",
            ),
        ] {
            assert_eq!(error(json.clone()), expected, "{json}");
        }
    }

    #[test]
    fn not_a_number_is_out_of_every_range() {
        let nan = Some(f64::NAN);
        let base = || request(json!({}));
        for wrong in [
            ChatCompletionRequest { frequency_penalty: nan, ..base() },
            ChatCompletionRequest { presence_penalty: nan, ..base() },
            ChatCompletionRequest { repetition_penalty: nan, ..base() },
            ChatCompletionRequest { max_tokens: nan, ..base() },
            ChatCompletionRequest { top_p: nan, ..base() },
            ChatCompletionRequest { temperature: nan, ..base() },
            ChatCompletionRequest { top_k: nan, ..base() },
        ] {
            assert!(check_values(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_first_fault_in_web_llms_order_is_named() {
        assert_eq!(
            error(json!({"temperature": -1, "top_p": 5, "frequency_penalty": 9})),
            "RangeError: Make sure -2 < frequency_penalty <= 2."
        );
    }

    #[test]
    fn defaults_out_of_range_are_named() {
        let good = SamplingDefaults::default();
        for (defaults, expected) in [
            (SamplingDefaults { top_p: 0.0, ..good }, "RangeError: Make sure 0 < top_p <= 1."),
            (SamplingDefaults { temperature: -1.0, ..good }, "MinValueError: Make sure `temperature` > 0."),
            (
                SamplingDefaults { repetition_penalty: 0.0, ..good },
                "MinValueError: Make sure `repetition_penalty` > 0.",
            ),
            (
                SamplingDefaults { frequency_penalty: 3.0, ..good },
                "RangeError: Make sure -2 < frequency_penalty <= 2.",
            ),
            (
                SamplingDefaults { presence_penalty: -3.0, ..good },
                "RangeError: Make sure -2 < presence_penalty <= 2.",
            ),
        ] {
            let error = defaults.check().unwrap_err();
            assert_eq!(format!("{}: {error}", error.name()), expected);
        }
        assert_eq!(good.check(), Ok(()));
    }

    #[test]
    fn a_request_lies_over_the_defaults() {
        let defaults = SamplingDefaults { temperature: 0.5, top_p: 0.9, ..SamplingDefaults::default() };
        let settings =
            settings(&request(json!({"top_p": 0.25, "top_k": 40, "presence_penalty": 1})), &defaults);
        assert_eq!(
            settings,
            SamplingSettings {
                temperature: 0.5,
                top_p: 0.25,
                top_k: 40,
                repetition_penalty: 1.0,
                frequency_penalty: 0.0,
                presence_penalty: 1.0,
            }
        );
    }

    #[test]
    fn limits_round_up_and_the_older_name_wins() {
        assert_eq!(max_tokens(&request(json!({}))), None);
        assert_eq!(max_tokens(&request(json!({"max_tokens": 2.5}))), Some(3));
        assert_eq!(max_tokens(&request(json!({"max_completion_tokens": 7}))), Some(7));
        assert_eq!(max_tokens(&request(json!({"max_completion_tokens": 7, "max_tokens": 3}))), Some(3));
        assert_eq!(max_tokens(&request(json!({"max_tokens": 1e300}))), Some(u32::MAX));
    }

    #[test]
    fn biases_of_tokens_that_do_not_exist_are_dropped() {
        let request = request(json!({"logit_bias": {"3": 1.5, "9": -1, "10": 2, "-1": 3, "4x": 4}}));
        let mut biases = logit_bias(&request, 10);
        biases.sort_by_key(|(token, _)| token.0);
        assert_eq!(biases, [(TokenId(3), 1.5), (TokenId(4), 4.0), (TokenId(9), -1.0)]);
    }

    #[test]
    fn integers_are_read_as_javascript_does() {
        for (text, expected) in [
            ("12", Some(12)),
            (" -3x", Some(-3)),
            ("+7", Some(7)),
            ("1.9", Some(1)),
            ("x1", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(leading_integer(text), expected, "{text:?}");
        }
        assert_eq!(leading_integer("99999999999999999999"), Some(i64::MAX));
    }
}
