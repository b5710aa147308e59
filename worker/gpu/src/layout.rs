//! Where each tensor of a model goes on the GPU: which are stacked or interleaved into one matrix, and how a matrix is cut into
//! buffers. Pure data, decided before a byte is read.

use std::collections::HashMap;

use hearth_engine::model::{LayerTensor, ModelConfig, ModelTensors, TensorInfo, TensorName};

use crate::error::LoadError;
use crate::repack::{BLOCK_LEN, WeightFormat, blocks_per_row};

/// Buffers of a split matrix begin at multiples of this many rows.
const SPLIT_ROWS: u32 = 8;

/// Rows of a matrix that are in one pair of buffers, in one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub first_row: u32,
    /// Rows.
    pub num_rows: u32,
    /// Their format.
    pub format: WeightFormat,
}

/// A matrix as the kernels see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixLayout {
    /// Name in labels.
    pub label: String,
    /// Inputs.
    pub columns: u32,
    /// In rising order of rows, without gaps.
    pub segments: Vec<Segment>,
}

impl MatrixLayout {
    /// Blocks of each row.
    pub fn blocks_per_row(&self) -> u32 {
        blocks_per_row(self.columns)
    }
}

/// Where a tensor goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Rows of a matrix, from `first_row` on.
    Rows {
        /// Index into [`ModelLayout::matrices`].
        matrix: usize,
        /// Where its row 0 goes.
        first_row: u32,
    },
    /// Every other row of a matrix.
    Interleaved {
        /// Index into [`ModelLayout::matrices`].
        matrix: usize,
        /// Where its row 0 goes: 0 or 1.
        first_row: u32,
    },
    /// A vector, in f32.
    Vector {
        /// Index into [`ModelLayout::vectors`].
        vector: usize,
    },
}

/// A vector as the kernels see it: f32, padded with zeros to `stride`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorLayout {
    /// Name in labels.
    pub label: String,
    /// Elements in the file.
    pub len: u32,
}

/// Indices of one layer's matrices and vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerLayout {
    /// Vector.
    pub attention_norm: usize,
    /// Matrix: q, k, v stacked.
    pub qkv: usize,
    /// Matrix.
    pub attention_output: usize,
    /// Vector.
    pub mlp_norm: usize,
    /// Matrix: gate and up interleaved.
    pub gate_up: usize,
    /// Matrix.
    pub down: usize,
}

/// A whole model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelLayout {
    /// All matrices.
    pub matrices: Vec<MatrixLayout>,
    /// All vectors.
    pub vectors: Vec<VectorLayout>,
    /// Where each tensor goes.
    pub destinations: HashMap<TensorName, Destination>,
    /// Matrix of the embedding.
    pub embedding: usize,
    /// Matrix of the logits; the embedding's where they are tied.
    pub head: usize,
    /// Vector.
    pub final_norm: usize,
    /// By layer.
    pub layers: Vec<LayerLayout>,
}

/// Elements of a row of activations of this many: whole blocks.
pub fn row_stride(columns: u32) -> u32 {
    columns.next_multiple_of(BLOCK_LEN)
}

impl ModelLayout {
    /// The layout of a model whose buffers hold at most `max_binding_bytes`.
    ///
    /// # Errors
    /// [`LoadError::MissingTensor`], [`LoadError::TensorShape`].
    pub fn new(
        config: &ModelConfig,
        tensors: &ModelTensors,
        max_binding_bytes: u64,
    ) -> Result<Self, LoadError> {
        let mut builder = Builder { tensors, max_binding_bytes, layout: Self::default() };
        let hidden = config.hidden_size;
        let q_rows = config.num_heads * config.head_dim;
        let kv_rows = config.num_kv_heads * config.head_dim;
        let vocab = [(TensorName::Embedding, config.vocab_size)];
        builder.layout.embedding = builder.stacked("embedding".to_owned(), &vocab, hidden)?;
        builder.layout.head = if config.tied_embeddings {
            builder.layout.embedding
        } else {
            builder.stacked("head".to_owned(), &[(TensorName::Head, config.vocab_size)], hidden)?
        };
        builder.layout.final_norm = builder.vector("final_norm".to_owned(), TensorName::FinalNorm, hidden)?;
        for layer in 0..config.num_layers {
            let name = |tensor| TensorName::Layer(layer, tensor);
            let label = |what: &str| format!("layer {layer} {what}");
            let indices = LayerLayout {
                attention_norm: builder.vector(
                    label("attention_norm"),
                    name(LayerTensor::AttentionNorm),
                    hidden,
                )?,
                qkv: builder.stacked(
                    label("qkv"),
                    &[
                        (name(LayerTensor::Query), q_rows),
                        (name(LayerTensor::Key), kv_rows),
                        (name(LayerTensor::Value), kv_rows),
                    ],
                    hidden,
                )?,
                attention_output: builder.stacked(
                    label("attention_output"),
                    &[(name(LayerTensor::AttentionOutput), hidden)],
                    q_rows,
                )?,
                mlp_norm: builder.vector(label("mlp_norm"), name(LayerTensor::MlpNorm), hidden)?,
                gate_up: builder.interleaved(
                    label("gate_up"),
                    [name(LayerTensor::Gate), name(LayerTensor::Up)],
                    config.intermediate_size,
                    hidden,
                )?,
                down: builder.stacked(
                    label("down"),
                    &[(name(LayerTensor::Down), hidden)],
                    config.intermediate_size,
                )?,
            };
            builder.layout.layers.push(indices);
        }
        Ok(builder.layout)
    }
}

struct Builder<'a> {
    tensors: &'a ModelTensors,
    max_binding_bytes: u64,
    layout: ModelLayout,
}

impl Builder<'_> {
    fn find(&self, name: TensorName, rows: u32, columns: u32) -> Result<&TensorInfo, LoadError> {
        let tensor = self.tensors.find(name).ok_or(LoadError::MissingTensor { name })?;
        if (tensor.rows, tensor.columns) != (rows, columns) {
            return Err(LoadError::TensorShape {
                file_name: tensor.file_name.clone(),
                rows: tensor.rows,
                columns: tensor.columns,
                expected_rows: rows,
                expected_columns: columns,
            });
        }
        Ok(tensor)
    }

    fn vector(&mut self, label: String, name: TensorName, len: u32) -> Result<usize, LoadError> {
        self.find(name, 1, len)?;
        let vector = self.layout.vectors.len();
        self.layout.vectors.push(VectorLayout { label, len });
        self.layout.destinations.insert(name, Destination::Vector { vector });
        Ok(vector)
    }

    /// Tensors one below the other. Neighbours of one format share buffers.
    fn stacked(
        &mut self,
        label: String,
        parts: &[(TensorName, u32)],
        columns: u32,
    ) -> Result<usize, LoadError> {
        let matrix = self.layout.matrices.len();
        let mut runs: Vec<(WeightFormat, u32)> = Vec::new();
        let mut first_row = 0;
        for &(name, rows) in parts {
            let format = WeightFormat::of(self.find(name, rows, columns)?.format);
            match runs.last_mut() {
                Some((last, run_rows)) if *last == format => *run_rows += rows,
                _ => runs.push((format, rows)),
            }
            self.layout.destinations.insert(name, Destination::Rows { matrix, first_row });
            first_row += rows;
        }
        self.push(label, columns, &runs);
        Ok(matrix)
    }

    /// Two tensors row by row in turn. They must have one format then, so different ones become f32, which holds all exactly.
    fn interleaved(
        &mut self,
        label: String,
        names: [TensorName; 2],
        rows: u32,
        columns: u32,
    ) -> Result<usize, LoadError> {
        let matrix = self.layout.matrices.len();
        let first = WeightFormat::of(self.find(names[0], rows, columns)?.format);
        let second = WeightFormat::of(self.find(names[1], rows, columns)?.format);
        let format = if first == second { first } else { WeightFormat::F32 };
        for (first_row, name) in (0..).zip(names) {
            self.layout.destinations.insert(name, Destination::Interleaved { matrix, first_row });
        }
        self.push(label, columns, &[(format, 2 * rows)]);
        Ok(matrix)
    }

    fn push(&mut self, label: String, columns: u32, runs: &[(WeightFormat, u32)]) {
        let mut segments = Vec::new();
        let mut first_row = 0;
        for &(format, rows) in runs {
            let row_bytes = u64::from(blocks_per_row(columns) * format.code_words()) * 4;
            let max_rows = (self.max_binding_bytes / row_bytes).min(u64::from(u32::MAX)) as u32;
            let max_rows = (max_rows / SPLIT_ROWS * SPLIT_ROWS).max(SPLIT_ROWS);
            let end = first_row + rows;
            while first_row < end {
                let num_rows = max_rows.min(end - first_row);
                segments.push(Segment { first_row, num_rows, format });
                first_row += num_rows;
            }
        }
        self.layout.matrices.push(MatrixLayout { label, columns, segments });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hearth_engine::model::quant::BlockFormat;

    fn tensors(list: &[(TensorName, BlockFormat, u32, u32)]) -> ModelTensors {
        let tensors = list
            .iter()
            .map(|&(name, format, rows, columns)| TensorInfo {
                name,
                file_name: format!("{name:?}"),
                format,
                rows,
                columns,
                offset_bytes: 0,
            })
            .collect();
        ModelTensors { tensors }
    }

    fn builder(tensors: &ModelTensors, max_binding_bytes: u64) -> Builder<'_> {
        Builder { tensors, max_binding_bytes, layout: ModelLayout::default() }
    }

    const Q: TensorName = TensorName::Layer(0, LayerTensor::Query);
    const K: TensorName = TensorName::Layer(0, LayerTensor::Key);
    const V: TensorName = TensorName::Layer(0, LayerTensor::Value);

    #[test]
    fn stacked_tensors_of_one_format_share_buffers() {
        let tensors = tensors(&[
            (Q, BlockFormat::Q4_0, 64, 64),
            (K, BlockFormat::Q4_1, 32, 64),
            (V, BlockFormat::Q8_0, 32, 64),
        ]);
        let mut builder = builder(&tensors, 1 << 20);
        builder.stacked("qkv".to_owned(), &[(Q, 64), (K, 32), (V, 32)], 64).expect("all tensors are there");
        let segment = |first_row, num_rows, format| Segment { first_row, num_rows, format };
        assert_eq!(
            builder.layout.matrices[0].segments,
            [segment(0, 96, WeightFormat::Q4), segment(96, 32, WeightFormat::Q8)]
        );
        assert_eq!(builder.layout.destinations[&V], Destination::Rows { matrix: 0, first_row: 96 });
    }

    #[test]
    fn a_matrix_over_the_binding_limit_is_split_by_rows() {
        let tensors = tensors(&[(TensorName::Embedding, BlockFormat::F16, 100, 64)]);
        // A row has 128 bytes; 40 rows fit, and 40 is a multiple of 8.
        let mut builder = builder(&tensors, 128 * 43);
        builder.stacked("e".to_owned(), &[(TensorName::Embedding, 100)], 64).expect("the tensor is there");
        let rows: Vec<_> =
            builder.layout.matrices[0].segments.iter().map(|s| (s.first_row, s.num_rows)).collect();
        assert_eq!(rows, [(0, 40), (40, 40), (80, 20)]);
    }

    #[test]
    fn interleaved_tensors_of_different_formats_become_f32() {
        let (gate, up) = (TensorName::Layer(0, LayerTensor::Gate), TensorName::Layer(0, LayerTensor::Up));
        for (format, expected) in
            [(BlockFormat::Q4_0, WeightFormat::Q4), (BlockFormat::Q8_0, WeightFormat::F32)]
        {
            let tensors = tensors(&[(gate, BlockFormat::Q4_1, 32, 64), (up, format, 32, 64)]);
            let mut builder = builder(&tensors, 1 << 20);
            builder.interleaved("gate_up".to_owned(), [gate, up], 32, 64).expect("both tensors are there");
            let segments = &builder.layout.matrices[0].segments;
            assert_eq!(segments[..], [Segment { first_row: 0, num_rows: 64, format: expected }]);
        }
    }

    #[test]
    fn missing_and_misshapen_tensors_are_named() {
        let tensors = tensors(&[(Q, BlockFormat::F16, 32, 64)]);
        let mut builder = builder(&tensors, 1 << 20);
        assert_eq!(builder.stacked(String::new(), &[(K, 32)], 64), Err(LoadError::MissingTensor { name: K }));
        let shape = builder.stacked(String::new(), &[(Q, 64)], 64);
        assert!(matches!(shape, Err(LoadError::TensorShape { rows: 32, expected_rows: 64, .. })));
    }
}
