//! What the files of an array that name others say: lists of lines, hostile or half-written as they may be.

use std::fmt;

use super::name::{Name, Stem};

/// As much of one file is read. 64 MiB name nearly a million fragments.
pub const CONTENTS_BYTES_MAX: usize = 64 << 20;

/// What is wrong with a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is larger than what is read.
    TooLarge,
    /// It is empty, or its last line has no end: it is not all there.
    Unfinished,
    /// A line names nothing that an array has.
    Foreign,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unreadable::TooLarge => "it is larger than 64 MiB",
            Unreadable::Unfinished => "it is empty or ends within an entry",
            Unreadable::Foreign => "a line is no name of a file of an array",
        })
    }
}

impl std::error::Error for Unreadable {}

/// The fragments or metadata that were merged: one path a line, below the array or, before version 12,
/// with its whole address.
pub fn merged(bytes: &[u8]) -> Result<Vec<Stem>, Unreadable> {
    let mut stems = Vec::new();
    let mut rest = check_size(bytes)?;
    while !rest.is_empty() {
        let line = take_line(&mut rest)?;
        let line = line.strip_suffix('/').unwrap_or(line);
        let last = line.rsplit('/').next().unwrap_or(line);
        stems.push(Stem::parse(last).ok_or(Unreadable::Foreign)?);
    }
    Ok(stems)
}

/// The commits that merged commits hold, or that are no more: one path a line, and behind a condition its
/// length and bytes.
pub fn commits(bytes: &[u8]) -> Result<Vec<Name>, Unreadable> {
    let mut names = Vec::new();
    let mut rest = check_size(bytes)?;
    while !rest.is_empty() {
        let line = take_line(&mut rest)?;
        let name =
            Name::parse(line.strip_prefix('/').unwrap_or(line)).ok_or(Unreadable::Foreign)?;
        if line.ends_with(".del") || line.ends_with(".upd") {
            skip_condition(&mut rest)?;
        }
        names.push(name);
    }
    Ok(names)
}

/// The commits that are no more: one path a line.
pub fn ignored(bytes: &[u8]) -> Result<Vec<Name>, Unreadable> {
    let mut names = Vec::new();
    let mut rest = check_size(bytes)?;
    while !rest.is_empty() {
        let line = take_line(&mut rest)?;
        let line = line.strip_prefix('/').unwrap_or(line);
        names.push(Name::parse(line).ok_or(Unreadable::Foreign)?);
    }
    Ok(names)
}

fn check_size(bytes: &[u8]) -> Result<&[u8], Unreadable> {
    match bytes.len() {
        // Whoever makes a list has something to name: it was opened, and is not written yet.
        0 => Err(Unreadable::Unfinished),
        1..=CONTENTS_BYTES_MAX => Ok(bytes),
        _ => Err(Unreadable::TooLarge),
    }
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Unreadable> {
    let end = memchr::memchr(b'\n', rest).ok_or(Unreadable::Unfinished)?;
    let line = std::str::from_utf8(&rest[..end]).map_err(|_| Unreadable::Foreign)?;
    *rest = &rest[end + 1..];
    Ok(line)
}

fn skip_condition(rest: &mut &[u8]) -> Result<(), Unreadable> {
    let (size, behind) = rest.split_first_chunk().ok_or(Unreadable::Unfinished)?;
    let size = usize::try_from(u64::from_le_bytes(*size)).map_err(|_| Unreadable::Unfinished)?;
    *rest = behind.get(size..).ok_or(Unreadable::Unfinished)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "__5_5_21dc3e1bdb3b618d875895ce9e38bf35_22";
    const B: &str = "__6_6_0b25e9d055b87ab4b64148d3a94c57eb_22";

    /// Goal: lists are read as the library writes them. Method: the forms of real ones.
    #[test]
    fn real_lists() {
        let list = merged(format!("/__fragments/{A}\n/__fragments/{B}\n").as_bytes());
        let stems = [A, B].map(|stem| Stem::parse(stem).expect("a stem"));
        assert_eq!(list, Ok(stems.to_vec()));
        let old = merged(format!("file:///srv/x/{A}\ns3://b/x/{B}/\n").as_bytes());
        assert_eq!(old, Ok(stems.to_vec()));
        let mut list = format!("__commits/{A}.wrt\n__commits/{B}.del\n").into_bytes();
        list.extend(3_u64.to_le_bytes());
        list.extend(b"\n\0x");
        list.extend(format!("__commits/{A}.del\n").as_bytes());
        list.extend(0_u64.to_le_bytes());
        let names = [format!("{A}.wrt"), format!("{B}.del"), format!("{A}.del")];
        let names = names.map(|name| Name::parse(&format!("__commits/{name}")).expect("a name"));
        assert_eq!(commits(&list), Ok(names.to_vec()));
        let list = format!("__commits/{A}.wrt\n__commits/{B}.del\n");
        assert_eq!(ignored(list.as_bytes()), Ok(names[..2].to_vec()));
        for empty in [merged(b"").err(), commits(b"").err(), ignored(b"").err()] {
            assert_eq!(empty, Some(Unreadable::Unfinished));
        }
    }

    /// Goal: what is cut, foreign or lies about its length is an error and nothing else. Method: one each.
    #[test]
    fn broken_lists() {
        let cut = format!("__commits/{A}.wrt\n__comm");
        assert_eq!(commits(cut.as_bytes()), Err(Unreadable::Unfinished));
        assert_eq!(merged(b"\n"), Err(Unreadable::Foreign));
        assert_eq!(merged(b"/__fragments/\xff\n"), Err(Unreadable::Foreign));
        for size in [1, u64::MAX] {
            let mut list = format!("__commits/{A}.del\n").into_bytes();
            list.extend(size.to_le_bytes());
            assert_eq!(commits(&list), Err(Unreadable::Unfinished));
        }
        assert_eq!(
            commits(format!("__commits/{A}.del\n1234567").as_bytes()),
            Err(Unreadable::Unfinished)
        );
        assert_eq!(commits(&vec![b'\n'; CONTENTS_BYTES_MAX + 1]), Err(Unreadable::TooLarge));
    }
}
