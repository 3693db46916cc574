//! [`Router`]: lines that are sent to us find the host that they are of.
//!
//! A receiver (raw lines by HTTP, syslog) makes [`Arrival`]s of what it is sent and hands them to
//! [`Router::take`]; when that returns, all of them are durable, and the receiver may say so. Which host
//! a line is of is decided by the rules of the registry's sources over the line's labels: exactly one
//! source must fit. What fits none, or several, waits in quarantine under its name; it is never guessed.
//! See `docs/design/routing.md`.
//!
//! Suggested reading order: this file, `streams` (lines that come from one place), `received` (one
//! source), `position` (what is remembered of it), [`unrouted`] (what waits), `beat` (while nothing comes).

mod beat;
mod position;
mod received;
mod streams;
#[cfg(test)]
mod tests;
pub mod unrouted;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use doorbook_event::record::{ClockState, Quarantine};
use doorbook_event::source::{Source, Way};
use doorbook_event::{Clock, ProjectId, Scope, Text, Timestamp};
use doorbook_source::wrapping::Unwrapped;
use doorbook_source::{Arrival, Labels, mongod};
use doorbook_store::{
    Advanced, Catalog, Error, ErrorKind, Ingest, IngestLine, LineResult, Store, Watched,
};

pub use beat::Beats;

use crate::sources::{Board, Reader};
use position::StreamKey;
use received::{Place, Received};
use streams::{Choice, LineHash, Streams};

/// Why what a received source saw is best effort.
pub const DOUBT: &str = "lines are sent to us";

/// What a router needs.
#[derive(Clone)]
pub struct Tools {
    /// Where the rules are, and where what lines say goes.
    pub store: Store,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
}

/// Where lines came in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Door {
    /// Which receiver, or whose key.
    pub name: Text,
    /// What [`Arrival::received`] is, so that it can be read again.
    pub form: Form,
    /// Whose history it is: only hosts of this project can be meant.
    pub project: ProjectId,
}

/// What an arrival is, as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// A raw line with labels, by HTTP.
    Lines,
    /// A message of syslog.
    Syslog,
}

/// What became of lines that were taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Of those that found their host, by the name of its source.
    pub sources: BTreeMap<Text, Counts>,
    /// Lines that wait because no source fits, or several do, by the name under which they wait.
    pub unrouted: BTreeMap<Text, u64>,
    /// Lines of unknown hosts that can never become a record, nor say anything of one.
    pub ignored: u64,
}

/// What became of the lines of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were new.
    pub stored: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// Events that are older than their project keeps any.
    pub expired: u64,
    /// Lines that could not be read and were put aside.
    pub quarantined: u64,
    /// Lines that are no record.
    pub ignored: u64,
}

/// Where a line went.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It was read as a line of this source.
    Read(Text),
    /// No source is its, or more than one; why.
    Waits(Text),
    /// It waits for nothing: it can never become a record.
    Nothing,
}

/// Hands lines to the sources whose rules they fit. Cheap to clone; every method may be called from any
/// thread and blocks.
#[derive(Clone)]
pub struct Router {
    tools: Tools,
    is_replay: bool,
    board: Arc<OnceLock<Board>>,
    state: Arc<Mutex<State>>,
}

/// What is kept from one call to the next.
#[derive(Default)]
struct State {
    catalog: Option<Arc<Catalog>>,
    watched: Option<Arc<Watched>>,
    sources: BTreeMap<Text, Received>,
    /// Labels that any rule names.
    ruled: BTreeSet<Text>,
    streams: Streams,
}

impl Router {
    /// A router that has seen nothing.
    pub fn new(tools: Tools) -> Router {
        Router { tools, is_replay: false, board: Arc::default(), state: Arc::default() }
    }

    /// One for lines that came earlier: what they say is stored, and what is known of the lines that
    /// come meanwhile is left alone.
    pub fn for_replay(tools: Tools) -> Router {
        Router { is_replay: true, ..Router::new(tools) }
    }

    /// Says where it is shown how sources are. Only the first one is asked.
    pub fn set_board(&self, board: Board) {
        let _the_first_one_stays = self.board.set(board);
    }

    /// Takes lines in the order in which they were written. When it returns, all of them are durable;
    /// after an error, none of them is to be acknowledged, and the same lines may be handed in again:
    /// a line that comes again in a later call is the same line, and of syslog in the same call, too.
    pub fn take(&self, door: &Door, arrivals: &[Arrival]) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        let mut waiting = Vec::new();
        let mut state = self.state()?;
        state.renew(&self.tools);
        // What an earlier call could not store must not grow.
        self.save(&mut state, None)?;
        for (fate, arrival) in state.read(door, arrivals, &self.tools).into_iter().zip(arrivals) {
            match fate {
                Fate::Read(_) => {}
                Fate::Nothing => taken.ignored += 1,
                Fate::Waits(reason) => {
                    let learnt = state.learnt(door, &arrival.labels);
                    let bytes = unrouted::put_aside(door, arrival, &learnt, reason);
                    *taken.unrouted.entry(unrouted::name_of_row(&bytes)).or_default() += 1;
                    waiting.push(bytes);
                }
            }
        }
        taken.sources = self.save(&mut state, None)?;
        drop(state);
        self.put_aside(door, waiting)?;
        Ok(taken)
    }

    /// Takes lines that waited, in the order in which they came, and says where each went. With
    /// `is_trial` nothing is stored. What still has no host is left where it is.
    pub fn take_again(
        &self,
        door: &Door,
        arrivals: &[Arrival],
        is_trial: bool,
    ) -> Result<(Vec<Fate>, BTreeMap<Text, Counts>), Error> {
        let mut state = self.state()?;
        state.renew(&self.tools);
        let fates = state.read(door, arrivals, &self.tools);
        let counts = match is_trial {
            true => BTreeMap::new(),
            false => self.save(&mut state, None)?,
        };
        Ok((fates, counts))
    }

    /// Tells that sources are alive while nothing comes.
    pub fn beat(&self, clock: ClockState) -> Result<(), Error> {
        let mut state = self.state()?;
        state.renew(&self.tools);
        let saved = self.save(&mut state, Some(clock));
        if let Some(board) = self.board.get() {
            let received = state.sources.iter();
            let received = received.map(|(name, it)| (name.clone(), it.status()));
            board.set(Reader::Received, received.collect());
        }
        saved.map(drop)
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, Error> {
        let ended = |_| Error::new(ErrorKind::Poisoned, "routing ended in a bug: restart");
        self.state.lock().map_err(ended)
    }

    /// Stores what was read of each source, each together with where it is.
    fn save(
        &self,
        state: &mut State,
        clock: Option<ClockState>,
    ) -> Result<BTreeMap<Text, Counts>, Error> {
        let mut all: BTreeMap<Text, Counts> = BTreeMap::new();
        for n_tries in 0.. {
            let now = self.tools.clock.now();
            let received = state.sources.values_mut();
            let advances: Vec<_> = received
                .filter_map(|received| received.advance(now, self.is_replay, clock))
                .collect();
            if advances.is_empty() {
                break;
            }
            let places: Vec<(Text, Place)> = advances
                .iter()
                .map(|advance| (advance.source.name.clone(), Place::after(advance)))
                .collect();
            let answers = self.tools.store.advance(advances);
            let mut failure = None;
            for ((name, place), answer) in places.into_iter().zip(answers) {
                match answer {
                    Ok(advanced) => {
                        state.stored(&name, &place, &advanced, now, &mut all);
                        let received = state.sources.get(&name);
                        if let (Some(board), Some(received)) = (self.board.get(), received) {
                            board.note(Reader::Received, name, received.status());
                        }
                    }
                    Err(error) => failure = Some(self.not_stored(state, &name, error, n_tries)?),
                }
            }
            if failure.is_none() {
                break;
            }
        }
        Ok(all)
    }

    /// What is to be done about what could not be stored: to try again, if someone else brought the
    /// source further, a replay for one.
    fn not_stored(
        &self,
        state: &mut State,
        name: &Text,
        error: Error,
        n_tries: u32,
    ) -> Result<(), Error> {
        const TRIES_MAX: u32 = 8;
        match error.kind {
            ErrorKind::Exists if n_tries < TRIES_MAX => {
                let watched = self.tools.store.watched();
                if let Some(received) = state.sources.get_mut(name) {
                    received.go_to(watched.sources.get(name));
                }
                Ok(())
            }
            // Its lines come again, and find whose they are now.
            ErrorKind::Exists | ErrorKind::Missing => {
                state.sources.remove(name);
                state.catalog = None;
                Err(Error::new(ErrorKind::Busy, format!("source {name} was changed meanwhile")))
            }
            _ => Err(error),
        }
    }

    /// Keeps lines whose host is not known. One that is there already is not kept again.
    pub(crate) fn put_aside(&self, door: &Door, mut waiting: Vec<Quarantine>) -> Result<(), Error> {
        // What one durable write should be at most.
        const LINES_MAX: usize = 1000;
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(LINES_MAX));
            let lines = std::mem::replace(&mut waiting, rest).into_iter();
            let lines = lines.map(|line| IngestLine::Unreadable(Box::new(line))).collect();
            let (scope, source) = (Scope::Project(door.project), door.name.clone());
            let ingested = self.tools.store.ingest(Ingest { scope, source, key: None, lines })?;
            debug_assert!(!ingested.lines.contains(&LineResult::Expired));
        }
        Ok(())
    }
}

impl State {
    /// Looks what the registry has now, and whether someone else brought a source further.
    fn renew(&mut self, tools: &Tools) {
        let catalog = tools.store.catalog();
        let watched = tools.store.watched();
        let is_same_catalog = self.catalog.as_ref().is_some_and(|old| Arc::ptr_eq(old, &catalog));
        let is_same_watched = self.watched.as_ref().is_some_and(|old| Arc::ptr_eq(old, &watched));
        if is_same_catalog && is_same_watched {
            return;
        }
        let mut has_changed = false;
        if !is_same_catalog {
            let registry = &catalog.registry;
            let before = self.sources.len();
            self.sources.retain(|name, received| {
                let source = registry.source(name).filter(|it| it.way() == Way::Received);
                source.is_some_and(|source| received.keep(source, registry, &mut has_changed))
            });
            has_changed |= self.sources.len() != before;
            let received = |source: &&Source| source.way() == Way::Received;
            for source in registry.sources().filter(received) {
                if !self.sources.contains_key(&source.name) {
                    has_changed = true;
                    let progress = watched.sources.get(&source.name);
                    let now = tools.clock.now();
                    let received = Received::new(source.clone(), registry, progress, now);
                    self.sources.insert(source.name.clone(), received);
                }
            }
        }
        for (name, received) in &mut self.sources {
            let progress = watched.sources.get(name);
            if !received.is_at(progress.map_or(&[], |progress| &progress.position)) {
                received.go_to(progress);
                has_changed = true;
            }
        }
        if has_changed {
            let rules = self.sources.values().flat_map(|received| &received.source.rules);
            self.ruled = rules.map(|rule| rule.label.clone()).collect();
            self.streams.forget_choices();
        }
        self.catalog = Some(catalog);
        self.watched = Some(watched);
    }

    /// Reads lines as those of their sources, as far as they have one.
    fn read(&mut self, door: &Door, arrivals: &[Arrival], tools: &Tools) -> Vec<Fate> {
        let now = tools.clock.now();
        let mut new_lines: Vec<(LineHash, bool)> = Vec::new();
        let mut fates = Vec::with_capacity(arrivals.len());
        for arrival in arrivals {
            let key = streams::key(door, &arrival.labels, &self.ruled);
            self.complete(key);
            let hash = streams::line_hash(&key, &arrival.line);
            // A line that comes again after its beginning is no repetition of that.
            let seen = self.streams.seen(&hash).filter(|_| arrival.cut.is_none());
            let fate = match seen {
                Some(is_event) => self.repeated(door, key, &arrival.labels, is_event),
                None => None,
            };
            let fate = fate.unwrap_or_else(|| {
                let (fate, is_event) = self.line(door, key, arrival, now);
                if matches!(fate, Fate::Read(_)) && arrival.cut.is_none() {
                    match door.form {
                        // Equal lines of one request are as many lines.
                        Form::Lines => new_lines.push((hash, is_event)),
                        // What comes in one call is chance here: what a sender is not sure of it sends
                        // again on its next connection, and both may be read at once.
                        Form::Syslog => self.streams.remember([(hash, is_event)]),
                    }
                }
                fate
            });
            fates.push(fate);
        }
        self.streams.remember(new_lines);
        fates
    }

    /// What a stream said of itself before a restart, or among lines that were routed later.
    fn complete(&mut self, key: StreamKey) {
        let stream = self.streams.get(key);
        if !std::mem::replace(&mut stream.is_complete, true) {
            let known = self.sources.values().find_map(|received| received.learnt(&key));
            stream.learnt.complete(known.cloned().unwrap_or_default());
        }
    }

    /// A line that was read in an earlier call.
    fn repeated(
        &mut self,
        door: &Door,
        key: StreamKey,
        labels: &Labels,
        is_event: bool,
    ) -> Option<Fate> {
        let Choice::Source(name) = self.choice(door, key, labels) else { return None };
        self.sources.get_mut(&name)?.repeated(is_event);
        Some(Fate::Read(name))
    }

    /// Where a line goes, and whether it told an event.
    fn line(
        &mut self,
        door: &Door,
        key: StreamKey,
        arrival: &Arrival,
        now: Timestamp,
    ) -> (Fate, bool) {
        let mut fate = Fate::Nothing;
        let mut is_event = false;
        // Where a shipper joined lines, or sends more than one.
        for line in arrival.line.split(|byte| *byte == b'\n') {
            let (of_line, told) = self.physical_line(door, key, arrival, line, now);
            is_event |= told;
            if fate == Fate::Nothing || matches!(of_line, Fate::Waits(_)) {
                fate = of_line;
            }
        }
        (fate, is_event)
    }

    fn physical_line(
        &mut self,
        door: &Door,
        key: StreamKey,
        arrival: &Arrival,
        line: &[u8],
        now: Timestamp,
    ) -> (Fate, bool) {
        let Arrival { labels, cut, .. } = arrival;
        // Lent, so that a line can stand in it while everything else changes.
        let mut unwrapper = std::mem::take(&mut self.streams.get(key).unwrapper);
        let unwrapped = unwrapper.unwrap(line);
        let (bytes, is_part) = match unwrapped {
            Unwrapped::Line(bytes) => (bytes, false),
            Unwrapped::Partial => (line, true),
            Unwrapped::Skip => (&[][..], false),
        };
        if !is_part && self.streams.get(key).learnt.line(bytes) {
            self.streams.get(key).choice = None;
        }
        let found = match self.choice(door, key, labels) {
            Choice::Source(name) => {
                let learnt = self.streams.get(key).learnt.clone();
                let told = self.sources.get_mut(&name).is_some_and(|received| {
                    received.learn(key, &learnt);
                    match is_part || bytes.is_empty() {
                        true => {
                            received.repeated(false);
                            false
                        }
                        false => received.line(&door.name, bytes, *cut, now),
                    }
                });
                (Fate::Read(name), told)
            }
            Choice::Nowhere(reason) => {
                let stream = self.streams.get(key);
                let may_matter = is_part || mongod::may_matter(bytes);
                // A record of text may go on in the next line.
                let is_rest = stream.was_text && !bytes.is_empty() && bytes[0] != b'{';
                let is_kept = may_matter || is_rest;
                stream.was_text = is_kept && bytes.first() != Some(&b'{');
                (if is_kept { Fate::Waits(reason) } else { Fate::Nothing }, false)
            }
        };
        self.streams.get(key).unwrapper = unwrapper;
        found
    }

    /// Which source a stream's lines are of.
    fn choice(&mut self, door: &Door, key: StreamKey, labels: &Labels) -> Choice {
        if let Some(choice) = &self.streams.get(key).choice {
            return choice.clone();
        }
        let learnt = self.streams.get(key).learnt.clone();
        let mut labels = labels.clone();
        learnt.label(&mut labels);
        let of_project = |received: &&Received| received.source.project() == Some(door.project);
        let fitting: Vec<&Received> =
            self.sources.values().filter(of_project).filter(|it| it.fits(&labels)).collect();
        let choice = match fitting[..] {
            [] => Choice::Nowhere(unrouted::no_source(&labels)),
            [one] if one.source.paused => Choice::Nowhere(unrouted::paused(&one.source.name)),
            [one] => match learnt.host().filter(|host| !one.is_own(host)) {
                Some(host) => Choice::Nowhere(unrouted::foreign(&one.source.name, &host)),
                None => Choice::Source(one.source.name.clone()),
            },
            _ => {
                let names: Vec<&str> = fitting.iter().map(|it| &*it.source.name).take(8).collect();
                Choice::Nowhere(unrouted::several_sources(&names, &labels))
            }
        };
        // What says whose log it is must outlive a restart, too.
        if let [one] = fitting[..] {
            let name = one.source.name.clone();
            if let Some(received) = self.sources.get_mut(&name) {
                received.learn(key, &learnt);
            }
        }
        self.streams.get(key).choice = Some(choice.clone());
        choice
    }

    fn learnt(&mut self, door: &Door, labels: &Labels) -> position::Learnt {
        let key = streams::key(door, labels, &self.ruled);
        self.streams.get(key).learnt.clone()
    }

    fn stored(
        &mut self,
        name: &Text,
        place: &Place,
        advanced: &Advanced,
        now: Timestamp,
        all: &mut BTreeMap<Text, Counts>,
    ) {
        let Some(received) = self.sources.get_mut(name) else { return };
        let counts = received.stored(place, advanced, now);
        if counts != Counts::default() {
            all.entry(name.clone()).or_default().add(&counts);
        }
    }
}

impl Taken {
    /// All that found their host.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.sources.values().for_each(|counts| total.add(counts));
        total
    }

    /// Adds what became of further lines.
    pub fn add(&mut self, other: Taken) {
        for (name, counts) in other.sources {
            self.sources.entry(name).or_default().add(&counts);
        }
        for (name, count) in other.unrouted {
            *self.unrouted.entry(name).or_default() += count;
        }
        self.ignored += other.ignored;
    }
}

impl Counts {
    /// Adds what became of further lines.
    pub fn add(&mut self, other: &Counts) {
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.expired += other.expired;
        self.quarantined += other.quarantined;
        self.ignored += other.ignored;
    }
}

impl Form {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Form::Lines => "lines",
            Form::Syslog => "syslog",
        }
    }

    /// What was kept as received, read again.
    pub fn again(self, received: &[u8]) -> Option<Arrival> {
        match self {
            Form::Lines => Some(doorbook_source::labelled::again(received)),
            Form::Syslog => Some(doorbook_source::syslog::again(received)),
        }
    }
}

/// Whether bytes that were put aside wait for their host.
pub fn is_unrouted(bytes: &Quarantine) -> bool {
    unrouted::is_kind(&bytes.target)
}
