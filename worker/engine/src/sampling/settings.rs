//! Sampling settings of one sequence, already validated.

use thiserror::Error;

/// How to turn logits into a token. Order: bias, penalties, temperature, top-k, top-p, draw.
///
/// Penalties count the tokens generated in this round only, not the prompt:
/// repetition divides a positive logit (multiplies a negative one) of every token generated before; then
/// `logit -= frequency_penalty * count + presence_penalty * (count > 0)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingSettings {
    /// 0 takes the most likely token; otherwise logits are divided by it.
    pub temperature: f32,
    /// Keep the most likely tokens up to and including the one at which their probabilities reach this; 1 keeps all.
    pub top_p: f32,
    /// Keep this many most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// 1 does nothing.
    pub repetition_penalty: f32,
    /// 0 does nothing.
    pub frequency_penalty: f32,
    /// 0 does nothing.
    pub presence_penalty: f32,
}

impl Default for SamplingSettings {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
        }
    }
}

impl SamplingSettings {
    /// The most likely token each time.
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// Checks what the samplers rely on: every number finite, and within the range in which its formula means
    /// something. Narrower ranges that an API promises are that API's to check.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let check = |setting, value: f32, allowed: bool, expected| {
            if value.is_finite() && allowed {
                Ok(())
            } else {
                Err(SettingsError { setting, expected, got: value })
            }
        };
        check("temperature", self.temperature, self.temperature >= 0.0, "a finite number of at least 0")?;
        check("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "a number above 0 and up to 1")?;
        check(
            "repetition_penalty",
            self.repetition_penalty,
            self.repetition_penalty > 0.0,
            "a finite number above 0",
        )?;
        check("frequency_penalty", self.frequency_penalty, true, "a finite number")?;
        check("presence_penalty", self.presence_penalty, true, "a finite number")
    }
}

/// A sampling setting outside its range.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("{setting} must be {expected}, got {got}")]
pub struct SettingsError {
    /// The field of [`SamplingSettings`].
    pub setting: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it was.
    pub got: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_greedy_are_valid() {
        assert_eq!(SamplingSettings::default().validate(), Ok(()));
        assert_eq!(SamplingSettings::greedy().validate(), Ok(()));
    }

    #[test]
    fn each_setting_out_of_range_is_named() {
        let valid = SamplingSettings::default();
        for (settings, name) in [
            (SamplingSettings { temperature: -0.1, ..valid }, "temperature"),
            (SamplingSettings { temperature: f32::NAN, ..valid }, "temperature"),
            (SamplingSettings { top_p: 0.0, ..valid }, "top_p"),
            (SamplingSettings { top_p: 1.1, ..valid }, "top_p"),
            (SamplingSettings { repetition_penalty: 0.0, ..valid }, "repetition_penalty"),
            (SamplingSettings { frequency_penalty: f32::INFINITY, ..valid }, "frequency_penalty"),
            (SamplingSettings { presence_penalty: f32::NAN, ..valid }, "presence_penalty"),
        ] {
            assert_eq!(settings.validate().unwrap_err().setting, name);
        }
    }
}
