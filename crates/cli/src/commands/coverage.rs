//! `doorbook coverage`.

use doorbook_event::source::SourceKind;
use doorbook_event::{Action, Text, Timestamp};
use doorbook_server::admin::request::EventsQuery;
use doorbook_server::admin::rows::CoverageRow;
use doorbook_server::admin::{Reply, Request};
use doorbook_server::api::native::answers;

use super::history::{History, Operation};
use super::{DataDir, out_of_turn};
use crate::output;
use crate::remote::ServerArgs;

#[derive(clap::Args)]
pub struct Args {
    /// Only of this project
    #[arg(long, value_name = "P")]
    project: Option<String>,
    /// Of the arrays of this namespace
    #[arg(long, value_name = "NS", conflicts_with = "project")]
    namespace: Option<String>,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// As many as our own API answers at once.
const GAPS_MAX: usize = 10_000;

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let is_of_one = args.project.is_some() || args.namespace.is_some();
    let rows = match is_of_one || args.server.is_named() {
        true => of_one(data_dir, &args)?,
        // Only who has the data directory may ask for everything.
        false => match data_dir.execute(Request::Coverage)? {
            Reply::Coverage(rows) => rows,
            other => return Err(out_of_turn(&other)),
        },
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
            hidden(gap),
            gap.grade.clone(),
            cause(gap),
            gap.by.clone().unwrap_or_default(),
        ]
    };
    let headings = ["PROJECT", "TARGET", "FROM", "TO", "HIDDEN", "GRADE", "CAUSE", "BY"];
    output::table(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}

/// What was not seen of a project, over a network the key's own if none is named, or of a namespace.
fn of_one(data_dir: &DataDir, args: &Args) -> anyhow::Result<Vec<CoverageRow>> {
    let (project, namespace) = (args.project.clone(), args.namespace.clone());
    let of = EventsQuery { project, namespace, ..EventsQuery::default() };
    let mut history = History::open(data_dir, &args.server, &of)?;
    let parameters = [("limit", GAPS_MAX.to_string())];
    let answer: answers::CoverageAlone =
        history.ask(Operation("getCoverage", "coverage"), None, &parameters)?;
    history.close()?;
    let answers::Coverage { gaps, total, .. } = answer.coverage;
    if total > gaps.len() as u64 {
        eprintln!("The latest {} of {total} gaps.", gaps.len());
    }
    let project = answer.project.map(Text::from);
    let row = |gap| CoverageRow::from_answer(project.clone(), gap);
    Ok(gaps.into_iter().map(row).collect())
}

/// What is hidden: of which actions, where others that sources see are not concerned. More than a few are
/// told by their number.
fn hidden(gap: &CoverageRow) -> String {
    const FEW: usize = 4;
    let is_known = |action: &Action| gap.actions.iter().any(|word| word == action.word());
    let kinds = || SourceKind::ALL.into_iter().filter(|kind| kind.actions().iter().any(is_known));
    let is_all = kinds().flat_map(|kind| kind.actions()).all(is_known);
    match (is_all, gap.actions.len()) {
        (true, _) => gap.hidden.clone(),
        (false, 0..=FEW) => format!("{} ({})", gap.hidden, gap.actions.join(", ")),
        (false, n) => format!("{} ({n} actions, {}, …)", gap.hidden, gap.actions[0]),
    }
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

#[cfg(test)]
mod tests {
    use doorbook_event::Target;
    use doorbook_event::record::{Grade, Hidden};
    use doorbook_store::coverage::Gap;

    use super::*;

    /// Goal: who reads that nobody saw anything of an array reads whether that is about all that is done.
    #[test]
    fn actions_are_named_where_they_are_not_all() {
        let gap = |actions: &[Action]| Gap {
            target: Target::Array { namespace: "alice".into(), array: "s3://lake".into() },
            actions: actions.to_vec(),
            hidden: Hidden::All,
            grade: Grade::Blind,
            cause: "no source".into(),
            actor: None,
            source: None,
            from: Timestamp::MIN,
            to: None,
            last_seen: Timestamp::MIN,
            missing: None,
        };
        let check = |actions: &[Action], expected: &str| {
            assert_eq!(hidden(&CoverageRow::new(None, &gap(actions))), expected, "{actions:?}");
        };
        check(&[Action::QueryRead, Action::ReadSchema], "all (query_read, read_schema)");
        check(SourceKind::TiledbStorage.actions(), "all (10 actions, query_write, …)");
        check(SourceKind::MongodLog.actions(), "all");
        let both = [SourceKind::S3AccessLog.actions(), SourceKind::TiledbStorage.actions()];
        check(&both.concat(), "all");
    }
}
