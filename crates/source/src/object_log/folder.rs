//! [`Folder`]: logs that come as many files, each written once.
//!
//! Amazon puts a new file into a bucket every few minutes, under a name that has the time in it. Each is read
//! once, in the order of the names; what is delivered late has a name that is not the last one, so the names
//! that were read lately are remembered and those between them that are new are read, too.
//!
//! # The position
//!
//! CBOR, a map by number: 0 the version of the format (1); 1 a name, up to which all were read; 2 of each name
//! behind that which was read, its hash, the time of its latest request and its size; 3 until when it was told.
//! A file that has another size than when it was read is read again: whoever copied it was not done. Where it goes on, files are read again whose requests may wait still.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorbook_event::{Text, Timestamp};
use minicbor::{Decode, Encode};

use super::telling::Telling;
use super::{Format, Places, Records, Settings};
use crate::Batch;
use crate::input::stored::{Decoded, Stored};
use crate::input::{Error, ErrorKind, LineReader};
use crate::intern::hash;
use crate::watch::{Polled, append, read_position};

/// Where files are.
pub trait Files: Send {
    /// The first files behind the name `after`, by name, at most [`Folder::LISTED_MAX`]; those that seem whole.
    fn list(&mut self, after: &str, now: Timestamp) -> io::Result<Vec<Listed>>;

    /// Whether someone said since this was asked last that there may be more: then it is looked at once.
    fn has_more(&mut self) -> bool {
        false
    }

    /// The bytes of one. What may be there and cannot be had now is [`io::ErrorKind::NotConnected`]: it is asked
    /// for again, a few times if others can be had; every other error gives the file up.
    fn open(&mut self, name: &str) -> io::Result<Box<dyn Read + Send>>;
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name, below the folder.
    pub name: String,
    /// As it is stored.
    pub size_bytes: u64,
}

/// What is remembered of a file that was read.
#[derive(Clone, Copy, Debug)]
struct Was {
    /// The time of its latest request.
    latest: Option<Timestamp>,
    /// When it was listed.
    size_bytes: u64,
}

/// Reads files that are each written once.
pub struct Folder {
    settings: Settings,
    files: Box<dyn Files>,
    telling: Telling,
    /// Up to this name all were read.
    after: String,
    /// What was read behind that.
    read: BTreeMap<String, Was>,
    /// As the position has it, until the names are known.
    known: BTreeMap<u64, Was>,
    /// To be read, and whether for what waits only.
    next: VecDeque<(Listed, bool)>,
    /// The first of these, if it cannot be had, and how often it was tried.
    stuck: Option<(String, u32)>,
    /// The last one that could be had.
    had: Option<String>,
    /// How often one is tried: less once one was given up.
    tries_max: u32,
    /// When to look for more.
    look_at: Timestamp,
    interval_seconds: i64,
    wants_first: bool,
}

impl Folder {
    /// So many names are remembered: at one file a minute of sixteen hours, which is how late one may be.
    pub const NAMES_MAX: usize = 1000;

    /// Names that are looked at at once: those that were read, and as many new ones.
    pub const LISTED_MAX: usize = 2 * Folder::NAMES_MAX;

    /// So often a file is tried that cannot be had while others can.
    const TRIES_MAX: u32 = 8;

    /// One poll reads about as much.
    const POLL_BYTES: u64 = 16 << 20;

    /// Reads from a position, or from the beginning. Nothing is opened before the first poll.
    pub fn open(
        settings: Settings,
        files: Box<dyn Files>,
        interval_seconds: u32,
        position: Option<&[u8]>,
    ) -> Result<Folder, Error> {
        let known = match position {
            None | Some([]) => None,
            Some(bytes) => Some(Position::read(bytes, &settings.path)?),
        };
        let telling = Telling::new(&settings, known.as_ref().map(|known| known.until));
        let wants_first = known.is_none();
        let (after, known) = known.map_or_else(Default::default, |known| (known.after, known.read));
        Ok(Folder {
            settings,
            files,
            telling,
            after,
            read: BTreeMap::new(),
            known: known.into_iter().map(|read| (read.hash, read.was())).collect(),
            next: VecDeque::new(),
            stuck: None,
            had: None,
            tries_max: Folder::TRIES_MAX,
            look_at: Timestamp::MIN,
            interval_seconds: i64::from(interval_seconds),
            wants_first,
        })
    }

    /// Reads what has come since the last poll, and tells of what is over.
    pub fn poll(&mut self, now: Timestamp, out: &mut Batch) -> Polled {
        let mut polled = Polled::default();
        let mut batch = Batch::default();
        let may_look = self.next.is_empty() || self.stuck.is_some();
        if may_look && (self.files.has_more() || self.look_at <= now) {
            match self.look(now) {
                Ok(()) => {}
                Err(error) => {
                    let kind = match error.kind() {
                        io::ErrorKind::NotFound => ErrorKind::Absent,
                        _ => ErrorKind::Io,
                    };
                    let why = format!("cannot be listed: {error}");
                    let error = Error::new(kind, &self.settings.path, &why);
                    polled.trouble = Some(error);
                    return polled;
                }
            }
        }
        while let Some((file, is_context)) = self.next.pop_front() {
            let reader = match self.files.open(&file.name) {
                // It is read once it can be.
                Err(error)
                    if error.kind() == io::ErrorKind::NotConnected
                        && !self.gives_up(&file.name) =>
                {
                    let why = format!("{} cannot be read: {error}", file.name);
                    polled.trouble = Some(Error::new(ErrorKind::Io, &self.settings.path, &why));
                    self.next.push_front((file, is_context));
                    break;
                }
                reader => reader,
            };
            self.stuck = None;
            if reader.is_ok() {
                self.had = Some(file.name.clone());
            }
            if is_context {
                let was = self.read.get(&file.name).copied();
                let mut read = Batch::default();
                let is_lost = reader.is_err();
                self.read_file(&file, reader, &mut read);
                if is_lost {
                    // What waited of it is not told.
                    batch.quarantine.append(&mut read.quarantine);
                    self.read.extend(was.map(|was| (file.name, was)));
                }
                continue;
            }
            self.telling.resume();
            polled.next_file = true;
            polled.size_bytes += self.read_file(&file, reader, &mut batch);
            if batch.is_full() || polled.size_bytes >= Folder::POLL_BYTES {
                break;
            }
        }
        if self.next.is_empty() {
            self.tries_max = Folder::TRIES_MAX;
        }
        polled.more = !self.next.is_empty();
        polled.at_end = !polled.more && now < self.look_at;
        self.telling.tell(now, polled.at_end, &mut batch);
        self.forget();
        polled.lines = batch.lines;
        polled.latest = self.telling.told_until();
        if batch.earliest.is_some() && std::mem::take(&mut self.wants_first) {
            polled.since = batch.earliest;
        }
        append(out, batch);
        polled
    }

    /// What should be known of what was read.
    pub fn note(&self) -> Option<Text> {
        self.telling.note()
    }

    /// The namespace has other arrays now.
    pub fn set_places(&mut self, places: Arc<Places>) {
        self.telling.set_places(places);
    }

    /// Where to go on after what the last poll gave.
    pub fn position(&self) -> Vec<u8> {
        let read = self.read.iter().map(|(name, was)| OfName::of(hash(name.as_bytes()), was));
        let unseen = self.known.iter().map(|(hash, was)| OfName::of(*hash, was));
        let position = Position {
            version: Position::VERSION,
            after: self.after.clone(),
            read: read.chain(unseen).collect(),
            until: self.telling.until(),
        };
        minicbor::to_vec(&position).expect("memory takes all that is written to it")
    }

    /// Looks which files there are to read.
    fn look(&mut self, now: Timestamp) -> io::Result<()> {
        let files = self.files.list(&self.after, now)?;
        // What was found before and is not read is found again.
        self.next.retain(|(_, is_context)| *is_context);
        // As many as can be told at once: there may be more behind them.
        let is_all = files.len() < Folder::LISTED_MAX;
        self.look_at = if is_all { now.plus_seconds(self.interval_seconds) } else { now };
        let waits_since = self.telling.waits_since();
        let mut context = Vec::new();
        for file in files {
            let is_read = self.read.contains_key(&file.name);
            let was = match is_read {
                true => self.read.get(&file.name).copied(),
                false => self.known.remove(&hash(file.name.as_bytes())),
            };
            match was.filter(|was| was.size_bytes == file.size_bytes) {
                Some(_) if is_read => {}
                Some(was) => {
                    self.read.insert(file.name.clone(), was);
                    if was.latest.is_some_and(|latest| latest >= waits_since) {
                        context.push((file, true));
                    }
                }
                None => self.next.push_back((file, false)),
            }
        }
        // What else was remembered is there no more.
        self.known.clear();
        context.into_iter().rev().for_each(|file| self.next.push_front(file));
        Ok(())
    }

    /// Whether a file that cannot be had once more is left out: where no other one can be had, the trouble is
    /// not the file's.
    fn gives_up(&mut self, name: &str) -> bool {
        let before = self.stuck.take().filter(|(stuck, _)| stuck == name).map_or(0, |(_, n)| n);
        let tries = before + 1;
        if tries >= self.tries_max && self.can_have_another(name) {
            self.tries_max = 1;
            return true;
        }
        self.stuck = Some((name.to_owned(), tries));
        false
    }

    fn can_have_another(&mut self, name: &str) -> bool {
        let waiting = self.next.iter().map(|(file, _)| &file.name);
        let others = waiting.take(2).chain(&self.had).chain(self.read.keys().next_back());
        let others: Vec<String> = others.filter(|other| *other != name).cloned().collect();
        others.iter().any(|other| self.files.open(other).is_ok())
    }

    /// How many bytes it had.
    fn read_file(
        &mut self,
        file: &Listed,
        reader: io::Result<Box<dyn Read + Send>>,
        out: &mut Batch,
    ) -> u64 {
        let Listed { name, size_bytes: listed_bytes } = file;
        self.telling.begin(format!("{}/{name}", self.settings.path).into());
        let latest = out.latest.take();
        let (size_bytes, result) = match (reader, self.settings.format) {
            (Err(error), _) => (0, Err(error.to_string())),
            (Ok(reader), Format::Cloudtrail) => self.read_records(reader, out),
            (Ok(reader), _) => self.read_lines(name.as_str().into(), reader, out),
        };
        if let Err(why) = result {
            self.telling.give_up(size_bytes, &format!("the file cannot be read: {why}"), out);
        }
        let was = Was { latest: out.latest, size_bytes: *listed_bytes };
        self.read.insert(name.clone(), was);
        out.latest = out.latest.max(latest);
        size_bytes
    }

    fn read_lines(
        &mut self,
        name: Text,
        reader: Box<dyn Read + Send>,
        out: &mut Batch,
    ) -> (u64, Result<(), String>) {
        let mut size_bytes = 0;
        let lines = LineReader::new(name, reader).map(LineReader::without_sha256);
        let mut lines = match lines {
            Ok(lines) => lines,
            Err(error) => return (0, Err(error.to_string())),
        };
        loop {
            match lines.next_line() {
                Ok(Some(line)) => {
                    size_bytes = line.offset_bytes;
                    self.telling.line(&line, out);
                }
                Ok(None) => return (size_bytes, Ok(())),
                Err(error) => return (size_bytes, Err(error.to_string())),
            }
        }
    }

    fn read_records(
        &mut self,
        reader: Box<dyn Read + Send>,
        out: &mut Batch,
    ) -> (u64, Result<(), String>) {
        let mut decoded = match Decoded::new(Stored::new(reader)) {
            Ok(decoded) => decoded,
            Err(_) => return (0, Err("it is neither gzip nor JSON".to_owned())),
        };
        decoded.stop_hashing();
        let mut records = Records::default();
        let mut block = vec![0; BLOCK_BYTES];
        let (mut size_bytes, mut number) = (0, 0);
        loop {
            match decoded.read(&mut block) {
                Ok(0) if records.is_over() => return (size_bytes, Ok(())),
                Ok(0) => return (size_bytes, Err("it breaks off".to_owned())),
                Ok(n) => {
                    size_bytes += n as u64;
                    records.feed(&block[..n], &mut |record| {
                        number += 1;
                        self.telling.record(&record, number, out);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (size_bytes, Err(error.to_string())),
            }
        }
    }

    /// Of the names that were read only the last ones are remembered.
    fn forget(&mut self) {
        while self.read.len() > Folder::NAMES_MAX {
            if let Some((name, _)) = self.read.pop_first() {
                self.after = name;
            }
        }
    }
}

const BLOCK_BYTES: usize = 64 << 10;

/// See the module's documentation.
#[derive(Encode, Decode)]
#[cbor(map)]
struct Position {
    #[n(0)]
    version: u64,
    #[n(1)]
    after: String,
    #[n(2)]
    read: Vec<OfName>,
    #[n(3)]
    until: Timestamp,
}

#[derive(Encode, Decode)]
#[cbor(array)]
struct OfName {
    #[n(0)]
    hash: u64,
    #[n(1)]
    latest: Option<Timestamp>,
    #[n(2)]
    size_bytes: u64,
}

impl OfName {
    fn of(hash: u64, was: &Was) -> OfName {
        OfName { hash, latest: was.latest, size_bytes: was.size_bytes }
    }

    fn was(&self) -> Was {
        Was { latest: self.latest, size_bytes: self.size_bytes }
    }
}

impl Position {
    const VERSION: u64 = 1;

    fn read(bytes: &[u8], path: &Text) -> Result<Position, Error> {
        read_position(bytes, path, |position: &Position| position.version == Position::VERSION)
    }
}

/// A folder of this machine, with all below it. What has a name that begins with a dot is being copied.
pub struct OnDisk {
    root: PathBuf,
}

impl OnDisk {
    /// The files below `root`.
    pub fn new(root: &Path) -> OnDisk {
        OnDisk { root: root.to_owned() }
    }

    /// What was changed within as many seconds may be written still.
    const SETTLED_SECONDS: i64 = 5;

    /// Adds what is below a folder, and keeps the first names only.
    fn walk(
        &self,
        way: &str,
        after: &str,
        now: Timestamp,
        found: &mut BTreeSet<Listed>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(way))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with('.') {
                continue;
            }
            let way = if way.is_empty() { name } else { format!("{way}/{name}") };
            let kind = entry.file_type()?;
            // All that is in a folder is before its name with what comes after a slash.
            if kind.is_dir() && *format!("{way}0") > *after {
                self.walk(&way, after, now, found)?;
            } else if kind.is_file() && &*way > after && is_settled(&entry, now) {
                let size_bytes = entry.metadata()?.len();
                found.insert(Listed { name: way, size_bytes });
                if found.len() > Folder::LISTED_MAX {
                    found.pop_last();
                }
            }
        }
        Ok(())
    }
}

impl Files for OnDisk {
    fn list(&mut self, after: &str, now: Timestamp) -> io::Result<Vec<Listed>> {
        let mut found = BTreeSet::new();
        self.walk("", after, now, &mut found)?;
        Ok(found.into_iter().collect())
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(self.root.join(name))?))
    }
}

fn is_settled(entry: &fs::DirEntry, now: Timestamp) -> bool {
    let modified = entry.metadata().and_then(|metadata| metadata.modified());
    let Ok(modified) = modified.map(jiff::Timestamp::try_from) else { return false };
    modified.is_ok_and(|modified| {
        // A clock that was set back must not hide it.
        let age_micros = now.micros() - Timestamp::from_jiff(modified).micros();
        !(0..OnDisk::SETTLED_SECONDS * 1_000_000).contains(&age_micros)
    })
}
