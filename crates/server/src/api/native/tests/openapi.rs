//! Goal: the description says what is served. Method: every answer is read into the types of which the
//! description is made, and written again: nothing is lost, and nothing was missing. (Schemathesis asks a
//! real server what the description allows: `tests/e2e/openapi.rs`.)

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::*;
use crate::api::atlas::tests::history;
use crate::api::native::{OPERATIONS, PREFIX, answers, openapi};

fn is_whole<T: DeserializeOwned + Serialize>(answer: &Value) {
    let read: T =
        serde_json::from_value(answer.clone()).unwrap_or_else(|e| panic!("{e}: {answer}"));
    assert_eq!(serde_json::to_value(&read).expect("plain data"), *answer);
}

#[tokio::test]
async fn answers_are_of_their_types() {
    let doors = Doors::new();
    doors.server.import("Cluster0", history::accesses());
    doors.server.watch(NOW.plus_seconds(-60));
    let rich = line("alice", 1).replace(
        "\"connection\":1",
        "\"connection\":1,\"application\":\"a\",\"driver\":\"d\",\"origin\":\"10.0.0.1:5\",\"shift\":3,\
         \"classes\":[\"retry\"],\"raw_base64\":\"/w==\",\"process_start\":\"2023-01-01T00:00:00Z\"",
    );
    let failure = line("bob", 2).replace("\"success\"", "\"failure\",\"reason\":\"x\",\"code\":18");
    let lines = [rich, failure, "{".to_owned(), "{\"time\":\"\u{7f}\"}".to_owned()];
    let shipped = doors.ship(&lines).await;
    is_whole::<answers::Ingested>(&shipped);
    let id = shipped["lines"][0]["id"].as_str().expect("an id").to_owned();
    let labelled = "{\"log\":\"x\",\"host\":\"nobody\"}";
    let routed = doors.post("/api/v1/lines", &[], labelled).await.json(200);
    is_whole::<answers::Routed>(&routed);

    let read = async |path: &str| doors.read(&format!("{PREFIX}{path}")).await;
    is_whole::<answers::Events>(&read("events?limit=20000").await);
    is_whole::<answers::Events>(&read("events?limit=2").await);
    is_whole::<answers::Events>(&read("events?kind=quarantine").await);
    is_whole::<answers::Row>(&read(&format!("events/{id}")).await);
    is_whole::<answers::Histogram>(&read("events/histogram?width=1h").await);
    for by in crate::api::native::counts::words() {
        is_whole::<answers::Top>(&read(&format!("events/top?by={by}")).await);
    }
    is_whole::<answers::Principals>(&read("principals").await);
    for name in ["alice", "nobody"] {
        is_whole::<answers::Principal>(&read(&format!("principals/{name}")).await);
    }
    is_whole::<answers::Sources>(&read("sources").await);
    is_whole::<answers::CoverageAlone>(&read("coverage").await);
    super::reviews::make(&doors, "all", "");
    doors.ship(&[line("carol", 3)]).await;
    is_whole::<answers::Reviews>(&read("reviews").await);
    is_whole::<answers::Round>(&read("reviews/all").await);
    let problem = doors.get(OWNER, "/api/v1/events?q=rslt:x").await.json(400);
    is_whole::<answers::Problem>(&problem);
}

/// Whoever asks may have it; what it describes are the operations of the table.
#[tokio::test]
async fn the_description_is_served() {
    let doors = Doors::new();
    let reply = doors.send(request("GET", "/api/v1/openapi.json", &[], "")).await;
    let document = reply.json(200);
    assert_eq!(reply.body(), openapi::document());
    let paths = document["paths"].as_object().expect("an object");
    let mut ids: Vec<&str> = paths
        .values()
        .flat_map(|path| path.as_object().expect("an object").values())
        .map(|operation| operation["operationId"].as_str().expect("a text"))
        .collect();
    let mut expected: Vec<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    doors
        .send(request("POST", "/api/v1/openapi.json", &[], ""))
        .await
        .problem(401, "unauthenticated");
}
