//! `cargo hearth eval`: a model's numbers against expected ones, natively.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use hearth_gpu::KvType;

use crate::error::{CliError, Result};
use crate::evaluate::{self, Expected, Report};
use crate::native;
use crate::terminal::{self, Step};

/// Tokens of the cache: more than any file of expected values needs.
const KV_TOKENS: u32 = 4096;

/// Run prompts or a text through a model natively and compare with expected values.
#[derive(Args, Debug)]
pub struct EvalArgs {
    /// A GGUF file, or a folder with one
    #[arg(long)]
    model: PathBuf,
    /// The expected values
    #[arg(long)]
    expected: PathBuf,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Precision of the cache, and with it the tolerance that is applied
    #[arg(long, value_enum, default_value = "f32")]
    kv_cache: KvCache,
}

/// Precision of the cache.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum KvCache {
    /// What is shipped
    F16,
    /// Strict comparison
    F32,
    /// About half the memory of f16
    Q8,
}

/// Runs the command.
pub fn run(arguments: &EvalArgs) -> Result<()> {
    let expected = Expected::read(&arguments.expected)?;
    let file = native::find_gguf(&arguments.model)?;
    let kv_type = match arguments.kv_cache {
        KvCache::F16 => KvType::F16,
        KvCache::Q8 => KvType::Q8,
        KvCache::F32 => KvType::F32,
    };
    let report = pollster::block_on(async {
        let model = native::load(&file, kv_type, KV_TOKENS).await?;
        let step = Step::start("Evaluating");
        let report = evaluate::evaluate(model, &expected, kv_type, |what| step.message(what)).await?;
        step.finish();
        Ok::<_, CliError>(report)
    })?;
    if arguments.json {
        let text = serde_json::to_string_pretty(&report);
        terminal::result(&text.map_err(|source| CliError::Json { what: "the report".to_owned(), source })?);
    } else {
        print(&report);
    }
    if report.passed { Ok(()) } else { Err(CliError::OutsideTolerance { tolerance: report.tolerance }) }
}

fn print(report: &Report) {
    terminal::result(&format!("adapter    {}", report.adapter));
    terminal::result(&format!("tolerance  {}", report.tolerance));
    if !report.prompts.is_empty() {
        terminal::result(
            "prompt        tokens   max abs error   max rel error   outside   greedy compared   mismatches",
        );
    }
    for prompt in &report.prompts {
        let (logits, greedy) = (&prompt.logits, &prompt.greedy);
        terminal::result(&format!(
            "{:<12} {:>7}   {:>13.6}   {:>13.6}   {:>7}   {:>15}   {:>10}",
            prompt.id,
            prompt.num_tokens,
            logits.max_abs_error,
            logits.max_rel_error,
            format!("{}/{}", logits.num_outside, logits.num_compared),
            format!("{}/{}", greedy.num_compared, greedy.num_expected),
            greedy.mismatches.len(),
        ));
    }
    if let Some(perplexity) = &report.perplexity {
        terminal::result(&format!(
            "perplexity {:.5}, expected {:.5} ({:+.4} %), largest difference of a log probability {:.6}",
            perplexity.got,
            perplexity.want,
            perplexity.relative_difference * 100.0,
            perplexity.max_logprob_difference,
        ));
    }
    terminal::result(if report.passed { "within the tolerance" } else { "OUTSIDE the tolerance" });
}
