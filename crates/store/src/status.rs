//! Status: how much there is, how old it is, and how long the disk will last.

use std::path::Path;

use doorbook_event::record::{ImportId, ImportState};
use doorbook_event::retention::{Limits, Pending};
use doorbook_event::{Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::{catalog_dir, secret_dir, segment_dir, wal_dir};
use crate::error::Error;
use crate::memtable::kind;
use crate::state::{LogState, State};
use crate::{Filter, Inner};

/// A data directory at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// When, by our clock.
    pub at: Timestamp,
    /// The directory.
    pub data_dir: String,
    /// Its bytes.
    pub size_bytes: Sizes,
    /// Bytes that may still be written to its file system.
    pub free_bytes: u64,
    /// Bytes below which nothing more is taken in.
    pub reserve_bytes: u64,
    /// How long that lasts.
    pub outlook: Outlook,
    /// Each scope's history, the system's first.
    pub scopes: Vec<ScopeStatus>,
    /// Imports that run now.
    pub running_imports: Vec<ImportId>,
}

/// Bytes by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sizes {
    /// All of the parts.
    pub total: u64,
    /// Rows in their final form.
    pub segments: u64,
    /// What is not in segments yet, and what a damaged snapshot would need.
    pub wal: u64,
    /// Snapshots of everything but rows.
    pub catalog: u64,
    /// Secrets.
    pub secrets: u64,
}

/// How the directory grows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Bytes a day by which events of the last days are more than those that retention will remove
    /// in as many days; `None` where it cannot be estimated.
    pub growth_bytes_per_day: Option<i64>,
    /// Days until only the reserve is left; `None` where it cannot be estimated, and where the
    /// directory does not grow.
    pub days_left: Option<u64>,
    /// How that was estimated, or why it was not.
    pub basis: String,
}

/// The history of one scope.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScopeStatus {
    /// Whose.
    pub scope: String,
    /// Events that answers show.
    pub events: u64,
    /// The earliest of them.
    pub oldest: Option<Timestamp>,
    /// The latest of them.
    pub newest: Option<Timestamp>,
    /// Rows of every kind, also those that answers do not show.
    pub rows: u64,
    /// Rows among them that no segment holds yet.
    pub rows_in_memory: u64,
    /// Files.
    pub segments: u64,
    /// Their bytes.
    pub segment_bytes: u64,
    /// How long events are kept.
    pub keep: Limits,
    /// What was decided of that and does not hold yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// Why events and their times are not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

const DAY_MICROS: i64 = 86_400_000_000;

/// Days of events by which growth is estimated.
const WINDOW_DAYS: i64 = 7;

impl Inner {
    pub(crate) fn status(&self) -> Result<Status, Error> {
        let dir = &self.options.data_dir;
        let disk = &*self.options.disk;
        let state = self.state();
        let now = self.options.clock.now();
        let free = disk.free_bytes(dir);
        let free_bytes =
            free.map_err(|error| Error::io(dir, "ask for the free space of", error))?;
        let reserve_bytes = self.options.reserve_size_bytes;
        let imports = state.catalog.imports.values();
        let running = imports.filter(|(_, receipt)| receipt.state == ImportState::Running);
        // Projects that nothing was said of yet come last: how long theirs is kept may be decided.
        let projects = state.catalog.registry.projects().map(|project| Scope::Project(project.id));
        let mut scopes: Vec<Scope> = state.scopes.keys().cloned().collect();
        scopes.extend(projects.filter(|scope| state.log(scope).is_none()));
        Ok(Status {
            at: now,
            data_dir: dir.display().to_string(),
            size_bytes: self.sizes()?,
            free_bytes,
            reserve_bytes,
            outlook: outlook(&state, now, free_bytes.saturating_sub(reserve_bytes)),
            scopes: scopes.iter().map(|scope| self.scope(&state, scope, now)).collect(),
            running_imports: running.map(|(_, receipt)| receipt.id.clone()).collect(),
        })
    }

    fn sizes(&self) -> Result<Sizes, Error> {
        let dir = &self.options.data_dir;
        let segments = segment_dir(dir);
        let mut sizes = Sizes {
            total: 0,
            segments: self.folder_size_bytes(&segments)?,
            wal: self.folder_size_bytes(&wal_dir(dir))?,
            catalog: self.folder_size_bytes(&catalog_dir(dir))?,
            secrets: self.folder_size_bytes(&secret_dir(dir))?,
        };
        sizes.total = sizes.segments + sizes.wal + sizes.catalog + sizes.secrets;
        Ok(sizes)
    }

    pub(crate) fn folder_size_bytes(&self, dir: &Path) -> Result<u64, Error> {
        let disk = &*self.options.disk;
        let names = disk.list(dir).map_err(|error| Error::io(dir, "list", error))?;
        let mut size_bytes = 0;
        for name in names.iter().filter(|name| !name.starts_with('_')) {
            // What is removed meanwhile has no size.
            if let Ok(file) = disk.open_to_read(&dir.join(name)) {
                size_bytes += file.size_bytes().unwrap_or(0);
            }
        }
        Ok(size_bytes)
    }

    fn scope(&self, state: &State, scope: &Scope, now: Timestamp) -> ScopeStatus {
        let retention = state.catalog.registry.retention(scope);
        let log = state.log(scope).map(|(_, log)| log);
        let rows_in_memory = log.map_or(0, |log| log.memtable.len() as u64);
        let segments = || log.into_iter().flat_map(|log| &log.segments);
        let in_segments: u64 = segments().map(|segment| segment.meta.rows()).sum();
        let extent = log.map_or(Ok(Extent::default()), |log| self.extent(log, scope));
        let problem = extent.as_ref().err().map(ToString::to_string);
        let Extent { events, oldest, newest } = extent.unwrap_or_default();
        ScopeStatus {
            scope: scope.to_string(),
            events,
            oldest,
            newest,
            rows: rows_in_memory + in_segments,
            rows_in_memory,
            segments: segments().count() as u64,
            segment_bytes: segments().map(|segment| segment.meta.size_bytes).sum(),
            keep: retention.limits(now),
            pending: retention.pending(now),
            problem,
        }
    }

    /// How many events answers show, and from when to when.
    fn extent(&self, log: &LogState, scope: &Scope) -> Result<Extent, Error> {
        let newest = self.select(&Filter::all(scope.clone(), 1))?;
        let newest_at = newest.rows.first().map(crate::Placed::event_time);
        let Some(newest_at) = newest_at else { return Ok(Extent::default()) };
        // The first row that has events may be one that answers do not show: the time before which
        // there is none is narrowed until it is an event's.
        let count_until = |to| {
            let filter = Filter { to, ..Filter::all(scope.clone(), 0) };
            self.select(&filter).map(|page| page.total)
        };
        let mut none_before = first_time(log).unwrap_or(newest_at).min(newest_at);
        if count_until(none_before)? == 0 {
            let mut some_until = newest_at;
            while none_before.plus_micros(1) < some_until {
                let half = (some_until.micros() - none_before.micros()) / 2;
                let middle = none_before.plus_micros(half);
                match count_until(middle)? {
                    0 => none_before = middle,
                    _ => some_until = middle,
                }
            }
            none_before = some_until;
        }
        Ok(Extent { events: newest.total, oldest: Some(none_before), newest: Some(newest_at) })
    }
}

#[derive(Default)]
struct Extent {
    events: u64,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
}

const EVENTS: u64 = 1 << kind::ACCESS | 1 << kind::OWN;

/// No event of a log is earlier.
fn first_time(log: &LogState) -> Option<Timestamp> {
    let members = log.segments.iter().flat_map(|segment| &segment.meta.members);
    let members = members.filter(|member| member.kinds & EVENTS != 0).map(|member| member.from);
    let rows = log.memtable.rows().filter(|row| 1 << row.kind() & EVENTS != 0);
    members.chain(rows.map(|row| row.event_time())).min()
}

/// What the events of the last days say of the days to come.
fn outlook(state: &State, now: Timestamp, usable_bytes: u64) -> Outlook {
    let unknown = |basis: &str| Outlook {
        growth_bytes_per_day: None,
        days_left: None,
        basis: basis.to_owned(),
    };
    let first = state.logs.iter().filter_map(|log| first_time(log)).min();
    let Some(first) = first else { return unknown("there are no events yet") };
    let age_micros = now.micros().saturating_sub(first.micros());
    if age_micros < DAY_MICROS {
        return unknown("there is less than a day of events");
    }
    let micros = age_micros.min(WINDOW_DAYS * DAY_MICROS);
    let mut coming = 0.0;
    let mut leaving = 0.0;
    for (scope, id) in &*state.scopes {
        let Some(log) = state.logs.get(id.0 as usize) else { continue };
        coming += bytes_between(state, log, now.plus_micros(-micros), now);
        // What is too old already and not removed yet leaves with it.
        let limit = state.catalog.registry.retention(scope).limits(now).start(now);
        leaving += bytes_between(state, log, Timestamp::MIN, limit.plus_micros(micros));
    }
    if coming == 0.0 {
        return unknown("there are no events of the last seven days");
    }
    let growth = (coming - leaving) / (micros as f64 / DAY_MICROS as f64);
    let growth_bytes_per_day = growth as i64;
    let days = micros / DAY_MICROS;
    Outlook {
        growth_bytes_per_day: Some(growth_bytes_per_day),
        days_left: (growth_bytes_per_day > 0).then(|| usable_bytes / growth_bytes_per_day as u64),
        basis: format!(
            "the bytes of the events of the last {days} days, less what is too old by then"
        ),
    }
}

/// Bytes of the events of a stretch of time, as if each target's were spread evenly.
fn bytes_between(state: &State, log: &LogState, from: Timestamp, to: Timestamp) -> f64 {
    let rows_in_memory: usize = state.logs.iter().map(|log| log.memtable.len()).sum();
    let bytes_per_row_in_memory = state.replay_size_bytes as f64 / rows_in_memory.max(1) as f64;
    let in_time = |at: Timestamp| from < at && at <= to;
    let in_memory = log.memtable.rows().filter(|row| in_time(row.event_time())).count();
    let mut bytes = in_memory as f64 * bytes_per_row_in_memory;
    for segment in &log.segments {
        let meta = &segment.meta;
        let bytes_per_row = meta.size_bytes as f64 / meta.rows().max(1) as f64;
        for member in &meta.members {
            let (first, last) = (member.from.micros(), member.to.micros());
            let overlap = last.min(to.micros()) - first.max(from.micros());
            let share = match last - first {
                0 => f64::from(u8::from(in_time(member.from))),
                span => (overlap.max(0) as f64) / span as f64,
            };
            bytes += share * member.rows as f64 * bytes_per_row;
        }
    }
    bytes
}
