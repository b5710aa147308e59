//! A reply under way: the engine's events as web-llm's chunks, or all of them as one completion.
//!
//! Chunks and completion are made from the same events, so streamed text and whole text are the same text.

use std::collections::VecDeque;

use futures::StreamExt;
use hearth_protocol::completion::{
    ASSISTANT, AssistantMessage, CHAT_COMPLETION, CHAT_COMPLETION_CHUNK, ChatCompletion, ChatCompletionChunk,
    Choice, ChunkChoice, CompletionUsage, Delta, FinishReason,
};

use super::failure::ChatError;
use super::owners::Owners;
use super::usage;
use crate::driver::{EngineHandle, Generation};
use crate::error::EngineError;
use crate::ids::{OwnerId, SequenceId};
use crate::sequence::{self, Finish, SequenceEvent};

/// What is the same in all chunks of a reply.
#[derive(Debug, Clone)]
pub(super) struct ReplyHead {
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model_id: String,
    pub(super) owner: OwnerId,
    pub(super) window_tokens: u32,
    pub(super) wants_usage_chunk: bool,
}

/// A reply under way. Dropping it cancels the generation.
pub struct ChatReply {
    head: ReplyHead,
    engine: EngineHandle,
    owners: Owners,
    generation: Generation,
    /// Chunks that are ready.
    ready: VecDeque<ChatCompletionChunk>,
    has_ended: bool,
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
    Text(String),
    Ended(FinishReason, CompletionUsage),
}

impl ChatReply {
    pub(super) fn new(head: ReplyHead, engine: EngineHandle, owners: Owners, generation: Generation) -> Self {
        owners.started(head.owner, generation.id);
        Self { head, engine, owners, generation, ready: VecDeque::new(), has_ended: false }
    }

    /// Unique; a bare UUID.
    pub fn id(&self) -> &str {
        &self.head.id
    }

    /// The next chunk: text as it comes, then why the reply ended, then the usage if that was asked for. `None` when
    /// there is nothing more, also after an error.
    pub async fn next_chunk(&mut self) -> Option<Result<ChatCompletionChunk, ChatError>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Some(Ok(chunk));
            }
            if self.has_ended {
                return None;
            }
            match self.next_progress().await {
                Ok(Progress::Text(text)) if text.is_empty() => {}
                Ok(Progress::Text(text)) => return Some(Ok(self.text_chunk(text))),
                Ok(Progress::Ended(reason, usage)) => {
                    let end = self.end_chunk(reason);
                    self.ready.push_back(end);
                    if self.head.wants_usage_chunk {
                        let last = self.chunk(Vec::new(), Some(usage));
                        self.ready.push_back(last);
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// A chunk that is there already, without waiting: to send several at once to a page that is behind.
    pub fn ready_chunk(&mut self) -> Option<Result<ChatCompletionChunk, ChatError>> {
        use futures::FutureExt;
        self.next_chunk().now_or_never().flatten()
    }

    /// Waits for the whole reply.
    ///
    /// # Errors
    /// The engine failed or the model was unloaded; text that had come is lost to this caller.
    pub async fn collect(mut self) -> Result<ChatCompletion, ChatError> {
        let mut content = String::new();
        loop {
            match self.next_progress().await? {
                Progress::Text(text) => content.push_str(&text),
                Progress::Ended(finish_reason, usage) => {
                    let message = AssistantMessage { content: Some(content), role: ASSISTANT };
                    return Ok(ChatCompletion {
                        id: self.head.id.clone(),
                        choices: vec![Choice { finish_reason, index: 0, logprobs: None, message }],
                        model: self.head.model_id.clone(),
                        object: CHAT_COMPLETION,
                        created: self.head.created,
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
            Some(SequenceEvent::Delta { text, .. }) => {
                self.owners.said(self.head.owner, self.generation.id, &text);
                return Ok(Progress::Text(text));
            }
            Some(SequenceEvent::Finished(finish)) => self.finish(finish),
            None => Err(EngineError::Stopped.into()),
        };
        self.has_ended = true;
        self.owners.ended(self.head.owner, self.generation.id);
        result
    }

    fn finish(&self, finish: Finish) -> Result<Progress, ChatError> {
        let reason = match finish.reason {
            sequence::FinishReason::Stop => FinishReason::Stop,
            sequence::FinishReason::Length => FinishReason::Length,
            sequence::FinishReason::Abort => FinishReason::Abort,
            sequence::FinishReason::Failed(error) => return Err(error.into()),
        };
        let stats = &finish.stats;
        let context_tokens = usage::context_tokens(stats);
        self.owners.finished(self.head.owner, self.generation.id, usage::rates(stats), context_tokens);
        Ok(Progress::Ended(reason, usage::usage(stats, self.head.window_tokens)))
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
            id: self.head.id.clone(),
            choices,
            model: self.head.model_id.clone(),
            object: CHAT_COMPLETION_CHUNK,
            created: self.head.created,
            usage,
        }
    }
}

impl Drop for ChatReply {
    fn drop(&mut self) {
        self.owners.ended(self.head.owner, self.generation.id);
    }
}
