//! What counts as equal. Pure functions over numbers.

use hearth_engine::ids::TokenId;
use serde::Serialize;

use super::expected::Tolerance;

/// How far logits are from the expected ones.
#[derive(Debug, Serialize)]
pub struct LogitReport {
    /// Logits compared.
    pub num_compared: usize,
    /// The largest difference.
    pub max_abs_error: f64,
    /// The largest difference relative to the expected value, over values of at least 1.
    pub max_rel_error: f64,
    /// Logits outside the tolerance.
    pub num_outside: usize,
}

/// How greedy tokens compare.
#[derive(Debug, Serialize)]
pub struct Greedy {
    /// Steps compared: up to the first whose margin is too small to tell.
    pub num_compared: usize,
    /// Steps that the file has.
    pub num_expected: usize,
    /// Steps that differ, from 0.
    pub mismatches: Vec<usize>,
}

/// Compares logits; a NaN or a missing logit is outside any tolerance.
pub fn compare_logits(want: &[(u32, f32)], got: &[f32], tolerance: Tolerance) -> LogitReport {
    let mut report =
        LogitReport { num_compared: want.len(), max_abs_error: 0.0, max_rel_error: 0.0, num_outside: 0 };
    for &(token, want) in want {
        let want = f64::from(want);
        let error = got.get(token as usize).map_or(f64::NAN, |&got| (f64::from(got) - want).abs());
        let is_within = error <= tolerance.atol + tolerance.rtol * want.abs();
        if !is_within {
            report.num_outside += 1;
        }
        if error > report.max_abs_error || error.is_nan() {
            report.max_abs_error = error;
        }
        if want.abs() >= 1.0 {
            report.max_rel_error = report.max_rel_error.max(error / want.abs());
        }
    }
    report
}

/// Compares tokens up to the first step whose margin is below twice the tolerance: there either pick is right, and what
/// follows depends on it.
pub fn compare_greedy(want: &[u32], margins: &[f64], got: &[u32], atol: f64) -> Greedy {
    let num_compared = margins.iter().take_while(|&&margin| margin >= 2.0 * atol).count().min(want.len());
    let mismatches = (0..num_compared).filter(|&step| got.get(step) != Some(&want[step])).collect();
    Greedy { num_compared, num_expected: want.len(), mismatches }
}

/// The token with the largest logit; the first of equals.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = index;
        }
    }
    best as u32
}

/// `log p(token)` under these logits, in f64.
pub fn log_softmax_at(logits: &[f32], token: TokenId) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = f64::from(max);
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum();
    logits.get(token.index()).map_or(f64::NAN, |&logit| f64::from(logit) - max - sum.ln())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { atol: 0.1, rtol: 0.01 };

    #[test]
    fn logits_pass_within_and_fail_outside_the_tolerance() {
        let report = compare_logits(&[(0, 10.0), (1, 0.5)], &[10.15, 0.45], TOLERANCE);
        assert_eq!((report.num_compared, report.num_outside), (2, 0));
        assert!((report.max_abs_error - 0.15).abs() < 1e-5, "{report:?}");
        assert!((report.max_rel_error - 0.015).abs() < 1e-5, "{report:?}");
        assert_eq!(compare_logits(&[(0, 10.0)], &[10.25], TOLERANCE).num_outside, 1);
    }

    #[test]
    fn nan_and_missing_logits_are_outside() {
        let report = compare_logits(&[(0, 1.0), (5, 1.0)], &[f32::NAN, 1.0], TOLERANCE);
        assert_eq!(report.num_outside, 2);
        assert!(report.max_abs_error.is_nan());
    }

    #[test]
    fn greedy_tokens_are_compared_up_to_the_first_close_call() {
        let greedy = compare_greedy(&[1, 2, 3, 4], &[1.0, 1.0, 0.19, 1.0], &[1, 9, 9, 9], 0.1);
        assert_eq!((greedy.num_compared, greedy.mismatches), (2, vec![1]));
        assert_eq!(
            compare_greedy(&[1, 2], &[1.0, 1.0], &[1], 0.1).mismatches,
            [1],
            "a missing token differs"
        );
    }

    #[test]
    fn log_softmax_is_normalised() {
        let logits = [1.0, 2.0, 1000.0];
        let sum: f64 = (0..3).map(|token| log_softmax_at(&logits, TokenId(token)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12);
        assert!((log_softmax_at(&[0.0, 0.0], TokenId(1)) + std::f64::consts::LN_2).abs() < 1e-12);
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), 1);
    }
}
