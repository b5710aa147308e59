//! What a caller asks of the engine and what it hears back; the state of a generation is in the private parts.

mod context;
mod reply;
pub(crate) mod state;

pub(crate) use context::SlidingWindow;
pub use context::{ContextLimits, WhenFull};

use crate::error::EngineError;
use crate::ids::{OwnerId, TokenId};
use crate::sampling::SamplingSettings;

/// One generation to run.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceRequest {
    /// Whose it is; scheduling is fair between owners.
    pub owner: OwnerId,
    /// The tokens to continue, template and all.
    pub prompt: Vec<TokenId>,
    /// How to sample.
    pub settings: SamplingSettings,
    /// Added to the logits of these tokens.
    pub bias: Vec<(TokenId, f32)>,
    /// Makes the draws repeatable; without one they come from the engine's entropy.
    pub seed: Option<i64>,
    /// Tokens to generate at most; the context window limits them too.
    pub max_tokens: Option<u32>,
    /// Tokens that end the generation; they are counted but not part of the text.
    pub stop_tokens: Vec<TokenId>,
    /// Texts that end the generation; neither they nor what follows is part of the text.
    pub stop_strings: Vec<String>,
    /// Drops both kinds of stop, as in web-llm.
    pub ignore_eos: bool,
    /// How long its context may be, and what happens when it is full.
    pub context: ContextLimits,
    /// Tokens that an earlier run of the same request has generated and reported: they are run again, not reported again, and
    /// count as if they had been generated here.
    pub generated: Vec<TokenId>,
    /// The prompt is read into the cache and nothing is generated; it ends with [`FinishReason::Stop`].
    pub prefill_only: bool,
}

impl SequenceRequest {
    /// A request with default sampling, no stops and no limit but the context window.
    pub fn new(owner: OwnerId, prompt: Vec<TokenId>) -> Self {
        Self {
            owner,
            prompt,
            settings: SamplingSettings::default(),
            bias: Vec::new(),
            seed: None,
            max_tokens: None,
            stop_tokens: Vec::new(),
            stop_strings: Vec::new(),
            ignore_eos: false,
            context: ContextLimits::default(),
            generated: Vec::new(),
            prefill_only: false,
        }
    }
}

/// What happened to a sequence. Its last event is [`SequenceEvent::Finished`], and there always is one.
#[derive(Debug, Clone, PartialEq)]
pub enum SequenceEvent {
    /// More text. All deltas together are the whole text.
    Delta {
        /// Complete characters, never any part of a stop string.
        text: String,
        /// Tokens generated since the last delta; more than one where text was held back. A request with these and all before
        /// them as [`SequenceRequest::generated`] goes on with the text that comes next.
        tokens: Vec<TokenId>,
    },
    /// Its context was full and slid.
    Slid {
        /// Tokens that have left it in all.
        dropped_tokens: u32,
    },
    /// It gave its pages to others and waits.
    Preempted {
        /// Tokens that were in the cache.
        tokens: u32,
    },
    /// It has pages again, and what it had lost was read again.
    Restored {
        /// Tokens that are in the cache.
        tokens: u32,
    },
    /// The end.
    Finished(Finish),
}

/// How a sequence ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Finish {
    /// Why.
    pub reason: FinishReason,
    /// What it took.
    pub stats: SequenceStats,
}

/// Why a sequence ended.
#[derive(Debug, Clone, PartialEq)]
pub enum FinishReason {
    /// A stop token or a stop string.
    Stop,
    /// `max_tokens` or the context window; wins over `Stop` where one token does both, as in web-llm.
    Length,
    /// It was cancelled.
    Abort,
    /// The engine failed.
    Failed(EngineError),
}

/// What a sequence took. Times are wall-clock.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SequenceStats {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Those of them whose keys and values were found in the cache.
    pub cached_tokens: u32,
    /// Tokens generated, a terminating stop token included.
    pub completion_tokens: u32,
    /// How often the sequence lost its pages and was resumed.
    pub preemptions: u32,
    /// From the request to the first step that had rows of it.
    pub queued_ms: f64,
    /// From there to the first token.
    pub prefill_ms: f64,
    /// From the first token to the end.
    pub decode_ms: f64,
}
