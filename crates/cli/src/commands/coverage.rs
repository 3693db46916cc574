//! `doorbook coverage`.

use doorbook_server::admin::rows::CoverageRow;
use doorbook_server::admin::{Reply, Request};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Only of this project
    #[arg(long, value_name = "P")]
    project: Option<String>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let rows = match data_dir.execute(Request::Coverage { project: args.project })? {
        Reply::Coverage(rows) => rows,
        other => return Err(out_of_turn(&other)),
    };
    if args.json {
        return output::json(&rows);
    }
    if rows.is_empty() {
        eprintln!("No gap is known in what was imported.");
        return Ok(());
    }
    let row = |gap: &CoverageRow| {
        vec![
            gap.project.to_string(),
            gap.target.short(),
            gap.from.to_string(),
            end(gap),
            gap.hidden.clone(),
            gap.cause.to_string(),
            gap.by.clone().unwrap_or_default(),
        ]
    };
    let headings = ["PROJECT", "TARGET", "FROM", "TO", "HIDDEN", "CAUSE", "BY"];
    output::table(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}

/// When a gap ends, as far as is known.
pub fn end(gap: &CoverageRow) -> String {
    match gap.to {
        Some(to) => to.to_string(),
        None => format!("open (last seen {})", gap.last_seen),
    }
}
