//! What an import costs the store: events handed over until they are durable in segments, and again
//! as duplicates. `cargo run --release -p doorbook-store --example write_events -- [EVENTS] [DIR]`
//!
//! Prints events per second of CPU time over all threads, and bytes per event on the disk. A DIR that
//! is named must be new, and is kept.

use std::path::PathBuf;
use std::sync::Arc;

use doorbook_event::record::{Actor, ImportCounts};
use doorbook_event::registry::{Cluster, Project, RegistryChange};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Class, Classes, Client, Outcome, Peer, Principal, ProjectId, Scope, Shared,
    Target, Text, Timestamp, WrittenTime,
};
use doorbook_store::disk::SystemDisk;
use doorbook_store::filter::{OutcomeKind, PrincipalIs, Targets};
use doorbook_store::{Filter, ImportBatch, ImportEnd, ImportStart, Options, Store};

const BATCH: usize = 128 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(1_000_000, |text| text.parse().expect("a number"));
    let kept = arguments.next().map(PathBuf::from);
    let temporary = || std::env::temp_dir().join(format!("write_events-{}", std::process::id()));
    let dir = kept.clone().unwrap_or_else(temporary);
    let now = Timestamp::from_seconds(1_790_000_000);
    let store = Store::open(Options {
        data_dir: dir.clone(),
        clock: Arc::new(ManualClock::new(now)),
        random: Arc::new(CountingRandom::default()),
        disk: Arc::new(SystemDisk),
        memtable_size_bytes: 48 << 20,
        reserve_size_bytes: 0,
        cache_size_bytes: Options::CACHE_SIZE_BYTES,
        background: false,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    })
    .expect("opens");
    let project = ProjectId::new([7; 12]);
    let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
    let changes = vec![
        RegistryChange::ProjectCreated(Project { id: project, name: "p".into(), created: now }),
        RegistryChange::ClusterCreated(Cluster { project, name: "orders".into(), created: now }),
    ];
    store.change_registry(&by, changes).expect("a new project");

    for what in ["new", "again"] {
        let mut generator = Generator::new(now);
        let start = ImportStart {
            by: by.clone(),
            project,
            cluster: "orders".into(),
            host: None,
            source: "mongod-log".into(),
        };
        let id = store.begin_import(start).expect("begins");
        let (mut cpu, mut raw, mut done) = (0.0, 0, 0);
        let mut counts = ImportCounts::default();
        while done < count {
            let accesses: Vec<Access> =
                (0..BATCH.min((count - done) as usize)).map(|_| generator.next()).collect();
            done += accesses.len() as u64;
            raw += accesses.iter().map(|access| access.raw.len()).sum::<usize>();
            let batch = ImportBatch { accesses, ..ImportBatch::default() };
            let before = cpu_seconds();
            counts.add(&store.import(&id, batch).expect("imports"));
            cpu += cpu_seconds() - before;
        }
        let end = ImportEnd { complete: true, files: vec![], lines: done, unknown_ids: vec![] };
        store.end_import(&id, end).expect("ends");
        println!(
            "{what}: {done} events of {} raw bytes, {} added, {cpu:.2} CPU-s: {:.0} events/CPU-s, \
             {:.3} us each",
            raw as u64 / done,
            counts.events,
            done as f64 / cpu,
            cpu / done as f64 * 1e6,
        );
    }

    let mut size = 0;
    for entry in std::fs::read_dir(dir.join("segments")).expect("is there") {
        size += entry.and_then(|entry| entry.metadata()).expect("a file").len();
    }
    println!("segments: {:.1} bytes per event", size as f64 / count as f64);

    let host: Text = "db-1.prod.example.net:27017".into();
    let all = Filter::all(Scope::Project(project), 100);
    let member = Targets::Members(vec![("orders".into(), host)]);
    let day = Filter { from: now.plus_seconds(86_400), ..all.clone() };
    let day = Filter { to: now.plus_seconds(2 * 86_400), targets: member, ..day };
    for (what, filter) in [
        ("newest 100, all", all.clone()),
        ("newest 20000, all", Filter { limit: 20_000, ..all.clone() }),
        ("newest 100 of a host in a day", day.clone()),
        ("the same, failed only", Filter { outcomes: vec![OutcomeKind::Failure], ..day }),
        (
            "a user that does not exist",
            Filter { principals: vec![PrincipalIs::User("nobody".into())], ..all },
        ),
    ] {
        for round in 0..2 {
            let start = cpu_seconds();
            let page = store.select(&filter).expect("answers");
            let took = (cpu_seconds() - start) * 1e3;
            println!("{what}, {round}: {} of {}, {took:.2} CPU-ms", page.rows.len(), page.total);
        }
    }
    drop(store);
    if kept.is_none() {
        std::fs::remove_dir_all(&dir).expect("is ours");
    }
}

/// User and system time of all threads.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").ok();
    // Of this thread only; the store starts none.
    let nanoseconds = text.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.expect("Linux") as f64 / 1e9
}

/// Logins as a mongod 7.0 logs them.
struct Generator {
    state: u64,
    at: Timestamp,
    number: u64,
    target: Target,
    mechanisms: [Text; 3],
    clients: Vec<Shared<Client>>,
    process_start: Timestamp,
}

impl Generator {
    fn new(at: Timestamp) -> Generator {
        let client = |n: usize| {
            Shared::from(Client {
                application: (!n.is_multiple_of(3)).then(|| format!("service-{n}").into()),
                driver: Some(["nodejs", "PyMongo", "mongo-go-driver"][n % 3].into()),
                driver_version: Some(format!("4.{n}.1").into()),
                os: Some("Linux, linux, x86_64, 5.15.0-1051-aws".into()),
                platform: Some("Node.js v18.17.1, LE".into()),
                ..Client::default()
            })
        };
        Generator {
            state: 42,
            at,
            number: 1000,
            target: Target::Host {
                cluster: "orders".into(),
                host: "db-1.prod.example.net:27017".into(),
            },
            mechanisms: ["SCRAM-SHA-256".into(), "SCRAM-SHA-1".into(), "MONGODB-X509".into()],
            clients: (0..40).map(client).collect(),
            process_start: at.plus_seconds(-86_400),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn next(&mut self) -> Access {
        self.at = self.at.plus_micros(1000 * (1 + self.random(600) as i64));
        self.number += 1 + self.random(3);
        let user = self.random(2000) * self.random(2000) / 2000;
        let address = self.random(5000) * self.random(5000) / 5000;
        let address = [10, (address >> 8) as u8, address as u8, 7];
        let port = 30_000 + self.random(31_000) as u16;
        let mechanism = self.mechanisms[(user % 3) as usize].clone();
        let fails = self.random(25) == 0;
        let (name, connection) = (format!("user_{user:04}"), self.number);
        let micros = (self.random(9000), self.random(400), self.random(97));
        let [a, b, c, d] = address;
        let (id, msg, result) = match fails {
            false => (5_286_306, "Successfully authenticated", 0),
            true => (5_286_307, "Failed to authenticate", 18),
        };
        let raw = format!(
            r#"{{"t":{{"$date":"{}+00:00"}},"s":"I","c":"ACCESS","id":{id},"ctx":"conn{connection}","svc":"-","msg":"{msg}","attr":{{"client":"{a}.{b}.{c}.{d}:{port}","isSpeculative":true,"isClusterMember":false,"mechanism":"{mechanism}","user":"{name}","db":"admin","result":{result},"metrics":{{"conversation_duration":{{"micros":{},"summary":{{"0":{{"step":1,"step_total":2,"duration_micros":{}}},"1":{{"step":2,"step_total":2,"duration_micros":{}}}}}}}}},"extraInfo":{{}}}}}}"#,
            self.at.to_string().trim_end_matches('Z'),
            micros.0,
            micros.1,
            micros.2,
        );
        Access {
            target: self.target.clone(),
            event_time: self.at,
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: match fails {
                false => Outcome::Success,
                true => Outcome::Failure {
                    reason: Some("AuthenticationFailed: storedKey mismatch".into()),
                    code: Some(18),
                },
            },
            principal: Principal::User { name: name.into(), database: "admin".into() },
            mechanism: Some(mechanism),
            peer: Peer::ip(address.into(), Some(port)),
            peer_joined: false,
            connection: Some(connection),
            process_start: Some(self.process_start),
            client: Some(self.clients[(user % 40) as usize].clone()),
            speculative: Some(true),
            classes: if user == 0 { Classes::NONE.with(Class::System) } else { Classes::NONE },
            attributes: Default::default(),
            raw: raw.into_bytes(),
            task_id: None,
        }
    }
}
