//! From bytes to an [`Estate`], and from a value back to its place in the file.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::file::{Estate, VERSION};
use super::wanted::{self, Wanted};

/// 1 MiB: ten thousand hosts written out, and nothing that a wrong path leads to.
pub const SIZE_BYTES_MAX: usize = 1 << 20;

/// How many problems are told at most; whoever has more corrects these first.
pub const PROBLEMS_MAX: usize = 100;

/// Where something stands in the file; both count from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Its line.
    pub line: u32,
    /// Its column, in characters.
    pub column: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// What is wrong in the file, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What, and what to write.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(place: Place, message: impl Into<String>) -> Problem {
        Problem { place, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct Document {
    /// What it says.
    pub estate: Estate,
    lines: Lines,
}

impl Document {
    /// Reads the bytes of a file; problems are in the file's order.
    pub fn read(bytes: &[u8]) -> Result<Document, Problem> {
        if bytes.len() > SIZE_BYTES_MAX {
            let message = format!(
                "the file is larger than {SIZE_BYTES_MAX} bytes; one source without `host` stands \
                 for all hosts of a cluster or project"
            );
            return Err(Problem::new(Place { line: 1, column: 1 }, message));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let sound = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let place = Lines::new(&sound).place(sound.len());
            Problem::new(place, "this is not UTF-8; save the file as UTF-8")
        })?;
        let lines = Lines::new(text);
        let estate: Estate = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            Problem::new(lines.place(at), advice(error.message()))
        })?;
        let document = Document { estate, lines };
        match *document.estate.version {
            VERSION => Ok(document),
            other => Err(Problem::new(
                document.place(&document.estate.version.bytes()),
                format!(
                    "this program reads version {VERSION} of the file, not {other}; write version = {VERSION}"
                ),
            )),
        }
    }

    /// What the file wants of the registry, if all of it holds together.
    pub fn wanted(&self) -> Result<Wanted, Vec<Problem>> {
        wanted::of(self)
    }

    /// Where a value stands.
    pub fn place(&self, bytes: &Range<usize>) -> Place {
        self.lines.place(bytes.start)
    }

    /// As it was written.
    pub fn text(&self, bytes: &Range<usize>) -> &str {
        self.lines.text.get(bytes.clone()).unwrap_or("")
    }
}

/// A parser's message with what to write.
fn advice(message: &str) -> String {
    let message = message.trim().replace('\n', " ").replace("expected u32", "expected a number");
    if let Some(key) = message.strip_prefix("missing field ") {
        return format!("the key {key} is missing here");
    }
    if let Some((unknown, expected)) =
        message.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, expected "))
    {
        return format!("unknown word `{unknown}`; write {expected}");
    }
    let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let Some((unknown, expected)) = unknown else { return message };
    let by_file = format!("{unknown}_file");
    if expected.contains(&format!("`{by_file}`")) {
        return format!(
            "unknown key `{unknown}`: secrets and certificates stand in files of their own; write \
             {by_file} = \"/PATH\" alone"
        );
    }
    let expected = expected.trim_start_matches([',', ' ']).replacen("expected", "write", 1);
    format!("unknown key `{unknown}`; {expected}")
}

/// Where the lines of a text begin.
#[derive(Debug)]
struct Lines {
    text: String,
    starts: Vec<usize>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        let after = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines { text: text.to_owned(), starts: std::iter::once(0).chain(after).collect() }
    }

    fn place(&self, at: usize) -> Place {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let before = self.text.get(self.starts[line - 1]..at).unwrap_or("");
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place { line: number(line), column: number(before.chars().count() + 1) }
    }
}
