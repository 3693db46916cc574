//! Which conditions hold now. Derived from what is stored, at every look anew; a table in
//! `docs/design/alarm.md` has the kinds.

use std::collections::BTreeMap;

use doorbook_event::record::{ClockState, Grade};
use doorbook_event::source::{SourceKind, Subject};
use doorbook_event::{ProjectId, Scope, Target, Text, Timestamp};
use doorbook_store::alarm::{AlarmKind, Alarms, Condition};
use doorbook_store::coverage::Gap;
use doorbook_store::{Dimension, Error, Question, Store};
use sha2::{Digest, Sha256};

use crate::admin::unrouted::{first, waiting};
use crate::counters::ledger::BY_COUNTERS;
use crate::review::deadline;
use crate::routing::DOUBT;
use crate::sources::{State, Status};

/// What ended earlier is history, which alarms nobody.
const RECENT_SECONDS: i64 = 86_400;

/// A target that is known up to then is known well enough to say that a gap of it lasts.
const FRESH_SECONDS: i64 = 3600;

/// Missing logins are told once; when there were no more for so long, that they are over.
const SETTLED_SECONDS: i64 = 600;

/// How long a clock may be unsynchronised, as after a start of the machine.
const CLOCK_SECONDS: i64 = 30;

/// Conditions by the id of their alarm. One with `to` is over.
pub type Conditions = BTreeMap<Text, Condition>;

/// What is missing in the history of projects, by what sources and targets say.
pub fn gaps(store: &Store, alarms: &Alarms, now: Timestamp) -> Conditions {
    let catalog = store.catalog();
    let watched = store.watched();
    let mut found = Conditions::new();
    // Of what is followed, up to when it is known.
    let mut scopes: BTreeMap<Scope, BTreeMap<Target, Option<Timestamp>>> = BTreeMap::new();
    for source in catalog.registry.sources() {
        let through = watched.sources.get(&source.name).and_then(|progress| progress.through);
        let targets = scopes.entry(source.scope()).or_default();
        let known = targets.entry(source.target()).or_default();
        *known = (*known).max(through);
    }
    for (scope, targets) in scopes {
        let actions = match &scope {
            Scope::Namespace(_) => SourceKind::TiledbStorage.actions(),
            Scope::Project(_) | Scope::System => SourceKind::MongodLog.actions(),
        };
        let answer = store.coverage(&Question {
            scope: &scope,
            targets: &targets.keys().cloned().collect::<Vec<_>>(),
            stored: &BTreeMap::new(),
            actions,
            with_successes: true,
            from: now.plus_seconds(-RECENT_SECONDS),
            to: now,
            now,
        });
        // That lines are sent to us, or what an object store writes when it likes, is how it is, and no
        // condition that anyone could mend.
        let is_sent = |gap: &Gap| {
            let is_of_arrays = matches!(gap.target, Target::Array { .. });
            gap.grade == Grade::BestEffort && (is_of_arrays || &*gap.cause == DOUBT)
        };
        let gaps = answer.gaps.into_iter().filter(|gap| !gap.is_unwatched() && !is_sent(gap));
        for gap in join_counted(gaps.collect()) {
            let known = targets.get(&gap.target).copied().flatten();
            for (id, condition) in of_gap(&scope, &gap, now) {
                let is_open = alarms.alarms.get(&id).is_some_and(|alarm| alarm.closed.is_none());
                // Read from an old log, it may end in the next line.
                let is_fresh = known >= Some(now.plus_seconds(-FRESH_SECONDS));
                let lasts = condition.to.is_none() && gap.source.is_none();
                if !lasts || is_fresh || is_open {
                    found.insert(id, condition);
                }
            }
        }
    }
    found
}

/// Makes one gap of what was found by counting, reading after reading.
fn join_counted(gaps: Vec<Gap>) -> Vec<Gap> {
    let (mut counted, mut joined): (Vec<Gap>, Vec<Gap>) = gaps.into_iter().partition(is_counted);
    counted.sort_by(|a, b| (&a.target, &a.cause, a.from).cmp(&(&b.target, &b.cause, b.from)));
    for gap in counted {
        let before = joined.last_mut().filter(|before| {
            let until = before.to.unwrap_or(Timestamp::MAX).plus_seconds(SETTLED_SECONDS);
            is_counted(before)
                && (&before.target, &before.cause) == (&gap.target, &gap.cause)
                && gap.from <= until
        });
        match before {
            None => joined.push(gap),
            Some(before) => {
                before.to = before.to.zip(gap.to).map(|(a, b)| a.max(b));
                before.missing = before.missing.zip(gap.missing).map(|(a, b)| a + b);
            }
        }
    }
    joined
}

fn is_counted(gap: &Gap) -> bool {
    gap.source.is_none() && gap.cause.starts_with(BY_COUNTERS)
}

/// What a gap is: that something is not seen, and that something is missing.
fn of_gap(scope: &Scope, gap: &Gap, now: Timestamp) -> Vec<(Text, Condition)> {
    let (project, cluster, host) = match (scope, &gap.target) {
        (Scope::Project(project), Target::Host { cluster, host }) => {
            (Some(*project), Some(cluster.clone()), host.clone())
        }
        (Scope::Namespace(namespace), _) => (None, None, namespace.clone()),
        _ => return Vec::new(),
    };
    let of_kind = |kind, to| Condition {
        kind,
        project,
        cluster: cluster.clone(),
        host: Some(host.clone()),
        source: gap.source.clone(),
        grade: gap.grade,
        cause: gap.cause.clone(),
        actor: gap.actor.clone(),
        from: gap.from,
        to,
        missing: gap.missing,
        review: None,
    };
    let has_missing = gap.missing.is_some_and(|missing| missing > 0);
    let mut conditions = Vec::new();
    if !is_counted(gap) {
        conditions.push(of_kind(AlarmKind::Gap, gap.to));
    }
    if has_missing || is_counted(gap) {
        let settled = now.plus_seconds(-SETTLED_SECONDS);
        conditions.push(of_kind(AlarmKind::Counters, gap.to.filter(|to| *to < settled)));
    }
    let named = conditions.into_iter().map(|condition| (id_of(&condition), condition));
    named.collect()
}

/// The alarm of a condition: the same for the same one.
pub fn id_of(condition: &Condition) -> Text {
    let Condition { kind, project, cluster, host, source, cause, from, .. } = condition;
    let mut hash = Sha256::new();
    let project = project.map(|id| id.to_string().into());
    let kind_word = Some(Text::from(kind.word()));
    // A silent source is the same one whatever is said of it.
    let has_causes = matches!(kind, AlarmKind::Gap | AlarmKind::Counters | AlarmKind::Review);
    let cause = has_causes.then(|| cause.clone());
    for part in [&kind_word, &project, cluster, host, source, &cause] {
        let text = part.as_deref().unwrap_or("");
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    hash.update(from.micros().to_be_bytes());
    format!("al-{}", hex::encode(&hash.finalize()[..6])).into()
}

/// What is known of the clock from look to look.
#[derive(Debug, Default)]
pub struct ClockWatch {
    unsynchronised_since: Option<Timestamp>,
}

impl ClockWatch {
    /// Whether the clock cannot be trusted.
    pub fn look(&mut self, state: ClockState, alarms: &Alarms, now: Timestamp) -> Conditions {
        if state.synchronised != Some(false) {
            self.unsynchronised_since = None;
            return Conditions::new();
        }
        let told = alarms.open().find(|alarm| alarm.condition.kind == AlarmKind::Clock);
        let since = self.unsynchronised_since.get_or_insert(now);
        let from = match told {
            Some(alarm) => alarm.condition.from,
            None if since.plus_seconds(CLOCK_SECONDS) <= now => *since,
            None => return Conditions::new(),
        };
        let condition = own(AlarmKind::Clock, from, "the kernel says that it is not synchronised");
        Conditions::from([(id_of(&condition), condition)])
    }
}

/// A source is silent after so long, whatever it did before.
const SILENCE_SECONDS_MIN: i64 = 15 * 60;

/// And after so many times its longest pause of the last week.
const PAUSES: i64 = 3;

const DAY_SECONDS: i64 = 86_400;

/// The days whose longest pauses count.
const DAYS: usize = 7;

/// What is known of sources from look to look: when each brought its last line, and its pauses.
#[derive(Debug, Default)]
pub struct SilenceWatch {
    sources: BTreeMap<Text, Voice>,
}

#[derive(Debug)]
struct Voice {
    lines: u64,
    /// When a line came last, or when it was first looked at.
    heard: Timestamp,
    /// The longest pause of each day, in seconds, from the oldest.
    pauses_seconds: [i64; DAYS],
    /// When the last of those days began.
    day: Timestamp,
}

impl SilenceWatch {
    /// Which sources are silent, of those that are read.
    pub fn look(
        &mut self,
        store: &Store,
        statuses: &BTreeMap<Text, Status>,
        alarms: &Alarms,
        now: Timestamp,
    ) -> Conditions {
        let catalog = store.catalog();
        let watched = store.watched();
        self.sources.retain(|name, _| catalog.registry.source(name).is_some());
        let mut found = Conditions::new();
        // That nobody writes to arrays is no silence.
        let storage = SourceKind::TiledbStorage;
        for source in catalog.registry.sources().filter(|source| source.kind != storage) {
            let lines = watched.sources.get(&source.name).map_or(0, |progress| progress.lines);
            let is_read = statuses
                .get(&source.name)
                .is_some_and(|status| matches!(status.state, State::Following | State::CatchingUp));
            if !is_read {
                // It rests or cannot be read, which is a gap and no silence.
                self.sources.remove(&source.name);
                continue;
            }
            let voice = self.sources.entry(source.name.clone()).or_insert_with(|| {
                let told = alarms.open().find(|alarm| {
                    alarm.condition.kind == AlarmKind::Silent
                        && alarm.condition.source.as_ref() == Some(&source.name)
                });
                Voice::new(lines, told.map_or(now, |alarm| alarm.condition.from), now)
            });
            voice.hear(lines, now);
            if now < voice.heard.plus_seconds(voice.silence_seconds()) {
                continue;
            }
            let mut condition = own(AlarmKind::Silent, voice.heard, "no line came since");
            if let Subject::Host { project, cluster, host } = &source.subject {
                condition.project = Some(*project);
                condition.cluster = Some(cluster.clone());
                condition.host = Some(host.to_string().into());
            }
            condition.source = Some(source.name.clone());
            found.insert(id_of(&condition), condition);
        }
        found
    }
}

impl Voice {
    fn new(lines: u64, heard: Timestamp, now: Timestamp) -> Voice {
        Voice { lines, heard, pauses_seconds: [0; DAYS], day: now }
    }

    fn hear(&mut self, lines: u64, now: Timestamp) {
        // A clock that was set back makes no pause, and one that was set ahead one pause.
        self.heard = self.heard.min(now);
        self.day = self.day.min(now);
        while self.day.plus_seconds(DAY_SECONDS) <= now {
            self.day = self.day.plus_seconds(DAY_SECONDS).max(now.plus_seconds(-8 * DAY_SECONDS));
            self.pauses_seconds.rotate_left(1);
            self.pauses_seconds[DAYS - 1] = 0;
        }
        // Fewer than before: it is read anew.
        if lines != self.lines {
            let pause_seconds = (now.micros() - self.heard.micros()) / 1_000_000;
            let longest = &mut self.pauses_seconds[DAYS - 1];
            *longest = (*longest).max(pause_seconds);
            (self.lines, self.heard) = (lines, now);
        }
    }

    fn silence_seconds(&self) -> i64 {
        let longest = self.pauses_seconds.iter().copied().max().unwrap_or(0);
        longest.saturating_mul(PAUSES).max(SILENCE_SECONDS_MIN)
    }
}

/// Between two looks at what waits for its host, which are not as cheap as the others.
const UNROUTED_SECONDS: i64 = 30;

/// Names that are told.
const UNROUTED_NAMES: usize = 3;

/// What is known, from look to look, of lines that no source knows.
#[derive(Debug, Default)]
pub struct UnroutedWatch {
    looked: Option<Timestamp>,
    found: Conditions,
}

impl UnroutedWatch {
    /// In which projects lines wait for their host.
    pub fn look(&mut self, store: &Store, now: Timestamp) -> &Conditions {
        let is_fresh =
            |looked: Timestamp| looked <= now && now < looked.plus_seconds(UNROUTED_SECONDS);
        if self.looked.is_some_and(is_fresh) {
            return &self.found;
        }
        let catalog = store.catalog();
        // What cannot be read now holds as it did.
        let found = catalog.registry.projects().map(|project| unrouted(store, project.id));
        if let Ok(found) = found.collect::<Result<Vec<_>, _>>() {
            let found = found.into_iter().flatten();
            self.found = found.map(|condition| (id_of(&condition), condition)).collect();
        }
        self.looked = Some(now);
        &self.found
    }
}

fn unrouted(store: &Store, project: ProjectId) -> Result<Option<Condition>, Error> {
    let waiting = waiting(project);
    let top = store.top(&waiting, Dimension::Host, UNROUTED_NAMES)?;
    let Some(from) = first(store, &waiting).ok().flatten().filter(|_| top.total > 0) else {
        return Ok(None);
    };
    let names: Vec<&str> = top.values.iter().filter_map(|(name, _)| name.as_deref()).collect();
    let others = top.distinct.saturating_sub(names.len() as u64);
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    let cause = format!("lines wait that no source knows: of {}{others}", names.join(", "));
    let mut condition = own(AlarmKind::Unrouted, from, &cause);
    condition.project = Some(project);
    Ok(Some(condition))
}

/// Which reviews nobody signed in time.
pub fn reviews(store: &Store, now: Timestamp) -> Conditions {
    let (catalog, reviews) = (store.catalog(), store.reviews());
    let overdue = catalog.registry.reviews().filter_map(|review| {
        let due = deadline(review, reviews.of(&review.name));
        let cause = format!("nobody signed review {}", review.name);
        let mut condition = own(AlarmKind::Review, due, &cause);
        condition.review = Some(review.name.clone());
        match &review.scope {
            Scope::Project(id) => condition.project = Some(*id),
            Scope::Namespace(name) => condition.host = Some(name.clone()),
            Scope::System => {}
        }
        (due <= now).then(|| (id_of(&condition), condition))
    });
    overdue.collect()
}

/// A condition of no host.
fn own(kind: AlarmKind, from: Timestamp, cause: &str) -> Condition {
    Condition {
        kind,
        project: None,
        cluster: None,
        host: None,
        source: None,
        grade: Grade::Blind,
        cause: cause.into(),
        actor: None,
        from,
        to: None,
        missing: None,
        review: None,
    }
}
