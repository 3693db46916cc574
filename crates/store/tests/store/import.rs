//! Imports: what they add, what they leave out, and how they are taken back.

use std::collections::BTreeMap;

use doorbook_event::record::{
    Coverage, Grade, Hidden, ImportState, Place as QuarantinePlace, Quarantine,
};
use doorbook_event::{Access, Action, Class, Record, WrittenTime};
use doorbook_store::filter::Kind;
use doorbook_store::{ErrorKind, Filter, ImportBatch, ImportStart, Options, Store};
use proptest::prelude::*;

use crate::support::{
    NOW, Place, actor, add_project, end, import, login, project_changes, request, scope, start,
};

#[test]
fn importing_twice_adds_nothing_and_survives_a_restart() {
    let place = Place::new();
    let store = place.open_new();
    let id = import(&store, (0..10).map(login).collect());
    let again = store.begin_import(start()).expect("begins");
    let batch = ImportBatch { accesses: (5..15).map(login).collect(), ..ImportBatch::default() };
    let counts = store.import(&again, batch).expect("imports");
    assert_eq!((counts.events, counts.duplicates), (5, 5));
    store.close().expect("closes");
    drop(store);

    let store = place.open();
    let page = store.select(&Filter::all(scope(), 3)).expect("answers");
    assert_eq!(page.total, 15);
    let times: Vec<_> = page.rows.iter().map(|row| row.seq).collect();
    assert_eq!(page.rows.len(), 3, "{times:?}");
    let catalog = store.catalog();
    assert_eq!(catalog.imports[&id].1.state, ImportState::Complete);
    // Cut off without a word: it no longer runs, and has what it added.
    assert_eq!(catalog.imports[&again].1.state, ImportState::Interrupted);
    assert_eq!(catalog.imports[&again].1.counts.events, 5);
    assert!(store.end_import(&again, end()).is_err());

    store.retract(&id, &actor()).expect("is taken back");
    assert_eq!(store.select(&Filter::all(scope(), 3)).expect("answers").total, 5);
    import(&store, (0..10).map(login).collect());
    assert_eq!(store.select(&Filter::all(scope(), 3)).expect("answers").total, 15);
}

/// The interval of a receipt is what its user asks for next; a forged line's date must not blow it
/// up to decades.
#[test]
fn a_suspect_event_does_not_widen_the_interval() {
    let place = Place::new();
    let store = place.open_new();
    let suspect = Access { classes: Class::Suspect.into(), ..login(-1_000_000) };
    let id = store.begin_import(start()).expect("begins");
    let accesses = vec![login(1), suspect, login(2)];
    let batch = ImportBatch { accesses, ..ImportBatch::default() };
    let counts = store.import(&id, batch).expect("imports");
    assert_eq!((counts.events, counts.suspect), (3, 1));
    assert_eq!((counts.from, counts.to), (Some(login(1).event_time), Some(login(2).event_time)));
}

#[test]
fn a_second_process_is_told_that_the_directory_is_taken() {
    let place = Place::new();
    let store = place.open();
    let refused = doorbook_store::Store::open(place.options()).err().expect("is taken");
    assert_eq!(refused.kind, ErrorKind::Locked);
    store.close().expect("closes");
    assert!(store.commit(Vec::new()).is_err(), "closed");
    drop(place.open());
}

#[test]
fn a_secret_stays_what_it_is() {
    let place = Place::new();
    let store = place.open();
    let secret = store.secret("digest-nonce").expect("is made");
    assert_ne!(secret, store.secret("other").expect("is made"));
    drop(store);
    assert_eq!(place.open().secret("digest-nonce").expect("is there"), secret);
    assert!(place.open().secret("../LOCK").is_err());
}

#[test]
fn nobody_else_can_read_the_directory() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::with_memtable(1);
    let store = place.open_new();
    import(&store, (0..10).map(login).collect());
    store.secret("digest-nonce").expect("is made");
    let mut dirs = vec![place.dir.path().join("data")];
    while let Some(dir) = dirs.pop() {
        assert_eq!(mode(&dir), 0o700, "{dir:?}");
        for entry in std::fs::read_dir(dir).expect("is there") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{path:?}");
            }
        }
    }
    fn mode(path: &std::path::Path) -> u32 {
        std::fs::metadata(path).expect("is there").permissions().mode() & 0o777
    }
}

#[test]
fn quarantined_bytes_are_kept_once_and_counted() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    let quarantine = |line: u64, bytes: &[u8]| Quarantine {
        target: login(0).target,
        reason: "no user".into(),
        place: QuarantinePlace { file: "a.log".into(), line, offset_bytes: 7 },
        bytes: bytes.to_vec(),
        length_bytes: bytes.len() as u64,
        sha256: [bytes[0]; 32],
    };
    let lines = vec![quarantine(1, b"a\xff"), quarantine(2, b"b"), quarantine(3, b"b")];
    let batch = ImportBatch { quarantine: lines.clone(), ..ImportBatch::default() };
    for round in 0..3 {
        let id = store.begin_import(start()).expect("begins");
        let counts = store.import(&id, batch.clone()).expect("imports");
        assert_eq!(counts.quarantined, if round == 0 { 3 } else { 0 }, "round {round}");
        store.end_import(&id, end()).expect("ends");
    }
    let filter = Filter { kind: Kind::Quarantine, ..Filter::all(scope(), 10) };
    let page = store.select(&filter).expect("answers");
    let found: Vec<_> = page.rows.into_iter().rev().map(|row| row.record).collect();
    assert_eq!(found, lines.into_iter().map(Record::Quarantine).collect::<Vec<_>>());
    assert_eq!(store.select(&Filter::all(scope(), 10)).expect("answers").total, 0);
}

#[test]
fn a_gap_is_told_once_however_often_it_is_read() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    let gap = |to: Option<i64>, last_seen: i64| Coverage {
        target: login(0).target,
        actions: vec![Action::Authenticate],
        hidden: Hidden::Successes,
        cause: "quiet".into(),
        actor: None,
        from: NOW,
        to: to.map(|seconds| NOW.plus_seconds(seconds)),
        last_seen: NOW.plus_seconds(last_seen),
        source: None,
        grade: Grade::Blind,
        missing: None,
    };
    let tell = |coverage: Vec<Coverage>| {
        let id = store.begin_import(start()).expect("begins");
        let batch = ImportBatch { coverage, ..ImportBatch::default() };
        let counts = store.import(&id, batch).expect("imports");
        store.end_import(&id, end()).expect("ends");
        (id, counts.gaps)
    };
    assert_eq!(tell(vec![gap(None, 5)]).1, 1);
    assert_eq!(tell(vec![gap(None, 5), gap(None, 3)]).1, 0);
    assert_eq!(store.catalog().coverage[&scope()], [gap(None, 5)]);
    let (ending, new) = tell(vec![gap(Some(9), 9)]);
    assert_eq!((new, &store.catalog().coverage[&scope()]), (0, &vec![gap(Some(9), 9)]));
    let (late, new) = tell(vec![gap(None, 7), gap(Some(12), 9)]);
    assert_eq!(new, 0);
    assert_eq!(store.catalog().coverage[&scope()], [gap(Some(9), 9)]);
    // Each import tells of what it found, also where that was known.
    assert_eq!(store.coverage_of(&ending), [gap(Some(9), 9)]);
    assert_eq!(store.coverage_of(&late), [gap(Some(9), 9)]);
    store.retract(&ending, &actor()).expect("is taken back");
    assert_eq!(store.coverage_of(&ending), []);
    // What other imports found stays.
    assert_eq!(store.catalog().coverage[&scope()], [gap(Some(12), 9)]);
    store.close().expect("closes");
    assert_eq!(place.open().catalog().coverage[&scope()], [gap(Some(12), 9)]);
}

#[test]
fn the_registry_refuses_and_records() {
    let place = Place::new();
    let store = place.open_new();
    let refused = store.change_registry(&actor(), project_changes()).expect_err("is there");
    assert_eq!(refused.kind, ErrorKind::Exists);
    let unknown = ImportStart { cluster: "nowhere".into(), ..start() };
    assert_eq!(store.begin_import(unknown).expect_err("no cluster").kind, ErrorKind::Missing);
    let before = store.catalog();
    store.close().expect("closes");
    assert_eq!(*place.open().catalog(), *before);
}

/// One import of an input: files, each in batches.
#[derive(Clone, Debug)]
struct Plan {
    /// For each file, which lines of the log it has: from, length.
    files: Vec<(usize, usize)>,
    batch: usize,
    /// Each file comes as a shipper's request.
    as_requests: bool,
    flush: bool,
    restart: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let files = prop::collection::vec((0..60_usize, 0..40_usize), 1..4);
    let rest = (1..30_usize, any::<bool>(), any::<bool>(), any::<bool>());
    (files, rest).prop_map(|(files, (batch, as_requests, flush, restart))| Plan {
        files,
        batch,
        as_requests,
        flush,
        restart,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Goal: overlapping files, in any order, in any grouping into imports, in batches of any size or
    /// as requests, wherever rows are and while they move, come to the same history: of each event,
    /// the greatest number that any one file holds. Method: a log with events that repeat, within a
    /// millisecond and later, is cut into files; in half of the cases the store's own thread moves
    /// rows meanwhile.
    #[test]
    fn overlapping_files_add_nothing_twice(
        // Few different events, so that many are equal; some with times that are partly a guess.
        log in prop::collection::vec((0..8_i64, any::<bool>()), 60),
        plans in prop::collection::vec(plan(), 1..5),
        memtable_size_bytes in prop_oneof![Just(1_usize), Just(2_000), Just(8_000), Just(1 << 20)],
        background in any::<bool>(),
    ) {
        let log: Vec<Access> = log.iter().map(|(n, is_partial)| match is_partial {
            false => login(*n),
            // Another guess of the instant for each copy of the line.
            true => Access {
                written_time: WrittenTime::Partial(format!("day {n}").into()),
                event_time: NOW.plus_seconds(n * 1000),
                ..login(*n)
            },
        }).collect();
        let key = |access: &Access| format!("{:?} {:?}", access.connection, access.written_time);
        let place = Place::with_memtable(memtable_size_bytes);
        let open = || Store::open(Options { background, ..place.options() }).expect("opens");
        let mut store = open();
        add_project(&store);
        let mut expected: BTreeMap<String, usize> = BTreeMap::new();
        for (n, plan) in plans.into_iter().enumerate() {
            let id = store.begin_import(start()).expect("begins");
            for (at, length) in plan.files {
                store.import_next_file(&id).expect("is running");
                let mut file = log[at..(at + length).min(log.len())].to_vec();
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                for access in &mut file {
                    *counts.entry(key(access)).or_default() += 1;
                    if access.written_time != WrittenTime::Complete {
                        access.event_time = access.event_time.plus_seconds(n as i64);
                    }
                }
                for (key, count) in counts {
                    let most = expected.entry(key).or_default();
                    *most = count.max(*most);
                }
                if plan.as_requests {
                    store.ingest(request(None, file)).expect("is stored");
                    continue;
                }
                for batch in file.chunks(plan.batch) {
                    let accesses = batch.to_vec();
                    let batch = ImportBatch { accesses, ..ImportBatch::default() };
                    store.import(&id, batch).expect("imports");
                }
            }
            store.end_import(&id, end()).expect("ends");
            if plan.flush {
                store.flush().expect("flushes");
            }
            if plan.restart {
                store.close().expect("closes");
                drop(store);
                store = open();
            }
        }
        let page = store.select(&Filter::all(scope(), usize::MAX)).expect("answers");
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for row in &page.rows {
            let Record::Access(access) = &row.record else { panic!("not an access") };
            *found.entry(key(access)).or_default() += 1;
        }
        prop_assert_eq!(found, expected);
    }
}
