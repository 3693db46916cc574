//! [`Storage`]: the threads that watch where arrays are stored, one for disks and one for buckets.
//!
//! A source of the kind `tiledb-storage` is one place, a folder of this machine or a prefix of a bucket. A
//! **look** lists every array below it and compares that with what was known
//! (`doorbook_source::tiledb`); what was done in between becomes events, stored together with where the
//! watch goes on ([`Store::advance`]). Looks come every `interval_seconds`; on disk, what changes wakes a look
//! at the array that changed at once, so that what is soon removed again is mostly seen before.
//!
//! An array that is found and that its namespace does not know is registered, so that it has a history. What
//! somebody deregistered stays so for as long as it lies where it is.
//!
//! One place that cannot be looked at is a state and a gap of that source, one array a gap of that array;
//! the others go on.
//!
//! Suggested reading order: this, [`watching`] (one source), [`place`] (what can be looked at), [`disk`],
//! [`position`], [`told`] (what the history has of an array that lay elsewhere).

mod bucket;
mod disk;
mod place;
mod position;
mod told;
mod wake;
mod watching;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorbook_event::record::ClockState;
use doorbook_event::source::{Source, SourceKind, State};
use doorbook_event::{Clock, Random, Text};
use doorbook_store::Store;
use tokio::runtime::Handle;

use crate::arrays::FILE;
use crate::buckets::Buckets;
use crate::rounds::{Rounds, pause};
use crate::sources::status::tell_changes;
use crate::sources::{Board, Reader, Status};
use watching::Watching;

/// Between two looks at what changed on disk.
const INTERVAL: Duration = Duration::from_millis(200);

/// What is needed to watch.
#[derive(Clone)]
pub struct Tools {
    /// Where sources and their places are, and where what they show goes.
    pub store: Store,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// Where the ids of arrays come from that are found.
    pub random: Arc<dyn Random>,
    /// How far the clock can be trusted.
    pub clock_state: fn() -> ClockState,
    /// How long the machine has run, by a clock that nobody sets.
    pub steady: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Where it stands how sources are.
    pub board: Board,
    /// Doorbook's own directory, where no array is.
    pub data_dir: PathBuf,
    /// How buckets are reached.
    pub buckets: Buckets,
    /// Where requests to object stores run; no thread of it may call anything here.
    pub runtime: Handle,
}

/// The watch over storage of a running server.
pub struct Storage {
    rounds: Rounds,
}

impl Storage {
    /// Begins to watch.
    pub fn start(tools: Tools) -> std::io::Result<Storage> {
        let mut rounds = Rounds::new("watching storage");
        // What is on disk waits for no network.
        for (name, reader) in [("storage", Reader::Stored), ("buckets", Reader::Listed)] {
            let mut round = Round::new(tools.clone(), reader);
            rounds.begin(name, move |stop| {
                while !stop.load(Ordering::SeqCst) {
                    round.run(stop);
                    pause(INTERVAL);
                }
                round.end();
            })?;
        }
        Ok(Storage { rounds })
    }

    /// Stores what was seen and stops.
    pub fn stop(self) {
        drop(self.rounds);
    }
}

/// What is kept from round to round.
struct Round {
    tools: Tools,
    /// Which places these are.
    reader: Reader,
    watching: BTreeMap<Text, Watching>,
}

impl Round {
    fn new(tools: Tools, reader: Reader) -> Round {
        Round { tools, reader, watching: BTreeMap::new() }
    }

    /// Lets each source look at what it is time to look at.
    fn run(&mut self, stop: &AtomicBool) {
        // With the wrong key a bucket is not there.
        if self.reader == Reader::Listed && !self.tools.buckets.is_told() {
            return;
        }
        self.follow_registry();
        let mut lost = Vec::new();
        for (name, watching) in &mut self.watching {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            if !watching.run(&self.tools, stop) {
                lost.push(name.clone());
            }
        }
        // Where these really are is in the store.
        for name in lost {
            self.watching.remove(&name);
        }
        self.tell();
    }

    /// Stores how far each source came.
    fn end(&mut self) {
        for watching in self.watching.values_mut() {
            watching.end(&self.tools);
        }
    }

    /// Begins and ends watching as the registry says.
    fn follow_registry(&mut self) {
        let catalog = self.tools.store.catalog();
        let watched = self.tools.store.watched();
        // One that was changed, or put back to its beginning, begins anew.
        self.watching.retain(|name, watching| {
            let progress = watched.sources.get(name);
            let position = progress.map_or(&[][..], |progress| &progress.position);
            catalog.registry.source(name) == Some(watching.source()) && watching.is_at(position)
        });
        let reader = |source: &Source| match source.path.starts_with(FILE) {
            true => Reader::Stored,
            false => Reader::Listed,
        };
        let is_ours = |source: &&Source| {
            source.kind == SourceKind::TiledbStorage
                && !source.paused
                && reader(source) == self.reader
        };
        for source in catalog.registry.sources().filter(is_ours) {
            if !self.watching.contains_key(&source.name) {
                let progress = watched.sources.get(&source.name);
                let watching = Watching::new(source, progress, &self.tools);
                self.watching.insert(source.name.clone(), watching);
            }
        }
    }

    fn tell(&self) {
        let statuses: BTreeMap<Text, Status> =
            self.watching.iter().map(|(name, of)| (name.clone(), of.status())).collect();
        let before = self.tools.board.of(self.reader);
        if before != statuses {
            tell_changes(&before, &statuses);
            self.tools.board.set(self.reader, statuses);
        }
    }
}

/// How a source is that was not looked at yet.
fn unknown() -> Status {
    Status::new(State::CatchingUp)
}

#[cfg(test)]
mod tests;
