//! Running other programs, and measuring what they use.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use serde::{Deserialize, Serialize};

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// `cargo`, the one that runs us, in the workspace.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments);
    // `cargo run` tells us about our own package. Handed on, that would look like a changed
    // environment to ring's build script, which then compiles it again, and all that is above it.
    for (name, _) in std::env::vars_os() {
        let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_"];
        if about_us.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// A program with its arguments, in the workspace, without standard input.
pub fn command<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(workspace()).stdin(Stdio::null());
    command
}

/// Says what is run, runs it with our stdout and stderr, and demands success.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", display(command));
    let status = command.status().with_context(|| format!("cannot run {}", display(command)))?;
    ensure!(status.success(), "{} failed: {status}", display(command));
    Ok(())
}

/// Runs it and returns its stdout; stderr is shown only where it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", display(command)))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}\n{}",
            display(command),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{} wrote what is not UTF-8", display(command)))
}

/// Whether a program is there and answers `--version`.
pub fn exists(program: impl AsRef<OsStr>) -> bool {
    let mut version = command(program, ["--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// Whether cargo has a subcommand of this name.
pub fn has_cargo_command(name: &str) -> bool {
    let mut version = cargo([name, "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

fn display(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text = program.file_name().unwrap_or(command.get_program()).display().to_string();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}

/// Where everything is kept that outlives a build: `~/.cache/doorbook`.
pub fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    let cache = base.join("doorbook");
    std::fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache)
}

/// Where cargo puts what it builds.
pub fn target_folder() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let metadata = output(&mut cargo(["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    Ok(serde_json::from_str::<Metadata>(&metadata)?.target_directory)
}

/// What a program used, all its threads and all processes it waited for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Usage {
    pub wall_seconds: f64,
    pub cpu_seconds: f64,
    pub peak_rss_bytes: u64,
}

/// A program to run and measure.
#[derive(clap::Args)]
pub struct MeasureArguments {
    /// The file for the figures; stdout is the program's
    usage: PathBuf,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    program: Vec<OsString>,
}

/// Runs a program in a process of its own between us and it: the kernel adds up what *all* children
/// of a process used, so that a measured one must be an only child. Returns its stdout, too.
pub fn measure(measured: &Command) -> Result<(Usage, String)> {
    let file = tempfile::NamedTempFile::new()?;
    let mut between =
        command(std::env::current_exe()?, ["measure".as_ref(), file.path().as_os_str()]);
    between.arg("--").arg(measured.get_program()).args(measured.get_args());
    between.stderr(Stdio::inherit());
    if let Some(folder) = measured.get_current_dir() {
        between.current_dir(folder);
    }
    for (name, value) in measured.get_envs() {
        match value {
            Some(value) => between.env(name, value),
            None => between.env_remove(name),
        };
    }
    let stdout = output(&mut between)?;
    let usage = serde_json::from_slice(&std::fs::read(file.path())?)?;
    Ok((usage, stdout))
}

/// The process between: runs the program, writes down what it used.
pub fn measure_and_print(arguments: &MeasureArguments) -> Result<()> {
    let [program, rest @ ..] = arguments.program.as_slice() else { bail!("nothing to run") };
    let (status, wall) = timed(|| Command::new(program).args(rest).status())?;
    ensure!(status.success(), "{}: {status}", program.display());
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    // Linux counts in kilobytes, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let usage = Usage {
        wall_seconds: wall.as_secs_f64(),
        cpu_seconds: seconds(usage.user_time()) + seconds(usage.system_time()),
        peak_rss_bytes: u64::try_from(usage.max_rss())? * unit,
    };
    std::fs::write(&arguments.usage, serde_json::to_vec(&usage)?)?;
    Ok(())
}

fn timed<T>(run: impl FnOnce() -> std::io::Result<T>) -> Result<(T, Duration)> {
    let stopwatch = Stopwatch::start();
    let result = run()?;
    Ok((result, stopwatch.elapsed()))
}

/// Measures how long something takes.
#[derive(Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "how long something took is the result")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
