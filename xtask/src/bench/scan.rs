//! `cargo xtask bench scan`: the first look at an array with very many fragments, against one recursive
//! listing of the same folder by `find`. Both run in turn; the medians are printed.
//!
//! The look is `doorbook-source`'s example `first_look`: listing, comparison and all events made, none stored.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use super::import::machine;
use super::random::Random;
use crate::process::{Usage, cargo, command, measure, run as run_command, target_folder};

/// The look takes less than so many times what the listing takes.
const RATIO_GOAL: f64 = 2.0;

/// How much, how often.
#[derive(clap::Args)]
pub struct Arguments {
    /// Fragments of the array
    #[arg(long, default_value_t = 100_000)]
    fragments: u64,
    /// Runs of each figure; the median is printed
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.runs > 0, "--runs is at least 1");
    let example = ["--package", "doorbook-source", "--example", "first_look"];
    run_command(cargo(["build", "--release", "--locked"]).args(example))?;
    let release = target_folder()?.join("release");
    // On the disk that holds the build, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(&release)?;
    make_array(folder.path(), arguments.fragments)?;
    let (mut looks, mut listings) = (Vec::new(), Vec::new());
    for _ in 0..arguments.runs {
        listings.push(measure(&command("find", [folder.path()]))?.0);
        let look = command(release.join("examples/first_look"), [folder.path()]);
        let (usage, printed) = measure(&look)?;
        let expected = arguments.fragments + 1;
        ensure!(printed.trim().parse() == Ok(expected), "{printed} events, {expected} were made");
        looks.push(usage);
    }
    println!(
        "bench scan: {} fragments, {} runs in turn, medians",
        arguments.fragments, arguments.runs
    );
    let listing = report("listing", &mut listings);
    let look = report("look", &mut looks);
    println!("ratio    {:.2} (goal below {RATIO_GOAL})", look / listing);
    println!("machine: {}", machine()?);
    Ok(())
}

/// As TileDB writes it: of each fragment a folder with four files, and a commit.
fn make_array(folder: &Path, fragments: u64) -> Result<()> {
    for name in ["__schema", "__commits", "__fragments", "__meta", "__fragment_meta"] {
        fs::create_dir(folder.join(name))?;
    }
    let mut random = Random::new(1);
    let mut uuid = || format!("{:016x}{:016x}", random.next(), random.next());
    fs::write(folder.join(format!("__schema/__1700000000000_1700000000000_{}", uuid())), "schema")?;
    for n in 0..fragments {
        let at = 1_700_000_000_001 + n;
        let stem = format!("__{at}_{at}_{}_22", uuid());
        let fragment = folder.join("__fragments").join(&stem);
        fs::create_dir(&fragment)?;
        for file in ["a0.tdb", "d0.tdb", "d1.tdb", "__fragment_metadata.tdb"] {
            fs::write(fragment.join(file), "cells")?;
        }
        fs::write(folder.join(format!("__commits/{stem}.wrt")), "")?;
    }
    Ok(())
}

/// Prints the median and returns its wall time.
fn report(name: &str, runs: &mut [Usage]) -> f64 {
    runs.sort_by(|a, b| a.wall_seconds.total_cmp(&b.wall_seconds));
    let median = &runs[runs.len() / 2];
    println!(
        "{name:<8} {:.3} s wall ({:.3} to {:.3}), {:.3} CPU-seconds, {:.1} MB peak",
        median.wall_seconds,
        runs[0].wall_seconds,
        runs[runs.len() - 1].wall_seconds,
        median.cpu_seconds,
        median.peak_rss_bytes as f64 / 1e6
    );
    median.wall_seconds
}
