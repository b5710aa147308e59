//! The text of one reply while it is being generated: bytes to characters, stops, and what may be shown already.

use crate::ids::TokenId;
use crate::sampling::stop::StopStrings;
use crate::tokenizer::detokenize::Detokenizer;

/// Turns the tokens of one sequence into text that may be streamed.
#[derive(Debug)]
pub(crate) struct Reply {
    stop_tokens: Vec<TokenId>,
    stop_strings: StopStrings,
    detokenizer: Detokenizer,
    /// Complete characters on their way from the detokenizer to the stop strings; kept for its allocation.
    characters: String,
    /// Tokens since text was let out last.
    unreported: Vec<TokenId>,
}

impl Reply {
    pub(crate) fn new(stop_tokens: Vec<TokenId>, stop_strings: Vec<String>, ignore_eos: bool) -> Self {
        let (stop_tokens, stop_strings) =
            if ignore_eos { (Vec::new(), Vec::new()) } else { (stop_tokens, stop_strings) };
        Self {
            stop_tokens,
            stop_strings: StopStrings::new(stop_strings),
            detokenizer: Detokenizer::new(),
            characters: String::new(),
            unreported: Vec::new(),
        }
    }

    /// Takes a token and appends the text that it lets out. True when the token ends the reply.
    pub(crate) fn push(&mut self, token: TokenId, bytes: &[u8], out: &mut String) -> bool {
        self.unreported.push(token);
        if self.stop_tokens.contains(&token) {
            return true;
        }
        self.characters.clear();
        self.detokenizer.push(bytes, &mut self.characters);
        self.stop_strings.push(&self.characters, out)
    }

    /// Tokens that `text`, about to be let out, stands for; with nothing to let out they stay for the next text.
    pub(crate) fn take_unreported(&mut self, text: &str) -> Vec<TokenId> {
        if text.is_empty() { Vec::new() } else { std::mem::take(&mut self.unreported) }
    }

    /// Everything so far was reported by an earlier run of the same request.
    pub(crate) fn forget_unreported(&mut self) {
        self.unreported.clear();
    }

    /// Ends the reply and appends what was held back, unless a stop string cut it off.
    pub(crate) fn finish(&mut self, out: &mut String) {
        self.characters.clear();
        self.detokenizer.finish(&mut self.characters);
        // After a complete stop string neither of these lets anything out.
        self.stop_strings.push(&self.characters, out);
        self.stop_strings.finish(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: &mut Reply, tokens: &[(u32, &[u8])]) -> (String, bool) {
        let mut out = String::new();
        let stopped = tokens.iter().any(|(token, bytes)| reply.push(TokenId(*token), bytes, &mut out));
        reply.finish(&mut out);
        (out, stopped)
    }

    #[test]
    fn a_stop_token_ends_the_reply_without_its_text_and_frees_what_was_held() {
        let mut reply = Reply::new(vec![TokenId(9)], vec!["abc".into()], false);
        assert_eq!(text(&mut reply, &[(1, b"xab"), (9, b"</s>"), (1, b"no")]), ("xab".into(), true));
    }

    #[test]
    fn bytes_pending_after_a_stop_string_are_dropped_with_it() {
        let mut reply = Reply::new(vec![], vec!["stop".into()], false);
        assert_eq!(text(&mut reply, &[(1, b"go st"), (2, b"op\xE2\x82")]), ("go ".into(), true));
    }

    #[test]
    fn ignore_eos_drops_both_kinds_of_stop() {
        let mut reply = Reply::new(vec![TokenId(9)], vec!["b".into()], true);
        assert_eq!(text(&mut reply, &[(1, b"ab"), (9, b"!"), (1, b"c\xE2")]), ("ab!c\u{FFFD}".into(), false));
    }
}
