//! What stands in for turns that were left out: sentences of them, chosen for the question at which they had to go.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::prompter::{Prompter, TemplateMessage};
use crate::documents::{self, CompressOptions};

/// Line above the summary.
const HEADING: &str = "Summary of the earlier conversation:";

/// A summary shorter than this says nothing.
const MIN_SUMMARY_TOKENS: u32 = 8;

/// Summaries that are remembered: those of the tabs that are talking.
const MAX_REMEMBERED_SUMMARIES: usize = 16;

/// Summaries that were made before: a summary stays the same until the next cut, and every turn asks for it again.
#[derive(Debug, Default)]
pub(crate) struct SummaryMemory(RefCell<VecDeque<(Wanted, Option<String>)>>);

/// What a summary was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    text_hash: u64,
    text_bytes: usize,
    query_hash: u64,
    max_tokens: u32,
}

impl SummaryMemory {
    fn get_or_make(&self, wanted: Wanted, make: impl FnOnce() -> Option<String>) -> Option<String> {
        let mut remembered = self.0.borrow_mut();
        if let Some(index) = remembered.iter().position(|(known, _)| *known == wanted)
            && let Some(found) = remembered.remove(index)
        {
            remembered.push_back(found.clone());
            return found.1;
        }
        let summary = make();
        while remembered.len() >= MAX_REMEMBERED_SUMMARIES {
            remembered.pop_front();
        }
        remembered.push_back((wanted, summary.clone()));
        summary
    }
}

/// Tokens that a summary may take of so much room.
pub(super) fn summary_tokens(room_tokens: u32) -> u32 {
    room_tokens / 8
}

/// The gist of `dropped` under its heading, in at most `max_tokens`; none where that is too little to say anything.
pub(super) fn summarize(
    prompter: &Prompter<'_>,
    memory: &SummaryMemory,
    dropped: &[TemplateMessage<'_>],
    query: Option<&str>,
    max_tokens: u32,
) -> Option<String> {
    let heading = format!("\n\n{HEADING}\n");
    let heading_tokens = prompter.count(&heading).ok()?;
    let max_tokens = max_tokens.checked_sub(heading_tokens).filter(|left| *left >= MIN_SUMMARY_TOKENS)?;
    let text = transcript(dropped);
    let hash = |text: &str| {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        hasher.finish()
    };
    let wanted = Wanted {
        text_hash: hash(&text),
        text_bytes: text.len(),
        query_hash: hash(query.unwrap_or_default()),
        max_tokens,
    };
    let summary = memory.get_or_make(wanted, || {
        let options = CompressOptions { max_tokens, query };
        // Without a summary the turns are left out all the same.
        let compressed = documents::compress(&text, options, prompter.tokenizer).ok()?;
        Some(compressed.text.trim().to_owned()).filter(|text| !text.is_empty())
    })?;
    Some(format!("{HEADING}\n{summary}"))
}

/// The dropped messages as a text to choose sentences from.
fn transcript(dropped: &[TemplateMessage<'_>]) -> String {
    let mut text = String::new();
    for message in dropped {
        let speaker = match message.role {
            "user" => "User",
            "assistant" => "Assistant",
            other => other,
        };
        text.push_str(speaker);
        text.push_str(": ");
        text.push_str(message.content.trim());
        text.push_str("\n\n");
    }
    text
}

/// Puts a summary after the text of the system message; where there is none, before the text of the first message that was
/// kept, since not every template has a system message.
pub(super) fn place<'a>(
    system: Option<&TemplateMessage<'a>>,
    kept: &[TemplateMessage<'a>],
    summary: &str,
) -> Vec<TemplateMessage<'a>> {
    let mut messages: Vec<_> = system.into_iter().chain(kept).cloned().collect();
    if let Some(first) = messages.first_mut() {
        first.content = match system {
            Some(system) if system.content.is_empty() => summary.to_owned(),
            Some(system) => format!("{}\n\n{summary}", system.content),
            None => format!("{summary}\n\n{}", first.content),
        };
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_follows_the_system_prompt_or_comes_first() {
        let system = TemplateMessage::plain("system", "Be kind.");
        let kept = [TemplateMessage::plain("user", "Why?")];
        let contents = |messages: Vec<TemplateMessage<'_>>| -> Vec<String> {
            messages.into_iter().map(|message| message.content).collect()
        };
        assert_eq!(contents(place(Some(&system), &kept, "S")), ["Be kind.\n\nS", "Why?"]);
        assert_eq!(contents(place(None, &kept, "S")), ["S\n\nWhy?"]);
        assert_eq!(contents(place(Some(&TemplateMessage::plain("system", "")), &kept, "S")), ["S", "Why?"]);
    }

    #[test]
    fn a_summary_is_made_once_for_the_same_turns() {
        let memory = SummaryMemory::default();
        let wanted = |max_tokens| Wanted { text_hash: 1, text_bytes: 1, query_hash: 1, max_tokens };
        let made = |text: &str| Some(text.to_owned());
        assert_eq!(memory.get_or_make(wanted(1), || made("first")), made("first"));
        assert_eq!(memory.get_or_make(wanted(1), || made("again")), made("first"));
        assert_eq!(memory.get_or_make(wanted(2), || made("other")), made("other"));
        for max_tokens in 0..100 {
            memory.get_or_make(wanted(max_tokens + 10), || None);
        }
        assert!(memory.0.borrow().len() <= MAX_REMEMBERED_SUMMARIES);
        assert_eq!(memory.get_or_make(wanted(1), || made("later")), made("later"));
    }
}
