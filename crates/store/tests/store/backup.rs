//! A backup is the acknowledged history up to one instant, whole or not there at all.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use doorbook_event::Record;
use doorbook_store::backup::restore;
use doorbook_store::disk::{Disk, DiskFile, SystemDisk};
use doorbook_store::verify::{Depth, verify};
use doorbook_store::{Entry, ErrorKind, Filter, Options, Store};

use crate::faults::{Fate, FaultyDisk};
use crate::support::{Place, add_project, import, login, scope};

/// The numbers of the logins that a store has, in order.
fn logins(store: &Store) -> Vec<i64> {
    let page = store.select(&Filter::all(scope(), usize::MAX)).expect("answers");
    let numbers = page.rows.iter().rev().map(|row| match &row.record {
        Record::Access(access) => access.connection.expect("a login has one").cast_signed(),
        other => panic!("not an access: {other:?}"),
    });
    numbers.collect()
}

fn commit(store: &Store, n: i64) {
    let records = vec![Record::Access(login(n))];
    store.commit(vec![Entry { scope: scope(), source: "test".into(), records }]).expect("commits");
}

fn open(place: &Place, data_dir: PathBuf) -> Store {
    Store::open(Options { data_dir, ..place.options() }).expect("opens")
}

fn assert_sound(dir: &Path) {
    let report = verify(&SystemDisk, dir, Depth::Rows).expect("reads");
    assert!(report.is_sound() && report.notes.is_empty(), "{report:#?}");
}

/// Goal: a backup of a store that is written holds what was acknowledged before it began, and of
/// what came later a beginning without gaps. Method: a thread commits numbered logins, with flushes
/// between, while backups are made; each is restored, read and written further.
#[test]
fn a_backup_is_an_instant_of_a_history_that_goes_on() {
    let place = Place::with_memtable(4000);
    let store = place.open_new();
    let acknowledged = AtomicI64::new(0);
    std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for n in 0..400 {
                commit(&store, n);
                acknowledged.store(n + 1, Ordering::SeqCst);
            }
        });
        for round in 0_i64.. {
            let is_over = writer.is_finished();
            let before = acknowledged.load(Ordering::SeqCst);
            let backup = place.dir.path().join(format!("backup-{round}"));
            let copied = store.backup(&backup).expect("copies");
            let after = acknowledged.load(Ordering::SeqCst);
            assert_sound(&backup);
            assert!(!backup.join("LOCK").exists(), "a backup is not opened where it is");
            let restored = place.dir.path().join(format!("restored-{round}"));
            let again = restore(&SystemDisk, &backup, &restored).expect("copies back");
            assert_eq!((copied.rows, copied.files), (again.rows, again.files));
            assert_sound(&restored);
            let mode =
                |path: &Path| path.metadata().expect("is there").permissions().mode() & 0o777;
            assert_eq!((mode(&restored), mode(&restored.join("FORMAT"))), (0o700, 0o600));
            assert_eq!(mode(&backup), 0o700);
            let copy = open(&place, restored);
            let found = logins(&copy);
            let count = found.len() as i64;
            assert_eq!(found, (0..count).collect::<Vec<_>>());
            // A commit is durable a moment before it is counted here.
            assert!((before..=after + 1).contains(&count), "{before} <= {count} <= {after}");
            assert_eq!(copy.catalog().registry, store.catalog().registry);
            commit(&copy, count);
            assert_eq!(logins(&copy).len() as i64, count + 1);
            if is_over {
                break;
            }
        }
        writer.join().expect("no panic");
    });
    assert_eq!(logins(&store), (0..400).collect::<Vec<_>>(), "the original went on");
    assert!(store.verify(Depth::Rows).expect("reads").is_sound());
}

/// Goal: what is committed between the instant of a backup and its end is not in it, not by half
/// either. Method: the disk itself commits, and has all of it flushed to new segments, when the
/// backup links its first file.
#[test]
fn what_is_committed_during_a_backup_is_not_in_it() {
    let place = Place::with_memtable(3000);
    let disk = Arc::new(Meddling::default());
    let store = Store::open(place.options_on(disk.clone())).expect("opens");
    add_project(&store);
    import(&store, (0..40).map(login).collect());
    let meddled = store.clone();
    disk.meddle_at_next_link(move || {
        (40..80).for_each(|n| commit(&meddled, n));
        meddled.flush().expect("flushes");
    });
    let backup = place.dir.path().join("backup");
    store.backup(&backup).expect("copies");
    assert_eq!(logins(&store).len(), 80, "the disk has meddled");
    assert_sound(&backup);
    let restored = place.dir.path().join("restored");
    restore(&SystemDisk, &backup, &restored).expect("copies back");
    assert_eq!(logins(&open(&place, restored)), (0..40).collect::<Vec<_>>());
}

/// Goal: a restored directory has tables for other programs of its own, which name its files.
/// Method: the original has tables; the copy has none until it has made them.
#[test]
fn a_restored_directory_gets_its_tables_anew() {
    let place = Place::with_memtable(3000);
    let store = place.open_new();
    import(&store, (0..40).map(login).collect());
    store.flush().expect("flushes");
    while store.sync_table().expect("syncs") {}
    let (backup, restored) = (place.dir.path().join("backup"), place.dir.path().join("restored"));
    store.backup(&backup).expect("copies");
    restore(&SystemDisk, &backup, &restored).expect("copies back");
    let log = Path::new("segments/_delta_log");
    assert!(place.dir.path().join("data").join(log).exists());
    assert!(!backup.join(log).exists() && !restored.join(log).exists());
    let copy = open(&place, restored.clone());
    while copy.sync_table().expect("syncs") {}
    copy.close().expect("closes");
    let first = std::fs::read_to_string(restored.join(log).join(format!("{:020}.json", 0)));
    let first = first.expect("there is a log");
    for name in SystemDisk.list(&restored.join("segments")).expect("lists") {
        assert!(name.starts_with('_') || first.contains(&name), "{name} is not in {first}");
    }
    assert!(restored.join("hidden/_delta_log").exists());
    assert_sound(&restored);
}

/// The system's disk, which does something of its own when a file is linked.
#[derive(Default)]
pub struct Meddling {
    meddle: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Meddling {
    pub fn meddle_at_next_link(&self, meddle: impl FnOnce() + Send + 'static) {
        *self.meddle.lock().expect("no panic") = Some(Box::new(meddle));
    }
}

impl Disk for Meddling {
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let meddle = self.meddle.lock().expect("no panic").take();
        if let Some(meddle) = meddle {
            meddle();
        }
        SystemDisk.link(from, to)
    }

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
        SystemDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        SystemDisk.open(path)
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

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        SystemDisk.sync_dir(dir)
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        SystemDisk.free_bytes(dir)
    }
}

/// Goal: a backup that fails half-way cannot be taken for one, and harms nothing. Method: every
/// operation of a backup fails once.
#[test]
fn half_a_backup_is_none() {
    let place = Place::with_memtable(3000);
    let operations = {
        let store = place.open_new();
        for n in 0..10 {
            import(&store, (n * 5..n * 5 + 3).map(login).collect());
        }
        drop(store);
        let disk = Arc::new(FaultyDisk::sound());
        let store = Store::open(place.options_on(disk.clone())).expect("opens");
        let opening = disk.operations();
        store.backup(&place.dir.path().join("whole")).expect("copies");
        opening..disk.operations()
    };
    assert!(operations.len() > 20, "{operations:?}");
    for fail_at in operations {
        for fate in [Fate::Lost, Fate::Landed, Fate::Short] {
            let disk = FaultyDisk::failing(fail_at, fate, true, io::ErrorKind::Other);
            let store = Store::open(place.options_on(Arc::new(disk))).expect("opens");
            let to = place.dir.path().join(format!("backup-{fail_at}-{fate:?}"));
            store.backup(&to).expect_err("fails");
            // Only the last operations come after its name.
            if to.exists() {
                assert_sound(&to);
            }
            for name in SystemDisk.list(place.dir.path()).expect("lists") {
                let path = place.dir.path().join(&name);
                if name.contains("partial") {
                    let restored = place.dir.path().join("restored");
                    match restore(&SystemDisk, &path, &restored) {
                        Ok(_) => assert_sound(&restored),
                        Err(error) => assert_eq!(error.kind, ErrorKind::Invalid, "{error}"),
                    }
                    let _may_not_be_there = std::fs::remove_dir_all(restored);
                    std::fs::remove_dir_all(path).expect("removes");
                }
            }
        }
    }
    assert_eq!(logins(&place.open()).len(), 30);
    assert_sound(&place.dir.path().join("data"));
}

#[test]
fn what_is_in_the_way_is_said_and_left_as_it_is() {
    let place = Place::with_memtable(3000);
    let store = place.open_new();
    import(&store, (0..40).map(login).collect());
    let path = |name: &str| place.dir.path().join(name);
    std::fs::create_dir(path("full")).expect("makes");
    std::fs::write(path("full/mine"), b"x").expect("writes");
    let refused = |to: &Path| store.backup(to).expect_err("is refused").kind;
    assert_eq!(refused(&path("full")), ErrorKind::Exists);
    assert_eq!(refused(&path("nowhere/backup")), ErrorKind::Missing);
    assert_eq!(refused(&path("data/backup")), ErrorKind::Invalid);
    assert_eq!(refused(Path::new("backup")), ErrorKind::Invalid);
    std::fs::create_dir(path("empty")).expect("makes");
    store.backup(&path("empty")).expect("an empty directory is not in the way");

    let refused = |from: &str, to: &str| {
        restore(&SystemDisk, &path(from), &path(to)).expect_err("is refused").kind
    };
    assert_eq!(refused("empty", "full"), ErrorKind::Exists);
    assert_eq!(refused("full", "new"), ErrorKind::Invalid);
    assert_eq!(refused("nowhere", "new"), ErrorKind::Missing);
    assert_eq!(refused("data", "new"), ErrorKind::Locked);
    // A copy that is damaged is not brought back, whatever is damaged.
    let segment = std::fs::read_dir(path("empty/segments")).expect("lists").next().expect("one");
    let segment = segment.expect("one").path();
    let whole = std::fs::read(&segment).expect("reads");
    let mut bytes = whole.clone();
    bytes[50] ^= 1;
    // Not through the link: the data directory has the same bytes.
    std::fs::remove_file(&segment).expect("removes");
    std::fs::write(&segment, bytes).expect("writes");
    assert_eq!(refused("empty", "new"), ErrorKind::Damaged);
    assert!(!path("new").exists());
    assert!(store.verify(Depth::Rows).expect("reads").is_sound());
    std::fs::write(&segment, whole).expect("writes");
    restore(&SystemDisk, &path("empty"), &path("new")).expect("copies back");
}

/// A damaged data directory is not backed up as if it were whole.
#[test]
fn a_damaged_store_makes_no_backup() {
    let place = Place::with_memtable(3000);
    let store = place.open();
    add_project(&store);
    import(&store, (0..40).map(login).collect());
    let dir = place.dir.path().join("data/segments");
    let segment = std::fs::read_dir(dir).expect("lists").next().expect("one").expect("one").path();
    let mut bytes = std::fs::read(&segment).expect("reads");
    bytes[50] ^= 1;
    std::fs::write(&segment, bytes).expect("writes");
    let to = place.dir.path().join("backup");
    let error = store.backup(&to).expect_err("is refused");
    assert_eq!(error.kind, ErrorKind::Damaged);
    assert_eq!(error.path.as_ref().and_then(|path| path.file_name()), segment.file_name());
    assert!(!to.exists());
}
