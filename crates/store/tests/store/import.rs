//! Imports: what they add, what they leave out, and how they are taken back.

use crate::support::{Place, actor, end, import, login, scope, start};
use doorbook_event::record::ImportState;
use doorbook_event::{Access, Class};
use doorbook_store::{Filter, ImportBatch};

#[test]
fn importing_twice_adds_nothing_and_survives_a_restart() {
    let place = Place::new();
    let store = place.open_new();
    let id = import(&store, (0..10).map(login).collect());
    let again = store.begin_import(start()).expect("begins");
    let batch = ImportBatch { accesses: (5..15).map(login).collect(), ..ImportBatch::default() };
    let counts = store.import(&again, batch).expect("imports");
    assert_eq!((counts.events, counts.duplicates), (5, 5));
    store.close().expect("closes");
    drop(store);

    let store = place.open();
    let page = store.select(&Filter::all(scope(), 3)).expect("answers");
    assert_eq!(page.total, 15);
    let times: Vec<_> = page.rows.iter().map(|row| row.seq).collect();
    assert_eq!(page.rows.len(), 3, "{times:?}");
    let catalog = store.catalog();
    assert_eq!(catalog.imports[&id].1.state, ImportState::Complete);
    // Cut off without a word: it stays as running, with what it added.
    assert_eq!(catalog.imports[&again].1.state, ImportState::Running);
    assert_eq!(catalog.imports[&again].1.counts.events, 5);
    assert!(store.end_import(&again, end()).is_err());

    store.retract(&id, &actor()).expect("is taken back");
    assert_eq!(store.select(&Filter::all(scope(), 3)).expect("answers").total, 5);
    import(&store, (0..10).map(login).collect());
    assert_eq!(store.select(&Filter::all(scope(), 3)).expect("answers").total, 15);
}

/// The interval of a receipt is what its user asks for next; a forged line's date must not blow it
/// up to decades.
#[test]
fn a_suspect_event_does_not_widen_the_interval() {
    let place = Place::new();
    let store = place.open_new();
    let suspect = Access { classes: Class::Suspect.into(), ..login(-1_000_000) };
    let id = store.begin_import(start()).expect("begins");
    let accesses = vec![login(1), suspect, login(2)];
    let batch = ImportBatch { accesses, ..ImportBatch::default() };
    let counts = store.import(&id, batch).expect("imports");
    assert_eq!((counts.events, counts.suspect), (3, 1));
    assert_eq!((counts.from, counts.to), (Some(login(1).event_time), Some(login(2).event_time)));
}
