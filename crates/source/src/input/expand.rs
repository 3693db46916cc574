//! [`expand`](fn@expand): what a user names, as inputs in the order in which they were written.
//!
//! A log that was rotated is one history in several files: connections that one file opens end in
//! the next. So the files of one base name are put in order, oldest first, wherever in the
//! arguments they stand, and each but the first is flagged to continue the one before it. Inputs of
//! different base names stay in the order in which they were named.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use doorbook_event::{Text, Timestamp};
use jiff::civil;

use super::{Error, ErrorKind, LineReader};

/// What arguments stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// What to read, in this order.
    pub inputs: Vec<Input>,
    /// What a directory or a pattern held besides; the user should be told.
    pub left_out: Vec<LeftOut>,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Where its bytes come from.
    pub origin: Origin,
    /// Its name as the user gave it, or would have; `-` for standard input.
    pub name: Text,
    /// Whether it goes on where the input before it in the list ended: a further file of the same
    /// rotated log. Connections that were open there are open here.
    pub continues: bool,
    /// The time in its name, as if it were UTC: when it was rotated away. mongod writes this in
    /// the server's zone, so it orders files and says roughly when.
    pub rotation_suffix: Option<Timestamp>,
    /// When it was last written, where it is a file.
    pub modified: Option<Timestamp>,
    /// Its size as stored, where it is a file.
    pub size_bytes: Option<u64>,
}

/// Where an input's bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Standard input.
    Stdin,
    /// A file, a named pipe or a character device.
    File(PathBuf),
}

/// A file that was found and is not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub why: &'static str,
}

impl Input {
    /// Opens it. A named pipe makes this wait for its writer.
    pub fn open(&self) -> Result<LineReader, Error> {
        match &self.origin {
            Origin::Stdin => LineReader::new(self.name.clone(), Box::new(io::stdin())),
            Origin::File(path) => {
                let file = File::open(path).map_err(|e| unusable(&self.name, e))?;
                LineReader::new(self.name.clone(), Box::new(file))
            }
        }
    }
}

/// Finds what the arguments name: files, `-` for standard input, patterns (a shell may have left
/// them to us), directories (their log files, not those of directories within). A file that is
/// named twice is read once.
pub fn expand(arguments: &[String]) -> Result<Expansion, Error> {
    let mut left_out = Vec::new();
    let mut found = Vec::new();
    for argument in arguments {
        if argument == "-" {
            found.push(Found::stdin());
            continue;
        }
        match fs::metadata(argument) {
            Ok(metadata) if metadata.is_dir() => {
                found.append(&mut in_directory(argument, &mut left_out)?);
            }
            Ok(metadata) => found.push(Found::named(argument, metadata)?),
            // Only now, so that a file whose name has brackets can be named as it is.
            Err(e) if e.kind() == io::ErrorKind::NotFound && argument.contains(['*', '?', '[']) => {
                found.append(&mut matching(argument, &mut left_out)?);
            }
            Err(e) => return Err(unusable(&Text::from(argument.as_str()), e)),
        }
    }
    let mut seen = HashSet::new();
    found.retain(|found| seen.insert(found.identity.clone()));
    // What one argument leaves out, another may name.
    left_out.retain(|left_out| !seen.contains(&Some(identity(&left_out.path))));
    Ok(Expansion { inputs: in_reading_order(found), left_out })
}

/// The log files of a directory.
fn in_directory(argument: &str, left_out: &mut Vec<LeftOut>) -> Result<Vec<Found>, Error> {
    let name = Text::from(argument);
    let entries = fs::read_dir(argument)
        .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
        .map_err(|e| unusable(&name, e))?;
    let mut paths: Vec<PathBuf> = entries.iter().map(|entry| entry.path()).collect();
    paths.sort();
    let n_entries = paths.len();
    let mut found = Vec::new();
    for path in paths {
        let file_name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let why_not = if looks_like_log(&file_name) { None } else { Some("its name is no log's") };
        gather(path, why_not, &mut found, left_out)?;
    }
    if found.is_empty() {
        return Err(Error::new(
            ErrorKind::Name,
            &name,
            format!(
                "none of the {n_entries} entries of this directory has the name of a log (*.log, \
                 *.log.1, *.log.2026-11-23T02-48-50, each also with .gz or .zst); name the files"
            ),
        ));
    }
    Ok(found)
}

/// The files that match a pattern.
fn matching(pattern: &str, left_out: &mut Vec<LeftOut>) -> Result<Vec<Found>, Error> {
    let name = Text::from(pattern);
    let paths = glob::glob(pattern).map_err(|e| {
        Error::new(ErrorKind::Name, &name, format!("is neither a file nor a pattern: {}", e.msg))
    })?;
    let mut found = Vec::new();
    for path in paths {
        let path = path
            .map_err(|e| unusable(&Text::from(&*e.path().to_string_lossy()), io::Error::from(e)))?;
        gather(path, None, &mut found, left_out)?;
    }
    if found.is_empty() {
        // A `[` may be part of a name, and whoever means a file looks for that.
        let message = match pattern.contains(['*', '?']) {
            true => "no file matches this pattern",
            false => "does not exist, and no file matches it as a pattern either",
        };
        return Err(Error::new(ErrorKind::Name, &name, message));
    }
    Ok(found)
}

/// Takes a file that was not named itself, or leaves it out: a pipe among logs would make us wait
/// for ever, a device read for ever.
fn gather(
    path: PathBuf,
    why_not: Option<&'static str>,
    found: &mut Vec<Found>,
    left_out: &mut Vec<LeftOut>,
) -> Result<(), Error> {
    let metadata = fs::metadata(&path);
    let why_not = match &metadata {
        Ok(metadata) if metadata.is_dir() => Some("it is a directory"),
        Ok(metadata) if !metadata.is_file() => Some("it is not a regular file"),
        Ok(_) => why_not,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Some("it is a link to nothing"),
        Err(_) => why_not,
    };
    if let Some(why) = why_not {
        left_out.push(LeftOut { path, why });
        return Ok(());
    }
    let name = Text::from(&*path.to_string_lossy());
    let metadata = metadata.map_err(|e| unusable(&name, e))?;
    found.push(Found::regular(path, name, &metadata)?);
    Ok(())
}

/// An input before it is put in order.
struct Found {
    origin: Origin,
    name: Text,
    modified: Option<Timestamp>,
    size_bytes: Option<u64>,
    /// What is the same for the same file under two names; `None` for standard input.
    identity: Option<PathBuf>,
    /// The directory and the base name that the files of one rotated log share.
    base: Option<PathBuf>,
    rotation: Rotation,
}

impl Found {
    fn stdin() -> Found {
        Found {
            origin: Origin::Stdin,
            name: Text::from("-"),
            modified: None,
            size_bytes: None,
            identity: None,
            base: None,
            rotation: Rotation::Current,
        }
    }

    fn named(argument: &str, metadata: Metadata) -> Result<Found, Error> {
        let name = Text::from(argument);
        let path = PathBuf::from(argument);
        let kind = metadata.file_type();
        if kind.is_file() {
            return Found::regular(path, name, &metadata);
        }
        // A pipe is what `<(zcat ...)` gives. It is not tried here: opening it waits.
        if !kind.is_fifo() && !kind.is_char_device() {
            return Err(Error::new(ErrorKind::Name, &name, "is neither a file nor a pipe"));
        }
        let identity = Some(identity(&path));
        let base = Some(path.clone());
        Ok(Found {
            origin: Origin::File(path),
            name,
            modified: None,
            size_bytes: None,
            identity,
            base,
            rotation: Rotation::Current,
        })
    }

    fn regular(path: PathBuf, name: Text, metadata: &Metadata) -> Result<Found, Error> {
        // Better now than after half of an import.
        File::open(&path).map_err(|e| unusable(&name, e))?;
        let file_name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        let (base_name, rotation) = Rotation::of(&file_name);
        let identity = identity(&path);
        let base = base(&path, base_name);
        let modified = metadata.modified().ok().and_then(|t| jiff::Timestamp::try_from(t).ok());
        Ok(Found {
            name,
            modified: modified.map(Timestamp::from_jiff),
            size_bytes: Some(metadata.len()),
            identity: Some(identity),
            base: Some(base),
            rotation,
            origin: Origin::File(path),
        })
    }
}

/// What is the same for one file under several names.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// What is the same for the files of one log: the real directory and the base name. A link counts
/// where it lies, not where it leads: in a pod's directory, `0.log` and its rotations may be links.
fn base(path: &Path, base_name: &str) -> PathBuf {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    identity(directory.unwrap_or(Path::new("."))).join(base_name)
}

fn unusable(name: &Text, e: io::Error) -> Error {
    let message = match e.kind() {
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "may not be read by this user",
        _ => "cannot be opened",
    };
    Error::new(ErrorKind::Name, name, message).caused_by(e)
}

/// What a file's name says about its place among the files of one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// Rotated away at this time.
    Dated(Timestamp),
    /// Rotated away this many rotations ago.
    Numbered(u32),
    /// Not rotated away.
    Current,
}

impl Rotation {
    /// Splits a file's name into the log's base name and the file's place: mongod's own
    /// `.2026-11-23T02-48-50`, logrotate's `.1` and `-20261123`, the kubelet's `.20261123-024850`,
    /// a time also with a number after it where two rotations fell into one, each also compressed.
    pub(crate) fn of(file_name: &str) -> (&str, Rotation) {
        let unpacked = [".gz", ".zst", ".zstd"]
            .iter()
            .find_map(|ending| file_name.strip_suffix(ending))
            .unwrap_or(file_name);
        // Each try begins at a dot or hyphen; the longest suffix that is a rotation's counts, so
        // that `.20261123-024850` is not taken for the base `.20261123` with a date of its own.
        for (at, _) in unpacked.match_indices(['.', '-']) {
            let (base, suffix) = (&unpacked[..at], &unpacked[at + 1..]);
            if base.is_empty() {
                continue;
            }
            let time = suffix.rsplit_once('.').filter(|(_, number)| is_number(number));
            if let Some(time) = suffix_time(time.map_or(suffix, |(time, _)| time)) {
                return (base, Rotation::Dated(time));
            }
            let numbered = unpacked[at..].starts_with('.') && is_number(suffix);
            if let Some(number) = suffix.parse().ok().filter(|_| numbered) {
                return (base, Rotation::Numbered(number));
            }
        }
        (unpacked, Rotation::Current)
    }

    pub(crate) fn time(self) -> Option<Timestamp> {
        match self {
            Rotation::Dated(time) => Some(time),
            Rotation::Numbered(_) | Rotation::Current => None,
        }
    }
}

/// Longer ones are a process, a port or a day.
fn is_number(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

fn suffix_time(suffix: &str) -> Option<Timestamp> {
    let format = match suffix.len() {
        19 => "%Y-%m-%dT%H-%M-%S",
        20 => "%Y-%m-%dT%H-%M-%SZ",
        15 => "%Y%m%d-%H%M%S",
        14 => "%Y%m%d%H%M%S",
        10 => "%Y%m%d%H",
        8 => "%Y%m%d",
        _ => return None,
    };
    let time = jiff::fmt::strtime::parse(format, suffix).ok()?;
    let time = match format {
        "%Y%m%d" => civil::DateTime::from(time.to_date().ok()?),
        "%Y%m%d%H" => time.to_date().ok()?.at(time.hour().unwrap_or(0), 0, 0, 0),
        _ => time.to_datetime().ok()?,
    };
    let zoned = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_jiff(zoned.timestamp()))
}

/// Whether a file in a directory is worth reading by its name.
fn looks_like_log(file_name: &str) -> bool {
    let (base, _) = Rotation::of(file_name);
    !base.starts_with('.') && base.len() > ".log".len() && base.ends_with(".log")
}

/// Brings the files of each log together, oldest first, at the place of the first of them.
fn in_reading_order(found: Vec<Found>) -> Vec<Input> {
    let mut logs: Vec<Vec<Found>> = Vec::new();
    for found in found {
        let same = logs.iter_mut().find(|log| found.base.is_some() && log[0].base == found.base);
        match same {
            Some(log) => log.push(found),
            None => logs.push(vec![found]),
        }
    }
    let mut inputs = Vec::new();
    for mut log in logs {
        let dated = log.iter().any(|found| matches!(found.rotation, Rotation::Dated(_)));
        let numbered = log.iter().any(|found| matches!(found.rotation, Rotation::Numbered(_)));
        // Dates and numbers do not compare (someone changed the rotation's settings): then the
        // time of the last write decides.
        let comparable = !(dated && numbered);
        log.sort_by_cached_key(|found| {
            let current = found.rotation == Rotation::Current;
            let by_name = match found.rotation {
                Rotation::Dated(time) => time.micros(),
                Rotation::Numbered(number) => -i64::from(number),
                Rotation::Current => 0,
            };
            let by_name = if comparable { by_name } else { 0 };
            (current, by_name, found.modified, found.name.clone())
        });
        for (n, found) in log.into_iter().enumerate() {
            inputs.push(Input {
                origin: found.origin,
                name: found.name,
                continues: n > 0,
                rotation_suffix: found.rotation.time(),
                modified: found.modified,
                size_bytes: found.size_bytes,
            });
        }
    }
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files, empty.
    fn directory(names: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for name in names {
            File::create(directory.path().join(name)).expect("a file");
        }
        directory
    }

    /// Goal: reading order. Method: arguments relative to a directory in, `name` or `+name` (for
    /// one that continues) out.
    #[track_caller]
    fn check(names: &[&str], arguments: &[&str], expect: &[&str]) {
        let directory = directory(names);
        assert_eq!(expanded(&directory, arguments), expect);
    }

    fn expanded(directory: &tempfile::TempDir, arguments: &[&str]) -> Vec<String> {
        let prefix = format!("{}/", directory.path().display());
        let arguments: Vec<String> = arguments
            .iter()
            .map(|argument| match *argument {
                "-" => "-".to_owned(),
                argument => format!("{prefix}{argument}"),
            })
            .collect();
        let expansion = expand(&arguments).expect("inputs");
        let shown = expansion.inputs.iter().map(|input| {
            let plus = if input.continues { "+" } else { "" };
            format!("{plus}{}", input.name.replace(&prefix, ""))
        });
        let left_out = expansion.left_out.iter().map(|left_out| {
            format!("!{}", left_out.path.display().to_string().replace(&prefix, ""))
        });
        shown.chain(left_out).collect()
    }

    #[test]
    fn mongods_own_rotation_is_read_oldest_first() {
        check(
            &["mongod.log", "mongod.log.2026-11-23T02-48-50", "mongod.log.2025-12-31T23-59-59.gz"],
            &["mongod.log", "mongod.log.2026-11-23T02-48-50", "mongod.log.2025-12-31T23-59-59.gz"],
            &[
                "mongod.log.2025-12-31T23-59-59.gz",
                "+mongod.log.2026-11-23T02-48-50",
                "+mongod.log",
            ],
        );
    }

    #[test]
    fn numbers_count_backwards() {
        check(
            &["a.log", "a.log.1", "a.log.2.gz", "a.log.10.zst"],
            &["a.log*"],
            &["a.log.10.zst", "+a.log.2.gz", "+a.log.1", "+a.log"],
        );
    }

    #[test]
    fn logrotates_and_the_kubelets_dates() {
        check(
            &["a.log-20261123", "a.log-20261122.gz", "0.log.20261123-024850", "0.log"],
            &[""],
            &["0.log.20261123-024850", "+0.log", "a.log-20261122.gz", "+a.log-20261123"],
        );
    }

    #[test]
    fn logs_of_different_names_stay_in_the_order_given() {
        check(
            &["b.log", "a.log", "b.log.1"],
            &["b.log", "-", "a.log", "b.log.1", "-"],
            &["b.log.1", "+b.log", "-", "a.log"],
        );
    }

    #[test]
    fn a_directory_gives_its_logs_and_names_the_rest() {
        let directory =
            directory(&["mongod.log", "mongos.log", "notes.txt", "x.log.bak", ".a.log", "y.log"]);
        fs::create_dir(directory.path().join("old.log")).expect("a directory");
        std::os::unix::fs::symlink("/nowhere", directory.path().join("z.log")).expect("a link");
        assert_eq!(
            expanded(&directory, &[""]),
            [
                "mongod.log",
                "mongos.log",
                "y.log",
                "!.a.log",
                "!notes.txt",
                "!old.log",
                "!x.log.bak",
                "!z.log"
            ]
        );
        // What is named itself is read whatever it is called, and is not left out then.
        assert_eq!(
            expanded(&directory, &["y*", "x.log.bak", "", "./y.log"]),
            [
                "y.log",
                "x.log.bak",
                "mongod.log",
                "mongos.log",
                "!.a.log",
                "!notes.txt",
                "!old.log",
                "!z.log"
            ]
        );
    }

    #[test]
    fn a_name_with_brackets_is_a_name_first() {
        check(&["[a].log", "a.log"], &["[a].log"], &["[a].log"]);
        check(&["a.log"], &["[a].log"], &["a.log"]);
    }

    #[test]
    fn mixed_rotations_go_by_the_last_write() {
        let directory = directory(&["a.log", "a.log.1", "a.log-20261123"]);
        for (name, seconds) in [("a.log", 1), ("a.log-20261123", 2), ("a.log.1", 3)] {
            let file = File::options().write(true).open(directory.path().join(name));
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.expect("it exists").set_modified(time).expect("settable");
        }
        assert_eq!(expanded(&directory, &["a*"]), ["a.log-20261123", "+a.log.1", "+a.log"]);
    }

    #[test]
    fn the_rotation_time_is_told() {
        #[track_caller]
        fn check(file_name: &str, base: &str, time: Option<&str>) {
            let (found, rotation) = Rotation::of(file_name);
            assert_eq!(
                (found, rotation.time().map(|t| t.to_string())),
                (base, time.map(str::to_owned))
            );
        }
        check("mongod.log.2026-11-23T02-48-50", "mongod.log", Some("2026-11-23T02:48:50Z"));
        check("mongod.log.2026-11-23T02-48-50.gz", "mongod.log", Some("2026-11-23T02:48:50Z"));
        check("mongod.log.2026-11-23T02-48-50.2.gz", "mongod.log", Some("2026-11-23T02:48:50Z"));
        check("mongod.log-20261123.1", "mongod.log", Some("2026-11-23T00:00:00Z"));
        check("mongod.log.2026-13-23T02-48-50", "mongod.log.2026-13-23T02-48-50", None);
        check("mongod.log-2026112302", "mongod.log", Some("2026-11-23T02:00:00Z"));
        check("db-20.log", "db-20.log", None);
        check("mongod-27017.log", "mongod-27017.log", None);
        check("mongod.log.12345", "mongod.log.12345", None);
        check(".1", ".1", None);
        check("", "", None);
    }

    #[test]
    fn errors_name_what_was_named() {
        #[track_caller]
        fn check(argument: &str, expect: &str) {
            let error = expand(&[argument.to_owned()]).expect_err("unusable");
            assert_eq!(error.kind(), ErrorKind::Name);
            assert_eq!(error.to_string(), format!("{argument}: {expect}"));
        }
        check("/nowhere/a.log", "there is no such file");
        check("", "there is no such file");
        check("/nowhere/*.log", "no file matches this pattern");
        check(
            "/nowhere/a**b",
            "is neither a file nor a pattern: recursive wildcards must form a single path component",
        );
        let directory = directory(&["notes.txt"]);
        let path = directory.path().display().to_string();
        let error = expand(&[path]).expect_err("nothing to read");
        assert!(error.to_string().contains("none of the 1 entries"), "{error}");
    }

    #[test]
    fn a_pipe_is_read_only_where_it_is_named() {
        let directory = directory(&["a.log"]);
        let pipe = directory.path().join("p.log");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(expanded(&directory, &[""]), ["a.log", "!p.log"]);
        assert_eq!(expanded(&directory, &["*.log"]), ["a.log", "!p.log"]);
        assert_eq!(expanded(&directory, &["p.log"]), ["p.log"]);
    }
}
