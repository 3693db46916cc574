//! Segments: immutable, sorted Parquet files.

use doorbook_event::record::ImportId;
use doorbook_event::{LogId, Seq, Text, Timestamp};
use minicbor::{Decode, Encode};

/// What the catalogue knows of a segment.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct SegmentMeta {
    /// Its file's name in `segments/`.
    #[n(0)]
    pub(crate) name: Text,
    /// Whose rows.
    #[n(1)]
    pub(crate) log: LogId,
    /// What is added to the `seq` column to have the row's seq: of a bulk import's file the
    /// ordinals are known when it is written, the seq only when it is committed.
    #[n(2)]
    pub(crate) base_seq: Seq,
    /// The lowest seq in it.
    #[n(3)]
    pub(crate) first_seq: Seq,
    /// The highest seq in it.
    #[n(4)]
    pub(crate) last_seq: Seq,
    /// How long the file is.
    #[n(5)]
    pub(crate) size_bytes: u64,
    /// The import whose rows they all are, if it is a bulk import's.
    #[n(6)]
    pub(crate) import: Option<ImportId>,
    /// Where each target's rows lie, in the order of the file.
    #[n(7)]
    pub(crate) members: Vec<Member>,
}

/// The rows of one target: a consecutive stretch of the file, sorted by time.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Member {
    /// First name of the target.
    #[n(0)]
    pub(crate) group: Text,
    /// Second name of the target.
    #[n(1)]
    pub(crate) member: Text,
    /// How many rows.
    #[n(2)]
    pub(crate) rows: u64,
    /// The earliest event time.
    #[n(3)]
    pub(crate) from: Timestamp,
    /// The latest event time.
    #[n(4)]
    pub(crate) to: Timestamp,
    /// The kinds among them: bit n for kind n.
    #[n(5)]
    pub(crate) kinds: u64,
}

impl SegmentMeta {
    /// How many rows it has.
    pub(crate) fn rows(&self) -> u64 {
        self.members.iter().map(|member| member.rows).sum()
    }
}

/// A live segment.
#[derive(Debug)]
pub(crate) struct Segment {
    /// What the catalogue knows of it.
    pub(crate) meta: SegmentMeta,
}

impl Segment {
    /// The segment that the catalogue describes; its file is opened when it is first read.
    pub(crate) fn new(meta: SegmentMeta) -> Segment {
        Segment { meta }
    }
}
