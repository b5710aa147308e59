//! Runs single kernels for the tests: shapes, random weights in file encodings, packed steps.

use hearth_engine::model::quant::BlockFormat;
use hearth_engine::plan::StepPlan;
use hearth_gpu::kernel::Kernel;
use hearth_gpu::{Gpu, harness, repack, step_buffer};

use super::Random;

/// Every encoding of weights in files.
pub const FORMATS: [BlockFormat; 8] = [
    BlockFormat::F32,
    BlockFormat::F16,
    BlockFormat::Bf16,
    BlockFormat::Q4_0,
    BlockFormat::Q4_1,
    BlockFormat::Q5_0,
    BlockFormat::Q5_1,
    BlockFormat::Q8_0,
];

/// Runs a kernel; whatever the device says against it is a failure.
pub fn run(gpu: &Gpu, kernel: &Kernel, buffers: &[Vec<u32>], grid: [u32; 2]) -> Vec<Vec<u32>> {
    match pollster::block_on(harness::run(gpu, kernel, buffers, grid)) {
        Ok(buffers) => buffers,
        Err(error) => panic!("{}: {error}", kernel.label),
    }
}

/// Floats as words.
pub fn words(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Words as floats.
pub fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|word| f32::from_bits(*word)).collect()
}

/// A plan as the kernels read it, with prefill tiles of `tile_rows`.
pub fn step_words(plan: &StepPlan, tile_rows: u32, has_bias: bool) -> (Vec<u32>, step_buffer::StepShape) {
    let mut words = Vec::new();
    let shape = step_buffer::pack(plan, tile_rows, |_| has_bias, &mut words);
    (words, shape)
}

/// A random matrix: as the kernels read it, and its values `[rows, columns]` by the CPU reference of the encoding.
pub struct RandomMatrix {
    pub codes: Vec<u32>,
    pub scales: Vec<u32>,
    pub values: Vec<f32>,
    pub columns: usize,
}

impl RandomMatrix {
    pub fn new(random: &mut Random, format: BlockFormat, rows: u32, columns: u32) -> Self {
        let mut bytes = Vec::new();
        for _ in 0..u64::from(rows) * format.row_bytes(columns) / u64::from(format.block_bytes()) {
            push_block(random, format, &mut bytes);
        }
        let (mut codes, mut scales) = (Vec::new(), Vec::new());
        repack::repack(format, columns, &bytes, &mut codes, &mut scales);
        if scales.is_empty() {
            // Not read: the executor binds the codes again.
            scales = vec![0; 4];
        }
        let mut values = vec![0.0; (rows * columns) as usize];
        format.decode(&bytes, &mut values).expect("whole rows decode");
        Self { codes, scales, values, columns: columns as usize }
    }

    /// A row's product with `x`, in f64.
    pub fn product(&self, row: usize, x: &[f32]) -> f64 {
        let row = &self.values[row * self.columns..(row + 1) * self.columns];
        row.iter().zip(x).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum()
    }
}

fn push_block(random: &mut Random, format: BlockFormat, bytes: &mut Vec<u8>) {
    let mut half = |scale: f32| half::f16::from_f32(random.normal() * scale).to_le_bytes();
    match format {
        BlockFormat::F32 => bytes.extend((random.normal() * 0.3).to_le_bytes()),
        BlockFormat::F16 => bytes.extend(half(0.3)),
        BlockFormat::Bf16 => bytes.extend(half::bf16::from_f32(random.normal() * 0.3).to_le_bytes()),
        _ => {
            // The header's halves are scales of ordinary size, everything after them is any byte.
            let header = match format {
                BlockFormat::Q4_1 | BlockFormat::Q5_1 => 4,
                _ => 2,
            };
            for _ in 0..header / 2 {
                bytes.extend(half(0.02));
            }
            bytes.extend((header..format.block_bytes()).map(|_| random.below(256) as u8));
        }
    }
}
