//! Bytes that were put aside and are read later.

use doorbook_event::record::Quarantine;
use doorbook_event::{LogId, Record, Seq};
use doorbook_store::error::ErrorKind;
use doorbook_store::filter::{Dimension, Kind};
use doorbook_store::verify::Depth;
use doorbook_store::{
    Did, Filter, ImportBatch, Ingest, IngestLine, LineResult, Page, Resolution, Resolve, Store,
};

use crate::support::{
    PROJECT, Place, actor, end, import, login, request, scope, start, unreadable,
};

fn put_aside(n: u8) -> Quarantine {
    Quarantine { bytes: vec![n], sha256: [n; 32], length_bytes: 1, ..unreadable() }
}

fn select(store: &Store, kind: Kind) -> Page {
    store.select(&Filter { kind, ..Filter::all(scope(), 1000) }).expect("reads")
}

fn seqs(page: &Page) -> Vec<Seq> {
    page.rows.iter().map(|row| row.seq).collect()
}

fn resolve(lines: Vec<(Seq, Option<IngestLine>)>) -> Resolve {
    let lines =
        lines.into_iter().map(|(seq, line)| Resolution { seq, source: "test".into(), line });
    let (log, version) = (LogId(1), "0.3.0".into());
    Resolve { project: PROJECT, log, version, lines: lines.collect() }
}

fn event(n: i64) -> Option<IngestLine> {
    Some(IngestLine::Event(Box::new(login(n))))
}

/// Three lines put aside among events, two of them before a flush and one after.
fn three_lines(place: &Place) -> (Store, Vec<Seq>) {
    let store = place.open_new();
    import(&store, (0..10).map(login).collect());
    for n in 1..=3 {
        let line = IngestLine::Unreadable(Box::new(put_aside(n)));
        let source = "test".into();
        let ingest = Ingest { scope: scope(), source, key: None, lines: vec![line] };
        store.ingest(ingest).expect("stores");
        if n == 2 {
            store.flush().expect("flushes");
        }
    }
    let mut seqs = seqs(&select(&store, Kind::Quarantine));
    seqs.reverse();
    (store, seqs)
}

/// Goal: what was read leaves the answers for ever, and what it tells is in them once. Method: one
/// line that is an event, one that is one that is there already, one that stays; asked for from
/// memory and segments, after a merge, a snapshot and two restarts, and in the state before.
#[test]
fn what_was_read_is_put_aside_no_longer() {
    let place = Place::new();
    let (store, lines) = three_lines(&place);
    let before = select(&store, Kind::Quarantine);
    let became = store
        .resolve(&actor(), resolve(vec![(lines[0], event(100)), (lines[2], event(3))]))
        .expect("resolves");
    let Some(LineResult::Stored { log, seq }) = became[0] else { panic!("{became:?}") };
    assert_eq!(became[1], Some(LineResult::Duplicate));
    let row = store.get(&scope(), log, seq).expect("reads").expect("is there");
    assert_eq!((row.record, &*row.source), (Record::Access(login(100)), "test"));

    let check = |store: &Store| {
        let page = select(store, Kind::Quarantine);
        assert_eq!((seqs(&page), page.total), (vec![lines[1]], 1));
        let filter = Filter { kind: Kind::Quarantine, ..Filter::all(scope(), 0) };
        let top = store.top(&filter, Dimension::Source, 9).expect("counts");
        assert_eq!((top.values, top.total), (vec![(Some("test".into()), 1)], 1));
        assert_eq!(select(store, Kind::Access).total, 11);
        assert_eq!(store.get(&scope(), log, lines[0]).expect("reads"), None);
        assert!(store.get(&scope(), log, lines[1]).expect("reads").is_some());
        let as_of = Some(before.as_of.clone());
        let old = Filter { kind: Kind::Quarantine, as_of, ..Filter::all(scope(), 1000) };
        let old = store.select(&old).expect("reads");
        assert_eq!((old.rows, old.total), (before.rows.clone(), 3));
        let report = store.verify(Depth::Rows).expect("verifies");
        assert!(report.is_sound(), "{report:?}");
    };
    check(&store);
    drop(store);
    let store = place.open();
    check(&store);
    store.flush().expect("flushes");
    check(&store);
    while store.compact_once().expect("merges") {}
    while store.maintain().expect("maintains") != Did::Nothing {}
    check(&store);
    store.close().expect("closes");
    drop(store);
    check(&place.open());
}

/// Goal: only what is put aside is resolved, once, and all of a source's lines or none. Method: an
/// event's place, a place that is none, a line twice.
#[test]
fn nothing_else_is_resolved() {
    let place = Place::new();
    let (store, lines) = three_lines(&place);
    let an_event = select(&store, Kind::Access).rows[0].seq;
    for wrong in [an_event, 10_000] {
        let refused = store.resolve(&actor(), resolve(vec![(lines[0], None), (wrong, None)]));
        assert_eq!(refused.expect_err("refused").kind, ErrorKind::Missing);
    }
    let other_log = Resolve { log: LogId(7), ..resolve(vec![(lines[0], None)]) };
    let refused = store.resolve(&actor(), other_log).expect_err("refused");
    assert_eq!(refused.kind, ErrorKind::Missing);
    assert_eq!(select(&store, Kind::Quarantine).total, 3);
    assert_eq!(store.resolve(&actor(), resolve(vec![(lines[0], None)])).expect("resolves"), [None]);
    let again = store.resolve(&actor(), resolve(vec![(lines[0], event(500))]));
    assert_eq!(again.expect_err("refused").kind, ErrorKind::Missing);
    assert_eq!(
        (select(&store, Kind::Quarantine).total, select(&store, Kind::Access).total),
        (2, 10)
    );
}

/// Goal: what a line of an import tells goes with the import. Method: an import with a line put
/// aside, which is read; the import is taken back.
#[test]
fn what_a_line_tells_is_taken_back_with_its_import() {
    let place = Place::new();
    let store = place.open_new();
    store.ingest(request(None, [login(1)])).expect("stores");
    let id = store.begin_import(start()).expect("begins");
    let quarantine = vec![put_aside(1)];
    let batch = ImportBatch { accesses: vec![login(2)], quarantine, ..ImportBatch::default() };
    store.import(&id, batch).expect("imports");
    store.end_import(&id, end()).expect("ends");
    let line = seqs(&select(&store, Kind::Quarantine))[0];
    store.resolve(&actor(), resolve(vec![(line, event(3))])).expect("resolves");
    assert_eq!(store.catalog().imports[&id].1.counts.events, 2);
    assert_eq!(select(&store, Kind::Access).total, 3);
    store.retract(&id, &actor()).expect("takes it back");
    assert_eq!(select(&store, Kind::Access).total, 1);
    assert_eq!(select(&store, Kind::Quarantine).total, 0);
}
