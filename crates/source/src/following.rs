//! [`Following`]: one source that is followed, with what it read and is not stored yet.
//!
//! Makes of a [`Watch`] what is to be stored: [`Advance`]s, with heartbeats, and with gaps where nothing
//! could be read. Whoever has one of these reads with [`Following::read`], stores what
//! [`Following::take_advance`] gives, in the order in which it comes, and says what came of it. The server
//! stores it in its history, an agent in its spool.

use std::path::Path;
use std::sync::Arc;

use doorbook_event::advance::Advance;
use doorbook_event::record::{ClockState, Coverage, Heartbeat, UnknownId};
use doorbook_event::source::{Source, State};
use doorbook_event::unknown::UnknownIds;
use doorbook_event::{HostName, Text, Timestamp};
use jiff::tz::TimeZone;

use crate::Batch;
use crate::follow::Start;
use crate::input;
use crate::object_log::{self, Files, Folder, Format, OnDisk, Places};
use crate::watch::{Polled, Settings, Watch};

/// How long a source may be unreadable before that is a gap: less than the minute within which an alarm
/// is to be told, and longer than any rotation.
pub const SILENCE_SECONDS: i64 = 45;

/// How far a source has come is stored so often while nothing is written: as fresh is what answers
/// say of it.
const STALE_SECONDS: i64 = 10;

/// How often a source's heartbeat is recorded.
const HEARTBEAT_SECONDS: i64 = 60;

/// After what could not be read, before the next try.
const RETRY_SECONDS: i64 = 5;

/// How often a folder is looked at for new files.
const LOOK_SECONDS: u32 = 60;

/// Why what is read of an object store's log is never all for sure.
const DOUBT: &str = "an object store writes its log as well as it can, and not surely all of it";

/// A source that is followed.
pub struct Following {
    source: Source,
    /// Other names of its host.
    aliases: Vec<Text>,
    /// As much is read at once, about.
    batch_size_bytes: usize,
    /// None before the first try to read, and after what it read could not be stored.
    input: Option<Reading>,
    /// The arrays of its namespace.
    places: Arc<Places>,
    /// Where its files are, if not on this machine.
    files: Option<OpenFiles>,
    /// Where the store has it.
    position: Vec<u8>,
    /// How far the store has it.
    through: Option<Timestamp>,
    /// What was read since.
    read: Read,
    /// When it was first looked at.
    begun: Timestamp,
    /// When it last came further.
    stored_at: Timestamp,
    trouble: Option<Trouble>,
    /// Why nothing could be read since it was last at the end, if that was not for want of a file.
    hindrance: Option<Text>,
    beat: Beat,
    /// How far the clock of what it reads is behind ours, or its lines take to get here.
    host_delay_micros: i64,
    was_at_end: bool,
    /// Messages that nobody knows of what is being stored.
    taken: Vec<UnknownId>,
    status: Status,
}

/// Where files are, to be opened each time that a source begins to read.
pub type OpenFiles = Arc<dyn Fn() -> Box<dyn Files> + Send + Sync>;

/// What reads.
enum Reading {
    Host(Box<Watch>),
    Objects(Box<object_log::Watch>),
    Folder(Box<Folder>),
}

/// What was read and not stored yet.
#[derive(Default)]
struct Read {
    batch: Batch,
    is_next_file: bool,
    lines: u64,
    through: Option<Timestamp>,
    /// The time of the very first line.
    since: Option<Timestamp>,
}

/// How far a source has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Where it goes on, in its own form; empty if it begins.
    pub position: Vec<u8>,
    /// It has read everything that was written before.
    pub through: Option<Timestamp>,
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// Why it does not do more.
    pub message: Option<Text>,
    /// It has read everything that was written before, by the clock of what it reads.
    pub through: Option<Timestamp>,
    /// Bytes that are there and not read yet.
    pub behind_bytes: u64,
    /// Lines read since the server began.
    pub lines: u64,
    /// Events recorded since the server began.
    pub events: u64,
    /// Messages that this version does not know, since the server began.
    pub unknown_ids: UnknownIds,
}

impl Status {
    /// Of a source that has read nothing yet.
    pub fn new(state: State) -> Status {
        Status {
            state,
            message: None,
            through: None,
            behind_bytes: 0,
            lines: 0,
            events: 0,
            unknown_ids: UnknownIds::default(),
        }
    }
}

impl Place {
    /// Where a source is once an advance is stored.
    pub fn after(advance: &Advance) -> Place {
        Place { position: advance.position.clone(), through: advance.through }
    }
}

/// What keeps a source from reading.
struct Trouble {
    message: Text,
    since: Timestamp,
    retry_at: Timestamp,
    /// Whether it was told as a gap.
    is_told: bool,
}

/// What the next heartbeat says.
struct Beat {
    at: Timestamp,
    lines: u64,
    events: u64,
    delay_micros: Option<i64>,
}

impl Following {
    /// Nothing is opened before the first [`Following::read`].
    pub fn new(source: Source, aliases: Vec<Text>, from: Place, now: Timestamp) -> Following {
        let Place { position, through } = from;
        let state = if source.paused { State::Paused } else { State::CatchingUp };
        Following {
            position,
            aliases,
            batch_size_bytes: Batch::SIZE_BYTES_MAX,
            input: None,
            places: Arc::default(),
            files: None,
            read: Read::default(),
            through,
            begun: now,
            stored_at: now,
            trouble: None,
            hindrance: None,
            beat: Beat::begin(now),
            host_delay_micros: 0,
            was_at_end: false,
            taken: Vec::new(),
            status: Status { through, ..Status::new(state) },
            source,
        }
    }

    /// As much is read at once, about.
    pub fn batch_size_bytes(&self) -> usize {
        self.batch_size_bytes
    }

    /// Lets it read less at once, from the next time on that it begins to read or reads again.
    pub fn set_batch_size_bytes(&mut self, size_bytes: usize) {
        self.batch_size_bytes = size_bytes.min(Batch::SIZE_BYTES_MAX);
    }

    /// Where the files are of a source that reads none of this machine.
    pub fn set_files(&mut self, files: OpenFiles) {
        self.files = Some(files);
    }

    /// Which arrays the namespace has, for a source of arrays.
    pub fn set_places(&mut self, places: Arc<Places>) {
        match &mut self.input {
            Some(Reading::Objects(watch)) => watch.set_places(Arc::clone(&places)),
            Some(Reading::Folder(folder)) => folder.set_places(Arc::clone(&places)),
            Some(Reading::Host(_)) | None => {}
        }
        self.places = places;
    }

    /// What is followed.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Whether this is where it was left: what was stored last.
    pub fn is_at(&self, position: &[u8]) -> bool {
        self.position == position
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Reads what was written. Whether there is more already.
    pub fn read(&mut self, now: Timestamp) -> bool {
        let must_wait = self.trouble.as_ref().is_some_and(|trouble| now < trouble.retry_at);
        if self.source.paused || must_wait {
            return false;
        }
        if self.input.is_none() {
            match self.open() {
                Ok(input) => self.input = Some(input),
                Err(error) => return self.fail(&error, now),
            }
        }
        let input = self.input.as_mut().expect("it was just opened");
        input.set_held_up(self.hindrance.is_some());
        match input.poll(now, &mut self.read.batch) {
            Ok(polled) => self.take_note(polled, now),
            Err(error) => self.fail(&error, now),
        }
    }

    fn open(&self) -> Result<Reading, input::Error> {
        let position = Some(&*self.position);
        let Some(format) = Format::of(self.source.kind) else {
            return Ok(Reading::Host(Box::new(Watch::open(self.settings(), position)?)));
        };
        let settings = object_log::Settings {
            source: self.source.name.clone(),
            path: self.source.path.clone(),
            format,
            target: self.source.target(),
            places: Arc::clone(&self.places),
        };
        if format == Format::CephOpsLog {
            let watch = object_log::Watch::open(settings, position)?;
            return Ok(Reading::Objects(Box::new(watch)));
        }
        let files = match &self.files {
            Some(open) => open(),
            None if self.source.path.starts_with("s3://") => {
                let why = "logs in a bucket are read by the server; here, name a folder";
                return Err(input::Error::new(input::ErrorKind::Name, &self.source.path, why));
            }
            None => Box::new(OnDisk::new(Path::new(&*self.source.path))),
        };
        let interval_seconds = self.source.interval_seconds.unwrap_or(LOOK_SECONDS);
        let folder = Folder::open(settings, files, interval_seconds, position)?;
        Ok(Reading::Folder(Box::new(folder)))
    }

    fn settings(&self) -> Settings {
        let own = self.source.host().cloned();
        let aliases = self.aliases.iter().filter_map(|alias| HostName::parse(alias).ok());
        Settings {
            source: self.source.name.clone(),
            path: self.source.path.clone(),
            target: self.source.target(),
            names: own.into_iter().chain(aliases.map(|(name, _)| name)).collect(),
            zone: TimeZone::get(&self.source.zone).unwrap_or(TimeZone::UTC),
            start: Start::Oldest,
            batch_size_bytes: self.batch_size_bytes,
        }
    }

    fn take_note(&mut self, polled: Polled, now: Timestamp) -> bool {
        self.read.lines += polled.lines;
        self.read.is_next_file |= polled.next_file;
        self.read.since = self.read.since.or(polled.since);
        self.beat.lines += polled.lines;
        self.status.lines += polled.lines;
        self.status.behind_bytes = polled.behind_bytes;
        if let Some(latest) = polled.latest {
            if polled.at_end && self.was_at_end {
                self.beat.see_delay(now.micros() - latest.micros());
            }
            // Lines of one log are in order but for what its threads write at once.
            self.read.through = self.read.through.max(Some(latest.plus_seconds(-1).min(now)));
        }
        if let Some(hindrance) = &self.hindrance {
            let lost = self.read.batch.coverage.iter_mut().filter(|gap| gap.source.is_some());
            for gap in lost.filter(|gap| !gap.cause.ends_with(&**hindrance)) {
                gap.cause = format!("{}; {hindrance}", gap.cause).into();
            }
        }
        // What was written before the end of a loss is known, or known to be lost. Were that said of less,
        // what comes next would say of the rest of the loss that it was watched.
        let losses = self.read.batch.coverage.iter().filter(|gap| gap.source.is_some());
        let lost_through = losses.filter_map(|gap| gap.to).max();
        self.read.through = self.read.through.max(lost_through.map(|to| to.min(now)));
        if let Some(error) = &polled.trouble {
            return self.fail(error, now);
        }
        self.trouble = None;
        self.status.message = self.input.as_ref().and_then(Reading::note);
        self.status.state = if polled.at_end { State::Following } else { State::CatchingUp };
        if polled.at_end {
            // By the clock of what it reads: what that will call an instant before ours may come yet.
            let behind_micros = self.beat.delay_micros.unwrap_or(self.host_delay_micros).max(0);
            self.read.through = self.read.through.max(Some(now.plus_micros(-behind_micros)));
        }
        if polled.at_end {
            self.hindrance = None;
        }
        self.was_at_end = polled.at_end;
        polled.more
    }

    /// Takes note of why nothing can be read; there is nothing more to read, then.
    fn fail(&mut self, error: &input::Error, now: Timestamp) -> bool {
        let state = match error.kind() {
            input::ErrorKind::Absent => State::Waiting,
            _ => State::Failed,
        };
        self.trouble(state, error.told(), now);
        false
    }

    fn trouble(&mut self, state: State, message: Text, now: Timestamp) {
        // A log has no name for a moment at each rotation, and to look for it costs a `stat`.
        let wait_seconds = if state == State::Waiting { 0 } else { RETRY_SECONDS };
        let retry_at = now.plus_seconds(wait_seconds);
        let before = self.trouble.take();
        let (since, is_told) = before.map_or((now, false), |t| (t.since, t.is_told));
        self.status.state = state;
        self.status.message = Some(message.clone());
        self.was_at_end = false;
        self.trouble = Some(Trouble { message, since, retry_at, is_told });
    }

    /// What is to be stored now, if anything is.
    pub fn take_advance(
        &mut self,
        now: Timestamp,
        clock_state: fn() -> ClockState,
    ) -> Option<Advance> {
        if self.source.paused {
            return None;
        }
        let gap = self.new_gap(now);
        let Batch { accesses, coverage, quarantine, .. } = &self.read.batch;
        let has_records =
            !accesses.is_empty() || !coverage.is_empty() || !quarantine.is_empty() || gap.is_some();
        let is_stale = self.stored_at.plus_seconds(STALE_SECONDS) <= now
            && (self.read.lines > 0 || self.read.through > self.through);
        let beats = self.beat.at.plus_seconds(HEARTBEAT_SECONDS) <= now;
        if !has_records && !is_stale && !beats {
            return None;
        }
        let heartbeat = beats.then(|| self.heartbeat(now, clock_state()));
        let position = match &self.input {
            Some(input) => input.position(),
            None => self.position.clone(),
        };
        let Read { batch, is_next_file, lines, through, since } = std::mem::take(&mut self.read);
        self.taken = batch.unknown_ids;
        Some(Advance {
            source: self.source.clone(),
            after: self.position.clone(),
            position,
            is_next_file,
            since: Some(since.unwrap_or(self.begun)),
            accesses: batch.accesses,
            coverage: batch.coverage.into_iter().chain(gap).collect(),
            quarantine: batch.quarantine,
            heartbeat,
            through: through.max(self.through),
            lines,
            doubt: Format::of(self.source.kind).map(|_| DOUBT.into()),
        })
    }

    /// What it does not see is a gap once that lasts; told once.
    fn new_gap(&mut self, now: Timestamp) -> Option<Coverage> {
        let trouble = self.trouble.as_mut()?;
        if trouble.is_told || now < trouble.since.plus_seconds(SILENCE_SECONDS) {
            return None;
        }
        trouble.is_told = true;
        let from = self.through.unwrap_or(self.begun);
        Some(Coverage::unseen(&self.source, trouble.message.clone(), from))
    }

    fn heartbeat(&mut self, now: Timestamp, clock: ClockState) -> Heartbeat {
        let Beat { lines, events, delay_micros, .. } =
            std::mem::replace(&mut self.beat, Beat::begin(now));
        self.host_delay_micros = delay_micros.unwrap_or(self.host_delay_micros);
        Heartbeat {
            source: self.source.name.clone(),
            target: self.source.target(),
            at: now,
            through: self.read.through.max(self.through),
            lines,
            events,
            behind_bytes: self.status.behind_bytes,
            delay_micros,
            clock,
        }
    }

    /// What [`Following::take_advance`] gave is durable; so many of its events are new.
    pub fn stored(&mut self, place: Place, events: u64, now: Timestamp) {
        self.position = place.position;
        self.through = place.through;
        self.status.through = place.through;
        self.stored_at = now;
        self.beat.events += events;
        self.status.events += events;
        self.taken.drain(..).for_each(|unknown| self.status.unknown_ids.add(unknown));
    }

    /// It is not, for this reason, and is read again.
    pub fn not_stored(&mut self, why: Text, now: Timestamp) {
        self.input = None;
        self.read = Read::default();
        self.taken.clear();
        self.trouble(State::Failed, why, now);
    }

    /// Nothing is to be read now, for this reason, since there is no room to store it. What is lost
    /// meanwhile is said to be lost for it.
    pub fn hinder(&mut self, why: &Text, now: Timestamp) {
        if !self.source.paused {
            self.hindrance = Some(why.clone());
            self.trouble(State::Failed, why.clone(), now);
        }
    }
}

impl Reading {
    fn set_held_up(&mut self, is_held_up: bool) {
        match self {
            Reading::Host(watch) => watch.set_held_up(is_held_up),
            Reading::Objects(watch) => watch.set_held_up(is_held_up),
            Reading::Folder(_) => {}
        }
    }

    fn poll(&mut self, now: Timestamp, out: &mut Batch) -> Result<Polled, input::Error> {
        match self {
            Reading::Host(watch) => watch.poll(now, out),
            Reading::Objects(watch) => Ok(watch.poll(now, out)),
            Reading::Folder(folder) => Ok(folder.poll(now, out)),
        }
    }

    fn note(&self) -> Option<Text> {
        match self {
            Reading::Host(_) => None,
            Reading::Objects(watch) => watch.note(),
            Reading::Folder(folder) => folder.note(),
        }
    }

    fn position(&self) -> Vec<u8> {
        match self {
            Reading::Host(watch) => watch.position(),
            Reading::Objects(watch) => watch.position(),
            Reading::Folder(folder) => folder.position(),
        }
    }
}

impl Beat {
    fn begin(at: Timestamp) -> Beat {
        Beat { at, lines: 0, events: 0, delay_micros: None }
    }

    /// The least delay is the one that our own way of looking adds least to.
    fn see_delay(&mut self, delay_micros: i64) {
        let least = self.delay_micros.unwrap_or(i64::MAX).min(delay_micros);
        self.delay_micros = Some(least);
    }
}
