//! Lines whose host is not known: under which name they wait, why, and the rule that would make them
//! known.
//!
//! Everything in here was said by a sender: it is shown, and pasted into a file, and must do neither of
//! them any harm.

use std::collections::BTreeMap;
use std::fmt::Write;

use doorbook_event::record::{Place, Quarantine};
use doorbook_event::{HostName, ProjectId, Target, Text};
use doorbook_source::labelled::{self, Broken};
use doorbook_source::wrapping::{Unwrapped, Unwrapper};
use doorbook_source::{Arrival, Cut, Labels};
use sha2::{Digest, Sha256};

use super::position::Learnt;
use super::streams::is_passing;
use super::{Door, Form};

/// What a target is whose lines wait for their host.
pub const KIND: &str = "unrouted";

/// Labels that name a host, the likeliest first: on Kubernetes a host is a pod, and what calls itself
/// host is the machine below it.
const HOST_LABELS: [&str; 10] = [
    "kubernetes.pod_name",
    "kubernetes.pod.name",
    "host.name",
    "host.hostname",
    "host",
    "hostname",
    "syslog.host",
    "agent.hostname",
    "agent.name",
    "_HOSTNAME",
];

/// Labels that tell logs of one host apart.
const LOG_LABELS: [&str; 11] = [
    "kubernetes.container_name",
    "kubernetes.container.name",
    "container.name",
    "container_name",
    "log.file.path",
    "file",
    "filename",
    "path",
    "syslog.tag",
    "syslog.app",
    "_SYSTEMD_UNIT",
];

/// The name of what is no whole line.
pub const BROKEN: &str = "broken";

/// What its reason begins with.
const SENT_BROKEN: &str = "as it was sent it cannot be read: ";

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 200;

/// What waits is this.
pub(super) fn put_aside(
    door: &Door,
    arrival: &Arrival,
    learnt: &Learnt,
    reason: Text,
) -> Quarantine {
    let mut labels = arrival.labels.clone();
    learnt.label(&mut labels);
    let received = &arrival.received;
    let (length_bytes, sha256) = match arrival.cut {
        Some(Cut::TooLong { length_bytes, sha256 }) => (length_bytes, sha256),
        // At least one more, so that nobody takes it for a line when it is read again.
        Some(Cut::Unfinished) => (received.len() as u64 + 1, Sha256::digest(received).into()),
        None => (received.len() as u64, Sha256::digest(received).into()),
    };
    Quarantine {
        target: Target::Own { kind: KIND.into(), name: name(&labels) },
        reason,
        place: Place { file: place_of(door), line: 0, offset_bytes: 0 },
        bytes: received[..received.len().min(Quarantine::BYTES_MAX)].to_vec(),
        length_bytes,
        sha256,
    }
}

/// What cannot be taken for a line is this. Nobody can say whose it is, so it waits under a name of its own.
pub fn put_aside_broken(door: &Door, broken: &Broken) -> Quarantine {
    let received = &broken.received;
    Quarantine {
        target: Target::Own { kind: KIND.into(), name: BROKEN.into() },
        reason: format!("{SENT_BROKEN}{}", broken.reason).into(),
        place: Place { file: place_of(door), line: 0, offset_bytes: 0 },
        bytes: received[..received.len().min(Quarantine::BYTES_MAX)].to_vec(),
        length_bytes: received.len() as u64,
        sha256: Sha256::digest(received).into(),
    }
}

/// What was kept, as it arrived; `None` if nobody can say what it was.
pub fn again(form: Form, received: &[u8]) -> Option<Arrival> {
    // It was broken when it came, or two labels were taken for one.
    let is_broken = form == Form::Lines && !labelled::is_whole(received);
    if is_broken { None } else { form.again(received) }
}

/// Whether what stands under a target waits for its host.
pub(super) fn is_kind(target: &Target) -> bool {
    matches!(target, Target::Own { kind, .. } if **kind == *KIND)
}

pub(super) fn name_of_row(bytes: &Quarantine) -> Text {
    bytes.target.names().1.clone()
}

/// The place of lines that came through a door.
fn place_of(door: &Door) -> Text {
    format!("{}/{}", door.form.word(), door.name).into()
}

/// The door that a place is.
pub fn door_of(place: &str, project: ProjectId) -> Option<Door> {
    let (form, name) = place.split_once('/')?;
    let form = [Form::Lines, Form::Syslog].into_iter().find(|known| known.word() == form)?;
    Some(Door { name: name.into(), form, project })
}

/// What is known of lines that wait under one name, by looking at the newest of them.
#[derive(Default)]
pub struct Samples {
    labels: Option<Labels>,
    learnt: Learnt,
}

impl Samples {
    /// Looks at a line; the newest comes first.
    pub fn add(&mut self, arrival: &Arrival) {
        let mut learnt = Learnt::default();
        let mut unwrapper = Unwrapper::new();
        if let Unwrapped::Line(line) = unwrapper.unwrap(&arrival.line) {
            learnt.line(line);
        }
        self.learnt.complete(learnt);
        self.labels.get_or_insert_with(|| arrival.labels.clone());
    }

    /// The labels, with what the lines say of themselves.
    pub fn labels(&self) -> Labels {
        let mut labels = self.labels.clone().unwrap_or_default();
        self.learnt.label(&mut labels);
        labels
    }
}

/// Under which name lines wait.
pub fn name(labels: &Labels) -> Text {
    let host = first(labels, &HOST_LABELS).or(labels.get("mongod.host").map(|it| ("", it)));
    let log = first(labels, &LOG_LABELS);
    let name = match (host, log) {
        (None, None) => "unknown".to_owned(),
        (Some((_, host)), None) => host.to_string(),
        (None, Some((_, log))) => format!("unknown {log}"),
        (Some((_, host)), Some((_, log))) => format!("{host} {log}"),
    };
    shown(&name, NAME_BYTES_MAX).into()
}

/// What the reason begins with that a rule mends.
const NO_SOURCE: &str = "no source fits ";

/// Why lines wait that fit nothing.
pub(super) fn no_source(labels: &Labels) -> Text {
    format!("{NO_SOURCE}{}", listed(labels)).into()
}

/// Why lines wait that fit several.
pub(super) fn several_sources(names: &[&str], labels: &Labels) -> Text {
    format!("sources {} fit {}", names.join(" and "), listed(labels)).into()
}

/// Why lines wait whose source rests.
pub(super) fn paused(source: &str) -> Text {
    format!("source {source} is paused").into()
}

/// What stands in the reason where a log is another host's.
const FOREIGN: &str = " fits, but the log is that of ";

/// Why lines wait that say themselves that they are of another host.
pub(super) fn foreign(source: &str, host: &HostName) -> Text {
    format!("source {source}{FOREIGN}{host}").into()
}

/// What to write into the estate's file, or why nothing that could be pasted would do.
pub fn advice(reason: &str, labels: &Labels, project: &str) -> String {
    if reason.starts_with(SENT_BROKEN) {
        return "# let the sender send whole JSON objects in which each label has one value\n"
            .into();
    }
    if let Some((_, host)) = reason.split_once(FOREIGN).filter(|_| reason.starts_with("source ")) {
        let host = shown(host, NAME_BYTES_MAX);
        return format!(
            "# if {host} is another name of that source's host, write it among the host's aliases;\n\
             # else narrow the source's match, and write a source for {host} whose match these labels fit\n"
        );
    }
    if !reason.starts_with(NO_SOURCE) {
        let advice = "what is to change is in the sources that the reason names: narrow the match of one, \
                      or resume it";
        return format!("# {advice}\n");
    }
    if telling(labels).is_empty() {
        return "# let the sender add a label that says whose lines these are, such as host.name\n"
            .into();
    }
    rule(labels, project)
}

/// The labels that tell where lines come from, in the form of a rule.
fn listed(labels: &Labels) -> String {
    const SHOWN_MAX: usize = 8;
    let telling = telling(labels);
    if telling.is_empty() {
        return "what has no label that says where it comes from".to_owned();
    }
    let shown = telling.iter().take(SHOWN_MAX).map(|(name, value)| {
        let (mut shown_name, mut shown_value) = (shown(name, 64), shown(value, 128));
        for text in [&mut shown_name, &mut shown_value] {
            *text = text.replace('"', "'");
        }
        format!("{shown_name} \"{shown_value}\"")
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Labels worth a rule: the host's and the log's; if there is neither, what else is not passing.
fn telling(labels: &Labels) -> Vec<(&str, &Text)> {
    let named = first(labels, &HOST_LABELS).into_iter().chain(first(labels, &LOG_LABELS));
    let mut telling: Vec<(&str, &Text)> = named.collect();
    let namespace = ["kubernetes.namespace_name", "kubernetes.namespace"];
    telling.extend(namespace.iter().filter_map(|label| Some((*label, labels.get(label)?))));
    if first(labels, &HOST_LABELS).is_none() {
        let learnt = ["mongod.host", "mongod.port"];
        telling.extend(learnt.iter().filter_map(|label| Some((*label, labels.get(label)?))));
    }
    if telling.is_empty() {
        let others = labels.iter().filter(|(name, _)| !is_passing(name)).take(4);
        telling.extend(others.map(|(name, value)| (&**name, value)));
    }
    telling
}

fn first<'a>(labels: &'a Labels, names: &[&'static str]) -> Option<(&'static str, &'a Text)> {
    names.iter().find_map(|name| Some((*name, labels.get(name).filter(|it| !it.is_empty())?)))
}

/// Text that can be shown in one line: without control characters and marks that turn lines around.
fn shown(text: &str, bytes_max: usize) -> String {
    let is_harmless = |c: char| !c.is_control() && !is_invisible(c);
    let mut shown = String::new();
    for c in text.chars().map(|c| if is_harmless(c) { c } else { '?' }) {
        if shown.len() + c.len_utf8() > bytes_max {
            break;
        }
        shown.push(c);
    }
    shown
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The part of the estate's file that makes lines with these labels a host's.
pub fn rule(labels: &Labels, project: &str) -> String {
    let telling = telling(labels);
    let host = host(labels);
    let mut rule = String::from("[[source]]\n");
    let mut line = |key: &str, value: &str| {
        writeln!(rule, "{key} = {}", quoted(value)).expect("a String takes all");
    };
    line("name", &source_name(&name(labels)));
    line("kind", "mongod-log");
    line("project", project);
    line("host", &host.to_string());
    let matches: BTreeMap<&str, String> =
        telling.iter().map(|(label, value)| (*label, pattern_of(value))).collect();
    let matches: Vec<String> = matches
        .iter()
        .map(|(label, pattern)| format!("{} = {}", quoted(label), quoted(pattern)))
        .collect();
    writeln!(rule, "match = {{ {} }}", matches.join(", ")).expect("a String takes all");
    rule
}

/// A pattern that a value fits, and, but for braces and what is very long, nothing else.
fn pattern_of(value: &str) -> String {
    // Escaped, a character is three at most; a pattern has 1024 bytes.
    const CHARS_MAX: usize = 256;
    let beginning: String = value.chars().take(CHARS_MAX).collect();
    let rest = if beginning.len() < value.len() { "*" } else { "" };
    // A brace begins a placeholder.
    glob::Pattern::escape(&beginning).replace('{', "?") + rest
}

/// The host that is most likely meant.
fn host(labels: &Labels) -> HostName {
    let port = labels.get("mongod.port").map_or("27017", |port| port);
    let said = first(labels, &HOST_LABELS).map(|(_, host)| host);
    let said = said.or_else(|| labels.get("mongod.host"));
    let parsed = said.and_then(|host| HostName::parse(&format!("{host}:{port}")).ok());
    let (host, _) = parsed.unwrap_or_else(|| HostName::parse("host").expect("is a host's name"));
    host
}

/// A name as that of a source.
fn source_name(name: &str) -> String {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c) => c,
        _ => '-',
    };
    let name: String = name.chars().map(fit).take(64).collect();
    match name.trim_matches('-') {
        "" | "doorbook" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() || is_invisible(c) => {
                write!(quoted, "\\u{:04X}", u32::from(c)).expect("a String takes all");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
