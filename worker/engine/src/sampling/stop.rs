//! Stop strings: text is held back while it may be the beginning of one, so that none is ever streamed in part.
//!
//! Knows text only; stop tokens never become text and are checked where tokens are committed.

/// Watches a stream of text for stop strings.
///
/// The stop string that is complete first decides, and of those complete at the same character the longest, so the
/// result does not depend on how the text was cut into pieces. Memory and work are bounded by the longest stop string.
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl StopStrings {
    /// Watches for `stops`; empty strings are ignored, since they would stop before anything was said.
    pub fn new(mut stops: Vec<String>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self { stops, held: String::new(), stopped: false }
    }

    /// Takes more text and appends to `out` what is certainly not part of a stop string. Returns true once a stop
    /// string is complete: nothing that belongs to it or follows it is ever let out.
    pub fn push(&mut self, text: &str, out: &mut String) -> bool {
        if self.stopped {
            return true;
        }
        if self.stops.is_empty() {
            out.push_str(text);
            return false;
        }
        self.held.push_str(text);
        if let Some(start) = self.find_first_complete() {
            out.push_str(&self.held[..start]);
            self.held.clear();
            self.stopped = true;
            return true;
        }
        let certain = self.held.len() - self.longest_open_len();
        out.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    /// Ends the stream: what was held back turned out to be ordinary text. Nothing comes after a stop string.
    pub fn finish(&mut self, out: &mut String) {
        out.push_str(&self.held);
        self.held.clear();
    }

    /// Where the stop string that is complete first begins.
    fn find_first_complete(&self) -> Option<usize> {
        self.stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()).map(|start| (start + stop.len(), start)))
            .min()
            .map(|(_, start)| start)
    }

    /// Bytes at the end of the held text that may still become a stop string.
    fn longest_open_len(&self) -> usize {
        let open = |stop: &String| {
            stop.char_indices()
                .map(|(len, _)| len)
                .skip(1)
                .filter(|&len| self.held.ends_with(&stop[..len]))
                .max()
                .unwrap_or(0)
        };
        self.stops.iter().map(open).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (Vec<String>, bool) {
        let mut watch = StopStrings::new(stops.iter().map(|s| (*s).to_owned()).collect());
        let mut streamed = Vec::new();
        let mut stopped = false;
        for piece in pieces {
            let mut out = String::new();
            stopped = watch.push(piece, &mut out);
            streamed.push(out);
        }
        let mut rest = String::new();
        watch.finish(&mut rest);
        streamed.push(rest);
        (streamed, stopped)
    }

    #[test]
    fn the_start_of_a_stop_string_is_held_until_it_is_decided() {
        let (streamed, stopped) = run(&["END"], &["aE", "N", "x"]);
        assert_eq!(streamed, ["a", "", "ENx", ""]);
        assert!(!stopped);
    }

    #[test]
    fn nothing_of_the_stop_string_or_after_it_is_let_out() {
        let (streamed, stopped) = run(&["END"], &["aE", "ND tail", "more"]);
        assert_eq!(streamed, ["a", "", "", ""]);
        assert!(stopped);
    }

    #[test]
    fn held_text_comes_out_at_the_end() {
        assert_eq!(run(&["END"], &["abcEN"]).0, ["abc", "EN"]);
    }

    #[test]
    fn a_restarted_match_is_found() {
        assert_eq!(run(&["aab"], &["a", "a", "a", "b", "c"]).0.concat(), "a");
    }

    #[test]
    fn the_first_complete_stop_string_wins_over_an_earlier_longer_one() {
        assert_eq!(run(&["abcd", "bc"], &["abcd"]).0.concat(), "a");
        assert_eq!(run(&["abcd", "bc"], &["a", "b", "c", "d"]).0.concat(), "a");
    }

    #[test]
    fn empty_stop_strings_do_nothing() {
        assert_eq!(run(&[""], &["abc"]), (vec!["abc".to_owned(), String::new()], false));
    }

    #[test]
    fn characters_of_several_bytes_are_never_split() {
        assert_eq!(run(&["é!"], &["caf", "é", "?"]).0, ["caf", "", "é?", ""]);
    }

    proptest! {
        #[test]
        fn the_result_does_not_depend_on_how_the_text_is_cut(
            text in "[ab€]{0,24}",
            stops in proptest::collection::vec("[ab€]{1,4}", 0..3),
            cuts in proptest::collection::vec(1usize..4, 24),
        ) {
            let chars: Vec<char> = text.chars().collect();
            let (mut pieces, mut at) = (Vec::new(), 0);
            for cut in cuts {
                let end = (at + cut).min(chars.len());
                pieces.push(chars[at..end].iter().collect::<String>());
                at = end;
            }
            let stop_refs: Vec<&str> = stops.iter().map(String::as_str).collect();
            let piece_refs: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let (streamed, stopped) = run(&stop_refs, &piece_refs);
            // The truth, one character at a time.
            let mut expected = text.clone();
            let mut expected_stop = false;
            'search: for end in (0..=text.len()).filter(|&end| text.is_char_boundary(end)) {
                let best = stops.iter().filter(|stop| text[..end].ends_with(stop.as_str())).map(String::len).max();
                if let Some(len) = best {
                    expected = text[..end - len].to_owned();
                    expected_stop = true;
                    break 'search;
                }
            }
            prop_assert_eq!(streamed.concat(), expected);
            prop_assert_eq!(stopped, expected_stop);
        }
    }
}
