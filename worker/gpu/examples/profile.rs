//! Prints the GPU time of each kernel of a decode step: which kernel a model of this size is bound by on this adapter.
//!
//! `cargo run -p hearth-gpu --example profile -- MODEL.gguf SEQUENCES [CONTEXT_TOKENS]`

use std::path::Path;

use hearth_engine::ids::{BlockId, SamplerSlot, Slot, TokenId};
use hearth_engine::model::{FileSource, Gguf};
use hearth_engine::plan::{Row, SampleRow, SequenceRows, StepPlan, TokenSource};
use hearth_engine::ports::Executor;
use hearth_engine::sampling::SamplingSettings;
use hearth_gpu::{ExecutorOptions, Gpu, GpuOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, sequences, rest @ ..] = arguments.as_slice() else {
        return Err("usage: profile MODEL.gguf SEQUENCES [CONTEXT_TOKENS]".into());
    };
    let context = rest.first().map_or(Ok(16), |text| text.parse())?;
    pollster::block_on(profile(Path::new(file), sequences.parse()?, context))
}

async fn profile(file: &Path, num_sequences: u32, context: u32) -> Result<(), Box<dyn std::error::Error>> {
    let gpu = Gpu::request(GpuOptions::default()).await?;
    let source = FileSource::open(file)?;
    let (config, tensors) = Gguf::open(&source).await?.read_model(&source).await?;
    let options = ExecutorOptions {
        kv_tokens: num_sequences * (context + 16),
        ..ExecutorOptions::for_device(gpu.capabilities())
    };
    let mut executor = hearth_gpu::load(&gpu, &config, &tensors, &source, &options, &mut |_| ()).await?;
    let plan = decode_plan(num_sequences, context, executor.limits().block_size_tokens);
    executor.submit(&plan)?.await?;
    let started = std::time::Instant::now();
    const STEPS: u32 = 10;
    for _ in 0..STEPS {
        executor.submit(&plan)?.await?;
    }
    let step_ms = started.elapsed().as_secs_f64() * 1e3 / f64::from(STEPS);
    let mut lines = format!(
        "{}: {num_sequences} sequences, {context} tokens each: {step_ms:.1} ms a step, {:.1} tok/s\n",
        gpu.description(),
        f64::from(num_sequences) * 1e3 / step_ms
    );
    for time in executor.profile(&plan).await? {
        lines += &format!("{:10.0} us {:5}  {}\n", time.total_us, time.dispatches, time.label);
    }
    std::io::Write::write_all(&mut std::io::stdout(), lines.as_bytes())?;
    Ok(())
}

fn decode_plan(num_sequences: u32, context: u32, block_size: u32) -> StepPlan {
    let blocks_each = (context + 1).div_ceil(block_size);
    let mut plan = StepPlan { step: 1, ..StepPlan::default() };
    for sequence in 0..num_sequences {
        let first_block = sequence * blocks_each;
        let slot = Slot(first_block * block_size + context);
        let token = TokenSource::Known(TokenId(100 + sequence));
        plan.rows.push(Row { token, position: context, slot, sequence });
        plan.sequences.push(SequenceRows {
            first_row: sequence,
            num_rows: 1,
            context_len_tokens: context + 1,
            blocks: (first_block..first_block + blocks_each).map(BlockId).collect(),
        });
        plan.samples.push(SampleRow {
            row: sequence,
            slot: SamplerSlot(sequence),
            settings: SamplingSettings::greedy(),
            draw: 0.0,
        });
    }
    plan
}
