//! One generation: its tokens, how far it has got, and what it holds.

use crate::ids::{BlockId, OwnerId, SamplerSlot, SequenceId, TokenId};
use crate::kv::BlockTable;
use crate::plan::SlotReset;
use crate::sampling::SamplingSettings;
use crate::sampling::rng::Rng;
use crate::sequence::context::SlidingWindow;
use crate::sequence::reply::Reply;
use crate::sequence::{SequenceRequest, SequenceStats};

/// A sequence is some tokens behind: `len - scheduled` of them, and each step lets it catch up by some.
///
/// Invariants: `num_pending_samples` is at most 1 when a plan is made, because at most one step is then in flight;
/// a sequence without a slot holds no pages and has nothing scheduled.
#[derive(Debug)]
pub(crate) struct Sequence {
    pub(crate) id: SequenceId,
    pub(crate) owner: OwnerId,
    /// The prompt and what was generated and has come back.
    pub(crate) tokens: Vec<TokenId>,
    num_prompt_tokens: usize,
    /// Tokens to generate at most, by the caller's wish and by the room that there is.
    max_new_tokens: u32,
    pub(crate) settings: SamplingSettings,
    bias: Vec<(TokenId, f32)>,
    /// How its context slides; `None` where it ends when it is full.
    window: Option<SlidingWindow>,
    /// Nothing is sampled: the prompt is read, and that is all.
    pub(crate) prefill_only: bool,
    pub(crate) rng: Rng,
    pub(crate) reply: Reply,

    /// Leading tokens whose keys and values are in the table's pages once all submitted steps have run.
    pub(crate) num_scheduled: u32,
    /// Tokens being sampled by steps in flight.
    pub(crate) num_pending_samples: u32,
    /// Once it has slid: shifted copies of the pinned pages, then the recent pages.
    pub(crate) table: BlockTable,
    /// Once it has slid: the pinned pages as they were computed.
    pub(crate) originals: Vec<BlockId>,
    /// Tokens between the pinned and the recent ones that have left the context.
    num_dropped: u32,
    /// The most of those that anybody was told of.
    num_dropped_reported: u32,
    /// It lost its pages and has not caught up yet.
    pub(crate) is_catching_up: bool,
    pub(crate) slot: Option<SamplerSlot>,
    /// The slot has not been told about this sequence yet.
    pub(crate) needs_slot_reset: bool,
    /// The last plan of the scheduler that had rows of it; 0 for none.
    pub(crate) last_round: u64,
    /// The plan after which it was queued, or in which it was put back.
    pub(crate) waiting_since_round: u64,
    /// The last plan for which it was looked at.
    pub(crate) considered_round: u64,
    /// Tokens that had been generated when it was last admitted.
    pub(crate) num_generated_at_admission: u32,

    stats: SequenceStats,
    added_ms: f64,
    first_scheduled_ms: Option<f64>,
    first_token_ms: Option<f64>,
}

impl Sequence {
    pub(crate) fn new(
        id: SequenceId,
        request: SequenceRequest,
        max_new_tokens: u32,
        window: Option<SlidingWindow>,
        mut rng: Rng,
        now_ms: f64,
    ) -> Self {
        let num_prompt_tokens = request.prompt.len();
        let stats = SequenceStats { prompt_tokens: num_prompt_tokens as u32, ..SequenceStats::default() };
        let mut tokens = request.prompt;
        tokens.extend_from_slice(&request.generated);
        rng.skip(request.generated.len());
        let num_dropped_before = window
            .filter(|_| !request.generated.is_empty())
            .map_or(0, |w| w.dropped_before(tokens.len() as u32 - 1));
        Self {
            id,
            owner: request.owner,
            num_prompt_tokens,
            tokens,
            window,
            prefill_only: request.prefill_only,
            max_new_tokens,
            settings: request.settings,
            bias: request.bias,
            rng,
            reply: Reply::new(request.stop_tokens, request.stop_strings, request.ignore_eos),
            num_scheduled: 0,
            num_pending_samples: 0,
            table: BlockTable::new(request.owner),
            originals: Vec::new(),
            num_dropped: 0,
            num_dropped_reported: num_dropped_before,
            is_catching_up: false,
            slot: None,
            needs_slot_reset: false,
            last_round: 0,
            waiting_since_round: 0,
            considered_round: 0,
            num_generated_at_admission: 0,
            stats,
            added_ms: now_ms,
            first_scheduled_ms: None,
            first_token_ms: None,
        }
    }

    /// Tokens that exist: known ones and those being sampled.
    pub(crate) fn len_tokens(&self) -> u32 {
        self.tokens.len() as u32 + self.num_pending_samples
    }

    /// Rows that it needs to have its newest token predicted upon.
    pub(crate) fn num_behind(&self) -> u32 {
        self.len_tokens() - self.num_scheduled
    }

    /// Tokens generated that have come back.
    pub(crate) fn num_generated(&self) -> u32 {
        (self.tokens.len() - self.num_prompt_tokens) as u32
    }

    /// The generated tokens.
    pub(crate) fn generated(&self) -> &[TokenId] {
        &self.tokens[self.num_prompt_tokens..]
    }

    /// False once the last token that it may have is being sampled: another row would be for nothing.
    pub(crate) fn wants_rows(&self) -> bool {
        self.num_generated() + self.num_pending_samples < self.max_new_tokens
    }

    /// True when it has generated all that it may.
    pub(crate) fn is_full(&self) -> bool {
        self.num_generated() >= self.max_new_tokens
    }

    /// How its context slides; `None` where it ends when it is full.
    pub(crate) fn window(&self) -> Option<&SlidingWindow> {
        self.window.as_ref()
    }

    /// Tokens that have left the context.
    pub(crate) fn num_dropped(&self) -> u32 {
        self.num_dropped
    }

    /// Where a token lies among those that are in the context.
    pub(crate) fn place_in_context(&self, index: u32) -> u32 {
        index - self.num_dropped
    }

    /// Tokens that a table must have pages for when the sequence starts: all that are known, or a whole window of them.
    pub(crate) fn tokens_to_admit(&self) -> &[TokenId] {
        let most = self.window.map_or(usize::MAX, |window| window.num_tokens() as usize);
        &self.tokens[..self.tokens.len().min(most)]
    }

    /// Sees to it that it ends before it needs more than `max_pages` pages. Returns how many it needs to start.
    pub(crate) fn limit_pages(&mut self, max_pages: u32, page_tokens: u32) -> u32 {
        let fits = self.window.is_some_and(|window| window.num_pages + window.num_pinned <= max_pages);
        if !fits {
            // A context that would slide later than it can ends where it would have slid.
            let num_pages = self.window.map_or(max_pages, |window| window.num_pages.min(max_pages));
            // The last token is never fed back, so it needs no room.
            let most_tokens = num_pages.saturating_mul(page_tokens).saturating_add(1);
            let most_new_tokens = most_tokens.saturating_sub(self.num_prompt_tokens as u32);
            self.max_new_tokens = self.max_new_tokens.min(most_new_tokens);
        }
        (self.tokens_to_admit().len() as u32).div_ceil(page_tokens)
    }

    /// A page has left the context; returns the tokens that have left in all.
    pub(crate) fn note_slid(&mut self) -> u32 {
        self.num_dropped += self.window.map_or(0, |window| window.page_tokens);
        self.num_dropped
    }

    /// What has left the context, if nobody has been told of that much.
    pub(crate) fn take_unreported_drop(&mut self) -> Option<u32> {
        let is_news = self.num_dropped > self.num_dropped_reported;
        self.num_dropped_reported = self.num_dropped_reported.max(self.num_dropped);
        is_news.then_some(self.num_dropped)
    }

    /// Takes a token that has come back.
    pub(crate) fn accept(&mut self, token: TokenId, now_ms: f64) {
        self.num_pending_samples -= 1;
        self.tokens.push(token);
        self.first_token_ms.get_or_insert(now_ms);
    }

    /// Notes how many tokens were found in the cache when it was admitted.
    pub(crate) fn note_cached(&mut self, num_cached_tokens: u32) {
        // What is found again after a preemption was this sequence's own doing.
        if self.stats.preemptions == 0 {
            self.stats.cached_tokens = num_cached_tokens.min(self.num_prompt_tokens as u32);
        }
    }

    /// Notes that others have computed more of it since it was admitted.
    pub(crate) fn note_late_hits(&mut self, num_tokens: u32) {
        if self.stats.preemptions == 0 {
            let cached_tokens = self.stats.cached_tokens + num_tokens;
            self.stats.cached_tokens = cached_tokens.min(self.num_prompt_tokens as u32);
        }
    }

    /// Notes that a step has rows of it.
    pub(crate) fn note_scheduled(&mut self, round: u64, now_ms: f64) {
        self.last_round = round;
        self.first_scheduled_ms.get_or_insert(now_ms);
    }

    /// Forgets its place on the GPU; the pages and the slot have been given back. Tokens, draws and text stay.
    pub(crate) fn note_preempted(&mut self, round: u64) {
        self.waiting_since_round = round;
        self.num_scheduled = 0;
        self.num_dropped = 0;
        self.is_catching_up = true;
        self.stats.preemptions += 1;
    }

    /// What the sampler slot must know before the next row runs.
    pub(crate) fn slot_reset(&self, slot: SamplerSlot) -> SlotReset {
        let mut generated = self.generated().to_vec();
        generated.sort_unstable();
        let counts = generated.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u32)).collect();
        SlotReset { slot, counts, bias: self.bias.clone() }
    }

    /// The numbers as of now.
    pub(crate) fn stats(&self, now_ms: f64) -> SequenceStats {
        let scheduled_ms = self.first_scheduled_ms.unwrap_or(now_ms);
        let token_ms = self.first_token_ms.unwrap_or(now_ms);
        SequenceStats {
            completion_tokens: self.num_generated(),
            queued_ms: scheduled_ms - self.added_ms,
            prefill_ms: token_ms - scheduled_ms,
            decode_ms: now_ms - token_ms,
            ..self.stats
        }
    }
}
