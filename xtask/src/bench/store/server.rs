//! Doorbook under measurement: the release binary, a data directory of its own, and its two doors
//! over loopback.

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::time::{milliseconds, milliseconds_of_java, time};
use super::events::{self, Event};
use super::http::{Connection, Response, exchange_all, request};
use super::workload::{Answer, LONG_PAGE, PAGE, Parameters, Query, Row, TOP};
use crate::process::{Stopwatch, command, output};

/// What a shipper sends at once, and how many of them there are.
const LINES_PER_REQUEST: usize = 10_000;
const SHIPPERS: usize = 4;

/// How soon a shipper comes again, and how long it goes on with that.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
const BUSY_WITHIN: Duration = Duration::from_secs(120);

/// For so long a server's threads use no CPU until its work counts as done.
const IDLE: Duration = Duration::from_secs(3);
const IDLE_WITHIN: Duration = Duration::from_secs(1800);

/// A data directory with a project, its clusters and hosts, and who may ask.
pub struct Doorbook {
    binary: PathBuf,
    pub data: PathBuf,
    project: String,
    key: String,
    service_account: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Project {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Key {
    public_key: String,
    private_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceAccount {
    client_id: String,
    client_secret: String,
}

impl Doorbook {
    /// One that is there already: it can be served, and looked at with what was made then.
    pub fn existing(binary: &Path, data: PathBuf) -> Doorbook {
        Doorbook {
            binary: binary.to_path_buf(),
            data,
            project: String::new(),
            key: String::new(),
            service_account: String::new(),
        }
    }

    /// Makes one in a new folder.
    pub fn new(binary: &Path, data: PathBuf) -> Result<Doorbook> {
        let mut doorbook = Doorbook::existing(binary, data);
        let project: Project = doorbook.json(&["project", "create", "bench"])?;
        doorbook.project = project.id;
        let of_project = ["--project", "bench"];
        for (cluster, hosts) in events::clusters() {
            let mut words = vec!["cluster", "create", &cluster, "--project", "bench"];
            words.extend(hosts.iter().flat_map(|host| ["--host", host]));
            output(&mut doorbook.command(&words))?;
        }
        let role = ["--role", "GROUP_OWNER"];
        let key: Key = doorbook.json(&[&["key", "create"], &of_project[..], &role].concat())?;
        doorbook.key = basic(&key.public_key, &key.private_key);
        let words = [&["service-account", "create"], &of_project[..], &role].concat();
        let account: ServiceAccount = doorbook.json(&words)?;
        doorbook.service_account = basic(&account.client_id, &account.client_secret);
        Ok(doorbook)
    }

    /// A command on this data directory.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = command(&self.binary, words);
        command.env("DOORBOOK_DATA_DIR", &self.data);
        command
    }

    fn json<T: DeserializeOwned>(&self, words: &[&str]) -> Result<T> {
        let printed = output(&mut self.command(&[words, &["--json"]].concat()))?;
        serde_json::from_str(&printed).with_context(|| format!("{words:?} printed {printed}"))
    }

    /// Starts the server.
    pub fn serve(&self) -> Result<Server<'_>> {
        let words = ["serve", "--listen", "127.0.0.1:0", "--access-history-rate", "0"];
        let mut child = self.command(&words).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().rsplit_once("http://").map(|(_, address)| address.to_string());
        let address = address.with_context(|| format!("the server said {line:?}"))?;
        Ok(Server { doorbook: self, child, address, peak_bytes: 0 })
    }

    /// Bytes of all files in the data directory.
    pub fn size_bytes(&self) -> Result<u64> {
        size_bytes(&self.data)
    }
}

/// A running server.
pub struct Server<'a> {
    doorbook: &'a Doorbook,
    child: Child,
    address: String,
    peak_bytes: u64,
}

/// What a server used from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    pub cpu_seconds: f64,
    pub peak_bytes: u64,
}

impl Server<'_> {
    /// Sends events as several shippers do, each waiting for its acknowledgements.
    pub fn fill(&self, events: impl Iterator<Item = Event>) -> Result<()> {
        let (bodies, received) = mpsc::sync_channel::<String>(2 * SHIPPERS);
        let received = Arc::new(Mutex::new(received));
        std::thread::scope(|scope| {
            let ship = move |received: Arc<Mutex<mpsc::Receiver<String>>>| -> Result<()> {
                let mut connection = Connection::open(&self.address)?;
                loop {
                    let next = received.lock().expect("no shipper panics").recv();
                    let Ok(body) = next else { return Ok(()) };
                    self.send(&mut connection, &self.ingest(body.as_bytes()))?;
                }
            };
            let shippers: Vec<_> = (0..SHIPPERS)
                .map(|_| {
                    let received = Arc::clone(&received);
                    scope.spawn(move || ship(received))
                })
                .collect();
            // Theirs are the last handles: where all have failed, sending fails, too.
            drop(received);
            for body in bodies_of(events, LINES_PER_REQUEST) {
                // Only where all shippers have failed, which is told below.
                if bodies.send(body).is_err() {
                    break;
                }
            }
            drop(bodies);
            for shipper in shippers {
                shipper.join().expect("no shipper panics")?;
            }
            Ok(())
        })
    }

    /// Sends until it is taken: a server that is busy says when to come again.
    fn send(&self, connection: &mut Connection, request: &[u8]) -> Result<()> {
        let since = Stopwatch::start();
        loop {
            let response = connection.exchange(request)?;
            let is_busy = [429, 503].contains(&response.status);
            if !is_busy || since.elapsed() > BUSY_WITHIN {
                return accepted(&response);
            }
            std::thread::sleep(BUSY_PAUSE);
        }
    }

    /// One writer, one request after the other; returns events per second.
    pub fn commits(&self, events: impl Iterator<Item = Event>, each: usize) -> Result<f64> {
        let bodies: Vec<_> = bodies_of(events, each).collect();
        let requests: Vec<_> = bodies.iter().map(|body| self.ingest(body.as_bytes())).collect();
        let mut connection = Connection::open(&self.address)?;
        let stopwatch = Stopwatch::start();
        for request in &requests {
            accepted(&connection.exchange(request)?)?;
        }
        Ok((requests.len() * each) as f64 / stopwatch.elapsed().as_secs_f64())
    }

    /// Many connections, one event in each request; returns requests per second.
    pub fn singles(&self, events: impl Iterator<Item = Event>, connections: usize) -> Result<f64> {
        let bodies = bodies_of(events, 1);
        let requests: Vec<_> = bodies.map(|body| self.ingest(body.as_bytes())).collect();
        let count = requests.len();
        let stopwatch = Stopwatch::start();
        exchange_all(&self.address, connections, requests, accepted)?;
        Ok(count as f64 / stopwatch.elapsed().as_secs_f64())
    }

    fn ingest(&self, body: &[u8]) -> Vec<u8> {
        let target = format!("/api/v1/ingest/bench?project={}", self.doorbook.project);
        let headers = format!(
            "Authorization: {}\r\nContent-Type: application/x-ndjson\r\n",
            self.doorbook.key
        );
        request("POST", &target, &headers, body)
    }

    /// Someone who asks, on a connection of its own.
    pub fn client(&self) -> Result<Client> {
        let mut connection = Connection::open(&self.address)?;
        let headers = format!(
            "Authorization: {}\r\nAccept: application/json\r\nContent-Type: \
             application/x-www-form-urlencoded\r\n",
            self.doorbook.service_account
        );
        let grant = b"grant_type=client_credentials";
        let response =
            connection.exchange(&request("POST", "/api/oauth/token", &headers, grant))?;
        #[derive(Deserialize)]
        struct Token {
            access_token: String,
        }
        let token: Token = parse(&response)?;
        Ok(Client {
            connection,
            project: self.doorbook.project.clone(),
            native: format!("Authorization: {}\r\n", self.doorbook.key),
            atlas: format!(
                "Authorization: Bearer {}\r\nAccept: application/vnd.atlas.2023-01-01+json\r\n",
                token.access_token
            ),
        })
    }

    /// Waits until its threads use no CPU any more: nothing to flush, compact or commit.
    pub fn wait_until_idle(&mut self) -> Result<()> {
        let since_start = Stopwatch::start();
        let mut cpu = self.cpu_seconds()?;
        let mut since = Stopwatch::start();
        while since.elapsed() < IDLE {
            ensure!(
                since_start.elapsed() < IDLE_WITHIN,
                "the server is still busy after 30 minutes"
            );
            std::thread::sleep(Duration::from_millis(200));
            self.note_peak();
            let now = self.cpu_seconds()?;
            // One tick is the usage records that a second brings.
            if now - cpu > 0.015 {
                since = Stopwatch::start();
            }
            cpu = now;
        }
        Ok(())
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it holds in memory now.
    pub fn resident_bytes(&self) -> u64 {
        self.status_bytes("VmRSS").unwrap_or(0)
    }

    /// Stops it as Ctrl-C does: it flushes, then ends.
    pub fn stop(mut self) -> Result<Used> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, Signal::SIGINT)?;
        // Until we wait for it, the kernel keeps what an ended process has used.
        let since = Stopwatch::start();
        while self.stat()?.0 != 'Z' {
            ensure!(since.elapsed() < IDLE_WITHIN, "the server does not end");
            self.note_peak();
            std::thread::sleep(Duration::from_millis(2));
        }
        let used = Used { cpu_seconds: self.cpu_seconds()?, peak_bytes: self.peak_bytes };
        let status = self.child.wait()?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(used)
    }

    fn note_peak(&mut self) {
        self.peak_bytes = self.peak_bytes.max(self.status_bytes("VmHWM").unwrap_or(0));
    }

    fn status_bytes(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    }

    /// Of all its threads, those that have ended, too.
    fn cpu_seconds(&self) -> Result<f64> {
        // Linux counts in hundredths on every machine, whatever its own clock.
        Ok(self.stat()?.1 as f64 / 100.0)
    }

    /// Its state and its ticks.
    fn stat(&self) -> Result<(char, u64)> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<_> = fields.split_whitespace().collect();
        let [state, user, system] =
            [0, 11, 12].map(|at| fields.get(at).copied().unwrap_or_default());
        Ok((state.chars().next().unwrap_or('?'), user.parse::<u64>()? + system.parse::<u64>()?))
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        // Ended already, unless something failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection that stays open and asks one question after the other.
pub struct Client {
    connection: Connection,
    project: String,
    native: String,
    atlas: String,
}

impl Client {
    /// The answer, and how many nanoseconds it took: from the request's first byte to the answer's
    /// last.
    pub fn ask(&mut self, query: Query, parameters: &Parameters) -> Result<(u64, Answer)> {
        let headers = if query == Query::Long { &self.atlas } else { &self.native };
        let target = self.target(query, parameters);
        let request = request("GET", &target, headers, b"");
        let stopwatch = Stopwatch::start();
        let response = self.connection.exchange(&request)?;
        let nanoseconds = u64::try_from(stopwatch.elapsed().as_nanos())?;
        let answer = answer(query, &response).with_context(|| target)?;
        Ok((nanoseconds, answer))
    }

    /// How many events there are.
    pub fn total(&mut self) -> Result<u64> {
        let target = format!("/api/v1/events?project={}&limit=1", self.project);
        let response = self.connection.exchange(&request("GET", &target, &self.native, b""))?;
        Ok(parse::<Events>(&response)?.total)
    }

    fn target(&self, query: Query, parameters: &Parameters) -> String {
        let Parameters { from_ms, to_ms, cluster, host, user, address } = parameters;
        if query == Query::Long {
            // This door includes both ends, in milliseconds, and knows hosts without their ports.
            let name = host.split(':').next().unwrap_or_default();
            return format!(
                "/api/atlas/v2/groups/{}/dbAccessHistory/processes/{name}?start={}&end={to_ms}\
                 &nLogs={LONG_PAGE}",
                self.project,
                from_ms + 1,
            );
        }
        // Half a millisecond later, where no event is: which ends are included does not matter.
        let end = |ms: &u64| format!("{}500Z", time(*ms));
        let range = format!("project={}&from={}&to={}", self.project, end(from_ms), end(to_ms));
        let host = format!("cluster={cluster}&host={host}");
        match query {
            Query::Host => format!("/api/v1/events?{range}&{host}&limit={PAGE}"),
            Query::Cluster => format!("/api/v1/events?{range}&cluster={cluster}&limit={PAGE}"),
            Query::HostFailures => {
                format!("/api/v1/events?{range}&{host}&outcome=failure&limit={PAGE}")
            }
            Query::HostAddress => {
                format!("/api/v1/events?{range}&{host}&address={address}&limit={PAGE}")
            }
            Query::Hours => format!("/api/v1/events/histogram?{range}&{host}&width=1h"),
            Query::Top => {
                format!("/api/v1/events/top?{range}&by=principal&outcome=failure&limit={TOP}")
            }
            Query::User | Query::NoUser => {
                format!("/api/v1/events?{range}&user={user}&limit={PAGE}")
            }
            Query::Long => unreachable!("returned above"),
        }
    }
}

#[derive(Deserialize)]
struct Events {
    events: Vec<Listed>,
    total: u64,
}

#[derive(Deserialize)]
struct Listed {
    event: Shown,
}

#[derive(Deserialize)]
struct Shown {
    time: String,
    host: String,
    user: String,
    address: String,
    port: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessLogs {
    access_logs: Vec<AccessLog>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessLog {
    timestamp: String,
    hostname: String,
    username: String,
    ip_address: String,
}

#[derive(Deserialize)]
struct Histogram {
    bars: Vec<Bar>,
}

#[derive(Deserialize)]
struct Bar {
    from: String,
    #[serde(default)]
    success: u64,
    #[serde(default)]
    failure: u64,
}

#[derive(Deserialize)]
struct TopList {
    values: Vec<Value>,
}

#[derive(Deserialize)]
struct Value {
    value: Option<String>,
    count: i64,
}

fn answer(query: Query, response: &Response) -> Result<Answer> {
    let time = |text: &str| milliseconds(text).with_context(|| format!("{text} is no time"));
    match query {
        Query::Long => {
            let logs: AccessLogs = parse(response)?;
            let row = |log: &AccessLog| -> Result<Row> {
                let order = milliseconds_of_java(&log.timestamp);
                let address: IpAddr = log.ip_address.parse()?;
                Ok(Row {
                    order: order.with_context(|| log.timestamp.clone())?,
                    says: format!("{} {} {address} ", log.hostname, log.username),
                })
            };
            let rows = logs.access_logs.iter().map(row).collect::<Result<_>>()?;
            Ok(Answer { total: None, rows })
        }
        Query::Hours => {
            let histogram: Histogram = parse(response)?;
            let mut rows = Vec::new();
            for bar in &histogram.bars {
                for (outcome, count) in [("success", bar.success), ("failure", bar.failure)] {
                    if count > 0 {
                        rows.push(Row {
                            order: time(&bar.from)?,
                            says: format!("{outcome} {count}"),
                        });
                    }
                }
            }
            Ok(Answer { total: None, rows })
        }
        Query::Top => {
            let top: TopList = parse(response)?;
            let row =
                |value: Value| Row { order: value.count, says: value.value.unwrap_or_default() };
            Ok(Answer { total: None, rows: top.values.into_iter().map(row).collect() })
        }
        _ => {
            let events: Events = parse(response)?;
            let row = |listed: &Listed| -> Result<Row> {
                let Shown { time: at, host, user, address, port } = &listed.event;
                Ok(Row { order: time(at)?, says: format!("{host} {user} {address} {port}") })
            };
            let rows = events.events.iter().map(row).collect::<Result<_>>()?;
            Ok(Answer { total: Some(events.total), rows })
        }
    }
}

fn parse<T: DeserializeOwned>(response: &Response) -> Result<T> {
    accepted(response)?;
    let text =
        || String::from_utf8_lossy(&response.body[..response.body.len().min(400)]).into_owned();
    serde_json::from_slice(&response.body).with_context(text)
}

fn accepted(response: &Response) -> Result<()> {
    if (200..300).contains(&response.status) {
        return Ok(());
    }
    let body = &response.body[..response.body.len().min(400)];
    bail!("status {}: {}", response.status, String::from_utf8_lossy(body))
}

/// Events as bodies of so many lines.
fn bodies_of(events: impl Iterator<Item = Event>, lines: usize) -> impl Iterator<Item = String> {
    let mut events = events.peekable();
    std::iter::from_fn(move || {
        events.peek()?;
        let mut body = String::new();
        events.by_ref().take(lines).for_each(|event| event.json(&mut body));
        Some(body)
    })
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

/// Bytes of all files below a folder.
fn size_bytes(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum += if metadata.is_dir() { size_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}
