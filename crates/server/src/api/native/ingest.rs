//! `POST ingest/{source}`: events come in, one JSON object a line.
//!
//! Each line is stored, or was stored before, or cannot be read and is put aside with its reason;
//! none of them keeps another one out. When the answer comes, all of it is durable.

use std::fmt::Write;

use doorbook_event::public_id::Names;
use doorbook_event::record::Place;
use doorbook_event::{PublicIds, Text};
use doorbook_source::document::{Reader, write_text};
use doorbook_store::{Ingest, Ingested, LineResult};

use super::lane::Waiting;
use super::problem::Problem;
use crate::app::App;
use crate::metrics::IngestLines;
use crate::pipeline::documents::{Hosts, Note, ReadLine, Whose, find_subjects, read_line};

/// Lines of one request: an event in memory is larger than a short line.
pub const LINES_MAX: usize = 50_000;

/// What came in, before its body was read.
pub struct Arrival {
    /// Whose history it belongs to.
    pub whose: Whose,
    /// Which source tells it.
    pub source: Text,
    /// The sender's name for the request.
    pub key: Option<Text>,
    /// Which lines the answer lists.
    pub listed: Listed,
}

/// Which lines an answer lists. The counts are always there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Those that could not be read.
    Quarantined,
    /// Every line.
    All,
    /// No line.
    None,
}

impl Listed {
    /// The value of the parameter `lines`.
    pub fn from_word(word: &str) -> Option<Listed> {
        match word {
            "quarantined" => Some(Listed::Quarantined),
            "all" => Some(Listed::All),
            "none" => Some(Listed::None),
            _ => None,
        }
    }
}

/// The answer, and how many lines are durable that were not before.
pub struct Answer {
    /// JSON.
    pub body: Vec<u8>,
    /// Lines stored.
    pub stored: u64,
}

/// Reads and stores the lines of a body. Blocks until they are durable.
pub fn serve(app: &App, arrival: Arrival, body: &[u8]) -> Result<Answer, Problem> {
    let catalog = app.store().catalog();
    let (notes, request) = app.doors().with_reader(|reader| {
        let mut hosts = Hosts::new(&catalog.registry, arrival.whose.clone());
        read(app, reader, &mut hosts, arrival, body)
    })?;
    let ingested = match request {
        Some(request) => app.store().ingest(request)?,
        None => Ingested::default(),
    };
    Ok(answer(app, &notes, &ingested))
}

/// Reads and stores the lines of several bodies, and answers them. Blocks until all are durable.
pub fn serve_all(app: &App, batch: Vec<Waiting>) {
    let catalog = app.store().catalog();
    let mut requests = Vec::with_capacity(batch.len());
    let mut stored = Vec::with_capacity(batch.len());
    app.doors().with_reader(|reader| {
        let mut hosts: Option<Hosts<'_>> = None;
        for Waiting { arrival, body, answer } in batch {
            let whose = arrival.whose.clone();
            let known = hosts.take().filter(|hosts| hosts.whose == whose);
            let hosts = hosts.insert(known.unwrap_or_else(|| Hosts::new(&catalog.registry, whose)));
            match read(app, reader, hosts, arrival, body.plain().map_or(&[], |body| body)) {
                Ok((notes, request)) => {
                    stored.push((notes, request.is_some(), body, answer));
                    requests.extend(request);
                }
                // Whoever asked may have stopped waiting; so below.
                Err(problem) => drop(answer.send(Err(problem))),
            }
        }
    });
    let mut ingested = app.store().ingest_all(requests).into_iter();
    for (notes, is_asked, body, sender) in stored {
        let ingested = match is_asked {
            true => ingested.next().expect("an answer for every request"),
            false => Ok(Ingested::default()),
        };
        let answered = ingested.map(|ingested| answer(app, &notes, &ingested));
        drop(body);
        drop(sender.send(answered.map_err(Problem::from)));
    }
}

/// What the answer needs besides what the store says.
struct Notes {
    listed: Listed,
    lines: Vec<Note>,
}

/// The request to the store; `None` if there is no line, and nothing to wait for the disk with.
fn read(
    app: &App,
    reader: &mut Reader,
    hosts: &mut Hosts<'_>,
    arrival: Arrival,
    body: &[u8],
) -> Result<(Notes, Option<Ingest>), Problem> {
    let Arrival { whose, source, key, listed } = arrival;
    let scope = whose.scope();
    let mut lines = Vec::new();
    let mut offset = 0;
    for (index, bytes) in body.split(|byte| *byte == b'\n').enumerate() {
        let offset_bytes = offset as u64;
        offset += bytes.len() + 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        if lines.len() == LINES_MAX {
            let detail = format!("A request has at most {LINES_MAX} lines. Nothing was stored.");
            return Err(Problem::too_large(detail));
        }
        let place = Place { file: source.clone(), line: index as u64 + 1, offset_bytes };
        lines.push(ReadLine { place, bytes, content: read_line(reader, hosts, bytes) });
    }
    let (noted, lines) = find_subjects(app.store(), app.doors().ids(), &scope, &source, lines)?;
    let request = (!lines.is_empty()).then_some(Ingest { scope, source, key, lines });
    Ok((Notes { listed, lines: noted }, request))
}

fn answer(app: &App, notes: &Notes, ingested: &Ingested) -> Answer {
    let listed = notes.listed;
    let mut lines = IngestLines::default();
    let mut new = 0;
    let mut list = Vec::new();
    for ((number, reason), result) in notes.lines.iter().zip(&ingested.lines) {
        let count = match (reason, result) {
            (Some(_), _) => &mut lines.quarantined,
            (None, LineResult::Stored { .. }) => &mut lines.stored,
            (None, LineResult::Duplicate) => &mut lines.duplicate,
            (None, LineResult::Expired) => &mut lines.expired,
        };
        *count += 1;
        new += u64::from(matches!(result, LineResult::Stored { .. }));
        let is_listed = match listed {
            Listed::All => true,
            Listed::Quarantined => reason.is_some(),
            Listed::None => false,
        };
        if is_listed {
            list.extend_from_slice(if list.is_empty() { b"" } else { b"," });
            write_line(app.doors().ids(), *number, reason.as_ref(), *result, &mut list);
        }
    }
    app.metrics().ingested(lines);
    let IngestLines { stored, duplicate: duplicates, quarantined, expired } = lines;
    let mut body =
        format!("{{\"stored\":{stored},\"duplicates\":{duplicates},\"quarantined\":{quarantined}");
    if expired > 0 {
        write!(body, ",\"expired\":{expired}").expect("a String takes all");
    }
    if listed != Listed::None {
        write!(body, ",\"lines\":[{}]", String::from_utf8_lossy(&list))
            .expect("a String takes all");
    }
    body.push('}');
    Answer { body: body.into_bytes(), stored: new }
}

fn write_line(
    ids: &PublicIds,
    number: u64,
    reason: Option<&Text>,
    result: LineResult,
    out: &mut Vec<u8>,
) {
    let word = match (reason, result) {
        (Some(_), _) => "quarantined",
        (None, LineResult::Stored { .. }) => "stored",
        (None, LineResult::Duplicate) => "duplicate",
        (None, LineResult::Expired) => "expired",
    };
    out.extend_from_slice(format!("{{\"line\":{number},\"result\":\"{word}\"").as_bytes());
    if let LineResult::Stored { log, seq } = result {
        out.extend_from_slice(b",\"id\":\"");
        ids.id(Names::Record, log, seq).write(out);
        out.push(b'"');
    }
    if let Some(reason) = reason {
        out.extend_from_slice(b",\"reason\":");
        write_text(reason, out);
    }
    out.push(b'}');
}
