//! The log held to a naive reader, over states that only compaction and expiry will make.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{LogId, Scope, Timestamp};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use proptest::prelude::*;

use super::*;
use crate::disk::SystemDisk;
use crate::frame::Op;
use crate::segment::Member;
use crate::{Options, Store};

/// Goal: whatever becomes of the segments, the log leads to exactly the present ones, from the last
/// checkpoint on as well as from the first commit. Method: random sets of segments are made the
/// state one after the other, with restarts and deleted logs between, and the log is replayed by a
/// reader that knows the protocol alone.
#[test]
fn a_replayed_log_has_the_live_segments() {
    let config = ProptestConfig { cases: 12, ..ProptestConfig::default() };
    let sets = prop::collection::vec((prop::collection::btree_set(0..40_u64, 0..12), 0..20_u8), 60);
    proptest!(config, |(sets in sets)| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = open(dir.path());
        for (set, event) in sets {
            match event {
                0 => *store.0.tables.lock().expect("no panic") = Tables::default(),
                1 => log::remove(&SystemDisk, &rows_log(dir.path())).unwrap_or_default(),
                _ => {}
            }
            if event == 1 {
                *store.0.tables.lock().expect("no panic") = Tables::default();
            }
            store.0.publish(state(set.iter().map(|n| meta(*n, 10 * n, 10))));
            while store.sync_table().expect("syncs") {}
            let expected: BTreeMap<String, String> =
                set.iter().map(|n| (format!("{n}.parquet"), n.to_string())).collect();
            prop_assert_eq!(replayed(&rows_log(dir.path())), expected);
            prop_assert!(verify(&SystemDisk, dir.path(), Some(&store.0.state())).is_empty());
        }
    });
}

/// Goal: rows that only moved are no change of the data, and nothing else is taken for that.
#[test]
fn only_what_moved_is_rearranged() {
    let check = |removed: &[SegmentMeta], added: &[SegmentMeta], expected: &[&str]| {
        let (removed, added): (Vec<_>, Vec<_>) = (removed.iter().collect(), added.iter().collect());
        let found: Vec<&str> = rearranged(&removed, &added).into_iter().collect();
        assert_eq!(found, expected);
    };
    let file = |n: u64, first: u64, rows: u64| meta(n, first, rows);
    check(&[], &[file(1, 0, 10)], &[]);
    check(&[file(1, 0, 10)], &[], &[]);
    // Two become one, and beside them one is new.
    let two = [file(1, 0, 10), file(2, 10, 5)];
    check(&two, &[file(3, 0, 15), file(4, 15, 15)], &["1.parquet", "2.parquet", "3.parquet"]);
    // One row less.
    check(&two, &[file(3, 0, 14)], &[]);
    // As many come as go, but others.
    check(&[file(1, 0, 10)], &[file(2, 10, 10)], &[]);
    let other_log = SegmentMeta { log: LogId(1), ..file(2, 0, 10) };
    check(&[file(1, 0, 10)], &[other_log], &[]);
}

/// Goal: a file that was replaced stays for a while. Method: who holds the segment is counted.
#[test]
fn removed_segments_are_held_for_a_while() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(0)));
    let store =
        Store::open(Options { clock: clock.clone(), ..options(dir.path()) }).expect("opens");
    let first = state([meta(1, 0, 10)]);
    let segment = Arc::downgrade(&first.logs[0].segments[0]);
    store.0.publish(first);
    while store.sync_table().expect("syncs") {}
    store.0.publish(state([meta(2, 0, 10)]));
    while store.sync_table().expect("syncs") {}
    assert!(segment.upgrade().is_some(), "a reader of the table may be at it");
    clock.set(Timestamp::from_seconds(GRACE_SECONDS));
    assert!(!store.sync_table().expect("syncs"));
    assert!(segment.upgrade().is_none());
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir)).expect("opens")
}

fn options(dir: &Path) -> Options {
    Options {
        data_dir: dir.to_owned(),
        clock: Arc::new(ManualClock::new(Timestamp::from_seconds(0))),
        random: Arc::new(CountingRandom::default()),
        disk: Arc::new(SystemDisk),
        memtable_size_bytes: 1 << 20,
        reserve_size_bytes: 0,
        cache_size_bytes: 0,
        background: false,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    }
}

fn state(metas: impl IntoIterator<Item = SegmentMeta>) -> State {
    let mut state = State::default();
    state.apply(Op::Log { log: LogId(0), scope: Scope::System }).expect("the first log");
    let metas = metas.into_iter();
    Arc::make_mut(&mut state.logs[0]).segments =
        metas.map(|meta| Arc::new(Segment::new(meta))).collect();
    state
}

fn meta(n: u64, first_seq: u64, rows: u64) -> SegmentMeta {
    let at = Timestamp::from_seconds(0);
    let member = Member { group: "c".into(), member: "h".into(), rows, from: at, to: at, kinds: 2 };
    SegmentMeta {
        name: format!("{n}.parquet").into(),
        log: LogId(0),
        base_seq: n,
        first_seq,
        last_seq: first_seq + rows - 1,
        size_bytes: 100,
        crc32c: 0,
        import: None,
        members: vec![member],
        is_final: false,
        tail: None,
    }
}

/// Path and `base_seq` of each file, by the last checkpoint and the commits after it.
fn replayed(log: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut version = 0;
    if let Ok(last) = std::fs::read(log.join("_last_checkpoint")) {
        let last: serde_json::Value = serde_json::from_slice(&last).expect("is JSON");
        version = last["version"].as_u64().expect("a number");
        let path = log.join(format!("{version:020}.checkpoint.parquet"));
        let file = std::fs::File::open(path).expect("is there");
        let reader = SerializedFileReader::new(file).expect("is Parquet");
        for row in reader.get_row_iter(None).expect("has rows") {
            let row = row.expect("reads");
            let Ok(add) = row.get_group(1) else { continue };
            let values = add.get_map(1).expect("a map").entries();
            let (_, value) = values.first().expect("base_seq");
            let value = value.to_string().trim_matches('"').to_owned();
            files.insert(add.get_string(0).expect("a path").clone(), value);
        }
        version += 1;
    }
    while let Ok(text) = std::fs::read_to_string(log.join(format!("{version:020}.json"))) {
        for line in text.lines() {
            let action: serde_json::Value = serde_json::from_str(line).expect("is JSON");
            if let Some(path) = action["remove"]["path"].as_str() {
                files.remove(path);
            }
            if let Some(path) = action["add"]["path"].as_str() {
                let value = action["add"]["partitionValues"]["base_seq"].as_str().expect("a text");
                files.insert(path.to_owned(), value.to_owned());
            }
        }
        version += 1;
    }
    files
}
