//! `doorbook coverage`.

use doorbook_event::Timestamp;
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
        eprintln!("Everything was watched.");
        return Ok(());
    }
    let row = |gap: &CoverageRow| {
        vec![
            gap.project.as_deref().unwrap_or("").to_owned(),
            gap.target.short(),
            beginning(gap),
            end(gap),
            gap.hidden.clone(),
            gap.grade.clone(),
            cause(gap),
            gap.by.clone().unwrap_or_default(),
        ]
    };
    let headings = ["PROJECT", "TARGET", "FROM", "TO", "HIDDEN", "GRADE", "CAUSE", "BY"];
    output::table(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}

/// When a gap begins, as far as is known.
fn beginning(gap: &CoverageRow) -> String {
    match gap.from {
        Timestamp::MIN => "ever".to_owned(),
        from => from.to_string(),
    }
}

/// Why, and how much that cost where it is known.
fn cause(gap: &CoverageRow) -> String {
    let by = gap.source.as_ref().map(|source| format!("{source}: ")).unwrap_or_default();
    let missing = gap.missing.map(|n| format!(" ({n} missing)")).unwrap_or_default();
    format!("{by}{}{missing}", gap.cause)
}

/// When a gap ends, as far as is known.
pub fn end(gap: &CoverageRow) -> String {
    match gap.to {
        Some(to) => to.to_string(),
        None if gap.last_seen > gap.from => format!("open (last seen {})", gap.last_seen),
        None => "open".to_owned(),
    }
}
