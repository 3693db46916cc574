//! The way of a commit: checked against the present state, written, synced, then seen.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use doorbook_event::record::{Actor, ImportCounts, ImportId};
use doorbook_event::registry::{Registry, RegistryChange, RegistryError};
use doorbook_event::{
    Access, Action, Client, LogId, ProjectId, Record, Scope, Seq, Text, Timestamp,
};

use crate::error::{Error, ErrorKind};
use crate::frame::{self, Op, Records};
use crate::segment::SegmentMeta;
use crate::state::State;
use crate::wal::{Lsn, Wal};
use crate::{Entry, Inner, own, retention};

/// What one commit adds to one log.
pub(crate) struct Part {
    pub(crate) scope: Scope,
    pub(crate) source: Text,
    /// The import whose rows these are.
    pub(crate) import: Option<ImportId>,
    /// What that import adds with them.
    pub(crate) counts: Option<ImportCounts>,
    /// A file of accesses, written and synced; its place in the log is filled in here.
    pub(crate) segment: Option<SegmentMeta>,
    /// Records, after the segment's.
    pub(crate) records: Vec<Record>,
}

impl Part {
    /// Nothing yet.
    pub(crate) fn new(scope: Scope, source: Text) -> Part {
        Part { scope, source, import: None, counts: None, segment: None, records: Vec::new() }
    }
}

/// What only one thread at a time may use.
pub(crate) struct Writer {
    pub(crate) wal: Wal,
    pub(crate) is_closed: bool,
    /// The last frames of the snapshots that are kept, from the oldest.
    pub(crate) snapshots: Vec<Lsn>,
    /// How much there was to replay when a flush last failed.
    pub(crate) relief_failed_at: usize,
}

impl Inner {
    /// The writer, for as long as the result lives.
    pub(crate) fn writer(&self) -> Result<MutexGuard<'_, Writer>, Error> {
        let writer = self.writer.lock().map_err(|_| {
            Error::new(ErrorKind::Poisoned, "a write ended in a bug and may be half done: restart")
        })?;
        match writer.is_closed {
            false => Ok(writer),
            true => Err(Error::new(ErrorKind::Io, "the store is closed")),
        }
    }

    /// Writes what `build` makes of the present state, all or nothing, and returns where each part's
    /// rows stand. `build` runs while no other commit can, so that what it checks still holds.
    pub(crate) fn write(
        &self,
        build: impl FnOnce(&State, Timestamp) -> Result<Vec<Part>, Error>,
    ) -> Result<Vec<Range<Seq>>, Error> {
        let mut writer = self.writer()?;
        self.relieve(&mut writer)?;
        let state = self.state();
        let now = self.options.clock.now();
        let (ops, placed) = place(&state, now, build(&state, now)?);
        if ops.is_empty() {
            return Ok(placed);
        }
        let payload = frame::encode(&ops);
        let lsn = writer.wal.append(&payload)?;
        let mut next = State::clone(&state);
        drop(state);
        for op in ops {
            next.apply(op).expect("what was made for this state fits it");
        }
        next.lsn = lsn;
        next.replay_size_bytes += payload.len();
        self.publish(next);
        Ok(placed)
    }

    pub(crate) fn commit_entries(&self, entries: Vec<Entry>) -> Result<(), Error> {
        self.write(|_, _| {
            let parts = entries.into_iter().map(|entry| {
                let mut records = entry.records;
                records.iter_mut().for_each(normalize_record);
                Part { records, ..Part::new(entry.scope, entry.source) }
            });
            Ok(parts.collect())
        })?;
        Ok(())
    }

    pub(crate) fn write_registry(
        &self,
        by: &Actor,
        changes: Vec<RegistryChange>,
    ) -> Result<(), Error> {
        self.write(|state, now| {
            let mut registry = state.catalog.registry.clone();
            let mut events = Vec::new();
            for change in &changes {
                registry.check(change).map_err(refused)?;
                let (kind, name) = change.subject();
                let project = project_of(&registry, change);
                let project = project.map(|id| ("project", Text::from(id.to_string())));
                registry.apply(change);
                let verb = ("verb", Text::from(change.verb()));
                let details = retention::details(&registry, change, now);
                let attributes = [verb].into_iter().chain(project).chain(details);
                let action = Action::RegistryChange;
                events.push(own::event(by, action, (kind, &name), now, attributes));
            }
            let records = changes.into_iter().map(Record::Registry).chain(events).collect();
            Ok(vec![own::part(records)])
        })?;
        Ok(())
    }
}

/// Gives parts their places in their logs, and logs to scopes that have none.
fn place(state: &State, ingest_time: Timestamp, parts: Vec<Part>) -> (Vec<Op>, Vec<Range<Seq>>) {
    let mut ops = Vec::new();
    let mut placed = Vec::new();
    // What earlier parts of this commit did; a commit has few logs.
    let mut logs: Vec<(Scope, LogId, Seq)> = Vec::new();
    let mut new_logs = 0;
    for part in parts {
        let Part { scope, source, import, counts, segment, records } = part;
        let row_count = segment.as_ref().map_or(0, SegmentMeta::rows) + records.len() as u64;
        if row_count > 0 && !logs.iter().any(|(of, ..)| *of == scope) {
            let (log, next) = match state.log(&scope) {
                Some((log, at)) => (log, at.next_seq),
                None => {
                    let count = u32::try_from(state.logs.len()).expect("one log per scope");
                    let log = LogId(count + new_logs);
                    new_logs += 1;
                    ops.push(Op::Log { log, scope: scope.clone() });
                    (log, 0)
                }
            };
            logs.push((scope.clone(), log, next));
        }
        let mut rows = 0..0;
        if let Some((_, log, next)) = logs.iter_mut().find(|(of, ..)| *of == scope) {
            rows = *next..*next + row_count;
            if let Some(mut meta) = segment {
                let count = meta.rows();
                (meta.log, meta.base_seq) = (*log, *next);
                (meta.first_seq, meta.last_seq) = (*next, *next + count.saturating_sub(1));
                meta.import.clone_from(&import);
                *next += count;
                ops.push(Op::Segment(meta));
            }
            if !records.is_empty() {
                let (log, base_seq) = (*log, *next);
                *next += records.len() as u64;
                let import = import.clone();
                ops.push(Op::Records(Records {
                    log,
                    base_seq,
                    ingest_time,
                    source,
                    import,
                    records,
                }));
            }
        }
        placed.push(rows);
        if let (Some(import), Some(counts)) = (import, counts) {
            ops.push(Op::Counts { import, counts });
        }
    }
    (ops, placed)
}

/// One spelling per value: a client that said nothing is no client. Segments, whose columns are the
/// members of the client, could not tell the two apart.
pub(crate) fn normalize(access: &mut Access) {
    if access.client.as_deref() == Some(&Client::default()) {
        access.client = None;
    }
}

fn normalize_record(record: &mut Record) {
    if let Record::Access(access) | Record::Own(access) = record {
        normalize(access);
    }
}

fn refused(error: RegistryError) -> Error {
    let kind = match &error {
        RegistryError::Exists(_) => ErrorKind::Exists,
        RegistryError::Missing(_) => ErrorKind::Missing,
        RegistryError::Invalid(_) => ErrorKind::Invalid,
    };
    Error::new(kind, error.to_string())
}

/// The project that a change is about.
fn project_of(registry: &Registry, change: &RegistryChange) -> Option<ProjectId> {
    match change {
        RegistryChange::ProjectCreated(project) => Some(project.id),
        RegistryChange::ClusterCreated(cluster) => Some(cluster.project),
        RegistryChange::HostAdded(host) => Some(host.project),
        RegistryChange::HostAliasAdded { project, .. } => Some(*project),
        RegistryChange::KeyCreated(key) => Some(key.project),
        RegistryChange::KeyDeleted { public } => Some(registry.key(public)?.project),
        RegistryChange::ServiceAccountCreated(account) => Some(account.project),
        RegistryChange::ServiceAccountDeleted { client_id } => {
            Some(registry.service_account(client_id)?.project)
        }
        RegistryChange::RetentionSet(set) => match set.scope {
            Scope::Project(id) => Some(id),
            Scope::System | Scope::Namespace(_) => None,
        },
    }
}

impl Inner {
    /// The present state.
    pub(crate) fn state(&self) -> Arc<State> {
        // A state is replaced whole, so that a panic elsewhere cannot have left it half made.
        let state = self.state.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        Arc::clone(&state)
    }

    /// Makes a state the present one.
    pub(crate) fn publish(&self, next: State) {
        let mut state = self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *state = Arc::new(next);
    }
}
