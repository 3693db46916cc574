//! The other engines: each in a Python process of its own (`peers.py`), asked over its pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::workload::{Answer, Parameters, Query};
use crate::process::{command, workspace};
use crate::tools;

pub const NAMES: [&str; 4] = ["duckdb", "chdb", "sqlite", "postgresql"];
/// Those that load text between tabs; the others read the lines that Doorbook gets.
pub const TAKES_TABS: [&str; 2] = ["sqlite", "postgresql"];

/// A peer that has loaded the events.
pub struct Peer {
    pub name: String,
    pub loaded: Loaded,
    child: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// What loading took.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Loaded {
    pub version: String,
    pub size_bytes: u64,
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_bytes: u64,
    /// Events per second of durable commits of 1000, where that is the engine's trade.
    pub commits_per_second: Option<f64>,
}

#[derive(Deserialize)]
struct Timed {
    nanoseconds: u64,
    #[serde(flatten)]
    answer: Answer,
}

/// Starts a peer and has it load the events.
pub fn start(name: &str, folder: &Path, ndjson: &Path, tsv: &Path) -> Result<Peer> {
    let python = tools::bench_python()?;
    if name == "postgresql" {
        tools::postgresql()?;
    }
    let folder = folder.join(name);
    std::fs::create_dir_all(&folder)?;
    let mut peer = command(python, [workspace().join("xtask/src/bench/store/peers.py")]);
    peer.arg(name).args([&folder, ndjson, tsv]);
    let mut child = peer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let questions = child.stdin.take();
    let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
    let loaded = serde_json::from_str(&line(&mut answers)?)?;
    Ok(Peer { name: name.to_string(), loaded, child, questions, answers })
}

impl Peer {
    /// The answer, and how many nanoseconds it took.
    pub fn ask(&mut self, query: Query, parameters: &Parameters) -> Result<(u64, Answer)> {
        let questions = self.questions.as_mut().expect("taken only by drop");
        writeln!(questions, "{}", json!({"query": query, "parameters": parameters}))?;
        let timed: Timed = serde_json::from_str(&line(&mut self.answers)?)
            .with_context(|| format!("what {} answered", self.name))?;
        Ok((timed.nanoseconds, timed.answer))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Its loop ends with its input, and it puts away what it started.
        drop(self.questions.take());
        let _ = self.child.wait();
    }
}

fn line(answers: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut line = String::new();
    answers.read_line(&mut line)?;
    anyhow::ensure!(!line.is_empty(), "it ended; its last words are above");
    Ok(line)
}
