//! Reviews and the report on accounts.

use doorbook_event::Action;
use serde_json::json;

use super::*;
use crate::admin::reviews::ReviewRequest;
use crate::admin::{Reply as Done, Request as Asked};
use crate::api::native::{PREFIX, answers};

/// A key that may read reviews and not sign them.
const MONITOR: KeyPair = ("monitor0", "55555555-2222-3333-4444-555555555555");

/// A review `failures` of failed logins, of which there are five, beside three others.
async fn scene() -> Doors {
    let doors = Doors::new();
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
    make(&doors, "failures", "result:failed");
    ship(&doors, 0..8).await;
    doors
}

/// A review of what comes from now on.
pub fn make(doors: &Doors, name: &str, filter: &str) {
    let create = ReviewRequest::Create {
        name: name.to_owned(),
        project: Some(GROUP.to_owned()),
        namespace: None,
        filter: filter.to_owned(),
        zone: "UTC".to_owned(),
        due: "10:00".to_owned(),
        from_start: false,
    };
    let done = doors.server.app.admin().execute(&operator(), Asked::Review(create));
    assert!(matches!(done, Ok(Done::Review(_))), "{done:?}");
}

/// Logins, of which the first five of eight fail.
async fn ship(doors: &Doors, numbers: std::ops::Range<i64>) {
    let lines = numbers.map(|n| {
        let line = line(&format!("user-{n}"), n);
        if n % 8 < 5 { line.replace("\"success\"", "\"failure\"") } else { line }
    });
    doors.ship(&lines.collect::<Vec<_>>()).await;
}

async fn post(doors: &Doors, key: KeyPair, path: &str, body: &Value) -> Reply {
    let authorization = basic(key);
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    doors.send(request("POST", &format!("{PREFIX}{path}"), &headers, body.to_string())).await
}

async fn show(doors: &Doors, parameters: &str) -> answers::Round {
    let answer = doors.read(&format!("{PREFIX}reviews/failures{parameters}")).await;
    serde_json::from_value(answer).expect("a round")
}

fn ids(round: &answers::Round) -> Vec<String> {
    round.events.iter().map(|row| row.id.clone()).collect()
}

/// Goal: a review is done over the API, of what was seen and nothing else, and each act is in the history with the
/// key that did it. Method: the way through a round, while events come in; what does not fit is refused and
/// changes nothing.
#[tokio::test]
async fn a_round_is_seen_marked_and_signed() {
    let doors = scene().await;
    // Pages are of one state, whatever comes in.
    let first = show(&doors, "?limit=2").await;
    assert_eq!(
        (first.total, first.events.len(), first.sign_offs.as_deref()),
        (5, 2, Some(&[][..]))
    );
    ship(&doors, 8..16).await;
    let mut seen = ids(&first);
    let mut cursor = first.cursor.clone();
    while let Some(at) = cursor {
        let page = show(&doors, &format!("?cursor={at}")).await;
        assert_eq!((page.total, &page.token, page.follow_ups.is_none()), (5, &first.token, true));
        seen.extend(ids(&page));
        cursor = page.cursor;
    }
    let all = show(&doors, &format!("?round={}", first.token)).await;
    assert_eq!((seen.len(), ids(&all)), (5, seen.clone()));
    assert_eq!(show(&doors, "?limit=0").await.total, 10, "those that came meanwhile are new, too");

    let marks = "reviews/failures/marks";
    let done = post(&doors, OWNER, marks, &json!({"rows": seen[..2], "kind": "expected"})).await;
    assert_eq!(done.json(200), json!({"rows": 2}));
    let odd = json!({"rows": [seen[4]], "kind": "follow_up", "note": " who is that? "});
    post(&doors, OWNER, marks, &odd).await.json(200);
    let round = show(&doors, &format!("?round={}", first.token)).await;
    assert_eq!((round.marked.expected, round.marked.follow_up), (2, 1));
    let of_odd = round.marks.iter().find(|mark| mark.id == seen[4]).expect("is marked");
    assert_eq!((of_odd.note.as_deref(), of_odd.round), (Some("who is that?"), 1));
    assert_eq!(of_odd.by, format!("key {}", OWNER.0));
    assert_eq!(round.follow_ups, Some(vec![of_odd.clone()]));
    for (path, body, status, name) in [
        (marks, json!({"rows": ["x"], "kind": "expected"}), 404, "not-found"),
        (marks, json!({"rows": [], "kind": "expected"}), 400, "invalid"),
        (marks, json!({"rows": [seen[0]], "kind": "follow_up"}), 400, "invalid"),
        (marks, json!({"rows": [seen[0]], "kind": "odd"}), 400, "invalid-body"),
        (marks, json!({"rows": [seen[0]], "kind": "expected", "by": "me"}), 400, "invalid-body"),
        ("reviews/failures/closings", json!({"rows": [seen[0]], "note": "x"}), 404, "not-found"),
        (
            "reviews/failures/sign-offs",
            json!({"round": "x", "decision": "accepted"}),
            400,
            "invalid",
        ),
        ("reviews/nothing/marks", json!({"rows": [seen[0]], "kind": "expected"}), 404, "not-found"),
    ] {
        post(&doors, OWNER, path, &body).await.problem(status, name);
    }

    let sign = "reviews/failures/sign-offs";
    let accepted = json!({"round": first.token, "decision": "accepted"});
    post(&doors, OWNER, sign, &accepted).await.problem(400, "invalid");
    let followed = json!({"round": first.token, "decision": "follow_up", "note": "asked ann"});
    let signed = post(&doors, OWNER, sign, &followed).await.json(200);
    assert_eq!((&signed["round"], &signed["count"]), (&json!(1), &json!(5)));
    // Asked again, since the answer was lost: the same, and not another round.
    assert_eq!(post(&doors, OWNER, sign, &followed).await.json(200), signed);
    post(&doors, OWNER, sign, &accepted).await.problem(409, "conflict");
    let stale = format!("{PREFIX}reviews/failures?round={}", first.token);
    doors.get(OWNER, &stale).await.problem(409, "conflict");
    let next = show(&doors, "").await;
    assert_eq!((next.review.round, next.total), (2, 5));
    let sign_offs = next.sign_offs.clone().expect("beside the first page");
    assert_eq!(serde_json::to_value(&sign_offs).expect("plain data"), json!([signed]));
    assert!(!ids(&next).iter().any(|id| seen.contains(id)), "nothing is in two rounds");
    let checked = doors.read(&format!("{PREFIX}reviews/failures/check?round=1")).await;
    assert_eq!((&checked["same"], &checked["sign_off"]), (&json!(true), &signed));

    let close = json!({"rows": [seen[4]], "note": "it was ann"});
    post(&doors, OWNER, "reviews/failures/closings", &close).await.json(200);
    assert_eq!(show(&doors, "?limit=1").await.follow_ups, Some(vec![]));

    // Who did what is in the history: each act once, by the key; and what was refused.
    let page = doors.server.app.store().select(&Filter::all(Scope::System, 1000)).expect("reads");
    let by_key = |action| {
        let done = page.rows.iter().filter(|row| match &row.record {
            Record::Own(access) => {
                access.action == action
                    && access.outcome.word() == "success"
                    && access.principal.to_string() == format!("key {}", OWNER.0)
            }
            _ => false,
        });
        done.count()
    };
    assert_eq!((by_key(Action::Review), by_key(Action::ReviewSignOff)), (4, 1));
    let uses = doors.uses();
    let of = |operation: &str| -> Vec<&str> {
        let uses = uses.iter().filter(|(known, ..)| known == operation);
        uses.map(|(_, outcome, ..)| outcome.as_str()).collect()
    };
    assert_eq!(of("native.v1.signReview"), ["conflict", "invalid"]);
    assert!(of("native.v1.getReview").contains(&"ok"));
}

/// Each operation of a review x each role: its owner, who may read only, who may not even that, who is of another
/// project. What may not be known of looks like what is not there.
#[tokio::test]
async fn a_role_may_what_it_is_for() {
    let doors = scene().await;
    let round = show(&doors, "").await;
    let row = &round.events[0].id;
    let marking = json!({"rows": [row], "kind": "follow_up", "note": "odd"});
    let closing = json!({"rows": [row], "note": "not odd"});
    let signing = json!({"round": round.token, "decision": "accepted"});
    let operations = [
        ("POST", "reviews", json!({"name": "more", "filter": "result:failed", "due": "mon 10:00"})),
        ("PATCH", "reviews/more", json!({"due": "11:00"})),
        ("DELETE", "reviews/more", json!({})),
        ("GET", "reviews", json!({})),
        ("GET", "reviews/failures", json!({})),
        ("POST", "reviews/failures/marks", marking),
        ("POST", "reviews/failures/closings", closing),
        ("POST", "reviews/failures/sign-offs", signing),
        ("GET", "reviews/failures/check?round=1", json!({})),
    ];
    let ask = async |key: KeyPair, method: &str, path: &str, body: &Value| {
        let authorization = basic(key);
        let headers = [("authorization", &*authorization), ("content-type", "application/json")];
        doors.send(request(method, &format!("{PREFIX}{path}"), &headers, body.to_string())).await
    };
    for (method, path, body) in &operations {
        let named = format!("{path}{}project={GROUP}", if path.contains('?') { '&' } else { '?' });
        for path in [path, &*named] {
            for key in [READER, SHIPPER] {
                ask(key, method, path, body).await.problem(403, "forbidden");
            }
            if path.starts_with("reviews/") || path.contains("project") {
                ask(STRANGER, method, path, body).await.problem(404, "not-found");
                let absent = path.replace("failures", "nothing");
                ask(STRANGER, method, &absent, body).await.problem(404, "not-found");
            }
        }
        if *method != "GET" {
            ask(MONITOR, method, path, body).await.problem(403, "forbidden");
            let reply = ask(OWNER, "PUT", path, body).await;
            reply.problem(405, "method-not-allowed");
            assert!(reply.headers["allow"][0].contains(method), "{:?}", reply.headers);
        } else if !path.contains("check") {
            ask(MONITOR, method, path, body).await.json(200);
        }
        ask(OWNER, method, path, body).await.json(200);
    }
    // What is made, changed and ended is what the command makes of it, and each is an event by whoever did it.
    let make = json!({"name": "more", "filter": "rslt:x", "due": "10:00"});
    ask(OWNER, "POST", "reviews", &make).await.problem(400, "invalid");
    let make = json!({"name": "more", "due": "10:00", "all": true});
    let made = ask(OWNER, "POST", "reviews", &make).await.json(200);
    assert_eq!(
        (&made["filter"], &made["version"], &made["zone"]),
        (&json!(""), &json!(1), &json!("UTC"))
    );
    ask(OWNER, "POST", "reviews", &make).await.problem(409, "conflict");
    let changed = ask(OWNER, "PATCH", "reviews/more", &json!({"filter": "user:a"})).await.json(200);
    assert_eq!((&changed["version"], &changed["due"]), (&json!(2), &json!("10:00")));
    ask(OWNER, "DELETE", "reviews/more", &json!({})).await.json(200);
    ask(OWNER, "DELETE", "reviews/more", &json!({})).await.problem(404, "not-found");
    // Whose review it is says the review: another project is not its.
    let of_other = format!("reviews/failures?project={SECRET_GROUP}");
    ask(OWNER, "GET", &of_other, &json!({})).await.problem(404, "not-found");
    let listed = ask(STRANGER, "GET", "reviews", &json!({})).await.json(200);
    assert_eq!(listed["reviews"], json!([]), "of another project");
    // A form of a page elsewhere cannot say what kind of body this is.
    let authorization = basic(OWNER);
    let headers = [("authorization", &*authorization), ("content-type", "text/plain")];
    let sent = request("POST", &format!("{PREFIX}reviews/failures/marks"), &headers, "{}");
    doors.send(sent).await.problem(415, "unsupported-media-type");
    let large = json!({"rows": ["x".repeat(200_000)], "kind": "expected"});
    post(&doors, OWNER, "reviews/failures/marks", &large).await.problem(413, "too-large");
}

/// Goal: no cursor leads elsewhere. Method: those of another operation, of another review, and a round that is
/// another review's.
#[tokio::test]
async fn rounds_and_cursors_are_of_one_review() {
    let doors = scene().await;
    make(&doors, "others", "result:success");
    ship(&doors, 16..24).await;
    let round = show(&doors, "?limit=1").await;
    let cursor = round.cursor.expect("there are more");
    let of_events = doors.read("/api/v1/events?limit=1&q=result:failed").await;
    let of_events = of_events["cursor"].as_str().expect("a cursor");
    for path in [
        format!("reviews/others?cursor={cursor}"),
        format!("reviews/others?round={}", round.token),
        format!("reviews/failures?cursor={of_events}"),
        "reviews/failures?round=x".to_owned(),
    ] {
        doors.get(OWNER, &format!("{PREFIX}{path}")).await.problem(400, "invalid");
    }
    for path in [
        format!("reviews/failures?cursor={cursor}&round={}", round.token),
        "reviews?q=x".to_owned(),
    ] {
        doors.get(OWNER, &format!("{PREFIX}{path}")).await.problem(400, "unknown-parameter");
    }
}

/// Goal: the report is that of the command, of a roster that is sent. Method: an account of each kind; a roster
/// that cannot be read, one that is too long, and who may not.
#[tokio::test]
async fn accounts_are_reported_by_a_roster_that_is_sent() {
    let doors = scene().await;
    let shell =
        line("svc", 30).replace("\"connection\"", "\"application\":\"our-tool 7\",\"connection\"");
    doors.ship(&[shell]).await;
    let ask = async |key: KeyPair, parameters: &str, roster: &str| {
        let authorization = basic(key);
        let headers = [("authorization", &*authorization), ("content-type", "text/csv")];
        let target = format!("{PREFIX}reports/accounts{parameters}");
        doors.send(request("POST", &target, &headers, roster.to_owned())).await
    };
    let roster = "name,kind\nuser-7,person\nsvc,service\nnobody,person\n";
    let report = ask(OWNER, "?interactive=our-tool*&q=-class:system", roster).await.json(200);
    let found = |name: &str| -> Value {
        let accounts = report["accounts"].as_array().expect("a list");
        let account = accounts.iter().find(|account| account["name"] == name);
        account.map_or(Value::Null, |account| account["findings"].clone())
    };
    assert_eq!(found("svc"), json!(["service_used_by_hand"]));
    assert_eq!(found("nobody"), json!(["never_seen"]));
    assert_eq!(found("user-7"), json!([]));
    assert_eq!(found("user-0"), json!(["tried_not_in_roster"]));
    assert_eq!((&report["filter"], &report["roster"]), (&json!("-class:system"), &json!(3)));
    ask(OWNER, "", "kind\nperson\n").await.problem(400, "invalid");
    ask(OWNER, "?user=x", roster).await.problem(400, "unknown-parameter");
    ask(OWNER, "?q=rslt:x", roster).await.json(400);
    ask(READER, "", roster).await.problem(403, "forbidden");
    ask(STRANGER, &format!("?project={GROUP}"), roster).await.problem(404, "not-found");
    let uses = doors.uses();
    assert!(uses.iter().any(|(operation, outcome, ..)| {
        (operation.as_str(), outcome.as_str()) == ("native.v1.reportAccounts", "ok")
    }));
}
