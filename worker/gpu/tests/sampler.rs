//! The GPU's sampler against `engine::sampling::reference`.
//!
//! The reference sums in f64, the GPU in f32: a draw within 2e-5 of the border between two tokens may fall on either side, and so may a
//! top-p cut.

mod support;

use hearth_engine::ids::{SamplerSlot, TokenId};
use hearth_engine::plan::{SampleRow, StepPlan};
use hearth_engine::sampling::SamplingSettings;
use hearth_engine::sampling::reference::{self, SamplerState};
use hearth_gpu::ops::sample::{self, SampleShape};
use hearth_gpu::{CapabilityMask, Gpu, select};
use support::kernels::*;
use support::*;

const SLACK: f64 = 2e-5;

struct Case {
    logits: Vec<f32>,
    state: SamplerState,
    settings: SamplingSettings,
    draw: f32,
}

/// Samples all cases in one step; case i has slot `num - 1 - i`. Returns the tokens and checks what the sampler leaves behind.
fn sample_on_gpu(gpu: &Gpu, vocab: u32, cases: &[Case]) -> Vec<u32> {
    let num = cases.len() as u32;
    let workgroup = select::sample_workgroup(gpu.capabilities());
    let shape = SampleShape { vocab, logits_stride: vocab.next_multiple_of(32), workgroup };
    let slot_of = |index: usize| SamplerSlot(num - 1 - index as u32);
    let samples = cases.iter().enumerate().map(|(index, case)| SampleRow {
        row: index as u32,
        slot: slot_of(index),
        settings: case.settings,
        draw: case.draw,
    });
    let plan = StepPlan { samples: samples.collect(), ..StepPlan::default() };
    let mut counts = vec![0; (num * vocab) as usize];
    let mut bias = vec![0f32; (num * vocab) as usize];
    let mut logits = vec![f32::NAN; (num * shape.logits_stride) as usize];
    for (index, case) in cases.iter().enumerate() {
        let table = slot_of(index).index() * vocab as usize;
        for (token, count) in &case.state.counts {
            counts[table + token.index()] = *count;
        }
        for (token, value) in &case.state.bias {
            bias[table + token.index()] += value;
        }
        let start = index * shape.logits_stride as usize;
        logits[start..start + vocab as usize].copy_from_slice(&case.logits);
    }
    let step = step_words(&plan, 4, true).0;
    let partials = vec![0; (num * shape.chunks() * 2) as usize];
    let prepared = run(
        gpu,
        &sample::prepare_kernel(&shape),
        &[step.clone(), counts.clone(), words(&bias), words(&logits), partials],
        [shape.chunks(), num],
    );
    let buffers = [
        step,
        prepared[3].clone(),
        prepared[4].clone(),
        counts.clone(),
        vec![u32::MAX; num as usize],
        vec![u32::MAX; num as usize],
    ];
    let picked = run(gpu, &sample::pick_kernel(&shape), &buffers, [num, 1]);
    let tokens = &picked[5];
    for (index, case) in cases.iter().enumerate() {
        let slot = slot_of(index).index();
        assert_eq!(picked[4][slot], tokens[index], "the slot's last token is the sample");
        if has_penalties(&case.settings) {
            counts[slot * vocab as usize + tokens[index] as usize] += 1;
        }
    }
    assert_eq!(picked[3], counts, "one more of each sampled token where penalties count them");
    tokens.clone()
}

fn has_penalties(settings: &SamplingSettings) -> bool {
    settings.repetition_penalty != 1.0
        || settings.frequency_penalty != 0.0
        || settings.presence_penalty != 0.0
}

/// Whether the reference takes this token for a draw and a top-p that differ by no more than the slack.
fn is_acceptable(case: &Case, token: u32) -> bool {
    let expected = reference::sample(&case.logits, &case.state, &case.settings, case.draw);
    if expected == TokenId(token) {
        return true;
    }
    if case.settings.temperature == 0.0 {
        return false;
    }
    let adjusted = reference::adjust(&case.logits, &case.state, &case.settings);
    [-SLACK, 0.0, SLACK].into_iter().any(|shift| {
        let top_p = (f64::from(case.settings.top_p) + shift).max(1e-9) as f32;
        let settings = SamplingSettings { top_p, ..case.settings };
        let mut end = 0.0;
        reference::candidates(&adjusted, &settings).iter().any(|candidate| {
            let start = end;
            end += candidate.probability;
            let draw = f64::from(case.draw);
            candidate.token == TokenId(token) && draw > start - SLACK && draw < end + SLACK
        })
    })
}

#[track_caller]
fn check(gpu: &Gpu, vocab: u32, cases: &[Case]) {
    for (case, token) in cases.iter().zip(sample_on_gpu(gpu, vocab, cases)) {
        let expected = reference::sample(&case.logits, &case.state, &case.settings, case.draw);
        assert!(
            is_acceptable(case, token),
            "vocabulary of {vocab}, {:?}, draw {}: token {token}, the reference takes {expected:?}",
            case.settings,
            case.draw
        );
    }
}

/// Devices that between them take every variant of the sampler.
fn sampler_masks() -> [CapabilityMask; 2] {
    [false, true].map(|no_software| CapabilityMask { no_software, ..CapabilityMask::default() })
}

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[random.below(from.len() as u32) as usize]
}

fn random_settings(random: &mut Random) -> SamplingSettings {
    SamplingSettings {
        temperature: pick(random, &[0.0, 0.1, 0.7, 1.0, 2.0]),
        top_p: pick(random, &[1.0, 0.95, 0.5, 0.01]),
        top_k: pick(random, &[0, 1, 2, 40, 5000]),
        repetition_penalty: pick(random, &[1.0, 1.0, 1.3]),
        frequency_penalty: pick(random, &[0.0, 0.0, 0.5]),
        presence_penalty: pick(random, &[0.0, 0.0, -0.5]),
    }
}

fn random_case(random: &mut Random, vocab: u32) -> Case {
    // Wide and narrow distributions, and one on a grid so that many logits are equal.
    let width = pick(random, &[0.01, 1.0, 6.0]);
    let grid = random.below(3) == 0;
    let logits = (0..vocab)
        .map(|_| {
            let logit = random.normal() * width;
            // Adding 0 turns -0 into 0: the reference orders them, the GPU takes them as equal.
            if grid { (logit * 2.0).round() / 2.0 + 0.0 } else { logit }
        })
        .collect();
    let mut state = SamplerState::default();
    for _ in 0..random.below(6) {
        state.counts.insert(TokenId(random.below(vocab)), 1 + random.below(4));
    }
    let biased = random.below(vocab);
    state.bias = vec![(TokenId(biased), random.normal() * 5.0)];
    Case { logits, state, settings: random_settings(random), draw: random.unit() }
}

#[test]
fn random_settings_give_the_tokens_of_the_reference() {
    for (index, mask) in sampler_masks().into_iter().enumerate() {
        let gpu = masked_gpu(mask);
        let mut random = Random(61 + index as u64);
        for vocab in [1, 2, 7, 127, 128, 129, 1023, 1024, 1025, 5000] {
            let cases: Vec<_> = (0..8).map(|_| random_case(&mut random, vocab)).collect();
            check(&gpu, vocab, &cases);
        }
    }
}

#[test]
fn each_setting_alone_gives_the_tokens_of_the_reference() {
    let gpu = gpu();
    let mut random = Random(71);
    let plain = SamplingSettings::default();
    for settings in [
        plain,
        SamplingSettings { temperature: 0.0, ..plain },
        SamplingSettings { temperature: 0.3, ..plain },
        SamplingSettings { top_k: 5, ..plain },
        SamplingSettings { top_p: 0.9, ..plain },
        SamplingSettings { repetition_penalty: 2.0, ..plain },
        SamplingSettings { frequency_penalty: 1.0, ..plain },
        SamplingSettings { presence_penalty: 1.0, ..plain },
    ] {
        let cases: Vec<_> = (0..16).map(|_| Case { settings, ..random_case(&mut random, 600) }).collect();
        check(&gpu, 600, &cases);
    }
}

#[test]
fn equal_logits_are_drawn_by_id() {
    let gpu = gpu();
    let vocab = 3000;
    let case = |draw, top_k| Case {
        logits: vec![1.5; vocab as usize],
        state: SamplerState::default(),
        settings: SamplingSettings { top_k, ..SamplingSettings::default() },
        draw,
    };
    let draws = [0.0, 0.1001, 0.5001, 0.99999];
    let cases: Vec<_> = draws.iter().flat_map(|draw| [case(*draw, 0), case(*draw, 100)]).collect();
    check(&gpu, vocab, &cases);
    assert_eq!(sample_on_gpu(&gpu, vocab, &cases), [0, 0, 300, 10, 1500, 50, 2999, 99]);
}

#[test]
fn a_draw_on_the_border_takes_the_token_after_it() {
    let gpu = gpu();
    let case = |draw| Case {
        logits: vec![0.0; 4],
        state: SamplerState::default(),
        settings: SamplingSettings::default(),
        draw,
    };
    assert_eq!(sample_on_gpu(&gpu, 4, &[0.0, 0.25, 0.5, 0.75].map(case)), [0, 1, 2, 3]);
}

#[test]
fn the_share_of_draws_is_the_probability() {
    let gpu = gpu();
    let logits: Vec<f32> = [0.5f32, 0.25, 0.125, 0.125].iter().map(|p| p.ln()).collect();
    let mut counts = [0; 4];
    for start in 0..8 {
        let cases: Vec<_> = (0..16)
            .map(|i| Case {
                logits: logits.clone(),
                state: SamplerState::default(),
                settings: SamplingSettings::default(),
                draw: (start * 16 + i) as f32 / 128.0 + 0.003,
            })
            .collect();
        for token in sample_on_gpu(&gpu, 4, &cases) {
            counts[token as usize] += 1;
        }
    }
    assert_eq!(counts, [64, 32, 16, 16]);
}

#[test]
fn logits_that_are_not_numbers_end_in_a_token() {
    for mask in sampler_masks() {
        let gpu = masked_gpu(mask);
        let with = |logits: Vec<f32>, settings, draw| Case {
            logits,
            state: SamplerState::default(),
            settings,
            draw,
        };
        let mut poisoned = vec![0.0; 200];
        poisoned[3] = f32::NAN;
        poisoned[150] = 2.0;
        poisoned[151] = f32::NEG_INFINITY;
        let mut infinite = vec![0.0; 200];
        infinite[77] = f32::INFINITY;
        for settings in [
            SamplingSettings { temperature: 0.0, ..SamplingSettings::default() },
            SamplingSettings { top_k: 10, top_p: 0.9, ..SamplingSettings::default() },
        ] {
            let cases = [
                with(vec![f32::NAN; 200], settings, 0.5),
                with(vec![f32::INFINITY; 200], settings, 0.5),
                with(vec![f32::NEG_INFINITY; 200], settings, 0.5),
                with(poisoned.clone(), settings, 0.01),
                with(infinite.clone(), settings, 0.5),
            ];
            let tokens = sample_on_gpu(&gpu, 200, &cases);
            assert!(tokens.iter().all(|token| *token < 200), "{tokens:?}");
            assert_eq!(tokens[3..], [150, 77], "{settings:?}");
        }
    }
}
