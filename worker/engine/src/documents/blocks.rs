//! A text as headings, paragraphs, list items, code and tables, one after the other without a gap. Knows lines, no sentences.

use std::ops::Range;

use super::lines::Line;

/// Longest block that is one thing: beyond it, a missing blank line or a stray fence is likelier than a block.
const MAX_BLOCK_BYTES: usize = 256 << 10;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Title of what follows; 1 is the outermost level, 6 the innermost.
    Heading {
        level: u8,
    },
    Paragraph,
    ListItem,
    /// Never cut where it fits.
    Code,
    /// Likewise.
    Table,
}

/// A part of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub kind: BlockKind,
    /// All of it: with the blank lines before the first block and after each.
    pub range: Range<usize>,
    /// Without blank lines and the last line break.
    pub content: Range<usize>,
    /// A heading's words without their marks; otherwise the content.
    pub title: Range<usize>,
    /// Bytes of its longest line: where lines are wrapped.
    pub longest_line_bytes: usize,
}

/// Reads blocks one by one.
pub(super) struct BlockScanner<'a> {
    text: &'a str,
    position: usize,
    after_blank: bool,
    in_list: bool,
    /// Shortest fences of backticks and tildes that are known not to be closed, and up to where that was looked for.
    unclosed: [Option<(usize, usize)>; 2],
}

impl<'a> BlockScanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, position: 0, after_blank: true, in_list: false, unclosed: [None; 2] }
    }

    /// The next block; none at the end of the text.
    pub fn next_block(&mut self) -> Option<Block> {
        let start = self.position;
        let content_start = self.skip_blank(start);
        let Some(first) = Line::at(self.text, content_start) else {
            // Nothing but blanks.
            self.position = self.text.len();
            let range = start..self.text.len();
            return (!range.is_empty()).then_some(Block {
                kind: BlockKind::Paragraph,
                content: range.end..range.end,
                title: range.end..range.end,
                longest_line_bytes: 0,
                range,
            });
        };
        let (kind, last, title) = self.read(first);
        let end = self.skip_blank(last.next);
        let content = content_start..last.end();
        self.after_blank = end > last.next;
        self.in_list =
            matches!(kind, BlockKind::ListItem) || (self.in_list && first.text.starts_with([' ', '\t']));
        self.position = end;
        Some(Block {
            kind,
            range: start..end,
            title: title.unwrap_or_else(|| content.clone()),
            longest_line_bytes: longest_line(&self.text[content.clone()]),
            content,
        })
    }

    fn skip_blank(&self, from: usize) -> usize {
        let mut position = from;
        while let Some(line) = Line::at(self.text, position).filter(Line::is_blank) {
            position = line.next;
        }
        position
    }

    /// Kind, last line and title of the block that begins with `first`.
    fn read(&mut self, first: Line<'a>) -> (BlockKind, Line<'a>, Option<Range<usize>>) {
        if let Some(last) = self.fenced(first) {
            return (BlockKind::Code, last, None);
        }
        if let Some((level, title)) = first.hash_heading() {
            return (BlockKind::Heading { level }, first, Some(title));
        }
        if let Some(last) = self.table(first) {
            return (BlockKind::Table, last, None);
        }
        let next = Line::at(self.text, first.next);
        if let Some((underline, level)) = next.and_then(|line| Some((line, line.underline()?)))
            && first.can_be_title()
            && first.bullet().is_none()
        {
            let title = first.start..first.end();
            return (BlockKind::Heading { level }, underline, Some(title));
        }
        if let Some((level, title)) = self.plain_heading(first, next) {
            return (BlockKind::Heading { level }, first, Some(title));
        }
        if first.bullet().is_some() || first.ordinal().is_some() {
            return (BlockKind::ListItem, self.paragraph(first, true), None);
        }
        if let Some(last) = self.indented_code(first) {
            return (BlockKind::Code, last, None);
        }
        (BlockKind::Paragraph, self.paragraph(first, false), None)
    }

    /// The line that closes the fence which `first` opens. A fence that nothing closes is a line like others.
    fn fenced(&mut self, first: Line<'a>) -> Option<Line<'a>> {
        let fence = first.fence()?;
        let known = &mut self.unclosed[usize::from(fence.0 == b'~')];
        let limit = first.start + MAX_BLOCK_BYTES;
        if known.is_some_and(|(length, up_to)| fence.1 >= length && limit.min(self.text.len()) <= up_to) {
            return None;
        }
        let mut position = first.next;
        while let Some(line) = Line::at(self.text, position).filter(|line| line.start < limit) {
            if line.closes(fence) {
                return Some(line);
            }
            position = line.next;
        }
        *known = Some((fence.1, position));
        None
    }

    fn table(&self, first: Line<'a>) -> Option<Line<'a>> {
        let second = Line::at(self.text, first.next)?;
        let is_row: &dyn Fn(&Line<'a>) -> bool = if first.has_bars()
            && (second.is_delimiter_row() || (first.begins_with_bar() && second.begins_with_bar()))
        {
            &Line::has_bars
        } else if first.num_tabs() > 0 && first.num_tabs() == second.num_tabs() {
            &move |line: &Line<'a>| line.num_tabs() == first.num_tabs()
        } else {
            return None;
        };
        Some(self.last_while(first, is_row))
    }

    fn indented_code(&self, first: Line<'a>) -> Option<Line<'a>> {
        if !self.after_blank || self.in_list || !first.is_indented() {
            return None;
        }
        let last = self.last_while(first, &Line::is_indented);
        let mut lines = 0;
        let mut code = 0;
        let mut position = first.start;
        while let Some(line) = Line::at(self.text, position).filter(|line| line.start <= last.start) {
            lines += 1;
            code += usize::from(line.looks_like_code());
            position = line.next;
        }
        (code * 2 >= lines).then_some(last)
    }

    fn last_while(&self, first: Line<'a>, belongs: &dyn Fn(&Line<'a>) -> bool) -> Line<'a> {
        let mut last = first;
        while let Some(line) = Line::at(self.text, last.next)
            && belongs(&line)
            && line.next - first.start <= MAX_BLOCK_BYTES
        {
            last = line;
        }
        last
    }

    /// A heading without marks stands between blank lines, or right above its text where it is in capitals, and before
    /// something. A number before it may also count a loose list.
    fn plain_heading(&self, first: Line<'a>, next: Option<Line<'a>>) -> Option<(u8, Range<usize>)> {
        let next = next.filter(|_| self.after_blank)?;
        let found = first.plain_heading()?;
        let in_capitals = !first.text.chars().any(char::is_lowercase);
        if !next.is_blank() && !in_capitals {
            return None;
        }
        let follower = Line::at(self.text, self.skip_blank(first.next))?;
        let counts_on = first.ordinal().is_some_and(|number| {
            self.in_list || follower.ordinal().is_some_and(|next| next == number.saturating_add(1))
        });
        (!counts_on).then_some(found)
    }

    /// Last line of running text.
    fn paragraph(&self, first: Line<'a>, is_item: bool) -> Line<'a> {
        let mut last = first;
        while let Some(line) = Line::at(self.text, last.next) {
            let interrupts = line.is_blank()
                || line.fence().is_some()
                || line.hash_heading().is_some()
                || line.bullet().is_some()
                || line.ordinal().is_some_and(|number| is_item || number == 1)
                || line.begins_with_bar()
                || line.next - first.start > MAX_BLOCK_BYTES;
            if interrupts {
                break;
            }
            last = line;
        }
        last
    }
}

fn longest_line(text: &str) -> usize {
    text.split('\n').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<(BlockKind, &str)> {
        let mut scanner = BlockScanner::new(text);
        let mut blocks = Vec::new();
        let mut end = 0;
        while let Some(block) = scanner.next_block() {
            assert_eq!(block.range.start, end, "blocks leave no gap");
            end = block.range.end;
            blocks.push((block.kind, &text[block.title]));
        }
        assert_eq!(end, text.len());
        blocks
    }

    fn heading(level: u8) -> BlockKind {
        BlockKind::Heading { level }
    }

    #[test]
    fn headings_of_all_kinds_are_found() {
        let text = "\n# One #\ntext\n\nTwo\n===\ntext\n\nThree\n---\n\n4. Four\n\ntext\n\n4.1 Four one\n\ntext\n\nCHAPTER FIVE\ntext\n\n\
                    Chapter 6: Six\n\ntext\n\n第七章 七\n\n文\n";
        let found: Vec<(BlockKind, &str)> =
            kinds(text).into_iter().filter(|(kind, _)| matches!(kind, BlockKind::Heading { .. })).collect();
        let expected = [
            (heading(1), "One"),
            (heading(1), "Two"),
            (heading(2), "Three"),
            (heading(1), "4. Four"),
            (heading(2), "4.1 Four one"),
            (heading(1), "CHAPTER FIVE"),
            (heading(1), "Chapter 6: Six"),
            (heading(1), "第七章 七"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_only_resembles_a_heading_is_text() {
        for text in [
            "#hashtag\n\ntext",
            "12 monkeys came\n\ntext",
            "3.14 is pi\n\ntext",
            "NASA\n",
            "Some\nTEXT\nhere",
            "1. First\n\n2. Second\n\n3. Third",
            "A sentence ends here.\n\ntext",
        ] {
            assert!(
                !kinds(text).iter().any(|(kind, _)| matches!(kind, BlockKind::Heading { .. })),
                "{text:?}"
            );
        }
    }

    #[test]
    fn code_and_tables_are_one_block_each() {
        let text = "Text:\n```rust\nlet a = 1;\n\nlet b = 2;\n```\nMore.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nx\ty\n1\t2\n\n    let c = 3;\n    call(c);\n\nEnd.";
        let expected = [
            (BlockKind::Paragraph, "Text:"),
            (BlockKind::Code, "```rust\nlet a = 1;\n\nlet b = 2;\n```"),
            (BlockKind::Paragraph, "More."),
            (BlockKind::Table, "| a | b |\n|---|---|\n| 1 | 2 |"),
            (BlockKind::Table, "x\ty\n1\t2"),
            (BlockKind::Code, "    let c = 3;\n    call(c);"),
            (BlockKind::Paragraph, "End."),
        ];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn a_fence_that_nothing_closes_is_text() {
        let text = "Text.\n\n```\nnever closed.\n\nMore text.\n~~~~\nno\n";
        assert!(kinds(text).iter().all(|(kind, _)| *kind == BlockKind::Paragraph));
    }

    #[test]
    fn list_items_are_apart_and_keep_their_wrapped_lines() {
        let text =
            "List:\n- one\n  goes on\n* two\n1) three\n2) four\na) five\n\nIn the year\n2019. That was it.";
        let expected = [
            (BlockKind::Paragraph, "List:"),
            (BlockKind::ListItem, "- one\n  goes on"),
            (BlockKind::ListItem, "* two"),
            (BlockKind::ListItem, "1) three"),
            (BlockKind::ListItem, "2) four"),
            (BlockKind::ListItem, "a) five"),
            (BlockKind::Paragraph, "In the year\n2019. That was it."),
        ];
        assert_eq!(kinds(text), expected);
    }

    #[test]
    fn windows_line_ends_and_blanks_alone_are_understood() {
        assert_eq!(kinds("# A\r\n\r\ntext\r\nmore\r\n").len(), 2);
        assert_eq!(kinds(" \n\t\n").len(), 1);
        assert_eq!(kinds("").len(), 0);
    }
}
