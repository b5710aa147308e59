//! What the GPU tests share: a device that must be there, a golden model, step plans.
#![allow(dead_code)]

pub mod cache;
pub mod kernels;

use std::ops::Range;
use std::path::{Path, PathBuf};

use hearth_engine::ids::{BlockId, SamplerSlot, Slot, TokenId};
use hearth_engine::model::{FileSource, Gguf};
use hearth_engine::plan::{Row, SampleRow, SequenceRows, SlotReset, StepPlan, TokenSource};
use hearth_engine::ports::Executor;
use hearth_engine::sampling::SamplingSettings;
use hearth_gpu::{CapabilityMask, ExecutorOptions, Gpu, GpuExecutor, GpuOptions, KvType};

/// A device. No adapter is a failure of the test.
pub fn gpu() -> Gpu {
    masked_gpu(CapabilityMask::default())
}

/// A device that pretends to have less.
pub fn masked_gpu(mask: CapabilityMask) -> Gpu {
    let gpu = pollster::block_on(Gpu::request(GpuOptions { mask }));
    gpu.expect("these tests need a Vulkan, Metal or DX12 adapter, for example Debian's mesa-vulkan-drivers")
}

/// Devices that between them take every variant of every kernel.
pub fn masks() -> [(&'static str, CapabilityMask); 4] {
    let none = CapabilityMask::default();
    [
        ("all", none),
        ("no subgroups, default limits", CapabilityMask { no_subgroups: true, default_limits: true, ..none }),
        ("as hardware", CapabilityMask { no_software: true, ..none }),
        ("as hardware, no subgroups", CapabilityMask { no_software: true, no_subgroups: true, ..none }),
    ]
}

/// A file below `e2e/fixtures/`.
pub fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/fixtures").join(path)
}

/// The demo model's file.
pub fn smollm2() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/smollm2-135m");
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut models = files.filter(|file| file.extension().is_some_and(|kind| kind == "gguf"));
    models.next().expect("the demo model is there: `cargo hearth model get smollm2-135m` fetches it")
}

/// The text of the perplexity golden: its tokens, and the logarithm of each one's probability after those before it.
pub fn perplexity_golden() -> (Vec<u32>, Vec<f64>) {
    let text = std::fs::read_to_string(fixture("smollm2-135m/perplexity-gguf.json"));
    let json: serde_json::Value =
        serde_json::from_str(&text.expect("the fixture is there")).expect("valid JSON");
    let list = |key: &str| json[key].as_array().expect("a list").clone();
    let ids = list("ids").iter().map(|id| id.as_u64().expect("a token") as u32).collect();
    let logprobs = list("logprobs").iter().map(|value| value.as_f64().expect("a number")).collect();
    (ids, logprobs)
}

/// The logarithm of a token's probability.
pub fn log_probability(logits: &[f32], token: u32) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    f64::from(logits[token as usize] - largest) - f64::from(sum).ln()
}

/// Of the text whose tokens have these.
pub fn perplexity(log_probabilities: &[f64]) -> f64 {
    (-log_probabilities.iter().sum::<f64>() / log_probabilities.len() as f64).exp()
}

/// A GGUF model on the device.
pub fn load_gguf(gpu: &Gpu, path: &Path, options: &ExecutorOptions) -> GpuExecutor {
    let source = FileSource::open(path).expect("the model file is there");
    pollster::block_on(async {
        let gguf = Gguf::open(&source).await.expect("the header is valid");
        let (config, tensors) = gguf.read_model(&source).await.expect("the model is supported");
        hearth_gpu::load(gpu, &config, &tensors, &source, options, &mut |_| {})
            .await
            .expect("the model loads")
    })
}

/// Small options for tiny models.
pub fn options(kv_type: KvType) -> ExecutorOptions {
    ExecutorOptions {
        kv_type,
        kv_tokens: 1024,
        max_kv_tokens: 2048,
        max_rows: 160,
        max_sequences: 4,
        max_samples: 4,
        num_sampler_slots: 4,
    }
}

/// Numbers from a seed, the same on every machine.
pub struct Random(pub u64);

impl Random {
    /// Below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as u32) % bound
    }

    /// In `[0, 1)`.
    pub fn unit(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1u32 << 24) as f32
    }

    /// About normal.
    pub fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }
}

/// A sequence, the tokens of it to run, and how the last of them is sampled.
pub type PlanPart<'a> = (&'a mut TestSequence, Vec<TokenSource>, Option<(SamplingSettings, f32)>);

/// A sequence whose pages are given out here, out of order, so that tables matter.
pub struct TestSequence {
    /// Its tokens that are computed.
    pub num_computed: u32,
    /// Its pages.
    pub blocks: Vec<BlockId>,
    /// Its sampler slot.
    pub slot: SamplerSlot,
}

/// Hands out pages and makes plans.
pub struct Planner {
    free: Vec<BlockId>,
    step: u64,
}

impl Planner {
    /// With the pages of an executor, in an order that is not rising.
    pub fn new(executor: &dyn Executor) -> Self {
        Self::with_blocks(0..executor.limits().num_blocks)
    }

    /// With these pages, in an order that is not rising.
    pub fn with_blocks(blocks: Range<u32>) -> Self {
        let mut planner = Self { free: Vec::new(), step: 0 };
        planner.add_blocks(blocks);
        planner
    }

    /// Hands these pages out too, before the others.
    pub fn add_blocks(&mut self, blocks: Range<u32>) {
        let count = blocks.len() as u32;
        self.free.extend((0..count).map(|i| BlockId(blocks.start + (i * 7 + 3) % count)));
    }

    /// A page that no sequence has.
    pub fn take_block(&mut self) -> BlockId {
        self.free.pop().expect("the test's cache is large enough")
    }

    /// A new sequence.
    pub fn sequence(&self, slot: u32) -> TestSequence {
        TestSequence { num_computed: 0, blocks: Vec::new(), slot: SamplerSlot(slot) }
    }

    /// A plan that runs these tokens of these sequences; `sample` says which of them are sampled.
    pub fn plan(&mut self, parts: &mut [PlanPart<'_>]) -> StepPlan {
        self.step += 1;
        let mut plan = StepPlan { step: self.step, ..StepPlan::default() };
        for (index, (sequence, tokens, sample)) in parts.iter_mut().enumerate() {
            let first_row = plan.rows.len() as u32;
            let context = sequence.num_computed + tokens.len() as u32;
            while (sequence.blocks.len() as u32) * 16 < context {
                sequence.blocks.push(self.take_block());
            }
            if sequence.num_computed == 0 {
                let reset = SlotReset { slot: sequence.slot, counts: vec![], bias: vec![] };
                plan.slot_resets.push(reset);
            }
            for (i, token) in tokens.iter().enumerate() {
                let position = sequence.num_computed + i as u32;
                let block = sequence.blocks[(position / 16) as usize];
                let slot = Slot(block.0 * 16 + position % 16);
                plan.rows.push(Row { token: *token, position, slot, sequence: index as u32 });
            }
            plan.sequences.push(SequenceRows {
                first_row,
                num_rows: tokens.len() as u32,
                context_len_tokens: context,
                blocks: sequence.blocks.clone(),
            });
            if let Some((settings, draw)) = *sample {
                let row = plan.rows.len() as u32 - 1;
                plan.samples.push(SampleRow { row, slot: sequence.slot, settings, draw });
            }
            sequence.num_computed = context;
        }
        plan
    }
}

/// Known tokens.
pub fn known(ids: &[u32]) -> Vec<TokenSource> {
    ids.iter().map(|id| TokenSource::Known(TokenId(*id))).collect()
}

/// Temperature 0.
pub fn greedy() -> Option<(SamplingSettings, f32)> {
    Some((SamplingSettings { temperature: 0.0, ..SamplingSettings::default() }, 0.0))
}

/// The largest excess of `|got - want|` over `atol + rtol * |want|`, and where; within tolerance it is not above 0.
pub fn worst(got: &[f32], want: &[f32], atol: f32, rtol: f32) -> (f32, usize) {
    assert_eq!(got.len(), want.len(), "as many values as expected");
    let excess = |(g, w): (&f32, &f32)| (g - w).abs() - atol - rtol * w.abs();
    let mut worst = (f32::NEG_INFINITY, 0);
    for (index, pair) in got.iter().zip(want).enumerate() {
        let excess = excess(pair);
        // Not-a-number is the worst of all.
        if excess.is_nan() || excess > worst.0 {
            worst = (excess, index);
        }
    }
    worst
}

/// Fails unless every value is within `atol + rtol * |want|`.
#[track_caller]
pub fn assert_close(what: &str, got: &[f32], want: &[f32], atol: f32, rtol: f32) {
    let (excess, index) = worst(got, want, atol, rtol);
    assert!(
        excess <= 0.0,
        "{what}: element {index} is {}, expected {} within {atol} + {rtol} * |x| (over by {excess})",
        got[index],
        want[index]
    );
}
