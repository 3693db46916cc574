//! [`Received`]: one source whose lines are sent to us, with what was read and is not stored yet.

use doorbook_event::record::{ClockState, Coverage, Grade, Heartbeat, Hidden};
use doorbook_event::registry::Registry;
use doorbook_event::source::Source;
use doorbook_event::unknown::UnknownIds;
use doorbook_event::{HostName, Text, Timestamp};
use doorbook_source::mongod::{self, FileHints, Interpreter, LinePlace};
use doorbook_source::{Batch, Cut, Labels, input};
use doorbook_store::coverage::Progress;
use doorbook_store::{Advance, Advanced};
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use super::position::{Learnt, Position, StreamKey};
use super::{Counts, DOUBT};
use crate::sources::{State, Status};

/// How often a source's heartbeat is recorded.
const HEARTBEAT_SECONDS: i64 = 60;

/// A source whose lines are sent to us.
pub(super) struct Received {
    pub(super) source: Source,
    /// The names by which its host may call itself.
    names: Vec<HostName>,
    /// Where the store has it.
    stored: Vec<u8>,
    through: Option<Timestamp>,
    /// Where it is now.
    position: Position,
    /// Whether that is more than what is stored.
    has_learnt: bool,
    /// None before its first line.
    interpreter: Option<Interpreter>,
    /// What was read and not stored yet.
    batch: Batch,
    lines: u64,
    /// Events of lines among them that came before.
    repeated_events: u64,
    beat: Beat,
    /// Since the process began.
    totals: Counts,
    unknown_ids: UnknownIds,
    has_lines: bool,
}

/// What the next heartbeat says.
struct Beat {
    at: Timestamp,
    lines: u64,
    events: u64,
    delay_micros: Option<i64>,
}

impl Received {
    pub(super) fn new(
        source: Source,
        registry: &Registry,
        progress: Option<&Progress>,
        now: Timestamp,
    ) -> Received {
        let stored = progress.map(|progress| progress.position.clone()).unwrap_or_default();
        Received {
            names: names_of(&source, registry),
            position: Position::read(&stored),
            stored,
            has_learnt: false,
            through: progress.and_then(|progress| progress.through),
            interpreter: None,
            batch: Batch::default(),
            lines: 0,
            repeated_events: 0,
            beat: Beat { at: now, lines: 0, events: 0, delay_micros: None },
            totals: Counts::default(),
            unknown_ids: UnknownIds::default(),
            has_lines: progress.is_some_and(|progress| progress.lines > 0),
            source,
        }
    }

    /// Becomes what the registry has now; `false` if that is a source of another log.
    pub(super) fn keep(
        &mut self,
        source: &Source,
        registry: &Registry,
        has_changed: &mut bool,
    ) -> bool {
        let names = names_of(source, registry);
        *has_changed |= self.source != *source || self.names != names;
        let is_same = (source.kind, &source.subject, &source.zone)
            == (self.source.kind, &self.source.subject, &self.source.zone);
        self.source = source.clone();
        self.names = names;
        is_same
    }

    /// Whether all rules hold.
    pub(super) fn fits(&self, labels: &Labels) -> bool {
        labels.fit(&self.source.rules)
    }

    /// Whether a stream that names its host may be this one's.
    pub(super) fn is_own(&self, host: &HostName) -> bool {
        mongod::is_known(&self.names, host)
    }

    /// What is known of a stream since before a restart.
    pub(super) fn learnt(&self, key: &StreamKey) -> Option<&Learnt> {
        self.position.get(key)
    }

    /// Remembers what a stream says of itself.
    pub(super) fn learn(&mut self, key: StreamKey, learnt: &Learnt) {
        self.has_learnt |= self.position.set(key, learnt);
    }

    /// Where the store has it now, if someone else has brought it there.
    pub(super) fn is_at(&self, position: &[u8]) -> bool {
        self.stored == position
    }

    pub(super) fn go_to(&mut self, progress: Option<&Progress>) {
        self.stored = progress.map(|progress| progress.position.clone()).unwrap_or_default();
        self.through = progress.and_then(|progress| progress.through);
        self.position.join(&Position::read(&self.stored));
    }

    /// Reads a line, without its transport's wrapping. Whether it told an event.
    pub(super) fn line(
        &mut self,
        door: &Text,
        line: &[u8],
        cut: Option<Cut>,
        now: Timestamp,
    ) -> bool {
        let Received { interpreter, source, batch, position, .. } = self;
        let interpreter = interpreter.get_or_insert_with(|| {
            let zone = TimeZone::get(&source.zone).unwrap_or(TimeZone::UTC);
            let settings = mongod::Settings { target: source.target(), zone };
            let mut interpreter = Interpreter::new(settings);
            let hints =
                FileHints { name: door.clone(), rotation_suffix: None, modified: Some(now) };
            interpreter.begin_file(hints, false, &mut Batch::default());
            interpreter.resume_gaps(&position.open);
            interpreter
        });
        self.lines += 1;
        let before = batch.accesses.len();
        let place = LinePlace::default();
        match cut {
            Some(Cut::Unfinished) => interpreter.cut_line(line, place, batch),
            Some(Cut::TooLong { length_bytes, sha256 }) => {
                interpreter.oversized(line, length_bytes, sha256, place, batch);
            }
            None if line.len() <= input::LINE_BYTES_MAX => interpreter.line(line, place, batch),
            None => {
                let sha256 = Sha256::digest(line).into();
                let head = &line[..input::LINE_BYTES_MAX];
                interpreter.oversized(head, line.len() as u64, sha256, place, batch);
            }
        }
        batch.accesses.len() > before
    }

    /// A line came again that told an event, or did not.
    pub(super) fn repeated(&mut self, is_event: bool) {
        self.lines += 1;
        self.repeated_events += u64::from(is_event);
    }

    /// What is to be stored now, if anything is. It stays here until that is durable.
    pub(super) fn advance(
        &mut self,
        now: Timestamp,
        is_replay: bool,
        clock: Option<ClockState>,
    ) -> Option<Advance> {
        let beats = self.beat.at.plus_seconds(HEARTBEAT_SECONDS) <= now;
        let clock = clock.filter(|_| beats && !self.source.paused);
        if self.lines == 0 && clock.is_none() && !self.has_learnt {
            return None;
        }
        if let Some(interpreter) = &mut self.interpreter {
            // Nothing may be acknowledged that waits for its rest in memory.
            interpreter.give_up(&mut self.batch);
            interpreter.tell_gaps(&mut self.position.open, &mut self.batch);
            interpreter.tell_unknown_ids(&mut self.batch);
        }
        let position = self.position.bytes();
        let Batch { accesses, coverage, quarantine, earliest, latest, .. } = self.batch.clone();
        let replayed = earliest.zip(latest.map(|latest| latest.min(now))).filter(|_| is_replay);
        let replayed = replayed.map(|(from, to)| self.seen(from.min(to), to));
        // Lines of one log are in order but for what its threads write at once.
        let latest = latest.map(|latest| latest.plus_seconds(-1).min(now));
        let through = if is_replay { self.through } else { self.through.max(latest) };
        if let Some(latest) = self.batch.latest.filter(|_| !is_replay) {
            let delay_micros = now.micros() - latest.micros();
            self.beat.delay_micros =
                Some(self.beat.delay_micros.map_or(delay_micros, |least| least.min(delay_micros)));
        }
        Some(Advance {
            source: self.source.clone(),
            after: self.stored.clone(),
            position,
            // Equal lines of one request are as many events, those of the next one the same events.
            is_next_file: true,
            since: earliest.map(|earliest| earliest.min(now)),
            accesses,
            coverage: coverage.into_iter().chain(replayed).collect(),
            quarantine,
            heartbeat: clock.map(|clock| self.heartbeat(now, through, clock)),
            through,
            lines: self.lines,
            doubt: Some(DOUBT.into()),
        })
    }

    /// What waited and was read later was seen, as well as anything that is sent to us.
    fn seen(&self, from: Timestamp, to: Timestamp) -> Coverage {
        Coverage {
            target: self.source.target(),
            actions: self.source.kind.actions().to_vec(),
            hidden: Hidden::All,
            cause: DOUBT.into(),
            actor: None,
            from,
            to: Some(to),
            last_seen: to,
            source: Some(self.source.name.clone()),
            grade: Grade::BestEffort,
            missing: None,
        }
    }

    fn heartbeat(
        &self,
        now: Timestamp,
        through: Option<Timestamp>,
        clock: ClockState,
    ) -> Heartbeat {
        Heartbeat {
            source: self.source.name.clone(),
            target: self.source.target(),
            at: now,
            through,
            lines: self.beat.lines + self.lines,
            events: self.beat.events,
            behind_bytes: 0,
            delay_micros: self.beat.delay_micros,
            clock,
        }
    }

    /// What [`Received::advance`] gave is durable.
    pub(super) fn stored(
        &mut self,
        advance: &Place,
        advanced: &Advanced,
        now: Timestamp,
    ) -> Counts {
        self.stored.clone_from(&advance.position);
        self.through = advance.through;
        let unknown_ids = std::mem::take(&mut self.batch).unknown_ids;
        unknown_ids.into_iter().for_each(|unknown| self.unknown_ids.add(unknown));
        self.has_learnt = false;
        let repeated_events = std::mem::take(&mut self.repeated_events);
        let lines = std::mem::take(&mut self.lines);
        let counts = Counts {
            stored: advanced.events,
            duplicates: advanced.duplicates + repeated_events,
            expired: advanced.expired,
            quarantined: advanced.quarantined,
            ignored: 0,
        };
        let told = counts.stored + counts.duplicates + counts.expired + counts.quarantined;
        let counts = Counts { ignored: lines.saturating_sub(told), ..counts };
        self.has_lines |= lines > 0;
        self.beat = match advance.is_beat {
            true => Beat { at: now, lines: 0, events: advanced.events, delay_micros: None },
            false => Beat {
                lines: self.beat.lines + lines,
                events: self.beat.events + advanced.events,
                ..self.beat
            },
        };
        self.totals.add(&counts);
        counts
    }

    pub(super) fn status(&self) -> Status {
        let state = match (self.source.paused, self.has_lines) {
            (true, _) => State::Paused,
            (false, true) => State::Following,
            (false, false) => State::Waiting,
        };
        let Counts { stored, duplicates, expired, quarantined, ignored } = self.totals;
        Status {
            state,
            message: (state == State::Waiting).then(|| "no line came yet".into()),
            through: self.through,
            behind_bytes: 0,
            lines: stored + duplicates + expired + quarantined + ignored,
            events: stored,
            unknown_ids: self.unknown_ids.clone(),
        }
    }
}

/// The names by which a source's host may call itself.
fn names_of(source: &Source, registry: &Registry) -> Vec<HostName> {
    let aliases = registry.aliases_of(source);
    let aliases = aliases.filter_map(|alias| HostName::parse(alias).ok());
    source.host().cloned().into_iter().chain(aliases.map(|(name, _)| name)).collect()
}

/// Where a source is once an advance is stored.
pub(super) struct Place {
    position: Vec<u8>,
    through: Option<Timestamp>,
    is_beat: bool,
}

impl Place {
    pub(super) fn after(advance: &Advance) -> Place {
        Place {
            position: advance.position.clone(),
            through: advance.through,
            is_beat: advance.heartbeat.is_some(),
        }
    }
}
