//! Lines of a real mongod's log are sent by HTTP, as shippers do, to servers that are killed.
//!
//! The list of attempts that the test made is the truth; what Doorbook has in the end is held against it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::binary::{DataDir, Key, Project, Server};
use crate::support::clients::{self, Covered};
use crate::support::draw::Draw;
use crate::support::history::compare;
use crate::support::http::Connection;
use crate::support::mongod::{Attempt, Mongod};
use crate::support::time::now;
use crate::support::tools::needed;

/// Lines of a request: fewer than an attempt writes, so that connections reach over requests.
const LINES: usize = 7;

/// Goal: of what a sender sends again until it is acknowledged, every login is there, once, although the
/// server is killed while it answers; and no answer calls it complete. Method: attempts at a mongod, whose
/// log a made-up shipper sends; each request may meet a kill, and is then repeated.
#[test]
fn what_is_sent_again_until_it_is_acknowledged_is_there_once() -> Result<()> {
    let Some((python, mongods)) = needed("sending a real mongod's lines through kills") else {
        return Ok(());
    };
    let seed = RandomState::new().build_hasher().finish();
    for binary in mongods {
        let mut mongod = Mongod::start(&binary, python.clone())?;
        mongod.run_attempts("0")?;
        mongod.run_attempts("1")?;
        let told = format!("mongod {}, seed {seed}", mongod.version);
        let rules = "match = { \"host.name\" = \"db-1\", \"log.file.path\" = \"*.log\" }";
        let mut sender = Sender::new(
            &mongod,
            &format!("[[source]]\nname = \"orders\"\nkind = \"mongod-log\"\n{rules}\n"),
        )?;
        let kills =
            sender.send_all(&lines(&mongod)?, &mut Draw(seed), true).context(told.clone())?;
        let server = sender.data.serve(&[])?;
        let answer = sender.answer(&server, &python, mongod.attempts())?;
        compare(&answer.answer.access_logs, mongod.attempts()).context(told)?;
        ensure!(answer.coverage.starts_with("best-effort; "), "{}", answer.coverage);
        let waiting = sender.data.run(&["events", "--json", "--limit", "0", "--quarantine"])?;
        ensure!(waiting.is_empty(), "{waiting}");
        server.stop()?;
        println!("{kills} kills, {} attempts", mongod.attempts().len());
    }
    Ok(())
}

/// Goal: a host that nobody knows loses nothing by it. Method: the same lines without a source; then the
/// rule that is shown is pasted, and what waited is replayed.
#[test]
fn an_unknown_host_is_known_once_its_rule_is_pasted() -> Result<()> {
    let Some((python, mongods)) = needed("a real mongod's lines waiting for their rule") else {
        return Ok(());
    };
    let binary = mongods.first().context("a mongod")?;
    let mut mongod = Mongod::start(binary, python.clone())?;
    mongod.run_attempts("0")?;
    let mut sender = Sender::new(&mongod, "")?;
    let all = lines(&mongod)?;
    sender.send_all(&all, &mut Draw(1), false)?;
    let server = sender.data.serve(&[])?;
    let printed = sender.data.run(&["quarantine", "list", "--unrouted", "--json"])?;
    let [row] = &printed.lines().map(serde_json::from_str).collect::<Result<Vec<Row>, _>>()?[..]
    else {
        anyhow::bail!("{printed}")
    };
    ensure!(row.name.starts_with("db-1 "), "{printed}");
    println!("{} of {} lines are kept", row.lines, all.len());
    let doctor = sender.data.outcome(&["doctor"])?;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(doctor.contains("lines wait that no source knows: of db-1 "), "{doctor}");
    // The host is known by another name here than the one that it is sent under.
    let own = mongod.own_name()?;
    let meant = row.rule.lines().find(|line| line.starts_with("host = ")).context("a host")?;
    let rule = row.rule.replace(meant, &format!("host = {own:?}"));
    std::fs::write(sender.data.folder().join("doorbook.toml"), sender.file.clone() + &rule)?;
    sender.data.run(&["config", "check", "doorbook.toml"])?;
    sender.data.run(&["apply"])?;
    sender.data.run(&["quarantine", "replay"])?;
    sender.data.run(&["quarantine", "replay"])?;
    let answer = sender.answer(&server, &python, mongod.attempts())?;
    compare(&answer.answer.access_logs, mongod.attempts())?;
    let waiting = sender.data.run(&["events", "--json", "--limit", "0", "--quarantine"])?;
    ensure!(waiting.is_empty(), "{waiting}");
    server.stop()?;
    sender.data.run(&["verify", "--checksums"])?;
    Ok(())
}

/// Of `doorbook quarantine list --unrouted --json`.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    lines: usize,
    rule: String,
}

fn lines(mongod: &Mongod) -> Result<Vec<String>> {
    let log = std::fs::read_to_string(mongod.log())?;
    Ok(log.lines().map(str::to_owned).collect())
}

/// A shipper, and a data directory that it sends to.
struct Sender {
    data: DataDir,
    /// The estate, without a rule that is found later.
    file: String,
    project: Project,
    key: Key,
    shipper: Key,
}

impl Sender {
    fn new(mongod: &Mongod, source: &str) -> Result<Sender> {
        let data = DataDir::new()?;
        let file = format!(
            "version = 1\n[[project]]\nname = \"shop\"\n[[project.cluster]]\nname = \"orders\"\n\
             hosts = [{:?}]\n",
            mongod.own_name()?
        );
        let (project, key) = data.apply(&format!("{file}{source}"))?;
        let role = ["key", "create", "--project", &project.id, "--role", "GROUP_SHIPPER"];
        let shipper = data.json(&role)?;
        Ok(Sender { data, file, project, key, shipper })
    }

    /// Sends lines until all are acknowledged. How often the server was killed.
    fn send_all(&mut self, lines: &[String], draw: &mut Draw, kills: bool) -> Result<u64> {
        let mut n_kills = 0;
        let mut server = self.data.serve(&[])?;
        let mut connection = Connection::to(&server.base)?;
        for batch in lines.chunks(LINES) {
            loop {
                let is_killed = kills && n_kills < 20 && draw.below(20) == 0;
                let sent = match is_killed {
                    false => self.send(&mut connection, batch),
                    true => {
                        let delay = Duration::from_micros(draw.below(4000));
                        let killed = std::thread::scope(|scope| {
                            let sending = scope.spawn(|| self.send(&mut connection, batch));
                            std::thread::sleep(delay);
                            server.kill()?;
                            sending.join().map_err(|_| anyhow::anyhow!("a thread panicked"))
                        })?;
                        n_kills += 1;
                        server = self.data.serve(&[])?;
                        connection = Connection::to(&server.base)?;
                        killed
                    }
                };
                match sent {
                    Ok(()) => break,
                    Err(error) => ensure!(is_killed, "{error:#}"),
                }
            }
        }
        server.stop()?;
        Ok(n_kills)
    }

    fn send(&self, connection: &mut Connection, lines: &[String]) -> Result<()> {
        let object = |line: &String| {
            json!({"message": line, "host": {"name": "db-1"}, "log": {"file": {"path": "/var/log/mongod.log"}}})
                .to_string()
        };
        let body = lines.iter().map(object).collect::<Vec<_>>().join("\n");
        let caller = (&*self.shipper.public_key, &*self.shipper.private_key);
        let headers = [("Content-Type", "application/x-ndjson")];
        let reply = connection.send("POST", "/api/v1/lines", caller, &headers, &body)?;
        ensure!(reply.status == 200, "{reply:?}");
        let answer: Value = serde_json::from_str(&reply.body)?;
        let counts = ["stored", "duplicates", "quarantined", "ignored"];
        let counted: u64 = counts.iter().filter_map(|name| answer[name].as_u64()).sum();
        ensure!(counted == lines.len() as u64, "{answer}");
        Ok(())
    }

    /// The cluster's history since the first attempt, as a client reads it.
    fn answer(&self, server: &Server, python: &Path, attempts: &[Attempt]) -> Result<Covered> {
        let first = attempts.first().context("attempts")?;
        let (start, end) = ((first.from * 1000.0) as u64, (now() * 1000.0) as u64);
        let id = &self.project.id;
        let path = format!(
            "/api/atlas/v2/groups/{id}/dbAccessHistory/clusters/orders?start={start}&end={end}"
        );
        let mut answers =
            clients::requests_with_coverage(python, &server.base, &self.key, &[&path])?;
        answers.pop().context("one question")
    }
}
