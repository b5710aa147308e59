//! Words that end in a full stop or begin sentences, in English and German, and words that say nothing. Knows no rules.

/// Before a name, a number or the thing meant: a full stop after one of these never ends a sentence. Lower case.
#[rustfmt::skip]
const ALWAYS_GO_ON: &[&str] = &[
    "mr", "mrs", "ms", "messrs", "dr", "prof", "st", "rev", "hon", "capt", "lt", "sgt", "sen", "rep", "gov",
    "pres", "figs", "eq", "eqs", "vol", "vols", "nos", "pp", "eds", "cf", "vs", "viz", "approx", "dept", "hr",
    "fr", "frl", "dipl", "hl", "nr", "abb", "kap", "abs", "bd", "bzw", "ca", "vgl", "evtl", "ggf", "inkl",
    "exkl", "sog", "geb", "gest", "lfd", "str", "tel", "bspw", "ungef", "zzgl", "abzgl", "insb", "allg",
    "engl", "dipl.-ing", "dr.-ing",
];

/// May also be the last word, or a word by itself: then only the next one tells. Lower case.
#[rustfmt::skip]
const MAY_END: &[&str] = &[
    "etc", "usw", "usf", "inc", "ltd", "co", "corp", "jr", "sr", "bros", "llc", "gmbh", "ag", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "okt", "dez", "mio", "mrd", "al",
    "art", "ed", "fig", "sec", "ch", "col", "gen", "maj", "mt", "ft", "op", "cit", "mag", "tab", "min", "max",
    "mind", "ing",
];

/// Before a number only. Lower case.
#[rustfmt::skip]
const BEFORE_NUMBERS: &[&str] = &[
    "no", "p", "s",
];

/// Pairs such as `z. B.` that lead on, without blanks and the last stop. Lower case.
#[rustfmt::skip]
const LEAD_ON: &[&str] = &[
    "e.g", "i.e", "z.b", "d.h", "z.t", "u.u", "v.a", "i.d.r", "i.a", "m.e", "s.o", "s.u", "u.a", "o.ä",
    "n.chr",
];

/// After these a number with a full stop is an ordinal in German. Lower case.
#[rustfmt::skip]
const BEFORE_ORDINALS: &[&str] = &[
    "am", "im", "vom", "zum", "zur", "beim", "der", "die", "das", "dem", "den", "des", "ab", "bis", "seit",
    "jeden", "jedem", "ihr", "ihren", "ihrem", "sein", "seinen", "seinem", "mein", "meinem", "ins",
];

#[rustfmt::skip]
const MONTHS: &[&str] = &[
    "Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November",
    "Dezember",
];

/// Words that hardly stand with a capital unless they begin a sentence.
#[rustfmt::skip]
const STARTERS: &[&str] = &[
    "The", "A", "An", "It", "He", "She", "They", "We", "You", "In", "On", "At", "This", "That", "These",
    "Those", "There", "But", "And", "So", "If", "When", "While", "However", "For", "As", "After", "Before",
    "Then", "Its", "His", "Her", "Our", "My", "No", "Not", "What", "Why", "How", "Who", "Der", "Die", "Das",
    "Ein", "Eine", "Einen", "Er", "Sie", "Es", "Wir", "Ich", "Ihr", "Im", "Am", "Auf", "Bei", "Mit", "Nach",
    "Von", "Zu", "Zum", "Zur", "Für", "Aber", "Und", "Wenn", "Als", "Doch", "Dann", "Da", "Dies", "Diese",
    "Dieser", "Dieses", "Auch", "Nicht", "Nur", "Man", "Seit", "Den", "Dem", "Des", "Danach", "Later",
];

/// Words that say nothing about what a sentence is about. Lower case, sorted.
#[rustfmt::skip]
const STOP_WORDS: &[&str] = &[
    "a", "aber", "about", "after", "all", "als", "also", "am", "an", "and", "any", "are", "as", "at", "auch",
    "auf", "aus", "be", "because", "been", "before", "bei", "bin", "bis", "but", "by", "can", "could", "da",
    "das", "dass", "dem", "den", "der", "des", "did", "die", "do", "doch", "does", "dort", "du", "durch",
    "each", "ein", "eine", "einem", "einen", "einer", "eines", "er", "es", "for", "from", "für", "had", "has",
    "hat", "hatte", "have", "he", "her", "hier", "him", "his", "how", "i", "ich", "if", "ihr", "ihre", "im",
    "in", "into", "is", "ist", "it", "its", "kann", "kein", "keine", "man", "may", "me", "mehr", "mit",
    "more", "most", "must", "my", "nach", "nicht", "no", "noch", "nor", "not", "nur", "ob", "oder", "of",
    "on", "one", "only", "or", "other", "our", "out", "over", "own", "schon", "sehr", "sein", "seine", "she",
    "should", "sich", "sie", "sind", "so", "some", "such", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "those", "to", "too", "um", "und", "up", "us", "vom", "von", "vor",
    "war", "waren", "was", "we", "wenn", "were", "what", "when", "where", "which", "while", "who", "whom",
    "why", "wie", "will", "wir", "wird", "with", "would", "wurde", "wurden", "you", "your", "zu", "zum",
    "zur", "über",
];

/// What a full stop after a word means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopMeaning {
    /// Part of the word.
    Abbreviates,
    /// Part of the word, and perhaps the end too: the next word tells.
    MayEnd,
    /// The end of a sentence.
    Ends,
}

/// What a full stop after `word` and before `next` means; `word` has inner stops, but not the last.
pub(super) fn stop_between(word: &str, next: &str) -> StopMeaning {
    let lower = word.to_lowercase();
    let lower = lower.as_str();
    let is_before_number = BEFORE_NUMBERS.contains(&lower) && next.starts_with(|c: char| c.is_ascii_digit());
    if is_before_number || ALWAYS_GO_ON.contains(&lower) || LEAD_ON.contains(&lower) {
        return StopMeaning::Abbreviates;
    }
    // `U.S`, `a.m`, `J`: single letters, with stops between.
    let is_letter = |part: &str| {
        let mut characters = part.chars();
        characters.next().is_some_and(char::is_alphabetic) && characters.next().is_none()
    };
    if MAY_END.contains(&lower) || lower.split('.').all(is_letter) {
        StopMeaning::MayEnd
    } else {
        StopMeaning::Ends
    }
}

/// Whether a word with a capital begins a sentence rather than being a name or a noun.
pub(super) fn is_starter(word: &str) -> bool {
    STARTERS.contains(&word)
}

/// Whether a number with a full stop between these two words is a date or an ordinal.
pub(super) fn is_ordinal_between(previous: &str, next: &str) -> bool {
    MONTHS.contains(&next) || BEFORE_ORDINALS.contains(&previous.to_lowercase().as_str())
}

/// Whether a word in lower case says nothing.
pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_searched_list_is_sorted() {
        assert!(STOP_WORDS.is_sorted());
        assert!(is_stop_word("über") && is_stop_word("the") && !is_stop_word("page"));
    }

    #[test]
    fn full_stops_mean_what_the_word_says() {
        for word in ["Dr", "z.B", "e.g", "Nr", "Dipl.-Ing", "bzw"] {
            assert_eq!(stop_between(word, "Word"), StopMeaning::Abbreviates, "{word}");
        }
        for word in ["etc", "U.S", "p.m", "J", "Inc", "Sept"] {
            assert_eq!(stop_between(word, "Word"), StopMeaning::MayEnd, "{word}");
        }
        for word in ["house", "example.com", "Haus", "2019", "7", "1.2"] {
            assert_eq!(stop_between(word, "Word"), StopMeaning::Ends, "{word}");
        }
        assert_eq!(stop_between("No", "7"), StopMeaning::Abbreviates);
        assert_eq!(stop_between("no", "Then"), StopMeaning::Ends);
    }
}
