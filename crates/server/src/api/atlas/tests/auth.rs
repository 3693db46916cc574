//! Who is let in, who is not, and what the others can learn: nothing.

use axum::http::header;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::api::atlas::error::UNAUTHENTICATED;
use crate::api::atlas::{Dialect, OPERATIONS};
use crate::app::RateLimit;

/// The recorded 401 (captures/atlas/atlas-cli-snapshots/errors), without Server, Date, X-Envoy-*
/// and X-Xgen-Up-Proto.
fn check_unauthenticated(reply: &Reply, stale: bool) {
    let challenge = &reply.headers["www-authenticate"];
    let nonce = challenge.split('"').nth(5).expect("a nonce");
    let expected = lines(&format!(
        "
        401
        content-length: 142
        content-type: application/json
        vary: Accept-Encoding
        www-authenticate: Digest realm=\"MMS Public API\", domain=\"\", nonce=\"{nonce}\", \
         algorithm=MD5, qop=\"auth\", stale={stale}
        "
    ));
    let expected = expected.trim_end().to_owned() + "\n\n" + UNAUTHENTICATED;
    assert_eq!(reply.text(), expected);
}

#[tokio::test]
async fn without_proof_every_answer_is_the_same_401() {
    let server = Server::with_history();
    let target = clusters("Cluster0");
    let challenge = server.challenge().await;
    let wrong_key = sign(&challenge, (OWNER.0, "wrong"), ("GET", &target), 1);
    let unknown_key = sign(&challenge, ("nobody", OWNER.1), ("GET", &target), 1);
    let other_target = sign(&challenge, OWNER, ("GET", &clusters("Other")), 1);
    for authorization in [
        None,
        Some(wrong_key.as_str()),
        Some(&unknown_key),
        Some(&other_target),
        Some("Digest"),
        Some("Digest username=\"abcdefgh\""),
        Some("Bearer guess"),
        Some("Basic YWJjZGVmZ2g6eA=="),
        Some("\u{ff}"),
        Some(""),
    ] {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        for target in [&target, &clusters("nope?nLogs=x"), "/api/atlas/v2/nope", "/api/x"] {
            let reply = server.send(request("GET", target, &headers)).await;
            check_unauthenticated(&reply, false);
        }
    }
    let right = sign(&challenge, OWNER, ("GET", &target), 1);
    let twice = [("authorization", right.as_str()), ("authorization", &right)];
    check_unauthenticated(&server.send(request("GET", &target, &twice)).await, false);
}

#[tokio::test]
async fn a_stale_or_replayed_digest_is_asked_for_again() {
    let server = Server::new();
    let target = clusters("Cluster0");
    let challenge = server.challenge().await;
    let signed = |count| sign(&challenge, OWNER, ("GET", &target), count);
    let send = async |authorization: &str| {
        let headers = [("authorization", authorization), ("accept", VERSION)];
        server.send(request("GET", &target, &headers)).await
    };
    // npm's urllib begins a nonce with whatever its counter has come to.
    assert_eq!(send(&signed(2)).await.status, 200);
    check_unauthenticated(&send(&signed(2)).await, true);
    // Of two threads with one client, the second was faster.
    assert_eq!(send(&signed(1)).await.status, 200);
    check_unauthenticated(&send(&signed(1)).await, true);
    check_unauthenticated(&send(&signed(0)).await, true);
    // requests.Session goes on with the same nonce.
    assert_eq!(send(&signed(3)).await.status, 200);
    server.clock.set(NOW.plus_seconds(301));
    check_unauthenticated(&send(&signed(4)).await, true);
    let fresh = sign(&server.challenge().await, OWNER, ("GET", &target), 5);
    assert_eq!(send(&fresh).await.status, 200);
}

/// The header of each captured client, with its digest recomputed for our nonce.
#[tokio::test]
async fn the_captured_header_shapes_are_let_in() {
    let server = Server::new();
    for (method, target, shape) in [
        (
            "Go",
            format!("/api/atlas/v1.0/groups/byName/{}", "Project%200"),
            "Digest username=\"U\", realm=\"R\", nonce=\"N\", uri=\"T\", response=\"D\", \
             algorithm=\"MD5\", qop=auth, nc=00000001, cnonce=\"0badcafe\"",
        ),
        (
            "requests",
            processes(&format!("{NODE}:27017?authResult=False")),
            "Digest username=\"U\", realm=\"R\", nonce=\"N\", uri=\"T\", response=\"D\", \
             algorithm=\"MD5\", qop=\"auth\", nc=00000001, cnonce=\"0badcafe\"",
        ),
        (
            "curl",
            clusters("Cluster0?pretty=true"),
            "Digest username=\"U\", realm=\"R\", nonce=\"N\", uri=\"T\", cnonce=\"0badcafe\", \
             nc=00000001, qop=auth, response=\"D\", algorithm=MD5",
        ),
        (
            "urllib",
            format!("/api/atlas/v1.0/groups/{GROUP}/clusters/Cluster0?envelope=true&pretty=true"),
            "Digest username=\"U\", realm=\"R\", nonce=\"N\", uri=\"T\", response=\"D\", \
             qop=auth, nc=00000001, cnonce=\"0badcafe\"",
        ),
    ] {
        let go = sign(&server.challenge().await, OWNER, ("GET", &target), 1);
        let part = |n: usize| go.split('"').nth(n).expect("quoted");
        let authorization = shape
            .replace("\"U\"", &format!("\"{}\"", OWNER.0))
            .replace("\"R\"", "\"MMS Public API\"")
            .replace("\"N\"", &format!("\"{}\"", part(5)))
            .replace("\"T\"", &format!("\"{target}\""))
            .replace("\"D\"", &format!("\"{}\"", part(9)));
        let headers = [("authorization", authorization.as_str()), ("accept", VERSION)];
        let reply = server.send(request("GET", &target, &headers)).await;
        assert_eq!(reply.status, 200, "{method}: {authorization}");
    }
}

/// A project that the caller has no role in answers as one that there is not: the same bytes but
/// for the id that the request itself names.
#[tokio::test]
async fn another_s_project_is_one_that_there_is_not() {
    let server = Server::new();
    let mut compared = 0;
    for operation in OPERATIONS.iter().filter(|op| op.path.contains("{groupId}")) {
        for dialect in Dialect::ALL {
            for query in ["", "?nLogs=x&pretty=true", "?envelope=true"] {
                for method in ["GET", "HEAD", "POST"] {
                    let path = |id: &str| {
                        let path = operation.path.replace("{groupId}", id);
                        let path = path.replace("{clusterName}", "Cluster0");
                        let path = path.replace("{hostname}", NODE);
                        format!("{}{path}{query}", dialect.prefix())
                    };
                    let accept = [("accept", VERSION)];
                    let ask = async |id| server.call(OWNER, method, &path(id), &accept).await;
                    let secret = ask(SECRET_GROUP).await;
                    let absent = ask(ABSENT_GROUP).await;
                    assert_eq!(
                        secret.text(),
                        absent.text().replace(ABSENT_GROUP, SECRET_GROUP),
                        "{method} {}",
                        path("ID")
                    );
                    if method != "POST" {
                        assert_eq!(secret.code(), "GROUP_NOT_FOUND");
                        assert!(!secret.headers.contains_key("ratelimit-limit"));
                    }
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 6 * 2 * 3 * 3);

    let by_name =
        async |name: &str| server.get(&format!("/api/atlas/v2/groups/byName/{name}")).await.text();
    assert_eq!(by_name("Secret").await, by_name("Sesame").await.replace("Sesame", "Secret"));
    let list = server.get("/api/atlas/v2/groups").await;
    assert!(!list.body().contains(SECRET_GROUP) && list.json()["totalCount"] == 1);
    assert_eq!(server.get_as(STRANGER, &clusters("Cluster0")).await.code(), "GROUP_NOT_FOUND");
}

#[tokio::test]
async fn a_role_that_is_not_enough_is_told_so() {
    let server = Server::new();
    for target in [clusters("Cluster0"), processes(NODE), clusters("Nope?nLogs=x")] {
        let reply = server.get_as(READER, &target).await;
        let body = r#"{"detail":"Current user is not authorized to perform this action.","error":401,"errorCode":"USER_UNAUTHORIZED","parameters":[],"reason":"Unauthorized"}"#;
        let expected = lines(&format!(
            "
            401
            content-length: {}
            content-type: application/json
            referrer-policy: strict-origin-when-cross-origin
            vary: Accept-Encoding
            x-content-type-options: nosniff
            x-error-code: USER_UNAUTHORIZED
            x-frame-options: DENY
            x-permitted-cross-domain-policies: none
            ",
            body.len()
        ));
        assert_eq!(reply.text(), expected.trim_end().to_owned() + "\n\n" + body);
    }
    for look_up in ["", "/clusters", "/clusters/Cluster0", "/processes"] {
        let target = format!("/api/atlas/v2/groups/{GROUP}{look_up}");
        assert_eq!(server.get_as(READER, &target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn the_limit_is_the_project_s_and_counts_known_callers() {
    let limit = RateLimit { capacity: 3, refill: 1, period_seconds: 10 };
    let settings = Settings { access_history_rate: limit, ..Settings::default() };
    let server = Server::with(settings);
    let remaining = |reply: &Reply| reply.headers["ratelimit-remaining"].clone();
    for _ in 0..5 {
        server.challenge().await; // not counted
        server.get(&format!("/api/atlas/v2/groups/{GROUP}/clusters")).await; // another set
        server.get_as(READER, &clusters("Cluster0")).await; // has no right to it
    }
    assert_eq!(remaining(&server.get(&clusters("Cluster0")).await), "2");
    assert_eq!(remaining(&server.get(&processes(NODE)).await), "1");
    let missing = server.get(&clusters("Nope")).await;
    assert_eq!((missing.status, remaining(&missing)), (404, "0".into()));

    let path = clusters("Cluster0");
    let path = path.trim_start_matches('/');
    let body = format!(
        "{{\"detail\":\"Rate limit exceeded for {path}. Please retry after 10 seconds. Request \
         capacity: 3. Refill rate: 1 per 10 seconds. For more information, see: \
         http://dochub.mongodb.org/core/atlas-api-rate-limit.\",\"error\":429,\
         \"errorCode\":\"RATE_LIMITED_TOKEN_BUCKET\",\"parameters\":[\"{path}\",10,3,1,10],\
         \"reason\":\"Too Many Requests\"}}"
    );
    let expected = lines(&format!(
        "
        429
        content-length: {}
        content-type: application/json
        ratelimit-limit: 3
        ratelimit-remaining: 0
        referrer-policy: strict-origin-when-cross-origin
        retry-after: 10
        vary: Accept-Encoding
        x-content-type-options: nosniff
        x-error-code: RATE_LIMITED_TOKEN_BUCKET
        x-frame-options: DENY
        x-permitted-cross-domain-policies: none
        ",
        body.len()
    ));
    let reply = server.get(&clusters("Cluster0?nLogs=1")).await;
    assert_eq!(reply.text(), expected.trim_end().to_owned() + "\n\n" + &body);

    let other = clusters("Cluster0").replace(GROUP, SECRET_GROUP);
    assert_eq!(remaining(&server.get_as(STRANGER, &other).await), "2");
    server.clock.set(NOW.plus_seconds(10));
    assert_eq!(remaining(&server.get(&clusters("Cluster0")).await), "0");

    let settings = Settings { access_history_rate: RateLimit::OFF, ..Settings::default() };
    let free = Server::with(settings).get(&clusters("Cluster0")).await;
    assert!(free.status == 200 && !free.headers.contains_key("ratelimit-limit"));
}

fn post(path: &str, basic: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method("POST")
        .uri(path)
        .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(basic)))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .expect("well formed")
}

/// The requests of the Go SDK (captures/atlas/go-sdk-oauth-cluster.txt) and of its revocation.
#[tokio::test]
async fn a_service_account_reads_with_a_token() {
    let server = Server::with_history();
    let basic = format!("{}:{}", ACCOUNT.0, ACCOUNT.1);
    let grant = "grant_type=client_credentials";
    let reply = server.send(post("/api/oauth/token", &basic, grant)).await;
    let token = reply.json()["access_token"].as_str().expect("a token").to_owned();
    let body =
        format!("{{\"access_token\":\"{token}\",\"expires_in\":3600,\"token_type\":\"Bearer\"}}");
    assert_eq!((reply.status, reply.body()), (200, body.as_str()));

    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("accept", VERSION)];
    let ask = async || server.send(request("GET", &clusters("Cluster0"), &headers)).await;
    assert_eq!(ask().await.usernames().len(), 6);
    server.clock.set(NOW.plus_seconds(3600));
    check_unauthenticated(&ask().await, false);
    server.clock.set(NOW);
    assert_eq!(ask().await.status, 200);

    let back = format!("token={token}&token_type_hint=access_token");
    let reply = server.send(post("/api/oauth/revoke", &basic, &back)).await;
    assert_eq!((reply.status, reply.body()), (200, ""));
    check_unauthenticated(&ask().await, false);

    let reply = server.send(post("/api/oauth/token", "mdb_sa_id_x:nope", grant)).await;
    assert_eq!(reply.status, 401);
    let huge = "x=".to_owned() + &"x".repeat(20_000);
    assert_eq!(server.send(post("/api/oauth/token", &basic, &huge)).await.status, 400);
    let reply = server.send(request("GET", "/api/oauth/token", &[])).await;
    assert_eq!((reply.status, reply.headers["allow"].as_str()), (405, "POST"));
}

#[tokio::test]
async fn a_deleted_key_or_account_is_nobody_at_once() {
    let server = Server::new();
    let basic = format!("{}:{}", ACCOUNT.0, ACCOUNT.1);
    let grant = post("/api/oauth/token", &basic, "grant_type=client_credentials");
    let token = server.send(grant).await.json()["access_token"].as_str().expect("one").to_owned();
    let changes = vec![
        RegistryChange::KeyDeleted { public: OWNER.0.into() },
        RegistryChange::ServiceAccountDeleted { client_id: ACCOUNT.0.into() },
    ];
    server.app.store().change_registry(&operator(), changes).expect("allowed");
    check_unauthenticated(&server.get(&clusters("Cluster0")).await, false);
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("accept", VERSION)];
    let reply = server.send(request("GET", &clusters("Cluster0"), &headers)).await;
    check_unauthenticated(&reply, false);
}
