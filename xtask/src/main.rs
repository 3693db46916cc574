//! `cargo xtask`: how a change is checked, tested and measured.
//!
//! One module per command: [`check`] (with [`invariants`] and [`generated`]), [`mod@test`] (with
//! [`tools`], which installs), [`mod@bench`], [`budget`], [`fuzz`], [`shots`]. [`process`] runs other programs and
//! measures them.

mod bench;
mod budget;
mod check;
mod fuzz;
mod generated;
mod invariants;
mod process;
mod shots;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "How a change is checked, tested and measured")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Format, lints, documentation, licences, generated files, invariants
    Check,
    /// Write the generated files anew
    Generate,
    /// Install what the tests need, then run all of them
    Test(test::Arguments),
    /// Photograph every page and state in a real browser
    Shots(shots::Arguments),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Command),
    /// What the default build costs
    Budget(budget::Arguments),
    /// Feed the parsers of foreign bytes with mutated input
    Fuzz(fuzz::Arguments),
    /// Run a program and print what it used (for the other commands)
    #[command(hide = true)]
    Measure(process::MeasureArguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The whole chain on one line, and no backtrace: what failed has said why above.
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    match command {
        Command::Check => check::run(),
        Command::Generate => generated::write(),
        Command::Test(arguments) => test::run(&arguments),
        Command::Shots(arguments) => shots::run(&arguments),
        Command::Bench(command) => bench::run(&command),
        Command::Budget(arguments) => budget::run(&arguments),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Measure(arguments) => process::measure_and_print(&arguments),
    }
}
