//! The access history itself: which rows, in which order, in which form.

use std::io::Read;

use doorbook_event::record::{Coverage, Grade, Hidden};
use doorbook_event::{Record, Scope};
use doorbook_store::Entry;

use super::*;

/// Rows of every kind, oldest first. The second and third are real ones, as published
/// (captures/atlas/real-samples.json, with addresses that are addresses).
pub fn accesses() -> Vec<Access> {
    let failure = |reason: &str| Outcome::Failure { reason: Some(reason.into()), code: Some(11) };
    vec![
        Access { outcome: failure("denied"), action: Action::Authorize, ..login("denied", -9_000) },
        Access {
            event_time: Timestamp::from_millis(1_682_474_637_858),
            principal: Principal::User { name: X509.into(), database: "$external".into() },
            peer: Peer::ip([203, 0, 113, 10].into(), Some(39662)),
            raw: X509_LINE.into(),
            ..login("", 0)
        },
        Access {
            event_time: Timestamp::from_millis(1_682_476_736_454),
            principal: Principal::User { name: "mms-automation".into(), database: "admin".into() },
            outcome: failure("UserNotFound: User \"mms-automation@admin\" not found"),
            raw: FAILED_LINE.into(),
            ..login("", 0)
        },
        with_class(login("forged", -8_000), Class::Suspect),
        with_class(login("unconfirmed", -7_000), Class::Unconfirmed),
        with_class(
            Access { outcome: failure("restricted"), ..login("inferred", -6_000) },
            Class::Inferred,
        ),
        Access { peer: Peer::UnixSocket, ..login("local", -5_000) },
        Access {
            target: Target::Host {
                cluster: "Cluster0".into(),
                host: format!("{NODE}:27018").into(),
            },
            peer: Peer::ip("2001:db8::1".parse().expect("valid"), Some(1)),
            raw: b"caf\xe9 \"quoted\"\n".to_vec(),
            ..login("v6", -4_000)
        },
    ]
}

const X509: &str = "CN=devops@myapp.com/xgen-readAnyDatabaseAtadmin";
const X509_LINE: &str = r#"{"t":{"$date":"2023-04-26T02:03:57.858+00:00"},"s":"I",  "c":"ACCESS",   "id":20429,   "ctx":"conn1754","msg":"Successfully authenticated","attr":{"client":"203.0.113.10:39662","mechanism":"MONGODB-X509","user":"CN=devops@myapp.com/xgen-readAnyDatabaseAtadmin","db":"$external"}}"#;
const FAILED_LINE: &str = r#"{"t":{"$date":"2023-04-26T02:38:56.454+00:00"},"s":"I",  "c":"ACCESS",   "id":20249,   "ctx":"conn371","msg":"Authentication failed","attr":{"mechanism":"SCRAM-SHA-1","speculative":true,"principalName":"mms-automation","authenticationDatabase":"admin","remote":"203.0.113.9:56444","extraInfo":{},"error":"UserNotFound: User \"mms-automation@admin\" not found"}}"#;

/// The two recorded answers (captures/atlas/TestAccessLogs__List_by_*), without what would be a
/// lie from us: Server, X-Java-Method, X-Java-Version, X-Mongodb-Service-Version, X-Envoy-*. Date
/// is the connection's.
#[tokio::test]
async fn an_empty_history_is_answered_as_recorded() {
    let mut server = Server::new();
    server.connection = Some(Connection { peer: Peer::Unknown, is_tls: true });
    let recorded = lines(
        "
        200
        content-length: 17
        content-type: application/vnd.atlas.2023-01-01+json;charset=utf-8
        doorbook-coverage: gaps
        ratelimit-limit: 1200
        ratelimit-remaining: 1199
        referrer-policy: strict-origin-when-cross-origin
        strict-transport-security: max-age=31536000; includeSubdomains;
        vary: Accept-Encoding
        x-content-type-options: nosniff
        x-frame-options: DENY
        x-permitted-cross-domain-policies: none
        ",
    );
    let body = "\n{\"accessLogs\":[]}";
    let recorded = recorded.trim_end().to_owned() + "\n" + body;
    assert_eq!(server.get(&clusters("Cluster0?nLogs=20000")).await.text(), recorded);
    let second = recorded.replace("remaining: 1199", "remaining: 1198");
    assert_eq!(server.get(&processes(NODE)).await.text(), second);

    // Without TLS there is no promise of TLS.
    server.connection = None;
    let plain = second.replace("1198", "1197");
    let plain =
        plain.replace("strict-transport-security: max-age=31536000; includeSubdomains;\n", "");
    assert_eq!(server.get(&clusters("Cluster0")).await.text(), plain);
}

#[tokio::test]
async fn entries_have_the_published_form() {
    let server = Server::with_history();
    let window = "start=1682470000000&end=1682476736454";
    let reply = server.get(&clusters(&format!("Cluster0?{window}"))).await;
    let quoted = |line: &str| serde_json::to_string(line).expect("a string");
    let expected = format!(
        "{{\"accessLogs\":[{{\"authResult\":false,\"authSource\":\"admin\",\
         \"failureReason\":\"UserNotFound: User \\\"mms-automation@admin\\\" not found\",\
         \"groupId\":\"{GROUP}\",\"hostname\":\"{NODE}\",\"ipAddress\":\"203.0.113.9\",\
         \"logLine\":{},\"timestamp\":\"Wed Apr 26 02:38:56 GMT 2023\",\
         \"username\":\"mms-automation\"}},{{\"authResult\":true,\"authSource\":\"$external\",\
         \"failureReason\":null,\"groupId\":\"{GROUP}\",\"hostname\":\"{NODE}\",\
         \"ipAddress\":\"203.0.113.10\",\"logLine\":{},\
         \"timestamp\":\"Wed Apr 26 02:03:57 GMT 2023\",\"username\":\"{X509}\"}}]}}",
        quoted(FAILED_LINE),
        quoted(X509_LINE),
    );
    assert_eq!(reply.body(), expected);

    // v1.0 has clusterName besides, and plain JSON whatever Accept says.
    let v1 = clusters(&format!("Cluster0?{window}")).replace("/v2/", "/v1.0/");
    for accept in ["application/json", "*/*", VERSION] {
        let reply = server.call(OWNER, "GET", &v1, &[("accept", accept)]).await;
        assert_eq!(reply.headers["content-type"], "application/json");
        let expected =
            expected.replace("\"failureReason\"", "\"clusterName\":\"Cluster0\",\"failureReason\"");
        assert_eq!(reply.body(), expected);
    }
}

#[tokio::test]
async fn what_is_not_known_is_null_and_what_is_not_text_is_shown() {
    let server = Server::with_history();
    let rows = server.get(&clusters("Cluster0?nLogs=2")).await.json();
    let v6 = &rows["accessLogs"][0];
    assert_eq!(v6["ipAddress"], "2001:db8:0:0:0:0:0:1");
    assert_eq!(v6["logLine"], "caf\u{fffd} \"quoted\"\n");
    assert_eq!(v6["hostname"], NODE);
    let local = &rows["accessLogs"][1];
    assert_eq!(local["username"], "local");
    assert_eq!(local["ipAddress"], serde_json::Value::Null);
    assert!(local.as_object().expect("an object").contains_key("ipAddress"));
}

#[tokio::test]
async fn every_parameter_chooses_its_rows() {
    let server = Server::with_history();
    let all = ["v6", "local", "inferred", "unconfirmed", "mms-automation", X509];
    let ms = |millis: i64| NOW.millis() + millis;
    for (query, expected) in [
        // Never: the denied action, the line that its own log contradicts.
        (String::new(), &all[..]),
        ("?nLogs=0".into(), &[]),
        ("?nLogs=1".into(), &all[..1]),
        ("?nLogs=3".into(), &all[..3]),
        ("?authResult=true".into(), &["v6", "local", "unconfirmed", X509]),
        ("?authResult=False".into(), &["inferred", "mms-automation"]),
        ("?ipAddress=203.0.113.10".into(), &[X509]),
        ("?ipAddress=2001:db8:0:0:0:0:0:1".into(), &["v6"]),
        ("?ipAddress=2001:DB8::1".into(), &["v6"]),
        ("?ipAddress=203.0.113.1".into(), &[]),
        (format!("?start={}&end={}", ms(-7_000), ms(-5_000)), &all[1..4]),
        (format!("?start={}&end={}", ms(-6_999), ms(-5_001)), &["inferred"]),
        ("?start=2023-04-26T03:33:15.000Z&end=2023-04-26T03:33:16Z".into(), &all[..2]),
        ("?start=1970-01-01T00%3A00%3A00.00Z&end=99999999999999".into(), &all),
        ("?nLogs=2&nLogs=1&other=x&itemsPerPage=1&pageNum=7".into(), &all[..2]),
    ] {
        let reply = server.get(&clusters(&format!("Cluster0{query}"))).await;
        assert_eq!(reply.usernames(), expected, "{query}");
    }
    assert_eq!(server.get(&clusters("Other")).await.usernames(), [""; 0]);
    // A week and a millisecond later the first of them has left the default window.
    server.clock.set(Timestamp::from_millis(1_682_474_637_858 + 7 * 86_400_000 + 1));
    assert_eq!(server.get(&clusters("Cluster0")).await.usernames(), &all[..5]);
}

/// Goal: what an answer takes of the server's memory is bounded, and no entry is left out in silence.
/// Method: more bytes of lines than an answer holds; what the error says is asked for.
#[tokio::test]
async fn an_answer_that_would_be_too_large_says_what_fits() {
    let server = Server::new();
    let raw = "x".repeat(64 << 10);
    let long = |n: i64| Access { raw: raw.clone().into(), ..login("long", n - 2_000) };
    for first in [0, 550] {
        server.import("Cluster0", (first..first + 550).map(long).collect());
    }
    let error = server.get(&clusters("Cluster0")).await;
    assert_eq!((error.status, &error.json()["parameters"][0]), (400, &"nLogs".into()));
    assert_eq!(error.json()["errorCode"], "INVALID_QUERY_PARAMETER");
    let detail = error.json()["detail"].as_str().expect("a text").to_owned();
    let digits = |c: char| !c.is_ascii_digit();
    let fits: usize = detail.split(digits).find_map(|n| n.parse().ok()).expect("a number");
    assert!((900..1100).contains(&fits), "{detail}");
    let reply = server.get(&clusters(&format!("Cluster0?nLogs={fits}"))).await;
    assert_eq!(reply.usernames().len(), fits);
}

#[tokio::test]
async fn a_host_goes_by_each_of_its_names() {
    let server = Server::with_history();
    let both = server.get(&processes(NODE)).await.usernames();
    assert_eq!(both.len(), 6);
    for name in [
        format!("{NODE}:27017"),
        format!("{NODE}%3A27017"),
        NODE.to_uppercase() + ":27017",
        "cluster0-shard-00-00.xvvx3a.mongodb.net".into(),
        "cluster0-shard-00-00.xvvx3a.mongodb.net:27017".into(),
    ] {
        assert_eq!(server.get(&processes(&name)).await.usernames(), both[1..], "{name}");
    }
    assert_eq!(server.get(&processes(&format!("{NODE}:27018"))).await.usernames(), ["v6"]);
    assert_eq!(server.get(&processes("%5B2001:db8::5%5D:27017")).await.usernames(), [""; 0]);
}

/// An outcome that the source does not tell looks like neither.
#[tokio::test]
async fn an_unknown_outcome_is_null() {
    let server = Server::new();
    server.import("Cluster0", vec![Access { outcome: Outcome::Unknown, ..login("x", -1) }]);
    let rows = server.get(&clusters("Cluster0")).await.json();
    assert_eq!(rows["accessLogs"][0]["authResult"], serde_json::Value::Null);
    for either in ["true", "false"] {
        let target = clusters(&format!("Cluster0?authResult={either}"));
        assert_eq!(server.get(&target).await.usernames(), [""; 0]);
    }
}

/// How the OpenTelemetry receiver reads: the next page ends one millisecond before the last entry.
#[tokio::test]
async fn paging_by_end_shows_every_millisecond_once() {
    let server = Server::new();
    server.import("Cluster0", (0..25).map(|n| login(&format!("u{n}"), -n * 3)).collect());
    let (mut end, mut seen) = (NOW.millis(), Vec::new());
    loop {
        let start = NOW.millis() - 1000;
        let target = clusters(&format!("Cluster0?end={end}&nLogs=4&start={start}"));
        let page = server.get(&target).await.usernames();
        let Some(last) = page.last() else { break };
        let n: i64 = last.trim_start_matches('u').parse().expect("a number");
        end = NOW.millis() - n * 3 - 1;
        seen.extend(page);
    }
    assert_eq!(seen, (0..25).map(|n| format!("u{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn pretty_and_envelope_change_the_form_only() {
    let server = Server::new();
    for (query, expected) in [
        ("pretty=true", "{\n  \"accessLogs\" : [ ]\n}"),
        ("envelope=True", "{\"status\":200,\"content\":{\"accessLogs\":[]}}"),
        (
            "envelope=true&pretty=true",
            "{\n  \"status\" : 200,\n  \"content\" : {\n    \"accessLogs\" : [ ]\n  }\n}",
        ),
        ("envelope=false&pretty=FALSE", "{\"accessLogs\":[]}"),
    ] {
        let reply = server.get(&clusters(&format!("Cluster0?{query}"))).await;
        assert_eq!(reply.body(), expected, "{query}");
    }
    // Errors too: who cannot see the status needs it most then. The status itself stays true.
    let reply = server.get(&clusters("Nope?envelope=true")).await;
    assert_eq!(reply.status, 404);
    assert!(reply.body().starts_with("{\"status\":404,\"content\":{\"detail\":\"No cluster"));
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_take_it() {
    let server = Server::new();
    server.import("Cluster0", (0..200).map(|n| login(&format!("u{n}"), -n)).collect());
    let target = clusters("Cluster0");
    let plain = server.get(&target).await;
    let headers = [("accept", VERSION), ("accept-encoding", "gzip, deflate")];
    let packed = server.call(OWNER, "GET", &target, &headers).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert_eq!(packed.headers["content-length"], packed.bytes.len().to_string());
    let mut unpacked = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed.bytes[..]);
    decoder.read_to_string(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain.body());
}

/// Answers stay in memory until they are taken, and so many are made at once and no more.
#[tokio::test]
async fn an_answer_counts_until_it_is_taken() {
    let settings = Settings {
        concurrent_answers_max: 1,
        answer_wait: std::time::Duration::from_millis(50),
        ..Settings::default()
    };
    let server = Server::with(settings);
    server.import("Cluster0", (0..300).map(|n| login("somebody", -n)).collect());
    let target = clusters("Cluster0");
    let signed = sign(&server.challenge().await, OWNER, ("GET", &target), 1);
    let headers = [("authorization", signed.as_str()), ("accept", VERSION)];
    let sent = server.router.clone().oneshot(request("GET", &target, &headers)).await;
    let untaken = sent.expect("never fails");
    assert_eq!(untaken.status(), 200);

    let reply = server.get(&clusters("Cluster0?nLogs=1")).await;
    assert_eq!((reply.status, reply.code()), (503, "UNEXPECTED_ERROR"), "{}", reply.body());
    assert_eq!(reply.headers["retry-after"], "5");
    drop(untaken);
    // A small answer that nobody takes is no burden.
    let signed = sign(&server.challenge().await, OWNER, ("GET", "/api/atlas/v2/groups"), 1);
    let headers = [("authorization", signed.as_str()), ("accept", VERSION)];
    let small = request("GET", "/api/atlas/v2/groups", &headers);
    let untaken = server.router.clone().oneshot(small).await.expect("never fails");
    assert_eq!(untaken.status(), 200);
    assert_eq!(server.get(&clusters("Cluster0?nLogs=1")).await.usernames(), ["somebody"]);
}

/// The body has no place for it, and a list that is empty because nobody looked must not look like one
/// that is empty because nobody came.
#[tokio::test]
async fn a_header_says_whether_somebody_watched() {
    let server = Server::new();
    let known =
        async |target: String| server.get(&target).await.headers["doorbook-coverage"].clone();
    assert_eq!(known(clusters("Cluster0")).await, "gaps");
    server.watch(NOW.plus_seconds(-9));
    assert_eq!(known(clusters("Cluster0")).await, "complete; through=2023-04-26T03:33:11Z");
    assert_eq!(known(processes(NODE)).await, "complete; through=2023-04-26T03:33:11Z");
    let hidden = |grade, source: Option<&str>, from: i64, hidden| {
        Record::Coverage(Coverage {
            target: Target::Host {
                cluster: "Cluster0".into(),
                host: format!("{NODE}:27017").into(),
            },
            actions: vec![Action::Authenticate],
            hidden,
            cause: "so".into(),
            actor: None,
            from: NOW.plus_seconds(from),
            to: Some(NOW.plus_seconds(from + 5)),
            last_seen: NOW,
            source: source.map(Into::into),
            grade,
            missing: None,
        })
    };
    let tell = |record| {
        let (scope, source) = (Scope::Project(group(GROUP)), "test".into());
        let entry = Entry { scope, source, records: vec![record] };
        server.app.store().commit(vec![entry]).expect("commits");
    };
    tell(hidden(Grade::BestEffort, Some("source-1"), -60, Hidden::All));
    assert!(known(clusters("Cluster0")).await.starts_with("best-effort; through="));
    tell(hidden(Grade::Blind, None, -30, Hidden::Successes));
    assert!(known(clusters("Cluster0")).await.starts_with("gaps; through="));
    let failures = known(clusters("Cluster0?authResult=false")).await;
    assert!(failures.starts_with("best-effort; through="), "failures left their lines: {failures}");
    assert!(known(clusters("Other")).await.starts_with("complete; through="));
    let unknown = server.get(&clusters("Absent")).await;
    assert!(!unknown.headers.contains_key("doorbook-coverage"), "an error knows nothing");
}
