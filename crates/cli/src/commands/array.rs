//! `doorbook array`.

use anyhow::Context;
use clap::Subcommand;
use doorbook_server::admin::arrays::{ArrayView, ArraysRequest};
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// Make an array known: its activity can be reported and read from then on
    Register {
        /// Where it is stored: a folder, file:///PATH, s3://BUCKET/KEY
        uri: String,
        /// In which namespace [default: the only one there is]
        #[arg(long, value_name = "NS")]
        namespace: Option<String>,
        /// What it is called [default: the last part of its place]
        #[arg(long, conflicts_with = "recursive")]
        name: Option<String>,
        /// All arrays below a folder that are not known yet, each called as its path from there
        #[arg(long)]
        recursive: bool,
        /// Print the arrays as one JSON array
        #[arg(long)]
        json: bool,
    },
    /// List arrays
    List {
        /// Only of this namespace
        #[arg(long, value_name = "NS")]
        namespace: Option<String>,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Make an array no longer known; what is stored stays, and so does its history
    Deregister {
        /// The array: by name, id, or where it is stored
        array: String,
        /// Its namespace [default: the only one there is]
        #[arg(long, value_name = "NS")]
        namespace: Option<String>,
    },
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Register { uri, namespace, name, recursive, json } => {
            let uri = absolute(uri)?;
            let request = ArraysRequest::ArrayRegister { namespace, uri, name, recursive };
            let arrays = arrays(data_dir, request)?;
            match json {
                true => output::json(&arrays),
                false if arrays.is_empty() => output::line("no array that is not known already"),
                false => show(&arrays),
            }
        }
        Command::List { namespace, json } => {
            let arrays = arrays(data_dir, ArraysRequest::ArrayList { namespace })?;
            if json { output::json(&arrays) } else { show(&arrays) }
        }
        Command::Deregister { array, namespace } => {
            let request = ArraysRequest::ArrayDeregister { namespace, array: array.clone() };
            data_dir.execute(Request::Arrays(request))?;
            output::line(&format!("deregistered {array}"))
        }
    }
}

fn arrays(data_dir: &DataDir, request: ArraysRequest) -> anyhow::Result<Vec<ArrayView>> {
    match data_dir.execute(Request::Arrays(request))? {
        Reply::Arrays(arrays) => Ok(arrays),
        other => Err(out_of_turn(&other)),
    }
}

fn show(arrays: &[ArrayView]) -> anyhow::Result<()> {
    let row = |array: &ArrayView| {
        let ArrayView { id, namespace, name, uri, .. } = array;
        vec![namespace.to_string(), name.to_string(), id.clone(), uri.to_string()]
    };
    let rows: Vec<_> = arrays.iter().map(row).collect();
    output::table(&["NAMESPACE", "NAME", "ID", "URI"], &rows)
}

/// A path from here is another one for a server that runs elsewhere. `..` is taken out as the disk
/// has it: behind a link it leads elsewhere than it looks.
fn absolute(uri: String) -> anyhow::Result<String> {
    if uri.contains("://") {
        return Ok(uri);
    }
    let path = std::fs::canonicalize(&uri).with_context(|| format!("cannot find {uri}"))?;
    let path = path.into_os_string().into_string();
    path.map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))
}
