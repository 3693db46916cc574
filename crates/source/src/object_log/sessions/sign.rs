//! What one request says of its array, by itself.

use doorbook_event::{Action, Text, Timestamp};

use crate::object_log::object::{Object, Place, Span};
use crate::object_log::{Operation, Request};

/// Of which array a request was, and of what in it.
pub(super) struct Name<'a> {
    place: Place<'a>,
    object: Object<'a>,
}

/// What lies in a lane: by time, then so that what leads to another thing is before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) at: Timestamp,
    pub(super) rank: Rank,
    /// The object, where each is a sign by itself.
    pub(super) object: String,
}

/// What is before what, of one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
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
pub(super) struct Sign {
    pub(super) end: Timestamp,
    pub(super) kind: Kind,
    pub(super) requests: u64,
    pub(super) received_bytes: u64,
    /// The least of the requests' ids, whichever came first.
    pub(super) id: Text,
    /// The line of that request, where one request says it all.
    pub(super) line: Box<[u8]>,
    /// What it counts for.
    pub(super) size_bytes: usize,
}

/// What it was.
#[derive(Clone, Debug)]
pub(super) enum Kind {
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
pub(super) struct Got {
    pub(super) schema: bool,
    pub(super) enumerations: bool,
    pub(super) cells: bool,
    pub(super) metadata: bool,
    pub(super) superfluous: bool,
    /// It is read only to be written again.
    pub(super) is_to_merge: bool,
    /// All but the array's metadata.
    pub(super) bytes: u64,
    pub(super) metadata_bytes: u64,
}

/// What appeared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Did {
    Schema { is_copy: bool },
    Write { is_merged: bool },
    Deletion,
    Metadata,
    Merged,
    Ignored,
}

/// What went.
#[derive(Clone, Debug, Default)]
pub(super) struct Gone {
    pub(super) schema: bool,
    /// The schema that the array was created with, of those that went: its first time, and its name.
    pub(super) created: Option<(Timestamp, String)>,
    pub(super) cells: bool,
    pub(super) metadata: bool,
    pub(super) fragments_metadata: bool,
    pub(super) other: bool,
    /// The last list of what was superfluous, by its name.
    pub(super) list: Option<String>,
    /// The first other object that tells of an operation, by its name.
    pub(super) object: Option<String>,
}

/// What a request says of its array, if anything.
pub(super) fn sign(
    request: &Request,
    name: &Name<'_>,
    end: Timestamp,
    is_denied: bool,
    line: &[u8],
) -> Option<(Key, Sign)> {
    let kind = kind(request, name, is_denied)?;
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

impl<'a> Name<'a> {
    /// Of what lies there.
    pub(super) fn new(place: Place<'a>) -> Name<'a> {
        let object = Object::at(place.object);
        Name { place, object }
    }

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

impl Got {
    /// And what another request read.
    pub(super) fn and(&mut self, other: Got) {
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
    /// And what another request removed.
    pub(super) fn and(&mut self, other: Gone) {
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

/// What it tells of, if it tells of anything.
fn kind(request: &Request, name: &Name<'_>, is_denied: bool) -> Option<Kind> {
    let is_list_of = |part: &str| name.place.object.strip_suffix('/') == Some(part);
    Some(match request.operation {
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
    })
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

/// What an upload is counted for: a fragment, what a list of superfluous files is of, or the object.
fn uploaded<'a>(name: &Name<'a>) -> &'a str {
    match name.object {
        Object::Cells(fragment) | Object::FragmentMetadata(fragment) => fragment,
        Object::Superfluous => fragment(name.place.object),
        _ => name.place.object,
    }
}

/// The name in a path that is a fragment's, or one like it.
pub(super) fn fragment(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}
