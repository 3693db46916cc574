//! The `doorbook` binary under test, a data directory of its own, a server on it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

use super::http::Connection;
use super::process::{Ended, Running, command, outcome, run};
use super::tools;

/// The binary of the same profile as this test, built from the present sources.
pub fn doorbook() -> Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let binary = build_if_stale()?;
    Ok(BINARY.get_or_init(|| binary))
}

/// `target/<profile>/doorbook`, two folders above this test's executable. Where the same command
/// that built this test built it, too, it is fresh and taken as it is: a second build would resolve
/// features without the dev-dependencies and compile half of the tree again.
fn build_if_stale() -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let profile =
        executable.ancestors().nth(2).context("a test runs from target/<profile>/deps")?;
    let binary = profile.join("doorbook");
    if !is_fresh(&binary) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut build =
            command(cargo, ["build", "--quiet", "--package", "doorbook", "--bin", "doorbook"]);
        if profile.ends_with("release") {
            build.arg("--release");
        }
        run(build.current_dir(tools::workspace()))?;
    }
    Ok(binary)
}

/// Whether the binary is newer than every source it was built from, by cargo's own list.
fn is_fresh(binary: &Path) -> bool {
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let Some(built) = modified(binary) else { return false };
    let Ok(list) = std::fs::read_to_string(binary.with_extension("d")) else { return false };
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    sources.split_whitespace().all(|source| modified(Path::new(source)).is_some_and(|m| m <= built))
}

/// A data directory of its own, and the commands that work on it.
pub struct DataDir {
    folder: TempDir,
}

/// What `import --json` prints.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    pub lines: u64,
    pub events: u64,
    pub successes: u64,
    pub failures: u64,
    pub suspect: u64,
    pub unconfirmed: u64,
    pub duplicates: u64,
    pub quarantined: u64,
}

/// An API key as `key create --json` prints it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    pub public_key: String,
    pub private_key: String,
}

/// A service account as `service-account create --json` prints it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccount {
    pub client_id: String,
    pub client_secret: String,
}

/// A project as `project create --json` prints it.
#[derive(Debug, Deserialize)]
pub struct Project {
    pub id: String,
    pub name: String,
}

impl DataDir {
    /// An empty one.
    pub fn new() -> Result<DataDir> {
        Ok(DataDir { folder: TempDir::with_prefix("doorbook-e2e-")? })
    }

    /// The folder around it, for files of the test.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The binary with this data directory, and no configuration from the user's environment.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = command(doorbook()?, arguments);
        command.env("DOORBOOK_DATA_DIR", self.folder.path().join("data"));
        command.env("HOME", self.folder.path());
        command.env("NO_COLOR", "1");
        command.current_dir(self.folder.path());
        Ok(command)
    }

    /// Runs it and demands success. Returns stdout.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(arguments)?)
    }

    /// Runs it, whatever comes of it.
    pub fn outcome(&self, arguments: &[&str]) -> Result<Output> {
        outcome(&mut self.command(arguments)?)
    }

    /// Runs it with `--json` and reads what it prints.
    pub fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let stdout = self.run(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&stdout).with_context(|| format!("{arguments:?} printed {stdout:?}"))
    }

    /// Makes a project, a cluster with one host, and a key that may read its history.
    pub fn set_up(&self, cluster: &str, host: &str) -> Result<(Project, Key)> {
        let project: Project = self.json(&["project", "create", "Orders"])?;
        ensure!(project.name == "Orders", "{project:?}");
        self.run(&["cluster", "create", cluster, "--project", &project.id, "--host", host])?;
        let key = self.json(&["key", "create", "--project", &project.id, "--role", ROLE])?;
        Ok((project, key))
    }

    /// Writes `doorbook.toml` with one project and applies it. Makes a key that may read its history.
    pub fn apply(&self, file: &str) -> Result<(Project, Key)> {
        std::fs::write(self.folder().join("doorbook.toml"), file)?;
        self.run(&["apply"]).with_context(|| file.to_owned())?;
        let mut projects: Vec<Project> = self.json(&["project", "list"])?;
        let project = projects.pop().context("a project")?;
        let key = self.json(&["key", "create", "--project", &project.id, "--role", ROLE])?;
        Ok((project, key))
    }

    /// Imports files or folders.
    pub fn import(&self, cluster: &str, host: &str, inputs: &[&Path]) -> Result<Imported> {
        let mut arguments = vec!["import", "--project", "Orders", "--cluster", cluster];
        arguments.extend(["--host", host]);
        for input in inputs {
            arguments.push(input.to_str().context("temporary paths are UTF-8")?);
        }
        let printed: Value = self.json(&arguments)?;
        serde_json::from_value(printed.clone()).with_context(|| format!("{printed}"))
    }

    /// Starts a server; `arguments` come after `serve --listen 127.0.0.1:0`.
    pub fn serve(&self, arguments: &[&str]) -> Result<Server> {
        self.serve_at("127.0.0.1:0", arguments)
    }

    /// The same at an address.
    pub fn serve_at(&self, address: &str, arguments: &[&str]) -> Result<Server> {
        let words = [&["serve", "--listen", address], arguments].concat();
        let mut running = Running::start(&mut self.command(&words)?)?;
        let address = running.wait_for(address_in)?;
        let scheme = if arguments.contains(&"--tls-cert") { "https" } else { "http" };
        Ok(Server { running, base: format!("{scheme}://{address}") })
    }
}

/// The role that lets a key read a project's access history, and look around in it.
pub const ROLE: &str = "GROUP_OWNER";

/// The first `127.0.0.1:PORT` in a line.
pub fn address_in(line: &str) -> Option<String> {
    let start = line.find("127.0.0.1:")?;
    let rest = &line[start..];
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'));
    Some(rest[..end.unwrap_or(rest.len())].to_string())
}

/// A running `doorbook serve`.
pub struct Server {
    running: Running,
    /// `http://127.0.0.1:PORT`, or `https`.
    pub base: String,
}

impl Server {
    /// How many events of a project it has.
    pub fn events(&self, project: &Project, key: &Key) -> Result<u64> {
        let path = format!("/api/v1/events?project={}&limit=1", project.id);
        let caller = (&*key.public_key, &*key.private_key);
        let reply = Connection::to(&self.base)?.send("GET", &path, caller, &[], "")?;
        let answer: Value = serde_json::from_str(&reply.body)?;
        answer["total"].as_u64().with_context(|| reply.body)
    }

    /// Stops it with Ctrl-C. It must end well and must not have complained.
    pub fn stop(self) -> Result<()> {
        let ended = self.running.interrupt()?;
        ensure!(ended.status.success(), "Ctrl-C: {}\n{}", ended.status, ended.stderr);
        without_complaints(&ended)
    }

    /// Stops it; it must have complained, of this and of nothing else.
    pub fn stop_after(self, complaint: &str) -> Result<()> {
        let mut ended = self.running.interrupt()?;
        ensure!(ended.status.success(), "Ctrl-C: {}\n{}", ended.status, ended.stderr);
        ensure!(ended.stderr.contains(complaint), "no word of {complaint:?}:\n{}", ended.stderr);
        let others: Vec<&str> =
            ended.stderr.lines().filter(|line| !line.contains(complaint)).collect();
        ended.stderr = others.join("\n");
        without_complaints(&ended)
    }

    /// Kills it, as a power cut would.
    pub fn kill(self) -> Result<()> {
        without_complaints(&self.running.kill()?)
    }
}

/// Fails on any line of stderr in which the program complains.
pub fn without_complaints(ended: &Ended) -> Result<()> {
    const COMPLAINTS: [&str; 3] = ["WARN", "ERROR", "panicked"];
    let complaint = ended
        .stderr
        .lines()
        .find(|line| COMPLAINTS.iter().any(|complaint| line.contains(complaint)));
    ensure!(
        complaint.is_none(),
        "unexpected in stderr: {complaint:?}\nall of it:\n{}",
        ended.stderr
    );
    Ok(())
}
