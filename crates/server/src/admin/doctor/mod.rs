//! `doctor`: what is wrong, and what to do about it.
//!
//! Each check is a function from facts to a [`Finding`], so that a test can make it fail; gathering the
//! facts is all that `Admin::examine` does besides. Beside a running server the server examines
//! itself: whether a log can be read is a question about its user, and so is its limit of open files.

pub mod certificate;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use doorbook_event::registry::Key;
use doorbook_event::source::{Source, Way};
use doorbook_event::{Scope, Text, Timestamp};
use doorbook_store::coverage::Progress;
use doorbook_store::filter::Kind;
use doorbook_store::status::Status;
use doorbook_store::{Dimension, Filter, Top};
use serde::{Deserialize, Serialize};

use crate::admin::unrouted::waiting;
use crate::admin::{Admin, Failure, Reply};
use crate::receiver;
use crate::sources::{self, Board};

/// What came of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was checked.
    pub check: Text,
    /// How it is.
    pub state: State,
    /// What was seen.
    pub seen: String,
    /// What to do; empty where nothing is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub advice: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and something is missing or will be.
    Warn,
    /// It does not work.
    Fail,
}

impl Finding {
    /// All is well.
    pub fn ok(check: &str, seen: impl Into<String>) -> Finding {
        Finding { check: check.into(), state: State::Ok, seen: seen.into(), advice: String::new() }
    }

    /// It works, but.
    pub fn warn(check: &str, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { state: State::Warn, advice: advice.into(), ..Finding::ok(check, seen) }
    }

    /// It does not work.
    pub fn fail(check: &str, seen: impl Into<String>, advice: impl Into<String>) -> Finding {
        Finding { state: State::Fail, advice: advice.into(), ..Finding::ok(check, seen) }
    }
}

impl Admin {
    /// Checks everything that is to be seen from inside.
    pub(super) fn examine(&self) -> Result<Reply, Failure> {
        let status = self.store.status()?;
        let mut findings = vec![
            writer(self.store.poisoned()),
            permissions(Path::new(&status.data_dir)),
            disk(&status),
            open_files(rustix::process::getrlimit(rustix::process::Resource::Nofile).current),
            time_zones(jiff::tz::db().available().next().is_some()),
        ];
        let catalog = self.store.catalog();
        let watched = self.store.watched();
        let live = self.sources.as_ref().map(Board::statuses).unwrap_or_default();
        let now = self.clock.now();
        let mut followed = BTreeSet::new();
        for source in catalog.registry.sources() {
            followed.extend(source.project().zip(source.host().cloned()));
            match source.way() {
                Way::Followed => {
                    findings.push(path(source, readable(Path::new(&*source.path))));
                }
                Way::Shipped(agent) => {
                    let is_agents = |key: &Key| {
                        Some(key.project) == source.project() && key.agent.as_ref() == Some(agent)
                    };
                    let has_key = catalog.registry.keys().any(is_agents);
                    // What keeps it from reading it says itself: it runs.
                    let has_failed =
                        |status: &sources::Status| status.state == sources::State::Failed;
                    if !has_key || !live.get(&source.name).is_some_and(has_failed) {
                        let has_shipped = watched.sources.contains_key(&source.name);
                        findings.push(by_agent(source, agent, has_key, has_shipped));
                    }
                }
                Way::Watched => {
                    let place = source.path.strip_prefix("file://").unwrap_or(&source.path);
                    if place.starts_with('/') {
                        findings.push(path(source, readable(Path::new(place))));
                    }
                }
                Way::Received => {}
            }
            findings.extend(zone(source, jiff::tz::TimeZone::get(&source.zone).is_ok()));
            findings.extend(live.get(&source.name).and_then(|status| trouble(source, status)));
            findings.extend(live.get(&source.name).and_then(|status| unknown(source, status)));
            findings.push(progress(source, watched.sources.get(&source.name), now));
        }
        let projects = catalog.registry.projects();
        let hosts = projects.flat_map(|project| {
            let hosts = catalog.registry.hosts(project.id);
            hosts.map(move |host| ((project.id, host.name.clone()), host.name.to_string()))
        });
        let hosts = hosts.filter(|(host, _)| !followed.contains(host)).map(|(_, name)| name);
        findings.push(hosts_without_source(&hosts.collect::<Vec<_>>()));
        let receivers = self.receivers.as_ref().map(receiver::Board::statuses).unwrap_or_default();
        findings.extend(receivers.iter().map(|(name, status)| received(name, status)));
        for project in catalog.registry.projects() {
            let all = Filter::all(Scope::Project(project.id), 0);
            let total = self.store.select(&Filter { kind: Kind::Quarantine, ..all })?.total;
            let waiting = self.store.top(&waiting(project.id), Dimension::Host, NAMES_SHOWN)?;
            let advice = format!(
                "doorbook quarantine list --project '{}' says which and why; replay reads them again",
                project.name
            );
            let lines = total.saturating_sub(waiting.total);
            findings.extend(quarantine(&project.name, lines, advice));
            findings.extend(unrouted(&project.name, &waiting));
        }
        for namespace in catalog.registry.arrays().namespaces() {
            let all = Filter::all(Scope::Namespace(namespace.clone()), 0);
            let lines = self.store.select(&Filter { kind: Kind::Quarantine, ..all })?.total;
            let advice = format!(
                "doorbook quarantine list --namespace '{namespace}' says which and why; `doorbook \
                 source replay` reads a source's files again"
            );
            findings.extend(quarantine(namespace, lines, advice));
        }
        Ok(Reply::Doctor { version: env!("CARGO_PKG_VERSION").into(), findings })
    }
}

fn writer(poisoned: Option<&'static str>) -> Finding {
    match poisoned {
        None => Finding::ok("writer", "what is acknowledged is on the disk"),
        Some(why) => Finding::fail(
            "writer",
            format!("nothing can be written: {why}"),
            "restart the server, and look at the disk",
        ),
    }
}

fn permissions(data_dir: &Path) -> Finding {
    let check = "permissions";
    match std::fs::metadata(data_dir).map(|metadata| metadata.permissions().mode() & 0o777) {
        Ok(mode) if mode & 0o077 == 0 => {
            Finding::ok(check, format!("{} has mode {mode:04o}", data_dir.display()))
        }
        Ok(mode) => Finding::fail(
            check,
            format!("{} has mode {mode:04o}: others can read keys in it", data_dir.display()),
            format!("chmod 0700 {}", data_dir.display()),
        ),
        Err(error) => Finding::fail(
            check,
            format!("{} cannot be looked at: {error}", data_dir.display()),
            "look at the disk and the folder's owner",
        ),
    }
}

/// Below this many days a person has to act before the next month's meeting.
const DAYS_LEFT_MIN: u64 = 30;

fn disk(status: &Status) -> Finding {
    let check = "disk";
    let seen = format!(
        "{} MiB free, of which {} MiB are kept in reserve",
        status.free_bytes >> 20,
        status.reserve_bytes >> 20
    );
    if status.free_bytes < status.reserve_bytes {
        let advice = "make room or shorten retention: events are refused until then";
        return Finding::fail(check, seen, advice);
    }
    match status.outlook.days_left {
        Some(days) if days < DAYS_LEFT_MIN => Finding::warn(
            check,
            format!("{seen}; enough for {days} days"),
            "make room or shorten retention (doorbook retention set)",
        ),
        _ if status.free_bytes < 4 * status.reserve_bytes => {
            Finding::warn(check, seen, "make room: a merge of segments needs some for a while")
        }
        Some(days) => Finding::ok(check, format!("{seen}; enough for {days} days")),
        None => Finding::ok(check, seen),
    }
}

/// Connections, segments that answers hold open, and the files of sources.
const OPEN_FILES_MIN: u64 = 4096;

fn open_files(limit: Option<u64>) -> Finding {
    match limit {
        Some(limit) if limit < OPEN_FILES_MIN => Finding::warn(
            "open files",
            format!("at most {limit} files can be open at once"),
            format!("LimitNOFILE={OPEN_FILES_MIN} in the unit, or ulimit -n {OPEN_FILES_MIN}"),
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit} at once")),
        None => Finding::ok("open files", "no limit"),
    }
}

fn time_zones(is_there: bool) -> Finding {
    match is_there {
        true => Finding::ok("time zones", "the time zone database is there"),
        false => Finding::warn(
            "time zones",
            "there is no time zone database",
            "install tzdata: without it only UTC is known",
        ),
    }
}

/// Of a folder's pattern the folder; else the file.
fn readable(path: &Path) -> Result<(), std::io::Error> {
    let is_pattern = |part: &Path| part.to_string_lossy().contains(['*', '?', '[']);
    let literal: PathBuf =
        path.components().take_while(|part| !is_pattern(part.as_ref())).collect();
    match literal == path {
        true => File::open(path).map(drop),
        false => std::fs::read_dir(&literal).map(drop),
    }
}

fn path(source: &Source, readable: Result<(), std::io::Error>) -> Finding {
    let check = format!("source {}", source.name);
    match readable {
        Ok(()) => Finding::ok(&check, format!("{} can be read", source.path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::warn(
            &check,
            format!("{} is not there", source.path),
            "correct the path; if nothing was written there yet, there is nothing to do",
        ),
        Err(error) => Finding::fail(
            &check,
            format!("{} cannot be read: {error}", source.path),
            "give the server's user the log's group, or an ACL (docs/running.md)",
        ),
    }
}

fn zone(source: &Source, is_known: bool) -> Option<Finding> {
    (!is_known).then(|| {
        Finding::fail(
            &format!("source {}", source.name),
            format!("the time zone {} is not known", source.zone),
            "correct it in the file of the estate, or install tzdata",
        )
    })
}

/// Whether the agent of a source can speak, and did.
fn by_agent(source: &Source, agent: &str, has_key: bool, has_reported: bool) -> Finding {
    let check = format!("agent {agent} of {}", source.name);
    if !has_key {
        return Finding::fail(
            &check,
            "it has no key, so that nobody follows the source",
            format!(
                "doorbook key create --project {} --agent {agent}",
                source.project().map(|id| id.to_string()).unwrap_or_default()
            ),
        );
    }
    match has_reported {
        true => Finding::ok(&check, "it has a key and has shipped something"),
        false => Finding::warn(
            &check,
            "it has a key and has shipped nothing yet",
            format!("start doorbook-agent on {}; its log says what is the matter", source.whose()),
        ),
    }
}

/// What keeps a source from reading, as the thread that follows it says.
fn trouble(source: &Source, status: &sources::Status) -> Option<Finding> {
    let check = format!("source {}", source.name);
    let message = status.message.as_deref().unwrap_or("it cannot go on").to_owned();
    match status.state {
        sources::State::Failed => Some(Finding::fail(
            &check,
            message,
            format!(
                "mend it, and it goes on by itself; until then {} is not watched",
                source.whose()
            ),
        )),
        sources::State::Away => Some(Finding::fail(
            &check,
            message,
            "see whether doorbook-agent runs there and reaches this server; what it spools fills \
             the gap",
        )),
        _ => None,
    }
}

/// A source reports at least every minute.
const SILENT_SECONDS: i64 = 600;

fn progress(source: &Source, progress: Option<&Progress>, now: Timestamp) -> Finding {
    let check = format!("progress of {}", source.name);
    let advice = format!("doorbook source show {} says why", source.name);
    let Some(progress) = progress else {
        let seen =
            if source.paused { "it rests and has read nothing" } else { "it has read nothing" };
        return Finding::warn(&check, seen, advice);
    };
    let seconds = |since: Timestamp| (now.micros() - since.micros()).max(0) / 1_000_000;
    let silent_seconds = seconds(progress.at);
    let seen = match progress.through {
        Some(through) => format!("read through {through}, {} events", progress.events),
        None => format!("{} lines read", progress.lines),
    };
    match source.paused {
        true => Finding::warn(
            &check,
            format!("it rests; {seen}"),
            format!("doorbook source resume {}", source.name),
        ),
        false if silent_seconds > SILENT_SECONDS => {
            Finding::warn(&check, format!("silent for {silent_seconds} seconds; {seen}"), advice)
        }
        false => Finding::ok(&check, seen),
    }
}

/// As many as fit a line.
const NAMED_MAX: usize = 5;

fn hosts_without_source(hosts: &[String]) -> Finding {
    if hosts.is_empty() {
        return Finding::ok("hosts", "each host has a source");
    }
    let named = hosts.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = if hosts.len() > NAMED_MAX { ", …" } else { "" };
    Finding::warn(
        "hosts",
        format!("{} hosts have no source: {named}{more}", hosts.len()),
        "add a [[source]] for each, or its history has gaps that nobody sees",
    )
}

/// Hosts that a finding names.
const NAMES_SHOWN: usize = 5;

fn unrouted(project: &str, waiting: &Top) -> Option<Finding> {
    let names: Vec<&str> = waiting.values.iter().filter_map(|(name, _)| name.as_deref()).collect();
    let more = waiting.distinct.saturating_sub(names.len() as u64);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (waiting.total > 0).then(|| {
        Finding::warn(
            "unrouted",
            format!(
                "{} lines wait that no source knows: of {}{more}",
                waiting.total,
                names.join(", ")
            ),
            format!(
                "doorbook quarantine list --project '{project}' --unrouted shows the rule to paste"
            ),
        )
    })
}

fn received(name: &Text, status: &receiver::Status) -> Finding {
    let check = format!("receiver {name}");
    if let Some(problem) = &status.problem {
        return Finding::fail(
            &check,
            format!("nothing is read, because nothing can be stored: {problem}"),
            "mend it, and it goes on by itself; until then senders hold their messages back",
        );
    }
    let address = status.listen.map_or_else(String::new, |address| format!(" on {address}"));
    let seen = format!(
        "it listens{address}; {} senders are connected, {} messages were stored",
        status.connections, status.messages
    );
    let refused: Vec<String> =
        status.refused.iter().map(|(reason, n)| format!("{n} for {}", reason.word())).collect();
    match (status.last, refused.is_empty()) {
        (None, _) => Finding::warn(
            &check,
            format!("{seen} since the start"),
            "let a sender send to it (docs/sources/syslog.md)",
        ),
        (Some(_), false) => Finding::warn(
            &check,
            format!("{seen}; it refused {}", refused.join(", ")),
            "docs/sources/syslog.md says what each reason means",
        ),
        (Some(last), true) => Finding::ok(&check, format!("{seen}, the last ones at {last}")),
    }
}

/// An event among messages that nobody knows would be missing.
fn unknown(source: &Source, status: &sources::Status) -> Option<Finding> {
    let total = status.unknown_ids.total();
    let ids = status.unknown_ids.iter().take(NAMES_SHOWN).map(|unknown| unknown.id.to_string());
    let ids = ids.collect::<Vec<_>>().join(", ");
    (total > 0).then(|| {
        let check = format!("source {}", source.name);
        let seen = format!("{total} messages that this version does not know, with the ids {ids}");
        let advice =
            "an event among them would be missing: update Doorbook, or tell its makers of the ids";
        Finding::warn(&check, seen, advice)
    })
}

fn quarantine(place: &str, lines: u64, advice: String) -> Option<Finding> {
    let what = || format!("{lines} lines of {place} could not be read");
    (lines > 0).then(|| Finding::warn("quarantine", what(), advice))
}

#[cfg(test)]
mod tests {
    use doorbook_event::source::{SourceKind, Subject};
    use doorbook_event::{HostName, ProjectId};
    use doorbook_store::status::{Outlook, Sizes};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[track_caller]
    fn is(finding: &Finding, state: State, part: &str) {
        assert_eq!(finding.state, state, "{finding:?}");
        assert!(finding.seen.contains(part), "{part:?} in {finding:?}");
        assert_eq!(finding.advice.is_empty(), state == State::Ok, "{finding:?}");
    }

    fn status(free_mib: u64, days_left: Option<u64>) -> Status {
        let outlook = Outlook { growth_bytes_per_day: None, days_left, basis: String::new() };
        Status {
            at: NOW,
            data_dir: String::new(),
            size_bytes: Sizes::default(),
            free_bytes: free_mib << 20,
            reserve_bytes: 64 << 20,
            outlook,
            scopes: Vec::new(),
            running_imports: Vec::new(),
        }
    }

    fn source(path: &Path) -> Source {
        Source {
            name: "orders".into(),
            kind: SourceKind::MongodLog,
            subject: Subject::Host {
                project: ProjectId::new([1; 12]),
                cluster: "c".into(),
                host: HostName::parse("db-1").expect("a host").0,
            },
            interval_seconds: None,
            path: path.to_str().expect("UTF-8").into(),
            zone: "UTC".into(),
            paused: false,
            agent: None,
            rules: Vec::new(),
        }
    }

    /// Each check says no when it should: the machine's.
    #[test]
    fn the_machine_is_judged() {
        is(&writer(None), State::Ok, "on the disk");
        is(&writer(Some("a sync failed")), State::Fail, "a sync failed");
        is(&disk(&status(100_000, None)), State::Ok, "free");
        is(&disk(&status(100_000, Some(29))), State::Warn, "29 days");
        is(&disk(&status(200, Some(400))), State::Warn, "200 MiB");
        is(&disk(&status(63, Some(400))), State::Fail, "63 MiB");
        is(&open_files(Some(1024)), State::Warn, "1024");
        is(&open_files(Some(65536)), State::Ok, "65536");
        is(&open_files(None), State::Ok, "no limit");
        is(&time_zones(true), State::Ok, "");
        is(&time_zones(false), State::Warn, "no time zone");
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (mode, state) in [(0o700, State::Ok), (0o750, State::Fail), (0o701, State::Fail)] {
            let permissions_of = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(dir.path(), permissions_of).expect("ours");
            is(&permissions(dir.path()), state, &format!("{mode:04o}"));
        }
        is(&permissions(&dir.path().join("gone")), State::Fail, "cannot be looked at");
    }

    /// Each check says no when it should: the sources'.
    #[test]
    fn sources_are_judged() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("mongod.log");
        let check = |path_of: &Path| path(&source(path_of), readable(path_of));
        is(&check(&log), State::Warn, "is not there");
        std::fs::write(&log, "").expect("written");
        is(&check(&log), State::Ok, "can be read");
        is(&check(&dir.path().join("*.log")), State::Ok, "can be read");
        is(&check(&dir.path().join("gone/*/x.log")), State::Warn, "is not there");
        // Root may read what has mode 0, so that the refusal is said instead.
        let refused = Err(ErrorKind::PermissionDenied.into());
        is(&path(&source(&log), refused), State::Fail, "cannot be read");
        assert_eq!(zone(&source(&log), true), None);
        is(&zone(&source(&log), false).expect("found"), State::Fail, "UTC is not known");

        let mut status = sources::Status {
            message: Some("is the log of db-9:27017".into()),
            ..sources::Status::new(sources::State::Failed)
        };
        let failed = trouble(&source(&log), &status).expect("is told");
        is(&failed, State::Fail, "is the log of db-9");
        status.state = sources::State::Away;
        is(&trouble(&source(&log), &status).expect("is told"), State::Fail, "db-9");
        is(&by_agent(&source(&log), "edge-1", false, true), State::Fail, "no key");
        is(&by_agent(&source(&log), "edge-1", true, false), State::Warn, "nothing yet");
        is(&by_agent(&source(&log), "edge-1", true, true), State::Ok, "shipped");
        status.state = sources::State::Following;
        assert_eq!(trouble(&source(&log), &status), None);
        let of = source(&log);
        let at = |seconds: i64| {
            let mut progress = Progress::default();
            progress.at = NOW.plus_seconds(-seconds);
            progress
        };
        is(&progress(&of, None, NOW), State::Warn, "has read nothing");
        is(&progress(&of, Some(&at(1)), NOW), State::Ok, "0 lines");
        is(&progress(&of, Some(&at(601)), NOW), State::Warn, "silent for 601 seconds");
        let paused = Source { paused: true, ..of };
        is(&progress(&paused, Some(&at(601)), NOW), State::Warn, "it rests");

        is(&hosts_without_source(&[]), State::Ok, "each host");
        let hosts: Vec<_> = (1..=7).map(|n| format!("db-{n}:27017")).collect();
        is(&hosts_without_source(&hosts), State::Warn, "7 hosts have no source: db-1:27017");
        let mut listening = receiver::Status::default();
        let seen = |status: &receiver::Status| received(&"syslog".into(), status);
        is(&seen(&listening), State::Warn, "0 messages were stored since the start");
        listening.last = Some(NOW);
        is(&seen(&listening), State::Ok, "it listens");
        listening.refused.insert(receiver::Refusal::Tls, 3);
        is(&seen(&listening), State::Warn, "it refused 3 for tls");
        listening.problem = Some("the disk is full".into());
        is(&seen(&listening), State::Fail, "the disk is full");

        assert_eq!(quarantine("shop", 0, "read them".into()), None);
        is(
            &quarantine("shop", 3, "read them".into()).expect("found"),
            State::Warn,
            "3 lines of shop",
        );
    }
}
