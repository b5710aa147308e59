//! Rows of weights from their file encoding to the words that kernels read. Layouts: `shaders/lib/weight_*.wgsl`.

use half::f16;
use hearth_engine::model::quant::BlockFormat;

/// How weights are kept on the GPU. Rows are cut into blocks of [`BLOCK_LEN`]; the last one is padded with zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WeightFormat {
    /// 4-bit codes, an f16 scale and minimum for each block.
    Q4,
    /// 5-bit codes, likewise.
    Q5,
    /// 8-bit codes, likewise.
    Q8,
    /// Half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
    /// Single precision.
    F32,
}

/// Weights in a block.
pub const BLOCK_LEN: u32 = 32;

impl WeightFormat {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Q4, Self::Q5, Self::Q8, Self::F16, Self::Bf16, Self::F32];

    /// The format that holds a file's encoding exactly.
    pub fn of(format: BlockFormat) -> Self {
        match format {
            BlockFormat::Q4_0 | BlockFormat::Q4_1 => Self::Q4,
            BlockFormat::Q5_0 | BlockFormat::Q5_1 => Self::Q5,
            BlockFormat::Q8_0 => Self::Q8,
            BlockFormat::F16 => Self::F16,
            BlockFormat::Bf16 => Self::Bf16,
            // Also the exact answer for any encoding that has no format of its own here.
            _ => Self::F32,
        }
    }

    /// Words of codes in a block.
    pub fn code_words(self) -> u32 {
        match self {
            Self::Q4 => 4,
            Self::Q5 => 5,
            Self::Q8 => 8,
            Self::F16 | Self::Bf16 => 16,
            Self::F32 => 32,
        }
    }

    /// Words of scales in a block.
    pub fn scale_words(self) -> u32 {
        match self {
            Self::Q4 | Self::Q5 | Self::Q8 => 1,
            Self::F16 | Self::Bf16 | Self::F32 => 0,
        }
    }

    /// Name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q4 => "q4",
            Self::Q5 => "q5",
            Self::Q8 => "q8",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F32 => "f32",
        }
    }
}

/// Blocks of a row.
pub fn blocks_per_row(columns: u32) -> u32 {
    columns.div_ceil(BLOCK_LEN)
}

/// Appends rows in their own format: `rows` are whole rows of `columns` weights in encoding `format`.
pub fn repack(format: BlockFormat, columns: u32, rows: &[u8], codes: &mut Vec<u32>, scales: &mut Vec<u32>) {
    match format {
        BlockFormat::Q4_0 => {
            for block in rows.chunks_exact(18) {
                scales.push(affine(half_at(block, 0), -8.0));
                codes.extend(words(&block[2..]).map(|word| word ^ TOP_BIT));
            }
        }
        BlockFormat::Q4_1 => {
            for block in rows.chunks_exact(20) {
                scales.push(word_at(block, 0));
                codes.extend(words(&block[4..]).map(|word| word ^ TOP_BIT));
            }
        }
        BlockFormat::Q5_0 => {
            for block in rows.chunks_exact(22) {
                scales.push(affine(half_at(block, 0), -16.0));
                codes.extend(words(&block[6..]));
                codes.push(spread_fifth_bits(word_at(block, 2)));
            }
        }
        BlockFormat::Q5_1 => {
            for block in rows.chunks_exact(24) {
                scales.push(word_at(block, 0));
                codes.extend(words(&block[8..]));
                codes.push(spread_fifth_bits(word_at(block, 4)));
            }
        }
        BlockFormat::Q8_0 => {
            for block in rows.chunks_exact(34) {
                scales.push(affine(half_at(block, 0), -128.0));
                // Signed to unsigned codes inverts bit 7 of each byte; then the top one is inverted back.
                codes.extend(words(&block[2..]).map(|word| word ^ 0x0080_8080));
            }
        }
        BlockFormat::F16 | BlockFormat::Bf16 => {
            for row in rows.chunks_exact(columns as usize * 2) {
                let start = codes.len();
                let pairs = row.chunks(4);
                codes.extend(pairs.map(|pair| match *pair {
                    [a, b, c, d] => u32::from_le_bytes([a, b, c, d]),
                    _ => u32::from(u16::from_le_bytes([pair[0], pair[1]])),
                }));
                codes.resize(start + (blocks_per_row(columns) * 16) as usize, 0);
            }
        }
        BlockFormat::F32 => {
            for row in rows.chunks_exact(columns as usize * 4) {
                let start = codes.len();
                codes.extend(words(row));
                codes.resize(start + (blocks_per_row(columns) * 32) as usize, 0);
            }
        }
        _ => {
            unreachable!("WeightFormat::of sends encodings without a layout of their own through repack_f32")
        }
    }
}

/// Appends rows as f32, whatever their encoding: for rows that share a buffer with rows of another format.
pub fn repack_f32(format: BlockFormat, columns: u32, rows: &[u8], codes: &mut Vec<u32>) {
    let mut values = vec![0.0; columns as usize];
    for row in rows.chunks_exact(format.row_bytes(columns) as usize) {
        let start = codes.len();
        // The row has exactly the bytes of its columns.
        if format.decode(row, &mut values).is_ok() {
            codes.extend(values.iter().map(|value| value.to_bits()));
        }
        codes.resize(start + (blocks_per_row(columns) * BLOCK_LEN) as usize, 0);
    }
}

const TOP_BIT: u32 = 0x8000_0000;

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
}

fn word_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

fn half_at(bytes: &[u8], offset: usize) -> f16 {
    f16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

/// Scale and minimum of a symmetric block; the factor is a power of two, so the product is exact.
fn affine(d: f16, factor: f32) -> u32 {
    let m = f16::from_f32(d.to_f32() * factor);
    u32::from(d.to_bits()) | u32::from(m.to_bits()) << 16
}

/// From bit e for element e to bit 8 i + w for element 4 w + i and bit 8 i + 4 + w for element 16 + 4 w + i.
fn spread_fifth_bits(bits: u32) -> u32 {
    // Transpose of the 4 x 4 bit matrix of each half word, then the halves are dealt to low and high nibbles.
    let half = |bits: u32| {
        let mut spread = 0;
        for w in 0..4 {
            let four = bits >> (4 * w);
            spread |= (four & 1 | (four & 2) << 7 | (four & 4) << 14 | (four & 8) << 21) << w;
        }
        spread
    };
    half(bits & 0xffff) | half(bits >> 16) << 4
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernels compute from the words: the layouts' definitions, element by element.
    fn unpack(format: WeightFormat, codes: &[u32], scales: &[u32], block: usize, element: usize) -> f32 {
        let (w, i, high) = (element % 16 / 4, element % 4, element / 16);
        let words = &codes[block * format.code_words() as usize..];
        let affine = |code: u32| {
            let scale = scales[block];
            f16::from_bits(scale as u16).to_f32() * code as f32
                + f16::from_bits((scale >> 16) as u16).to_f32()
        };
        match format {
            WeightFormat::Q4 => affine((words[w] ^ TOP_BIT) >> (8 * i + 4 * high) & 15),
            WeightFormat::Q5 => {
                let fifth = words[4] >> (8 * i + w + 4 * high) & 1;
                affine(words[w] >> (8 * i + 4 * high) & 15 | fifth << 4)
            }
            WeightFormat::Q8 => affine((words[element / 4] ^ TOP_BIT) >> (8 * i) & 255),
            WeightFormat::F16 => f16::from_bits((words[element / 2] >> (16 * (element % 2))) as u16).to_f32(),
            WeightFormat::Bf16 => f32::from_bits((words[element / 2] >> (16 * (element % 2))) << 16),
            WeightFormat::F32 => f32::from_bits(words[element]),
        }
    }

    fn row_of(format: BlockFormat, columns: u32, seed: u32) -> Vec<u8> {
        let mut state = seed;
        let mut bytes: Vec<u8> = (0..format.row_bytes(columns))
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        // Scales and floats must be ordinary numbers: exponents of about 1.
        let step = if format == BlockFormat::F32 { 4 } else { format.block_bytes() as usize };
        for block in bytes.chunks_exact_mut(step) {
            match format {
                BlockFormat::F32 => block[3] = 0x3e | block[3] & 0x80,
                BlockFormat::Bf16 => block[1] = 0x3e | block[1] & 0x80,
                BlockFormat::Q4_1 | BlockFormat::Q5_1 => {
                    block[1] = 0x2c | block[1] & 0x83;
                    block[3] = 0x2c | block[3] & 0x83;
                }
                _ => block[1] = 0x2c | block[1] & 0x83,
            }
        }
        bytes
    }

    #[test]
    fn every_encoding_keeps_its_values_exactly() {
        for format in [
            BlockFormat::F32,
            BlockFormat::F16,
            BlockFormat::Bf16,
            BlockFormat::Q4_0,
            BlockFormat::Q4_1,
            BlockFormat::Q5_0,
            BlockFormat::Q5_1,
            BlockFormat::Q8_0,
        ] {
            let columns = if format.block_len() == 1 { 45 } else { 64 };
            let bytes: Vec<u8> = (0..3).flat_map(|row| row_of(format, columns, row)).collect();
            let (mut codes, mut scales, mut as_f32) = (Vec::new(), Vec::new(), Vec::new());
            repack(format, columns, &bytes, &mut codes, &mut scales);
            repack_f32(format, columns, &bytes, &mut as_f32);
            let target = WeightFormat::of(format);
            let blocks = 3 * blocks_per_row(columns) as usize;
            assert_eq!(codes.len(), blocks * target.code_words() as usize, "{format:?}");
            assert_eq!(scales.len(), blocks * target.scale_words() as usize, "{format:?}");
            let mut expected = vec![0.0; columns as usize];
            for (row, bytes) in bytes.chunks_exact(format.row_bytes(columns) as usize).enumerate() {
                format.decode(bytes, &mut expected).expect("whole rows decode");
                for element in 0..64 {
                    let expected = expected.get(element).copied().unwrap_or(0.0);
                    let block = row * 2 + element / 32;
                    let got = unpack(target, &codes, &scales, block, element % 32);
                    let got_f32 = f32::from_bits(as_f32[row * 64 + element]);
                    assert_eq!(
                        (got, got_f32),
                        (expected, expected),
                        "{format:?} row {row} element {element}"
                    );
                }
            }
        }
    }
}
