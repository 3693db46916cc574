//! `GET events`: the newest events that match, page by page from one state of the history, with
//! their exact number and with what the answer is blind to.

use doorbook_event::public_id::Names;
use doorbook_event::record::Quarantine;
use doorbook_event::{Access, PublicIds, Record, Scope, Target, Timestamp};
use doorbook_source::document::{self, write_text};
use doorbook_store::filter::{Order, Page, Targets};
use doorbook_store::{Filter, Placed, Sighted};

use super::cursor::{Cursor, seal_as_of};
use super::dispatch::Call;
use super::filter::Asked;
use super::problem::Problem;
use super::{coverage, filter};

/// Rows of a page; as many as Atlas's API gives.
pub const LIMIT_MAX: usize = 20_000;

const LIMIT_DEFAULT: usize = 100;

/// Memory of a page's rows: one that would need more ends earlier, and the cursor goes on. As much as
/// a request may bring in; 20,000 events with lines of 477 bytes take half of it.
const PAGE_SIZE_BYTES_MAX: usize = 32 << 20;

/// Serves `events`.
pub fn list(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    let ids = call.ids;
    let limit = call.query.number("limit", 0..=LIMIT_MAX)?;
    let limit = limit.or_else(|| call.cursor.as_ref().map(|cursor| cursor.limit));
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    let Asked { mut filter, terms, .. } = filter::take(call)?;
    call.query.finish()?;
    (filter.limit, filter.size_bytes_max) = (limit, PAGE_SIZE_BYTES_MAX);
    if let Some(cursor) = &call.cursor {
        filter.after = Some(cursor.after);
        filter.as_of = Some(cursor.as_of.clone());
    }
    let page = call.store.select(&filter)?;
    call.rows = page.rows.len() as u64;
    let cursor = next(&page, limit).map(|after| {
        let (scope, as_of) = (call.scope.clone(), page.as_of.clone());
        Cursor { scope, limit, after, as_of, filter: terms.to_string() }.seal(ids)
    });
    Ok(write(call, &filter, &page, cursor))
}

/// Serves `events/{id}`: a row as lists have it, and what else its connection did.
pub fn one(call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    call.query.finish()?;
    let ids = call.ids;
    let id = call.name.as_deref().unwrap_or_default();
    let place = id.parse().ok().and_then(|id| ids.place(Names::Record, id));
    let absent = || Problem::not_found("There is no such event.");
    let (log, seq) = place.ok_or_else(absent)?;
    let row = call.store.get(&call.scope, log, seq)?.ok_or_else(absent)?;
    let mut sources = Sources::default();
    let mut out = of_row(ids, &row);
    let Some(filter) = of_connection(&call.scope, &row) else {
        call.rows = 1;
        return Ok(out);
    };
    let mut page = call.store.select(&filter)?;
    page.rows.retain(|neighbour| (neighbour.log, neighbour.seq) != (log, seq));
    page.rows.truncate(NEIGHBOURS_MAX);
    call.rows = 1 + page.rows.len() as u64;
    let end = out.pop();
    out.extend_from_slice(b",\"neighbours\":{\"events\":[");
    for (index, row) in page.rows.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        write_row(ids, row, &mut sources, &mut out);
    }
    // The event itself is one of them.
    let total = page.total.saturating_sub(1);
    out.extend_from_slice(format!("],\"total\":{total}}}").as_bytes());
    out.extend(end);
    Ok(out)
}

/// Of what a connection did as much as a person reads; `total` counts it all.
const NEIGHBOURS_MAX: usize = 100;

/// Connections are numbered anew when a process starts. Where it is not known when that was, a
/// connection is looked for so long before and after.
const CONNECTION_SECONDS_MAX: i64 = 12 * 3600;

/// All that the connection of an event did; `None` for an event whose connection is not known.
pub(crate) fn of_connection(scope: &Scope, row: &Placed) -> Option<Filter> {
    let Record::Access(access) = &row.record else { return None };
    let (group, member) = access.target.names();
    let (from, to) = match access.process_start {
        Some(_) => (Timestamp::MIN, Timestamp::MAX),
        None => (
            access.event_time.plus_seconds(-CONNECTION_SECONDS_MAX),
            access.event_time.plus_seconds(CONNECTION_SECONDS_MAX),
        ),
    };
    Some(Filter {
        targets: Targets::Members(vec![(group.clone(), member.clone())]),
        connections: vec![access.connection?],
        process_start: access.process_start,
        from,
        to,
        size_bytes_max: PAGE_SIZE_BYTES_MAX,
        ..Filter::all(scope.clone(), NEIGHBOURS_MAX + 1)
    })
}

/// Where the next page begins; `None` where there is none. A page that ends with the last row is
/// told by one more that is empty.
pub(crate) fn next(page: &Page, limit: usize) -> Option<Order> {
    let last = page.rows.last().filter(|_| page.is_cut || page.rows.len() == limit)?;
    let event_time = match &last.record {
        Record::Access(access) | Record::Own(access) => access.event_time,
        // What could not be read has no time of its own.
        _ => last.ingest_time,
    };
    let is_all = page.total == page.rows.len() as u64;
    (!is_all).then_some(Order { event_time, log: last.log, seq: last.seq })
}

fn write(call: &Call<'_>, filter: &Filter, page: &Page, cursor: Option<String>) -> Vec<u8> {
    let ids = call.ids;
    let mut out = Vec::with_capacity(512 + page.rows.len() * 640);
    out.extend_from_slice(b"{\"events\":[");
    let mut source = Sources::default();
    for (index, row) in page.rows.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"" } else { b"," });
        write_row(ids, row, &mut source, &mut out);
    }
    out.extend_from_slice(b"],");
    write_ending(call, filter, page.total, &page.as_of, &mut out);
    out.extend_from_slice(b",\"cursor\":");
    match cursor {
        Some(cursor) => out.extend_from_slice(format!("\"{cursor}\"}}").as_bytes()),
        None => out.extend_from_slice(b"null}"),
    }
    out
}

/// Appends what all answers from the history end with: `"total":…,"as_of":…,"coverage":…`.
pub fn write_ending(
    call: &Call<'_>,
    filter: &Filter,
    total: u64,
    as_of: &[(doorbook_event::LogId, u64)],
    out: &mut Vec<u8>,
) {
    let as_of = seal_as_of(call.ids, as_of);
    out.extend_from_slice(format!("\"total\":{total},\"as_of\":\"{as_of}\",").as_bytes());
    let (store, now) = (call.store, call.now);
    let answer = crate::coverage::of(store, call.registry, filter, now);
    coverage::write(&answer, out);
}

/// A row by itself.
pub(crate) fn of_row(ids: &PublicIds, row: &Placed) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    write_row(ids, row, &mut Sources::default(), &mut out);
    out
}

/// Neighbours were mostly received together.
#[derive(Default)]
struct Sources {
    received: Option<(Timestamp, String)>,
}

impl Sources {
    fn received(&mut self, at: Timestamp) -> &str {
        if self.received.as_ref().is_none_or(|(known, _)| *known != at) {
            self.received = Some((at, at.to_string()));
        }
        self.received.as_ref().map_or("", |(_, text)| text)
    }
}

/// Appends a row by itself.
pub fn write_alone(ids: &PublicIds, row: &Placed, out: &mut Vec<u8>) {
    write_row(ids, row, &mut Sources::default(), out);
}

/// Appends a row: what Doorbook says of it, and the event as it could be sent in.
fn write_row(ids: &PublicIds, row: &Placed, sources: &mut Sources, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    ids.id(Names::Record, row.log, row.seq).write(out);
    out.extend_from_slice(b"\",\"source\":");
    write_text(&row.source, out);
    out.extend_from_slice(b",\"ingest_time\":\"");
    out.extend_from_slice(sources.received(row.ingest_time).as_bytes());
    match &row.record {
        Record::Access(access) | Record::Own(access) => write_event(access, out),
        Record::Quarantine(quarantine) => write_quarantine(quarantine, out),
        // A filter asks for no other kind.
        _ => out.push(b'"'),
    }
    if !row.sightings.is_empty() {
        write_sightings(ids, &row.sightings, out);
    }
    out.push(b'}');
}

/// Who else told of an event.
fn write_sightings(ids: &PublicIds, sightings: &[Sighted], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"sightings\":[");
    for (index, sighted) in sightings.iter().enumerate() {
        out.extend_from_slice(if index == 0 { b"{\"id\":\"" } else { b",{\"id\":\"" });
        ids.id(Names::Record, sighted.log, sighted.seq).write(out);
        out.extend_from_slice(b"\",\"source\":");
        write_text(&sighted.source, out);
        out.extend_from_slice(format!(",\"ingest_time\":\"{}\"", sighted.ingest_time).as_bytes());
        if let Some(time) = sighted.event_time {
            out.extend_from_slice(format!(",\"time\":\"{time}\"").as_bytes());
        }
        out.extend_from_slice(format!(",\"amends\":{}}}", sighted.amends).as_bytes());
    }
    out.push(b']');
}

fn write_event(access: &Access, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"event\":");
    document::write(access, out);
}

fn write_quarantine(quarantine: &Quarantine, out: &mut Vec<u8>) {
    let Quarantine { target, reason, place, bytes, length_bytes, sha256 } = quarantine;
    out.extend_from_slice(b"\",\"quarantine\":{\"reason\":");
    write_text(reason, out);
    let names = match target {
        Target::Host { .. } => ["cluster", "host"],
        Target::Array { .. } => ["namespace", "array"],
        Target::Own { .. } => ["own_kind", "own_name"],
    };
    let (group, member) = target.names();
    for (name, text) in names.into_iter().zip([group, member]) {
        out.extend_from_slice(format!(",\"{name}\":").as_bytes());
        write_text(text, out);
    }
    out.extend_from_slice(b",\"file\":");
    write_text(&place.file, out);
    let sha256 = hex::encode(sha256);
    out.extend_from_slice(
        format!(
            ",\"line\":{},\"offset_bytes\":{},\"length_bytes\":{length_bytes},\"sha256\":\"{sha256}\",",
            place.line, place.offset_bytes
        )
        .as_bytes(),
    );
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            out.extend_from_slice(b"\"raw\":");
            write_text(text, out);
        }
        Err(_) => {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            out.extend_from_slice(format!("\"raw_base64\":\"{text}\"").as_bytes());
        }
    }
    out.push(b'}');
}
