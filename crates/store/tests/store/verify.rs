//! `verify` names what is damaged, by file, and nothing that is not.

use std::path::{Path, PathBuf};

use doorbook_event::{Record, Scope};
use doorbook_store::disk::SystemDisk;
use doorbook_store::filter::Kind;
use doorbook_store::verify::{Depth, Report, verify};
use doorbook_store::{ErrorKind, Filter, ImportBatch, Store};
use proptest::prelude::*;

use crate::support::{Place, actor, end, import, login, scope, start, unreadable};

/// A directory with two snapshots, segments of flushes and of an import, and rows in the WAL.
fn lived_in() -> Place {
    let place = Place::with_memtable(10_000);
    let store = place.open_new();
    for round in 0..8 {
        import(&store, (round * 10..round * 10 + 5).map(login).collect());
    }
    let large = (100..130).map(|n| doorbook_event::Access { raw: vec![b'l'; 99], ..login(n) });
    let id = import(&store, large.collect());
    store.retract(&id, &actor()).expect("is taken back");
    let id = store.begin_import(start()).expect("begins");
    let quarantine = vec![unreadable()];
    store.import(&id, ImportBatch { quarantine, ..ImportBatch::default() }).expect("imports");
    store.end_import(&id, end()).expect("ends");
    store.secret("digest").expect("is made");
    assert!(store.verify(Depth::Rows).expect("reads").is_sound());
    store.close().expect("closes");
    for (dir, at_least) in [("segments", 4), ("catalog", 2), ("wal", 2)] {
        assert!(files(&data(&place).join(dir)).len() >= at_least, "{dir} has too little to test");
    }
    place
}

fn data(place: &Place) -> PathBuf {
    place.dir.path().join("data")
}

fn read(place: &Place, depth: Depth) -> Report {
    verify(&SystemDisk, &data(place), depth).expect("reads")
}

/// The files of a folder and those below it, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("is there") {
        let path = entry.expect("a file").path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match path.is_dir() {
            // The table for other programs is derived from all the rest.
            true if name.starts_with('_') || name == "hidden" => {}
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

fn name(place: &Place, path: &Path) -> String {
    path.strip_prefix(data(place)).expect("in it").display().to_string()
}

/// Everything that can be asked, and that a start says of it.
fn answers(place: &Place) -> Result<Vec<String>, ErrorKind> {
    let store = Store::open(place.options()).map_err(|error| error.kind)?;
    let mut answers = vec![format!("{:?}", store.catalog())];
    for (scope, kind) in
        [(scope(), Kind::Access), (scope(), Kind::Quarantine), (Scope::System, Kind::Access)]
    {
        let filter = Filter { kind, ..Filter::all(scope, usize::MAX) };
        let page = store.select(&filter).map_err(|error| error.kind)?;
        answers.extend(page.rows.iter().map(|row| format!("{row:?}")));
    }
    store.close().map_err(|error| error.kind)?;
    Ok(answers)
}

#[test]
fn a_sound_directory_is_read_whole_and_left_as_it_is() {
    let place = lived_in();
    let before: Vec<_> = files(&data(&place)).iter().map(std::fs::read).map(Result::ok).collect();
    let sizes: u64 =
        files(&data(&place)).iter().map(|f| f.metadata().expect("is there").len()).sum();
    for depth in [Depth::Rows, Depth::Checksums] {
        let report = read(&place, depth);
        assert!(report.is_sound() && report.notes.is_empty(), "{report:#?}");
        assert_eq!(report.size_bytes, sizes);
        assert_eq!(report.files, files(&data(&place)).len() as u64 - 1, "all but LOCK");
        assert!(report.frames >= 10 && report.rows > 100, "{report:#?}");
    }
    let after: Vec<_> = files(&data(&place)).iter().map(std::fs::read).map(Result::ok).collect();
    assert!(before == after);
    let store = place.open();
    let error = verify(&SystemDisk, &data(&place), Depth::Rows).expect_err("is held");
    assert_eq!(error.kind, ErrorKind::Locked);
    drop(store);
    let error = verify(&SystemDisk, place.dir.path(), Depth::Rows).expect_err("is no directory");
    assert_eq!(error.kind, ErrorKind::Missing);
}

/// Goal: no flipped byte goes by. Method: any byte of any file but the secrets, which have no
/// checksum, is changed; then that file is named, or every answer is as before. The checksums alone
/// find as much.
#[test]
fn every_flipped_byte_is_found_or_changes_nothing() {
    let place = lived_in();
    let all = files(&data(&place));
    let all: Vec<PathBuf> =
        all.into_iter().filter(|path| !name(&place, path).starts_with("secret")).collect();
    let expected = answers(&place).expect("is sound");
    let originals: Vec<Vec<u8>> =
        all.iter().map(|path| std::fs::read(path).expect("reads")).collect();
    let flips = (0..all.len(), any::<prop::sample::Index>(), 1_u8..=255);
    let config =
        ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let result = runner.run(&flips, |(n, at, mask)| {
        let (path, original) = (&all[n], &originals[n]);
        if original.is_empty() {
            return Ok(());
        }
        let at = at.index(original.len());
        let mut bytes = original.clone();
        bytes[at] ^= mask;
        std::fs::write(path, &bytes).expect("writes");
        let reports = [Depth::Rows, Depth::Checksums].map(|depth| read(&place, depth));
        let is_named = reports.each_ref().map(|report| {
            let found = report.damages.iter().chain(&report.notes);
            found.map(|finding| &finding.file).any(|file| *file == name(&place, path))
        });
        if !is_named.iter().all(|named| *named) {
            let answers = answers(&place);
            prop_assert_eq!(
                answers.as_ref(),
                Ok(&expected),
                "{:?} byte {}: {:#?}",
                path,
                at,
                reports
            );
        }
        // A start may have cut off what it took for a torn end.
        for (path, original) in all.iter().zip(&originals) {
            std::fs::write(path, original).expect("writes");
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Goal: a damage in the middle of the WAL does not hide what is behind it. Method: two frames are
/// damaged; both are named with their bytes, and so are the rows that went with the first.
#[test]
fn behind_a_damaged_frame_reading_goes_on() {
    let place = Place::new();
    let store = place.open_new();
    let wal = files(&data(&place).join("wal")).remove(0);
    let size = || std::fs::metadata(&wal).expect("is there").len();
    let id = store.begin_import(start()).expect("begins");
    let mut begins = Vec::new();
    for n in 0..6 {
        begins.push(size());
        let batch = ImportBatch { accesses: vec![login(n)], ..ImportBatch::default() };
        store.import(&id, batch).expect("imports");
    }
    let end = size();
    drop(store);
    let mut bytes = std::fs::read(&wal).expect("reads");
    for n in [1, 4] {
        bytes[begins[n] as usize + 40] ^= 1;
    }
    std::fs::write(&wal, &bytes).expect("writes");
    let report = read(&place, Depth::Rows);
    let ranges: Vec<_> = report.damages.iter().filter_map(|d| d.bytes.clone()).collect();
    assert_eq!(ranges[0], begins[1]..begins[2], "{report:#?}");
    assert!(ranges.contains(&(begins[4]..begins[5])), "{report:#?}");
    let affected: Vec<_> = report.damages.iter().filter_map(|d| d.affected.as_ref()).collect();
    // The receipt is the log's first record.
    let seqs: Vec<_> = affected.iter().map(|affected| affected.seqs.clone()).collect();
    assert_eq!(seqs, [2..3, 5..6], "{report:#?}");
    assert!(affected.iter().all(|affected| affected.scope == scope().to_string()));

    // Cut off in the middle of the last frame: what a crash leaves, and no damage.
    std::fs::write(&wal, &std::fs::read(&wal).expect("reads")[..begins[1] as usize])
        .expect("writes");
    assert!(read(&place, Depth::Rows).is_sound());
    std::fs::write(&wal, &bytes[..begins[1] as usize + 9]).expect("writes");
    let report = read(&place, Depth::Rows);
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.notes[0].bytes, Some(begins[1]..begins[1] + 9), "{report:#?}");
    assert!(end > begins[5]);
}

/// Goal: what is gone, cut, exchanged or too much is named. Method: one of each.
#[test]
fn files_that_are_gone_cut_or_exchanged_are_named() {
    let check = |what: &str, damage: &dyn Fn(&Path), expected: &dyn Fn(&Path) -> Vec<PathBuf>| {
        let place = lived_in();
        let dir = data(&place);
        let expected: Vec<String> = expected(&dir).iter().map(|path| name(&place, path)).collect();
        damage(&dir);
        for depth in [Depth::Rows, Depth::Checksums] {
            let report = read(&place, depth);
            for file in &expected {
                let is_named = report.damages.iter().any(|damage| damage.file == *file);
                assert!(is_named, "{what}: {file} is not named in {report:#?}");
            }
        }
    };
    let nth = |dir: &Path, folder: &str, n: usize| files(&dir.join(folder)).swap_remove(n);
    let remove = |path: PathBuf| std::fs::remove_file(path).expect("removes");
    let cut = |path: PathBuf| {
        let bytes = std::fs::read(&path).expect("reads");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("writes");
    };
    let exchange = |one: PathBuf, other: PathBuf| {
        let (a, b) = (std::fs::read(&one).expect("reads"), std::fs::read(&other).expect("reads"));
        assert_ne!(a, b);
        std::fs::write(one, b).expect("writes");
        std::fs::write(other, a).expect("writes");
    };
    for folder in ["segments", "catalog"] {
        let which = move |dir: &Path| vec![nth(dir, folder, 0)];
        check("cut", &|dir| cut(nth(dir, folder, 0)), &which);
        let both = move |dir: &Path| vec![nth(dir, folder, 0), nth(dir, folder, 1)];
        let swap = |dir: &Path| exchange(nth(dir, folder, 0), nth(dir, folder, 1));
        check("exchanged", &swap, &both);
    }
    let segment = |dir: &Path| vec![nth(dir, "segments", 0)];
    check("gone", &|dir| remove(nth(dir, "segments", 0)), &segment);
    // The file after the hole tells of it.
    check("gone", &|dir| remove(nth(dir, "wal", 0)), &|dir| vec![nth(dir, "wal", 1)]);
    check("cut", &|dir| cut(nth(dir, "wal", 0)), &|dir| vec![nth(dir, "wal", 0)]);
    let both = |dir: &Path| vec![nth(dir, "wal", 0), nth(dir, "wal", 1)];
    check("exchanged", &|dir| exchange(nth(dir, "wal", 0), nth(dir, "wal", 1)), &both);
    check("gone", &|dir| remove(dir.join("FORMAT")), &|dir| vec![dir.join("FORMAT")]);
    let secret = |dir: &Path| vec![dir.join("secret/digest")];
    check("cut", &|dir| cut(dir.join("secret/digest")), &secret);
}

/// Files that a crash leaves are told of, and are no damage.
#[test]
fn strays_are_notes() {
    let place = lived_in();
    let strays = ["segments/0123456789abcdef.parquet", "catalog/x.new", "mine.txt"];
    for stray in strays {
        std::fs::write(data(&place).join(stray), b"half a file").expect("writes");
    }
    let report = read(&place, Depth::Rows);
    assert!(report.is_sound(), "{report:#?}");
    let mut noted: Vec<_> = report.notes.iter().map(|note| &*note.file).collect();
    noted.sort_unstable();
    assert_eq!(noted, ["catalog/x.new", "mine.txt", "segments/0123456789abcdef.parquet"]);
}

/// Goal: a running store is read without its writers waiting. Method: one thread commits while
/// another verifies again and again.
#[test]
fn a_running_store_is_read_while_it_is_written() {
    let place = Place::with_memtable(4000);
    let store = place.open_new();
    let rows = std::thread::scope(|threads| {
        let writer = threads.spawn(|| {
            for n in 0..200 {
                let entry = doorbook_store::Entry {
                    scope: scope(),
                    source: "test".into(),
                    records: vec![Record::Access(login(n))],
                };
                store.commit(vec![entry]).expect("commits");
            }
        });
        let mut rows = Vec::new();
        while !writer.is_finished() {
            let report = store.verify(Depth::Rows).expect("reads");
            assert!(report.is_sound() && report.notes.is_empty(), "{report:#?}");
            rows.push(report.rows);
        }
        writer.join().expect("no panic");
        rows.push(store.verify(Depth::Rows).expect("reads").rows);
        rows
    });
    assert!(rows.is_sorted() && rows.last() >= Some(&200), "{rows:?}");
}

/// The tables for other programs are derived: what is wrong with them costs no row, and is said.
#[test]
fn a_table_that_lags_is_a_note_and_a_missing_file_of_it_is_damage() {
    let place = Place::with_memtable(10_000);
    let store = place.open_new();
    import(&store, (0..40).map(login).collect());
    while store.sync_table().expect("syncs") {}
    store.commit(vec![entry(vec![Record::Access(login(50))])]).expect("commits");
    store.flush().expect("flushes");
    store.close().expect("closes");
    let report = read(&place, Depth::Checksums);
    assert!(report.is_sound(), "{report:#?}");
    let [note] = &report.notes[..] else { panic!("{report:#?}") };
    assert_eq!(note.file, "segments/_delta_log");
    assert!(note.what.contains("lags behind"), "{note:?}");

    let store = place.open();
    while store.sync_table().expect("syncs") {}
    store.close().expect("closes");
    let report = read(&place, Depth::Checksums);
    assert!(report.is_sound() && report.notes.is_empty(), "{report:#?}");
    let is_table = |path: &PathBuf| path.extension().is_some_and(|e| e == "parquet");
    let hidden = std::fs::read_dir(data(&place).join("hidden")).expect("lists");
    let file = hidden.map(|entry| entry.expect("a file").path()).find(is_table).expect("one");
    std::fs::remove_file(&file).expect("removes");
    let report = read(&place, Depth::Checksums);
    assert_eq!(report.damages[0].file, name(&place, &file), "{report:#?}");
}

/// Goal: a damage of what only other programs read is found, too. Method: every few bytes of each of
/// the tables' own files are changed; of a commit only its first line, who wrote it, may be.
#[test]
fn a_flipped_byte_of_a_table_is_named() {
    let place = Place::with_memtable(10_000);
    let store = place.open_new();
    let id = import(&store, (0..40).map(login).collect());
    while store.sync_table().expect("syncs") {}
    store.retract(&id, &actor()).expect("is taken back");
    import(&store, (50..60).map(login).collect());
    store.flush().expect("flushes");
    while store.sync_table().expect("syncs") {}
    store.close().expect("closes");
    let [mut commits, mut positions] = [0, 0];
    for dir in ["segments/_delta_log", "hidden/_delta_log", "hidden"] {
        for path in files_of(&data(&place).join(dir)) {
            let original = std::fs::read(&path).expect("reads");
            std::fs::remove_file(&path).expect("removes");
            let report = read(&place, Depth::Checksums);
            std::fs::write(&path, &original).expect("writes");
            if report.is_sound() && report.notes.is_empty() {
                continue; // of an earlier commit, kept for who is at it
            }
            let is_commit = path.extension().is_some_and(|extension| extension == "json");
            *if is_commit { &mut commits } else { &mut positions } += 1;
            let first_line = original.iter().position(|byte| *byte == b'\n').unwrap_or(0);
            for at in (if is_commit { first_line + 1 } else { 0 }..original.len()).step_by(13) {
                let mut bytes = original.clone();
                bytes[at] ^= 4;
                std::fs::write(&path, &bytes).expect("writes");
                let report = read(&place, Depth::Checksums);
                let mut found = report.damages.iter().chain(&report.notes);
                assert!(
                    found.any(|finding| finding.file == name(&place, &path)),
                    "{path:?} byte {at}: {report:#?}"
                );
            }
            std::fs::write(&path, &original).expect("writes");
        }
    }
    assert!(commits >= 4 && positions == 1, "{commits} commits, {positions} files of positions");
    assert!(read(&place, Depth::Checksums).is_sound());
}

/// The files of a folder, without those of folders in it.
fn files_of(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("lists").map(|entry| entry.expect("a file").path());
    entries.filter(|path| path.is_file()).collect()
}

fn entry(records: Vec<Record>) -> doorbook_store::Entry {
    doorbook_store::Entry { scope: scope(), source: "test".into(), records }
}
