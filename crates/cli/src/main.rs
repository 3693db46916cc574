//! The `doorbook` binary.
//!
//! **Invariant:** the only place where the system's clock and randomness come from ([`system`]);
//! everything below is handed them. Every command is one file under [`commands`] that turns words
//! into one request for `doorbook_server::admin` and its reply into text: what a command does is
//! decided there, so that it is the same beside a running server.
//!
//! stdout is data, stderr is talk. Exit codes are in [`exit`] and in `docs/cli.md`.

mod commands;
mod config;
mod exit;
mod interrupt;
mod output;
mod partial;
mod quickstart;
mod remote;
mod service_manager;
mod services;
mod system;
mod values;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = commands::Cli::parse_from(std::env::args_os().map(values::term));
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::report(&error),
    }
}
