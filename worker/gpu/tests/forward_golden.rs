//! The forward pass against logits and greedy tokens that transformers computed from exactly the fixture's weights.

mod support;

use hearth_engine::ids::TokenId;
use hearth_engine::plan::TokenSource;
use hearth_engine::ports::Executor;
use hearth_gpu::{Gpu, GpuExecutor, KvType};
use serde_json::Value;
use support::*;

struct Prompt {
    id: String,
    ids: Vec<u32>,
    logits: Vec<f32>,
    greedy: Vec<u32>,
    margins: Vec<f32>,
}

struct Golden {
    prompts: Vec<Prompt>,
    /// (atol, rtol) of f32 and f16 computation.
    tolerance: [(f32, f32); 2],
}

fn numbers<T>(value: &Value, convert: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    let list = value.as_array().expect("a list");
    list.iter().map(|v| convert(v).expect("a number")).collect()
}

fn golden() -> Golden {
    let text =
        std::fs::read_to_string(fixture("tiny/gguf-llama/expected.json")).expect("the fixture is there");
    let json: Value = serde_json::from_str(&text).expect("valid JSON");
    let ids = |v: &Value| numbers(v, |n| n.as_u64().map(|n| n as u32));
    let floats = |v: &Value| numbers(v, |n| n.as_f64().map(|n| n as f32));
    let tolerance = ["f32", "f16"].map(|kind| {
        let of = |key: &str| json["tolerance"][kind][key].as_f64().expect("a tolerance") as f32;
        (of("atol"), of("rtol"))
    });
    let prompts = json["prompts"].as_array().expect("prompts").iter().map(|p| Prompt {
        id: p["id"].as_str().expect("an id").to_owned(),
        ids: ids(&p["ids"]),
        logits: floats(&p["logits"]),
        greedy: ids(&p["greedy"]),
        margins: floats(&p["greedy_margin"]),
    });
    Golden { prompts: prompts.collect(), tolerance }
}

fn load(gpu: &Gpu, kv_type: KvType) -> GpuExecutor {
    load_gguf(gpu, &fixture("tiny/gguf-llama/model.gguf"), &options(kv_type))
}

/// (atol, rtol) of a cache in 8 bits.
const Q8_TOLERANCE: (f32, f32) = (0.1, 0.02);

fn tolerance(golden: &Golden, kv_type: KvType) -> (f32, f32) {
    match kv_type {
        KvType::F32 => golden.tolerance[0],
        KvType::F16 => golden.tolerance[1],
        KvType::Q8 => Q8_TOLERANCE,
    }
}

/// Logits of the last position, with the prompt computed `chunk` rows at a time.
fn prompt_logits(executor: &mut GpuExecutor, planner: &mut Planner, ids: &[u32], chunk: usize) -> Vec<f32> {
    let mut sequence = planner.sequence(0);
    let mut logits = Vec::new();
    for (start, part) in (0..).step_by(chunk).zip(ids.chunks(chunk)) {
        let sample = if start + part.len() == ids.len() { greedy() } else { None };
        let plan = planner.plan(&mut [(&mut sequence, known(part), sample)]);
        logits = pollster::block_on(executor.logits(&plan)).expect("the step runs");
    }
    logits
}

/// Greedy tokens after a prompt, one step at a time.
fn generate(
    executor: &mut GpuExecutor,
    planner: &mut Planner,
    ids: &[u32],
    chunk: usize,
    count: usize,
) -> Vec<u32> {
    let mut sequence = planner.sequence(1);
    let mut tokens = Vec::new();
    let mut next = ids.to_vec();
    while tokens.len() < count {
        let is_prompt = tokens.is_empty();
        for (start, part) in (0..).step_by(chunk).zip(next.clone().chunks(chunk)) {
            let sample = if !is_prompt || start + part.len() == next.len() { greedy() } else { None };
            let plan = planner.plan(&mut [(&mut sequence, known(part), sample)]);
            let output =
                pollster::block_on(executor.submit(&plan).expect("the plan fits")).expect("the step runs");
            assert_eq!(output.step, plan.step);
            tokens.extend(output.tokens.iter().map(|t| t.0));
        }
        next = vec![*tokens.last().expect("the prompt's last row was sampled")];
    }
    tokens
}

/// How many tokens must agree: up to the first pick that is closer to the runner-up than the tolerance.
fn certain(prompt: &Prompt, atol: f32) -> usize {
    prompt.margins.iter().position(|margin| *margin < 2.0 * atol).unwrap_or(prompt.margins.len())
}

#[test]
fn logits_equal_the_reference_on_every_kernel_variant() {
    let golden = golden();
    for (name, mask) in masks() {
        let gpu = masked_gpu(mask);
        for kv_type in [KvType::F32, KvType::F16, KvType::Q8] {
            let mut executor = load(&gpu, kv_type);
            let (atol, rtol) = tolerance(&golden, kv_type);
            for prompt in &golden.prompts {
                let mut planner = Planner::new(&executor);
                let logits = prompt_logits(&mut executor, &mut planner, &prompt.ids, 160);
                assert_close(
                    &format!("{name}, {kv_type:?}, {}", prompt.id),
                    &logits,
                    &prompt.logits,
                    atol,
                    rtol,
                );
            }
        }
    }
}

#[test]
fn greedy_tokens_equal_the_reference() {
    let golden = golden();
    let gpu = gpu();
    for kv_type in [KvType::F32, KvType::F16, KvType::Q8] {
        let mut executor = load(&gpu, kv_type);
        for prompt in &golden.prompts {
            let mut planner = Planner::new(&executor);
            let tokens = generate(&mut executor, &mut planner, &prompt.ids, 160, prompt.greedy.len());
            let count = match kv_type {
                KvType::F32 => prompt.greedy.len(),
                KvType::F16 | KvType::Q8 => certain(prompt, tolerance(&golden, kv_type).0),
            };
            assert_eq!(tokens[..count], prompt.greedy[..count], "{kv_type:?}, {}", prompt.id);
        }
    }
}

#[test]
fn the_size_of_prefill_chunks_does_not_matter() {
    let golden = golden();
    let gpu = gpu();
    let mut executor = load(&gpu, KvType::F32);
    let prompt = golden.prompts.iter().max_by_key(|p| p.ids.len()).expect("there are prompts");
    for chunk in [1, 2, 3, 7, 16, 33, 129] {
        let mut planner = Planner::new(&executor);
        let logits = prompt_logits(&mut executor, &mut planner, &prompt.ids, chunk);
        let (atol, rtol) = golden.tolerance[0];
        assert_close(&format!("chunks of {chunk}"), &logits, &prompt.logits, atol, rtol);
    }
}

#[test]
fn sequences_in_one_step_get_what_they_get_alone() {
    let golden = golden();
    let gpu = gpu();
    let mut executor = load(&gpu, KvType::F32);
    let (atol, rtol) = golden.tolerance[0];
    let mut planner = Planner::new(&executor);
    let mut sequences: Vec<_> = (0..golden.prompts.len() as u32).map(|slot| planner.sequence(slot)).collect();
    // All but the last token of each, two prompts a step, so that steps mix lengths; then all last tokens in one step.
    for pair in (0..golden.prompts.len()).collect::<Vec<_>>().chunks(2) {
        for &index in pair {
            let ids = &golden.prompts[index].ids;
            if ids.len() > 1 {
                let mut parts = [(&mut sequences[index], known(&ids[..ids.len() - 1]), None)];
                let plan = planner.plan(&mut parts);
                pollster::block_on(executor.submit(&plan).expect("the plan fits")).expect("the step runs");
            }
        }
    }
    let mut parts: Vec<_> = sequences
        .iter_mut()
        .zip(&golden.prompts)
        .map(|(sequence, prompt)| (sequence, known(&prompt.ids[prompt.ids.len() - 1..]), greedy()))
        .collect();
    let plan = planner.plan(&mut parts);
    let logits = pollster::block_on(executor.logits(&plan)).expect("the step runs");
    let vocab = golden.prompts[0].logits.len();
    for (got, prompt) in logits.chunks(vocab).zip(&golden.prompts) {
        assert_close(&prompt.id, got, &prompt.logits, atol, rtol);
    }
}

#[test]
fn a_long_prompt_and_a_running_sequence_share_a_step() {
    let golden = golden();
    let gpu = gpu();
    let mut executor = load(&gpu, KvType::F32);
    let (atol, rtol) = golden.tolerance[0];
    let mut planner = Planner::new(&executor);
    let [running, long] = [1, 2].map(|index| &golden.prompts[index]);
    let (mut a, mut b) = (planner.sequence(0), planner.sequence(1));
    let plan = planner.plan(&mut [(&mut a, known(&running.ids[..running.ids.len() - 1]), None)]);
    pollster::block_on(executor.submit(&plan).expect("the plan fits")).expect("the step runs");
    let last = known(&running.ids[running.ids.len() - 1..]);
    let plan = planner.plan(&mut [(&mut b, known(&long.ids), greedy()), (&mut a, last, greedy())]);
    let logits = pollster::block_on(executor.logits(&plan)).expect("the step runs");
    assert_close("long", &logits[..long.logits.len()], &long.logits, atol, rtol);
    assert_close("running", &logits[long.logits.len()..], &running.logits, atol, rtol);
}

#[test]
fn steps_submitted_ahead_read_the_sampled_token_on_the_gpu() {
    let golden = golden();
    let gpu = gpu();
    let mut executor = load(&gpu, KvType::F32);
    for prompt in &golden.prompts {
        let mut planner = Planner::new(&executor);
        let mut sequence = planner.sequence(2);
        let plan = planner.plan(&mut [(&mut sequence, known(&prompt.ids), greedy())]);
        let mut in_flight = vec![executor.submit(&plan).expect("the plan fits")];
        let mut tokens = Vec::new();
        for _ in 1..prompt.greedy.len() {
            let ahead = vec![TokenSource::Sampled(sequence.slot)];
            let plan = planner.plan(&mut [(&mut sequence, ahead, greedy())]);
            in_flight.push(executor.submit(&plan).expect("the plan fits"));
            let output = pollster::block_on(in_flight.remove(0)).expect("the step runs");
            tokens.extend(output.tokens);
        }
        tokens.extend(pollster::block_on(in_flight.remove(0)).expect("the step runs").tokens);
        let expected: Vec<_> = prompt.greedy.iter().map(|id| TokenId(*id)).collect();
        assert_eq!(tokens, expected, "{}", prompt.id);
    }
}
