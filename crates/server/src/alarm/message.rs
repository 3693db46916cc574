//! What is told of an alarm: one sentence, and the same in full as JSON.
//!
//! It goes to others, so that nothing stands in it but what the alarm is about: no raw line, and of a client
//! only the name and the address of who brought a gap about.

use doorbook_event::record::{Actor, Grade};
use doorbook_event::registry::Registry;
use doorbook_event::{Peer, Random, Text, Timestamp};
use doorbook_store::alarm::{Alarm, AlarmKind, Condition, Message};
use serde::Serialize;

use crate::counters::ledger::BY_COUNTERS;

/// What happened to an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// It opened.
    Opened,
    /// It is still open, and nobody acknowledged it.
    Continues,
    /// It closed.
    Closed,
}

impl Occasion {
    const fn word(self) -> &'static str {
        match self {
            Occasion::Opened => "opened",
            Occasion::Continues => "continues",
            Occasion::Closed => "closed",
        }
    }
}

/// The body of a webhook.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: Timestamp,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    alarm: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<&'a str>,
    from: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    cause: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<Timestamp>,
    /// Messages that were dropped since the data directory was made.
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
    text: &'a str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands on a reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// What is to be told of an alarm, to `waiting`.
pub fn message(
    occasion: Occasion,
    alarm: &Alarm,
    registry: &Registry,
    dropped: u64,
    waiting: &[Text],
    (now, random): (Timestamp, &dyn Random),
) -> Message {
    let condition = &alarm.condition;
    let project = condition.project.and_then(|id| registry.project(id));
    let kind = format!("{}.{}", condition.kind.word(), occasion.word());
    let text = sentence(alarm, occasion);
    let body = Body {
        r#type: &kind,
        timestamp: now,
        data: Data {
            alarm: &alarm.id,
            project: project.map(|project| &*project.name),
            cluster: condition.cluster.as_deref(),
            host: condition.host.as_deref(),
            source: condition.source.as_deref(),
            review: condition.review.as_deref(),
            from: condition.from,
            to: end(alarm),
            cause: short(&condition.cause),
            by: condition.actor.as_ref().map(by),
            missing: condition.missing,
            acknowledged: alarm.acknowledged.as_ref().map(|of| of.at),
            dropped,
            text: &text,
        },
    };
    let body = serde_json::to_string(&body).expect("texts and numbers are JSON");
    let mut id = [0; 16];
    random.fill(&mut id);
    Message {
        id: format!("msg_{}", hex::encode(id)).into(),
        alarm: alarm.id.clone(),
        kind: kind.into(),
        at: now,
        text: text.into(),
        body: body.into(),
        waiting: waiting.to_vec(),
        is_end: occasion == Occasion::Closed,
    }
}

/// An alarm in one sentence, as it is now.
pub fn summary(alarm: &Alarm) -> String {
    let is_closed = alarm.closed.is_some();
    sentence(alarm, if is_closed { Occasion::Closed } else { Occasion::Opened })
}

fn sentence(alarm: &Alarm, occasion: Occasion) -> String {
    let Condition { kind, host, source, grade, cause, actor, from, missing, .. } = &alarm.condition;
    let host = short(host.as_deref().unwrap_or("?"));
    let when = match end(alarm) {
        None => format!("since {}", minute(*from)),
        Some(to) => format!("from {} until {}", minute(*from), minute(to)),
    };
    let over = match occasion {
        Occasion::Closed if alarm.condition.to.is_none() => " (over)",
        _ => "",
    };
    match kind {
        AlarmKind::Gap | AlarmKind::Counters => {
            let seen = match grade {
                Grade::Blind => "blind",
                Grade::BestEffort | Grade::Watched => "not surely seen",
            };
            let by = actor.as_ref().map(|actor| format!(" by {}", by(actor))).unwrap_or_default();
            let missing = missing.filter(|missing| *missing > 0);
            let missing = missing.map(|n| match cause.starts_with(BY_COUNTERS) {
                true => format!("; {n} missing"),
                false => format!("; counters say {n} logins missing"),
            });
            let (cause, missing) = (short(cause), missing.unwrap_or_default());
            format!("{host} {seen} {when}: {cause}{by}{missing}{over}")
        }
        AlarmKind::Silent => {
            let source = short(source.as_deref().unwrap_or("?"));
            format!("{host} silent {when}: source {source} brought no line{over}")
        }
        AlarmKind::Clock => format!("Doorbook's clock unsynchronised {when}{over}"),
        AlarmKind::Unrouted => format!("{} {when}{over}", short(cause)),
        AlarmKind::Review => format!("{}: overdue {when}{over}", short(cause)),
    }
}

/// Until when it held, as far as that is known.
fn end(alarm: &Alarm) -> Option<Timestamp> {
    alarm.condition.to.or(alarm.closed)
}

fn by(actor: &Actor) -> String {
    let name = short(&actor.principal.to_string());
    match actor.peer {
        Peer::Unknown => name,
        Peer::UnixSocket => format!("{name} by a Unix socket"),
        // The port says nothing to a person.
        Peer::Ip { address, .. } => format!("{name} from {address}"),
    }
}

/// As much of a text as a message holds, without control characters.
fn short(text: &str) -> String {
    const CHARS_MAX: usize = 500;
    let mut short = String::new();
    for c in text.chars().take(CHARS_MAX) {
        match c.is_control() {
            true => short.extend(c.escape_default()),
            false => short.push(c),
        }
    }
    short
}

fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    // 2026-11-23T02:10:00Z, of which the seconds are in the message's data.
    match text.get(..16) {
        Some(minute) => format!("{} UTC", minute.replace('T', " ")),
        None => text,
    }
}
