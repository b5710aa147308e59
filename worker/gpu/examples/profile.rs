//! Prints the GPU time of each kernel of a decode step, and of a prefill step where rows are asked for: which kernel a model of
//! this size is bound by on this adapter.
//!
//! `cargo run -p hearth-gpu --example profile -- MODEL.gguf SEQUENCES [CONTEXT_TOKENS [PREFILL_ROWS]]`

use std::path::Path;

use hearth_engine::ids::{BlockId, SamplerSlot, Slot, TokenId};
use hearth_engine::model::{FileSource, Gguf};
use hearth_engine::plan::{Row, SampleRow, SequenceRows, StepPlan, TokenSource};
use hearth_engine::ports::Executor;
use hearth_engine::sampling::SamplingSettings;
use hearth_gpu::step_buffer::BLOCK_SIZE_TOKENS;
use hearth_gpu::{ExecutorOptions, Gpu, GpuOptions};

/// Measured steps of each kind.
const STEPS: usize = 11;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, sequences, rest @ ..] = arguments.as_slice() else {
        return Err("usage: profile MODEL.gguf SEQUENCES [CONTEXT_TOKENS]".into());
    };
    let number = |index: usize, default| rest.get(index).map_or(Ok(default), |text| text.parse());
    let size =
        Size { num_sequences: sequences.parse()?, context: number(0, 16)?, prefill_rows: number(1, 0)? };
    pollster::block_on(profile(Path::new(file), size))
}

/// What is profiled.
#[derive(Clone, Copy)]
struct Size {
    num_sequences: u32,
    /// Tokens of each sequence before the step.
    context: u32,
    prefill_rows: u32,
}

async fn profile(file: &Path, size: Size) -> Result<(), Box<dyn std::error::Error>> {
    let Size { num_sequences, context, prefill_rows } = size;
    let gpu = Gpu::request(GpuOptions::default()).await?;
    let source = FileSource::open(file)?;
    let (config, tensors) = Gguf::open(&source).await?.read_model(&source).await?;
    let defaults = ExecutorOptions::for_device(gpu.capabilities());
    let options = ExecutorOptions {
        kv_tokens: num_sequences * (context + prefill_rows.max(1) + 16),
        max_rows: defaults.max_rows.max(prefill_rows),
        ..defaults
    };
    let mut executor = hearth_gpu::load(&gpu, &config, &tensors, &source, &options, &mut |_| ()).await?;
    let mut plans = vec![("decode", num_sequences, plan(num_sequences, 1, context))];
    if prefill_rows > 0 {
        plans.push(("prefill", prefill_rows, plan(1, prefill_rows, context)));
    }
    for (name, tokens, plan) in plans {
        executor.submit(&plan)?.await?;
        let mut steps_ms = Vec::new();
        for _ in 0..STEPS {
            let started = std::time::Instant::now();
            executor.submit(&plan)?.await?;
            steps_ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        steps_ms.sort_by(f64::total_cmp);
        let median_ms = steps_ms[STEPS / 2];
        let mut lines = format!(
            "{}: {name} of {tokens} rows after {context} tokens: {median_ms:.1} ms a step ({:.1} at best), {:.1} tok/s\n",
            gpu.description(),
            steps_ms[0],
            f64::from(tokens) * 1e3 / median_ms
        );
        for time in executor.profile(&plan).await? {
            lines += &format!("{:10.0} us {:5}  {}\n", time.total_us, time.dispatches, time.label);
        }
        std::io::Write::write_all(&mut std::io::stdout(), lines.as_bytes())?;
    }
    Ok(())
}

/// `num_rows` rows of each sequence after `context` tokens.
fn plan(num_sequences: u32, num_rows: u32, context: u32) -> StepPlan {
    let context_len_tokens = context + num_rows;
    let blocks_each = context_len_tokens.div_ceil(BLOCK_SIZE_TOKENS);
    let mut plan = StepPlan { step: 1, ..StepPlan::default() };
    for sequence in 0..num_sequences {
        let first_block = sequence * blocks_each;
        plan.rows.extend((context..context_len_tokens).map(|position| Row {
            token: TokenSource::Known(TokenId(100 + sequence + position)),
            position,
            slot: Slot(first_block * BLOCK_SIZE_TOKENS + position),
            sequence,
        }));
        plan.sequences.push(SequenceRows {
            first_row: sequence * num_rows,
            num_rows,
            context_len_tokens,
            blocks: (first_block..first_block + blocks_each).map(BlockId).collect(),
        });
        plan.samples.push(SampleRow {
            row: (sequence + 1) * num_rows - 1,
            slot: SamplerSlot(sequence),
            settings: SamplingSettings::greedy(),
            draw: 0.0,
        });
    }
    plan
}
