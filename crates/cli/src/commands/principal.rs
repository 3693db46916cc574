//! `doorbook principal` and `doorbook principals`: who was seen, since when, from where.

use doorbook_server::api::native::answers::{
    HoursOfWeek, Principal, Principals, ValueSums, Values,
};

use super::DataDir;
use super::history::{History, Operation};
use super::wanted::Wanted;
use crate::output;
use crate::remote::ServerArgs;

#[derive(clap::Args)]
pub struct OneArgs {
    /// Its name, exactly
    name: String,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    server: ServerArgs,
    /// Print one JSON object, as GET /api/v1/principals/NAME answers it
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct AllArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Which come first: last seen, first seen, with most events, with most failures
    #[arg(long, value_parser = ["last", "first", "count", "failures"], default_value = "last")]
    sort: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    #[command(flatten)]
    server: ServerArgs,
    /// Print one JSON object, as GET /api/v1/principals answers it
    #[arg(long)]
    json: bool,
}

/// Shows one principal.
pub fn one(data_dir: &DataDir, args: OneArgs) -> anyhow::Result<()> {
    let query = args.wanted.query()?;
    let mut history = History::open(data_dir, &args.server, &query)?;
    let operation = Operation("getPrincipal", "principals/{name}");
    let parameters = [("q", query.filter.clone()), ("zone", args.wanted.zone_name())];
    let principal: Principal = history.ask(operation, Some(&args.name), &parameters)?;
    history.close()?;
    match args.json {
        true => output::json(&principal),
        false => show(&principal),
    }
}

/// Lists principals.
pub fn all(data_dir: &DataDir, args: AllArgs) -> anyhow::Result<()> {
    let query = args.wanted.query()?;
    let mut history = History::open(data_dir, &args.server, &query)?;
    let parameters =
        [("q", query.filter.clone()), ("sort", args.sort), ("limit", args.limit.to_string())];
    let answer: Principals =
        history.ask(Operation("listPrincipals", "principals"), None, &parameters)?;
    history.close()?;
    if args.json {
        return output::json(&answer);
    }
    let row = |sums: &doorbook_server::api::native::answers::NamedSums| {
        vec![
            sums.name.clone().unwrap_or_else(|| "(no name)".to_owned()),
            sums.first_seen.to_string(),
            sums.last_seen.to_string(),
            sums.success.to_string(),
            sums.failure.to_string(),
            sums.unknown.to_string(),
        ]
    };
    let headings = ["NAME", "FIRST SEEN", "LAST SEEN", "SUCCESS", "FAILURE", "UNKNOWN"];
    if !answer.principals.is_empty() {
        output::table(&headings, &answer.principals.iter().map(row).collect::<Vec<_>>())?;
    }
    match answer.total {
        0 => eprintln!("Nothing matches."),
        _ => eprintln!("{} of {} principals.", answer.principals.len(), answer.distinct),
    }
    tell_coverage(&answer.coverage.state);
    Ok(())
}

fn show(principal: &Principal) -> anyhow::Result<()> {
    let (Some(first), Some(last)) = (principal.first_seen, principal.last_seen) else {
        eprintln!("{} was not seen.", output::safe(&principal.name));
        tell_coverage(&principal.coverage.state);
        return Ok(());
    };
    let Principal { success, failure, unknown, .. } = principal;
    let sums = [
        principal.name.clone(),
        first.to_string(),
        last.to_string(),
        success.to_string(),
        failure.to_string(),
        unknown.to_string(),
    ];
    let headings = ["NAME", "FIRST SEEN", "LAST SEEN", "SUCCESS", "FAILURE", "UNKNOWN"];
    output::table(&headings, &[sums.to_vec()])?;
    for (title, values) in [
        ("ADDRESS", &principal.addresses),
        ("APPLICATION", &principal.applications),
        ("DATABASE", &principal.databases),
        ("MECHANISM", &principal.mechanisms),
        ("ACTION", &principal.actions),
        ("CLUSTER", &principal.clusters),
        ("HOST", &principal.hosts),
    ] {
        show_values(title, values)?;
    }
    show_hours(&principal.hours_of_week)?;
    tell_coverage(&principal.coverage.state);
    Ok(())
}

/// Values that events have; nothing where none has any.
fn show_values(title: &str, values: &Values) -> anyhow::Result<()> {
    let known = values.values.iter().filter(|value| value.value.is_some());
    let row = |value: &ValueSums| {
        vec![
            value.value.clone().unwrap_or_default(),
            value.first_seen.to_string(),
            value.last_seen.to_string(),
            value.success.to_string(),
            value.failure.to_string(),
            value.unknown.to_string(),
        ]
    };
    let rows: Vec<_> = known.map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let headings = [title, "FIRST SEEN", "LAST SEEN", "SUCCESS", "FAILURE", "UNKNOWN"];
    output::table(&headings, &rows)
}

/// Events by day of the week and hour.
fn show_hours(hours: &HoursOfWeek) -> anyhow::Result<()> {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    output::line("")?;
    let mut headings = vec!["DAY".to_owned()];
    headings.extend((0..24).map(|hour| format!("{hour:02}")));
    let count = |at: usize| {
        let of = |counts: &[u64]| counts.get(at).copied().unwrap_or(0);
        match of(&hours.success) + of(&hours.failure) + of(&hours.unknown) {
            0 => "·".to_owned(),
            count => count.to_string(),
        }
    };
    let rows = DAYS.iter().enumerate().map(|(day, name)| {
        let mut row = vec![(*name).to_owned()];
        row.extend((0..24).map(|hour| count(day * 24 + hour)));
        row
    });
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    output::table(&headings, &rows.collect::<Vec<_>>())
}

/// What an answer cannot know.
fn tell_coverage(state: &str) {
    match state {
        "complete" => {}
        "best_effort" => {
            eprintln!("Of some of it best effort is all that is known: doorbook coverage")
        }
        _ => eprintln!("Not everything was seen: doorbook coverage"),
    }
}
