//! The table of operations, the router and this list are the same; who may use which.

use std::collections::BTreeSet;

use super::*;
use crate::api::native::{OPERATIONS, Operation, PREFIX};
use crate::auth::Operation::{FollowAsAgent, Ingest, ReadHistory};

/// What is served. A line more or less is a change of the contract: it needs a test of its
/// authorisation and of its answer, and a line in the changelog.
const SERVED: &[&str] = &[
    "DELETE /api/v1/reviews/{name}",
    "GET /api/v1/agent/sources",
    "GET /api/v1/coverage",
    "GET /api/v1/events",
    "GET /api/v1/events/histogram",
    "GET /api/v1/events/tail",
    "GET /api/v1/events/top",
    "GET /api/v1/events/{id}",
    "GET /api/v1/export",
    "GET /api/v1/principals",
    "GET /api/v1/principals/{name}",
    "GET /api/v1/reviews",
    "GET /api/v1/reviews/{name}",
    "GET /api/v1/reviews/{name}/check",
    "GET /api/v1/sources",
    "PATCH /api/v1/reviews/{name}",
    "POST /api/v1/agent/advances",
    "POST /api/v1/ingest/{source}",
    "POST /api/v1/lines",
    "POST /api/v1/reports/accounts",
    "POST /api/v1/reviews",
    "POST /api/v1/reviews/{name}/closings",
    "POST /api/v1/reviews/{name}/marks",
    "POST /api/v1/reviews/{name}/sign-offs",
];

fn target(path: &str, id: &str) -> String {
    let path = path.replace("{source}", "app").replace("{id}", id).replace("{name}", "one");
    match path.rsplit('/').next() {
        Some("histogram") => format!("{PREFIX}{path}?width=1h"),
        Some("export") => format!("{PREFIX}{path}?format=csv"),
        Some("top") => format!("{PREFIX}{path}?by=principal"),
        _ => format!("{PREFIX}{path}"),
    }
}

async fn an_event(doors: &Doors) -> String {
    doors.ship(&[line("one", -1)]).await["lines"][0]["id"].as_str().expect("an id").to_owned()
}

async fn call(doors: &Doors, method: &str, target: &str, authorization: &str) -> Reply {
    let headers = [("authorization", authorization), ("content-type", "application/x-ndjson")];
    let headers = if authorization.is_empty() { &headers[1..] } else { &headers };
    doors.send(request(method, target, headers, line("u", 0))).await
}

/// Operations without those that are asked for elsewhere: what agents ask in `agent`; reviews, which are there
/// before, and what is sent for a report, in `reviews`.
fn asked_here() -> impl Iterator<Item = &'static Operation> {
    OPERATIONS.iter().filter(|operation| {
        let is_elsewhere =
            ["reviews", "reports"].iter().any(|path| operation.path.starts_with(path));
        operation.needs != FollowAsAgent && !is_elsewhere
    })
}

/// Doors whose tails end at once.
fn short() -> Doors {
    Doors::with(Settings { write_timeout: std::time::Duration::ZERO, ..Settings::default() })
}

#[tokio::test]
async fn the_table_is_the_router() {
    let served: BTreeSet<String> =
        OPERATIONS.iter().map(|o| format!("{} {PREFIX}{}", o.method, o.path)).collect();
    assert_eq!(served.iter().map(String::as_str).collect::<Vec<_>>(), SERVED);

    let doors = short();
    let id = an_event(&doors).await;
    for operation in asked_here() {
        let target = target(operation.path, &id);
        let reply = call(&doors, operation.method, &target, &basic(OWNER)).await;
        match operation.id {
            "export" => assert!(reply.status == 200 && reply.bytes.starts_with(b"PK\x03\x04")),
            "tailEvents" => assert_eq!(reply.headers["content-type"], ["text/event-stream"]),
            _ => drop(reply.json(200)),
        }
        assert_eq!(reply.headers["cache-control"], ["no-store"]);
        call(&doors, operation.method, &target, "").await.problem(401, "unauthenticated");
        let reply = call(&doors, "DELETE", &target, &basic(OWNER)).await;
        reply.problem(405, "method-not-allowed");
        let allow = if operation.method == "GET" { "GET, HEAD" } else { "POST" };
        assert_eq!(reply.headers["allow"], [allow]);
        let head = call(&doors, "HEAD", &target, &basic(OWNER)).await;
        assert_eq!(head.status, if operation.method == "GET" { 200 } else { 405 }, "{target}");
    }
    for absent in
        ["/api/v1", "/api/v1/", "/api/v1/x", "/api/v1/events/histogram/x", "/api/v1/ingest"]
    {
        doors.get(OWNER, absent).await.problem(404, "not-found");
        doors.send(request("GET", absent, &[], "")).await.problem(401, "unauthenticated");
    }
}

/// Each operation x each role: the owner of the project, a reader without history, a shipper, a
/// viewer by token, the owner of another project.
#[tokio::test]
async fn a_role_may_what_it_is_for() {
    let doors = short();
    let mut bearer = "Bearer ".to_owned();
    let tokens = &doors.server.app.auth().tokens;
    bearer += &tokens.issue(doors.server.app.random(), NOW, ACCOUNT.0.into());
    let id = an_event(&doors).await;
    for operation in asked_here() {
        let target = target(operation.path, &id);
        let project =
            format!("{target}{}project={GROUP}", if target.contains('?') { '&' } else { '?' });
        let reads = operation.needs == ReadHistory;
        assert!(reads || operation.needs == Ingest);
        for (who, expected) in [
            (basic(OWNER), 200),
            (basic(READER), 403),
            (basic(SHIPPER), if reads { 403 } else { 200 }),
            (bearer.clone(), if reads { 200 } else { 403 }),
        ] {
            // Named or not, it is the project of the key.
            for target in [&target, &project] {
                let reply = call(&doors, operation.method, target, &who).await;
                assert_eq!(reply.status, expected, "{who} {target}: {}", reply.body());
            }
        }
        let reply = call(&doors, operation.method, &project, &basic(STRANGER)).await;
        let detail = reply.problem(404, "not-found");
        let absent = project.replace(GROUP, "111111111111111111111111");
        let reply = call(&doors, operation.method, &absent, &basic(STRANGER)).await;
        assert_eq!(
            reply.problem(404, "not-found").replace("111111111111111111111111", GROUP),
            detail
        );
        let by_name = project.replace(GROUP, "Project%200");
        assert_eq!(call(&doors, operation.method, &by_name, &basic(OWNER)).await.status, 200);
        let secret = project.replace(GROUP, SECRET_GROUP);
        call(&doors, operation.method, &secret, &basic(OWNER)).await.problem(404, "not-found");
    }
}

/// Basic sends the key itself, so it is for TLS and for this machine.
#[tokio::test]
async fn basic_is_taken_where_nobody_can_read_it() {
    let mut doors = Doors::new();
    let far = Peer::ip([198, 51, 100, 7].into(), Some(1));
    for (peer, is_tls, is_private) in [
        (LOCAL.peer, false, true),
        (far, true, true),
        (far, false, false),
        (Peer::Unknown, false, false),
    ] {
        doors.connection = Connection { peer, is_tls };
        let reply = doors.get(OWNER, "/api/v1/events").await;
        assert_eq!(reply.status, if is_private { 200 } else { 401 }, "{peer} {is_tls}");
        let challenges = doors.send(request("GET", "/api/v1/events", &[], "")).await;
        let challenges = &challenges.headers["www-authenticate"];
        assert!(challenges[0].starts_with("Digest realm=\"MMS Public API\""), "{challenges:?}");
        assert_eq!(challenges.len(), if is_private { 2 } else { 1 }, "{challenges:?}");
    }
    doors.connection = LOCAL;
    for (public, private) in [(OWNER.0, "guess"), ("nobody0", OWNER.1), (OWNER.0, ""), ("", "")] {
        doors.get((public, private), "/api/v1/events").await.problem(401, "unauthenticated");
    }
    for bad in ["Basic", "Basic !", "Basic YQ==", "Basic /w==", "Bearer x", "Digest x"] {
        let reply = call(&doors, "GET", "/api/v1/events", bad).await;
        reply.problem(401, "unauthenticated");
    }
    // Atlas's API has no Basic, and neither has its twin here.
    let reply = doors.get(OWNER, "/api/atlas/v2/groups").await;
    assert_eq!(reply.status, 401);
    // Digest is taken as well.
    let challenge = doors.send(request("GET", "/api/v1/events", &[], "")).await;
    let challenge = &challenge.headers["www-authenticate"][0];
    let target = "/api/v1/events?limit=1";
    let signed = crate::auth::digest::tests_support::sign(challenge, OWNER, ("GET", target), 1);
    call(&doors, "GET", target, &signed).await.json(200);
    call(&doors, "GET", target, &signed).await.problem(401, "unauthenticated");
}
