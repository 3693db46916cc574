//! `doorbook export`.

use std::path::PathBuf;

use doorbook_server::admin::request::ExportRequest;
use doorbook_server::admin::{Failure, Reply, Request};
use doorbook_server::export::Format;

use super::wanted::Wanted;
use super::{DataDir, out_of_turn};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// How rows are written
    #[arg(long, value_parser = ["csv", "ndjson", "parquet"], default_value = "csv")]
    format: String,
    /// The archive, which is not there yet. A running server makes it, with its own rights
    #[arg(long, value_name = "FILE.zip")]
    output: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let to = std::path::absolute(&args.output).map_err(|error| {
        Failure::invalid(format!("{} is no path: {error}", args.output.display()))
    })?;
    let request = ExportRequest {
        query: args.wanted.query()?,
        zone: args.wanted.zone_name(),
        format: Format::from_word(&args.format).expect("clap knows the words"),
        to: to.clone(),
    };
    let exported = match data_dir.execute(Request::Export(Box::new(request)))? {
        Reply::Exported(exported) => exported,
        other => return Err(out_of_turn(&other)),
    };
    match args.json {
        true => output::json(&exported),
        false => output::line(&format!(
            "exported to {}: {}, SHA-256 {}",
            to.display(),
            output::count(exported.rows, "row", "rows"),
            exported.sha256,
        )),
    }
}
