//! `doorbook report`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use doorbook_event::Timestamp;
use doorbook_server::admin::accounts::{AccountRow, AccountsReport, AccountsRequest, INTERACTIVE};
use doorbook_server::admin::request::EventsQuery;
use doorbook_server::admin::roster::{self, Account, AccountKind};
use doorbook_server::admin::{Failure, Reply, Request};

use super::{DataDir, history, out_of_turn};
use crate::output;
use crate::remote::{Remote, ServerArgs};

#[derive(Subcommand)]
pub enum Command {
    /// Which accounts of a roster were seen when, and who was seen that is on none
    Accounts(Accounts),
}

#[derive(clap::Args)]
pub struct Accounts {
    /// The accounts that there should be: CSV with a heading; name, and kind (person or service) and owner
    /// if you like; - reads standard input
    #[arg(long, value_name = "FILE")]
    roster: PathBuf,
    /// The project, by id or name [default: the only one there is]
    #[arg(long, value_name = "P", conflicts_with = "namespace")]
    project: Option<String>,
    /// The namespace whose arrays' history it is
    #[arg(long, value_name = "NS")]
    namespace: Option<String>,
    /// Which events count
    #[arg(
        long,
        value_name = "FILTER",
        default_value = "-class:system",
        allow_hyphen_values = true
    )]
    filter: String,
    /// One more application that people use by hand, * standing for anything; can be given several
    /// times
    #[arg(long, value_name = "NAME")]
    interactive: Vec<String>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV, with what a spreadsheet would execute made harmless
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    let Command::Accounts(args) = command;
    let text = read(&args.roster)?;
    let roster = roster::read(&args.roster.display().to_string(), &text)?;
    let query = EventsQuery {
        project: args.project.clone(),
        namespace: args.namespace.clone(),
        filter: args.filter.clone(),
        ..EventsQuery::default()
    };
    let report = match args.server.remote()? {
        Some(remote) => there(&remote, &query, args.interactive, text)?,
        None => here(data_dir, query, args.interactive, roster)?,
    };
    match (args.json, args.csv) {
        (true, _) => output::json(&report)?,
        (_, true) => output::csv(&report.csv())?,
        _ => table(&report)?,
    }
    tell(&report);
    Ok(())
}

fn here(
    data_dir: &DataDir,
    query: EventsQuery,
    interactive: Vec<String>,
    roster: Vec<Account>,
) -> anyhow::Result<AccountsReport> {
    let interactive = INTERACTIVE.into_iter().map(str::to_owned).chain(interactive).collect();
    let request = AccountsRequest { query, roster, interactive };
    match data_dir.execute(Request::Accounts(Box::new(request)))? {
        Reply::Accounts(report) => Ok(*report),
        other => Err(out_of_turn(&other)),
    }
}

/// The same over the network: the roster goes to where the events are.
fn there(
    remote: &Remote,
    query: &EventsQuery,
    interactive: Vec<String>,
    roster: Vec<u8>,
) -> anyhow::Result<AccountsReport> {
    let mut parameters = vec![("q".to_owned(), query.filter.clone())];
    parameters.extend(interactive.into_iter().map(|name| ("interactive".to_owned(), name)));
    parameters.extend(history::scope(query));
    remote.send(("POST", "reports/accounts"), &parameters, ("text/csv", roster))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let cannot =
        |error: std::io::Error| Failure::failed(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let limit = roster::SIZE_BYTES_MAX + 1;
    match path == Path::new("-") {
        true => std::io::stdin().lock().take(limit).read_to_end(&mut bytes),
        false => std::fs::File::open(path).map_err(cannot)?.take(limit).read_to_end(&mut bytes),
    }
    .map_err(cannot)?;
    match bytes.len() as u64 == limit {
        true => Err(Failure::invalid(format!(
            "{} is larger than {}",
            path.display(),
            output::size(roster::SIZE_BYTES_MAX)
        ))),
        false => Ok(bytes),
    }
}

fn table(report: &AccountsReport) -> anyhow::Result<()> {
    let instant = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
    let row = |row: &AccountRow| {
        let findings: Vec<&str> = row.findings.iter().map(|finding| finding.words()).collect();
        let used = row.interactive.iter();
        let used = used.map(|used| format!("{} ({}, {})", used.application, used.count, used.last));
        vec![
            row.name.to_string(),
            row.kind.map_or("", AccountKind::word).to_owned(),
            row.owner.as_deref().unwrap_or_default().to_owned(),
            findings.join("; "),
            instant(row.last_seen),
            row.success.to_string(),
            row.failure.to_string(),
            used.collect::<Vec<_>>().join(", "),
        ]
    };
    let headings = [
        "ACCOUNT",
        "KIND",
        "OWNER",
        "FINDING",
        "LAST SEEN",
        "LET IN",
        "FAILED",
        "USED BY HAND FROM",
    ];
    output::table(&headings, &report.accounts.iter().map(row).collect::<Vec<_>>())
}

/// What the report is worth.
fn tell(report: &AccountsReport) {
    let through = report.coverage.through.map(|at| format!(" up to {at}")).unwrap_or_default();
    match report.coverage.is_complete() {
        true => eprintln!("Everything was watched{through}."),
        false => eprintln!(
            "Not everything was seen ({}, {}): \"never seen\" means that no event tells of it. \
             `doorbook coverage` shows when nobody looked.",
            report.coverage.state,
            output::count(report.coverage.gaps, "gap", "gaps"),
        ),
    }
    if let Some(from) = report.kept_from {
        eprintln!("Events before {from} are not kept.");
    }
    if report.omitted > 0 {
        eprintln!("{} more names were seen than are shown.", report.omitted);
    }
}
