//! [`Chain`]: which files are one host's log, and in which order they were written.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use doorbook_event::{Text, Timestamp};
use minicbor::{Decode, Encode};

use super::file::{Content, open_regular};
use crate::input::expand::Rotation;
use crate::input::{Error, ErrorKind};

/// Finds the time that a physical line begins with; also told when the line's file was last written.
pub type TimeOf = Box<dyn Fn(&[u8], Timestamp) -> Option<Timestamp> + Send>;

/// The files of one host's log, looked up by name each time.
pub(super) struct Chain {
    /// As it was given.
    name: Text,
    directory: PathBuf,
    names: Names,
    time_of: TimeOf,
}

/// Which names in the directory are live files.
enum Names {
    One(String),
    Pattern(glob::Pattern, String),
}

/// What tells a file from others while it exists. An inode number alone is given to a new file as
/// soon as the old one is gone, so the time of its creation belongs to it where the system knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(array)]
pub(super) struct Identity {
    #[n(0)]
    device: u64,
    #[n(1)]
    inode: u64,
    #[n(2)]
    created: Option<Timestamp>,
}

impl Identity {
    pub(super) fn of(metadata: &Metadata) -> Identity {
        let created = metadata.created().ok().and_then(timestamp);
        Identity { device: metadata.dev(), inode: metadata.ino(), created }
    }
}

/// A file of the chain that has content.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) identity: Identity,
    /// As stored.
    pub(super) size_bytes: u64,
    pub(super) is_packed: bool,
    /// Its name is one that the server writes to.
    pub(super) is_live: bool,
    /// The first bytes of its content, as many as [`Entry::HEAD_BYTES`].
    pub(super) head: Vec<u8>,
    /// Where its content begins: after the hole that a writer leaves which does not append.
    pub(super) head_offset_bytes: u64,
    /// The time of its first line; of one whose first lines have none, when it was last written.
    pub(super) begins: Timestamp,
    pub(super) modified: Timestamp,
}

impl Entry {
    /// Enough for the time of the first line and what follows it.
    pub(super) const HEAD_BYTES: usize = 256;
    /// Fewer are no more than a time and what all lines begin with: they tell no file from another.
    pub(super) const HEAD_BYTES_MIN: usize = 64;
    /// A first line without a time is a piece of one, or what a crash left.
    const SEARCHED_BYTES: usize = 64 << 10;

    /// Its name as it is told.
    pub(super) fn name(&self) -> Text {
        (&*self.path.to_string_lossy()).into()
    }

    /// When its name says that it was rotated away.
    pub(super) fn rotated(&self) -> Option<Timestamp> {
        let name = self.path.file_name()?.to_string_lossy();
        Rotation::of(&name).1.time()
    }

    /// Whether it has the same content as another one, or as much of it as there is.
    fn is_same_content(&self, other: &Entry) -> bool {
        let (short, long) = match self.head.len() <= other.head.len() {
            true => (&self.head, &other.head),
            false => (&other.head, &self.head),
        };
        let is_whole = short.len() < Entry::HEAD_BYTES;
        short.len() >= Entry::HEAD_BYTES_MIN
            && long.starts_with(short)
            && (is_whole || short.len() == long.len())
    }
}

/// The chain at one moment.
#[derive(Debug)]
pub(super) struct Listing {
    /// The files that have content, in the order in which they were written.
    pub(super) entries: Vec<Entry>,
    /// All regular files, also empty ones.
    identities: Vec<Identity>,
    /// When those were last written that may not be read.
    unreadable: Vec<(PathBuf, Timestamp)>,
    /// What is wrong with the live file.
    pub(super) trouble: Option<Error>,
    /// Two live files can be live at the same time only where they have two names.
    has_one_name: bool,
    /// The file of the one name, also if it is empty.
    live: Option<Identity>,
}

impl Listing {
    pub(super) fn has_file(&self, identity: Identity) -> bool {
        self.identities.contains(&identity)
    }

    /// The first file that was written after one that is gone.
    pub(super) fn after_missing(&self, begins: Timestamp) -> Option<usize> {
        let is_later = |entry: &Entry| entry.begins >= begins || self.is_last(entry);
        self.entries.iter().position(is_later)
    }

    fn is_last(&self, entry: &Entry) -> bool {
        self.has_one_name && entry.is_live
    }

    /// Whether the live file is older than what this rotated one begins with: then its content was
    /// copied, and the live file cut short.
    pub(super) fn is_copy(&self, entry: &Entry) -> bool {
        // mongod writes milliseconds, and file systems have clocks of their own.
        const SLACK_MICROS: i64 = 100_000;
        let created = self.live.and_then(|live| live.created);
        let until = entry.begins.plus_micros(SLACK_MICROS);
        !entry.is_live && created.is_some_and(|created| created <= until)
    }

    /// A file that may not be read, and was written since.
    pub(super) fn unreadable_since(&self, since: Timestamp) -> Option<&Path> {
        let found = self.unreadable.iter().find(|(_, modified)| *modified >= since);
        found.map(|(path, _)| &**path)
    }

    pub(super) fn size_bytes_from(&self, at: usize) -> u64 {
        self.entries.iter().skip(at).map(|entry| entry.size_bytes).sum()
    }
}

/// A name, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Glanced {
    path: PathBuf,
    identity: Identity,
    is_live: bool,
}

#[derive(Default)]
struct Glance {
    files: Vec<Glanced>,
    trouble: Option<Error>,
}

impl Chain {
    /// More are a pattern that matches what it should not.
    const FILES_MAX: usize = 1000;
    /// While names change between two looks, one that was missed may be the one that matters.
    const LOOKS_MAX: usize = 4;

    pub(super) fn new(path: &str, time_of: TimeOf) -> Result<Chain, Error> {
        let name = Text::from(path);
        let refuse = |why: String| Err(Error::new(ErrorKind::Name, &name, why));
        let parts = Path::new(path);
        let Some(file_name) = parts.file_name().map(|name| name.to_string_lossy().into_owned())
        else {
            return refuse("names no file".to_owned());
        };
        let directory = match parts.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        // A name with brackets is a name first.
        let is_pattern = path.contains(['*', '?', '[']) && fs::symlink_metadata(path).is_err();
        if is_pattern && let Err(e) = glob::Pattern::new(path) {
            return refuse(format!("is neither a file nor a pattern: {}", e.msg));
        }
        let names = match is_pattern {
            false => Names::One(file_name),
            true => match glob::Pattern::new(&file_name) {
                Ok(pattern) => {
                    let literal = file_name.split(['*', '?', '[']).next().unwrap_or_default();
                    Names::Pattern(pattern, literal.to_owned())
                }
                Err(e) => return refuse(format!("is not a pattern: {}", e.msg)),
            },
        };
        Ok(Chain { name, directory, names, time_of })
    }

    pub(super) fn name(&self) -> &Text {
        &self.name
    }

    /// The live file, where it has one name.
    pub(super) fn live_path(&self) -> Option<PathBuf> {
        match &self.names {
            Names::One(name) => Some(self.directory.join(name)),
            Names::Pattern(..) => None,
        }
    }

    /// Lists the chain; `None` if it changes faster than it can be listed.
    pub(super) fn list(&self) -> Result<Option<Listing>, Error> {
        let mut before = self.glance()?;
        for _ in 0..Chain::LOOKS_MAX {
            let listing = self.look_into(before);
            before = self.glance()?;
            if let Some((listing, files)) = listing
                && files == before.files
            {
                return Ok(Some(listing));
            }
        }
        Ok(None)
    }

    /// Opens each file; `None` if one is another by now.
    fn look_into(&self, glance: Glance) -> Option<(Listing, Vec<Glanced>)> {
        let mut listing = Listing {
            entries: Vec::new(),
            identities: Vec::new(),
            unreadable: Vec::new(),
            trouble: glance.trouble,
            has_one_name: matches!(self.names, Names::One(_)),
            live: None,
        };
        for file in &glance.files {
            listing.identities.push(file.identity);
            if file.is_live && listing.has_one_name {
                listing.live = Some(file.identity);
            }
            match self.entry(file) {
                Ok(Some(entry)) if entry.identity != file.identity => return None,
                Ok(Some(entry)) => listing.entries.push(entry),
                Ok(None) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => return None,
                Err(e) => {
                    let modified =
                        fs::metadata(&file.path).ok().map(|metadata| modified(&metadata));
                    listing.unreadable.push((file.path.clone(), modified.unwrap_or_default()));
                    if file.is_live {
                        listing.trouble = Some(unusable(&file.path, e));
                    }
                }
            }
        }
        self.sort(&mut listing);
        Some((listing, glance.files))
    }

    fn sort(&self, listing: &mut Listing) {
        let has_one_name = listing.has_one_name;
        let entries = &mut listing.entries;
        // Of two copies of one content the one that is written to is worth most, then the one that
        // can be read from its middle.
        entries.sort_by(|a, b| a.head.cmp(&b.head));
        let worth = |entry: &Entry| (entry.is_live, !entry.is_packed, entry.size_bytes);
        entries.dedup_by(|next, kept| {
            let is_same = next.is_same_content(kept);
            if is_same && worth(next) > worth(kept) {
                std::mem::swap(next, kept);
            }
            is_same
        });
        entries.sort_by_cached_key(|entry| {
            let is_last = has_one_name && entry.is_live;
            (is_last, entry.begins, entry.is_live, entry.modified, entry.path.clone())
        });
    }

    /// `None` if it has no whole line yet and is still written to.
    fn entry(&self, file: &Glanced) -> io::Result<Option<Entry>> {
        let (opened, metadata) = open_regular(&file.path)?;
        let modified = modified(&metadata);
        let mut content = Content::new(opened)?;
        let head_offset_bytes = content.skip_hole()?;
        let mut bytes = content.first(head_offset_bytes, Entry::HEAD_BYTES * 16)?;
        let mut begins = self.first_time(&bytes, modified);
        if begins.is_none() && bytes.len() >= Entry::HEAD_BYTES * 16 {
            bytes = content.first(head_offset_bytes, Entry::SEARCHED_BYTES)?;
            begins = self.first_time(&bytes, modified);
        }
        let has_line = memchr::memchr(b'\n', &bytes).is_some();
        if bytes.is_empty() || file.is_live && !has_line && bytes.len() < Entry::SEARCHED_BYTES {
            return Ok(None);
        }
        bytes.truncate(Entry::HEAD_BYTES);
        Ok(Some(Entry {
            path: file.path.clone(),
            identity: Identity::of(&metadata),
            size_bytes: metadata.len(),
            is_packed: matches!(content, Content::Packed { .. }),
            is_live: file.is_live,
            head: bytes,
            head_offset_bytes,
            begins: begins.unwrap_or(modified),
            modified,
        }))
    }

    fn first_time(&self, bytes: &[u8], modified: Timestamp) -> Option<Timestamp> {
        bytes.split(|b| *b == b'\n').find_map(|line| (self.time_of)(line, modified))
    }

    /// Looks at names only.
    fn glance(&self) -> Result<Glance, Error> {
        let mut glance = Glance::default();
        let mut live = Vec::new();
        for directory in self.directories()? {
            self.glance_into(&directory, &mut glance, &mut live)?;
        }
        // The directory may be closed to us and the file not.
        if let Some(path) = self.live_path()
            && live.is_empty()
        {
            self.take(path, true, &mut glance, &mut live);
        }
        for path in live {
            self.glance_behind_link(&path, &mut glance);
        }
        let files = &mut glance.files;
        files.sort_by(|a, b| (!a.is_live, &a.path).cmp(&(!b.is_live, &b.path)));
        let mut seen = HashSet::new();
        files.retain(|file| seen.insert(file.identity));
        if files.len() > Chain::FILES_MAX {
            return Err(self.too_many());
        }
        if !files.iter().any(|file| file.is_live) && glance.trouble.is_none() {
            let message = match self.names {
                Names::One(_) => "there is no such file",
                Names::Pattern(..) => "no file matches this pattern",
            };
            glance.trouble = Some(Error::new(ErrorKind::Absent, &self.name, message));
        }
        Ok(glance)
    }

    fn too_many(&self) -> Error {
        let message = format!(
            "stands for more than {} files, which cannot be one host's log; name a smaller pattern",
            Chain::FILES_MAX
        );
        Error::new(ErrorKind::Name, &self.name, message)
    }

    fn directories(&self) -> Result<Vec<PathBuf>, Error> {
        let directory = self.directory.to_string_lossy();
        let is_pattern = matches!(self.names, Names::Pattern(..))
            && directory.contains(['*', '?', '['])
            && !self.directory.is_dir();
        if !is_pattern {
            return Ok(vec![self.directory.clone()]);
        }
        let found = glob::glob(&directory).map_err(|e| {
            Error::new(ErrorKind::Name, &self.name, format!("is not a pattern: {}", e.msg))
        })?;
        let found: Vec<PathBuf> = found.flatten().take(Chain::FILES_MAX + 1).collect();
        if found.len() > Chain::FILES_MAX { Err(self.too_many()) } else { Ok(found) }
    }

    fn glance_into(
        &self,
        directory: &Path,
        glance: &mut Glance,
        live: &mut Vec<PathBuf>,
    ) -> Result<(), Error> {
        let literal = match &self.names {
            Names::One(name) | Names::Pattern(_, name) => name.as_str(),
        };
        let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
        for entry in entries.flatten() {
            let file_name = entry.file_name();
            let file_name = file_name.to_string_lossy();
            if !file_name.starts_with(literal) {
                continue;
            }
            let (base, _) = Rotation::of(&file_name);
            let (is_live, is_copy) = match &self.names {
                Names::One(name) => (*file_name == **name, base == name),
                Names::Pattern(pattern, _) => {
                    let matches = pattern.matches(&file_name);
                    (matches && base == file_name, matches || pattern.matches(base))
                }
            };
            if is_live || is_copy {
                self.take(entry.path(), is_live, glance, live);
            }
            if glance.files.len() > 2 * Chain::FILES_MAX {
                return Err(self.too_many());
            }
        }
        Ok(())
    }

    fn take(&self, path: PathBuf, is_live: bool, glance: &mut Glance, live: &mut Vec<PathBuf>) {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                let identity = Identity::of(&metadata);
                glance.files.push(Glanced { path: path.clone(), identity, is_live });
            }
            Ok(_) if is_live => glance.trouble = Some(irregular(&path)),
            Err(e) if is_live && e.kind() != io::ErrorKind::NotFound => {
                glance.trouble = Some(unusable(&path, e));
            }
            _ => {}
        }
        if is_live {
            live.push(path);
        }
    }

    /// A live file that is a link: what it led to before lies beside what it leads to, under a name
    /// that differs in its digits, or that continues it.
    fn glance_behind_link(&self, link: &Path, glance: &mut Glance) {
        if !fs::symlink_metadata(link).is_ok_and(|metadata| metadata.is_symlink()) {
            return;
        }
        let Ok(target) = fs::canonicalize(link) else { return };
        let (Some(directory), Some(name)) = (target.parent(), target.file_name()) else { return };
        let name = name.to_string_lossy();
        let (base, _) = Rotation::of(&name);
        let shape = shape(&name);
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            let other = entry.file_name();
            let other = other.to_string_lossy();
            let (other_base, _) = Rotation::of(&other);
            let is_sibling = other_base == base || self::shape(other_base) == shape;
            if is_sibling && glance.files.len() <= 2 * Chain::FILES_MAX {
                self.take(entry.path(), false, glance, &mut Vec::new());
            }
        }
    }
}

/// A name without what counts up in it: each number is one `0`.
fn shape(name: &str) -> String {
    let mut shape: Vec<char> =
        name.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape.dedup_by(|next, kept| *next == '0' && *kept == '0');
    shape.into_iter().collect()
}

pub(super) fn modified(metadata: &Metadata) -> Timestamp {
    metadata.modified().ok().and_then(timestamp).unwrap_or_default()
}

fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    jiff::Timestamp::try_from(time).ok().map(Timestamp::from_jiff)
}

fn irregular(path: &Path) -> Error {
    let name = Text::from(&*path.to_string_lossy());
    Error::new(ErrorKind::Absent, &name, "is not a regular file")
}

pub(super) fn unusable(path: &Path, e: io::Error) -> Error {
    let name = Text::from(&*path.to_string_lossy());
    let message = match e.kind() {
        io::ErrorKind::NotFound => "there is no such file",
        io::ErrorKind::PermissionDenied => "may not be read by this user",
        io::ErrorKind::InvalidInput => return irregular(path),
        _ if e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            "is a link that leads to itself"
        }
        _ => "cannot be read",
    };
    Error::new(ErrorKind::Absent, &name, message).caused_by(e)
}
