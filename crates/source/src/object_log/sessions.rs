//! [`Sessions`]: requests that belong together, as one event.
//!
//! Each array has a *lane* for everyone who works on it: requester, address and program. What a request says
//! of the array is a *sign* in its lane: something was read, an object appeared that is a commit, something
//! went. Signs wait in the order of their times, which need not be the order in which they came, until the
//! log can hardly tell of anything between them any more ([`Format::hold_seconds`]). Then they are
//! interpreted one after the other, each with those after it in view. What comes of it depends on the
//! requests, and not on the order or the groups in which they came.
//!
//! Signs of one kind and one instant are one sign, so that a log with whole seconds takes memory by the
//! second. Without room what waits longest is interpreted early ([`Counts::hurried`]).

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use doorbook_event::{
    Access, Action, Attributes, Classes, Client, Outcome, Peer, Principal, Shared, Target, Text,
    Timestamp, WrittenTime,
};

use super::object::{Object, Place, Span};
use super::{Format, Operation, Request};
use crate::intern::{Texts, hash};

/// One reading's requests are at most so far apart.
const GAP_MICROS: i64 = 2_000_000;

/// Who reads and then writes what merges fragments within this time read for that.
const MERGE_MICROS: i64 = 20_000_000;

/// What was not gone on with for as long will not be: a day.
const FORGOTTEN_MICROS: i64 = 24 * 3_600_000_000;

/// What may wait.
const HELD_SIZE_BYTES_MAX: usize = 16 << 20;

/// Fragments that are being uploaded.
const UPLOADS_MAX: usize = 10_000;

/// Where the arrays of one namespace are, and their names in its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    namespace: Text,
    /// By bucket, and by the way in it.
    arrays: HashMap<String, HashMap<String, Text>>,
}

impl Places {
    /// Arrays of a namespace by where they are stored (`s3://bucket/a`) and what their history has for
    /// a name.
    pub fn new<'a>(namespace: Text, arrays: impl IntoIterator<Item = (&'a str, Text)>) -> Places {
        let mut places = Places { namespace, arrays: HashMap::new() };
        for (uri, array) in arrays {
            let Some(rest) = uri.strip_prefix("s3://") else { continue };
            let (bucket, way) = rest.split_once('/').unwrap_or((rest, ""));
            let bucket = places.arrays.entry(bucket.to_owned()).or_default();
            bucket.insert(way.trim_end_matches('/').to_owned(), array);
        }
        places
    }

    fn target(&self, bucket: &str, way: &str) -> Option<Target> {
        let array = self.arrays.get(bucket)?.get(way)?;
        Some(Target::Array { namespace: self.namespace.clone(), array: array.clone() })
    }
}

/// What became of requests that no event tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// For what is no part of an array.
    pub foreign: u64,
    /// For arrays that the namespace does not have.
    pub unregistered: u64,
    /// What failed otherwise than by being denied.
    pub failed: u64,
    /// Told of more than once: logs are delivered at least once.
    pub repeated: u64,
    /// Earlier than what was interpreted already.
    pub late: u64,
    /// How often there was no room to wait.
    pub hurried: u64,
}

/// Puts requests together.
pub struct Sessions {
    hold_micros: i64,
    lanes: BTreeMap<Who, Lane>,
    texts: Texts,
    held_size_bytes: usize,
    n_uploads: usize,
    /// The end of the latest request.
    latest: Option<Timestamp>,
    /// Up to where signs were interpreted.
    decided: Timestamp,
    /// Requests that were taken and not interpreted, so that one that is told of twice is one.
    taken: Taken,
    counts: Counts,
}

impl Sessions {
    /// A reading that lasts longer than an hour is told of as several.
    pub const READING_MICROS_MAX: i64 = 3_600_000_000;

    /// For a log of this format.
    pub fn new(format: Format) -> Sessions {
        Sessions {
            // What comes after a reading is needed to know what it was for.
            hold_micros: format.hold_seconds() * 1_000_000 + MERGE_MICROS,
            lanes: BTreeMap::new(),
            texts: Texts::default(),
            held_size_bytes: 0,
            n_uploads: 0,
            latest: None,
            decided: Timestamp::MIN,
            taken: Taken::default(),
            counts: Counts::default(),
        }
    }

    /// How many requests there were, and of what no event tells.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The end of the latest request.
    pub fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// What is told is so far behind what was read.
    pub fn hold_micros(&self) -> i64 {
        self.hold_micros
    }

    /// Whether [`Sessions::relieve`] is due.
    pub fn is_full(&self) -> bool {
        self.held_size_bytes > HELD_SIZE_BYTES_MAX
    }

    /// Takes a request, and the line that told of it.
    pub fn add(&mut self, request: &Request, line: &[u8]) {
        self.counts.requests += 1;
        let end = request.at.plus_micros(request.duration_micros);
        self.latest = self.latest.max(Some(end));
        let is_list = matches!(request.operation, Operation::List { .. });
        let place = match is_list {
            true => Place::of_list(&request.key),
            false => Place::of_object(&request.key),
        };
        let Some(place) = place else {
            self.counts.foreign += 1;
            return;
        };
        let is_denied = matches!(request.status, 401 | 403);
        let is_success = (200..300).contains(&request.status);
        if !is_denied && !is_success {
            self.counts.failed += 1;
            return;
        }
        if request.at <= self.decided {
            self.counts.late += 1;
        }
        let who = Who {
            bucket: request.bucket.clone(),
            array: self.texts.text(place.array.as_bytes()),
            requester: request.requester.clone(),
            address: request.address,
            program: request.user_agent.as_ref().map(|agent| self.program(agent)),
        };
        let object = Object::at(place.object);
        let name = Name { place, object };
        if let Some((key, sign)) = sign(request, &name, end, is_denied, line) {
            if !self.taken.add(request) {
                self.counts.repeated += 1;
                return;
            }
            let lane = self.lanes.entry(who).or_default();
            self.held_size_bytes += lane.add(key, sign);
        }
    }

    /// The program without what differs from request to request.
    fn program(&mut self, agent: &Text) -> Text {
        if !agent.contains(" m/") {
            return agent.clone();
        }
        let words = agent.split(' ').filter(|word| !word.starts_with("m/"));
        self.texts.text(words.collect::<Vec<_>>().join(" ").as_bytes())
    }

    /// Tells of what is over, where the log has been read up to `until`.
    pub fn close(&mut self, until: Timestamp, places: &Places, out: &mut Vec<Access>) {
        self.decide(until.plus_micros(-self.hold_micros), places, out);
    }

    /// Tells of what waits longest, until there is room.
    pub fn relieve(&mut self, places: &Places, out: &mut Vec<Access>) {
        let latest = self.latest.unwrap_or(self.decided);
        let mut hold_micros = self.hold_micros;
        while self.held_size_bytes > HELD_SIZE_BYTES_MAX / 2 && hold_micros > 0 {
            self.counts.hurried += 1;
            hold_micros = if hold_micros > 1_000_000 { hold_micros / 2 } else { 0 };
            self.decide(latest.plus_micros(-hold_micros), places, out);
        }
    }

    fn decide(&mut self, until: Timestamp, places: &Places, out: &mut Vec<Access>) {
        if until < self.decided {
            return;
        }
        self.decided = until;
        self.taken.forget(until);
        let first = out.len();
        let (mut freed_size_bytes, mut n_uploads) = (0, 0);
        let has_room = self.n_uploads < UPLOADS_MAX;
        self.lanes.retain(|who, lane| {
            let mut telling = Telling { who, places, target: OnceCell::new(), out };
            freed_size_bytes += lane.decide(until, has_room, &mut telling, &mut self.counts);
            n_uploads += lane.uploads.len();
            !lane.is_empty(until)
        });
        self.held_size_bytes -= freed_size_bytes;
        self.n_uploads = n_uploads;
        // By time, as if there were no lanes.
        out[first..].sort_by(|one, other| {
            let key =
                |access: &Access| (access.event_time, access.attributes.get("request").cloned());
            key(one).cmp(&key(other))
        });
    }
}

/// Which requests were taken, by the minute in which they were made.
#[derive(Default)]
struct Taken {
    minutes: BTreeMap<i64, HashSet<u64>>,
    n_requests: usize,
}

impl Taken {
    /// Eight bytes each. Beyond that the oldest are forgotten, and count again if they come again.
    const REQUESTS_MAX: usize = 1 << 20;

    /// Whether it is new. Requests to remove several objects are one line each, of one id.
    fn add(&mut self, request: &Request) -> bool {
        if request.id.is_empty() {
            return true;
        }
        let Request { id, bucket, key, operation, .. } = request;
        let hash = hash(format!("{id}\n{operation:?}\n{bucket}\n{key}").as_bytes());
        let minute = request.at.micros().div_euclid(60_000_000);
        let is_new = self.minutes.entry(minute).or_default().insert(hash);
        self.n_requests += usize::from(is_new);
        while self.n_requests > Taken::REQUESTS_MAX
            && let Some((_, oldest)) = self.minutes.pop_first()
        {
            self.n_requests -= oldest.len();
        }
        is_new
    }

    /// What was made before is interpreted.
    fn forget(&mut self, until: Timestamp) {
        let rest = self.minutes.split_off(&until.micros().div_euclid(60_000_000));
        let gone = std::mem::replace(&mut self.minutes, rest);
        self.n_requests -= gone.values().map(HashSet::len).sum::<usize>();
    }
}

/// Who works on which array.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    bucket: Text,
    array: Text,
    requester: Option<Text>,
    address: Option<IpAddr>,
    program: Option<Text>,
}

/// Of which array a request was, and of what in it.
struct Name<'a> {
    place: Place<'a>,
    object: Object<'a>,
}

impl Name<'_> {
    fn span(&self) -> Option<Span> {
        Span::of(self.place.object.rsplit('/').next()?)
    }

    /// Whether it is of what merges several others.
    fn is_merged(&self) -> bool {
        let is_wide = |span: Option<Span>| span.is_some_and(Span::is_wide);
        match self.object {
            Object::Cells(fragment) | Object::FragmentMetadata(fragment) => {
                is_wide(Span::of(fragment))
            }
            Object::Write(_) | Object::Metadata => is_wide(self.span()),
            Object::Superfluous | Object::Commits | Object::FragmentsMetadata => true,
            _ => false,
        }
    }
}

/// What lies in a lane: by time, then so that what leads to another thing is before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Timestamp,
    rank: Rank,
    /// The object, where each is a sign by itself.
    object: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Listed,
    Opened,
    Read,
    Put,
    Did,
    Removed,
    Denied,
}

/// What a request, or several of one instant, said.
#[derive(Clone, Debug)]
struct Sign {
    end: Timestamp,
    kind: Kind,
    requests: u64,
    received_bytes: u64,
    /// The least of the requests' ids, whichever came first.
    id: Text,
    /// The line of that request, where one request says it all.
    line: Box<[u8]>,
    /// What it counts for.
    size_bytes: usize,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Someone looked which schemas there are.
    Listed,
    /// Someone looked which commits there are, as it is done first by whoever opens an array.
    Opened,
    Read(Got),
    /// Something is being written.
    Put {
        is_merged: bool,
    },
    Did(Did),
    Removed(Gone),
    Denied {
        action: Action,
        reason: Option<Text>,
        status: u16,
    },
}

/// What was read.
#[derive(Clone, Copy, Debug, Default)]
struct Got {
    schema: bool,
    enumerations: bool,
    cells: bool,
    metadata: bool,
    superfluous: bool,
    /// It is read only to be written again.
    is_to_merge: bool,
    /// All but the array's metadata.
    bytes: u64,
    metadata_bytes: u64,
}

/// What appeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Schema { is_copy: bool },
    Write { is_merged: bool },
    Deletion,
    Metadata,
    Merged,
    Ignored,
}

/// What went.
#[derive(Clone, Debug, Default)]
struct Gone {
    schema: bool,
    /// The schema that the array was created with, of those that went: its first time, and its name.
    created: Option<(Timestamp, String)>,
    cells: bool,
    metadata: bool,
    fragments_metadata: bool,
    other: bool,
    /// The last list of what was superfluous, by its name.
    list: Option<String>,
    /// The first other object that tells of an operation, by its name.
    object: Option<String>,
}

impl Got {
    fn and(&mut self, other: Got) {
        self.schema |= other.schema;
        self.enumerations |= other.enumerations;
        self.cells |= other.cells;
        self.metadata |= other.metadata;
        self.superfluous |= other.superfluous;
        self.bytes += other.bytes;
        self.metadata_bytes += other.metadata_bytes;
    }
}

impl Gone {
    fn and(&mut self, other: Gone) {
        self.schema |= other.schema;
        self.created = self.created.take().into_iter().chain(other.created).min();
        self.cells |= other.cells;
        self.metadata |= other.metadata;
        self.fragments_metadata |= other.fragments_metadata;
        self.other |= other.other;
        self.list = self.list.take().max(other.list);
        self.object = self.object.take().into_iter().chain(other.object).min();
    }
}

/// What a request says of its array, if anything.
fn sign(
    request: &Request,
    name: &Name<'_>,
    end: Timestamp,
    is_denied: bool,
    line: &[u8],
) -> Option<(Key, Sign)> {
    let is_list_of = |part: &str| name.place.object.strip_suffix('/') == Some(part);
    let kind = match request.operation {
        operation if is_denied => Kind::Denied {
            action: denied(operation, name),
            reason: request.error.clone(),
            status: request.status,
        },
        Operation::List { is_of_level: true } if is_list_of("__schema") => Kind::Listed,
        Operation::List { is_of_level: true } if is_list_of("__commits") => Kind::Opened,
        Operation::List { .. } | Operation::Head => return None,
        Operation::Get => Kind::Read(got(request, name.object)),
        Operation::Put | Operation::Complete => match did(name) {
            Some(did) => Kind::Did(did),
            None => Kind::Put { is_merged: name.is_merged() },
        },
        Operation::Copy if name.object == Object::Schema => {
            Kind::Did(Did::Schema { is_copy: true })
        }
        // What is copied was written before.
        Operation::Copy => return None,
        Operation::Begin | Operation::Part => Kind::Put { is_merged: name.is_merged() },
        Operation::Delete => Kind::Removed(gone(name)),
    };
    let (rank, object, has_line) = match &kind {
        Kind::Listed => (Rank::Listed, "", false),
        Kind::Opened => (Rank::Opened, "", false),
        Kind::Read(_) => (Rank::Read, "", false),
        // Of a fragment's files all count for it, as its commit does.
        Kind::Put { .. } => (Rank::Put, uploaded(name), false),
        Kind::Did(_) => (Rank::Did, name.place.object, true),
        Kind::Removed(_) => (Rank::Removed, "", true),
        Kind::Denied { action, .. } => (Rank::Denied, action.word(), true),
    };
    let key = Key { at: request.at, rank, object: object.to_owned() };
    let line: Box<[u8]> = if has_line { line.into() } else { Box::default() };
    let held = key.object.len() + line.len() + request.id.len();
    let size_bytes = size_of::<Key>() + size_of::<Sign>() + held;
    let is_content = matches!(request.operation, Operation::Put | Operation::Part);
    let received_bytes = if is_content { request.bytes_received } else { 0 };
    let id = request.id.clone();
    Some((key, Sign { end, kind, requests: 1, received_bytes, id, line, size_bytes }))
}

fn got(request: &Request, object: Object<'_>) -> Got {
    let is_metadata = object == Object::Metadata;
    Got {
        schema: object == Object::Schema,
        enumerations: object == Object::Enumeration,
        cells: matches!(object, Object::Cells(_)),
        metadata: is_metadata,
        superfluous: object == Object::Superfluous,
        is_to_merge: false,
        bytes: if is_metadata { 0 } else { request.bytes_sent },
        metadata_bytes: if is_metadata { request.bytes_sent } else { 0 },
    }
}

fn did(name: &Name<'_>) -> Option<Did> {
    Some(match name.object {
        Object::Schema => Did::Schema { is_copy: false },
        Object::Write(_) => Did::Write { is_merged: name.is_merged() },
        Object::Deletion => Did::Deletion,
        Object::Metadata if name.is_merged() => Did::Merged,
        Object::Metadata => Did::Metadata,
        Object::Commits | Object::FragmentsMetadata => Did::Merged,
        Object::Ignored => Did::Ignored,
        _ => return None,
    })
}

fn gone(name: &Name<'_>) -> Gone {
    let is_list = name.object == Object::Superfluous;
    let is_sign = matches!(
        name.object,
        Object::Write(_) | Object::Deletion | Object::Metadata | Object::FragmentsMetadata
    );
    let path = || name.place.object.to_owned();
    let created = name.span().filter(|_| name.object == Object::Schema);
    Gone {
        schema: name.object == Object::Schema,
        created: created.map(|span| (span.from, path())),
        cells: matches!(name.object, Object::Cells(_) | Object::FragmentMetadata(_)),
        metadata: name.object == Object::Metadata,
        fragments_metadata: name.object == Object::FragmentsMetadata,
        other: matches!(name.object, Object::Enumeration | Object::Other),
        list: is_list.then(path),
        object: is_sign.then(path),
    }
}

/// What someone tried who was not let.
fn denied(operation: Operation, name: &Name<'_>) -> Action {
    use Operation::{Begin, Complete, Copy, Delete, Get, Head, List, Part, Put};
    match (operation, name.object) {
        (Get | Head, Object::Cells(_)) => Action::QueryRead,
        (Get | Head, Object::Metadata) => Action::ArrayMetadataGet,
        (Get | Head | List { .. }, _) => Action::ReadSchema,
        (Begin | Put | Part | Complete | Copy, object) => match object {
            _ if name.is_merged() => Action::Consolidate,
            Object::Schema | Object::Enumeration => Action::SchemaEvolution,
            Object::Metadata => Action::ArrayMetadataUpdate,
            Object::Deletion => Action::QueryDelete,
            _ => Action::QueryWrite,
        },
        (Delete, Object::Schema) => Action::Delete,
        (Delete, Object::Superfluous) => Action::Vacuum,
        (Delete, _) => Action::DeleteFragments,
    }
}

/// What one client does with one array.
#[derive(Debug, Default)]
struct Lane {
    signs: BTreeMap<Key, Sign>,
    /// What was sent of what is not committed yet, by the fragment or the object.
    uploads: BTreeMap<String, Upload>,
    reading: Option<Reading>,
    removing: Option<Removing>,
    denials: BTreeMap<Action, Denial>,
    listed: Option<Timestamp>,
    opened: Option<Timestamp>,
    /// When it was read what a vacuum is to remove, if that was since the array was last opened.
    vacuuming: Option<Timestamp>,
    /// The list of commits that no longer hold, if it appeared since the array was last opened.
    ignored: Option<String>,
}

/// What was sent so far.
#[derive(Clone, Copy, Debug)]
struct Upload {
    bytes: u64,
    last: Timestamp,
}

/// Where an event began.
#[derive(Clone, Debug)]
struct First {
    at: Timestamp,
    id: Text,
    line: Box<[u8]>,
}

#[derive(Debug)]
struct Reading {
    first: First,
    end: Timestamp,
    got: Got,
    requests: u64,
    /// Something was changed right after it.
    leads_to_change: bool,
}

#[derive(Debug)]
struct Removing {
    first: First,
    end: Timestamp,
    gone: Gone,
    is_vacuum: bool,
    /// The list of commits that no longer hold since.
    ignored: Option<String>,
    requests: u64,
}

#[derive(Debug)]
struct Denial {
    first: First,
    end: Timestamp,
    reason: Option<Text>,
    status: u16,
    requests: u64,
}

impl Lane {
    /// How many bytes more it takes.
    fn add(&mut self, key: Key, sign: Sign) -> usize {
        match self.signs.get_mut(&key) {
            None => {
                let size_bytes = sign.size_bytes;
                self.signs.insert(key, sign);
                size_bytes
            }
            Some(known) => {
                known.end = known.end.max(sign.end);
                known.requests += sign.requests;
                known.received_bytes += sign.received_bytes;
                match (&mut known.kind, sign.kind) {
                    (Kind::Read(got), Kind::Read(more)) => got.and(more),
                    (Kind::Removed(gone), Kind::Removed(more)) => gone.and(more),
                    _ => {}
                }
                if sign.id < known.id {
                    (known.id, known.line) = (sign.id, sign.line);
                }
                0
            }
        }
    }

    /// Interprets the signs up to `until`. How many bytes that gives back.
    fn decide(
        &mut self,
        until: Timestamp,
        has_room: bool,
        telling: &mut Telling<'_>,
        counts: &mut Counts,
    ) -> usize {
        let is_due = self.signs.first_key_value().is_some_and(|(key, _)| key.at <= until);
        if is_due {
            self.mark_merging();
        }
        let mut freed_size_bytes = 0;
        while let Some(entry) = self.signs.first_entry().filter(|entry| entry.key().at <= until) {
            let (key, sign) = entry.remove_entry();
            freed_size_bytes += sign.size_bytes;
            if telling.target().is_none() {
                counts.unregistered += sign.requests;
            }
            self.end_before(key.at, telling);
            self.interpret(key, sign, has_room, telling);
        }
        self.end_before(until, telling);
        let is_forgotten = |then: Timestamp| then.plus_micros(FORGOTTEN_MICROS) < until;
        self.uploads.retain(|_, upload| !is_forgotten(upload.last));
        if self.vacuuming.is_none_or(is_forgotten) && self.opened.is_none_or(is_forgotten) {
            self.vacuuming = None;
            self.ignored = None;
        }
        freed_size_bytes
    }

    /// Marks what is of a consolidation, by what comes after it.
    fn mark_merging(&mut self) {
        let mut merged_at: Option<Timestamp> = None;
        let mut merged = BTreeSet::new();
        for (key, sign) in self.signs.iter_mut().rev() {
            match &mut sign.kind {
                Kind::Opened => merged_at = None,
                Kind::Put { is_merged: true } => {
                    merged_at = Some(key.at);
                    merged.insert(&*key.object);
                }
                Kind::Did(Did::Merged) => merged_at = Some(key.at),
                Kind::Did(Did::Write { is_merged }) => {
                    *is_merged |= merged.contains(fragment(&key.object));
                    if *is_merged {
                        merged_at = Some(key.at);
                    }
                }
                Kind::Read(got) => {
                    let is_soon = |at: Timestamp| at.micros() - key.at.micros() <= MERGE_MICROS;
                    got.is_to_merge = merged_at.is_some_and(is_soon);
                }
                _ => {}
            }
        }
    }

    fn interpret(&mut self, key: Key, sign: Sign, has_room: bool, telling: &mut Telling<'_>) {
        let Sign { end, kind, requests, received_bytes, id, line, .. } = sign;
        let first = First { at: key.at, id, line };
        match kind {
            Kind::Listed => self.listed = Some(key.at),
            Kind::Opened => {
                self.opened = Some(key.at);
                self.vacuuming = None;
                self.ignored = None;
                self.end_removing(telling);
            }
            Kind::Read(Got { is_to_merge: true, .. }) => {}
            Kind::Read(got) => self.read(first, end, got, requests, telling),
            Kind::Put { .. } => {
                self.changed();
                self.upload(key, received_bytes, has_room);
            }
            Kind::Did(Did::Ignored) => {
                self.changed();
                self.ignored = Some(key.object);
            }
            Kind::Did(did) => {
                let action = self.action(did, key.at);
                self.changed();
                self.did(action, &key.object, first, received_bytes, telling);
            }
            Kind::Removed(gone) => {
                self.changed();
                self.removed(first, end, gone, requests);
            }
            Kind::Denied { action, reason, status } => {
                let denial = self.denials.entry(action);
                let denial = denial.or_insert(Denial { first, end, reason, status, requests: 0 });
                denial.end = denial.end.max(end);
                denial.requests += requests;
            }
        }
    }

    fn read(
        &mut self,
        first: First,
        end: Timestamp,
        got: Got,
        requests: u64,
        telling: &mut Telling<'_>,
    ) {
        if got.superfluous {
            self.vacuuming = Some(first.at);
        }
        let new = Reading { first, end, got, requests, leads_to_change: false };
        let is_long = |reading: &mut Reading| {
            new.first.at.micros() - reading.first.at.micros() > Sessions::READING_MICROS_MAX
        };
        if let Some(reading) = self.reading.take_if(is_long) {
            telling.reading(reading);
        }
        match &mut self.reading {
            // It comes too late for what was read since.
            Some(reading) if is_apart(end, reading.first.at) => telling.reading(new),
            Some(reading) => {
                reading.end = reading.end.max(end);
                reading.got.and(got);
                reading.requests += requests;
            }
            None => self.reading = Some(new),
        }
    }

    fn changed(&mut self) {
        if let Some(reading) = &mut self.reading {
            reading.leads_to_change = true;
        }
    }

    /// A schema that appears where others were read is a further one.
    fn action(&self, did: Did, at: Timestamp) -> Action {
        let is_near = |then: Option<Timestamp>| then.is_some_and(|then| !is_apart(then, at));
        let was_read = self.reading.as_ref().is_some_and(|reading| reading.got.schema);
        match did {
            Did::Schema { is_copy: true } => Action::Create,
            Did::Schema { .. } if was_read => Action::SchemaEvolution,
            Did::Schema { .. } if is_near(self.listed) && !is_near(self.opened) => {
                Action::SchemaEvolution
            }
            Did::Schema { .. } => Action::Create,
            Did::Write { is_merged: false } => Action::QueryWrite,
            Did::Deletion => Action::QueryDelete,
            Did::Metadata => Action::ArrayMetadataUpdate,
            Did::Write { is_merged: true } | Did::Merged | Did::Ignored => Action::Consolidate,
        }
    }

    /// Adds to what was sent of a fragment, or of another object.
    fn upload(&mut self, key: Key, bytes: u64, has_room: bool) {
        if let Some(upload) = self.uploads.get_mut(&key.object) {
            upload.bytes += bytes;
            upload.last = key.at;
        } else if bytes > 0 && has_room {
            self.uploads.insert(key.object, Upload { bytes, last: key.at });
        }
    }

    fn did(
        &mut self,
        action: Action,
        object: &str,
        first: First,
        received_bytes: u64,
        telling: &mut Telling<'_>,
    ) {
        let before = [self.uploads.remove(object), self.uploads.remove(fragment(object))];
        let sent = before.into_iter().flatten().map(|upload| upload.bytes);
        let bytes = Some(received_bytes + sent.sum::<u64>()).filter(|bytes| *bytes > 0);
        let mut attributes = Attributes::new();
        attributes.insert("object".into(), object.into());
        if let Some(span) = Span::of(fragment(object)) {
            attributes.insert("data_from".into(), span.from.to_string().into());
            attributes.insert("data_to".into(), span.to.to_string().into());
        }
        if let Some(what) = what(action, object) {
            attributes.insert("what".into(), what.into());
        }
        if let Some(bytes) = bytes {
            attributes.insert("bytes_received".into(), bytes.to_string().into());
        }
        telling.tell(action, first, Outcome::Success, attributes);
    }

    fn removed(&mut self, first: First, end: Timestamp, gone: Gone, requests: u64) {
        let is_vacuum = self.vacuuming.is_some();
        let removing = self.removing.get_or_insert_with(|| Removing {
            first,
            end,
            gone: Gone::default(),
            is_vacuum,
            ignored: None,
            requests: 0,
        });
        removing.end = removing.end.max(end);
        removing.gone.and(gone);
        removing.ignored = removing.ignored.take().or(self.ignored.take());
        removing.requests += requests;
    }

    /// Tells of what is over if the next thing is at `at`.
    fn end_before(&mut self, at: Timestamp, telling: &mut Telling<'_>) {
        if let Some(reading) = self.reading.take_if(|reading| is_apart(reading.end, at)) {
            telling.reading(reading);
        }
        if self.removing.as_ref().is_some_and(|removing| is_apart(removing.end, at)) {
            self.end_removing(telling);
        }
        let over = self.denials.iter().filter(|(_, denial)| is_apart(denial.end, at));
        let over: Vec<Action> = over.map(|(action, _)| *action).collect();
        for action in over {
            if let Some(denial) = self.denials.remove(&action) {
                telling.denial(action, denial);
            }
        }
    }

    fn end_removing(&mut self, telling: &mut Telling<'_>) {
        if let Some(removing) = self.removing.take() {
            telling.removing(removing);
        }
    }

    /// Whether it can be forgotten.
    fn is_empty(&self, until: Timestamp) -> bool {
        let is_past = |then: Option<Timestamp>| then.is_none_or(|then| is_apart(then, until));
        self.signs.is_empty()
            && self.uploads.is_empty()
            && self.reading.is_none()
            && self.removing.is_none()
            && self.denials.is_empty()
            && self.vacuuming.is_none()
            && self.ignored.is_none()
            && is_past(self.listed)
            && is_past(self.opened)
    }
}

/// Makes events of one lane.
struct Telling<'a> {
    who: &'a Who,
    places: &'a Places,
    /// The array, if the namespace has it; not looked up before something is told.
    target: OnceCell<Option<Target>>,
    out: &'a mut Vec<Access>,
}

impl Telling<'_> {
    fn target(&self) -> Option<&Target> {
        let find = || self.places.target(&self.who.bucket, &self.who.array);
        self.target.get_or_init(find).as_ref()
    }

    fn reading(&mut self, reading: Reading) {
        let Reading { first, got, requests, leads_to_change, .. } = reading;
        let action = match got {
            Got { cells: true, .. } => Some(Action::QueryRead),
            Got { metadata: true, .. } => None,
            Got { enumerations: true, .. } => Some(Action::ReadEnumerations),
            Got { schema: true, .. } if !leads_to_change => Some(Action::ReadSchema),
            _ => None,
        };
        if got.metadata {
            // What was read to get there is told with the cells, if any were read.
            let opening = if action.is_none() { got.bytes } else { 0 };
            let attributes = read_attributes(got.metadata_bytes + opening, requests);
            self.tell(Action::ArrayMetadataGet, first.clone(), Outcome::Success, attributes);
        }
        if let Some(action) = action {
            self.tell(action, first, Outcome::Success, read_attributes(got.bytes, requests));
        }
    }

    fn removing(&mut self, removing: Removing) {
        let Removing { first, gone, is_vacuum, ignored, requests, .. } = removing;
        let is_data = gone.cells || gone.metadata || gone.other;
        let (action, what) = match &gone {
            Gone { schema: true, .. } => (Action::Delete, None),
            Gone { list: None, .. } if is_data && !is_vacuum => (Action::DeleteFragments, None),
            Gone { cells: true, .. } => (Action::Vacuum, Some("fragments")),
            Gone { metadata: true, .. } => (Action::Vacuum, Some("metadata")),
            Gone { fragments_metadata: true, .. } => (Action::Vacuum, Some("fragment_metadata")),
            // Commits alone go because others hold them.
            _ => (Action::Vacuum, Some("commits")),
        };
        let mut attributes = Attributes::new();
        attributes.insert("requests".into(), requests.to_string().into());
        if let Some(what) = what {
            attributes.insert("what".into(), what.into());
        }
        let object = match action {
            Action::Delete => gone.created.map(|(_, name)| name),
            _ => ignored.or(gone.list).or(gone.object),
        };
        if let Some(object) = object {
            attributes.insert("object".into(), object.into());
        }
        self.tell(action, first, Outcome::Success, attributes);
    }

    fn denial(&mut self, action: Action, denial: Denial) {
        let Denial { first, reason, status, requests, .. } = denial;
        let outcome = Outcome::Failure { reason, code: Some(i64::from(status)) };
        let mut attributes = Attributes::new();
        attributes.insert("requests".into(), requests.to_string().into());
        self.tell(action, first, outcome, attributes);
    }

    fn tell(&mut self, action: Action, first: First, outcome: Outcome, mut attributes: Attributes) {
        let Some(target) = self.target().cloned() else { return };
        attributes.insert("request".into(), first.id);
        let database = Text::default();
        let user = |name: &Text| Principal::User { name: name.clone(), database };
        self.out.push(Access {
            target,
            event_time: first.at,
            written_time: WrittenTime::Complete,
            action,
            outcome,
            principal: self.who.requester.as_ref().map_or(Principal::Unauthenticated, user),
            mechanism: None,
            peer: self.who.address.map_or(Peer::Unknown, |address| Peer::ip(address, None)),
            peer_joined: false,
            connection: None,
            process_start: None,
            client: self.who.program.as_ref().map(client),
            speculative: None,
            classes: Classes::NONE,
            attributes,
            raw: first.line.into_vec(),
            task_id: None,
        });
    }
}

fn read_attributes(bytes: u64, requests: u64) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.insert("bytes_sent".into(), bytes.to_string().into());
    attributes.insert("requests".into(), requests.to_string().into());
    attributes
}

/// `aws-sdk-cpp/1.11.740 ua/2.1 api/S3 os/Linux#6.1 lang/c++#C++11 …`: the program first, then what it says of
/// its surroundings.
fn client(program: &Text) -> Shared<Client> {
    let mut words = program.split(' ');
    let name = words.next().unwrap_or_default();
    let (driver, version) = name.split_once('/').unwrap_or((name, ""));
    let after = |prefix: &str| {
        let value = program.split(' ').find_map(|word| word.strip_prefix(prefix));
        value.map(|value| Text::from(value.replace('#', " ")))
    };
    Shared::from(Client {
        driver: Some(driver.into()),
        driver_version: Some(version).filter(|version| !version.is_empty()).map(Text::from),
        os: after("os/"),
        platform: after("lang/"),
        ..Client::default()
    })
}

/// What an upload is counted for: a fragment, what a list of superfluous files is of, or the object.
fn uploaded<'a>(name: &Name<'a>) -> &'a str {
    match name.object {
        Object::Cells(fragment) | Object::FragmentMetadata(fragment) => fragment,
        Object::Superfluous => fragment(name.place.object),
        _ => name.place.object,
    }
}

/// Of what a consolidation or an unusual write was.
fn what(action: Action, object: &str) -> Option<&'static str> {
    match (action, object.split('/').next()?) {
        (Action::Consolidate, "__meta") => Some("metadata"),
        (Action::Consolidate, "__fragment_meta") => Some("fragment_metadata"),
        (Action::Consolidate, _) if object.ends_with(".con") => Some("commits"),
        (Action::Consolidate, _) => Some("fragments"),
        (Action::QueryWrite, _) if object.ends_with(".upd") => Some("update"),
        _ => None,
    }
}

/// The name in a path that is a fragment's, or one like it.
fn fragment(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

/// Whether what ends there and what is here are two.
fn is_apart(end: Timestamp, at: Timestamp) -> bool {
    at.micros().saturating_sub(end.micros()) > GAP_MICROS
}
