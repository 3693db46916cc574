//! The columns of an export, those of CSV and of Parquet being the same.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use doorbook_event::public_id::Names;
use doorbook_event::{
    Access, Client, Outcome, Peer, Principal, PublicIds, Record, Target, Timestamp,
};
use doorbook_store::Placed;

/// What a cell holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    None,
    /// A text.
    Text(Cow<'a, str>),
    /// A number.
    Number(i64),
    /// An instant.
    Time(Timestamp),
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Texts.
    Text,
    /// Numbers.
    Number,
    /// Instants.
    Time,
}

/// A column.
pub struct Column {
    /// Its name: that of the member in the API's events, where there is one.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it holds of a row.
    pub cell: for<'a> fn(&'a Placed, &PublicIds) -> Cell<'a>,
}

/// In their order.
pub static COLUMNS: [Column; 35] = [
    text("id", |row, ids| own(ids.id(Names::Record, row.log, row.seq).to_string())),
    Column { name: "time", kind: Kind::Time, cell: |row, _| Cell::Time(row.event_time()) },
    text("written_time", |row, _| {
        of(row, |access| match &access.written_time {
            doorbook_event::WrittenTime::Partial(text) => some(text),
            doorbook_event::WrittenTime::Complete => Cell::None,
        })
    }),
    text("cluster", |row, _| {
        name(row, |target| match target {
            Target::Host { cluster, .. } => Some(cluster),
            _ => None,
        })
    }),
    text("host", |row, _| {
        name(row, |target| match target {
            Target::Host { host, .. } => Some(host),
            _ => None,
        })
    }),
    text("namespace", |row, _| {
        name(row, |target| match target {
            Target::Array { namespace, .. } => Some(namespace),
            _ => None,
        })
    }),
    text("array", |row, _| {
        name(row, |target| match target {
            Target::Array { array, .. } => Some(array),
            _ => None,
        })
    }),
    text("own_kind", |row, _| {
        name(row, |target| match target {
            Target::Own { kind, .. } => Some(kind),
            _ => None,
        })
    }),
    text("own_name", |row, _| {
        name(row, |target| match target {
            Target::Own { name, .. } => Some(name),
            _ => None,
        })
    }),
    text("action", |row, _| of(row, |access| some(access.action.word()))),
    text("outcome", |row, _| of(row, |access| some(access.outcome.word()))),
    text("reason", |row, _| match &row.record {
        Record::Quarantine(bytes) => some(&bytes.reason),
        _ => of(row, |access| access.outcome.reason().map_or(Cell::None, |reason| some(reason))),
    }),
    number("code", |row, _| {
        of(row, |access| match access.outcome {
            Outcome::Failure { code: Some(code), .. } => Cell::Number(code),
            _ => Cell::None,
        })
    }),
    text("principal_kind", |row, _| of(row, |access| some(access.principal.kind()))),
    text("principal", |row, _| {
        of(row, |access| maybe(access.principal.name().map(|name| &**name)))
    }),
    text("database", |row, _| {
        of(row, |access| match &access.principal {
            Principal::User { database, .. } => some(database),
            _ => Cell::None,
        })
    }),
    text("mechanism", |row, _| of(row, |access| maybe(access.mechanism.as_deref()))),
    text("address", |row, _| {
        of(row, |access| match access.peer {
            Peer::Ip { address, .. } => own(address.to_string()),
            Peer::UnixSocket => some("unix"),
            Peer::Unknown => Cell::None,
        })
    }),
    number("port", |row, _| {
        of(row, |access| access.peer.port().map_or(Cell::None, |port| Cell::Number(port.into())))
    }),
    // A text: numbers beyond 2^63 are none for most programs.
    text("connection", |row, _| {
        of(row, |access| access.connection.map_or(Cell::None, |number| own(number.to_string())))
    }),
    Column {
        name: "process_start",
        kind: Kind::Time,
        cell: |row, _| of(row, |access| access.process_start.map_or(Cell::None, Cell::Time)),
    },
    text("application", |row, _| client(row, |client| client.application.as_deref())),
    text("driver", |row, _| client(row, |client| client.driver.as_deref())),
    text("driver_version", |row, _| client(row, |client| client.driver_version.as_deref())),
    text("os", |row, _| client(row, |client| client.os.as_deref())),
    text("platform", |row, _| client(row, |client| client.platform.as_deref())),
    text("via", |row, _| client(row, |client| client.via.as_deref())),
    text("origin", |row, _| {
        of(row, |access| {
            let origin = access.client.as_deref().and_then(|client| client.origin);
            origin.map_or(Cell::None, |origin| own(origin.to_string()))
        })
    }),
    text("classes", |row, _| {
        of(row, |access| {
            let words = doorbook_event::Class::ALL.into_iter();
            let words =
                words.filter(|class| access.classes.contains(*class)).map(|class| class.word());
            own(words.collect::<Vec<_>>().join(" "))
        })
    }),
    text("task_id", |row, _| of(row, |access| maybe(access.task_id.as_deref()))),
    text("attributes", attributes),
    text("source", |row, _| some(&row.source)),
    Column { name: "ingest_time", kind: Kind::Time, cell: |row, _| Cell::Time(row.ingest_time) },
    text("raw", |row, _| std::str::from_utf8(raw(row)).map_or(Cell::None, some)),
    text("raw_base64", |row, _| match std::str::from_utf8(raw(row)) {
        Ok(_) => Cell::None,
        Err(_) => own(STANDARD.encode(raw(row))),
    }),
];

const fn text(name: &'static str, cell: for<'a> fn(&'a Placed, &PublicIds) -> Cell<'a>) -> Column {
    Column { name, kind: Kind::Text, cell }
}

const fn number(
    name: &'static str,
    cell: for<'a> fn(&'a Placed, &PublicIds) -> Cell<'a>,
) -> Column {
    Column { name, kind: Kind::Number, cell }
}

fn some(text: &str) -> Cell<'_> {
    Cell::Text(Cow::Borrowed(text))
}

fn own(text: String) -> Cell<'static> {
    Cell::Text(Cow::Owned(text))
}

fn maybe(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::None, some)
}

fn of<'a>(row: &'a Placed, cell: impl FnOnce(&'a Access) -> Cell<'a>) -> Cell<'a> {
    match &row.record {
        Record::Access(access) | Record::Own(access) => cell(access),
        _ => Cell::None,
    }
}

fn client<'a>(row: &'a Placed, text: impl FnOnce(&'a Client) -> Option<&'a str>) -> Cell<'a> {
    of(row, |access| maybe(access.client.as_deref().and_then(text)))
}

fn name<'a>(
    row: &'a Placed,
    name: impl FnOnce(&'a Target) -> Option<&'a doorbook_event::Text>,
) -> Cell<'a> {
    let target = match &row.record {
        Record::Access(access) | Record::Own(access) => &access.target,
        Record::Quarantine(bytes) => &bytes.target,
        _ => return Cell::None,
    };
    maybe(name(target).map(|name| &**name))
}

/// As an object of JSON; of what could not be read its place, and what it was as a whole.
fn attributes<'a>(row: &'a Placed, _: &PublicIds) -> Cell<'a> {
    if let Record::Quarantine(bytes) = &row.record {
        let place = &bytes.place;
        let facts = serde_json::json!({
            "file": &*place.file, "line": place.line, "offset_bytes": place.offset_bytes,
            "length_bytes": bytes.length_bytes, "sha256": hex::encode(bytes.sha256),
        });
        return own(facts.to_string());
    }
    of(row, |access| match access.attributes.is_empty() {
        true => Cell::None,
        false => {
            let all = access.attributes.iter();
            let all = all.map(|(key, value)| (key.to_string(), value.to_string().into()));
            own(serde_json::Value::Object(all.collect()).to_string())
        }
    })
}

fn raw(row: &Placed) -> &[u8] {
    match &row.record {
        Record::Access(access) | Record::Own(access) => &access.raw,
        Record::Quarantine(bytes) => &bytes.bytes,
        _ => &[],
    }
}
