//! `doorbook backup`.

use std::path::PathBuf;

use doorbook_server::admin::{Failure, Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// A directory that is not there yet, or empty. A running server makes it, with its own rights
    to: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    // A server may have been started elsewhere.
    let to = std::path::absolute(&args.to)
        .map_err(|error| Failure::invalid(format!("{} is no path: {error}", args.to.display())))?;
    let copied = match data_dir.execute(Request::Backup { to: to.clone() })? {
        Reply::Copied(copied) => copied,
        other => return Err(out_of_turn(&other)),
    };
    match args.json {
        true => output::json(&copied),
        false => output::line(&format!(
            "backed up to {}: {}, {} ({} share their bytes with the data directory), {}",
            to.display(),
            output::count(copied.files, "file", "files"),
            output::size(copied.size_bytes),
            copied.linked_files,
            output::count(copied.rows, "row", "rows"),
        )),
    }
}
