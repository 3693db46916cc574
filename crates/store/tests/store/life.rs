//! Whatever is done to a store, in whatever order: it answers as a plain list would, and `verify`
//! finds nothing.

use std::collections::BTreeSet;

use doorbook_event::record::{Amendment, Facts, ImportId, Sighting};
use doorbook_event::registry::RegistryChange;
use doorbook_event::retention::{Limits, Retention, RetentionSet};
use doorbook_event::{Access, Clock, Record, Timestamp};
use doorbook_store::disk::SystemDisk;
use doorbook_store::verify::{Depth, verify};
use doorbook_store::{Did, Dimension, Entry, Filter, Ingest, IngestLine, Options, Placed, Store};
use proptest::prelude::*;

use crate::support::{NOW, Place, actor, add_project, import, login, request, scope, unreadable};

const DAY: i64 = 86_400;

/// How long events are kept.
const KEEP_DAYS: i64 = 10;

#[derive(Clone, Debug)]
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
    /// From now on, or in a week if that is less, so many days are kept; `None` for ever.
    Keep(Option<i64>),
    /// A shipper says within which task one of the events that are shown was done, or only that it
    /// saw it, too.
    Tell(prop::sample::Index, bool),
    /// A copy is made and looked into.
    Backup,
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
        1 => prop::option::weighted(0.8, 2_i64..2 * KEEP_DAYS).prop_map(Step::Keep),
        3 => (any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(which, is_sighting)| Step::Tell(which, is_sighting)),
        1 => Just(Step::Backup),
    ]
}

/// An event that was stored.
struct Known {
    n: i64,
    at: Timestamp,
    import: Option<ImportId>,
    /// Its task is known.
    has_task: bool,
}

/// How many days are kept, and what was decided and does not hold yet.
struct Keeping {
    days: Option<i64>,
    pending: Option<(Option<i64>, Timestamp)>,
    /// What is earlier was too old at some time. Whether it is shown again once more is kept depends
    /// on what has been removed.
    too_old_until: Timestamp,
}

impl Keeping {
    fn decide(&mut self, days: Option<i64>, now: Timestamp) {
        let is_more = self.days.is_some_and(|present| days.is_none_or(|days| present < days));
        if is_more || days == self.days {
            (self.days, self.pending) = (days, None);
        } else if self.pending.is_none_or(|(pending, _)| pending != days) {
            self.pending = Some((days, now.plus_seconds(7 * DAY)));
        }
    }

    /// The earliest time that is kept.
    fn start(&self, now: Timestamp) -> Timestamp {
        self.days.map_or(Timestamp::MIN, |days| now.plus_seconds(-days * DAY))
    }

    /// Time has come to an instant.
    fn pass(&mut self, now: Timestamp) {
        if let Some((days, _)) = self.pending.take_if(|(_, from)| *from <= now) {
            self.days = days;
        }
        self.too_old_until = self.too_old_until.max(self.start(now));
    }
}

struct Life {
    place: Place,
    store: Store,
    known: Vec<Known>,
    imports: Vec<ImportId>,
    next: i64,
    keeping: Keeping,
    backups: usize,
}

impl Life {
    fn new() -> Life {
        let place = Place::with_memtable(4000);
        let store = place.open();
        add_project(&store);
        let (known, imports) = (Vec::new(), Vec::new());
        let keeping = Keeping { days: None, pending: None, too_old_until: Timestamp::MIN };
        let mut life = Life { place, store, known, imports, next: 0, keeping, backups: 0 };
        life.do_step(Step::Keep(Some(KEEP_DAYS)));
        // From when on it holds.
        let delay = i64::from(Retention::DELAY_DAYS) * DAY;
        life.place.clock.set(life.place.clock.now().plus_seconds(delay));
        life.keeping.pass(life.place.clock.now());
        life
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
                // What holds from some time on holds then, and not when it is next asked for.
                for hour in 1..=hours {
                    self.place.clock.set(now.plus_seconds(hour * 3600));
                    self.keeping.pass(self.place.clock.now());
                }
            }
            Step::Keep(days) => {
                let now = self.place.clock.now();
                let keep_days = days.map(|days| u32::try_from(days).expect("few"));
                let limits = Limits { keep_days, minimum_days: 0 };
                let set = RetentionSet { scope: scope(), limits, at: now };
                let changes = vec![RegistryChange::RetentionSet(set)];
                self.store.change_registry(&actor(), changes).expect("decides");
                self.keeping.decide(days, now);
            }
            Step::Tell(which, is_sighting) => self.tell(which, is_sighting),
            Step::Backup => {
                self.backups += 1;
                let data_dir = self.place.dir.path().join(format!("backup-{}", self.backups));
                self.store.backup(&data_dir).expect("copies");
                let copy = Options { data_dir, ..self.place.options() };
                let copy = Store::open(copy).expect("opens the copy");
                let shown = self.check(&copy, "in a backup");
                assert_eq!(shown, self.check(&self.store, "beside its backup"));
            }
        }
        self.keeping.pass(self.place.clock.now());
    }

    fn tell(&mut self, which: prop::sample::Index, is_sighting: bool) {
        let rows = self.store.select(&Filter::all(scope(), usize::MAX)).expect("answers").rows;
        let Some(row) = (!rows.is_empty()).then(|| &rows[which.index(rows.len())]) else { return };
        let n = number(row);
        let of = self.store.subjects(&scope(), &[(row.log, row.seq)]).expect("looks it up");
        let of = of.into_iter().next().flatten().expect("it is shown");
        let raw = b"told".to_vec();
        let line = match is_sighting {
            true => IngestLine::Sighting(Box::new(Sighting { of, event_time: NOW, raw })),
            false => {
                let facts = Facts { task_id: Some(TASK.into()), ..Facts::default() };
                IngestLine::Amendment(Box::new(Amendment { of, facts, raw, event_time: None }))
            }
        };
        let request = Ingest { lines: vec![line], ..request(None, Vec::new()) };
        self.store.ingest(request).expect("ingests");
        if !is_sighting {
            let known = self.known.iter_mut().find(|known| known.n == n);
            known.expect("what is shown is known").has_task = true;
        }
    }

    /// New events.
    fn events(&mut self, count: i64, days: i64) -> Vec<Access> {
        let at = self.place.clock.now().plus_seconds(-days * DAY);
        let numbers = self.next..self.next + count;
        self.next += count;
        let events = numbers.map(|n| {
            self.known.push(Known { n, at, import: None, has_task: false });
            Access { event_time: at, raw: vec![b'r'; 90], ..login(n) }
        });
        events.collect()
    }

    /// Every way to ask says the same as the plain list. The numbers of the events that are shown.
    fn check(&self, store: &Store, what: &str) -> BTreeSet<i64> {
        let ask = |filter: &Filter| -> BTreeSet<i64> {
            let page = store.select(filter).expect("answers");
            let histogram = store.histogram(filter, DAY * 1_000_000).expect("answers");
            let top = store.top(filter, Dimension::Host, 3).expect("answers");
            let totals = [page.total, histogram.total, top.total];
            assert_eq!(totals, [page.rows.len() as u64; 3], "{what}");
            page.rows.iter().map(number).collect()
        };
        let start = self.keeping.start(self.place.clock.now());
        let kept = || self.known.iter().filter(|known| start <= known.at);
        let all = Filter::all(scope(), usize::MAX);
        let shown = ask(&all);
        let may_be: BTreeSet<i64> = kept().map(|known| known.n).collect();
        let must_be = kept().filter(|known| self.keeping.too_old_until <= known.at);
        let must_be = must_be.map(|known| known.n);
        assert!(shown.is_subset(&may_be), "{what}: {shown:?} of {may_be:?}");
        let missing: Vec<i64> = must_be.filter(|n| !shown.contains(n)).collect();
        assert!(missing.is_empty(), "{what}: {missing:?} are missing");
        let of_task = self.known.iter().filter(|known| known.has_task && shown.contains(&known.n));
        let of_task: BTreeSet<i64> = of_task.map(|known| known.n).collect();
        assert_eq!(
            ask(&Filter { task_ids: vec![TASK.into()], ..all }),
            of_task,
            "{what}, a task's"
        );
        shown
    }
}

const TASK: &str = "backup";

fn number(row: &Placed) -> i64 {
    match &row.record {
        Record::Access(access) => access.connection.expect("it has one").cast_signed(),
        other => panic!("not an access: {other:?}"),
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
            life.do_step(step.clone());
            if matches!(step, Step::Reopen | Step::Maintain) {
                life.check(&life.store, &format!("after step {nth}, {step:?}"));
            }
        }
        let report = life.store.verify(Depth::Rows).expect("reads");
        prop_assert!(report.is_sound(), "{:#?}", report);
        // Announced, and a day later removed.
        for _ in 0..2 {
            while life.store.maintain().expect("works") != Did::Nothing {}
            life.do_step(Step::Wait(25));
        }
        life.check(&life.store, "at the end");
        while life.store.sync_table().expect("syncs") {}
        life.store.close().expect("closes");
        let data = life.place.dir.path().join("data");
        let report = verify(&SystemDisk, &data, Depth::Rows).expect("reads");
        prop_assert!(report.is_sound() && report.notes.is_empty(), "{:#?}", report);
        life.store = life.place.open();
        life.check(&life.store, "after the last restart");
    }
}
