//! What a WAL frame says: a sequence of [`Op`]s that take effect together.
//!
//! The payload of a frame is a CBOR sequence (RFC 8742): its operations one after the other, each
//! in the deterministic encoding of `docs/design/records.md`. Numbers are never reused. A reader
//! refuses an operation that it does not know: a log with holes proves nothing.

use doorbook_event::record::{ImportCounts, ImportId};
use doorbook_event::{LogId, Record, Scope, Seq, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::segment::SegmentMeta;

/// One step of a commit. Applying the same steps in the same order gives the same state after
/// every restart, so that none of them may look at a clock, a random number or the disk.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub(crate) enum Op {
    /// A scope got its log.
    #[n(1)]
    Log {
        /// Its number: the count of logs before it.
        #[n(0)]
        log: LogId,
        /// Whose.
        #[n(1)]
        scope: Scope,
    },
    /// Records were added to a log.
    #[n(2)]
    Records(#[n(0)] Records),
    /// A file of accesses was added to a log.
    #[n(3)]
    Segment(#[n(0)] SegmentMeta),
    /// All rows in memory are now in these files. Nothing else stands in such a frame.
    #[n(4)]
    Flushed(#[n(0)] Vec<SegmentMeta>),
    /// What an import added in this commit.
    #[n(5)]
    Counts {
        /// Which import.
        #[n(0)]
        import: ImportId,
        /// How much.
        #[n(1)]
        counts: ImportCounts,
    },
    /// Segments took the place of others that held the same rows.
    #[n(7)]
    Replaced {
        /// Of which log.
        #[n(0)]
        log: LogId,
        /// The names of those that are gone.
        #[n(1)]
        removed: Vec<Text>,
        /// Those that are there now.
        #[n(2)]
        added: Vec<SegmentMeta>,
    },
}

/// Consecutive records of one log from one source.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Records {
    /// Which log.
    #[n(0)]
    pub(crate) log: LogId,
    /// The position of the first of them.
    #[n(1)]
    pub(crate) base_seq: Seq,
    /// When they were received.
    #[n(2)]
    pub(crate) ingest_time: Timestamp,
    /// Which source told them.
    #[n(3)]
    pub(crate) source: Text,
    /// The import whose rows they are; receipts and retractions are no import's rows.
    #[n(4)]
    pub(crate) import: Option<ImportId>,
    /// The records.
    #[n(5)]
    pub(crate) records: Vec<Record>,
}

/// The payload of a frame.
pub(crate) fn encode(ops: &[Op]) -> Vec<u8> {
    let mut payload = Vec::new();
    for op in ops {
        minicbor::encode(op, &mut payload).expect("a Vec takes every byte");
    }
    payload
}

/// The operations of a payload.
pub(crate) fn decode(payload: &[u8]) -> Result<Vec<Op>, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(payload);
    let mut ops = Vec::new();
    while decoder.position() < payload.len() {
        ops.push(decoder.decode()?);
    }
    Ok(ops)
}
