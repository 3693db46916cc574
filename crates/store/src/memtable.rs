//! [`Row`]: a record with its place, and [`Memtable`]: the rows of one log that no segment holds yet.

use std::sync::Arc;

use doorbook_event::record::Quarantine;
use doorbook_event::{Access, Client, LogId, Record, Seq, Target, Text, Timestamp};

use crate::Placed;
use crate::filter::Order;
use crate::row_key::{RowKey, WantedKeys};

/// A record with its place in its log.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) seq: Seq,
    pub(crate) ingest_time: Timestamp,
    pub(crate) source: Text,
    pub(crate) record: Record,
}

/// The numbers of the record kinds in `docs/design/records.md`.
pub(crate) mod kind {
    pub(crate) const ACCESS: u8 = 1;
    pub(crate) const SIGHTING: u8 = 2;
    pub(crate) const AMENDMENT: u8 = 3;
    pub(crate) const COVERAGE: u8 = 4;
    pub(crate) const HEARTBEAT: u8 = 5;
    pub(crate) const REGISTRY: u8 = 6;
    pub(crate) const IMPORT_RECEIPT: u8 = 7;
    pub(crate) const RETRACTION: u8 = 8;
    pub(crate) const OWN: u8 = 10;
    pub(crate) const QUARANTINE: u8 = 11;
    pub(crate) const RESOLVED: u8 = 12;
}

impl Row {
    /// The number of the record's kind.
    pub(crate) fn kind(&self) -> u8 {
        match self.record {
            Record::Access(_) => kind::ACCESS,
            Record::Sighting(_) => kind::SIGHTING,
            Record::Amendment(_) => kind::AMENDMENT,
            Record::Coverage(_) => kind::COVERAGE,
            Record::Heartbeat(_) => kind::HEARTBEAT,
            Record::Registry(_) => kind::REGISTRY,
            Record::ImportReceipt(_) => kind::IMPORT_RECEIPT,
            Record::Retraction(_) => kind::RETRACTION,
            Record::Own(_) => kind::OWN,
            Record::Quarantine(_) => kind::QUARANTINE,
            Record::Resolved(_) => kind::RESOLVED,
        }
    }

    /// The target; records that are about none stand under the empty names.
    pub(crate) fn target(&self) -> Option<&Target> {
        match &self.record {
            Record::Access(access) | Record::Own(access) => Some(&access.target),
            Record::Sighting(sighting) => Some(&sighting.of.target),
            Record::Amendment(amendment) => Some(&amendment.of.target),
            Record::Coverage(coverage) => Some(&coverage.target),
            Record::Heartbeat(heartbeat) => Some(&heartbeat.target),
            Record::Quarantine(quarantine) => Some(&quarantine.target),
            Record::Registry(_)
            | Record::ImportReceipt(_)
            | Record::Retraction(_)
            | Record::Resolved(_) => None,
        }
    }

    /// Group and member of the target.
    pub(crate) fn names(&self) -> (&str, &str) {
        self.target().map_or(("", ""), |target| {
            let (group, member) = target.names();
            (group, member)
        })
    }

    /// The instant by which the row is sorted: an event's own; that of the event which a sighting or
    /// an amendment is about, so that a reader finds both in one place; else when we received it.
    pub(crate) fn event_time(&self) -> Timestamp {
        match &self.record {
            Record::Access(access) | Record::Own(access) => access.event_time,
            record => record.subject().map_or(self.ingest_time, |of| of.event_time),
        }
    }

    /// The columns of an access.
    pub(crate) fn access(&self) -> Option<&Access> {
        match &self.record {
            Record::Access(access) | Record::Own(access) => Some(access),
            _ => None,
        }
    }

    /// Whether it is about another record: a sighting or an amendment.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self.kind(), kind::SIGHTING | kind::AMENDMENT)
    }

    /// The place in the order of answers.
    pub(crate) fn order(&self, log: LogId) -> Order {
        Order { event_time: self.event_time(), log, seq: self.seq }
    }

    /// About how much memory it takes, its place in the index of identities included. Of what many
    /// rows share, as much as falls to one of them.
    pub(crate) fn size_bytes(&self) -> usize {
        size_of::<Row>() + INDEX_ENTRY_BYTES + record_heap_bytes(&self.record)
    }

    /// As answers hold it.
    pub(crate) fn into_placed(self, log: LogId) -> Placed {
        let Row { seq, ingest_time, source, record } = self;
        Placed { log, seq, ingest_time, source, record, sightings: Vec::new() }
    }
}

/// A row in [`MemoryIndex`](crate::identity::MemoryIndex): 32 bytes, and a place in a hash table.
const INDEX_ENTRY_BYTES: usize = 56;

/// What a record of a rare kind holds besides its row, about.
const SMALL_BYTES: usize = 256;

fn record_heap_bytes(record: &Record) -> usize {
    match record {
        Record::Access(access) | Record::Own(access) => access_heap_bytes(access),
        Record::Quarantine(Quarantine { target, reason, place, bytes, .. }) => {
            let (group, member) = target.names();
            let texts = [group, member, reason, &place.file].map(Text::held_bytes);
            bytes.capacity() + texts.into_iter().sum::<usize>()
        }
        Record::Sighting(sighting) => SMALL_BYTES + sighting.raw.capacity(),
        Record::Amendment(amendment) => SMALL_BYTES + amendment.raw.capacity(),
        Record::Resolved(resolved) => SMALL_BYTES + resolved.seqs.capacity() * size_of::<Seq>(),
        _ => SMALL_BYTES,
    }
}

fn access_heap_bytes(access: &Access) -> usize {
    let (group, member) = access.target.names();
    let reason = access.outcome.reason();
    let optional = [access.principal.name(), access.mechanism.as_ref(), reason];
    let texts = optional.into_iter().chain([access.task_id.as_ref()]).flatten();
    let texts = texts.chain([group, member]).map(Text::held_bytes).sum::<usize>();
    let attributes = access.attributes.iter();
    let attributes = attributes
        .map(|(name, value)| 2 * size_of::<Text>() + name.held_bytes() + value.held_bytes());
    let client = access.client.as_ref().map_or(0, |client| {
        let Client { application, driver, driver_version, os, platform, via, origin: _ } =
            &**client;
        let texts = [application, driver, driver_version, os, platform, via].into_iter().flatten();
        client.held_bytes() + texts.map(Text::held_bytes).sum::<usize>() / client.holder_count()
    });
    access.raw.capacity() + texts + attributes.sum::<usize>() + client
}

/// Rows of one log in the order of their seq. A clone is a snapshot and shares every row: the rows
/// of a commit lie in one batch, batches in chunks that never change, and each chunk is at least
/// twice as long as the one after it, so that there are few of them, however small the commits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memtable {
    chunks: Vec<Arc<[Batch]>>,
    size_bytes: usize,
    /// Whether sightings or amendments may be among them.
    has_told: bool,
}

/// The rows of one commit; never empty.
#[derive(Clone, Debug)]
struct Batch {
    /// As they came: to copy them into a slice would cost as much as to make them.
    rows: Arc<Vec<Row>>,
    /// Of each row.
    keys: Arc<[RowKey]>,
    /// About how much memory they take.
    size_bytes: usize,
}

impl Memtable {
    /// Adds the rows of a commit at the end.
    pub(crate) fn push(&mut self, rows: Vec<Row>) {
        if rows.is_empty() {
            return;
        }
        let size_bytes = rows.iter().map(Row::size_bytes).sum();
        self.size_bytes += size_bytes;
        self.has_told |= rows.iter().any(Row::is_told);
        let keys = rows.iter().map(RowKey::of).collect();
        let mut chunk = vec![Batch { rows: Arc::new(rows), keys, size_bytes }];
        while let Some(last) = self.chunks.pop_if(|last| last.len() < 2 * chunk.len()) {
            chunk.splice(0..0, last.iter().cloned());
        }
        self.chunks.push(chunk.into());
    }

    /// All rows, by seq.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> + Clone {
        self.batches().flat_map(|batch| batch.rows.iter())
    }

    /// The rows that may be asked for, by seq.
    pub(crate) fn rows_of(&self, wanted: WantedKeys) -> impl Iterator<Item = &Row> {
        let mut rows = Vec::new();
        for batch in self.batches() {
            let keyed = batch.keys.iter().zip(&*batch.rows);
            rows.extend(keyed.filter(|(key, _)| wanted.include(key)).map(|(_, row)| row));
        }
        rows.into_iter()
    }

    /// Whether there is neither a sighting nor an amendment.
    pub(crate) fn is_untold(&self) -> bool {
        !self.has_told
    }

    /// The sightings and amendments, by seq.
    pub(crate) fn told(&self) -> impl Iterator<Item = &Row> {
        self.rows().take_while(|_| self.has_told).filter(|row| row.is_told())
    }

    /// The row of a position.
    pub(crate) fn row(&self, seq: Seq) -> Option<&Row> {
        self.rows_from(seq).next().filter(|row| row.seq == seq)
    }

    /// The rows from `seq` on, by seq.
    pub(crate) fn rows_from(&self, seq: Seq) -> impl Iterator<Item = &Row> {
        let batches = self.chunks.iter().flat_map(move |chunk| {
            let start = chunk.partition_point(|batch| batch.last_seq() < seq);
            chunk[start..].iter()
        });
        batches.flat_map(move |batch| {
            let start = batch.rows.partition_point(|row| row.seq < seq);
            batch.rows[start..].iter()
        })
    }

    /// Lets the rows below `seq` go, of which each commit's rows are all or none. Returns how many.
    pub(crate) fn drop_below(&mut self, seq: Seq) -> usize {
        let before = self.len();
        let kept: Arc<[Batch]> = self.batches().filter(|b| b.rows[0].seq >= seq).cloned().collect();
        self.size_bytes = kept.iter().map(|batch| batch.size_bytes).sum();
        let has_told = |batch: &Batch| batch.rows.iter().any(Row::is_told);
        self.has_told = self.has_told && kept.iter().any(has_told);
        self.chunks = if kept.is_empty() { Vec::new() } else { vec![kept] };
        before - self.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.batches().map(|batch| batch.rows.len()).sum()
    }

    /// About how much memory they take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    fn batches(&self) -> impl Iterator<Item = &Batch> + Clone {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }
}

impl Batch {
    fn last_seq(&self) -> Seq {
        self.rows.last().map_or(0, |row| row.seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbook_event::Principal;
    use doorbook_event::record::{Place, Retraction};

    fn row(seq: Seq) -> Row {
        let at = Timestamp::from_seconds(0);
        let record = Retraction { import: "imp-x".into(), by: Principal::Doorbook, at };
        Row { seq, ingest_time: at, source: "test".into(), record: Record::Retraction(record) }
    }

    #[test]
    fn a_snapshot_stays_and_chunks_stay_few() {
        let mut memtable = Memtable::default();
        let mut snapshot = None;
        for seq in 0..1000 {
            if seq == 500 {
                snapshot = Some(memtable.clone());
            }
            memtable.push(vec![row(seq)]);
        }
        let seqs = |memtable: &Memtable| memtable.rows().map(|row| row.seq).collect::<Vec<_>>();
        assert_eq!(seqs(&memtable), (0..1000).collect::<Vec<_>>());
        assert_eq!(seqs(&snapshot.expect("taken")), (0..500).collect::<Vec<_>>());
        assert!(memtable.chunks.len() <= 10, "{} chunks", memtable.chunks.len());
        assert_eq!(memtable.rows_from(990).count(), 10);
        assert_eq!(memtable.drop_below(700), 700);
        assert_eq!(seqs(&memtable), (700..1000).collect::<Vec<_>>());
        memtable.push(vec![row(1000), row(1001)]);
        assert_eq!(memtable.rows_from(1001).count(), 1);
        assert_eq!((memtable.drop_below(2000), memtable.is_empty()), (302, true));
        assert_eq!(memtable.size_bytes(), 0);
    }

    /// Goal: an event in memory is not paid for by what is rare. Method: a row is an access, whose members
    /// all rows have, and its place.
    #[test]
    fn a_row_is_an_access_and_its_place() {
        let place = size_of::<(Seq, Timestamp, Text)>();
        assert!(size_of::<Row>() <= size_of::<Access>() + place + size_of::<u64>());
    }

    /// Goal: the limit of what is held in memory is one of memory. Method: quarantined bytes count
    /// in full, and a text that a hundred rows share counts about once.
    #[test]
    fn a_row_counts_what_it_takes() {
        let bytes = |reason: &Text, size_bytes| {
            let (cluster, host) = (reason.clone(), reason.clone());
            let record = Record::Quarantine(Quarantine {
                target: Target::Host { cluster, host },
                reason: reason.clone(),
                place: Place::default(),
                bytes: vec![0; size_bytes],
                length_bytes: size_bytes as u64,
                sha256: [0; 32],
            });
            Row { record, ..row(0) }
        };
        let empty = bytes(&"".into(), 0).size_bytes();
        assert!(empty >= size_of::<Row>());
        assert_eq!(bytes(&"".into(), 5000).size_bytes(), empty + 5000);
        let long = || Text::from("x".repeat(3000));
        assert!(bytes(&long(), 0).size_bytes() > empty + 2000);
        let shared = long();
        let rows: Vec<Row> = (0..100).map(|_| bytes(&shared, 0)).collect();
        let beyond = rows.iter().map(|row| row.size_bytes().saturating_sub(empty)).sum::<usize>();
        assert!(beyond < 3100, "{beyond}");
    }
}
