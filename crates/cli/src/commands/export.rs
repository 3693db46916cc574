//! `doorbook export`.

use std::path::{Path, PathBuf};

use doorbook_server::admin::request::ExportRequest;
use doorbook_server::admin::{Failure, Reply, Request};
use doorbook_server::export::{self, Exported, Format};

use super::wanted::Wanted;
use super::{DataDir, history, out_of_turn};
use crate::output;
use crate::partial::Partial;
use crate::remote::{Remote, ServerArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// How rows are written
    #[arg(long, value_parser = ["csv", "ndjson", "parquet"], default_value = "csv")]
    format: String,
    /// The archive, which is not there yet. A running server makes it, with its own rights; with --server it is
    /// made here
    #[arg(long, value_name = "FILE.zip")]
    output: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let to = std::path::absolute(&args.output).map_err(|error| {
        Failure::invalid(format!("{} is no path: {error}", args.output.display()))
    })?;
    let exported = match args.server.remote()? {
        Some(remote) => there(&remote, &args, &to)?,
        None => here(data_dir, &args, &to)?,
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

fn here(data_dir: &DataDir, args: &Args, to: &Path) -> anyhow::Result<Exported> {
    let request = ExportRequest {
        query: args.wanted.query()?,
        zone: args.wanted.zone_name(),
        format: Format::from_word(&args.format).expect("clap knows the words"),
        to: to.to_owned(),
    };
    match data_dir.execute(Request::Export(Box::new(request)))? {
        Reply::Exported(exported) => Ok(exported),
        other => Err(out_of_turn(&other)),
    }
}

/// The same over the network. What came is held to its own manifest, and has its name only then.
fn there(remote: &Remote, args: &Args, to: &Path) -> anyhow::Result<Exported> {
    let query = args.wanted.query()?;
    history::refuse_system(&query)?;
    let mut partial = Partial::create(to)?;
    let mut parameters = vec![
        ("format".to_owned(), args.format.clone()),
        ("q".to_owned(), query.filter.clone()),
        ("zone".to_owned(), args.wanted.zone_name()),
    ];
    parameters.extend(history::scope(&query));
    remote.download("export", &parameters, &mut partial.file)?;
    let exported = export::check(&mut partial.file)
        .map_err(|error| Failure::failed(format!("cannot export to {}: {error}", to.display())))?;
    partial.keep()?;
    Ok(exported)
}
