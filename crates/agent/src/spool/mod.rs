//! [`Spool`]: what was read and is not in the server's history yet, on the disk.
//!
//! Everything that an agent reads passes through here, in order. `docs/design/agent.md` says why it is so;
//! [`frame`] has the form of the files. In memory there is a few dozen bytes for each advance.

pub mod folder;
mod frame;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use doorbook_event::advance::Advance;
use doorbook_event::{Text, shipment};
use doorbook_source::following::Place;

use folder::Folder;
use frame::{Frame, Head};

/// What was read and not shipped.
pub struct Spool {
    folder: Box<dyn Folder>,
    /// All files together are not larger.
    limit_bytes: u64,
    /// From the oldest; the last one grows.
    files: VecDeque<File>,
    /// From the oldest.
    entries: VecDeque<Entry>,
    /// Where each source is: after its last entry.
    places: BTreeMap<Text, Place>,
    next_id: u64,
    /// The last file has more bytes than it should: what failed to be written.
    has_rest: bool,
}

struct File {
    number: u64,
    size_bytes: u64,
    /// Its first frame, with where each source stood.
    begin_bytes: u64,
    /// Entries that were not dropped.
    entries: usize,
}

/// An advance that waits.
struct Entry {
    id: u64,
    source: Text,
    /// A digest of where it begins.
    after: u64,
    file: u64,
    offset: u64,
    size_bytes: u32,
}

/// What became of an advance that was to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is durable here.
    Stored,
    /// Its source stands elsewhere meanwhile.
    Elsewhere,
}

/// Why nothing can be kept.
#[derive(Debug)]
pub enum Error {
    /// As much is spooled as may be.
    Full,
    /// The disk does not take it.
    Disk(io::Error),
}

/// An advance that is to be shipped.
pub struct Outgoing {
    /// By which it is dropped.
    pub id: u64,
    /// Its source.
    pub source: Text,
    /// Its wire form; `None` if the disk gives back something else than was written.
    pub bytes: Option<Vec<u8>>,
}

/// What opening came to.
pub struct Opened {
    /// The spool.
    pub spool: Spool,
    /// Bytes that were damaged, or written in part, and cut off.
    pub cut_bytes: u64,
}

/// The least that a spool can be bounded to: a few advances of the greatest size.
pub const LIMIT_BYTES_MIN: u64 = 32 << 20;

/// There is room while so much is left: what is read at once fits, mostly.
const ROOM_BYTES: u64 = 8 << 20;

/// A spool has about so many files.
const FILES: u64 = 16;

const SUFFIX: &str = ".spool";

/// The file with what is to be followed.
const ORDERS: &str = "orders";

impl Spool {
    /// Opens the spool in a folder; what is not whole is cut off.
    pub fn open(folder: Box<dyn Folder>, limit_bytes: u64) -> io::Result<Opened> {
        let mut numbers: Vec<u64> =
            folder.names()?.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        let mut spool = Spool {
            folder,
            limit_bytes,
            files: VecDeque::new(),
            entries: VecDeque::new(),
            places: BTreeMap::new(),
            next_id: 0,
            has_rest: false,
        };
        let mut cut_bytes = 0;
        let mut numbers = numbers.into_iter();
        for number in numbers.by_ref() {
            let (is_whole, rest_bytes) = spool.recover(number)?;
            cut_bytes += rest_bytes;
            if !is_whole {
                break;
            }
        }
        // What comes after damage continues what is not there.
        for number in numbers {
            cut_bytes += spool.folder.read(&name(number), 0, u64::MAX)?.len() as u64;
            spool.folder.remove(&name(number))?;
        }
        // What a process that ended wrote and did not wait for.
        if let Some(last) = spool.files.back() {
            spool.folder.sync(&name(last.number))?;
        }
        spool.drop_files();
        Ok(Opened { spool, cut_bytes })
    }

    /// Where a source is; `None` if it is not known here.
    pub fn place(&self, source: &str) -> Option<&Place> {
        self.places.get(source)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What the files take.
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }

    /// What they may take.
    pub fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    /// Whether more may be read: what is read has to be kept.
    pub fn has_room(&self) -> bool {
        let dropped = self.files.back().filter(|file| file.entries == 0);
        let used_bytes = self.size_bytes() - dropped.map_or(0, |file| file.size_bytes);
        used_bytes + ROOM_BYTES <= self.limit_bytes
    }

    /// Keeps advances, each only if its source stands where it begins. All that are kept are durable when
    /// this returns; after an error none is.
    pub fn append(&mut self, advances: &[Advance]) -> Result<Vec<Kept>, Error> {
        let mut places: BTreeMap<&Text, Place> = BTreeMap::new();
        let mut bytes = Vec::new();
        let mut heads = Vec::new();
        let mut kept = Vec::with_capacity(advances.len());
        for advance in advances {
            let name = &advance.source.name;
            let before = places.get(name).or_else(|| self.places.get(name));
            if before.map_or(&[][..], |place| &place.position) != advance.after {
                kept.push(Kept::Elsewhere);
                continue;
            }
            let body = shipment::to_vec(advance);
            bytes.extend(frame::advance(&body));
            let place = Place::after(advance);
            let (source, after) = (name.clone(), advance.after.clone());
            let body_bytes = body.len() as u64;
            heads.push((Head { source, after, place: place.clone(), body_bytes }, bytes.len()));
            places.insert(name, place);
            kept.push(Kept::Stored);
        }
        if heads.is_empty() {
            return Ok(kept);
        }
        let offset = self.write(&bytes, false)?;
        for (head, end) in heads {
            self.keep(head, offset + end as u64);
        }
        Ok(kept)
    }

    /// The oldest advances, as many as fit, one at least.
    pub fn oldest(&self, size_bytes_max: usize) -> io::Result<Vec<Outgoing>> {
        let mut outgoing: Vec<Outgoing> = Vec::new();
        let mut size_bytes = 0;
        for entry in &self.entries {
            size_bytes += entry.size_bytes as usize;
            if !outgoing.is_empty() && (size_bytes > size_bytes_max || outgoing.len() == COUNT_MAX)
            {
                break;
            }
            let (offset, length) = frame::around(entry.offset, u64::from(entry.size_bytes));
            let frame = self.folder.read(&name(entry.file), offset, length)?;
            let bytes = frame::body(&frame).map(<[u8]>::to_vec);
            outgoing.push(Outgoing { id: entry.id, source: entry.source.clone(), bytes });
        }
        Ok(outgoing)
    }

    /// The server has it.
    pub fn drop_entry(&mut self, id: u64) {
        let Ok(at) = self.entries.binary_search_by_key(&id, |entry| entry.id) else { return };
        let entry = self.entries.remove(at).expect("it was found there");
        if let Some(file) = self.files.iter_mut().find(|file| file.number == entry.file) {
            file.entries -= 1;
        }
        self.drop_files();
    }

    /// Whether it waits still.
    pub fn has_entry(&self, id: u64) -> bool {
        self.entries.binary_search_by_key(&id, |entry| entry.id).is_ok()
    }

    /// The server says where a source is. What it has is dropped; if it is at none of the places that the
    /// source came by, it was replayed or changed, and all of the source is void. Whether it was.
    pub fn meet(&mut self, source: &Text, place: &Place) -> bool {
        self.go_on(source, place, 0)
    }

    /// The server does not take an entry, since its source is there: as [`Spool::meet`], but what goes on
    /// comes after that entry.
    pub fn pass(&mut self, id: u64, place: &Place) -> bool {
        match self.entries.binary_search_by_key(&id, |entry| entry.id) {
            Ok(at) => self.go_on(&self.entries[at].source.clone(), place, id + 1),
            Err(_) => false,
        }
    }

    /// Drops what is before a place of a source, or all of the source if nothing after this entry goes on
    /// from there.
    fn go_on(&mut self, source: &Text, place: &Place, from: u64) -> bool {
        let position = digest(&place.position);
        let is_at_end = self.places.get(source).is_some_and(|own| own.position == place.position);
        let own = || self.entries.iter().filter(|entry| entry.source == *source);
        let next = own().find(|entry| from <= entry.id && entry.after == position);
        let first_kept = match next.map(|entry| entry.id) {
            Some(id) => id,
            None if is_at_end => u64::MAX,
            None => {
                self.void(source, place);
                return true;
            }
        };
        self.drop_where(|entry| entry.source == *source && entry.id < first_kept);
        false
    }

    /// Keeps what is to be followed, for a start while the server is away.
    pub fn remember_orders(&mut self, orders: &[u8]) -> io::Result<()> {
        self.folder.replace(ORDERS, &frame::orders(orders))
    }

    /// What was kept so, if it is whole.
    pub fn recall_orders(&self) -> Option<Vec<u8>> {
        let bytes = self.folder.read(ORDERS, 0, u64::MAX).ok()?;
        frame::body(&bytes).map(<[u8]>::to_vec)
    }

    /// Reads a file that is there. Whether it was whole, and how many bytes at its end were cut off.
    fn recover(&mut self, number: u64) -> io::Result<(bool, u64)> {
        let bytes = self.folder.read(&name(number), 0, u64::MAX)?;
        self.files.push_back(File { number, size_bytes: 0, begin_bytes: 0, entries: 0 });
        let mut at = 0;
        while let Some((frame, size)) = frame::read(&bytes[at..]) {
            at += size;
            match frame {
                Frame::Begin(places) if at == size => {
                    self.places = places.into_iter().collect();
                    self.files.back_mut().expect("it was just put there").begin_bytes = at as u64;
                }
                // Nothing was written in this order.
                _ if at == size => {
                    at = 0;
                    break;
                }
                Frame::Begin(_) => {
                    at -= size;
                    break;
                }
                Frame::Advance(head) => self.keep(head, at as u64),
                Frame::Moved(source, place) => {
                    self.drop_where(|entry| entry.source == source);
                    self.places.insert(source, place);
                }
            }
        }
        let rest_bytes = (bytes.len() - at) as u64;
        let file = self.files.back_mut().expect("it was just put there");
        file.size_bytes = at as u64;
        if at == 0 {
            self.files.pop_back();
            self.folder.remove(&name(number))?;
        } else if rest_bytes > 0 {
            self.folder.cut(&name(number), at as u64)?;
        }
        Ok((at > 0 && rest_bytes == 0, rest_bytes))
    }

    /// Takes note of an advance whose frame ends there in the last file.
    fn keep(&mut self, head: Head, end: u64) {
        let file = self.files.back_mut().expect("it was written there");
        file.entries += 1;
        self.entries.push_back(Entry {
            id: self.next_id,
            source: head.source.clone(),
            after: digest(&head.after),
            file: file.number,
            offset: end - head.body_bytes,
            size_bytes: u32::try_from(head.body_bytes).expect("a frame is shorter"),
        });
        self.next_id += 1;
        self.places.insert(head.source, head.place);
    }

    /// Writes frames at the end, durably; where they begin. What fails leaves no bytes behind, and does not
    /// fail for want of room that only answered entries take.
    fn write(&mut self, bytes: &[u8], is_note: bool) -> Result<u64, Error> {
        match self.write_once(bytes, is_note) {
            Err(_) if self.has_answered_only() => {
                self.start_over()?;
                self.write_once(bytes, is_note)
            }
            written => written,
        }
    }

    fn write_once(&mut self, bytes: &[u8], is_note: bool) -> Result<u64, Error> {
        self.cut_rest()?;
        let file_bytes = self.limit_bytes / FILES;
        let is_new = match self.files.back() {
            None => true,
            Some(last) => last.size_bytes >= file_bytes,
        };
        if is_new {
            self.begin_file()?;
        }
        let is_full = self.size_bytes() + bytes.len() as u64 > self.limit_bytes;
        if is_full && !is_note {
            return Err(Error::Full);
        }
        let last = self.files.back().expect("there is one now");
        let (number, offset) = (last.number, last.size_bytes);
        // Until it is durable it may be there in part.
        self.has_rest = true;
        let appended = self.folder.append(&name(number), bytes);
        if let Err(error) = appended.and_then(|()| self.folder.sync(&name(number))) {
            // Part of a frame must not take the room that a smaller one needs. Where it cannot be cut off
            // now, the next write tries again.
            drop(self.cut_rest());
            return Err(error.into());
        }
        self.has_rest = false;
        self.files.back_mut().expect("it is there").size_bytes += bytes.len() as u64;
        Ok(offset)
    }

    /// Begins a file, with where each source is; those before it go when nothing in them waits.
    fn begin_file(&mut self) -> Result<(), Error> {
        let number = self.files.back().map_or(1, |last| last.number + 1);
        let begin = frame::begin(self.places.iter());
        self.folder.replace(&name(number), &begin)?;
        let begin_bytes = begin.len() as u64;
        self.files.push_back(File { number, size_bytes: begin_bytes, begin_bytes, entries: 0 });
        self.drop_files();
        Ok(())
    }

    /// Whether the files take room for nothing: all that is in them was answered.
    fn has_answered_only(&self) -> bool {
        let last = self.files.back();
        self.entries.is_empty() && last.is_some_and(|last| last.size_bytes > last.begin_bytes)
    }

    /// Frees what answered entries take; where each source is stays known.
    fn start_over(&mut self) -> Result<(), Error> {
        if self.begin_file().is_ok() {
            return Ok(());
        }
        // There is no room for two files. Should the machine end between these two steps, sources go on
        // from where they were when this file began, and the server says what it has since.
        let last = self.files.back_mut().expect("it has what was answered");
        self.folder.cut(&name(last.number), last.begin_bytes)?;
        last.size_bytes = last.begin_bytes;
        self.has_rest = false;
        self.begin_file()
    }

    fn cut_rest(&mut self) -> Result<(), Error> {
        if let Some(last) = self.files.back().filter(|_| self.has_rest) {
            self.folder.cut(&name(last.number), last.size_bytes)?;
        }
        self.has_rest = false;
        Ok(())
    }

    /// What waits of a source is void, and it goes on there.
    pub fn void(&mut self, source: &Text, place: &Place) {
        self.drop_where(|entry| entry.source == *source);
        self.places.insert(source.clone(), place.clone());
        // Where it cannot be written, what is void is there again after a restart, and the server says so
        // again.
        drop(self.write(&frame::moved(source, place), true));
    }

    fn drop_where(&mut self, is_dropped: impl Fn(&Entry) -> bool) {
        let files = &mut self.files;
        self.entries.retain(|entry| {
            let is_dropped = is_dropped(entry);
            if is_dropped && let Some(file) = files.iter_mut().find(|it| it.number == entry.file) {
                file.entries -= 1;
            }
            !is_dropped
        });
        self.drop_files();
    }

    /// Files go from the oldest; the last one stays, since it says where sources are.
    fn drop_files(&mut self) {
        while self.files.len() > 1 && self.files[0].entries == 0 {
            // One that cannot be removed now is looked at at the next start.
            drop(self.folder.remove(&name(self.files[0].number)));
            self.files.pop_front();
        }
    }
}

/// Advances that are shipped at once.
const COUNT_MAX: usize = 512;

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Disk(error)
    }
}

fn name(number: u64) -> String {
    format!("{number:012}{SUFFIX}")
}

fn number(name: &str) -> Option<u64> {
    name.strip_suffix(SUFFIX)?.parse().ok()
}

/// Positions are a few hundred bytes, and there may be a hundred thousand of them.
fn digest(position: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    position.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
