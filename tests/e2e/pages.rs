//! The pages for operators do what they say: their files and commands are pasted and run.
//!
//! Where a page says `/var` or `/srv`, a test has a folder of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::binary::{address_in, doorbook, without_complaints};
use crate::support::process::{Running, outcome, run, until};
use crate::support::time::now;
use crate::support::tools::{curl, left_out, workspace};

/// Goal: who follows `docs/operate.md` line by line has nine hosts watched and knows it. Method: the
/// page's files and commands in their order, over made-up logs where it says they are; then each log is
/// rotated and goes on.
#[test]
fn a_newcomer_gets_from_nothing_to_watched_hosts() -> Result<()> {
    let mut reader = Reader::new()?;
    let mut serving = None;
    for block in blocks("docs/operate.md")? {
        match block {
            Block::Toml(file) => {
                reader.write("doorbook.toml", &reader.here(&file))?;
                reader.logs = nine_logs();
                reader.log_in()?;
            }
            Block::Shell(lines) if serving.is_none() && lines.contains("doorbook serve") => {
                serving = Some(reader.serve(lines.trim())?);
                reader.is_complete(9, 0)?;
            }
            Block::Shell(lines) => {
                for line in lines.lines() {
                    reader.paste(line)?;
                }
            }
        }
    }
    reader.paste("doorbook source resume orders.orders-1")?;
    for log in &reader.logs {
        let path = reader.path(&log.path);
        fs::rename(&path, path.with_extension("log.1"))?;
    }
    reader.log_in()?;
    reader.is_complete(9, 0)?;
    let ended = serving.context("the page has a server started")?.interrupt()?;
    ensure!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    without_complaints(&ended)
}

/// Goal: who follows `docs/agent.md` has a host watched by an agent. Method: its two files and the commands for
/// the server, with the agent beside the server instead of on a host of its own, without what takes root
/// or a certificate.
#[test]
fn an_agent_is_set_up_as_its_page_says() -> Result<()> {
    let mut reader = Reader::new()?;
    fs::create_dir_all(reader.path("/etc/doorbook"))?;
    let mut files = Vec::new();
    let mut lines = Vec::new();
    for block in blocks("docs/agent.md")? {
        match block {
            Block::Toml(file) => files.push(file),
            Block::Shell(shell) => lines.push(shell),
        }
    }
    let [estate, agent] = &files[..] else { bail!("two files, not {}", files.len()) };
    // One host has an agent here; the other two would have the same path.
    let estate = reader.here(&estate.replace(", \"orders-2\", \"orders-3\"", ""));
    reader.write("doorbook.toml", &estate)?;
    for line in lines.first().context("what to do on the server")?.lines() {
        reader.paste(line)?;
    }
    reader.logs = vec![Log::new("/var/log/mongodb/mongod.log", "orders-1", 27017)];
    reader.log_in()?;
    let mut serving = reader.shell("exec doorbook serve --listen 127.0.0.1:0")?;
    let mut serving = Running::start(&mut serving)?;
    let address = serving.wait_for(address_in)?;
    fs::create_dir_all(reader.path("/etc/doorbook-agent"))?;
    fs::copy(reader.path("/etc/doorbook/orders-1.key"), reader.path("/etc/doorbook-agent/key"))?;
    let agent = agent.replace("https://doorbook.example.com:8443", &format!("http://{address}"));
    let without_ca = agent.lines().filter(|line| !line.starts_with("ca_file"));
    let agent = reader.here(&without_ca.map(|line| format!("{line}\n")).collect::<String>());
    reader.write("etc/doorbook-agent/agent.toml", &agent)?;
    let line = reader.here("exec doorbook agent --config /etc/doorbook-agent/agent.toml");
    let agent = Running::start(&mut reader.shell(&line)?)?;
    reader.is_complete(1, 0)?;
    reader.log_in_at_the_last_of(1)?;
    reader.is_complete(1, 0)?;
    let ended = agent.terminate()?;
    ensure!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    without_complaints(&ended)?;
    let ended = serving.interrupt()?;
    without_complaints(&ended)
}

/// The hosts of the page's file, each with the log that the file says it has.
fn nine_logs() -> Vec<Log> {
    let names = ["orders", "carts", "users"].map(|cluster| (1..=3).map(move |n| (cluster, n)));
    let log = |(cluster, n)| match format!("{cluster}-{n}") {
        host if host == "users-3" => Log::new("/var/log/mongodb/mongod.log", "users-3", 27018),
        host => Log::new(&format!("/srv/logs/{host}/mongod.log"), &host, 27017),
    };
    names.into_iter().flatten().map(log).collect()
}

/// Goal: each configuration of `docs/sources/mongod.md` follows the files of the layout it stands for,
/// and no others. Method: the page's estate with one of its blocks at a time, over made-up folders.
#[test]
fn each_layout_of_a_mongod_log_is_followed() -> Result<()> {
    let mut blocks = blocks("docs/sources/mongod.md")?.into_iter();
    let Some(Block::Toml(estate)) = blocks.next() else { bail!("the page begins with an estate") };
    let mut n_blocks = 0;
    for block in blocks {
        let Block::Toml(source) = block else { continue };
        let path = source.lines().find_map(|line| line.strip_prefix("path = "));
        let path = path.with_context(|| source.clone())?.trim_matches('"');
        follow_layout(&estate, &source, path).with_context(|| path.to_owned())?;
        n_blocks += 1;
    }
    ensure!(n_blocks == 5, "{n_blocks} blocks");
    Ok(())
}

fn follow_layout(estate: &str, source: &str, path: &str) -> Result<()> {
    let mut reader = Reader::new()?;
    reader.write("doorbook.toml", &reader.here(&format!("{estate}\n{source}")))?;
    reader.logs = layout(path)?;
    reader.log_in()?;
    // What is not a host's log must not be read as one.
    reader.write(&reader.here("/var/lib/docker/containers/77aa/77aa-json.log"), "not a log\n")?;
    reader.paste("export DOORBOOK_DATA_DIR=/var/lib/doorbook")?;
    let serving = reader.serve("doorbook serve --config doorbook.toml")?;
    let hosts = if source.contains("\nhost = ") { 1 } else { 2 };
    reader.is_complete(hosts, 2 - hosts)?;
    reader.log_in_at_the_last_of(hosts)?;
    reader.is_complete(hosts, 2 - hosts)?;
    let ended = serving.interrupt()?;
    ensure!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    without_complaints(&ended)
}

/// The files that a layout has, by the path with which the page describes it; the oldest first, and
/// those that are written to last.
fn layout(path: &str) -> Result<Vec<Log>> {
    let bare = |path: &str, host: &str| Log::new(path, host, 27017);
    let wrapped =
        |path: &str, host: &str, wrap: fn(&str) -> String| Log { wrap, ..bare(path, host) };
    let docker = |line: &str| {
        let line = Value::from(format!("{line}\n"));
        format!("{{\"log\":{line},\"stream\":\"stdout\",\"time\":\"2026-11-23T05:22:54.18Z\"}}")
    };
    let cri = |line: &str| format!("2026-11-23T05:22:54.180000000Z stdout F {line}");
    let syslog = |line: &str| format!("Nov 23 05:22:54 orders mongod[811]: {line}");
    Ok(match path {
        "/var/log/mongodb/mongod.log" => vec![
            bare("/var/log/mongodb/mongod.log.2026-11-20T00-00-00", "orders-0"),
            bare("/var/log/mongodb/mongod.log.1", "orders-0"),
            bare(path, "orders-0"),
        ],
        "/srv/logs/{host}/mongod.log" => vec![
            bare("/srv/logs/orders-0/mongod.log.1", "orders-0"),
            bare("/srv/logs/orders-0/mongod.log", "orders-0"),
            bare("/srv/logs/orders-1/mongod.log", "orders-1"),
        ],
        "/var/lib/docker/containers/4f1a09*/4f1a09*-json.log" => {
            let log = "/var/lib/docker/containers/4f1a09c2/4f1a09c2-json.log";
            let rotated = format!("{log}.1");
            vec![wrapped(&rotated, "orders-0", docker), wrapped(log, "orders-0", docker)]
        }
        "/var/log/pods/prod_{host}_*/mongod/*.log" => vec![
            wrapped("/var/log/pods/prod_orders-0_11/mongod/0.log.20261120-000000", "orders-0", cri),
            wrapped("/var/log/pods/prod_orders-0_11/mongod/0.log", "orders-0", cri),
            wrapped("/var/log/pods/prod_orders-0_22/mongod/0.log", "orders-0", cri),
            wrapped("/var/log/pods/prod_orders-1_33/mongod/4.log", "orders-1", cri),
        ],
        "/var/log/remote/{host}.log" => vec![
            wrapped("/var/log/remote/orders-0.log.1", "orders-0", syslog),
            wrapped("/var/log/remote/orders-0.log", "orders-0", syslog),
            wrapped("/var/log/remote/orders-1.log", "orders-1", syslog),
        ],
        other => bail!("nobody made up a folder for {other}"),
    })
}

/// Goal: who follows `docs/sources/lines.md` has lines sent and an unknown host known; and what the page says
/// that shippers send is taken. Method: the page's file and commands in their order; its samples of bodies.
#[test]
fn raw_lines_are_sent_as_the_page_says() -> Result<()> {
    let Some(_) = curl() else {
        left_out("sending raw lines with curl", "there is no curl");
        return Ok(());
    };
    let page = "docs/sources/lines.md";
    let mut reader = Reader::new()?;
    reader.logs = vec![Log::new("/var/log/mongodb/mongod.log", "db-1", 27017)];
    reader.log_in()?;
    let mut sending: Option<(Running, String, String)> = None;
    let mut estate = String::new();
    for block in blocks(page)? {
        match block {
            Block::Toml(file) => {
                reader.write("doorbook.toml", &file)?;
                estate = file;
            }
            Block::Shell(lines) => {
                for line in lines.lines() {
                    match &sending {
                        None if line.starts_with("doorbook key create") => {
                            let key = reader.run(&format!("{line} --json"))?;
                            let key: Value = serde_json::from_str(&key)?;
                            let half = |name: &str| key[name].as_str().context("a key");
                            let key = format!("{}:{}", half("publicKey")?, half("privateKey")?);
                            let (serving, address) = reader.serve_at("doorbook serve")?;
                            sending = Some((serving, key, format!("http://{address}")));
                        }
                        Some((_, key, url)) if line.starts_with("curl ") => {
                            // On the other machine, which says so in its log.
                            if line.contains("db-9") {
                                let log = reader.path("/var/log/mongodb/mongod.log");
                                let text = fs::read_to_string(&log)?.replace("db-1", "db-9");
                                fs::write(&log, text)?;
                            }
                            let line = line.replace("$KEY", key).replace("$URL", url);
                            let answer: Value =
                                serde_json::from_str(&reader.run(&reader.here(&line))?)?;
                            let lines: u64 = ["stored", "duplicates", "quarantined", "ignored"]
                                .iter()
                                .filter_map(|name| answer[*name].as_u64())
                                .sum();
                            ensure!(lines == 2, "{line}\n{answer}");
                        }
                        _ => reader.paste(line)?,
                    }
                    if line.starts_with("doorbook quarantine list") {
                        let printed = reader.run(line)?;
                        let rule: Vec<&str> =
                            printed.lines().filter_map(|line| line.strip_prefix("    ")).collect();
                        let hosts = estate.replace("\"db-2\"", "\"db-2\", \"db-9\"");
                        // Where every host has a rule already, a host is all that it lacks.
                        let whole = format!("{hosts}\n{}\n", rule.join("\n"));
                        reader.write("doorbook.toml", &whole)?;
                    }
                }
            }
        }
    }
    let (serving, key, url) = sending.context("the page makes a key")?;
    let text = fs::read_to_string(workspace().join(page))?;
    let samples: Vec<&str> =
        text.split("It sends `").skip(1).filter_map(|rest| rest.split('`').next()).collect();
    ensure!(samples.len() == 3, "{samples:?}");
    let login = fs::read_to_string(reader.path("/var/log/mongodb/mongod.log"))?;
    let login = Value::from(login.lines().last().context("a line")?).to_string();
    for sample in samples {
        let body = sample.replace("\"{\\\"t\\\":…}\"", &login);
        ensure!(body != sample, "{sample}");
        reader.write("body.json", &body)?;
        let line = format!(
            "curl -fsS --user {key} -H 'Content-Type: application/json' --data-binary @body.json {url}/api/v1/lines"
        );
        let answer: Value = serde_json::from_str(&reader.run(&line)?)?;
        let of_host = answer["duplicates"] == 1 || answer["quarantined"] == 1;
        ensure!(of_host, "{sample}\n{answer}");
    }
    let events = reader.run("doorbook events --project shop --limit 0 --json")?;
    ensure!(events.lines().count() == 2, "{events}");
    let ended = serving.interrupt()?;
    ensure!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    without_complaints(&ended)
}

/// A piece of a page that is meant to be pasted.
pub enum Block {
    Toml(String),
    Shell(String),
}

pub fn blocks(page: &str) -> Result<Vec<Block>> {
    let text = fs::read_to_string(workspace().join(page))?;
    let mut blocks = Vec::new();
    for fenced in text.split("\n```").skip(1).step_by(2) {
        match fenced.split_once('\n').context("a block has a first line")? {
            ("toml", file) => blocks.push(Block::Toml(format!("{file}\n"))),
            ("sh", lines) => blocks.push(Block::Shell(lines.to_owned())),
            // Of other programs, and answers.
            ("yaml" | "conf" | "json", _) => {}
            (kind, _) => bail!("{page} has a block of {kind:?}"),
        }
    }
    ensure!(!blocks.is_empty(), "{page} has no blocks");
    Ok(blocks)
}

/// A log as the page has it, and how its transport wraps lines.
struct Log {
    path: String,
    host: String,
    port: u16,
    wrap: fn(&str) -> String,
}

impl Log {
    fn new(path: &str, host: &str, port: u16) -> Log {
        Log { path: path.to_owned(), host: host.to_owned(), port, wrap: str::to_owned }
    }
}

/// Someone who reads a page and pastes from it.
struct Reader {
    folder: TempDir,
    data_dir: Option<PathBuf>,
    logs: Vec<Log>,
    /// Logins so far.
    logins: u64,
}

/// Of `doorbook source list --json`.
#[derive(Debug, Deserialize)]
struct Source {
    state: String,
}

/// Of `doorbook coverage --json`.
#[derive(Debug, Deserialize)]
struct Gap {
    cause: String,
}

impl Reader {
    fn new() -> Result<Reader> {
        let folder = TempDir::with_prefix("doorbook-pages-")?;
        fs::create_dir_all(folder.path().join("var/lib"))?;
        Ok(Reader { folder, data_dir: None, logs: Vec::new(), logins: 0 })
    }

    /// With the test's folder in place of the machine's.
    fn here(&self, text: &str) -> String {
        let here = self.folder.path().display();
        ["/var/", "/srv/", "/etc/doorbook"]
            .iter()
            .fold(text.to_owned(), |text, path| text.replace(path, &format!("{here}{path}")))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Each log is written from its beginning: a start and a login, a second apart.
    fn log_in(&mut self) -> Result<()> {
        for at in 0..self.logs.len() {
            self.append(at, true)?;
        }
        Ok(())
    }

    /// One more login at each of so many hosts, in the logs that are written to.
    fn log_in_at_the_last_of(&mut self, hosts: usize) -> Result<()> {
        (self.logs.len() - hosts..self.logs.len()).try_for_each(|at| self.append(at, false))
    }

    fn append(&mut self, at: usize, starts: bool) -> Result<()> {
        let Log { path, host, port, wrap } = &self.logs[at];
        let path = self.path(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        let mut text = fs::read_to_string(&path).unwrap_or_default();
        self.logins += 1;
        let n = self.logins;
        let time = time(n)?;
        if starts {
            let start = format!(
                "{{\"t\":{{\"$date\":\"{time}\"}},\"s\":\"I\",  \"c\":\"CONTROL\",  \"id\":4615611, \
                 \"ctx\":\"initandlisten\",\"msg\":\"MongoDB starting\",\"attr\":{{\"pid\":{n},\
                 \"port\":{port},\"dbPath\":\"/data/db\",\"architecture\":\"64-bit\",\"host\":\"{host}\"}}}}"
            );
            text += &(wrap(&start) + "\n");
        }
        let login = format!(
            "{{\"t\":{{\"$date\":\"{time}\"}},\"s\":\"I\",  \"c\":\"ACCESS\",   \"id\":20250,   \
             \"ctx\":\"conn{n}\",\"msg\":\"Authentication succeeded\",\"attr\":{{\"mechanism\":\
             \"SCRAM-SHA-256\",\"speculative\":true,\"principalName\":\"user-{n}\",\
             \"authenticationDatabase\":\"admin\",\"remote\":\"192.0.2.7:4711\",\"extraInfo\":{{}}}}}}"
        );
        fs::write(&path, text + &wrap(&login) + "\n")?;
        Ok(())
    }

    fn shell(&self, line: &str) -> Result<Command> {
        let folder = doorbook()?.parent().context("the binary is in a folder")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder.path());
        shell.env("PATH", format!("{}:{path}", folder.display())).env("HOME", self.folder.path());
        shell.env("NO_COLOR", "1").env_remove("DOORBOOK_DATA_DIR");
        if let Some(data_dir) = &self.data_dir {
            shell.env("DOORBOOK_DATA_DIR", data_dir);
        }
        Ok(shell)
    }

    /// Runs a line. It must end as its comment says, and print what that says.
    fn paste(&mut self, line: &str) -> Result<()> {
        let (words, comment) = line.split_once('#').unwrap_or((line, ""));
        let (words, comment) = (self.here(words), comment.trim());
        if let Some(value) = words.strip_prefix("export DOORBOOK_DATA_DIR=") {
            self.data_dir = Some(PathBuf::from(value.trim()));
            return Ok(());
        }
        let ended = outcome(&mut self.shell(&words)?)?;
        let expected = if comment.contains("exit code 5") { 5 } else { 0 };
        ensure!(ended.status.code() == Some(expected), "{line}: {ended:?}");
        let printed = String::from_utf8_lossy(&ended.stdout);
        let promises = comment == "nothing to change" || comment.starts_with("doorbook.toml: ");
        ensure!(!promises || printed.contains(comment), "{line}\nprints {printed}");
        Ok(())
    }

    fn serve(&self, line: &str) -> Result<Running> {
        self.serve_at(line).map(|(serving, _)| serving)
    }

    /// With its address.
    fn serve_at(&self, line: &str) -> Result<(Running, String)> {
        // Not the shell, which a Ctrl-C would end without the server.
        let line = format!("exec {} --listen 127.0.0.1:0", self.here(line));
        let mut serving = Running::start(&mut self.shell(&line)?)?;
        let address = serving.wait_for(address_in)?;
        Ok((serving, address))
    }

    /// Waits until each source follows and every login is there; then nothing was missed but at so many
    /// other hosts.
    fn is_complete(&self, sources: usize, others: usize) -> Result<()> {
        let list = "doorbook source list --json";
        let events = "doorbook events --project shop --limit 0 --json";
        let count = |printed: String| printed.lines().count() as u64;
        until("every login", || {
            let list: Vec<Source> = serde_json::from_str(&self.run(list)?)?;
            ensure!(list.len() == sources, "{list:#?}");
            let follow = list.iter().all(|source| source.state == "following");
            Ok((follow && count(self.run(events)?) >= self.logins).then_some(()))
        })?;
        ensure!(count(self.run(events)?) == self.logins, "more than {} logins", self.logins);
        let quarantine = self.run(&format!("{events} --quarantine"))?;
        ensure!(quarantine.is_empty(), "{quarantine}");
        let gaps = self.run("doorbook coverage --project shop --json")?;
        let gaps: Vec<Gap> = serde_json::from_str(&gaps)?;
        // A host without a source is told as such.
        let no_source = gaps.iter().filter(|gap| gap.cause == "no source").count();
        ensure!((no_source, gaps.len()) == (others, others), "{gaps:#?}");
        Ok(())
    }

    fn run(&self, line: &str) -> Result<String> {
        run(&mut self.shell(line)?)
    }
}

/// The n-th second of the last hour, as mongod writes it.
fn time(n: u64) -> Result<String> {
    let at = jiff::Timestamp::from_second(now() as i64 - 3600 + n as i64)?;
    Ok(at.strftime("%Y-%m-%dT%H:%M:%S.000+00:00").to_string())
}
