//! Commands that read the history. Each look is itself recorded, before it is answered: a look that
//! could not be recorded is not given.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use doorbook_event::record::{Actor, ImportState};
use doorbook_event::registry::Registry;
use doorbook_event::{
    Access, Action, Attributes, LogId, ProjectId, PublicIds, Record, Scope, Target, Text, Timestamp,
};
use doorbook_store::coverage::Gap;
use doorbook_store::filter::{Kind, Targets};
use doorbook_store::{Entry, Filter, Placed};
use jiff::tz::TimeZone;

use crate::admin::request::{Cursor, EventsQuery, ExportRequest, ImportDetails, ReadRequest, Rows};
use crate::admin::rows::{CoverageRow, EventRow, QuarantineRow};
use crate::admin::{Admin, Failure, Reply, views};
use crate::api::native;
use crate::api::native::cursor::Cursor as NativeCursor;
use crate::api::native::dispatch::Call;
use crate::api::native::problem::Problem;
use crate::api::native::query::Query;
use crate::export::Export;
use crate::filter::{About, Terms, Wrong};
use crate::pipeline::hosts::{find_project, list};

/// Rows in one answer; the command line asks again for more.
const ROWS_MAX: usize = 1000;

/// Bytes of raw records in one answer, above which it ends early: with the 64 KiB that a quarantine
/// row may hold, twice over for hexadecimal, an answer stays below a tenth of a frame.
const RAW_SIZE_BYTES_MAX: usize = 4 << 20;

impl Admin {
    /// Part of the history.
    pub(super) fn events(&self, by: &Actor, query: &EventsQuery) -> Result<Reply, Failure> {
        let filter = self.filter(query)?;
        if query.after.is_none() {
            let text = serde_json::to_string(query).expect("a query is plain data");
            self.record_query_of(by, &filter.scope, &text)?;
        }
        let page = self.store.select(&filter)?;
        let as_of: Vec<_> = page.as_of.iter().map(|(log, seq)| (log.0, *seq)).collect();
        let mut size_bytes = 0;
        let mut shown = 0;
        for row in &page.rows {
            shown += 1;
            size_bytes += raw_size_bytes(row);
            if size_bytes > RAW_SIZE_BYTES_MAX {
                break;
            }
        }
        let is_cut = shown < page.rows.len() || page.rows.len() == filter.limit;
        let rows = &page.rows[..shown];
        let next = rows.last().filter(|_| is_cut && query.limit > 0).map(|last| Cursor {
            event_time_micros: event_time(last).micros(),
            log: last.log.0,
            seq: last.seq,
            as_of,
        });
        let total = page.total;
        Ok(match filter.kind {
            Kind::Access => {
                let rows = rows.iter().filter_map(EventRow::from_placed).collect();
                Reply::Events(Rows { rows, total, next })
            }
            Kind::Quarantine => {
                let rows = rows.iter().filter_map(QuarantineRow::from_placed).collect();
                Reply::Quarantine(Rows { rows, total, next })
            }
        })
    }

    /// What an operation of our own API answers.
    pub(super) fn read(&self, by: &Actor, request: &ReadRequest) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let registry = &catalog.registry;
        let (project, namespace) = (request.project.as_deref(), request.namespace.as_deref());
        let scope = match (native::is_of_review(&request.operation), &request.name) {
            (true, Some(name)) => self.desk()?.review(name)?.scope.clone(),
            _ => scope(registry, project, namespace, request.system)?,
        };
        if !request.goes_on {
            let text = serde_json::to_string(request).expect("a request is plain data");
            self.record_query_of(by, &scope, &text)?;
        }
        let parameters =
            request.parameters.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let ids = PublicIds::new(&self.store.secret("public-ids")?);
        let mut query = Query::of(parameters);
        let cursor = NativeCursor::take(&mut query, &ids).map_err(failure)?;
        let mut call = Call {
            store: &self.store,
            ids: &ids,
            sources: self.sources.as_ref(),
            now: self.clock.now(),
            registry,
            scope,
            query,
            cursor,
            name: request.name.clone(),
            rows: 0,
        };
        let answered = native::answer_here(&request.operation, &mut call);
        let answer = answered.map_err(failure)?;
        Ok(Reply::Read(String::from_utf8(answer).expect("JSON is UTF-8")))
    }

    pub(super) fn filter(&self, query: &EventsQuery) -> Result<Filter, Failure> {
        let catalog = self.store.catalog();
        let registry = &catalog.registry;
        let (project, namespace) = (query.project.as_deref(), query.namespace.as_deref());
        let scope = scope(registry, project, namespace, query.system)?;
        let wrong = |wrong: Wrong, text: &str| match wrong.is_missing {
            true => Failure::missing(wrong.explain(text)),
            false => Failure::invalid(wrong.explain(text)),
        };
        let read = |text: &str| Terms::parse(text).map_err(|found| wrong(found, text));
        let mut terms = read(&query.filter)?;
        let mut text = &query.filter;
        if let Some(typed) = &query.typed {
            terms = terms.placed_as(&read(typed)?);
            text = typed;
        }
        let wrong = |found| wrong(found, text);
        let now = self.clock.now();
        let about = About { registry, scope: &scope, now, zone: &TimeZone::UTC };
        let mut filter = terms.filter(about).map_err(wrong)?;
        filter.limit = query.limit.min(ROWS_MAX);
        if let Some(cursor) = &query.after {
            filter.after = Some(cursor.order());
            filter.as_of = Some(cursor.as_of.iter().map(|(l, s)| (LogId(*l), *s)).collect());
        }
        Ok(filter)
    }

    /// One quarantined line.
    pub(super) fn show_quarantined(
        &self,
        by: &Actor,
        project: Option<String>,
        namespace: Option<String>,
        log: u32,
        seq: u64,
    ) -> Result<Reply, Failure> {
        let registry = &self.store.catalog().registry;
        let scope = scope(registry, project.as_deref(), namespace.as_deref(), false)?;
        self.record_query_of(by, &scope, &format!("quarantine {log}-{seq}"))?;
        let placed = self.store.get(&scope, LogId(log), seq)?;
        match placed.as_ref().and_then(QuarantineRow::from_placed) {
            Some(row) => Ok(Reply::Quarantine(Rows { rows: vec![row], total: 1, next: None })),
            None => Err(Failure::missing(format!(
                "no quarantined line {log}-{seq} there; `doorbook quarantine list` names them"
            ))),
        }
    }

    /// Records that `by` looks at the history.
    pub(super) fn record_query(
        &self,
        by: &Actor,
        project: Option<ProjectId>,
        query: &str,
    ) -> Result<(), Failure> {
        self.record_query_of(by, &project.map_or(Scope::System, Scope::Project), query)
    }

    pub(super) fn record_query_of(
        &self,
        by: &Actor,
        scope: &Scope,
        query: &str,
    ) -> Result<(), Failure> {
        let attributes = Attributes::from([
            ("via".into(), "command line".into()),
            ("query".into(), query.into()),
        ]);
        let (kind, name) = match scope {
            Scope::Project(id) => ("project", Text::from(id.to_string())),
            Scope::Namespace(name) => ("namespace", name.clone()),
            Scope::System => ("system", Text::from("doorbook")),
        };
        let target = Target::Own { kind: kind.into(), name };
        self.record_own(by, Action::Query, target, attributes)
    }

    /// Records what the server does itself.
    pub fn record(&self, by: &Actor, action: Action, base_url: &str) -> Result<(), Failure> {
        let target = Target::Own { kind: "server".into(), name: base_url.into() };
        let version = env!("CARGO_PKG_VERSION").into();
        self.record_own(by, action, target, Attributes::from([("version".into(), version)]))
    }

    /// Copies the data directory. That someone did is part of the copy: a look that could not be
    /// recorded is not given.
    pub(super) fn backup(&self, by: &Actor, to: &Path) -> Result<Reply, Failure> {
        let name = Text::from(to.display().to_string());
        let target = Target::Own { kind: "backup".into(), name };
        self.record_own(by, Action::Backup, target, Attributes::new())?;
        Ok(Reply::Copied(self.store.backup(to)?))
    }

    /// Writes what is wanted to a file. What could not be written whole is not left behind.
    pub(super) fn export(&self, by: &Actor, request: &ExportRequest) -> Result<Reply, Failure> {
        let filter = self.filter(&request.query)?;
        let text = serde_json::to_string(request).expect("a request is plain data");
        self.record_query_of(by, &filter.scope, &format!("export {text}"))?;
        let to = &request.to;
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("cannot export to {}: {error}", to.display()))
        };
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let mut file = match options.open(to) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Failure::exists(format!("{} is there already", to.display())));
            }
            Err(error) => return Err(cannot(&error)),
        };
        let export = Export {
            store: self.store.clone(),
            ids: PublicIds::new(&self.store.secret("public-ids")?),
            catalog: self.store.catalog(),
            filter,
            asked: request.query.filter.clone(),
            zone: request.zone.clone(),
            format: request.format,
            by: by.principal.to_string(),
            at: self.clock.now(),
        };
        let written = export.write(&mut file).and_then(|it| file.sync_all().map(|()| it));
        written.map(Reply::Exported).map_err(|error| {
            let _half = std::fs::remove_file(to);
            cannot(&error)
        })
    }

    pub(super) fn record_own(
        &self,
        by: &Actor,
        action: Action,
        target: Target,
        attributes: Attributes,
    ) -> Result<(), Failure> {
        let now = self.clock.now();
        let access = Access { attributes, ..Access::own(by, action, target, now) };
        self.store.commit(vec![Entry {
            scope: Scope::System,
            source: "doorbook".into(),
            records: vec![Record::Own(access)],
        }])?;
        Ok(())
    }

    /// One import with what it found besides events.
    pub(super) fn show_import(&self, id: &str) -> Result<Reply, Failure> {
        let catalog = self.store.catalog();
        let Some((project, receipt)) = catalog.imports.get(id) else {
            return Err(Failure::missing(format!(
                "there is no import {id:?}; `doorbook import list` names them"
            )));
        };
        let import = views::import(&catalog, *project, receipt);
        // Not by time and host: a gap may begin after the last event, and lie in another's span.
        let coverage = self.store.coverage_of(&receipt.id);
        let coverage = coverage
            .iter()
            .map(|gap| CoverageRow::new(Some(import.project.clone()), &Gap::from(gap)))
            .collect();
        let quarantine = match receipt.state {
            ImportState::Retracted => Vec::new(),
            _ => self.quarantine_of(*project, &import)?,
        };
        Ok(Reply::ImportDetails(Box::new(ImportDetails { import, coverage, quarantine })))
    }

    /// The lines an import put aside: those of its inputs that were received while it ran.
    fn quarantine_of(
        &self,
        project: ProjectId,
        import: &crate::admin::request::ImportView,
    ) -> Result<Vec<QuarantineRow>, Failure> {
        if import.quarantined == 0 {
            return Ok(Vec::new());
        }
        let filter = Filter {
            kind: Kind::Quarantine,
            targets: Targets::Group(import.cluster.clone()),
            ..Filter::all(Scope::Project(project), 10 * ImportDetails::QUARANTINE_ROWS_MAX)
        };
        let rows = self.store.select(&filter)?.rows;
        let mut rows: Vec<_> = rows.iter().filter_map(QuarantineRow::from_placed).collect();
        let ended = import.ended.unwrap_or(Timestamp::MAX);
        rows.retain(|row| {
            (import.started..=ended).contains(&row.ingest_time)
                && import.inputs.iter().any(|input| input.name == row.file)
        });
        rows.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        rows.truncate(ImportDetails::QUARANTINE_ROWS_MAX);
        Ok(rows)
    }
}

/// A problem of our own API, for who asked here.
fn failure(problem: Problem) -> Failure {
    match problem.status.as_u16() {
        400 if problem.is_missing => Failure::missing(problem.detail),
        400 => Failure::invalid(problem.detail),
        404 => Failure::missing(problem.detail),
        409 => Failure::exists(problem.detail),
        _ => Failure::failed(problem.detail),
    }
}

pub(super) fn the_only_project(
    registry: &doorbook_event::registry::Registry,
) -> Result<ProjectId, Failure> {
    let projects: Vec<_> = registry.projects().collect();
    match &projects[..] {
        [project] => Ok(project.id),
        [] => Err(Failure::missing(
            "there is no project yet; create one with `doorbook project create`",
        )),
        several => {
            let mut names: Vec<&str> = several.iter().map(|project| &*project.name).collect();
            names.sort_unstable();
            Err(Failure::invalid(format!("give --project: there is {}", list(&names))))
        }
    }
}

/// Whose history.
fn scope(
    registry: &Registry,
    project: Option<&str>,
    namespace: Option<&str>,
    is_system: bool,
) -> Result<Scope, Failure> {
    match (project, namespace, is_system) {
        (Some(text), None, false) => Ok(Scope::Project(find_project(registry, text)?)),
        (None, Some(name), false) if registry.arrays().is_namespace(name) => {
            Ok(Scope::Namespace(name.into()))
        }
        (None, Some(name), false) => Err(Failure::missing(format!("no namespace {name}"))),
        (None, None, true) => Ok(Scope::System),
        (None, None, false) => Ok(Scope::Project(the_only_project(registry)?)),
        _ => Err(Failure::invalid(
            "a project, a namespace and the system's own scope exclude each other",
        )),
    }
}

fn raw_size_bytes(row: &Placed) -> usize {
    match &row.record {
        Record::Access(access) | Record::Own(access) => access.raw.len(),
        Record::Quarantine(quarantine) => quarantine.bytes.len(),
        _ => 0,
    }
}

/// The time by which a row is ordered: bytes that could not be read have none of their own, so the
/// store takes that of their receipt.
fn event_time(row: &Placed) -> Timestamp {
    match &row.record {
        Record::Access(access) | Record::Own(access) => access.event_time,
        _ => row.ingest_time,
    }
}
