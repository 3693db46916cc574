//! Each write fails once, in each way; the directory is cut and flipped: what was acknowledged is
//! there, once, and nothing is there by half.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::{Access, Clock, Record};
use doorbook_store::disk::{Disk, DiskFile, SystemDisk};
use doorbook_store::filter::Kind;
use doorbook_store::verify::Depth;
use doorbook_store::{Did, Error, ErrorKind, Filter, ImportBatch, Store};

use crate::support::{NOW, Place, actor, end, login, project_changes, request, scope, start};

/// What becomes of an operation that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// It did not happen.
    Lost,
    /// It happened, and was reported as failed.
    Landed,
    /// Half of what was to be written was written.
    Short,
}

/// The operating system's disk, without the wait for its platters, on which one chosen operation
/// fails, or that one and all after it.
pub struct FaultyDisk {
    counter: Arc<Counter>,
}

/// What an operation does to the disk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Write,
    /// Files and names that come, go or become shorter.
    Name,
    Sync,
}

impl Change {
    /// The fates that differ for it: only a write can happen by half, and of a sync only its word
    /// counts.
    fn fates(self) -> &'static [Fate] {
        match self {
            Change::Write => &[Fate::Lost, Fate::Landed, Fate::Short],
            Change::Name => &[Fate::Lost, Fate::Landed],
            Change::Sync => &[Fate::Lost],
        }
    }
}

struct Counter {
    done: AtomicUsize,
    changes: Mutex<Vec<Change>>,
    fail_at: usize,
    fate: Fate,
    /// Everything after fails as well: the disk is gone.
    for_good: bool,
    error: io::ErrorKind,
}

impl FaultyDisk {
    pub fn failing(fail_at: usize, fate: Fate, for_good: bool, error: io::ErrorKind) -> FaultyDisk {
        let done = AtomicUsize::new(0);
        let changes = Mutex::default();
        FaultyDisk { counter: Arc::new(Counter { done, changes, fail_at, fate, for_good, error }) }
    }

    /// A disk on which nothing fails.
    pub fn sound() -> FaultyDisk {
        FaultyDisk::failing(usize::MAX, Fate::Lost, false, io::ErrorKind::Other)
    }

    fn changes(&self) -> Vec<Change> {
        self.counter.changes.lock().expect("no panic").clone()
    }

    pub fn operations(&self) -> usize {
        self.counter.done.load(Ordering::SeqCst)
    }
}

impl Counter {
    /// Does an operation that changes the disk, or fails it.
    fn change<T>(
        &self,
        what: Change,
        whole: impl FnOnce() -> io::Result<T>,
        half: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<T> {
        let n = self.done.fetch_add(1, Ordering::SeqCst);
        self.changes.lock().expect("no panic").push(what);
        if n == self.fail_at {
            match self.fate {
                Fate::Lost => {}
                Fate::Landed => drop(whole()?),
                Fate::Short => half()?,
            }
            return Err(self.error.into());
        }
        match self.for_good && n > self.fail_at {
            true => Err(self.error.into()),
            false => whole(),
        }
    }
}

impl Disk for FaultyDisk {
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
        let file = self.counter.change(Change::Name, || SystemDisk.create(path), || Ok(()))?;
        Ok(Box::new(FaultyFile { file, counter: Arc::clone(&self.counter) }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = SystemDisk.open(path)?;
        Ok(Box::new(FaultyFile { file, counter: Arc::clone(&self.counter) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.counter.change(Change::Name, || SystemDisk.rename(from, to), || Ok(()))
    }

    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.open_to_read(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.counter.change(Change::Name, || SystemDisk.link(from, to), || Ok(()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.counter.change(Change::Name, || SystemDisk.remove(path), || Ok(()))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        SystemDisk.list(dir)
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        self.counter.change(Change::Sync, || Ok(()), || Ok(()))
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free_bytes(dir)
    }
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    counter: Arc<Counter>,
}

impl DiskFile for FaultyFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.file.size_bytes()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let half = || self.file.write_at(&bytes[..bytes.len() / 2], offset).map(drop);
        self.counter.change(Change::Write, || self.file.write_at(bytes, offset), half)
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.counter.change(Change::Name, || self.file.truncate(size_bytes), || Ok(()))
    }

    fn sync(&self) -> io::Result<()> {
        self.counter.change(Change::Sync, || Ok(()), || Ok(()))
    }
}

/// What was asked of a store, and whether it said yes.
#[derive(Default)]
struct Ledger {
    batches: Vec<(Vec<Access>, bool)>,
    /// What may be there and may be too old to be shown.
    ageing: Vec<Access>,
    /// What maintenance did.
    did: Vec<Did>,
}

impl Ledger {
    /// Maintains a store to the end, or to what fails.
    fn maintain(&mut self, store: &Store) {
        while let Ok(did) = store.maintain()
            && did != Did::Nothing
        {
            self.did.push(did);
        }
    }
}

/// Enough of a life to flush, to write snapshots, to trim the WAL, and to write a file of its own
/// for an import. Goes on after whatever fails.
fn live(store: &Store, _: &Place, ledger: &mut Ledger) {
    let _refused = store.change_registry(&actor(), project_changes());
    for round in 0..5 {
        // A round that is refused must not change what the later ones bring.
        let mut n = round * 100;
        let Ok(id) = store.begin_import(start()) else { continue };
        for size in [2, if round == 3 { LARGE } else { 3 }] {
            let mut accesses: Vec<Access> = (n..n + size).map(login).collect();
            if size == LARGE {
                // A third of the memtable: these become a file of their own.
                accesses.iter_mut().for_each(|access| access.raw.resize(200, b' '));
                assert!(accesses.len() * 200 > MEMTABLE_SIZE_BYTES / 3);
            }
            n += size;
            let batch = ImportBatch { accesses: accesses.clone(), ..ImportBatch::default() };
            ledger.batches.push((accesses, store.import(&id, batch).is_ok()));
        }
        let _refused = store.end_import(&id, end());
        if round == 2 {
            // A flush with rows in memory, of which a shipper's request is one, with its key.
            let accesses = vec![login(900), login(901)];
            let is_stored = store.ingest(request(Some("key"), accesses.clone())).is_ok();
            ledger.batches.push((accesses, is_stored));
            if store.flush().is_ok() {
                ledger.did.extend([Did::Flushed, Did::Snapshot]);
            }
        }
        let accesses = unnamed(round);
        let key = format!("request {round}");
        let is_stored = store.ingest(request(Some(&key), accesses.clone())).is_ok();
        ledger.batches.push((accesses, is_stored));
        ledger.maintain(store);
        let _refused = store.secret("of-the-fault-matrix");
    }
}

/// Requests that become a file each, until so many are there that they are merged into one.
fn merge(store: &Store, _: &Place, ledger: &mut Ledger) {
    let _refused = store.change_registry(&actor(), project_changes());
    for first in (0..8).map(|n| n * LARGE) {
        let long = |n| Access { raw: format!("{n:<200}").into_bytes(), ..login(n) };
        let accesses: Vec<Access> = (first..first + LARGE).map(long).collect();
        let is_stored = store.ingest(request(None, accesses.clone())).is_ok();
        ledger.batches.push((accesses, is_stored));
    }
    ledger.maintain(store);
}

/// Three weeks in which what is older than ten days is announced and removed: segments of which all
/// rows are, and one of which some are, beside what stays.
fn age(store: &Store, place: &Place, ledger: &mut Ledger) {
    let _refused = store.change_registry(&actor(), project_changes());
    let limits = Limits { keep_days: Some(10), minimum_days: 0 };
    let set = RetentionSet { scope: scope(), limits, at: place.clock.now() };
    let _refused = store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]);
    let on = |day: i64, n: i64| Access { event_time: NOW.plus_seconds(day * DAY), ..login(n) };
    for (first, days) in [(0, [-9, -8]), (10, [-9, 30]), (20, [30, 31])] {
        let accesses: Vec<Access> = (0..2).map(|n| on(days[n as usize], first + n)).collect();
        let batch = ImportBatch { accesses: accesses.clone(), ..ImportBatch::default() };
        let is_stored = match store.begin_import(start()) {
            Ok(id) => store.import(&id, batch).is_ok() & store.end_import(&id, end()).is_ok(),
            Err(_) => false,
        };
        let (staying, ageing): (Vec<_>, Vec<_>) =
            accesses.into_iter().partition(|access| access.event_time > NOW);
        ledger.ageing.extend(ageing);
        ledger.batches.push((staying, is_stored));
        let _refused = store.flush();
    }
    for day in [9, 11, 20, 22] {
        place.clock.set(NOW.plus_seconds(day * DAY));
        ledger.maintain(store);
    }
}

const DAY: i64 = 86_400;

/// Events that only their request's key can tell from others.
fn unnamed(round: i64) -> Vec<Access> {
    let event = |n: i64| {
        let raw = format!("shipped {round}, {n}").into_bytes();
        Access { connection: None, raw, ..login(round * 100) }
    };
    (0..3).map(event).collect()
}

/// Events of the batch that is large.
const LARGE: i64 = 20;

/// Such that there are several flushes in a life.
const MEMTABLE_SIZE_BYTES: usize = 8000;

fn all(store: &Store) -> Result<Vec<Access>, Error> {
    let page = store.select(&Filter::all(scope(), usize::MAX))?;
    assert_eq!(page.total, page.rows.len() as u64);
    let accesses = page.rows.into_iter().map(|row| match row.record {
        Record::Access(access) => access,
        other => panic!("not an access: {other:?}"),
    });
    Ok(accesses.collect())
}

/// Every batch that was acknowledged is there once, every other once or not at all.
fn check(store: &Store, ledger: &Ledger, what: &str) {
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for access in all(store).expect(what) {
        *counts.entry(access.raw).or_default() += 1;
    }
    for (batch, is_acknowledged) in &ledger.batches {
        let found: Vec<usize> =
            batch.iter().map(|access| counts.remove(&access.raw).unwrap_or(0)).collect();
        let is_whole = found.iter().all(|count| *count == 1);
        let is_absent = !is_acknowledged && found.iter().all(|count| *count == 0);
        assert!(is_whole || is_absent, "{what}: acknowledged {is_acknowledged}, found {found:?}");
    }
    for access in &ledger.ageing {
        let found = counts.remove(&access.raw).unwrap_or(0);
        assert!(found <= 1, "{what}: {found} times");
    }
    assert!(counts.is_empty(), "{what}: never asked for: {counts:?}");
}

/// Goal: no failed operation loses, halves or doubles anything. Method: a scripted life is lived
/// once for each operation and each way in which it can fail, and once with the disk gone from there
/// on; then the directory is opened on a sound disk, compared with what was acknowledged, and
/// the same life is lived again, after which everything must be there exactly once, and `verify`
/// finds nothing. On a sound disk the life meets every unit of maintenance that it is there for.
#[test]
fn whatever_write_fails_nothing_is_lost_or_doubled() {
    fail_each(live, &[Did::Flushed, Did::Snapshot, Did::Table], 80);
}

/// The same for what compaction does.
#[test]
fn whatever_write_fails_while_segments_are_merged_nothing_is_lost_or_doubled() {
    fail_each(merge, &[Did::Compacted, Did::Table], 60);
}

/// The same for what retention does.
#[test]
fn whatever_write_fails_while_old_rows_go_the_others_stay() {
    fail_each(age, &[Did::Expired, Did::Table], 60);
}

type Script = fn(&Store, &Place, &mut Ledger);

fn fail_each(live: Script, units: &[Did], operations_min: usize) {
    let changes = {
        let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
        let disk = Arc::new(FaultyDisk::sound());
        let store = Store::open(place.options_on(disk.clone())).expect("opens");
        let mut ledger = Ledger::default();
        live(&store, &place, &mut ledger);
        let missed: Vec<_> = units.iter().filter(|unit| !ledger.did.contains(unit)).collect();
        assert!(missed.is_empty(), "the life does not come to {missed:?}");
        disk.changes()
    };
    let count = changes.len();
    assert!(count > operations_min, "the life has become too short to say much: {count}");
    for (fail_at, change) in changes.into_iter().enumerate() {
        let fates = change.fates().iter().map(|fate| (*fate, false));
        for (fate, for_good) in fates.chain([(Fate::Short, true)]) {
            let what = format!("operation {fail_at} {fate:?}, for good: {for_good}");
            let error = match fail_at % 2 {
                0 => io::ErrorKind::StorageFull,
                _ => io::ErrorKind::Other,
            };
            let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
            let mut ledger = Ledger::default();
            let disk = FaultyDisk::failing(fail_at, fate, for_good, error);
            if let Ok(store) = Store::open(place.options_on(Arc::new(disk))) {
                live(&store, &place, &mut ledger);
                check(&store, &ledger, &format!("{what}, before the restart"));
            }
            let sound = || place.options_on(Arc::new(FaultyDisk::sound()));
            let store = Store::open(sound()).expect(&what);
            check(&store, &ledger, &what);
            let mut again = Ledger::default();
            live(&store, &place, &mut again);
            check(&store, &again, &format!("{what}, lived again"));
            let report = store.verify(Depth::Rows).expect(&what);
            assert!(report.is_sound(), "{what}, lived again: {report:#?}");
            drop(store);
            check(&Store::open(sound()).expect(&what), &again, &format!("{what}, reopened"));
        }
    }
}

/// Goal: a process that ends at any instant leaves a directory that opens. Method: the WAL is cut
/// off at every byte; the rows of every frame before the cut must be there.
#[test]
fn a_wal_cut_off_anywhere_opens() {
    let place = Place::new();
    let store = Store::open(place.options_on(Arc::new(FaultyDisk::sound()))).expect("opens");
    let mut ledger = Ledger::default();
    let _refused = store.change_registry(&actor(), project_changes());
    let id = store.begin_import(start()).expect("begins");
    let wal = wal_file(place.dir.path());
    let size = || std::fs::metadata(&wal).expect("is there").len() as usize;
    let mut ends = Vec::new();
    let begun = size();
    for n in 0..4 {
        let batch = ImportBatch { accesses: vec![login(n)], ..ImportBatch::default() };
        store.import(&id, batch).expect("imports");
        ledger.batches.push((vec![login(n)], true));
        ends.push(size());
    }
    drop(store);
    let whole = std::fs::read(&wal).expect("reads");
    for size in 0..=whole.len() {
        std::fs::write(&wal, &whole[..size]).expect("writes");
        let store = Store::open(place.options_on(Arc::new(FaultyDisk::sound())))
            .unwrap_or_else(|error| panic!("cut at {size}: {error}"));
        let expected = ends.iter().filter(|end| **end <= size).count();
        let found = all(&store).expect("answers").len();
        assert_eq!(found, expected, "cut at {size}");
        if size >= begun {
            let left = std::fs::metadata(&wal).expect("is there").len() as usize;
            assert_eq!(left, if expected == 0 { begun } else { ends[expected - 1] });
        }
    }
}

/// Goal: a damaged byte is told of, by file and place, and is never taken for the end of the log.
/// Method: each byte of the WAL before its last frame is flipped.
#[test]
fn a_flipped_byte_in_the_wal_is_named() {
    let place = Place::new();
    let store = Store::open(place.options_on(Arc::new(FaultyDisk::sound()))).expect("opens");
    let _refused = store.change_registry(&actor(), project_changes());
    let wal = wal_file(place.dir.path());
    let last = std::fs::metadata(&wal).expect("is there").len() as usize;
    store.begin_import(start()).expect("begins");
    drop(store);
    let whole = std::fs::read(&wal).expect("reads");
    assert!(last < whole.len());
    for at in 0..last {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&wal, &bytes).expect("writes");
        let error = match Store::open(place.options_on(Arc::new(FaultyDisk::sound()))) {
            Ok(_) => panic!("byte {at} is flipped, and nobody noticed"),
            Err(error) => error,
        };
        assert_eq!(error.kind, ErrorKind::Damaged, "byte {at}: {error}");
        assert_eq!(error.path.as_ref(), Some(&wal), "byte {at}: {error}");
        assert_eq!(std::fs::read(&wal).expect("reads"), bytes, "byte {at}: and it was changed");
    }
}

fn wal_file(dir: &Path) -> PathBuf {
    let mut files: Vec<_> = std::fs::read_dir(dir.join("data/wal"))
        .expect("is there")
        .map(|entry| entry.expect("a file").path())
        .collect();
    assert_eq!(files.len(), 1);
    files.remove(0)
}

/// A store with two snapshots and segments behind it.
fn lived_in(place: &Place) -> Ledger {
    let mut ledger = Ledger::default();
    let store = Store::open(place.options_on(Arc::new(FaultyDisk::sound()))).expect("opens");
    live(&store, place, &mut ledger);
    ledger
}

/// Goal: after a failed write the store goes on, after a failed sync it does not, and both are
/// mended by a restart. Method: the two operations of a commit are failed in turn.
#[test]
fn a_failed_sync_poisons_and_a_failed_write_does_not() {
    let place = Place::new();
    let first = {
        let disk = Arc::new(FaultyDisk::sound());
        let store = Store::open(place.options_on(disk.clone())).expect("opens");
        store.change_registry(&actor(), project_changes()).expect("a new project");
        drop(store);
        let disk = Arc::new(FaultyDisk::sound());
        drop(Store::open(place.options_on(disk.clone())).expect("opens"));
        disk.operations()
    };
    let (write, sync) = (first, first + 1);
    for (operation, fate, poisons) in [
        (write, Fate::Lost, false),
        (write, Fate::Short, false),
        (write, Fate::Landed, false),
        (sync, Fate::Lost, true),
    ] {
        let error = io::ErrorKind::StorageFull;
        let disk = FaultyDisk::failing(operation, fate, false, error);
        let store = Store::open(place.options_on(Arc::new(disk))).expect("opens");
        let imports = store.catalog().imports.len();
        assert_eq!(store.begin_import(start()).expect_err("fails").kind, ErrorKind::DiskFull);
        assert_eq!(store.catalog().imports.len(), imports, "not durable, not visible");
        assert_eq!(store.poisoned().is_some(), poisons);
        let poisoned = poisons.then(|| store.begin_import(start()).expect_err("is poisoned").kind);
        drop(store);
        let store = place.open();
        match poisoned {
            Some(kind) => assert_eq!(kind, ErrorKind::Poisoned),
            // What was refused does not come back.
            None => assert_eq!(store.catalog().imports.len(), imports, "{fate:?}"),
        }
        store.begin_import(start()).expect("is mended");
    }
}

#[test]
fn files_that_no_frame_names_are_removed_at_start() {
    let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
    let ledger = lived_in(&place);
    let data = place.dir.path().join("data");
    let strays = ["segments/0123456789abcdef.parquet", "segments/x.parquet"];
    for stray in strays {
        std::fs::write(data.join(stray), b"half a file").expect("writes");
    }
    check(&place.open(), &ledger, "with strays");
    assert!(strays.iter().all(|stray| !data.join(stray).exists()));
}

#[test]
fn a_damaged_newest_snapshot_costs_nothing() {
    let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
    let ledger = lived_in(&place);
    let dir = place.dir.path().join("data/catalog");
    let mut files: Vec<_> =
        std::fs::read_dir(&dir).expect("is there").map(|e| e.expect("a file").path()).collect();
    files.sort();
    assert_eq!(files.len(), 2);
    let mut bytes = std::fs::read(&files[1]).expect("reads");
    bytes[100] ^= 1;
    std::fs::write(&files[1], &bytes).expect("writes");
    check(&place.open(), &ledger, "one snapshot damaged");
    std::fs::write(&files[0], &bytes).expect("writes");
    let error = Store::open(place.options()).err().expect("refuses");
    assert_eq!(error.kind, ErrorKind::Damaged);
    assert!(files.contains(error.path.as_ref().expect("names the file")), "{error}");
}

/// Goal: bytes of a segment that are not what was written are an error or change no answer. Method:
/// a byte of a segment is flipped, one after the other in steps of seven, and all rows are asked for.
#[test]
fn a_flipped_byte_in_a_segment_is_survived() {
    let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
    let ledger = lived_in(&place);
    let dir = place.dir.path().join("data/segments");
    let rows = all(&place.open()).expect("answers");
    // The system's own log has segments, too.
    let holds_rows = |file: &PathBuf| {
        let whole = std::fs::read(file).expect("reads");
        std::fs::write(file, &whole[1..]).expect("writes");
        let is_missed = all(&place.open()).is_err();
        std::fs::write(file, &whole).expect("writes");
        is_missed
    };
    let files = std::fs::read_dir(&dir).expect("is there").map(|entry| entry.expect("one").path());
    let mut files = files.filter(|file| file.extension().is_some_and(|of| of == "parquet"));
    let file = files.find(holds_rows).expect("a segment of the project");
    let whole = std::fs::read(&file).expect("reads");
    for at in (0..whole.len()).step_by(7) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x21;
        std::fs::write(&file, &bytes).expect("writes");
        let store = Store::open(place.options_on(Arc::new(FaultyDisk::sound()))).expect("opens");
        match all(&store) {
            // Some bytes are not looked at to answer, such as what Parquet begins with.
            Ok(found) => assert!(found == rows, "byte {at} changes an answer"),
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::Damaged, "byte {at}");
                assert_eq!(error.path.as_ref(), Some(&file), "byte {at}");
            }
        }
    }
    std::fs::write(&file, &whole[..whole.len() - 1]).expect("writes");
    let store = Store::open(place.options()).expect("opens");
    assert_eq!(all(&store).expect_err("refuses").kind, ErrorKind::Damaged);
    drop(store);
    std::fs::write(&file, &whole).expect("writes");
    check(&place.open(), &ledger, "mended");
    std::fs::remove_file(&file).expect("removes");
    let error = Store::open(place.options()).err().expect("refuses");
    assert_eq!((error.kind, error.path.as_ref()), (ErrorKind::Damaged, Some(&file)));
}

#[test]
fn a_full_disk_refuses_imports_and_changes_nothing() {
    let place = Place::new();
    let store = place.open_new();
    let id = store.begin_import(start()).expect("begins");
    drop(store);
    let options = doorbook_store::Options { reserve_size_bytes: u64::MAX, ..place.options() };
    let store = Store::open(options).expect("opens");
    let refused = store.begin_import(start()).expect_err("the disk is full");
    assert_eq!(refused.kind, ErrorKind::DiskFull);
    assert_eq!(store.catalog().imports.len(), 1);
    assert!(store.catalog().imports.contains_key(&id));
    // What the server has to say of itself still goes through.
    store.retract(&id, &actor()).expect("is written");
    let filter = Filter { kind: Kind::Access, ..Filter::all(doorbook_event::Scope::System, 1) };
    assert!(store.select(&filter).expect("answers").total > 0);
}

/// Goal: whatever fails while segments are merged, every row stays there, once; and it can be done
/// again later. Method: each operation of a compaction fails, in each way; answers are compared
/// before and after a restart, and after another compaction.
#[test]
fn whatever_fails_in_a_compaction_nothing_is_lost_or_doubled() {
    let prepare = |place: &Place| {
        let store = place.open_new();
        let mut ledger = Ledger::default();
        for n in 0..10 {
            let accesses: Vec<Access> = (n * 10..n * 10 + 4).map(login).collect();
            crate::support::import(&store, accesses.clone());
            ledger.batches.push((accesses, true));
            store.flush().expect("flushes");
        }
        ledger
    };
    let files = |place: &Place| {
        std::fs::read_dir(place.dir.path().join("data/segments")).expect("is there").count()
    };
    let prepared = Place::new();
    let ledger = prepare(&prepared);
    let copy = || {
        let place = Place::new();
        let data = |place: &Place| place.dir.path().join("data");
        crate::formats::copy(&data(&prepared), &data(&place));
        place
    };
    let (first, end) = {
        let place = copy();
        let disk = Arc::new(FaultyDisk::sound());
        let store = Store::open(place.options_on(disk.clone())).expect("opens");
        let (first, before) = (disk.operations(), files(&place));
        assert!(store.compact_once().expect("compacts"));
        assert!(files(&place) < before);
        (first, disk.operations())
    };
    assert!(end - first >= 12, "a file, its names, a frame, and the old files");
    for fail_at in first..end {
        for (fate, for_good) in
            [(Fate::Lost, false), (Fate::Landed, false), (Fate::Short, false), (Fate::Short, true)]
        {
            let what = format!("operation {} {fate:?}, for good: {for_good}", fail_at - first);
            let place = copy();
            let disk = FaultyDisk::failing(fail_at, fate, for_good, io::ErrorKind::StorageFull);
            let store = Store::open(place.options_on(Arc::new(disk))).expect(&what);
            let _refused = store.compact_once();
            check(&store, &ledger, &format!("{what}, before the restart"));
            drop(store);
            let store = place.open();
            check(&store, &ledger, &what);
            while store.compact_once().expect(&what) {}
            check(&store, &ledger, &format!("{what}, compacted"));
            drop(store);
            let store = place.open();
            check(&store, &ledger, &format!("{what}, reopened"));
            let catalogued = files(&place);
            assert!(catalogued <= 10, "{what}: {catalogued} files");
        }
    }
}
