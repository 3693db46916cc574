//! Goal: every row that answers show is found by its place, and no other. Method: each place of a
//! log is asked for and compared with the answer that has all, before and after rows became
//! segments, with small segments, a bulk import, an import taken back, and records that are no rows.

use doorbook_event::{LogId, Scope};
use doorbook_store::{Filter, Placed, Store};

use crate::support::{Place, actor, import, login, scope};

fn check(store: &Store) {
    let all = store.select(&Filter::all(scope(), usize::MAX)).expect("reads");
    let (log, end) = all.as_of[0];
    let mut shown: Vec<Placed> = all.rows;
    shown.sort_by_key(|row| row.seq);
    let found: Vec<Placed> =
        (0..end + 2).filter_map(|seq| store.get(&scope(), log, seq).expect("reads")).collect();
    assert_eq!(found, shown);
    let seq = found[0].seq;
    assert_eq!(store.get(&Scope::System, log, seq).expect("reads"), None);
    assert_eq!(store.get(&scope(), LogId(log.0 + 1), seq).expect("reads"), None);
    assert_eq!(store.get(&scope(), log, u64::MAX).expect("reads"), None);
}

#[test]
fn a_row_is_found_by_its_place() {
    let place = Place::with_memtable(2000);
    let store = place.open_new();
    for n in 0..40 {
        import(&store, (n * 5..n * 5 + 5).map(|n| login(n * 7919 % 200)).collect());
    }
    let wrong = import(&store, (1000..1010).map(login).collect());
    check(&store);
    store.retract(&wrong, &actor()).expect("takes it back");
    check(&store);
    import(&store, (10_000..31_000).map(login).collect());
    let all = store.select(&Filter::all(scope(), 3)).expect("reads");
    for row in all.rows {
        assert_eq!(store.get(&scope(), row.log, row.seq).expect("reads"), Some(row));
    }
    store.close().expect("closes");
    let store = place.open();
    assert_eq!(store.select(&Filter::all(scope(), 0)).expect("reads").total, 21_200);
}
