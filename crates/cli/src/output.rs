//! Text for terminals and pipes.
//!
//! User names, application names and whole log lines come from whoever connects to a database, so
//! nothing of them may reach a terminal as a control sequence: what a terminal or a reader's eye
//! would take for something else than text is written as an escape.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// Prints a value as one line of JSON.
pub fn json<T: Serialize>(value: &T) -> anyhow::Result<()> {
    let text = serde_json::to_string(value)?;
    Ok(writeln!(std::io::stdout().lock(), "{}", safe_json(&text))?)
}

/// Prints CSV: to a file as it is, since escapes would change what is said; to a terminal line by line.
pub fn csv(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().is_terminal() {
        true => text.lines().try_for_each(line),
        false => Ok(std::io::stdout().lock().write_all(text.as_bytes())?),
    }
}

/// Prints a line.
pub fn line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{}", safe(text))?)
}

/// Prints the heading of a list, with an empty line before it.
pub fn heading(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "\n{text}")?)
}

/// Prints a table with a line of headings. Columns are as wide as they need to be; the last one is
/// not padded.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| safe(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(headings[column].chars().count())
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let headings: Vec<String> = headings.iter().map(|text| (*text).to_owned()).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let padding = width - cell.chars().count();
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', padding + 2));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(out.flush()?)
}

/// Text in which nothing acts on a terminal or misleads the eye.
pub fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match is_risky(c) {
            true => safe.extend(c.escape_unicode()),
            false => safe.push(c),
        }
    }
    safe
}

/// JSON in which nothing acts on a terminal or misleads the eye. Control characters below U+0020
/// are escaped by the encoder already; the rest can only stand within strings, where `\u` is the
/// same text.
fn safe_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        match is_risky(c) {
            // All of them are in the basic plane, so four digits suffice.
            true => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => safe.push(c),
        }
    }
    safe
}

fn is_risky(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // direction
            | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' // invisible
            | '\u{2028}' | '\u{2029}') // line ends
}

/// A number of bytes for people.
pub fn size(size_bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut size = size_bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if size < 999.5 {
            break;
        }
        (size, unit) = (size / 1000.0, next);
    }
    match unit {
        "B" => format!("{size_bytes} B"),
        _ if size < 9.95 => format!("{size:.1} {unit}"),
        _ => format!("{size:.0} {unit}"),
    }
}

/// A number with its noun.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts_on_a_terminal() {
        assert_eq!(safe("a\u{1b}[31mb\r\nc\u{9b}d"), "a\\u{1b}[31mb\\u{d}\\u{a}c\\u{9b}d");
        assert_eq!(safe("admin\u{202e}nimda"), "admin\\u{202e}nimda");
        assert_eq!(safe("Zoë 用户"), "Zoë 用户");
    }

    #[test]
    fn sizes_are_short() {
        let check = |size_bytes, expected| assert_eq!(size(size_bytes), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.0 kB");
        check(9_949, "9.9 kB");
        check(123_456, "123 kB");
        check(999_999, "1.0 MB");
        check(u64::MAX, "18447 PB");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = "a\u{1b}\u{9b}\u{202e}\u{2028}é";
        let json = safe_json(&serde_json::to_string(value).expect("text"));
        assert!(json.chars().all(|c| !is_risky(c)), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), value);
    }
}
