//! The whole router: who may see what, and that what is said to Prometheus can be read by it.

use std::collections::{BTreeMap, BTreeSet};

use doorbook_event::record::{Coverage, Grade, Hidden, Place, Quarantine, UnknownId};
use doorbook_event::registry::{Host, Key, RegistryChange, Role};
use doorbook_event::source::{Source, SourceKind, Subject};
use doorbook_event::unknown::UnknownIds;
use doorbook_event::{HostName, Record, Scope, Text, Timestamp};
use doorbook_store::Entry;

use crate::api::atlas::tests::{GROUP, KeyPair, NOW, SECRET_GROUP, group, operator};
use crate::api::native::tests::{Doors, LOCAL, OWNER, READER, Reply, basic, line, request};
use crate::app::Stage;
use crate::auth::digest::ha1;
use crate::counters::{self, HostStatus};
use crate::http::Connection;
use crate::sources::{Board, State, Status};

const MONITOR: KeyPair = ("monitor0", "55555555-2222-3333-4444-555555555555");

fn far() -> Connection {
    Connection { peer: doorbook_event::Peer::ip([198, 51, 100, 7].into(), Some(1)), is_tls: true }
}

async fn get(doors: &Doors, target: &str, headers: &[(&str, &str)]) -> Reply {
    doors.send(request("GET", target, headers, "")).await
}

async fn metrics(doors: &Doors) -> Exposed {
    let reply = get(doors, "/metrics", &[]).await;
    assert_eq!(reply.status, 200, "{}", reply.body());
    assert_eq!(reply.headers["content-type"], ["text/plain; version=0.0.4; charset=utf-8"]);
    Exposed::parse(reply.body())
}

/// Goal: health and readiness follow the server's life, for everyone. Method: each stage in turn.
#[tokio::test]
async fn ready_means_that_requests_should_come_here() {
    let mut doors = Doors::new();
    doors.connection = far();
    let state = async |path: &str| {
        let reply = get(&doors, path, &[]).await;
        (reply.status, String::from_utf8(reply.bytes).expect("UTF-8"))
    };
    let ok = (200, r#"{"status":"ok"}"#.to_owned());
    assert_eq!(state("/health").await, ok);
    let (status, body) = state("/ready").await;
    assert!(status == 503 && body.contains("is starting"), "{status} {body}");
    doors.server.app.reach(Stage::Serving);
    assert_eq!(state("/ready").await, ok);
    doors.server.app.reach(Stage::Stopping);
    doors.server.app.reach(Stage::Serving);
    let (status, body) = state("/ready").await;
    assert!(status == 503 && body.contains("being stopped"), "{status} {body}");
    assert_eq!(state("/health").await, ok);
    for path in ["/health", "/ready", "/metrics"] {
        let reply = doors.send(request("POST", path, &[], "")).await;
        assert_eq!(
            (reply.status, &reply.headers["allow"][..]),
            (405, &["GET, HEAD".to_owned()][..])
        );
    }
}

/// Goal: metrics name projects, so that they are not for everyone. Method: every caller there is,
/// from here, from afar, and from afar through a proxy here.
#[tokio::test]
async fn metrics_are_for_this_machine_and_for_keys_that_may() {
    let mut doors = Doors::new();
    let key = Key {
        public: MONITOR.0.into(),
        ha1: ha1(MONITOR.0, MONITOR.1),
        project: group(GROUP),
        role: Role::MonitoringAdmin,
        created: NOW,
        agent: None,
    };
    let created = vec![RegistryChange::KeyCreated(key)];
    doors.server.app.store().change_registry(&operator(), created).expect("allowed");
    for project in [GROUP, SECRET_GROUP] {
        add_source(&doors, project);
    }
    doors.ship(&[line("one", -1)]).await;
    let scopes = |reply: &Reply| -> BTreeSet<String> {
        let exposed = Exposed::parse(reply.body());
        let labels = exposed.samples.keys().flat_map(|(_, labels)| labels.clone());
        let named = labels.filter(|(name, _)| name == "scope" || name == "source");
        named.map(|(_, value)| value).collect()
    };
    let (own, source) = (format!("project/{GROUP}"), format!("of-{GROUP}"));
    let other = format!("of-{SECRET_GROUP}");

    doors.connection = LOCAL;
    let all = get(&doors, "/metrics", &[]).await;
    assert_eq!(scopes(&all), BTreeSet::from(["system".into(), own.clone(), source.clone(), other]));
    for header in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip"] {
        let passed_on = get(&doors, "/metrics", &[(header, "203.0.113.1")]).await;
        assert_eq!(passed_on.status, 401, "{header}");
    }
    doors.connection = far();
    let nobody = get(&doors, "/metrics", &[]).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.headers["www-authenticate"].len(), 2);
    for (who, expected) in [
        (OWNER, 200),
        (MONITOR, 200),
        (READER, 403),
        ((MONITOR.0, "guess"), 401),
        ((MONITOR.0, ""), 401),
    ] {
        let reply = get(&doors, "/metrics", &[("authorization", &basic(who))]).await;
        assert_eq!(reply.status, expected, "{who:?}: {}", reply.body());
        if expected == 200 {
            assert_eq!(scopes(&reply), BTreeSet::from([own.clone(), source.clone()]), "{who:?}");
        }
    }
    let refused =
        doors.uses().into_iter().filter(|(operation, ..)| operation == "operations.metrics");
    assert_eq!(refused.map(|(_, why, ..)| why).collect::<Vec<_>>(), ["wrong basic"]);
}

/// Goal: counters count. Method: one more of everything, and the differences.
#[tokio::test]
async fn counters_move_by_what_was_done() {
    let doors = Doors::new();
    let before = metrics(&doors).await;
    doors.ship(&[line("one", -1), "not JSON".into()]).await;
    doors.ship(&[line("one", -1), line("two", -2)]).await;
    doors.get(OWNER, "/api/v1/events").await.json(200);
    doors.get(OWNER, "/api/v1/events?nonsense=1").await.problem(400, "unknown-parameter");
    get(&doors, "/nowhere/what-somebody-sends", &[]).await;
    let after = metrics(&doors).await;
    let moved = |name: &str, labels: &[(&str, &str)]| {
        after.value(name, labels) - before.value(name, labels)
    };
    let lines = |result| moved("doorbook_ingest_lines_total", &[("result", result)]);
    assert_eq!((lines("stored"), lines("duplicate")), (2.0, 1.0));
    assert_eq!((lines("quarantined"), lines("expired")), (1.0, 0.0));
    assert_eq!(moved("doorbook_quarantined_lines", &[("project", GROUP)]), 1.0);
    let requests = |surface, operation, status| {
        let labels = [("operation", operation), ("status", status), ("surface", surface)];
        moved("doorbook_http_requests_total", &labels)
    };
    assert_eq!(requests("native", "ingest", "200"), 2.0);
    assert_eq!(requests("native", "listEvents", "200"), 1.0);
    assert_eq!(requests("native", "listEvents", "400"), 1.0);
    assert_eq!(requests("none", "none", "404"), 1.0);
    let list = [("operation", "listEvents"), ("surface", "native")];
    assert_eq!(moved("doorbook_http_request_duration_seconds_count", &list), 2.0);
    assert!(moved("doorbook_http_request_duration_seconds_sum", &list) > 0.0);
    assert!(moved("doorbook_store_commit_duration_seconds_count", &[]) >= 1.0);
    let scope = format!("project/{GROUP}");
    assert_eq!(moved("doorbook_store_rows", &[("scope", &scope)]), 3.0);
    assert_eq!(after.value("doorbook_poisoned", &[]), 0.0);
}

/// Goal: no series for what callers send, and no label that says who. Method: a request with canaries
/// everywhere, and all labels.
#[tokio::test]
async fn labels_are_ours() {
    let doors = Doors::new();
    doors.ship(&[line("canary-user", -1)]).await;
    doors.post("/api/v1/ingest/canary-source", &[], "canary-line").await.json(200);
    get(&doors, "/canary-path?canary=1", &[("authorization", &basic(("canary-key", "x")))]).await;
    let text = get(&doors, "/metrics", &[]).await;
    let text = text.body();
    for canary in ["canary", "203.0.113.9", "Cluster0", OWNER.0] {
        assert!(!text.contains(canary), "{canary} in\n{text}");
    }
    let exposed = Exposed::parse(text);
    let names: BTreeSet<_> = exposed.samples.keys().flat_map(|(_, labels)| labels.keys()).collect();
    let known = [
        "destination",
        "kind",
        "le",
        "operation",
        "part",
        "project",
        "result",
        "scope",
        "state",
        "status",
        "surface",
        "unit",
        "version",
    ];
    assert_eq!(names.into_iter().map(String::as_str).collect::<Vec<_>>(), known);
}

/// The table of `docs/running.md` is what is told, and nothing else.
#[tokio::test]
async fn every_family_is_in_the_documentation() {
    let doors = Doors::new();
    doors.server.app.store().flush().expect("flushes");
    add_source(&doors, GROUP);
    let told: BTreeSet<String> = metrics(&doors).await.kinds.into_keys().collect();
    let page = include_str!("../../../../../docs/running.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `doorbook_")?.split('`').next());
    let documented: BTreeSet<String> = rows.map(|name| format!("doorbook_{name}")).collect();
    assert_eq!(told, documented);
}

/// Goal: nothing in a name can break the format. Method: what the format escapes.
#[test]
fn labels_are_escaped() {
    use crate::metrics::text::{Exposition, Kind};
    let odd = "a\\b\"c\nd{e},f=g #h";
    let mut out = Exposition::default();
    out.family("x", Kind::Gauge, "An x.").sample(&[("l", odd), ("m", "")], 1.5);
    let exposed = Exposed::parse(&out.finish());
    assert_eq!(exposed.value("x", &[("l", odd), ("m", "")]), 1.5);
}

/// Goal: how a source fares is told while a server follows it. Method: what such a server would say.
#[tokio::test]
async fn a_source_is_up_or_it_is_not() {
    let doors = Doors::new();
    add_source(&doors, GROUP);
    let name = format!("of-{GROUP}");
    let labels = [("project", GROUP), ("source", &*name)];
    let board = Board::default();
    let before = metrics(&doors).await;
    assert!(!before.samples.keys().any(|(name, _)| name == "doorbook_source_up"), "nobody knows");
    assert_eq!(before.value("doorbook_source_lines_total", &labels), 0.0);
    doors.server.app.metrics().set_sources(board.clone());
    let mut unknown_ids = UnknownIds::default();
    unknown_ids.add(UnknownId { id: 815, version: None, count: 3, message: "Odd".into() });
    board.set(
        crate::sources::Reader::Followed,
        BTreeMap::from([(
            name.as_str().into(),
            Status { behind_bytes: 7, unknown_ids, ..Status::new(State::CatchingUp) },
        )]),
    );
    let followed = metrics(&doors).await;
    assert_eq!(followed.value("doorbook_source_up", &labels), 1.0);
    assert_eq!(followed.value("doorbook_source_behind_bytes", &labels), 7.0);
    assert_eq!(followed.value("doorbook_source_unknown_messages_total", &labels), 3.0);
}

/// Goal: what a source does not see, and what of it cannot be read, is told under its name. Method: a gap
/// that lasts and a line that was put aside, of the source and of another one.
#[tokio::test]
async fn what_a_source_misses_is_told() {
    let doors = Doors::new();
    add_source(&doors, GROUP);
    let name: Text = format!("of-{GROUP}").into();
    let labels = [("project", GROUP), ("source", &*name)];
    let of_source = |exposed: &Exposed| {
        let value = |name| exposed.value(name, &labels);
        (value("doorbook_source_gaps_open"), value("doorbook_source_quarantined_lines"))
    };
    assert_eq!(of_source(&metrics(&doors).await), (0.0, 0.0));
    let store = doors.server.app.store();
    let target = store.catalog().registry.source(&name).expect("was added").target();
    let gap = Coverage {
        target: target.clone(),
        actions: SourceKind::MongodLog.actions().to_vec(),
        hidden: Hidden::All,
        cause: "cannot be read".into(),
        actor: None,
        from: NOW,
        to: None,
        last_seen: NOW,
        source: Some(name.clone()),
        grade: Grade::Blind,
        missing: None,
    };
    let line = |sha256| {
        let (reason, bytes) = ("no user".into(), vec![sha256]);
        let (place, length_bytes, sha256) = (Place::default(), 1, [sha256; 32]);
        Record::Quarantine(Quarantine {
            target: target.clone(),
            reason,
            place,
            bytes,
            length_bytes,
            sha256,
        })
    };
    let scope = Scope::Project(group(GROUP));
    let own = vec![Record::Coverage(gap), line(1), line(2)];
    for (source, records) in [(name.clone(), own), ("other".into(), vec![line(3)])] {
        store.commit(vec![Entry { scope: scope.clone(), source, records }]).expect("commits");
    }
    let told = metrics(&doors).await;
    assert_eq!(of_source(&told), (1.0, 2.0));
    assert_eq!(told.value("doorbook_quarantined_lines", &[("project", GROUP)]), 3.0);
}

/// Goal: how counters compare is told by project, as the worst of its hosts. Method: two hosts of one
/// project, one of which cannot be asked, and one of another.
#[tokio::test]
async fn what_counters_say_is_told() {
    let doors = Doors::new();
    let board = counters::Board::default();
    let host = |name| HostName::parse(name).expect("a host").0;
    let checked = |seconds, missing| HostStatus {
        checked_through: Some(Timestamp::from_seconds(seconds)),
        missing_successes: missing,
        missing_attempts: missing + 1,
        ..HostStatus::default()
    };
    board.lock().insert((group(GROUP), host("db-1")), checked(100, 3));
    let failing = HostStatus { problem: Some("no answer".into()), ..checked(50, 4) };
    board.lock().insert((group(GROUP), host("db-2")), failing);
    board.lock().insert((group(SECRET_GROUP), host("db-1")), HostStatus::default());
    doors.server.app.metrics().set_counters(Some(board));
    let told = metrics(&doors).await;
    let of = |name: &str, project| told.value(name, &[("project", project)]);
    assert_eq!(of("doorbook_counters_hosts", GROUP), 2.0);
    assert_eq!(of("doorbook_counters_failing_hosts", GROUP), 1.0);
    assert_eq!(of("doorbook_counters_checked_timestamp_seconds", GROUP), 50.0);
    assert_eq!(of("doorbook_counters_hosts", SECRET_GROUP), 1.0);
    let missing =
        |kind| told.value("doorbook_counters_missing_total", &[("kind", kind), ("project", GROUP)]);
    assert_eq!((missing("success"), missing("attempt")), (7.0, 9.0));
}

fn add_source(doors: &Doors, project: &str) {
    let project = group(project);
    let host = HostName::parse(&format!("db-{project}")).expect("a host").0;
    let cluster = "Cluster0".into();
    let added = Host { project, cluster, name: host.clone(), aliases: Vec::new() };
    let source = Source {
        name: format!("of-{project}").into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host { project, cluster: "Cluster0".into(), host },
        interval_seconds: None,
        path: format!("/var/log/{project}.log").into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: Vec::new(),
    };
    let changes = vec![RegistryChange::HostAdded(added), RegistryChange::SourceSet(source)];
    doors.server.app.store().change_registry(&operator(), changes).expect("allowed");
}

type Labels = BTreeMap<String, String>;

/// What an exposition says, read by the rules of the format and those of promtool's linter.
struct Exposed {
    kinds: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), f64>,
}

impl Exposed {
    #[track_caller]
    fn parse(text: &str) -> Exposed {
        assert!(text.ends_with('\n'), "the last line ends");
        let mut exposed = Exposed { kinds: BTreeMap::new(), samples: BTreeMap::new() };
        let mut family: Option<(String, String)> = None;
        let mut helped = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(help.ends_with('.'), "{line}");
                helped = Some(name.to_owned());
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a type");
                assert_eq!(helped.take().as_deref(), Some(name), "help before type");
                assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let twice = exposed.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(twice, None, "{name} is told twice");
                family = Some((name.to_owned(), kind.to_owned()));
            } else {
                let (name, labels, value) = sample_of(line);
                let (of, kind) = family.as_ref().expect("a family first");
                let suffix = name.strip_prefix(&**of).unwrap_or_else(|| panic!("{line} in {of}"));
                let allowed: &[&str] = match &**kind {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    "summary" => &["_sum", "_count"],
                    _ => &[""],
                };
                assert!(allowed.contains(&suffix), "{line} in a {kind}");
                assert_eq!(labels.contains_key("le"), suffix == "_bucket", "{line}");
                let twice = exposed.samples.insert((name, labels), value);
                assert_eq!(twice, None, "{line} is there twice");
            }
        }
        exposed.check_histograms();
        exposed
    }

    /// Buckets grow, and the last one is the count.
    fn check_histograms(&self) {
        for ((name, labels), count) in &self.samples {
            let Some(family) = name.strip_suffix("_count") else { continue };
            if self.kinds.get(family).is_none_or(|kind| kind != "histogram") {
                continue;
            }
            let mut buckets: Vec<(f64, f64)> = Vec::new();
            for ((of, its), value) in &self.samples {
                let mut its = its.clone();
                let Some(bound) = its.remove("le") else { continue };
                if *of == format!("{family}_bucket") && its == *labels {
                    buckets.push((bound.parse().expect("a number"), *value));
                }
            }
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name} {labels:?}");
        }
    }

    /// A sample's value; 0 if there is none.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        self.samples.get(&(name.to_owned(), labels.collect())).copied().unwrap_or(0.0)
    }
}

/// `name{label="value",…} number`, and nothing else.
#[track_caller]
fn sample_of(line: &str) -> (String, Labels, f64) {
    let is_name = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|b| b.is_ascii_lowercase())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let end = line.find(['{', ' ']).expect("a value");
    let (name, mut rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert!(is_name(label), "{line}");
            let mut value = String::new();
            let mut characters = after.char_indices();
            let end = loop {
                match characters.next().expect("the value ends") {
                    (at, '"') => break at,
                    (_, '\\') => match characters.next().expect("something escaped").1 {
                        'n' => value.push('\n'),
                        escaped @ ('\\' | '"') => value.push(escaped),
                        other => panic!("\\{other} in {line}"),
                    },
                    (_, other) => value.push(other),
                }
            };
            assert_eq!(labels.insert(label.to_owned(), value), None, "{label} twice in {line}");
            rest = &after[end + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("the labels end");
    }
    let number = rest.strip_prefix(' ').expect("one blank");
    (name.to_owned(), labels, number.parse().unwrap_or_else(|_| panic!("{line}")))
}
