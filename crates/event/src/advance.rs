//! [`Advance`]: what a source read, together with where it goes on.
//!
//! Whoever follows a log makes these, on the server or in an agent; whoever stores one writes the records
//! and the position together, and only on top of the position that they were read from.

use minicbor::{Decode, Encode};

use crate::record::{Coverage, Heartbeat, Quarantine};
use crate::source::Source;
use crate::{Access, Text, Timestamp};

/// What a source read since it last came further, and where it goes on.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Advance {
    /// The source, as the registry has it.
    #[n(0)]
    pub source: Source,
    /// Where it was before; empty if it begins.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub after: Vec<u8>,
    /// Where it is now, in its own form.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub position: Vec<u8>,
    /// Whether this is the beginning of another file: equal events of one file are as many events, the
    /// same events in the next file are the same ones.
    #[n(3)]
    pub is_next_file: bool,
    /// Events, in the order of the input.
    #[n(4)]
    pub accesses: Vec<Access>,
    /// What the target did not show, and what this source did not see.
    #[n(5)]
    pub coverage: Vec<Coverage>,
    /// Bytes that could not be read.
    #[n(6)]
    pub quarantine: Vec<Quarantine>,
    /// That it is alive.
    #[n(7)]
    pub heartbeat: Option<Heartbeat>,
    /// It has read everything that was written before; never later than our clock.
    #[n(8)]
    pub through: Option<Timestamp>,
    /// Where what it sees begins, if it never came anywhere yet.
    #[n(9)]
    pub since: Option<Timestamp>,
    /// Lines it read.
    #[n(10)]
    pub lines: u64,
    /// Why something may be missing of what it saw without a sign of it: that is best effort then, and
    /// never watched.
    #[cbor(n(11), default)]
    pub doubt: Option<Text>,
}

/// What became of an [`Advance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Advanced {
    /// Events that were new.
    #[n(0)]
    pub events: u64,
    /// Events that were stored before.
    #[n(1)]
    pub duplicates: u64,
    /// Events that are older than their scope keeps any; not stored.
    #[n(2)]
    pub expired: u64,
    /// Lines put aside that were new.
    #[n(3)]
    pub quarantined: u64,
}

impl Advance {
    /// About how much memory it takes.
    pub fn size_bytes(&self) -> usize {
        let raw = self.accesses.iter().map(|access| access.raw.len() + size_of::<Access>());
        let bytes = self.quarantine.iter().map(|quarantine| quarantine.bytes.len());
        let others = self.coverage.len() * size_of::<Coverage>() + size_of::<Heartbeat>();
        raw.sum::<usize>() + bytes.sum::<usize>() + size_of::<Quarantine>() + others
    }
}
