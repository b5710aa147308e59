//! What the GPU tests share: a device that must be there, a golden model, step plans.
#![allow(dead_code)]

pub mod kernels;

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
        let num_blocks = executor.limits().num_blocks;
        let free = (0..num_blocks).map(|i| BlockId((i * 7 + 3) % num_blocks)).collect();
        Self { free, step: 0 }
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
                sequence.blocks.push(self.free.pop().expect("the test's cache is large enough"));
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
