//! `doorbook tail`: the latest events, and with `-f` those that come, in the order in which they are
//! recorded.

use std::time::Duration;

use doorbook_server::admin::request::{EventsQuery, ReadRequest};
use doorbook_server::admin::rows::EventRow;
use doorbook_server::admin::{Connection, Failure};
use doorbook_server::api::native::answers::{Events, Piece, Row};

use super::DataDir;
use super::events::{from, user};
use super::history::{self, History, Operation};
use super::wanted::Wanted;
use crate::output;
use crate::remote::{Remote, ServerArgs};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Go on with what comes, until Ctrl-C; over restarts of the server, each event once
    #[arg(long, short)]
    follow: bool,
    /// Begin with so many, the latest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=1000))]
    lines: u64,
    #[command(flatten)]
    server: ServerArgs,
    /// One JSON object per line, as GET /api/v1/events has them
    #[arg(long)]
    json: bool,
}

/// Between two looks, and before a server is asked again that was not there.
const PAUSE: Duration = Duration::from_millis(500);

const EVENTS: Operation = Operation("listEvents", "events");
const TAIL: Operation = Operation("tailEvents", "events/tail");

pub fn run(data_dir: &DataDir, args: Args) -> anyhow::Result<()> {
    let query = args.wanted.query()?;
    let mut history = History::open(data_dir, &args.server, &query)?;
    let parameters = [("q", query.filter.clone()), ("limit", args.lines.to_string())];
    let latest: Events = history.ask(EVENTS, None, &parameters)?;
    history.close()?;
    latest.events.into_iter().rev().try_for_each(|row| show(row, args.json))?;
    match args.server.remote()? {
        _ if !args.follow => Ok(()),
        Some(remote) => follow_there(&remote, &query, latest.as_of, args.json),
        None => follow_here(data_dir, &query, latest.as_of, args.json),
    }
}

/// Reads on over the network.
fn follow_there(
    remote: &Remote,
    query: &EventsQuery,
    mut at: String,
    is_json: bool,
) -> anyhow::Result<()> {
    let mut parameters = vec![("q".to_owned(), query.filter.clone())];
    parameters.extend(history::scope(query));
    loop {
        if let Some(mut messages) = remote.follow(TAIL.1, &parameters, Some(&at))? {
            while let Some(message) = messages.next() {
                if let Some(data) = message.data {
                    show(serde_json::from_str(&data)?, is_json)?;
                }
                at = message.id.unwrap_or(at);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Reads on beside a running server, which alone could write anything.
fn follow_here(
    data_dir: &DataDir,
    query: &EventsQuery,
    mut at: String,
    is_json: bool,
) -> anyhow::Result<()> {
    let nobody = || {
        Failure::failed("no server has this data directory, and so nothing comes: doorbook serve")
    };
    let mut connection = beside(data_dir)?.ok_or_else(nobody)?;
    let mut goes_on = false;
    loop {
        let request = ReadRequest {
            project: query.project.clone(),
            system: query.system,
            namespace: query.namespace.clone(),
            operation: TAIL.0.to_owned(),
            name: None,
            parameters: vec![
                ("q".to_owned(), query.filter.clone()),
                ("after".to_owned(), at.clone()),
            ],
            goes_on,
        };
        let piece: anyhow::Result<Piece> = history::read(&mut connection, request);
        let piece = match piece {
            Ok(piece) => piece,
            // It was answered before, so that it is the server that is away.
            Err(_) if goes_on => {
                connection = wait_for_server(data_dir)?;
                goes_on = false;
                continue;
            }
            Err(error) => return Err(error),
        };
        piece.events.into_iter().try_for_each(|row| show(row, is_json))?;
        (at, goes_on) = (piece.after, true);
        if piece.is_last {
            std::thread::sleep(PAUSE);
        }
    }
}

/// A running server; `None` where none has the directory.
fn beside(data_dir: &DataDir) -> Result<Option<Connection>, Failure> {
    match data_dir.open()? {
        connection @ Connection::There(_) => Ok(Some(connection)),
        here @ Connection::Here(..) => here.close().map(|()| None),
    }
}

fn wait_for_server(data_dir: &DataDir) -> Result<Connection, Failure> {
    loop {
        std::thread::sleep(PAUSE);
        // While it begins or ends it neither answers nor lets go.
        if let Ok(Some(connection)) = beside(data_dir) {
            return Ok(connection);
        }
    }
}

/// One line for each, whose columns stand below each other as far as can be known.
fn show(answer: Row, is_json: bool) -> anyhow::Result<()> {
    if is_json {
        return output::json(&answer);
    }
    let reason = answer.quarantine.as_ref().map(|line| line.reason.clone());
    let received = answer.ingest_time;
    let Some(row) = EventRow::from_answer(answer) else {
        let reason = reason.unwrap_or_default();
        return output::line(&format!("{received:<27}  could not be read: {reason}"));
    };
    let line = format!(
        "{:<27}  {:<24}  {:<12}  {}  {:<24}  {:<21}  {}",
        row.event_time.to_string(),
        row.target.short(),
        row.action,
        output::outcome(&row.outcome, 7),
        output::safe(&user(&row)),
        from(&row),
        output::safe(row.reason.as_deref().unwrap_or_default()),
    );
    output::coloured_line(line.trim_end())
}
