//! Commits that wait for each other, flushes beside them, requests and their keys.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::time::Duration;

use doorbook_event::record::{Place as QuarantinePlace, Quarantine};
use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::{Access, Class, ProjectId, Record, Scope};
use doorbook_store::disk::{Disk, DiskFile, SystemDisk};
use doorbook_store::{
    Did, Entry, Error, ErrorKind, Filter, Ingest, IngestLine, Ingested, LineResult, Options, Store,
};

use crate::formats::copy;
use crate::support::{
    NOW, PROJECT, Place, actor, add_project, import, login, request, scope, start,
};

/// An event without a connection number: nothing tells it from another one like it.
fn anonymous(n: i64) -> Access {
    Access { connection: None, ..login(n) }
}

fn stored(answer: &Ingested) -> usize {
    let is_stored = |line: &&LineResult| matches!(line, LineResult::Stored { .. });
    answer.lines.iter().filter(is_stored).count()
}

/// Raw line and how often it is there.
fn counts(store: &Store) -> BTreeMap<Vec<u8>, usize> {
    let page = store.select(&Filter::all(scope(), usize::MAX)).expect("answers");
    assert_eq!(page.total, page.rows.len() as u64);
    let mut counts = BTreeMap::new();
    for row in page.rows {
        let Record::Access(access) = row.record else { panic!("not an access") };
        *counts.entry(access.raw).or_default() += 1;
    }
    counts
}

/// A disk whose syncs can be held up, or made to fail, and whose free space is what a test says.
struct GatedDisk {
    gate: Arc<Gate>,
    /// The extension of the files whose syncs are held up.
    gated: &'static str,
    free_bytes: u64,
}

#[derive(Default)]
struct Gate {
    is_shut: Mutex<bool>,
    changed: Condvar,
    syncs: AtomicUsize,
    writes_fail: AtomicBool,
}

impl Gate {
    fn shut(&self) {
        *self.is_shut.lock().expect("no panic") = true;
    }

    fn open(&self) {
        *self.is_shut.lock().expect("no panic") = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        let is_shut = self.is_shut.lock().expect("no panic");
        drop(self.changed.wait_while(is_shut, |is_shut| *is_shut).expect("no panic"));
    }
}

impl GatedDisk {
    fn new() -> (Arc<Gate>, Arc<GatedDisk>) {
        let gate = Arc::new(Gate::default());
        (gate.clone(), Arc::new(GatedDisk { gate, gated: "wal", free_bytes: u64::MAX }))
    }
}

impl GatedDisk {
    fn gate_of(&self, path: &Path) -> Option<Arc<Gate>> {
        path.extension().is_some_and(|of| of == self.gated).then(|| self.gate.clone())
    }
}

impl Disk for GatedDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_dir(dir)
    }

    fn create_subdir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.create_subdir(dir)
    }

    fn make_private(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.make_private(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.lock(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile { file: SystemDisk.create(path)?, gate: self.gate_of(path) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(GatedFile { file: SystemDisk.open(path)?, gate: self.gate_of(path) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(self.free_bytes)
    }
}

struct GatedFile {
    file: Box<dyn DiskFile>,
    /// Of a file whose syncs are held up.
    gate: Option<Arc<Gate>>,
}

impl DiskFile for GatedFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.file.size_bytes()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        match &self.gate {
            Some(gate) if gate.writes_fail.load(Ordering::SeqCst) => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => self.file.write_at(bytes, offset),
        }
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.file.truncate(size_bytes)
    }

    fn sync(&self) -> io::Result<()> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        Ok(())
    }
}

/// Waits until so many syncs were begun.
fn wait_for_syncs(gate: &Gate, count: usize) {
    while gate.syncs.load(Ordering::SeqCst) < count {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Has threads commit one event each while a sync is held up, and returns what each was told once
/// the gate opens. `before_opening` runs when all of them wait.
fn commit_in_a_group(
    store: &Store,
    gate: &Gate,
    count: i64,
    before_opening: impl FnOnce(),
) -> Vec<Result<Ingested, doorbook_store::Error>> {
    let first = gate.syncs.load(Ordering::SeqCst);
    gate.shut();
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| store.ingest(request(None, [login(0)])));
        wait_for_syncs(gate, first + 1);
        let followers: Vec<_> = (1..count)
            .map(|n| threads.spawn(move || store.ingest(request(None, [login(n)]))))
            .collect();
        // They are on their way to the queue; nothing tells from outside when they are in it, and a
        // late one only makes the group smaller.
        std::thread::sleep(Duration::from_millis(200));
        before_opening();
        gate.open();
        let mut answers = vec![leader.join().expect("no panic")];
        answers.extend(followers.into_iter().map(|thread| thread.join().expect("no panic")));
        answers
    })
}

/// Goal: whoever comes during a sync is committed with the others by one more. Method: a sync is held
/// up until nineteen callers wait; then the syncs are counted.
#[test]
fn commits_that_wait_share_a_sync() {
    let place = Place::new();
    let (gate, disk) = GatedDisk::new();
    let store = Store::open(place.options_on(disk)).expect("opens");
    add_project(&store);
    let before = gate.syncs.load(Ordering::SeqCst);
    for answer in commit_in_a_group(&store, &gate, 20, || {}) {
        assert_eq!(stored(&answer.expect("is committed")), 1);
    }
    let syncs = gate.syncs.load(Ordering::SeqCst) - before;
    assert!((2..10).contains(&syncs), "{syncs} syncs for 20 commits");
    drop(store);
    let found = counts(&place.open());
    assert_eq!(found.len(), 20);
    assert!(found.values().all(|count| *count == 1), "{found:?}");
}

/// Goal: a write that fails refuses its group and nobody else, and leaves nothing, not even to be
/// taken for a duplicate. Method: the group of a held-up sync meets a full disk.
#[test]
fn a_failed_write_refuses_its_group() {
    let place = Place::new();
    let (gate, disk) = GatedDisk::new();
    let store = Store::open(place.options_on(disk)).expect("opens");
    add_project(&store);
    let fail = || gate.writes_fail.store(true, Ordering::SeqCst);
    let answers = commit_in_a_group(&store, &gate, 10, fail);
    assert!(answers[0].is_ok(), "was written before");
    for answer in &answers[1..] {
        assert_eq!(answer.as_ref().expect_err("is refused").kind, ErrorKind::DiskFull);
    }
    assert_eq!(counts(&store).len(), 1);
    gate.writes_fail.store(false, Ordering::SeqCst);
    let again = store.ingest(request(None, (0..10).map(login))).expect("goes on");
    assert_eq!(stored(&again), 9);
    drop(store);
    assert_eq!(counts(&place.open()).len(), 10);
}

/// Goal: every acknowledged event is there once after a restart, whoever wrote at the same time,
/// while rows move to segments. Method: threads write events and their duplicates under a small
/// memtable with the store's own thread, and a flush is asked for now and then.
#[test]
fn threads_and_background_flushes_lose_and_double_nothing() {
    const THREADS: i64 = 6;
    let place = Place::with_memtable(3000);
    let options = Options { background: true, ..place.options() };
    let store = Store::open(options).expect("opens");
    add_project(&store);
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (store, barrier) = (&store, &barrier);
            threads.spawn(move || {
                barrier.wait();
                for round in 0..40 {
                    // Two threads each bring the same events: one of the two is told so.
                    let first = (thread / 2) * 1000 + round * 3;
                    let mine = (first..first + 3).map(login);
                    let other = anonymous(100_000 + thread * 1000 + round);
                    let answer = store.ingest(request(None, mine.chain([other])));
                    let answer = answer.expect("is committed");
                    assert!(matches!(answer.lines[3], LineResult::Stored { .. }));
                    if round % 10 == thread {
                        store.flush().expect("flushes");
                    }
                }
            });
        }
    });
    let check = |store: &Store| {
        let found = counts(store);
        assert_eq!(found.len() as i64, THREADS / 2 * 120 + THREADS * 40);
        assert!(found.values().all(|count| *count == 1), "{found:?}");
    };
    check(&store);
    store.close().expect("closes");
    drop(store);
    let store = place.open();
    check(&store);
    let again = (0..THREADS / 2).flat_map(|pair| (pair * 1000..pair * 1000 + 120).map(login));
    assert_eq!(stored(&store.ingest(request(None, again)).expect("is answered")), 0);
}

/// Goal: a flush keeps no commit waiting, what they bring meanwhile stays in memory, and rows are
/// recognised wherever they are. Method: a flush is held up before its file is whole; others commit;
/// the directory is copied then and after, as a crash would leave it, and opened.
#[test]
fn rows_that_come_during_a_flush_stay() {
    let place = Place::new();
    let gate = Arc::new(Gate::default());
    let disk = GatedDisk { gate: gate.clone(), gated: "parquet", free_bytes: u64::MAX };
    let store = Store::open(place.options_on(Arc::new(disk))).expect("opens");
    add_project(&store);
    let bring = |rows: std::ops::Range<i64>| {
        stored(&store.ingest(request(None, rows.map(login))).expect("is committed"))
    };
    let crash = |name: &str| {
        let crashed = Place::new();
        copy(&place.dir.path().join("data"), &crashed.dir.path().join("data"));
        let found = counts(&crashed.open());
        assert!(found.values().all(|count| *count == 1), "{name}: {found:?}");
        found.len()
    };
    assert_eq!(bring(0..10), 10);
    gate.shut();
    std::thread::scope(|threads| {
        let flush = threads.spawn(|| store.flush());
        wait_for_syncs(&gate, 1);
        assert_eq!(bring(5..20), 10);
        assert_eq!(counts(&store).len(), 20);
        assert_eq!(crash("during the flush"), 20);
        gate.open();
        flush.join().expect("no panic").expect("flushes");
    });
    assert_eq!(bring(0..25), 5);
    assert_eq!(counts(&store).len(), 25);
    assert_eq!(crash("after the flush"), 25);
    store.flush().expect("flushes");
    store.flush().expect("has nothing to do");
    assert_eq!(bring(0..25), 0);
    assert_eq!(crash("after another"), 25);
    // One for the system, and two for the project.
    let segments = std::fs::read_dir(place.dir.path().join("data/segments")).expect("is there");
    assert_eq!(segments.count(), 3);
}

/// Goal: identity by columns for what has them, by the request's key for what has not. Method: the
/// same events with and without connection number, in one request and in two.
#[test]
fn a_request_is_a_file_of_the_multiset_rule() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    let ingest = |lines: Vec<Access>| stored(&store.ingest(request(None, lines)).expect("stored"));
    assert_eq!(ingest(vec![login(1), login(1), login(2)]), 3);
    assert_eq!(ingest(vec![login(2), login(1), login(1), login(1), login(3)]), 2);
    assert_eq!(ingest(vec![anonymous(1), anonymous(1)]), 2);
    assert_eq!(ingest(vec![anonymous(1)]), 1);
    // And an import knows them all.
    import(&store, vec![login(1), login(2), login(3), anonymous(1), login(4)]);
    assert_eq!(counts(&store).values().sum::<usize>(), 5 + 3 + 1);
}

#[test]
fn a_key_is_remembered_through_flushes_and_restarts() {
    let place = Place::with_memtable(1);
    let mut store = place.open_new();
    let ask = |store: &Store, key: &str, n: i64| store.ingest(request(Some(key), [anonymous(n)]));
    assert_eq!(stored(&ask(&store, "a", 1).expect("is stored")), 1);
    assert_eq!(stored(&ask(&store, "b", 1).expect("is stored")), 1);
    for round in 0..3 {
        assert_eq!(ask(&store, "a", 1).expect("known").lines, [LineResult::Duplicate]);
        let other = ask(&store, "a", 2).expect_err("says something else");
        assert_eq!(other.kind, ErrorKind::Exists, "round {round}");
        // Only within its source.
        let elsewhere = Ingest { source: "other".into(), ..request(Some("a"), [anonymous(2)]) };
        assert_eq!(stored(&store.ingest(elsewhere).expect("stored")), usize::from(round == 0));
        match round {
            0 => store.flush().expect("flushes"),
            _ => {
                store.close().expect("closes");
                drop(store);
                store = place.open();
            }
        }
    }
    place.clock.set(NOW.plus_seconds(7 * 86_400 + 1));
    assert_eq!(stored(&ask(&store, "a", 2).expect("forgotten")), 1);
    for key in ["".to_owned(), "x".repeat(201)] {
        assert_eq!(ask(&store, &key, 3).expect_err("no key").kind, ErrorKind::Invalid);
    }
    assert_eq!(counts(&store).values().sum::<usize>(), 4);
}

/// Goal: requests so large that they go to a segment at once keep the same rules. Method: a small
/// memtable makes them large; lines of both kinds, twice, with and without a key.
#[test]
fn a_large_request_keeps_the_rules() {
    let place = Place::with_memtable(600);
    let store = place.open_new();
    let lines = || {
        let long = |n| Access { raw: format!("{n:050}").into_bytes(), ..login(n) };
        let quarantine = Quarantine {
            target: login(0).target,
            reason: "no user".into(),
            place: QuarantinePlace::default(),
            bytes: b"x".to_vec(),
            length_bytes: 1,
            sha256: [1; 32],
        };
        let mut ingest = request(Some("k"), (0..10).map(long));
        ingest.lines.insert(4, IngestLine::Unreadable(Box::new(quarantine)));
        ingest
    };
    let answer = store.ingest(lines()).expect("is stored");
    let mut seqs = Vec::new();
    for line in &answer.lines {
        let LineResult::Stored { seq, .. } = line else { panic!("is new") };
        seqs.push(*seq);
    }
    assert_eq!(seqs, [0, 1, 2, 3, 10, 4, 5, 6, 7, 8, 9]);
    let page = store.select(&Filter::all(scope(), 100)).expect("answers");
    for row in page.rows {
        let Record::Access(access) = row.record else { panic!("not an access") };
        assert_eq!(access.raw, format!("{:050}", row.seq).into_bytes());
    }
    assert_eq!(stored(&store.ingest(lines()).expect("is known")), 0);
    let without_key = Ingest { key: None, ..lines() };
    assert_eq!(stored(&store.ingest(without_key).expect("is recognised")), 0);
    let mut other = lines();
    other.lines.pop();
    assert_eq!(store.ingest(other).expect_err("other lines").kind, ErrorKind::Exists);
    assert_eq!(counts(&store).len(), 10);
}

/// Goal: of two equal requests that are written together one is stored. Method: both wait for the
/// same sync.
#[test]
fn equal_requests_in_one_group_are_stored_once() {
    let place = Place::new();
    let (gate, disk) = GatedDisk::new();
    let store = Store::open(place.options_on(disk)).expect("opens");
    add_project(&store);
    let first = gate.syncs.load(Ordering::SeqCst);
    gate.shut();
    let answers: Vec<_> = std::thread::scope(|threads| {
        let store = &store;
        let leader = threads.spawn(|| store.ingest(request(None, [anonymous(0)])));
        wait_for_syncs(&gate, first + 1);
        let equal: Vec<_> = (0..6)
            .map(|n| {
                let key = (n < 3).then_some("same");
                let access = if n < 3 { anonymous(1) } else { login(2) };
                threads.spawn(move || store.ingest(request(key, [access])))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        gate.open();
        leader.join().expect("no panic").expect("is committed");
        equal.into_iter().map(|t| t.join().expect("no panic").expect("committed")).collect()
    });
    assert_eq!(answers[..3].iter().map(stored).sum::<usize>(), 1);
    assert_eq!(answers[3..].iter().map(stored).sum::<usize>(), 1);
    assert_eq!(counts(&store).len(), 3);
}

/// Goal: what waits is bounded, and who finds no room is told so and stores nothing. Method: a
/// queue of one byte, and no time to wait, while a sync is held up.
#[test]
fn a_full_queue_is_busy() {
    let place = Place::new();
    let (gate, disk) = GatedDisk::new();
    let queue = Options { queue_size_bytes: 1, wait_max: Duration::ZERO, ..place.options_on(disk) };
    let store = Store::open(queue).expect("opens");
    add_project(&store);
    let answers = commit_in_a_group(&store, &gate, 6, || {});
    let busy = answers.iter().filter_map(|answer| answer.as_ref().err());
    let busy: Vec<_> = busy.map(|error| error.kind).collect();
    // One is being written, one waits.
    assert_eq!(busy, [ErrorKind::Busy; 4]);
    assert_eq!(counts(&store).len(), 2);
    let again = store.ingest(request(None, (0..6).map(login))).expect("there is room again");
    assert_eq!(stored(&again), 4);
}

/// Goal: requests that are stored together are each told what they would be told alone, by one sync.
/// Method: requests of every kind at once; then the same once more, and after a restart.
#[test]
fn several_requests_at_once_are_answered_each_for_itself() {
    let place = Place::new();
    let (gate, disk) = GatedDisk::new();
    let store = Store::open(place.options_on(disk)).expect("opens");
    add_project(&store);
    let limits = Limits { keep_days: Some(10), minimum_days: 0 };
    let set = RetentionSet { scope: scope(), limits, at: NOW };
    store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]).expect("is decided");
    place.clock.set(NOW.plus_seconds(10 * 86_400 + 100));
    let before = request(Some("before"), [login(1000)]);
    store.ingest(before.clone()).expect("is stored");
    let requests = || {
        vec![
            request(None, [login(200)]),
            request(Some("a"), [login(201), login(1), login(202), login(1000)]),
            Ingest {
                scope: Scope::Project(ProjectId::new([9; 12])),
                ..request(None, [login(203)])
            },
            request(Some("a"), [login(204)]),
            request(Some(""), [login(205)]),
            request(None, [login(200), login(206)]),
            before.clone(),
            request(Some("b"), [login(2)]),
            request(Some("a"), [login(201), login(1), login(202), login(1000)]),
            request(None, []),
        ]
    };
    let told = |store: &Store| -> Vec<Result<String, ErrorKind>> {
        let letter = |line: &LineResult| match line {
            LineResult::Stored { .. } => 'S',
            LineResult::Duplicate => 'D',
            LineResult::Expired => 'E',
        };
        let answers = store.ingest_all(requests()).into_iter();
        let told = answers.map(|answer| match answer {
            Ok(answer) => Ok(answer.lines.iter().map(letter).collect()),
            Err(error) => Err(error.kind),
        });
        told.collect()
    };
    let expected = |lines: [&str; 7]| {
        let [first, keyed, same, known, late, again, none] = lines.map(|line| Ok(line.to_owned()));
        let (missing, exists) = (Err(ErrorKind::Missing), Err(ErrorKind::Exists));
        let invalid = Err(ErrorKind::Invalid);
        vec![first, keyed, missing, exists, invalid, same, known, late, again, none]
    };
    let syncs = gate.syncs.load(Ordering::SeqCst);
    assert_eq!(told(&store), expected(["S", "SESD", "DS", "D", "E", "DEDD", ""]));
    assert_eq!(gate.syncs.load(Ordering::SeqCst) - syncs, 1);
    let again = expected(["D", "DEDD", "DD", "D", "E", "DEDD", ""]);
    assert_eq!(told(&store), again);
    drop(store);
    let store = place.open();
    assert_eq!(told(&store), again);
    let found = counts(&store);
    assert_eq!(found.len(), 5);
    assert!(found.values().all(|count| *count == 1), "{found:?}");
    assert!(store.ingest_all(Vec::new()).is_empty());
}

/// Goal: of requests that are stored together only the one that finds no room is refused. Method: a
/// sync is held up, and a large request waits: the only one of two, so that the other one's refusal
/// tells that it does. Beside the next large one are requests that need no room; those that do are in
/// the queue's own tests.
#[test]
fn of_several_requests_only_what_finds_no_room_is_busy() {
    let place = Place::new();
    let (gate, disk) = GatedDisk::new();
    let wait_max = Duration::ZERO;
    let queue = Options { queue_size_bytes: 3000, wait_max, ..place.options_on(disk) };
    let store = Store::open(queue).expect("opens");
    add_project(&store);
    let large = |n| request(None, [Access { raw: vec![b'x'; 2000], ..login(n) }]);
    let before = request(Some("before"), [login(5)]);
    store.ingest(before.clone()).expect("is stored");
    let foreign =
        Ingest { scope: Scope::Project(ProjectId::new([9; 12])), ..request(None, [login(4)]) };
    let several = || vec![large(3), before.clone(), foreign.clone()];
    let told = |answers: Vec<Result<Ingested, _>>| -> Vec<Result<usize, ErrorKind>> {
        let answers = answers.into_iter();
        answers.map(|answer| answer.map(|it| stored(&it)).map_err(|e: Error| e.kind)).collect()
    };
    let first = gate.syncs.load(Ordering::SeqCst);
    gate.shut();
    std::thread::scope(|threads| {
        let store = &store;
        let leader = threads.spawn(|| store.ingest(request(None, [login(0)])));
        wait_for_syncs(&gate, first + 1);
        let waiting = [1, 2].map(|n| threads.spawn(move || store.ingest(large(n))));
        while !waiting.iter().any(|thread| thread.is_finished()) {
            std::thread::yield_now();
        }
        let answers = told(store.ingest_all(several()));
        gate.open();
        assert_eq!(answers, [Err(ErrorKind::Busy), Ok(0), Err(ErrorKind::Missing)]);
        leader.join().expect("no panic").expect("is committed");
        let waited = waiting.map(|thread| thread.join().expect("no panic").is_ok());
        assert_ne!(waited[0], waited[1]);
    });
    assert_eq!(counts(&store).len(), 3);
    assert_eq!(told(store.ingest_all(several())), [Ok(1), Ok(0), Err(ErrorKind::Missing)]);
}

/// Goal: where flushes do not come about, memory does not grow. Method: the folder of the segments is
/// taken away while the store's own thread is to fill it.
#[test]
fn a_flush_that_does_not_keep_up_makes_commits_wait() {
    let place = Place::with_memtable(1000);
    let options = Options { background: true, wait_max: Duration::ZERO, ..place.options() };
    let store = Store::open(options).expect("opens");
    add_project(&store);
    let segments = place.dir.path().join("data/segments");
    let aside = place.dir.path().join("aside");
    std::fs::rename(&segments, &aside).expect("is moved");
    let mut refused = None;
    for n in 0..200 {
        match store.commit(vec![entry(n)]) {
            Ok(()) => {}
            Err(error) => {
                refused = Some(error.kind);
                break;
            }
        }
    }
    // The flush's own failure, or its being too slow.
    assert!(matches!(refused, Some(ErrorKind::Io | ErrorKind::Busy)), "{refused:?}");
    std::fs::rename(&aside, &segments).expect("is moved back");
    store.flush().expect("goes on");
    store.commit(vec![entry(1000)]).expect("goes on");
}

fn entry(n: i64) -> Entry {
    Entry { scope: scope(), source: "test".into(), records: vec![Record::Access(login(n))] }
}

/// Goal: below the reserve the disk takes what Doorbook itself must write, and nothing from outside.
/// Method: a disk with one byte left.
#[test]
fn below_the_reserve_only_the_server_itself_writes() {
    let place = Place::with_memtable(500);
    let disk = Arc::new(GatedDisk { gate: Arc::default(), gated: "wal", free_bytes: 1 });
    let store = Store::open(place.options_on(disk.clone())).expect("opens");
    add_project(&store);
    store.ingest(request(None, [login(1)])).expect("no reserve, no refusal");
    drop(store);
    let options = Options { reserve_size_bytes: 2, ..place.options_on(disk) };
    let store = Store::open(options).expect("opens");
    let refused = store.ingest(request(None, [login(2)])).expect_err("no room");
    assert_eq!(refused.kind, ErrorKind::DiskFull);
    assert_eq!(store.begin_import(start()).expect_err("no room").kind, ErrorKind::DiskFull);
    for n in 0..20 {
        store.commit(vec![entry(n)]).expect("own events go on");
    }
    let host = doorbook_event::HostName { name: "db-9".into(), port: 1 };
    let host = doorbook_event::registry::Host {
        project: PROJECT,
        cluster: "orders".into(),
        name: host,
        aliases: Vec::new(),
    };
    let change = doorbook_event::registry::RegistryChange::HostAdded(host);
    store.change_registry(&actor(), vec![change]).expect("registry changes go on");
    for n in 20..30 {
        store.commit(vec![entry(n)]).expect("own events go on");
        store.flush().expect("flushes go on");
    }
    assert!(!store.compact_once().expect("waits for room"), "there is none beside the old files");
    while store.maintain().expect("maintenance goes on") != Did::Nothing {}
    drop(store);
    let disk = GatedDisk { gate: Arc::default(), gated: "wal", free_bytes: u64::MAX };
    let store = Store::open(place.options_on(Arc::new(disk))).expect("opens");
    assert!(store.compact_once().expect("compacts"), "with room there is something to do");
}

/// Goal: an event of the future is kept and marked, however it came, and is the same event without the
/// mark. Method: one an hour ahead by each way in; the request again, when it is no longer ahead.
#[test]
fn an_event_of_the_future_is_marked_and_stays_the_same() {
    let place = Place::new();
    let store = place.open_new();
    let marked = || {
        let filter = Filter { with: Class::Clock.into(), ..Filter::all(scope(), 10) };
        store.select(&filter).expect("answers").total
    };
    store.ingest(request(Some("k"), [login(299), login(3600)])).expect("is stored");
    assert_eq!(marked(), 1);
    import(&store, vec![login(3600), login(3601)]);
    assert_eq!(marked(), 2);
    place.clock.set(NOW.plus_seconds(7200));
    let again = store.ingest(request(Some("k"), [login(299), login(3600)])).expect("is the same");
    assert_eq!(again.lines, [LineResult::Duplicate; 2]);
    let again = store.ingest(request(None, [login(3600)])).expect("is known");
    assert_eq!(again.lines, [LineResult::Duplicate]);
}
