//! What one line looks like: heading, list item, fence, table row. Knows nothing of the lines around it.

use std::ops::Range;

/// Longer lines are text, whatever they begin with.
const MAX_HEADING_BYTES: usize = 200;

/// Words that a numbered heading begins with, besides a bare number.
const CHAPTER_WORDS: [&str; 10] = [
    "Chapter",
    "Section",
    "Part",
    "Appendix",
    "Article",
    "Kapitel",
    "Abschnitt",
    "Teil",
    "Anhang",
    "Artikel",
];

/// One line and where the next one begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// Its text without the line break.
    pub text: &'a str,
    /// Where it begins.
    pub start: usize,
    /// Where the next one begins, or the end of the text.
    pub next: usize,
}

impl<'a> Line<'a> {
    /// The line that begins at `start`; none at the end of the text.
    pub fn at(text: &'a str, start: usize) -> Option<Self> {
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let (line, next) = match rest.find('\n') {
            Some(newline) => (&rest[..newline], start + newline + 1),
            None => (rest, text.len()),
        };
        Some(Self { text: line.strip_suffix('\r').unwrap_or(line), start, next })
    }

    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Character and length of a code fence.
    pub fn fence(&self) -> Option<(u8, usize)> {
        let text = self.text.trim_start();
        let mark = *text.as_bytes().first()?;
        if mark != b'`' && mark != b'~' {
            return None;
        }
        let length = text.bytes().take_while(|byte| *byte == mark).count();
        // Backticks after backticks are code within a line.
        (length >= 3 && !(mark == b'`' && text[length..].contains('`'))).then_some((mark, length))
    }

    /// Whether it ends a block of code that began with that fence.
    pub fn closes(&self, (mark, length): (u8, usize)) -> bool {
        let text = self.text.trim();
        text.len() >= length && text.bytes().all(|byte| byte == mark)
    }

    /// Level and title of `## Title`.
    pub fn hash_heading(&self) -> Option<(u8, Range<usize>)> {
        let text = self.text.trim_start();
        let level = text.bytes().take_while(|byte| *byte == b'#').count();
        let follows = text.get(level..)?;
        if !(1..=6).contains(&level) || text.len() > MAX_HEADING_BYTES || !follows.starts_with([' ', '\t']) {
            return None;
        }
        let title = follows.trim().trim_end_matches('#').trim_end();
        Some((level as u8, self.range_of(title)))
    }

    /// Level that an underline gives the line above it.
    pub fn underline(&self) -> Option<u8> {
        let text = self.text.trim_end();
        let all = |mark: u8| text.len() >= 3 && text.bytes().all(|byte| byte == mark);
        if all(b'=') {
            Some(1)
        } else if all(b'-') {
            Some(2)
        } else {
            None
        }
    }

    /// Whether it can be a title at all: short, and not the end of a sentence.
    pub fn can_be_title(&self) -> bool {
        let text = self.text.trim();
        !text.is_empty()
            && text.len() <= MAX_HEADING_BYTES
            && !text.ends_with(['.', ',', ';', ':', '。', '，', '；'])
    }

    /// Level and title of a line that is a heading if it stands by itself: `2.3 Results`, `Chapter 4`, `RESULTS`, `第一章`.
    pub fn plain_heading(&self) -> Option<(u8, Range<usize>)> {
        if !self.can_be_title() || self.bullet().is_some() {
            return None;
        }
        let text = self.text.trim();
        let level = numbered_level(text).or_else(|| chapter_level(text)).or_else(|| capitals_level(text))?;
        Some((level, self.range_of(text)))
    }

    /// Where the text of a list item begins in the line: `- `, `* `, `• `.
    pub fn bullet(&self) -> Option<usize> {
        let text = self.text.trim_start();
        let mark = text.chars().next().filter(|mark| matches!(mark, '-' | '*' | '+' | '•' | '‣' | '–'))?;
        let follows = &text[mark.len_utf8()..];
        follows.starts_with([' ', '\t']).then(|| self.text.len() - follows.trim_start().len())
    }

    /// Number of an ordered list item: `3. `, `3) `, `b) `.
    pub fn ordinal(&self) -> Option<u32> {
        let text = self.text.trim_start();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, length) = match text.as_bytes().first()? {
            letter @ b'a'..=b'z' if text[1..].starts_with(')') => (u32::from(letter - b'a') + 1, 1),
            _ if (1..=3).contains(&digits) => (text[..digits].parse().ok()?, digits),
            _ => return None,
        };
        let follows = text[length..].strip_prefix(['.', ')'])?;
        follows.starts_with([' ', '\t']).then_some(number)
    }

    /// Whether it is one of several rows: columns between bars.
    pub fn has_bars(&self) -> bool {
        self.text.contains('|')
    }

    /// Whether it begins with a bar, as rows do.
    pub fn begins_with_bar(&self) -> bool {
        self.text.trim_start().starts_with('|')
    }

    /// `|---|:---:|`.
    pub fn is_delimiter_row(&self) -> bool {
        let text = self.text.trim();
        text.contains('-')
            && text.contains('|')
            && text.bytes().all(|byte| matches!(byte, b'|' | b'-' | b':' | b' ' | b'\t'))
    }

    /// Columns between tabs, less one.
    pub fn num_tabs(&self) -> usize {
        self.text.trim().bytes().filter(|byte| *byte == b'\t').count()
    }

    pub fn is_indented(&self) -> bool {
        !self.is_blank() && (self.text.starts_with("    ") || self.text.starts_with('\t'))
    }

    /// Whether an indented line is rather code than prose.
    pub fn looks_like_code(&self) -> bool {
        let text = self.text.trim();
        text.ends_with([';', '{', '}', ')', ',', ':', '>', '\\'])
            || text.starts_with(['#', '$', '/', '<', '}', '.', '@'])
            || [" = ", "()", "=>", "->", "::", "==", "&&"].iter().any(|mark| text.contains(mark))
    }

    fn range_of(&self, part: &str) -> Range<usize> {
        let start = self.start + (part.as_ptr() as usize - self.text.as_ptr() as usize);
        start..start + part.len()
    }
}

/// `1. Introduction` is of level 1, `2.3 Results` of level 2.
fn numbered_level(text: &str) -> Option<u8> {
    let (number, title) = text.split_once([' ', '\t'])?;
    let digits = number.strip_suffix('.').unwrap_or(number);
    let parts: Vec<&str> = digits.split('.').collect();
    let is_number =
        |part: &&str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    // A bare number before words is a quantity.
    let is_marked = parts.len() > 1 || number.ends_with('.');
    let title_begins = title.trim_start().chars().next()?;
    (is_marked
        && parts.len() <= 6
        && parts.iter().all(is_number)
        && title_begins.is_alphabetic()
        && !title_begins.is_lowercase())
    .then_some(parts.len() as u8)
}

/// `Chapter 4: The end`, `§ 5 Fristen`, `第一章 开始`.
fn chapter_level(text: &str) -> Option<u8> {
    if let Some(rest) = text.strip_prefix('第') {
        let number: usize = rest
            .chars()
            .take_while(|c| "一二三四五六七八九十百零〇0123456789".contains(*c))
            .map(char::len_utf8)
            .sum();
        let unit = rest[number..].chars().next()?;
        return match unit {
            '章' | '部' | '編' | '编' if number > 0 => Some(1),
            '节' | '節' | '条' | '條' if number > 0 => Some(2),
            _ => None,
        };
    }
    let (word, rest) = text.split_once(' ')?;
    let number = rest.split([' ', ':', '.', '-', '–']).next()?;
    let is_number = !number.is_empty()
        && number.len() <= 5
        && (number.bytes().all(|byte| byte.is_ascii_digit())
            || number.bytes().all(|byte| b"IVXLC".contains(&byte)));
    ((CHAPTER_WORDS.contains(&word) || word == "§") && is_number).then_some(1)
}

/// `RESULTS AND DISCUSSION`.
fn capitals_level(text: &str) -> Option<u8> {
    let num_capitals = text.chars().filter(|c| c.is_uppercase()).count();
    let is_shouted = num_capitals >= 3 && !text.chars().any(|c| c.is_lowercase());
    // Rows of codes and numbers are not headings.
    (is_shouted && num_capitals * 2 > text.chars().filter(|c| !c.is_whitespace()).count()).then_some(1)
}
