//! Files that somebody broke on purpose or a download broke by chance: an error or a model, never a panic, and never
//! more memory or reading than the file's own size explains.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use hearth_engine::model::{Gguf, SliceSource};
use hearth_engine::template::ChatTemplate;
use hearth_engine::tokenizer::Tokenizer;
use support::{CountingSource, fixture, tiny_llama};

/// xorshift64*: the same files every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Everything that a load does with a file before the weights. True when the header was read.
fn load(bytes: Vec<u8>) -> bool {
    let len = bytes.len() as u64;
    let source = CountingSource::new(bytes);
    let header = pollster::block_on(Gguf::open(&source));
    assert!(source.read_bytes.get() <= len);
    let Ok(gguf) = header else { return false };
    // The outcomes differ; that there is one is the point.
    let _ = pollster::block_on(gguf.read_model(&source));
    if let Ok(tokenizer) = Tokenizer::from_gguf(&gguf) {
        let _ = tokenizer.encode("ab <s> a\u{0} 東");
        let _ = ChatTemplate::from_gguf(&gguf, &tokenizer);
    }
    true
}

#[test]
fn a_file_cut_anywhere_in_its_header_is_refused() {
    let (bytes, ends) = tiny_llama().bytes_and_ends();
    let header_bytes = *ends.last().unwrap();
    for end in ends.iter().flat_map(|end| [end - 1, *end, end + 1]).filter(|end| *end < header_bytes) {
        assert!(!load(bytes[..end].to_vec()), "{end}");
    }
    for end in 0..bytes.len() {
        assert!(!load(bytes[..end].to_vec()), "{end}");
    }
    assert!(load(bytes));
}

#[test]
fn a_real_header_cut_at_random_is_refused() {
    let bytes = fixture("smollm2-135m/vocabulary.gguf");
    let mut random = Random(1);
    for _ in 0..200 {
        let end = random.below(bytes.len());
        assert!(pollster::block_on(Gguf::open(&SliceSource::new(bytes[..end].to_vec()))).is_err(), "{end}");
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let (bytes, ends) = tiny_llama().bytes_and_ends();
    let header_bytes = *ends.last().unwrap();
    let mut random = Random(2);
    let mut num_read = 0;
    for _ in 0..20_000 {
        let mut broken = bytes.clone();
        for _ in 0..=random.below(3) {
            broken[random.below(header_bytes)] = random.next() as u8;
        }
        num_read += usize::from(load(broken));
    }
    // Both kinds of outcome are exercised.
    assert!((1_000..19_000).contains(&num_read), "{num_read}");
}

#[test]
fn integers_of_extreme_size_anywhere_never_panic() {
    let (bytes, ends) = tiny_llama().bytes_and_ends();
    let header_bytes = *ends.last().unwrap();
    for at in 0..header_bytes - 8 {
        for extreme in [0, 1, u64::MAX, u64::MAX / 2, 1 << 32, 1 << 31, u64::MAX - 31, (1 << 20) + 1] {
            let mut broken = bytes.clone();
            broken[at..at + 8].copy_from_slice(&extreme.to_le_bytes());
            load(broken);
        }
    }
}

#[test]
fn flipped_bytes_in_a_golden_model_never_panic() {
    let bytes = fixture("tiny/gguf-llama/model.gguf");
    let mut random = Random(3);
    for _ in 0..2_000 {
        let mut broken = bytes.clone();
        broken[random.below(7_520)] ^= 1 << random.below(8);
        load(broken);
    }
}

#[test]
fn a_source_that_lies_about_its_length_is_an_error() {
    let bytes = tiny_llama().bytes();
    let len = bytes.len() as u64;
    for claimed in [0, len - 1, len + 1, 1 << 40, u64::MAX] {
        let mut source = CountingSource::new(bytes.clone());
        source.claimed_len_bytes = Some(claimed);
        assert!(pollster::block_on(Gguf::open(&source)).is_err(), "{claimed}");
        assert!(source.largest_read_bytes.get() <= 1 << 20);
    }
}
