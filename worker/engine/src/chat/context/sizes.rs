//! What each part of a conversation takes in a prompt, without rendering all of it again for each part.
//!
//! A unit is rendered alone, before a short question, and what the question takes is taken off. For templates that write
//! one message after the other this is exact to the token; for others it is close, and what is kept is counted again.

use std::cell::RefCell;

use super::prompter::{Prompter, TemplateMessage};
use super::truncate::Sizes;
use super::units::Unit;
use crate::chat::failure::ChatError;

/// Guess of what a template writes around a message, where it refuses to render the message alone.
const MESSAGE_OVERHEAD_TOKENS: u32 = 8;

/// Two questions that differ from their first character on.
const PROBES: [&str; 2] = ["A", "B"];

/// Sizes of one conversation's parts, each counted when it is first asked for.
pub(super) struct Measured<'a> {
    prompter: &'a Prompter<'a>,
    messages: &'a [TemplateMessage<'a>],
    units: &'a [Unit],
    /// What the template writes before the text of a first question.
    opening: String,
    base: u32,
    /// The probe after [`Self::opening`].
    probe: u32,
    /// What the template writes before the text of a later question.
    header: u32,
    counted: RefCell<Vec<Option<u32>>>,
}

impl<'a> Measured<'a> {
    pub(super) fn new(
        prompter: &'a Prompter<'a>,
        system: Option<&TemplateMessage<'_>>,
        messages: &'a [TemplateMessage<'a>],
        units: &'a [Unit],
    ) -> Result<Self, ChatError> {
        let [question, other] = PROBES.map(|text| TemplateMessage::plain("user", text));
        let answer = TemplateMessage::plain("assistant", PROBES[0]);
        let opening = match (prompter.history_text(&[&question]), prompter.history_text(&[&other])) {
            (Ok(text), Ok(other)) => common_prefix(&text, &other).to_owned(),
            _ => String::new(),
        };
        let mut measured = Self {
            prompter,
            messages,
            units,
            opening,
            base: 0,
            probe: 0,
            header: 0,
            counted: RefCell::new(vec![None; units.len()]),
        };
        measured.probe = measured.count_after_opening(&[&question]).unwrap_or(0);
        let turn = measured.count_after_opening(&[&question, &answer]);
        let two_turns = measured.count_after_opening(&[&question, &answer, &question]);
        measured.header = match (turn, two_turns) {
            (Ok(turn), Ok(two_turns)) => two_turns.saturating_sub(turn + measured.probe),
            _ => MESSAGE_OVERHEAD_TOKENS / 2,
        };
        let first: Vec<_> = system.into_iter().chain([&question]).collect();
        let whole = prompter.count(&prompter.prompt_text(&first)?)?;
        measured.base = whole.saturating_sub(measured.probe + measured.header);
        Ok(measured)
    }

    /// All units before `unit`.
    pub(super) fn before(&self, unit: usize) -> u32 {
        (0..unit).map(|unit| self.unit(unit)).fold(0, u32::saturating_add)
    }

    fn count_after_opening(&self, messages: &[&TemplateMessage<'_>]) -> Result<u32, ChatError> {
        let text = self.prompter.history_text(messages)?;
        let opening = common_prefix(&text, &self.opening).len();
        self.prompter.count(&text[opening..])
    }

    /// What messages take when the template does not render them alone.
    fn guess(&self, messages: &[TemplateMessage<'_>]) -> u32 {
        let size = |message: &TemplateMessage<'_>| {
            self.prompter.count(&message.content).unwrap_or(message.content.len() as u32)
        };
        messages.iter().map(|message| size(message).saturating_add(MESSAGE_OVERHEAD_TOKENS)).sum()
    }
}

impl Sizes for Measured<'_> {
    fn base(&self) -> u32 {
        self.base
    }

    fn unit(&self, unit: usize) -> u32 {
        if let Some(count) = self.counted.borrow()[unit] {
            return count;
        }
        let messages = &self.messages[self.units[unit].messages.clone()];
        let question = TemplateMessage::plain("user", PROBES[0]);
        let rendered: Vec<_> = messages.iter().chain([&question]).collect();
        let count = match self.count_after_opening(&rendered) {
            Ok(count) => count.saturating_sub(self.probe),
            Err(_) => self.guess(messages),
        };
        self.counted.borrow_mut()[unit] = Some(count);
        count
    }

    fn part(&self, unit: usize, end: usize) -> u32 {
        let range = self.units[unit].messages.clone();
        let messages = &self.messages[range.start..end.min(range.end)];
        let rendered: Vec<_> = messages.iter().collect();
        match self.count_after_opening(&rendered) {
            Ok(count) => count.saturating_add(self.header),
            Err(_) => self.guess(messages),
        }
    }
}

/// The beginning that two texts share, in whole characters.
pub(super) fn common_prefix<'t>(text: &'t str, other: &str) -> &'t str {
    let same = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    &text[..text.floor_char_boundary(same)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_beginning_ends_between_characters() {
        assert_eq!(common_prefix("abc", "abd"), "ab");
        assert_eq!(common_prefix("é", "è"), "", "the two share their first byte");
        assert_eq!(common_prefix("xé", "xé"), "xé");
        assert_eq!(common_prefix("", "x"), "");
    }
}
