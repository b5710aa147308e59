//! Cutting and shortening whole documents, with a real model's tokens and with counts that are easy to see through.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::sync::OnceLock;

use hearth_engine::documents::{
    Chunk, ChunkOptions, Chunker, CompressOptions, Compressed, Compressor, DocumentError, MAX_TEXT_BYTES,
    TokenCounter, chunk, compress,
};
use hearth_engine::tokenizer::Tokenizer;
use support::{fixture, open};

const NAMES: [&str; 5] = ["lighthouse.md", "harbour.txt", "hafen.txt", "umi.txt", "gangkou.txt"];

fn document(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/documents").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Both long English texts: 2,200 words.
fn long_document() -> String {
    [document("lighthouse.md"), document("harbour.txt")].join("\n")
}

fn tokenizer() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        Tokenizer::from_gguf(&open(fixture("smollm2-135m/vocabulary.gguf")).unwrap()).unwrap()
    })
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn cut(text: &str, max_tokens: u32, overlap_tokens: u32) -> Vec<Chunk> {
    chunk(text, ChunkOptions { max_tokens, overlap_tokens }, tokenizer()).unwrap()
}

fn shorten(text: &str, max_tokens: u32, query: Option<&str>) -> Compressed {
    compress(text, CompressOptions { max_tokens, query }, tokenizer()).unwrap()
}

/// Everything that pieces promise, whatever the text.
fn check_chunks(text: &str, options: ChunkOptions, counter: &dyn TokenCounter, chunks: &[Chunk]) {
    let utf16: Vec<u16> = text.encode_utf16().collect();
    let mut rebuilt = String::new();
    let mut end = 0;
    for piece in chunks {
        assert!(piece.tokens <= options.max_tokens, "{} tokens: {:?}", piece.tokens, piece.text);
        assert_eq!(piece.tokens as usize, counter.count(&piece.text));
        let range = piece.start as usize..piece.end as usize;
        assert_eq!(String::from_utf16(&utf16[range]).unwrap(), piece.text, "places count UTF-16 code units");
        assert!(piece.start <= end && piece.end > end, "every piece goes on where the one before ended");
        let overlap = String::from_utf16(&utf16[piece.start as usize..end as usize]).unwrap();
        assert!(counter.count(&overlap) <= options.overlap_tokens as usize, "overlap: {overlap:?}");
        rebuilt.push_str(&piece.text[overlap.len()..]);
        end = piece.end;
    }
    assert_eq!(rebuilt, text, "without overlaps the pieces are the text");
}

/// Everything that a shortened text promises, whatever the text.
fn check_compressed(text: &str, max_tokens: u32, counter: &dyn TokenCounter, short: &Compressed) {
    assert!(short.tokens <= max_tokens, "{} of {max_tokens}: {:?}", short.tokens, short.text);
    assert_eq!(short.tokens as usize, counter.count(&short.text));
    assert!(short.sentences_kept <= short.sentences_total);
    if counter.count(text) <= max_tokens as usize {
        assert_eq!(short.text, text, "what fits is not touched");
        assert_eq!(short.sentences_kept, short.sentences_total);
    }
    // Characters in their order and none invented.
    let mut characters = text.chars().filter(|c| !c.is_whitespace());
    for character in short.text.chars().filter(|c| !c.is_whitespace()) {
        assert!(
            characters.any(|original| original == character),
            "{character:?} is out of order: {:?}",
            short.text
        );
    }
}

mod chunking {
    use super::*;

    #[test]
    fn documents_in_all_languages_are_cut_exactly() {
        for name in NAMES {
            let text = document(name);
            for (max_tokens, overlap_tokens) in [(12, 0), (48, 10), (128, 32), (400, 399), (4096, 0)] {
                let options = ChunkOptions { max_tokens, overlap_tokens };
                check_chunks(&text, options, tokenizer(), &cut(&text, max_tokens, overlap_tokens));
            }
        }
    }

    #[test]
    fn pieces_are_well_filled() {
        for name in ["lighthouse.md", "harbour.txt"] {
            let text = document(name);
            for max_tokens in [100, 300] {
                let chunks = cut(&text, max_tokens, 0);
                let least = tokenizer().count(&text).div_ceil(max_tokens as usize);
                assert!(
                    chunks.len() * 2 <= least * 3 + 1,
                    "{name}: {} pieces, at least {least}",
                    chunks.len()
                );
            }
        }
    }

    #[test]
    fn pieces_end_between_sentences_and_rather_between_paragraphs_and_sections() {
        let text = document("lighthouse.md");
        let chunks = cut(&text, 300, 0);
        let before_heading = chunks[1..].iter().filter(|piece| piece.text.starts_with('#')).count();
        let ends: Vec<&str> = chunks.iter().map(|piece| piece.text.trim_end()).collect();
        assert!(
            ends.iter().all(|end| end.ends_with(['.', '|', '`', ':', '"']) || end.ends_with("failures")),
            "{ends:?}"
        );
        assert!(before_heading >= 3, "{before_heading} of {}", chunks.len());
        assert!(
            !ends.iter().any(|end| end.lines().last().unwrap().starts_with('#')),
            "no heading stands last"
        );
    }

    #[test]
    fn code_and_tables_stay_whole_where_they_fit_and_are_cut_at_lines_where_not() {
        let text = document("lighthouse.md");
        let code_start = text.find("```python").unwrap();
        let code = &text[code_start..code_start + text[code_start..].find("\n```\n").unwrap() + 4];
        let table_start = text.find("| Year").unwrap();
        let table = &text[table_start..table_start + text[table_start..].find("\n\n").unwrap()];
        for block in [code, table] {
            let least = tokenizer().count(&format!("{block}\n\n")) as u32;
            for max_tokens in least..least + 40 {
                let num_whole =
                    cut(&text, max_tokens, 0).iter().filter(|piece| piece.text.contains(block)).count();
                assert_eq!(num_whole, 1, "{max_tokens} for {block}");
            }
        }
        let fine = cut(&text, 40, 0);
        let lines: Vec<&str> = code.lines().filter(|line| !line.trim().is_empty()).collect();
        assert!(lines.iter().all(|line| fine.iter().any(|piece| piece.text.contains(line))));
    }

    #[test]
    fn pieces_know_the_headings_above_them() {
        let text = "Before.\n\n# One\n\nFirst text here.\n\n## Two\n\nSecond text here.\n\n### Three\n\nThird text here.\n\n## Four\n\n\
                    Fourth text here.\n\n# Five\n\nFifth text here.\n";
        let chunks = chunk(text, ChunkOptions { max_tokens: 5, overlap_tokens: 0 }, &count_words).unwrap();
        let paths: Vec<(&str, Vec<&str>)> = chunks
            .iter()
            .map(|piece| {
                (
                    piece.text.trim().rsplit('\n').next().unwrap(),
                    piece.headings.iter().map(String::as_str).collect(),
                )
            })
            .collect();
        let expected = [
            ("Before.", vec![]),
            ("First text here.", vec!["One"]),
            ("Second text here.", vec!["One", "Two"]),
            ("Third text here.", vec!["One", "Two", "Three"]),
            ("Fourth text here.", vec!["One", "Four"]),
            ("Fifth text here.", vec!["Five"]),
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn overlaps_are_whole_sentences_and_stop_at_headings() {
        let text = "One is here. Two is here. Three is here. Four is here. Five is here.\n\n# New\n\nSix is here. Seven is here.";
        let options = ChunkOptions { max_tokens: 9, overlap_tokens: 4 };
        let chunks = chunk(text, options, &count_words).unwrap();
        let texts: Vec<&str> = chunks.iter().map(|piece| piece.text.trim()).collect();
        let expected = [
            "One is here. Two is here. Three is here.",
            "Three is here. Four is here. Five is here.",
            "# New\n\nSix is here. Seven is here.",
        ];
        assert_eq!(texts, expected);
        check_chunks(text, options, &count_words, &chunks);
    }

    #[test]
    fn sentences_that_are_too_long_are_cut_between_words_and_words_between_characters() {
        let long = format!("Short one. {} End.", "word ".repeat(300).trim_end());
        for piece in cut(&long, 50, 0) {
            assert!(
                !piece.text.trim_end().ends_with("wor") && !piece.text.starts_with("ord"),
                "{:?}",
                piece.text
            );
            assert!(piece.tokens >= 25 || piece.text.ends_with("End."), "{piece:?}");
        }
        let emoji = "👨‍👩‍👧‍👦".repeat(40);
        let chars = |text: &str| text.chars().count();
        let chunks = chunk(&emoji, ChunkOptions { max_tokens: 20, overlap_tokens: 0 }, &chars).unwrap();
        assert!(chunks.iter().all(|piece| piece.text.starts_with('👨') && piece.text.ends_with('👦')));
        assert_eq!(chunks.len(), 20);
    }

    #[test]
    fn a_counter_that_likes_or_dislikes_company_changes_nothing_about_the_promises() {
        // Tokens of a text are not the sum of its parts': fewer, or more.
        let fewer = |text: &str| text.len() - text.matches(". ").count();
        let more = |text: &str| text.len() + text.matches(". ").count() * 2;
        let text = document("harbour.txt");
        for max_tokens in [60, 333] {
            let options = ChunkOptions { max_tokens, overlap_tokens: max_tokens / 3 };
            check_chunks(&text, options, &fewer, &chunk(&text, options, &fewer).unwrap());
            check_chunks(&text, options, &more, &chunk(&text, options, &more).unwrap());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_numbers() {
        let words = |max_tokens, overlap_tokens| {
            chunk("A text.", ChunkOptions { max_tokens, overlap_tokens }, &count_words).unwrap_err()
        };
        assert_eq!(words(0, 0), DocumentError::NoRoom);
        assert_eq!(words(5, 5), DocumentError::OverlapTooLarge { overlap_tokens: 5, max_tokens: 5 });
        let bytes = |text: &str| text.len();
        let error = chunk("ab é", ChunkOptions { max_tokens: 1, overlap_tokens: 0 }, &bytes).unwrap_err();
        assert_eq!(error, DocumentError::CharacterTooLarge { character: 'é', tokens: 2, max_tokens: 1 });
        let long = "a".repeat(MAX_TEXT_BYTES + 1);
        let expected = DocumentError::TextTooLong { got_bytes: long.len(), limit_bytes: MAX_TEXT_BYTES };
        assert_eq!(
            chunk(&long, ChunkOptions { max_tokens: 1, overlap_tokens: 0 }, &bytes).unwrap_err(),
            expected
        );
        assert_eq!(
            compress(&long, CompressOptions { max_tokens: 1, query: None }, &bytes).unwrap_err(),
            expected
        );
    }

    #[test]
    fn nothing_has_no_pieces_and_blanks_are_kept() {
        assert!(cut("", 5, 0).is_empty());
        let chunks = cut(" \n\n ", 5, 0);
        assert_eq!(chunks.iter().map(|piece| piece.text.as_str()).collect::<String>(), " \n\n ");
    }

    #[test]
    fn no_slice_of_work_counts_more_than_it_may() {
        use std::cell::Cell;
        let text = [long_document().repeat(20), "\n".repeat(100_000), " ".repeat(100_000), "end".to_owned()]
            .concat();
        let counted = Cell::new(0);
        let counter = |part: &str| {
            counted.set(counted.get() + part.len());
            part.len().div_ceil(4)
        };
        let mut chunker = Chunker::new(&text, ChunkOptions { max_tokens: 200, overlap_tokens: 20 });
        let mut total = 0;
        let chunks = loop {
            counted.set(0);
            let outcome = chunker.advance(&counter);
            assert!(counted.get() <= 64 << 10, "{} bytes in one slice", counted.get());
            total += counted.get();
            if let Some(outcome) = outcome {
                break outcome.unwrap();
            }
        };
        assert!(chunks.len() > 200);
        assert!(
            total < text.len() * 6,
            "every part is counted a few times, not once for each piece: {total}"
        );
    }
}

mod compressing {
    use super::*;

    #[test]
    fn documents_in_all_languages_are_shortened_exactly_and_filled_well() {
        for name in NAMES {
            let text = document(name);
            let total = tokenizer().count(&text) as u32;
            for share in [2, 4, 10] {
                let short = shorten(&text, total / share, None);
                check_compressed(&text, total / share, tokenizer(), &short);
                assert_eq!(short.original_tokens, total);
                if total / share > 200 {
                    assert!(
                        short.tokens * 100 >= total / share * 95,
                        "{name}: {} of {}",
                        short.tokens,
                        total / share
                    );
                }
            }
            check_compressed(&text, total, tokenizer(), &shorten(&text, total, None));
        }
    }

    #[test]
    fn tokens_of_long_texts_are_exact_though_they_are_counted_in_parts() {
        let text = long_document().repeat(5);
        assert_eq!(shorten(&text, 100, None).original_tokens as usize, tokenizer().count(&text));
    }

    #[test]
    fn what_the_reader_asks_for_survives_a_tenth() {
        let text = long_document();
        let tenth = tokenizer().count(&text) as u32 / 10;
        let needles = [
            ("Why are the doors blue?", "The paint was left over from the railway"),
            ("Who rang the church bell in the storm?", "had rung the church bell himself"),
            ("How much mercury does the lens float in?", "640 litres of mercury"),
            ("How thick is the ice cellar's store, what does it hold?", "a cellar that held 9,000 tonnes"),
            ("When was Ida Brandt principal keeper?", "She served at Carrow Point from 1946 to 1971."),
            ("cost of moving the tower", "The estimated cost of the move is 23.4 million"),
        ];
        for (query, needle) in needles {
            let short = shorten(&text, tenth, Some(query));
            check_compressed(&text, tenth, tokenizer(), &short);
            assert!(short.text.contains(needle), "{query}: {}", short.text);
        }
        let unasked = shorten(&text, tenth, None);
        let missing = needles.iter().filter(|(_, needle)| !unasked.text.contains(needle)).count();
        assert!(missing >= 4, "only the query brings these: {}", unasked.text);
        assert_eq!(
            shorten(&text, tenth, Some("xyzzy plugh")),
            unasked,
            "what nobody wrote about changes nothing"
        );
    }

    #[test]
    fn queries_work_in_scripts_without_blanks() {
        let text = document("gangkou.txt");
        let short = shorten(&text, 60, Some("闸门怎么驱动？"));
        assert!(short.text.contains("闸门由两台电动机驱动"), "{}", short.text);
        let text = document("umi.txt");
        let short = shorten(&text, 90, Some("塔を動かす費用"));
        assert!(short.text.contains("費用は2340万である"), "{}", short.text);
    }

    #[test]
    fn the_same_paragraph_is_kept_once() {
        let paragraph =
            "The gate has been closed 214 times since the storm. It is driven by two electric motors.";
        let text = format!(
            "{paragraph}\n\nCrabs are flown to Spain. People pay more there.\n\n{paragraph}\n\nFlats are expensive."
        );
        let short = compress(
            &text,
            CompressOptions { max_tokens: count_words(&text) as u32 - 1, query: None },
            &count_words,
        );
        let short = short.unwrap();
        assert_eq!(short.text.matches("214 times").count(), 1, "{}", short.text);
        assert_eq!(short.text.matches("two electric motors").count(), 1);
        assert!(short.text.contains("Crabs") && short.text.contains("Flats"));
    }

    #[test]
    fn what_says_the_same_is_kept_once_in_other_letters_and_in_words_that_say_nothing() {
        let text = "So it is. The gate has two electric motors. THE GATE: it has two electric motors! So it is. Crabs go to Spain \
                    every day. So it is. Flats on the quay are expensive now.";
        let short = compress(
            text,
            CompressOptions { max_tokens: count_words(text) as u32 - 1, query: None },
            &count_words,
        )
        .unwrap();
        assert_eq!(short.text.matches("So it is.").count(), 1, "{}", short.text);
        assert_eq!(short.text.to_lowercase().matches("electric").count(), 1, "{}", short.text);
        assert!(short.text.contains("Crabs") && short.text.contains("Flats"));
    }

    #[test]
    fn code_tables_and_numbers_are_whole_or_absent() {
        let text = document("lighthouse.md");
        let code_start = text.find("```python").unwrap();
        let code = &text[code_start..code_start + text[code_start..].find("\n```\n").unwrap() + 4];
        let table_start = text.find("| Year").unwrap();
        let table = &text[table_start..table_start + text[table_start..].find("\n\n").unwrap()];
        let mut seen = [false; 2];
        for (max_tokens, query) in [
            (150, None),
            (300, Some("daylight_lux lamp generator code")),
            (400, Some("candelas brightness year cost per night")),
            (900, None),
        ] {
            let short = shorten(&text, max_tokens, query);
            for (block, (part, seen)) in
                [code, table].into_iter().zip(["daylight_lux", "| rapeseed oil"].into_iter().zip(&mut seen))
            {
                assert_eq!(short.text.contains(part), short.text.contains(block), "{}", short.text);
                *seen |= short.text.contains(block);
            }
            let numbers = |text: &str| -> Vec<String> {
                let parts = text.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ','));
                parts
                    .map(|part| part.trim_matches(['.', ',']).to_owned())
                    .filter(|part| !part.is_empty())
                    .collect()
            };
            let originals = numbers(&text);
            assert!(numbers(&short.text).iter().all(|number| originals.contains(number)));
        }
        assert_eq!(seen, [true; 2], "the queries ask for both");
    }

    #[test]
    fn paragraphs_and_headings_of_what_is_kept_remain() {
        let text = document("lighthouse.md");
        let short = shorten(&text, 250, Some("Who was the first woman to be principal keeper?"));
        let lines: Vec<&str> = short.text.lines().collect();
        let heading = lines.iter().position(|line| *line == "## The keepers").expect("its section's heading");
        assert!(lines[heading + 1].is_empty(), "{}", short.text);
        let list = "- one thing is here\n- the next one here\n\n- more is far away\n- a last is here\n\nSome text. Some more text.";
        let kept = |query| {
            let options = CompressOptions { max_tokens: 12, query: Some(query) };
            compress(list, options, &count_words).unwrap().text
        };
        assert_eq!(kept("thing next"), "- one thing is here\n- the next one here");
        assert_eq!(kept("next far"), "- the next one here\n\n- more is far away");
        assert_eq!(kept("thing last"), "- one thing is here\n- a last is here");
    }

    #[test]
    fn where_no_sentence_fits_the_best_one_s_beginning_does() {
        let text =
            "Crabs are flown to Spain every day. The quay was raised after the great storm of that year.";
        let short =
            compress(text, CompressOptions { max_tokens: 4, query: Some("quay") }, &count_words).unwrap();
        assert_eq!((short.text.as_str(), short.tokens, short.sentences_kept), ("The quay was raised", 4, 0));
        let code = "```\nlet a_long_line = of_code();\nlet more = 1;\n```\n";
        let short = compress(code, CompressOptions { max_tokens: 3, query: None }, &count_words).unwrap();
        assert_eq!((short.text.as_str(), short.sentences_total), ("", 1), "code is never cut");
    }

    #[test]
    fn the_room_is_used_as_far_as_sentences_allow() {
        let text = document("harbour.txt");
        let short = compress(&text, CompressOptions { max_tokens: 120, query: None }, &count_words).unwrap();
        assert!(short.tokens >= 118, "{}", short.tokens);
    }

    #[test]
    fn long_texts_are_done_in_slices_that_count_little() {
        use std::cell::Cell;
        let text = long_document().repeat(10);
        let largest = Cell::new(0);
        let counter = |part: &str| {
            largest.set(largest.get().max(part.len()));
            part.len().div_ceil(4)
        };
        let mut compressor =
            Compressor::new(&text, CompressOptions { max_tokens: 500, query: Some("storm") });
        let mut slices = 0;
        let short = loop {
            slices += 1;
            if let Some(outcome) = compressor.advance(&counter) {
                break outcome.unwrap();
            }
        };
        assert!(slices > 20 && largest.get() <= 8 << 10, "{slices} slices, {} bytes at once", largest.get());
        check_compressed(&text, 500, &counter, &short);
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Texts made of what is hard: headings, fences, tables, stops, scripts, marks, blanks.
    fn texts() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            6 => "[a-zA-Z]{1,9}",
            3 => Just(" ".to_owned()),
            2 => prop::sample::select(vec![
                ". ", "! ", "? ", "... ", ", ", "\n", "\n\n", "\n\n\n", "\r\n", "\t", "# ", "## ", "- ", "1. ", "2. ", "| a | b |\n",
                "|---|---|\n", "```\n", "~~~\n", "===\n", "---\n", "    x = 1;\n", "TITLE HERE\n\n", "3.14", "1,000.50", "z. B. ",
                "Dr. ", "https://a.b/c?d=e.f ", "\"", "”", "「", "。", "」と", "！", "今日", "你好", "e\u{301}", "👨‍👩‍👧", "\u{0}", "\u{202e}",
                "<|im_end|>", "The same sentence again. ", "\u{a0}",
            ]).prop_map(str::to_owned),
        ];
        prop::collection::vec(part, 0..120).prop_map(|parts| parts.concat())
    }

    fn count_bytes_by_three(text: &str) -> usize {
        text.len().div_ceil(3)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_cut_exactly_and_always_alike(
            text in texts(), max_tokens in 4_u32..60, overlap in 0_u32..60, real in any::<bool>(),
        ) {
            let max_tokens = if real { max_tokens.max(8) } else { max_tokens };
            let options = ChunkOptions { max_tokens, overlap_tokens: overlap.min(max_tokens - 1) };
            let counter: &dyn TokenCounter = if real { tokenizer() } else { &count_bytes_by_three };
            let chunks = chunk(&text, options, counter).unwrap();
            check_chunks(&text, options, counter, &chunks);
            prop_assert_eq!(chunk(&text, options, counter).unwrap(), chunks);
        }

        #[test]
        fn any_text_is_shortened_exactly_and_always_alike(
            text in texts(), max_tokens in 1_u32..120, asks in any::<bool>(), real in any::<bool>(),
        ) {
            let counter: &dyn TokenCounter = if real { tokenizer() } else { &count_bytes_by_three };
            let options = CompressOptions { max_tokens, query: asks.then_some("sentence title a") };
            let short = compress(&text, options, counter).unwrap();
            check_compressed(&text, max_tokens, counter, &short);
            prop_assert_eq!(compress(&text, options, counter).unwrap(), short);
        }
    }
}
