//! `cargo xtask bench`: figures that the documents quote, each with its command.

mod follow;
mod import;
mod mongod_log;
mod page;
mod random;
mod scan;
mod store;
mod time;

use anyhow::Result;

/// What to measure.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Many logs followed while they are written, and a backlog
    Follow(follow::Arguments),
    /// Lines per CPU-second: mongod logs read only, and imported durably
    Import(import::Arguments),
    /// The page in Chromium, from the navigation to its last chart
    Page(page::Arguments),
    /// The first look at an array with very many fragments, against a recursive listing
    Scan(scan::Arguments),
    /// The store over HTTP beside other engines: ingest, bytes, queries, memory
    Store(store::Arguments),
}

/// The command.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Follow(arguments) => follow::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Page(arguments) => page::run(arguments),
        Command::Scan(arguments) => scan::run(arguments),
        Command::Store(arguments) => store::run(arguments),
    }
}
