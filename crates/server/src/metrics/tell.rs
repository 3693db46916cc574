//! All families, in the order in which they are told.

use std::sync::atomic::Ordering;

use doorbook_event::record::ImportState;
use doorbook_event::{ProjectId, Scope, Timestamp};
use doorbook_store::Error;
use doorbook_store::measure::{Done, Measures, ScopeMeasures};

use super::text::Kind::{Counter, Gauge, Histogram, Summary};
use super::text::{Exposition, Labels};
use super::{BOUNDS, Metrics, SourceSample};
use crate::app::App;

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
    let sources = app.metrics().sources();
    let sources: Vec<_> = sources.into_iter().filter(|of| is_shown(&of.project)).collect();
    if !sources.is_empty() {
        tell_sources(&sources, &mut out);
    }
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

fn tell_sources(sources: &[SourceSample], out: &mut Exposition) {
    type Read = fn(&SourceSample) -> Option<f64>;
    let families: [(&str, super::text::Kind, &str, Read); 7] = [
        (
            "doorbook_source_up",
            Gauge,
            "1 if the source is read: neither paused nor stopped by an error.",
            |of| Some(f64::from(u8::from(of.is_running))),
        ),
        ("doorbook_source_lag_seconds", Gauge, "How far it is behind what was written.", |of| {
            of.lag_seconds
        }),
        (
            "doorbook_source_through_timestamp_seconds",
            Gauge,
            "Everything written before this was read, since 1970.",
            |of| of.through.map(seconds),
        ),
        ("doorbook_source_lines_total", Counter, "Lines read.", |of| Some(of.lines_total as f64)),
        ("doorbook_source_events_total", Counter, "Events that were new.", |of| {
            Some(of.events_total as f64)
        }),
        ("doorbook_source_quarantined_total", Counter, "Lines that could not be read.", |of| {
            Some(of.quarantined_total as f64)
        }),
        ("doorbook_source_gaps_open", Gauge, "Intervals not seen that have not ended.", |of| {
            Some(of.gaps_open as f64)
        }),
    ];
    for (name, kind, help, read) in families {
        let mut family = out.family(name, kind, help);
        for of in sources {
            let project = of.project.to_string();
            let labels: Labels<'_> = &[("source", &of.name), ("project", &project)];
            if let Some(value) = read(of) {
                family.sample(labels, value);
            }
        }
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.micros() as f64 / 1e6
}
