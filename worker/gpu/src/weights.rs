//! Streams a model's tensors from a file onto the GPU, in file order and in pieces: the process never holds more than one piece
//! and, of rows that are interleaved, one tensor. Knows formats and buffers, not what they compute.

use std::collections::HashMap;
use std::ops::Range;

use hearth_engine::model::{ModelTensors, TensorInfo};
use hearth_engine::ports::ByteSource;

use crate::device::Gpu;
use crate::error::{GpuError, LoadError};
use crate::layout::{Destination, MatrixLayout, ModelLayout, Segment, VectorLayout, row_stride};
use crate::repack::{WeightFormat, blocks_per_row, repack, repack_f32};

/// Bytes read at a time.
const PIECE_BYTES: u64 = 4 << 20;
/// Bytes written before the queue is given time to pass them on.
const DRAIN_BYTES: u64 = 32 << 20;

/// How far a load is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of the file on the GPU.
    pub bytes_done: u64,
    /// Bytes that will be.
    pub bytes_total: u64,
}

/// A [`Segment`]'s buffers.
#[derive(Debug)]
pub struct SegmentBuffers {
    /// What they hold.
    pub segment: Segment,
    /// Codes.
    pub codes: wgpu::Buffer,
    /// Scales; the codes again where the format has none.
    pub scales: wgpu::Buffer,
}

/// All weights of a model on the GPU, indexed as in [`ModelLayout`].
#[derive(Debug)]
pub struct Weights {
    /// Buffers of each matrix.
    pub matrices: Vec<Vec<SegmentBuffers>>,
    /// Each vector.
    pub vectors: Vec<wgpu::Buffer>,
    /// Bytes of all buffers.
    pub bytes: u64,
}

/// Rows as the kernels read them.
#[derive(Debug, Default)]
struct Rows {
    codes: Vec<u32>,
    scales: Vec<u32>,
}

impl Rows {
    fn clear(&mut self) {
        self.codes.clear();
        self.scales.clear();
    }

    fn append(&mut self, tensor: &TensorInfo, bytes: &[u8], format: WeightFormat) {
        if WeightFormat::of(tensor.format) == format && format != WeightFormat::F32 {
            repack(tensor.format, tensor.columns, bytes, &mut self.codes, &mut self.scales);
        } else {
            repack_f32(tensor.format, tensor.columns, bytes, &mut self.codes);
        }
    }

    /// Appends the `rows` of each of two, in turn.
    fn append_interleaved(&mut self, pair: [&Self; 2], first_rows: [u32; 2], rows: u32, widths: [usize; 2]) {
        let row = |index: u32, width: usize| index as usize * width..(index as usize + 1) * width;
        for i in 0..rows {
            for (half, first) in pair.iter().zip(first_rows) {
                self.codes.extend_from_slice(&half.codes[row(first + i, widths[0])]);
                self.scales.extend_from_slice(&half.scales[row(first + i, widths[1])]);
            }
        }
    }
}

/// Reads every tensor of the layout.
///
/// # Errors
/// [`LoadError::Source`] from the file, [`GpuError::OutOfMemory`] from the device.
pub async fn stream(
    gpu: &Gpu,
    layout: &ModelLayout,
    tensors: &ModelTensors,
    source: &dyn ByteSource,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Weights, LoadError> {
    let weights = allocate(gpu, layout).await?;
    let bytes_total = tensors.total_bytes();
    let mut loader = Loader { gpu, weights, held: HashMap::new(), rows: Rows::default(), undrained: 0 };
    let mut bytes_done = 0;
    for tensor in &tensors.tensors {
        let Some(&destination) = layout.destinations.get(&tensor.name) else {
            bytes_done += tensor.len_bytes();
            continue;
        };
        let row_bytes = tensor.row_bytes().max(1);
        let piece_rows = (PIECE_BYTES / row_bytes).clamp(1, u64::from(tensor.rows)) as u32;
        for first in (0..tensor.rows).step_by(piece_rows as usize) {
            let rows = first..(first + piece_rows).min(tensor.rows);
            let start = tensor.offset_bytes + u64::from(rows.start) * row_bytes;
            let end = tensor.offset_bytes + u64::from(rows.end) * row_bytes;
            let bytes = source.read(start..end).await?;
            loader.put(tensor, destination, rows, &bytes);
            bytes_done += end - start;
            progress(LoadProgress { bytes_done, bytes_total });
            loader.drain_if_full().await?;
        }
    }
    loader.drain().await?;
    Ok(loader.weights)
}

/// Creates all buffers in one error scope.
async fn allocate(gpu: &Gpu, layout: &ModelLayout) -> Result<Weights, GpuError> {
    let mut bytes = 0;
    let weights = gpu
        .allocate("the model's weights", |allocator| {
            let matrices = layout.matrices.iter().map(|m| allocate_matrix(allocator, m)).collect();
            let vectors = layout
                .vectors
                .iter()
                .map(|VectorLayout { label, len }| allocator.storage(label, u64::from(row_stride(*len)) * 4))
                .collect();
            bytes = allocator.bytes();
            (matrices, vectors)
        })
        .await?;
    Ok(Weights { matrices: weights.0, vectors: weights.1, bytes })
}

fn allocate_matrix(
    allocator: &mut crate::device::Allocator<'_>,
    matrix: &MatrixLayout,
) -> Vec<SegmentBuffers> {
    let blocks = u64::from(matrix.blocks_per_row());
    matrix
        .segments
        .iter()
        .map(|segment| {
            let blocks = blocks * u64::from(segment.num_rows);
            let codes = allocator.storage(
                &format!("{} codes", matrix.label),
                blocks * u64::from(segment.format.code_words()) * 4,
            );
            let scales = if segment.format.scale_words() == 0 {
                codes.clone()
            } else {
                allocator.storage(
                    &format!("{} scales", matrix.label),
                    blocks * u64::from(segment.format.scale_words()) * 4,
                )
            };
            SegmentBuffers { segment: segment.clone(), codes, scales }
        })
        .collect()
}

struct Loader<'a> {
    gpu: &'a Gpu,
    weights: Weights,
    /// First tensors of interleaved pairs, until the second arrives, by matrix.
    held: HashMap<usize, Rows>,
    /// Reused for every piece.
    rows: Rows,
    undrained: u64,
}

impl Loader<'_> {
    fn put(&mut self, tensor: &TensorInfo, destination: Destination, rows: Range<u32>, bytes: &[u8]) {
        self.undrained += bytes.len() as u64;
        match destination {
            Destination::Vector { vector } => {
                self.rows.clear();
                repack_f32(tensor.format, tensor.columns, bytes, &mut self.rows.codes);
                write(self.gpu, &self.weights.vectors[vector], 0, &self.rows.codes);
            }
            Destination::Rows { matrix, first_row } => {
                let blocks = blocks_per_row(tensor.columns) as usize;
                for buffers in &self.weights.matrices[matrix] {
                    let segment = &buffers.segment;
                    // Rows of this piece that are in this segment, counted in the tensor.
                    let start = rows.start.max(segment.first_row.saturating_sub(first_row));
                    let end = rows.end.min((segment.first_row + segment.num_rows).saturating_sub(first_row));
                    if start >= end {
                        continue;
                    }
                    let row_bytes = tensor.row_bytes() as usize;
                    let part =
                        (start - rows.start) as usize * row_bytes..(end - rows.start) as usize * row_bytes;
                    self.rows.clear();
                    self.rows.append(tensor, &bytes[part], segment.format);
                    let row = (first_row + start - segment.first_row) as usize * blocks;
                    write_rows(self.gpu, buffers, row, &self.rows);
                }
            }
            Destination::Interleaved { matrix, first_row } => {
                self.put_interleaved(tensor, matrix, first_row, rows, bytes);
            }
        }
    }

    fn put_interleaved(
        &mut self,
        tensor: &TensorInfo,
        matrix: usize,
        first_row: u32,
        rows: Range<u32>,
        bytes: &[u8],
    ) {
        // All segments of an interleaved matrix have one format.
        let Some(format) = self.weights.matrices[matrix].first().map(|b| b.segment.format) else { return };
        let blocks = blocks_per_row(tensor.columns) as usize;
        let widths = [blocks * format.code_words() as usize, blocks * format.scale_words() as usize];
        let is_second =
            self.held.get(&matrix).is_some_and(|held| held.codes.len() == tensor.rows as usize * widths[0]);
        if !is_second {
            self.held.entry(matrix).or_default().append(tensor, bytes, format);
            return;
        }
        let mut piece = Rows::default();
        piece.append(tensor, bytes, format);
        let held = &self.held[&matrix];
        for buffers in &self.weights.matrices[matrix] {
            let segment = &buffers.segment;
            let start = rows.start.max(segment.first_row / 2);
            let end = rows.end.min((segment.first_row + segment.num_rows) / 2);
            if start >= end {
                continue;
            }
            let (pair, first_rows) = if first_row == 1 {
                ([held, &piece], [start, start - rows.start])
            } else {
                ([&piece, held], [start - rows.start, start])
            };
            self.rows.clear();
            self.rows.append_interleaved(pair, first_rows, end - start, widths);
            write_rows(self.gpu, buffers, (2 * start - segment.first_row) as usize * blocks, &self.rows);
        }
        if rows.end == tensor.rows {
            self.held.remove(&matrix);
        }
    }

    async fn drain_if_full(&mut self) -> Result<(), GpuError> {
        if self.undrained < DRAIN_BYTES { Ok(()) } else { self.drain().await }
    }

    /// Waits until the device has taken what was written, so that staging memory stays bounded.
    async fn drain(&mut self) -> Result<(), GpuError> {
        self.undrained = 0;
        self.gpu.drain().await
    }
}

fn write_rows(gpu: &Gpu, buffers: &SegmentBuffers, first_block: usize, rows: &Rows) {
    let format = buffers.segment.format;
    write(gpu, &buffers.codes, first_block * format.code_words() as usize, &rows.codes);
    if format.scale_words() > 0 {
        write(gpu, &buffers.scales, first_block * format.scale_words() as usize, &rows.scales);
    }
}

fn write(gpu: &Gpu, buffer: &wgpu::Buffer, first_word: usize, words: &[u32]) {
    gpu.queue.write_buffer(buffer, first_word as u64 * 4, bytemuck::cast_slice(words));
}
