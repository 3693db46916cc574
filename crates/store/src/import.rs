//! Imports: begun, fed batch by batch, ended, taken back.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::MutexGuard;

use doorbook_event::record::{
    Actor, Coverage, Grade, ImportCounts, ImportId, ImportReceipt, ImportState, Quarantine,
    Retraction,
};
use doorbook_event::{Access, Action, Class, ProjectId, Record, Scope, Seq, Text};

use crate::catalog::{Merged, merge_coverage};
use crate::commit::{Part, mark_future, normalize};
use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::identity::{CurrentFile, Fact, Hash128, Known, Since, Wanted};
use crate::segment::{self, Content, Line, SegmentMeta};
use crate::state::State;
use crate::{ImportBatch, ImportEnd, ImportStart, Inner, own};

/// The imports that run in this process. One batch at a time is looked up and written: what an
/// import that is taken back added must not grow meanwhile.
#[derive(Default)]
pub(crate) struct Imports {
    running: HashMap<ImportId, Running>,
}

struct Running {
    project: ProjectId,
    source: Text,
    by: Actor,
    file: CurrentFile,
}

impl Inner {
    pub(crate) fn imports(&self) -> Result<MutexGuard<'_, Imports>, Error> {
        self.imports
            .lock()
            .map_err(|_| Error::new(ErrorKind::Poisoned, "an import ended in a bug: restart"))
    }

    pub(crate) fn start_import(&self, start: ImportStart) -> Result<ImportId, Error> {
        let mut imports = self.imports()?;
        self.check_reserve()?;
        let id = self.new_import_id();
        let ImportStart { by, project, cluster, host, source } = start;
        self.write(|state, now| {
            let registry = &state.catalog.registry;
            if registry.project(project).is_none() {
                return Err(Error::new(ErrorKind::Missing, format!("no project {project}")));
            }
            if registry.cluster(project, &cluster).is_none() {
                let message = format!("no cluster {cluster} in this project");
                return Err(Error::new(ErrorKind::Missing, message));
            }
            let receipt = ImportReceipt {
                id: id.clone(),
                by: by.principal.clone(),
                started: now,
                ended: None,
                state: ImportState::Running,
                cluster: cluster.clone(),
                host: host.clone(),
                files: Vec::new(),
                counts: ImportCounts::default(),
                unknown_ids: Vec::new(),
            };
            let attributes = [
                ("verb", Text::from("begin")),
                ("project", Text::from(project.to_string())),
                ("cluster", cluster.clone()),
                ("source", source.clone()),
            ];
            let attributes = attributes.into_iter().chain(host.clone().map(|host| ("host", host)));
            let event = own::event(&by, Action::Import, ("import", &id), now, attributes);
            let receipt = vec![Record::ImportReceipt(receipt)];
            let receipt =
                Part { records: receipt, ..Part::new(Scope::Project(project), own::SOURCE.into()) };
            Ok(vec![receipt, own::part(vec![event])])
        })?;
        let running = Running { project, source, by, file: CurrentFile::default() };
        imports.running.insert(id.clone(), running);
        Ok(id)
    }

    pub(crate) fn start_import_file(&self, id: &ImportId) -> Result<(), Error> {
        self.imports()?.running(id)?.file = CurrentFile::default();
        Ok(())
    }

    pub(crate) fn add_to_import(
        &self,
        id: &ImportId,
        batch: ImportBatch,
    ) -> Result<ImportCounts, Error> {
        let mut imports = self.imports()?;
        self.check_reserve()?;
        let running = imports.running(id)?;
        let ImportBatch { mut accesses, coverage, quarantine, sightings, amendments } = batch;
        let scope = Scope::Project(running.project);
        let now = self.options.clock.now();
        let start = self.state().retention_start(&scope, now);
        let found = accesses.len();
        accesses.retain(|access| start <= access.event_time);
        let expired = (found - accesses.len()) as u64;
        for access in &mut accesses {
            normalize(access);
            mark_future(access, now);
        }
        let told = sightings.into_iter().map(Record::Sighting);
        let amendments = amendments.into_iter().map(|told| Record::Amendment(told.into()));
        let told: Vec<Record> = told.chain(amendments).collect();
        let facts = || {
            let quarantine = quarantine.iter().map(Fact::Quarantine);
            accesses.iter().map(Fact::Access).chain(quarantine)
        };
        let wanted: Vec<Wanted<'_>> = facts().map(|fact| self.keys.wanted(fact)).collect();
        let told_wanted: Vec<Wanted<'_>> = told
            .iter()
            .filter_map(|record| {
                let hash = self.keys.told(record, &running.source);
                record.subject().map(|of| self.keys.wanted(Fact::Told(of, hash)))
            })
            .collect();
        let mut committed = None;
        while committed.is_none() {
            let known = self.stored(&scope, &running.file.own, &wanted)?;
            let hashes = wanted.iter().map(|(hash, _)| Some(*hash));
            let verdict = running.file.judge(&known.counts, hashes);
            // What is told of an access twice is told once, also by one file.
            let known_told = match told.is_empty() {
                true => None,
                false => Some(self.stored(&scope, &[], &told_wanted)?),
            };
            let mut counts = count(&accesses, &quarantine, &verdict.is_stored);
            counts.expired = expired;
            let is_stored = &verdict.is_stored;
            let mut part =
                self.new_rows(&scope, &running.source, &accesses, &quarantine, is_stored)?;
            let mut told_hashes: HashSet<Hash128> =
                known_told.iter().flat_map(|known| known.counts.keys().copied()).collect();
            let new = told.iter().zip(&told_wanted);
            let new = new.filter(|(_, (hash, _))| told_hashes.insert(*hash));
            part.records.extend(new.map(|(record, _)| record.clone()));
            part.import = Some(id.clone());
            let file = part.segment.as_ref().map(|meta| meta.name.clone());
            let mut is_stale = false;
            let placed = self.write(|state, now| {
                is_stale = self.is_stale(state, &scope, &known, &running.file.own, &wanted)?;
                if let Some(known_told) = &known_told {
                    is_stale |= self.is_stale(state, &scope, known_told, &[], &told_wanted)?;
                }
                if is_stale {
                    return Ok(Vec::new());
                }
                let mut all = state.catalog.coverage.get(&scope).cloned().unwrap_or_default();
                for coverage in &coverage {
                    if coverage.grade != Grade::Blind {
                        // A line may claim to be of the future.
                        let to = Some(coverage.to.unwrap_or(now).min(now));
                        let seen = Coverage { source: Some(id.clone()), to, ..coverage.clone() };
                        part.records.push(Record::Coverage(seen));
                        continue;
                    }
                    let merged = merge_coverage(&mut all, coverage);
                    counts.gaps += u64::from(merged == Merged::New);
                    // Also where it is known from another import: this one's receipt tells of it, and
                    // it stays when the other is taken back.
                    if merged != Merged::Known || !state.was_told(&scope, id, coverage) {
                        part.records.push(Record::Coverage(coverage.clone()));
                    }
                }
                part.counts = Some(counts);
                Ok(vec![part])
            });
            if placed.is_err() || is_stale {
                self.discard_segment(file.as_deref());
            }
            if let Some(rows) = placed?.into_iter().next() {
                committed = Some((counts, verdict, rows));
            }
        }
        let (counts, verdict, rows) = committed.expect("the loop ends with it");
        running.file.committed(verdict, rows);
        Ok(counts)
    }

    /// The rows of what is new of a batch.
    pub(crate) fn new_rows(
        &self,
        scope: &Scope,
        source: &Text,
        accesses: &[Access],
        quarantine: &[Quarantine],
        is_stored: &[bool],
    ) -> Result<Part, Error> {
        let mut part = Part::new(scope.clone(), source.clone());
        let (is_stored, is_quarantine_stored) = is_stored.split_at(accesses.len());
        let new = accesses.iter().zip(is_stored).filter(|(_, is_stored)| !**is_stored);
        let new = new.map(|(access, _)| access);
        if is_bulk(new.clone(), self.options.memtable_size_bytes) {
            let ingest_time = self.options.clock.now();
            let lines = new.zip(0..).map(|(access, ordinal)| {
                let content = Content::Access(access);
                Line { seq: ordinal, ingest_time, source, content }
            });
            part.segment = self.write_segment(scope, lines.collect())?;
        } else {
            part.records.extend(new.cloned().map(Record::Access));
        }
        let quarantine = quarantine.iter().zip(is_quarantine_stored);
        let quarantine = quarantine.filter(|(_, is_stored)| !**is_stored);
        let quarantine = quarantine.map(|(bytes, _)| Record::Quarantine(bytes.clone()));
        part.records.extend(quarantine);
        Ok(part)
    }

    /// Whether something was committed since that changes what was found to be stored.
    pub(crate) fn is_stale(
        &self,
        state: &State,
        scope: &Scope,
        known: &Known,
        own: &[Range<Seq>],
        wanted: &[Wanted<'_>],
    ) -> Result<bool, Error> {
        match state.log(scope) {
            Some((id, log)) if log.next_seq > known.below => {
                let since = Since { state, id, drafted: &[] };
                Ok(!self.stored_since(known.below, since, own, wanted)?.is_empty())
            }
            _ => Ok(false),
        }
    }

    /// Writes events to a file of their own, which is not yet part of the log; none, if there is none.
    pub(crate) fn write_segment(
        &self,
        scope: &Scope,
        lines: Vec<Line<'_>>,
    ) -> Result<Option<SegmentMeta>, Error> {
        if lines.is_empty() {
            return Ok(None);
        }
        let dir = segment_dir(&self.options.data_dir);
        let name = self.new_segment_name();
        let written = segment::write(&*self.options.disk, &dir, &name, scope, lines);
        written.inspect_err(|_| self.remove_segments([&*name])).map(Some)
    }

    /// Removes a file whose commit was refused, unless its frame may be on the disk after all.
    pub(crate) fn discard_segment(&self, name: Option<&str>) {
        if self.writer().is_ok_and(|writer| !writer.wal.is_poisoned()) {
            self.remove_segments(name);
        }
    }

    pub(crate) fn finish_import(
        &self,
        id: &ImportId,
        end: ImportEnd,
    ) -> Result<ImportCounts, Error> {
        let mut imports = self.imports()?;
        let running = imports.running(id)?;
        let mut totals = ImportCounts::default();
        self.write(|state, now| {
            let (project, receipt) =
                state.catalog.imports.get(id).ok_or_else(|| not_running(id))?;
            let mut receipt = receipt.clone();
            receipt.state = match end.complete {
                true => ImportState::Complete,
                false => ImportState::Interrupted,
            };
            receipt.ended = Some(now);
            receipt.files = end.files;
            receipt.unknown_ids = end.unknown_ids;
            receipt.counts.lines = end.lines;
            totals = receipt.counts;
            let attributes = [
                ("verb", Text::from(if end.complete { "complete" } else { "interrupt" })),
                ("project", Text::from(project.to_string())),
                ("events", Text::from(totals.events.to_string())),
                ("duplicates", Text::from(totals.duplicates.to_string())),
                ("expired", Text::from(totals.expired.to_string())),
            ];
            let event = own::event(&running.by, Action::Import, ("import", id), now, attributes);
            let receipt = vec![Record::ImportReceipt(receipt)];
            let receipt = Part {
                records: receipt,
                ..Part::new(Scope::Project(*project), own::SOURCE.into())
            };
            Ok(vec![receipt, own::part(vec![event])])
        })?;
        imports.running.remove(id);
        Ok(totals)
    }

    pub(crate) fn take_back_import(&self, id: &ImportId, by: &Actor) -> Result<(), Error> {
        // Not beside a batch of the same import, whose rows would stay.
        let mut imports = self.imports()?;
        self.write(|state, now| {
            let Some((project, receipt)) = state.catalog.imports.get(id) else {
                return Err(Error::new(ErrorKind::Missing, format!("no import {id}")));
            };
            if receipt.state == ImportState::Retracted {
                return Err(Error::new(ErrorKind::Exists, format!("{id} is taken back already")));
            }
            let retraction = Retraction { import: id.clone(), by: by.principal.clone(), at: now };
            let retraction = vec![Record::Retraction(retraction)];
            let retraction = Part {
                records: retraction,
                ..Part::new(Scope::Project(*project), own::SOURCE.into())
            };
            let attributes = [
                ("project", Text::from(project.to_string())),
                ("events", Text::from(receipt.counts.events.to_string())),
            ];
            let event = own::event(by, Action::Retract, ("import", id), now, attributes);
            Ok(vec![retraction, own::part(vec![event])])
        })?;
        imports.running.remove(id);
        Ok(())
    }

    pub(crate) fn check_reserve(&self) -> Result<(), Error> {
        let dir = &self.options.data_dir;
        let free = self.options.disk.free_bytes(dir);
        let free = free.map_err(|error| Error::io(dir, "ask for the free space of", error))?;
        match free < self.options.reserve_size_bytes {
            true => Err(Error {
                path: Some(dir.clone()),
                ..Error::new(
                    ErrorKind::DiskFull,
                    format!(
                        "{free} bytes are free, and {} are kept so that the server can go on",
                        self.options.reserve_size_bytes
                    ),
                )
            }),
            false => Ok(()),
        }
    }

    /// `imp-` and ten characters of 5 random bits each.
    fn new_import_id(&self) -> ImportId {
        const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        loop {
            let mut bytes = [0; 10];
            self.options.random.fill(&mut bytes);
            let digits = bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)]));
            let id: String = "imp-".chars().chain(digits).collect();
            if !self.state().catalog.imports.contains_key(&*id) {
                return id.into();
            }
        }
    }
}

/// What an import found in a batch.
pub(crate) fn count(
    accesses: &[Access],
    quarantine: &[Quarantine],
    is_stored: &[bool],
) -> ImportCounts {
    // A forged line carries any date that its author likes.
    let believed = || accesses.iter().filter(|access| !access.classes.contains(Class::Suspect));
    let mut counts = ImportCounts {
        from: believed().map(|access| access.event_time).min(),
        to: believed().map(|access| access.event_time).max(),
        ..ImportCounts::default()
    };
    let (is_stored, is_quarantine_stored) = is_stored.split_at(accesses.len());
    for (access, is_stored) in accesses.iter().zip(is_stored) {
        match is_stored {
            true => counts.duplicates += 1,
            false => counts.count(access),
        }
    }
    let new = quarantine.iter().zip(is_quarantine_stored).filter(|(_, is_stored)| !**is_stored);
    counts.quarantined = new.count() as u64;
    counts
}

/// Whether the events are enough for a file of their own: then their lines do not pass through the
/// WAL and memory.
pub(crate) fn is_bulk<'a>(
    accesses: impl Iterator<Item = &'a Access>,
    memtable_size_bytes: usize,
) -> bool {
    // A page of the smallest columns.
    const EVENTS: usize = 20_000;
    let (mut count, mut raw_size_bytes) = (0, 0);
    for access in accesses {
        count += 1;
        raw_size_bytes += access.raw.len();
    }
    count >= EVENTS || raw_size_bytes > memtable_size_bytes / 3
}

impl Imports {
    fn running(&mut self, id: &ImportId) -> Result<&mut Running, Error> {
        self.running.get_mut(id).ok_or_else(|| not_running(id))
    }
}

fn not_running(id: &ImportId) -> Error {
    Error::new(ErrorKind::Missing, format!("import {id} is not running"))
}
