//! The access logs of object stores: from lines about requests to what was done to arrays.
//!
//! A store that holds arrays knows nothing of arrays: it writes down requests for objects, each with who
//! made it, from where and how many bytes went which way. [`Reader`] reads what three of them write, all as
//! [`Request`]s; [`Sessions`] puts together the requests that are one reading or one change of an array.
//! What the patterns are, and where they mislead, is in `docs/design/object-log.md`.
//!
//! Suggested reading order: [`request`], [`ceph`], [`s3`], [`cloudtrail`], [`object`] (what a key says),
//! [`Sessions`], [`Watch`] (a log that is written), [`Folder`] (files
//! that are each written once).

mod ceph;
mod cloudtrail;
mod folder;
mod object;
mod places;
mod records;
mod request;
mod s3;
mod sessions;
mod telling;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;

use doorbook_event::source::SourceKind;
use doorbook_event::{Text, Timestamp};
use jiff::tz::TimeZone;

use crate::intern::Texts;
use crate::mongod::time::Times;

pub use folder::{Files, Folder, Listed, OnDisk};
pub use places::Places;
pub use records::Records;
pub use request::{Operation, Request};
pub use sessions::{Counts, Sessions};
pub use watch::{Settings, Watch};

/// What a store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The ops log of a Ceph object gateway: JSON objects, one or several in a line.
    CephOpsLog,
    /// The server access log of S3: a line of fields.
    S3AccessLog,
    /// The data events of CloudTrail: one JSON object, whose `Records` are the requests. [`Reader`] reads one
    /// of them, [`Records`] finds them in the file.
    Cloudtrail,
}

impl Format {
    /// What a source of this kind reads, if that is a log of an object store.
    pub const fn of(kind: SourceKind) -> Option<Format> {
        match kind {
            SourceKind::CephOpsLog => Some(Format::CephOpsLog),
            SourceKind::S3AccessLog => Some(Format::S3AccessLog),
            SourceKind::Cloudtrail => Some(Format::Cloudtrail),
            SourceKind::MongodLog | SourceKind::TiledbStorage => None,
        }
    }

    /// The kind of its sources.
    pub const fn kind(self) -> SourceKind {
        match self {
            Format::CephOpsLog => SourceKind::CephOpsLog,
            Format::S3AccessLog => SourceKind::S3AccessLog,
            Format::Cloudtrail => SourceKind::Cloudtrail,
        }
    }

    /// The time in a line, of whatever request it tells.
    fn time(self, line: &[u8]) -> Option<Timestamp> {
        match self {
            Format::CephOpsLog => ceph::time(line),
            Format::S3AccessLog => s3::time_of(line),
            Format::Cloudtrail => None,
        }
    }

    /// How long after a request the log may still tell of requests that were made before it. Until then
    /// nothing is concluded from what the log does not say.
    ///
    /// A gateway writes when a request is over, and few take longer than ten seconds. Amazon delivers server access logs "within a few hours" at
    /// worst and mostly within one, CloudTrail's files within about five minutes.
    pub const fn hold_seconds(self) -> i64 {
        match self {
            Format::CephOpsLog => 10,
            Format::S3AccessLog => 3600,
            Format::Cloudtrail => 900,
        }
    }

    /// How far a log that has been read to its end is behind the present.
    pub const fn delay_seconds(self) -> i64 {
        match self {
            Format::CephOpsLog => 0,
            Format::S3AccessLog => 3600,
            Format::Cloudtrail => 900,
        }
    }
}

/// Why a line tells of no request although it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub Text);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Unreadable {}

/// Reads lines of one format. Remembers what repeats, so one reader should read many; its memory is bounded.
pub struct Reader {
    format: Format,
    texts: Texts,
    times: Times,
}

impl Reader {
    /// Reads lines of this format.
    pub fn new(format: Format) -> Reader {
        Reader { format, texts: Texts::default(), times: Times::new(TimeZone::UTC) }
    }

    /// Hands on the requests that a line tells of. What is no request for an object or a listing is passed
    /// over. Before an error some may have been handed on.
    pub fn line(&mut self, line: &[u8], sink: &mut dyn FnMut(Request)) -> Result<(), Unreadable> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        match self.format {
            Format::CephOpsLog => ceph::read(self, line, sink),
            Format::S3AccessLog => s3::read(self, line, sink),
            Format::Cloudtrail => cloudtrail::read(self, line, sink),
        }
    }

    /// A text that may repeat; `None` for one that says that there is none.
    fn text(&mut self, bytes: &[u8]) -> Option<Text> {
        let says_something = !bytes.is_empty() && bytes != b"-";
        says_something.then(|| self.texts.text(bytes))
    }
}

fn unreadable(why: impl Into<Text>) -> Unreadable {
    Unreadable(why.into())
}
