//! Segments: immutable, sorted Parquet files.
//!
//! # Format, version 2
//! A Parquet file of one row group with the columns of [`MESSAGE`], version number 2 under the key
//! `doorbook.segment_version` of the file's metadata, and a page index. Its rows are of one log,
//! sorted by (`cluster`, `host`, `event_time`, `seq`); the first two hold the names of any target's
//! group and member, and are empty for rows that are about no target.
//!
//! - `seq` is the row's position in its log, less what the catalogue adds ([`SegmentMeta`]). A bulk
//!   import's file is written before it is known where in the log it comes to stand.
//! - `kind` is the record's kind in `docs/design/records.md`. An access or own row (1, 10) has its
//!   record in the columns. A quarantine row (11) has the bytes in `raw`, the reason in `reason` and
//!   a JSON object `{file, line, offset_bytes, length_bytes, sha256}` in `attributes`. All other
//!   kinds have their whole WAL form in `raw`.
//! - `event_time` of a row that is no access is its ingest time; of a sighting or an amendment it is
//!   that of the access which it is about.
//! - `principal` is a user's name, a key's public half, a client id, or an OS user's name;
//!   `principal_database` is the user's database, or the OS user's id in decimal.
//! - `address` is an IP address, or `unix`; `origin` an address with or without port, `unix` or
//!   `unknown`.
//! - `written_time` is null where the source wrote a complete time, which is then `event_time`.
//! - `attributes` is a JSON object of texts, null if empty.
//! - `raw_encoding` says how `raw` is coded: 0 is verbatim.
//!
//! # Pages
//! Data pages of version 1, each one zstd frame with its checksum. A page in which all rows say the
//! same (a value, or none) has up to a million rows, of flags 64 Ki; other pages end after 4096 rows,
//! and plain ones also after 64 KiB, of `raw` after 256 KiB. A page is coded
//! - of texts: `RLE_DICTIONARY` until the dictionary is full (1 MiB), `PLAIN` from there on;
//! - of numbers: `RLE_DICTIONARY` if all rows have the same value (the dictionary holds what such
//!   pages say), `DELTA_BINARY_PACKED` otherwise;
//! - of flags and of `raw`, and where no row has a value: `PLAIN`.
//!
//! Minimum and maximum are written for `cluster`, `host`, `event_time` and `seq` only: what is erased
//! from a page must not survive in a footer. `principal`, `address` and `task_id` have split-block
//! Bloom filters, also where no row has a value, so that a value that is nowhere costs nothing.
//! Behind the last page stand the Bloom filters, the page index, and the footer: the *tail*, whose
//! length and CRC-32C are in the catalogue.
//!
//! # Version 1
//! Has no `task_id`, no Bloom filters, pages of 20,000 rows whatever they hold, and number pages
//! without a checksum. No longer written.
//!
//! # When one is damaged
//! Pages have checksums, the tail has one, and the rest is checked by what it must be when it is read.
//! Whatever does not fit is an error that names the file; no answer is made of the rest.

mod decode;
mod dictionary;
mod encoding;
pub(crate) mod file;
pub(crate) mod pages;
mod read;
mod write;

pub(crate) use decode::{
    BytesPage, Dictionary, Ids, IntPage, Packed, Page, TextPage, partition_point,
};
pub(crate) use read::{Column, Columns, Reader, Segment, peer};
pub(crate) use write::{COLUMNS_LEVEL, Content, Line, RAW_LEVEL, from_library, write};

use std::sync::Arc;

use doorbook_event::record::{ImportId, Quarantine};
use doorbook_event::{LogId, Seq, Text, Timestamp};
use minicbor::{Decode, Encode};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;
use serde::{Deserialize, Serialize};

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
    /// CRC-32C of the file.
    #[n(8)]
    pub(crate) crc32c: u32,
    /// The import whose rows they all are, if it is a bulk import's.
    #[n(6)]
    pub(crate) import: Option<ImportId>,
    /// Where each target's rows lie, in the order of the file.
    #[n(7)]
    pub(crate) members: Vec<Member>,
    /// Large enough to stay as it is.
    #[n(9)]
    #[cbor(default)]
    pub(crate) is_final: bool,
    /// What stands behind its pages; not known of a file of version 1.
    #[n(10)]
    pub(crate) tail: Option<Tail>,
}

/// The end of a file: Bloom filters, page index, footer. They have no checksum of their own, and an
/// answer relies on them.
#[derive(Clone, Copy, Debug, PartialEq, Encode, Decode)]
pub(crate) struct Tail {
    /// How long it is.
    #[n(0)]
    pub(crate) size_bytes: u64,
    /// CRC-32C of it.
    #[n(1)]
    pub(crate) crc32c: u32,
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

/// The version that this program writes, and the metadata key under which it stands.
const VERSION: u32 = 2;
const VERSION_KEY: &str = "doorbook.segment_version";

/// The columns, in the notation of the Parquet project.
const MESSAGE: &str = "message doorbook_segment {
    required binary scope (STRING);
    required int32 kind;
    required binary cluster (STRING);
    required binary host (STRING);
    optional binary target_kind (STRING);
    required int64 event_time (TIMESTAMP(MICROS,true));
    required int64 seq;
    required int64 ingest_time (TIMESTAMP(MICROS,true));
    required binary source (STRING);
    optional binary action (STRING);
    optional binary outcome (STRING);
    optional binary principal_kind (STRING);
    optional binary principal (STRING);
    optional binary principal_database (STRING);
    optional binary mechanism (STRING);
    optional binary address (STRING);
    optional int32 port;
    optional boolean address_joined;
    optional int64 connection;
    optional int64 process_start (TIMESTAMP(MICROS,true));
    optional binary written_time (STRING);
    optional binary reason (STRING);
    optional int64 code;
    optional boolean speculative;
    required int32 classes;
    optional binary application (STRING);
    optional binary driver (STRING);
    optional binary driver_version (STRING);
    optional binary os (STRING);
    optional binary platform (STRING);
    optional binary via (STRING);
    optional binary origin (STRING);
    optional binary attributes (STRING);
    optional binary task_id (STRING);
    optional binary raw;
    required int32 raw_encoding;
}";

/// What stands for a Unix socket in the column of addresses.
pub(crate) const UNIX_SOCKET: &str = "unix";

/// The columns of a segment.
pub(crate) fn schema() -> SchemaDescriptor {
    let message = parse_message_type(MESSAGE).expect("a test parses it");
    SchemaDescriptor::new(Arc::new(message))
}

/// Whether minimum and maximum of a column are written.
pub(crate) fn has_statistics(column: &str) -> bool {
    matches!(column, "cluster" | "host" | "event_time" | "seq")
}

/// Whether a column has a Bloom filter.
pub(crate) fn has_bloom(column: &str) -> bool {
    matches!(column, "principal" | "address" | "task_id")
}

/// What a quarantine row has in `attributes`.
#[derive(Serialize, Deserialize)]
struct QuarantineFacts {
    file: Text,
    line: u64,
    offset_bytes: u64,
    length_bytes: u64,
    sha256: String,
}

impl From<&Quarantine> for QuarantineFacts {
    fn from(quarantine: &Quarantine) -> QuarantineFacts {
        QuarantineFacts {
            file: quarantine.place.file.clone(),
            line: quarantine.place.line,
            offset_bytes: quarantine.place.offset_bytes,
            length_bytes: quarantine.length_bytes,
            sha256: hex::encode(quarantine.sha256),
        }
    }
}
