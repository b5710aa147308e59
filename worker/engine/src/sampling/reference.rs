//! The CPU truth of the sampler: what the GPU must compute from one row of logits.
//!
//! Slow and plain on purpose. Order: bias, penalties, temperature, top-k, top-p, draw.

use std::collections::HashMap;

use crate::ids::TokenId;
use crate::sampling::SamplingSettings;

/// What a sampler slot keeps of its sequence.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplerState {
    /// How often the sequence has generated each token; tokens left out count 0.
    pub counts: HashMap<TokenId, u32>,
    /// Added to the logits of these tokens.
    pub bias: Vec<(TokenId, f32)>,
}

/// A token that survived top-k and top-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: TokenId,
    /// Its probability among the survivors; they sum to 1.
    pub probability: f64,
}

/// Samples one token from `logits` `[vocab]`. The state is not changed: the caller counts the token that comes out.
/// Returns token 0 for empty logits.
pub fn sample(logits: &[f32], state: &SamplerState, settings: &SamplingSettings, draw: f32) -> TokenId {
    let adjusted = adjust(logits, state, settings);
    if settings.temperature == 0.0 {
        return most_likely(&adjusted);
    }
    let candidates = candidates(&adjusted, settings);
    let mut cumulative = 0.0;
    for candidate in &candidates {
        cumulative += candidate.probability;
        if cumulative > f64::from(draw) {
            return candidate.token;
        }
    }
    // Rounding may leave the sum a hair below a draw that is almost 1.
    candidates.last().map_or(TokenId(0), |candidate| candidate.token)
}

/// Logits after bias and penalties, before the temperature. A logit that is not a number becomes minus infinity.
pub fn adjust(logits: &[f32], state: &SamplerState, settings: &SamplingSettings) -> Vec<f32> {
    let mut adjusted = logits.to_vec();
    for &(token, bias) in &state.bias {
        if let Some(logit) = adjusted.get_mut(token.index()) {
            *logit += bias;
        }
    }
    for (&token, &count) in state.counts.iter().filter(|(_, count)| **count > 0) {
        if let Some(logit) = adjusted.get_mut(token.index()) {
            let penalty = settings.repetition_penalty;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            *logit -= settings.frequency_penalty * count as f32 + settings.presence_penalty;
        }
    }
    for logit in adjusted.iter_mut().filter(|logit| logit.is_nan()) {
        *logit = f32::NEG_INFINITY;
    }
    adjusted
}

/// The tokens that top-k and top-p leave, most likely first, of equal ones the lower id first. `adjusted` comes from
/// [`adjust`]; the temperature must be above 0.
pub fn candidates(adjusted: &[f32], settings: &SamplingSettings) -> Vec<Candidate> {
    let mut order: Vec<u32> = (0..adjusted.len() as u32).collect();
    order.sort_by(|a, b| adjusted[*b as usize].total_cmp(&adjusted[*a as usize]).then(a.cmp(b)));
    if settings.top_k > 0 {
        order.truncate(settings.top_k as usize);
    }
    let Some(&first) = order.first() else { return Vec::new() };
    let largest = adjusted[first as usize];
    let weights: Vec<f64> = order
        .iter()
        .map(|&token| {
            let logit = adjusted[token as usize];
            // Equal first: infinity minus infinity is not a number.
            if logit == largest {
                1.0
            } else {
                (f64::from(logit - largest) / f64::from(settings.temperature)).exp()
            }
        })
        .collect();
    let sum: f64 = weights.iter().sum();
    let mut kept = weights.len();
    if settings.top_p < 1.0 {
        let mut cumulative = 0.0;
        for (index, weight) in weights.iter().enumerate() {
            cumulative += weight / sum;
            if cumulative >= f64::from(settings.top_p) {
                kept = index + 1;
                break;
            }
        }
    }
    let kept_sum: f64 = weights[..kept].iter().sum();
    order[..kept]
        .iter()
        .zip(&weights)
        .map(|(&token, weight)| Candidate { token: TokenId(token), probability: weight / kept_sum })
        .collect()
}

fn most_likely(adjusted: &[f32]) -> TokenId {
    let mut best = 0;
    for (index, logit) in adjusted.iter().enumerate() {
        if *logit > adjusted[best] {
            best = index;
        }
    }
    TokenId(best as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> SamplerState {
        SamplerState::default()
    }

    fn generated(tokens: &[(u32, u32)]) -> SamplerState {
        SamplerState {
            counts: tokens.iter().map(|&(token, n)| (TokenId(token), n)).collect(),
            bias: Vec::new(),
        }
    }

    /// Logits whose softmax is exactly these probabilities.
    fn from_probabilities(probabilities: &[f32]) -> Vec<f32> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn temperature_zero_takes_the_largest_and_of_equal_ones_the_lower_id() {
        let settings = SamplingSettings::greedy();
        assert_eq!(sample(&[0.5, 2.0, 2.0, 1.0], &plain(), &settings, 0.99), TokenId(1));
        assert_eq!(sample(&[f32::NAN, f32::NEG_INFINITY, -9.0], &plain(), &settings, 0.0), TokenId(2));
    }

    #[test]
    fn the_draw_walks_probabilities_in_descending_order() {
        let logits = from_probabilities(&[0.1, 0.6, 0.3]);
        let at = |draw| sample(&logits, &plain(), &SamplingSettings::default(), draw);
        assert_eq!(
            [at(0.0), at(0.59), at(0.61), at(0.89), at(0.91), at(0.999_999)],
            [1, 1, 2, 2, 0, 0].map(TokenId)
        );
    }

    #[test]
    fn equal_probabilities_are_walked_by_id() {
        let at = |draw| sample(&[1.0; 4], &plain(), &SamplingSettings::default(), draw);
        assert_eq!([at(0.1), at(0.3), at(0.6), at(0.9)], [0, 1, 2, 3].map(TokenId));
    }

    #[test]
    fn top_p_keeps_the_token_that_crosses_and_renormalises() {
        let logits = from_probabilities(&[0.5, 0.3, 0.2]);
        let kept = candidates(&logits, &SamplingSettings { top_p: 0.6, ..SamplingSettings::default() });
        assert_eq!(kept.iter().map(|c| c.token.0).collect::<Vec<_>>(), [0, 1]);
        assert!((kept[0].probability - 0.625).abs() < 1e-6);
        let tiny = candidates(&logits, &SamplingSettings { top_p: 1e-6, ..SamplingSettings::default() });
        assert_eq!(tiny.len(), 1);
    }

    #[test]
    fn top_p_counts_probabilities_after_top_k() {
        // Of 0.4 and 0.3 alone the first has 0.57: it crosses 0.5 by itself, which 0.4 of the whole would not.
        let logits = from_probabilities(&[0.4, 0.3, 0.3]);
        let settings = SamplingSettings { top_k: 2, top_p: 0.5, ..SamplingSettings::default() };
        assert_eq!(candidates(&logits, &settings).len(), 1);
    }

    #[test]
    fn top_k_cuts_equal_logits_by_id() {
        let kept =
            candidates(&[1.0, 2.0, 1.0, 1.0], &SamplingSettings { top_k: 2, ..SamplingSettings::default() });
        assert_eq!(kept.iter().map(|c| c.token.0).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn temperature_divides_logits() {
        let settings = SamplingSettings { temperature: 2.0, ..SamplingSettings::default() };
        let kept = candidates(&[0.0, 2.0 * 3f32.ln()], &settings);
        assert!((kept[0].probability - 0.75).abs() < 1e-6);
    }

    #[test]
    fn repetition_divides_positive_and_multiplies_negative_logits() {
        let settings = SamplingSettings { repetition_penalty: 2.0, ..SamplingSettings::default() };
        assert_eq!(adjust(&[4.0, -4.0, 4.0], &generated(&[(0, 3), (1, 1)]), &settings), [2.0, -8.0, 4.0]);
    }

    #[test]
    fn frequency_counts_and_presence_does_not() {
        let settings =
            SamplingSettings { frequency_penalty: 0.5, presence_penalty: 0.25, ..Default::default() };
        assert_eq!(
            adjust(&[1.0, 1.0, 1.0], &generated(&[(0, 2), (1, 1), (2, 0)]), &settings),
            [-0.25, 0.25, 1.0]
        );
    }

    #[test]
    fn bias_comes_before_repetition_and_repetition_before_the_other_penalties() {
        let mut state = generated(&[(0, 1)]);
        state.bias = vec![(TokenId(0), 3.0), (TokenId(99), 1.0)];
        let settings =
            SamplingSettings { repetition_penalty: 2.0, presence_penalty: 1.0, ..Default::default() };
        // (-1 + 3) / 2 - 1
        assert_eq!(adjust(&[-1.0], &state, &settings), [0.0]);
    }

    #[test]
    fn infinite_logits_do_not_poison_the_distribution() {
        let kept = candidates(&[f32::INFINITY, 0.0, f32::INFINITY], &SamplingSettings::default());
        assert_eq!(kept[0], Candidate { token: TokenId(0), probability: 0.5 });
        assert_eq!(sample(&[f32::NEG_INFINITY; 3], &plain(), &SamplingSettings::default(), 0.5), TokenId(1));
    }
}
