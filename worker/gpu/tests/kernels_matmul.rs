//! Matmul, embedding and norm kernels against CPU references over seeded random shapes.
//!
//! Tolerance: relative to the sum of magnitudes of the products, 2e-6 for f32 accumulation in another order; keys and values in
//! f16 are within half a unit in their last place (5e-4 relative).

mod support;

use hearth_engine::ids::{SamplerSlot, Slot, TokenId};
use hearth_engine::model::quant::BlockFormat;
use hearth_engine::plan::{Row, SampleRow, SequenceRows, StepPlan, TokenSource};
use hearth_engine::sampling::SamplingSettings;
use hearth_gpu::kernel::Kernel;
use hearth_gpu::ops::embed;
use hearth_gpu::ops::matmul::{self, Epilogue, Gate, MatmulParams, MatmulVariant, QkvParams};
use hearth_gpu::ops::norm::{self, NormShape};
use hearth_gpu::repack::{WeightFormat, blocks_per_row};
use hearth_gpu::{Gpu, KvType, select};
use support::cache::KV_TYPES;
use support::kernels::*;
use support::*;

const RELATIVE: f32 = 2e-6;

/// Rows at positions and slots that say nothing about each other; some of them are sampled.
fn plan(random: &mut Random, num_rows: u32) -> StepPlan {
    let rows = (0..num_rows)
        .map(|i| Row {
            token: TokenSource::Known(TokenId(i)),
            position: random.below(5000),
            slot: Slot((i * 37 + 5) % 512),
            sequence: 0,
        })
        .collect();
    let samples = (0..num_rows.min(8))
        .map(|i| SampleRow {
            row: num_rows - 1 - i,
            slot: SamplerSlot(i),
            settings: SamplingSettings::default(),
            draw: 0.0,
        })
        .collect();
    let sequences =
        vec![SequenceRows { first_row: 0, num_rows, context_len_tokens: num_rows, blocks: vec![] }];
    StepPlan { step: 1, rows, sequences, samples, ..StepPlan::default() }
}

/// One case: weights, activations and the step around them.
struct Case {
    matrix: RandomMatrix,
    format: WeightFormat,
    rows: u32,
    first_row: u32,
    num_columns: u32,
    stride: u32,
    x: Vec<f32>,
    plan: StepPlan,
    step: Vec<u32>,
}

impl Case {
    fn new(random: &mut Random, format: BlockFormat, rows: u32, k: u32, num_columns: u32) -> Self {
        let matrix = RandomMatrix::new(random, format, rows, k);
        let stride = blocks_per_row(k) * 32;
        let mut x = vec![0.0; (stride * num_columns) as usize];
        for row in x.chunks_mut(stride as usize) {
            row[..k as usize].fill_with(|| random.normal());
        }
        let plan = plan(random, num_columns);
        let step = step_words(&plan, 4, false).0;
        let format = WeightFormat::of(format);
        Self { matrix, format, rows, first_row: 6, num_columns, stride, x, plan, step }
    }

    fn column(&self, column: usize) -> &[f32] {
        &self.x[column * self.stride as usize..][..self.matrix.columns]
    }

    fn product(&self, row: u32, column: u32) -> f64 {
        self.matrix.product(row as usize, self.column(column as usize))
    }

    /// How far a product may be off.
    fn tolerance(&self, row: u32, column: u32) -> f32 {
        let weights = &self.matrix.values[row as usize * self.matrix.columns..][..self.matrix.columns];
        let size: f32 = weights.iter().zip(self.column(column as usize)).map(|(w, x)| (w * x).abs()).sum();
        // Affine codes are not centred: the kernels sum code * x and m * x apart, which are larger than their sum.
        size * RELATIVE * if self.format.scale_words() > 0 { 16.0 } else { 1.0 } + 1e-6
    }

    fn params(&self, output_stride: u32) -> Vec<u32> {
        let blocks = blocks_per_row(self.matrix.columns as u32);
        let params = MatmulParams {
            first_row: self.first_row,
            num_rows: self.rows,
            blocks_per_row: blocks,
            output_stride,
        };
        bytemuck::cast_slice(bytemuck::bytes_of(&params)).to_vec()
    }

    fn run(
        &self,
        gpu: &Gpu,
        epilogue: Epilogue,
        variant: MatmulVariant,
        rest: Vec<Vec<u32>>,
    ) -> Vec<Vec<u32>> {
        let kernel: Kernel = matmul::kernel(epilogue, self.format, variant);
        let mut buffers = vec![self.matrix.codes.clone(), self.matrix.scales.clone(), words(&self.x)];
        buffers.extend(rest);
        let columns = match epilogue {
            Epilogue::Logits => self.plan.samples.len() as u32,
            _ => self.num_columns,
        };
        run(gpu, &kernel, &buffers, [variant.core.grid_x(self.rows), columns.div_ceil(variant.columns)])
    }

    fn name(&self, what: &str, variant: MatmulVariant) -> String {
        let k = self.matrix.columns;
        format!("{what} {:?} {variant:?} {} x {k}, {} columns", self.format, self.rows, self.num_columns)
    }

    /// Compares `[columns, output_stride]`; everything outside the dispatch's rows must be as it was.
    fn check(
        &self,
        name: &str,
        got: &[f32],
        output_stride: u32,
        (rows, columns): (u32, u32),
        before: f32,
        want: impl Fn(u32, u32) -> (f64, f32),
    ) {
        for column in 0..columns {
            for out in 0..output_stride {
                let value = got[(column * output_stride + out) as usize];
                let row = out.wrapping_sub(self.first_row.min(out + 1));
                if out >= self.first_row && row < rows {
                    let (want, tolerance) = want(row, column);
                    let error = (f64::from(value) - want).abs();
                    assert!(
                        error <= f64::from(tolerance),
                        "{name}: row {row} column {column} is {value}, not {want}"
                    );
                } else {
                    assert_eq!(value, before, "{name}: row {row} column {column} is not this dispatch's");
                }
            }
        }
    }
}

fn residual(gpu: &Gpu, variant: MatmulVariant, case: &Case) {
    let stride = case.first_row + case.rows + 3;
    let before = vec![0.5; (stride * case.num_columns) as usize];
    let rest = vec![vec![0; 4], case.step.clone(), words(&before), case.params(stride)];
    let out = floats(&case.run(gpu, Epilogue::Residual, variant, rest)[5]);
    case.check(
        &case.name("residual", variant),
        &out,
        stride,
        (case.rows, case.num_columns),
        0.5,
        |row, column| (case.product(row, column) + 0.5, case.tolerance(row, column)),
    );
}

fn logits(gpu: &Gpu, variant: MatmulVariant, case: &Case) {
    let stride = case.first_row + case.rows + 3;
    let num_samples = case.plan.samples.len() as u32;
    let before = vec![0.5; (stride * num_samples) as usize];
    let rest = vec![case.step.clone(), words(&before), case.params(stride)];
    let out = floats(&case.run(gpu, Epilogue::Logits, variant, rest)[4]);
    case.check(&case.name("logits", variant), &out, stride, (case.rows, num_samples), 0.5, |row, sample| {
        let column = case.plan.samples[sample as usize].row;
        (case.product(row, column), case.tolerance(row, column))
    });
}

fn gated(gpu: &Gpu, variant: MatmulVariant, case: &mut Case, gate: Gate) {
    case.rows -= case.rows % 2;
    let stride = case.first_row / 2 + case.rows / 2 + 3;
    let before = vec![0.5; (stride * case.num_columns) as usize];
    let rest = vec![case.step.clone(), words(&before), case.params(stride)];
    let out = floats(&case.run(gpu, Epilogue::Gated(gate), variant, rest)[4]);
    let activate = |x: f64| match gate {
        Gate::Silu => x / (1.0 + (-x).exp()),
        Gate::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
    };
    let name = case.name("gated", variant);
    case.first_row /= 2;
    case.check(&name, &out, stride, (case.rows / 2, case.num_columns), 0.5, |row, column| {
        let [gate, up] = [2 * row, 2 * row + 1].map(|row| case.product(row, column));
        let [gate_error, up_error] = [2 * row, 2 * row + 1].map(|row| case.tolerance(row, column));
        let slack = 1e-5 * (1.0 + gate.abs()) * up.abs();
        (
            activate(gate) * up,
            gate_error * up.abs() as f32 * 1.2 + up_error * gate.abs() as f32 + slack as f32 + 1e-6,
        )
    });
}

const HEAD_DIM: u32 = 12;
const ROTARY_DIM: u32 = 8;

/// Two query heads and one key-value head.
fn qkv(gpu: &Gpu, variant: MatmulVariant, case: &mut Case, kv_type: KvType) {
    let (q_rows, kv_rows) = (2 * HEAD_DIM, HEAD_DIM);
    case.first_row = 0;
    case.rows = q_rows + 2 * kv_rows;
    // What is past the rotated pairs must not be used.
    let mut frequencies = vec![0.3f32; 256];
    for (i, frequency) in frequencies.iter_mut().enumerate().take(ROTARY_DIM as usize / 2) {
        *frequency = 10_000f32.powf(-2.0 * i as f32 / ROTARY_DIM as f32);
    }
    let params = QkvParams {
        first_row: 0,
        num_rows: case.rows,
        blocks_per_row: blocks_per_row(case.matrix.columns as u32),
        q_rows,
        kv_rows,
        head_dim: HEAD_DIM,
        rotary_dim: ROTARY_DIM,
        rope_scale: 1.0,
    };
    let arena_words = match kv_type {
        // Staged by row.
        KvType::Q8 => case.num_columns * 2 * HEAD_DIM,
        KvType::F16 | KvType::F32 => 512 * 2 * kv_type.head_bytes(HEAD_DIM) / 4,
    };
    let rest = vec![
        vec![0; 4],
        case.step.clone(),
        vec![0; (q_rows * case.num_columns) as usize],
        vec![0; arena_words as usize],
        bytemuck::cast_slice(bytemuck::bytes_of(&params)).to_vec(),
        words(&frequencies),
    ];
    let buffers = case.run(gpu, Epilogue::Qkv(kv_type), variant, rest);
    let q = floats(&buffers[5]);
    let cached = |index: u32| match kv_type {
        KvType::F32 | KvType::Q8 => f32::from_bits(buffers[6][index as usize]),
        KvType::F16 => {
            half::f16::from_bits((buffers[6][index as usize / 2] >> (16 * (index % 2))) as u16).to_f32()
        }
    };
    let name = case.name("qkv", variant);
    for column in 0..case.num_columns {
        let at = &case.plan.rows[column as usize];
        for row in 0..case.rows {
            let element = row % HEAD_DIM;
            let is_value = row >= q_rows + kv_rows;
            let pair = [row & !1, row | 1].map(|row| case.product(row, column));
            let rotated = !is_value && element < ROTARY_DIM;
            // The angle is rounded to f32 as on the GPU, the rest is exact.
            let angle = f64::from(at.position as f32 * frequencies[element as usize / 2]);
            let want = match (rotated, row % 2) {
                (true, 0) => pair[0] * angle.cos() - pair[1] * angle.sin(),
                (true, _) => pair[0] * angle.sin() + pair[1] * angle.cos(),
                (false, parity) => pair[parity as usize],
            };
            let mut tolerance = case.tolerance(row & !1, column) + case.tolerance(row | 1, column);
            tolerance += 1e-6 * (pair[0].abs() + pair[1].abs()) as f32;
            let got = if row < q_rows {
                q[(column * q_rows + row) as usize]
            } else {
                if kv_type == KvType::F16 {
                    tolerance += 5e-4 * want.abs() as f32 + 1e-6;
                }
                let (block, slot) = (at.slot.0 / 16, at.slot.0 % 16);
                let head = match kv_type {
                    KvType::Q8 => column * 2 + u32::from(is_value),
                    KvType::F16 | KvType::F32 => (block * 2 + u32::from(is_value)) * 16 + slot,
                };
                cached(head * HEAD_DIM + element)
            };
            let error = (f64::from(got) - want).abs();
            assert!(error <= f64::from(tolerance), "{name}: row {row} column {column} is {got}, not {want}");
        }
    }
}

/// The variants that a device chooses between.
fn variants(gpu: &Gpu) -> Vec<MatmulVariant> {
    select::matmul_variants(gpu.capabilities())
}

#[test]
fn products_equal_the_reference_for_every_format_and_variant() {
    for (index, (_, mask)) in masks().into_iter().enumerate() {
        let gpu = masked_gpu(mask);
        let mut random = Random(11 + index as u64);
        for variant in variants(&gpu) {
            for format in FORMATS {
                let quantised = format.block_len() > 1;
                let k = if quantised { 32 * (1 + random.below(6)) } else { 1 + random.below(200) };
                let columns = [1, variant.columns, variant.columns + 1][random.below(3) as usize];
                let rows = [1, 7, 8, 9, 127, 128, 129, 200][random.below(8) as usize];
                residual(&gpu, variant, &Case::new(&mut random, format, rows, k, columns));
            }
        }
    }
}

#[test]
fn every_epilogue_equals_the_reference_on_every_variant() {
    for (index, (_, mask)) in masks().into_iter().enumerate() {
        let gpu = masked_gpu(mask);
        let mut random = Random(23 + index as u64);
        for variant in variants(&gpu) {
            for num_columns in [1, variant.columns, 2 * variant.columns + 1] {
                let format = FORMATS[random.below(8) as usize];
                let rows = 2 + random.below(90);
                logits(&gpu, variant, &Case::new(&mut random, format, rows, 96, num_columns));
                gated(&gpu, variant, &mut Case::new(&mut random, format, rows, 64, num_columns), Gate::Silu);
                let kv_type = KV_TYPES[random.below(3) as usize];
                qkv(
                    &gpu,
                    variant,
                    &mut Case::new(&mut random, format, 4 * HEAD_DIM, 64, num_columns),
                    kv_type,
                );
            }
        }
        let variant = variants(&gpu)[0];
        gated(&gpu, variant, &mut Case::new(&mut random, BlockFormat::F32, 40, 64, 3), Gate::GeluTanh);
    }
}

#[test]
fn embeddings_are_the_rows_of_the_table_in_every_format() {
    let gpu = gpu();
    let mut random = Random(5);
    for format in FORMATS {
        let k = if format.block_len() > 1 { 96 } else { 77 };
        let (first_row, rows) = (10, 30);
        let matrix = RandomMatrix::new(&mut random, format, rows, k);
        let stride = blocks_per_row(k) * 32;
        // Known and sampled tokens of this part of the table, and tokens of other parts.
        let tokens = [10, 39, 9, 40, 25, 17];
        let sampled = [0, 25, 0, 17];
        let mut plan = plan(&mut random, tokens.len() as u32);
        for (row, token) in plan.rows.iter_mut().zip(tokens) {
            row.token = TokenSource::Known(TokenId(token));
        }
        plan.rows[4].token = TokenSource::Sampled(SamplerSlot(1));
        plan.rows[5].token = TokenSource::Sampled(SamplerSlot(3));
        let params = MatmulParams {
            first_row,
            num_rows: rows,
            blocks_per_row: blocks_per_row(k),
            output_stride: stride,
        };
        let buffers = [
            matrix.codes.clone(),
            matrix.scales.clone(),
            step_words(&plan, 4, false).0,
            sampled.to_vec(),
            words(&vec![7.0; stride as usize * tokens.len()]),
            bytemuck::cast_slice(bytemuck::bytes_of(&params)).to_vec(),
        ];
        let grid = [embed::grid_x(blocks_per_row(k)), tokens.len() as u32];
        let x = floats(&run(&gpu, &embed::kernel(WeightFormat::of(format)), &buffers, grid)[4]);
        for (row, token) in x.chunks(stride as usize).zip(tokens) {
            let mut want = vec![7.0; stride as usize];
            if (first_row..first_row + rows).contains(&token) {
                want.fill(0.0);
                let start = ((token - first_row) * k) as usize;
                want[..k as usize].copy_from_slice(&matrix.values[start..start + k as usize]);
            }
            // Codes with an inverted top bit are put together from two numbers.
            assert_close(&format!("{format:?} token {token}"), row, &want, 1e-6, 1e-6);
        }
    }
}

#[test]
fn norms_equal_the_reference() {
    let mut random = Random(7);
    for mask in masks().map(|(_, mask)| mask) {
        let gpu = masked_gpu(mask);
        for hidden in [1u32, 31, 32, 33, 255, 256, 257, 576] {
            for only_sampled in [false, true] {
                let stride = hidden.next_multiple_of(32);
                let workgroup = select::norm_workgroup(gpu.capabilities());
                let shape = NormShape { hidden, stride, eps: 1e-5, only_sampled, workgroup };
                let num_rows = 11;
                let plan = plan(&mut random, num_rows);
                let padded = |random: &mut Random, rows: u32| {
                    let mut values = vec![0.0; (stride * rows) as usize];
                    for row in values.chunks_mut(stride as usize) {
                        row[..hidden as usize].fill_with(|| random.normal());
                    }
                    values
                };
                let (x, weight) = (padded(&mut random, num_rows), padded(&mut random, 1));
                let y = vec![9.0; x.len()];
                let buffers = [step_words(&plan, 4, false).0, words(&x), words(&weight), words(&y)];
                let groups = if only_sampled { plan.samples.len() as u32 } else { num_rows };
                let got = floats(&run(&gpu, &norm::kernel(&shape), &buffers, [groups, 1])[3]);
                for (row, (got, x)) in got.chunks(stride as usize).zip(x.chunks(stride as usize)).enumerate()
                {
                    let is_wanted = !only_sampled || plan.samples.iter().any(|s| s.row as usize == row);
                    let square: f32 = x.iter().map(|x| x * x).sum();
                    let scale = (square / hidden as f32 + 1e-5).sqrt().recip();
                    let normed = x.iter().zip(&weight).map(|(x, w)| x * scale * w);
                    let want: Vec<f32> = if is_wanted { normed.collect() } else { vec![9.0; x.len()] };
                    assert_close(&format!("hidden {hidden}, row {row}"), got, &want, 1e-6, 2e-6);
                }
            }
        }
    }
}
