//! `POST lines`: raw lines of logs come in, each with labels that say whose it is.
//!
//! Which host that is the rules of the registry's sources decide ([`crate::routing`]); a line that fits
//! none waits, and so does what is no whole line. When the answer comes, all of it is durable.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, header};
use doorbook_event::record::Quarantine;
use doorbook_event::{Principal, ProjectId, Text};
use doorbook_source::labelled::{self, Broken};
use doorbook_source::{Arrival, Labels};
use serde::Serialize;

use super::dispatch::content_type;
use super::ingest::{Answer, LINES_MAX};
use super::problem::Problem;
use super::query::Query;
use crate::app::App;
use crate::metrics::IngestLines;
use crate::routing::{Counts, Door, Form, Taken, unrouted};

/// What came in, before its body was read.
pub struct Lines {
    door: Door,
    /// Of plain text; labels in the body otherwise.
    labels: Option<Labels>,
}

/// What a parameter begins with that is a label.
const LABEL: &str = "label.";

impl Lines {
    /// What can be checked before the body is read.
    pub fn new(
        project: ProjectId,
        principal: &Principal,
        headers: &HeaderMap,
        query: &mut Query,
    ) -> Result<Lines, Problem> {
        let mut labels = Labels::default();
        for (name, value) in query.all_beginning(LABEL) {
            let fits = |text: &str| (1..=labelled::LABEL_BYTES_MAX).contains(&text.len());
            if !fits(&name) || !fits(&value) {
                let expected = format!("1 to {} bytes", labelled::LABEL_BYTES_MAX);
                return Err(Problem::invalid_parameter(&format!("{LABEL}{name}"), expected));
            }
            if labels.get(&name).is_some() {
                let name = format!("{LABEL}{name}");
                return Err(Problem::invalid_parameter(&name, "given more than once"));
            }
            labels.set(name, value);
        }
        query.finish()?;
        let is_plain = content_type(headers).eq_ignore_ascii_case("text/plain");
        let labels = match is_plain {
            true => Some(labels),
            false if labels == Labels::default() => None,
            false => {
                let detail = "Labels in the request's target are for Content-Type: text/plain; \
                              objects have their own.";
                return Err(Problem::unsupported_media_type(detail));
            }
        };
        // A form of a page in a browser can send plain text; the browser then says where from.
        if is_plain && headers.contains_key(header::ORIGIN) {
            let detail = "text/plain is not taken from a page of a browser.";
            return Err(Problem::unsupported_media_type(detail));
        }
        let name = principal.name().cloned().unwrap_or_else(|| "api".into());
        Ok(Lines { door: Door { name, form: Form::Lines, project }, labels })
    }
}

/// Reads and stores the lines of a body. Blocks until they are durable.
pub fn serve(app: &App, lines: &Lines, body: &[u8]) -> Result<Answer, Problem> {
    let mut arrivals: Vec<Arrival> = Vec::new();
    let mut broken: Vec<Broken> = Vec::new();
    let mut count = 0_usize;
    let mut take = |read: Result<Arrival, Broken>| {
        count += 1;
        match read {
            _ if count > LINES_MAX => {}
            Ok(arrival) => arrivals.push(arrival),
            Err(line) => broken.push(line),
        }
    };
    match &lines.labels {
        None => labelled::read(body, take).map_err(|place| {
            let detail = format!("It is no valid JSON: {place}. Nothing was stored.");
            Problem::invalid_body(detail)
        })?,
        Some(labels) => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.for_each(|line| take(Ok(labelled::plain(labels, line))));
        }
    }
    if count > LINES_MAX {
        let detail = format!("A request has at most {LINES_MAX} lines. Nothing was stored.");
        return Err(Problem::too_large(detail));
    }
    if let Some(long) = broken.iter().find(|line| line.received.len() > Quarantine::BYTES_MAX) {
        let detail = format!(
            "A line of {} bytes cannot be read, and is too long to be put aside whole: {}. Nothing was stored.",
            long.received.len(),
            long.reason
        );
        return Err(Problem::invalid_body(detail));
    }
    let mut taken = app.lines().take(&lines.door, &arrivals)?;
    if !broken.is_empty() {
        *taken.unrouted.entry(unrouted::BROKEN.into()).or_default() += broken.len() as u64;
        let rows = broken.iter().map(|line| unrouted::put_aside_broken(&lines.door, line));
        app.lines().put_aside(&lines.door, rows.collect())?;
    }
    Ok(answer(app, &taken))
}

/// The body of the answer.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    all: Shown,
    sources: BTreeMap<&'a Text, Shown>,
    unrouted: &'a BTreeMap<Text, u64>,
}

/// What became of lines: all of them, or those of one source.
#[derive(Serialize)]
struct Shown {
    stored: u64,
    duplicates: u64,
    quarantined: u64,
    ignored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    expired: u64,
}

impl Shown {
    fn new(counts: Counts) -> Shown {
        let Counts { stored, duplicates, expired, quarantined, ignored } = counts;
        Shown { stored, duplicates, quarantined, ignored, expired }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the serializer hands on a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn answer(app: &App, taken: &Taken) -> Answer {
    let total = taken.total();
    let Counts { stored, duplicates, expired, quarantined, ignored } = total;
    let quarantined = quarantined + taken.unrouted.values().sum::<u64>();
    app.metrics().ingested(IngestLines { stored, duplicate: duplicates, quarantined, expired });
    let all = Counts { quarantined, ignored: ignored + taken.ignored, ..total };
    let sources = taken.sources.iter().map(|(name, counts)| (name, Shown::new(*counts))).collect();
    let body = Body { all: Shown::new(all), sources, unrouted: &taken.unrouted };
    let body = serde_json::to_vec(&body).expect("counts can be written");
    Answer { body, stored: stored + quarantined }
}
