//! Goal: raw lines in the form of each shipper find their host or wait, and the answer says it; what is
//! refused as a whole stores nothing. Method: requests through the router, the store asked afterwards.

use doorbook_event::HostName;
use doorbook_event::source::{Rule, Source, SourceKind, Subject};
use doorbook_store::filter::Kind;

use super::*;
use crate::routing::Form;

const DOOR: &str = "/api/v1/lines";

fn login(n: u32) -> String {
    format!(
        "{{\"t\":{{\"$date\":\"2023-01-01T00:00:0{n}.000+00:00\"}},\"s\":\"I\",\"c\":\"ACCESS\",\
         \"id\":20250,\"ctx\":\"conn{n}\",\"msg\":\"Authentication succeeded\",\"attr\":\
         {{\"mechanism\":\"SCRAM-SHA-256\",\"principalName\":\"user-{n}\",\
         \"authenticationDatabase\":\"admin\",\"remote\":\"10.0.0.1:400{n}\"}}}}"
    )
}

fn as_text(line: &str) -> String {
    serde_json::to_string(line).expect("a text")
}

/// The node's lines are those with one of these labels.
fn doors(rules: &[(&str, &str)]) -> Doors {
    let doors = Doors::new();
    let rules = rules
        .iter()
        .map(|(label, pattern)| Rule { label: (*label).into(), pattern: (*pattern).into() });
    let source = Source {
        name: "node".into(),
        kind: SourceKind::MongodLog,
        subject: Subject::Host {
            project: group(GROUP),
            cluster: "Cluster0".into(),
            host: HostName::parse(NODE).expect("a host").0,
        },
        interval_seconds: None,
        path: "".into(),
        zone: "UTC".into(),
        paused: false,
        agent: None,
        rules: rules.collect(),
    };
    let set = vec![RegistryChange::SourceSet(source)];
    doors.server.app.store().change_registry(&operator(), set).expect("allowed");
    doors
}

impl Doors {
    fn count(&self, kind: Kind) -> u64 {
        let filter = Filter { kind, ..Filter::all(Scope::Project(group(GROUP)), 0) };
        self.server.app.store().select(&filter).expect("reads").total
    }
}

#[tokio::test]
async fn each_shippers_lines_find_their_host() {
    let bodies = [
        // Fluent Bit: lines, and an array.
        (
            "kubernetes.pod_name",
            format!(
                "{{\"date\":1.5,\"log\":{},\"kubernetes\":{{\"pod_name\":\"it\"}}}}",
                as_text(&login(1))
            ),
        ),
        ("host", format!("[{{\"date\":1.5,\"log\":{},\"host\":\"it\"}}]", as_text(&login(1)))),
        // Vector.
        (
            "host",
            format!("[{{\"message\":{},\"host\":\"it\",\"file\":\"/l\"}}]", as_text(&login(1))),
        ),
        // Logstash and Filebeat.
        (
            "host.name",
            format!(
                "{{\"message\":{},\"host\":{{\"name\":\"it\"}},\"@version\":\"1\"}}",
                as_text(&login(1))
            ),
        ),
        // A shipper that parsed the line.
        ("host", login(1).replacen('{', "{\"host\":\"it\",", 1)),
    ];
    for (label, body) in bodies {
        let doors = doors(&[(label, "it")]);
        let answer = doors.post(DOOR, &[], body.clone()).await.json(200);
        let one = serde_json::json!({"stored":1,"duplicates":0,"quarantined":0,"ignored":0});
        let mut whole = one.clone();
        whole["sources"] = serde_json::json!({"node": one});
        whole["unrouted"] = serde_json::json!({});
        assert_eq!(answer, whole, "{body}");
        let again = doors.post(DOOR, &[], body).await.json(200);
        assert_eq!((&again["stored"], &again["duplicates"]), (&0.into(), &1.into()));
        assert_eq!((doors.count(Kind::Access), doors.count(Kind::Quarantine)), (1, 0));
        let event = &doors.read("/api/v1/events").await["events"][0];
        assert_eq!(event["event"]["user"], "user-1");
        assert_eq!(event["source"], "node");
    }
}

#[tokio::test]
async fn plain_text_has_its_labels_in_the_target() {
    let doors = doors(&[("host.name", "it"), ("syslog.tag", "mongod")]);
    let plain = [("content-type", "text/plain")];
    let target = format!("{DOOR}?label.host.name=it&label.syslog.tag=mongod");
    let noise = login(3).replace("ACCESS", "STORAGE");
    let body = format!("{}\n\n{}\r\n{noise}\n", login(1), login(2));
    let answer = doors.post(&target, &plain, body.clone()).await.json(200);
    assert_eq!((&answer["stored"], &answer["ignored"]), (&2.into(), &1.into()), "{answer}");
    let other = doors.post(&format!("{DOOR}?label.host.name=db-9"), &plain, body).await.json(200);
    assert_eq!(other["unrouted"], serde_json::json!({"db-9": 2}));
    assert_eq!((&other["quarantined"], &other["ignored"]), (&2.into(), &1.into()));
    assert_eq!((doors.count(Kind::Access), doors.count(Kind::Quarantine)), (2, 2));
    assert_eq!(
        doors.uses(),
        [("native.v1.lines".to_owned(), "ok".to_owned(), "2".to_owned(), "4".to_owned())]
    );
}

#[tokio::test]
async fn what_is_refused_stores_nothing() {
    let doors = doors(&[("host", "it")]);
    let body = format!("{{\"message\":{},\"host\":\"it\"}}", as_text(&login(1)));
    let reply = doors.post(&format!("{DOOR}?x=1"), &[], body.clone()).await;
    reply.problem(400, "unknown-parameter");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let detail = doors.post(DOOR, &form, body.clone()).await.problem(415, "unsupported-media-type");
    for kind in ["application/x-ndjson", "application/json", "text/plain"] {
        assert!(detail.contains(kind), "{detail}");
    }
    let page = [("content-type", "text/plain"), ("origin", "https://evil.example")];
    doors.post(DOOR, &page, body.clone()).await.problem(415, "unsupported-media-type");
    let labels = format!("{DOOR}?label.host=it");
    doors.post(&labels, &[], body.clone()).await.problem(415, "unsupported-media-type");
    let long = format!("{DOOR}?label.host={}", "x".repeat(1025));
    let plain = [("content-type", "text/plain")];
    doors.post(&long, &plain, body.clone()).await.problem(400, "invalid-parameter");
    let twice = format!("{DOOR}?label.host=it&label.host=other");
    doors.post(&twice, &plain, login(1)).await.problem(400, "invalid-parameter");
    let cut = body.trim_end_matches('}');
    for broken in [
        format!("[{body},{cut},{body}]"),
        format!("{body}{cut}"),
        "[".repeat(100_000),
        format!("{body}\n{cut} {}", "\"x".repeat(40_000)),
    ] {
        let json = [("content-type", "application/json")];
        let detail = doors.post(DOOR, &json, broken).await.problem(400, "invalid-body");
        assert!(detail.contains("Nothing was stored"), "{detail}");
    }
    let many = "{}\n".repeat(crate::api::native::ingest::LINES_MAX + 1);
    doors.post(DOOR, &[], many).await.problem(413, "too-large");
    assert_eq!((doors.count(Kind::Access), doors.count(Kind::Quarantine)), (0, 0));
    doors.post(DOOR, &[], body).await.json(200);
    assert_eq!(doors.count(Kind::Access), 1);
}

/// Goal: what is cut or says two things is kept as it came, counted, told, and never guessed; what stands
/// beside it is read. Method: such lines among others, a replay, and the rows that wait.
#[tokio::test]
async fn what_is_broken_waits_as_it_came() {
    let doors = doors(&[("host", "it")]);
    let of = |n: u32| format!("{{\"message\":{},\"host\":\"it\"}}", as_text(&login(n)));
    let cut = of(2)[..of(2).len() - 30].to_owned();
    let twice = of(3).replacen('{', "{\"host\":\"other\",", 1);
    let body = format!("{}\n{twice}\n{cut}\n{}\n{cut}", of(1), of(4));
    let answer = doors.post(DOOR, &[], body).await.json(200);
    assert_eq!((&answer["stored"], &answer["ignored"]), (&2.into(), &0.into()), "{answer}");
    assert_eq!(answer["quarantined"], 3);
    assert_eq!(answer["unrouted"], serde_json::json!({"broken": 3}));
    let filter = Filter { kind: Kind::Quarantine, ..Filter::all(Scope::Project(group(GROUP)), 10) };
    let page = doors.server.app.store().select(&filter).expect("reads");
    let mut kept: Vec<(String, bool)> = page
        .rows
        .iter()
        .map(|row| match &row.record {
            Record::Quarantine(row) => {
                let again = crate::routing::unrouted::again(Form::Lines, &row.bytes);
                (String::from_utf8_lossy(&row.bytes).into_owned(), again.is_some())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    kept.sort();
    kept.dedup();
    let mut expected = vec![(cut, false), (twice, false)];
    expected.sort();
    assert_eq!(kept, expected);
}
