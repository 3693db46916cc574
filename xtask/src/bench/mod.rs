//! `cargo xtask bench`: figures that the documents quote, each with its command.

mod import;
mod mongod_log;
mod random;
mod store;
mod time;

use anyhow::Result;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Lines per CPU-second: mongod logs read only, and imported durably
    Import(import::Arguments),
    /// The store over HTTP beside other engines: ingest, bytes, queries, memory
    Store(store::Arguments),
}

/// The command.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Import(arguments) => import::run(arguments),
        Command::Store(arguments) => store::run(arguments),
    }
}
