//! What a WAL frame says: a sequence of [`Op`]s that take effect together.
//!
//! The payload of a frame is a CBOR sequence (RFC 8742): its operations one after the other, each
//! in the deterministic encoding of `docs/design/records.md`. Numbers are never reused. A reader
//! refuses an operation that it does not know: a log with holes proves nothing.

use doorbook_event::record::{ImportCounts, ImportId};
use doorbook_event::{Action, LogId, Record, Scope, Seq, Target, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::alarm::Change;
use crate::coverage::Rows;
use crate::request_keys::RequestKey;
use crate::retention::Notice;
use crate::reviews::Step;
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
    /// Retention announced the removal of rows, or removed some.
    #[n(9)]
    Expired(#[n(0)] Expired),
    /// A source came further; what it told stands before it in the same frame.
    #[n(10)]
    Advanced(#[n(0)] Advanced),
    /// Alarms took steps; the events that tell of it stand before them in the same frame.
    #[n(11)]
    Alarms(#[n(0)] Vec<Change>),
    /// Somebody acted on a review; the events that tell of it stand before it in the same frame.
    #[n(12)]
    Reviewed {
        /// The review.
        #[n(0)]
        review: Text,
        /// What was done.
        #[n(1)]
        steps: Vec<Step>,
    },
}

/// How far a source came.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Advanced {
    /// Which source.
    #[n(0)]
    pub(crate) source: Text,
    /// Of whose history.
    #[n(1)]
    pub(crate) scope: Scope,
    /// What it watches.
    #[n(2)]
    pub(crate) target: Target,
    /// The actions of which it sees everything.
    #[n(3)]
    pub(crate) actions: Vec<Action>,
    /// Where it goes on.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub(crate) position: Vec<u8>,
    /// It has seen everything from the first instant up to the second.
    #[n(5)]
    pub(crate) seen: Option<(Timestamp, Timestamp)>,
    /// Lines read since the last time.
    #[n(6)]
    pub(crate) lines: u64,
    /// Accesses recorded since the last time.
    #[n(7)]
    pub(crate) events: u64,
    /// When, by our clock.
    #[n(8)]
    pub(crate) at: Timestamp,
    /// The rows of the file at hand that it added, for as long as they can matter.
    #[n(9)]
    pub(crate) own: Vec<Rows>,
    /// Why something may be missing in what it has seen, without a sign of it.
    #[cbor(n(10), default)]
    pub(crate) doubt: Option<Text>,
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

/// What retention did to a log.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Expired {
    /// Which log.
    #[n(0)]
    pub(crate) log: LogId,
    /// Files that are gone.
    #[n(1)]
    pub(crate) removed: Vec<Text>,
    /// Files with what is left of them.
    #[n(2)]
    pub(crate) added: Vec<SegmentMeta>,
    /// Rows of events before this are in no answer from now on.
    #[n(3)]
    pub(crate) until: Option<Timestamp>,
    /// What precedes the next removal.
    #[n(4)]
    pub(crate) notice: Option<Notice>,
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
    use doorbook_event::record::{Actor, Grade, Retraction};
    use doorbook_event::review::{Covered, Decision, Mark, MarkKind, Marked, SignOff};
    use doorbook_event::{Peer, Principal, ProjectId};

    use crate::alarm::{Acknowledgement, Alarm, AlarmKind, Condition, Message};
    use crate::segment::Member;

    /// Frames as the first version that knew these operations wrote them: they are read for ever.
    #[test]
    fn fixtures() {
        let member = Member {
            group: "g".into(),
            member: "m".into(),
            rows: 2,
            from: Timestamp::from_seconds(1),
            to: Timestamp::from_seconds(2),
            kinds: 2,
        };
        let meta = SegmentMeta {
            name: "x.parquet".into(),
            log: LogId(1),
            base_seq: 0,
            first_seq: 5,
            last_seq: 6,
            size_bytes: 9,
            crc32c: 7,
            import: None,
            members: vec![member],
            is_final: false,
            tail: None,
        };
        let flushed = Flushed { segments: vec![meta], below: vec![(LogId(1), 7)] };
        let ingest_time = Timestamp::from_seconds(3);
        let (source, key) = ("s".into(), "k".into());
        let key = RequestKey { source, key, content: [9; 16], ingest_time };
        for (op, expected) in [
            (Op::FlushedUpTo(flushed), FLUSHED_UP_TO),
            (Op::RequestKey { log: LogId(1), key }, REQUEST_KEY),
            (alarms(), ALARMS),
            (reviewed(), REVIEWED),
        ] {
            let mut payload = Vec::new();
            put(&mut payload, &op);
            assert_eq!(hex::encode(payload), expected);
            let bytes = hex::decode(expected).expect("hexadecimal");
            assert_eq!(decode(&bytes).expect("is understood"), [op]);
        }
    }

    fn alarms() -> Op {
        let at = Timestamp::from_seconds(4);
        let condition = Condition {
            kind: AlarmKind::Counters,
            project: Some(ProjectId::new([3; 12])),
            cluster: Some("c".into()),
            host: Some("h".into()),
            source: Some("s".into()),
            grade: Grade::BestEffort,
            cause: "q".into(),
            actor: Some(Actor { principal: Principal::Doorbook, peer: Peer::Unknown }),
            from: at,
            to: Some(at),
            missing: Some(41),
            review: None,
        };
        let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
        let what = Acknowledgement { by, at, cause: "why".into(), note: Some("n".into()) };
        let message = Message {
            id: "m".into(),
            alarm: "a".into(),
            kind: "k".into(),
            at,
            text: "t".into(),
            body: "{}".into(),
            waiting: vec!["webhook".into()],
            is_end: true,
        };
        let acknowledged = Some(what.clone());
        let id = Text::from("a");
        let (closed, condition) = (Some(at), Box::new(condition));
        let alarm = Alarm {
            id: id.clone(),
            condition: (*condition).clone(),
            opened: at,
            told: at,
            closed,
            acknowledged,
        };
        Op::Alarms(vec![
            Change::Opened(Box::new(alarm)),
            Change::Continues { id: id.clone(), condition: condition.clone(), told: at },
            Change::Closed { id: id.clone(), condition, at },
            Change::Acknowledged { id, what: Box::new(what) },
            Change::Queued(Box::new(message)),
            Change::Settled { message: "m".into(), destination: "syslog".into() },
        ])
    }

    fn reviewed() -> Op {
        let at = Timestamp::from_seconds(4);
        let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
        let place = (LogId(1), 7);
        let note = Some(Text::from("n"));
        let mark = Mark { kind: MarkKind::FollowUp, note, by: by.clone(), at, round: 1 };
        let sign_off = SignOff {
            round: 1,
            version: 2,
            filter: "f".into(),
            zone: "UTC".into(),
            from: at,
            to: at,
            since: vec![(LogId(1), 3)],
            as_of: vec![(LogId(1), 9)],
            count: 5,
            marked: Marked { expected: 1, follow_up: 2 },
            coverage: Covered { grade: Grade::BestEffort, through: Some(at), gaps: 1 },
            lost_before: Some(at),
            rows_sha256: [1; 32],
            manifest_sha256: [2; 32],
            decision: Decision::FollowUp,
            note: Some("m".into()),
            by,
            at,
            times: Some((at, at)),
        };
        let steps = vec![
            Step::Marked { place, mark: Box::new(mark.clone()) },
            Step::Signed(Box::new(sign_off)),
            Step::Closed { place, mark: Box::new(Mark { kind: MarkKind::Expected, ..mark }) },
        ];
        Op::Reviewed { review: "r".into(), steps }
    }

    const REVIEWED: &str = concat!(
        "820c82617283820082820107a5000101616e02a20082058001f6031a003d09000401820281b3000101020261",
        "660363555443041a003d0900051a003d090006818201030781820109080509a2000101020aa30001011a003d",
        "090002010b1a003d09000c582001010101010101010101010101010101010101010101010101010101010101",
        "010d582002020202020202020202020202020202020202020202020202020202020202020e010f616d10a200",
        "82058001f6111a003d090012821a003d09001a003d0900820182820107a5000001616e02a20082058001f603",
        "1a003d09000401",
    );
    const ALARMS: &str = concat!(
        "820b8186820081a600616101ab0001014c030303030303030303030303026163036168046173050106617107",
        "a20082058001f6081a003d0900091a003d09000a1829021a003d0900031a003d0900041a003d090005a400a2",
        "0082058001f6011a003d0900026377687903616e8201836161ab0001014c0303030303030303030303030261",
        "63036168046173050106617107a20082058001f6081a003d0900091a003d09000a18291a003d090082028361",
        "61ab0001014c030303030303030303030303026163036168046173050106617107a20082058001f6081a003d",
        "0900091a003d09000a18291a003d09008203826161a400a20082058001f6011a003d0900026377687903616e",
        "820481a800616d01616102616b031a003d090004617405627b7d068167776562686f6f6b07f5820582616d66",
        "7379736c6f67",
    );
    const FLUSHED_UP_TO: &str = concat!(
        "820681a20081a90069782e70617271756574010102000305040605090781a600616701616d0202031a000f4240",
        "041a001e84800502080709f40181820107",
    );
    const REQUEST_KEY: &str =
        "82088201a400617301616b025009090909090909090909090909090909031a002dc6c0";

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
