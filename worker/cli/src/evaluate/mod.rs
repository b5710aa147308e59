//! Compares a model's numbers with expected ones: logits, greedy tokens, perplexity. Knows the format of expected.json
//! and what counts as equal; how rows reach the GPU is `hearth_gpu::forward`'s.

mod compare;
mod expected;

use hearth_engine::ids::TokenId;
use hearth_gpu::{Forward, KvType};
use serde::Serialize;

use crate::error::{CliError, Result};
use crate::native::NativeModel;

pub use compare::LogitReport;
pub use expected::{Expected, Tolerance};

use compare::{Greedy, argmax, compare_greedy, compare_logits, log_softmax_at};
use expected::{ExpectedPrompt, PerplexityTolerance};

/// What the comparison found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Everything is within the tolerance.
    pub passed: bool,
    /// The device.
    pub adapter: String,
    /// The tolerance that was applied.
    pub tolerance: &'static str,
    /// One for each prompt.
    pub prompts: Vec<PromptReport>,
    /// If the file has a text to measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<PerplexityReport>,
}

/// One prompt.
#[derive(Debug, Serialize)]
pub struct PromptReport {
    /// Its name in the file.
    pub id: String,
    /// Its length.
    pub num_tokens: usize,
    /// The logits after it.
    pub logits: LogitReport,
    /// The tokens after it.
    pub greedy: Greedy,
}

/// A text's perplexity.
#[derive(Debug, Serialize)]
pub struct PerplexityReport {
    /// What the model has.
    pub got: f64,
    /// What it should have.
    pub want: f64,
    /// `got / want - 1`.
    pub relative_difference: f64,
    /// The largest difference of a single token's log probability.
    pub max_logprob_difference: f64,
    /// Within the tolerance.
    pub passed: bool,
}

/// Runs everything in `expected` through the model; `watch` is told what is going on.
pub async fn evaluate(
    model: NativeModel,
    expected: &Expected,
    kv_type: KvType,
    mut watch: impl FnMut(&str),
) -> Result<Report> {
    let (tolerance, perplexity_tolerance) = expected.tolerances(kv_type)?;
    if let Some(size) = expected.vocab_size.filter(|&size| size != model.config.vocab_size) {
        return Err(CliError::OtherModel {
            what: "vocab_size",
            expected: size,
            got: model.config.vocab_size,
        });
    }
    let adapter = model.adapter.clone();
    let vocab_size = model.config.vocab_size;
    let mut forward = Forward::new(model.executor, vocab_size);
    let mut prompts = Vec::new();
    for prompt in &expected.prompts {
        watch(&format!("prompt {}", prompt.id));
        let Some(tolerance) = tolerance else { return Err(CliError::NoTolerance { kind: "logits" }) };
        prompts.push(evaluate_prompt(&mut forward, prompt, tolerance).await?);
    }
    let perplexity = match (&expected.ids, &expected.logprobs, perplexity_tolerance) {
        (Some(ids), Some(logprobs), Some(tolerance)) => {
            watch("perplexity");
            Some(measure_perplexity(&mut forward, ids, logprobs, tolerance).await?)
        }
        _ => None,
    };
    let passed =
        prompts.iter().all(|prompt| prompt.logits.num_outside == 0 && prompt.greedy.mismatches.is_empty())
            && perplexity.as_ref().is_none_or(|report| report.passed);
    let tolerance = match kv_type {
        KvType::F16 => "f16",
        KvType::Q8 => "q8",
        KvType::F32 => "f32",
    };
    Ok(Report { passed, adapter, tolerance, prompts, perplexity })
}

async fn evaluate_prompt(
    forward: &mut Forward,
    prompt: &ExpectedPrompt,
    tolerance: Tolerance,
) -> Result<PromptReport> {
    let ids: Vec<TokenId> = prompt.ids.iter().copied().map(TokenId).collect();
    forward.check_length(ids.len() + prompt.greedy.len())?;
    let got = forward.prefill(&ids).await?;
    let logits = compare_logits(&prompt.wanted_logits(), &got, tolerance);
    let mut generated = Vec::new();
    if !prompt.greedy.is_empty() {
        // The first pick comes from the same logits on the CPU; the rest, from the sampler on the device.
        generated.push(argmax(&got));
        let first = TokenId(argmax(&got));
        let rest = forward.greedy(first, ids.len(), prompt.greedy.len() - 1).await?;
        generated.extend(rest.into_iter().map(|token| token.0));
    }
    let greedy = compare_greedy(&prompt.greedy, &prompt.greedy_margin, &generated, tolerance.atol);
    Ok(PromptReport { id: prompt.id.clone(), num_tokens: ids.len(), logits, greedy })
}

async fn measure_perplexity(
    forward: &mut Forward,
    ids: &[u32],
    logprobs: &[f64],
    tolerance: PerplexityTolerance,
) -> Result<PerplexityReport> {
    let tokens: Vec<TokenId> = ids.iter().copied().map(TokenId).collect();
    forward.check_length(tokens.len())?;
    let mut got = Vec::with_capacity(logprobs.len());
    forward
        .each_logits(&tokens[..tokens.len().saturating_sub(1)], |position, logits| {
            got.push(log_softmax_at(logits, tokens[position + 1]));
        })
        .await?;
    if got.len() != logprobs.len() || got.is_empty() {
        return Err(CliError::ExpectedShape { what: "logprobs", expected: got.len(), got: logprobs.len() });
    }
    let perplexity = |values: &[f64]| (-values.iter().sum::<f64>() / values.len() as f64).exp();
    let (got_perplexity, want) = (perplexity(&got), perplexity(logprobs));
    let differences = got.iter().zip(logprobs).map(|(got, want)| (got - want).abs());
    // f64::max drops NaN: a NaN must count as the largest difference.
    let max_logprob_difference =
        differences.fold(0.0, |max: f64, next| if next > max || next.is_nan() { next } else { max });
    let relative_difference = got_perplexity / want - 1.0;
    let passed = max_logprob_difference <= tolerance.logprob_atol
        && relative_difference.abs() <= tolerance.perplexity_rel;
    Ok(PerplexityReport { got: got_perplexity, want, relative_difference, max_logprob_difference, passed })
}
