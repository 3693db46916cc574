//! Compaction changes files, and never an answer.

use std::path::Path;
use std::sync::Arc;

use doorbook_event::Access;
use doorbook_store::disk::SystemDisk;
use doorbook_store::filter::Kind;
use doorbook_store::{Filter, ImportBatch, Placed, Store};
use proptest::prelude::*;

use crate::support::{Place, actor, end, import, login, scope, start};

/// Every row of the project, newest first, quarantined ones too.
fn all(store: &Store) -> Vec<Placed> {
    let kinds = [Kind::Access, Kind::Quarantine].into_iter();
    let pages = kinds.map(|kind| {
        let filter = Filter { kind, ..Filter::all(scope(), usize::MAX) };
        let page = store.select(&filter).expect("answers");
        assert_eq!(page.total, page.rows.len() as u64);
        page.rows
    });
    pages.flatten().collect()
}

fn compact(store: &Store) -> usize {
    (0..).take_while(|_| store.compact_once().expect("compacts")).count()
}

fn files(place: &Place) -> usize {
    let dir = place.dir.path().join("data/segments");
    std::fs::read_dir(dir).expect("is there").count()
}

/// An import of one file in one batch; with long lines it becomes a file of its own.
fn logins(n: i64, count: i64, is_bulk: bool) -> Vec<Access> {
    let mut accesses: Vec<Access> = (n..n + count).map(login).collect();
    for access in &mut accesses {
        if is_bulk {
            access.raw.resize(400, b'.');
        }
        access.task_id = (n % 3 == 0).then(|| format!("task-{}", n / 7).into());
    }
    accesses
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Goal: after compaction every answer is what it was, also for what is taken back before or
    /// after it, and imported again. Method: imports of any times and sizes, through memory and as
    /// files of their own, some taken back; compared before, after, and after a restart.
    #[test]
    fn answers_stay_what_they_were(
        steps in proptest::collection::vec((0_i64..200, 1_i64..12, any::<bool>(), 0_u8..6), 12..40),
    ) {
        let place = Place::with_memtable(3000);
        let store = place.open_new();
        let mut imports = Vec::new();
        for (n, count, is_bulk, what) in &steps {
            imports.push(import(&store, logins(*n, *count, *is_bulk)));
            if *what == 0 {
                store.retract(&imports[imports.len() / 2], &actor()).ok();
            }
            if *what == 1 {
                let before = all(&store);
                compact(&store);
                prop_assert_eq!(all(&store), before);
            }
        }
        let before = all(&store);
        compact(&store);
        prop_assert!(files(&place) < 20, "{} files", files(&place));
        prop_assert_eq!(&all(&store), &before);
        store.retract(&imports[0], &actor()).ok();
        let after = all(&store);
        drop(store);
        let store = place.open();
        prop_assert_eq!(&all(&store), &after);
        // What is there is recognised, wherever it lies now.
        let (n, count, is_bulk, _) = steps[steps.len() - 1];
        let id = store.begin_import(start()).expect("begins");
        let taken_back = imports.iter().zip(&steps).any(|(id, _)| {
            let state = store.catalog().imports[id].1.state;
            state == doorbook_event::record::ImportState::Retracted
        });
        let batch = ImportBatch { accesses: logins(n, count, is_bulk), ..ImportBatch::default() };
        let counts = store.import(&id, batch).expect("imports");
        if !taken_back {
            prop_assert_eq!(counts.events, 0);
        }
        store.end_import(&id, end()).expect("ends");
    }
}

/// Goal: segments of version 1 are merged with new ones. Method: the fixture of version 1, with as
/// many small segments more as compaction needs.
#[test]
fn old_and_new_segments_become_one() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let place = Place::with_memtable(1);
    crate::formats::copy(&fixture, &place.dir.path().join("data"));
    let store = place.open();
    let old = all(&store);
    let names = |place: &Place| -> Vec<_> {
        let dir = place.dir.path().join("data/segments");
        let entries = std::fs::read_dir(dir).expect("is there");
        entries.map(|entry| entry.expect("a file").file_name()).collect()
    };
    let before = names(&place);
    for n in 100..108 {
        import(&store, logins(n, 3, false));
    }
    compact(&store);
    assert!(!names(&place).iter().any(|name| before.contains(name)), "they were merged");
    let found = all(&store);
    assert!(old.iter().all(|row| found.contains(row)));
    drop(store);
    assert_eq!(all(&place.open()), found);
}

/// Goal: whoever reads while segments are replaced loses no file. Method: threads ask for everything
/// while others import and compact.
#[test]
fn readers_keep_their_files() {
    let place = Place::with_memtable(2000);
    let store = place.open_new();
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (store, done) = (store.clone(), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut last = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let count = all(&store).len();
                    assert!(count >= last, "{count} rows, and {last} before");
                    last = count;
                }
            })
        })
        .collect();
    for n in 0..60 {
        import(&store, logins(n * 20, 6, false));
        store.compact_once().expect("compacts");
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().expect("a reader lost something"));
    assert_eq!(all(&store).len(), 360);
    let expected = files(&place);
    drop(store);
    let options = doorbook_store::Options { disk: Arc::new(SystemDisk), ..place.options() };
    drop(Store::open(options).expect("opens"));
    assert_eq!(files(&place), expected, "every file that was replaced was gone already");
}
