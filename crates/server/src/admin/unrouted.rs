//! Lines whose host is not known: what waits under which name, and all of it routed again.

use std::collections::BTreeMap;

use doorbook_event::record::{Actor, Quarantine};
use doorbook_event::{ProjectId, Record, Scope, Text, Timestamp};
use doorbook_source::Arrival;
use doorbook_store::filter::{Kind, Order, Targets};
use doorbook_store::{Dimension, Error, Filter, Placed, Resolution, Resolve, Store};

use crate::admin::request::Replays;
use crate::admin::rows::{RoutedRow, UnroutedRow};
use crate::admin::{Admin, Failure, Reply, views};
use crate::routing::unrouted::{self, KIND, Samples};
use crate::routing::{Counts, Door, Fate, Router, Tools};

/// Names that are listed; more are counted.
const NAMES_MAX: usize = 100;

/// Lines that are read again at once, which are one durable write or two.
const PAGE_LINES: usize = 5000;
const PAGE_SIZE_BYTES: usize = 8 << 20;

/// Lines of a name that are looked at for what its start-up lines say.
const SAMPLES: usize = 200;

const DAY_MICROS: i64 = 86_400_000_000;
const SECOND_MICROS: i64 = 1_000_000;

impl Admin {
    /// What waits, by name, each with the rule that would make it known.
    pub(super) fn unrouted(&self, by: &Actor, only: Option<ProjectId>) -> Result<Reply, Failure> {
        self.record_query(by, only, "unrouted")?;
        let catalog = self.store.catalog();
        let projects = catalog.registry.projects();
        let projects = projects.filter(|project| only.is_none_or(|only| only == project.id));
        let mut rows = Vec::new();
        for project in projects {
            let waiting = waiting(project.id);
            let top = self.store.top(&waiting, Dimension::Host, NAMES_MAX)?;
            for (name, lines) in top.values {
                let Some(name) = name else { continue };
                let name_of = views::project_name(&catalog.registry, project.id);
                rows.extend(self.unrouted_row(&waiting, name_of, name, lines)?);
            }
        }
        Ok(Reply::Unrouted(rows))
    }

    fn unrouted_row(
        &self,
        waiting: &Filter,
        project: Text,
        name: Text,
        lines: u64,
    ) -> Result<Option<UnroutedRow>, Failure> {
        let targets = Targets::Members(vec![(KIND.into(), name.clone())]);
        let filter = Filter { targets, limit: SAMPLES, ..waiting.clone() };
        let newest = self.store.select(&filter)?;
        let Scope::Project(id) = filter.scope else { return Ok(None) };
        let mut samples = Samples::default();
        let arrivals = newest.rows.iter().filter_map(|row| again(row, id));
        arrivals.for_each(|(_, arrival)| samples.add(&arrival));
        let Some(Placed { record: Record::Quarantine(last), ingest_time, .. }) =
            newest.rows.first()
        else {
            return Ok(None);
        };
        let labels = samples.labels();
        let rule = unrouted::advice(&last.reason, &labels, &project);
        let labels = labels.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let first = first(&self.store, &filter)?.unwrap_or(*ingest_time);
        let (reason, last) = (last.reason.clone(), *ingest_time);
        Ok(Some(UnroutedRow { project, name, lines, first, last, reason, labels, rule }))
    }

    /// Routes what waits again, from the oldest line on, so that each has what came before it. What has
    /// a host now waits no longer.
    pub(super) fn replay_unrouted(
        &self,
        by: &Actor,
        project: ProjectId,
        filter: &Filter,
        replays: &Replays,
    ) -> Result<Vec<RoutedRow>, Failure> {
        let filter = match filter.targets {
            Targets::All => Filter { targets: Targets::Group(KIND.into()), ..filter.clone() },
            // Of a host that is known nothing waits.
            _ => return Ok(Vec::new()),
        };
        let filter = Filter { limit: PAGE_LINES, size_bytes_max: PAGE_SIZE_BYTES, ..filter };
        let tools = Tools { store: self.store.clone(), clock: self.clock.clone() };
        let mut replay = Replay {
            admin: self,
            by,
            project,
            router: Router::for_replay(tools),
            is_trial: replays.dry_run,
            became: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        // Pages go from the newest to the oldest; so where each begins is remembered, and then they
        // are read from the last to the first.
        for page in self.pages(&filter)?.iter().rev() {
            let rows = self.store.select(page)?.rows;
            let rows = rows.iter().rev().filter_map(|placed| match &placed.record {
                Record::Quarantine(bytes) if bytes.reason.contains(&*replays.reason) => {
                    Some((placed, bytes))
                }
                _ => None,
            });
            replay.page(&rows.collect::<Vec<_>>())?;
        }
        Ok(replay.rows())
    }

    /// The filter of each page, from the newest rows to the oldest.
    fn pages(&self, filter: &Filter) -> Result<Vec<Filter>, Failure> {
        let mut pages = vec![filter.clone()];
        loop {
            let Some(page) = pages.last() else { return Ok(pages) };
            let found = self.store.select(page)?;
            let is_last = !found.is_cut && found.rows.len() < page.limit;
            let Some(last) = found.rows.last().filter(|_| !is_last) else { return Ok(pages) };
            let event_time = last.event_time();
            let after = Some(Order { event_time, log: last.log, seq: last.seq });
            let as_of = Some(found.as_of.clone());
            pages.push(Filter { after, as_of, ..page.clone() });
        }
    }
}

/// All that waits of a project.
pub(crate) fn waiting(project: ProjectId) -> Filter {
    let all = Filter::all(Scope::Project(project), 0);
    Filter { kind: Kind::Quarantine, targets: Targets::Group(KIND.into()), ..all }
}

/// The second in which the first of some rows came.
pub(crate) fn first(store: &Store, filter: &Filter) -> Result<Option<Timestamp>, Error> {
    let days = store.histogram(filter, DAY_MICROS)?;
    let Some(day) = days.bars.first() else { return Ok(None) };
    let to = day.from.plus_micros(DAY_MICROS);
    let of_day = Filter { from: day.from, to, ..filter.clone() };
    let seconds = store.histogram(&of_day, SECOND_MICROS)?;
    Ok(seconds.bars.first().map(|second| second.from))
}

/// A row as it arrived; `None` if not all of it was kept, or it was broken when it came.
fn again(placed: &Placed, project: ProjectId) -> Option<(Door, Arrival)> {
    let Record::Quarantine(bytes) = &placed.record else { return None };
    if bytes.bytes.len() as u64 != bytes.length_bytes {
        return None;
    }
    let door = unrouted::door_of(&bytes.place.file, project)?;
    let arrival = unrouted::again(door.form, &bytes.bytes)?;
    Some((door, arrival))
}

/// A replay on its way.
struct Replay<'a> {
    admin: &'a Admin,
    by: &'a Actor,
    project: ProjectId,
    router: Router,
    is_trial: bool,
    /// Lines by name and what became of them.
    became: BTreeMap<(Text, Fate), u64>,
    counts: BTreeMap<Text, Counts>,
}

impl Replay<'_> {
    /// Routes lines, the oldest first, and marks those that have a host.
    fn page(&mut self, rows: &[(&Placed, &Quarantine)]) -> Result<(), Failure> {
        let mut done = Vec::new();
        let read: Vec<_> = rows.iter().map(|(placed, _)| again(placed, self.project)).collect();
        let mut at = 0;
        while at < rows.len() {
            // Lines of one door together, as they came.
            let Some((door, _)) = &read[at] else {
                let reason = "what was kept of the line cannot be read again";
                self.count(rows[at].1, Fate::Waits(reason.into()));
                at += 1;
                continue;
            };
            let of_door = read[at..].iter().map_while(|read| {
                read.as_ref().filter(|(of, _)| of == door).map(|(_, arrival)| arrival.clone())
            });
            let arrivals: Vec<Arrival> = of_door.collect();
            let (fates, counts) = self.router.take_again(door, &arrivals, self.is_trial)?;
            for (name, of_source) in counts {
                self.counts.entry(name).or_default().add(&of_source);
            }
            for (fate, (placed, bytes)) in fates.into_iter().zip(&rows[at..]) {
                if !matches!(fate, Fate::Waits(_)) {
                    let (seq, source) = (placed.seq, placed.source.clone());
                    done.push(Resolution { seq, source, line: None });
                }
                self.count(bytes, fate);
            }
            at += arrivals.len();
        }
        let Some((first, _)) = rows.first().filter(|_| !self.is_trial && !done.is_empty()) else {
            return Ok(());
        };
        let version = env!("CARGO_PKG_VERSION").into();
        let resolve = Resolve { project: self.project, log: first.log, version, lines: done };
        self.admin.store.resolve(self.by, resolve)?;
        Ok(())
    }

    fn count(&mut self, bytes: &Quarantine, fate: Fate) {
        let name = bytes.target.names().1.clone();
        *self.became.entry((name, fate)).or_default() += 1;
    }

    fn rows(mut self) -> Vec<RoutedRow> {
        let rows = std::mem::take(&mut self.became).into_iter();
        rows.map(|((name, fate), lines)| {
            let (source, reason) = match fate {
                Fate::Read(source) => (Some(source), None),
                Fate::Waits(reason) => (None, Some(reason)),
                Fate::Nothing => (None, Some("no record".into())),
            };
            // Several names may be of one source: its events stand beside the first.
            let counts = source.as_ref().and_then(|source| self.counts.remove(source));
            let Counts { stored, duplicates, .. } = counts.unwrap_or_default();
            RoutedRow { name, source, reason, lines, stored, duplicates }
        })
        .collect()
    }
}
