//! Requests that nobody should send, and that somebody does.

use proptest::prelude::*;

use super::*;

const V1: &str = "/v1/arrays/alice/a/activity";
const V2: &str = "/v2/arrays/alice/a/activity";

/// Goal: what cannot be meant is refused in words that say what to write instead. Method: what the
/// clients were seen to send, and what the issue of this API names.
#[tokio::test]
async fn parameters_that_mean_nothing_are_told_so() {
    let (cloud, _) = Cloud::with_an_array().await;
    for (version, query, says) in [
        (V1, "event_types=%5B%27query_read%27%2C+%27create%27%5D", "as Python prints it"),
        (V2, "event_types=c&event_types=r&event_types=e", "one letter"),
        (V1, "event_types=query_read,nonsense", "there is no event type \"nonsense\""),
        (V1, "event_types=query_read,", "there is no event type \"\""),
        (V2, "event_types=consolidate", "there is no event type"),
        (V1, "start=2&end=1", "start is after end"),
        (V1, "start=-5", "start is a whole number"),
        (V1, "end=tomorrow", "end is a whole number"),
        (V1, "start=1682480000000", "not milliseconds"),
        (V1, "start=1&start=2", "more than once"),
        (V1, "has_task_id=maybe", "true or false"),
        (V1, "task_id=%ff", "not UTF-8"),
        (V2, "page=0", "page is a number from 1 on"),
        (V2, "page=-1", "page is a number"),
        (V2, "per_page=0", "per_page is a number from 1 to 10000"),
        (V2, "per_page=1000000", "per_page is a number from 1 to 10000"),
        (V2, "page=1000000&per_page=10000", "too far"),
    ] {
        let message = error(&cloud.get("alice", &format!("{version}?{query}")).await, 400);
        assert!(message.contains(says), "{query}: {message}");
    }
    // What its version does not know is passed over.
    assert_eq!(cloud.get("alice", &format!("{V1}?page=0&x=1")).await.status, 200);
}

/// Goal: bodies that are none are told so, and change nothing.
#[tokio::test]
async fn bodies_that_are_none_are_told_so() {
    let (cloud, _) = Cloud::with_an_array().await;
    let share = "/v1/arrays/alice/a/share";
    for (body, says) in [
        (json!({"actions": ["own"], "namespace": "bob"}), "There is no array action \"own\""),
        (json!({"actions": "read", "namespace": "bob"}), "cannot be read"),
        (json!({"actions": ["read"]}), "namespace"),
        (json!({"actions": ["read"], "namespace": "alice"}), "owns the array"),
        (json!([]), "cannot be read"),
    ] {
        let message = error(&cloud.send("alice", "PATCH", share, &body).await, 400);
        assert!(message.contains(says), "{body}: {message}");
    }
    let body = json!({"actions": ["read"], "namespace": "nobody"});
    error(&cloud.send("alice", "PATCH", share, &body).await, 404);
    let metadata = "/v1/arrays/alice/a/metadata";
    for (body, says) in [
        (json!({"uri": "s3://bucket/other"}), "cannot be changed"),
        (json!({"name": ".."}), "is not a name for an array"),
        (json!({"name": 7}), "cannot be read"),
        (json!({"description": "x".repeat(20_000)}), "at most"),
        (json!({"tags": vec!["x"; 100]}), "at most"),
    ] {
        let message = error(&cloud.send("alice", "PATCH", metadata, &body).await, 400);
        assert!(message.contains(says), "{message}");
    }
    let long = json!({"description": "x".repeat(300_000)});
    error(&cloud.send("alice", "PATCH", metadata, &long).await, 413);
    let key = token("alice");
    let plain = [("x-tiledb-rest-api-key", &*key), ("content-type", "text/plain")];
    error(&cloud.doors.send(request("PATCH", metadata, &plain, "{}")).await, 415);
    error(&cloud.get("alice", &format!("{V1}?x={}", "x".repeat(9000))).await, 414);
    let before = cloud.get("alice", metadata).await.json(200);
    assert_eq!((&before["description"], &before["share_count"]), (&json!("d"), &json!(0)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Goal: no path and no query makes the server fail, or say what passes of what does not.
    #[test]
    fn whatever_is_asked_is_answered(
        path in "(/(v1|v2|arrays|alice|a|activity|[a-z%0-9.+]{0,6})){1,7}", query in "[a-z_=&%0-9,+\\[]{0,40}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("built");
        let status = runtime.block_on(async {
            let (cloud, _) = Cloud::with_an_array().await;
            cloud.get("alice", &format!("{path}?{query}")).await.status
        });
        prop_assert!(status < 500, "{} {}: {}", path, query, status);
    }
}
