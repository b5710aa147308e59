//! The policies on one conversation: each keeps what it may, renders it whole and counts it to the token.

use hearth_protocol::config::OverflowPolicy;

use super::prompter::{Prompter, TemplateMessage, num_tokens};
use super::room::Room;
use super::sizes::{Measured, common_prefix};
use super::slide::SlideRoom;
use super::summarize::{self, SummaryMemory};
use super::truncate::{self, Cut, PromptRoom, Sizes};
use super::units::Unit;
use crate::chat::error::WindowError;
use crate::chat::failure::ChatError;
use crate::ids::TokenId;

/// A text with more bytes than this for each token of the limit is not counted as a whole in the hope that it fits.
const LIKELY_BYTES_PER_TOKEN: usize = 16;

/// Few tokens are longer.
const LONGEST_TOKEN_BYTES: usize = 64;

/// Attempts at a prompt: sizes are exact to a few tokens, so the second already fits.
const MAX_ATTEMPTS: usize = 16;

/// What a policy made of a conversation.
pub(super) struct Kept {
    pub(super) prompt: Vec<TokenId>,
    /// What was done, if anything had to be.
    pub(super) action: Option<OverflowPolicy>,
    pub(super) dropped_messages: u32,
    pub(super) dropped_tokens: u32,
}

impl Kept {
    fn all(prompt: Vec<TokenId>) -> Self {
        Self { prompt, action: None, dropped_messages: 0, dropped_tokens: 0 }
    }
}

/// A conversation that may have to be shortened.
pub(super) struct Conversation<'a> {
    pub(super) messages: &'a [TemplateMessage<'a>],
    /// All of it as a prompt.
    pub(super) text: String,
    pub(super) has_system: bool,
    pub(super) units: Vec<Unit>,
    pub(super) prompter: &'a Prompter<'a>,
    pub(super) summaries: &'a SummaryMemory,
    pub(super) room: Room,
    pub(super) sink_tokens: u32,
}

impl<'a> Conversation<'a> {
    /// What the policy keeps.
    ///
    /// # Errors
    /// What must be kept does not fit, or the template refuses it.
    pub(super) fn apply(&self, policy: OverflowPolicy) -> Result<Kept, ChatError> {
        let is_fixed = policy == OverflowPolicy::Error || self.units.is_empty();
        let room = if is_fixed { self.room.limit() } else { self.room.for_prompt() };
        if is_fixed || self.text.len() <= self.room.limit() as usize * LIKELY_BYTES_PER_TOKEN {
            let prompt = self.prompter.encode(&self.text)?;
            if num_tokens(&prompt) <= room {
                return Ok(Kept::all(prompt));
            }
            if is_fixed {
                return Err(self.exceeded(&prompt));
            }
        }
        match policy {
            OverflowPolicy::Sliding => self.slide(),
            OverflowPolicy::Summarize => self.truncate(summarize::summary_tokens(room)),
            OverflowPolicy::Auto | OverflowPolicy::Truncate | OverflowPolicy::Error => self.truncate(0),
        }
    }

    /// Leaves out the oldest units; with `summary_tokens`, a summary stands in for them.
    fn truncate(&self, summary_tokens: u32) -> Result<Kept, ChatError> {
        let sizes = self.sizes()?;
        let room = PromptRoom { tokens: self.room.for_prompt(), summary_tokens };
        let last = self.units.len() - 1;
        let mut cut = truncate::replay(&self.units, &sizes, room);
        for _ in 0..MAX_ATTEMPTS {
            if cut.first_kept > 0
                && let Some(prompt) = self.summarized(cut, summary_tokens)?
                && num_tokens(&prompt) <= room.tokens
            {
                return Ok(self.kept(prompt, cut, &sizes, OverflowPolicy::Summarize));
            }
            let prompt = self.prompter.prompt(&self.rest(cut.first_kept))?;
            // The reserve gives way before what must be kept does.
            let fits = if cut.first_kept == last { self.room.limit() } else { room.tokens };
            if num_tokens(&prompt) <= fits {
                return Ok(self.kept(prompt, cut, &sizes, OverflowPolicy::Truncate));
            }
            if cut.first_kept == last {
                return Err(self.exceeded(&prompt));
            }
            cut = truncate::further(cut, self.units.len(), &sizes, room);
        }
        let prompt = self.prompter.prompt(&self.rest(last))?;
        if num_tokens(&prompt) > self.room.limit() {
            return Err(self.exceeded(&prompt));
        }
        let cut = Cut { first_kept: last, made_at: last };
        Ok(self.kept(prompt, cut, &sizes, OverflowPolicy::Truncate))
    }

    /// The prompt with a summary of what was left out, where there is one.
    fn summarized(&self, cut: Cut, summary_tokens: u32) -> Result<Option<Vec<TokenId>>, ChatError> {
        if summary_tokens == 0 {
            return Ok(None);
        }
        let kept_from = self.units[cut.first_kept].messages.start;
        let question = self.messages[self.units[cut.made_at].messages.clone()]
            .iter()
            .find(|message| message.role == "user")
            .map(|message| message.content.as_str());
        let dropped = &self.messages[usize::from(self.has_system)..kept_from];
        let summary = summarize::summarize(self.prompter, self.summaries, dropped, question, summary_tokens);
        let Some(summary) = summary else { return Ok(None) };
        let messages = summarize::place(self.system(), &self.messages[kept_from..], &summary);
        Ok(Some(self.prompter.prompt(&messages.iter().collect::<Vec<_>>())?))
    }

    fn kept(&self, prompt: Vec<TokenId>, cut: Cut, sizes: &Measured<'_>, action: OverflowPolicy) -> Kept {
        if cut.first_kept == 0 {
            return Kept::all(prompt);
        }
        Kept {
            prompt,
            action: Some(action),
            dropped_messages: self.num_messages_before(cut.first_kept),
            dropped_tokens: sizes.before(cut.first_kept),
        }
    }

    /// Keeps the start and the most recent tokens, wherever that cuts.
    fn slide(&self) -> Result<Kept, ChatError> {
        let sizes = self.sizes()?;
        let last = self.units.len() - 1;
        let num_all =
            sizes.base().saturating_add(sizes.before(last)).saturating_add(sizes.part(last, usize::MAX));
        let system = self.system_tokens()?;
        let room = SlideRoom::new(
            self.room.limit(),
            self.room.for_prompt(),
            num_tokens(&system).max(self.sink_tokens),
        );
        let mut dropped = room.dropped(num_all);
        loop {
            // Whole units that are gone need not be counted again; the rest is cut to the token.
            let end = room.pinned.saturating_add(dropped);
            let (mut first, mut before) = (0, 0_u32);
            while first < last && num_tokens(&system).saturating_add(before + sizes.unit(first)) <= end {
                before += sizes.unit(first);
                first += 1;
            }
            let rest = self.prompter.prompt(&self.rest(first))?;
            // At least the last token is left, and what is pinned is never in the tail again.
            let from = (end - before).min(num_tokens(&rest).saturating_sub(1)) as usize;
            if dropped == 0 && rest.len() <= room.prompt as usize {
                return Ok(Kept::all(rest));
            }
            let mut prompt = self.start(room.pinned, &system, &rest, first)?;
            prompt.extend_from_slice(&rest[from..]);
            if num_tokens(&prompt) <= room.prompt || from + 1 >= rest.len() {
                return Ok(Kept {
                    prompt,
                    action: Some(OverflowPolicy::Sliding),
                    dropped_messages: self.num_messages_before(first),
                    dropped_tokens: (from as u32 + before).saturating_sub(room.pinned),
                });
            }
            dropped = room.next(dropped);
        }
    }

    /// The first `num_pinned` tokens of the whole conversation.
    fn start(
        &self,
        num_pinned: u32,
        system: &[TokenId],
        rest: &[TokenId],
        first_of_rest: usize,
    ) -> Result<Vec<TokenId>, ChatError> {
        let num_pinned = num_pinned as usize;
        if num_pinned <= system.len() {
            return Ok(system[..num_pinned].to_vec());
        }
        if first_of_rest == 0 {
            return Ok(rest[..num_pinned.min(rest.len())].to_vec());
        }
        // A sink larger than the system prompt reaches into the first units.
        for end in 1..=self.units.len() {
            let messages: Vec<_> = self.messages[..self.units[end - 1].messages.end].iter().collect();
            let tokens = self.prompter.encode(&self.prompter.history_text(&messages)?)?;
            if tokens.len() >= num_pinned || end == self.units.len() {
                return Ok(tokens[..num_pinned.min(tokens.len())].to_vec());
            }
        }
        Ok(system.to_vec())
    }

    /// Tokens at the start of a prompt that stay when it slides.
    pub(super) fn pinned_tokens(&self, prompt: &[TokenId]) -> Result<u32, ChatError> {
        let system = self.system_tokens()?;
        let same = system.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        Ok(u32::try_from(same).unwrap_or(u32::MAX).max(self.sink_tokens))
    }

    /// The beginning of the whole conversation that would be the same whatever else were said.
    fn system_tokens(&self) -> Result<Vec<TokenId>, ChatError> {
        let system: Vec<_> = self.system().into_iter().collect();
        let mut opening = self.text.as_str();
        // A template may refuse messages that nobody would send.
        if !system.is_empty()
            && let Ok(alone) = self.prompter.history_text(&system)
        {
            opening = common_prefix(opening, &alone);
        }
        for question in ["A", "B"].map(|text| TemplateMessage::plain("user", text)) {
            let messages: Vec<_> = system.iter().copied().chain([&question]).collect();
            let with_question = self.prompter.history_text(&messages).unwrap_or_default();
            opening = common_prefix(opening, &with_question);
        }
        // Its last characters may be of one token with what follows.
        let beyond = self.text.floor_char_boundary(opening.len() + LONGEST_TOKEN_BYTES);
        let alone = self.prompter.encode(opening)?;
        let followed = self.prompter.encode(&self.text[..beyond])?;
        let num_same = alone.iter().zip(&followed).take_while(|(a, b)| a == b).count();
        Ok(alone[..num_same].to_vec())
    }

    fn sizes(&self) -> Result<Measured<'_>, ChatError> {
        Measured::new(self.prompter, self.system(), self.messages, &self.units)
    }

    fn system(&self) -> Option<&'a TemplateMessage<'a>> {
        self.messages.first().filter(|_| self.has_system)
    }

    /// The system message and all units from one on.
    fn rest(&self, first_unit: usize) -> Vec<&TemplateMessage<'a>> {
        let start = self.units.get(first_unit).map_or(self.messages.len(), |unit| unit.messages.start);
        self.system().into_iter().chain(&self.messages[start..]).collect()
    }

    fn num_messages_before(&self, unit: usize) -> u32 {
        (self.units[unit].messages.start - usize::from(self.has_system)) as u32
    }

    fn exceeded(&self, prompt: &[TokenId]) -> ChatError {
        WindowError::Exceeded { num_prompt_tokens: prompt.len(), window_tokens: self.room.limit() }.into()
    }
}
