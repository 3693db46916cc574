//! Goal: what an object store's log says of a namespace's arrays is in their history, once. Method: an ops
//! log of a gateway that is written while rounds and restarts go on, with a clock that the test sets.

use std::collections::{BTreeMap, BTreeSet};

use doorbook_event::arrays::{Array, ArraysChange, Organization, Uuid};
use doorbook_event::{Access, Target};

use super::*;

const FRAGMENT: &str = "__1795464688341_1795464688341_128f021513d83761f356b0e7c708ca7a_22";

struct Lake {
    dir: TempDir,
    clock: Arc<ManualClock>,
    store: Store,
    round: Round,
    /// Lines that were written.
    lines: u64,
}

impl Lake {
    /// A namespace, a source of it, and no array.
    fn new() -> Lake {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(NOW));
        let store = open(&dir, &clock, 0);
        let organization = Organization {
            name: "lab".into(),
            id: Uuid::random([9; 16]),
            members: BTreeSet::new(),
            created: NOW,
        };
        let source = Source {
            name: "gateway".into(),
            kind: SourceKind::CephOpsLog,
            subject: Subject::Arrays { namespace: "lab".into(), below: "s3://lake/prod".into() },
            interval_seconds: None,
            path: dir.path().join("ops.log").to_str().expect("is UTF-8").into(),
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
        };
        let namespace = RegistryChange::Arrays(ArraysChange::OrganizationCreated(organization));
        let changes = vec![namespace, RegistryChange::SourceSet(source)];
        store.change_registry(&operator(), changes).expect("allowed");
        let round = round_of(&store, &clock);
        Lake { dir, clock, store, round, lines: 0 }
    }

    fn register(&self, uri: &str) {
        let array = Array {
            id: Uuid::random([7; 16]),
            namespace: "lab".into(),
            name: "temperatures".into(),
            uri: uri.into(),
            created: NOW,
            created_by: "lab".into(),
            description: Text::default(),
            tags: Vec::new(),
            shares: BTreeMap::new(),
        };
        let change = RegistryChange::Arrays(ArraysChange::ArrayRegistered(array));
        self.store.change_registry(&operator(), vec![change]).expect("allowed");
    }

    /// A request for an object of an array, now.
    fn request(&mut self, operation: &str, array: &str, object: &str) {
        let at = self.clock.now();
        let id = self.lines;
        self.write(&format!(
            "{{\"bucket\":\"lake\",\"time\":\"{at}\",\"remote_addr\":\"10.0.0.9\",\"user\":\"ann\",\
             \"operation\":\"{operation}\",\"uri\":\"GET /lake/{array}/{object} HTTP/1.1\",\
             \"http_status\":\"200\",\"bytes_sent\":100,\"bytes_received\":7,\"total_time\":4,\
             \"user_agent\":\"aws-sdk-cpp/1\",\"trans_id\":\"tx{id:06}\"}}\n"
        ));
    }

    fn get(&mut self, array: &str) {
        self.request("get_obj", array, &format!("__fragments/{FRAGMENT}/a0.tdb"));
    }

    fn write(&mut self, line: &str) {
        let log = File::options().append(true).create(true).open(self.dir.path().join("ops.log"));
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("written");
        self.lines += 1;
    }

    fn after(&mut self, millis: i64) {
        self.clock.set(self.clock.now().plus_micros(millis * 1000));
        while self.round.run(&AtomicBool::new(false)) {}
    }

    fn restart(&mut self) {
        self.store.close().expect("closes");
        self.round.following.clear();
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        self.store = open(&elsewhere, &self.clock, 0);
        self.round = round_of(&self.store, &self.clock);
        self.store = open(&self.dir, &self.clock, 0);
        self.round = round_of(&self.store, &self.clock);
    }

    /// What the source told, oldest first.
    fn told(&self) -> Vec<Access> {
        let filter = Filter {
            actions: SourceKind::CephOpsLog.actions().to_vec(),
            ..Filter::all(Scope::Namespace("lab".into()), 1000)
        };
        let page = self.store.select(&filter).expect("answers");
        let accesses = page.rows.into_iter().filter_map(|row| match row.record {
            Record::Access(access) => Some(access),
            _ => None,
        });
        let mut accesses: Vec<Access> = accesses.collect();
        accesses.reverse();
        accesses
    }
}

#[test]
fn a_reading_is_told_once_whatever_restarts_within_it() {
    let mut lake = Lake::new();
    lake.register("s3://lake/prod/a");
    for step in 0..8 {
        lake.get("prod/a");
        lake.get("prod/other");
        lake.after(1500);
        if step % 3 == 1 {
            lake.restart();
        }
    }
    assert_eq!(lake.told(), []);
    lake.request("put_obj", "prod/a", &format!("__commits/{FRAGMENT}.wrt"));
    lake.after(33_000);
    lake.restart();
    lake.after(1000);
    let told = lake.told();
    let actions: Vec<Action> = told.iter().map(|access| access.action).collect();
    assert_eq!(actions, [Action::QueryRead, Action::QueryWrite]);
    assert_eq!(told[0].event_time, NOW);
    assert_eq!(told[0].attributes["bytes_sent"].as_str(), "800");
    assert_eq!(told[0].principal.to_string(), "ann");
    assert_eq!(told[0].peer.to_string(), "10.0.0.9");
    assert_eq!(told[1].attributes["object"].as_str(), format!("__commits/{FRAGMENT}.wrt"));
    assert!(!told[1].raw.is_empty());
    // Nothing is told again.
    lake.after(3_600_000);
    lake.restart();
    lake.after(3_600_000);
    assert_eq!(lake.told().len(), 2);
}

#[test]
fn an_array_may_be_registered_while_its_first_requests_wait() {
    let mut lake = Lake::new();
    lake.get("prod/a");
    lake.after(1000);
    lake.register("s3://lake/prod/a");
    lake.after(33_000);
    assert_eq!(lake.told().len(), 1);
}

#[test]
fn what_cannot_be_read_waits_in_quarantine_and_nothing_is_ever_surely_all() {
    let mut lake = Lake::new();
    lake.register("s3://lake/prod/a");
    lake.get("prod/a");
    lake.write("half a li\n");
    lake.get("prod/a");
    lake.after(33_000);
    assert_eq!(lake.told()[0].attributes["bytes_sent"].as_str(), "200");
    let filter =
        Filter { kind: Kind::Quarantine, ..Filter::all(Scope::Namespace("lab".into()), 1000) };
    let page = lake.store.select(&filter).expect("answers");
    assert_eq!(page.total, 1);
    lake.after(33_000);
    let watched = Target::Array { namespace: "lab".into(), array: "s3://lake/prod".into() };
    let answer = lake.store.coverage(&doorbook_store::Question {
        scope: &Scope::Namespace("lab".into()),
        targets: &[watched],
        stored: &BTreeMap::new(),
        actions: SourceKind::CephOpsLog.actions(),
        with_successes: true,
        from: NOW,
        to: NOW.plus_seconds(1),
        now: lake.clock.now(),
    });
    assert_eq!(answer.grade, Grade::BestEffort, "{answer:?}");
}
