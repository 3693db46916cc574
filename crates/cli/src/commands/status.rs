//! `doorbook status`.

use doorbook_server::admin::request::StatusView;
use doorbook_server::admin::{Reply, Request};
use doorbook_store::status::ScopeStatus;

use super::{DataDir, out_of_turn, retention};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let view = match data_dir.execute(Request::Status)? {
        Reply::Status(view) => view,
        other => return Err(out_of_turn(&other)),
    };
    if args.json {
        return output::json(&view);
    }
    let status = &view.status;
    let sizes = &status.size_bytes;
    output::line(&format!("data directory  {}", status.data_dir))?;
    output::line(&format!(
        "size            {} (segments {}, write-ahead log {}, catalogue {})",
        output::size(sizes.total),
        output::size(sizes.segments),
        output::size(sizes.wal),
        output::size(sizes.catalog),
    ))?;
    output::line(&format!(
        "free            {}, of which {} are kept in reserve",
        output::size(status.free_bytes),
        output::size(status.reserve_bytes),
    ))?;
    output::line(&format!("days left       {}", days_left(&view)))?;
    for import in &status.running_imports {
        output::line(&format!("running import  {import}"))?;
    }
    output::heading("Scopes")?;
    let headings = ["SCOPE", "EVENTS", "OLDEST", "NEWEST", "SEGMENTS", "SIZE", "IN MEMORY", "KEEP"];
    output::table(&headings, &status.scopes.iter().map(|s| row(&view, s)).collect::<Vec<_>>())?;
    for scope in &status.scopes {
        if let Some(problem) = &scope.problem {
            eprintln!("{}: {}", name(&view, scope), output::safe(problem));
        }
    }
    Ok(())
}

fn days_left(view: &StatusView) -> String {
    let outlook = &view.status.outlook;
    match (outlook.days_left, outlook.growth_bytes_per_day) {
        (Some(days), Some(growth)) => {
            let growth = output::size(growth.unsigned_abs());
            format!("{days}, at {growth} a day: {}", outlook.basis)
        }
        (None, Some(_)) => format!("the directory does not grow: {}", outlook.basis),
        (_, None) => format!("cannot be estimated: {}", outlook.basis),
    }
}

fn name(view: &StatusView, scope: &ScopeStatus) -> String {
    view.projects.get(&scope.scope).map_or_else(|| scope.scope.clone(), ToString::to_string)
}

fn keep(scope: &ScopeStatus) -> String {
    match scope.pending {
        None => retention::limits(&scope.keep),
        Some(pending) => format!(
            "{}; {} from {}",
            retention::limits(&scope.keep),
            retention::limits(&pending.limits),
            pending.from
        ),
    }
}

fn row(view: &StatusView, scope: &ScopeStatus) -> Vec<String> {
    let time = |time: Option<doorbook_event::Timestamp>| {
        time.map_or_else(|| "-".to_owned(), |time| time.to_string())
    };
    let events = match scope.problem {
        None => scope.events.to_string(),
        Some(_) => "?".to_owned(),
    };
    vec![
        name(view, scope),
        events,
        time(scope.oldest),
        time(scope.newest),
        scope.segments.to_string(),
        output::size(scope.segment_bytes),
        scope.rows_in_memory.to_string(),
        keep(scope),
    ]
}
