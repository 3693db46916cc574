//! Real logs of many versions, each with its counts: imported through the binary and compared.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::support::DataDir;
use crate::support::tools::{self, left_out};

/// An entry of the samples' `index.json`.
#[derive(Deserialize)]
struct Sample {
    file: String,
    counts: BTreeMap<String, u64>,
}

impl Sample {
    fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// Explicit success lines; and announcements without an outcome, which were how 2.4 and 2.6 said
    /// success. Later text versions announce, too, and then say how it ended.
    fn successes(&self) -> u64 {
        let implied = if self.file.contains("mongod_26") { self.count("Ai") } else { 0 };
        self.count("S") + implied
    }

    /// Explicit failure lines. The two lines that the CRI sample splits are one whole line each once
    /// their parts are joined, which the index counts per physical line.
    fn failures(&self) -> u64 {
        let joined = if self.file.contains("cri-from") { self.count("badjson") } else { 0 };
        self.count("F") + joined
    }

    /// Audit logs are another source's input.
    fn is_mongod_log(&self) -> bool {
        !self.counts.keys().any(|name| name.starts_with("aud_"))
    }
}

/// Goal: every real log gives exactly the events its index counts. Method: each one imported into a
/// cluster of its own, with `--json`.
#[test]
fn every_sample_gives_the_counts_of_its_index() -> Result<()> {
    let Some(samples) = tools::samples() else {
        left_out("the shared real logs", "no samples folder beside the repository");
        return Ok(());
    };
    let index = std::fs::read_to_string(samples.join("index.json"))?;
    let index: Vec<Sample> = serde_json::from_str(&index)?;
    ensure!(index.iter().any(Sample::is_mongod_log), "the index names no mongod log");
    let data = DataDir::new()?;
    data.run(&["project", "create", "Orders"])?;
    let mut wrong = Vec::new();
    for (number, sample) in index.iter().filter(|sample| sample.is_mongod_log()).enumerate() {
        if let Err(error) = check(&data, &samples, sample, number) {
            wrong.push(format!("{}: {error:#}", sample.file));
        }
    }
    ensure!(wrong.is_empty(), "{} samples are wrong:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

fn check(data: &DataDir, samples: &Path, sample: &Sample, number: usize) -> Result<()> {
    let (cluster, host) = (format!("Cluster{number}"), format!("db-{number}.example.net"));
    data.run(&["cluster", "create", &cluster, "--project", "Orders", "--host", &host])?;
    let imported = data.import(&cluster, &host, &[&samples.join(&sample.file)])?;
    let mut differences = Vec::new();
    let mut expect = |what: &str, found: u64, counted: u64| {
        if found != counted {
            differences.push(format!("{what} {found}, counted {counted}"));
        }
    };
    expect("lines", imported.lines, sample.count("lines"));
    expect("successes", imported.successes, sample.successes());
    expect("failures", imported.failures, sample.failures());
    expect("suspect", imported.suspect, sample.count("X"));
    expect("quarantined", imported.quarantined, 0);
    expect("duplicates", imported.duplicates, 0);
    // A restriction and a denied action are events, and neither a success nor a failure line.
    let others = sample.count("R") + sample.count("Z");
    let events = sample.successes() + sample.failures() + sample.count("X") + others;
    expect("events", imported.events, events);
    ensure!(differences.is_empty(), "{}", differences.join("; "));
    Ok(())
}

/// The forged lines of a 4.2 log are kept and shown, and are nobody's login.
#[test]
fn a_forged_success_is_suspect_and_no_login() -> Result<()> {
    let Some(samples) = tools::samples() else {
        left_out("the forged lines of a real log", "no samples folder beside the repository");
        return Ok(());
    };
    let data = DataDir::new()?;
    data.set_up("Cluster0", "db-1.example.net")?;
    let log = samples.join("lab/4.2.6/standalone-auth.log");
    let imported = data.import("Cluster0", "db-1.example.net", &[&log])?;
    ensure!(imported.suspect == 4 && imported.successes == 32, "{imported:?}");
    let starts_midway = samples.join("mtools/client/mongod_4.2.11.log");
    let imported = data
        .import("Cluster0", "db-1.example.net", &[&starts_midway])
        .context("the log that starts in the middle of a process' life")?;
    ensure!(imported.suspect == 0 && imported.successes == 72, "{imported:?}");
    ensure!(imported.unconfirmed == 20, "{imported:?}");
    Ok(())
}
