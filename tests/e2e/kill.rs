//! The server is killed under load, again and again: what it acknowledged is there, once.
//!
//! The test keeps its own ledger, which knows nothing of the store: an event is acknowledged when the
//! answer to its request has arrived, and each event has a name of its own in an attribute. A request
//! whose answer did not arrive is sent again to the next server, under the same key.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::support::binary::{DataDir, Key, Project, Server};
use crate::support::draw::Draw;
use crate::support::http::{Connection, Reply};
use crate::support::process::PATIENCE;

const CLUSTER: &str = "Cluster0";
const HOST: &str = "db-1.example.net:27017";

/// Requests at a time.
const WRITERS: u64 = 4;

/// Goal: a server killed at any moment loses nothing that it acknowledged, doubles nothing that is
/// sent again, and counts exactly. Method: several writers and an import keep it busy; it is killed
/// after a random number of answers; after each start the history is compared with the ledger, and
/// `doorbook verify` reads everything.
#[test]
fn a_server_killed_under_load_keeps_what_it_acknowledged() -> Result<()> {
    let rounds = rounds()?;
    let seed = RandomState::new().build_hasher().finish();
    let mut draw = Draw(seed);
    let data = DataDir::new()?;
    let (project, key) = data.set_up(CLUSTER, HOST)?;
    let mut ledger = Ledger::default();
    for round in 0..rounds {
        kill_once(&data, (&project, &key), &mut ledger, &mut draw, round).with_context(|| {
            format!("round {round} of seed {seed}, ledger {}", ledger.summary())
        })?;
    }
    let server = data.serve(&[])?;
    for request in std::mem::take(&mut ledger.open) {
        let mut connection = Connection::to(&server.base)?;
        ensure!(ship(&mut connection, &project, &key, &request)?, "{request:?} is refused");
        ledger.acknowledge(&request);
    }
    check(&server, (&project, &key), &ledger, 0)?;
    ensure!(ledger.open.is_empty());
    server.stop()?;
    verify(&data)?;
    println!("{rounds} kills, {}", ledger.summary());
    Ok(())
}

/// 20 where every commit is tested; `cargo xtask test --nightly` asks for more.
fn rounds() -> Result<u64> {
    match std::env::var("DOORBOOK_TEST_KILLS") {
        Ok(number) => number.parse().context("DOORBOOK_TEST_KILLS is a number"),
        Err(_) => Ok(20),
    }
}

/// What the test knows of what it sent.
#[derive(Default)]
struct Ledger {
    acknowledged: BTreeSet<String>,
    /// Requests without an answer.
    open: Vec<Request>,
    /// Requests so far.
    requests: u64,
    imported: u64,
}

/// A request: its number is its key, its events have names that begin with it.
#[derive(Clone, Debug)]
struct Request {
    number: u64,
    events: u64,
}

impl Request {
    fn names(&self) -> impl Iterator<Item = String> {
        let number = self.number;
        (0..self.events).map(move |event| format!("{number}-{event}"))
    }

    /// Every other event names its connection, by which it could be known again; the others are
    /// known by the request's key alone.
    fn body(&self) -> String {
        let line = |(event, name): (u64, String)| {
            let number = self.number;
            let time =
                format!("2026-11-{:02}T00:00:00.{:06}Z", 1 + number % 20, number % 1_000_000);
            let connection = match event % 2 {
                0 => format!("\"connection\":{},", number * 1000 + event),
                _ => String::new(),
            };
            format!(
                "{{\"time\":\"{time}\",\"cluster\":\"{CLUSTER}\",\"host\":\"{HOST}\",{connection}\
                 \"outcome\":\"success\",\"user\":\"user-{event}\",\"database\":\"admin\",\
                 \"attributes\":{{\"name\":\"{name}\"}}}}\n"
            )
        };
        (0..).zip(self.names()).map(line).collect()
    }
}

impl Ledger {
    fn acknowledge(&mut self, request: &Request) {
        self.acknowledged.extend(request.names());
    }

    fn summary(&self) -> String {
        format!(
            "{} requests, {} events acknowledged, {} requests without answer, {} files",
            self.requests,
            self.acknowledged.len(),
            self.open.len(),
            self.imported
        )
    }
}

/// Starts a server, compares, keeps it busy, kills it.
fn kill_once(
    data: &DataDir,
    caller: (&Project, &Key),
    ledger: &mut Ledger,
    draw: &mut Draw,
    round: u64,
) -> Result<()> {
    let server = data.serve(&[])?;
    check(&server, caller, ledger, round)?;
    verify(data)?;
    let (answers, is_killed) = (AtomicU64::new(0), AtomicBool::new(false));
    let open = std::mem::take(&mut ledger.open);
    let next = AtomicU64::new(ledger.requests);
    let kill_after = 1 + draw.below(150);
    let pause = Duration::from_micros(draw.below(4000));
    let base = server.base.clone();
    std::thread::scope(|scope| -> Result<()> {
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let again = open.iter().filter(|request| request.number % WRITERS == writer);
            let again: Vec<_> = again.cloned().collect();
            let (base, next, answers, is_killed) = (&base, &next, &answers, &is_killed);
            writers.push(scope.spawn(move || write(base, caller, again, next, answers, is_killed)));
        }
        let (is_killed_now, files) = (&is_killed, ledger.imported);
        let importer = scope.spawn(move || import(data, files, is_killed_now));
        let killed = wait_until(|| answers.load(Ordering::SeqCst) >= kill_after, &writers);
        std::thread::sleep(pause);
        let ended = server.kill();
        is_killed.store(true, Ordering::SeqCst);
        for writer in writers {
            let (acknowledged, open) = joined(writer)?;
            acknowledged.iter().for_each(|request| ledger.acknowledge(request));
            ledger.open.extend(open);
        }
        ledger.imported += joined(importer)?;
        killed.and(ended)
    })?;
    ledger.requests = next.into_inner();
    Ok(())
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().map_err(|_| anyhow::anyhow!("a thread of the test panicked"))?
}

/// Waits, but not for writers that have all given up.
fn wait_until<T>(
    is_so: impl Fn() -> bool,
    writers: &[std::thread::ScopedJoinHandle<'_, T>],
) -> Result<()> {
    const PAUSE: Duration = Duration::from_micros(500);
    for _ in 0..PATIENCE.as_micros() / PAUSE.as_micros() {
        if is_so() {
            return Ok(());
        }
        ensure!(writers.iter().any(|writer| !writer.is_finished()), "no writer is left");
        std::thread::sleep(PAUSE);
    }
    bail!("too few answers within {PATIENCE:?}")
}

/// Sends requests until the server is gone. Returns those with an answer and those without.
fn write(
    base: &str,
    (project, key): (&Project, &Key),
    again: Vec<Request>,
    next: &AtomicU64,
    answers: &AtomicU64,
    is_killed: &AtomicBool,
) -> Result<(Vec<Request>, Vec<Request>)> {
    const SIZES: [u64; 5] = [1, 1, 2, 10, 60];
    let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
    let mut again = again.into_iter();
    let Ok(mut connection) = Connection::to(base) else {
        return Ok((acknowledged, again.collect()));
    };
    loop {
        let request = again.next().unwrap_or_else(|| {
            let number = next.fetch_add(1, Ordering::SeqCst);
            Request { number, events: SIZES[(number % 5) as usize] }
        });
        match ship(&mut connection, project, key, &request) {
            Ok(true) => {
                acknowledged.push(request);
                answers.fetch_add(1, Ordering::SeqCst);
            }
            // Nothing was written; it may be sent again at once.
            Ok(false) => open.push(request),
            Err(error) => {
                open.push(request);
                open.extend(again);
                // A connection breaks when the server is killed, and at no other time.
                let is_refusal = error.downcast_ref::<std::io::Error>().is_none();
                for _ in 0..1000 {
                    if is_refusal || is_killed.load(Ordering::SeqCst) {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(5));
                }
                ensure!(!is_refusal && is_killed.load(Ordering::SeqCst), "{error:#}");
                return Ok((acknowledged, open));
            }
        }
    }
}

/// Goal: two servers never write one directory. Method: a second one is started beside the first,
/// which goes on; and one is started after it was killed, whose lock went with it.
#[test]
fn a_second_server_on_the_directory_is_refused() -> Result<()> {
    let data = DataDir::new()?;
    data.set_up(CLUSTER, HOST)?;
    let first = data.serve(&[])?;
    let second = data.outcome(&["serve", "--listen", "127.0.0.1:0"])?;
    let stderr = String::from_utf8_lossy(&second.stderr);
    ensure!(second.status.code() == Some(1), "{}: {stderr}", second.status);
    ensure!(stderr.contains("another process holds the data directory"), "{stderr}");
    // Commands go through the first, which has not been disturbed.
    data.run(&["project", "create", "Second"])?;
    first.kill()?;
    data.serve(&[])?.stop()
}

/// Whether a request was acknowledged; not, if the server is busy.
fn ship(
    connection: &mut Connection,
    project: &Project,
    key: &Key,
    request: &Request,
) -> Result<bool> {
    let path = format!("/api/v1/ingest/kill-test?project={}", project.id);
    let name = format!("kill-test-{}", request.number);
    let headers = [("Idempotency-Key", &*name), ("Content-Type", "application/x-ndjson")];
    let Reply { status, body } = connection.send(
        "POST",
        &path,
        (&key.public_key, &key.private_key),
        &headers,
        &request.body(),
    )?;
    match status {
        200 => {
            let answer: Value = serde_json::from_str(&body)?;
            let count = |name: &str| answer[name].as_u64().unwrap_or(0);
            let total = count("stored") + count("duplicates");
            ensure!(total == request.events && count("quarantined") == 0, "{request:?}: {answer}");
            Ok(true)
        }
        429 | 503 => Ok(false),
        other => bail!("{request:?}: {other}: {body}"),
    }
}

/// Imports one small file after another beside the server. Returns how many were.
fn import(data: &DataDir, from: u64, is_killed: &AtomicBool) -> Result<u64> {
    let mut imported = 0;
    while !is_killed.load(Ordering::SeqCst) {
        let number = from + imported;
        let path = data.folder().join(format!("{number}.log"));
        std::fs::write(&path, (0..3).map(|line| login(number, line)).collect::<String>())?;
        let path = path.to_str().context("temporary paths are UTF-8")?;
        let words = ["import", "--project", "Orders", "--cluster", CLUSTER, "--host", HOST, path];
        // What fails is imported again after the next start, as a user would.
        if !data.outcome(&words)?.status.success() {
            break;
        }
        imported += 1;
    }
    Ok(imported)
}

fn login(file: u64, line: u64) -> String {
    let connection = file * 10 + line;
    format!(
        "{{\"t\":{{\"$date\":\"2026-11-23T05:22:54.{:03}+00:00\"}},\"s\":\"I\",  \"c\":\"ACCESS\",   \
         \"id\":20250,   \"ctx\":\"conn{connection}\",\"msg\":\"Authentication succeeded\",\"attr\":\
         {{\"mechanism\":\"SCRAM-SHA-256\",\"speculative\":true,\"principalName\":\
         \"import-{file}-{line}\",\"authenticationDatabase\":\"admin\",\"remote\":\
         \"192.0.2.7:4711\",\"extraInfo\":{{}}}}}}\n",
        connection % 1000
    )
}

/// Compares the history with the ledger. Every event is read in every fifth round and at the end:
/// reading a history that grows with every round would take the square of their number.
fn check(
    server: &Server,
    (project, key): (&Project, &Key),
    ledger: &Ledger,
    round: u64,
) -> Result<()> {
    let mut connection = Connection::to(&server.base)?;
    let caller = (&*key.public_key, &*key.private_key);
    let path = format!("/api/v1/events?project={}", project.id);
    let mut get = |path: &str| -> Result<Value> {
        let Reply { status, body } = connection.send("GET", path, caller, &[], "")?;
        ensure!(status == 200, "{path}: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    };
    if !round.is_multiple_of(5) {
        let total = get(&format!("{path}&source=kill-test&limit=0"))?["total"].as_u64();
        let total = total.context("a total")?;
        let least = ledger.acknowledged.len() as u64;
        let most = least + ledger.open.iter().map(|request| request.events).sum::<u64>();
        ensure!((least..=most).contains(&total), "{total} of {least} to {most} events");
        return Ok(());
    }
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    let mut total = None;
    let mut page = format!("{path}&limit=5000");
    loop {
        let answer = get(&page)?;
        let of_page = answer["total"].as_u64().context("a total")?;
        ensure!(*total.get_or_insert(of_page) == of_page, "the total changes between pages");
        for row in answer["events"].as_array().context("events")? {
            let event = &row["event"];
            let name = event["attributes"]["name"].as_str().or(event["user"].as_str());
            let name = name.with_context(|| format!("no name: {row}"))?;
            *found.entry(name.to_owned()).or_default() += 1;
        }
        match answer["cursor"].as_str() {
            Some(cursor) => page = format!("/api/v1/events?cursor={cursor}"),
            None => break,
        }
    }
    let sum: u64 = found.values().sum();
    ensure!(total == Some(sum), "the total is {total:?}, and {sum} rows");
    if let Some((name, count)) = found.iter().find(|(_, count)| **count > 1) {
        bail!("{name} is there {count} times");
    }
    let imported =
        (0..ledger.imported).flat_map(|n| (0..3).map(move |i| format!("import-{n}-{i}")));
    let open: BTreeSet<String> = ledger.open.iter().flat_map(Request::names).collect();
    for name in ledger.acknowledged.iter().cloned().chain(imported) {
        ensure!(found.remove(&name).is_some(), "{name} was acknowledged and is gone");
    }
    for request in &ledger.open {
        let count = request.names().filter(|name| found.contains_key(name)).count() as u64;
        ensure!(count == 0 || count == request.events, "{count} events of {request:?}");
    }
    let next_file = format!("import-{}-", ledger.imported);
    found.retain(|name, _| !open.contains(name) && !name.starts_with(&next_file));
    ensure!(found.is_empty(), "nobody sent {:?}", found.keys().next());
    Ok(())
}

fn verify(data: &DataDir) -> Result<()> {
    data.run(&["verify", "--checksums"]).map(drop)
}
