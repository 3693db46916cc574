//! `cargo xtask bench follow`: what it costs to follow many logs while they are written, and how long a
//! backlog takes.
//!
//! - *live*: one thread of ours appends to so many logs, so many lines a second in all, as one process
//!   each would: a few lines at a time. The server follows them. Its CPU time over the time that was
//!   written is how much of a core that takes; after the last line, how long it took to have stored it.
//! - *backlog*: a log is there before the server starts. The time from its start until all of it is stored.
//!
//! The number of events that answers count afterwards must be the generator's own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::import::machine;
use super::mongod_log::{self, Counts};
use crate::process::{Stopwatch, cargo, command, output, run as run_command, target_folder};

/// How much of a core, and memory.
const CORES_GOAL: f64 = 1.0;
const PEAK_BYTES_GOAL: u64 = 100_000_000;

/// Between two appends to each log.
const BEAT: Duration = Duration::from_millis(100);

/// How often the server is asked how far it is, and how long that may go on.
const LOOK: Duration = Duration::from_millis(200);
const LOOKS: usize = 5 * 60 * 5;

/// How much, how fast.
#[derive(clap::Args)]
pub struct Arguments {
    /// Logs that are written at the same time
    #[arg(long, default_value_t = 50)]
    logs: usize,
    /// Lines a second, over all of them
    #[arg(long, default_value_t = 200_000)]
    rate: u64,
    /// How long they are written
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Megabytes of the backlog; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    backlog: u64,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!((1..1000).contains(&arguments.logs), "--logs is 1 to 999");
    ensure!(arguments.rate > 0, "--rate is at least 1");
    run_command(&mut cargo(["build", "--release", "--locked", "--package", "doorbook"]))?;
    let release = target_folder()?.join("release");
    // On the disk that holds the build, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(&release)?;
    let binary = release.join("doorbook");
    live(arguments, &binary, &folder.path().join("live"))?;
    if arguments.backlog > 0 {
        backlog(arguments, &binary, &folder.path().join("backlog"))?;
    }
    println!("machine: {}", machine()?);
    Ok(())
}

fn live(arguments: &Arguments, binary: &Path, folder: &Path) -> Result<()> {
    let per_log = arguments.rate * arguments.seconds / arguments.logs as u64;
    let mut text = Vec::new();
    let counts = mongod_log::write(per_log, 1, &mut text)?;
    let ends: Vec<usize> =
        text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let estate = Estate::new(binary, folder, arguments.logs)?;
    let mut files = Vec::new();
    for n in 0..arguments.logs {
        files.push(File::create(estate.log(n))?);
    }
    let mut server = estate.serve()?;
    let stopwatch = Stopwatch::start();
    let mut written = 0;
    while written < ends.len() {
        let due = stopwatch.elapsed().as_secs_f64() * arguments.rate as f64 / arguments.logs as f64;
        let upto = (due as usize).min(ends.len());
        if upto > written {
            let start = if written == 0 { 0 } else { ends[written - 1] };
            for (n, file) in files.iter_mut().enumerate() {
                file.write_all(&as_of_host(&text[start..ends[upto - 1]], n))?;
            }
            written = upto;
        }
        std::thread::sleep(BEAT);
    }
    let wrote_seconds = stopwatch.elapsed().as_secs_f64();
    let cpu_seconds = server.cpu_seconds()?;
    estate.wait(per_log)?;
    let behind_seconds = stopwatch.elapsed().as_secs_f64() - wrote_seconds;
    let events = estate.events()?;
    let peak_bytes = server.stop()?;
    let made = counts.events() * arguments.logs as u64;
    ensure!(events == made, "{made} events written, {events} recorded");
    let lines = per_log * arguments.logs as u64;
    let cores = cpu_seconds / wrote_seconds;
    println!(
        "live     {} logs, {:.0} lines/s in all for {wrote_seconds:.1} s ({lines} lines, {events} events): \
         {cores:.2} of a core (goal {CORES_GOAL:.1}: {}), peak {:.0} MB (goal {:.0}: {}), the last line \
         stored {behind_seconds:.1} s after it was written",
        arguments.logs,
        lines as f64 / wrote_seconds,
        verdict(cores <= CORES_GOAL),
        peak_bytes as f64 / 1e6,
        PEAK_BYTES_GOAL as f64 / 1e6,
        verdict(peak_bytes <= PEAK_BYTES_GOAL),
    );
    Ok(())
}

fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// The generator's lines as another host would write them: the start of a process names its host.
fn as_of_host(lines: &[u8], n: usize) -> Vec<u8> {
    const NAMED: &[u8] = b"db-000";
    let name = format!("db-{n:03}");
    let mut lines = lines.to_vec();
    let mut at = 0;
    while at + NAMED.len() <= lines.len() {
        if lines[at] == b'd' && lines[at..].starts_with(NAMED) {
            lines[at..at + NAMED.len()].copy_from_slice(name.as_bytes());
        }
        at += 1;
    }
    lines
}

fn backlog(arguments: &Arguments, binary: &Path, folder: &Path) -> Result<()> {
    let estate = Estate::new(binary, folder, 1)?;
    // Lines of the generator's mixture have 320 bytes on average.
    let lines = arguments.backlog * 1_000_000 / 320;
    let mut out = std::io::BufWriter::with_capacity(1 << 20, File::create(estate.log(0))?);
    let counts: Counts = mongod_log::write(lines, 2, &mut out)?;
    out.into_inner()?.sync_all()?;
    let stopwatch = Stopwatch::start();
    let mut server = estate.serve()?;
    estate.wait(lines)?;
    let seconds = stopwatch.elapsed().as_secs_f64();
    let cpu_seconds = server.cpu_seconds()?;
    let events = estate.events()?;
    let peak_bytes = server.stop()?;
    ensure!(events == counts.events(), "{} events, {events} recorded", counts.events());
    println!(
        "backlog  {:.0} MB, {lines} lines, {events} events: caught up {seconds:.1} s after the server's start \
         ({:.2} M lines/s, {cpu_seconds:.1} CPU-seconds), peak {:.0} MB (goal {:.0}: {})",
        counts.size_bytes as f64 / 1e6,
        lines as f64 / seconds / 1e6,
        peak_bytes as f64 / 1e6,
        PEAK_BYTES_GOAL as f64 / 1e6,
        verdict(peak_bytes <= PEAK_BYTES_GOAL),
    );
    Ok(())
}

/// A data directory whose registry has a source for each of some logs.
struct Estate {
    binary: PathBuf,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Source {
    lines: u64,
    message: Option<String>,
}

impl Estate {
    fn new(binary: &Path, folder: &Path, logs: usize) -> Result<Estate> {
        let estate = Estate { binary: binary.to_owned(), folder: folder.to_owned() };
        fs::create_dir_all(folder.join("logs"))?;
        let hosts: Vec<String> = (0..logs).map(|n| format!("\"db-{n:03}.example.net\"")).collect();
        let file = format!(
            "version = 1\n\n[[project]]\nname = \"bench\"\n\n[[project.cluster]]\nname = \"c\"\nhosts = [{}]\n\n\
             [[source]]\nname = \"{{host}}\"\nkind = \"mongod-log\"\npath = \"{}/{{host}}.log\"\n",
            hosts.join(", "),
            folder.join("logs").display()
        );
        fs::write(folder.join("doorbook.toml"), file)?;
        output(&mut estate.command(&["apply", "--config", "doorbook.toml"]))?;
        Ok(estate)
    }

    fn log(&self, n: usize) -> PathBuf {
        self.folder.join(format!("logs/db-{n:03}.example.net.log"))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(&self.binary, words);
        command.current_dir(&self.folder).env("DOORBOOK_DATA_DIR", self.folder.join("data"));
        command
    }

    fn serve(&self) -> Result<Server> {
        let mut server = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = server.stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut line)?;
        ensure!(line.contains("listening"), "the server said {line:?}");
        Ok(Server { child })
    }

    /// Waits until each source has read so many lines.
    fn wait(&self, lines: u64) -> Result<()> {
        let mut sources: Vec<Source> = Vec::new();
        for _ in 0..LOOKS {
            let printed = output(&mut self.command(&["source", "list", "--json"]))?;
            sources = serde_json::from_str(&printed).with_context(|| printed)?;
            if let Some(message) = sources.iter().find_map(|source| source.message.as_ref()) {
                anyhow::bail!("a source cannot go on: {message}");
            }
            if sources.iter().all(|source| source.lines >= lines) {
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        let read: u64 = sources.iter().map(|source| source.lines).sum();
        anyhow::bail!("{read} lines read, of {lines} a log")
    }

    /// Authentications as answers count them.
    fn events(&self) -> Result<u64> {
        #[derive(Deserialize)]
        struct Scope {
            scope: String,
            events: u64,
        }
        #[derive(Deserialize)]
        struct Status {
            scopes: Vec<Scope>,
        }
        let printed = output(&mut self.command(&["status", "--json"]))?;
        let status: Status = serde_json::from_str(&printed).with_context(|| printed)?;
        let project = status.scopes.iter().filter(|scope| scope.scope.starts_with("project/"));
        Ok(project.map(|scope| scope.events).sum())
    }
}

struct Server {
    child: Child,
}

impl Server {
    /// What it used so far.
    fn cpu_seconds(&mut self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name may hold anything, in parentheses; user and system time are the 14th and 15th field.
        let rest = stat.rsplit_once(") ").context("a name in parentheses")?.1;
        let ticks: Vec<f64> =
            rest.split(' ').skip(11).take(2).map(|n| n.parse().unwrap_or(0.0)).collect();
        const TICKS_PER_SECOND: f64 = 100.0;
        Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
    }

    /// Ends it; its peak of memory.
    fn stop(mut self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.context("VmHWM")?.trim().trim_end_matches(" kB").trim().parse::<u64>()?;
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        ensure!(self.child.wait()?.success(), "the server ended badly");
        Ok(peak * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already, after `stop`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
