//! What a WAL frame says: a sequence of [`Op`]s that take effect together.
//!
//! The payload of a frame is a CBOR sequence (RFC 8742): its operations one after the other, each
//! in the deterministic encoding of `docs/design/records.md`. Numbers are never reused. A reader
//! refuses an operation that it does not know: a log with holes proves nothing.

use doorbook_event::record::{ImportCounts, ImportId};
use doorbook_event::{LogId, Record, Scope, Seq, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::request_keys::RequestKey;
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
    /// The older rows in memory are now in files. Nothing else stands in such a frame.
    #[n(6)]
    FlushedUpTo(#[n(0)] Flushed),
    // 7 = segments replaced by others
    /// A request with a key was written; what it stored stands before it in the same frame.
    #[n(8)]
    RequestKey {
        /// The log that the request wrote to.
        #[n(0)]
        log: LogId,
        /// The key.
        #[n(1)]
        key: RequestKey,
    },
}

/// What a flush moved.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Flushed {
    /// The files.
    #[n(0)]
    pub(crate) segments: Vec<SegmentMeta>,
    /// For each log of which rows were moved, the position below which none is in memory any more.
    #[n(1)]
    pub(crate) below: Vec<(LogId, Seq)>,
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

/// Adds an operation to a payload.
pub(crate) fn put(payload: &mut Vec<u8>, op: &Op) {
    minicbor::encode(op, payload).expect("a Vec takes every byte");
}

/// Adds [`Op::Records`] with records that were encoded before, so that what holds the writer's lock
/// need not do it. The group's own `records` are left out of account.
pub(crate) fn put_records(payload: &mut Vec<u8>, group: &Records, count: usize, encoded: &[u8]) {
    let Records { log, base_seq, ingest_time, source, import, records: _ } = group;
    let (source, import, records) = (source.clone(), import.clone(), Vec::new());
    let (log, base_seq, ingest_time) = (*log, *base_seq, *ingest_time);
    put(payload, &Op::Records(Records { log, base_seq, ingest_time, source, import, records }));
    // The records are the last member, and no records are one byte: an array of length 0.
    payload.pop();
    let mut encoder = minicbor::Encoder::new(&mut *payload);
    encoder.array(count as u64).expect("a Vec takes every byte");
    payload.extend_from_slice(encoded);
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

#[cfg(test)]
mod tests {
    use super::*;
    use doorbook_event::Principal;
    use doorbook_event::record::Retraction;

    /// Goal: what is spliced is what the plain encoding says, or a restart could not read it.
    /// Method: both, for lists short and long enough to need a longer head.
    #[test]
    fn spliced_records_are_encoded_records() {
        let at = Timestamp::from_seconds(5);
        let retraction = Retraction { import: "imp-x".into(), by: Principal::Doorbook, at };
        for (count, import) in [(0, None), (1, Some("imp-y".into())), (30, None), (300, None)] {
            let records = vec![Record::Retraction(retraction.clone()); count];
            let encoded: Vec<u8> = records
                .iter()
                .flat_map(|record| minicbor::to_vec(record).expect("a Vec takes every byte"))
                .collect();
            let source = "test".into();
            let (log, base_seq, ingest_time) = (LogId(3), 7, at);
            let group = Records { log, base_seq, ingest_time, source, import, records };
            let mut spliced = Vec::new();
            put_records(&mut spliced, &group, count, &encoded);
            let mut plain = Vec::new();
            put(&mut plain, &Op::Records(group));
            assert_eq!(spliced, plain, "{count}");
        }
    }
}
