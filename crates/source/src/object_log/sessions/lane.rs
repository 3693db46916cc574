//! What one client does with one array: its signs, interpreted one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use doorbook_event::{Action, Text, Timestamp};

use super::events::Events;
use super::sign::{Did, Gone, Got, Key, Kind, Sign, fragment};
use super::{Counts, Sessions};

/// One reading's requests are at most so far apart.
const GAP_MICROS: i64 = 2_000_000;

/// Who reads and then writes what merges fragments within this time read for that.
pub(super) const MERGE_MICROS: i64 = 20_000_000;

/// What was not gone on with for as long will not be: a day.
const FORGOTTEN_MICROS: i64 = 24 * 3_600_000_000;

/// Who works on which array.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) bucket: Text,
    pub(super) array: Text,
    pub(super) requester: Option<Text>,
    pub(super) address: Option<IpAddr>,
    pub(super) program: Option<Text>,
}

/// What one client does with one array.
#[derive(Debug, Default)]
pub(super) struct Lane {
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
pub(super) struct First {
    pub(super) at: Timestamp,
    pub(super) id: Text,
    pub(super) line: Box<[u8]>,
}

/// Requests that read, in a row.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) first: First,
    pub(super) end: Timestamp,
    pub(super) got: Got,
    pub(super) requests: u64,
    /// Something was changed right after it.
    pub(super) leads_to_change: bool,
}

/// Requests that removed something, in a row.
#[derive(Debug)]
pub(super) struct Removing {
    pub(super) first: First,
    pub(super) end: Timestamp,
    pub(super) gone: Gone,
    pub(super) is_vacuum: bool,
    /// The list of commits that no longer hold since.
    pub(super) ignored: Option<String>,
    pub(super) requests: u64,
}

/// Requests that were not let, in a row.
#[derive(Debug)]
pub(super) struct Denial {
    pub(super) first: First,
    pub(super) end: Timestamp,
    pub(super) reason: Option<Text>,
    pub(super) status: u16,
    pub(super) requests: u64,
}

impl Lane {
    /// How many bytes more it takes.
    pub(super) fn add(&mut self, key: Key, sign: Sign) -> usize {
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
    pub(super) fn decide(
        &mut self,
        until: Timestamp,
        has_room: bool,
        events: &mut Events<'_>,
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
            if events.target().is_none() {
                counts.unregistered += sign.requests;
            }
            self.end_before(key.at, events);
            self.interpret(key, sign, has_room, events);
        }
        self.end_before(until, events);
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

    fn interpret(&mut self, key: Key, sign: Sign, has_room: bool, events: &mut Events<'_>) {
        let Sign { end, kind, requests, received_bytes, id, line, .. } = sign;
        let first = First { at: key.at, id, line };
        match kind {
            Kind::Listed => self.listed = Some(key.at),
            Kind::Opened => {
                self.opened = Some(key.at);
                self.vacuuming = None;
                self.ignored = None;
                self.end_removing(events);
            }
            Kind::Read(Got { is_to_merge: true, .. }) => {}
            Kind::Read(got) => self.read(first, end, got, requests, events),
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
                self.did(action, &key.object, first, received_bytes, events);
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
        events: &mut Events<'_>,
    ) {
        if got.superfluous {
            self.vacuuming = Some(first.at);
        }
        let new = Reading { first, end, got, requests, leads_to_change: false };
        let is_long = |reading: &mut Reading| {
            new.first.at.micros() - reading.first.at.micros() > Sessions::READING_MICROS_MAX
        };
        if let Some(reading) = self.reading.take_if(is_long) {
            events.reading(reading);
        }
        match &mut self.reading {
            // It comes too late for what was read since.
            Some(reading) if is_apart(end, reading.first.at) => events.reading(new),
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
        events: &mut Events<'_>,
    ) {
        let before = [self.uploads.remove(object), self.uploads.remove(fragment(object))];
        let sent = before.into_iter().flatten().map(|upload| upload.bytes);
        let bytes = Some(received_bytes + sent.sum::<u64>()).filter(|bytes| *bytes > 0);
        events.change(action, object, first, bytes);
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
    fn end_before(&mut self, at: Timestamp, events: &mut Events<'_>) {
        if let Some(reading) = self.reading.take_if(|reading| is_apart(reading.end, at)) {
            events.reading(reading);
        }
        if self.removing.as_ref().is_some_and(|removing| is_apart(removing.end, at)) {
            self.end_removing(events);
        }
        let over = self.denials.iter().filter(|(_, denial)| is_apart(denial.end, at));
        let over: Vec<Action> = over.map(|(action, _)| *action).collect();
        for action in over {
            if let Some(denial) = self.denials.remove(&action) {
                events.denial(action, denial);
            }
        }
    }

    fn end_removing(&mut self, events: &mut Events<'_>) {
        if let Some(removing) = self.removing.take() {
            events.removing(removing);
        }
    }

    /// How many fragments are being uploaded.
    pub(super) fn n_uploads(&self) -> usize {
        self.uploads.len()
    }

    /// Whether it can be forgotten.
    pub(super) fn is_empty(&self, until: Timestamp) -> bool {
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

/// Whether what ends there and what is here are two.
fn is_apart(end: Timestamp, at: Timestamp) -> bool {
    at.micros().saturating_sub(end.micros()) > GAP_MICROS
}
