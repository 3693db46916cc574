//! The table's log says what the store holds, whatever failed and whoever else wrote there.
//!
//! Held to other engines in `tests/table`; here a naive reader of the JSON commits is enough.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorbook_event::Access;
use doorbook_store::Store;

use crate::faults::{Fate, FaultyDisk};
use crate::support::{Place, actor, import, login};

/// Small enough that imports become files of their own, or are flushed by the next commit.
const MEMTABLE_SIZE_BYTES: usize = 600;

/// Goal: no failed operation leaves a log that says something else than the store, or that its own
/// next step cannot mend. Method: a life of imports and steps is lived once for each operation and
/// each way in which it can fail; what the log says then must be a state that there was, and after
/// more steps the present one.
#[test]
fn whatever_write_fails_the_log_catches_up() {
    let operations = {
        let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
        let disk = Arc::new(FaultyDisk::sound());
        live(&Store::open(place.options_on(disk.clone())).expect("opens"));
        disk.operations()
    };
    assert!(operations > 100, "the life has become too short to say much: {operations}");
    for fail_at in 0..operations {
        for (fate, for_good) in
            [(Fate::Lost, false), (Fate::Landed, false), (Fate::Short, false), (Fate::Short, true)]
        {
            let what = format!("operation {fail_at} {fate:?}, for good: {for_good}");
            let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
            let disk = FaultyDisk::failing(fail_at, fate, for_good, io::ErrorKind::Other);
            if let Ok(store) = Store::open(place.options_on(Arc::new(disk))) {
                live(&store);
            }
            let store = place.open();
            sync(&store).expect(&what);
            check(&place, &format!("{what}, after a restart"));
        }
    }
}

/// Goal: a crash between the commit of a segment and that of the table loses nothing; a log that was
/// deleted, cut, changed, or written to by somebody else is mended. Method: each is done to a log,
/// and steps are taken until there is none.
#[test]
fn whatever_happens_to_the_log_it_is_mended() {
    let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
    let store = place.open_new();
    import(&store, large(0));
    sync(&store).expect("syncs");
    let id = table_id(&place);
    // Not synced, as if the process had ended here.
    import(&store, large(100));
    drop(store);

    let log = log_dir(&place);
    let first = log.join(format!("{:020}.json", 0));
    let whole = std::fs::read(&first).expect("reads");
    let changed = {
        let at = whole.windows(10).rposition(|w| w == b"numRecords").expect("there are files");
        let mut bytes = whole.clone();
        bytes[at + 14] ^= 1;
        bytes
    };
    let harms: [(&str, &dyn Fn()); 6] = [
        ("nothing", &|| {}),
        ("deleted", &|| std::fs::remove_dir_all(&log).expect("removes")),
        ("emptied", &|| std::fs::write(&first, b"").expect("writes")),
        ("cut", &|| std::fs::write(&first, &whole[..whole.len() / 2]).expect("writes")),
        ("changed", &|| std::fs::write(&first, &changed).expect("writes")),
        ("first gone", &|| std::fs::remove_file(&first).expect("removes")),
    ];
    for (what, harm) in harms {
        harm();
        let store = place.open();
        sync(&store).expect(what);
        check(&place, what);
        assert_eq!(table_id(&place), id, "{what}: the same table for ever");
        assert!(!store.sync_table().expect(what), "{what}: and then there is nothing to do");
    }

    // Somebody else, while we run: takes the next version, removes a file and adds one.
    let store = place.open();
    sync(&store).expect("syncs");
    let files = live_files(&log);
    let gone = files.keys().next().expect("there are some");
    let foreign = format!(
        "{{\"remove\":{{\"path\":\"{gone}\",\"dataChange\":true}}}}\n\
         {{\"add\":{{\"path\":\"x.parquet\",\"partitionValues\":{{}},\"size\":1,\
         \"modificationTime\":0,\"dataChange\":true}}}}\n\
         {{\"domainMetadata\":{{\"domain\":\"d\",\"configuration\":\"\",\"removed\":false}}}}\n"
    );
    std::fs::write(log.join(format!("{:020}.json", versions(&log))), foreign).expect("writes");
    import(&store, large(200));
    sync(&store).expect("syncs");
    check(&place, "written by somebody else");
}

/// Goal: the log stays small, and what is left of it leads to the present. Method: many commits; the
/// commits that are left must begin right behind a checkpoint that is there.
#[test]
fn old_commits_go_once_two_checkpoints_are_behind_them() {
    let place = Place::with_memtable(MEMTABLE_SIZE_BYTES);
    let store = place.open_new();
    for n in 0..140 {
        import(&store, large(n * 100));
        sync(&store).expect("syncs");
        let names = names(&log_dir(&place));
        assert!(names.len() < 72, "{} files after {n} commits", names.len());
    }
    let names = names(&log_dir(&place));
    let checkpoints: Vec<&String> =
        names.iter().filter(|name| name.ends_with(".checkpoint.parquet")).collect();
    let commits: Vec<&String> =
        names.iter().filter(|name| name.len() == 25 && name.ends_with(".json")).collect();
    assert_eq!(checkpoints.len(), 2, "{names:?}");
    assert_eq!(commits[0][..20], checkpoints[0][..20], "a checkpoint for the oldest commit");
    drop(store);
    // It is read from the checkpoint on: nothing is missing.
    let store = place.open();
    assert!(!store.sync_table().expect("reads"), "the log says what the store holds");
    import(&store, large(50_000));
    sync(&store).expect("syncs");
    assert!(!place.open_again(store).sync_table().expect("reads"));
}

impl Place {
    fn open_again(&self, store: Store) -> Store {
        drop(store);
        self.open()
    }
}

fn live(store: &Store) {
    let _refused = store.change_registry(&actor(), crate::support::project_changes());
    for n in 0..3 {
        let Ok(id) = store.begin_import(crate::support::start()) else { continue };
        let accesses = large(n * 100);
        let batch = doorbook_store::ImportBatch { accesses, ..Default::default() };
        let _refused = store.import(&id, batch);
        let _refused = store.end_import(&id, crate::support::end());
        if n == 1 {
            let _refused = store.retract(&id, &actor());
        }
        let _refused = sync(store);
    }
}

fn large(from: i64) -> Vec<Access> {
    (from..from + 10).map(|n| Access { raw: vec![b'l'; 100], ..login(n) }).collect()
}

fn sync(store: &Store) -> Result<(), doorbook_store::Error> {
    while store.sync_table()? {}
    Ok(())
}

/// The log names exactly the segments that are there.
fn check(place: &Place, what: &str) {
    let segments = place.dir.path().join("data/segments");
    let there: BTreeMap<String, u64> = names(&segments)
        .into_iter()
        .filter(|name| name.ends_with(".parquet"))
        .map(|name| {
            (name.clone(), std::fs::metadata(segments.join(&name)).expect("is there").len())
        })
        .collect();
    assert_eq!(live_files(&log_dir(place)), there, "{what}");
}

/// The files that the commits leave, with their sizes; only for a log that begins at 0.
fn live_files(log: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    for version in 0..versions(log) {
        let text = std::fs::read_to_string(log.join(format!("{version:020}.json"))).expect("reads");
        for line in text.lines() {
            let action: serde_json::Value = serde_json::from_str(line).expect("is JSON");
            if let Some(path) = action["remove"]["path"].as_str() {
                files.remove(path);
            }
            if let Some(path) = action["add"]["path"].as_str() {
                let size = action["add"]["size"].as_u64().expect("a size");
                files.insert(path.to_owned(), size);
            }
        }
    }
    files
}

fn table_id(place: &Place) -> String {
    let first = log_dir(place).join(format!("{:020}.json", 0));
    let text = std::fs::read_to_string(first).expect("reads");
    let actions = text.lines().map(serde_json::from_str::<serde_json::Value>);
    let mut ids = actions.filter_map(|a| Some(a.ok()?["metaData"]["id"].as_str()?.to_owned()));
    ids.next().expect("a table has an id")
}

fn versions(log: &Path) -> usize {
    names(log).iter().filter(|name| name.len() == 25 && name.ends_with(".json")).count()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("is there");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("a file").file_name().into_string().expect("plain"))
        .collect();
    names.sort();
    names
}

fn log_dir(place: &Place) -> PathBuf {
    place.dir.path().join("data/segments/_delta_log")
}
