//! A loaded model that can chat: checks requests, makes prompts, starts replies, and answers for each owner.

use std::rc::Rc;

use hearth_protocol::chat::{ChatCompletionRequest, StopStrings};
use hearth_protocol::reply::UsageReport;

use super::failure::ChatError;
use super::identity::Identities;
use super::owners::Owners;
use super::prompt::prompt_tokens;
use super::reply::{ChatReply, ReplyHead};
use super::values::SamplingDefaults;
use super::{validate, values};
use crate::driver::EngineHandle;
use crate::ids::OwnerId;
use crate::sequence::SequenceRequest;
use crate::template::ChatTemplate;
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
    /// Defaults of the requests' values.
    pub sampling: SamplingDefaults,
    /// Names and dates for replies.
    pub identities: Rc<dyn Identities>,
}

/// A loaded model that can chat.
pub struct ChatModel {
    parts: ChatParts,
    owners: Owners,
}

impl ChatModel {
    /// Nothing has been said yet.
    pub fn new(parts: ChatParts) -> Self {
        Self { parts, owners: Owners::default() }
    }

    /// The name by which requests ask for it.
    pub fn model_id(&self) -> &str {
        &self.parts.model_id
    }

    /// Tokens of prompt and reply together: the window, or the whole cache if that is less.
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
    /// The request makes no sense, does not fit the window, or the engine does not take it.
    pub fn start(&self, request: &ChatCompletionRequest, owner: OwnerId) -> Result<ChatReply, ChatError> {
        self.check(request)?;
        values::check_values(request)?;
        let sequence = self.sequence_request(request, owner)?;
        let generation = self.parts.engine.submit(sequence)?;
        let head = ReplyHead {
            id: self.parts.identities.reply_id(),
            created: self.parts.identities.unix_time_s(),
            model_id: self.parts.model_id.clone(),
            owner,
            window_tokens: self.window_tokens(),
            wants_usage_chunk: request.wants_usage_chunk(),
        };
        Ok(ChatReply::new(head, self.parts.engine.clone(), self.owners.clone(), generation))
    }

    fn sequence_request(
        &self,
        request: &ChatCompletionRequest,
        owner: OwnerId,
    ) -> Result<SequenceRequest, ChatError> {
        let ChatParts { tokenizer, template, sampling, .. } = &self.parts;
        let stop_strings = request.stop.as_ref().map_or(&[][..], StopStrings::as_slice);
        Ok(SequenceRequest {
            owner,
            prompt: prompt_tokens(request, template, tokenizer, self.window_tokens())?,
            settings: values::settings(request, sampling),
            bias: values::logit_bias(request, tokenizer.vocab_size()),
            seed: request.seed.as_ref().map(validate::read_seed).transpose()?,
            max_tokens: values::max_tokens(request),
            stop_tokens: tokenizer.end_of_turn().to_vec(),
            stop_strings: stop_strings.to_vec(),
            ignore_eos: request.ignore_eos.unwrap_or(false),
        })
    }

    /// Ends all of an owner's replies early; those of others go on.
    pub fn interrupt(&self, owner: OwnerId) {
        for sequence in self.owners.running(owner) {
            self.parts.engine.cancel(sequence);
        }
    }

    /// The text of the reply that the owner started last, as far as it has been taken; empty when there is none.
    pub fn message(&self, owner: OwnerId) -> String {
        self.owners.message(owner)
    }

    /// Speed of the reply that the owner started last, in web-llm's words.
    pub fn runtime_stats_text(&self, owner: OwnerId) -> String {
        self.owners.stats_text(owner)
    }

    /// The state of the cache, and the owner's part in it. What the device uses is for the host to add.
    pub fn usage(&self, owner: OwnerId) -> UsageReport {
        let usage = self.parts.engine.usage();
        let held = usage.owners.iter().find(|held| held.owner == owner);
        UsageReport {
            pages_total: usage.pages.total,
            pages_free: usage.pages.free,
            pages_cached: usage.pages.cached,
            pages_held: held.map_or(0.0, |held| held.pages),
            block_size_tokens: usage.block_size_tokens,
            // What the cache holds of a reply under way; between replies, the conversation that the last one ended.
            context_tokens: held.map_or_else(|| self.owners.context_tokens(owner), |held| held.tokens),
            window_tokens: usage.context_window_tokens,
            running: usage.running,
            waiting: usage.waiting,
            device: None,
        }
    }

    /// Forgets the owner's conversation, and the speed unless `keep_stats`. Each request brings its whole conversation,
    /// so nothing else is kept; the cache stays, for it is shared.
    pub fn reset(&self, owner: OwnerId, keep_stats: bool) {
        self.owners.reset(owner, keep_stats);
    }

    /// The owner is gone: ends its replies and forgets everything about it.
    pub fn forget(&self, owner: OwnerId) {
        self.interrupt(owner);
        self.owners.forget(owner);
    }
}
