//! All families, in the order in which they are told.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use doorbook_event::record::ImportState;
use doorbook_event::{ProjectId, Scope, Text, Timestamp};
use doorbook_store::alarm::AlarmKind;
use doorbook_store::coverage::Progress;
use doorbook_store::filter::{self, Dimension};
use doorbook_store::measure::{Done, Measures, ScopeMeasures};
use doorbook_store::{Error, Filter};

use super::text::Kind::{Counter, Gauge, Histogram, Summary};
use super::text::{Exposition, Kind};
use super::{BOUNDS, Metrics};
use crate::admin::unrouted::waiting;
use crate::app::App;
use crate::receiver::{self, Refusal};
use crate::sources::State;

/// Everything, or what a caller may see whose right is of one project: the process and the disk, and
/// of what belongs to projects only that one's.
pub fn tell(app: &App, only: Option<ProjectId>) -> Result<String, Error> {
    let is_shown = |project: &ProjectId| only.is_none_or(|only| only == *project);
    let mut out = Exposition::default();
    process(app, &mut out);
    surfaces(app.metrics(), &mut out);
    let mut measures = app.store().measures()?;
    // Before anything is left out: these are the process's.
    disk(app, &measures, &mut out);
    measures.scopes.retain(|of| match &of.scope {
        Scope::Project(project) => is_shown(project),
        _ => only.is_none(),
    });
    scopes(&measures.scopes, &mut out);
    imports(app, is_shown, &mut out);
    let put_aside = quarantined(app, is_shown, &mut out);
    unrouted(app, is_shown, &mut out);
    sources(app, is_shown, only.is_none(), &put_aside, &mut out);
    counters(app.metrics(), is_shown, &mut out);
    receivers(app.metrics(), &mut out);
    alarms(app, only, &mut out);
    Ok(out.finish())
}

fn process(app: &App, out: &mut Exposition) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    out.family("doorbook_build_info", Gauge, "The version; always 1.").sample(&version, 1);
    out.family("doorbook_start_time_seconds", Gauge, "When the server started, since 1970.")
        .sample(&[], seconds(app.started()));
    out.family("doorbook_poisoned", Gauge, "1 if nothing can be written until a restart.")
        .sample(&[], u8::from(app.store().poisoned().is_some()));
}

fn surfaces(metrics: &Metrics, out: &mut Exposition) {
    let requests = metrics.requests();
    let mut family = out.family("doorbook_http_requests_total", Counter, "Requests answered.");
    for ((surface, operation), of) in &requests {
        for (status, count) in &of.by_status {
            let status = status.to_string();
            let labels = [("surface", *surface), ("operation", operation), ("status", &status)];
            family.sample(&labels, count);
        }
    }
    let help = "From the end of a request's head until its answer begins.";
    let mut family = out.family("doorbook_http_request_duration_seconds", Histogram, help);
    for ((surface, operation), of) in &requests {
        let labels = [("surface", *surface), ("operation", *operation)];
        family.histogram(&labels, &BOUNDS, &of.by_duration, of.duration.as_secs_f64());
    }
    let help = "Lines that shippers sent, by what became of them.";
    let mut family = out.family("doorbook_ingest_lines_total", Counter, help);
    for (result, count) in [
        ("stored", &metrics.stored),
        ("duplicate", &metrics.duplicate),
        ("quarantined", &metrics.quarantined),
        ("expired", &metrics.expired),
    ] {
        family.sample(&[("result", result)], count.load(Ordering::Relaxed));
    }
}

fn disk(app: &App, measures: &Measures, out: &mut Exposition) {
    let segments: u64 = measures.scopes.iter().map(|of| of.segment_bytes).sum();
    let mut family = out.family("doorbook_store_bytes", Gauge, "Bytes on disk, by part.");
    family.sample(&[("part", "segments")], segments);
    family.sample(&[("part", "wal")], measures.wal_size_bytes);
    family.sample(&[("part", "catalog")], measures.catalog_size_bytes);
    let help = "Bytes that may still be written to the disk.";
    out.family("doorbook_disk_free_bytes", Gauge, help).sample(&[], measures.free_bytes);
    let help = "Free bytes below which events are refused.";
    out.family("doorbook_disk_reserve_bytes", Gauge, help).sample(&[], measures.reserve_bytes);
    let help = "Memory that rows take that no segment holds yet.";
    out.family("doorbook_store_memtable_bytes", Gauge, help)
        .sample(&[], measures.memtable_size_bytes);
    let help = "Bytes of the write-ahead log that the next start would replay.";
    out.family("doorbook_store_replay_bytes", Gauge, help).sample(&[], measures.replay_size_bytes);
    let work = &measures.work;
    let help = "How long the disk took for commits, and how many there were.";
    out.family("doorbook_store_commit_duration_seconds", Summary, help).summary(
        &[],
        work.commit_time.as_secs_f64(),
        work.commits,
    );
    let units =
        [("flush", work.flushes), ("compaction", work.compactions), ("expiry", work.expiries)];
    let help = "Maintenance that was done, by unit.";
    let mut family = out.family("doorbook_store_maintenance_total", Counter, help);
    for (unit, done) in units {
        family.sample(&[("unit", unit)], done.count);
    }
    let help = "When maintenance was done last, since 1970.";
    let mut family = out.family("doorbook_store_maintenance_timestamp_seconds", Gauge, help);
    for (unit, Done { last, .. }) in units {
        if let Some(last) = last {
            family.sample(&[("unit", unit)], seconds(last));
        }
    }
    let help = "Units of maintenance that failed; they are tried again.";
    out.family("doorbook_store_maintenance_failures_total", Counter, help)
        .sample(&[], work.failures.count);
    let help = "1 if the latest unit of maintenance failed.";
    out.family("doorbook_store_maintenance_failing", Gauge, help)
        .sample(&[], u8::from(app.store().maintenance_failure().is_some()));
}

fn scopes(scopes: &[ScopeMeasures], out: &mut Exposition) {
    type Read = fn(&ScopeMeasures) -> u64;
    let families: [(&str, &str, Read); 4] = [
        ("doorbook_store_rows", "Rows of every kind.", |of| of.rows),
        ("doorbook_store_memory_rows", "Rows that no segment holds yet.", |of| of.rows_in_memory),
        ("doorbook_store_segments", "Files of rows.", |of| of.segments),
        ("doorbook_store_segment_bytes", "Their bytes.", |of| of.segment_bytes),
    ];
    for (name, help, read) in families {
        let mut family = out.family(name, Gauge, help);
        for of in scopes {
            family.sample(&[("scope", &of.scope.to_string())], read(of));
        }
    }
}

fn imports(app: &App, is_shown: impl Fn(&ProjectId) -> bool, out: &mut Exposition) {
    let catalog = app.store().catalog();
    let states = [
        ("running", ImportState::Running),
        ("complete", ImportState::Complete),
        ("interrupted", ImportState::Interrupted),
        ("retracted", ImportState::Retracted),
    ];
    let mut family = out.family("doorbook_imports", Gauge, "Imports, by state.");
    for (word, state) in states {
        let imports = catalog.imports.values();
        let imports = imports.filter(|(project, of)| is_shown(project) && of.state == state);
        family.sample(&[("state", word)], imports.count());
    }
}

/// How many lines of each project are put aside, by their source.
type PutAside = BTreeMap<ProjectId, BTreeMap<Text, u64>>;

/// Those of all sources together, also of those that the registry does not know: callers name them.
fn quarantined(app: &App, is_shown: impl Fn(&ProjectId) -> bool, out: &mut Exposition) -> PutAside {
    let help = "Lines that could not be read and wait in quarantine.";
    let mut family = out.family("doorbook_quarantined_lines", Gauge, help);
    let catalog = app.store().catalog();
    let mut put_aside = PutAside::new();
    for project in catalog.registry.projects().filter(|project| is_shown(&project.id)) {
        let all = Filter::all(Scope::Project(project.id), 0);
        let filter = Filter { kind: filter::Kind::Quarantine, ..all };
        // A segment that cannot be read now is told by who reads it for its events.
        let Ok(top) = app.store().top(&filter, Dimension::Source, usize::MAX) else { continue };
        family.sample(&[("project", &project.id.to_string())], top.total);
        let by_source = top.values.into_iter().filter_map(|(name, lines)| Some((name?, lines)));
        put_aside.insert(project.id, by_source.collect());
    }
    put_aside
}

/// Lines that wait for their host. Under which names is not told: callers name them.
fn unrouted(app: &App, is_shown: impl Fn(&ProjectId) -> bool, out: &mut Exposition) {
    let catalog = app.store().catalog();
    let projects = catalog.registry.projects().filter(|project| is_shown(&project.id));
    let tops = projects.filter_map(|project| {
        let top = app.store().top(&waiting(project.id), Dimension::Host, 0).ok()?;
        Some((project.id.to_string(), top))
    });
    let tops: Vec<_> = tops.collect();
    let help = "Lines in quarantine that were sent to us and that no source knows.";
    let mut family = out.family("doorbook_unrouted_lines", Gauge, help);
    for (project, top) in &tops {
        family.sample(&[("project", project)], top.total);
    }
    let help = "Hosts, or logs of hosts, whose lines these are.";
    let mut family = out.family("doorbook_unrouted_names", Gauge, help);
    for (project, top) in &tops {
        family.sample(&[("project", project)], top.distinct);
    }
}

/// A source at one instant.
struct SourceSample {
    name: Text,
    /// Its label: the project of its host, or the namespace of its arrays.
    whose: (&'static str, String),
    /// Lines that it put aside and that still are.
    quarantined: Option<u64>,
    /// Whether it does not see what is written.
    is_blind: bool,
    /// What it does, where a server follows it, and bytes that it has not read.
    live: Option<(State, u64)>,
    /// Messages of it that nobody knows.
    unknown: Option<u64>,
    progress: Option<Progress>,
    now: Timestamp,
}

fn sources(
    app: &App,
    is_shown: impl Fn(&ProjectId) -> bool,
    sees_all: bool,
    put_aside: &PutAside,
    out: &mut Exposition,
) {
    let catalog = app.store().catalog();
    let watched = app.store().watched();
    let live = app.metrics().sources();
    let sources = catalog.registry.sources().filter(|source| match source.project() {
        Some(project) => is_shown(&project),
        // Whoever sees everything.
        None => sees_all,
    });
    let samples = sources.map(|source| SourceSample {
        name: source.name.clone(),
        whose: match source.namespace() {
            Some(namespace) => ("namespace", namespace.to_string()),
            None => ("project", source.project().map(|id| id.to_string()).unwrap_or_default()),
        },
        quarantined: source
            .project()
            .and_then(|project| put_aside.get(&project))
            .map(|lines| lines.get(&source.name).copied().unwrap_or(0)),
        is_blind: { watched.is_blind(&source.scope(), &source.target(), &source.name) },
        live: live.get(&source.name).map(|live| (live.state, live.behind_bytes)),
        unknown: live.get(&source.name).map(|live| live.unknown_ids.total()),
        progress: watched.sources.get(&source.name).cloned(),
        now: app.clock().now(),
    });
    let samples: Vec<_> = samples.collect();
    if samples.is_empty() {
        return;
    }
    type Read = fn(&SourceSample) -> Option<f64>;
    let families: [(&str, Kind, &str, Read); 9] = [
        ("doorbook_source_up", Gauge, "1 if the source is read.", |of| {
            let is_up = |(state, _)| matches!(state, State::Following | State::CatchingUp);
            of.live.map(is_up).map(|is_up| f64::from(u8::from(is_up)))
        }),
        ("doorbook_source_behind_bytes", Gauge, "Bytes that are there and not read yet.", |of| {
            of.live.map(|(_, behind_bytes)| behind_bytes as f64)
        }),
        ("doorbook_source_lag_seconds", Gauge, "Since when not everything was read.", |of| {
            let through = of.through()?;
            Some((seconds(of.now) - seconds(through)).max(0.0))
        }),
        (
            "doorbook_source_through_timestamp_seconds",
            Gauge,
            "Everything written before this was read, since 1970.",
            |of| of.through().map(seconds),
        ),
        ("doorbook_source_gaps_open", Gauge, "Gaps of the source that last: 0 or 1.", |of| {
            Some(f64::from(u8::from(of.is_blind)))
        }),
        (
            "doorbook_source_quarantined_lines",
            Gauge,
            "Lines of the source that could not be read and wait in quarantine.",
            |of| of.quarantined.map(|lines| lines as f64),
        ),
        ("doorbook_source_lines_total", Counter, "Lines read since the source is there.", |of| {
            Some(of.progress.as_ref().map_or(0, |progress| progress.lines) as f64)
        }),
        ("doorbook_source_events_total", Counter, "Events that they were.", |of| {
            Some(of.progress.as_ref().map_or(0, |progress| progress.events) as f64)
        }),
        (
            "doorbook_source_unknown_messages_total",
            Counter,
            "Messages that this version does not know, since who reads the source began.",
            |of| of.unknown.map(|messages| messages as f64),
        ),
    ];
    for (name, kind, help, read) in families {
        let mut family = out.family(name, kind, help);
        for of in &samples {
            if let Some(value) = read(of) {
                family.sample(&[("source", &of.name), (of.whose.0, &of.whose.1)], value);
            }
        }
    }
}

impl SourceSample {
    fn through(&self) -> Option<Timestamp> {
        self.progress.as_ref().and_then(|progress| progress.through)
    }
}

/// How the checks of a project's hosts are, together: a host is no label.
#[derive(Default)]
struct Checks {
    hosts: u64,
    failing: u64,
    /// Of the host that was checked longest ago; `None` if one never was.
    through: Option<Option<Timestamp>>,
    missing_successes: u64,
    missing_attempts: u64,
}

fn counters(metrics: &Metrics, is_shown: impl Fn(&ProjectId) -> bool, out: &mut Exposition) {
    let mut projects: BTreeMap<String, Checks> = BTreeMap::new();
    for ((project, _), host) in metrics.counters() {
        if !is_shown(&project) {
            continue;
        }
        let checks = projects.entry(project.to_string()).or_default();
        checks.hosts += 1;
        checks.failing += u64::from(host.problem.is_some());
        let through = host.checked_through;
        checks.through = Some(checks.through.map_or(through, |least| least.min(through)));
        checks.missing_successes += host.missing_successes;
        checks.missing_attempts += host.missing_attempts;
    }
    let help = "Hosts whose counters are compared.";
    let mut family = out.family("doorbook_counters_hosts", Gauge, help);
    for (project, of) in &projects {
        family.sample(&[("project", project)], of.hosts);
    }
    let help = "Those whose counters cannot be read or compared now.";
    let mut family = out.family("doorbook_counters_failing_hosts", Gauge, help);
    for (project, of) in &projects {
        family.sample(&[("project", project)], of.failing);
    }
    let help = "Up to when the counters of every host were compared, since 1970.";
    let mut family = out.family("doorbook_counters_checked_timestamp_seconds", Gauge, help);
    for (project, of) in &projects {
        if let Some(through) = of.through.flatten() {
            family.sample(&[("project", project)], seconds(through));
        }
    }
    let help = "Logins and attempts that hosts counted and that left no record.";
    let mut family = out.family("doorbook_counters_missing_total", Counter, help);
    for (project, of) in &projects {
        for (kind, n) in [("success", of.missing_successes), ("attempt", of.missing_attempts)] {
            family.sample(&[("project", project), ("kind", kind)], n);
        }
    }
}

fn receivers(metrics: &Metrics, out: &mut Exposition) {
    type Read = fn(&receiver::Status) -> u64;
    let all = metrics.receivers();
    let families: [(&str, Kind, &str, Read); 6] = [
        ("doorbook_receiver_connections", Gauge, "Senders that are connected.", |of| {
            of.connections
        }),
        ("doorbook_receiver_accepted_total", Counter, "Senders that were let in.", |of| {
            of.accepted
        }),
        ("doorbook_receiver_messages_total", Counter, "Messages that were stored.", |of| {
            of.messages
        }),
        (
            "doorbook_receiver_cut_messages_total",
            Counter,
            "Those of them that were not whole, and wait in quarantine.",
            |of| of.cut,
        ),
        ("doorbook_receiver_received_bytes_total", Counter, "Bytes that were received.", |of| {
            of.received_bytes
        }),
        (
            "doorbook_receiver_stalled",
            Gauge,
            "1 if nothing can be stored, and so nothing is read.",
            |of| u64::from(of.problem.is_some()),
        ),
    ];
    for (name, kind, help, read) in families {
        let mut family = out.family(name, kind, help);
        for (receiver, of) in &all {
            family.sample(&[("receiver", receiver)], read(of));
        }
    }
    let help = "Connections that were not let in, or were ended, by reason.";
    let mut family = out.family("doorbook_receiver_refused_total", Counter, help);
    for (receiver, of) in &all {
        for reason in Refusal::ALL {
            let n = of.refused.get(&reason).copied().unwrap_or(0);
            family.sample(&[("receiver", receiver), ("reason", reason.word())], n);
        }
    }
}

fn alarms(app: &App, only: Option<ProjectId>, out: &mut Exposition) {
    let alarms = app.store().alarms();
    let help = "Alarms that are open, by kind.";
    let mut family = out.family("doorbook_alarms_open", Gauge, help);
    for kind in AlarmKind::ALL {
        let of_kind = alarms.open().filter(|alarm| alarm.condition.kind == kind);
        let shown = of_kind.filter(|alarm| only.is_none() || alarm.condition.project == only);
        family.sample(&[("kind", kind.word())], shown.count());
    }
    let help = "Tries to deliver messages of alarms, and messages that were dropped.";
    let mut family = out.family("doorbook_alarm_deliveries_total", Counter, help);
    for ((destination, result), n) in app.metrics().deliveries() {
        family.sample(&[("destination", &destination), ("result", result)], n);
    }
    let dropped = app.metrics().dropped_messages.load(Ordering::Relaxed);
    family.sample(&[("destination", "all"), ("result", "dropped")], dropped);
}

fn seconds(at: Timestamp) -> f64 {
    at.micros() as f64 / 1e6
}
