//! Imports: begun, fed batch by batch, ended, taken back.

use std::collections::HashMap;
use std::sync::MutexGuard;

use doorbook_event::record::{
    Actor, ImportCounts, ImportId, ImportReceipt, ImportState, Retraction,
};
use doorbook_event::{Access, Action, Class, ProjectId, Record, Scope, Text};

use crate::catalog::{Merged, merge_coverage};
use crate::commit::{Part, normalize};
use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::identity::{CurrentFile, MemoryIndex, Stored};
use crate::segment::{self, Content, Line};
use crate::{ImportBatch, ImportEnd, ImportStart, Inner, own};

/// The imports that run in this process. One batch at a time is looked up and written: two at once
/// could each find an event missing and both add it.
#[derive(Default)]
pub(crate) struct Imports {
    running: HashMap<ImportId, Running>,
    memory: MemoryIndex,
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
        let Imports { running, memory } = &mut *imports;
        let Some(running) = running.get_mut(id) else { return Err(not_running(id)) };
        let ImportBatch { accesses, coverage, quarantine } = batch;
        let scope = Scope::Project(running.project);

        let state = self.state();
        let dir = segment_dir(&self.options.data_dir);
        let disk = &*self.options.disk;
        let log = state.log(&scope).map(|(id, log)| (id, &**log));
        let stored = Stored { keys: &self.keys, disk, dir: &dir, log };
        let verdict = running.file.judge(stored, memory, &accesses, &quarantine)?;
        drop(state);

        // A forged line carries any date that its author likes.
        let believed = || accesses.iter().filter(|access| !access.classes.contains(Class::Suspect));
        let mut counts = ImportCounts {
            from: believed().map(|access| access.event_time).min(),
            to: believed().map(|access| access.event_time).max(),
            ..ImportCounts::default()
        };
        let mut new = accesses;
        for (access, is_stored) in new.iter_mut().zip(&verdict.accesses) {
            if *is_stored {
                counts.duplicates += 1;
            } else {
                normalize(access);
                counts.count(access);
            }
        }
        if counts.duplicates > 0 {
            let mut is_stored = verdict.accesses.iter();
            new.retain(|_| !*is_stored.next().expect("a verdict for each"));
        }
        let mut records: Vec<Record> = Vec::new();
        for (bytes, is_stored) in quarantine.into_iter().zip(&verdict.quarantine) {
            if !*is_stored {
                counts.quarantined += 1;
                records.push(Record::Quarantine(bytes));
            }
        }
        let mut part = Part::new(scope.clone(), running.source.clone());
        part.import = Some(id.clone());
        if is_bulk(&new, self.options.memtable_size_bytes) {
            let ingest_time = self.options.clock.now();
            let lines = new.iter().zip(0..).map(|(access, ordinal)| Line {
                seq: ordinal,
                ingest_time,
                source: &running.source,
                content: Content::Access(access),
            });
            let name = self.new_segment_name();
            let written = segment::write(disk, &dir, &name, &scope, lines.collect());
            part.segment = Some(written.inspect_err(|_| self.remove_segments([&*name]))?);
            part.records = records;
        } else {
            part.records = new.into_iter().map(Record::Access).chain(records).collect();
        }

        let file = part.segment.as_ref().map(|meta| meta.name.clone());
        let placed = self.write(|state, _| {
            let mut known = state.catalog.coverage.get(&scope).cloned().unwrap_or_default();
            for coverage in coverage {
                let merged = merge_coverage(&mut known, &coverage);
                counts.gaps += u64::from(merged == Merged::New);
                // Also where it is known from another import: this one's receipt tells of it, and it
                // stays when the other is taken back.
                if merged != Merged::Known || !state.was_told(&scope, id, &coverage) {
                    part.records.push(Record::Coverage(coverage));
                }
            }
            part.counts = Some(counts);
            Ok(vec![part])
        });
        let placed = placed.inspect_err(|_| {
            // Not if the frame may be on the disk after all.
            if self.writer().is_ok_and(|writer| !writer.wal.is_poisoned()) {
                self.remove_segments(file.as_deref());
            }
        })?;
        let rows = placed.into_iter().next().expect("one part was written");
        running.file.committed(verdict, rows);
        Ok(counts)
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

/// Whether the events are enough for a file of their own: then their lines do not pass through the
/// WAL and memory.
fn is_bulk(accesses: &[Access], memtable_size_bytes: usize) -> bool {
    // A page of the smallest columns.
    const EVENTS: usize = 20_000;
    accesses.len() >= EVENTS
        || accesses.iter().map(|access| access.raw.len()).sum::<usize>() > memtable_size_bytes / 3
}

impl Imports {
    fn running(&mut self, id: &ImportId) -> Result<&mut Running, Error> {
        self.running.get_mut(id).ok_or_else(|| not_running(id))
    }
}

fn not_running(id: &ImportId) -> Error {
    Error::new(ErrorKind::Missing, format!("import {id} is not running"))
}
