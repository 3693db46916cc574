//! Maintenance: what becomes of rows after they were committed, one unit of work at a time.
//!
//! [`Inner::maintain`] does the first unit in the list that has something to do. A unit is whole:
//! when it ends, by success, failure or the process, the directory is as sound as before. Units run
//! one after the other, beside commits, and take the writer's lock only to commit what they did.
//!
//! With `Options::background` one thread calls it whenever a commit leaves something to do, and now
//! and then for what only time brings. Without, who commits does what is due before.
//!
//! A unit that fails is tried again: by the thread after a pause, else when a quarter of a memtable
//! more has come. Far beyond the bounds, which is when memory must not grow any further, the
//! failure is the caller's, and where there is none, because the thread does not keep up, it is
//! [`ErrorKind::Busy`] after a bounded wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::state::State;
use crate::wal::Lsn;
use crate::{Did, Inner};

/// The units, the most urgent first.
const UNITS: [Unit; 5] = [
    Inner::flush_when_full,
    Inner::write_snapshot,
    Inner::expire,
    |inner, _| inner.write_table(),
    Inner::compact_unit,
];

/// Does something, if there is something to do.
type Unit = fn(&Inner, &mut Work) -> Result<Did, Error>;

/// Memtables that may wait in memory, or in the WAL, before commits have to.
const MEMTABLES_MAX: usize = 2;

/// How long the thread sleeps at most, also after a failure.
const PAUSE: Duration = Duration::from_secs(10);

/// What the units hand on to each other.
pub(crate) struct Work {
    /// The last frames of the snapshots that are kept, from the oldest.
    pub(crate) snapshots: Vec<Lsn>,
    /// What the next snapshot says.
    pub(crate) pending: Option<State>,
}

/// Who does the work, and when.
pub(crate) struct Maintenance {
    work: Mutex<Work>,
    signal: Arc<Signal>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Signal {
    flags: Mutex<Flags>,
    /// For the thread: there is something to do, or it is to end.
    due: Condvar,
    /// For those who wait for room: a unit was done, or failed.
    done: Condvar,
}

#[derive(Default)]
struct Flags {
    is_due: bool,
    is_stopped: bool,
    /// Of the last unit that was tried.
    failure: Option<Error>,
    /// How much there was in memory or to replay when a unit last failed.
    failed_at: usize,
}

impl Maintenance {
    pub(crate) fn new(snapshots: Vec<Lsn>) -> Maintenance {
        let work = Mutex::new(Work { snapshots, pending: None });
        Maintenance { work, signal: Arc::default(), thread: Mutex::new(None) }
    }

    /// Whether a unit ended in a bug. Never waits.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.work.is_poisoned()
    }

    /// Why the last unit failed, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.signal.flags().failure.as_ref().map(Error::again)
    }

    /// Has the thread look for something to do.
    pub(crate) fn notify(&self) {
        self.signal.flags().is_due = true;
        self.signal.due.notify_all();
    }

    /// Ends the thread after the unit it is at.
    pub(crate) fn stop(&self) {
        self.signal.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != current_thread()) {
            let _its_panic_was_told_where_it_happened = thread.join();
        }
    }
}

impl Drop for Maintenance {
    fn drop(&mut self) {
        // Not waited for: the thread itself may be the last to hold the store.
        self.signal.stop();
    }
}

impl Inner {
    /// Starts the thread that maintains the store as long as it is open.
    pub(crate) fn start_maintenance(self: &Arc<Inner>) -> Result<(), Error> {
        // What the last process left to do is not waited for.
        self.maintenance.notify();
        let signal = Arc::clone(&self.maintenance.signal);
        let store = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("maintenance".into());
        let thread = thread.spawn(move || run(&signal, &store)).map_err(|error| {
            Error::new(ErrorKind::Io, "cannot start the maintenance thread").because(error)
        })?;
        let mut slot = self.maintenance.thread.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(thread);
        Ok(())
    }

    /// Does one unit of work, if there is one to do.
    pub(crate) fn maintain(&self) -> Result<Did, Error> {
        let mut work = self.work()?;
        let mut did = Ok(Did::Nothing);
        for unit in UNITS {
            did = unit(self, &mut work);
            if !matches!(did, Ok(Did::Nothing)) {
                break;
            }
        }
        drop(work);
        self.note(&did);
        did
    }

    fn compact_unit(&self, work: &mut Work) -> Result<Did, Error> {
        let did = self.compact(&mut || self.between_steps(work))?;
        self.counters.note(Ok(did), self.options.clock.now());
        Ok(did)
    }

    /// A unit that merges takes long: what is more urgent is done in between, and a store that is
    /// closed does not wait for it.
    pub(crate) fn between_steps(&self, work: &mut Work) -> Result<(), Error> {
        if self.maintenance.signal.flags().is_stopped {
            return Err(Error::new(ErrorKind::Io, "the store is being closed"));
        }
        self.flush_when_full(work)?;
        self.write_snapshot(work).map(drop)
    }

    /// Does one job of compaction, whatever else there is to do: whether there was one.
    pub(crate) fn compact_once(&self) -> Result<bool, Error> {
        let did = self.compact_unit(&mut *self.work()?)?;
        Ok(did == Did::Compacted)
    }

    /// Writes what is in memory to segments, and a snapshot.
    pub(crate) fn flush_all(&self) -> Result<(), Error> {
        let mut work = self.work()?;
        let did = self.flush(&mut work).and_then(|_| self.write_snapshot(&mut work));
        drop(work);
        self.note(&did);
        did.map(drop)
    }

    /// Keeps what a restart would have to replay, and with it the rows in memory, within bounds,
    /// before more is added. Nobody who calls this holds the writer's lock.
    pub(crate) fn make_room(&self) -> Result<(), Error> {
        let limit = self.options.memtable_size_bytes;
        let failed_at = self.maintenance.signal.flags().failed_at;
        let (size, max) = (self.size_bytes(), limit.saturating_mul(MEMTABLES_MAX));
        if size < limit {
            return Ok(());
        }
        if self.options.background {
            self.maintenance.notify();
            return if size < max { Ok(()) } else { self.wait_for_room(max) };
        }
        if failed_at > 0 && size < failed_at.saturating_add(limit / 4) {
            return Ok(());
        }
        // The table makes no room, and can wait. A flush is followed by its snapshot: what waits for
        // that keeps the files of its time.
        let mut is_due = true;
        while is_due {
            match self.maintain() {
                Ok(Did::Nothing) => return Ok(()),
                Ok(did) => is_due = did == Did::Flushed || self.size_bytes() >= limit,
                Err(error) if error.kind == ErrorKind::Poisoned || size >= max => {
                    return Err(error);
                }
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self, max: usize) -> Result<(), Error> {
        let signal = &self.maintenance.signal;
        let is_full = |_: &mut Flags| self.size_bytes() >= max;
        let waited = signal.done.wait_timeout_while(signal.flags(), self.options.wait_max, is_full);
        let (flags, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match (timeout.timed_out(), &flags.failure) {
            (false, _) => Ok(()),
            (true, Some(failure)) => Err(failure.again()),
            (true, None) => Err(Error::new(
                ErrorKind::Busy,
                "rows come faster than they can be written to segments",
            )),
        }
    }

    /// How much is in memory or to be replayed, whichever is more.
    fn size_bytes(&self) -> usize {
        let state = self.state();
        state.memtable_size_bytes.max(state.replay_size_bytes)
    }

    pub(crate) fn work(&self) -> Result<MutexGuard<'_, Work>, Error> {
        self.maintenance
            .work
            .lock()
            .map_err(|_| Error::new(ErrorKind::Poisoned, "maintenance ended in a bug: restart"))
    }

    /// Tells those who wait for room what became of a unit.
    fn note(&self, did: &Result<Did, Error>) {
        // What is written to segments is counted there: not every such unit comes by here.
        match did {
            Ok(Did::Expired) => self.counters.note(Ok(Did::Expired), self.options.clock.now()),
            Ok(_) => {}
            Err(_) => self.counters.note(Err(()), self.options.clock.now()),
        }
        let signal = &self.maintenance.signal;
        let failed_at = if did.is_err() { self.size_bytes() } else { 0 };
        let mut flags = signal.flags();
        flags.failure = did.as_ref().err().map(Error::again);
        flags.failed_at = failed_at;
        drop(flags);
        signal.done.notify_all();
    }
}

/// The thread.
fn run(signal: &Signal, store: &Weak<Inner>) {
    loop {
        let waits = |flags: &mut Flags| !flags.is_due && !flags.is_stopped;
        let waited = signal.due.wait_timeout_while(signal.flags(), PAUSE, waits);
        let (mut flags, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if flags.is_stopped {
            return;
        }
        flags.is_due = false;
        drop(flags);
        // Let go of after each unit: who drops the store must not find it held for long.
        while let Some(store) = store.upgrade() {
            match store.maintain() {
                Ok(Did::Nothing) => break,
                Ok(_) if !signal.flags().is_stopped => {}
                Ok(_) => return,
                Err(_) => {
                    drop(store);
                    // Each commit would wake it at once.
                    let stops = |flags: &mut Flags| !flags.is_stopped;
                    let _paused = signal.due.wait_timeout_while(signal.flags(), RETRY, stops);
                    break;
                }
            }
        }
    }
}

/// How long the thread waits after a failure.
const RETRY: Duration = Duration::from_secs(1);

impl Signal {
    fn flags(&self) -> MutexGuard<'_, Flags> {
        self.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.flags().is_stopped = true;
        self.due.notify_all();
    }
}

fn current_thread() -> std::thread::ThreadId {
    std::thread::current().id()
}
