//! What is too old is in no answer and is not taken in; its bytes go later, and never because of a
//! clock that was wrong for a moment.

use std::sync::Arc;

use doorbook_event::record::ImportCounts;
use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::{Access, Clock, Record, Scope, Timestamp};
use doorbook_store::backup::restore;
use doorbook_store::disk::{Disk, SystemDisk};
use doorbook_store::verify::Depth;
use doorbook_store::{
    Did, Dimension, Entry, ErrorKind, Filter, ImportBatch, Ingest, IngestLine, LineResult, Options,
    Store,
};

use crate::backup::Meddling;
use crate::support::{NOW, PROJECT, Place, actor, end, import, login, request, scope, start};

const DAY: i64 = 86_400;

fn day(n: i64) -> Timestamp {
    NOW.plus_seconds(n * DAY)
}

/// A login on a day.
fn on(n: i64) -> Access {
    Access { event_time: day(n), ..login(n + 1000) }
}

fn decide(store: &Store, place: &Place, scope: Scope, keep_days: Option<u32>, minimum_days: u32) {
    let limits = Limits { keep_days, minimum_days };
    let set = RetentionSet { scope, limits, at: place.clock.now() };
    store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]).expect("is decided");
}

/// The days of which answers show events; page, top and histogram must agree.
fn days(store: &Store) -> Vec<i64> {
    let filter = Filter::all(scope(), usize::MAX);
    let page = store.select(&filter).expect("answers");
    let top = store.top(&filter, Dimension::Host, 9).expect("answers");
    let histogram = store.histogram(&filter, DAY * 1_000_000).expect("answers");
    let bars: u64 = histogram.bars.iter().map(|bar| bar.successes).sum();
    assert_eq!((page.total, page.total, page.total), (top.total, histogram.total, bars));
    let day = |at: Timestamp| (at.micros() - NOW.micros()) / 1_000_000 / DAY;
    page.rows.iter().rev().map(|row| day(row.event_time())).collect()
}

fn commit(store: &Store, n: i64) {
    let records = vec![Record::Access(on(n))];
    store.commit(vec![Entry { scope: scope(), source: "test".into(), records }]).expect("commits");
}

fn expire(store: &Store) -> u32 {
    let mut n = 0;
    for _ in 0..99 {
        match store.maintain().expect("works") {
            Did::Nothing => return n,
            Did::Expired => n += 1,
            _ => {}
        }
    }
    panic!("it does not end");
}

fn names(place: &Place) -> Vec<String> {
    SystemDisk.list(&place.dir.path().join("data/segments")).expect("lists")
}

/// Of the scope's log: rows that are stored, shown or not.
fn stored(store: &Store) -> u64 {
    let status = store.status().expect("counts");
    let of_scope = |s: &&doorbook_store::status::ScopeStatus| s.scope == scope().to_string();
    status.scopes.iter().find(of_scope).expect("is there").rows
}

/// Goal: answers follow what holds, at once, in every state of the rows. Method: one event a day in
/// memory and in segments, decisions, and the clock moved in both directions, with a restart.
#[test]
fn answers_show_what_is_kept_and_nothing_older() {
    for memtable in [48 << 20, 2000] {
        let place = Place::with_memtable(memtable);
        let store = place.open_new();
        (0..40).for_each(|n| commit(&store, n));
        let all: Vec<i64> = (0..40).collect();
        place.clock.set(day(40));
        assert_eq!(days(&store), all);
        decide(&store, &place, scope(), Some(10), 0);
        assert_eq!(days(&store), all, "seven days are left");
        place.clock.set(day(47).plus_seconds(-1));
        assert_eq!(days(&store), all);
        place.clock.set(day(47));
        assert_eq!(days(&store), [37, 38, 39], "the limit itself is kept");
        drop(store);
        let store = place.open();
        assert_eq!(days(&store), [37, 38, 39], "after a restart");
        // Nothing was removed: a clock that goes back, and longer retention, show it again.
        place.clock.set(day(46));
        assert_eq!(days(&store), all);
        place.clock.set(day(47));
        decide(&store, &place, scope(), Some(20), 0);
        assert_eq!(days(&store), (27..40).collect::<Vec<_>>());
        // Doorbook's own history has its own retention.
        assert!(store.select(&Filter::all(Scope::System, 0)).expect("answers").total > 0);
        decide(&store, &place, Scope::System, Some(1), 0);
        place.clock.set(day(60));
        assert_eq!(store.select(&Filter::all(Scope::System, 0)).expect("answers").total, 0);
    }
}

#[test]
fn a_decision_is_an_event_that_says_when_it_holds() {
    let place = Place::new();
    let store = place.open_new();
    decide(&store, &place, scope(), Some(90), 30);
    let page = store.select(&Filter::all(Scope::System, 1)).expect("answers");
    let Record::Own(event) = &page.rows[0].record else { panic!("{page:?}") };
    let said = |name: &str| event.attributes.get(name).map(|value| value.to_string());
    assert_eq!(said("verb").as_deref(), Some("set"));
    assert_eq!(said("keep_days").as_deref(), Some("90"));
    assert_eq!(said("minimum_days").as_deref(), Some("30"));
    assert_eq!(said("takes_effect"), Some(day(7).to_string()));
    assert_eq!(said("project"), Some(PROJECT.to_string()));
    let limits = Limits { keep_days: Some(9), minimum_days: 10 };
    for (scope, limits, kind) in [
        (scope(), limits, ErrorKind::Invalid),
        (
            Scope::Project(doorbook_event::ProjectId::new([1; 12])),
            Limits::default(),
            ErrorKind::Missing,
        ),
    ] {
        let set = RetentionSet { scope, limits, at: NOW };
        let refused = store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]);
        assert_eq!(refused.expect_err("is refused").kind, kind);
    }
}

/// What is too old to be shown is not taken in, is counted, and says so.
#[test]
fn what_is_too_old_is_not_taken_in() {
    let place = Place::new();
    let store = place.open_new();
    decide(&store, &place, scope(), Some(10), 0);
    place.clock.set(day(40));
    let id = store.begin_import(start()).expect("begins");
    let accesses: Vec<Access> = (25..35).map(on).collect();
    let batch = ImportBatch { accesses, ..ImportBatch::default() };
    let counts = store.import(&id, batch.clone()).expect("imports");
    let expected = ImportCounts {
        events: 5,
        successes: 5,
        expired: 5,
        from: Some(day(30)),
        to: Some(day(34)),
        ..ImportCounts::default()
    };
    assert_eq!(counts, expected);
    assert_eq!(store.end_import(&id, end()).expect("ends"), expected);
    // Again: the rest is there, and what is too old is still too old.
    let id = store.begin_import(start()).expect("begins");
    let counts = store.import(&id, batch).expect("imports");
    assert_eq!((counts.events, counts.duplicates, counts.expired), (0, 5, 5));
    store.end_import(&id, end()).expect("ends");
    assert_eq!(days(&store), (30..35).collect::<Vec<_>>());

    let lines = [28, 36, 29, 30].map(|n| IngestLine::Event(Box::new(on(n))));
    let request = Ingest { scope: scope(), source: "test".into(), key: None, lines: lines.into() };
    let lines = store.ingest(request).expect("answers").lines;
    assert!(matches!(
        lines[..],
        [
            LineResult::Expired,
            LineResult::Stored { .. },
            LineResult::Expired,
            LineResult::Duplicate
        ]
    ));
    drop(store);
    let receipts = place.open().catalog();
    let expired = receipts.imports.values().map(|(_, receipt)| receipt.counts.expired);
    assert_eq!(expired.collect::<Vec<_>>(), [5, 5], "after a restart");
}

/// Goal: a request that is sent again under its key is known, also when some of its lines, or all,
/// have become too old meanwhile. Method: one small request and one that is a file of its own, on the
/// day of the events and when half of them, and then all, are too old.
#[test]
fn a_request_is_known_by_all_that_it_said() {
    for memtable_size_bytes in [48 << 20, 600] {
        let place = Place::with_memtable(memtable_size_bytes);
        let store = place.open_new();
        decide(&store, &place, scope(), Some(10), 0);
        place.clock.set(day(8));
        let ask = |days: &[i64]| {
            let anonymous = |n: &i64| Access { connection: None, ..on(*n) };
            let lines = store.ingest(request(Some("k"), days.iter().map(anonymous)))?.lines;
            Ok::<String, doorbook_store::Error>(lines.iter().map(letter).collect())
        };
        let sent = [0, 0, 0, 0, 0, 2, 2, 2, 2, 2];
        assert_eq!(ask(&sent).expect("is stored"), "SSSSSSSSSS");
        assert_eq!(ask(&sent).expect("is known"), "DDDDDDDDDD");
        place.clock.set(day(11));
        assert_eq!(ask(&sent).expect("is known"), "EEEEEDDDDD");
        assert_eq!(ask(&sent[1..]).expect_err("other lines").kind, ErrorKind::Exists);
        place.clock.set(day(13));
        assert_eq!(ask(&sent).expect("is known"), "EEEEEEEEEE");
        place.clock.set(day(8));
        assert_eq!(stored(&store), 10);
    }
}

fn letter(line: &LineResult) -> char {
    match line {
        LineResult::Stored { .. } => 'S',
        LineResult::Duplicate => 'D',
        LineResult::Expired => 'E',
    }
}

/// A place with one event a day in segments, kept for ten days, on day 40.
fn aged() -> (Place, Store) {
    let place = Place::with_memtable(2000);
    let store = place.open_new();
    for n in 0..40 {
        place.clock.set(day(n));
        import(&store, vec![on(n)]);
    }
    // Not earlier: who imports does what is due before.
    place.clock.set(day(33));
    decide(&store, &place, scope(), Some(10), 0);
    place.clock.set(day(40));
    // What is merged later would change the files, too.
    while store.compact_once().expect("compacts") {}
    (place, store)
}

/// Goal: the bytes go a day after they were announced, answers stay the same, and what is left is
/// sound. Method: the whole life, with a restart at every step.
#[test]
fn the_bytes_go_after_their_announcement() {
    let (place, store) = aged();
    let shown = days(&store);
    assert_eq!(shown, (30..40).collect::<Vec<_>>());
    let stored_before = stored(&store);
    assert_eq!(expire(&store), 1, "the announcement");
    assert_eq!(stored(&store), stored_before);
    let before = names(&place);
    drop(store);
    let store = place.open();
    place.clock.set(day(41).plus_seconds(-1));
    assert_eq!(expire(&store), 0, "less than a day has passed");
    place.clock.set(day(41));
    assert!(expire(&store) >= 1);
    assert!(stored(&store) < stored_before);
    // Other programs may be at the files for a while.
    place.clock.set(day(41).plus_seconds(900));
    expire(&store);
    let after = names(&place);
    assert!(before.iter().any(|name| !after.contains(name)), "{before:?}, {after:?}");
    // What was removed stays away, even for a clock that has gone back, and for longer retention.
    place.clock.set(day(40));
    assert_eq!(days(&store), shown);
    decide(&store, &place, scope(), None, 0);
    assert_eq!(days(&store), shown);
    assert!(store.verify(Depth::Rows).expect("reads").is_sound());
    drop(store);
    let store = place.open();
    assert_eq!(days(&store), shown);
    let report = store.verify(Depth::Rows).expect("reads");
    assert!(report.is_sound(), "{report:#?}");
    // Enough for flushes and snapshots: what was removed is part of them.
    (41..60).for_each(|n| commit(&store, n));
    drop(store);
    let report = place.open().verify(Depth::Rows).expect("reads");
    assert!(report.is_sound(), "{report:#?}");
}

/// Goal: no jump of the clock removes what is not too old. Method: jumps ahead at every step, put
/// right before a day has passed.
#[test]
fn a_clock_that_jumps_ahead_removes_nothing() {
    let (place, store) = aged();
    let shown = days(&store);
    let stored_before = stored(&store);
    // Years ahead: announced then, which is in the future when the clock is right again.
    place.clock.set(day(4000));
    assert_eq!(days(&store), Vec::<i64>::new(), "an answer follows the clock");
    assert_eq!(expire(&store), 1);
    place.clock.set(day(4000).plus_seconds(DAY - 1));
    assert_eq!(expire(&store), 0);
    place.clock.set(day(40));
    assert_eq!(days(&store), shown);
    assert_eq!(stored(&store), stored_before);
    // Announced by a right clock: a jump removes what was announced, and nothing more.
    assert_eq!(expire(&store), 1);
    place.clock.set(day(4000));
    expire(&store);
    place.clock.set(day(40));
    assert_eq!(days(&store), shown);
    assert!(store.verify(Depth::Rows).expect("reads").is_sound());
}

/// Goal: who reads meanwhile loses no file, and the files go with him. Method: while a backup is
/// made, the disk itself has rows expire, and the clock pass the grace of other programs.
#[test]
fn what_is_read_meanwhile_stays_until_it_was_read() {
    let (place, store) = aged();
    let shown = days(&store);
    expire(&store);
    drop(store);
    let disk = Arc::new(Meddling::default());
    let store = Store::open(place.options_on(disk.clone())).expect("opens");
    let before = names(&place);
    let (meddled, clock) = (store.clone(), place.clock.clone());
    disk.meddle_at_next_link(move || {
        let stored_before = stored(&meddled);
        for at in [day(41), day(41).plus_seconds(3600)] {
            clock.set(at);
            expire(&meddled);
        }
        assert!(stored(&meddled) < stored_before);
    });
    let backup = place.dir.path().join("backup");
    store.backup(&backup).expect("copies what was there when it began");
    let kept = SystemDisk.list(&backup.join("segments")).expect("lists");
    let after = names(&place);
    assert!(kept.iter().any(|name| !after.contains(name)), "they went with the backup");
    assert!(kept.iter().all(|name| before.contains(name)));
    let restored = place.dir.path().join("restored");
    restore(&SystemDisk, &backup, &restored).expect("copies back");
    place.clock.set(day(40));
    let copy = Store::open(Options { data_dir: restored, ..place.options() }).expect("opens");
    assert_eq!(days(&copy), shown);
}

/// Longer retention between announcement and removal keeps what was announced.
#[test]
fn an_announced_removal_can_be_prevented() {
    let (place, store) = aged();
    assert_eq!(expire(&store), 1);
    decide(&store, &place, scope(), None, 0);
    let stored_before = stored(&store);
    place.clock.set(day(50));
    assert_eq!(expire(&store), 0);
    assert_eq!(stored(&store), stored_before);
    assert_eq!(days(&store), (0..40).collect::<Vec<_>>());
}

/// Goal: old rows between young ones go, too. Method: one segment over many days, of which most are
/// too old by more than the slack.
#[test]
fn a_segment_is_rewritten_without_what_is_too_old() {
    let place = Place::with_memtable(3000);
    let store = place.open_new();
    decide(&store, &place, scope(), Some(30), 0);
    let wide = |n| Access { raw: vec![b'r'; 200], ..on(n) };
    import(&store, (0..60).map(wide).collect());
    place.clock.set(day(60));
    let shown = days(&store);
    assert_eq!(shown, (30..60).collect::<Vec<_>>());
    assert_eq!(expire(&store), 1);
    place.clock.set(day(61));
    let before = stored(&store);
    assert_eq!(expire(&store), 1);
    // And the two records of the import, which were received on the first day and lay in memory.
    assert_eq!(before - stored(&store), 30 + 2);
    place.clock.set(day(60));
    assert_eq!(days(&store), shown);
    drop(store);
    let store = place.open();
    assert_eq!(days(&store), shown);
    let report = store.verify(Depth::Rows).expect("reads");
    assert!(report.is_sound(), "{report:#?}");
    // What is left is still recognised.
    let id = store.begin_import(start()).expect("begins");
    let batch = ImportBatch { accesses: (0..60).map(wide).collect(), ..ImportBatch::default() };
    let counts = store.import(&id, batch).expect("imports");
    assert_eq!((counts.events, counts.duplicates, counts.expired), (0, 30, 30));
}
