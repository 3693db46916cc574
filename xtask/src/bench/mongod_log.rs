//! One server's log, made up: the same number of lines and seed give the same bytes.
//!
//! The mixture is that of a busy application server. A connection is accepted, says what client it
//! is, logs in, sometimes does something slow, and ends; thousands overlap. The server is upgraded
//! four times on the way, so that five generations of message shapes follow each other, each after a
//! restart with connection numbers from 1. Planted in between is what a reader may trip over: an
//! authentication's id inside a slow query's text, failures logged twice, the cluster's own
//! `__system`, IPv6, quotes in names, lines cut short, blank, of another generation, or without a
//! readable time.

use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::io::{self, Write};

use super::random::{Random, Zipf};
use super::time::time;

/// How many there are of what a reader has to find.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    pub lines: u64,
    pub size_bytes: u64,
    pub successes: u64,
    pub failures: u64,
}

impl Counts {
    /// Authentication lines.
    pub fn events(&self) -> u64 {
        self.successes + self.failures
    }
}

/// Writes a log of exactly so many lines.
pub fn write(lines: u64, seed: u64, out: &mut impl Write) -> io::Result<Counts> {
    let mut generator = Generator::new(lines, seed);
    let mut counts = Counts::default();
    while counts.lines < lines {
        generator.step();
        while counts.lines < lines
            && let Some(line) = generator.due()
        {
            out.write_all(line.text.as_bytes())?;
            counts.lines += 1;
            counts.size_bytes += line.text.len() as u64;
            match line.outcome {
                Some(true) => counts.successes += 1,
                Some(false) => counts.failures += 1,
                None => {}
            }
        }
    }
    Ok(counts)
}

/// The generations of message shapes.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Generation {
    V4_4,
    V5_0,
    V6_0,
    V7_0,
    V8_0,
}

const GENERATIONS: [(Generation, &str); 5] = [
    (Generation::V4_4, "4.4.2"),
    (Generation::V5_0, "5.0.4"),
    (Generation::V6_0, "6.0.5"),
    (Generation::V7_0, "7.0.11"),
    (Generation::V8_0, "8.0.16"),
];

/// 2026-10-20T00:00:00Z in milliseconds.
const START_MS: u64 = 1_792_454_400_000;
/// A connection every 11 s on average, so that a million lines are 30 days.
const BETWEEN_CONNECTIONS_MS: u64 = 11_500;
/// Lines that a connection brings on average, by the shares below.
const LINES_PER_CONNECTION: f64 = 4.6;

const SHARE_FAILING: f64 = 0.04;
const SHARE_FAILING_IN_A_BURST: f64 = 0.97;
const SHARE_OF_BURSTS: f64 = 0.02;
const SHARE_LOGGED_TWICE: f64 = 0.3;
const SHARE_INTERNAL: f64 = 0.03;
const SHARE_WITHOUT_LOGIN: f64 = 0.02;
const SHARE_WITH_OTHER_LINE: f64 = 0.55;
const CONNECTIONS_IN_A_BURST: u64 = 500;

/// Name, version, platform, application. One application has a quote in its name.
const DRIVERS: [(&str, &str, &str, &str); 6] = [
    ("nodejs", "6.3.0", "Node.js v20.11.1, LE", "storefront"),
    ("nodejs|mongosh", "6.19.0|2.5.9", "Node.js v20.19.5, LE", "mongosh 2.5.9"),
    ("PyMongo", "4.6.1", "CPython 3.11.7.final.0", "orders-api"),
    (
        "mongo-java-driver|sync",
        "4.11.1",
        "Java/Eclipse Adoptium/17.0.9+9",
        r#"the \"new\" billing"#,
    ),
    ("mongo-go-driver", "1.13.1", "go1.21.5", "collector"),
    ("NetworkInterfaceTL", "7.0.5", "", "OplogFetcher"),
];
const MECHANISMS: [&str; 5] =
    ["SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-1", "MONGODB-X509"];
const DATABASES: [&str; 6] = ["admin", "admin", "admin", "orders", "billing", "$external"];

struct Line {
    at_ms: u64,
    serial: u64,
    text: String,
    /// Of an authentication: whether it succeeded.
    outcome: Option<bool>,
}

// The heap gives the earliest line first; lines of one millisecond in the order they were made.
impl Ord for Line {
    fn cmp(&self, other: &Line) -> std::cmp::Ordering {
        (other.at_ms, other.serial).cmp(&(self.at_ms, self.serial))
    }
}
impl PartialOrd for Line {
    fn partial_cmp(&self, other: &Line) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Line {
    fn eq(&self, other: &Line) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Line {}

struct Generator {
    random: Random,
    users: Vec<String>,
    user_shares: Zipf,
    address_shares: Zipf,
    pending: BinaryHeap<Line>,
    serial: u64,
    now_ms: u64,
    /// Connections in a process' life.
    per_generation: u64,
    made: u64,
    in_burst: bool,
}

/// One connection, with what its lines share.
struct Connection {
    number: u64,
    start_ms: u64,
    generation: Generation,
    remote: String,
    uuid: String,
    document: String,
    application: &'static str,
}

impl Generator {
    fn new(lines: u64, seed: u64) -> Generator {
        let connections = (lines as f64 / LINES_PER_CONNECTION) as u64;
        Generator {
            random: Random::new(seed),
            users: users(),
            user_shares: Zipf::new(2000, 1.1),
            address_shares: Zipf::new(64, 1.2),
            pending: BinaryHeap::new(),
            serial: 0,
            now_ms: START_MS,
            per_generation: (connections / GENERATIONS.len() as u64).max(1),
            made: 0,
            in_burst: false,
        }
    }

    /// The next line that nothing later can come before.
    fn due(&mut self) -> Option<Line> {
        if self.pending.peek()?.at_ms > self.now_ms {
            return None;
        }
        self.pending.pop()
    }

    /// Makes the next connection with all its lines.
    fn step(&mut self) {
        let index = ((self.made / self.per_generation) as usize).min(GENERATIONS.len() - 1);
        let (generation, version) = GENERATIONS[index];
        let first_of_generation = index as u64 * self.per_generation;
        if self.made == first_of_generation {
            self.restart(version);
        }
        if self.made.is_multiple_of(CONNECTIONS_IN_A_BURST) {
            self.in_burst = self.random.share(SHARE_OF_BURSTS);
        }
        self.now_ms += 1 + self.random.below(2 * BETWEEN_CONNECTIONS_MS);
        let number = self.made - first_of_generation + 1;
        self.made += 1;
        self.connection(number, generation);
    }

    fn restart(&mut self, version: &str) {
        // The old process' connections end with it, and nobody writes that down.
        self.pending.clear();
        let at = self.now_ms;
        self.push(at, "CONTROL", 20698, "", "-", "***** SERVER RESTARTED *****", "{}", None);
        let start = r#"{"pid":4711,"port":27017,"dbPath":"/var/lib/mongodb","architecture":"64-bit","host":"db-000"}"#;
        self.push(at, "CONTROL", 4_615_611, "", "initandlisten", "MongoDB starting", start, None);
        let build = format!(
            r#"{{"buildInfo":{{"version":"{version}","gitVersion":"0123456789abcdef","modules":[]}}}}"#
        );
        self.push(at, "CONTROL", 23403, "", "initandlisten", "Build Info", &build, None);
    }

    fn connection(&mut self, number: u64, generation: Generation) {
        let user = if self.in_burst { 40 } else { self.user_shares.draw(&mut self.random) };
        // A person comes from few addresses, a guesser from one.
        let address = if self.in_burst {
            4321
        } else {
            user * 7 + self.address_shares.draw(&mut self.random) * 41
        };
        let (driver, driver_version, platform, application) =
            DRIVERS[self.random.below(DRIVERS.len() as u64) as usize];
        let mut document = format!(
            r#"{{"application":{{"name":"{application}"}},"driver":{{"name":"{driver}","version":"{driver_version}"}},"os":{{"type":"Linux","name":"linux","architecture":"x64","version":"5.15.0-91-generic"}}"#
        );
        if !platform.is_empty() {
            let _ = write!(document, r#","platform":"{platform}""#);
        }
        document.push('}');
        let (high, low) = (self.random.next(), self.random.next());
        let connection = Connection {
            number,
            start_ms: self.now_ms,
            generation,
            remote: remote(address % 5000, 1024 + self.random.below(64_000)),
            uuid: format!(
                "{:08x}-{:04x}-4{:03x}-8a1c-{:012x}",
                high >> 32,
                (high >> 16) & 0xffff,
                high & 0xfff,
                low & 0xffff_ffff_ffff
            ),
            document,
            application,
        };
        self.accepted_and_ended(&connection);
        self.metadata(&connection);
        if !self.random.share(SHARE_WITHOUT_LOGIN) {
            self.login(&connection, user);
        }
        if self.random.share(SHARE_WITH_OTHER_LINE) {
            self.other_line(&connection);
        }
    }

    fn accepted_and_ended(&mut self, connection: &Connection) {
        let balanced = if connection.generation >= Generation::V7_0 {
            r#""isLoadBalanced":false,"#
        } else {
            ""
        };
        let uuid = match connection.generation {
            Generation::V4_4 => String::new(),
            Generation::V5_0 => format!(r#""uuid":"{}","#, connection.uuid),
            _ => format!(r#""uuid":{{"uuid":{{"$uuid":"{}"}}}},"#, connection.uuid),
        };
        let attributes = format!(
            r#"{{"remote":"{}",{balanced}{uuid}"connectionId":{},"connectionCount":{}}}"#,
            connection.remote,
            connection.number,
            200 + connection.number % 90
        );
        let start = connection.start_ms;
        let svc = svc(connection);
        self.push(
            start,
            "NETWORK",
            22943,
            svc,
            "listener",
            "Connection accepted",
            &attributes,
            None,
        );
        // From a tenth of a second to hours, most of them short.
        let life_ms = 60 + (2f64.powf(7.0 + 12.0 * self.random.unit().powi(2))) as u64;
        let context = context(connection);
        self.push(
            start + life_ms,
            "NETWORK",
            22944,
            svc,
            &context,
            "Connection ended",
            &attributes,
            None,
        );
    }

    fn metadata(&mut self, connection: &Connection) {
        let compressors = if connection.generation >= Generation::V6_0 {
            r#""negotiatedCompressors":[],"#
        } else {
            ""
        };
        let context = context(connection);
        let attributes = format!(
            r#"{{"remote":"{}","client":"{context}",{compressors}"doc":{}}}"#,
            connection.remote, connection.document
        );
        let at = connection.start_ms + 2;
        self.push(
            at,
            "NETWORK",
            51800,
            svc(connection),
            &context,
            "client metadata",
            &attributes,
            None,
        );
    }

    fn login(&mut self, connection: &Connection, user: u64) {
        let fails =
            self.random.share(if self.in_burst { SHARE_FAILING_IN_A_BURST } else { SHARE_FAILING });
        let internal = !self.in_burst && self.random.share(SHARE_INTERNAL);
        let name = self.users[user as usize % self.users.len()].clone();
        let (user, database, mechanism) = if internal {
            ("__system".to_string(), "local", "SCRAM-SHA-256")
        } else {
            let database = DATABASES[self.random.below(DATABASES.len() as u64) as usize];
            let mechanism = MECHANISMS[self.random.below(MECHANISMS.len() as u64) as usize];
            (name, database, mechanism)
        };
        let reason = match self.random.below(20) {
            0..14 => ("AuthenticationFailed: SCRAM authentication failed, storedKey mismatch".into(), 18),
            14..19 => {
                (format!(r#"UserNotFound: Could not find user \"{user}\" for db \"{database}\""#), 11)
            }
            _ => (
                "AuthenticationAbandoned: Authentication session abandoned, client has likely disconnected"
                    .into(),
                337,
            ),
        };
        let micros = 300 + self.random.below(40_000);
        let at = connection.start_ms + 3 + micros / 1000;
        let twice = fails && self.random.share(SHARE_LOGGED_TWICE);
        let login = Login { user: &user, database, mechanism, internal, micros };
        let failure = fails.then_some(&reason);
        let speculative = twice || self.random.share(0.8);
        self.login_line(connection, at, &login, failure, speculative);
        if twice {
            self.login_line(connection, at, &login, failure, false);
        }
    }

    fn login_line(
        &mut self,
        connection: &Connection,
        at: u64,
        login: &Login,
        failure: Option<&(String, i32)>,
        speculative: bool,
    ) {
        let Login { user, database, mechanism, internal, micros } = *login;
        let remote = &connection.remote;
        let ok = failure.is_none();
        let (id, message, attributes) = match connection.generation {
            Generation::V4_4 => {
                let mut attributes = format!(
                    r#"{{"mechanism":"{mechanism}","principalName":"{user}","authenticationDatabase":"{database}","client":"{remote}""#
                );
                if let Some((reason, _)) = failure {
                    let _ = write!(attributes, r#","result":"{reason}""#);
                }
                attributes.push('}');
                let message =
                    if ok { "Successful authentication" } else { "Authentication failed" };
                (if ok { 20250 } else { 20249 }, message, attributes)
            }
            Generation::V5_0 => {
                let mut attributes = format!(
                    r#"{{"mechanism":"{mechanism}","speculative":{speculative},"principalName":"{user}","authenticationDatabase":"{database}","remote":"{remote}","extraInfo":{{}}"#
                );
                if let Some((reason, _)) = failure {
                    let _ = write!(attributes, r#","error":"{reason}""#);
                }
                attributes.push('}');
                let message = if ok { "Authentication succeeded" } else { "Authentication failed" };
                (if ok { 20250 } else { 20249 }, message, attributes)
            }
            _ => {
                let result = match failure {
                    Some((reason, code)) => format!(r#""error":"{reason}","result":{code}"#),
                    None => r#""result":0"#.to_string(),
                };
                let document = if connection.generation >= Generation::V7_0 {
                    format!(r#""doc":{},"#, connection.document)
                } else {
                    String::new()
                };
                let attributes = format!(
                    r#"{{"client":"{remote}","isSpeculative":{speculative},"isClusterMember":{internal},"mechanism":"{mechanism}","user":"{user}","db":"{database}",{result},"metrics":{{"conversation_duration":{{"micros":{micros},"summary":{{"0":{{"step":1,"step_total":2,"duration_micros":{}}},"1":{{"step":2,"step_total":2,"duration_micros":{}}}}}}}}},{document}"extraInfo":{{}}}}"#,
                    micros / 3,
                    micros / 9
                );
                let message =
                    if ok { "Successfully authenticated" } else { "Failed to authenticate" };
                (if ok { 5_286_306 } else { 5_286_307 }, message, attributes)
            }
        };
        let context = context(connection);
        self.push(at, "ACCESS", id, svc(connection), &context, message, &attributes, Some(ok));
    }

    /// What is in a log besides connections, and the lines that are broken.
    fn other_line(&mut self, connection: &Connection) {
        let number = self.random.next();
        let at = connection.start_ms + 5 + number % 900;
        let context = context(connection);
        let svc = svc(connection);
        match self.random.below(1000) {
            0..620 => {
                let millis = 100 + number % 3900;
                let attributes = format!(
                    r#"{{"type":"command","ns":"shop.orders","appName":"{}","command":{{"find":"orders","filter":{{"customer":"c{}","note":"Failed to authenticate \"id\":5286307"}},"sort":{{"_id":-1}},"limit":50,"lsid":{{"id":{{"$uuid":"{}"}}}},"$db":"shop"}},"planSummary":"IXSCAN {{ customer: 1 }}","keysExamined":{millis},"docsExamined":{millis},"nreturned":50,"queryHash":"9A1F{:04}","locks":{{"Global":{{"acquireCount":{{"r":{}}}}}}},"remote":"{}","protocol":"op_msg","durationMillis":{millis}}}"#,
                    connection.application,
                    number % 99_991,
                    connection.uuid,
                    number % 9999,
                    1 + millis / 99,
                    connection.remote
                );
                self.push(at, "COMMAND", 51803, svc, &context, "Slow query", &attributes, None);
            }
            620..780 => {
                let attributes = format!(
                    r#"{{"message":"[{}:{}][1:0x7f], WT_SESSION.checkpoint: [WT_VERB_CHECKPOINT_PROGRESS] saving checkpoint snapshot min: {}, snapshot max: {}"}}"#,
                    at / 1000,
                    number % 999_999,
                    connection.number,
                    connection.number
                );
                self.push(
                    at,
                    "STORAGE",
                    22430,
                    svc,
                    "Checkpointer",
                    "WiredTiger message",
                    &attributes,
                    None,
                );
            }
            780..880 => {
                let attributes = r#"{"metric":"acquireUser","micros":0}"#;
                self.push(
                    at,
                    "ACCESS",
                    6_788_604,
                    svc,
                    &context,
                    "Auth metrics report",
                    attributes,
                    None,
                );
            }
            880..950 => {
                let attributes = format!(r#"{{"elapsedMillis":{}}}"#, number % 9);
                let message = "Received first command on ingress connection since session start or auth handshake";
                self.push(at, "NETWORK", 6_788_700, svc, &context, message, &attributes, None);
            }
            950..999 => {
                let attributes = format!(
                    r#"{{"hostAndPort":"db-{}:27017","newState":"SECONDARY"}}"#,
                    number % 9
                );
                self.push(
                    at,
                    "REPL",
                    21215,
                    svc,
                    "ReplCoord-3",
                    "Member is in new state",
                    &attributes,
                    None,
                );
            }
            _ => {
                let broken = match number % 4 {
                    0 => "\n".to_string(),
                    1 => "{\"t\":{\"$date\":\"2026-10-\n".to_string(),
                    2 => format!(
                        "{}+0000 I  NETWORK  [listener] connection accepted from {} #{} (7 connections now open)\n",
                        time(at),
                        connection.remote,
                        connection.number
                    ),
                    _ => "{\"t\":{\"$date\":\"bad\"},\"s\":\"I\"}\n".to_string(),
                };
                self.push_text(at, broken, None);
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are the members of a log line, in its order"
    )]
    fn push(
        &mut self,
        at_ms: u64,
        component: &str,
        id: u32,
        svc: &str,
        context: &str,
        message: &str,
        attributes: &str,
        outcome: Option<bool>,
    ) {
        // mongod pads the values of `c` and `id` so that the columns of short ones line up.
        let component = format!(r#""{component}","#);
        let id = format!("{id},");
        let text = format!(
            "{{\"t\":{{\"$date\":\"{}+00:00\"}},\"s\":\"I\",  \"c\":{component:<11}\"id\":{id:<8}{svc}\"ctx\":\"{context}\",\"msg\":\"{message}\",\"attr\":{attributes}}}\n",
            time(at_ms)
        );
        self.push_text(at_ms, text, outcome);
    }

    fn push_text(&mut self, at_ms: u64, text: String, outcome: Option<bool>) {
        self.serial += 1;
        self.pending.push(Line { at_ms, serial: self.serial, text, outcome });
    }
}

#[derive(Clone, Copy)]
struct Login<'a> {
    user: &'a str,
    database: &'a str,
    mechanism: &'a str,
    internal: bool,
    micros: u64,
}

fn svc(connection: &Connection) -> &'static str {
    if connection.generation >= Generation::V8_0 { r#""svc":"-", "# } else { "" }
}

fn context(connection: &Connection) -> String {
    format!("conn{}", connection.number)
}

/// Services, administrators, people and jobs: 2,000 names.
fn users() -> Vec<String> {
    const SERVICES: [&str; 20] = [
        "orders", "billing", "search", "auth", "cart", "mail", "etl", "report", "stock", "media",
        "ledger", "push", "audit", "geo", "price", "fraud", "crm", "batch", "export", "sync",
    ];
    let mut users: Vec<String> = SERVICES.iter().map(|service| format!("svc-{service}")).collect();
    users.extend(SERVICES.iter().map(|service| format!("svc-{service}-ro")));
    users.extend(["admin", "backup", "monitor", "root"].map(String::from));
    users.extend((0..600).map(|n| format!("person.{n:03}@example.net")));
    users.extend((0..).map(|n| format!("job-{n:04}")).take(2000 - users.len()));
    users
}

/// `address:port` of one of 5,000 clients: mostly private networks, some public, one in a hundred
/// IPv6.
fn remote(address: u64, port: u64) -> String {
    let (high, low) = (address / 250, 1 + address % 250);
    match address % 100 {
        0..80 => format!("10.{}.{high}.{low}:{port}", high % 16),
        80..95 => format!("192.168.{high}.{low}:{port}"),
        95..99 => format!("203.0.113.{low}:{port}"),
        _ => format!("[2001:db8::{high:x}:{low:x}]:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generate(lines: u64, seed: u64) -> (Counts, String) {
        let mut log = Vec::new();
        let counts = write(lines, seed, &mut log).expect("writing to memory");
        (counts, String::from_utf8(log).expect("the generator writes UTF-8"))
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes() {
        assert_eq!(generate(2000, 1), generate(2000, 1));
        assert_ne!(generate(2000, 1).1, generate(2000, 2).1);
    }

    #[test]
    fn the_counts_are_those_of_the_lines() {
        let (counts, log) = generate(20_000, 1);
        assert_eq!(log.lines().count() as u64, counts.lines);
        assert_eq!(log.len() as u64, counts.size_bytes);
        let with = |ids: [&str; 2]| {
            let is_one =
                |line: &&str| ids.iter().any(|id| line.contains(&format!(r#""id":{id},"#)));
            log.lines().filter(|line| line.contains(r#""c":"ACCESS""#)).filter(is_one).count()
                as u64
        };
        assert_eq!(with(["20250", "5286306"]), counts.successes);
        assert_eq!(with(["20249", "5286307"]), counts.failures);
        // A quarter of the lines, and both outcomes, or the figure measures something else.
        assert!(counts.events() > counts.lines / 5, "{counts:?}");
        assert!(counts.failures > counts.events() / 50, "{counts:?}");
    }

    #[test]
    fn all_but_the_broken_lines_are_json_in_the_order_of_time() {
        let (counts, log) = generate(20_000, 1);
        let mut broken = 0;
        let mut last = String::new();
        for line in log.lines() {
            let parsed: Option<serde_json::Value> = serde_json::from_str(line).ok();
            let time = parsed.as_ref().and_then(|line| line["t"]["$date"].as_str());
            match time.filter(|time| *time != "bad") {
                Some(time) => {
                    assert!(time >= last.as_str(), "{time} after {last}");
                    last = time.to_string();
                }
                None => broken += 1,
            }
        }
        assert!(broken > 0 && broken < counts.lines / 500, "{broken} of {}", counts.lines);
    }
}
