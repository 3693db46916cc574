//! An array on disk that is written, merged and cleared as fast as the real `tiledb` can, and is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::{Child, Command};

use anyhow::{Context, Result, ensure};
use doorbook_event::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::support::DataDir;
use crate::support::process::until;
use crate::support::tools::{self, left_out};

/// How long it is worked, in seconds.
const SOAK_VAR: &str = "DOORBOOK_TEST_SOAK_SECONDS";

/// What the clients say that they did.
#[derive(Debug, Deserialize)]
struct Done {
    operation: String,
    /// Seconds since 1970.
    from: f64,
    to: f64,
    /// Of a write, which no other has.
    timestamp: Option<i64>,
    /// Of a merge, the file it left.
    object: Option<String>,
    /// Whether the library said that it failed: it may have been done all the same.
    #[serde(default)]
    failed: bool,
}

/// What the history has: each event's action with its timestamp or its file.
type Told = BTreeMap<(String, String), u64>;

impl Done {
    /// What it is known by; nothing for what only removes.
    fn key(&self) -> Option<(String, String)> {
        let time = self.timestamp.map(|at| Timestamp::from_millis(at).to_string());
        Some((self.operation.clone(), time.or_else(|| self.object.clone())?))
    }
}

/// Goal: with a writer, a consolidator and a vacuum that never wait for the watcher, what is recorded is what
/// was done, or a gap contains what is missing; nothing is recorded that was not done, and nothing twice.
/// Method: two processes work one array; each write has a timestamp of its own.
#[test]
fn a_busy_array_is_watched() -> Result<()> {
    let Some(python) = tools::tiledb_python() else {
        left_out("a busy array, watched", "no Python environment with tiledb");
        return Ok(());
    };
    let seconds = std::env::var(SOAK_VAR).unwrap_or_else(|_| "20".to_owned());
    let data = DataDir::new()?;
    let arrays = data.folder().canonicalize()?.join("arrays");
    std::fs::create_dir(&arrays)?;
    let file = format!(
        "version = 1\n[[source]]\nname = \"lake\"\nkind = \"tiledb-storage\"\nnamespace = \"alice\"\n\
         path = \"file://{}\"\ninterval_seconds = 1\n",
        arrays.display()
    );
    std::fs::write(data.folder().join("doorbook.toml"), file)?;
    data.run(&["user", "create", "alice"])?;
    data.run(&["apply", "--config", "doorbook.toml"])?;
    let server = data.serve(&["--config", "doorbook.toml"])?;

    let array = arrays.join("busy");
    let work = |role: &str| -> Result<Child> {
        let mut client = Command::new(&python);
        client.arg(tools::workspace().join("tests/clients/array_soak.py"));
        client.args([role, array.to_str().context("UTF-8")?, &seconds]);
        client.stdout(File::create(data.folder().join(role))?);
        client.spawn().context("python runs")
    };
    let (mut writer, mut consolidator) = (work("write")?, work("consolidate")?);
    ensure!(writer.wait()?.success() && consolidator.wait()?.success(), "both end well");
    let mut done = Vec::new();
    for role in ["write", "consolidate"] {
        let printed = std::fs::read_to_string(data.folder().join(role))?;
        for line in printed.lines() {
            done.push(serde_json::from_str::<Done>(line)?);
        }
    }

    let last = |done: &&Done| done.operation == "query_write" && !done.failed;
    let last = done.iter().rev().find(last).and_then(Done::key).context("something was written")?;
    until("the last write to be told", || Ok(told(&data)?.contains_key(&last).then_some(())))?;
    // What says of what something was merged may come a minute later still: if it does not, that is a gap.
    let mut differs = None;
    until("nothing to be lost", || {
        differs = compare(&done, &told(&data)?, &gaps(&data)?).err();
        Ok(differs.is_none().then_some(()))
    })
    .with_context(|| format!("{differs:?}"))?;
    server.stop()?;
    Ok(())
}

fn told(data: &DataDir) -> Result<Told> {
    let words = ["events", "--namespace", "alice", "--json", "--limit", "0"];
    let mut told = Told::new();
    for line in data.run(&words)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        let action = event["action"].as_str().context("an action")?.to_owned();
        let attribute = |name: &str| event["attributes"][name].as_str().unwrap_or("").to_owned();
        let key = match &*action {
            "query_write" | "query_delete" | "array_metadata_update" => attribute("data_from"),
            _ => attribute("object"),
        };
        *told.entry((action, key)).or_default() += 1;
    }
    Ok(told)
}

/// What may be missing, by action: from when to when.
fn gaps(data: &DataDir) -> Result<Vec<(String, Timestamp, Timestamp)>> {
    let gaps: Vec<Value> = data.json(&["coverage"])?;
    let time = |value: &Value, open: Timestamp| -> Result<Timestamp> {
        Ok(value.as_str().map(str::parse).transpose()?.unwrap_or(open))
    };
    let mut all = Vec::new();
    for gap in &gaps {
        if gap["cause"] == "no source" {
            continue;
        }
        let (from, to) = (time(&gap["from"], Timestamp::MIN)?, time(&gap["to"], Timestamp::MAX)?);
        for action in gap["actions"].as_array().into_iter().flatten() {
            all.push((action.as_str().unwrap_or("").to_owned(), from, to));
        }
    }
    Ok(all)
}

fn compare(done: &[Done], told: &Told, gaps: &[(String, Timestamp, Timestamp)]) -> Result<()> {
    let at = |seconds: f64| Timestamp::from_micros((seconds * 1e6) as i64);
    let (mut recorded, mut missing) = (0, 0);
    let mut keys = BTreeSet::new();
    for one in done {
        let Some(key) = one.key() else { continue };
        let is_told = told.contains_key(&key);
        keys.insert(key);
        if one.failed {
            continue;
        }
        if is_told {
            recorded += 1;
            continue;
        }
        // Merged commits that were merged again and removed between two looks leave nothing.
        if one.object.as_ref().is_some_and(|object| object.ends_with(".con")) {
            continue;
        }
        let (from, to) = (at(one.from), at(one.to));
        let contains = |gap: &&(String, Timestamp, Timestamp)| {
            gap.0 == one.operation && gap.1 <= from && to <= gap.2
        };
        ensure!(gaps.iter().any(|gap| contains(&gap)), "lost: {one:?}; gaps {gaps:?}");
        missing += 1;
    }
    for (key, times) in told {
        let is_known = match &*key.0 {
            "query_write" | "query_delete" | "array_metadata_update" | "consolidate" => {
                keys.contains(key)
            }
            "create" | "vacuum" | "register" => true,
            _ => false,
        };
        ensure!(is_known, "nobody did {key:?}");
        ensure!(*times == 1 || key.1.is_empty(), "{times} times {key:?}");
    }
    let gap_count = gaps.iter().map(|(_, from, to)| (from, to)).collect::<BTreeSet<_>>().len();
    println!("soak: {recorded} recorded, {missing} in {gap_count} gaps, none lost");
    Ok(())
}
