//! Cutting a text into pieces: measures its parts, then puts them together. Owns the order of the work; what a part is and
//! where a piece ends are others' affairs.

use std::ops::Range;

use super::blocks::{Block, BlockKind, BlockScanner};
use super::lines::Line;
use super::pieces::{Attempt, Packer};
use super::sentences::{MAX_SENTENCE_BYTES, sentence_end};
use super::splitting::{Splitter, floor_grapheme};
use super::units::{Boundary, Unit};
use super::{Chunk, ChunkOptions, DocumentError, SLICE_BYTES, TokenCounter, check, count};

/// Longest part that is counted at once.
const MAX_PART_BYTES: usize = 2 * MAX_SENTENCE_BYTES;

/// A text being cut.
pub struct Chunker<'a> {
    text: &'a str,
    options: ChunkOptions,
    state: State<'a>,
    units: Vec<Unit>,
    sections: Vec<Section>,
    chunks: Vec<Chunk>,
    /// A place in the text that was converted to UTF-16, in bytes and in code units.
    utf16: (usize, u32),
}

enum State<'a> {
    /// Options are still to be checked.
    New,
    Measuring {
        scanner: BlockScanner<'a>,
        block: Option<OpenBlock>,
    },
    Packing(Packer),
}

/// A block whose parts are being measured.
struct OpenBlock {
    block: Block,
    first_unit: usize,
    position: usize,
    section: Option<u32>,
}

/// A heading with those around it.
struct Section {
    title: Range<usize>,
    level: u8,
    parent: Option<u32>,
}

impl<'a> Chunker<'a> {
    /// Prepares to cut `text`.
    pub fn new(text: &'a str, options: ChunkOptions) -> Self {
        Self {
            text,
            options,
            state: State::New,
            units: Vec::new(),
            sections: Vec::new(),
            chunks: Vec::new(),
            utf16: (0, 0),
        }
    }

    /// Does one slice of the work; the outcome once it is done. Not to be called after that.
    pub fn advance(&mut self, counter: &dyn TokenCounter) -> Option<Result<Vec<Chunk>, DocumentError>> {
        match self.work(counter) {
            Ok(true) => Some(Ok(std::mem::take(&mut self.chunks))),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }

    fn work(&mut self, counter: &dyn TokenCounter) -> Result<bool, DocumentError> {
        match &mut self.state {
            State::New => {
                let ChunkOptions { max_tokens, overlap_tokens } = self.options;
                check(self.text, max_tokens)?;
                if overlap_tokens >= max_tokens {
                    return Err(DocumentError::OverlapTooLarge { overlap_tokens, max_tokens });
                }
                self.state = State::Measuring { scanner: BlockScanner::new(self.text), block: None };
                Ok(false)
            }
            State::Measuring { scanner, block } => {
                let mut slice_bytes = 0;
                while slice_bytes < SLICE_BYTES {
                    let mut open = match block.take() {
                        Some(open) => open,
                        None => match scanner.next_block() {
                            Some(block) => open_block(block, self.units.len(), &mut self.sections),
                            None => {
                                self.state = State::Packing(Packer::new(self.options, &self.units));
                                return Ok(false);
                            }
                        },
                    };
                    let splitter = Splitter { text: self.text, max_tokens: self.options.max_tokens, counter };
                    slice_bytes += open.measure(&splitter, &mut self.units)?;
                    *block = (open.position < open.block.range.end).then_some(open);
                }
                Ok(false)
            }
            State::Packing(packer) => match packer.advance(self.text, &self.units, counter) {
                Attempt::Unfinished => Ok(false),
                Attempt::Done => Ok(true),
                Attempt::Piece { units, first_new, tokens } => {
                    let chunk = self.chunk(units, first_new, tokens);
                    self.chunks.push(chunk);
                    Ok(false)
                }
            },
        }
    }

    fn chunk(&mut self, units: Range<usize>, first_new: usize, tokens: u32) -> Chunk {
        let start = start_of(&self.units, units.start);
        let end = start_of(&self.units, units.end);
        let new_units = &self.units[first_new..units.end];
        let text_unit = new_units.iter().find(|unit| !unit.is_heading).or(new_units.last());
        let mut headings = Vec::new();
        let mut section = text_unit.and_then(|unit| unit.section);
        while let Some(heading) = section.and_then(|index| self.sections.get(index as usize)) {
            headings.push(self.text[heading.title.clone()].to_owned());
            section = heading.parent;
        }
        headings.reverse();
        // An overlap begins before the place that was converted last.
        let overlap = utf16_len(&self.text[start..start.max(self.utf16.0)]);
        let piece_start = self.utf16.1 - overlap;
        let piece_end = self.utf16.1 + utf16_len(&self.text[self.utf16.0..end]);
        self.utf16 = (end, piece_end);
        Chunk { text: self.text[start..end].to_owned(), tokens, start: piece_start, end: piece_end, headings }
    }
}

fn open_block(block: Block, first_unit: usize, sections: &mut Vec<Section>) -> OpenBlock {
    let mut section = sections.len().checked_sub(1).map(|index| index as u32);
    if let BlockKind::Heading { level } = block.kind {
        // What is not further out has ended.
        while let Some(heading) = section.and_then(|index| sections.get(index as usize)) {
            if heading.level < level {
                break;
            }
            section = heading.parent;
        }
        sections.push(Section { title: block.title.clone(), level, parent: section });
        section = Some(sections.len() as u32 - 1);
    }
    OpenBlock { position: block.range.start, block, first_unit, section }
}

impl OpenBlock {
    /// Measures the next sentence or line; how many bytes were counted.
    fn measure(&mut self, splitter: &Splitter<'_>, units: &mut Vec<Unit>) -> Result<usize, DocumentError> {
        let kind = self.block.kind;
        let is_first = self.position == self.block.range.start;
        let from = if is_first { self.block.content.start } else { self.position };
        let end = match kind {
            _ if from >= self.block.content.end => self.block.range.end,
            BlockKind::Code | BlockKind::Table | BlockKind::Heading { .. } => {
                self.line_end(splitter.text, from)
            }
            BlockKind::Paragraph | BlockKind::ListItem => sentence_end(splitter.text, &self.block, from),
        };
        // Blanks belong to what they stand beside, but there may be any number of them.
        let end = if end - self.position > MAX_PART_BYTES {
            floor_grapheme(splitter.text, self.position, self.position + MAX_PART_BYTES)
        } else {
            end
        };
        let follows_heading = is_first && units.last().is_some_and(|unit| unit.is_heading);
        let is_heading = matches!(kind, BlockKind::Heading { .. });
        let boundary = match Boundary::before(kind) {
            Boundary::Heading { .. } | Boundary::AfterHeading if !is_first => Boundary::Word,
            Boundary::Paragraph | Boundary::ListItem if !is_first => Boundary::Sentence,
            _ if follows_heading => Boundary::AfterHeading,
            boundary => boundary,
        };
        let first =
            Unit { boundary, begins_sentence: true, is_heading, section: self.section, ..Unit::default() };
        splitter.split(self.position..end, first, units)?;
        let mut counted_bytes = end - self.position;
        self.position = end;
        if end == self.block.range.end && matches!(kind, BlockKind::Code | BlockKind::Table) {
            counted_bytes += self.merge(splitter, units);
        }
        Ok(counted_bytes)
    }

    /// Makes one unit of a block that is not to be cut, where it fits.
    fn merge(&self, splitter: &Splitter<'_>, units: &mut Vec<Unit>) -> usize {
        let parts = &units[self.first_unit..];
        let sum: u64 = parts.iter().map(|unit| u64::from(unit.tokens)).sum();
        // Together they may have fewer tokens than by themselves, but not by much.
        let [first, _, ..] = parts else { return 0 };
        if sum > u64::from(splitter.max_tokens) + u64::from(splitter.max_tokens / 8) + parts.len() as u64 {
            return 0;
        }
        let range = self.block.range.clone();
        let tokens = count(splitter.counter, &splitter.text[range.clone()]);
        if tokens <= splitter.max_tokens {
            let whole = Unit { end: range.end, tokens, ..*first };
            units.truncate(self.first_unit);
            units.push(whole);
        }
        range.len()
    }

    /// End of the line that begins at `from`, with its line break; of a part of it where it is too long to be one unit.
    fn line_end(&self, text: &str, from: usize) -> usize {
        let limit = self.block.content.end;
        let end = Line::at(text, from).map_or(limit, |line| line.next);
        if end - from > MAX_SENTENCE_BYTES {
            floor_grapheme(text, from, from + MAX_SENTENCE_BYTES)
        } else if end >= limit {
            self.block.range.end
        } else {
            end
        }
    }
}

/// Where a unit begins.
pub(super) fn start_of(units: &[Unit], index: usize) -> usize {
    index.checked_sub(1).map_or(0, |before| units[before].end)
}

fn utf16_len(text: &str) -> u32 {
    text.chars().map(|character| character.len_utf16() as u32).sum()
}
