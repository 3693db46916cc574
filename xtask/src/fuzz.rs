//! `cargo xtask fuzz`: coverage-guided mutation of the parsers of foreign bytes, where the tools for
//! it exist. Elsewhere the property tests of the crates carry that weight alone.

use anyhow::Result;

use crate::process::{self, cargo, command, has_cargo_command, output, workspace};

/// How long.
#[derive(clap::Args)]
pub struct Arguments {
    /// Seconds for each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// The command.
pub fn run(arguments: &Arguments) -> Result<()> {
    let missing = [
        (!workspace().join("fuzz/Cargo.toml").exists(), "there is no fuzz/ folder with targets"),
        (!has_cargo_command("fuzz"), "cargo-fuzz is not installed"),
        (!nightly(), "there is no nightly toolchain, which cargo-fuzz needs"),
    ];
    if let Some((_, why)) = missing.iter().find(|(missing, _)| *missing) {
        println!("nothing was fuzzed: {why}; the property tests run with `cargo xtask test`");
        return Ok(());
    }
    let targets = output(&mut cargo(["+nightly", "fuzz", "list"]))?;
    for target in targets.lines() {
        let limit = format!("-max_total_time={}", arguments.seconds);
        process::run(&mut cargo(["+nightly", "fuzz", "run", target, "--", &limit]))?;
    }
    Ok(())
}

/// Whether the targets still fit what they call: `cargo fuzz` is run seldom, and one of them did not compile for
/// weeks. Without linking libFuzzer, so that neither a nightly toolchain nor a C++ compiler is needed.
pub fn check() -> Result<()> {
    // The same versions of everything, so that what is checked already is not checked again.
    std::fs::copy(workspace().join("Cargo.lock"), workspace().join("fuzz/Cargo.lock"))?;
    let check = ["check", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features"];
    process::run(cargo(check).env("RUSTFLAGS", "-D warnings"))
}

fn nightly() -> bool {
    output(&mut command("rustup", ["toolchain", "list"]))
        .is_ok_and(|toolchains| toolchains.lines().any(|name| name.starts_with("nightly")))
}
