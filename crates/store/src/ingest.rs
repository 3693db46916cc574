//! Requests of shippers: each is committed whole, and told line by line what became of it.

use doorbook_event::{Record, Scope};

use crate::commit::{Part, normalize};
use crate::directory::segment_dir;
use crate::error::{Error, ErrorKind};
use crate::identity::{CurrentFile, MemoryIndex, Stored};
use crate::{Ingest, IngestLine, Ingested, Inner, LineResult};

impl Inner {
    pub(crate) fn ingest(&self, request: Ingest) -> Result<Ingested, Error> {
        let _one_at_a_time = self.imports()?;
        self.check_reserve()?;
        let Ingest { project, source, key: _, lines } = request;
        let scope = Scope::Project(project);
        let mut accesses = Vec::new();
        let mut quarantine = Vec::new();
        let mut order = Vec::with_capacity(lines.len());
        for line in lines {
            match line {
                IngestLine::Event(mut access) => {
                    normalize(&mut access);
                    order.push((true, accesses.len()));
                    accesses.push(*access);
                }
                IngestLine::Unreadable(bytes) => {
                    order.push((false, quarantine.len()));
                    quarantine.push(*bytes);
                }
            }
        }
        let state = self.state();
        if state.catalog.registry.project(project).is_none() {
            return Err(Error::new(ErrorKind::Missing, format!("no project {project}")));
        }
        let dir = segment_dir(&self.options.data_dir);
        let disk = &*self.options.disk;
        let log = state.log(&scope).map(|(id, log)| (id, &**log));
        let stored = Stored { keys: &self.keys, disk, dir: &dir, log };
        let mut memory = MemoryIndex::default();
        let verdict = CurrentFile::default().judge(stored, &mut memory, &accesses, &quarantine)?;
        drop(state);

        let mut is_stored = Vec::with_capacity(order.len());
        let mut records = Vec::new();
        let mut accesses = accesses.into_iter();
        let mut quarantine = quarantine.into_iter();
        for (is_event, at) in order {
            let (stored, record) = match is_event {
                true => (verdict.accesses[at], accesses.next().map(Record::Access)),
                false => (verdict.quarantine[at], quarantine.next().map(Record::Quarantine)),
            };
            is_stored.push(stored);
            records.extend(record.filter(|_| !stored));
        }
        let part = Part { records, ..Part::new(scope.clone(), source) };
        let placed = self.write(|_, _| Ok(vec![part]))?;
        let log = self.state().log(&scope).map(|(id, _)| id);
        let mut seqs = placed.into_iter().next().unwrap_or(0..0);
        let lines = is_stored.into_iter().map(|stored| match (stored, log) {
            (false, Some(log)) => {
                let seq = seqs.next().expect("a place for every record that was written");
                LineResult::Stored { log, seq }
            }
            _ => LineResult::Duplicate,
        });
        Ok(Ingested { lines: lines.collect() })
    }
}
