//! A loaded model that can chat: checks requests, makes prompts, starts replies, and answers for each speaker.

use std::future::Future;
use std::rc::Rc;

use futures::StreamExt;
use hearth_protocol::chat::{ChatCompletionRequest, ChatMessage, StopStrings};
use hearth_protocol::context::{ContextUsage, ReplySnapshot};
use hearth_protocol::reply::{AppendReply, UsageReport};
use serde_json::Value;

use super::context::{Asked, ContextPlan, Memories, Planner, Room};
use super::failure::ChatError;
use super::identity::Identities;
use super::options::{TabOptions, not_negative};
use super::reply::{ChatReply, ReplyHead};
use super::speakers::{Speaker, Speakers};
use super::{snapshot, validate, values};
use crate::documents::{self, ChunkOptions, CompressOptions};
use crate::driver::EngineHandle;
use crate::error::EngineError;
use crate::ids::{OwnerId, TokenId};
use crate::sequence::{ContextLimits, FinishReason, SequenceEvent, SequenceRequest, WhenFull};
use crate::template::{ChatTemplate, TemplateVariables};
use crate::tokenizer::Tokenizer;

/// What a model needs to chat.
pub struct ChatParts {
    /// The name by which requests ask for it.
    pub model_id: String,
    /// Its vocabulary.
    pub tokenizer: Rc<Tokenizer>,
    /// Its template.
    pub template: ChatTemplate,
    /// What generates.
    pub engine: EngineHandle,
    /// Names and dates for replies.
    pub identities: Rc<dyn Identities>,
}

/// A loaded model that can chat.
pub struct ChatModel {
    parts: ChatParts,
    speakers: Speakers,
    memories: Memories,
    block_size_tokens: u32,
}

impl ChatModel {
    /// Nothing has been said yet.
    pub fn new(parts: ChatParts) -> Self {
        let block_size_tokens = parts.engine.usage().block_size_tokens;
        Self { parts, speakers: Speakers::default(), memories: Memories::default(), block_size_tokens }
    }

    /// The name by which requests ask for it.
    pub fn model_id(&self) -> &str {
        &self.parts.model_id
    }

    /// Tokens of prompt and reply together that any tab can have.
    pub fn window_tokens(&self) -> u32 {
        self.parts.engine.context_window_tokens()
    }

    /// What generates.
    pub fn engine(&self) -> &EngineHandle {
        &self.parts.engine
    }

    /// Checks what web-llm checks when a stream is created; [`Self::start`] checks the rest, which web-llm finds when the
    /// first chunk is asked for.
    ///
    /// # Errors
    /// The first thing that is wrong with messages or fields.
    pub fn check(&self, request: &ChatCompletionRequest) -> Result<(), ChatError> {
        Ok(validate::check_fields(request, &self.parts.model_id)?)
    }

    /// Starts a reply. It generates whether or not anybody asks for its chunks, until it is dropped.
    ///
    /// # Errors
    /// The request makes no sense, what the policy must keep of it does not fit, or the engine does not take it.
    pub fn start(
        &self,
        request: &ChatCompletionRequest,
        speaker: &Speaker,
        options: &TabOptions,
    ) -> Result<ChatReply, ChatError> {
        let plan = self.plan_request(request, speaker, options)?;
        let seed = match &request.seed {
            Some(seed) => validate::read_seed(seed)?,
            None => (self.parts.identities.entropy() >> 1) as i64,
        };
        let overflow = plan.overflow();
        let begun = ReplySnapshot {
            id: self.parts.identities.reply_id(),
            created: self.parts.identities.unix_time_s(),
            seed: snapshot::small_seed(seed),
            prompt: plan.prompt.iter().map(|token| token.0).collect(),
            tokens: Vec::new(),
            context_tokens: plan.limits.max_tokens,
            pinned_tokens: match plan.limits.when_full {
                WhenFull::Stop => None,
                WhenFull::Slide { pinned_tokens } => Some(pinned_tokens),
            },
            max_new_tokens: plan.max_new_tokens,
            report: plan.report,
        };
        let mut reply = self.launch(request, begun, speaker, options)?;
        reply.tell_of_beginning(overflow);
        Ok(reply)
    }

    /// Goes on with a reply that an earlier run began, with the next token.
    ///
    /// # Errors
    /// As [`Self::start`], or the snapshot cannot have come from this model.
    pub fn resume(
        &self,
        request: &ChatCompletionRequest,
        snapshot: ReplySnapshot,
        speaker: &Speaker,
        options: &TabOptions,
    ) -> Result<ChatReply, ChatError> {
        self.check(request)?;
        values::check_values(request)?;
        snapshot::check(&snapshot, self.parts.tokenizer.vocab_size())?;
        self.parts.engine.set_owner_budget(speaker.owner, options.budget);
        let reply = self.launch(request, snapshot, speaker, options)?;
        reply.note_beginning();
        Ok(reply)
    }

    fn launch(
        &self,
        request: &ChatCompletionRequest,
        begun: ReplySnapshot,
        speaker: &Speaker,
        options: &TabOptions,
    ) -> Result<ChatReply, ChatError> {
        let ChatParts { tokenizer, engine, .. } = &self.parts;
        let stop_strings = request.stop.as_ref().map_or(&[][..], StopStrings::as_slice);
        let ignore_eos = request.ignore_eos.unwrap_or(false);
        let tokens = |ids: &[u32]| ids.iter().copied().map(TokenId).collect();
        let sequence = SequenceRequest {
            settings: values::settings(request, &options.sampling),
            bias: values::logit_bias(request, tokenizer.vocab_size()),
            seed: Some(begun.seed),
            max_tokens: begun.max_new_tokens,
            stop_tokens: tokenizer.end_of_turn().to_vec(),
            stop_strings: stop_strings.to_vec(),
            ignore_eos,
            context: ContextLimits {
                max_tokens: begun.context_tokens,
                when_full: begun
                    .pinned_tokens
                    .map_or(WhenFull::Stop, |pinned_tokens| WhenFull::Slide { pinned_tokens }),
            },
            generated: tokens(&begun.tokens),
            ..SequenceRequest::new(speaker.owner, tokens(&begun.prompt))
        };
        let generation = engine.submit(sequence)?;
        let head = ReplyHead {
            model_id: self.parts.model_id.clone(),
            speaker: speaker.clone(),
            wants_usage_chunk: request.wants_usage_chunk(),
            block_size_tokens: self.block_size_tokens,
            text: snapshot::text_so_far(&begun, tokenizer, stop_strings, ignore_eos),
            begun,
        };
        let fraction = options.near_limit_fraction;
        Ok(ChatReply::new(head, engine.clone(), self.speakers.clone(), generation, fraction))
    }

    /// Reads a conversation into the cache ahead of a question. Dropping the future gives it up.
    ///
    /// # Errors
    /// The conversation makes no sense or what the policy must keep of it does not fit; later, the engine failed.
    pub fn append(
        &self,
        messages: &[ChatMessage],
        speaker: &Speaker,
        options: &TabOptions,
    ) -> Result<impl Future<Output = Result<AppendReply, ChatError>> + use<>, ChatError> {
        validate::check_history(messages, &self.parts.model_id).map_err(ChatError::Message)?;
        self.parts.engine.set_owner_budget(speaker.owner, options.budget);
        let plan = self.planner().plan(Asked {
            messages,
            variables: TemplateVariables::default(),
            begins_reply: false,
            policy: options.policy,
            room: self.room(speaker, options, options.reserve_output_tokens, None),
            sink_tokens: options.sink_tokens(),
            max_tokens: None,
        })?;
        let mut generation = self.parts.engine.submit(SequenceRequest {
            context: plan.limits,
            prefill_only: true,
            ..SequenceRequest::new(speaker.owner, plan.prompt.clone())
        })?;
        let (speakers, speaker) = (self.speakers.clone(), speaker.clone());
        Ok(async move {
            while let Some(event) = generation.events.next().await {
                let SequenceEvent::Finished(finish) = event else { continue };
                if let FinishReason::Failed(error) = finish.reason {
                    return Err(error.into());
                }
                speakers.read(&speaker, plan.prompt);
                let stats = finish.stats;
                return Ok(AppendReply { tokens: stats.prompt_tokens, cached_tokens: stats.cached_tokens });
            }
            Err(EngineError::Stopped.into())
        })
    }

    /// The tokens that the model would read to answer a request.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn prompt_of(
        &self,
        request: &ChatCompletionRequest,
        speaker: &Speaker,
        options: &TabOptions,
    ) -> Result<Vec<TokenId>, ChatError> {
        Ok(self.plan_request(request, speaker, options)?.prompt)
    }

    fn plan_request(
        &self,
        request: &ChatCompletionRequest,
        speaker: &Speaker,
        options: &TabOptions,
    ) -> Result<ContextPlan, ChatError> {
        self.check(request)?;
        values::check_values(request)?;
        self.parts.engine.set_owner_budget(speaker.owner, options.budget);
        let own = request.hearth.unwrap_or_default();
        let reserve = match own.reserve_output_tokens {
            Some(tokens) => Some(not_negative("hearth.reserveOutputTokens", tokens)? as u32),
            None => options.reserve_output_tokens,
        };
        let max_tokens = values::max_tokens(request);
        self.planner().plan(Asked {
            messages: &request.messages,
            variables: variables(request),
            begins_reply: true,
            policy: own.overflow_policy.unwrap_or(options.policy),
            room: self.room(speaker, options, reserve, max_tokens),
            sink_tokens: options.sink_tokens(),
            max_tokens,
        })
    }

    fn planner(&self) -> Planner<'_> {
        let ChatParts { template, tokenizer, .. } = &self.parts;
        Planner { template, tokenizer, memories: &self.memories }
    }

    fn room(
        &self,
        speaker: &Speaker,
        options: &TabOptions,
        reserve: Option<u32>,
        max_tokens: Option<u32>,
    ) -> Room {
        let window = options.window(self.window_tokens());
        Room::new(window, self.parts.engine.budget_tokens(speaker.owner), reserve, max_tokens)
    }

    /// Tokens of a conversation up to where the reply begins, whether or not it has room.
    ///
    /// # Errors
    /// The template refuses it.
    pub fn measure_messages(&self, messages: &[ChatMessage]) -> Result<u32, ChatError> {
        validate::check_history(messages, &self.parts.model_id).map_err(ChatError::Message)?;
        self.planner().measure(messages, TemplateVariables::default())
    }

    /// Tokens of a text as it is.
    ///
    /// # Errors
    /// The tokenizer failed.
    pub fn measure_text(&self, text: &str) -> Result<u32, ChatError> {
        let tokens = self.parts.tokenizer.encode(text)?;
        Ok(u32::try_from(tokens.len()).unwrap_or(u32::MAX))
    }

    /// Cuts a text into pieces of at most `max_tokens`.
    ///
    /// # Errors
    /// The numbers contradict each other, or the text is too long.
    pub fn chunk(
        &self,
        text: &str,
        max_tokens: u32,
        overlap_tokens: u32,
    ) -> Result<Vec<documents::Chunk>, ChatError> {
        let options = ChunkOptions { max_tokens, overlap_tokens };
        Ok(documents::chunk(text, options, &*self.parts.tokenizer)?)
    }

    /// Shortens a text to at most `max_tokens`, keeping what matters for `query`.
    ///
    /// # Errors
    /// Nothing could fit, or the text is too long.
    pub fn compress(
        &self,
        text: &str,
        max_tokens: u32,
        query: Option<&str>,
    ) -> Result<documents::Compressed, ChatError> {
        let options = CompressOptions { max_tokens, query };
        Ok(documents::compress(text, options, &*self.parts.tokenizer)?)
    }

    /// A new branch of an owner begins as the conversation `from` is now; its pages are kept as if it had just read them.
    pub fn fork(&self, owner: OwnerId, from: Option<&str>, branch: &str) {
        let from = Speaker { owner, branch: from.map(str::to_owned) };
        self.speakers.fork(&from, branch);
        self.parts.engine.touch_prefix(owner, &self.speakers.tokens(&from));
    }

    /// A branch is no longer wanted: ends its replies and forgets it.
    pub fn close_branch(&self, owner: OwnerId, branch: &str) {
        let speaker = Speaker { owner, branch: Some(branch.to_owned()) };
        self.interrupt(&speaker);
        self.speakers.close(&speaker);
    }

    /// Ends all of a speaker's replies early; those of others go on.
    pub fn interrupt(&self, speaker: &Speaker) {
        for sequence in self.speakers.running(speaker) {
            self.parts.engine.cancel(sequence);
        }
    }

    /// The text of the reply that the speaker started last, as far as it has been taken; empty when there is none.
    pub fn message(&self, speaker: &Speaker) -> String {
        self.speakers.message(speaker)
    }

    /// Speed of the reply that the speaker started last, in web-llm's words.
    pub fn runtime_stats_text(&self, speaker: &Speaker) -> String {
        self.speakers.stats_text(speaker)
    }

    /// The room of a conversation.
    pub fn context(&self, speaker: &Speaker, options: &TabOptions) -> ContextUsage {
        let engine = &self.parts.engine;
        let room = self.room(speaker, options, options.reserve_output_tokens, None);
        let owners = engine.usage().owners;
        let held = owners.iter().find(|held| held.owner == speaker.owner);
        ContextUsage {
            used: self.speakers.context_tokens(speaker),
            window: room.window,
            budget: room.budget,
            reserved: room.reserve,
            pages_held: held.map_or(0.0, |held| held.held_pages),
            pages_shared: held.map_or(0, |held| held.shared_pages),
            cached_tokens: engine.cached_tokens(&self.speakers.tokens(speaker)),
        }
    }

    /// The state of the cache, and the speaker's part in it. What the device uses is for the host to add.
    pub fn usage(&self, speaker: &Speaker) -> UsageReport {
        let usage = self.parts.engine.usage();
        let held = usage.owners.iter().find(|held| held.owner == speaker.owner);
        let is_at_work = held.is_some_and(|held| held.running + held.waiting > 0);
        UsageReport {
            pages_total: usage.pages.total,
            pages_free: usage.pages.free,
            pages_cached: usage.pages.cached,
            pages_held: held.map_or(0.0, |held| held.held_pages),
            block_size_tokens: usage.block_size_tokens,
            // What the cache holds of a reply under way; between replies, the conversation that the last one ended.
            context_tokens: held
                .filter(|_| is_at_work)
                .map_or_else(|| self.speakers.context_tokens(speaker), |held| held.tokens),
            window_tokens: usage.context_window_tokens,
            running: usage.running,
            waiting: usage.waiting,
            device: None,
        }
    }

    /// Forgets the speaker's conversation, and the speed unless `keep_stats`. Each request brings its whole conversation,
    /// so nothing else is kept; the cache stays, for it is shared.
    pub fn reset(&self, speaker: &Speaker, keep_stats: bool) {
        self.speakers.reset(speaker, keep_stats);
    }

    /// The owner is gone: ends its replies and forgets everything about it.
    pub fn forget(&self, owner: OwnerId) {
        for sequence in self.speakers.running_of_owner(owner) {
            self.parts.engine.cancel(sequence);
        }
        self.speakers.forget(owner);
    }
}

fn variables(request: &ChatCompletionRequest) -> TemplateVariables {
    let mut variables = TemplateVariables::default();
    if let Some(thinking) = request.extra_body.as_ref().and_then(|extra| extra.enable_thinking) {
        variables.extra.insert("enable_thinking".to_owned(), Value::Bool(thinking));
    }
    variables
}
