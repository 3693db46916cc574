//! `doorbook restore`.

use std::path::PathBuf;

use doorbook_server::admin::Failure;
use doorbook_store::backup::restore;

use super::DataDir;
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// What `doorbook backup` made, or a data directory that nothing has open
    backup: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let to = data_dir.path();
    let disk = system::store_options(to.clone()).disk;
    let copied = restore(&*disk, &args.backup, &to).map_err(Failure::from)?;
    match args.json {
        true => output::json(&copied),
        false => output::line(&format!(
            "restored to {}: {}, {}, {}",
            to.display(),
            output::count(copied.files, "file", "files"),
            output::size(copied.size_bytes),
            output::count(copied.rows, "row", "rows"),
        )),
    }
}
