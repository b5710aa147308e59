//! From messages, options and room to a prompt, and to what happens when the context is full in mid-reply.

use hearth_protocol::chat::ChatMessage;
use hearth_protocol::completion::ContextReport;
use hearth_protocol::config::OverflowPolicy;
use hearth_protocol::context::{ContextEvent, OverflowPhase};

use super::conversation::Conversation;
use super::prompter::{CountMemory, Prompter, TemplateMessage, num_tokens};
use super::room::Room;
use super::summarize::SummaryMemory;
use super::units;
use crate::chat::failure::ChatError;
use crate::ids::TokenId;
use crate::sequence::{ContextLimits, WhenFull};
use crate::template::{ChatTemplate, TemplateVariables};
use crate::tokenizer::Tokenizer;

/// One conversation that is to be read.
pub(in crate::chat) struct Asked<'a> {
    /// The conversation; it has been checked.
    pub(in crate::chat) messages: &'a [ChatMessage],
    /// For the template.
    pub(in crate::chat) variables: TemplateVariables,
    /// Whether a reply begins where the conversation ends.
    pub(in crate::chat) begins_reply: bool,
    /// What to do about an overflow.
    pub(in crate::chat) policy: OverflowPolicy,
    /// Where there is how much room.
    pub(in crate::chat) room: Room,
    /// Tokens at the start that a sliding context keeps at least.
    pub(in crate::chat) sink_tokens: u32,
    /// Tokens of the reply at most, if the request says so.
    pub(in crate::chat) max_tokens: Option<u32>,
}

/// What is read, and how the reply may go on.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chat) struct ContextPlan {
    /// The tokens to read.
    pub(in crate::chat) prompt: Vec<TokenId>,
    /// What happens when the context is full.
    pub(in crate::chat) limits: ContextLimits,
    /// Tokens of the reply at most.
    pub(in crate::chat) max_new_tokens: Option<u32>,
    /// The room, and what was left out.
    pub(in crate::chat) report: ContextReport,
}

impl ContextPlan {
    /// The event that tells what was left out, if anything was.
    pub(in crate::chat) fn overflow(&self) -> Option<ContextEvent> {
        let report = &self.report;
        report.policy.map(|policy| ContextEvent::Overflow {
            policy,
            phase: OverflowPhase::Prefill,
            dropped_messages: report.dropped_messages.unwrap_or(0),
            dropped_tokens: report.dropped_tokens.unwrap_or(0),
            kept_tokens: report.used,
            window: report.window,
            budget: report.budget.unwrap_or(report.window),
        })
    }
}

/// Work that was done before and need not be done again.
#[derive(Debug, Default)]
pub(in crate::chat) struct Memories {
    counts: CountMemory,
    summaries: SummaryMemory,
}

/// Makes plans for one model.
pub(in crate::chat) struct Planner<'a> {
    /// Its template.
    pub(in crate::chat) template: &'a ChatTemplate,
    /// Its vocabulary.
    pub(in crate::chat) tokenizer: &'a Tokenizer,
    /// What earlier plans have left.
    pub(in crate::chat) memories: &'a Memories,
}

impl Planner<'_> {
    /// Applies the policy.
    ///
    /// # Errors
    /// `WindowError::Exceeded` where even what must be kept does not fit, or the template refuses the conversation.
    pub(in crate::chat) fn plan(&self, asked: Asked<'_>) -> Result<ContextPlan, ChatError> {
        let messages: Vec<_> = asked.messages.iter().map(TemplateMessage::new).collect::<Result<_, _>>()?;
        let prompter = Prompter {
            template: self.template,
            tokenizer: self.tokenizer,
            memory: &self.memories.counts,
            variables: asked.variables,
            begins_reply: asked.begins_reply,
        };
        let conversation = Conversation {
            units: units::split(asked.messages),
            has_system: units::has_system(asked.messages),
            text: prompter.prompt_text(&messages.iter().collect::<Vec<_>>())?,
            messages: &messages,
            prompter: &prompter,
            summaries: &self.memories.summaries,
            room: asked.room,
            sink_tokens: asked.sink_tokens,
        };
        let kept = conversation.apply(asked.policy)?;
        let limit = asked.room.limit();
        let when_full = match asked.policy {
            OverflowPolicy::Auto | OverflowPolicy::Sliding => {
                WhenFull::Slide { pinned_tokens: conversation.pinned_tokens(&kept.prompt)?.min(limit / 2) }
            }
            OverflowPolicy::Truncate | OverflowPolicy::Summarize | OverflowPolicy::Error => WhenFull::Stop,
        };
        let max_new_tokens = match asked.policy {
            // A model that repeats itself must come to an end where nobody set one.
            OverflowPolicy::Auto => Some(asked.max_tokens.unwrap_or(limit)),
            OverflowPolicy::Truncate
            | OverflowPolicy::Sliding
            | OverflowPolicy::Summarize
            | OverflowPolicy::Error => asked.max_tokens,
        };
        let dropped = |number: u32| kept.action.map(|_| number);
        Ok(ContextPlan {
            limits: ContextLimits { max_tokens: limit, when_full },
            max_new_tokens,
            report: ContextReport {
                window: asked.room.window,
                used: num_tokens(&kept.prompt),
                budget: Some(asked.room.budget),
                policy: kept.action,
                dropped_messages: dropped(kept.dropped_messages),
                dropped_tokens: dropped(kept.dropped_tokens),
            },
            prompt: kept.prompt,
        })
    }

    /// Tokens of a whole conversation, up to where a reply begins.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub(in crate::chat) fn measure(
        &self,
        messages: &[ChatMessage],
        variables: TemplateVariables,
    ) -> Result<u32, ChatError> {
        let prompter = Prompter {
            template: self.template,
            tokenizer: self.tokenizer,
            memory: &self.memories.counts,
            variables,
            begins_reply: true,
        };
        let messages: Vec<_> = messages.iter().map(TemplateMessage::new).collect::<Result<_, _>>()?;
        Ok(num_tokens(&prompter.prompt(&messages.iter().collect::<Vec<_>>())?))
    }
}
