//! `doorbook events`.

use std::net::IpAddr;

use doorbook_event::Clock;
use doorbook_server::admin::request::{Cursor, EventsQuery};
use doorbook_server::admin::rows::{EventRow, QuarantineRow};
use doorbook_server::admin::{Connection, Failure, Reply, Request};
use doorbook_server::filter::{Key, Terms, Wrong};
use jiff::tz::TimeZone;

use super::{DataDir, out_of_turn};
use crate::system::SystemClock;
use crate::{output, values};

#[derive(clap::Args)]
pub struct Args {
    /// What is wanted: result:failed user:svc-* ip:10.0.0.0/8 -class:system since:24h
    ///
    /// Terms stand side by side and must all hold; of one key any of its values. docs/filters.md has all
    /// keys.
    #[arg(value_name = "FILTER")]
    filter: Vec<String>,
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
    /// Earliest event time: RFC 3339, a day, or milliseconds since 1970
    #[arg(long, value_name = "T")]
    from: Option<String>,
    /// Latest event time; of a day its last instant
    #[arg(long, value_name = "T")]
    to: Option<String>,
    /// Where days begin: a name such as Europe/Berlin, or an offset
    #[arg(long, value_name = "ZONE", value_parser = values::time_zone, default_value = "UTC")]
    zone: TimeZone,
    /// Only successes, or only failures
    #[arg(long, value_parser = ["success", "failure"])]
    outcome: Option<String>,
    /// Only of this database user, exactly, in any database
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Only from this address or network; `unix` for Unix sockets
    #[arg(long, value_name = "A")]
    address: Option<String>,
    /// Only with this class; given several times: with any of them
    #[arg(long, value_name = "CLASS")]
    class: Vec<String>,
    /// Only without this class; given several times: with none of them
    #[arg(long, value_name = "CLASS")]
    without: Vec<String>,
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
    let filter = args.filter.iter().map(|term| term.trim_start()).collect::<Vec<_>>().join(" ");
    let filter = args.terms(&filter)?.to_string();
    let mut connection = data_dir.open()?;
    let shown = show(&mut connection, &args, &filter);
    connection.close()?;
    shown
}

impl Args {
    /// The filter, with an option as short for a term.
    fn terms(&self, filter: &str) -> anyhow::Result<Terms> {
        let wrong = |wrong: Wrong| Failure::invalid(wrong.explain(filter));
        let mut terms = Terms::parse(filter).map_err(wrong)?;
        let options = [
            ("--array", Key::Array, &self.array),
            ("--cluster", Key::Cluster, &self.cluster),
            ("--host", Key::Host, &self.host),
            ("--from", Key::From, &self.from),
            ("--to", Key::To, &self.to),
            ("--outcome", Key::Result, &self.outcome),
            ("--user", Key::User, &self.user),
            ("--address", Key::Ip, &self.address),
        ];
        for (name, key, value) in options {
            if let Some(value) = value {
                terms.add(name, key, value);
            }
        }
        self.class.iter().for_each(|class| terms.add("--class", Key::Class, class));
        self.without.iter().for_each(|class| terms.add_not("--without", Key::Class, class));
        if self.quarantine {
            terms.add("--quarantine", Key::Kind, "quarantine");
        }
        Ok(terms.at(SystemClock.now(), &self.zone).map_err(wrong)?)
    }
}

fn show(connection: &mut Connection, args: &Args, filter: &str) -> anyhow::Result<()> {
    let mut left = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut shown = 0;
    let mut after: Option<Cursor> = None;
    loop {
        let query = EventsQuery {
            project: args.project.clone(),
            namespace: args.namespace.clone(),
            system: args.system,
            filter: filter.to_owned(),
            limit: usize::try_from(left).unwrap_or(usize::MAX),
            after: after.take(),
        };
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
