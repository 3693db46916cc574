//! `POST lines`: raw lines of logs come in, each with labels that say whose it is.
//!
//! Which host that is the rules of the registry's sources decide ([`crate::routing`]); a line that fits
//! none waits. When the answer comes, all of it is durable.

use axum::http::{HeaderMap, header};
use doorbook_event::{Principal, ProjectId, Text};
use doorbook_source::{Arrival, Labels, labelled};
use serde::Serialize;

use super::dispatch::content_type;
use super::ingest::{Answer, LINES_MAX};
use super::problem::Problem;
use super::query::Query;
use crate::app::App;
use crate::metrics::IngestLines;
use crate::routing::{Counts, Door, Form, Taken};

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
    let mut count = 0_usize;
    let mut take = |arrival: Arrival| {
        count += 1;
        if count <= LINES_MAX {
            arrivals.push(arrival);
        }
    };
    match &lines.labels {
        None => labelled::read(body, take),
        Some(labels) => {
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines.for_each(|line| take(labelled::plain(labels, line)));
        }
    }
    if count > LINES_MAX {
        let detail = format!("A request has at most {LINES_MAX} lines. Nothing was stored.");
        return Err(Problem::too_large(detail));
    }
    let taken = app.lines().take(&lines.door, arrivals)?;
    Ok(answer(app, &taken))
}

/// The body of the answer.
#[derive(Serialize)]
struct Body<'a> {
    stored: u64,
    duplicates: u64,
    quarantined: u64,
    ignored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    expired: u64,
    sources: std::collections::BTreeMap<&'a Text, OfSource>,
    unrouted: &'a std::collections::BTreeMap<Text, u64>,
}

#[derive(Serialize)]
struct OfSource {
    stored: u64,
    duplicates: u64,
    quarantined: u64,
    ignored: u64,
    #[serde(skip_serializing_if = "is_zero")]
    expired: u64,
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
    let of_source = |counts: &Counts| OfSource {
        stored: counts.stored,
        duplicates: counts.duplicates,
        quarantined: counts.quarantined,
        ignored: counts.ignored,
        expired: counts.expired,
    };
    let body = Body {
        stored,
        duplicates,
        quarantined,
        ignored: ignored + taken.ignored,
        expired,
        sources: taken.sources.iter().map(|(name, it)| (name, of_source(it))).collect(),
        unrouted: &taken.unrouted,
    };
    let body = serde_json::to_vec(&body).expect("counts can be written");
    Answer { body, stored: stored + quarantined }
}
