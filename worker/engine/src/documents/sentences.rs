//! Where sentences end: in running text with blanks between words (English and German in particular), in Chinese and
//! Japanese, in text with wrapped lines. Knows the words in `words`, no blocks beyond the limits of one.

use super::blocks::Block;
use super::splitting::floor_grapheme;
use super::words::{self, StopMeaning};

/// Longest sentence: what is longer has no full stops and is cut at a blank.
pub(super) const MAX_SENTENCE_BYTES: usize = 8 << 10;

/// A line break ends a sentence that is longer than this: lists and logs without full stops.
const SOFT_SENTENCE_BYTES: usize = 600;

/// How far back a blank is looked for where a sentence is cut.
const CUT_SEARCH_BYTES: usize = 1 << 10;

/// How far ahead the closing bracket of a quotation is looked for.
const QUOTATION_BYTES: usize = 600;

/// Where the sentence that begins at `from` ends, with the blanks after it. The last one of a block has the block's end.
pub(super) fn sentence_end(text: &str, block: &Block, from: usize) -> usize {
    let limit = block.content.end;
    let scanner = Scanner { text, from, limit, line_bytes: block.longest_line_bytes };
    let end = scanner.find_end();
    let end = end + text[end..limit].len() - text[end..limit].trim_start().len();
    if end >= limit { block.range.end } else { end }
}

struct Scanner<'a> {
    text: &'a str,
    from: usize,
    limit: usize,
    line_bytes: usize,
}

impl Scanner<'_> {
    fn find_end(&self) -> usize {
        let hard_limit = self.from + MAX_SENTENCE_BYTES;
        // Brackets of East Asian quotations that are open.
        let mut depth = 0_u32;
        let mut position = self.from;
        while let Some(character) = self.char_at(position) {
            let next = position + character.len_utf8();
            if next > hard_limit {
                return self.cut(position);
            }
            let stop_end = match character {
                '\n' if self.line_ends_sentence(position) => return next,
                '「' | '『' | '《' => {
                    depth += 1;
                    None
                }
                '」' | '』' | '》' => {
                    depth = depth.saturating_sub(1);
                    None
                }
                '。' | '｡' | '．' | '！' | '？' | '।' | '॥' | '۔' | '؟' => {
                    let run_end = self.skip(next, is_stop);
                    if let Some(end) = self.wide_stop(run_end, depth) {
                        return end;
                    }
                    Some(run_end)
                }
                '.' | '!' | '?' | '…' | '‼' | '⁇' | '⁈' | '⁉' => {
                    let run_end = self.skip(next, is_stop);
                    if let Some(end) = self.narrow_stop(position, run_end) {
                        return end;
                    }
                    Some(run_end)
                }
                _ => None,
            };
            position = stop_end.unwrap_or(next);
        }
        self.limit
    }

    /// End of the sentence where a stop of a script without blanks ends one.
    fn wide_stop(&self, run_end: usize, depth: u32) -> Option<usize> {
        if self.text[..run_end].ends_with('．') && self.char_at(run_end).is_some_and(char::is_numeric) {
            return None;
        }
        let end = self.skip(run_end, is_closer);
        let closes_quotation = self.text[run_end..end].contains(['」', '』', '》']);
        if depth > 0 && !closes_quotation {
            // Inside a quotation, unless nothing closes it.
            let ahead =
                &self.text[run_end..floor_char(self.text, (run_end + QUOTATION_BYTES).min(self.limit))];
            if ahead.contains(['」', '』', '》']) {
                return None;
            }
        }
        // 「行きます。」と言った goes on after the quotation; a comma always does.
        let goes_on = match self.char_at(end) {
            Some('、' | '，' | ',') => true,
            Some('と' | 'っ' | 'て' | 'は' | 'が' | 'の' | 'を' | 'に' | 'も' | 'や' | 'な' | 'で') => {
                closes_quotation
            }
            _ => false,
        };
        (!goes_on).then_some(end)
    }

    /// End of the sentence where a stop of a script with blanks ends one.
    fn narrow_stop(&self, run_start: usize, run_end: usize) -> Option<usize> {
        let run = &self.text[run_start..run_end];
        let closed = self.skip(run_end, is_closer);
        let end = self.skip_citations(closed);
        let after = match self.char_at(end) {
            None => return Some(end),
            Some(after) => after,
        };
        if !after.is_whitespace() {
            // 你好!我是 has no blank.
            return (is_east_asian(after) && !run.contains(['.', '…'])).then_some(end);
        }
        let next_word = self.next_word(end);
        let is_lowercase = next_word.starts_with(char::is_lowercase);
        // "Why?" she asked; (really?) true; wait... what.
        if is_lowercase && (closed > run_end || run.contains('…') || run.starts_with("..")) {
            return None;
        }
        let ends = run != "." || self.full_stop_ends(run_start, next_word, is_lowercase);
        ends.then_some(end)
    }

    fn full_stop_ends(&self, run_start: usize, next_word: &str, is_lowercase: bool) -> bool {
        let word = self.word_before(run_start);
        if word.is_empty() {
            return false;
        }
        match words::stop_between(word, next_word) {
            StopMeaning::Abbreviates => false,
            StopMeaning::MayEnd => {
                !is_lowercase && self.begins_sentence(next_word) && !self.is_pair(run_start, word)
            }
            // In text without capitals a small letter begins sentences; elsewhere the stop is of a word that is not listed.
            StopMeaning::Ends if is_lowercase => {
                word.chars().count() >= 3 && self.word_at(self.from).starts_with(char::is_lowercase)
            }
            StopMeaning::Ends => !self.is_ordinal(run_start, word, next_word),
        }
    }

    /// Whether the next word can only begin a sentence, or what comes next is no word at all.
    fn begins_sentence(&self, next_word: &str) -> bool {
        let end = next_word.as_ptr() as usize - self.text.as_ptr() as usize + next_word.len();
        // In `J. A. Smith`, A is not the article.
        let is_initial = next_word.len() == 1 && self.char_at(end) == Some('.');
        next_word.is_empty() || (words::is_starter(next_word) && !is_initial)
    }

    /// Whether the one letter `word` is the second of a pair such as `z. B.`, which leads on.
    fn is_pair(&self, run_start: usize, word: &str) -> bool {
        let before = self.text[self.from..run_start - word.len()].trim_end();
        let first = before.strip_suffix('.').map(|before| self.word_before(self.from + before.len()));
        word.chars().count() == 1
            && first.is_some_and(|first| first.chars().count() == 1 && first.starts_with(char::is_lowercase))
    }

    /// Whether `word` is a number that the full stop makes an ordinal: `3. Mai`, `im 19. Jahrhundert`, `2. Point two`.
    fn is_ordinal(&self, run_start: usize, word: &str, next_word: &str) -> bool {
        if word.len() > 2 || !word.bytes().all(|byte| byte.is_ascii_digit()) {
            return false;
        }
        let before = self.text[self.from..run_start - word.len()].trim_end();
        if before.is_empty() {
            return true;
        }
        let previous = self.word_before(self.from + before.len());
        // `I am 12.` is English.
        let is_english = previous == "am" && before.trim_end_matches("am").trim_end().ends_with('I');
        !is_english && words::is_ordinal_between(previous, next_word)
    }

    /// Whether the line break at `newline` was set by the author and not by wrapping.
    fn line_ends_sentence(&self, newline: usize) -> bool {
        let sentence = &self.text[self.from..newline];
        if sentence.trim().is_empty() {
            return false;
        }
        if sentence.len() >= SOFT_SENTENCE_BYTES {
            return true;
        }
        let line_start = self.text[..newline].rfind('\n').map_or(0, |at| at + 1);
        let next_word = self.word_at(newline + 1);
        // The next speaker, the next field of a form.
        let is_field = next_word.starts_with(char::is_uppercase)
            && self.text[newline + 1 + next_word.len()..self.limit].starts_with(": ");
        let would_have_fitted = newline - line_start + 1 + next_word.len() < self.line_bytes;
        let goes_on = next_word.chars().next().is_none_or(char::is_lowercase)
            || sentence.trim_end().ends_with([',', ';', '-', '–', '、', '，'])
            // Wrapped lines of a script without blanks end anywhere.
            || sentence.trim_end().ends_with(is_east_asian);
        is_field || (would_have_fitted && !goes_on)
    }

    /// Where a sentence without an end is cut: after the last blank before `at`, or at least not inside a character as
    /// readers see them.
    fn cut(&self, at: usize) -> usize {
        let search_from = floor_char(self.text, at.saturating_sub(CUT_SEARCH_BYTES)).max(self.from);
        match self.text[search_from..at].rfind(char::is_whitespace) {
            Some(blank) if search_from + blank > self.from => {
                self.skip(search_from + blank, char::is_whitespace).min(at)
            }
            _ => floor_grapheme(self.text, self.from, at),
        }
    }

    fn char_at(&self, position: usize) -> Option<char> {
        self.text[position..self.limit].chars().next()
    }

    fn skip(&self, from: usize, belongs: fn(char) -> bool) -> usize {
        let rest = &self.text[from..self.limit];
        from + rest.len() - rest.trim_start_matches(belongs).len()
    }

    /// `[12]` right after a full stop belongs to the sentence before it.
    fn skip_citations(&self, from: usize) -> usize {
        let mut position = from;
        while let Some(inner) = self.text[position..self.limit].strip_prefix('[') {
            let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
            if !(1..=3).contains(&digits) || !inner[digits..].starts_with(']') {
                break;
            }
            position += digits + 2;
        }
        position
    }

    /// The word that begins at `from` or after blanks and opening marks.
    fn next_word(&self, from: usize) -> &str {
        self.word_at(self.skip(from, |c| c.is_whitespace() || is_opener(c)))
    }

    fn word_at(&self, from: usize) -> &str {
        let rest = &self.text[from..self.limit];
        let length = rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len());
        &rest[..length]
    }

    /// The word that ends at `end`, with inner stops and without marks before it.
    fn word_before(&self, end: usize) -> &str {
        let before = &self.text[self.from..end];
        let start = before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        before[start..].trim_start_matches(|c: char| !c.is_alphanumeric())
    }
}

fn floor_char(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn is_stop(character: char) -> bool {
    matches!(
        character,
        '.' | '!'
            | '?'
            | '…'
            | '。'
            | '｡'
            | '！'
            | '？'
            | '‼'
            | '⁇'
            | '⁈'
            | '⁉'
            | '।'
            | '॥'
            | '۔'
            | '؟'
    )
}

/// Right after a stop these close, whichever way they point.
fn is_closer(character: char) -> bool {
    matches!(
        character,
        ')' | ']'
            | '}'
            | '"'
            | '\''
            | '”'
            | '“'
            | '’'
            | '»'
            | '«'
            | '›'
            | '‹'
            | '」'
            | '』'
            | '）'
            | '】'
            | '》'
            | '〉'
            | '*'
            | '_'
    )
}

fn is_opener(character: char) -> bool {
    matches!(
        character,
        '(' | '['
            | '{'
            | '"'
            | '\''
            | '”'
            | '“'
            | '„'
            | '‘'
            | '‚'
            | '»'
            | '«'
            | '›'
            | '‹'
            | '*'
            | '_'
            | '`'
            | '¿'
            | '¡'
            | '>'
            | '#'
    )
}

/// Whether a character belongs to Chinese, Japanese or their punctuation.
pub(super) fn is_east_asian(character: char) -> bool {
    matches!(u32::from(character), 0x3000..=0x30FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0xFF00..=0xFFEF | 0x20000..=0x3FFFF)
}

#[cfg(test)]
mod tests {
    use super::super::blocks::BlockScanner;
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        let mut scanner = BlockScanner::new(text);
        let mut found = Vec::new();
        while let Some(block) = scanner.next_block() {
            let mut from = block.range.start;
            while from < block.range.end {
                let end = sentence_end(text, &block, from.max(block.content.start));
                found.push(text[from..end].trim());
                from = end;
            }
        }
        found
    }

    /// `|` stands between the sentences; the blanks around it are the text's.
    fn check(marked: &str) {
        let expected: Vec<&str> = marked.split('|').map(str::trim).collect();
        assert_eq!(sentences(&marked.replace('|', "")), expected, "{marked}");
    }

    #[test]
    fn english() {
        for marked in [
            "It rains. | We stay! | Do you? | Yes.",
            "Dr. Smith met Mrs. Jones at 5 p.m. on Oct. 3 in St. Louis. | They talked.",
            "The U.S. Senate met. | It was in the U.S. | The vote failed.",
            "J. R. R. Tolkien wrote it. | George W. Bush did not.",
            "Pi is 3.14159 and e is 2.718. | Version 1.2.3 costs $5.99.",
            "See https://example.com/a.b?c=d.e&f=!g for more. | Or example.org. | Then go.",
            "He said, \"Stop.\" | Then he left. | \"Why?\" she asked. | 'Go!' | We went.",
            "Wait... what? | No... | Then it ended.",
            "Some tools (e.g. grep, i.e. a filter) help, etc. and so on. | The rest, etc. | The end.",
            "Node.js and .NET are fine. | So is ASP.NET Core.",
            "Earlier work showed this.[12][3] | Later work did not.",
            "Acme Inc. sold it to Foo Corp. in May. | It was cheap.",
            "See Fig. 3 and No. 7. | Next.",
            "i went home. | it was late. | He slept.",
            "J. A. Smith likes modern art. | The museum agrees.",
            "It cost 12. | Then it cost 1,000.50 more!",
            "Is it (really?) true?! | Maybe.",
            "This is **bold.** | Next one.",
        ] {
            check(marked);
        }
    }

    #[test]
    fn german() {
        for marked in [
            "Das gilt z. B. für Dr. Müller, d. h. für alle. | Es ist so.",
            "Am 3. Mai 2024 kam er. | Im 19. Jahrhundert war das anders. | Der 2. Weltkrieg auch.",
            "Es kostet ca. 3,50 Euro bzw. 1.000,00 Yen. | Das ist viel.",
            "Er aß Äpfel, Birnen usw. und ging. | Sie aß Brot usw. | Dann ging sie.",
            "„Halt!“, rief er. | „Komm her.“ | Sie kam. | »Gut.« | Danach Stille.",
            "Vgl. Abb. 3 auf S. 12 der Arbeit. | Mehr dazu bei Nr. 5.",
            "Prof. Dr. h. c. Meier sprach. | Die Gäste klatschten.",
            "Ist das i. d. R. so? | Ja!",
            "Das Treffen war am 12. März. | Es dauerte 2 Stunden.",
        ] {
            check(marked);
        }
    }

    #[test]
    fn chinese_and_japanese() {
        for marked in [
            "今天天气很好。|我们去公园吧！|你来吗？|好的……我来。",
            "他说：“我走了。”|然后他离开了。",
            "圆周率是３．１４。|版本2.0发布了。|你好!|我是学生。",
            "今日は雨です。|傘を持って行きましょう。",
            "彼は「明日行きます。必ず。」と言った。|私は待った。",
            "「そうですか。」|彼女は笑った。",
            "（注意してください。）|次に進みます。",
        ] {
            check(marked);
        }
        // Nothing closes the bracket, so it does not hold the text together.
        check("彼は「行く。|そして帰る。|終わり。");
    }

    #[test]
    fn wrapped_lines_are_one_sentence_and_authored_lines_are_several() {
        let wrapped = "The quick brown fox jumps over the lazy dog and then it\nsleeps for a whole day because it is so very tired of\njumping all the time.";
        assert_eq!(sentences(wrapped).len(), 1);
        let lines = "Alice: I think that we should go home now, all of us\nBob: No\nAlice: Fine then";
        assert_eq!(sentences(lines).len(), 3);
    }

    #[test]
    fn a_sentence_without_an_end_is_cut_at_a_blank_or_between_characters() {
        let words = "word ".repeat(5_000);
        let found = sentences(&words);
        assert!(found.len() > 1);
        assert!(found.iter().all(|part| part.len() <= MAX_SENTENCE_BYTES && part.ends_with("word")));
        let family = "👨‍👩‍👧‍👦".repeat(2_000);
        let found = sentences(&family);
        assert!(found.len() > 1 && found.iter().all(|part| part.starts_with('👨') && part.ends_with('👦')));
    }
}
