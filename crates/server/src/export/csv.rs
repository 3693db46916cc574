//! CSV (RFC 4180), UTF-8.
//!
//! A spreadsheet takes a text that begins with `=`, `+`, `-`, `@` and some others for a formula, and user
//! names come from whoever tries to log in. Such a text has an apostrophe before it, as has one that
//! begins with an apostrophe itself, so that what was there can be told: take one away.

use std::io::{self, Write};

use doorbook_event::PublicIds;
use doorbook_store::Placed;

use super::columns::{COLUMNS, Cell};

/// Writes the names of the columns.
pub fn write_heading(out: &mut impl Write) -> io::Result<()> {
    writeln(out, COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(","))
}

/// Writes a line for each row.
pub fn write(ids: &PublicIds, rows: &[Placed], out: &mut impl Write) -> io::Result<()> {
    let mut line = String::new();
    for row in rows {
        line.clear();
        for (index, column) in COLUMNS.iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            match (column.cell)(row, ids) {
                Cell::None => {}
                Cell::Text(text) => push_text(&text, &mut line),
                Cell::Number(number) => line.push_str(&number.to_string()),
                Cell::Time(at) => line.push_str(&at.to_string()),
            }
        }
        writeln(out, &line)?;
    }
    Ok(())
}

fn writeln(out: &mut impl Write, line: impl AsRef<str>) -> io::Result<()> {
    out.write_all(line.as_ref().as_bytes())?;
    out.write_all(b"\r\n")
}

/// Appends a text as a cell. An empty one is quoted, so that it is told from none.
pub fn push_text(text: &str, line: &mut String) {
    let is_quoted = text.is_empty()
        || text.contains(['"', ',', '\r', '\n', '\t'])
        || text.starts_with(char::is_whitespace)
        || text.ends_with(char::is_whitespace);
    let mark = if is_harmful(text) { "'" } else { "" };
    match is_quoted {
        true => {
            line.push('"');
            line.push_str(mark);
            line.push_str(&text.replace('"', "\"\""));
            line.push('"');
        }
        false => {
            line.push_str(mark);
            line.push_str(text);
        }
    }
}

/// Whether a spreadsheet may take it for a formula. Some skip white space, and some read the wide
/// forms of East Asian typing.
fn is_harmful(text: &str) -> bool {
    const BEGINNINGS: [char; 9] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\''];
    text.starts_with(['\t', '\r', '\n']) || text.trim_start().starts_with(BEGINNINGS)
}
