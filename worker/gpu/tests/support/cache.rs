//! A layer's pages on the host: random content, and what the kernels must read there.
#![allow(dead_code)]

use hearth_engine::ids::BlockId;
use hearth_gpu::KvType;
use hearth_gpu::kv::{GROUP_LEN, PageShape};

use super::Random;

/// Tokens in a page.
pub const BLOCK: u32 = 16;

/// Every way to keep keys and values.
pub const KV_TYPES: [KvType; 3] = [KvType::F16, KvType::F32, KvType::Q8];

/// A layer's arena.
#[derive(Clone)]
pub struct Cache {
    pub page: PageShape,
    pub words: Vec<u32>,
}

/// One head of one slot.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub block: BlockId,
    pub is_value: bool,
    pub head: u32,
    pub slot: u32,
}

impl Cache {
    /// Numbers of about 1, each exactly what the kernels read.
    pub fn new(random: &mut Random, page: PageShape, num_blocks: u32) -> Self {
        let mut words = Vec::new();
        for _ in 0..num_blocks * page.num_heads() {
            push_head(random, page, &mut words);
        }
        Self { page, words }
    }

    /// Pages that no one has written.
    pub fn zeroed(page: PageShape, num_blocks: u32) -> Self {
        Self { page, words: vec![0; (u64::from(num_blocks) * page.bytes() / 4) as usize] }
    }

    /// The words of a head.
    pub fn head_words(&self, place: Place) -> &[u32] {
        let Place { block, is_value, head, slot } = place;
        let kv_heads = self.page.num_kv_heads;
        let index = ((block.0 * 2 + u32::from(is_value)) * kv_heads + head) * BLOCK + slot;
        let len = (self.page.kv_type.head_bytes(self.page.head_dim) / 4) as usize;
        &self.words[index as usize * len..][..len]
    }

    /// The words of a page.
    pub fn page_words(&self, block: BlockId) -> &[u32] {
        let len = (self.page.bytes() / 4) as usize;
        &self.words[block.index() * len..][..len]
    }

    /// The elements of a head.
    pub fn head(&self, place: Place) -> Vec<f64> {
        let words = self.head_words(place);
        let byte =
            |index: usize, width: usize| (words[index * width / 4] >> (8 * (index * width % 4))) as u16;
        let codes = (self.page.head_dim / 4) as usize;
        (0..self.page.head_dim as usize)
            .map(|index| match self.page.kv_type {
                KvType::F32 => f64::from(f32::from_bits(words[index])),
                KvType::F16 => f64::from(half::f16::from_bits(byte(index, 2)).to_f32()),
                KvType::Q8 => {
                    let scale = f32::from_bits(words[codes + index / GROUP_LEN as usize]);
                    f64::from(byte(index, 1) as u8 as i8) / 127.0 * f64::from(scale)
                }
            })
            .collect()
    }

    /// Every place of a page.
    pub fn places(&self, block: BlockId) -> impl Iterator<Item = Place> + use<> {
        let kv_heads = self.page.num_kv_heads;
        (0..2 * kv_heads * BLOCK).map(move |index| Place {
            block,
            is_value: index / BLOCK / kv_heads == 1,
            head: index / BLOCK % kv_heads,
            slot: index % BLOCK,
        })
    }
}

fn push_head(random: &mut Random, page: PageShape, words: &mut Vec<u32>) {
    let half = |x: f32| u32::from(half::f16::from_f32(x).to_bits());
    match page.kv_type {
        KvType::F32 => words.extend((0..page.head_dim).map(|_| random.normal().to_bits())),
        KvType::F16 => {
            words.extend((0..page.head_dim / 2).map(|_| half(random.normal()) | half(random.normal()) << 16));
        }
        KvType::Q8 => {
            let code = |random: &mut Random| (random.below(255) as i32 - 127) as u8;
            words.extend((0..page.head_dim / 4).map(|_| u32::from_le_bytes([(); 4].map(|()| code(random)))));
            words.extend((0..page.groups_per_head()).map(|_| (0.5 + 2.0 * random.unit()).to_bits()));
        }
    }
}

/// The largest error of an element of this size when it is written.
pub fn rounding(kv_type: KvType, largest: f64) -> f64 {
    match kv_type {
        KvType::F32 => 0.0,
        KvType::F16 => largest / 2048.0,
        // Half a step of 127, and what the device's own rounding of the quotient adds.
        KvType::Q8 => largest / 127.0 * 0.501,
    }
}
