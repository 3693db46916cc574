//! What was put aside and can be read now: what it tells and that it is put aside no longer, in one
//! durable write.

use std::collections::BTreeMap;

use doorbook_event::record::{Actor, ImportId, Resolved};
use doorbook_event::{Access, Action, LogId, ProjectId, Record, Scope, Seq, Text, Timestamp};

use crate::commit::Part;
use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::filter::{Filter, Kind};
use crate::import::count;
use crate::ingest::Request;
use crate::memtable::{Row, kind};
use crate::scan::View;
use crate::state::{LogRows, State, contains};
use crate::{Ingest, Inner, LineResult, Resolution, Resolve, own};

/// What is written together: lines of one source, and of one import if they are of any, so that who
/// takes the import back takes them, too.
type Group = (Text, Option<ImportId>);

impl Inner {
    pub(crate) fn resolve(
        &self,
        by: &Actor,
        resolve: Resolve,
    ) -> Result<Vec<Option<LineResult>>, Error> {
        self.check_reserve()?;
        let Resolve { project, log, version, lines } = resolve;
        let scope = Scope::Project(project);
        self.check_put_aside(&scope, log, &lines)?;
        let mut results = vec![None; lines.len()];
        let mut groups: BTreeMap<Group, Vec<(usize, Resolution)>> = BTreeMap::new();
        let state = self.state();
        for (at, line) in lines.into_iter().enumerate() {
            let group = (line.source.clone(), import_of(&state, log, line.seq));
            groups.entry(group).or_default().push((at, line));
        }
        drop(state);
        for (group, lines) in groups {
            let mut seqs = Vec::with_capacity(lines.len());
            let (mut places, mut told) = (Vec::new(), Vec::new());
            for (at, Resolution { seq, line, .. }) in lines {
                seqs.push(seq);
                if let Some(line) = line {
                    places.push(at);
                    told.push(line);
                }
            }
            let mark = Resolved {
                log,
                seqs,
                by: by.principal.clone(),
                at: self.options.clock.now(),
                version: version.clone(),
            };
            let (source, import) = group;
            let scope = Scope::Project(project);
            let ingest = Ingest { scope, source, key: None, lines: told };
            let became = self.resolve_group(by, project, ingest, import, mark)?;
            for (at, result) in places.into_iter().zip(became) {
                results[at] = Some(result);
            }
        }
        Ok(results)
    }

    fn resolve_group(
        &self,
        by: &Actor,
        project: ProjectId,
        ingest: Ingest,
        import: Option<ImportId>,
        mark: Resolved,
    ) -> Result<Vec<LineResult>, Error> {
        let scope = ingest.scope.clone();
        let now = self.options.clock.now();
        let start = self.state().retention_start(&scope, now);
        let request = Request::new(ingest, start, now, &self.keys)?;
        let wanted = request.wanted();
        loop {
            let known = self.stored(&scope, &[], &wanted)?;
            let is_stored = request.judge(&known.counts);
            let mut part = Part::new(scope.clone(), request.source.clone());
            let new = request.records.iter().zip(&is_stored).filter(|(_, is_stored)| !**is_stored);
            part.records = new.map(|(record, _)| record.clone()).collect();
            if let Some(import) = &import {
                let accesses: (Vec<Access>, Vec<bool>) = (request.records.iter().zip(&is_stored))
                    .filter_map(|(record, is_stored)| match record {
                        Record::Access(access) => Some((access.clone(), *is_stored)),
                        _ => None,
                    })
                    .unzip();
                part.counts = Some(count(&accesses.0, &[], &accesses.1));
                part.import = Some(import.clone());
            }
            let mut is_stale = false;
            let placed = self.write(|state, now| {
                check_still_put_aside(state, &mark)?;
                is_stale = self.is_stale(state, &scope, &known, &[], &wanted)?;
                if is_stale {
                    return Ok(Vec::new());
                }
                let mark = Resolved { at: now, ..mark.clone() };
                let event = told_of(by, project, &mark, part.records.len(), now);
                let marks = vec![Record::Resolved(mark)];
                let marks = Part { records: marks, ..Part::new(scope.clone(), own::SOURCE.into()) };
                Ok(vec![part, marks, own::part(vec![event])])
            })?;
            if let Some(rows) = placed.into_iter().next() {
                return Ok(request.answer(mark.log, rows, &is_stored));
            }
        }
    }

    /// Whether all of them are bytes that were put aside: no event may leave an answer this way.
    fn check_put_aside(
        &self,
        scope: &Scope,
        log: LogId,
        lines: &[Resolution],
    ) -> Result<(), Error> {
        let state = self.state();
        let filter = Filter { kind: Kind::Quarantine, ..Filter::all(scope.clone(), 0) };
        let view = View::new(&state, &filter, self.options.clock.now()).ok();
        let view = view.filter(|view| view.id == log).ok_or_else(|| not_put_aside(log, 0))?;
        let mut wanted: Vec<(Seq, usize)> = lines.iter().map(|line| line.seq).zip(0..).collect();
        wanted.sort_unstable();
        let mut found = vec![false; lines.len()];
        let is_put_aside = |row: &Row| row.kind() == kind::QUARANTINE && view.shows(row.seq);
        for (seq, n) in &wanted {
            found[*n] = view.log.memtable.row(*seq).is_some_and(is_put_aside);
        }
        let dir = segment_dir(&self.options.data_dir);
        let joiner = self.joiner(&view, &dir);
        for segment in 0..view.log.segments.len() {
            joiner.rows_at(segment, &wanted, |n, row| found[n] |= is_put_aside(&row))?;
        }
        match found.iter().position(|found| !found) {
            Some(n) => Err(not_put_aside(log, lines[n].seq)),
            None => Ok(()),
        }
    }
}

/// The import that added a row.
fn import_of(state: &State, log: LogId, seq: Seq) -> Option<ImportId> {
    let has = |rows: &[LogRows]| rows.iter().any(|(of, rows)| *of == log && rows.contains(&seq));
    state.import_rows.iter().find(|(_, rows)| has(rows)).map(|(import, _)| import.clone())
}

/// What is checked again while nobody else can write.
fn check_still_put_aside(state: &State, mark: &Resolved) -> Result<(), Error> {
    let log = state.log_of(mark.log).ok_or_else(|| not_put_aside(mark.log, 0))?;
    let is_gone = |seq: &&Seq| contains(&log.retracted, **seq) || log.is_resolved(**seq, Seq::MAX);
    match mark.seqs.iter().find(is_gone) {
        Some(seq) => Err(not_put_aside(mark.log, *seq)),
        None => Ok(()),
    }
}

fn not_put_aside(log: LogId, seq: Seq) -> Error {
    Error::new(ErrorKind::Missing, format!("{}-{seq} is no line that is put aside", log.0))
}

fn told_of(
    by: &Actor,
    project: ProjectId,
    mark: &Resolved,
    records: usize,
    now: Timestamp,
) -> Record {
    let attributes = [
        ("verb", Text::from("replay")),
        ("lines", Text::from(mark.seqs.len().to_string())),
        ("records", Text::from(records.to_string())),
        ("version", mark.version.clone()),
    ];
    let project = project.to_string();
    own::event(by, Action::Import, ("quarantine", &project), now, attributes)
}
