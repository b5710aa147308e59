//! JSON text as JavaScript writes it, made readable for a strict reader.
//!
//! A JavaScript string may hold half of a character (a lone surrogate: an app cut a text inside an emoji), which
//! `JSON.stringify` writes as an escape, `\ud83d`. No Unicode text can hold one, so a strict reader refuses the message.

/// An escape of half a character: a backslash, `u`, and four hex digits that begin with `d8` to `df`.
const ESCAPE_LEN: usize = 6;

/// Replaces each lone surrogate by U+FFFD, as `String.prototype.toWellFormed` does. `json` comes from `JSON.stringify`, which
/// escapes surrogates only where they are alone.
pub fn well_formed(json: String) -> String {
    if !json.contains("\\ud") {
        return json;
    }
    let mut result = String::with_capacity(json.len());
    let mut rest = json.as_str();
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        rest = &rest[at..];
        if is_lone_surrogate(rest.as_bytes()) {
            result.push(char::REPLACEMENT_CHARACTER);
            rest = &rest[ESCAPE_LEN..];
        } else {
            // The backslash and what it escapes, which may be a backslash itself.
            let len = 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
            result.push_str(&rest[..len]);
            rest = &rest[len..];
        }
    }
    result.push_str(rest);
    result
}

fn is_lone_surrogate(escape: &[u8]) -> bool {
    matches!(escape, [b'\\', b'u', b'd', b'8'..=b'9' | b'a'..=b'f', third, fourth, ..]
        if third.is_ascii_hexdigit() && fourth.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_becomes_the_replacement_character() {
        assert_eq!(
            well_formed(r#"["a\ud83d", "\udc00b", "\udfff"]"#.to_owned()),
            "[\"a\u{FFFD}\", \"\u{FFFD}b\", \"\u{FFFD}\"]"
        );
    }

    #[test]
    fn escaped_backslashes_and_other_escapes_stay() {
        for json in [
            r#"["\\ud83d"]"#,
            r#"["\\\\ud83d \n \u0001 \ud7ff"]"#,
            r#"["\ud8"]"#,
            "[\"\\ud8\u{1F525}x\"]",
            "\\",
            "\\ud",
        ] {
            assert_eq!(well_formed(json.to_owned()), json);
        }
        assert_eq!(well_formed(r#"["\\\ud83d"]"#.to_owned()), "[\"\\\\\u{FFFD}\"]");
    }
}
