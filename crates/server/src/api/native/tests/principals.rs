//! Goal: who was seen, since when, from where and in which hours, as the events say; and what else an
//! event's connection did. Method: a few logins whose sums are counted by hand, through the router;
//! that the sums are right of any rows is the store's model's to say.

use super::*;

/// What alice, bob and nobody did.
async fn scene() -> Doors {
    let doors = Doors::new();
    let lines = [
        line("alice", -7200),
        line("alice", -60).replace("203.0.113.9", "10.0.0.7").replace("\"admin\"", "\"shop\""),
        line("alice", 0).replace("success", "failure").replace("203.0.113.9", "10.0.0.7"),
        line("bob", 5).replace("\"connection\":1", "\"connection\":2,\"application\":\"cron\""),
        line("", 6).replace("\"user\":\"\",\"database\":\"admin\",", "\"action\":\"authorize\","),
        line("a/b c", 7).replace("success", "unknown"),
    ];
    assert_eq!(doors.ship(&lines).await["stored"], 6);
    doors
}

fn names(answer: &Value) -> Vec<Option<&str>> {
    let all = answer["principals"].as_array().expect("a list");
    all.iter().map(|one| one["name"].as_str()).collect()
}

#[tokio::test]
async fn principals_are_listed_with_their_sums() {
    let doors = scene().await;
    doors.server.watch(NOW);
    let answer = doors.read("/api/v1/principals").await;
    assert_eq!(names(&answer), [Some("a/b c"), None, Some("bob"), Some("alice")]);
    assert_eq!((&answer["distinct"], &answer["total"]), (&3.into(), &6.into()));
    let alice = serde_json::json!({
        "name": "alice", "first_seen": "2023-04-26T01:33:20Z", "last_seen": "2023-04-26T03:33:20Z",
        "success": 2, "failure": 1, "unknown": 0,
    });
    assert_eq!(answer["principals"][3], alice);
    assert_eq!(answer["coverage"]["state"], "complete");
    for (query, expected) in [
        ("sort=first", &[Some("a/b c"), None, Some("bob"), Some("alice")][..]),
        ("sort=count&limit=1", &[Some("alice")]),
        ("sort=failures&limit=1", &[Some("alice")]),
        ("q=user:*b*", &[Some("a/b c"), Some("bob")]),
        ("q=result:failed", &[Some("alice")]),
        ("user=nobody", &[]),
    ] {
        let answer = doors.read(&format!("/api/v1/principals?{query}")).await;
        assert_eq!(names(&answer), expected, "{query}");
    }
    for bad in ["sort=x", "limit=0", "limit=10001", "zone=Mars"] {
        let reply = doors.get(OWNER, &format!("/api/v1/principals?{bad}")).await;
        reply.problem(400, "invalid-parameter");
    }
}

#[tokio::test]
async fn a_principal_is_shown_with_all_that_is_known() {
    let doors = scene().await;
    let alice = doors.read("/api/v1/principals/alice").await;
    let sums = |value: &Value, name: &str| {
        let of = |member: &str| value[member].as_u64().expect("a number");
        let first = value["first_seen"].as_str().expect("a time").to_owned();
        (
            value[name].as_str().map(str::to_owned),
            first,
            [of("success"), of("failure"), of("unknown")],
        )
    };
    assert_eq!(
        sums(&alice, "name"),
        (Some("alice".into()), "2023-04-26T01:33:20Z".into(), [2, 1, 0])
    );
    let addresses = &alice["addresses"];
    assert_eq!(addresses["distinct"], 2);
    let values: Vec<_> = addresses["values"].as_array().expect("a list").iter().collect();
    assert_eq!(
        sums(values[0], "value"),
        (Some("10.0.0.7".into()), "2023-04-26T03:32:20Z".into(), [1, 1, 0])
    );
    assert_eq!(
        sums(values[1], "value"),
        (Some("203.0.113.9".into()), "2023-04-26T01:33:20Z".into(), [1, 0, 0])
    );
    assert_eq!(alice["databases"]["distinct"], 2);
    assert_eq!((&alice["applications"]["distinct"], &alice["total"]), (&0.into(), &3.into()));
    assert_eq!(alice["hosts"]["values"][0]["value"], format!("{NODE}:27017"));
    // 2023-04-26 was a Wednesday.
    let hours = |of: &Value, outcome: &str| {
        let all = of["hours_of_week"][outcome].as_array().expect("a list").clone();
        assert_eq!(all.len(), 168);
        let some = all.into_iter().enumerate().filter(|(_, count)| *count != 0);
        some.map(|(hour, count)| (hour, count.as_u64().expect("a number"))).collect::<Vec<_>>()
    };
    assert_eq!(hours(&alice, "success"), [(2 * 24 + 1, 1), (2 * 24 + 3, 1)]);
    assert_eq!(hours(&alice, "failure"), [(2 * 24 + 3, 1)]);
    let far = doors.read("/api/v1/principals/alice?zone=America/New_York&q=result:failed").await;
    assert_eq!((hours(&far, "failure"), hours(&far, "success")), (vec![(24 + 23, 1)], vec![]));

    let odd = doors.read("/api/v1/principals/a%2Fb%20c").await;
    assert_eq!((&odd["name"], &odd["unknown"]), (&"a/b c".into(), &1.into()));
    // Never seen is an answer, too.
    let nobody = doors.read("/api/v1/principals/nobody").await;
    assert_eq!((&nobody["first_seen"], &nobody["total"]), (&Value::Null, &0.into()));
    assert_eq!(nobody["coverage"]["state"], "gaps");
    let reply = doors.get(OWNER, "/api/v1/principals/alice?user=bob").await;
    reply.problem(400, "invalid-parameter");
    doors.get(OWNER, "/api/v1/principals/").await.problem(404, "not-found");
}

/// An hour's bars and days begin where they do in the zone.
#[tokio::test]
async fn bars_are_cut_in_a_zone() {
    let doors = scene().await;
    let first = |answer: &Value| answer["bars"][0]["from"].as_str().map(str::to_owned);
    for (query, from) in [
        ("width=1d", "2023-04-26T00:00:00Z"),
        ("width=1d&zone=Europe/Berlin", "2023-04-25T22:00:00Z"),
        ("width=1h&zone=Asia/Kathmandu", "2023-04-26T01:15:00Z"),
        ("width=6h&zone=-02:00", "2023-04-25T20:00:00Z"),
    ] {
        let answer = doors.read(&format!("/api/v1/events/histogram?{query}")).await;
        assert_eq!(
            (first(&answer).as_deref(), &answer["total"]),
            (Some(from), &6.into()),
            "{query}"
        );
    }
}

#[tokio::test]
async fn an_event_is_shown_with_what_its_connection_did() {
    let doors = scene().await;
    let others = [
        // The same number on another host, and of a process that started later.
        line("else", 1).replace("27017", "27018"),
        line("later", 1)
            .replace("\"connection\":1", &format!("\"connection\":1,\"process_start\":\"{NOW}\"")),
        line("long ago", -100_000),
        line("none", 1).replace(",\"connection\":1", ""),
    ];
    assert_eq!(doors.ship(&others).await["stored"], 4);
    let users = |answer: &Value| -> Vec<Option<String>> {
        let all = answer["neighbours"]["events"].as_array().expect("a list").iter();
        all.map(|row| row["event"]["user"].as_str().map(str::to_owned)).collect()
    };
    let id = |answer: &Value| answer["events"][0]["id"].as_str().expect("an id").to_owned();
    let of = async |query: &str| {
        let id = id(&doors.read(&format!("/api/v1/events?{query}")).await);
        doors.read(&format!("/api/v1/events/{id}")).await
    };
    let bob = of("user=bob").await;
    assert_eq!((users(&bob), &bob["neighbours"]["total"]), (vec![], &0.into()));
    assert_eq!(bob["event"]["user"], "bob");
    let alice = of("q=user:alice+result:failed").await;
    // Newest first, without itself; without a start of the process all that is near.
    let some =
        |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect::<Vec<_>>();
    let mut expected = some(&["a/b c", "?", "later", "alice", "alice"]);
    expected[1] = None;
    assert_eq!((users(&alice), &alice["neighbours"]["total"]), (expected, &5.into()));
    let later = of("user=later").await;
    assert_eq!(users(&later), []);
    assert!(of("user=none").await.get("neighbours").is_none());
}

/// An export is recorded with what it was, and refused like any other read.
#[tokio::test]
async fn exports_are_sent_and_recorded() {
    let doors = scene().await;
    let target = "/api/v1/export?format=ndjson&q=user:alice";
    let reply = doors.get(OWNER, target).await;
    assert_eq!((reply.status, &*reply.headers["content-type"][0]), (200, "application/zip"));
    assert!(reply.headers["content-disposition"][0].contains("doorbook-ndjson.zip"));
    assert!(reply.bytes.ends_with(&[0; 2]) && reply.bytes.len() > 1000);
    for (bad, name) in [
        ("export", "invalid-parameter"),
        ("export?format=xml", "invalid-parameter"),
        ("export?format=csv&limit=1", "unknown-parameter"),
        ("export?format=csv&q=x", "invalid-filter"),
    ] {
        assert_eq!(
            doors.get(OWNER, &format!("/api/v1/{bad}")).await.json(400)["type"],
            format!("urn:doorbook:problem:{name}")
        );
    }
    doors.get(STRANGER, &format!("{target}&project={GROUP}")).await.problem(404, "not-found");
    // It is recorded by the thread that wrote it, which may end after its last byte is sent.
    let is_told = |uses: &[(String, String, String, String)]| {
        uses.iter().any(|used| used.0 == "native.v1.export" && used.1 == "ok" && used.3 == "3")
    };
    while !is_told(&doors.uses()) {
        tokio::task::yield_now().await;
    }
}
