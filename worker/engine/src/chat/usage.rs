//! What a reply cost, in web-llm's numbers. Never infinite, never not a number, whatever the clock says.

use hearth_protocol::completion::{CompletionUsage, ContextReport, PromptTokensDetails, UsageExtra};

use crate::sequence::SequenceStats;

const MS_PER_S: f64 = 1000.0;

/// Tokens per second of the two parts of a reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rates {
    pub(super) prefill_tokens_per_s: f64,
    pub(super) decode_tokens_per_s: f64,
}

/// Tokens of the prompt that had to be computed.
fn prefilled_tokens(stats: &SequenceStats) -> u32 {
    stats.prompt_tokens.saturating_sub(stats.cached_tokens)
}

/// Tokens after the first, which belongs to prefill.
fn decoded_tokens(stats: &SequenceStats) -> u32 {
    stats.completion_tokens.saturating_sub(1)
}

/// A quotient, and 0 where there is none.
fn quotient(numerator: f64, denominator: f64) -> f64 {
    let quotient = numerator / denominator;
    if quotient.is_finite() && quotient >= 0.0 { quotient } else { 0.0 }
}

fn seconds(ms: f64) -> f64 {
    quotient(ms, MS_PER_S)
}

/// How fast a reply was.
pub(super) fn rates(stats: &SequenceStats) -> Rates {
    Rates {
        prefill_tokens_per_s: quotient(f64::from(prefilled_tokens(stats)), seconds(stats.prefill_ms)),
        decode_tokens_per_s: quotient(f64::from(decoded_tokens(stats)), seconds(stats.decode_ms)),
    }
}

/// The whole report. `prompt_tokens` counts what was computed, as in web-llm; the rest is in the details.
pub(super) fn usage(stats: &SequenceStats, context: ContextReport) -> CompletionUsage {
    let prompt_tokens = prefilled_tokens(stats);
    let rates = rates(stats);
    CompletionUsage {
        completion_tokens: stats.completion_tokens,
        prompt_tokens,
        total_tokens: prompt_tokens.saturating_add(stats.completion_tokens),
        prompt_tokens_details: PromptTokensDetails { cached_tokens: stats.cached_tokens },
        extra: UsageExtra {
            e2e_latency_s: seconds(stats.queued_ms + stats.prefill_ms + stats.decode_ms),
            prefill_tokens_per_s: rates.prefill_tokens_per_s,
            decode_tokens_per_s: rates.decode_tokens_per_s,
            time_to_first_token_s: seconds(stats.prefill_ms),
            time_per_output_token_s: quotient(seconds(stats.decode_ms), f64::from(decoded_tokens(stats))),
            context: Some(context),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats() -> SequenceStats {
        SequenceStats {
            prompt_tokens: 100,
            cached_tokens: 64,
            completion_tokens: 11,
            queued_ms: 250.0,
            prefill_ms: 500.0,
            decode_ms: 2000.0,
            ..SequenceStats::default()
        }
    }

    #[test]
    fn only_what_was_computed_counts_as_prompt() {
        let usage = usage(&stats(), ContextReport { window: 2048, used: 111, ..ContextReport::default() });
        assert_eq!((usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens), (36, 64));
        assert_eq!((usage.completion_tokens, usage.total_tokens), (11, 47));
        assert_eq!(usage.extra.e2e_latency_s, 2.75);
        assert_eq!(usage.extra.prefill_tokens_per_s, 72.0);
        assert_eq!(usage.extra.decode_tokens_per_s, 5.0);
        assert_eq!(usage.extra.time_to_first_token_s, 0.5);
        assert_eq!(usage.extra.time_per_output_token_s, 0.2);
        let context = usage.extra.context.unwrap();
        assert_eq!((context.window, context.used), (2048, 111));
    }

    #[test]
    fn numbers_stay_finite() {
        for wrong in [
            SequenceStats::default(),
            SequenceStats { prefill_ms: 0.0, decode_ms: 0.0, ..stats() },
            SequenceStats { prefill_ms: f64::NAN, decode_ms: f64::INFINITY, ..stats() },
            SequenceStats { prefill_ms: -1.0, decode_ms: f64::MIN_POSITIVE, ..stats() },
            SequenceStats { cached_tokens: 1000, completion_tokens: 1, ..stats() },
        ] {
            let extra = usage(&wrong, ContextReport::default()).extra;
            for number in [
                extra.e2e_latency_s,
                extra.prefill_tokens_per_s,
                extra.decode_tokens_per_s,
                extra.time_to_first_token_s,
                extra.time_per_output_token_s,
            ] {
                assert!(number.is_finite() && number >= 0.0, "{number} from {wrong:?}");
            }
        }
    }
}
