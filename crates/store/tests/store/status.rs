//! `status` counts what answers show, and says how long the disk lasts or why it cannot tell.

use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, RetentionSet};
use doorbook_event::{Access, Record, Scope};
use doorbook_store::{Entry, Store};

use crate::support::{NOW, Place, actor, import, login, scope, start};

const DAY: i64 = 86_400;

fn commit(store: &Store, seconds: i64) {
    let records = vec![Record::Access(login(seconds))];
    store.commit(vec![Entry { scope: scope(), source: "test".into(), records }]).expect("commits");
}

#[test]
fn what_is_counted_is_what_answers_show() {
    let place = Place::with_memtable(4000);
    let store = place.open_new();
    // The first event is taken back: the oldest is the next one.
    let first = import(&store, vec![login(-500)]);
    for n in 0..20 {
        import(&store, vec![login(n)]);
    }
    store.retract(&first, &actor()).expect("is taken back");
    let running = store.begin_import(start()).expect("begins");
    let status = store.status().expect("counts");
    assert_eq!(status.at, NOW);
    assert_eq!(status.running_imports, [running]);
    let scopes: Vec<_> = status.scopes.iter().map(|scope| scope.scope.clone()).collect();
    assert_eq!(scopes, [Scope::System.to_string(), scope().to_string()]);
    let shop = &status.scopes[1];
    assert_eq!(
        (shop.events, shop.oldest, shop.newest),
        (20, Some(NOW), Some(NOW.plus_seconds(19)))
    );
    assert!(shop.segments > 0 && shop.segment_bytes > 0 && shop.rows > shop.events, "{shop:?}");
    let sizes = status.size_bytes;
    assert_eq!(sizes.total, sizes.segments + sizes.wal + sizes.catalog + sizes.secrets);
    assert_eq!(sizes.segments, status.scopes.iter().map(|scope| scope.segment_bytes).sum::<u64>());
    assert!(status.free_bytes > 0);
}

#[test]
fn a_project_without_events_is_there_with_what_is_decided() {
    let place = Place::new();
    let store = place.open_new();
    let limits = Limits { keep_days: Some(9), minimum_days: 0 };
    let set = RetentionSet { scope: scope(), limits, at: NOW };
    store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]).expect("decides");
    let status = store.status().expect("counts");
    let shop = status.scopes.iter().find(|of| of.scope == scope().to_string()).expect("is there");
    assert_eq!((shop.events, shop.rows, shop.oldest), (0, 0, None));
    assert_eq!(shop.pending.map(|pending| pending.limits), Some(limits));
}

/// Goal: growth is that of the last days, whatever was imported from before them. Method: a history
/// of old events, then one event every hour.
#[test]
fn the_outlook_is_that_of_the_last_days() {
    let place = Place::new();
    let store = place.open_new();
    let outlook = |store: &Store| store.status().expect("counts").outlook;
    assert!(outlook(&store).basis.contains("less than a day"), "{:?}", outlook(&store));
    let old = |n: i64| Access { raw: vec![b'o'; 500], ..login(n - 400 * DAY) };
    import(&store, (0..2000).map(old).collect());
    place.clock.set(NOW.plus_seconds(30 * DAY));
    assert!(outlook(&store).basis.contains("no events of the last"), "{:?}", outlook(&store));
    for hour in 0..14 * 24 {
        commit(&store, 16 * DAY + hour * 3600);
    }
    let status = store.status().expect("counts");
    let growth = status.outlook.growth_bytes_per_day.expect("can be told");
    // 24 events a day, of which each takes some hundred bytes of the WAL.
    assert!((24 * 60..24 * 1000).contains(&growth), "{status:?}");
    assert_eq!(status.outlook.days_left, Some(status.free_bytes / growth.unsigned_abs()));
}

#[test]
fn a_new_directory_has_no_outlook() {
    let place = Place::new();
    let status = place.open().status().expect("counts");
    assert!(status.scopes.is_empty());
    assert_eq!(status.outlook.days_left, None);
    assert_eq!(status.outlook.basis, "there are no events yet");
}

/// Goal: what monitoring reads is what status counts, and what the store did is counted. Method: both
/// after commits, a flush and a compaction.
#[test]
fn measures_are_those_of_status_and_count_what_was_done() {
    let place = Place::new();
    let store = place.open_new();
    commit(&store, 0);
    store.flush().expect("flushes");
    commit(&store, 1);
    let (status, measures) = (store.status().expect("counts"), store.measures().expect("measures"));
    assert_eq!(measures.free_bytes > 0, status.free_bytes > 0);
    assert_eq!(measures.reserve_bytes, status.reserve_bytes);
    assert_eq!(measures.wal_size_bytes, status.size_bytes.wal);
    assert_eq!(measures.catalog_size_bytes, status.size_bytes.catalog);
    let seen = measures.scopes.iter().map(|of| (of.rows, of.rows_in_memory, of.segments));
    let counted = status.scopes.iter().map(|of| (of.rows, of.rows_in_memory, of.segments));
    assert_eq!(seen.collect::<Vec<_>>(), counted.collect::<Vec<_>>());
    assert!(measures.memtable_size_bytes > 0 && measures.replay_size_bytes > 0, "{measures:?}");
    assert!(measures.work.commits >= 2, "{measures:?}");
    assert!(measures.work.commit_time > std::time::Duration::ZERO);
    assert_eq!(measures.work.flushes.count, 1);
    assert_eq!(measures.work.flushes.last, Some(NOW));
    assert_eq!((measures.work.compactions.count, measures.work.failures.count), (0, 0));
    assert_eq!(store.poisoned(), None);
    assert!(store.maintenance_failure().is_none());
}
