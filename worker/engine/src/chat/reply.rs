//! A reply under way: the engine's events as web-llm's chunks, or all of them as one completion.
//!
//! Chunks and completion are made from the same events, so streamed text and whole text are the same text.

use std::collections::VecDeque;

use futures::StreamExt;
use hearth_protocol::completion::{
    ASSISTANT, AssistantMessage, CHAT_COMPLETION, CHAT_COMPLETION_CHUNK, ChatCompletion, ChatCompletionChunk,
    Choice, ChunkChoice, CompletionUsage, Delta, FinishReason,
};
use hearth_protocol::context::{ContextEvent, EvictionReason, ReplySnapshot, RestoreSource};

use super::failure::ChatError;
use super::meter::Meter;
use super::speakers::{Speaker, Speakers};
use super::usage;
use crate::driver::{EngineHandle, Generation};
use crate::error::EngineError;
use crate::ids::{SequenceId, TokenId};
use crate::sequence::{self, Finish, SequenceEvent};

/// What is the same throughout a reply.
#[derive(Debug, Clone)]
pub(super) struct ReplyHead {
    pub(super) model_id: String,
    pub(super) speaker: Speaker,
    pub(super) wants_usage_chunk: bool,
    pub(super) block_size_tokens: u32,
    /// What the reply began as.
    pub(super) begun: ReplySnapshot,
    /// The text of the tokens that it goes on from.
    pub(super) text: String,
}

/// A reply under way. Dropping it cancels the generation.
pub struct ChatReply {
    head: ReplyHead,
    engine: EngineHandle,
    speakers: Speakers,
    generation: Generation,
    meter: Meter,
    /// Tokens whose text has been let out, those that it goes on from included.
    tokens: Vec<u32>,
    text: String,
    /// Parts that are ready.
    ready: VecDeque<ReplyPart>,
    has_ended: bool,
}

/// The next of what a reply gives.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReplyPart {
    /// For the page.
    pub chunk: Option<ChatCompletionChunk>,
    /// Ids of the tokens whose text is let out with the chunk.
    pub tokens: Vec<TokenId>,
    /// Something was done to the context.
    pub event: Option<ContextEvent>,
}

impl ReplyPart {
    fn event(event: ContextEvent) -> Self {
        Self { event: Some(event), ..Self::default() }
    }

    fn chunk(chunk: ChatCompletionChunk, tokens: Vec<TokenId>) -> Self {
        Self { chunk: Some(chunk), tokens, event: None }
    }
}

/// Cancels a reply that somebody else is waiting for.
#[derive(Clone)]
pub struct ReplyCanceller {
    engine: EngineHandle,
    sequence: SequenceId,
}

impl ReplyCanceller {
    /// Ends the reply early; it then comes with what there is and the finish reason `abort`. Does nothing when the reply
    /// has ended.
    pub fn cancel(&self) {
        self.engine.cancel(self.sequence);
    }
}

/// What an event means for the reply.
enum Progress {
    Text { text: String, tokens: Vec<TokenId> },
    Context(Option<ContextEvent>),
    Ended(FinishReason, CompletionUsage),
}

impl ChatReply {
    pub(super) fn new(
        head: ReplyHead,
        engine: EngineHandle,
        speakers: Speakers,
        generation: Generation,
        near_limit_fraction: f64,
    ) -> Self {
        speakers.started(&head.speaker, generation.id, &head.text);
        let meter = Meter::new(&head.begun, head.block_size_tokens, near_limit_fraction);
        speakers.said(&head.speaker, generation.id, "", meter.used());
        Self {
            tokens: head.begun.tokens.clone(),
            text: head.text.clone(),
            head,
            engine,
            speakers,
            generation,
            meter,
            ready: VecDeque::new(),
            has_ended: false,
        }
    }

    /// Tells what the overflow policy did, and whether room is short from the start.
    pub(super) fn tell_of_beginning(&mut self, overflow: Option<ContextEvent>) {
        self.ready.extend(overflow.map(ReplyPart::event));
        if self.speakers.note_near_limit(&self.head.speaker, self.meter.is_near_limit()) {
            self.ready.push_back(ReplyPart::event(self.meter.near_limit()));
        }
    }

    /// The same for a reply that goes on: all that has been told.
    pub(super) fn note_beginning(&self) {
        self.speakers.note_near_limit(&self.head.speaker, self.meter.is_near_limit());
    }

    /// Unique; a bare UUID.
    pub fn id(&self) -> &str {
        &self.head.begun.id
    }

    /// What the reply began as: without tokens, or with those that it goes on from.
    pub fn begin(&self) -> &ReplySnapshot {
        &self.head.begun
    }

    /// What it takes to go on with the reply after the parts that have been taken.
    pub fn snapshot(&self) -> ReplySnapshot {
        ReplySnapshot { tokens: self.tokens.clone(), ..self.head.begun.clone() }
    }

    /// The next part: text as it comes, then why the reply ended, then the usage if that was asked for; in between, what
    /// was done to the context. `None` when there is nothing more, also after an error.
    pub async fn next_chunk(&mut self) -> Option<Result<ReplyPart, ChatError>> {
        loop {
            if let Some(part) = self.ready.pop_front() {
                return Some(Ok(part));
            }
            if self.has_ended {
                return None;
            }
            match self.next_progress().await {
                Ok(Progress::Text { text, tokens }) => {
                    let chunk = self.text_chunk(text);
                    self.ready.push_front(ReplyPart::chunk(chunk, tokens));
                }
                Ok(Progress::Context(event)) => self.ready.extend(event.map(ReplyPart::event)),
                Ok(Progress::Ended(reason, usage)) => {
                    let end = self.end_chunk(reason);
                    self.ready.push_back(ReplyPart::chunk(end, Vec::new()));
                    if self.head.wants_usage_chunk {
                        let last = self.chunk(Vec::new(), Some(usage));
                        self.ready.push_back(ReplyPart::chunk(last, Vec::new()));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// A part that is there already, without waiting: to send several at once to a page that is behind.
    pub fn ready_chunk(&mut self) -> Option<Result<ReplyPart, ChatError>> {
        use futures::FutureExt;
        self.next_chunk().now_or_never().flatten()
    }

    /// Waits for the whole reply: also the text of the tokens that it goes on from, and of parts taken before.
    ///
    /// # Errors
    /// The engine failed or the model was unloaded; [`Self::snapshot`] then has what there was.
    pub async fn collect(&mut self) -> Result<ChatCompletion, ChatError> {
        self.collect_with(|_| {}).await
    }

    /// As [`Self::collect`]; what is done to the context meanwhile goes to `on_event`.
    ///
    /// # Errors
    /// As [`Self::collect`].
    pub async fn collect_with(
        &mut self,
        mut on_event: impl FnMut(ContextEvent),
    ) -> Result<ChatCompletion, ChatError> {
        loop {
            self.ready.drain(..).filter_map(|part| part.event).for_each(&mut on_event);
            match self.next_progress().await? {
                Progress::Text { .. } => {}
                Progress::Context(event) => event.into_iter().for_each(&mut on_event),
                Progress::Ended(finish_reason, usage) => {
                    self.ready.drain(..).filter_map(|part| part.event).for_each(&mut on_event);
                    let message = AssistantMessage { content: Some(self.text.clone()), role: ASSISTANT };
                    return Ok(ChatCompletion {
                        id: self.head.begun.id.clone(),
                        choices: vec![Choice { finish_reason, index: 0, logprobs: None, message }],
                        model: self.head.model_id.clone(),
                        object: CHAT_COMPLETION,
                        created: self.head.begun.created,
                        usage: Some(usage),
                    });
                }
            }
        }
    }

    /// Ends the reply early: the last chunks still come, with the finish reason `abort`.
    pub fn cancel(&self) {
        self.engine.cancel(self.generation.id);
    }

    /// To cancel while [`Self::collect`] or [`Self::next_chunk`] is being waited for.
    pub fn canceller(&self) -> ReplyCanceller {
        ReplyCanceller { engine: self.engine.clone(), sequence: self.generation.id }
    }

    async fn next_progress(&mut self) -> Result<Progress, ChatError> {
        let result = match self.generation.events.next().await {
            Some(SequenceEvent::Delta { text, tokens }) => return Ok(self.take_text(text, tokens)),
            Some(SequenceEvent::Slid { dropped_tokens }) => {
                self.meter.slid(dropped_tokens);
                return Ok(Progress::Context(self.meter.due_slide()));
            }
            Some(SequenceEvent::Preempted { tokens }) => {
                let pages = tokens.div_ceil(self.head.block_size_tokens);
                let reason = self.eviction_reason();
                return Ok(Progress::Context(Some(ContextEvent::Evicted { pages, tokens, reason })));
            }
            Some(SequenceEvent::Restored { tokens }) => {
                let source = RestoreSource::Recomputed;
                return Ok(Progress::Context(Some(ContextEvent::Restored { tokens, source })));
            }
            Some(SequenceEvent::Finished(finish)) => self.finish(finish),
            None => Err(EngineError::Stopped.into()),
        };
        self.has_ended = true;
        self.note_ended();
        result
    }

    fn take_text(&mut self, text: String, tokens: Vec<TokenId>) -> Progress {
        self.text.push_str(&text);
        self.tokens.extend(tokens.iter().map(|token| token.0));
        self.meter.generated(self.tokens.len() as u32);
        let speaker = &self.head.speaker;
        self.speakers.said(speaker, self.generation.id, &text, self.meter.used());
        if self.meter.is_near_limit() && self.speakers.note_near_limit(speaker, true) {
            self.ready.push_back(ReplyPart::event(self.meter.near_limit()));
        }
        self.ready.extend(self.meter.due_slide().map(ReplyPart::event));
        Progress::Text { text, tokens }
    }

    /// A frozen tab's replies are preempted too.
    fn eviction_reason(&self) -> EvictionReason {
        let owners = self.engine.usage().owners;
        let is_paused =
            |owner: &crate::engine::OwnerUsage| owner.owner == self.head.speaker.owner && owner.paused;
        if owners.iter().any(is_paused) { EvictionReason::Frozen } else { EvictionReason::Preempted }
    }

    fn finish(&mut self, finish: Finish) -> Result<Progress, ChatError> {
        let reason = match finish.reason {
            sequence::FinishReason::Stop => FinishReason::Stop,
            sequence::FinishReason::Length => FinishReason::Length,
            sequence::FinishReason::Abort => FinishReason::Abort,
            sequence::FinishReason::Failed(error) => return Err(error.into()),
        };
        let stats = &finish.stats;
        self.meter.generated(stats.completion_tokens);
        self.ready.extend(self.meter.last_slide().map(ReplyPart::event));
        let report = self.meter.report();
        self.speakers.finished(&self.head.speaker, self.generation.id, usage::rates(stats), report.used);
        Ok(Progress::Ended(reason, usage::usage(stats, report)))
    }

    fn note_ended(&self) {
        let tokens = || self.head.begun.prompt.iter().chain(&self.tokens).copied().map(TokenId).collect();
        self.speakers.ended(&self.head.speaker, self.generation.id, tokens);
    }

    fn text_chunk(&self, text: String) -> ChatCompletionChunk {
        let delta = Delta { content: Some(text), role: Some(ASSISTANT) };
        self.chunk(vec![ChunkChoice { delta, finish_reason: None, index: 0, logprobs: Some(None) }], None)
    }

    fn end_chunk(&self, reason: FinishReason) -> ChatCompletionChunk {
        let delta = Delta::default();
        self.chunk(vec![ChunkChoice { delta, finish_reason: Some(reason), index: 0, logprobs: None }], None)
    }

    fn chunk(&self, choices: Vec<ChunkChoice>, usage: Option<CompletionUsage>) -> ChatCompletionChunk {
        ChatCompletionChunk {
            id: self.head.begun.id.clone(),
            choices,
            model: self.head.model_id.clone(),
            object: CHAT_COMPLETION_CHUNK,
            created: self.head.begun.created,
            usage,
        }
    }
}

impl Drop for ChatReply {
    fn drop(&mut self) {
        self.note_ended();
    }
}
