//! The `doorbook-agent` binary: `doorbook agent` alone, without the server.

use std::process::ExitCode;

use clap::Parser;
use doorbook_agent::run::{Misuse, run};
use doorbook_agent::settings::Args;

/// Follows the logs of this host that a Doorbook server names, and ships what they say to it, once.
#[derive(Parser)]
#[command(name = "doorbook-agent", version)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn main() -> ExitCode {
    let Err(error) = run(Cli::parse().args) else { return ExitCode::SUCCESS };
    eprintln!("error: {error:#}");
    // As `doorbook` does: 2 where the words are wrong, 1 where something failed.
    ExitCode::from(if error.is::<Misuse>() { 2 } else { 1 })
}
