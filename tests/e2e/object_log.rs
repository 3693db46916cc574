//! What a real gateway's log says of a real array, beside what was done with it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::pages::{Block, blocks};
use crate::support::DataDir;
use crate::support::ceph::Ceph;
use crate::support::process::{Running, command, until};
use crate::support::tools::{self, left_out};

const PAGE: &str = "docs/sources/ceph-ops-log.md";

/// What the client says that it did.
#[derive(Debug, Deserialize)]
pub struct Done {
    pub operation: String,
    user: String,
    error: Option<String>,
    bytes: Option<u64>,
}

impl Done {
    /// What it is called where it is told.
    pub fn action(&self) -> &str {
        match &*self.operation {
            // Nothing of the array may even be listed.
            "denied" => "read_schema",
            operation => operation,
        }
    }
}

/// Goal: who follows `docs/sources/ceph-ops-log.md` has recorded what was done with an array in a real store, each
/// operation once, with user, address and bytes, also what was done while the server was not there. Method: the
/// page's configuration and commands; the `tiledb` package works an array on a real gateway while the server is
/// killed and started; its list of operations is the truth.
#[test]
fn a_gateways_log_tells_what_was_done_with_an_array() -> Result<()> {
    let Some(python) = tools::tiledb_python().filter(|_| tools::has_ceph()) else {
        left_out("the ops log of a Ceph gateway", "no Ceph; `cargo xtask test` installs one");
        return Ok(());
    };
    let data = DataDir::new()?;
    let log = data.folder().join("ops.log");
    let log_path = log.to_str().context("temporary paths are UTF-8")?;
    let here = |text: &str| text.replace("/var/log/ceph/ops.log", log_path);
    let page = std::fs::read_to_string(tools::workspace().join(PAGE))?;
    let gateway = page.split("```conf\n").nth(1).and_then(|rest| rest.split("```").next());
    let ceph = Ceph::start(&here(gateway.context("the page configures the gateway")?))?;
    ceph.user("ann")?;
    ceph.user("bob")?;
    let mut shown = Vec::new();
    for block in blocks(PAGE)? {
        match block {
            Block::Toml(file) => {
                std::fs::write(data.folder().join("doorbook.toml"), here(&file))?;
            }
            Block::Shell(lines) => {
                for line in lines.lines() {
                    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
                    match words[0] {
                        "events" => shown = words.into_iter().map(str::to_owned).collect(),
                        _ => drop(data.run(&words)?),
                    }
                }
            }
        }
    }
    let mut server = data.serve(&[])?;
    let mut client = work(&python, &ceph)?;
    let mut done: Vec<Done> = Vec::new();
    while done.last().is_none_or(|last| last.operation != "delete") {
        done.push(client.wait_for(|line| serde_json::from_str(line).ok())?);
        if matches!(done.len(), 5 | 10) {
            server.kill()?;
            server = data.serve(&[])?;
        }
    }
    let mut words: Vec<&str> = shown.iter().map(String::as_str).collect();
    words.push("--json");
    let told = until("the last operation to be told", || {
        let events: Vec<Value> =
            data.run(&words)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let is_over = events.iter().any(|event| event["action"] == "delete");
        Ok(is_over.then_some(events))
    })?;
    // Newest first; that it was registered is no request.
    let told: Vec<&Value> =
        told.iter().rev().filter(|event| event["action"] != "register").collect();
    let actions: Vec<&str> = told.iter().filter_map(|event| event["action"].as_str()).collect();
    let expected: Vec<&str> = done.iter().map(Done::action).collect();
    ensure!(actions == expected, "{actions:?}\nand not {expected:?}\n{told:#?}");
    for (event, done) in told.iter().zip(&done) {
        ensure!(event["user"] == *done.user, "{event}");
        ensure!(event["address"] == "127.0.0.1", "{event}");
        let outcome = if done.operation == "denied" { "failure" } else { "success" };
        ensure!(
            event["outcome"] == outcome && done.error.is_some() == (outcome == "failure"),
            "{event}"
        );
        let number = |name: &str| -> Result<u64> {
            let text =
                event["attributes"][name].as_str().with_context(|| format!("{name}: {event}"))?;
            Ok(text.parse()?)
        };
        match (&*done.operation, done.bytes) {
            ("query_write", Some(bytes)) => ensure!(number("bytes_received")? == bytes, "{event}"),
            // All that lies there, what tells where in it, and the schema.
            ("query_read", Some(bytes)) => {
                let sent = number("bytes_sent")?;
                ensure!((bytes..bytes + 4096).contains(&sent), "{bytes}: {event}");
            }
            _ => {}
        }
    }
    server.stop()
}

/// Goal: who pastes what the pages of Amazon's logs say has read what is in the folder. Method: each page's file,
/// with logs of our own in its folder, packed as Amazon packs them.
#[test]
fn amazons_logs_are_read_as_their_pages_say() -> Result<()> {
    const LOGS: &str = "crates/source/src/object_log/test_data";
    for (page, folder, log, name) in [
        (
            "docs/sources/s3-access-log.md",
            "/srv/logs/lake",
            "s3-access.log",
            "2020-11-23-10-00-00-A",
        ),
        ("docs/sources/cloudtrail.md", "/srv/logs/trail", "cloudtrail.json", "2020/11/23/1.json"),
    ] {
        let data = DataDir::new()?;
        let logs = data.folder().join("logs");
        let path = logs.join(name);
        std::fs::create_dir_all(path.parent().context("it is in a folder")?)?;
        let log = std::fs::read_to_string(tools::workspace().join(LOGS).join(log))?;
        // What was just written may be written still.
        std::fs::write(&path, log.replace("2026", "2020"))?;
        data.run(&["user", "create", "alice"])?;
        let array = ["array", "register", "s3://lake/prod/my temps", "--namespace", "alice"];
        data.run(&[&array[..], &["--name", "temps"]].concat())?;
        for block in blocks(page)? {
            let Block::Toml(file) = block else { continue };
            let logs = logs.to_str().context("temporary paths are UTF-8")?;
            let file = file.replace(folder, logs) + "interval_seconds = 1\n";
            std::fs::write(data.folder().join("doorbook.toml"), file)?;
        }
        data.run(&["apply"])?;
        let server = data.serve(&[])?;
        let told = until("the log to be told", || {
            let words = ["events", "--namespace", "alice", "--array", "temps", "--json"];
            let printed = data.run(&words)?;
            let events: Vec<Value> =
                printed.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let told = events.iter().filter(|event| event["action"] != "register");
            let told: Vec<String> = told.map(|event| event["action"].to_string()).collect();
            Ok((told.len() >= 4).then_some(told))
        })?;
        ensure!(told.len() == 4 && told.contains(&"\"query_read\"".to_owned()), "{page}: {told:?}");
        server.stop()?;
    }
    Ok(())
}

/// The client that works an array in a bucket of the gateway.
pub fn work(python: &Path, ceph: &Ceph) -> Result<Running> {
    let script: PathBuf = tools::workspace().join("tests/clients/tiledb_on_s3.py");
    let mut words = command(python, [script.as_os_str()]);
    words.args([&*ceph.endpoint, "s3://arrays/prod/temperatures", "ann", "bob"]);
    // A gateway of 16.2 does not know the checksums that newer clients send.
    words.env("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required");
    words.env("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required");
    Running::start(&mut words)
}
