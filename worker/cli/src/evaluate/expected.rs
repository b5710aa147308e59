//! The file of expected values, as data.

use std::fs;
use std::path::Path;

use hearth_gpu::KvType;
use serde::Deserialize;

use crate::error::{CliError, Result};

/// The format that this tool reads.
const FORMAT: u32 = 1;

/// What a token's log probability may be off by with a cache of 8 bits, in units of f16's. Measured on SmolLM2-135M: 0.21, where
/// f16's tolerance is 0.1.
const LOGPROB_FACTOR_OF_8_BITS: f64 = 4.0;

/// A file of expected values. What a file does not have, is not compared.
#[derive(Debug, Deserialize)]
pub struct Expected {
    format: u32,
    tolerance: Tolerances,
    /// Entries of the vocabulary.
    pub vocab_size: Option<u32>,
    /// Prompts with their logits and greedy tokens.
    #[serde(default)]
    pub prompts: Vec<ExpectedPrompt>,
    /// The text of a perplexity measurement.
    pub ids: Option<Vec<u32>>,
    /// `logprobs[i] = log p(ids[i+1] | ids[..=i])`.
    pub logprobs: Option<Vec<f64>>,
}

#[derive(Debug, Deserialize)]
struct Tolerances {
    f32: AnyTolerance,
    f16: AnyTolerance,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct AnyTolerance {
    atol: Option<f64>,
    rtol: Option<f64>,
    logprob_atol: Option<f64>,
    perplexity_rel: Option<f64>,
}

impl AnyTolerance {
    /// The files have none for a cache of 8 bits: its logits and its perplexity are to be as good as with f16, and only a single
    /// token may be further off.
    fn with_8_bits(self) -> Self {
        Self { logprob_atol: self.logprob_atol.map(|atol| atol * LOGPROB_FACTOR_OF_8_BITS), ..self }
    }
}

/// A logit passes when `abs(got - want) <= atol + rtol * abs(want)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f64,
    /// Part relative to the expected value.
    pub rtol: f64,
}

/// A perplexity passes when both differences are within.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerplexityTolerance {
    /// Of each token's log probability.
    pub logprob_atol: f64,
    /// Of the perplexity, relative.
    pub perplexity_rel: f64,
}

/// One prompt.
#[derive(Debug, Deserialize)]
pub struct ExpectedPrompt {
    /// Its name.
    pub id: String,
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Logits at its last position, of the whole vocabulary.
    #[serde(default)]
    logits: Vec<f32>,
    /// Or of the largest only.
    #[serde(default)]
    top50: Vec<(u32, f32)>,
    /// Tokens that follow when the likeliest is always taken.
    #[serde(default)]
    pub greedy: Vec<u32>,
    /// For each of them, its logit less the runner-up's.
    #[serde(default)]
    pub greedy_margin: Vec<f64>,
    /// Only embedding models have it.
    cls: Option<serde::de::IgnoredAny>,
}

impl Expected {
    /// Reads a file and checks what can be checked without a model.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(CliError::file("read", path))?;
        Self::parse(&text, &path.display().to_string())
    }

    fn parse(text: &str, name: &str) -> Result<Self> {
        let expected: Self =
            serde_json::from_str(text).map_err(|source| CliError::Json { what: name.to_owned(), source })?;
        if expected.format != FORMAT {
            return Err(CliError::OtherFormat {
                file: name.to_owned(),
                expected: FORMAT,
                got: expected.format,
            });
        }
        if expected.prompts.iter().any(|prompt| prompt.cls.is_some()) {
            return Err(CliError::EmbeddingsUnsupported { file: name.to_owned() });
        }
        if expected.prompts.is_empty() && expected.logprobs.is_none() {
            return Err(CliError::NothingToCompare { file: name.to_owned() });
        }
        for prompt in &expected.prompts {
            if prompt.ids.is_empty() || prompt.wanted_logits().is_empty() {
                return Err(CliError::NothingToCompare { file: format!("{name}, prompt {}", prompt.id) });
            }
            let (got, wanted) = (prompt.greedy_margin.len(), prompt.greedy.len());
            if got != wanted {
                return Err(CliError::ExpectedShape { what: "greedy_margin", expected: wanted, got });
            }
        }
        Ok(expected)
    }

    /// The tolerances for this precision of the cache: that of logits, that of perplexity.
    pub fn tolerances(&self, kv_type: KvType) -> Result<(Option<Tolerance>, Option<PerplexityTolerance>)> {
        let any = match kv_type {
            KvType::F16 => self.tolerance.f16,
            KvType::Q8 => self.tolerance.f16.with_8_bits(),
            KvType::F32 => self.tolerance.f32,
        };
        let logits = any.atol.zip(any.rtol).map(|(atol, rtol)| Tolerance { atol, rtol });
        let perplexity = any
            .logprob_atol
            .zip(any.perplexity_rel)
            .map(|(logprob_atol, perplexity_rel)| PerplexityTolerance { logprob_atol, perplexity_rel });
        if !self.prompts.is_empty() && logits.is_none() {
            return Err(CliError::NoTolerance { kind: "logits" });
        }
        if self.logprobs.is_some() && perplexity.is_none() {
            return Err(CliError::NoTolerance { kind: "perplexity" });
        }
        Ok((logits, perplexity))
    }
}

impl ExpectedPrompt {
    /// Token and logit, whichever way the file has them.
    pub fn wanted_logits(&self) -> Vec<(u32, f32)> {
        if self.logits.is_empty() {
            self.top50.clone()
        } else {
            (0..).zip(self.logits.iter().copied()).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: &str = r#""tolerance":{"f32":{"atol":0.1,"rtol":0.2},"f16":{"atol":0.3,"rtol":0.4}}"#;

    fn parse(rest: &str) -> Result<Expected> {
        Expected::parse(&format!(r#"{{"format":1,{TOLERANCE},{rest}}}"#), "expected.json")
    }

    #[test]
    fn both_forms_of_logits_are_read() {
        let file = parse(
            r#""prompts":[{"id":"a","ids":[1],"logits":[0.5,1.5]},{"id":"b","ids":[1],"top50":[[7,2.5]]}]"#,
        )
        .unwrap();
        assert_eq!(file.prompts[0].wanted_logits(), [(0, 0.5), (1, 1.5)]);
        assert_eq!(file.prompts[1].wanted_logits(), [(7, 2.5)]);
        assert_eq!(file.tolerances(KvType::F16).unwrap().0, Some(Tolerance { atol: 0.3, rtol: 0.4 }));
        assert_eq!(file.tolerances(KvType::F32).unwrap().0, Some(Tolerance { atol: 0.1, rtol: 0.2 }));
    }

    #[test]
    fn a_file_that_would_compare_nothing_is_refused() {
        assert!(matches!(parse(r#""prompts":[]"#), Err(CliError::NothingToCompare { .. })));
        assert!(matches!(
            parse(r#""prompts":[{"id":"a","ids":[1]}]"#),
            Err(CliError::NothingToCompare { .. })
        ));
        let short = r#""prompts":[{"id":"a","ids":[1],"logits":[1],"greedy":[1,2],"greedy_margin":[1]}]"#;
        assert!(matches!(parse(short), Err(CliError::ExpectedShape { .. })));
        let text = r#"{"format":1,"tolerance":{"f32":{},"f16":{"logprob_atol":0.1,"perplexity_rel":0.005}},"ids":[1,2],"logprobs":[-1]}"#;
        let of_8_bits = Expected::parse(text, "x").unwrap().tolerances(KvType::Q8).unwrap().1;
        assert_eq!(of_8_bits, Some(PerplexityTolerance { logprob_atol: 0.4, perplexity_rel: 0.005 }));
        let no_tolerance = parse(r#""ids":[1,2],"logprobs":[-1]"#).unwrap();
        assert!(matches!(no_tolerance.tolerances(KvType::F32), Err(CliError::NoTolerance { .. })));
    }

    #[test]
    fn embeddings_and_other_formats_are_named() {
        assert!(matches!(
            parse(r#""prompts":[{"id":"a","ids":[1],"cls":[0.1]}]"#),
            Err(CliError::EmbeddingsUnsupported { .. })
        ));
        let other = Expected::parse(&format!(r#"{{"format":2,{TOLERANCE}}}"#), "x");
        assert!(matches!(other, Err(CliError::OtherFormat { got: 2, .. })));
        assert!(matches!(Expected::parse("{", "x"), Err(CliError::Json { .. })));
    }
}
