//! `doorbook quarantine`.

use std::fmt;
use std::str::FromStr;

use clap::Subcommand;
use doorbook_server::admin::request::{Cursor, EventsQuery, Replays};
use doorbook_server::admin::rows::{Became, QuarantineRow, ReplayRow, RoutedRow};
use doorbook_server::admin::{Connection, Reply, Request};
use doorbook_server::filter::{Key, Terms};

use super::{DataDir, out_of_turn};
use crate::output;

#[derive(Subcommand)]
pub enum Command {
    /// List which hosts send lines that no source knows, each with the rule that would make it known, and
    /// lines that look like a record and could not be read, newest first
    List(List),
    /// Show one of them: where it stood, why it could not be read, and its bytes
    Show(Show),
    /// Read them again, by this version and with the hosts and sources that are known now: what can be
    /// read is stored, once, and is put aside no longer
    Replay(Replay),
}

/// Which of the lines that were put aside.
#[derive(clap::Args)]
pub struct Which {
    /// The project, by id or name [default: the only one there is]
    #[arg(long, value_name = "P")]
    project: Option<String>,
    /// Of this namespace instead: what logs and lists of its arrays could not be read
    #[arg(long, value_name = "NS", conflicts_with_all = ["project", "cluster", "host"])]
    namespace: Option<String>,
    /// Only of this cluster
    #[arg(long, value_name = "C")]
    cluster: Option<String>,
    /// Only of this host, by any of its names
    #[arg(long, value_name = "HOST[:PORT]")]
    host: Option<String>,
    /// Only what this source told
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only those whose reason holds this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    which: Which,
    /// At most this many, the newest; 0 for all
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u64,
    /// Only which hosts are not known, by name
    #[arg(long, conflicts_with = "namespace")]
    unrouted: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Show {
    /// As `list` names it
    id: Id,
    /// The project, by id or name [default: the only one there is]
    #[arg(long, value_name = "P")]
    project: Option<String>,
    /// Its namespace, instead of a project
    #[arg(long, value_name = "NS", conflicts_with = "project")]
    namespace: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    /// Only show what would be read
    #[arg(long)]
    dry_run: bool,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

/// A place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    log: u32,
    seq: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.log, self.seq)
    }
}

impl FromStr for Id {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Id, &'static str> {
        let malformed = "an id is LOG-SEQ, as doorbook quarantine list shows it";
        let (log, seq) = text.split_once('-').ok_or(malformed)?;
        let log = log.parse().map_err(|_| malformed)?;
        Ok(Id { log, seq: seq.parse().map_err(|_| malformed)? })
    }
}

pub fn run(data_dir: &DataDir, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(args) => {
            let mut connection = data_dir.open()?;
            let listed = list_all(&mut connection, &args);
            connection.close()?;
            listed
        }
        Command::Show(args) => show(data_dir, &args),
        Command::Replay(args) => {
            let mut connection = data_dir.open()?;
            let replayed = replay(&mut connection, &args);
            connection.close()?;
            replayed
        }
    }
}

fn list_all(connection: &mut Connection, args: &List) -> anyhow::Result<()> {
    // Of a host that is known nothing waits for its rule, and lines as JSON are of one form.
    let Which { namespace, cluster, host, source, reason, .. } = &args.which;
    let is_narrow = [namespace, cluster, host, source, reason].into_iter().any(Option::is_some);
    if args.unrouted || !(is_narrow || args.json) {
        unrouted(connection, args)?;
    }
    match args.unrouted {
        true => Ok(()),
        false => list(connection, args),
    }
}

fn unrouted(connection: &mut Connection, args: &List) -> anyhow::Result<()> {
    let request = Request::Unrouted { project: args.which.project.clone() };
    let reply = connection.execute(request)?;
    let Reply::Unrouted(rows) = reply else { return Err(out_of_turn(&reply)) };
    if args.json {
        return rows.iter().try_for_each(output::json);
    }
    for row in &rows {
        let lines = output::count(row.lines, "line waits", "lines wait");
        output::heading(&format!("{}: {lines}", row.name))?;
        output::line(&format!("from {} to {}, because {}", row.first, row.last, row.reason))?;
        let labels = row.labels.iter().map(|(name, value)| format!("{name} = {:?}", &**value));
        output::line(&format!("labels: {}", labels.collect::<Vec<_>>().join(", ")))?;
        output::line("")?;
        row.rule.lines().try_for_each(|line| output::line(&format!("    {line}")))?;
        output::line("")?;
    }
    if !rows.is_empty() {
        eprintln!(
            "To know a host, write its rule and the host itself into the file of the estate, then \
             run `doorbook apply` and `doorbook quarantine replay`."
        );
    }
    Ok(())
}

fn list(connection: &mut Connection, args: &List) -> anyhow::Result<()> {
    let limit = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut shown = 0;
    let mut after: Option<Cursor> = None;
    loop {
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        let query = args.which.query(wanted, after);
        let reply = connection.execute(Request::Events(Box::new(query)))?;
        let Reply::Quarantine(page) = reply else { return Err(out_of_turn(&reply)) };
        let reason = args.which.reason();
        let rows = page.rows.iter().filter(|row| row.reason.contains(reason));
        let left = usize::try_from(limit - shown).unwrap_or(usize::MAX);
        let rows: Vec<&QuarantineRow> = rows.take(left).collect();
        match args.json {
            true => rows.iter().try_for_each(output::json)?,
            false if rows.is_empty() => {}
            false => {
                let rows: Vec<_> = rows.iter().map(|row| cells(row)).collect();
                output::table(&["ID", "RECEIVED", "TARGET", "SOURCE", "PLACE", "REASON"], &rows)?;
            }
        }
        shown += rows.len() as u64;
        match page.next {
            Some(next) if shown < limit && !page.rows.is_empty() => after = Some(next),
            _ => {
                let lines = output::count(shown, "line", "lines");
                eprintln!("{lines} shown, of {} in these places.", page.total);
                return Ok(());
            }
        }
    }
}

impl Which {
    /// A page of them; what the reason leaves out has to be looked at.
    fn query(&self, limit: usize, after: Option<Cursor>) -> EventsQuery {
        let mut terms = Terms::default();
        terms.add("quarantine", Key::Kind, "quarantine");
        let options = [
            ("--cluster", Key::Cluster, &self.cluster),
            ("--host", Key::Host, &self.host),
            ("--source", Key::Source, &self.source),
        ];
        for (name, key, value) in options {
            if let Some(value) = value {
                terms.add(name, key, value);
            }
        }
        EventsQuery {
            project: self.project.clone(),
            namespace: self.namespace.clone(),
            filter: terms.to_string(),
            limit: if self.reason.is_some() { usize::MAX } else { limit },
            after,
            ..EventsQuery::default()
        }
    }

    fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_default()
    }
}

fn cells(row: &QuarantineRow) -> Vec<String> {
    vec![
        id(row).to_string(),
        row.ingest_time.to_string(),
        row.target.short(),
        row.source.to_string(),
        format!("{}:{}", row.file, row.line),
        row.reason.to_string(),
    ]
}

/// A data directory tells where a row lies.
fn id(row: &QuarantineRow) -> Id {
    Id { log: row.log.unwrap_or_default(), seq: row.seq.unwrap_or_default() }
}

fn replay(connection: &mut Connection, args: &Replay) -> anyhow::Result<()> {
    let mut tally = Tally::default();
    let mut after: Option<Cursor> = None;
    loop {
        // The server's pages have a size of their own.
        let query = args.which.query(0, after);
        let reason = args.which.reason().to_owned();
        let replays = Replays { query, reason, dry_run: args.dry_run };
        let reply = connection.execute(Request::QuarantineReplay(Box::new(replays)))?;
        let Reply::Replayed(page) = reply else { return Err(out_of_turn(&reply)) };
        routed(&page.routed, args.json)?;
        page.routed.iter().for_each(|row| tally.routed(row));
        page.rows.iter().for_each(|row| tally.count(&row.became));
        match args.json {
            true => page.rows.iter().try_for_each(output::json)?,
            false if page.rows.is_empty() => {}
            false => {
                let rows: Vec<_> = page.rows.iter().map(replayed_cells).collect();
                output::table(&["ID", "TARGET", "SOURCE", "PLACE", "BECAME", "REASON"], &rows)?;
            }
        }
        after = page.next;
        if after.is_none() {
            eprintln!("{}", tally.sentence());
            return Ok(());
        }
    }
}

/// What became of lines whose host was not known.
fn routed(rows: &[RoutedRow], is_json: bool) -> anyhow::Result<()> {
    if is_json || rows.is_empty() {
        return rows.iter().try_for_each(output::json);
    }
    let cells = |row: &RoutedRow| {
        vec![
            row.name.to_string(),
            row.lines.to_string(),
            row.source.as_deref().unwrap_or("waits").to_owned(),
            row.stored.to_string(),
            row.duplicates.to_string(),
            row.reason.as_deref().unwrap_or_default().to_owned(),
        ]
    };
    let headings = ["NAME", "LINES", "SOURCE", "STORED", "STORED BEFORE", "REASON"];
    output::table(&headings, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// What became of all lines.
#[derive(Default)]
struct Tally {
    lines: u64,
    stored: u64,
    duplicates: u64,
    expired: u64,
    none: u64,
    readable: u64,
    unreadable: u64,
    routed: u64,
    unrouted: u64,
}

impl Tally {
    fn count(&mut self, became: &Became) {
        self.lines += 1;
        *match became {
            Became::Stored { .. } => &mut self.stored,
            Became::Duplicate => &mut self.duplicates,
            Became::Expired => &mut self.expired,
            Became::NoRecord => &mut self.none,
            Became::Readable => &mut self.readable,
            Became::Unreadable { .. } => &mut self.unreadable,
        } += 1;
    }

    fn routed(&mut self, row: &RoutedRow) {
        self.lines += row.lines;
        *match row.source {
            Some(_) => &mut self.routed,
            None => &mut self.unrouted,
        } += row.lines;
    }

    fn sentence(&self) -> String {
        let parts = [
            (self.stored, "stored"),
            (self.duplicates, "stored before"),
            (self.expired, "too old to be kept"),
            (self.none, "no record"),
            (self.readable, "can be read"),
            (self.unreadable, "still cannot be read"),
            (self.routed, "of a host that is known now"),
            (self.unrouted, "still without a host"),
        ];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<_> = parts.map(|(count, what)| format!("{count} {what}")).collect();
        let lines = output::count(self.lines, "line", "lines");
        match parts.is_empty() {
            true => format!("{lines} read again."),
            false => format!("{lines} read again: {}.", parts.join(", ")),
        }
    }
}

fn replayed_cells(row: &ReplayRow) -> Vec<String> {
    let (became, reason) = match &row.became {
        Became::Stored { log, seq } => (Id { log: *log, seq: *seq }.to_string(), ""),
        Became::Duplicate => ("stored before".to_owned(), ""),
        Became::Expired => ("too old".to_owned(), ""),
        Became::NoRecord => ("no record".to_owned(), ""),
        Became::Readable => ("readable".to_owned(), ""),
        Became::Unreadable { reason } => ("unreadable".to_owned(), &**reason),
    };
    vec![
        Id { log: row.log, seq: row.seq }.to_string(),
        row.target.short(),
        row.source.to_string(),
        format!("{}:{}", row.file, row.line),
        became,
        reason.to_owned(),
    ]
}

fn show(data_dir: &DataDir, args: &Show) -> anyhow::Result<()> {
    let Id { log, seq } = args.id;
    let (project, namespace) = (args.project.clone(), args.namespace.clone());
    let reply = data_dir.execute(Request::QuarantineShow { project, namespace, log, seq })?;
    let Reply::Quarantine(page) = &reply else { return Err(out_of_turn(&reply)) };
    let [row] = &page.rows[..] else { return Err(out_of_turn(&reply)) };
    if args.json {
        return output::json(row);
    }
    let kept_bytes = row.raw_hex.as_ref().map(|hex| hex.len() as u64 / 2);
    let kept_bytes = kept_bytes.or(row.raw.as_ref().map(|raw| raw.len() as u64)).unwrap_or(0);
    for (name, value) in [
        ("id", id(row).to_string()),
        ("received", row.ingest_time.to_string()),
        ("target", row.target.short()),
        ("source", row.source.to_string()),
        ("place", format!("{}, line {}, byte {}", row.file, row.line, row.offset_bytes)),
        ("reason", row.reason.to_string()),
        ("sha256", row.sha256.clone()),
        ("length", format!("{} bytes, of which {kept_bytes} are kept", row.length_bytes)),
    ] {
        output::line(&format!("{name:<9} {value}"))?;
    }
    output::heading("bytes")?;
    output::line(&bytes(row))
}

/// The bytes as text; where they are none, what is no ASCII as `\xNN`.
fn bytes(row: &QuarantineRow) -> String {
    let Some(hex) = &row.raw_hex else { return row.raw.clone().unwrap_or_default() };
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).filter_map(byte).collect();
    bytes.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_two_numbers() {
        assert_eq!("3-4711".parse(), Ok(Id { log: 3, seq: 4711 }));
        assert_eq!(Id { log: 3, seq: 4711 }.to_string(), "3-4711");
        for bad in ["", "3", "3-", "-1", "3-x", "3-1-2", "4294967296-1"] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
    }
}
