//! `cargo xtask bench import`: two figures of one run, in lines per CPU-second over all threads.
//!
//! - *read*: `doorbook-source`'s example `read`: lines split, unwrapped, interpreted, metadata
//!   joined, events made and dropped.
//! - *import*: the real command into a fresh data directory, durable when it returns.
//!
//! Both read the same generated log. The runs are interleaved, so that what else the machine does
//! meets both; medians are printed. Each run's event counts must be the generator's own, because a
//! reader that finds less is faster.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::mongod_log::{self, Counts};
use crate::process::{
    Usage, cargo, command, measure, output, run as run_command, target_folder, workspace,
};

/// Lines per CPU-second.
pub const READ_GOAL: f64 = 3_000_000.0;
pub const IMPORT_GOAL: f64 = 1_200_000.0;

/// How much, how often.
#[derive(clap::Args)]
pub struct Arguments {
    /// Lines of the log
    #[arg(long, default_value_t = 1_000_000)]
    pub lines: u64,
    /// Runs of each figure; the median is printed
    #[arg(long, default_value_t = 5)]
    pub runs: usize,
    /// Another seed gives another log of the same mixture
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Keep the generated log at this path
    #[arg(long)]
    pub keep: Option<std::path::PathBuf>,
}

/// What both programs print of what they found.
#[derive(Deserialize)]
struct Found {
    lines: u64,
    successes: u64,
    failures: u64,
}

/// What all runs used.
pub struct Figures {
    pub counts: Counts,
    /// One for each run, the cheapest first.
    pub reads: Vec<Usage>,
    pub imports: Vec<Usage>,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let Figures { counts, reads, imports } = measure_runs(arguments)?;
    println!(
        "bench import: {} lines, {:.0} MB, {} events ({} of them failures), seed {}; {} interleaved \
         runs, medians",
        counts.lines,
        counts.size_bytes as f64 / 1e6,
        counts.events(),
        counts.failures,
        arguments.seed,
        arguments.runs
    );
    report("read", &reads, counts.lines, READ_GOAL);
    report("import", &imports, counts.lines, IMPORT_GOAL);
    println!("machine: {}", machine()?);
    Ok(())
}

/// Measures without a word.
pub fn measure_runs(arguments: &Arguments) -> Result<Figures> {
    ensure!(arguments.runs > 0, "--runs is at least 1");
    run_command(&mut cargo(["build", "--release", "--locked", "--package", "doorbook"]))?;
    let example = ["--package", "doorbook-source", "--example", "read"];
    run_command(cargo(["build", "--release", "--locked"]).args(example))?;
    let release = target_folder()?.join("release");

    // On the disk that holds the build, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(&release)?;
    let log = arguments.keep.clone().unwrap_or_else(|| folder.path().join("mongod.log"));
    let counts = generate(arguments, &log)?;

    let mut reads = Vec::new();
    let mut imports = Vec::new();
    for _ in 0..arguments.runs {
        let (usage, printed) = measure(&command(release.join("examples/read"), [&log]))?;
        check(&printed, &counts).context("read")?;
        reads.push(usage);
        let (usage, printed) = import(&release.join("doorbook"), &log)?;
        check(&printed, &counts).context("import")?;
        imports.push(usage);
    }
    for runs in [&mut reads, &mut imports] {
        runs.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    }
    Ok(Figures { counts, reads, imports })
}

fn generate(arguments: &Arguments, log: &Path) -> Result<Counts> {
    let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let counts = mongod_log::write(arguments.lines, arguments.seed, &mut out)?;
    out.flush()?;
    // Or the first run's time is that of writing this file back.
    out.get_ref().sync_all()?;
    Ok(counts)
}

/// One import into a data directory of its own, which is gone afterwards.
fn import(doorbook: &Path, log: &Path) -> Result<(Usage, String)> {
    let parent = log.parent().context("the log is in a folder")?;
    let data = tempfile::tempdir_in(parent)?;
    let doorbook = |words: &[&str]| {
        let mut doorbook = command(doorbook, words);
        doorbook.env("DOORBOOK_DATA_DIR", data.path().join("data"));
        doorbook
    };
    output(&mut doorbook(&["project", "create", "bench", "--json"]))?;
    let host = "db-000.example.net";
    output(&mut doorbook(&["cluster", "create", "c", "--project", "bench", "--host", host]))?;
    let words = ["import", "--json", "--project", "bench", "--cluster", "c", "--host", host];
    measure(doorbook(&words).arg(log))
}

fn check(printed: &str, counts: &Counts) -> Result<()> {
    let found: Found = serde_json::from_str(printed).with_context(|| printed.to_string())?;
    let found = (found.lines, found.successes, found.failures);
    let made = (counts.lines, counts.successes, counts.failures);
    ensure!(found == made, "(lines, successes, failures) found {found:?}, generated {made:?}");
    Ok(())
}

fn report(name: &str, runs: &[Usage], lines: u64, goal: f64) {
    let median = runs[runs.len() / 2];
    let rate = |usage: &Usage| lines as f64 / usage.cpu_seconds / 1e6;
    println!(
        "{name:<7} {:.2} M lines per CPU-second (goal {:.1} M; {:.2} to {:.2} M over the runs): {:.2} \
         CPU-seconds, {:.2} s wall, {:.0} MB peak",
        rate(&median),
        goal / 1e6,
        rate(&runs[runs.len() - 1]),
        rate(&runs[0]),
        median.cpu_seconds,
        median.wall_seconds,
        median.peak_rss_bytes as f64 / 1e6
    );
}

/// What the figures were taken on.
pub fn machine() -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let system = output(&mut command("uname", ["-sr"]))?;
    let rustc = output(&mut command("rustc", ["--version"]))?;
    let commit =
        output(command("git", ["describe", "--always", "--dirty"]).current_dir(workspace()));
    Ok(format!(
        "{} x {}, {}, {}, commit {}",
        std::thread::available_parallelism()?,
        model.unwrap_or("unknown processor"),
        system.trim(),
        rustc.split(" (").next().unwrap_or_default(),
        commit.unwrap_or_else(|_| "unknown".to_string()).trim()
    ))
}
