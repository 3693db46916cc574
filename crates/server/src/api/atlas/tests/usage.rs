//! Whoever uses Doorbook is recorded.

use std::net::IpAddr;

use doorbook_event::{Record, Scope};
use doorbook_store::Filter;

use super::*;

const HERE: Peer = Peer::Ip { address: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port: None };

/// Own records of these actions, oldest first.
fn recorded(server: &Server, actions: &[Action]) -> Vec<Access> {
    server.app.usage().flush();
    let filter = Filter { actions: actions.to_vec(), ..Filter::all(Scope::System, 1000) };
    let mut rows = server.app.store().select(&filter).expect("reads").rows;
    rows.reverse();
    let own = |record| match record {
        Record::Own(access) => access,
        other => panic!("{other:?}"),
    };
    rows.into_iter().map(|row| own(row.record)).collect()
}

fn attributes(access: &Access) -> Vec<(&str, &str)> {
    access.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn here() -> Connection {
    Connection { peer: Peer::ip([127, 0, 0, 1].into(), Some(4711)), is_tls: false }
}

#[tokio::test]
async fn queries_and_refusals() {
    let mut server = Server::with_history();
    server.connection = Some(here());
    for _ in 0..3 {
        server.get(&clusters("Cluster0?nLogs=2")).await;
    }
    server.get_as(READER, &clusters("Cluster0")).await;
    let (wrong, target) = ((OWNER.0, "wrong"), clusters("Cluster0"));
    server.get_as(wrong, &target).await;
    let used = recorded(&server, &[Action::Query]);
    let got: Vec<_> =
        used.iter().map(|a| (a.principal.clone(), a.outcome.word(), attributes(a))).collect();
    let path = clusters("Cluster0");
    let operation = ("operation", "atlas.v2.getGroupDbAccessHistoryCluster");
    assert_eq!(
        got,
        [
            (
                Principal::ApiKey(OWNER.0.into()),
                "success",
                vec![
                    ("count", "3"),
                    ("filter", "nLogs=2"),
                    operation,
                    ("path", &path),
                    ("rows", "6"),
                    ("status", "200"),
                ],
            ),
            (
                Principal::ApiKey(READER.0.into()),
                "failure",
                vec![("count", "1"), operation, ("path", &path), ("rows", "0"), ("status", "401"),],
            ),
            (
                Principal::Unauthenticated,
                "failure",
                vec![
                    ("claimed", OWNER.0),
                    ("count", "1"),
                    operation,
                    ("path", &path),
                    ("rows", "0"),
                    ("status", "401"),
                ],
            ),
        ]
    );
    let reasons: Vec<_> = used.iter().map(|a| a.outcome.reason().map(|r| r.to_string())).collect();
    let reasons: Vec<_> = reasons.iter().map(|reason| reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("USER_UNAUTHORIZED"), Some("wrong digest")]);
    let project = Target::Own { kind: "project".into(), name: GROUP.into() };
    assert_eq!((&used[0].target, used[0].peer, used[0].event_time), (&project, HERE, NOW));
}

#[tokio::test]
async fn a_request_without_credentials_is_no_failed_authentication() {
    let server = Server::new();
    server.challenge().await;
    let target = clusters("Cluster0");
    let late = sign(&server.challenge().await, OWNER, ("GET", &target), 1);
    server.clock.set(NOW.plus_seconds(400));
    server.send(request("GET", &target, &[("authorization", &late)])).await;
    assert_eq!(recorded(&server, &[Action::Query]).len(), 0);
    // A replay is one.
    let once = sign(&server.challenge().await, OWNER, ("GET", &target), 1);
    for _ in 0..2 {
        server
            .send(request("GET", &target, &[("authorization", &once), ("accept", VERSION)]))
            .await;
    }
    let used = recorded(&server, &[Action::Query]);
    assert_eq!(used.len(), 2);
    assert_eq!(used[1].outcome.reason().map(|r| r.as_str()), Some("replayed digest"));
    assert_eq!(used[1].attributes["claimed"], OWNER.0);
}

#[tokio::test]
async fn tokens() {
    use base64::Engine;
    let server = Server::new();
    for (basic, body) in [
        (format!("{}:{}", ACCOUNT.0, ACCOUNT.1), "grant_type=client_credentials"),
        ("mdb_sa_id_x:guess".into(), "grant_type=client_credentials"),
    ] {
        let basic = base64::engine::general_purpose::STANDARD.encode(basic);
        let mut request =
            request("POST", "/api/oauth/token", &[("authorization", &format!("Basic {basic}"))]);
        *request.body_mut() = Body::from(body);
        server.send(request).await;
    }
    let used = recorded(&server, &[Action::Token]);
    let got: Vec<_> =
        used.iter().map(|a| (a.principal.clone(), a.outcome.word(), a.target.names())).collect();
    assert_eq!(
        got,
        [
            (
                Principal::ServiceAccount(ACCOUNT.0.into()),
                "success",
                (&"service_account".into(), &ACCOUNT.0.into()),
            ),
            (
                Principal::Unauthenticated,
                "failure",
                (&"service_account".into(), &"mdb_sa_id_x".into()),
            ),
        ]
    );
    assert!(used.iter().all(|a| !format!("{a:?}").contains(ACCOUNT.1)), "a secret was recorded");
}

/// Nothing is global: two servers in one process do not see each other.
#[tokio::test]
async fn two_servers_are_two() {
    let one = Server::with_history();
    let two = Server::with_random(Settings::default(), 800);
    assert_eq!(one.get(&clusters("Cluster0")).await.usernames().len(), 6);
    assert_eq!(two.get(&clusters("Cluster0")).await.usernames().len(), 0);
    let remaining = two.get(&clusters("Cluster0")).await.headers["ratelimit-remaining"].clone();
    assert_eq!(remaining, "1198");
    assert_eq!(recorded(&one, &[Action::Query]).len(), 1);
    // A nonce of the one is nothing to the other, and no replay either.
    let target = clusters("Cluster0");
    let challenge = one.challenge().await;
    let signed = sign(&challenge, OWNER, ("GET", &target), 1);
    let headers = [("authorization", signed.as_str()), ("accept", VERSION)];
    let reply = two.send(request("GET", &target, &headers)).await;
    assert!(reply.headers["www-authenticate"].ends_with("stale=true"));
    assert!(recorded(&two, &[Action::Query]).iter().all(|used| used.outcome.reason().is_none()));
    assert_eq!(one.send(request("GET", &target, &headers)).await.status, 200);
}
