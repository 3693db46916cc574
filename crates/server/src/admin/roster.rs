//! A roster: the accounts that there should be, as a CSV file (RFC 4180) with a heading.
//!
//! ```csv
//! name,kind,owner
//! alice,person,Alice Adams
//! svc-orders,service,Orders team
//! ```
//! `name` must be there; `kind`, `person` or `service`, and `owner` may. Other columns are not looked at.

use doorbook_event::Text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admin::Failure;

/// The largest file that is read, in bytes.
pub const SIZE_BYTES_MAX: u64 = 16 << 20;

/// The most accounts of one roster.
pub const ACCOUNTS_MAX: usize = 100_000;

/// An account that there should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// Its name, as the accessed system has it.
    pub name: Text,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<AccountKind>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Text>,
}

/// What an account is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// A human being.
    Person,
    /// A program.
    Service,
}

impl AccountKind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            AccountKind::Person => "person",
            AccountKind::Service => "service",
        }
    }
}

/// Reads a roster. `file` is what it is called in a message.
pub fn read(file: &str, text: &[u8]) -> Result<Vec<Account>, Failure> {
    let wrong = |line: usize, what: &str| Failure::invalid(format!("{file}:{line}: {what}"));
    let text = std::str::from_utf8(text).map_err(|error| {
        let before = &text[..error.valid_up_to()];
        wrong(1 + before.iter().filter(|b| **b == b'\n').count(), "not UTF-8")
    })?;
    let mut lines = Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 };
    let next = |lines: &mut Lines<'_>| {
        let line = lines.line;
        lines.next().map_err(|what| wrong(line, what)).map(|cells| cells.map(|cells| (line, cells)))
    };
    let Some((_, heading)) = next(&mut lines)? else {
        return Err(wrong(1, "an empty file; begin with a heading: name,kind"));
    };
    let heading: Vec<String> =
        heading.iter().map(|cell| cell.trim().to_ascii_lowercase()).collect();
    let column = |name: &str| heading.iter().position(|cell| cell == name);
    let Some(name_at) = column("name") else {
        return Err(wrong(1, "the heading has no column \"name\"; begin with: name,kind"));
    };
    let (kind_at, owner_at) = (column("kind"), column("owner"));
    let mut accounts: Vec<Account> = Vec::new();
    let mut known = std::collections::HashMap::new();
    while let Some((line, cells)) = next(&mut lines)? {
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if cells.len() != heading.len() {
            let what = format!("{} cells where the heading has {}", cells.len(), heading.len());
            return Err(wrong(line, &what));
        }
        let cell = |at: Option<usize>| at.map(|at| &*cells[at]).filter(|cell| !cell.is_empty());
        let Some(name) = cell(Some(name_at)) else { return Err(wrong(line, "no name")) };
        let kind = match cell(kind_at).map(|cell| cell.trim().to_ascii_lowercase()).as_deref() {
            None | Some("") => None,
            Some("person") => Some(AccountKind::Person),
            Some("service") => Some(AccountKind::Service),
            Some(other) => {
                return Err(wrong(line, &format!("kind {other:?}; write person or service")));
            }
        };
        if let Some(first) = known.insert(name.to_owned(), line) {
            return Err(wrong(line, &format!("{name:?} is on line {first} already")));
        }
        if accounts.len() == ACCOUNTS_MAX {
            return Err(wrong(line, &format!("a roster has at most {ACCOUNTS_MAX} accounts")));
        }
        accounts.push(Account { name: name.into(), kind, owner: cell(owner_at).map(Text::from) });
    }
    Ok(accounts)
}

/// Lines of cells.
struct Lines<'a> {
    rest: &'a str,
    line: usize,
}

impl Lines<'_> {
    /// The cells of the next line; `None` behind the last.
    fn next(&mut self) -> Result<Option<Vec<String>>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let mut cells = Vec::new();
        loop {
            let (cell, rest) = match self.rest.strip_prefix('"') {
                Some(rest) => quoted(rest)?,
                None => {
                    let end = self.rest.find([',', '\n', '\r']).unwrap_or(self.rest.len());
                    let (cell, rest) = self.rest.split_at(end);
                    if cell.contains('"') {
                        return Err("a quotation mark within a cell that is not quoted");
                    }
                    (cell.to_owned(), rest)
                }
            };
            self.line += cell.matches('\n').count();
            cells.push(cell);
            if let Some(rest) = rest.strip_prefix(',') {
                self.rest = rest;
                continue;
            }
            let end = ["\r\n", "\n", "\r"].into_iter().find_map(|end| rest.strip_prefix(end));
            self.rest = match (end, rest) {
                (Some(rest), _) => rest,
                (None, "") => "",
                (None, _) => return Err("a comma is missing behind a quoted cell"),
            };
            self.line += 1;
            return Ok(Some(cells));
        }
    }
}

/// What a quoted cell says, and what stands behind it.
fn quoted(mut rest: &str) -> Result<(String, &str), &'static str> {
    let mut cell = String::new();
    loop {
        let (before, after) = rest.split_once('"').ok_or("a quotation mark is not closed")?;
        cell.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                cell.push('"');
                rest = after;
            }
            None => return Ok((cell, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rosters_are_read_and_what_is_wrong_is_told_with_its_line() {
        let read = |text: &str| read("r.csv", text.as_bytes());
        let accounts = read(
            "\u{feff}Owner,Name,KIND,x\r\n\"Adams, \"\"A\"\"\",alice,Person,1\r\n\r\n,svc-é,service,\n\
             ,\"two\nlines\",,\nz,last,,",
        );
        let account = |name: &str, kind, owner: Option<&str>| Account {
            name: name.into(),
            kind,
            owner: owner.map(Text::from),
        };
        let expected = [
            account("alice", Some(AccountKind::Person), Some("Adams, \"A\"")),
            account("svc-é", Some(AccountKind::Service), None),
            account("two\nlines", None, None),
            account("last", None, Some("z")),
        ];
        assert_eq!(accounts.expect("is read"), expected);
        assert_eq!(read("name").expect("is read"), []);
        for (text, expected) in [
            ("", "r.csv:1: an empty file"),
            ("user,kind\n", "r.csv:1: the heading has no column"),
            ("name,kind\na,person\nb\n", "r.csv:3: 1 cells where"),
            ("name,kind\na,robot\n", "r.csv:2: kind \"robot\""),
            ("name\na\nb\na\n", "r.csv:4: \"a\" is on line 2"),
            ("name,kind\n,person\n", "r.csv:2: no name"),
            ("name\n\"a\n", "r.csv:2: a quotation mark is not closed"),
            ("name\n\"a\"b\n", "r.csv:2: a comma is missing"),
            ("name\na\"b\n", "r.csv:2: a quotation mark within"),
            ("name,x\n\"a\nb\",\nc,d,e", "r.csv:4: 3 cells"),
        ] {
            let failure = read(text).expect_err(text);
            assert!(failure.message.starts_with(expected), "{failure}");
        }
        let failure = super::read("r.csv", b"name\na\n\xff\n").expect_err("no text");
        assert_eq!(failure.message, "r.csv:3: not UTF-8");
    }
}
