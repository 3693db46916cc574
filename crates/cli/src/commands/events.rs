//! `doorbook events`.

use std::net::IpAddr;

use doorbook_event::Timestamp;
use doorbook_server::admin::request::{ClassWord, Cursor, EventsQuery};
use doorbook_server::admin::rows::{EventRow, QuarantineRow};
use doorbook_server::admin::{Connection, Reply, Request};

use super::{DataDir, out_of_turn};
use crate::values::Origin;
use crate::{output, values};

#[derive(clap::Args)]
pub struct Args {
    /// The project, by id or name [default: the only one there is]
    #[arg(long, value_name = "P", conflicts_with = "system")]
    project: Option<String>,
    /// Doorbook's own history: who changed, imported and asked
    #[arg(long, conflicts_with_all = ["cluster", "host"])]
    system: bool,
    /// The history of a namespace's arrays
    #[arg(long, value_name = "NS", conflicts_with_all = ["project", "system", "cluster", "host"])]
    namespace: Option<String>,
    /// Only of this array of the namespace: by name, id, or where it is stored
    #[arg(long, value_name = "A", requires = "namespace")]
    array: Option<String>,
    /// Only of this cluster
    #[arg(long, value_name = "C")]
    cluster: Option<String>,
    /// Only of this host, by any of its names
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// Earliest event time: RFC 3339, a date, or milliseconds since 1970
    #[arg(long, value_name = "T", value_parser = values::instant)]
    from: Option<Timestamp>,
    /// Latest event time
    #[arg(long, value_name = "T", value_parser = values::instant)]
    to: Option<Timestamp>,
    /// Only successes, or only failures
    #[arg(long, value_parser = ["success", "failure"])]
    outcome: Option<String>,
    /// Only of this database user, exactly, in any database
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Only from this address, exactly; `unix` for Unix sockets
    #[arg(long, value_name = "A", value_parser = values::origin)]
    address: Option<Origin>,
    /// Only with this class; given several times: with any of them
    #[arg(long, value_name = "CLASS", value_parser = values::class)]
    class: Vec<ClassWord>,
    /// Only without this class; given several times: with none of them
    #[arg(long, value_name = "CLASS", value_parser = values::class)]
    without: Vec<ClassWord>,
    /// The lines that could not be read instead of events
    #[arg(long)]
    quarantine: bool,
    /// At most this many rows, the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// One JSON object per line, with every column and the record as it was received
    #[arg(long)]
    json: bool,
}

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let mut connection = data_dir.open()?;
    let shown = show(&mut connection, &args);
    connection.close()?;
    shown
}

fn show(connection: &mut Connection, args: &Args) -> anyhow::Result<()> {
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut shown = 0;
    let mut after: Option<Cursor> = None;
    loop {
        let query = query(args, left, after.take());
        let is_first = query.after.is_none();
        let (n_rows, total, next) = match connection.execute(Request::Events(Box::new(query)))? {
            Reply::Events(page) => {
                match args.json {
                    true => page.rows.iter().try_for_each(output::json)?,
                    false => print_events(&page.rows)?,
                }
                (page.rows.len() as u64, page.total, page.next)
            }
            Reply::Quarantine(page) => {
                match args.json {
                    true => page.rows.iter().try_for_each(output::json)?,
                    false => print_quarantine(&page.rows)?,
                }
                (page.rows.len() as u64, page.total, page.next)
            }
            other => return Err(out_of_turn(&other)),
        };
        shown += n_rows;
        left = left.saturating_sub(n_rows);
        match next {
            Some(next) if left > 0 && n_rows > 0 => after = Some(next),
            _ => {
                let what = match (args.quarantine, is_first && total == 0) {
                    (_, true) => "Nothing matches.".to_owned(),
                    (true, _) => format!("{shown} of {total} lines."),
                    (false, _) => format!("{shown} of {total} events."),
                };
                eprintln!("{what}");
                return Ok(());
            }
        }
    }
}

fn query(args: &Args, limit: u64, after: Option<Cursor>) -> EventsQuery {
    EventsQuery {
        project: args.project.clone(),
        namespace: args.namespace.clone(),
        array: args.array.clone(),
        system: args.system,
        cluster: args.cluster.clone(),
        host: args.host.clone(),
        from: args.from,
        to: args.to,
        success: args.outcome.as_ref().map(|outcome| outcome == "success"),
        user: args.user.clone(),
        address: match args.address {
            Some(Origin::Address(address)) => Some(address),
            Some(Origin::UnixSocket) | None => None,
        },
        unix_socket: args.address == Some(Origin::UnixSocket),
        with: args.class.clone(),
        without: args.without.clone(),
        source: None,
        quarantine: args.quarantine,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        after,
    }
}

fn print_events(rows: &[EventRow]) -> anyhow::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let row = |row: &EventRow| {
        let user = match (&row.user, &row.database, row.uid) {
            (Some(user), Some(database), _) if !database.is_empty() => format!("{user}@{database}"),
            (Some(user), _, _) => user.to_string(),
            (None, _, Some(uid)) => format!("uid {uid}"),
            (None, _, None) => format!("({})", row.principal),
        };
        let from = match (row.address, row.port) {
            (Some(IpAddr::V6(address)), Some(port)) => format!("[{address}]:{port}"),
            (Some(address), Some(port)) => format!("{address}:{port}"),
            (Some(address), None) => address.to_string(),
            (None, _) if row.peer == "unknown" => "-".to_owned(),
            (None, _) => row.peer.clone(),
        };
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
            user,
            from,
            row.mechanism.as_deref().unwrap_or("").to_owned(),
            row.classes.join(","),
            details,
        ]
    };
    let headings =
        ["TIME", "TARGET", "ACTION", "OUTCOME", "USER", "FROM", "MECHANISM", "CLASSES", "DETAILS"];
    output::table(&headings, &rows.iter().map(row).collect::<Vec<_>>())
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
