//! [`ArrayWatch`]: from what looks at an array show to what was done with it.
//!
//! Nothing here opens anything. Who looks fills a [`Listing`], hands it to [`ArrayWatch::scan`], which asks
//! for the contents of the few files that name others, and takes [`ArrayWatch::take`] until there is nothing
//! more. The rules are those of `docs/design/tiledb-storage.md`: [`scan`] compares, [`found`] keeps what comes
//! of it, and [`position`] is where it goes on after a restart.

use std::collections::{HashMap, HashSet};
use std::io;

use doorbook_event::{Action, Target, Text, Timestamp};

use self::found::{Event, Found};
use self::position::{Position, summary};
use self::scan::{Going, Scan};
use super::name::{Kind, Name};
use crate::Batch;

mod found;
mod position;
mod scan;

pub use self::position::BadPosition;

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

type Uuid = [u8; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct File {
    name: Name,
    modified: Timestamp,
}

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
            found: Found::new(target, source),
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
            self.found.put_aside(
                path.clone(),
                path.as_bytes(),
                "no version of TileDB has such a name",
            );
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
        self.found.was_watched(from, to);
    }

    /// Whether something was found that is not taken yet.
    pub fn has_found(&self) -> bool {
        !self.found.events.is_empty() || !self.found.coverage.is_empty()
    }

    /// What was found, in the order of time, some thousand events at once; `None` if there is no more.
    pub fn take(&mut self) -> Option<Batch> {
        self.found.take()
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
}

impl File {
    fn is_schema(&self) -> bool {
        matches!(self.name.kind, Kind::Schema | Kind::OldSchema)
    }
}

/// Whether what is gone was merged is a judgement, and no part of the identity.
fn removal_as_vacuum(action: Action) -> Action {
    match action {
        Action::DeleteFragments => Action::Vacuum,
        other => other,
    }
}

/// A name where commits lie that says nothing to us, and may be a commit.
fn is_strange(path: &str) -> bool {
    path.strip_prefix("__commits/").is_some_and(|file| !file.is_empty())
}

fn has(files: &[File], name: &Name) -> bool {
    files.binary_search_by_key(name, |file| file.name).is_ok()
}

#[cfg(test)]
mod tests;
