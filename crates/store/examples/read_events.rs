//! What answers cost: flat events of 200 hosts and 20,000 users, everything in segments, after a
//! restart, each set of parameters asked once.
//! `cargo run --release -p doorbook-store --example read_events -- [EVENTS] [DAYS] [DIR] [QUESTION]`
//!
//! Prints p50 and p99 of each question in process, and resident memory. A DIR that is named is kept,
//! and used as it is if it is there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use doorbook_event::record::Actor;
use doorbook_event::registry::{Cluster, Project, RegistryChange};
use doorbook_event::time::{CountingRandom, ManualClock};
use doorbook_event::{
    Access, Action, Classes, Client, Outcome, Peer, Principal, ProjectId, Scope, Shared, Target,
    Text, Timestamp, WrittenTime,
};
use doorbook_store::disk::SystemDisk;
use doorbook_store::filter::{OutcomeKind, PeerIs, PrincipalIs, Targets};
use doorbook_store::{Dimension, Filter, ImportBatch, ImportEnd, ImportStart, Options, Store};

const BEGIN: Timestamp = Timestamp::from_seconds(1_790_000_000);
const PROJECT: ProjectId = ProjectId::new([7; 12]);
const BATCH: u64 = 2_000_000;
const DAY: i64 = 86_400;
const HOSTS: u64 = 200;
const USERS: u64 = 20_000;
const ADDRESSES: u64 = 5_000;
const ROUNDS: u64 = 60;

#[expect(clippy::disallowed_methods, reason = "measures the time by the real clock")]
fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().map_or(2_000_000, |text| text.parse().expect("a number"));
    let days: i64 = arguments.next().map_or(30, |text| text.parse().expect("a number"));
    let kept = arguments.next().map(PathBuf::from);
    let only = arguments.next().unwrap_or_default();
    let temporary = || std::env::temp_dir().join(format!("read_events-{}", std::process::id()));
    let dir = kept.clone().unwrap_or_else(temporary);
    if !dir.exists() {
        write(&dir, count, days);
    }
    let store = open(&dir);
    println!("{count} events of {days} days; resident {} MB", resident_megabytes());
    let mut random = Generator::new(99, days, count);
    for question in QUESTIONS.into_iter().filter(|question| question.name().contains(&only)) {
        let mut took = Vec::new();
        let (mut rows, mut cpu) = (0, Vec::new());
        let all_before = process_cpu_milliseconds();
        for round in 0..ROUNDS {
            let filter = question.filter(&mut random, round, days);
            let (start, before) = (Instant::now(), cpu_milliseconds());
            rows += question.ask(&store, &filter);
            took.push(start.elapsed().as_secs_f64() * 1e3);
            cpu.push(cpu_milliseconds() - before);
        }
        let all_cpu = (process_cpu_milliseconds() - all_before) / ROUNDS as f64;
        let first = took[0];
        took.sort_by(f64::total_cmp);
        cpu.sort_by(f64::total_cmp);
        println!(
            "{:44} first {first:7.2}  p50 {:7.3}  p99 {:7.3} ms  CPU {:7.3}, mean of all threads {all_cpu:7.3} ms  {} rows  resident {} MB",
            question.name(),
            took[took.len() / 2],
            took[took.len() - 1],
            cpu[cpu.len() / 2],
            rows / ROUNDS,
            resident_megabytes(),
        );
    }
    if RECORD.contains(&only) {
        records_by_place(&store, count, &mut random);
    }
    drop(store);
    if kept.is_none() {
        std::fs::remove_dir_all(&dir).expect("is ours");
    }
}

const RECORD: &str = "a record by its place";

#[expect(clippy::disallowed_methods, reason = "measures the time by the real clock")]
fn records_by_place(store: &Store, count: u64, random: &mut Generator) {
    let scope = Scope::Project(PROJECT);
    let page = store.select(&Filter::all(scope.clone(), 0)).expect("answers");
    let (log, _) = page.as_of[0];
    let mut took = Vec::new();
    let (mut found, before) = (0, process_cpu_milliseconds());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let record = store.get(&scope, log, random.below(count)).expect("answers");
        took.push(start.elapsed().as_secs_f64() * 1e3);
        found += u64::from(record.is_some());
    }
    let cpu = (process_cpu_milliseconds() - before) / ROUNDS as f64;
    took.sort_by(f64::total_cmp);
    let (p50, p99) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "{RECORD:44} p50 {p50:7.3}  p99 {p99:7.3} ms  mean CPU of all threads {cpu:7.3} ms  {found} found"
    );
}

fn open(dir: &Path) -> Store {
    Store::open(Options {
        data_dir: dir.to_owned(),
        clock: Arc::new(ManualClock::new(BEGIN)),
        random: Arc::new(CountingRandom::default()),
        disk: Arc::new(SystemDisk),
        memtable_size_bytes: 48 << 20,
        reserve_size_bytes: 0,
        cache_size_bytes: Options::CACHE_SIZE_BYTES,
        background: false,
        queue_size_bytes: Options::QUEUE_SIZE_BYTES,
        wait_max: Options::WAIT_MAX,
    })
    .expect("opens")
}

fn write(dir: &Path, count: u64, days: i64) {
    let store = open(dir);
    let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
    let project = Project { id: PROJECT, name: "p".into(), created: BEGIN };
    let cluster = Cluster { project: PROJECT, name: "c-00".into(), created: BEGIN };
    let changes =
        vec![RegistryChange::ProjectCreated(project), RegistryChange::ClusterCreated(cluster)];
    store.change_registry(&by, changes).expect("a new project");
    let start = ImportStart {
        by,
        project: PROJECT,
        cluster: "c-00".into(),
        host: None,
        source: "flat".into(),
    };
    let id = store.begin_import(start).expect("begins");
    let mut generator = Generator::new(42, days, count);
    let mut done = 0;
    while done < count {
        let accesses: Vec<Access> =
            (0..BATCH.min(count - done)).map(|_| generator.next()).collect();
        done += accesses.len() as u64;
        store.import(&id, ImportBatch { accesses, ..ImportBatch::default() }).expect("imports");
    }
    let end = ImportEnd { complete: true, files: vec![], lines: done, unknown_ids: vec![] };
    store.end_import(&id, end).expect("ends");
    store.close().expect("closes");
}

#[derive(Clone, Copy)]
enum Question {
    Host,
    Cluster,
    Failed,
    FailedFrom,
    Page,
    PageOfAll,
    Hourly,
    TopFailing,
    User,
    RareUser,
    Nobody,
    Raw,
}

const QUESTIONS: [Question; 12] = [
    Question::Host,
    Question::Cluster,
    Question::Failed,
    Question::FailedFrom,
    Question::Page,
    Question::PageOfAll,
    Question::Hourly,
    Question::TopFailing,
    Question::User,
    Question::RareUser,
    Question::Nobody,
    Question::Raw,
];

impl Question {
    fn name(self) -> &'static str {
        match self {
            Question::Host => "newest 100 of a host, 24 h",
            Question::Cluster => "newest 100 of a cluster of 12, 7 d",
            Question::Failed => "host + failed, 24 h",
            Question::FailedFrom => "host + failed + address, 24 h",
            Question::Page => "newest 20,000 of a cluster",
            Question::PageOfAll => "newest 20,000 of all",
            Question::Hourly => "per hour by outcome, host, 7 d",
            Question::TopFailing => "top 10 users by failures, all, 30 d",
            Question::User => "newest 100 of a user, all, 30 d",
            Question::RareUser => "newest 100 of a rare user, all, 30 d",
            Question::Nobody => "a user that does not exist",
            Question::Raw => "host + text in the raw record, 24 h",
        }
    }

    fn filter(self, random: &mut Generator, round: u64, days: i64) -> Filter {
        let span = match self {
            Question::Host | Question::Failed | Question::FailedFrom | Question::Raw => DAY,
            Question::Cluster | Question::Hourly => 7 * DAY,
            _ => 30 * DAY,
        };
        let latest = (days * DAY - span).max(1) as u64;
        let from = BEGIN.plus_seconds(random.below(latest) as i64);
        let host = random.zipf(HOSTS);
        let all = Filter::all(Scope::Project(PROJECT), 100);
        let all = Filter { from, to: from.plus_seconds(span), ..all };
        let of_host = Filter { targets: Targets::Members(vec![names(host)]), ..all.clone() };
        let failed = Filter { outcomes: vec![OutcomeKind::Failure], ..of_host.clone() };
        let user = |n: u64| vec![PrincipalIs::User(user(n).into())];
        match self {
            Question::Host | Question::Hourly => of_host,
            Question::Cluster => Filter { targets: Targets::Group(names(host).0), ..all },
            Question::Failed => failed,
            Question::FailedFrom => {
                let address = address(random.zipf(ADDRESSES));
                Filter { peers: vec![PeerIs::exactly(address.into())], ..failed }
            }
            Question::Page => {
                Filter { targets: Targets::Group(names(host).0), limit: 20_000, ..all }
            }
            Question::PageOfAll => Filter { limit: 20_000, ..all },
            Question::TopFailing => Filter { outcomes: vec![OutcomeKind::Failure], ..all },
            Question::User => Filter { principals: user(random.zipf(USERS)), ..all },
            Question::RareUser => Filter { principals: user(USERS - 1 - round), ..all },
            Question::Nobody => Filter {
                principals: vec![PrincipalIs::User(format!("nobody-{round}").into())],
                ..all
            },
            Question::Raw => Filter { raw_contains: vec!["9999".into()], ..of_host },
        }
    }

    fn ask(self, store: &Store, filter: &Filter) -> u64 {
        match self {
            Question::Hourly => {
                store.histogram(filter, 3_600_000_000).expect("answers").bars.len() as u64
            }
            Question::TopFailing => {
                store.top(filter, Dimension::Principal, 10).expect("answers").values.len() as u64
            }
            _ => store.select(filter).expect("answers").rows.len() as u64,
        }
    }
}

fn names(host: u64) -> (Text, Text) {
    (format!("c-{:02}", host % 17).into(), format!("db-{host:03}.prod.example.net:27017").into())
}

fn user(n: u64) -> Text {
    format!("user-{n:05}").into()
}

fn address(n: u64) -> [u8; 4] {
    [10, (n % 16) as u8, (n >> 4) as u8, (n * 7 % 251) as u8]
}

/// Logins of many hosts in the order of their times, failures in bursts and between them.
struct Generator {
    state: u64,
    at: Timestamp,
    step_micros: u64,
    number: u64,
    burst: (u64, u64, u64),
    targets: Vec<Target>,
    users: Vec<Text>,
    databases: [Text; 3],
    mechanisms: [Text; 3],
    clients: Vec<Shared<Client>>,
}

impl Generator {
    fn new(seed: u64, days: i64, count: u64) -> Generator {
        let client = |n: u64| {
            Shared::from(Client {
                application: Some(format!("service-{n}").into()),
                ..Client::default()
            })
        };
        let target = |host| {
            let (cluster, host) = names(host);
            Target::Host { cluster, host }
        };
        Generator {
            state: seed,
            at: BEGIN,
            step_micros: 2 * days as u64 * DAY as u64 * 1_000_000 / count,
            number: 1000,
            burst: (0, 0, 0),
            targets: (0..HOSTS).map(target).collect(),
            users: (0..USERS).map(user).collect(),
            databases: ["admin".into(), "orders".into(), "$external".into()],
            mechanisms: ["SCRAM-SHA-256".into(), "SCRAM-SHA-1".into(), "MONGODB-X509".into()],
            clients: (0..6).map(client).collect(),
        }
    }

    fn below(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    /// About as frequent as one over its rank.
    fn zipf(&mut self, below: u64) -> u64 {
        let unit = self.below(1 << 32) as f64 / (1_u64 << 32) as f64;
        ((below as f64 + 1.0).powf(unit) as u64 - 1).min(below - 1)
    }

    fn next(&mut self) -> Access {
        let step = self.below(self.step_micros);
        self.at = Timestamp::from_millis(self.at.plus_micros(step as i64).millis());
        self.number += 1;
        if self.below(60_000) == 0 {
            self.burst = (3000, self.zipf(HOSTS), self.below(ADDRESSES));
        }
        let in_burst = self.burst.0 > 0 && self.below(3) == 0;
        let (host, user, address) = match in_burst {
            true => {
                self.burst.0 -= 1;
                (self.burst.1, self.below(44), self.burst.2)
            }
            false => {
                let user = self.zipf(USERS);
                (self.zipf(HOSTS), user, (user * 7 + self.zipf(64) * 41) % ADDRESSES)
            }
        };
        let fails = in_burst || self.below(25) == 0;
        let reason = "AuthenticationFailed: SCRAM authentication failed, storedKey mismatch";
        Access {
            target: self.targets[host as usize].clone(),
            event_time: self.at,
            written_time: WrittenTime::Complete,
            action: Action::Authenticate,
            outcome: match fails {
                false => Outcome::Success,
                true => Outcome::Failure { reason: Some(reason.into()), code: Some(18) },
            },
            principal: Principal::User {
                name: self.users[user as usize].clone(),
                database: self.databases[(self.number % 3) as usize].clone(),
            },
            mechanism: Some(self.mechanisms[self.below(3) as usize].clone()),
            peer: Peer::ip(self::address(address).into(), Some(1024 + self.below(64_000) as u16)),
            peer_joined: false,
            connection: Some(self.number),
            process_start: None,
            client: Some(self.clients[self.number as usize % 6].clone()),
            speculative: None,
            classes: Classes::NONE,
            attributes: Default::default(),
            raw: Vec::new(),
            task_id: None,
        }
    }
}

/// Of the thread that asks, without those that help it.
fn cpu_milliseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = text.split(' ').next().and_then(|text| text.parse::<u64>().ok());
    nanoseconds.expect("a number") as f64 / 1e6
}

/// Of all threads, also of those that have ended; in steps of 10 ms.
fn process_cpu_milliseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    // User and system time, after the name in parentheses, which may hold anything.
    let fields = text.rsplit(')').next().expect("a part").split_whitespace();
    let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
    ticks.sum::<u64>() as f64 * 10.0
}

fn resident_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("is there");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number") / 1024
}
