//! A text as a row of sentences with what stands around each: block, heading, blanks. Knows the counter, no scores.

use std::ops::Range;

use super::blocks::{Block, BlockKind, BlockScanner};
use super::counting::WindowCount;
use super::sentences::{is_east_asian, sentence_end};
use super::{TokenCounter, count};

/// A sentence, a heading, or a whole block of code or table.
#[derive(Debug, Clone)]
pub(super) struct Sentence {
    /// Its text; the first one of a block has the block's indentation.
    pub content: Range<usize>,
    /// What the block is.
    pub kind: BlockKind,
    /// Number of the block.
    pub block: u32,
    /// Whether it is the first one of its block.
    pub begins_block: bool,
    /// Its tokens and those of what joins it to the sentence before.
    pub tokens: u32,
    /// The heading that it stands under, or the heading around this heading; an index of a sentence.
    pub heading: Option<u32>,
}

/// Sentences in the making.
pub(super) struct Outline<'a> {
    text: &'a str,
    scanner: BlockScanner<'a>,
    /// The block being read, and how far.
    open: Option<(Block, usize)>,
    /// The count of a long block of code or table under way.
    counting: Option<WindowCount>,
    num_blocks: u32,
    /// Headings that are open, outermost first.
    headings: Vec<(u8, u32)>,
    /// Those that have been read.
    pub sentences: Vec<Sentence>,
}

impl<'a> Outline<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            scanner: BlockScanner::new(text),
            open: None,
            counting: None,
            num_blocks: 0,
            headings: Vec::new(),
            sentences: Vec::new(),
        }
    }

    /// Reads the next sentence, or counts a part of it where it is long; bytes that were read, or none at the end.
    /// Without a counter tokens stay 0.
    pub fn read_next(&mut self, counter: Option<&dyn TokenCounter>) -> Option<usize> {
        let (block, from) = match self.open.take() {
            Some(open) => open,
            None => {
                let block = self.scanner.next_block()?;
                self.num_blocks += 1;
                let from = block.content.start;
                (block, from)
            }
        };
        let end = match block.kind {
            BlockKind::Paragraph | BlockKind::ListItem => sentence_end(self.text, &block, from),
            BlockKind::Code | BlockKind::Table | BlockKind::Heading { .. } => block.range.end,
        };
        let begins_block = from == block.content.start;
        let content = self.trimmed(from..end.min(block.content.end), begins_block);
        if content.is_empty() {
            self.open = (end < block.range.end).then_some((block, end));
            return Some(end - from);
        }
        let tokens = match counter {
            None => 0,
            Some(counter) => {
                let joined = self.with_blank_before(&content);
                match self.count(joined, counter) {
                    // The blank line between two blocks may be a token more.
                    Ok(tokens) => tokens + u32::from(begins_block && content.start > 0),
                    Err(counted_bytes) => {
                        self.open = Some((block, from));
                        return Some(counted_bytes);
                    }
                }
            }
        };
        self.push(&block, content, begins_block, tokens);
        self.open = (end < block.range.end).then_some((block, end));
        Some(end - from)
    }

    /// What stands between two sentences when those between them are left out.
    pub fn joint(&self, previous: usize, next: usize) -> &'a str {
        let (before, after) = (&self.sentences[previous], &self.sentences[next]);
        if before.block == after.block {
            // The blanks that stand before it in the text; none in a script without blanks.
            let start = next.checked_sub(1).map_or(0, |index| self.sentences[index].content.end);
            let blanks = &self.text[start..after.content.start];
            let follows_unspaced = self.text[..before.content.end].ends_with(is_east_asian);
            return if blanks.is_empty() && previous + 1 < next && !follows_unspaced { " " } else { blanks };
        }
        let gap = &self.text[before.content.end..after.content.start];
        let are_items = [before.kind, after.kind].iter().all(|kind| *kind == BlockKind::ListItem);
        let are_neighbours = before.block + 1 == after.block;
        let is_one_line_apart = are_neighbours && gap.bytes().filter(|byte| *byte == b'\n').count() == 1;
        if is_one_line_apart || (are_items && !are_neighbours) { "\n" } else { "\n\n" }
    }

    /// What a sentence's place is worth, from 0 to 1: texts and sections say first what they are about.
    pub fn position_worth(&self, index: usize) -> f32 {
        let sentence = &self.sentences[index];
        let is_heading = |index: &usize| matches!(self.sentences[*index].kind, BlockKind::Heading { .. });
        let previous = index.checked_sub(1);
        let begins_text =
            sentence.begins_block && (0..index).rev().take(4).all(|index| is_heading(&index)) && index < 4;
        if begins_text {
            1.0
        } else if previous.as_ref().is_some_and(is_heading) {
            0.6
        } else if sentence.begins_block {
            0.35
        } else {
            0.1
        }
    }

    fn push(&mut self, block: &Block, content: Range<usize>, begins_block: bool, tokens: u32) {
        let index = self.sentences.len() as u32;
        if let BlockKind::Heading { level } = block.kind {
            self.headings.retain(|(open, _)| *open < level);
        }
        self.sentences.push(Sentence {
            content,
            kind: block.kind,
            block: self.num_blocks - 1,
            begins_block,
            tokens,
            heading: self.headings.last().map(|(_, heading)| *heading),
        });
        if let BlockKind::Heading { level } = block.kind {
            self.headings.push((level, index));
        }
    }

    /// Counts a range, in slices where it is long: the tokens, or how many bytes were counted when there is more.
    fn count(&mut self, range: Range<usize>, counter: &dyn TokenCounter) -> Result<u32, usize> {
        if self.counting.is_none() && range.len() <= super::SLICE_BYTES {
            return Ok(count(counter, &self.text[range]));
        }
        let mut counting = self.counting.take().unwrap_or_else(|| WindowCount::new(range));
        if counting.advance(self.text, counter) {
            return Ok(counting.tokens);
        }
        self.counting = Some(counting);
        Err(super::SLICE_BYTES / 2)
    }

    fn trimmed(&self, range: Range<usize>, keeps_indentation: bool) -> Range<usize> {
        let text = &self.text[range.clone()];
        let end = range.start + text.trim_end().len();
        let blanks = text.len() - text.trim_start().len();
        let start = if keeps_indentation { range.start } else { range.start + blanks };
        start.min(end)..end
    }

    fn with_blank_before(&self, content: &Range<usize>) -> Range<usize> {
        let before = self.text[..content.start].chars().next_back().filter(|c| c.is_whitespace());
        content.start - before.map_or(0, char::len_utf8)..content.end
    }
}
