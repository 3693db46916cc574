//! Strings from logs as people may see them: what cannot be seen, or moves what can, is written out.

use maud::{Markup, html};

/// What is longer is cut off by the style sheet where it would push everything else away: nobody can hide
/// what he did behind a name of a thousand lines. Whole it is in the panel of a row.
const SHORT_BYTES: usize = 120;

/// A string from a log. Control, bidi and invisible characters stand as escapes that look like none of
/// the text; the rest is isolated, so that it cannot reorder what stands beside it.
pub fn shown(text: &str) -> Markup {
    if text.is_empty() {
        return html! { span.empty { "(empty)" } };
    }
    let is_long = text.len() > SHORT_BYTES;
    html! { bdi class=[is_long.then_some("long")] { (pieces(text)) } }
}

/// The same of bytes; what is not UTF-8 stands as `\xNN`.
pub fn shown_bytes(bytes: &[u8]) -> Markup {
    html! {
        @for chunk in bytes.utf8_chunks() {
            (pieces(chunk.valid()))
            @for byte in chunk.invalid() { span.esc { (format!("\\x{byte:02x}")) } }
        }
    }
}

/// The same as plain text, for where there is no markup: titles, attributes.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match is_hidden(c) {
            true => plain.push_str(&escape(c)),
            false => plain.push(c),
        }
    }
    plain
}

/// The first character that cannot be seen, and its place in characters from 1 on. Tabs are seen as room.
pub fn first_hidden(text: &str) -> Option<(usize, char)> {
    (1..).zip(text.chars()).find(|(_, c)| is_hidden(*c) && *c != '\t')
}

/// JSON in which only what can be seen stands as itself.
pub fn visible_json(json: &str) -> String {
    let mut visible = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Outside of strings; within, serde has escaped it.
            '\n' => visible.push(c),
            c if is_hidden(c) => {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units);
                units.iter().for_each(|unit| visible.push_str(&format!("\\u{unit:04x}")));
            }
            c => visible.push(c),
        }
    }
    visible
}

fn pieces(text: &str) -> Markup {
    let hidden = |c: char| is_hidden(c);
    html! {
        @for piece in text.split_inclusive(hidden) {
            @match piece.chars().next_back().filter(|c| is_hidden(*c)) {
                None => (piece),
                Some(c) => {
                    (&piece[..piece.len() - c.len_utf8()])
                    span.esc title=(format!("U+{:04X}", c as u32)) { (escape(c)) }
                }
            }
        }
    }
}

fn escape(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c => format!("\\u{{{:x}}}", c as u32),
    }
}

/// Control characters, what sets the direction of text, and what takes no room.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_written_out() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text).0, expected, "{text:?}");
        check("alice", "<bdi>alice</bdi>");
        check("", "<span class=\"empty\">(empty)</span>");
        let long = "x".repeat(SHORT_BYTES + 1);
        check(&long, &format!("<bdi class=\"long\">{long}</bdi>"));
        check("<b>&\"'", "<bdi>&lt;b&gt;&amp;&quot;'</bdi>");
        let esc = |code: &str, shown: &str| {
            format!("<bdi>a<span class=\"esc\" title=\"U+{code}\">{shown}</span>b</bdi>")
        };
        check("a\u{202e}b", &esc("202E", "\\u{202e}"));
        check("a\nb", &esc("000A", "\\n"));
        check("a\u{1b}b", &esc("001B", "\\u{1b}"));
        check("a\u{200b}b", &esc("200B", "\\u{200b}"));
        assert_eq!(shown_bytes(b"a\xffb<").0, "a<span class=\"esc\">\\xff</span>b&lt;");
        assert_eq!(plain("a\u{2066}\tb"), "a\\u{2066}\\tb");
        assert_eq!(visible_json("{\"a\u{202e}\u{e0001}\"}\n"), "{\"a\\u202e\\udb40\\udc01\"}\n");
    }

    proptest! {
        /// Goal: no string becomes markup or hides anything, and none loses anything.
        #[test]
        fn any_string_is_text(text in "\\PC*|.{0,40}") {
            let markup = shown(&text).0;
            prop_assert!(!markup.chars().any(is_hidden));
            let tags = markup.matches('<').count();
            let own = markup.matches("<span class=\"esc\" title=\"U+").count();
            let empty = usize::from(text.is_empty());
            prop_assert_eq!(tags, 2 * own + 2 * (1 - empty) + 2 * empty);
        }
    }
}
