//! The native measurements: the engine's own loop on this machine's GPU, as the worker runs it.

use std::cell::RefCell;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::time::Instant;

use futures::StreamExt;
use futures::future::{Either, join_all, select};
use hearth_engine::driver::{self, EngineHandle};
use hearth_engine::engine::EngineConfig;
use hearth_engine::ids::{BlockId, OwnerId, TokenId};
use hearth_engine::plan::{StepLimits, StepOutput, StepPlan};
use hearth_engine::ports::{BorrowedFuture, Clock, Executor, ExecutorError, LocalFuture};
use hearth_engine::sampling::SamplingSettings;
use hearth_engine::sequence::{FinishReason, SequenceEvent, SequenceRequest, SequenceStats};
use hearth_engine::tokenizer::Tokenizer;
use hearth_gpu::{GpuExecutor, KvType, StepStats};

use super::report::{Decode, Prefill, Samples, median};
use super::{DECODE_TOKENS, PROMPT_LENGTHS, SEQUENCE_COUNTS};
use crate::error::{CliError, Result};
use crate::native::{self, NativeModel};

/// Tokens of the cache.
const KV_TOKENS: u32 = 4096;
/// Prompt of a sequence whose decoding is measured.
const SHORT_PROMPT_TOKENS: u32 = 8;

/// Loads and measures; `watch` is told what is going on.
pub async fn measure(file: &Path, runs: u32, mut watch: impl FnMut(&str)) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut model = native::load(file, KvType::F16, KV_TOKENS).await?;
    samples.load_ms.push(model.load_ms);
    for _ in 1..runs {
        drop(model);
        model = native::load(file, KvType::F16, KV_TOKENS).await?;
        samples.load_ms.push(model.load_ms);
    }
    let NativeModel { executor, config, gguf, adapter, .. } = model;
    let memory = executor.memory();
    samples.adapter = adapter;
    samples.gpu_memory_bytes = Some(memory.weights_bytes + memory.kv_bytes + memory.activations_bytes);
    let vocabulary = Tokenizer::from_gguf(&gguf)
        .map_err(|error| CliError::Model { file: file.to_path_buf(), reason: error.to_string() })?;

    let clock = Rc::new(Monotonic(Instant::now()));
    let steps = Rc::new(RefCell::new(Vec::new()));
    let recorder = Recorder { inner: executor, steps: steps.clone(), clock: clock.clone() };
    let window_tokens = config.context_length_tokens.min(KV_TOKENS);
    let engine = EngineConfig::new(recorder.limits(), window_tokens);
    let handle = EngineHandle::new(engine, Rc::new(vocabulary), clock)?;
    let bench = Bench { handle: handle.clone(), steps, vocab_size: config.vocab_size, seed: RefCell::new(1) };
    let work = async move {
        bench.prefill(8).await?; // The first step compiles what is left to compile.
        for tokens in PROMPT_LENGTHS.into_iter().filter(|&tokens| tokens < window_tokens) {
            watch(&format!("native: prefill {tokens}"));
            let mut tokens_per_s = Vec::new();
            for _ in 0..runs {
                tokens_per_s.push(bench.prefill(tokens).await?);
            }
            samples.prefill.push(Prefill { tokens, tokens_per_s });
        }
        for sequences in SEQUENCE_COUNTS {
            watch(&format!("native: decode with {sequences} sequences"));
            let mut tokens_per_s = Vec::new();
            for _ in 0..runs {
                tokens_per_s.push(bench.decode(sequences).await?);
            }
            samples.decode.push(Decode { sequences, tokens_per_s });
            if sequences == 1 {
                let of_steps = |value: fn(&StepStats) -> f64| {
                    let steps = bench.steps.borrow();
                    median(
                        &steps
                            .iter()
                            .filter(|step| step.is_decode_of(1))
                            .map(|step| value(&step.stats))
                            .collect::<Vec<_>>(),
                    )
                };
                samples.dispatches_per_step = of_steps(|stats| f64::from(stats.dispatches));
                samples.bytes_uploaded_per_step = of_steps(|stats| stats.bytes_uploaded as f64);
            }
        }
        Result::Ok(samples)
    };
    match select(pin!(work), pin!(driver::run(handle, Box::new(recorder)))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((error, _)) => Err(error.into()),
    }
}

struct Bench {
    handle: EngineHandle,
    steps: Rc<RefCell<Vec<StepRecord>>>,
    vocab_size: u32,
    seed: RefCell<u32>,
}

impl Bench {
    /// Tokens a second of one prompt that the cache has never seen.
    async fn prefill(&self, num_tokens: u32) -> Result<f64> {
        let stats = self.generate(num_tokens, 1).await?;
        Ok(f64::from(stats.prompt_tokens - stats.cached_tokens) / (stats.prefill_ms / 1e3))
    }

    /// Tokens a second of all sequences together, over the steps in which exactly these decode and nobody prefills.
    async fn decode(&self, num_sequences: u32) -> Result<f64> {
        self.steps.borrow_mut().clear();
        let all = (0..num_sequences).map(|_| self.generate(SHORT_PROMPT_TOKENS, DECODE_TOKENS));
        join_all(all).await.into_iter().collect::<Result<Vec<_>>>()?;
        let steps = self.steps.borrow();
        let done_ms: Vec<f64> =
            steps.iter().filter(|step| step.is_decode_of(num_sequences)).map(|step| step.done_ms).collect();
        match done_ms.as_slice() {
            [first, .., last] if last > first => {
                Ok(f64::from(num_sequences) * (done_ms.len() - 1) as f64 / ((last - first) / 1e3))
            }
            _ => Err(CliError::NoCommonSteps { num_sequences }),
        }
    }

    async fn generate(&self, num_prompt_tokens: u32, max_tokens: u32) -> Result<SequenceStats> {
        let prompt = (0..num_prompt_tokens).map(|_| self.next_token()).collect();
        let request = SequenceRequest {
            settings: SamplingSettings::greedy(),
            max_tokens: Some(max_tokens),
            ignore_eos: true,
            ..SequenceRequest::new(OwnerId(0), prompt)
        };
        let mut generation = self.handle.submit(request)?;
        while let Some(event) = generation.events.next().await {
            match event {
                SequenceEvent::Delta { .. }
                | SequenceEvent::Slid { .. }
                | SequenceEvent::Preempted { .. }
                | SequenceEvent::Restored { .. } => {}
                SequenceEvent::Finished(finish) => match finish.reason {
                    FinishReason::Failed(error) => return Err(error.into()),
                    FinishReason::Stop | FinishReason::Length | FinishReason::Abort => {
                        return Ok(finish.stats);
                    }
                },
            }
        }
        Err(hearth_engine::error::EngineError::Stopped.into())
    }

    /// Some token, another one each time: a linear congruential generator is random enough for prompts nobody reads.
    fn next_token(&self) -> TokenId {
        let mut seed = self.seed.borrow_mut();
        *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        TokenId((*seed >> 8) % self.vocab_size)
    }
}

/// One step that has come back.
struct StepRecord {
    stats: StepStats,
    done_ms: f64,
}

impl StepRecord {
    fn is_decode_of(&self, num_sequences: u32) -> bool {
        self.stats.rows == num_sequences && self.stats.samples == num_sequences
    }
}

/// The executor, with a record of each step.
struct Recorder {
    inner: GpuExecutor,
    steps: Rc<RefCell<Vec<StepRecord>>>,
    clock: Rc<Monotonic>,
}

impl Executor for Recorder {
    fn limits(&self) -> StepLimits {
        self.inner.limits()
    }

    fn submit(
        &mut self,
        plan: &StepPlan,
    ) -> std::result::Result<LocalFuture<std::result::Result<StepOutput, ExecutorError>>, ExecutorError> {
        let step = self.inner.submit(plan)?;
        let stats = self.inner.step_stats();
        let (steps, clock) = (self.steps.clone(), self.clock.clone());
        Ok(Box::pin(async move {
            let output = step.await?;
            steps.borrow_mut().push(StepRecord { stats, done_ms: clock.now_ms() });
            Ok(output)
        }))
    }

    fn resize(&mut self, num_blocks: u32) -> BorrowedFuture<'_, std::result::Result<u32, ExecutorError>> {
        self.inner.resize(num_blocks)
    }

    fn read_blocks<'a>(
        &'a mut self,
        blocks: &[BlockId],
    ) -> BorrowedFuture<'a, std::result::Result<Vec<Vec<u8>>, ExecutorError>> {
        self.inner.read_blocks(blocks)
    }

    fn write_block(&mut self, block: BlockId, bytes: &[u8]) -> std::result::Result<(), ExecutorError> {
        self.inner.write_block(block, bytes)
    }

    fn block_bytes(&self) -> u64 {
        self.inner.block_bytes()
    }
}

struct Monotonic(Instant);

impl Clock for Monotonic {
    fn now_ms(&self) -> f64 {
        self.0.elapsed().as_secs_f64() * 1e3
    }
}
