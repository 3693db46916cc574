//! [`Overview`]: how all sources of a scope are, and what they do not see. For whoever shows sources to
//! people: our own API and the page; the command line asks for [`Health`] alone.

use std::collections::BTreeMap;

use doorbook_event::record::{Heartbeat, ImportState, UnknownId};
use doorbook_event::source::Source;
use doorbook_event::unknown::UnknownIds;
use doorbook_event::{Scope, Text, Timestamp};
use doorbook_store::coverage::{Gap, Progress};
use doorbook_store::filter::{Kind, TextIs};
use doorbook_store::{Dimension, Error, Filter, Question, Store};

use super::{State, Status};
use crate::admin::unrouted::waiting;

/// How all sources of a scope are.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// Each of them, by its name.
    pub sources: Vec<Seen>,
    /// Lines of the scope that could not be read, whoever brought them, without [`Overview::unrouted`].
    pub quarantined: u64,
    /// Lines that were sent to us and fit no source.
    pub unrouted: u64,
    /// Messages of mongod that this version does not know, as imports and sources counted them.
    pub unknown_ids: Vec<UnknownId>,
}

/// A source, and what is not seen of what it watches.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// As the registry has it.
    pub source: Source,
    /// How it is.
    pub health: Health,
    /// What of its target was not, or not surely, seen by anybody, the latest first. One whose `to` is
    /// `None` lasts.
    pub gaps: Vec<Gap>,
    /// Lines of it that could not be read.
    pub quarantined: u64,
}

impl Seen {
    /// Gaps that last.
    pub fn open_gaps(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|gap| gap.to.is_none())
    }
}

impl Overview {
    /// How the sources of a scope are; `live` is what those who read them say, `None` where no
    /// server runs.
    pub fn of<'a>(
        store: &Store,
        live: impl Into<Option<&'a BTreeMap<Text, Status>>>,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<Overview, Error> {
        let (catalog, live) = (store.catalog(), live.into());
        let sources = catalog.registry.sources().filter(|source| source.scope() == *scope);
        let sources: Vec<&Source> = sources.collect();
        let mut quarantined_by = quarantined_by(store, scope, &sources)?;
        let watched = store.watched();
        let seen = sources.iter().map(|source| Seen {
            source: (*source).clone(),
            health: Health::of(source, watched.sources.get(&source.name), live, now),
            gaps: gaps(store, source, now),
            quarantined: quarantined_by.remove(&source.name).unwrap_or(0),
        });
        let sources: Vec<Seen> = seen.collect();
        let unreadable = Filter { kind: Kind::Quarantine, ..Filter::all(scope.clone(), 0) };
        let unrouted = match scope {
            Scope::Project(project) => store.select(&waiting(*project))?.total,
            Scope::Namespace(_) | Scope::System => 0,
        };
        let quarantined = store.select(&unreadable)?.total.saturating_sub(unrouted);
        let unknown_ids = unknown_ids(store, scope, &sources);
        Ok(Overview { sources, quarantined, unrouted, unknown_ids })
    }
}

/// How a source is.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// What it does.
    pub state: State,
    /// Why it does not do more.
    pub message: Option<Text>,
    /// It has read everything that was written before.
    pub through: Option<Timestamp>,
    /// How long ago that is.
    pub lag_seconds: Option<i64>,
    /// Bytes that are there and not read yet, where a server reads it.
    pub behind_bytes: Option<u64>,
    /// Lines it read so far.
    pub lines: u64,
    /// Events it recorded so far.
    pub events: u64,
    /// When it last came further, by our clock.
    pub advanced: Option<Timestamp>,
    /// Its last heartbeat, with the state of the clock.
    pub heartbeat: Option<Heartbeat>,
    /// Messages that this version does not know, since who reads it began.
    pub unknown_ids: UnknownIds,
}

impl Health {
    /// How a source is that came so far; `live` is what those who read sources say, `None` where no
    /// server runs.
    pub(crate) fn of(
        source: &Source,
        progress: Option<&Progress>,
        live: Option<&BTreeMap<Text, Status>>,
        now: Timestamp,
    ) -> Health {
        let through = progress.and_then(|progress| progress.through);
        let (state, message, behind_bytes) = match live.map(|live| live.get(&source.name)) {
            // At once, and not only when the next round has seen it.
            _ if source.paused => (State::Paused, None, None),
            Some(Some(live)) if live.state == State::Paused => (State::CatchingUp, None, None),
            Some(Some(live)) => (live.state, live.message.clone(), Some(live.behind_bytes)),
            Some(None) => (State::Waiting, None, None),
            None if !source.rules.is_empty() => {
                (State::Stopped, Some("no server takes its lines".into()), None)
            }
            None => (State::Stopped, Some("no server follows it".into()), None),
        };
        let lag_micros = through.map(|through| now.micros() - through.micros());
        Health {
            state,
            message,
            through,
            lag_seconds: lag_micros.map(|micros| micros.max(0) / 1_000_000),
            behind_bytes,
            lines: progress.map_or(0, |progress| progress.lines),
            events: progress.map_or(0, |progress| progress.events),
            advanced: progress.map(|progress| progress.at),
            heartbeat: progress.and_then(|progress| progress.heartbeat.clone()),
            unknown_ids: live
                .and_then(|live| live.get(&source.name))
                .map(|live| live.unknown_ids.clone())
                .unwrap_or_default(),
        }
    }
}

/// What of a source's target was not seen, as long as anybody watches it.
fn gaps(store: &Store, source: &Source, now: Timestamp) -> Vec<Gap> {
    let scope = source.scope();
    let answer = store.coverage(&Question {
        scope: &scope,
        targets: &[source.target()],
        stored: &BTreeMap::new(),
        actions: source.kind.actions(),
        with_successes: true,
        from: Timestamp::MIN,
        to: now,
        now,
    });
    let mut gaps = answer.gaps;
    if source.namespace().is_some() {
        let of_arrays = store.watched().unseen_of_arrays(&scope).into_iter();
        gaps.extend(of_arrays.filter(|gap| gap.source.as_ref() == Some(&source.name)));
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.from));
    }
    gaps
}

/// How many lines of each source could not be read.
fn quarantined_by(
    store: &Store,
    scope: &Scope,
    sources: &[&Source],
) -> Result<BTreeMap<Text, u64>, Error> {
    if sources.is_empty() {
        return Ok(BTreeMap::new());
    }
    let names = sources.iter().map(|source| TextIs::Exactly(source.name.clone()));
    let filter = Filter {
        kind: Kind::Quarantine,
        sources: names.collect(),
        ..Filter::all(scope.clone(), 0)
    };
    let top = store.top(&filter, Dimension::Source, sources.len())?;
    Ok(top.values.into_iter().filter_map(|(name, count)| Some((name?, count))).collect())
}

/// What imports of a scope and its sources could not read for want of knowing the message, most frequent first.
fn unknown_ids(store: &Store, scope: &Scope, sources: &[Seen]) -> Vec<UnknownId> {
    let catalog = store.catalog();
    let of_scope = catalog.imports.values().filter(|(of, receipt)| {
        Scope::Project(*of) == *scope && receipt.state != ImportState::Retracted
    });
    let mut found: BTreeMap<(u64, Option<Text>), UnknownId> = BTreeMap::new();
    let of_imports = of_scope.flat_map(|(_, receipt)| &receipt.unknown_ids);
    let of_sources = sources.iter().flat_map(|seen| seen.health.unknown_ids.iter());
    for unknown in of_imports.chain(of_sources) {
        let known = found.entry((unknown.id, unknown.version.clone()));
        known.and_modify(|known| known.count += unknown.count).or_insert_with(|| unknown.clone());
    }
    let mut found: Vec<UnknownId> = found.into_values().collect();
    found.sort_by_key(|unknown| std::cmp::Reverse(unknown.count));
    found
}
