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

/// Prints a line whose text is safe already, and may have colours.
pub fn coloured_line(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

/// The word for how something ended or is, so wide, in its colour where there are colours.
pub fn outcome(word: &str, width: usize) -> String {
    let padded = format!("{:<width$}", safe(word));
    match colour_of(word).filter(|_| has_colours()) {
        Some(colour) => format!("\u{1b}[{colour}m{padded}\u{1b}[0m"),
        None => padded,
    }
}

/// The colour of a word, which says the same without it.
fn colour_of(word: &str) -> Option<u8> {
    match word {
        "failure" | "blind" | "failed" | "away" => Some(31),
        "success" | "following" | "complete" => Some(32),
        "best_effort" | "waiting" | "unknown" => Some(33),
        _ => None,
    }
}

/// Colours are for people who look at a terminal and did not say otherwise (<https://no-color.org>).
fn has_colours() -> bool {
    let is_off = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stdout().is_terminal() && !is_off && !is_dumb
}

/// How wide the terminal is, if there is one: what is kept in a file is kept whole.
fn columns() -> Option<usize> {
    let size = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(size.0.0))
}

/// Columns that have such words.
const WORDS: [&str; 3] = ["OUTCOME", "GRADE", "STATE"];

/// A column is not cut shorter.
const WIDTH_MIN: usize = 8;

/// Takes from the widest columns until all fit.
fn fit(widths: &mut [usize], columns: usize) {
    let total = |widths: &[usize]| widths.iter().sum::<usize>() + 2 * (widths.len().max(1) - 1);
    while total(widths) > columns {
        match widths.iter_mut().max().filter(|widest| **widest > WIDTH_MIN) {
            Some(widest) => *widest -= 1,
            None => return,
        }
    }
}

/// A text in so many columns, with a sign that there was more.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Prints a table with a line of headings. Columns are as wide as they need to be, and on a terminal
/// no wider than that together; the last one is not padded.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| safe(cell)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(headings[column].chars().count())
    };
    let mut widths: Vec<usize> = (0..headings.len()).map(width).collect();
    if let Some(columns) = columns() {
        fit(&mut widths, columns);
    }
    let has_words: Vec<bool> = headings.iter().map(|heading| WORDS.contains(heading)).collect();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let headings: Vec<String> = headings.iter().map(|text| (*text).to_owned()).collect();
    for row in std::iter::once(&headings).chain(&rows) {
        let mut line = String::new();
        for ((cell, width), has_words) in row.iter().zip(&widths).zip(&has_words) {
            let cell = cut(cell, *width);
            match has_words {
                true => line.push_str(&outcome(&cell, *width)),
                false => line.push_str(&format!("{cell:<width$}")),
            }
            line.push_str("  ");
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

    /// Goal: a table fits where it can, and its widest columns give way first.
    #[test]
    fn wide_columns_give_way() {
        let check = |widths: &[usize], columns, expected: &[usize]| {
            let mut fitted = widths.to_vec();
            fit(&mut fitted, columns);
            assert_eq!(fitted, expected, "{widths:?} in {columns}");
        };
        check(&[10, 5], 80, &[10, 5]);
        check(&[10, 50, 30], 84, &[10, 40, 30]);
        check(&[10, 50, 50], 64, &[10, 25, 25]);
        check(&[10, 50], 12, &[8, 8]);
        check(&[], 12, &[]);
        assert_eq!((cut("abcdef", 6), cut("abcdef", 4)), ("abcdef".into(), "abc…".into()));
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
