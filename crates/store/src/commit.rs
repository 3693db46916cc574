//! The way of a commit: checked against the present state, written, synced, then seen.
//!
//! Commits of records and requests wait in the [`Queue`](crate::queue::Queue) and are written in
//! groups. What must look at the state first (registry, imports) writes a frame of its own with
//! [`Inner::write`]. Both go through a [`Draft`]: the next frame, with each record's place.

use std::ops::Range;
use std::sync::{Arc, MutexGuard};

use doorbook_event::arrays::Act;
use doorbook_event::record::{Actor, ImportCounts, ImportId};
use doorbook_event::registry::{Registry, RegistryChange, RegistryError};
use doorbook_event::{
    Access, Action, Class, Client, LogId, ProjectId, Record, Scope, Seq, Text, Timestamp,
};

use crate::alarm::Change;
use crate::coverage::Rows;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Advanced, Op, Records};
use crate::identity::Hash128;
use crate::ingest::Request;
use crate::queue::Bounds;
use crate::request_keys::RequestKey;
use crate::reviews::Step;
use crate::segment::SegmentMeta;
use crate::state::State;
use crate::wal::{KEPT_SIZE_BYTES_MAX, Wal};
use crate::{Entry, Ingested, Inner, Options, own, retention};

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
    /// The same in their WAL form, one after the other, if that was made already.
    pub(crate) encoded: Option<Vec<u8>>,
    /// The key of the request that this is, and what it said.
    pub(crate) key: Option<(Text, [u8; 16])>,
    /// How far a source comes with it; the rows are added to its own here.
    pub(crate) advanced: Option<Advanced>,
    /// Steps of alarms.
    pub(crate) alarms: Vec<Change>,
    /// A review, and what was done to it.
    pub(crate) reviewed: Option<(Text, Vec<Step>)>,
}

impl Part {
    /// Nothing yet.
    pub(crate) fn new(scope: Scope, source: Text) -> Part {
        let records = Vec::new();
        let (import, counts, segment, encoded) = (None, None, None, None);
        let (key, advanced, alarms, reviewed) = (None, None, Vec::new(), None);
        Part {
            scope,
            source,
            import,
            counts,
            segment,
            records,
            encoded,
            key,
            advanced,
            alarms,
            reviewed,
        }
    }
}

/// What waits for its turn to be written.
pub(crate) enum Proposal {
    /// Records as they are.
    Parts(Vec<Part>),
    /// A request of a shipper, of which only what is new is written.
    Request(Box<Request>),
}

/// What only one thread at a time may use.
pub(crate) struct Writer {
    pub(crate) wal: Wal,
    /// The last frame's payload, whose place the next one's takes.
    pub(crate) payload: Vec<u8>,
    pub(crate) is_closed: bool,
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
        self.make_room()?;
        let mut writer = self.writer()?;
        let state = self.state();
        let mut draft = Draft::new(&state, self.options.clock.now(), &mut writer);
        let parts = build(&state, draft.ingest_time)?;
        let placed = parts.into_iter().map(|part| self.add(&mut draft, part, None)).collect();
        self.write_draft(&mut writer, draft)?;
        Ok(placed)
    }

    pub(crate) fn commit_entries(&self, entries: Vec<Entry>) -> Result<(), Error> {
        let mut size_bytes = 0;
        let parts = entries.into_iter().map(|entry| {
            let mut records = entry.records;
            records.iter_mut().for_each(normalize_record);
            let mut encoded = Vec::new();
            for record in &records {
                minicbor::encode(record, &mut encoded).expect("a Vec takes every byte");
            }
            size_bytes += encoded.len();
            Part { records, encoded: Some(encoded), ..Part::new(entry.scope, entry.source) }
        });
        let parts = Proposal::Parts(parts.collect());
        let answers = self.propose(vec![(size_bytes, parts)]);
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Has proposals, each with its size in bytes, written together and with whatever else waits.
    pub(crate) fn propose(
        &self,
        proposals: Vec<(usize, Proposal)>,
    ) -> Vec<Result<Ingested, Error>> {
        if proposals.is_empty() {
            return Vec::new();
        }
        if let Err(error) = self.make_room() {
            return proposals.iter().map(|_| Err(error.again())).collect();
        }
        let Options { queue_size_bytes: bytes, wait_max, .. } = self.options;
        let bounds = Bounds { size_bytes: bytes, wait: wait_max };
        self.queue.propose(proposals, bounds, |group| self.write_group(group))
    }

    /// Writes a group as one frame. A proposal that is refused for its own sake does not keep the
    /// others; a failed write refuses them all.
    fn write_group(&self, group: Vec<Proposal>) -> Vec<Result<Ingested, Error>> {
        let mut writer = match self.writer() {
            Ok(writer) => writer,
            Err(error) => return group.iter().map(|_| Err(error.again())).collect(),
        };
        let state = self.state();
        let mut draft = Draft::new(&state, self.options.clock.now(), &mut writer);
        let mut answers: Vec<_> = group
            .into_iter()
            .map(|proposal| match proposal {
                Proposal::Request(request) => self.add_request(&mut draft, *request),
                Proposal::Parts(parts) => {
                    for part in parts {
                        self.add(&mut draft, part, None);
                    }
                    Ok(Ingested::default())
                }
            })
            .collect();
        if let Err(error) = self.write_draft(&mut writer, draft) {
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(error.again());
            }
        }
        answers
    }

    /// Adds a part to a draft, and its rows to what is known of rows in memory.
    pub(crate) fn add(
        &self,
        draft: &mut Draft,
        part: Part,
        hashes: Option<&[Option<Hash128>]>,
    ) -> Range<Seq> {
        let first = draft.ops.len();
        let rows = draft.add(part);
        for op in &draft.ops[first..] {
            if let Op::Records(group) = op {
                let log = draft.state.logs.get(group.log.0 as usize);
                self.memory().add(&self.keys, group, log.map(|log| &**log), hashes);
            }
        }
        rows
    }

    /// Makes a draft durable, and then seen.
    fn write_draft(&self, writer: &mut Writer, draft: Draft) -> Result<(), Error> {
        let Draft { state, ops, payload, logs, .. } = draft;
        if ops.is_empty() {
            return Ok(());
        }
        let lsn = self.counters.commit(|| writer.wal.append(&payload)).inspect_err(|_| {
            for (_, log, _) in &logs {
                let next_seq = state.logs.get(log.0 as usize).map_or(0, |log| log.next_seq);
                self.memory().forget_from(*log, next_seq);
            }
        })?;
        let mut next = State::clone(&state);
        drop(state);
        for op in ops {
            next.apply(op).expect("what was made for this state fits it");
        }
        next.lsn = lsn;
        next.replay_size_bytes += payload.len();
        self.publish(next);
        if payload.capacity() <= KEPT_SIZE_BYTES_MAX {
            writer.payload = payload;
        }
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
            let mut acts = Vec::new();
            for change in &changes {
                registry.check(change).map_err(refused)?;
                acts.extend(act(&registry, change, by, now));
                let (kind, name) = change.subject();
                let project = project_of(&registry, change);
                let project = project.map(|id| ("project", Text::from(id.to_string())));
                registry.apply(change);
                let verb = ("verb", Text::from(change.verb()));
                let role = match change {
                    RegistryChange::RoleGranted { role, .. } => {
                        Some(("role", role.api_name().into()))
                    }
                    _ => None,
                };
                let details = retention::details(&registry, change, now).into_iter().chain(role);
                let attributes = [verb].into_iter().chain(project).chain(details);
                let action = Action::RegistryChange;
                events.push(own::event(by, action, (kind, &name), now, attributes));
            }
            let records = changes.into_iter().map(Record::Registry).chain(events).collect();
            Ok([own::part(records)].into_iter().chain(acts).collect())
        })?;
        Ok(())
    }
}

/// A frame in work.
pub(crate) struct Draft {
    /// What it is added to.
    pub(crate) state: Arc<State>,
    pub(crate) ingest_time: Timestamp,
    pub(crate) ops: Vec<Op>,
    payload: Vec<u8>,
    /// The next position of each log that it adds to; a commit has few logs.
    logs: Vec<(Scope, LogId, Seq)>,
}

impl Draft {
    fn new(state: &Arc<State>, ingest_time: Timestamp, writer: &mut Writer) -> Draft {
        let state = Arc::clone(state);
        let mut payload = std::mem::take(&mut writer.payload);
        payload.clear();
        Draft { state, ingest_time, ops: Vec::new(), payload, logs: Vec::new() }
    }

    /// The log of a scope, where there is one or will be.
    pub(crate) fn log(&self, scope: &Scope) -> Option<LogId> {
        let drafted = self.logs.iter().find(|(of, ..)| of == scope).map(|(_, log, _)| *log);
        drafted.or_else(|| self.state.log(scope).map(|(log, _)| log))
    }

    /// What a request said that this adds under a key.
    pub(crate) fn request_key(&self, scope: &Scope, source: &str, key: &str) -> Option<[u8; 16]> {
        let wanted = self.log(scope)?;
        self.ops.iter().find_map(|op| match op {
            Op::RequestKey { log, key: known } => {
                let is_it = *log == wanted && *known.source == *source && *known.key == *key;
                is_it.then_some(known.content)
            }
            _ => None,
        })
    }

    /// Gives a part its place in its log, and a log to a scope that has none.
    fn add(&mut self, part: Part) -> Range<Seq> {
        let Part { scope, source, import, counts, segment, records, encoded, .. } = part;
        let (key, advanced, alarms) = (part.key, part.advanced, part.alarms);
        let count = segment.as_ref().map_or(0, SegmentMeta::rows) + records.len() as u64;
        let mut rows = 0..0;
        // Before what it told: a gap is a gap in what was seen.
        if let Some(mut advanced) = advanced {
            if count > 0 {
                let at = self.place(&scope);
                let start = self.logs[at].2;
                advanced.own.push(Rows { start, end: start + count });
            }
            self.put(Op::Advanced(advanced));
        }
        if count > 0 {
            let at = self.place(&scope);
            let (_, log, next) = &mut self.logs[at];
            let log = *log;
            rows = *next..*next + count;
            *next = rows.end;
            let mut base_seq = rows.start;
            if let Some(mut meta) = segment {
                let count = meta.rows();
                (meta.log, meta.base_seq) = (log, base_seq);
                (meta.first_seq, meta.last_seq) = (base_seq, base_seq + count.saturating_sub(1));
                meta.import.clone_from(&import);
                base_seq += count;
                self.put(Op::Segment(meta));
            }
            if !records.is_empty() {
                let (import, source) = (import.clone(), source.clone());
                let ingest_time = self.ingest_time;
                let group = Records { log, base_seq, ingest_time, source, import, records };
                self.put_records(group, encoded);
            }
        }
        if let (Some((key, content)), Some(log)) = (key, self.log(&scope)) {
            let key = RequestKey { source, key, content, ingest_time: self.ingest_time };
            self.put(Op::RequestKey { log, key });
        }
        if let (Some(import), Some(counts)) = (import, counts) {
            self.put(Op::Counts { import, counts });
        }
        if !alarms.is_empty() {
            self.put(Op::Alarms(alarms));
        }
        if let Some((review, steps)) = part.reviewed {
            self.put(Op::Reviewed { review, steps });
        }
        rows
    }

    /// Where in `logs` a scope's log stands.
    fn place(&mut self, scope: &Scope) -> usize {
        if let Some(at) = self.logs.iter().position(|(of, ..)| of == scope) {
            return at;
        }
        let (log, next) = match self.state.log(scope) {
            Some((log, at)) => (log, at.next_seq),
            None => {
                let drafted = self.ops.iter().filter(|op| matches!(op, Op::Log { .. })).count();
                let count = self.state.logs.len() + drafted;
                let log = LogId(u32::try_from(count).expect("one log per scope"));
                self.put(Op::Log { log, scope: scope.clone() });
                (log, 0)
            }
        };
        self.logs.push((scope.clone(), log, next));
        self.logs.len() - 1
    }

    fn put(&mut self, op: Op) {
        frame::put(&mut self.payload, &op);
        self.ops.push(op);
    }

    fn put_records(&mut self, group: Records, encoded: Option<Vec<u8>>) {
        match encoded {
            None => self.put(Op::Records(group)),
            Some(encoded) => {
                let count = group.records.len();
                frame::put_records(&mut self.payload, &group, count, &encoded);
                self.ops.push(Op::Records(group));
            }
        }
    }
}

/// One spelling per value: a client that said nothing is no client. Segments, whose columns are the
/// members of the client, could not tell the two apart.
pub(crate) fn normalize(access: &mut Access) {
    if access.client.as_deref() == Some(&Client::default()) {
        access.client = None;
    }
}

/// Marks an event of the future: its source's clock is wrong, or ours is. Whether it had to.
pub(crate) fn mark_future(access: &mut Access, now: Timestamp) -> bool {
    // Clocks that nobody watches differ by so much, and not by more.
    const AHEAD_SECONDS_MAX: i64 = 5 * 60;
    let is_future = access.event_time > now.plus_seconds(AHEAD_SECONDS_MAX)
        && !access.classes.contains(Class::Clock);
    if is_future {
        access.classes.insert(Class::Clock);
    }
    is_future
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

/// What a change is to the history of the array that it is about: written with the change itself, so
/// that there is never one without the other.
fn act(registry: &Registry, change: &RegistryChange, by: &Actor, now: Timestamp) -> Option<Part> {
    let RegistryChange::Arrays(change) = change else { return None };
    let Act { scope, target, action, attributes } = registry.arrays().act(change)?;
    let attributes = attributes.into_iter().map(|(name, value)| (Text::from(name), value));
    let access =
        Access { attributes: attributes.collect(), ..Access::own(by, action, target, now) };
    Some(Part { records: vec![Record::Access(access)], ..Part::new(scope, own::SOURCE.into()) })
}

/// The project that a change is about.
fn project_of(registry: &Registry, change: &RegistryChange) -> Option<ProjectId> {
    let project = |scope: &Scope| match scope {
        Scope::Project(id) => Some(*id),
        Scope::System | Scope::Namespace(_) => None,
    };
    match change {
        RegistryChange::ProjectCreated(project) => Some(project.id),
        RegistryChange::ClusterCreated(cluster) => Some(cluster.project),
        RegistryChange::HostAdded(host) => Some(host.project),
        RegistryChange::HostAliasAdded { project, .. }
        | RegistryChange::RoleGranted { project, .. }
        | RegistryChange::RoleRevoked { project, .. } => Some(*project),
        RegistryChange::KeyCreated(key) => Some(key.project),
        RegistryChange::KeyDeleted { public } => Some(registry.key(public)?.project),
        RegistryChange::ServiceAccountCreated(account) => Some(account.project),
        RegistryChange::ServiceAccountDeleted { client_id } => {
            Some(registry.service_account(client_id)?.project)
        }
        RegistryChange::Arrays(_) | RegistryChange::AdministratorSet { .. } => None,
        RegistryChange::SourceSet(source) => source.project(),
        RegistryChange::SourceRemoved { name }
        | RegistryChange::SourceReplayed { name }
        | RegistryChange::SourcePaused { name, .. } => registry.source(name)?.project(),
        RegistryChange::RetentionSet(set) => project(&set.scope),
        RegistryChange::ReviewSet(review) => project(&review.scope),
        RegistryChange::ReviewRemoved { name } => project(&registry.review(name)?.scope),
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
