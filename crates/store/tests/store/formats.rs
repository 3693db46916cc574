//! Directories of every format version that was ever released still read.
//!
//! `tests/fixtures/vN` is a data directory of version N, with rows in segments (of a flush and of an
//! import), in the WAL, and a snapshot; `vN.txt` says what it holds. Version 2 is that of segments
//! with `task_id` and Bloom filters. To make those of a new version:
//! `DOORBOOK_WRITE_FIXTURE=1 cargo test -p doorbook-store formats`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use doorbook_event::record::{Coverage, Grade, Hidden, Place as QuarantinePlace, Quarantine};
use doorbook_event::{
    Access, Action, Class, Classes, Client, Outcome, Peer, Principal, Record, Scope, Shared,
    WrittenTime,
};
use doorbook_store::filter::Kind;
use doorbook_store::{Filter, ImportBatch, Store};

use crate::support::{NOW, Place, actor, end, import, login, scope, start};

#[test]
fn directories_of_version_1_read() {
    read_fixture("v1", false);
}

#[test]
fn directories_of_version_2_read() {
    read_fixture("v2", true);
}

fn read_fixture(name: &str, is_newest: bool) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let (dir, expected) = (fixtures.join(name), fixtures.join(format!("{name}.txt")));
    if is_newest && std::env::var_os("DOORBOOK_WRITE_FIXTURE").is_some() {
        let place = Place::with_memtable(6000);
        write(&place);
        let _there_may_be_none = std::fs::remove_dir_all(&dir);
        copy(&place.dir.path().join("data"), &dir);
        std::fs::write(&expected, describe(&place.open())).expect("writes");
    }
    let place = Place::new();
    copy(&dir, &place.dir.path().join("data"));
    let expected = std::fs::read_to_string(expected).expect("is there");
    assert_eq!(describe(&place.open()), expected);
}

/// Puts something of every kind everywhere.
fn write(place: &Place) {
    let store = place.open_new();
    let accesses = unusual();
    let coverage = Coverage {
        target: login(0).target,
        actions: vec![Action::Authenticate],
        hidden: Hidden::Successes,
        cause: "quiet".into(),
        actor: None,
        from: NOW,
        to: None,
        last_seen: NOW.plus_seconds(5),
        source: None,
        grade: Grade::Blind,
        missing: None,
    };
    let quarantine = Quarantine {
        target: login(0).target,
        reason: "no user".into(),
        place: QuarantinePlace { file: "a.log".into(), line: 3, offset_bytes: 99 },
        bytes: b"what \xff?".to_vec(),
        length_bytes: 70_000,
        sha256: [7; 32],
    };
    let id = store.begin_import(start()).expect("begins");
    let quarantine = vec![quarantine];
    let batch =
        ImportBatch { accesses, coverage: vec![coverage], quarantine, ..ImportBatch::default() };
    store.import(&id, batch).expect("imports");
    store.end_import(&id, end()).expect("ends");
    // Enough for a file of its own.
    let large = (10..20).map(|n| Access { raw: vec![b'l'; 300], ..login(n) });
    let id = import(&store, large.collect());
    store.retract(&id, &actor()).expect("is taken back");
    for n in 20..32 {
        import(&store, vec![login(n)]);
    }
    let count = |dir: &str| {
        std::fs::read_dir(place.dir.path().join("data").join(dir)).expect("is there").count()
    };
    assert!(count("segments") >= 3 && count("catalog") >= 1, "the fixture needs more");
}

/// Accesses with everything that an access can have.
fn unusual() -> Vec<Access> {
    let client = Client {
        application: Some("orders-api".into()),
        driver: Some("nodejs".into()),
        driver_version: Some("6.8.0".into()),
        os: Some("Linux".into()),
        platform: Some("Node.js v18".into()),
        via: Some("mongos-1:27017".into()),
        origin: Some(Peer::ip([192, 0, 2, 9].into(), Some(5))),
    };
    let mut accesses: Vec<Access> = (0..6).map(login).collect();
    accesses[0].client = Some(Shared::from(client));
    accesses[1].principal = Principal::Unauthenticated;
    accesses[1].outcome = Outcome::Failure { reason: Some("no \u{fffd} user".into()), code: None };
    accesses[2].outcome = Outcome::Failure { reason: None, code: Some(-18) };
    accesses[2].peer = Peer::UnixSocket;
    accesses[3].peer = Peer::ip("2001:db8::1".parse().expect("valid"), None);
    accesses[3].peer_joined = true;
    accesses[3].written_time = WrittenTime::Partial("Mon Nov 23 02:47:25.918".into());
    accesses[4].outcome = Outcome::Unknown;
    accesses[4].action = Action::Authorize;
    accesses[4].attributes = [("command".into(), "{\"find\": 1}".into())].into();
    accesses[4].connection = Some(u64::MAX);
    accesses[5].speculative = Some(true);
    accesses[5].classes = Classes::NONE.with(Class::Retry).with(Class::Inferred);
    accesses[5].process_start = Some(NOW.plus_seconds(-5));
    accesses[5].raw = vec![0, 0xff, b'\n'];
    accesses[5].task_id = Some("task-\u{fffd}".into());
    accesses
}

#[test]
fn every_value_survives_a_segment() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    import(&store, unusual());
    let page = store.select(&Filter::all(scope(), 10)).expect("answers");
    let found = page.rows.into_iter().rev().map(|row| match row.record {
        Record::Access(access) => access,
        other => panic!("not an access: {other:?}"),
    });
    assert_eq!(found.collect::<Vec<_>>(), unusual());
    // And is recognised there.
    let id = store.begin_import(start()).expect("begins");
    let batch = ImportBatch { accesses: unusual(), ..ImportBatch::default() };
    let counts = store.import(&id, batch).expect("imports");
    assert_eq!((counts.events, counts.duplicates), (0, 6));
}

/// Every row in its WAL form, and the catalogue.
fn describe(store: &Store) -> String {
    let mut text = String::new();
    for (scope, kind) in
        [(scope(), Kind::Access), (scope(), Kind::Quarantine), (Scope::System, Kind::Access)]
    {
        let filter = Filter { kind, ..Filter::all(scope.clone(), usize::MAX) };
        let page = store.select(&filter).expect("answers");
        writeln!(text, "{scope} {kind:?} {}", page.total).expect("a String takes it");
        for row in page.rows {
            let (log, seq, at) = (row.log.0, row.seq, row.ingest_time);
            let record = hex::encode(minicbor::to_vec(&row.record).expect("encodes"));
            writeln!(text, "{log} {seq} {at} {} {record}", row.source).expect("a String takes it");
        }
    }
    let catalog = store.catalog();
    let registry = hex::encode(minicbor::to_vec(&catalog.registry).expect("encodes"));
    writeln!(text, "registry {registry}").expect("a String takes it");
    for (project, receipt) in catalog.imports.values() {
        let receipt = hex::encode(minicbor::to_vec(receipt).expect("encodes"));
        writeln!(text, "import of {project} {receipt}").expect("a String takes it");
    }
    for (scope, coverage) in &catalog.coverage {
        let coverage = hex::encode(minicbor::to_vec(coverage).expect("encodes"));
        writeln!(text, "coverage of {scope} {coverage}").expect("a String takes it");
    }
    text
}

pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("is made");
    for entry in std::fs::read_dir(from).expect("is there") {
        let path: PathBuf = entry.expect("a file").path();
        let to = to.join(path.file_name().expect("has a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(std::fs::copy(&path, &to).expect("is copied")),
        }
    }
}
