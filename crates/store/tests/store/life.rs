//! Whatever is done to a store, in whatever order: it answers as a plain list would, and `verify`
//! finds nothing.

use std::collections::BTreeSet;

use doorbook_event::record::{ImportId, Quarantine};
use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, Retention, RetentionSet};
use doorbook_event::{Access, Clock, Record, Timestamp};
use doorbook_store::disk::SystemDisk;
use doorbook_store::verify::{Depth, verify};
use doorbook_store::{Did, Dimension, Entry, Filter, IngestLine, Store};
use proptest::prelude::*;

use crate::support::{Place, actor, add_project, import, login, request, scope};

const DAY: i64 = 86_400;

/// How long events are kept.
const KEEP_DAYS: i64 = 10;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// So many events, of so many days ago.
    Commit(i64, i64),
    Ingest(i64, i64),
    Import(i64, i64),
    /// The import before so many others.
    Retract(usize),
    Flush,
    Compact,
    /// A unit of maintenance, whichever is due: expiry, compaction, the table.
    Maintain,
    Table,
    Reopen,
    /// So many hours pass.
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let days = || 0..2 * KEEP_DAYS;
    prop_oneof![
        4 => (1_i64..4, days()).prop_map(|(count, days)| Step::Commit(count, days)),
        3 => (1_i64..4, days()).prop_map(|(count, days)| Step::Ingest(count, days)),
        // The larger ones become files of their own.
        5 => (1_i64..25, days()).prop_map(|(count, days)| Step::Import(count, days)),
        2 => (0_usize..6).prop_map(Step::Retract),
        6 => Just(Step::Flush),
        3 => Just(Step::Compact),
        6 => Just(Step::Maintain),
        2 => Just(Step::Table),
        1 => Just(Step::Reopen),
        3 => (1_i64..72).prop_map(Step::Wait),
    ]
}

/// An event that was stored.
struct Known {
    n: i64,
    at: Timestamp,
    import: Option<ImportId>,
}

struct Life {
    place: Place,
    store: Store,
    known: Vec<Known>,
    imports: Vec<ImportId>,
    next: i64,
}

impl Life {
    fn new() -> Life {
        let place = Place::with_memtable(4000);
        let store = place.open();
        add_project(&store);
        let limits = Limits { keep_days: Some(KEEP_DAYS as u32), minimum_days: 0 };
        let set = RetentionSet { scope: scope(), limits, at: place.clock.now() };
        store.change_registry(&actor(), vec![RegistryChange::RetentionSet(set)]).expect("decides");
        // From when on it holds.
        let delay = i64::from(Retention::DELAY_DAYS) * DAY;
        place.clock.set(place.clock.now().plus_seconds(delay));
        Life { place, store, known: Vec::new(), imports: Vec::new(), next: 0 }
    }

    fn do_step(&mut self, step: Step) {
        match step {
            Step::Commit(count, days) => {
                let records = self.events(count, days).into_iter().map(Record::Access).collect();
                let entry = Entry { scope: scope(), source: "test".into(), records };
                self.store.commit(vec![entry]).expect("commits");
            }
            Step::Ingest(count, days) => {
                let mut request = request(None, self.events(count, days));
                request.lines.push(IngestLine::Unreadable(Box::new(unreadable())));
                self.store.ingest(request).expect("ingests");
            }
            Step::Import(count, days) => {
                let before = self.known.len();
                let events = self.events(count, days);
                let id = import(&self.store, events);
                self.known[before..].iter_mut().for_each(|known| known.import = Some(id.clone()));
                self.imports.push(id);
            }
            Step::Retract(nth) => {
                if let Some(at) = self.imports.len().checked_sub(nth + 1) {
                    let id = self.imports.remove(at);
                    self.store.retract(&id, &actor()).expect("is taken back");
                    self.known.retain(|known| known.import.as_ref() != Some(&id));
                }
            }
            Step::Flush => self.store.flush().expect("flushes"),
            Step::Compact => while self.store.compact_once().expect("compacts") {},
            Step::Maintain => drop(self.store.maintain().expect("works")),
            Step::Table => while self.store.sync_table().expect("syncs") {},
            Step::Reopen => {
                self.store.close().expect("closes");
                self.store = self.place.open();
            }
            Step::Wait(hours) => {
                let now = self.place.clock.now();
                self.place.clock.set(now.plus_seconds(hours * 3600));
            }
        }
    }

    /// New events.
    fn events(&mut self, count: i64, days: i64) -> Vec<Access> {
        let at = self.place.clock.now().plus_seconds(-days * DAY);
        let numbers = self.next..self.next + count;
        self.next += count;
        let events = numbers.map(|n| {
            self.known.push(Known { n, at, import: None });
            Access { event_time: at, raw: vec![b'r'; 90], ..login(n) }
        });
        events.collect()
    }

    /// Every way to ask says the same as the plain list.
    fn check(&self, what: &str) {
        let oldest = self.place.clock.now().plus_seconds(-KEEP_DAYS * DAY);
        let kept = self.known.iter().filter(|known| oldest <= known.at);
        let expected: BTreeSet<i64> = kept.map(|known| known.n).collect();
        let filter = Filter::all(scope(), usize::MAX);
        let page = self.store.select(&filter).expect("answers");
        let numbers = page.rows.iter().map(|row| match &row.record {
            Record::Access(access) => access.connection.expect("it has one").cast_signed(),
            other => panic!("not an access: {other:?}"),
        });
        let found: BTreeSet<i64> = numbers.collect();
        assert_eq!(found, expected, "{what}");
        let histogram = self.store.histogram(&filter, DAY * 1_000_000).expect("answers");
        let top = self.store.top(&filter, Dimension::Host, 3).expect("answers");
        let totals = [page.rows.len() as u64, page.total, histogram.total, top.total];
        assert_eq!(totals, [expected.len() as u64; 4], "{what}");
    }
}

/// Bytes that outlive the events beside them, because they go by the time they were received.
fn unreadable() -> Quarantine {
    Quarantine {
        target: login(0).target,
        reason: "no user".into(),
        place: doorbook_event::record::Place::default(),
        bytes: b"what?".to_vec(),
        length_bytes: 5,
        sha256: [7; 32],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// Goal: no order of what happens to rows loses one, shows one that should not be seen, or leaves
    /// a directory in which `verify` finds anything. Method: random steps beside a plain list; at
    /// each restart and at the end, after all that was due, everything is compared and read.
    #[test]
    fn any_life_is_sound(steps in proptest::collection::vec(step(), 20..120)) {
        let mut life = Life::new();
        for (nth, step) in steps.into_iter().enumerate() {
            life.do_step(step);
            if matches!(step, Step::Reopen | Step::Maintain) {
                life.check(&format!("after step {nth}, {step:?}"));
            }
        }
        let report = life.store.verify(Depth::Rows).expect("reads");
        prop_assert!(report.is_sound(), "{:#?}", report);
        // Announced, and a day later removed.
        for _ in 0..2 {
            while life.store.maintain().expect("works") != Did::Nothing {}
            life.do_step(Step::Wait(25));
        }
        life.check("at the end");
        while life.store.sync_table().expect("syncs") {}
        life.store.close().expect("closes");
        let data = life.place.dir.path().join("data");
        let report = verify(&SystemDisk, &data, Depth::Rows).expect("reads");
        prop_assert!(report.is_sound() && report.notes.is_empty(), "{:#?}", report);
        life.store = life.place.open();
        life.check("after the last restart");
    }
}
