//! A real replica set of three members that prove to each other who they are by a key file.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use super::mongod::{Attempt, free_port, name_in};
use super::process::{Running, run, until};
use super::time::now;
use super::tools;

const PASSWORD: &str = "a root password";

/// Three mongods that run as long as this value lives.
pub struct ReplicaSet {
    folder: TempDir,
    python: PathBuf,
    ports: [u16; 3],
    attempts: BTreeMap<u16, Vec<Attempt>>,
    begun: f64,
    _running: Vec<Running>,
}

/// An attempt, and at which member it was made.
#[derive(Deserialize)]
struct AtMember {
    port: u16,
    #[serde(flatten)]
    attempt: Attempt,
}

impl ReplicaSet {
    /// Starts the members, makes them a set, and makes its users.
    pub fn start(binary: &Path, python: PathBuf) -> Result<ReplicaSet> {
        let folder = TempDir::with_prefix("doorbook-replica-set-")?;
        let key = folder.path().join("key");
        std::fs::write(&key, "a+key+that+the+three+share")?;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600))?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let mut running = Vec::new();
        for port in ports {
            let own = folder.path().join(port.to_string());
            std::fs::create_dir_all(own.join("db"))?;
            let mut command = Command::new(binary);
            command.args(["--replSet", "orders", "--keyFile"]).arg(&key);
            command.args(["--logappend", "--logpath"]).arg(own.join("mongod.log"));
            command.args(["--port", &port.to_string(), "--bind_ip", "127.0.0.1"]);
            command.arg("--dbpath").arg(own.join("db")).arg("--unixSocketPrefix").arg(&own);
            // Three of them are to fit beside other tests.
            command.args(["--oplogSize", "16", "--wiredTigerCacheSizeGB", "0.25"]);
            running.push(Running::start(&mut command)?);
        }
        let attempts = ports.iter().map(|port| (*port, Vec::new())).collect();
        let mut set = ReplicaSet { folder, python, ports, attempts, begun: 0.0, _running: running };
        until("three members that write", || Ok(set.members().ok().map(drop)))?;
        set.begun = now();
        set.attempt("setup")?;
        Ok(set)
    }

    /// Where each member's log is, as a pattern for sources: `{port}` is the member's.
    pub fn log_pattern(&self) -> String {
        format!("{}/{{port}}/mongod.log", self.folder.path().display())
    }

    /// The names that the members call themselves by, and their attempts.
    pub fn members(&self) -> Result<Vec<(String, &[Attempt])>> {
        let member = |port: &u16| {
            let log = self.folder.path().join(port.to_string()).join("mongod.log");
            let attempts = self.attempts.get(port).context("a member")?;
            Ok((name_in(&std::fs::read_to_string(log)?)?, attempts.as_slice()))
        };
        self.ports.iter().map(member).collect()
    }

    /// When all members had begun to write and nobody had logged in, in seconds since 1970.
    pub fn begun(&self) -> f64 {
        self.begun
    }

    /// Logins at each member, and at the set.
    pub fn run_attempts(&mut self) -> Result<()> {
        self.attempt("run").map(drop)
    }

    /// The primary gives way to another.
    pub fn step_down(&mut self) -> Result<()> {
        self.attempt("step-down").map(drop)
    }

    /// Successful logins as each member counts them, the members' own at each other among them.
    pub fn successes_by_their_own_count(&mut self) -> Result<Vec<u64>> {
        let printed = self.attempt("counters")?;
        let counts: BTreeMap<u16, u64> = serde_json::from_str(&printed)?;
        let of = |port| counts.get(port).copied().with_context(|| format!("{port}: {printed}"));
        self.ports.iter().map(of).collect()
    }

    /// Runs the script and takes down the attempts it made. Returns what else it printed.
    fn attempt(&mut self, what: &str) -> Result<String> {
        let mut command = Command::new(&self.python);
        command.arg(tools::script("replica_set.py")).args([
            what,
            "--password",
            PASSWORD,
            "--ports",
        ]);
        command.args(self.ports.map(|port| port.to_string()));
        let mut rest = String::new();
        for line in run(&mut command)?.lines() {
            match serde_json::from_str::<AtMember>(line) {
                Ok(AtMember { port, attempt }) => {
                    self.attempts.entry(port).or_default().push(attempt);
                }
                Err(_) => rest.push_str(line),
            }
        }
        Ok(rest)
    }
}
