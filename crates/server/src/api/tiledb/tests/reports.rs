//! Activity that applications report by our own API, and how it is read there.

use super::*;

impl Cloud {
    async fn report(&self, user: &str, target: &str, lines: &[Value]) -> Reply {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        let bearer = format!("Bearer {}", token(user));
        let headers = [("authorization", &*bearer), ("content-type", "application/x-ndjson")];
        let target = format!("/api/v1/ingest/job{target}");
        self.doors.send(request("POST", &target, &headers, lines.join("\n"))).await
    }

    async fn events(&self, user: &str, query: &str) -> Reply {
        let bearer = format!("Bearer {}", token(user));
        let path = format!("/api/v1/events{query}");
        self.doors.send(request("GET", &path, &[("authorization", &bearer)], "")).await
    }
}

fn line(array: &str, action: &str) -> Value {
    json!({
        "time": NOW.plus_seconds(-60).to_string(), "namespace": "alice", "array": array, "action": action,
        "outcome": "success", "user": "alice", "task_id": "7b1f0d5e-0000-4000-8000-000000000001",
        "bytes_sent": 2048, "bytes_received": 10,
        "query_ranges": {"rows": [{"start": 1, "end": 4}]}, "query_stats": "{\"timers\":{}}",
    })
}

fn reasons(reply: &Value) -> Vec<&str> {
    let lines = reply["lines"].as_array().expect("a list").iter();
    lines.filter_map(|line| line["reason"].as_str()).collect()
}

/// Goal: what an application reports is read as it was sent, in both versions of TileDB's API and in our
/// own, by whichever name of the array it was sent.
#[tokio::test]
async fn a_report_is_read_in_every_form() {
    let (cloud, id) = Cloud::with_an_array().await;
    let lines = [
        line("a", "query_read"),
        line(&id, "query_write"),
        line("s3://bucket/a b/c", "consolidate"),
    ];
    let reply = cloud.report("alice", "?lines=all", &lines).await.json(200);
    assert_eq!((&reply["stored"], &reply["quarantined"]), (&json!(3), &json!(0)), "{reply}");
    let rows =
        cloud.get("alice", "/v1/arrays/alice/a/activity?event_types=query_read").await.json(200);
    let expected = json!([{
        "event_at": NOW.plus_seconds(-60).to_string(), "action": "query_read", "username": "alice",
        "bytes_sent": 2048, "bytes_received": 10,
        "array_task_id": "7b1f0d5e-0000-4000-8000-000000000001", "id": reply["lines"][0]["id"],
        "query_ranges": r#"{"rows":[{"end":4,"start":1}]}"#,
        "query_stats": "{\"timers\":{}}",
    }]);
    assert_eq!(rows, expected);
    let page = cloud.get("alice", "/v2/arrays/alice/a/activity?event_types=write").await.json(200);
    assert_eq!(actions(&page["activitylogs"]), ["query_write"]);

    // Our own API has what neither version has a word for.
    let events =
        cloud.events("alice", "?namespace=alice&array=a&action=consolidate").await.json(200);
    assert_eq!((&events["total"], &events["coverage"]["state"]), (&json!(1), &json!("gaps")));
    let event = &events["events"][0]["event"];
    assert_eq!((&event["namespace"], &event["array"]), (&json!("alice"), &json!(id)));
    let path = format!("/{}", events["events"][0]["id"].as_str().expect("a text"));
    assert_eq!(cloud.events("alice", &path).await.json(200)["event"], *event);
    // Without a namespace it is the user's own; page by page it stays so.
    let first = cloud.events("alice", "?limit=2").await.json(200);
    let cursor = first["cursor"].as_str().expect("there is more");
    let second = cloud.events("alice", &format!("?cursor={cursor}")).await.json(200);
    assert_eq!((&first["total"], &second["total"]), (&json!(4), &json!(4)));
    assert_eq!(second["events"].as_array().map(Vec::len), Some(2));
    let top = cloud.events("alice", "/top?by=action&array=a").await.json(200);
    assert_eq!(top["total"], json!(4), "{top}");
}

/// Goal: what is wrong with a line is told, and costs only that line.
#[tokio::test]
async fn a_wrong_line_is_put_aside_with_its_reason() {
    let (cloud, _) = Cloud::with_an_array().await;
    let with = |name: &str, value: Value| {
        let mut line = line("a", "query_read");
        line[name] = value;
        line
    };
    let lines = [
        line("a", "query_read"),
        line("absent", "query_read"),
        with("namespace", json!("bob")),
        with("action", json!("authenticate")),
        with("action", json!("nonsense")),
        with("bytes_sent", json!(-1)),
        with("bytes_received", json!("many")),
        json!({"time": NOW.to_string(), "cluster": "Cluster0", "host": "x:1"}),
        json!({"time": NOW.to_string(), "namespace": "alice", "array": "a"}),
    ];
    let reply = cloud.report("alice", "?namespace=alice", &lines).await.json(200);
    assert_eq!((&reply["stored"], &reply["quarantined"]), (&json!(1), &json!(8)), "{reply}");
    let says = [
        "has no array absent",
        "namespace is not alice",
        "action is none of an array's",
        "action is neither",
        "bytes_sent is not a whole number",
        "bytes_received is not a whole number",
        "hosts belong to a project",
        "action is missing",
    ];
    for (reason, says) in reasons(&reply).iter().zip(says) {
        assert!(reason.contains(says), "{reason}");
    }
    let aside = cloud.events("alice", "?kind=quarantine").await.json(200);
    assert_eq!(aside["total"], json!(8));
}

/// Goal: a user writes to the history of what is his, and of what is shared with him for writing only
/// what he did himself; keys of projects write to none, and users to no project.
#[tokio::test]
async fn who_may_write_may_report_what_he_did() {
    let (cloud, _) = Cloud::with_an_array().await;
    let own = json!({"time": NOW.to_string(), "namespace": "alice", "array": "a", "action": "query_read", "user": "bob"});
    let of_alice = line("a", "query_delete");
    let lines = [own, of_alice];
    cloud.report("bob", "?namespace=alice", &lines).await.problem(404, "not-found");
    cloud.report("bob", "?namespace=nobody", &lines).await.problem(404, "not-found");
    cloud.share("bob", &["read"]).await;
    cloud.report("bob", "?namespace=alice", &lines).await.problem(403, "forbidden");
    cloud.share("bob", &["write"]).await;
    let reply = cloud.report("bob", "?namespace=alice", &lines).await.json(200);
    assert_eq!((&reply["stored"], &reply["quarantined"]), (&json!(1), &json!(1)), "{reply}");
    assert!(reasons(&reply)[0].contains("only the owner"), "{reply}");
    let id = cloud.events("alice", "").await.json(200)["events"][0]["id"].clone();
    let amends = [json!({"amends": id, "mechanism": "x"})];
    let reply = cloud.report("bob", "?namespace=alice", &amends).await.json(200);
    assert!(reasons(&reply)[0].contains("only the owner"), "{reply}");
    let reply = cloud.report("alice", "", &amends).await.json(200);
    assert_eq!(reply["stored"], json!(1), "{reply}");

    cloud.events("bob", "?namespace=alice").await.problem(403, "forbidden");
    cloud.events("bob", "?namespace=alice&array=a").await.problem(403, "forbidden");
    cloud.share("bob", &["read"]).await;
    assert_eq!(cloud.events("bob", "?namespace=alice&array=a").await.status, 200);
    cloud.events("bob", "?namespace=alice").await.problem(403, "forbidden");
    assert_eq!(cloud.events("bob", "?namespace=alice&q=array:a+-user:x").await.status, 200);
    for not_named in ["q=array:*", "q=-array:b", "q=user:bob", "q=array:a+array:b", "q=array:"] {
        let reply = cloud.events("bob", &format!("?namespace=alice&{not_named}")).await;
        reply.problem(403, "forbidden");
    }
    cloud.events("bob", "?namespace=alice&project=x").await.problem(400, "invalid-parameter");
    cloud.events("alice", "?array=absent").await.problem(400, "invalid-parameter");
    cloud.events("alice", "?cluster=Cluster0").await.problem(400, "invalid-parameter");
    cloud.events("alice", "?project=Project%200").await.problem(404, "not-found");
    let shipped = cloud.doors.post("/api/v1/ingest/app?namespace=alice", &[], "{}").await;
    shipped.problem(404, "not-found");
    let bearer = "Bearer nonsense";
    let sent = request("GET", "/api/v1/events", &[("authorization", bearer)], "");
    cloud.doors.send(sent).await.problem(401, "unauthenticated");
}
