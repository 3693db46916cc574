//! Goal: the events door answers what was asked, tells what it is blind to, and pages through one
//! state of the history whatever comes in meanwhile. Method: requests through the router; pages
//! compared with the one answer that has all.

use doorbook_event::record::{Coverage, Grade, Hidden};
use doorbook_event::{Action, Target};
use doorbook_store::Entry;

use super::*;

fn users(answer: &Value) -> Vec<&str> {
    let rows = answer["events"].as_array().expect("a list");
    rows.iter().map(|row| row["event"]["user"].as_str().unwrap_or("?")).collect()
}

#[tokio::test]
async fn an_answer_has_this_form() {
    let doors = Doors::new();
    doors.server.watch(NOW);
    let extra = ",\"port\":7,\"application\":\"api\",\"task_id\":\"t-1\",\"classes\":[\"retry\"],\"k\":\"v\"}";
    doors.ship(&[line("al\\\"ice", 0).replace('}', extra)]).await;
    let reply = doors.get(OWNER, "/api/v1/events").await;
    let answer = reply.json(200);
    let (id, as_of) = (answer["events"][0]["id"].clone(), answer["as_of"].clone());
    let expected = format!(
        "{{\"events\":[{{\"id\":{id},\"source\":\"app\",\"ingest_time\":\"2023-04-26T03:33:20Z\",\
         \"event\":{{\"time\":\"2023-04-26T03:33:20Z\",\"cluster\":\"Cluster0\",\
         \"host\":\"{NODE}:27017\",\"action\":\"authenticate\",\"outcome\":\"success\",\
         \"user\":\"al\\\"ice\",\"database\":\"admin\",\"mechanism\":\"SCRAM-SHA-256\",\
         \"address\":\"203.0.113.9\",\"port\":7,\"connection\":1,\"application\":\"api\",\"classes\":[\"retry\"],\
         \"task_id\":\"t-1\",\"attributes\":{{\"k\":\"v\"}}}}}}],\"total\":1,\"as_of\":{as_of},\
         \"coverage\":{{\"state\":\"complete\",\"through\":\"2023-04-26T03:33:20Z\",\"gaps\":[],\"total\":0}},\"cursor\":null}}"
    );
    assert_eq!(reply.body(), expected);
    assert_eq!(reply.headers["content-type"], ["application/json"]);

    // Nothing yet, and nothing in the state before.
    let empty = Doors::new();
    let answer = empty.read("/api/v1/events").await;
    assert_eq!((&answer["total"], &answer["as_of"]), (&0.into(), &"none".into()));
    empty.ship(&[line("a", 0)]).await;
    assert_eq!(empty.read("/api/v1/events?as_of=none").await["total"], 0);
}

#[tokio::test]
async fn every_parameter_narrows() {
    let doors = Doors::new();
    let lines = [
        line("alice", -60),
        line("bob", 0).replace("success", "failure"),
        line("bob", 5).replace("\"admin\"", "\"shop\"").replace("27017", "27018"),
        line("carol", 10).replace("203.0.113.9", "2001:db8::7").replace("SCRAM-SHA-256", "PLAIN"),
        line("dora", 20)
            .replace("\"address\":\"203.0.113.9\"", "\"unix_socket\":true,\"application\":\"cron\",\"task_id\":\"t\",\"classes\":[\"monitor\"],\"raw\":\"some line\""),
        line("eve", 30)
            .replace(&format!("{NODE}:27017"), "[2001:db8::5]:27017")
            .replace("Cluster0", "Other")
            .replace("\"user\":\"eve\",\"database\":\"admin\",", "\"action\":\"authorize\","),
    ];
    assert_eq!(doors.ship(&lines).await["stored"], 6);
    let other =
        doors.post("/api/v1/ingest/other", &[], line("frank", 40).replace("success", "unknown"));
    other.await.json(200);
    let all = ["frank", "?", "dora", "carol", "bob", "bob", "alice"];
    for (query, expected) in [
        ("", &all[..]),
        ("limit=2", &all[..2]),
        ("limit=0", &[]),
        ("cluster=Cluster0", &["frank", "dora", "carol", "bob", "bob", "alice"]),
        ("cluster=Other", &["?"]),
        ("cluster=Other&cluster=Cluster0", &all),
        (&format!("host={NODE}:27018"), &["bob"]),
        (&format!("host={NODE}:27018&host=[2001:DB8::5]"), &["?", "bob"]),
        (
            &format!("host={NODE}&cluster=Cluster0"),
            &["frank", "dora", "carol", "bob", "bob", "alice"],
        ),
        ("from=2023-04-26T03:33:25Z", &all[..5]),
        ("to=2023-04-26T03:33:25Z", &all[4..]),
        ("to=2023-04-26T05:33:25%2B02:00", &all[4..]),
        ("action=authorize", &["?"]),
        ("outcome=failure&outcome=unknown", &["frank", "bob"]),
        ("user=bob", &["bob", "bob"]),
        ("user=bob&user=alice&database=admin", &["bob", "alice"]),
        ("principal=dora&user=alice", &["dora", "alice"]),
        ("unauthenticated=true", &["?"]),
        ("address=2001:db8::/32", &["carol"]),
        ("address=unix&address=2001:db8::7", &["dora", "carol"]),
        ("mechanism=PLAIN", &["carol"]),
        ("application=cron", &["dora"]),
        ("task_id=t", &["dora"]),
        ("has_task=true", &["dora"]),
        ("has_task=false&limit=1", &["frank"]),
        ("source=other", &["frank"]),
        ("class=monitor&class=retry", &["dora"]),
        ("not_class=monitor&limit=3", &["frank", "?", "carol"]),
        ("text=me+li", &["dora"]),
        ("kind=event&limit=1", &["frank"]),
        ("user=nobody", &[]),
        ("database=shop", &["bob"]),
        ("q=", &all),
        ("q=result:failed+result:unknown", &["frank", "bob"]),
        ("q=user:*o*&limit=2", &["dora", "carol"]),
        ("q=user:bob&user=alice", &["bob", "bob", "alice"]),
        ("q=-user:*o*+-user:%22%22", &["frank", "alice"]),
        ("q=-ip:203.0.113.0/24", &["dora", "carol"]),
        ("q=-class:monitor+-source:other+-result:failed", &["?", "carol", "bob", "alice"]),
        ("q=-cluster:Cluster0", &["?"]),
        ("q=host:*:27018", &["bob"]),
        ("q=cluster:Clus*+-host:*:27018", &["frank", "dora", "carol", "bob", "alice"]),
        (&format!("q=-host:{NODE}:27017"), &["?", "bob"]),
        ("q=-task:%22%22", &["dora"]),
        ("q=app:cr*", &["dora"]),
        (
            "q=-text:line+connection:1+-connection:2",
            &["frank", "?", "carol", "bob", "bob", "alice"],
        ),
        ("q=from:2023-04-26T05:33:25+to:2023-04-26&zone=Europe/Berlin", &all[..5]),
        ("q=since:30s", &all[..6]),
    ] {
        let answer = doors.read(&format!("/api/v1/events?{query}")).await;
        assert_eq!(users(&answer), expected, "{query}");
        if !query.contains("limit") {
            assert_eq!(answer["total"], expected.len(), "{query}");
        }
    }
    for (query, detail) in [
        ("cluster=Nope", "cluster: the project has no cluster Nope."),
        ("host=nope", "host: the project has no host nope."),
        ("cluster=Other&host=nope", "host: the project has no host nope."),
        (
            &format!("cluster=Other&host={NODE}"),
            &format!("host: these clusters have no host {NODE}."),
        ),
        ("from=yesterday", "from: a time such as"),
        ("from=2023-04-26T03:33:25Z&to=2023-04-26T03:33:24Z", "to: before from."),
        ("action=x", "action: authenticate or authorize."),
        ("outcome=x", "outcome: success, failure or unknown."),
        ("address=10.0.0.0/33", "address: an address"),
        ("has_task=yes", "has_task: true or false."),
        ("class=x", "class: system, monitor"),
        ("kind=x", "kind: event or quarantine."),
        ("limit=20001", "limit: a number from 0 to 20000."),
        ("limit=1&limit=2", "limit: given more than once."),
        ("as_of=x", "as_of: the as_of of an answer."),
        ("cursor=x", "cursor: the cursor of an answer."),
        ("user=%ff", "user: not UTF-8."),
    ] {
        let reply = doors.get(OWNER, &format!("/api/v1/events?{query}")).await;
        let got = reply.problem(400, "invalid-parameter");
        assert!(got.starts_with(detail), "{query}: {got}");
    }
    for (query, column, detail) in [
        ("q=user:bob+result:maybe", 17, "q, column 17: success, failure or unknown."),
        ("q=user:%C3%A9+hots:x", 8, "q, column 8: there is no term \"hots\"; there is result,"),
        ("q=host:nope*", 6, "q, column 6: the project has no host like nope*."),
        ("user=bob&q=bob", 1, "q, column 1: a term is a key, a colon and a value"),
    ] {
        let problem = doors.get(OWNER, &format!("/api/v1/events?{query}")).await.json(400);
        assert_eq!(problem["type"], "urn:doorbook:problem:invalid-filter", "{problem}");
        assert_eq!(problem["column"], column, "{problem}");
        let got = problem["detail"].as_str().expect("a text");
        assert!(got.starts_with(detail), "{query}: {got}");
        // What is not there is told from what cannot be read.
        assert_eq!(problem["missing"] == true, got.contains("has no host"), "{query}: {problem}");
    }
    doors.get(OWNER, "/api/v1/events?zone=Mars").await.problem(400, "invalid-parameter");
    let reply = doors.get(OWNER, "/api/v1/events?usr=bob&Limit=1").await;
    assert_eq!(reply.problem(400, "unknown-parameter"), "Unknown: usr, Limit.");
}

/// Ten pages while events come in, older ones and newer ones: together they are the first answer.
#[tokio::test]
async fn pages_are_of_one_state() {
    let doors = Doors::new();
    // Many at one instant: the order among them is the cursor's to keep.
    let lines: Vec<String> = (0..95).map(|n| line(&format!("u{n}"), n / 7)).collect();
    doors.ship(&lines).await;
    let question = "cluster=Cluster0&outcome=success&text=";
    let whole = doors.read(&format!("/api/v1/events?{question}&limit=1000")).await;
    assert_eq!(whole["cursor"], Value::Null);

    let mut page = doors.read(&format!("/api/v1/events?{question}&limit=10")).await;
    let mut seen = page["events"].as_array().expect("a list").clone();
    let mut n = 0;
    while let Some(cursor) = page["cursor"].as_str().map(str::to_owned) {
        n += 1;
        doors.ship(&[line("late", -n), line("new", 100 + n)]).await;
        page = doors.read(&format!("/api/v1/events?cursor={cursor}")).await;
        assert_eq!((&page["total"], &page["as_of"]), (&whole["total"], &whole["as_of"]));
        seen.extend(page["events"].as_array().expect("a list").clone());
    }
    assert_eq!(Value::from(seen), whole["events"]);
    // The state can also be asked for by itself.
    let as_of = whole["as_of"].as_str().expect("a text");
    let again = doors.read(&format!("/api/v1/events?{question}&limit=1000&as_of={as_of}")).await;
    assert_eq!(again["events"], whole["events"]);
    assert_ne!(doors.read("/api/v1/events").await["total"], whole["total"]);
    // A page's size may change on the way.
    let page = doors.read(&format!("/api/v1/events?{question}&limit=10&as_of={as_of}")).await;
    let cursor = page["cursor"].as_str().expect("a cursor");
    let rest = doors.read(&format!("/api/v1/events?limit=1000&cursor={cursor}")).await;
    assert_eq!(rest["events"].as_array().map(Vec::len), Some(85));
    assert_eq!(rest["events"][0], whole["events"][10]);
}

#[tokio::test]
async fn a_cursor_is_ours_and_of_its_question() {
    let doors = Doors::new();
    doors.ship(&[line("a", 0), line("b", 1), line("c", 2)]).await;
    let page = doors.read("/api/v1/events?limit=1").await;
    let cursor = page["cursor"].as_str().expect("a cursor");
    let reply = doors.get(OWNER, &format!("/api/v1/events?cursor={cursor}&user=a")).await;
    reply.problem(400, "unknown-parameter");
    let reply = doors.get(OWNER, &format!("/api/v1/events?cursor={cursor}&project={GROUP}")).await;
    reply.problem(400, "unknown-parameter");
    for at in 0..cursor.len() {
        let mut bytes = cursor.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        let reply = doors.get(OWNER, &format!("/api/v1/events?cursor={changed}")).await;
        reply.problem(400, "invalid-parameter");
    }
    // Another's cursor is of another's project.
    let reply = doors.get(STRANGER, &format!("/api/v1/events?cursor={cursor}")).await;
    reply.problem(404, "not-found");
    doors.get(SHIPPER, &format!("/api/v1/events?cursor={cursor}")).await.problem(403, "forbidden");
}

/// The state of another project's history would show an empty one.
#[tokio::test]
async fn an_as_of_is_of_its_project() {
    let doors = Doors::new();
    doors.ship(&[line("a", 0)]).await;
    let as_of = doors.read("/api/v1/events").await["as_of"].clone();
    let as_of = as_of.as_str().expect("a text");
    for path in ["events?", "events/top?by=host&", "events/histogram?width=1h&"] {
        let target = format!("/api/v1/{path}as_of={as_of}");
        assert_eq!(doors.read(&target).await["total"], 1);
        let refused = doors.get(STRANGER, &target).await.problem(400, "invalid-parameter");
        assert_eq!(refused, "as_of: the as_of of an answer.");
    }
}

/// Goal: what an answer takes of the server's memory is bounded, whatever senders sent; and what does
/// not fit comes with the next page. Method: more bytes of raw records than a page holds.
#[tokio::test]
async fn a_page_of_large_events_ends_early() {
    let doors = Doors::new();
    let raw = "x".repeat(60_000);
    let line = |n: i64| line(&format!("u{n}"), n).replace('}', &format!(",\"raw\":\"{raw}\"}}"));
    for n in 0..3 {
        let lines: Vec<String> = (0..250).map(|m| line(250 * n + m)).collect();
        assert_eq!(doors.ship(&lines).await["stored"], 250);
    }
    let mut page = doors.read("/api/v1/events?limit=20000").await;
    let mut seen = Vec::new();
    loop {
        let rows = page["events"].as_array().expect("a list");
        let size_bytes = serde_json::to_vec(rows).expect("JSON").len();
        assert!(size_bytes < 33 << 20, "{size_bytes}");
        seen.extend(users(&page).into_iter().map(str::to_owned));
        assert_eq!(page["total"], 750);
        let Some(cursor) = page["cursor"].as_str() else { break };
        page = doors.read(&format!("/api/v1/events?cursor={cursor}")).await;
    }
    let expected: Vec<String> = (0..750).rev().map(|n| format!("u{n}")).collect();
    assert_eq!(seen, expected);
}

/// Quarantined lines are paged, too; their place in the order is when they were received.
#[tokio::test]
async fn quarantine_is_paged() {
    let doors = Doors::new();
    let lines: Vec<String> = (0..5).map(|n| format!("bad {n}")).collect();
    doors.ship(&lines).await;
    let whole = doors.read("/api/v1/events?kind=quarantine").await;
    let mut page = doors.read("/api/v1/events?kind=quarantine&limit=2").await;
    let mut seen = page["events"].as_array().expect("a list").clone();
    while let Some(cursor) = page["cursor"].as_str() {
        page = doors.read(&format!("/api/v1/events?cursor={cursor}")).await;
        seen.extend(page["events"].as_array().expect("a list").clone());
    }
    assert_eq!((seen.len(), Value::from(seen)), (5, whole["events"].clone()));
}

#[tokio::test]
async fn an_answer_says_what_it_cannot_know() {
    let doors = Doors::new();
    let gap = |host: &str, from: i64, to: Option<i64>, hidden| {
        Record::Coverage(Coverage {
            target: Target::Host { cluster: "Cluster0".into(), host: host.into() },
            actions: vec![Action::Authenticate],
            hidden,
            cause: "the \"quiet\" switch".into(),
            actor: None,
            from: NOW.plus_seconds(from),
            to: to.map(|to| NOW.plus_seconds(to)),
            last_seen: NOW.plus_seconds(to.unwrap_or(from)),
            source: None,
            grade: Grade::Blind,
            missing: None,
        })
    };
    let one = format!("{NODE}:27017");
    let records = vec![
        gap(&one, -100, Some(-50), Hidden::All),
        gap(&one, -20, None, Hidden::Successes),
        gap(&format!("{NODE}:27018"), -10, Some(10), Hidden::All),
    ];
    let entry = Entry { scope: Scope::Project(group(GROUP)), source: "test".into(), records };
    let everything = doors.read("/api/v1/events").await["coverage"].clone();
    assert_eq!((&everything["state"], &everything["through"]), (&"gaps".into(), &Value::Null));
    assert_eq!(everything["gaps"][0]["cause"], "no source");
    assert_eq!(everything["gaps"][0]["from"], Value::Null);
    doors.server.watch(NOW.plus_seconds(3600));
    doors.server.app.store().commit(vec![entry]).expect("commits");
    for (query, expected) in [
        ("", &["-10", "-20", "-100"][..]),
        ("cluster=Other", &[]),
        ("action=authorize", &[]),
        ("outcome=failure", &["-10", "-100"]),
        ("outcome=failure&outcome=success", &["-10", "-20", "-100"]),
        (&format!("host={one}"), &["-20", "-100"]),
        ("to=2023-04-26T03:32:30Z", &["-100"]),
        ("from=2023-04-26T03:33:31Z", &["-20"]),
        ("kind=quarantine", &["-10", "-20", "-100"]),
    ] {
        for path in ["events", "events/top?by=principal", "events/histogram?width=1h"] {
            if path != "events" && query.contains("kind") {
                continue;
            }
            let mark = if path.contains('?') { '&' } else { '?' };
            let answer = doors.read(&format!("/api/v1/{path}{mark}{query}")).await;
            let gaps = answer["coverage"]["gaps"].as_array().expect("a list");
            assert_eq!(answer["coverage"]["total"], gaps.len());
            let begins: Vec<String> = gaps
                .iter()
                .map(|gap| {
                    let from: doorbook_event::Timestamp =
                        gap["from"].as_str().expect("one").parse().expect("a time");
                    ((from.micros() - NOW.micros()) / 1_000_000).to_string()
                })
                .collect();
            assert_eq!(begins, expected, "{path} {query}");
        }
    }
    let answer = doors.read("/api/v1/events?from=2023-04-26T03:33:31Z").await;
    let expected = serde_json::json!({
        "cluster": "Cluster0", "host": one, "actions": ["authenticate"], "hidden": "successes",
        "grade": "blind",
        "from": "2023-04-26T03:33:00Z", "to": null, "last_seen": "2023-04-26T03:33:00Z",
        "cause": "the \"quiet\" switch",
    });
    assert_eq!(answer["coverage"]["gaps"][0], expected);
}

#[tokio::test]
async fn counts_are_of_the_same_rows() {
    let doors = Doors::new();
    let lines = [
        line("a", 0),
        line("a", 10).replace("success", "failure"),
        line("b", 3600),
        line("c", 3601).replace("\"user\":\"c\",\"database\":\"admin\",", ""),
    ];
    doors.ship(&lines).await;
    let bars = doors.read("/api/v1/events/histogram?width=1h").await;
    let expected = serde_json::json!([
        {"from": "2023-04-26T03:00:00Z", "success": 1, "failure": 1, "unknown": 0},
        {"from": "2023-04-26T04:00:00Z", "success": 2, "failure": 0, "unknown": 0},
    ]);
    assert_eq!((&bars["bars"], &bars["total"]), (&expected, &4.into()));
    let few = doors.read("/api/v1/events/histogram?width=1d&outcome=failure").await;
    assert_eq!(few["bars"].as_array().map(Vec::len), Some(1));

    let top = doors.read("/api/v1/events/top?by=principal").await;
    let count = |answer: &Value, value: Value| {
        let values = answer["values"].as_array().expect("a list");
        values.iter().find(|row| row["value"] == value).map(|row| row["count"].clone())
    };
    assert_eq!(top["values"][0], serde_json::json!({"value": "a", "count": 2}));
    assert_eq!(
        (count(&top, "b".into()), count(&top, Value::Null)),
        (Some(1.into()), Some(1.into()))
    );
    assert_eq!((&top["distinct"], &top["total"]), (&2.into(), &4.into()));
    let top = doors.read("/api/v1/events/top?by=outcome&limit=1&user=a&user=b").await;
    assert_eq!((&top["values"].as_array().map(Vec::len), &top["total"]), (&Some(1), &3.into()));
    for (target, status) in [
        ("histogram", "invalid-parameter"),
        ("histogram?width=0s", "invalid-parameter"),
        ("histogram?width=1w", "invalid-parameter"),
        ("histogram?width=h", "invalid-parameter"),
        ("histogram?width=1h&limit=1", "unknown-parameter"),
        (
            "histogram?width=1s&from=2026-11-23T00:00:00Z&to=2026-11-23T02:46:41Z",
            "invalid-parameter",
        ),
        ("top", "invalid-parameter"),
        ("top?by=colour", "invalid-parameter"),
        ("top?by=host&limit=0", "invalid-parameter"),
        ("top?by=host&cursor=x", "invalid-parameter"),
    ] {
        doors.get(OWNER, &format!("/api/v1/events/{target}")).await.problem(400, status);
    }
    // The state of another answer, and a cursor, which is of pages only.
    let as_of = bars["as_of"].as_str().expect("a text");
    doors.ship(&[line("z", 0)]).await;
    let same = doors.read(&format!("/api/v1/events/histogram?width=1h&as_of={as_of}")).await;
    assert_eq!(same["total"], 4);
    let page = doors.read("/api/v1/events?limit=1").await;
    let cursor = page["cursor"].as_str().expect("a cursor");
    let reply = doors.get(OWNER, &format!("/api/v1/events/top?by=host&cursor={cursor}")).await;
    reply.problem(400, "unknown-parameter");
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_take_it() {
    let doors = Doors::new();
    doors.ship(&(0..100).map(|n| line("a", n)).collect::<Vec<_>>()).await;
    let headers = [("authorization", &*basic(OWNER)), ("accept-encoding", "gzip")];
    let packed = doors.send(request("GET", "/api/v1/events", &headers, "")).await;
    assert_eq!(packed.headers["content-encoding"], ["gzip"]);
    let mut unpacked = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed.bytes[..]);
    std::io::Read::read_to_string(&mut decoder, &mut unpacked).expect("gzip");
    let plain = doors.get(OWNER, "/api/v1/events").await;
    assert_eq!(unpacked, plain.body());
}

/// An event without what its connection did besides.
pub async fn one(doors: &Doors, id: &str) -> Value {
    let mut event = doors.read(&format!("/api/v1/events/{id}")).await;
    event.as_object_mut().expect("an object").remove("neighbours");
    event
}

/// An id leads to its event, and neither to another project's nor to what was made up.
#[tokio::test]
async fn an_event_is_found_by_its_id() {
    let doors = Doors::new();
    doors.ship(&[line("a", 0), line("b", 1), "bad".into()]).await;
    for list in ["events", "events?kind=quarantine"] {
        let answer = doors.read(&format!("/api/v1/{list}")).await;
        for row in answer["events"].as_array().expect("a list") {
            let id = row["id"].as_str().expect("an id");
            for id in [id, &id.to_uppercase()] {
                assert_eq!(one(&doors, id).await, *row);
            }
            doors.get(STRANGER, &format!("/api/v1/events/{id}")).await.problem(404, "not-found");
            let other = format!("/api/v1/events/{}0", &id[..35]);
            if !other.ends_with(id) {
                doors.get(OWNER, &other).await.problem(404, "not-found");
            }
            let reply = doors.get(OWNER, &format!("/api/v1/events/{id}?limit=1")).await;
            reply.problem(400, "unknown-parameter");
        }
        // A state is no event.
        let as_of = answer["as_of"].as_str().expect("a text");
        doors.get(OWNER, &format!("/api/v1/events/{as_of}")).await.problem(404, "not-found");
    }
    doors.get(OWNER, "/api/v1/events/1").await.problem(404, "not-found");
}
