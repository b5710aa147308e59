//! Measures a model natively and in Chromium with the same questions. Knows what is asked and how samples are
//! summarised; how the answers are got is `native`'s and e2e/bench.mjs's.

mod browser;
mod native;
mod report;

pub use browser::measure as measure_in_browser;
pub use native::measure as measure_natively;
pub use report::Report;

/// Prompt lengths in tokens.
pub const PROMPT_LENGTHS: [u32; 2] = [128, 512];
/// Numbers of sequences that decode at once.
pub const SEQUENCE_COUNTS: [u32; 4] = [1, 2, 4, 8];
/// Tokens that each of them generates.
pub const DECODE_TOKENS: u32 = 64;
