//! Goal: what is told of an event lives as long as the event and as the import that told it, wherever
//! the rows lie, and is not told twice. Method: one event without a user, told of from two sides. That
//! answers are right whatever is told of what is held by the property of `select`.

use doorbook_event::record::{Amendment, Facts, ImportId, Sighting, Subject};
use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::{Access, Clock, LogId, Principal, Record, Text};
use doorbook_store::filter::PrincipalIs;
use doorbook_store::verify::Depth;
use doorbook_store::{Did, Filter, ImportBatch, Ingest, IngestLine, LineResult, Store};

use crate::support::{NOW, Place, actor, end, import, login, scope, start};

fn nobody() -> Access {
    Access { principal: Principal::Unauthenticated, ..login(5) }
}

fn find(store: &Store, user: &str) -> u64 {
    let principals = vec![PrincipalIs::User(user.into())];
    store.select(&Filter { principals, ..Filter::all(scope(), 0) }).expect("answers").total
}

/// The access that names nobody, as its own record.
fn subject(store: &Store) -> Subject {
    let all = store.select(&Filter::all(scope(), usize::MAX)).expect("answers").rows;
    let is_it = |record: &Record| match record {
        Record::Access(access) => access.event_time == nobody().event_time,
        _ => false,
    };
    let row = all.iter().find(|row| is_it(&row.record)).expect("is there");
    let nowhere = [(row.log, row.seq), (LogId(9), row.seq), (row.log, u64::MAX)];
    let mut found = store.subjects(&scope(), &nowhere).expect("looks them up").into_iter();
    let subject = found.next().flatten().expect("has one");
    assert!(found.all(|none| none.is_none()));
    subject
}

fn amendment(of: Subject, user: &str) -> Amendment {
    let principal = Some(Principal::User { name: user.into(), database: "admin".into() });
    let facts = Facts { principal, ..Facts::default() };
    Amendment { of, facts, raw: b"told".to_vec(), event_time: None }
}

/// An import that tells who it was, of whose one file each part says so twice.
fn tell(store: &Store, of: Subject, user: &str) -> ImportId {
    let id = store.begin_import(start()).expect("begins");
    let amendments = vec![amendment(of, user); 2];
    let batch = ImportBatch { amendments, ..ImportBatch::default() };
    for _ in 0..2 {
        store.import(&id, batch.clone()).expect("imports");
    }
    store.end_import(&id, end()).expect("ends");
    id
}

/// A request that tells of it twice, from a source.
fn ship(store: &Store, source: &str, of: Subject) -> Vec<bool> {
    let sighting = Sighting { of: of.clone(), event_time: NOW, raw: b"seen".to_vec() };
    let sighting = IngestLine::Sighting(Box::new(sighting));
    let amendment = IngestLine::Amendment(Box::new(amendment(of, "carol")));
    let lines = vec![sighting.clone(), amendment, sighting];
    let request = Ingest { scope: scope(), source: source.into(), key: None, lines };
    let results = store.ingest(request).expect("stores").lines;
    results.iter().map(|line| matches!(line, LineResult::Stored { .. })).collect()
}

/// Whose events there are, and who told of the one.
fn check(store: &Store, users: [u64; 3], sources: &[&str]) {
    assert_eq!(["alice", "bob", "carol"].map(|user| find(store, user)), users);
    let of = subject(store);
    let row = store.get(&scope(), of.log, of.seq).expect("looks it up").expect("is there");
    let told: Vec<Text> = row.sightings.into_iter().map(|sighted| sighted.source).collect();
    assert_eq!(told, sources.iter().map(|source| Text::from(*source)).collect::<Vec<_>>());
}

#[test]
fn what_is_told_comes_and_goes_and_stays_through_flush_and_restart() {
    let place = Place::new();
    let store = place.open_new();
    import(&store, vec![nobody(), login(6)]);
    let others = find(&store, "alice");
    check(&store, [others, 0, 0], &[]);
    store.flush().expect("flushes");
    let of = subject(&store);
    let id = tell(&store, of.clone(), "bob");
    // The first word stays, the second is kept beside it.
    assert_eq!(ship(&store, "audit", of.clone()), [true, true, false]);
    let import_source = &*start().source;
    check(&store, [others, 1, 0], &[import_source, "audit", "audit"]);
    for _ in 0..2 {
        assert_eq!(ship(&store, "audit", of.clone()), [false; 3], "the second time from a segment");
        store.flush().expect("flushes");
    }
    assert_eq!(ship(&store, "other", of.clone()), [true, true, false], "another source says it");
    check(&store, [others, 1, 0], &[import_source, "audit", "audit", "other", "other"]);
    store.flush().expect("flushes");
    while store.compact_once().expect("merges") {}
    let report = store.verify(Depth::Rows).expect("reads");
    assert!(report.is_sound(), "{report:?}");

    store.retract(&id, &actor()).expect("is taken back");
    check(&store, [others, 0, 1], &["audit", "audit", "other", "other"]);
    store.close().expect("closes");
    drop(store);
    let store = place.open();
    check(&store, [others, 0, 1], &["audit", "audit", "other", "other"]);
    // The same event once more is a duplicate, whoever it turned out to be.
    import(&store, vec![nobody()]);
    assert_eq!(store.select(&Filter::all(scope(), 0)).expect("answers").total, 2);
}

#[test]
fn what_is_told_of_an_event_goes_with_it() {
    let place = Place::with_memtable(1);
    let store = place.open_new();
    let access = nobody();
    import(&store, vec![access.clone()]);
    let of = subject(&store);
    tell(&store, of.clone(), "bob");
    let limits = Limits { keep_days: Some(30), minimum_days: 0 };
    let set = RetentionSet { scope: scope(), limits, at: place.clock.now() };
    store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]).expect("is decided");
    let of_scope = |store: &Store| {
        let status = store.status().expect("counts").scopes;
        status.into_iter().find(|s| s.scope == scope().to_string()).expect("is there").rows
    };
    let before = of_scope(&store);
    for day in [50, 52, 54] {
        place.clock.set(NOW.plus_seconds(day * 86_400));
        while store.maintain().expect("works") != Did::Nothing {}
    }
    assert_eq!(store.select(&Filter::all(scope(), 9)).expect("answers").total, 0);
    assert!(of_scope(&store) + 2 <= before, "{before} rows, now {}", of_scope(&store));
    let gone = store.subjects(&scope(), &[(of.log, of.seq)]).expect("looks it up");
    assert_eq!(gone, [None]);
    let late = Ingest {
        scope: scope(),
        source: "late".into(),
        key: None,
        lines: vec![IngestLine::Amendment(Box::new(amendment(of, "eve")))],
    };
    assert_eq!(store.ingest(late).expect("answers").lines, [LineResult::Expired]);
}
