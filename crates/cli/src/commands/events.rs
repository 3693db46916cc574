//! `doorbook events`.

use std::net::IpAddr;

use doorbook_server::admin::request::{Cursor, EventsQuery};
use doorbook_server::admin::rows::{EventRow, QuarantineRow};
use doorbook_server::admin::{Connection, Reply, Request};
use doorbook_server::api::native::answers;

use super::history::{refuse_system, scope};
use super::wanted::Wanted;
use super::{DataDir, out_of_turn};
use crate::output;
use crate::remote::{Remote, ServerArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// At most this many rows, the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// One JSON object per line, with every column and the record as it was received
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let query = args.wanted.query()?;
    if let Some(remote) = args.server.remote()? {
        return show_there(&remote, &args, &query);
    }
    let mut connection = data_dir.open()?;
    let shown = show(&mut connection, &args, &query);
    connection.close()?;
    shown
}

fn show(connection: &mut Connection, args: &Args, query: &EventsQuery) -> anyhow::Result<()> {
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut shown = 0;
    let mut after: Option<Cursor> = None;
    loop {
        let limit = usize::try_from(left).unwrap_or(usize::MAX);
        let query = EventsQuery { limit, after: after.take(), ..query.clone() };
        let is_first = query.after.is_none();
        let (n_rows, total, next, things) =
            match connection.execute(Request::Events(Box::new(query)))? {
                Reply::Events(page) => {
                    match args.json {
                        true => page.rows.iter().try_for_each(output::json)?,
                        false => print_events(&page.rows)?,
                    }
                    (page.rows.len() as u64, page.total, page.next, "events")
                }
                Reply::Quarantine(page) => {
                    match args.json {
                        true => page.rows.iter().try_for_each(output::json)?,
                        false => print_quarantine(&page.rows)?,
                    }
                    (page.rows.len() as u64, page.total, page.next, "lines")
                }
                other => return Err(out_of_turn(&other)),
            };
        shown += n_rows;
        left = left.saturating_sub(n_rows);
        match next {
            Some(next) if left > 0 && n_rows > 0 => after = Some(next),
            _ => {
                match is_first && total == 0 {
                    true => eprintln!("Nothing matches."),
                    false => eprintln!("{shown} of {total} {things}."),
                }
                return Ok(());
            }
        }
    }
}

/// Rows of a request to a server; the command line asks again for more.
const ROWS_MAX: u64 = 1000;

/// The same over the network. Where a row lies in its log is not told there.
fn show_there(remote: &Remote, args: &Args, query: &EventsQuery) -> anyhow::Result<()> {
    refuse_system(query)?;
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut shown = 0;
    let mut parameters = vec![("q".to_owned(), query.filter.clone())];
    parameters.extend(scope(query));
    let mut things = "events";
    loop {
        parameters.push(("limit".to_owned(), left.min(ROWS_MAX).to_string()));
        let page: answers::Events = remote.get("events", &parameters)?;
        let n_rows = page.events.len() as u64;
        if page.events.iter().any(|row| row.quarantine.is_some()) {
            things = "lines";
        }
        show_page(page.events, args.json)?;
        shown += n_rows;
        left = left.saturating_sub(n_rows);
        match page.cursor {
            Some(cursor) if left > 0 => parameters = vec![("cursor".to_owned(), cursor)],
            _ => {
                match page.total {
                    0 => eprintln!("Nothing matches."),
                    total => eprintln!("{shown} of {total} {things}."),
                }
                return Ok(());
            }
        }
    }
}

/// Rows of an answer, which are of one kind.
fn show_page(answer: Vec<answers::Row>, is_json: bool) -> anyhow::Result<()> {
    let (lines, events): (Vec<_>, Vec<_>) =
        answer.into_iter().partition(|row| row.quarantine.is_some());
    let events: Vec<_> = events.into_iter().filter_map(EventRow::from_answer).collect();
    let lines: Vec<_> = lines.into_iter().filter_map(QuarantineRow::from_answer).collect();
    match is_json {
        true => {
            events.iter().try_for_each(output::json)?;
            lines.iter().try_for_each(output::json)
        }
        false => {
            print_events(&events)?;
            print_quarantine(&lines)
        }
    }
}

fn print_events(rows: &[EventRow]) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let row = |row: &EventRow| {
        let attributes = || row.attributes.iter().map(|(key, value)| format!("{key}={value}"));
        let details = match &row.reason {
            Some(reason) => reason.to_string(),
            None => attributes().collect::<Vec<_>>().join(" "),
        };
        vec![
            row.event_time.to_string(),
            row.target.short(),
            row.action.clone(),
            row.outcome.clone(),
            user(row),
            from(row),
            row.mechanism.as_deref().unwrap_or("").to_owned(),
            row.classes.join(","),
            details,
        ]
    };
    let headings =
        ["TIME", "TARGET", "ACTION", "OUTCOME", "USER", "FROM", "MECHANISM", "CLASSES", "DETAILS"];
    output::table(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}

/// Who, in few characters.
pub fn user(row: &EventRow) -> String {
    match (&row.user, &row.database, row.uid) {
        (Some(user), Some(database), _) if !database.is_empty() => format!("{user}@{database}"),
        (Some(user), _, _) => user.to_string(),
        (None, _, Some(uid)) => format!("uid {uid}"),
        (None, _, None) => format!("({})", row.principal),
    }
}

/// From where, in few characters.
pub fn from(row: &EventRow) -> String {
    match (row.address, row.port) {
        (Some(IpAddr::V6(address)), Some(port)) => format!("[{address}]:{port}"),
        (Some(address), Some(port)) => format!("{address}:{port}"),
        (Some(address), None) => address.to_string(),
        (None, _) if row.peer == "unknown" => "-".to_owned(),
        (None, _) => row.peer.clone(),
    }
}

fn print_quarantine(rows: &[QuarantineRow]) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = rows.iter().map(quarantine_row).collect();
    output::table(&["RECEIVED", "TARGET", "PLACE", "BYTES", "REASON", "BEGINS"], &rows)
}

/// A quarantined line as a row; of the line itself as much as fits a screen.
fn quarantine_row(row: &QuarantineRow) -> Vec<String> {
    let raw = row.raw.as_deref().unwrap_or("");
    vec![
        row.ingest_time.to_string(),
        row.target.short(),
        format!("{}:{}", row.file, row.line),
        row.length_bytes.to_string(),
        row.reason.to_string(),
        raw.chars().take(60).collect(),
    ]
}
