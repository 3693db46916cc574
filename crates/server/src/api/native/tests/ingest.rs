//! Goal: each line of a request has its own fate and the answer says it; what is refused as a whole
//! stores nothing. Method: requests through the router, the store asked afterwards.

use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Frame;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("in memory")
}

const DOOR: &str = "/api/v1/ingest/app";

#[tokio::test]
async fn every_line_has_its_own_fate() {
    let doors = Doors::new();
    let body = [
        line("a", 0),
        "".into(),
        line("b", 1) + "\r",
        "{\"user\":1}".into(),
        line("c", 2).replace("27017", "9"),
        line("d", 3).replace("Cluster0", "Nope"),
        line("a", 0).replace(NODE, "Cluster0-Shard-00-00.xvvx3a.mongodb.net"),
        "  ".into(),
    ];
    let answer = doors.post(DOOR, &[], body.join("\n")).await.json(200);
    // The same login by another name of the host is a second one of the same input.
    assert_eq!(
        (&answer["stored"], &answer["duplicates"], &answer["quarantined"]),
        (&3.into(), &0.into(), &3.into())
    );
    let listed = answer["lines"].as_array().expect("a list");
    let numbers: Vec<_> = listed.iter().map(|line| line["line"].as_u64().expect("one")).collect();
    assert_eq!(numbers, [4, 5, 6]);
    assert_eq!(listed[0]["reason"], "user is not a text");
    let reason = listed[1]["reason"].as_str().expect("one");
    assert!(reason.contains("doorbook host add") && reason.contains(":9"), "{reason}");
    let reason = listed[2]["reason"].as_str().expect("one");
    assert!(reason.contains("no cluster Nope"), "{reason}");

    let again = doors.ship(&body).await;
    let results: Vec<_> = again["lines"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|line| {
            (
                line["line"].as_u64().expect("one"),
                line["result"].as_str().expect("one"),
                line.get("id").is_some(),
            )
        })
        .collect();
    let expected = [
        (1, "duplicate", false),
        (3, "duplicate", false),
        (4, "quarantined", false),
        (5, "quarantined", false),
        (6, "quarantined", false),
        (7, "duplicate", false),
    ];
    assert_eq!(results, expected);

    // What was put aside is found, with its place, and whole.
    let aside = doors.read("/api/v1/events?kind=quarantine&source=app").await;
    assert_eq!(aside["total"], 3);
    let mut found: Vec<_> = aside["events"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| {
            let row = &row["quarantine"];
            (
                row["line"].as_u64().expect("one"),
                row["raw"].as_str().expect("one"),
                row["file"].as_str().expect("one"),
            )
        })
        .collect();
    found.sort_unstable();
    let expected = [(4, &*body[3], "app"), (5, &body[4], "app"), (6, &body[5], "app")];
    assert_eq!(found, expected);

    let events = doors.read("/api/v1/events?source=app").await;
    assert_eq!(events["total"], 3);
    let event = &events["events"][2]["event"];
    assert_eq!(event["user"], "a");
    assert_eq!(event["host"], format!("{NODE}:27017"));
}

#[tokio::test]
async fn the_answer_is_as_long_as_wished() {
    let doors = Doors::new();
    let lines: Vec<String> = (0..50).map(|n| line("u", n)).collect();
    let reply = doors.post(&format!("{DOOR}?lines=none"), &[], lines.join("\n")).await;
    assert_eq!(reply.body(), "{\"stored\":50,\"duplicates\":0,\"quarantined\":0}");
    let reply = doors.post(DOOR, &[], lines.join("\n")).await;
    assert_eq!(reply.body(), "{\"stored\":0,\"duplicates\":50,\"quarantined\":0,\"lines\":[]}");
    let reply = doors.post(DOOR, &[], "").await;
    assert_eq!(reply.body(), "{\"stored\":0,\"duplicates\":0,\"quarantined\":0,\"lines\":[]}");
    let all = doors.ship(&[line("v", 0)]).await;
    let id = all["lines"][0]["id"].as_str().expect("an id");
    let events = doors.read("/api/v1/events?user=v").await;
    assert_eq!(events["events"][0]["id"], id);
    doors.post(&format!("{DOOR}?lines=some"), &[], "").await.problem(400, "invalid-parameter");
}

/// What was exported can be sent in again: it is what was there before.
#[tokio::test]
async fn what_leaves_can_come_in_again() {
    let doors = Doors::new();
    doors.server.import("Cluster0", crate::api::atlas::tests::accesses());
    doors.ship(&[line("a", 0).replace('}', ",\"attempts\":[1,2],\"user2\":\"x\"}")]).await;
    let events = doors.read("/api/v1/events").await;
    let events = events["events"].as_array().expect("a list");
    let lines: Vec<String> = events.iter().map(|row| row["event"].to_string()).collect();
    let answer = doors.ship(&lines).await;
    assert_eq!(answer["duplicates"], lines.len(), "{answer}");
    assert_eq!(answer["stored"], 0);
}

#[tokio::test]
async fn bodies_come_compressed() {
    let doors = Doors::new();
    let body = [line("a", 0), line("b", 0)].join("\n");
    for (coding, packed) in [
        ("gzip", gzip(body.as_bytes())),
        ("zstd", zstd(body.as_bytes())),
        ("identity", body.clone().into()),
    ] {
        let reply = doors.post(DOOR, &[("content-encoding", coding)], packed.clone()).await;
        let answer = reply.json(200);
        assert_eq!(
            answer["stored"].as_u64().zip(answer["duplicates"].as_u64()).map(|(a, b)| a + b),
            Some(2)
        );
        if coding != "identity" {
            let cut = &packed[..packed.len() - 1];
            let reply = doors.post(DOOR, &[("content-encoding", coding)], cut.to_vec()).await;
            reply.problem(400, "invalid-body");
            let reply = doors.post(DOOR, &[("content-encoding", coding)], body.clone()).await;
            reply.problem(400, "invalid-body");
        }
    }
    let reply = doors.post(DOOR, &[("content-encoding", "br")], body).await;
    reply.problem(415, "unsupported-media-type");
}

#[tokio::test]
async fn a_bomb_is_refused_before_it_is_large() {
    let settings = Settings { ingest_body_bytes_max: 1 << 18, ..Settings::default() };
    let doors = Doors::with(settings);
    let large = vec![b' '; 16 << 20];
    for (coding, bomb) in [("gzip", gzip(&large)), ("zstd", zstd(&large))] {
        assert!(bomb.len() < 1 << 18);
        let reply = doors.post(DOOR, &[("content-encoding", coding)], bomb).await;
        reply.problem(413, "too-large");
    }
    // A window of 2 GB, and nothing in it.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x01, 0x00, 0x00];
    let reply = doors.post(DOOR, &[("content-encoding", "zstd")], frame.to_vec()).await;
    reply.problem(400, "invalid-body");

    let body = vec![b' '; (1 << 18) + 1];
    doors.post(DOOR, &[], body.clone()).await.problem(413, "too-large");
    doors.post(DOOR, &[("content-length", "262145")], "").await.problem(413, "too-large");
    doors.post(DOOR, &[], body[1..].to_vec()).await.json(200);
    let lines = "x\n".repeat(crate::api::native::ingest::LINES_MAX + 1);
    doors.post(DOOR, &[], lines).await.problem(413, "too-large");
    let events = doors.read("/api/v1/events?kind=quarantine").await;
    assert_eq!(events["total"], 0);
}

/// Room for one request that has a thread of its own, for which nobody waits long.
fn room_for_one() -> Settings {
    Settings {
        ingest_in_flight_bytes_max: 600 << 10,
        ingest_wait: Duration::from_millis(50),
        ..Settings::default()
    }
}

/// Whoever finds no room is told so within the time that the operator set.
#[tokio::test]
async fn bodies_in_flight_are_bounded() {
    let doors = Doors::with(room_for_one());
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    // A body that says it is long, and does not end before it is told to.
    let slow = Body::new(Slow(Some(receiver)));
    let slow = doors.post(DOOR, &[("content-length", "200000")], slow);
    let quick = async {
        tokio::task::yield_now().await;
        let reply = doors.post(DOOR, &[], line("b", 0)).await;
        reply.problem(503, "busy");
        assert_eq!(reply.headers["retry-after"], ["1"]);
        sender.send(()).expect("is waited for");
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!(slow.json(200)["stored"], 1);
    assert_eq!(doors.post(DOOR, &[], line("b", 0)).await.json(200)["stored"], 1);
}

/// Goal: a request that has a thread of its own is counted with more than its body, so that there are
/// not too many of them. Method: room for one of them; one is held up while others come.
#[tokio::test]
async fn threads_in_flight_are_bounded() {
    let doors = Doors::with(room_for_one());
    let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
    let slow = [("content-encoding", "gzip"), ("content-length", "100")];
    let slow = doors.post(DOOR, &slow, Body::new(Slow(Some(receiver))));
    let quick = async {
        tokio::task::yield_now().await;
        let small = line("b", 0);
        let length = [("content-length", &*small.len().to_string())];
        assert_eq!(doors.post(DOOR, &length, small.clone()).await.json(200)["stored"], 1);
        let packed = gzip(line("c", 0).as_bytes());
        let length = packed.len().to_string();
        let compressed = [("content-encoding", "gzip"), ("content-length", &*length)];
        doors.post(DOOR, &compressed, packed).await.problem(503, "busy");
        sender.send(()).expect("is waited for");
    };
    let (slow, ()) = tokio::join!(slow, quick);
    slow.problem(400, "invalid-body");
}

/// Goal: slow senders that stream keep nobody out. Method: two bodies of unknown length, of which
/// nothing comes, in room for one of the greatest length.
#[tokio::test]
async fn a_body_of_unknown_length_takes_room_as_it_comes() {
    let settings = Settings { ingest_wait: Duration::from_millis(50), ..Settings::default() };
    let room = settings.ingest_body_bytes_max;
    let doors = Doors::with(Settings { ingest_in_flight_bytes_max: room, ..settings });
    let (first, first_receiver) = tokio::sync::oneshot::channel::<()>();
    let (second, second_receiver) = tokio::sync::oneshot::channel::<()>();
    let slow = |receiver| doors.post(DOOR, &[], Body::new(Slow(Some(receiver))));
    let quick = async {
        tokio::task::yield_now().await;
        let reply = doors.post("/api/v1/ingest/quick", &[], line("b", 0)).await;
        drop((first, second));
        reply
    };
    let slow = (slow(first_receiver), slow(second_receiver));
    let (first, second, quick) = tokio::join!(slow.0, slow.1, quick);
    assert_eq!(quick.json(200)["stored"], 1);
    assert_eq!([first.status, second.status], [200; 2]);
    // What is longer than it may be is found out on the way.
    let blank = doors.post(DOOR, &[], "\n".repeat(room + 1)).await;
    blank.problem(413, "too-large");
}

/// One line, once it is told.
struct Slow(Option<tokio::sync::oneshot::Receiver<()>>);

impl hyper::body::Body for Slow {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(receiver) = &mut self.0 else { return Poll::Ready(None) };
        Pin::new(receiver).poll(context).map(|_| {
            self.0 = None;
            Some(Ok(Frame::data(line("a", 0).into())))
        })
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told() {
    let doors = Doors::new();
    for source in ["App", "doorbook", "a%20b", "%ff", &"a".repeat(65)] {
        let reply = doors.post(&format!("/api/v1/ingest/{source}"), &[], "").await;
        assert!(reply.problem(400, "invalid-parameter").starts_with("source: "), "{source}");
    }
    let reply = doors.post(&format!("{DOOR}?porject=x&limit=1"), &[], "").await;
    assert_eq!(reply.problem(400, "unknown-parameter"), "Unknown: porject, limit.");
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
    {
        let reply = doors.post(DOOR, &[("content-type", kind)], line("a", 0)).await;
        reply.problem(415, "unsupported-media-type");
    }
    for kind in ["application/x-ndjson; charset=utf-8", "Application/JSON"] {
        doors.post(DOOR, &[("content-type", kind)], "").await.json(200);
    }
    let long = "k".repeat(201);
    for key in ["", "a b", "é", &long] {
        let reply = doors.post(DOOR, &[("idempotency-key", key)], line("a", 0)).await;
        reply.problem(400, "invalid-header");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    doors.post(DOOR, &twice, line("a", 0)).await.problem(400, "invalid-header");
    let reply = doors.post(DOOR, &[("idempotency-key", &long[1..])], line("a", 0)).await;
    assert_eq!(reply.json(200)["stored"], 1);
    let reply = doors.get(OWNER, &format!("/api/v1/events?text={}", "x".repeat(17_000))).await;
    reply.problem(414, "uri-too-long");
    // Nothing of what was refused is there.
    assert_eq!(doors.read("/api/v1/events").await["total"], 1);
}

/// A shipper that sends every second must not fill the history with itself.
#[tokio::test]
async fn sending_leaves_one_record_for_many_requests() {
    let doors = Doors::new();
    for n in 0..20 {
        doors.post(DOOR, &[], line("a", n)).await.json(200);
    }
    doors.post(DOOR, &[], line("a", 0)).await.json(200);
    doors.post("/api/v1/ingest/BAD", &[], "").await.problem(400, "invalid-parameter");
    doors.get(SHIPPER, "/api/v1/events").await.problem(403, "forbidden");
    doors.get((SHIPPER.0, "guess"), "/api/v1/events").await.problem(401, "unauthenticated");
    doors.read("/api/v1/events?limit=5").await;
    let used = |operation: &str, outcome: &str, count: &str, rows: &str| {
        (format!("native.v1.{operation}"), outcome.to_owned(), count.to_owned(), rows.to_owned())
    };
    let expected = [
        used("ingest", "invalid-parameter", "1", "0"),
        used("ingest", "ok", "21", "20"),
        used("listEvents", "forbidden", "1", "0"),
        used("listEvents", "ok", "1", "5"),
        used("listEvents", "wrong basic", "1", "0"),
    ];
    assert_eq!(doors.uses(), expected);
}

/// Goal: requests that are stored together are each answered for itself, and what is wrong with one of
/// them harms no other. Method: 64 at once, of which one cannot be read, one has
/// none, one repeats what was there, two are the same under one key, and one uses it for another line.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_once_are_answered_each_for_itself() {
    let doors = Arc::new(Doors::new());
    doors.ship(&[line("u3", 3)]).await;
    let key = [("idempotency-key", "k")];
    doors.post(DOOR, &key, line("u4", 4)).await.json(200);
    let mut asked = tokio::task::JoinSet::new();
    for n in 0..64_i64 {
        let doors = Arc::clone(&doors);
        asked.spawn(async move {
            let (headers, body) = match n {
                0 => (&[][..], "no JSON".to_owned()),
                1 => (&[][..], "\n".to_owned()),
                4 | 5 => (&key[..], line(&format!("u{n}"), n)),
                6 => (&key[..], line("u4", 4)),
                _ => (&[][..], line(&format!("u{n}"), n)),
            };
            (n, doors.post(&format!("{DOOR}?lines=all"), headers, body).await)
        });
    }
    while let Some(answered) = asked.join_next().await {
        let (n, reply) = answered.expect("no panic");
        let line = |reply: &Reply| reply.json(200)["lines"][0].clone();
        match n {
            0 => assert_eq!(line(&reply)["result"], "quarantined"),
            1 => assert_eq!(reply.json(200)["lines"], Value::Array(Vec::new())),
            3 | 4 | 6 => assert_eq!(line(&reply)["result"], "duplicate"),
            5 => drop(reply.problem(409, "conflict")),
            _ => {
                // The id is of this request's event.
                let id = line(&reply)["id"].as_str().expect("an id").to_owned();
                let event = doors.read(&format!("/api/v1/events/{id}")).await;
                assert_eq!(event["event"]["user"], format!("u{n}"));
            }
        }
    }
    assert_eq!(doors.read("/api/v1/events").await["total"], 58 + 2);
    assert_eq!(doors.read("/api/v1/events?kind=quarantine").await["total"], 1);
}

/// Without a connection's number nothing but the key tells that a request came before.
#[tokio::test]
async fn a_request_is_known_by_its_key() {
    let doors = Doors::new();
    let bare = |user: &str| line(user, 0).replace(",\"connection\":1", "");
    let key = [("idempotency-key", "batch-1")];
    let first = doors.post(DOOR, &key, bare("a")).await.json(200);
    let second = doors.post(DOOR, &key, bare("a")).await.json(200);
    assert_eq!((&first["stored"], &second["duplicates"]), (&1.into(), &1.into()));
    doors.post(DOOR, &key, bare("b")).await.problem(409, "conflict");
    // Another source's keys are its own.
    let other = doors.post("/api/v1/ingest/other", &key, bare("c")).await.json(200);
    assert_eq!(other["stored"], 1);
    assert_eq!(doors.read("/api/v1/events").await["total"], 2);
}

/// The store's refusals in this API's words.
#[test]
fn each_failure_of_the_store_has_its_status() {
    use doorbook_store::{Error, ErrorKind};

    use crate::api::native::problem::Problem;
    for (kind, status, name, retry) in [
        (ErrorKind::Invalid, 400, "invalid", None),
        (ErrorKind::Missing, 404, "not-found", None),
        (ErrorKind::Exists, 409, "conflict", None),
        (ErrorKind::Busy, 503, "busy", Some(1)),
        (ErrorKind::DiskFull, 507, "disk-full", Some(60)),
        (ErrorKind::Poisoned, 503, "unavailable", None),
        (ErrorKind::Damaged, 500, "unexpected", None),
        (ErrorKind::Io, 500, "unexpected", None),
    ] {
        let problem = Problem::from(Error::new(kind, "what happened"));
        let got = (problem.status.as_u16(), problem.name, problem.retry_after_seconds);
        assert_eq!(got, (status, name, retry), "{kind:?}");
        assert!(status < 500 || !problem.detail.contains("what happened"), "{kind:?}");
    }
}

#[test]
fn the_operator_is_told_once_that_the_disk_is_full_and_once_that_it_is_not() {
    use doorbook_store::{Error, ErrorKind};

    use crate::api::native::problem::Problem;
    let server = Server::new();
    let problem = |kind| Problem::from(Error::new(kind, "what happened"));
    let (full, busy) = (problem(ErrorKind::DiskFull), problem(ErrorKind::Busy));
    let ends = [None, Some(&full), Some(&full), Some(&busy), Some(&full), None, None];
    let words = ends.map(|end| server.app.doors().disk_changed(end).is_some());
    assert_eq!(words, [false, true, false, false, false, true, false]);
}

/// Goal: what is sent of an event later is part of it, found and counted by, and a line about none is
/// put aside. Method: an event without a user, then lines about it, some of them wrong.
#[tokio::test]
async fn a_line_can_tell_more_of_an_event() {
    let doors = Doors::new();
    let nobody = line("", 0).replace("\"user\":\"\",\"database\":\"admin\",", "");
    let sent = doors.ship(&[nobody, line("other", 1)]).await;
    let id = sent["lines"][0]["id"].as_str().expect("stored").to_owned();
    let before = doors.read("/api/v1/events").await;
    let more = [
        format!(r#"{{"amends":"{id}","user":"alice","host_id":7,"raw":"audit"}}"#),
        format!(r#"{{"amends":"{id}","time":"2026-11-23T02:45:15Z"}}"#),
        r#"{"amends":"00000000-0000-8000-8000-000000000000","user":"alice"}"#.to_owned(),
        r#"{"amends":"x","user":"alice"}"#.to_owned(),
        format!(r#"{{"amends":"{id}","user":"alice","cluster":"Cluster0"}}"#),
    ];
    let answer = doors.ship(&more).await;
    let counts = ["stored", "duplicates", "quarantined"].map(|name| answer[name].as_u64());
    assert_eq!(counts, [Some(2), Some(0), Some(3)], "{answer}");
    for n in [2, 3] {
        assert_eq!(answer["lines"][n]["reason"], "amends names no event of this project");
    }
    let reason = answer["lines"][4]["reason"].as_str().expect("one");
    assert_eq!(reason, "cluster is the event's own and cannot be amended");
    // What a line is about is no event that it could be about.
    let about = answer["lines"][0]["id"].as_str().expect("stored");
    let nested = doors.ship(&[format!(r#"{{"amends":"{about}","user":"alice"}}"#)]).await;
    assert_eq!(nested["quarantined"], 1, "{nested}");

    let found = doors.read("/api/v1/events?user=alice").await;
    assert_eq!(found["total"], 1, "{found}");
    let row = &found["events"][0];
    assert_eq!((&row["id"], &row["event"]["user"]), (&id.as_str().into(), &"alice".into()));
    assert_eq!(row["event"]["attributes"]["host_id"], "7");
    let sightings = row["sightings"].as_array().expect("a list");
    let amends: Vec<_> = sightings.iter().map(|one| one["amends"].as_bool()).collect();
    assert_eq!(amends, [Some(true), Some(false)]);
    assert_eq!(sightings[1]["time"], "2026-11-23T02:45:15Z");
    assert_eq!(&events::one(&doors, &id).await, row);
    let all = doors.read("/api/v1/events").await;
    assert_eq!(all["total"], 2);
    // A page of before does not learn of it.
    let as_of = before["as_of"].as_str().expect("one");
    let then = doors.read(&format!("/api/v1/events?as_of={as_of}")).await;
    assert_eq!(then["events"], before["events"]);

    let again = doors.ship(&more[..2]).await;
    assert_eq!(again["duplicates"], 2, "{again}");
}
