//! `cargo xtask budget`: what the default build costs, against its goals.
//!
//! Measuring takes a build from nothing. So the last figure is kept, with what it was measured of
//! (the lock file, the manifests and the compiler), and `--cached` prints it while that is unchanged.

use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::process::{Usage, cache, cargo, command, measure, output, workspace};

/// CPU-seconds of a dev build of the default members, all crates from nothing.
const DEV_BUILD_CPU_SECONDS_GOAL: f64 = 400.0;
/// Wall time of the README's first command on 2 cores, from an empty cache to the line that says
/// that it serves.
const QUICKSTART_WALL_SECONDS_GOAL: f64 = 600.0;

/// Which figures.
#[derive(clap::Args)]
pub struct Arguments {
    /// Print the last measurement where nothing that it depends on has changed
    #[arg(long)]
    cached: bool,
    /// Also build the README's first command in release from nothing, and print its wall time
    #[arg(long)]
    quickstart: bool,
}

#[derive(Deserialize, Serialize)]
struct Measurement {
    /// What was built, by what: while this is equal, so is the figure but for noise and our own
    /// sources.
    of: String,
    date: String,
    usage: Usage,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let of = what_is_built()?;
    let file = cache()?.join("budget.json");
    let kept: Option<Measurement> =
        std::fs::read(&file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let measurement = match kept.filter(|kept| arguments.cached && kept.of == of) {
        Some(kept) => kept,
        None => {
            let measurement = Measurement { of, date: today()?, usage: build(&["build"])? };
            std::fs::write(&file, serde_json::to_vec(&measurement)?)?;
            measurement
        }
    };
    let used = measurement.usage.cpu_seconds;
    println!(
        "budget: dev build from nothing: {used:.0} CPU-seconds of {DEV_BUILD_CPU_SECONDS_GOAL:.0} \
         ({:.0} s wall, measured {}){}",
        measurement.usage.wall_seconds,
        measurement.date,
        verdict(used, DEV_BUILD_CPU_SECONDS_GOAL)
    );
    if arguments.quickstart {
        let used = build(&["build", "--release"])?.wall_seconds;
        println!(
            "budget: release build from nothing, which is what quickstart waits for: {used:.0} s \
             wall of {QUICKSTART_WALL_SECONDS_GOAL:.0}, on {} cores{}",
            std::thread::available_parallelism()?,
            verdict(used, QUICKSTART_WALL_SECONDS_GOAL)
        );
    }
    Ok(())
}

fn verdict(used: f64, goal: f64) -> &'static str {
    if used <= goal { "" } else { ": OVER BUDGET" }
}

/// A build of the default members into an empty folder. Downloads come before and do not count.
fn build(words: &[&str]) -> Result<Usage> {
    output(&mut cargo(["fetch", "--locked"]))?;
    let target = tempfile::tempdir_in(cache()?)?;
    let mut build: Command = cargo(words);
    build.args(["--quiet", "--locked"]).env("CARGO_TARGET_DIR", target.path());
    build.env("CARGO_INCREMENTAL", "0");
    Ok(measure(&build)?.0)
}

fn what_is_built() -> Result<String> {
    let mut of = output(&mut command("rustc", ["--version", "--verbose"]))?;
    let members = output(&mut command("git", ["ls-files", "Cargo.lock", "*Cargo.toml"]))
        .unwrap_or_else(|_| "Cargo.lock\nCargo.toml\n".to_string());
    for path in members.lines() {
        let path = workspace().join(path);
        let text = std::fs::read_to_string(&path);
        of.push_str(&text.with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(of)
}

fn today() -> Result<String> {
    Ok(output(&mut command("date", ["+%Y-%m-%d"]))?.trim().to_string())
}
