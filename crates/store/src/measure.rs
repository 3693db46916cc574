//! Measures: what a monitoring system asks of a store every few seconds. Nothing here reads rows, and
//! nothing waits for a write under way, so that a disk that hangs can still be seen to hang.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use doorbook_event::{Scope, Timestamp};

use crate::directory::{catalog_dir, wal_dir};
use crate::error::Error;
use crate::{Did, Inner};

/// A store at one instant, and what it did since it was opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Measures {
    /// Each scope's rows.
    pub scopes: Vec<ScopeMeasures>,
    /// Rows in memory, in bytes that they take there.
    pub memtable_size_bytes: u64,
    /// What the next start would have to replay.
    pub replay_size_bytes: u64,
    /// Files of the WAL.
    pub wal_size_bytes: u64,
    /// Snapshots.
    pub catalog_size_bytes: u64,
    /// Bytes that may still be written to its file system.
    pub free_bytes: u64,
    /// Bytes below which nothing more is taken in.
    pub reserve_bytes: u64,
    /// Since it was opened.
    pub work: Work,
}

/// The rows of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeMeasures {
    /// Whose.
    pub scope: Scope,
    /// Rows of every kind, also those that answers do not show.
    pub rows: u64,
    /// Rows among them that no segment holds yet.
    pub rows_in_memory: u64,
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
}

/// What a store did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Frames of records that were written and synced, or failed to be.
    pub commits: u64,
    /// How long that took in all.
    pub commit_time: Duration,
    /// Times that rows were moved to segments, and when that was last.
    pub flushes: Done,
    /// Times that segments were merged.
    pub compactions: Done,
    /// Times that retention announced or removed something.
    pub expiries: Done,
    /// Units of maintenance that failed.
    pub failures: Done,
}

/// How often something was done, and when last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// How often.
    pub count: u64,
    /// When last, by our clock.
    pub last: Option<Timestamp>,
}

/// What [`Work`] is counted with.
#[derive(Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    commit_nanos: AtomicU64,
    units: Mutex<Work>,
}

impl Counters {
    /// Counts a commit and how long it takes.
    pub(crate) fn commit<T>(&self, write: impl FnOnce() -> T) -> T {
        let began = now();
        let written = write();
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.commit_nanos.fetch_add(nanos, Ordering::Relaxed);
        written
    }

    /// Counts maintenance that was done, or failed.
    pub(crate) fn note(&self, did: Result<Did, ()>, at: Timestamp) {
        let mut work = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        let done = match did {
            Ok(Did::Flushed) => &mut work.flushes,
            Ok(Did::Compacted) => &mut work.compactions,
            Ok(Did::Expired) => &mut work.expiries,
            Ok(Did::Nothing | Did::Snapshot | Did::Table) => return,
            Err(()) => &mut work.failures,
        };
        done.count += 1;
        done.last = Some(at);
    }

    fn work(&self) -> Work {
        let units = *self.units.lock().unwrap_or_else(PoisonError::into_inner);
        Work {
            commits: self.commits.load(Ordering::Relaxed),
            commit_time: Duration::from_nanos(self.commit_nanos.load(Ordering::Relaxed)),
            ..units
        }
    }
}

impl Inner {
    pub(crate) fn measures(&self) -> Result<Measures, Error> {
        let dir = &self.options.data_dir;
        let free = self.options.disk.free_bytes(dir);
        let free_bytes =
            free.map_err(|error| Error::io(dir, "ask for the free space of", error))?;
        let state = self.state();
        let scopes = state.scopes.iter().filter_map(|(scope, id)| {
            let log = state.logs.get(id.0 as usize)?;
            let rows_in_memory = log.memtable.len() as u64;
            let rows_in_segments: u64 = log.segments.iter().map(|of| of.meta.rows()).sum();
            Some(ScopeMeasures {
                scope: scope.clone(),
                rows: rows_in_memory + rows_in_segments,
                rows_in_memory,
                segments: log.segments.len() as u64,
                segment_bytes: log.segments.iter().map(|of| of.meta.size_bytes).sum(),
            })
        });
        Ok(Measures {
            scopes: scopes.collect(),
            memtable_size_bytes: state.memtable_size_bytes as u64,
            replay_size_bytes: state.replay_size_bytes as u64,
            wal_size_bytes: self.folder_size_bytes(&wal_dir(dir))?,
            catalog_size_bytes: self.folder_size_bytes(&catalog_dir(dir))?,
            free_bytes,
            reserve_bytes: self.options.reserve_size_bytes,
            work: self.counters.work(),
        })
    }

    /// Why nothing can be written until a restart.
    pub(crate) fn poisoned(&self) -> Option<&'static str> {
        if self.is_wal_poisoned.load(Ordering::Relaxed) {
            return Some("an earlier write failed and left open what is on the disk");
        }
        match (self.writer.is_poisoned(), self.maintenance.is_poisoned()) {
            (true, _) => Some("a write ended in a bug and may be half done"),
            (_, true) => Some("maintenance ended in a bug"),
            (false, false) => None,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "how long the disk takes, never what time it is")]
fn now() -> Instant {
    Instant::now()
}
