//! [`Follow`]: the lines of one host's log, as they are written, across all of its files.
//!
//! Polled, because that is right on every file system. The unit is the *chain*: all files of the log,
//! the live one and its rotated copies, in the order of the time of their first line (`chain`). One
//! file is *at hand*; it is read through an open handle, whatever its name has become. When it is at
//! its end and another file of the chain begins later and has a line, what was appended meanwhile is
//! read, and then that one is next. So rename, logRotate, a switched link and several rotations
//! between two polls are one case. The others are:
//!
//! - *The file at hand is cut short* (copytruncate): it is shorter than what was read, or begins
//!   otherwise; its new content may have outgrown the old one. Each block that was read counts only if
//!   the file began as before after it was read. The rest is looked for in a copy with the same
//!   beginning; after a copy lines may be missing, and that is told ([`Loss`]).
//! - *The writer does not append*: cut short, its file begins with a hole up to where it had been. The
//!   content is taken to begin after it.
//! - *The file to go on in is gone*: what the chain has after it is next, and that is told.
//! - *Not there, or not readable*: told with each poll, and tried again with the next.
//!
//! The caller keeps a [`Place`] and hands it in again. What was read before it is then read once more
//! for its context ([`Found::Context`]), up to 64 MiB, also from the files before.
//!
//! Not seen: a file in the middle of the chain that someone removes while the one at hand stays.
//!
//! Suggested reading order: this file, `place`, `chain`, `file`.

mod chain;
mod file;
mod place;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;

use doorbook_event::record::Grade;
use doorbook_event::{Text, Timestamp};

use crate::input::splitter::Splitter;
use crate::input::{Content as LineContent, Error, ErrorKind, Line};
use chain::{Chain, Entry, Identity, Listing};
use file::{AtHand, Content, Filled};

pub use chain::TimeOf;
pub use place::Place;

/// Follows one chain.
pub struct Follow {
    chain: Chain,
    start: Start,
    at_hand: Option<AtHand>,
    splitter: Splitter,
    /// Where to go on, until the line before it was read.
    sought: Option<Sought>,
    warmth: Warmth,
    /// When the chain was last listed.
    listed: Option<Timestamp>,
    /// Bytes of the files after the one at hand.
    later_bytes: u64,
    /// The polls are late: nobody looked for a while.
    is_held_up: bool,
}

/// Where a chain is begun that was never followed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the oldest file that is still there.
    #[default]
    Oldest,
    /// With the live file.
    Live,
}

/// What is found in a chain.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// Lines may be missing between the last one of the polls before and the next.
    Lost(&'a Loss),
    /// Another file begins.
    File(&'a Begun),
    /// A line that was read before; for what it means to later ones.
    Context(Line<'a>),
    /// A line.
    Line(Line<'a>),
}

/// A file that begins.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its path.
    pub name: Text,
    /// When its name says that it was rotated away.
    pub rotated: Option<Timestamp>,
    /// When it was last written.
    pub modified: Timestamp,
    /// It was read before, and is only read for its context.
    pub is_context: bool,
}

/// Lines may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// How surely not.
    pub grade: Grade,
    /// Why.
    pub cause: Text,
}

/// What a poll came to.
#[derive(Debug, Default)]
pub struct Progress {
    /// Lines that were handed on, without context.
    pub lines: u64,
    /// Bytes of these lines, unpacked.
    pub size_bytes: u64,
    /// There is more to read already: poll again without a pause.
    pub more: bool,
    /// Everything that is there was read.
    pub at_end: bool,
    /// Another file was begun, before the first of these lines. Lines of two files are never handed
    /// on in one poll.
    pub next_file: bool,
    /// Bytes that are there and were not read, as stored.
    pub behind_bytes: u64,
    /// What keeps the live file, or a further one, from being read. What was handed on is good.
    pub trouble: Option<Error>,
}

struct Sought {
    place: Place,
    /// The file was cut short under our hands.
    is_cut: bool,
}

/// Whether what was read before a position was read again.
enum Warmth {
    Cold,
    /// These files are still to be read, and from where.
    Context(VecDeque<(Entry, u64)>),
    /// These were; what comes before the position in its own file is not.
    Nearly,
    Warm,
}

/// What reading came to.
enum Reached {
    /// The caller or the poll has had enough.
    Enough,
    /// There is no more at the moment.
    End,
    /// The file was cut short.
    Cut,
}

impl Follow {
    /// 64 KiB: what a poll that has enough leaves of its block stays in memory until the next one, and
    /// many files may be read at once.
    const BLOCK_BYTES: usize = 64 << 10;
    /// 16 MiB: what one poll reads at most, so that its caller gets to commit and to stop.
    const POLL_BYTES: u64 = 16 << 20;
    /// 64 MiB: what is read again before a position. At 1 kB a line more than a busy server writes in
    /// the life of a connection pool.
    const CONTEXT_BYTES: u64 = 64 << 20;
    /// A pattern's directories are listed once a second, as long as the file at hand has its name.
    const LISTED_MICROS: i64 = 1_000_000;
    /// Files that change whenever they are looked at are not looked at for ever.
    const STEPS_MAX: u32 = 10_000;
    /// What a packed file is taken to have unpacked, where that is not worth finding out.
    const PACKED_FACTOR: u64 = 16;

    /// Follows the live file `path`, or the files that match it as a pattern, and their rotated
    /// copies. `place` is where to go on. Neither need exist yet.
    pub fn new(
        path: &str,
        start: Start,
        place: Option<Place>,
        time_of: TimeOf,
    ) -> Result<Follow, Error> {
        let warmth = if place.is_some() { Warmth::Cold } else { Warmth::Warm };
        Ok(Follow {
            chain: Chain::new(path, time_of)?,
            start,
            at_hand: None,
            splitter: Splitter::new(Follow::BLOCK_BYTES, 1, 0),
            sought: place.map(|place| Sought { place, is_cut: false }),
            warmth,
            listed: None,
            later_bytes: 0,
            is_held_up: false,
        })
    }

    /// Whether the polls are late, so that who rotates may have removed files that nobody looked at.
    pub fn set_held_up(&mut self, is_held_up: bool) {
        self.is_held_up = is_held_up;
    }

    /// The path or pattern.
    pub fn name(&self) -> &Text {
        self.chain.name()
    }

    /// The path of the file at hand.
    pub fn file(&self) -> Option<Text> {
        let at_hand = self.at_hand.as_ref()?;
        Some((&*at_hand.path.to_string_lossy()).into())
    }

    /// Where to go on after what was handed on.
    pub fn place(&self) -> Option<Place> {
        if let Some(sought) = &self.sought {
            return Some(sought.place.clone());
        }
        let at_hand = self.at_hand.as_ref()?;
        let (line, offset_bytes) = self.splitter.place();
        let mut place = Place::new(&at_hand.head, at_hand.identity, at_hand.begins);
        (place.line, place.offset_bytes) = (line, offset_bytes);
        place.is_copy = at_hand.is_copy;
        Some(place)
    }

    /// Hands on what was written since the last poll, until `sink` says `false`. An unfinished last
    /// line is held until its rest is there, or its file is left.
    pub fn poll(&mut self, now: Timestamp, sink: &mut dyn FnMut(Found<'_>) -> bool) -> Progress {
        let mut poll = Poll {
            now,
            sink,
            room_bytes: Follow::POLL_BYTES,
            is_enough: false,
            progress: Progress::default(),
        };
        if let Err(e) = self.advance(&mut poll) {
            // The handle may be what is wrong.
            self.let_go(false);
            poll.progress.trouble = Some(e);
        }
        let mut progress = poll.progress;
        progress.behind_bytes = self.behind_bytes();
        self.splitter.release();
        progress
    }

    fn advance(&mut self, poll: &mut Poll<'_>) -> Result<(), Error> {
        for _ in 0..Follow::STEPS_MAX {
            let goes_on = match self.at_hand.is_some() {
                false => self.open_next(poll)?,
                true => match self.read(poll)? {
                    Reached::Enough => {
                        poll.progress.more = true;
                        false
                    }
                    Reached::Cut => {
                        self.let_go(true);
                        true
                    }
                    Reached::End => self.at_end_of_file(poll)?,
                },
            };
            if !goes_on {
                return Ok(());
            }
        }
        poll.progress.more = true;
        Ok(())
    }

    /// Reads the file at hand to its end, or as far as there is room.
    fn read(&mut self, poll: &mut Poll<'_>) -> Result<Reached, Error> {
        loop {
            loop {
                self.arrive();
                if poll.is_enough {
                    return Ok(Reached::Enough);
                }
                let Some(found) = self.splitter.find() else { break };
                let role = self.role();
                poll.line(self.splitter.lend(found), role);
            }
            if poll.room_bytes == 0 {
                return Ok(Reached::Enough);
            }
            let Some(at_hand) = &mut self.at_hand else { return Ok(Reached::End) };
            match at_hand.fill(self.splitter.room()) {
                Ok(Filled::Bytes(n)) => {
                    self.splitter.filled(n);
                    poll.room_bytes = poll.room_bytes.saturating_sub(n as u64);
                }
                Ok(Filled::End) => return Ok(Reached::End),
                Ok(Filled::Cut) => return Ok(Reached::Cut),
                Err(e) => return Err(self.failed(e)),
            }
        }
    }

    /// What the line is that was just found.
    fn role(&mut self) -> Role {
        let Some(at_hand) = &mut self.at_hand else { return Role::New };
        if std::mem::take(&mut at_hand.skips_line) {
            return Role::Forgotten;
        }
        let (_, end_bytes) = self.splitter.place();
        match &self.sought {
            _ if at_hand.is_context => Role::Context,
            None => Role::New,
            // Packed content is read from its beginning.
            Some(Sought { place, .. }) => match self.warmth {
                Warmth::Nearly if end_bytes + Follow::CONTEXT_BYTES > place.offset_bytes => {
                    Role::Context
                }
                _ => Role::Forgotten,
            },
        }
    }

    /// Once the place that was sought is reached, what comes is new.
    fn arrive(&mut self) {
        let is_own = self.at_hand.as_ref().is_some_and(|at_hand| !at_hand.is_context);
        let (_, offset_bytes) = self.splitter.place();
        if is_own
            && let Some(sought) =
                self.sought.take_if(|sought| sought.place.offset_bytes <= offset_bytes)
        {
            self.splitter.renumber(sought.place.line);
            self.warmth = Warmth::Warm;
        }
    }

    /// Closes the file at hand, to find it again.
    fn let_go(&mut self, is_cut: bool) {
        if self.at_hand.as_ref().is_some_and(|at_hand| at_hand.is_context) {
            self.at_hand = None;
            return;
        }
        if let Some(place) = self.place()
            && self.at_hand.take().is_some()
        {
            self.sought = Some(Sought { place, is_cut });
            self.warmth = Warmth::Warm;
        }
    }

    /// Finds a file to read; says whether there is one.
    fn open_next(&mut self, poll: &mut Poll<'_>) -> Result<bool, Error> {
        if let Warmth::Context(files) = &mut self.warmth {
            if let Some((entry, from)) = files.pop_front() {
                self.begin_context(&entry, from, poll);
                return Ok(true);
            }
            self.warmth = Warmth::Nearly;
        }
        let Some(listing) = self.list(poll)? else { return Ok(false) };
        let Some(sought) = &self.sought else {
            let first = match self.start {
                Start::Oldest => (!listing.entries.is_empty()).then_some(0),
                Start::Live => listing.entries.iter().rposition(|entry| entry.is_live),
            };
            let Some(first) = first else { return Ok(false) };
            let is_copy = listing.is_copy(&listing.entries[first]);
            return self.begin(&listing, first, is_copy, None, poll);
        };
        if let Some(at) = listing.entries.iter().position(|entry| sought.place.is_in(entry)) {
            return self.resume(&listing, at, poll);
        }
        self.later_bytes = 0;
        let Some(next) = listing.after_missing(sought.place.begins) else { return Ok(false) };
        if poll.progress.lines > 0 {
            poll.progress.more = true;
            return Ok(false);
        }
        let is_cut = sought.is_cut || listing.has_file(sought.place.identity);
        let cause = match listing.unreadable_since(sought.place.begins) {
            _ if is_cut => "cut short before it was read to its end".into(),
            Some(path) => unreadable(path),
            None => "rotated away".into(),
        };
        let loss = Loss { grade: Grade::Blind, cause };
        let is_copy = is_copied(&listing, next, is_cut || sought.place.is_copy);
        self.begin(&listing, next, is_copy, Some(loss), poll)
    }

    /// Opens the file that holds the place that is sought.
    fn resume(&mut self, listing: &Listing, at: usize, poll: &mut Poll<'_>) -> Result<bool, Error> {
        let entry = &listing.entries[at];
        let Some(sought) = &mut self.sought else { return Ok(true) };
        let is_other = entry.identity != sought.place.identity;
        let is_cut = sought.is_cut || is_other && listing.has_file(sought.place.identity);
        let before_bytes = match &self.warmth {
            Warmth::Cold => {
                self.warmth = Warmth::Context(context_before(listing, at, &sought.place));
                return Ok(true);
            }
            Warmth::Nearly => Follow::CONTEXT_BYTES,
            Warmth::Context(_) | Warmth::Warm => 0,
        };
        if entry.is_live && !entry.is_packed && entry.size_bytes < sought.place.offset_bytes {
            if poll.progress.lines > 0 {
                poll.progress.more = true;
                return Ok(false);
            }
            // It has less than it had, and nothing else: what is there was read.
            sought.place.offset_bytes = entry.size_bytes;
            poll.lost(&Loss { grade: Grade::BestEffort, cause: "cut short".into() });
        }
        sought.place.is_copy |= is_cut && !entry.is_live;
        let place = sought.place.clone();
        let mut at_hand = AtHand::open(entry).map_err(|e| chain::unusable(&entry.path, e))?;
        if at_hand.identity != entry.identity {
            // Another one by now; it is looked for again.
            return Ok(true);
        }
        at_hand.is_copy = place.is_copy;
        at_hand.begins = place.begins;
        let from = match at_hand.content {
            Content::Plain(_) => place.offset_bytes.saturating_sub(before_bytes),
            Content::Packed { .. } => 0,
        };
        let from = from.max(entry.head_offset_bytes);
        at_hand.read_bytes = from;
        at_hand.skips_line = from > entry.head_offset_bytes && from < place.offset_bytes;
        if matches!(self.warmth, Warmth::Nearly) {
            poll.begun(entry, true);
        }
        let number = if from == place.offset_bytes { place.line } else { 1 };
        self.splitter = Splitter::new(Follow::BLOCK_BYTES, number, from);
        self.at_hand = Some(at_hand);
        self.later_bytes = listing.size_bytes_from(at + 1);
        Ok(true)
    }

    fn begin_context(&mut self, entry: &Entry, from: u64, poll: &mut Poll<'_>) {
        // What cannot be read any more gives no context.
        let Ok(mut at_hand) = AtHand::open(entry) else { return };
        at_hand.is_context = true;
        let from = from.max(entry.head_offset_bytes);
        at_hand.read_bytes = from;
        at_hand.skips_line = from > entry.head_offset_bytes;
        self.splitter = Splitter::new(Follow::BLOCK_BYTES, 1, from);
        poll.begun(entry, true);
        self.at_hand = Some(at_hand);
    }

    /// Begins a file that was not read before. Lines of two files are not handed on in one poll.
    fn begin(
        &mut self,
        listing: &Listing,
        at: usize,
        is_copy: bool,
        loss: Option<Loss>,
        poll: &mut Poll<'_>,
    ) -> Result<bool, Error> {
        let entry = &listing.entries[at];
        let mut at_hand = AtHand::open(entry).map_err(|e| chain::unusable(&entry.path, e))?;
        if at_hand.identity != entry.identity {
            return Ok(true);
        }
        at_hand.is_copy = is_copy;
        if let Some(loss) = loss {
            poll.lost(&loss);
        }
        poll.begun(entry, false);
        self.splitter = Splitter::new(Follow::BLOCK_BYTES, 1, entry.head_offset_bytes);
        self.sought = None;
        self.warmth = Warmth::Warm;
        self.at_hand = Some(at_hand);
        self.later_bytes = listing.size_bytes_from(at + 1);
        Ok(true)
    }

    /// Looks whether another file is next; says whether there is more to do.
    fn at_end_of_file(&mut self, poll: &mut Poll<'_>) -> Result<bool, Error> {
        let Some(at_hand) = &self.at_hand else { return Ok(true) };
        if at_hand.is_context {
            self.at_hand = None;
            return Ok(true);
        }
        if let Some(sought) = self.sought.take() {
            // A copy that was made before the last lines were written and read.
            let Place { line, offset_bytes, .. } = sought.place;
            self.splitter = Splitter::new(Follow::BLOCK_BYTES, line, offset_bytes);
            self.warmth = Warmth::Warm;
        }
        if self.is_surely_last(poll.now) {
            poll.progress.at_end = true;
            return Ok(false);
        }
        let Some(listing) = self.list(poll)? else { return Ok(false) };
        let Some(at_hand) = &self.at_hand else { return Ok(true) };
        let here = self.find(&listing);
        if let Some(entry) = here.map(|here| &listing.entries[here])
            && entry.identity != at_hand.identity
            && !entry.is_packed
            && entry.size_bytes > at_hand.read_bytes
        {
            // Written anew under its name, with what we have read before the rest.
            self.let_go(false);
            return Ok(true);
        }
        let next = match here {
            Some(here) => Some(here + 1).filter(|next| *next < listing.entries.len()),
            None => listing.after_missing(at_hand.begins),
        };
        self.later_bytes = next.map_or(0, |next| listing.size_bytes_from(next));
        match next {
            Some(next) => self.go_over(&listing, here, next, poll),
            None => {
                poll.progress.at_end = true;
                Ok(false)
            }
        }
    }

    /// Leaves the file at hand for the next one.
    fn go_over(
        &mut self,
        listing: &Listing,
        here: Option<usize>,
        next: usize,
        poll: &mut Poll<'_>,
    ) -> Result<bool, Error> {
        // What was appended before the next one had a line is read before this one is left.
        let before = self.at_hand.as_ref().map(|at_hand| at_hand.read_bytes);
        match self.read(poll)? {
            Reached::End if before == self.at_hand.as_ref().map(|at_hand| at_hand.read_bytes) => {}
            Reached::End => return Ok(true),
            Reached::Enough => {
                poll.progress.more = true;
                return Ok(false);
            }
            Reached::Cut => {
                self.let_go(true);
                return Ok(true);
            }
        }
        if let Some(found) = self.splitter.find_rest() {
            poll.line(self.splitter.lend(found), Role::New);
        }
        if poll.progress.lines > 0 {
            poll.progress.more = true;
            return Ok(false);
        }
        let Some(at_hand) = &self.at_hand else { return Ok(true) };
        let best_effort = |cause: &str| Loss { grade: Grade::BestEffort, cause: cause.into() };
        let blind = |cause: Text| Loss { grade: Grade::Blind, cause };
        let loss = if at_hand.is_broken {
            Some(blind(format!("{} is damaged", at_hand.path.display()).into()))
        } else if let Some(path) = listing.unreadable_since(at_hand.begins) {
            Some(blind(unreadable(path)))
        } else if here.is_none() && self.is_held_up {
            Some(blind("removed before all was read".into()))
        } else if at_hand.is_copy {
            Some(best_effort("copied and cut short: what was written between the two is lost"))
        } else if here.is_none() {
            Some(best_effort("removed when it was rotated: others may have been, too"))
        } else {
            None
        };
        let is_copy = is_copied(listing, next, at_hand.is_copy);
        self.begin(listing, next, is_copy, loss, poll)
    }

    /// Whether the file at hand is the live one still, so that nothing can be next.
    fn is_surely_last(&self, now: Timestamp) -> bool {
        let Some(at_hand) = self.at_hand.as_ref().filter(|at_hand| at_hand.is_live) else {
            return false;
        };
        // The last listing had no other after it, and is fresh.
        let is_listed = self.later_bytes == 0
            && self.listed.is_some_and(|listed| {
                (0..Follow::LISTED_MICROS).contains(&(now.micros() - listed.micros()))
            });
        let path = self.chain.live_path().or_else(|| is_listed.then(|| at_hand.path.clone()));
        let metadata = path.and_then(|path| fs::metadata(path).ok());
        metadata.is_some_and(|metadata| Identity::of(&metadata) == at_hand.identity)
    }

    fn list(&mut self, poll: &mut Poll<'_>) -> Result<Option<Listing>, Error> {
        self.listed = Some(poll.now);
        let Some(mut listing) = self.chain.list()? else {
            poll.progress.more = true;
            return Ok(None);
        };
        poll.progress.trouble = listing.trouble.take();
        Ok(Some(listing))
    }

    /// The file at hand in a listing.
    fn find(&self, listing: &Listing) -> Option<usize> {
        let at_hand = self.at_hand.as_ref()?;
        let place = self.place()?;
        let is_it = |entry: &Entry| entry.identity == at_hand.identity && place.is_in(entry);
        let exactly = listing.entries.iter().position(is_it);
        exactly.or_else(|| listing.entries.iter().position(|entry| place.is_in(entry)))
    }

    fn behind_bytes(&self) -> u64 {
        let own = self.at_hand.as_ref().map_or(0, |at_hand| match &at_hand.content {
            Content::Plain(file) => {
                let size_bytes = file.metadata().map_or(at_hand.size_bytes, |m| m.len());
                size_bytes.saturating_sub(self.splitter.place().1)
            }
            Content::Packed { decoded, .. } => {
                at_hand.size_bytes.saturating_sub(decoded.stored().size_bytes())
            }
        });
        own + self.later_bytes
    }

    fn failed(&self, e: io::Error) -> Error {
        let name = self.file().unwrap_or_else(|| self.chain.name().clone());
        let (_, offset_bytes) = self.splitter.place();
        Error::new(ErrorKind::Io, &name, "cannot be read").at(offset_bytes).caused_by(e)
    }
}

/// One poll.
struct Poll<'a> {
    now: Timestamp,
    sink: &'a mut dyn FnMut(Found<'_>) -> bool,
    room_bytes: u64,
    /// The caller has had enough.
    is_enough: bool,
    progress: Progress,
}

enum Role {
    New,
    Context,
    /// Read before, and too long ago.
    Forgotten,
}

impl Poll<'_> {
    fn line(&mut self, line: Line<'_>, role: Role) {
        self.is_enough = match role {
            Role::New => {
                self.progress.lines += 1;
                let feed = u64::from(line.complete);
                self.progress.size_bytes += feed
                    + match line.content {
                        LineContent::Bytes(bytes) => bytes.len() as u64,
                        LineContent::Oversized(long) => long.length_bytes,
                    };
                !(self.sink)(Found::Line(line))
            }
            Role::Context => !(self.sink)(Found::Context(line)),
            Role::Forgotten => false,
        };
    }

    fn begun(&mut self, entry: &Entry, is_context: bool) {
        self.progress.next_file |= !is_context;
        let begun = Begun {
            name: entry.name(),
            rotated: entry.rotated(),
            modified: entry.modified,
            is_context,
        };
        (self.sink)(Found::File(&begun));
    }

    fn lost(&mut self, loss: &Loss) {
        (self.sink)(Found::Lost(loss));
    }
}

fn unreadable(path: &Path) -> Text {
    format!("{} may not be read by this user", path.display()).into()
}

/// Whether what is next in a chain is a copy, where `before` says whether the one before it is.
fn is_copied(listing: &Listing, next: usize, before: bool) -> bool {
    let entry = &listing.entries[next];
    !entry.is_live && (before || listing.is_copy(entry))
}

/// The files to read before the one at `at`, for their context.
fn context_before(listing: &Listing, at: usize, place: &Place) -> VecDeque<(Entry, u64)> {
    let mut room_bytes = Follow::CONTEXT_BYTES.saturating_sub(place.offset_bytes);
    let mut files = VecDeque::new();
    for entry in listing.entries[..at].iter().rev() {
        let factor = if entry.is_packed { Follow::PACKED_FACTOR } else { 1 };
        let size_bytes = entry.size_bytes.saturating_mul(factor);
        if room_bytes == 0 || entry.is_packed && size_bytes > room_bytes {
            break;
        }
        let from = size_bytes.saturating_sub(room_bytes);
        room_bytes = room_bytes.saturating_sub(size_bytes);
        files.push_front((entry.clone(), from));
    }
    files
}
