//! [`Batch`]: what a source hands on.

use doorbook_event::record::{Coverage, Quarantine, UnknownId};
use doorbook_event::{Access, Timestamp};

/// A bounded group of what was found in an input, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Events.
    pub accesses: Vec<Access>,
    /// Intervals of blindness that ended, or (from the interpreter's `finish`) that last beyond
    /// the input's end.
    pub coverage: Vec<Coverage>,
    /// Bytes that look like a record and could not be read.
    pub quarantine: Vec<Quarantine>,
    /// Message ids of the access component that this version does not know; an id may stand in
    /// several batches, each with its own count.
    pub unknown_ids: Vec<UnknownId>,
    /// Physical lines that were read for this batch.
    pub lines: u64,
    /// Bytes of the raw records in `accesses` and of `quarantine`: what bounds a batch.
    pub size_bytes: usize,
    /// The time of the first line that has one, whether it made a record or not.
    pub earliest: Option<Timestamp>,
    /// The latest time of any line, whether it made a record or not.
    pub latest: Option<Timestamp>,
}

impl Batch {
    /// Whether the batch is as large as one durable write should be.
    pub fn is_full(&self) -> bool {
        self.size_bytes >= Batch::SIZE_BYTES_MAX || self.accesses.len() >= Batch::EVENTS_MAX
    }

    /// Whether there is nothing to store in it.
    pub fn is_empty_of_records(&self) -> bool {
        self.accesses.is_empty() && self.coverage.is_empty() && self.quarantine.is_empty()
    }

    /// 16 MiB of raw records: what is handed on is still in a processor's cache when it is stored.
    /// Four times as much made reading an eighth slower and an import twice as large.
    pub const SIZE_BYTES_MAX: usize = 16 << 20;
    /// 32 Ki events, at about 0.5 kB of structure each. More than the store wants for a file of
    /// its own: with less, the lines would pass through its WAL and memory.
    pub const EVENTS_MAX: usize = 32 << 10;
}
