//! The executor around the forward pass: sampler slots, limits, memory, a lost device, damaged files.

mod support;

use std::ops::Range;

use hearth_engine::ids::{SamplerSlot, TokenId};
use hearth_engine::model::{FileSource, Gguf, SliceSource};
use hearth_engine::plan::StepPlan;
use hearth_engine::ports::{ByteSource, Executor, ExecutorError, LocalFuture, SourceError};
use hearth_engine::sampling::SamplingSettings;
use hearth_gpu::{CapabilityMask, ExecutorOptions, Gpu, GpuError, GpuExecutor, KvType, LoadError};
use support::*;

const MODEL: &str = "tiny/gguf-llama/model.gguf";
const PROMPT: [u32; 5] = [12, 7, 300, 41, 99];

fn load(gpu: &Gpu) -> GpuExecutor {
    load_gguf(gpu, &fixture(MODEL), &options(KvType::F32))
}

fn try_load(gpu: &Gpu, source: &dyn ByteSource, options: &ExecutorOptions) -> Result<GpuExecutor, LoadError> {
    pollster::block_on(async {
        let header = FileSource::open(&fixture(MODEL)).expect("the fixture is there");
        let gguf = Gguf::open(&header).await.expect("the header is valid");
        let (config, tensors) = gguf.read_model(&header).await.expect("the model is supported");
        hearth_gpu::load(gpu, &config, &tensors, source, options, &mut |_| {}).await
    })
}

fn run(executor: &mut GpuExecutor, plan: &StepPlan) -> Vec<u32> {
    let output = pollster::block_on(executor.submit(plan).expect("the plan fits")).expect("the step runs");
    output.tokens.iter().map(|token| token.0).collect()
}

/// Tokens after the prompt with these settings; `prepare` may change the first plan.
fn generate(
    executor: &mut GpuExecutor,
    settings: SamplingSettings,
    count: usize,
    prepare: impl Fn(&mut StepPlan),
) -> Vec<u32> {
    let mut planner = Planner::new(executor);
    let mut sequence = planner.sequence(2);
    let mut plan = planner.plan(&mut [(&mut sequence, known(&PROMPT), Some((settings, 0.5)))]);
    prepare(&mut plan);
    let mut tokens = run(executor, &plan);
    while tokens.len() < count {
        let next = known(&tokens[tokens.len() - 1..]);
        let plan = planner.plan(&mut [(&mut sequence, next, Some((settings, 0.5)))]);
        tokens.extend(run(executor, &plan));
    }
    tokens
}

const GREEDY: SamplingSettings = SamplingSettings {
    temperature: 0.0,
    top_p: 1.0,
    top_k: 0,
    repetition_penalty: 1.0,
    frequency_penalty: 0.0,
    presence_penalty: 0.0,
};

#[test]
fn a_bias_holds_until_its_slot_is_reset() {
    let mut executor = load(&gpu());
    let plain = generate(&mut executor, GREEDY, 4, |_| {});
    let biased = generate(&mut executor, GREEDY, 4, |plan| {
        plan.slot_resets[0].bias = vec![(TokenId(77), 1e4), (TokenId(5000), 1.0)];
    });
    assert_eq!(biased, [77; 4]);
    assert_eq!(generate(&mut executor, GREEDY, 4, |_| {}), plain);
}

#[test]
fn penalties_count_what_a_slot_generates_until_it_is_reset() {
    let mut executor = load(&gpu());
    let settings = SamplingSettings { presence_penalty: 1e4, ..GREEDY };
    let once = generate(&mut executor, settings, 20, |_| {});
    let mut distinct = once.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), 20, "{once:?}");
    assert_eq!(generate(&mut executor, settings, 20, |_| {}), once, "a reset slot starts from zero");
    let resumed = generate(&mut executor, settings, 1, |plan| {
        plan.slot_resets[0].counts = vec![(TokenId(once[0]), 1)];
    });
    assert_ne!(resumed[0], once[0], "counts of a resumed sequence apply");
}

#[test]
fn a_plan_over_the_limits_is_refused_and_the_next_one_runs() {
    let mut executor = load(&gpu());
    let mut planner = Planner::new(&executor);
    let mut sequence = planner.sequence(0);
    let mut plan = planner.plan(&mut [(&mut sequence, known(&[1; 161]), greedy())]);
    let refused = executor.submit(&plan).err();
    assert_eq!(refused, Some(ExecutorError::PlanTooLarge { what: "rows", got: 161, limit: 160 }));
    plan.rows.truncate(8);
    plan.sequences[0].num_rows = 8;
    plan.samples[0].row = 7;
    plan.samples[0].slot = SamplerSlot(4);
    let refused = executor.submit(&plan).err();
    assert_eq!(refused, Some(ExecutorError::PlanTooLarge { what: "sampler slots", got: 5, limit: 4 }));
    plan.samples[0].slot = SamplerSlot(3);
    assert_eq!(run(&mut executor, &plan).len(), 1);
}

#[test]
fn a_step_is_a_few_kernels_a_layer_and_one_small_upload() {
    let mut executor = load(&gpu());
    let mut planner = Planner::new(&executor);
    let mut sequence = planner.sequence(0);
    let plan = planner.plan(&mut [(&mut sequence, known(&PROMPT), greedy())]);
    run(&mut executor, &plan);
    let plan = planner.plan(&mut [(&mut sequence, known(&[3]), greedy())]);
    run(&mut executor, &plan);
    let stats = executor.step_stats();
    // Embedding, norm, logits and two for the sampler; 2 layers of 7, and 2 more in each, because q, k and v of this file have
    // three encodings.
    assert_eq!((stats.dispatches, stats.rows, stats.samples), (5 + 2 * 9, 1, 1));
    // Header, row, sample, page, list of single rows.
    assert_eq!(stats.bytes_uploaded, 4 * (16 + 3 + 12 + 1 + 3));
    let memory = executor.memory();
    assert!(
        memory.weights_bytes > 50_000 && memory.kv_bytes > 0 && memory.activations_bytes > 0,
        "{memory:?}"
    );
}

#[test]
fn a_step_without_samples_resolves_with_none() {
    let mut executor = load(&gpu());
    let mut planner = Planner::new(&executor);
    let mut sequence = planner.sequence(0);
    let plan = planner.plan(&mut [(&mut sequence, known(&PROMPT), None)]);
    assert!(run(&mut executor, &plan).is_empty());
}

#[test]
fn a_dropped_step_does_not_disturb_the_next() {
    let mut executor = load(&gpu());
    let expected = generate(&mut executor, GREEDY, 3, |_| {});
    for _ in 0..8 {
        let mut planner = Planner::new(&executor);
        let mut sequence = planner.sequence(0);
        let plan = planner.plan(&mut [(&mut sequence, known(&PROMPT), greedy())]);
        drop(executor.submit(&plan).expect("the plan fits"));
    }
    assert_eq!(generate(&mut executor, GREEDY, 3, |_| {}), expected);
}

#[test]
fn a_lost_device_is_an_error_for_steps_in_flight_and_for_new_ones() {
    let gpu = gpu();
    let mut executor = load(&gpu);
    let mut planner = Planner::new(&executor);
    let mut sequence = planner.sequence(0);
    let plan = planner.plan(&mut [(&mut sequence, known(&PROMPT), greedy())]);
    let lost = gpu.lost();
    gpu.destroy();
    if let Ok(step) = executor.submit(&plan) {
        assert!(matches!(pollster::block_on(step), Err(ExecutorError::DeviceLost { .. })));
    }
    assert!(matches!(executor.submit(&plan).err(), Some(ExecutorError::DeviceLost { .. })));
    pollster::block_on(lost);
}

#[test]
fn a_cache_that_does_not_fit_is_refused_with_its_size() {
    let gpu = masked_gpu(CapabilityMask { default_limits: true, ..CapabilityMask::default() });
    let source = FileSource::open(&fixture(MODEL)).expect("the fixture is there");
    let huge = ExecutorOptions { kv_tokens: 1 << 24, ..options(KvType::F32) };
    match try_load(&gpu, &source, &huge) {
        Err(LoadError::Gpu(GpuError::OutOfMemory { what, bytes })) => {
            assert!(what.contains("kv") && bytes > 128 << 20, "{what}: {bytes}");
        }
        other => panic!("{other:?}"),
    }
    // The device is still good.
    assert!(try_load(&gpu, &source, &options(KvType::F32)).is_ok());
    let none = ExecutorOptions { kv_tokens: 0, ..options(KvType::F32) };
    assert!(matches!(
        try_load(&gpu, &source, &none),
        Err(LoadError::InvalidOption { what: "kv_tokens", .. })
    ));
}

#[test]
fn a_truncated_file_is_an_error_that_says_so() {
    let gpu = gpu();
    let mut bytes = std::fs::read(fixture(MODEL)).expect("the fixture is there");
    bytes.truncate(bytes.len() - 100);
    let result = try_load(&gpu, &SliceSource::new(bytes), &options(KvType::F32));
    assert!(matches!(result, Err(LoadError::Source(SourceError::OutOfRange { .. }))), "{result:?}");
}

/// Fails the test when a read goes back in the file.
struct Forward {
    file: FileSource,
    position: std::cell::Cell<u64>,
}

impl ByteSource for Forward {
    fn len_bytes(&self) -> u64 {
        self.file.len_bytes()
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<Result<Vec<u8>, SourceError>> {
        assert!(range.start >= self.position.get(), "read {range:?} after {}", self.position.get());
        self.position.set(range.end);
        self.file.read(range)
    }
}

#[test]
fn a_load_reads_the_file_once_and_forward() {
    let file = FileSource::open(&fixture(MODEL)).expect("the fixture is there");
    let source = Forward { file, position: std::cell::Cell::new(0) };
    assert!(try_load(&gpu(), &source, &options(KvType::F16)).is_ok());
    assert!(source.position.get() > 0);
}

#[test]
fn matrices_split_over_several_buffers_give_the_same_logits() {
    let small = ExecutorOptions { kv_tokens: 64, max_rows: 16, ..options(KvType::F32) };
    let logits_with = |max_binding_bytes| {
        let mask = CapabilityMask { max_binding_bytes, default_limits: true, ..CapabilityMask::default() };
        let mut executor = load_gguf(&masked_gpu(mask), &fixture(MODEL), &small);
        let mut planner = Planner::new(&executor);
        let mut sequence = planner.sequence(0);
        let plan = planner.plan(&mut [(&mut sequence, known(&PROMPT), greedy())]);
        let logits = pollster::block_on(executor.logits(&plan)).expect("the step runs");
        (logits, executor.step_stats().dispatches)
    };
    let (whole, few) = logits_with(None);
    let (split, many) = logits_with(Some(16 << 10));
    assert!(many > few, "{many} dispatches, {few} without a split");
    assert_eq!(whole, split);
}
