//! What segments and their compaction cost: CPU time a row, and bytes an event, column by column.
//! `cargo run --release -p doorbook-store --example compact_events -- [flat|raw] [EVENTS] [BATCH] [DIR]`
//!
//! `flat`: events of 200 hosts with twelve columns and no raw record; `raw`: the same with a line of
//! some 477 bytes. A DIR that is named must be new, and is kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use doorbook_event::record::Actor;
use doorbook_event::registry::{Cluster, Project, RegistryChange};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Classes, Client, Outcome, Peer, Principal, ProjectId, Scope, Shared, Target,
    Text, Timestamp, WrittenTime,
};
use doorbook_store::disk::SystemDisk;
use doorbook_store::{Filter, ImportBatch, ImportEnd, ImportStart, Options, Store};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let has_raw = arguments.next().is_some_and(|word| word == "raw");
    let count: u64 = arguments.next().map_or(2_000_000, |text| text.parse().expect("a number"));
    let batch: u64 = arguments.next().map_or(128 << 10, |text| text.parse().expect("a number"));
    let kept = arguments.next().map(PathBuf::from);
    let temporary = || std::env::temp_dir().join(format!("compact_events-{}", std::process::id()));
    let dir = kept.clone().unwrap_or_else(temporary);
    let now = Timestamp::from_seconds(1_790_000_000);
    let clock = Arc::new(ManualClock::new(now));
    let store = Store::open(Options {
        data_dir: dir.clone(),
        clock: clock.clone(),
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
        RegistryChange::ClusterCreated(Cluster { project, name: "shop".into(), created: now }),
    ];
    store.change_registry(&by, changes).expect("a new project");
    let start =
        ImportStart { by, project, cluster: "shop".into(), host: None, source: "ndjson".into() };
    let id = store.begin_import(start).expect("begins");
    let mut generator = Generator::new(now, count, has_raw);
    let (mut cpu, mut done) = (0.0, 0);
    while done < count {
        let size = batch.min(count - done);
        let accesses = (0..size).map(|_| generator.next()).collect();
        done += size;
        // 2 ms a batch of 1000.
        clock.set(now.plus_micros((done * 2) as i64));
        let before = cpu_seconds();
        store.import(&id, ImportBatch { accesses, ..ImportBatch::default() }).expect("imports");
        cpu += cpu_seconds() - before;
    }
    let end = ImportEnd { complete: true, files: vec![], lines: done, unknown_ids: vec![] };
    store.end_import(&id, end).expect("ends");
    println!("stored {count} events: {cpu:.2} CPU-s, {:.3} us each", cpu / count as f64 * 1e6);
    print_sizes(&dir, count, false);
    loop {
        let before = (cpu_seconds(), peak_memory());
        if !store.compact_once().expect("compacts") {
            break;
        }
        let took = cpu_seconds() - before.0;
        println!(
            "compacted: {took:.2} CPU-s, {:.3} us for each of all events; memory at most {} kB, {} before",
            took / count as f64 * 1e6,
            peak_memory(),
            before.1,
        );
    }
    print_sizes(&dir, count, true);
    let total = store.select(&Filter::all(Scope::Project(project), 1)).expect("answers").total;
    assert_eq!(total, count);
    drop(store);
    if kept.is_none() {
        std::fs::remove_dir_all(&dir).expect("is ours");
    }
}

fn print_sizes(dir: &Path, count: u64, each: bool) {
    let (mut size, mut files) = (0, 0);
    let mut columns: BTreeMap<String, (i64, usize)> = BTreeMap::new();
    for entry in std::fs::read_dir(dir.join("segments")).expect("is there") {
        let path = entry.expect("a file").path();
        let file = std::fs::File::open(&path).expect("opens");
        size += file.metadata().expect("a file").len();
        files += 1;
        let options = parquet::file::serialized_reader::ReadOptionsBuilder::new().with_page_index();
        let reader = SerializedFileReader::new_with_options(file, options.build()).expect("reads");
        for column in reader.metadata().row_group(0).columns() {
            let known = columns.entry(column.column_path().string()).or_default();
            known.0 += column.compressed_size();
            known.1 += column.bloom_filter_length().unwrap_or(0) as usize;
        }
    }
    println!("{files} files, {:.2} bytes an event", size as f64 / count as f64);
    let pages: i64 = columns.values().map(|(size, _)| size).sum();
    let blooms: usize = columns.values().map(|(_, size)| size).sum();
    let per = |size: i64| size as f64 / count as f64;
    println!(
        "  pages {:.2}, Bloom filters {:.3}, index and footer {:.3}",
        per(pages),
        per(blooms as i64),
        per(size as i64 - pages - blooms as i64)
    );
    for (name, (size, _)) in columns.iter().filter(|(_, (size, _))| each && per(*size) >= 0.005) {
        println!("  {name}: {:.3}", per(*size));
    }
}

/// User and system time of this thread; the store starts none here.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanoseconds = text.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    nanoseconds.expect("Linux") as f64 / 1e9
}

fn peak_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
}

/// Logins at 200 hosts, the first of which has a fifth of them, over thirty days.
struct Generator {
    state: u64,
    at: i64,
    gap: u64,
    number: u64,
    has_raw: bool,
    hosts: Vec<Target>,
    host_ends: Vec<u64>,
    users: Vec<Text>,
    user_ends: Vec<u64>,
    databases: Vec<Text>,
    mechanisms: [Text; 3],
    clients: Vec<Shared<Client>>,
}

fn zipf(count: usize, exponent: f64) -> Vec<u64> {
    let weights = (1..=count).map(|n| 1e12 / (n as f64).powf(exponent));
    let sums = weights.scan(0, |sum, weight| {
        *sum += weight as u64;
        Some(*sum)
    });
    sums.collect()
}

impl Generator {
    fn new(at: Timestamp, count: u64, has_raw: bool) -> Generator {
        let host = |n: usize| Target::Host {
            cluster: "shop".into(),
            host: format!("db-{n:03}.prod.example.net:27017").into(),
        };
        let client = |n: usize| {
            let names = ["nodejs", "mongosh 2.5.9", "orders-api", "billing", "collector", "oplog"];
            Shared::from(Client { application: Some(names[n].into()), ..Client::default() })
        };
        Generator {
            state: 42,
            at: at.micros() / 1000 - 30 * 86_400_000,
            gap: 2 * 30 * 86_400_000 / count,
            number: 1000,
            has_raw,
            hosts: (0..200).map(host).collect(),
            host_ends: zipf(200, 1.1),
            users: (0..20_000).map(|n| format!("user-{n:05}").into()).collect(),
            user_ends: zipf(20_000, 1.1),
            databases: ["admin", "orders", "billing", "$external"].map(Text::from).into(),
            mechanisms: ["SCRAM-SHA-256".into(), "SCRAM-SHA-1".into(), "MONGODB-X509".into()],
            clients: (0..6).map(client).collect(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    fn pick(&mut self, ends: fn(&Generator) -> &Vec<u64>) -> usize {
        let total = *ends(self).last().expect("not empty");
        let at = self.random(total);
        ends(self).partition_point(|end| *end <= at)
    }

    fn next(&mut self) -> Access {
        self.at += self.random(self.gap.max(1)) as i64;
        self.number += 1;
        let host = self.pick(|own| &own.host_ends);
        let user = self.pick(|own| &own.user_ends);
        let address = (user * 7 + (self.random(64) * self.random(64) / 64 * 41) as usize) % 5000;
        let peer = [10, (address % 16) as u8, (address >> 8) as u8, address as u8];
        let port = 1024 + self.random(64_000) as u16;
        let fails = self.random(25) == 0;
        let (database, mechanism) = (self.random(6), self.random(5));
        let database = self.databases[database.saturating_sub(2) as usize].clone();
        let mechanism = self.mechanisms[mechanism.saturating_sub(2) as usize].clone();
        let micros = 300 + self.random(40_000);
        let reason = match self.random(10) {
            0..7 => "AuthenticationFailed: SCRAM authentication failed, storedKey mismatch".into(),
            7..9 => format!("UserNotFound: Could not find user \"{}\"", self.users[user]).into(),
            _ => Text::from("AuthenticationAbandoned: client has likely disconnected"),
        };
        let client = self.random(6) as usize;
        let raw = match self.has_raw {
            false => Vec::new(),
            true => self.line(user, peer, port, fails, &mechanism, &database, micros),
        };
        Access {
            target: self.hosts[host].clone(),
            event_time: Timestamp::from_micros(self.at * 1000),
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: match fails {
                false => Outcome::Success,
                true => Outcome::Failure { reason: Some(reason), code: None },
            },
            principal: Principal::User { name: self.users[user].clone(), database },
            mechanism: Some(mechanism),
            peer: Peer::ip(peer.into(), Some(port)),
            peer_joined: false,
            connection: Some(self.number),
            process_start: None,
            client: Some(self.clients[client].clone()),
            speculative: None,
            classes: Classes::NONE,
            attributes: [("micros".into(), micros.to_string().into())].into(),
            raw,
            task_id: None,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a line")]
    fn line(
        &mut self,
        user: usize,
        peer: [u8; 4],
        port: u16,
        fails: bool,
        mechanism: &str,
        database: &str,
        micros: u64,
    ) -> Vec<u8> {
        let at = Timestamp::from_micros(self.at * 1000).to_string();
        let [a, b, c, d] = peer;
        let (id, msg, result) = match fails {
            false => (5_286_306, "Successfully authenticated", 0),
            true => (5_286_307, "Failed to authenticate", 18),
        };
        let (number, name) = (self.number, &self.users[user]);
        let (one, two) = (micros / 3, micros / 9);
        format!(
            r#"{{"t":{{"$date":"{}+00:00"}},"s":"I",  "c":"ACCESS",   "id":{id}, "svc":"-", "ctx":"conn{number}","msg":"{msg}","attr":{{"client":"{a}.{b}.{c}.{d}:{port}","isSpeculative":true,"isClusterMember":false,"mechanism":"{mechanism}","user":"{name}","db":"{database}","result":{result},"metrics":{{"conversation_duration":{{"micros":{micros},"summary":{{"0":{{"step":1,"step_total":2,"duration_micros":{one}}},"1":{{"step":2,"step_total":2,"duration_micros":{two}}}}}}}}},"extraInfo":{{}}}}}}"#,
            at.trim_end_matches('Z'),
        )
        .into_bytes()
    }
}
