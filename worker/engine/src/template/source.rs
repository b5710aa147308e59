//! What is done to a template's text before it is compiled.
//!
//! minijinja's fuel bounds loops and data, but two things would still overflow the stack: source whose syntax tree is very
//! deep, and values that hold themselves. The first is refused here by limits no real template comes near; for the
//! second every `{% set x = … %}` gets its value through [`GUARD`] or [`ATTRIBUTE_GUARD`]. Also, `{% generation %}` (a marker for training that
//! transformers knows) becomes a block without effect.

use crate::template::TemplateError;

/// Largest template. Real ones have up to 30 KB.
const MAX_SOURCE_BYTES: usize = 128 << 10;

/// Most tags. Real templates have up to 300.
const MAX_TAGS: usize = 4096;

/// Most bytes of one tag, quoted text not counted: each could be an operator, and each operator a level of the tree.
const MAX_CODE_BYTES: usize = 2048;

/// Most `elif`s: each is a level of the tree.
const MAX_ELIFS: usize = 256;

/// Filter that every value assigned to a name passes.
pub(super) const GUARD: &str = "hearth_guard";

/// Filter that every value assigned to an attribute of a namespace passes.
pub(super) const ATTRIBUTE_GUARD: &str = "hearth_attribute_guard";

/// Checks a template and rewrites its assignments.
pub(super) fn prepare(source: &str) -> Result<String, TemplateError> {
    limit("bytes", source.len(), MAX_SOURCE_BYTES)?;
    let mut prepared = String::with_capacity(source.len() + source.len() / 8);
    let (mut num_tags, mut num_elifs) = (0, 0);
    let mut raw = false;
    let mut rest = source;
    while let Some(start) = find_tag(rest) {
        let kind = rest.as_bytes()[start + 1];
        prepared.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = match kind {
            b'#' => rest.find("#}").map(|end| end + 2),
            _ => find_tag_end(rest, if kind == b'{' { "}}" } else { "%}" }),
        };
        let Some(end) = end else {
            break; // unfinished: the compiler says where
        };
        let tag = &rest[..end];
        rest = &rest[end..];
        num_tags += 1;
        limit("tags", num_tags, MAX_TAGS)?;
        if kind == b'#' {
            prepared.push_str(tag);
            continue;
        }
        if !raw {
            limit("bytes of code in one tag", code_bytes(tag), MAX_CODE_BYTES)?;
        }
        match first_word(tag) {
            _ if kind == b'{' => prepared.push_str(tag),
            "raw" => {
                raw = true;
                prepared.push_str(tag);
            }
            "endraw" => {
                raw = false;
                prepared.push_str(tag);
            }
            _ if raw => prepared.push_str(tag),
            "generation" => prepared.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => prepared.push_str(&tag.replacen("endgeneration", "endif", 1)),
            "set" => prepared.push_str(&guard_assignment(tag)),
            word => {
                num_elifs += usize::from(word == "elif");
                limit("`elif`s", num_elifs, MAX_ELIFS)?;
                prepared.push_str(tag);
            }
        }
    }
    prepared.push_str(rest);
    Ok(prepared)
}

fn limit(what: &'static str, got: usize, limit: usize) -> Result<(), TemplateError> {
    if got > limit {
        return Err(TemplateError::TooComplex { what, got, limit });
    }
    Ok(())
}

/// Where the next `{{`, `{%` or `{#` is.
fn find_tag(text: &str) -> Option<usize> {
    text.as_bytes().windows(2).position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// One past the end of the tag that `text` begins with; ends in quotes do not count, nor do braces of literals.
fn find_tag_end(text: &str, end: &str) -> Option<usize> {
    let mut open_braces = 0usize;
    for (at, byte) in Code::new(text, 2) {
        if open_braces == 0 && text.as_bytes()[at..].starts_with(end.as_bytes()) {
            return Some(at + 2);
        }
        match byte {
            b'{' => open_braces += 1,
            b'}' => open_braces = open_braces.saturating_sub(1),
            _ => {}
        }
    }
    None
}

fn code_bytes(tag: &str) -> usize {
    Code::new(tag, 0).filter(|(_, byte)| !byte.is_ascii_whitespace()).count()
}

/// The word after `{%`, `{%-` or `{%+`.
fn first_word(tag: &str) -> &str {
    let inner = tag[2..].trim_start_matches(['-', '+']).trim_start();
    inner.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("")
}

/// `{% set x = value %}` to `{% set x = (value)|guard %}`; the block form has no `=` and stays.
fn guard_assignment(tag: &str) -> String {
    let close = tag.len() - 2;
    let close = if tag[..close].ends_with(['-', '+']) { close - 1 } else { close };
    let bytes = tag.as_bytes();
    let equals = Code::new(tag, 0).find(|(at, byte)| *byte == b'=' && bytes.get(at + 1) != Some(&b'='));
    match equals {
        Some((at, _)) if at < close => {
            let guard = if tag[..at].contains('.') { ATTRIBUTE_GUARD } else { GUARD };
            format!("{} ({})|{guard} {}", &tag[..=at], &tag[at + 1..close], &tag[close..])
        }
        _ => tag.to_owned(),
    }
}

/// The bytes of a tag that are not in quotes, with their places; quotes themselves are included.
struct Code<'t> {
    bytes: &'t [u8],
    at: usize,
    quote: Option<u8>,
}

impl<'t> Code<'t> {
    fn new(text: &'t str, from: usize) -> Self {
        Self { bytes: text.as_bytes(), at: from, quote: None }
    }
}

impl Iterator for Code<'_> {
    type Item = (usize, u8);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let byte = *self.bytes.get(at)?;
            self.at += 1;
            match self.quote {
                Some(_) if byte == b'\\' => self.at += 1,
                Some(quote) if byte == quote => {
                    self.quote = None;
                    return Some((at, byte));
                }
                Some(_) => {}
                None => {
                    if matches!(byte, b'"' | b'\'') {
                        self.quote = Some(byte);
                    }
                    return Some((at, byte));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_pass_the_guard_and_nothing_else_changes() {
        let cases = [
            ("a {% if x == 1 %}{{ '{% set y = 1 %}' }}{% endif %}", None),
            ("{% set x %}text{% endset %}", None),
            ("{# {% set x = 1 %} #}", None),
            ("{% raw %}{% set x = 1 %}{% endraw %}", None),
            ("{% set x = '%} \\' =' -%}", Some("{% set x = ( '%} \\' =' )|hearth_guard -%}")),
            (
                "{%- set ns.a = {'b': {'c': 1}} %}",
                Some("{%- set ns.a = ( {'b': {'c': 1}} )|hearth_attribute_guard %}"),
            ),
            ("{% set a, b = 1, 2 %}", Some("{% set a, b = ( 1, 2 )|hearth_guard %}")),
            ("{%- generation -%}x{% endgeneration %}", Some("{%- if true -%}x{% endif %}")),
            ("unfinished {% set x = 1", None),
        ];
        for (source, expected) in cases {
            assert_eq!(prepare(source).as_deref(), Ok(expected.unwrap_or(source)), "{source}");
        }
    }

    #[test]
    fn source_beyond_the_limits_is_refused() {
        let deep = [
            "x".repeat(MAX_SOURCE_BYTES + 1),
            "{{ x }}".repeat(MAX_TAGS + 1),
            format!("{{{{ {}1 }}}}", "1+".repeat(MAX_CODE_BYTES)),
            format!("{{% if 0 %}}{}{{% endif %}}", "{% elif 0 %}".repeat(MAX_ELIFS + 1)),
        ];
        for source in deep {
            assert!(matches!(prepare(&source), Err(TemplateError::TooComplex { .. })));
        }
        assert!(prepare(&format!("{{{{ '{}' }}}}", "long text ".repeat(1000))).is_ok());
    }
}
