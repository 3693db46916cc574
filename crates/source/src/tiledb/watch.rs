//! [`ArrayWatch`]: from what looks at an array show to what was done with it.
//!
//! Nothing here opens anything. Who looks fills a [`Listing`], hands it to [`ArrayWatch::scan`], which asks
//! for the contents of the few files that name others, and takes [`ArrayWatch::take`] until there is nothing
//! more. The rules are those of `docs/design/tiledb-storage.md`.
//!
//! # Position, version 1
//! A CBOR map: 0 the version; 1 the path of the schema that the array was created with; 2 when the last look
//! began; 3 since when a gap begins that the next look finds; 4 until which time of change names are settled;
//! 5 how many these are; 6 the sum of their hashes, 16 bytes; 7 how many are not settled; 8 whether a list is
//! waited for; 9 when the last look began, if something was going then: 2 is before that. Times are
//! microseconds since 1970.

use std::collections::{HashMap, HashSet};
use std::io;

use doorbook_event::access::{Classes, Outcome, Principal, WrittenTime};
use doorbook_event::record::{Coverage, Grade, Hidden, Place, Quarantine};
use doorbook_event::{Access, Action, Attributes, Peer, Target, Text, Timestamp};
use minicbor::{Decode, Encode};
use sha2::{Digest, Sha256};

use super::contents::{self, Unreadable};
use super::name::{Kind, Name, Stem};
use crate::Batch;

/// What one look at an array shows.
#[derive(Debug, Default)]
pub struct Listing {
    files: Vec<File>,
    /// Names in the folder of commits that no version has.
    strange: Vec<String>,
}

/// What a scan asks for beyond names.
pub trait Contents {
    /// The bytes of a file, by its path below the array; of more than [`super::CONTENTS_BYTES_MAX`] bytes
    /// one byte more than that will do.
    fn read(&mut self, path: &str) -> io::Result<Vec<u8>>;

    /// When a file was changed; an error where that would cost too much.
    fn modified(&mut self, path: &str) -> io::Result<Timestamp>;
}

/// One array that is looked at again and again.
#[derive(Debug)]
pub struct ArrayWatch {
    target: Target,
    source: Text,
    /// The schema that the array was created with.
    created: Option<Name>,
    /// By name.
    files: Vec<File>,
    /// What merged commits and lists of ignored ones name, in order.
    listed: Vec<Name>,
    /// Into what fragments and metadata were merged.
    merged: HashMap<Uuid, Uuid>,
    /// Merged ones of which a list said what they were merged from.
    explained: HashSet<Uuid>,
    /// When the last look began, and the one before.
    looked: Option<(Timestamp, Timestamp)>,
    /// Merged ones whose lists are waited for, and are not told before.
    waiting: Vec<File>,
    /// Since when a gap would begin if these do not come.
    waits_from: Option<Timestamp>,
    /// Where removing takes time: nothing more is gone for as long when all of it is.
    removal_seconds: i64,
    going: Option<Going>,
    resumed: Option<Position>,
    found: Found,
}

/// What goes piece by piece, and is told once nothing more goes.
#[derive(Debug)]
struct Going {
    /// The look that saw something gone first.
    since: Timestamp,
    /// When looks began before that, as [`ArrayWatch::looked`] had it.
    before: (Timestamp, Timestamp),
    /// The last look that saw more of it.
    changed: Timestamp,
    /// What is gone, and new lists of what is ignored, by name, and which look saw it first.
    names: Vec<(Name, Timestamp)>,
}

type Uuid = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    name: Name,
    modified: Timestamp,
}

/// What was found and not taken yet.
#[derive(Debug, Default)]
struct Found {
    /// The next one last.
    events: Vec<Event>,
    coverage: Vec<Coverage>,
    quarantine: Vec<Quarantine>,
    /// Files that were put aside, so that each is once.
    put_aside: HashSet<String>,
}

/// An event in its small form: a first look may find a hundred thousand.
#[derive(Debug)]
struct Event {
    time: Timestamp,
    action: Action,
    /// Whether the time is not known better than that it was before.
    is_before: bool,
    object: Option<Name>,
    what: Option<&'static str>,
    removed: Option<Removed>,
    moved_to: Option<Text>,
}

/// What was removed at once.
#[derive(Clone, Copy, Debug)]
struct Removed {
    count: u64,
    data_from: u64,
    data_to: u64,
}

/// Where a watch goes on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
struct Position {
    #[n(0)]
    version: u32,
    #[n(1)]
    created: String,
    #[n(2)]
    looked: Timestamp,
    #[n(3)]
    gap_from: Timestamp,
    #[n(4)]
    settled_before: Timestamp,
    #[n(5)]
    count: u64,
    #[cbor(n(6), with = "minicbor::bytes")]
    sum: [u8; 16],
    #[n(7)]
    unsettled: u64,
    #[cbor(n(8), default)]
    waits: bool,
    #[n(9)]
    looked_at_going: Option<Timestamp>,
}

/// So many events are taken at once.
const BATCH_EVENTS: usize = 4096;

/// A file that was changed longer ago was seen by a look that began now: storage's clock may differ from
/// ours by as much.
const SETTLE_SECONDS: i64 = 60;

/// Times of change are cut to as little, at worst.
const GRAIN_SECONDS: i64 = 1;

/// So many strange names of one array are put aside.
const STRANGE_MAX: usize = 16;

impl Listing {
    /// Of nothing.
    pub fn new() -> Listing {
        Listing::default()
    }

    /// A file is there. What is of no interest is passed over.
    pub fn see(&mut self, path: &str, modified: Timestamp) {
        match Name::parse(path) {
            Some(name) => self.files.push(File { name, modified }),
            None if is_strange(path) && self.strange.len() < STRANGE_MAX => {
                self.strange.push(path.to_owned());
            }
            None => {}
        }
    }

    /// Whether it is of an array: an array has a schema.
    pub fn is_array(&self) -> bool {
        self.files.iter().any(|file| file.is_schema())
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<String> {
        self.files.iter().map(|file| file.name.to_string()).chain(self.strange.clone()).collect()
    }
}

impl ArrayWatch {
    /// A watch of an array that goes on where its position says; an empty one begins. A position that
    /// cannot be read is an error that names it.
    pub fn new(target: Target, source: Text, position: &[u8]) -> Result<ArrayWatch, BadPosition> {
        let resumed = match position {
            [] => None,
            bytes => Some(Position::read(bytes)?),
        };
        Ok(ArrayWatch {
            target,
            source,
            created: resumed.as_ref().and_then(|position| Name::parse(&position.created)),
            files: Vec::new(),
            listed: Vec::new(),
            merged: HashMap::new(),
            explained: HashSet::new(),
            looked: None,
            waiting: Vec::new(),
            waits_from: None,
            removal_seconds: 0,
            going: None,
            resumed,
            found: Found::default(),
        })
    }

    /// Where it is stored, files go one by one: what is gone is one removal until nothing more was gone for as
    /// many seconds. It is to be looked at again then, see [`ArrayWatch::going_until`].
    pub fn set_removal_seconds(&mut self, seconds: i64) {
        self.removal_seconds = seconds;
    }

    /// Until when nothing more must go of what is going, if anything is: it is told by the first look after that.
    pub fn going_until(&self) -> Option<Timestamp> {
        self.going.as_ref().map(|going| going.changed.plus_seconds(self.removal_seconds))
    }

    /// Compares what a look shows with what is known. `now` is when the look began.
    pub fn scan(&mut self, listing: Listing, contents: &mut dyn Contents, now: Timestamp) {
        let Listing { mut files, strange } = listing;
        files.sort_unstable();
        files.dedup_by_key(|file| file.name);
        let schemas = files.iter().filter(|file| file.is_schema());
        let first_schema = schemas.map(|file| file.modified).min();
        if self.created.is_some_and(|created| !has(&files, &created)) {
            // Schemas are never removed: what is there, if anything, is another array.
            self.gone(first_schema.map_or(now, |other| other.min(now)));
        }
        if first_schema.is_none() {
            return;
        }
        for path in strange {
            self.put_aside(path.clone(), path.as_bytes(), "no version of TileDB has such a name");
        }
        Scan::begin(self, files, contents, now).run();
        self.found.events.sort_by_key(|event| std::cmp::Reverse((event.time, event.object)));
    }

    /// The array is no more.
    pub fn gone(&mut self, now: Timestamp) {
        let now = self.going.take().map_or(now, |going| going.since.min(now));
        // The name of the schema is random, so that whoever saw it removed saw this array removed.
        let object = self.created.take().filter(|created| created.kind == Kind::Schema);
        self.found.events.insert(0, Event::new(Action::Delete, now, object));
        self.files = Vec::new();
        self.listed = Vec::new();
        self.merged.clear();
        self.explained.clear();
        self.looked = None;
        self.waiting.clear();
        self.waits_from = None;
        self.resumed = None;
    }

    /// The array lies elsewhere now, and is looked at there from now on.
    pub fn moved(&mut self, to: &str, now: Timestamp) {
        let moved_to = Some(to.into());
        self.going = None;
        let event = Event { moved_to, ..Event::new(Action::Move, now, None) };
        self.found.events.insert(0, event);
    }

    /// Whether both are one array, here and there: they were created with the same schema, whose name is
    /// random.
    pub fn is_same_array(&self, other: &ArrayWatch) -> bool {
        self.created.is_some_and(|created| created.kind == Kind::Schema)
            && self.created == other.created
    }

    /// The path of the schema that the array was created with, below the array.
    pub fn created(&self) -> Option<String> {
        self.created.map(|name| name.to_string())
    }

    /// Forgets what it found and another one of the same array knew: that was done there. What one that did
    /// not look since a restart knew is in the history ([`ArrayWatch::forget_told`]); what nobody saw
    /// since it looked last stays unseen.
    pub fn take_over(&mut self, other: &ArrayWatch) {
        self.found.events.retain(|event| !event.object.is_some_and(|name| other.knows(&name)));
        let Some(position) = &other.resumed else {
            self.found.coverage.clear();
            return;
        };
        let from = position.gap_from.plus_seconds(-GRAIN_SECONDS);
        self.found.coverage.retain(|gap| gap.to.is_none_or(|to| from < to));
        self.found.coverage.iter_mut().for_each(|gap| gap.from = gap.from.max(from));
    }

    /// Forgets what it found of what the history has of the same array elsewhere: actions and objects.
    pub fn forget_told(&mut self, told: impl Iterator<Item = (Action, Text)>) {
        let told: HashSet<(Action, Name)> = told
            .filter_map(|(action, object)| Some((removal_as_vacuum(action), Name::parse(&object)?)))
            .collect();
        let is_told = |event: &Event| {
            // Who moves it removes it there.
            if event.action == Action::Delete {
                return false;
            }
            let key = event.object.map(|object| (removal_as_vacuum(event.action), object));
            key.is_some_and(|key| told.contains(&key))
        };
        self.found.events.retain(|event| !is_told(event));
    }

    /// Forgets that it might have missed something in an interval: it was watched then.
    pub fn was_watched(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        let gaps = std::mem::take(&mut self.found.coverage);
        for gap in gaps {
            let end = gap.to.unwrap_or(Timestamp::MAX);
            let before = Coverage { to: Some(end.min(from)), ..gap.clone() };
            let after = Coverage { from: gap.from.max(to), ..gap };
            let left = [before, after].into_iter();
            let left = left.filter(|gap| gap.to.is_none_or(|to| gap.from < to));
            let left =
                left.map(|gap| Coverage { last_seen: gap.to.unwrap_or(gap.last_seen), ..gap });
            self.found.coverage.extend(left);
        }
    }

    /// Whether something was found that is not taken yet.
    pub fn has_found(&self) -> bool {
        !self.found.events.is_empty() || !self.found.coverage.is_empty()
    }

    /// What was found, in the order of time, some thousand events at once; `None` if there is no more.
    pub fn take(&mut self) -> Option<Batch> {
        let Found { events, coverage, quarantine, .. } = &mut self.found;
        if events.is_empty() && coverage.is_empty() && quarantine.is_empty() {
            return None;
        }
        let taken = events.drain(events.len().saturating_sub(BATCH_EVENTS)..).rev();
        let accesses: Vec<Access> = taken.map(|event| event.access(&self.target)).collect();
        if events.is_empty() {
            *events = Vec::new();
        }
        Some(Batch {
            lines: accesses.len() as u64,
            accesses,
            coverage: std::mem::take(coverage),
            quarantine: std::mem::take(quarantine),
            ..Batch::default()
        })
    }

    /// Where it goes on, once all that was taken is stored. Empty before the first look, and when the array
    /// is no more.
    pub fn position(&self) -> Vec<u8> {
        if let Some(position) = &self.resumed {
            return position.bytes();
        }
        let (Some(created), Some(looked)) = (self.created, self.looked) else {
            return Vec::new();
        };
        // What is going is not told: another process begins before it.
        let last = looked.0;
        let (looked, before) = self.going.as_ref().map_or(looked, |going| going.before);
        let settled_before = looked.plus_seconds(-SETTLE_SECONDS);
        let (count, sum) = summary(self.files.iter(), settled_before);
        let position = Position {
            version: Position::VERSION,
            created: created.to_string(),
            looked,
            gap_from: self.waits_from.unwrap_or(before),
            settled_before,
            count,
            sum,
            unsettled: self.files.len() as u64 - count,
            waits: !self.waiting.is_empty(),
            looked_at_going: self.going.as_ref().map(|_| last),
        };
        position.bytes()
    }

    /// How many files it knows.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    fn knows(&self, name: &Name) -> bool {
        has(&self.files, name) || self.listed.binary_search(name).is_ok()
    }

    fn put_aside(&mut self, path: String, bytes: &[u8], reason: &str) {
        if self.found.put_aside.len() >= 64 * STRANGE_MAX
            || !self.found.put_aside.insert(path.clone())
        {
            return;
        }
        self.found.quarantine.push(Quarantine {
            target: self.target.clone(),
            reason: reason.into(),
            place: Place { file: path.into(), ..Place::default() },
            bytes: bytes[..bytes.len().min(Quarantine::BYTES_MAX)].to_vec(),
            length_bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
        });
    }
}

/// A position that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadPosition(String);

impl std::fmt::Display for BadPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the position of the array cannot be read: {}", self.0)
    }
}

impl std::error::Error for BadPosition {}

impl Position {
    const VERSION: u32 = 1;

    fn read(bytes: &[u8]) -> Result<Position, BadPosition> {
        let position: Position =
            minicbor::decode(bytes).map_err(|error| BadPosition(error.to_string()))?;
        if position.version != Position::VERSION {
            let text = format!("its version is {}, and 1 is known", position.version);
            return Err(BadPosition(text));
        }
        if Name::parse(&position.created).is_none() {
            return Err(BadPosition("it names no schema".to_owned()));
        }
        Ok(position)
    }

    fn bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("a Vec takes every byte")
    }
}

impl File {
    fn is_schema(&self) -> bool {
        matches!(self.name.kind, Kind::Schema | Kind::OldSchema)
    }
}

impl Going {
    /// Which look saw first that a name is gone.
    fn seen(&self, name: &Name) -> Option<Timestamp> {
        let at = self.names.binary_search_by_key(name, |(name, _)| *name).ok()?;
        Some(self.names[at].1)
    }
}

impl Event {
    fn new(action: Action, time: Timestamp, object: Option<Name>) -> Event {
        Event { time, action, is_before: false, object, what: None, removed: None, moved_to: None }
    }

    fn access(self, target: &Target) -> Access {
        let mut attributes = Attributes::new();
        let mut give = |name: &str, value: Text| drop(attributes.insert(name.into(), value));
        let is_of_data = |stem: &Stem| stem.data_to > 0 && self.action != Action::Delete;
        let stem = self.object.map(|name| name.stem).filter(is_of_data);
        let data = match self.removed {
            Some(removed) => Some((removed.data_from, removed.data_to)),
            None => stem.map(|stem| (stem.data_from, stem.data_to)),
        };
        if let Some((from, to)) = data {
            give("data_from", data_time(from));
            give("data_to", data_time(to));
        }
        if let Some(object) = self.object {
            give("object", object.to_string().into());
        }
        if let Some(removed) = self.removed {
            give("removed", removed.count.to_string().into());
        }
        if let Some(to) = self.moved_to {
            give("to", to);
        }
        if let Some(what) = self.what {
            give("what", what.into());
        }
        let written_time = match self.is_before {
            true => WrittenTime::Partial(format!("not after {}", self.time).into()),
            false => WrittenTime::Complete,
        };
        Access {
            target: target.clone(),
            event_time: self.time,
            written_time,
            action: self.action,
            outcome: Outcome::Success,
            principal: Principal::Unauthenticated,
            mechanism: None,
            peer: Peer::Unknown,
            peer_joined: false,
            connection: None,
            process_start: None,
            client: None,
            speculative: None,
            classes: Classes::NONE,
            attributes,
            raw: Vec::new(),
            task_id: None,
        }
    }
}

/// One comparison.
struct Scan<'a> {
    watch: &'a mut ArrayWatch,
    contents: &'a mut dyn Contents,
    now: Timestamp,
    /// What was known, by name.
    before: Vec<File>,
    /// What is there, by name.
    files: Vec<File>,
    listed_before: Vec<Name>,
    /// Since when a gap begins that is found now.
    gap_from: Timestamp,
    /// Whether it was seen by another process: nothing of it was read by this one.
    is_resumed: bool,
    /// When that one looked last.
    told_until: Option<Timestamp>,
    /// Whether merged commits could not be read: what they hold is not known.
    is_opaque: bool,
    /// Lists that are not written to their end yet, and come again.
    unfinished: Vec<Name>,
    /// Merged ones that were not known.
    new_merged: Vec<File>,
    /// Merged fragments of which no list says what they were merged from.
    spanning: Vec<Stem>,
    /// What new lists of ignored ones name.
    ignored: HashSet<Name>,
    /// What was going until now.
    was_going: Option<Going>,
    fragments: Tally,
    commits: Tally,
    metadata: Tally,
    fragment_metadata: Tally,
    deleted: Tally,
}

/// What is gone that belongs together.
#[derive(Default)]
struct Tally {
    object: Option<Name>,
    removed: Option<Removed>,
    /// Which look saw something of it gone first.
    seen: Option<Timestamp>,
    /// Whether a list of ignored ones told of it.
    is_told: bool,
}

const WRITES: &[Action] = &[Action::QueryWrite, Action::Consolidate, Action::Vacuum];
const COMMITS: &[Action] =
    &[Action::QueryWrite, Action::QueryDelete, Action::Consolidate, Action::Vacuum];
const METADATA: &[Action] = &[Action::ArrayMetadataUpdate, Action::Consolidate, Action::Vacuum];
const MERGED_UNSEEN: &str = "what was written may have been merged and removed between two looks";
const REMOVALS: &[Action] = &[Action::Vacuum, Action::DeleteFragments];

impl<'a> Scan<'a> {
    fn begin(
        watch: &'a mut ArrayWatch,
        files: Vec<File>,
        contents: &'a mut dyn Contents,
        now: Timestamp,
    ) -> Scan<'a> {
        let is_resumed = watch.resumed.is_some();
        let mut scan = Scan {
            before: std::mem::take(&mut watch.files),
            listed_before: std::mem::take(&mut watch.listed),
            watch,
            contents,
            now,
            files,
            gap_from: now,
            is_resumed,
            told_until: None,
            is_opaque: false,
            unfinished: Vec::new(),
            new_merged: Vec::new(),
            spanning: Vec::new(),
            ignored: HashSet::new(),
            was_going: None,
            fragments: Tally::default(),
            commits: Tally::default(),
            metadata: Tally::default(),
            fragment_metadata: Tally::default(),
            deleted: Tally::default(),
        };
        match scan.watch.resumed.take() {
            Some(position) => scan.resume(&position),
            None => scan.find_beginning(),
        }
        scan
    }

    /// What was seen before a restart is known again, if all of it is still there.
    fn resume(&mut self, position: &Position) {
        self.gap_from = position.gap_from.plus_seconds(-GRAIN_SECONDS);
        self.watch.looked = Some((position.looked, position.gap_from));
        self.told_until = Some(position.looked);
        let settled = summary(self.files.iter(), position.settled_before);
        let is_whole = settled == (position.count, position.sum);
        if !is_whole || position.unsettled > 0 {
            let cause = "something may have been removed from the array while nobody looked";
            self.gap(REMOVALS, cause, position.looked.plus_seconds(-GRAIN_SECONDS), self.now);
        }
        if position.waits {
            // Which lists were waited for is forgotten, and they may have come and gone since.
            let to = position.looked_at_going.unwrap_or(position.looked);
            for actions in [WRITES, METADATA] {
                self.gap(actions, MERGED_UNSEEN, self.gap_from, to);
            }
        }
        if !is_whole {
            return;
        }
        let is_settled = |file: &&File| file.modified < position.settled_before;
        self.before = self.files.iter().filter(is_settled).copied().collect();
        self.listed_before = self.read_commits(&self.before.clone());
    }

    fn find_beginning(&mut self) {
        if self.watch.created.is_none() {
            let schemas = self.files.iter().filter(|file| file.is_schema());
            let first = schemas.min_by_key(|file| (file.name.stem.data_from, file.modified));
            self.watch.created = first.map(|file| file.name);
        }
        let created = self.files.iter().find(|file| Some(file.name) == self.watch.created);
        let begun = created.map_or(self.now, |file| file.modified);
        let looked = self.watch.looked.map(|(_, before)| before.plus_seconds(-GRAIN_SECONDS));
        self.gap_from = self.watch.waits_from.or(looked).unwrap_or(begun);
    }

    fn run(mut self) {
        let (added, vanished) = self.compare();
        let lists_changed = added.iter().chain(&vanished).any(|file| is_list(&file.name));
        self.watch.listed = match lists_changed || !self.watch.waiting.is_empty() {
            true => self.read_commits(&self.files.clone()),
            false => self.listed_before.clone(),
        };
        self.read_merged(&added);
        let unlisted = self.wait_for_lists(&added, &vanished);
        for file in added.iter().chain(&unlisted) {
            if !self.unfinished.contains(&file.name) {
                self.tell_added(*file);
            }
        }
        self.tell_listed();
        self.explain();
        let mut gone = vanished;
        gone.extend(unlisted);
        if self.is_going(&added, &gone) {
            // Known until it is told.
            self.files.append(&mut gone);
            self.files.sort_unstable();
        }
        self.spanning = self.unexplained();
        self.tell_ignored(&added);
        for file in &gone {
            self.count_vanished(file);
        }
        self.tell_removed();
        self.end(!gone.is_empty());
    }

    /// Whether what is gone is a part of what goes still: then all of it is told later.
    fn is_going(&mut self, added: &[File], gone: &[File]) -> bool {
        let going = self.watch.going.take();
        let Some(before) = self.watch.looked.filter(|_| self.watch.removal_seconds > 0) else {
            return false;
        };
        // Commits that are to go and stand in merged ones are listed first.
        let is_new = |file: &&File| file.name.kind == Kind::Ignored && !self.was_told(file);
        let lists: Vec<Name> = added.iter().filter(is_new).map(|file| file.name).collect();
        let names = gone.iter().map(|file| file.name).chain(lists.clone());
        let seen = |name| going.as_ref().and_then(|going| going.seen(&name)).unwrap_or(self.now);
        let mut names: Vec<(Name, Timestamp)> = names.map(|name| (name, seen(name))).collect();
        if names.is_empty() {
            return false;
        }
        names.sort_unstable();
        let going = match going {
            Some(going) if going.names == names => going,
            Some(going) => Going { changed: self.now, names, ..going },
            None => Going { since: self.now, before, changed: self.now, names },
        };
        let is_quiet = going.changed.plus_seconds(self.watch.removal_seconds) <= self.now
            && !self.is_named_still(&going.names);
        let is_long = going.since.plus_seconds(SETTLE_SECONDS) <= self.now;
        if is_quiet || is_long || self.now < going.since {
            self.was_going = Some(going);
            return false;
        }
        self.watch.going = Some(going);
        self.unfinished.extend(lists);
        true
    }

    /// What is there now and was not, and the other way round.
    fn compare(&self) -> (Vec<File>, Vec<File>) {
        let (mut added, mut vanished) = (Vec::new(), Vec::new());
        let mut before = self.before.iter().peekable();
        for file in &self.files {
            while let Some(gone) = before.next_if(|known| known.name < file.name) {
                vanished.push(*gone);
            }
            if before.next_if(|known| known.name == file.name).is_none() {
                added.push(*file);
            }
        }
        vanished.extend(before);
        (added, vanished)
    }

    /// All that merged commits and lists of ignored ones name.
    fn read_commits(&mut self, files: &[File]) -> Vec<Name> {
        let mut names = Vec::new();
        for file in files.iter().filter(|file| is_list(&file.name)) {
            let read = match file.name.kind {
                Kind::Commits => self.read_list(file, COMMITS, contents::commits),
                _ => self.read_list(file, COMMITS, contents::ignored),
            };
            self.is_opaque |= read.is_none();
            names.extend(read.unwrap_or_default());
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Which fragments and metadata were merged, of the lists that were not read yet.
    fn read_merged(&mut self, added: &[File]) {
        let lists = if self.is_resumed { self.files.clone() } else { added.to_vec() };
        for file in lists.iter().filter(|file| is_merge_list(&file.name)) {
            self.read_merge_list(file);
        }
    }

    /// A list is written after what was merged: one that is not there yet may come, unless what it would
    /// name is going already. Returns those that were waited for and are gone themselves.
    fn wait_for_lists(&mut self, added: &[File], vanished: &[File]) -> Vec<File> {
        let mut gone = std::mem::take(&mut self.watch.waiting);
        gone.retain(|file| !has(&self.files, &file.name));
        self.watch.waits_from = None;
        let going = self.watch.going.as_ref();
        let is_new = |gone: &&File| going.is_none_or(|going| going.seen(&gone.name).is_none());
        let going: Vec<Stem> = vanished.iter().filter(is_new).map(|gone| gone.name.stem).collect();
        for file in added {
            let File { name, modified } = *file;
            let is_merged = match name.kind {
                Kind::Metadata => name.stem.is_merged(),
                _ => name.is_write() && name.stem.is_merged(),
            };
            let is_young = self.now < modified.plus_seconds(SETTLE_SECONDS);
            let is_listed = self.listed_before.binary_search(&name).is_ok();
            if !is_merged || !is_young || is_listed || self.is_explained(&name) {
                continue;
            }
            let list = name.with_kind(merge_list(name.kind));
            if !self.unfinished.contains(&list) {
                self.read_merge_list(&File { name: list, modified });
            }
            let is_going = going.iter().any(|gone| name.stem.spans(gone));
            if !self.is_explained(&name) && !is_going {
                self.unfinished.push(name);
                self.watch.waiting.push(*file);
                self.watch.waits_from = Some(self.gap_from);
            }
        }
        gone
    }

    fn read_merge_list(&mut self, file: &File) {
        let is_metadata = file.name.kind == Kind::MetadataVacuum;
        let actions = if is_metadata { METADATA } else { WRITES };
        let Some(stems) = self.read_list(file, actions, contents::merged) else { return };
        let uuid = file.name.stem.uuid;
        self.watch.explained.insert(uuid);
        for stem in stems {
            self.watch.merged.insert(stem.uuid, uuid);
            let name = match is_metadata {
                true => Name { kind: Kind::Metadata, stem },
                false => Name::commit_of(stem),
            };
            if !self.is_known(&name) {
                self.tell_lost(name, file.modified);
            }
        }
    }

    fn read_list<T>(
        &mut self,
        file: &File,
        actions: &[Action],
        parse: fn(&[u8]) -> Result<Vec<T>, Unreadable>,
    ) -> Option<Vec<T>> {
        let path = file.name.to_string();
        let reason = match self.contents.read(&path) {
            Ok(bytes) => match parse(&bytes) {
                Ok(list) => return Some(list),
                Err(Unreadable::Unfinished)
                    if self.now < file.modified.plus_seconds(SETTLE_SECONDS) =>
                {
                    self.unfinished.push(file.name);
                    return None;
                }
                Err(error) => {
                    self.watch.put_aside(path.clone(), &bytes, &error.to_string());
                    format!("{path}: {error}")
                }
            },
            // Whoever removed it removed what it names, which `explain` finds.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => format!("{path}: {error}"),
        };
        self.gap(
            actions,
            &format!("what was merged is not known: {reason}"),
            self.gap_from,
            file.modified,
        );
        None
    }

    fn tell_added(&mut self, file: File) {
        let File { name, modified } = file;
        let is_merged = name.stem.is_merged();
        let (action, what) = match name.kind {
            Kind::Schema | Kind::OldSchema if Some(name) == self.watch.created => {
                (Action::Create, None)
            }
            Kind::Schema | Kind::OldSchema => (Action::SchemaEvolution, None),
            Kind::Write | Kind::OldWrite | Kind::OldFragment => {
                if self.listed_before.binary_search(&name).is_ok() {
                    return;
                }
                if is_merged || self.has_list(name) {
                    self.new_merged.push(file);
                    (Action::Consolidate, Some("fragments"))
                } else {
                    (Action::QueryWrite, None)
                }
            }
            Kind::Delete | Kind::Update if self.listed_before.binary_search(&name).is_ok() => {
                return;
            }
            Kind::Delete => (Action::QueryDelete, None),
            Kind::Update => (Action::QueryWrite, Some("update")),
            Kind::Commits => (Action::Consolidate, Some("commits")),
            Kind::FragmentMetadata | Kind::OldFragmentMetadata => {
                (Action::Consolidate, Some("fragment_metadata"))
            }
            Kind::Metadata if is_merged || self.has_list(name) => {
                self.new_merged.push(file);
                (Action::Consolidate, Some("metadata"))
            }
            Kind::Metadata => (Action::ArrayMetadataUpdate, None),
            Kind::FragmentVacuum
            | Kind::OldFragmentVacuum
            | Kind::MetadataVacuum
            | Kind::Ignored => {
                return;
            }
        };
        self.push(Event { what, ..Event::new(action, modified, Some(name)) });
    }

    /// What only lists of commits name still.
    fn tell_listed(&mut self) {
        let is_new = |name: &&Name| {
            self.listed_before.binary_search(name).is_err()
                && !has(&self.before, name)
                && !has(&self.files, name)
        };
        let lost: Vec<Name> = self.watch.listed.iter().filter(is_new).copied().collect();
        if lost.is_empty() {
            return;
        }
        let lists = self.files.iter().filter(|file| is_list(&file.name));
        let before = lists.map(|file| file.modified).max().unwrap_or(self.now);
        for name in lost {
            self.tell_lost(name, before);
        }
    }

    /// An event of which only the name is left: its time is that of the fragment if that is still there,
    /// else before that of what names it.
    fn tell_lost(&mut self, name: Name, before: Timestamp) {
        let modified = match name.is_write() {
            true => self.contents.modified(&name.fragment()).ok(),
            false => None,
        };
        let time = modified.unwrap_or(before);
        let (action, what) = match name.kind {
            Kind::Delete => (Action::QueryDelete, None),
            Kind::Update => (Action::QueryWrite, Some("update")),
            Kind::Metadata if !name.stem.is_merged() => (Action::ArrayMetadataUpdate, None),
            Kind::Metadata => (Action::Consolidate, Some("metadata")),
            _ if name.stem.is_merged() => (Action::Consolidate, Some("fragments")),
            _ => (Action::QueryWrite, None),
        };
        if action == Action::Consolidate {
            self.new_merged.push(File { name, modified: time });
        }
        let is_before = modified.is_none();
        self.push(Event { what, is_before, ..Event::new(action, time, Some(name)) });
    }

    /// Of merged commits some are no more: their fragments were merged and removed, or deleted.
    fn tell_ignored(&mut self, added: &[File]) {
        for file in added.iter().filter(|file| file.name.kind == Kind::Ignored) {
            if self.was_told(file) || self.unfinished.contains(&file.name) {
                continue;
            }
            let names = self.read_list(file, REMOVALS, contents::ignored).unwrap_or_default();
            let are_merged = names.iter().all(|name| self.is_merged_away(&name.stem));
            let (tally, action, what) = match are_merged {
                true => (&mut self.fragments, Action::Vacuum, Some("fragments")),
                false => (&mut self.deleted, Action::DeleteFragments, None),
            };
            tally.is_told = true;
            self.ignored.extend(&names);
            let mut counted = Tally::default();
            names.iter().for_each(|name| counted.count(name, self.now));
            let removed = counted.removed;
            self.push(Event {
                what,
                removed,
                ..Event::new(action, file.modified, Some(file.name))
            });
        }
    }

    /// Whether a list of what is superfluous names any of what is gone: it goes last.
    fn is_named_still(&self, gone: &[(Name, Timestamp)]) -> bool {
        let lists = self.files.iter().filter(|file| is_merge_list(&file.name));
        let lists: HashSet<Uuid> = lists.map(|file| file.name.stem.uuid).collect();
        // Of merged commits nothing more need go.
        let is_listed = |name: &Name| self.watch.listed.binary_search(name).is_ok();
        let gone = gone.iter().map(|(name, _)| name).filter(|name| !is_listed(name));
        let mut merged = gone.filter_map(|name| self.watch.merged.get(&name.stem.uuid));
        !lists.is_empty() && merged.any(|into| lists.contains(into))
    }

    /// Whether another process told of it: what it removed may look otherwise now than it did then.
    fn was_told(&self, file: &File) -> bool {
        self.told_until.is_some_and(|told| file.modified <= told)
    }

    fn count_vanished(&mut self, file: &File) {
        let name = &file.name;
        let seen = self.was_going.as_ref().and_then(|going| going.seen(name));
        let seen = seen.unwrap_or(self.now).min(self.now);
        let is_listed = || self.watch.listed.binary_search(name).is_ok();
        let tally = match name.kind {
            Kind::Schema | Kind::OldSchema => return,
            // Where merged commits name it, too, both are done: it goes, and is ignored.
            _ if self.ignored.contains(name) => return,
            Kind::FragmentVacuum | Kind::OldFragmentVacuum => {
                self.fragments.name(*name, seen);
                return;
            }
            Kind::MetadataVacuum => {
                self.metadata.name(*name, seen);
                return;
            }
            Kind::Commits | Kind::Ignored | Kind::Delete | Kind::Update => &mut self.commits,
            Kind::FragmentMetadata | Kind::OldFragmentMetadata => &mut self.fragment_metadata,
            Kind::Metadata => &mut self.metadata,
            _ if is_listed() => &mut self.commits,
            _ if self.is_merged_away(&name.stem) => &mut self.fragments,
            _ if self.is_opaque => &mut self.commits,
            _ => &mut self.deleted,
        };
        tally.count(name, seen);
    }

    /// Whether its data went into another fragment: where no list tells, into one that spans it.
    fn is_merged_away(&self, stem: &Stem) -> bool {
        self.watch.merged.contains_key(&stem.uuid)
            || self.spanning.iter().any(|one| one != stem && one.spans(stem))
    }

    /// Merged fragments of which no list says what they were merged from.
    fn unexplained(&self) -> Vec<Stem> {
        let names = self.files.iter().map(|file| &file.name).chain(&self.watch.listed);
        let is_unexplained =
            |name: &&Name| name.is_write() && name.stem.is_merged() && !self.is_explained(name);
        names.filter(is_unexplained).map(|name| name.stem).collect()
    }

    /// What was merged and removed before its list was read may hold what we never saw.
    fn explain(&mut self) {
        // What a list names may be merged, too, and its own list is not there any more.
        while let Some(file) = self.new_merged.pop() {
            if self.is_explained(&file.name) {
                continue;
            }
            let list = file.name.with_kind(merge_list(file.name.kind));
            // It is written after what was merged: the listing may have missed it.
            self.read_merge_list(&File { name: list, modified: file.modified });
            if self.is_explained(&file.name) {
                continue;
            }
            let is_metadata = file.name.kind == Kind::Metadata;
            let actions = if is_metadata { METADATA } else { WRITES };
            self.gap(
                actions,
                MERGED_UNSEEN,
                self.gap_from,
                file.modified.plus_seconds(GRAIN_SECONDS),
            );
        }
    }

    fn is_explained(&self, name: &Name) -> bool {
        self.watch.explained.contains(&name.stem.uuid)
    }

    fn tell_removed(&mut self) {
        let tallies = [
            (std::mem::take(&mut self.fragments), Action::Vacuum, Some("fragments")),
            (std::mem::take(&mut self.commits), Action::Vacuum, Some("commits")),
            (std::mem::take(&mut self.metadata), Action::Vacuum, Some("metadata")),
            (
                std::mem::take(&mut self.fragment_metadata),
                Action::Vacuum,
                Some("fragment_metadata"),
            ),
            (std::mem::take(&mut self.deleted), Action::DeleteFragments, None),
        ];
        for (tally, action, what) in tallies {
            if let (Some(object), false) = (tally.object, tally.is_told) {
                let removed = tally.removed;
                let time = tally.seen.unwrap_or(self.now);
                self.push(Event { what, removed, ..Event::new(action, time, Some(object)) });
            }
        }
    }

    fn end(mut self, has_gone: bool) {
        if has_gone {
            let files = self.files.iter().map(|file| &file.name);
            let there: HashSet<Uuid> =
                files.chain(&self.watch.listed).map(|name| name.stem.uuid).collect();
            self.watch.merged.retain(|uuid, _| there.contains(uuid));
            self.watch.explained.retain(|uuid| there.contains(uuid));
        }
        self.files.retain(|file| !self.unfinished.contains(&file.name));
        self.watch.listed.retain(|name| !self.unfinished.contains(name));
        let before = self.watch.looked.map_or(self.now, |(looked, _)| looked);
        self.watch.looked = Some((self.now, before));
        self.watch.files = self.files;
    }

    fn is_known(&self, name: &Name) -> bool {
        has(&self.before, name)
            || has(&self.files, name)
            || self.listed_before.binary_search(name).is_ok()
            || self.watch.listed.binary_search(name).is_ok()
    }

    /// Whether a list of what it was merged from is there.
    fn has_list(&self, name: Name) -> bool {
        has(&self.files, &name.with_kind(merge_list(name.kind)))
    }

    fn push(&mut self, event: Event) {
        self.watch.found.events.push(event);
    }

    /// Intervals of one cause that one look finds become one.
    fn gap(&mut self, actions: &[Action], cause: &str, from: Timestamp, to: Timestamp) {
        if to <= from {
            return;
        }
        let gaps = &mut self.watch.found.coverage;
        if let Some(gap) =
            gaps.iter_mut().find(|gap| &*gap.cause == cause && gap.actions == actions)
        {
            gap.from = gap.from.min(from);
            gap.last_seen = gap.last_seen.max(to);
            gap.to = Some(gap.last_seen);
            return;
        }
        gaps.push(Coverage {
            target: self.watch.target.clone(),
            actions: actions.to_vec(),
            hidden: Hidden::All,
            cause: cause.into(),
            actor: None,
            from,
            to: Some(to),
            last_seen: to,
            source: Some(self.watch.source.clone()),
            grade: Grade::Blind,
            missing: None,
        });
    }
}

impl Tally {
    /// One more is gone.
    fn count(&mut self, name: &Name, seen: Timestamp) {
        self.seen = Some(self.seen.unwrap_or(seen).min(seen));
        let Stem { data_from, data_to, .. } = name.stem;
        self.object.get_or_insert(*name);
        let removed = self.removed.get_or_insert(Removed { count: 0, data_from, data_to });
        removed.count += 1;
        removed.data_from = removed.data_from.min(data_from);
        removed.data_to = removed.data_to.max(data_to);
    }

    /// What names it best.
    fn name(&mut self, name: Name, seen: Timestamp) {
        self.seen = Some(self.seen.unwrap_or(seen).min(seen));
        self.object = Some(name);
    }
}

/// Data timestamps are whatever the writer chose; what is no time stays a number.
fn data_time(millis: u64) -> Text {
    let time = i64::try_from(millis).ok().map(Timestamp::from_millis);
    match time.filter(|time| *time < Timestamp::MAX) {
        Some(time) => time.to_string().into(),
        None => millis.to_string().into(),
    }
}

/// Whether what is gone was merged is a judgement, and no part of the identity.
fn removal_as_vacuum(action: Action) -> Action {
    match action {
        Action::DeleteFragments => Action::Vacuum,
        other => other,
    }
}

fn is_list(name: &Name) -> bool {
    matches!(name.kind, Kind::Commits | Kind::Ignored)
}

/// What says what a merged one was merged from.
fn merge_list(kind: Kind) -> Kind {
    match kind {
        Kind::Metadata => Kind::MetadataVacuum,
        Kind::Write => Kind::FragmentVacuum,
        _ => Kind::OldFragmentVacuum,
    }
}

fn is_merge_list(name: &Name) -> bool {
    matches!(name.kind, Kind::FragmentVacuum | Kind::OldFragmentVacuum | Kind::MetadataVacuum)
}

/// A name where commits lie that says nothing to us, and may be a commit.
fn is_strange(path: &str) -> bool {
    path.strip_prefix("__commits/").is_some_and(|file| !file.is_empty())
}

fn has(files: &[File], name: &Name) -> bool {
    files.binary_search_by_key(name, |file| file.name).is_ok()
}

/// How many names there are that were changed before a time, and their sum: it does not depend on an order.
/// UUIDs are random, so that they are hashes already.
fn summary<'a>(files: impl Iterator<Item = &'a File>, before: Timestamp) -> (u64, [u8; 16]) {
    let (mut count, mut sum) = (0, 0_u128);
    for file in files.filter(|file| file.modified < before) {
        let hash = u128::from_be_bytes(file.name.stem.uuid) ^ (file.name.kind as u128);
        sum = sum.wrapping_add(hash.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
        count += 1;
    }
    (count, sum.to_be_bytes())
}

#[cfg(test)]
mod tests;
