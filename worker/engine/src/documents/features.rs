//! What sentences are about, as numbers: stems of words, pairs of characters where words have no blanks between them, their
//! rarity, and vectors of them. Knows no order and no tokens.

use ahash::AHashMap;

use super::sentences::is_east_asian;
use super::words::is_stop_word;

/// Most different terms of one sentence: a table or a block of code need not say more.
const MAX_TERMS: usize = 256;

/// Longest word that is told apart by all of it.
const MAX_STEM_CHARS: usize = 12;

/// Endings that are taken off words, longest first.
const ENDINGS: [&str; 15] =
    ["ings", "ing", "edly", "ern", "ers", "ed", "es", "er", "en", "em", "ly", "e", "s", "n", "d"];

/// Shortest stem that is left.
const MIN_STEM_CHARS: usize = 4;

/// Terms of all sentences.
#[derive(Default)]
pub(super) struct Terms {
    ids: AHashMap<String, u32>,
    /// In how many sentences each term is.
    num_sentences_with: Vec<u32>,
    /// Where each sentence's entries begin in `entries`; one more at the end.
    starts: Vec<usize>,
    /// Terms of a sentence with how often they are in it.
    entries: Vec<(u32, u32)>,
}

impl Terms {
    pub fn new() -> Self {
        Self { starts: vec![0], ..Self::default() }
    }

    /// Adds the next sentence.
    pub fn push(&mut self, sentence: &str) {
        let first = self.entries.len();
        for_each_term(sentence, &mut |term| {
            let next_id = self.num_sentences_with.len() as u32;
            let id = match self.ids.get(term) {
                Some(id) => *id,
                None => {
                    self.ids.insert(term.to_owned(), next_id);
                    self.num_sentences_with.push(0);
                    next_id
                }
            };
            self.entries.push((id, 1));
        });
        let added = &mut self.entries[first..];
        added.sort_unstable();
        let mut kept = first;
        for index in first..self.entries.len() {
            let entry = self.entries[index];
            if kept > first && self.entries[kept - 1].0 == entry.0 {
                self.entries[kept - 1].1 += 1;
            } else {
                self.entries[kept] = entry;
                kept += 1;
            }
        }
        self.entries.truncate(kept.min(first + MAX_TERMS));
        for (term, _) in &self.entries[first..] {
            self.num_sentences_with[*term as usize] += 1;
        }
        self.starts.push(self.entries.len());
    }

    pub fn num_sentences(&self) -> usize {
        self.starts.len() - 1
    }

    /// Terms of a sentence and how often they are in it.
    pub fn of(&self, sentence: usize) -> &[(u32, u32)] {
        &self.entries[self.starts[sentence]..self.starts[sentence + 1]]
    }

    /// Different terms of a text that any sentence has, in order.
    pub fn known(&self, text: &str) -> Vec<u32> {
        let mut known = Vec::new();
        for_each_term(text, &mut |term| known.extend(self.ids.get(term)));
        known.sort_unstable();
        known.dedup();
        known
    }

    /// How much a term tells: much where few sentences have it.
    pub fn rarity(&self, term: u32) -> f64 {
        let having = f64::from(self.num_sentences_with[term as usize]);
        (1.0 + (self.num_sentences() as f64 - having + 0.5) / (having + 0.5)).ln()
    }

    pub fn num_sentences_with(&self, term: u32) -> u32 {
        self.num_sentences_with[term as usize]
    }

    pub fn num_terms(&self) -> usize {
        self.num_sentences_with.len()
    }
}

/// Sentences as directions in the space of terms: equal ones have the product 1, unrelated ones 0.
pub(super) struct Vectors {
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
    /// Where each term's sentences begin in `postings`; one more at the end.
    posting_starts: Vec<usize>,
    /// Sentences with a term and its weight there, in the order of sentences.
    postings: Vec<(u32, f32)>,
}

impl Vectors {
    /// Weighs terms by rarity. Terms that more than `max_sentences` share tell nothing and would cost most.
    pub fn new(terms: &Terms, max_sentences: u32) -> Self {
        let mut vectors =
            Self { starts: vec![0], entries: Vec::new(), posting_starts: Vec::new(), postings: Vec::new() };
        for sentence in 0..terms.num_sentences() {
            let first = vectors.entries.len();
            let telling = terms
                .of(sentence)
                .iter()
                .filter(|(term, _)| terms.num_sentences_with(*term) <= max_sentences);
            vectors.entries.extend(
                telling.map(|(term, times)| {
                    (*term, ((1.0 + f64::from(*times).ln()) * terms.rarity(*term)) as f32)
                }),
            );
            let added = &mut vectors.entries[first..];
            let length = added.iter().map(|(_, weight)| weight * weight).sum::<f32>().sqrt();
            added.iter_mut().for_each(|(_, weight)| *weight /= length.max(f32::MIN_POSITIVE));
            vectors.starts.push(vectors.entries.len());
        }
        vectors.index(terms.num_terms());
        vectors
    }

    fn index(&mut self, num_terms: usize) {
        let mut starts = vec![0; num_terms + 1];
        for (term, _) in &self.entries {
            starts[*term as usize + 1] += 1;
        }
        for term in 0..num_terms {
            starts[term + 1] += starts[term];
        }
        let mut next = starts.clone();
        self.postings = vec![(0, 0.0); self.entries.len()];
        for sentence in 0..self.num_sentences() {
            for (term, weight) in &self.entries[self.starts[sentence]..self.starts[sentence + 1]] {
                self.postings[next[*term as usize]] = (sentence as u32, *weight);
                next[*term as usize] += 1;
            }
        }
        self.posting_starts = starts;
    }

    pub fn num_sentences(&self) -> usize {
        self.starts.len() - 1
    }

    /// Terms of a sentence and their weights.
    pub fn of(&self, sentence: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[sentence]..self.starts[sentence + 1]]
    }

    /// Sentences that have a term, and its weight in each.
    pub fn having(&self, term: u32) -> &[(u32, f32)] {
        &self.postings[self.posting_starts[term as usize]..self.posting_starts[term as usize + 1]]
    }
}

/// Calls `found` with each term of a text.
fn for_each_term(text: &str, found: &mut dyn FnMut(&str)) {
    let mut word = String::new();
    let mut previous_unspaced: Option<char> = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if is_unspaced(character) {
            finish_word(&mut word, found);
            match previous_unspaced {
                Some(previous) => found(String::from_iter([previous, character]).as_str()),
                // A character by itself is a word.
                None if characters.peek().is_none_or(|next| !is_unspaced(*next)) => {
                    found(character.encode_utf8(&mut [0; 4]));
                }
                None => {}
            }
            previous_unspaced = Some(character);
            continue;
        }
        previous_unspaced = None;
        if character.is_alphanumeric() {
            word.extend(character.to_lowercase());
        } else {
            // 3.14 and 1,000 are one number.
            let is_in_number = matches!(character, '.' | ',')
                && word.ends_with(|c: char| c.is_ascii_digit())
                && characters.peek().is_some_and(char::is_ascii_digit);
            let is_mark = character == '\u{301}' || character == '\u{308}';
            if is_in_number {
                word.push(character);
            } else if !is_mark {
                finish_word(&mut word, found);
            }
        }
    }
    finish_word(&mut word, found);
}

fn finish_word(word: &mut String, found: &mut dyn FnMut(&str)) {
    // A single letter is the rest of an apostrophe or a variable; a single digit is a number.
    let says_something = word.chars().nth(1).is_some() || word.starts_with(|c: char| c.is_ascii_digit());
    if says_something && !is_stop_word(word) {
        found(stem(word));
    }
    word.clear();
}

/// The beginning that forms of a word share. Crude, and the same for all languages: it only has to bring forms together.
fn stem(word: &str) -> &str {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return word;
    }
    let length = word.chars().count();
    let ending =
        ENDINGS.into_iter().find(|ending| word.ends_with(ending) && length - ending.len() >= MIN_STEM_CHARS);
    let stem = &word[..word.len() - ending.map_or(0, str::len)];
    // decided, decide; stopped, stop.
    let mut last_two = stem.chars().rev();
    let stem = match (last_two.next(), last_two.next()) {
        (Some(last), Some(before)) if last == before && ending.is_some() && length > 5 => {
            &stem[..stem.len() - last.len_utf8()]
        }
        _ => stem,
    };
    let cut = stem.char_indices().nth(MAX_STEM_CHARS).map_or(stem.len(), |(at, _)| at);
    &stem[..cut]
}

/// Scripts that write words without blanks.
fn is_unspaced(character: char) -> bool {
    let is_south_east_asian =
        matches!(u32::from(character), 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF);
    (is_east_asian(character) || is_south_east_asian) && character.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_term(text, &mut |term| found.push(term.to_owned()));
        found
    }

    #[test]
    fn words_become_stems_and_numbers_stay_whole() {
        assert_eq!(
            terms("The pages decoded: 3.14 of 1,000."),
            ["pag", "decod", "3.14", "1,000"].map(|t| if t == "pag" { "page" } else { t })
        );
        for forms in
            [["decode", "decoding"], ["decoder", "decoded"], ["Leistung", "Leistungen"], ["stopped", "stops"]]
        {
            assert_eq!(terms(forms[0]), terms(forms[1]), "{forms:?}");
        }
        assert_ne!(terms("page"), terms("pain"));
        assert!(terms("the und I a 's").is_empty());
    }

    #[test]
    fn scripts_without_blanks_become_pairs() {
        assert_eq!(terms("天气好。水 GPU显存"), ["天气", "气好", "水", "gpu", "显存"]);
    }

    #[test]
    fn rare_terms_tell_more_and_equal_sentences_are_alike() {
        let mut all = Terms::new();
        for sentence in ["red fox", "red fox", "red house", "green house"] {
            all.push(sentence);
        }
        assert!(all.rarity(all.known("green")[0]) > all.rarity(all.known("red")[0]));
        let vectors = Vectors::new(&all, 10);
        let product = |a: usize, b: usize| -> f32 {
            vectors
                .of(a)
                .iter()
                .flat_map(|x| vectors.of(b).iter().filter(move |y| x.0 == y.0).map(move |y| x.1 * y.1))
                .sum()
        };
        assert!((product(0, 1) - 1.0).abs() < 1e-6);
        assert!(product(0, 2) < 0.9 && product(0, 2) > 0.0);
        assert_eq!(product(0, 3), 0.0);
        assert_eq!(vectors.having(all.known("house")[0]).len(), 2);
    }
}
