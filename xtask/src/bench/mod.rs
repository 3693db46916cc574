//! `cargo xtask bench`: figures that the documents quote, each with its command.

mod import;
mod mongod_log;

use anyhow::Result;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Lines per CPU-second: mongod logs read only, and imported durably
    Import(import::Arguments),
}

/// The command.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Import(arguments) => import::run(arguments),
    }
}
