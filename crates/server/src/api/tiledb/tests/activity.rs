//! The activity log, in both versions.

use doorbook_event::Class;

use super::*;

const V1: &str = "/v1/arrays/alice/a/activity";
const V2: &str = "/v2/arrays/alice/a/activity";

/// A day's work: newest last.
fn fill(cloud: &Cloud, id: &str) {
    cloud.tell(id, -900, Action::ReadSchema, |_| {});
    cloud.tell(id, -800, Action::QueryRead, |access| {
        access.task_id = Some("t-1".into());
        for (name, value) in [
            ("bytes_sent", "2048"),
            ("bytes_received", "10"),
            ("query_ranges", r#"{"rows":[{"start":1,"end":1}]}"#),
            ("query_stats", r#"{"timers":{}}"#),
        ] {
            access.attributes.insert(name.into(), value.into());
        }
    });
    cloud.tell(id, -700, Action::QueryDelete, |_| {});
    cloud.tell(id, -600, Action::Consolidate, |_| {});
    cloud.tell(id, -500, Action::QueryWrite, |access| {
        access.outcome = Outcome::Failure { reason: None, code: None };
    });
    cloud.tell(id, -400, Action::QueryWrite, |access| {
        access.classes = access.classes.with(Class::Suspect);
    });
    cloud.tell(id, -300, Action::Info, |access| access.principal = Principal::Unauthenticated);
    cloud.tell(id, -200, Action::QueryWrite, |access| access.outcome = Outcome::Unknown);
    cloud.tell(id, -8 * 86_400, Action::Create, |_| {});
}

/// Goal: version 1 is a bare list, newest first, with what is known and nothing else; without
/// parameters of the last seven days.
#[tokio::test]
async fn version_1_is_a_bare_list() {
    let (cloud, id) = Cloud::with_an_array().await;
    fill(&cloud, &id);
    let rows = cloud.get("alice", V1).await;
    assert_eq!(rows.headers["doorbook-coverage"], ["gaps"], "nobody watches an array by himself");
    let rows = rows.json(200);
    let expected = ["register", "query_write", "query_delete", "query_read", "read_schema"];
    assert_eq!(actions(&rows), expected);
    let read = &rows[3];
    let expected = json!({
        "event_at": NOW.plus_seconds(-800).to_string(), "action": "query_read", "username": "dave",
        "bytes_sent": 2048, "bytes_received": 10, "array_task_id": "t-1", "id": read["id"],
        "query_ranges": r#"{"rows":[{"start":1,"end":1}]}"#, "query_stats": r#"{"timers":{}}"#,
    });
    assert_eq!(*read, expected);
    let registered = &rows[0];
    let expected = json!({
        "event_at": NOW.to_string(), "action": "register", "username": "alice", "id": registered["id"],
    });
    assert_eq!(*registered, expected);

    let path = format!("{V1}/{}", read["id"].as_str().expect("a text"));
    assert_eq!(cloud.get("alice", &path).await.json(200), *read);
    // By each of its names, it is the same array.
    for name in [&id, "s3%3A%2F%2Fbucket%2Fa%20b%2Fc", "s3%3A%2F%2Fbucket%2Fa%20b%2Fc%2F"] {
        let path = format!("/v1/arrays/alice/{name}/activity");
        assert_eq!(cloud.get("alice", &path).await.json(200), rows, "{name}");
    }
}

/// Goal: every parameter narrows as it says, as the clients write it.
#[tokio::test]
async fn parameters_narrow() {
    let (cloud, id) = Cloud::with_an_array().await;
    fill(&cloud, &id);
    let check = async |query: &str, expected: &[&str]| {
        let rows = cloud.get("alice", &format!("{V1}?{query}")).await.json(200);
        assert_eq!(actions(&rows), expected, "{query}");
    };
    let at = |seconds: i64| NOW.plus_seconds(seconds).millis() / 1000;
    check("event_types=query_read%2Cregister", &["register", "query_read"]).await;
    check("event_types=read", &["query_read", "read_schema"]).await;
    check("event_types=read,write", &["query_write", "query_delete", "query_read", "read_schema"])
        .await;
    check("event_types=info", &[]).await;
    check(
        "event_types=",
        &["register", "query_write", "query_delete", "query_read", "read_schema"],
    )
    .await;
    check("task_id=t-1&has_task_id=True", &["query_read"]).await;
    check("task_id=t-2", &[]).await;
    for yes in ["True", "true", "TRUE"] {
        check(&format!("has_task_id={yes}"), &["query_read"]).await;
    }
    check("has_task_id=False&event_types=register,query_read", &["register", "query_read"]).await;
    let window = |from: i64, to: i64| format!("start={}&end={}", at(from), at(to));
    check(&window(-800, -700), &["query_delete", "query_read"]).await;
    check(&window(-799, -701), &[]).await;
    check(&format!("start={}&event_types=create", at(-9 * 86_400)), &["create"]).await;
    check(&format!("end={}", at(-900)), &["read_schema"]).await;

    let ids = |rows: &Value| rows["activitylogs"].as_array().expect("a list").len();
    let query = format!(
        "{V2}?{}&event_types=query_read&event_types=create,register&task_id=t-1&has_task_id=True&page=1&per_page=50",
        window(-3600, 0)
    );
    let page = cloud.get("alice", &query).await.json(200);
    assert_eq!((ids(&page), &page["pagination_metadata"]["total_items"]), (1, &json!(1)));
}

/// Goal: version 2 has pages that make up the whole, its own words, and an exact total.
#[tokio::test]
async fn version_2_has_pages() {
    let (cloud, id) = Cloud::with_an_array().await;
    fill(&cloud, &id);
    let page = cloud.get("alice", V2).await.json(200);
    let expected = ["register", "query_write", "info", "query_write", "query_read", "read_schema"];
    assert_eq!(actions(&page["activitylogs"]), expected);
    let metadata = json!({"page": 1, "per_page": 100, "total_pages": 1, "total_items": 6});
    assert_eq!(page["pagination_metadata"], metadata);
    let mut rows = Vec::new();
    for number in 1..=4 {
        let path = format!("{V2}?page={number}&per_page=2");
        let part = cloud.get("alice", &path).await.json(200);
        let metadata = json!({"page": number, "per_page": 2, "total_pages": 3, "total_items": 6});
        assert_eq!(part["pagination_metadata"], metadata);
        rows.extend(part["activitylogs"].as_array().expect("a list").clone());
    }
    assert_eq!(Value::from(rows), page["activitylogs"]);
    // Who it was is not known.
    assert_eq!(page["activitylogs"][2].get("username"), None);
    let none = cloud.get("alice", &format!("{V2}?event_types=create")).await.json(200);
    let metadata = json!({"page": 1, "per_page": 100, "total_pages": 0, "total_items": 0});
    assert_eq!(none, json!({"activitylogs": [], "pagination_metadata": metadata}));
    let deleted = cloud.get("alice", &format!("{V2}?event_types=query_delete")).await.json(200);
    assert_eq!(actions(&deleted["activitylogs"]), ["query_write"]);
}

/// Goal: an activity is found by its id only at its own array, and only if the version shows it.
#[tokio::test]
async fn an_id_leads_to_an_activity_of_this_array_only() {
    let (cloud, id) = Cloud::with_an_array().await;
    let body = json!({"name": "b", "uri": "s3://bucket/b"});
    let path = "/v1/arrays/alice/s3%3A%2F%2Fbucket%2Fb/register";
    cloud.send("alice", "POST", path, &body).await.json(200);
    cloud.tell(&id, -1, Action::Info, |_| {});
    cloud.tell(&id, -2, Action::Consolidate, |_| {});
    let ids = |page: &Value| -> Vec<String> {
        let rows = page.as_array().expect("a list").iter();
        rows.map(|row| row["id"].as_str().expect("a text").to_owned()).collect()
    };
    let of_other = ids(&cloud.get("alice", "/v1/arrays/alice/b/activity").await.json(200));
    let shown_in_2 = ids(&cloud.get("alice", V2).await.json(200)["activitylogs"]);
    let path = |id: &str| format!("{V1}/{id}");
    assert_eq!(cloud.get("alice", &path(&shown_in_2[0])).await.status, 200);
    for absent in [&of_other[0], &shown_in_2[1], "00000000-0000-0000-0000-000000000002", "x"] {
        error(&cloud.get("alice", &path(absent)).await, 404);
    }
}

/// Goal: who may read the log is as it was shared, and looking at it is recorded with who and from where.
#[tokio::test]
async fn sharing_governs_who_may_read() {
    let (cloud, id) = Cloud::with_an_array().await;
    cloud.tell(&id, -1, Action::QueryRead, |_| {});
    let status = async |user: &str| cloud.get(user, V1).await.status;
    assert_eq!((status("alice").await, status("bob").await), (200, 404));
    for (actions, expected) in [
        (&["read", "write"][..], 200),
        (&["write"], 403),
        (&["read_array_info"], 403),
        (&["read_array_logs"], 200),
        (&["edit"], 403),
        (&["read"], 200),
        (&[], 404),
    ] {
        cloud.share("bob", actions).await;
        assert_eq!(status("bob").await, expected, "{actions:?}");
        assert_eq!(cloud.get("bob", V2).await.status, expected, "{actions:?}");
        assert_eq!(status("carol").await, 404);
    }
    cloud.share("lab", &["read"]).await;
    assert_eq!((status("carol").await, status("bob").await), (200, 404));
    cloud.share("public", &["read"]).await;
    assert_eq!(status("bob").await, 403);

    let uses = cloud.recorded(Scope::System);
    let by = |user: &str, outcome: &str| {
        let is_it = |told: &&(String, &str, String, &str)| {
            told.0 == user && told.1 == "query" && told.2 == "127.0.0.1" && told.3 == outcome
        };
        uses.iter().filter(is_it).count()
    };
    assert!(by("bob", "failure") >= 3 && by("bob", "success") >= 1, "{uses:?}");
    let of_array = cloud.recorded(Scope::Namespace("alice".into()));
    assert_eq!(of_array.len(), 11, "nothing is added by looking: {of_array:?}");
}
