//! [`Reader`]: reads what is to be followed, and keeps it in the spool.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use doorbook_event::advance::Advance;
use doorbook_event::record::ClockState;
use doorbook_event::shipment::Report;
use doorbook_event::source::{Source, State};
use doorbook_event::unknown::UnknownIds;
use doorbook_event::{Clock, Text, Timestamp};
use doorbook_source::following::{Following, Place};

use crate::allowed::Allowed;
use crate::shared::Shared;
use crate::spool::{Error, Kept, Spool};

/// A source reads as many bytes of records at once, about: what an agent may take of a host's memory.
const BATCH_SIZE_BYTES: usize = 1 << 20;

/// Where the spool's disk has no room for that, it reads less, down to this.
const BATCH_SIZE_BYTES_MIN: usize = 64 << 10;

/// What is kept with one wait for the disk, about.
const ROUND_SIZE_BYTES: usize = 4 << 20;

/// What the reader works with.
pub struct Tools {
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// How far that can be trusted.
    pub clock_state: fn() -> ClockState,
    /// What may be read.
    pub allowed: Allowed,
}

/// Reads the logs of a host.
pub struct Reader {
    tools: Tools,
    shared: Arc<Shared>,
    following: BTreeMap<Text, Following>,
    /// What was read and found no room.
    waiting: Vec<Advance>,
    /// Why, if it did not.
    trouble: Option<Text>,
}

impl Reader {
    /// Nothing is opened before the first round.
    pub fn new(tools: Tools, shared: Arc<Shared>) -> Reader {
        Reader { tools, shared, following: BTreeMap::new(), waiting: Vec::new(), trouble: None }
    }

    /// Lets each source read once, and keeps what it read. Whether there is more to read already.
    pub fn round(&mut self) -> bool {
        self.take_tasks();
        let mut more = false;
        if self.keep() {
            more = self.read();
        }
        self.report();
        more
    }

    /// Begins and ends following as the server says, each source from where it is in the spool.
    fn take_tasks(&mut self) {
        let now = self.tools.clock.now();
        let state = self.shared.state();
        let (tasks, spool) = (&state.tasks, &state.spool);
        let place = |name: &Text| spool.place(name).cloned().unwrap_or_default();
        self.following.retain(|name, following| {
            let source = tasks.get(name).and_then(|task| task.source.as_ref());
            source == Some(following.source()) && following.is_at(&place(name).position)
        });
        for (name, task) in tasks {
            let Some(source) = &task.source else { continue };
            if !self.following.contains_key(name) {
                let mut following =
                    Following::new(source.clone(), task.aliases.clone(), place(name), now);
                following.set_batch_size_bytes(BATCH_SIZE_BYTES);
                self.following.insert(name.clone(), following);
            }
        }
    }

    /// Reads, and keeps what was read. Whether there is more.
    fn read(&mut self) -> bool {
        let mut more = false;
        let mut size_bytes = 0;
        let names: Vec<Text> = self.following.keys().cloned().collect();
        for name in names {
            if self.shared.is_stopping() {
                break;
            }
            let Some(following) = self.following.get_mut(&name) else { continue };
            let now = self.tools.clock.now();
            match hindrance(&self.shared, &self.tools.allowed, following.source()) {
                Some(why) => following.hinder(&why, now),
                None => more |= following.read(now),
            }
            if let Some(advance) = following.take_advance(now, self.tools.clock_state) {
                size_bytes += advance.size_bytes();
                self.waiting.push(advance);
            }
            if size_bytes >= ROUND_SIZE_BYTES {
                size_bytes = 0;
                if !self.keep() {
                    return false;
                }
            }
        }
        self.keep() && more
    }

    /// Keeps what was read. Whether more may be read.
    fn keep(&mut self) -> bool {
        let now = self.tools.clock.now();
        let trouble = self.keep_waiting(now);
        if let Some(why) = &trouble {
            self.following.values_mut().for_each(|following| following.hinder(why, now));
        }
        self.tell(&trouble);
        self.trouble = trouble;
        self.trouble.is_none()
    }

    /// Keeps what waits, as far as there is room; why nothing more may be read, if so.
    fn keep_waiting(&mut self, now: Timestamp) -> Option<Text> {
        let shared = Arc::clone(&self.shared);
        loop {
            let mut state = shared.state();
            let spool = &mut state.spool;
            let full: Text = format!("spool full ({} MiB)", spool.limit_bytes() >> 20).into();
            match append_some(spool, &self.waiting) {
                Ok(kept) => {
                    let has_room = spool.has_room();
                    drop(state);
                    self.take_note(&kept, now);
                    if self.waiting.is_empty() {
                        return (!has_room).then_some(full);
                    }
                }
                Err(Error::Full) => return Some(full),
                Err(Error::Disk(error)) => {
                    let is_alone = spool.is_empty();
                    drop(state);
                    let why: Text = format!("the spool cannot be written: {error}").into();
                    if is_alone && is_full(&error) {
                        self.read_less(&why, now);
                    }
                    return Some(why);
                }
            }
        }
    }

    /// What became of the first of those that wait.
    fn take_note(&mut self, kept: &[Kept], now: Timestamp) {
        if !kept.is_empty() {
            self.shared.tell();
        }
        for (advance, kept) in self.waiting.drain(..kept.len()).zip(kept) {
            let name = &advance.source.name;
            let Some(following) = self.following.get_mut(name) else { continue };
            match kept {
                Kept::Stored => {
                    let events = advance.accesses.len() as u64;
                    following.stored(Place::after(&advance), events, now);
                }
                // Where it is then is in the spool.
                Kept::Elsewhere => drop(self.following.remove(name)),
            }
        }
    }

    /// What a source read at once is more than this disk has room for, with nothing else in the spool: it is
    /// read again, less at once. What is small anyway waits: the disk is full of something else.
    fn read_less(&mut self, why: &Text, now: Timestamp) {
        let Some(first) = self.waiting.first() else { return };
        let following = self.following.get_mut(&first.source.name);
        let Some(following) = following.filter(|_| first.size_bytes() > BATCH_SIZE_BYTES_MIN)
        else {
            return;
        };
        let size_bytes = following.batch_size_bytes() / 2;
        if size_bytes >= BATCH_SIZE_BYTES_MIN {
            following.set_batch_size_bytes(size_bytes);
            following.not_stored(why.clone(), now);
            self.waiting.remove(0);
        }
    }

    /// Writes to the log that nothing can be kept, or that it can again.
    fn tell(&self, trouble: &Option<Text>) {
        match (&self.trouble, trouble) {
            (None, Some(why)) => tracing::warn!(
                reason = &**why,
                "nothing is read until there is room; the logs themselves are the buffer now"
            ),
            (Some(_), None) => tracing::info!("logs are read again"),
            _ => {}
        }
    }

    /// Says how each source is.
    fn report(&self) {
        let mut state = self.shared.state();
        let mut reports = BTreeMap::new();
        for (name, task) in &state.tasks {
            let report = match self.following.get(name) {
                Some(following) => of_following(name, following),
                None if task.source.is_none() => unknown(name),
                None => continue,
            };
            let before = state.reports.get(name).map(|before| before.state);
            tell_change(before, &report);
            reports.insert(name.clone(), report);
        }
        state.reports = reports;
    }
}

/// Keeps the first of these, as many as the disk has room for, one at least.
fn append_some(spool: &mut Spool, advances: &[Advance]) -> Result<Vec<Kept>, Error> {
    let mut count = advances.len();
    loop {
        match spool.append(&advances[..count]) {
            Err(Error::Disk(error)) if count > 1 && is_full(&error) => count /= 2,
            appended => return appended,
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// Why a source may not be read, if it may not.
fn hindrance(shared: &Shared, allowed: &Allowed, source: &Source) -> Option<Text> {
    let state = shared.state();
    let refused = state.tasks.get(&source.name).and_then(|task| task.refused.clone());
    refused.or_else(|| allowed.refuses(&source.path))
}

fn of_following(name: &Text, following: &Following) -> Report {
    let status = following.status();
    Report {
        source: name.clone(),
        state: status.state,
        message: status.message,
        behind_bytes: status.behind_bytes,
        unknown_ids: status.unknown_ids,
    }
}

fn unknown(name: &Text) -> Report {
    let message = "this version of the agent cannot follow it: update the agent";
    let (state, message) = (State::Failed, Some(message.into()));
    let (source, unknown_ids) = (name.clone(), UnknownIds::default());
    Report { source, state, message, behind_bytes: 0, unknown_ids }
}

/// Writes to the log what became of a source.
fn tell_change(before: Option<State>, report: &Report) {
    let (source, reason) = (&*report.source, report.message.as_deref().unwrap_or_default());
    let could_not = matches!(before, Some(State::Failed | State::Waiting));
    match report.state {
        now if before == Some(now) => {}
        State::Failed => tracing::error!(source, reason, "a source cannot go on"),
        State::Waiting => tracing::info!(source, "a source waits for its file"),
        State::Following | State::CatchingUp if could_not => {
            tracing::info!(source, "a source is read again");
        }
        _ => {}
    }
}
