//! `cargo xtask bench page`: how long the page takes in Chromium, from the navigation to the first frame after
//! its last chart was drawn, with nothing cached by the browser, on a history of some million events.
//!
//! The history is that of `bench store`, sent to a real server, which is started anew before anybody looks. The
//! browser is driven by a test of `tests/e2e/page_speed.rs` that nothing else runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::import::machine;
use super::store::events::{self, Events};
use super::store::server::Doorbook;
use super::time::time;
use crate::process::{cargo, command, output, run as run_command, target_folder};
use crate::tools;

/// The median of the whole history takes less: up to so many million events, and beyond.
const GOALS_MS: [(f64, f64); 2] = [(2.0, 300.0), (50.0, 1000.0)];

const USER: &str = "reader";
const PASSWORD: &str = "a password that is long enough";

/// How much, how often.
#[derive(clap::Args)]
pub struct Arguments {
    /// Events, in millions
    #[arg(long, default_value_t = 2.0)]
    scale: f64,
    /// Loads of each page; the medians are printed
    #[arg(long, default_value_t = 20)]
    loads: usize,
    /// Measure this binary instead of building one
    #[arg(long, value_name = "FILE")]
    doorbook: Option<PathBuf>,
    /// Keep the history in this folder, and measure what is there if it was filled before
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,
}

/// What the test in the browser prints of each page.
#[derive(Deserialize)]
struct Loads {
    path: String,
    milliseconds: Vec<f64>,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.scale > 0.0 && arguments.loads > 0, "--scale and --loads are more than 0");
    let binary = match &arguments.doorbook {
        Some(binary) => std::path::absolute(binary)?,
        None => {
            run_command(&mut cargo(["build", "--release", "--locked", "--package", "doorbook"]))?;
            target_folder()?.join("release/doorbook")
        }
    };
    let test_tools = tools::install_for_tests()?.folder;
    let count = (arguments.scale * 1e6) as u64;
    // On the disk that holds the build, not in /tmp, which may be memory.
    let folder = tempfile::tempdir_in(target_folder()?)?;
    let data = arguments.keep.clone().unwrap_or_else(|| folder.path().join("data"));
    let doorbook = match data.exists() {
        true => Doorbook::existing(&binary, data),
        false => filled(&binary, data, count)?,
    };
    let server = doorbook.serve()?;
    let (from, to) = (events::start_ms(count), events::END_MS);
    let week = to - 7 * 86_400_000;
    let window = |from, to| format!("project=bench&from={}Z&to={}Z", time(from), time(to));
    let pages = [
        format!("/history?{}", window(from, to)),
        format!("/history?{}", window(week, to)),
        format!("/history?{}&show=all&q=result:failed", window(from, to)),
        format!("/principals?{}", window(from, to)),
    ];
    let mut test = cargo(["test", "--quiet", "--package", "doorbook-e2e", "--test", "e2e"]);
    test.args(["--", "--ignored", "--exact", "page_speed::how_long_pages_take", "--nocapture"]);
    test.env("DOORBOOK_TEST_TOOLS", test_tools);
    test.env("DOORBOOK_PAGE_URL", server.url()).env("DOORBOOK_PAGE_PATHS", pages.join("\n"));
    test.env("DOORBOOK_PAGE_USER", USER).env("DOORBOOK_PAGE_PASSWORD", PASSWORD);
    test.env("DOORBOOK_PAGE_LOADS", arguments.loads.to_string());
    let printed = output(&mut test)?;
    let resident = server.resident_bytes();
    server.stop()?;

    let days = events::days(count);
    println!("bench page: {count} events of {days} days, {} loads of each page", arguments.loads);
    let goal = GOALS_MS.iter().find(|(scale, _)| arguments.scale <= *scale);
    for (n, line) in printed.lines().filter(|line| line.starts_with('{')).enumerate() {
        let loads: Loads = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let mut times = loads.milliseconds;
        times.sort_by(f64::total_cmp);
        let goal = goal.filter(|_| n == 0).map(|(_, goal)| format!(" (goal below {goal:.0})"));
        println!(
            "median {:6.0} ms{}, slowest {:6.0} ms  {}",
            times[times.len() / 2],
            goal.unwrap_or_default(),
            times[times.len() - 1],
            loads.path
        );
    }
    println!("resident {:.0} MB", resident as f64 / 1e6);
    println!("browser: {}", output(&mut command("chromium", ["--version"]))?.trim());
    println!("machine: {}", machine()?);
    Ok(())
}

/// A data directory with so many events, and a reader of them.
fn filled(binary: &Path, data: PathBuf, count: u64) -> Result<Doorbook> {
    let doorbook = Doorbook::new(binary, data)?;
    let password = doorbook.data.with_extension("password");
    std::fs::write(&password, PASSWORD)?;
    output(doorbook.command(&["user", "create", USER, "--password-file"]).arg(&password))?;
    let role = ["user", "grant", USER, "--project", "bench", "--role", "GROUP_OWNER"];
    output(&mut doorbook.command(&role))?;
    let mut server = doorbook.serve()?;
    server.fill(Events::new(count, 1))?;
    server.wait_until_idle()?;
    server.stop()?;
    Ok(doorbook)
}
