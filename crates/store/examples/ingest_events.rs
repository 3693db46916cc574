//! What requests of shippers cost, from `Store::ingest` to durable and in segments.
//!
//! `cargo run --release -p doorbook-store --example ingest_events -- [EVENTS [DIR]]`
//!
//! Flat events: no raw record, a dozen columns, without a connection number unless said otherwise.
//! Three runs: one writer with requests of 1000, the same with connection numbers, and 64 threads
//! with requests of one event.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use doorbook_event::record::Actor;
use doorbook_event::registry::{Project, RegistryChange};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Classes, Client, Outcome, Peer, Principal, ProjectId, Scope, Shared, Target,
    Text, Timestamp, WrittenTime,
};
use doorbook_store::disk::SystemDisk;
use doorbook_store::{Ingest, IngestLine, Options, Store};

const PROJECT: ProjectId = ProjectId::new([7; 12]);
const EVENTS_AT_ONCE: usize = 20_000;
const NOW: Timestamp = Timestamp::from_seconds(1_790_000_000);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(500_000, |text| text.parse().expect("a number"));
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = parent.join(format!("ingest_events-{}", std::process::id()));
    for (what, has_connection, per_request, threads) in [
        ("one writer, requests of 1000", false, 1000, 1),
        ("one writer, requests of 1000, with connection numbers", true, 1000, 1),
        ("64 threads, requests of 1", false, 1, 64),
    ] {
        let requests = count / if per_request == 1 { 10 } else { per_request };
        run(what, &dir, Generator::new(has_connection), per_request, requests, threads);
        std::fs::remove_dir_all(&dir).expect("is ours");
    }
}

fn run(
    what: &str,
    dir: &Path,
    mut generator: Generator,
    per_request: usize,
    requests: usize,
    threads: usize,
) {
    let store = open(dir);
    let (mut durable, mut generating_cpu) = (0.0, 0.0);
    let cpu = cpu_seconds();
    let mut left = requests;
    while left > 0 {
        // A part of them at a time: they are not to be counted as the store's memory.
        let count = left.min(EVENTS_AT_ONCE.div_ceil(per_request));
        left -= count;
        let before = thread_cpu_seconds();
        let part: Vec<_> =
            (0..count).map(|_| Mutex::new(Some(generator.request(per_request)))).collect();
        generating_cpu += thread_cpu_seconds() - before;
        let (next, start) = (AtomicUsize::new(0), now());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(slot) = part.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let request = slot.lock().expect("no panic").take();
                        store.ingest(request.expect("is taken once")).expect("is committed");
                    }
                });
            }
        });
        durable += start.elapsed().as_secs_f64();
    }
    let durable_cpu = cpu_seconds() - cpu - generating_cpu;
    store.flush().expect("flushes");
    let cpu = cpu_seconds() - cpu - generating_cpu;
    let events = (requests * per_request) as f64;
    let size: u64 = std::fs::read_dir(dir.join("segments"))
        .expect("is there")
        .map(|entry| entry.and_then(|entry| entry.metadata()).expect("a file").len())
        .sum();
    println!(
        "{what}: {:.0} events/s, {:.0} requests/s durable; {:.2} us CPU each until durable, {:.2} us \
         until in segments; {:.1} B each; {} MB resident at most",
        events / durable,
        requests as f64 / durable,
        durable_cpu / events * 1e6,
        cpu / events * 1e6,
        size as f64 / events,
        resident_mb(),
    );
    store.close().expect("closes");
}

fn open(dir: &Path) -> Store {
    let store = Store::open(Options {
        data_dir: dir.to_owned(),
        clock: Arc::new(ManualClock::new(NOW)),
        random: Arc::new(CountingRandom::default()),
        disk: Arc::new(SystemDisk),
        memtable_size_bytes: 48 << 20,
        reserve_size_bytes: 0,
        cache_size_bytes: Options::CACHE_SIZE_BYTES,
        background: true,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    })
    .expect("opens");
    let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
    let project = Project { id: PROJECT, name: "p".into(), created: NOW };
    store.change_registry(&by, vec![RegistryChange::ProjectCreated(project)]).expect("is new");
    store
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn now() -> Instant {
    Instant::now()
}

/// User and system time of all threads, to a hundredth of a second.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = text.rsplit_once(')').expect("Linux").1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
    (ticks(11) + ticks(12)) / 100.0
}

/// The same of this thread, to a nanosecond.
fn thread_cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.expect("a number") / 1e9
}

fn resident_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux");
    line.trim().split(' ').next().and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}

/// Logins of a fleet.
struct Generator {
    state: u64,
    at: Timestamp,
    has_connection: bool,
    number: u64,
    source: Text,
    targets: Vec<Target>,
    users: Vec<Text>,
    database: Text,
    mechanism: Text,
    reason: Text,
    clients: Vec<Shared<Client>>,
}

impl Generator {
    fn new(has_connection: bool) -> Generator {
        let client = |n: usize| {
            let application = Some(format!("service-{n}").into());
            Shared::from(Client { application, ..Client::default() })
        };
        let host = |n: usize| Target::Host {
            cluster: format!("cluster-{}", n / 4).into(),
            host: format!("db-{n}.prod.example.net:27017").into(),
        };
        Generator {
            state: 42,
            at: NOW,
            has_connection,
            number: 0,
            source: "shipper".into(),
            targets: (0..12).map(host).collect(),
            users: (0..2000).map(|n| format!("user_{n:04}").into()).collect(),
            database: "admin".into(),
            mechanism: "SCRAM-SHA-256".into(),
            reason: "AuthenticationFailed".into(),
            clients: (0..20).map(client).collect(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn request(&mut self, events: usize) -> Ingest {
        let lines = (0..events).map(|_| IngestLine::Event(Box::new(self.next()))).collect();
        Ingest { scope: Scope::Project(PROJECT), source: self.source.clone(), key: None, lines }
    }

    fn next(&mut self) -> Access {
        self.at = self.at.plus_micros(1000 * (1 + self.random(60) as i64));
        self.number += 1;
        let user = (self.random(2000) * self.random(2000) / 2000) as usize;
        let address = self.random(5000) * self.random(5000) / 5000;
        let fails = self.random(25) == 0;
        let target = self.random(12) as usize;
        Access {
            target: self.targets[target].clone(),
            event_time: self.at,
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: match fails {
                false => Outcome::Success,
                true => Outcome::Failure { reason: Some(self.reason.clone()), code: Some(18) },
            },
            principal: Principal::User {
                name: self.users[user].clone(),
                database: self.database.clone(),
            },
            mechanism: Some(self.mechanism.clone()),
            peer: Peer::ip([10, (address >> 8) as u8, address as u8, 7].into(), Some(30_000)),
            peer_joined: false,
            connection: self.has_connection.then_some(self.number),
            process_start: None,
            client: Some(self.clients[user % 20].clone()),
            speculative: None,
            classes: Classes::NONE,
            attributes: Default::default(),
            raw: Vec::new(),
            task_id: None,
        }
    }
}
