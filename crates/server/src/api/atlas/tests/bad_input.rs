//! Whatever is asked, the answer names what is wrong in the API's own form, and nothing changes.

use doorbook_event::Scope;
use doorbook_store::Filter;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;

use super::*;

fn check(reply: &Reply, status: u16, code: &str, detail: &str, parameters: &[&str]) {
    let parameters = serde_json::to_string(parameters).expect("strings");
    let detail = serde_json::to_string(detail).expect("a string");
    let reason = match status {
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        _ => panic!("{status}"),
    };
    let body = format!(
        "{{\"detail\":{detail},\"error\":{status},\"errorCode\":\"{code}\",\
         \"parameters\":{parameters},\"reason\":\"{reason}\"}}"
    );
    assert_eq!(reply.body(), body);
    assert_eq!(reply.status, status);
    assert_eq!(reply.code(), code);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["content-length"], body.len().to_string());
}

#[tokio::test]
async fn each_bad_value_is_named_and_changes_nothing() {
    let server = Server::with_history();
    let before = (server.registry(), server.get(&clusters("Cluster0")).await.bytes);
    let rows = |server: &Server| {
        let filter = Filter::all(Scope::Project(group(GROUP)), 100);
        server.app.store().select(&filter).expect("reads").rows
    };
    let rows_before = rows(&server);
    let other = |rest: &str| format!("/api/atlas/v2/groups/{rest}");
    for (target, status, code, detail, parameters) in [
        // ids
        (
            other("32b6e34b3d91647abb20e7b/clusters"),
            404,
            "INVALID_GROUP_ID",
            "An invalid group ID 32b6e34b3d91647abb20e7b was specified.",
            &["32b6e34b3d91647abb20e7b"][..],
        ),
        (
            other(&GROUP.to_uppercase()),
            404,
            "INVALID_GROUP_ID",
            "An invalid group ID 32B6E34B3D91647ABB20E7B8 was specified.",
            &["32B6E34B3D91647ABB20E7B8"],
        ),
        (
            other("%00%FF/dbAccessHistory/clusters/Cluster0"),
            404,
            "INVALID_GROUP_ID",
            "An invalid group ID \0\u{fffd} was specified.",
            &["\0\u{fffd}"],
        ),
        // unknown project, cluster, host
        (
            other("111111111111111111111111/dbAccessHistory/clusters/Cluster0?nLogs=20000"),
            404,
            "GROUP_NOT_FOUND",
            "No group with ID 111111111111111111111111 exists.",
            &[ABSENT_GROUP],
        ),
        (
            other("byName/Project%201"),
            404,
            "GROUP_NAME_NOT_FOUND",
            "No group with name Project 1 exists.",
            &["Project 1"],
        ),
        (
            clusters("cluster0"),
            404,
            "CLUSTER_NOT_FOUND",
            &format!("No cluster named cluster0 exists in group {GROUP}."),
            &["cluster0", GROUP],
        ),
        (
            processes("nowhere:27017"),
            404,
            "HOSTNAME_AND_PORT_NOT_FOUND",
            &format!("No host with hostname and port nowhere:27017 exists in group {GROUP}."),
            &["nowhere:27017", GROUP],
        ),
        // names; the first is the seed's own example
        (
            clusters("gqW,C"),
            400,
            "CLUSTER_NAME_INVALID",
            "The cluster name gqW,C is invalid. The name can only contain ASCII letters, \
             numbers, and hyphens.",
            &["gqW,C"],
        ),
        (
            clusters("%2e%2e%2fetc"),
            400,
            "CLUSTER_NAME_INVALID",
            "The cluster name ../etc is invalid. The name can only contain ASCII letters, \
             numbers, and hyphens.",
            &["../etc"],
        ),
        (processes("a%20b"), 400, "INVALID_HOSTNAME", "Invalid hostname a b.", &["a b"]),
        (processes("a:0"), 400, "INVALID_HOSTNAME", "Invalid hostname a:0.", &["a:0"]),
        // dates
        (
            clusters("Cluster0?start=yesterday&end=2"),
            400,
            "INVALID_DATE_FORMAT",
            "An invalid date value yesterday was specified.",
            &["yesterday"],
        ),
        (
            clusters("Cluster0?start=1970-01-01T00%3A00%3A00.00Z&end=end_example"),
            400,
            "INVALID_DATE_FORMAT",
            "An invalid date value end_example was specified.",
            &["end_example"],
        ),
        (
            processes(&format!("{NODE}?start=1970-01-01T00%3A00%3A00.00Z")),
            400,
            "MISSING_QUERY_PARAMETER",
            "The required query parameter end was not specified.",
            &["end"],
        ),
        (
            clusters("Cluster0?end=1682480000000"),
            400,
            "MISSING_QUERY_PARAMETER",
            "The required query parameter start was not specified.",
            &["start"],
        ),
        (
            clusters("Cluster0?start=1682480000001&end=1682480000000"),
            400,
            "START_DATE_AFTER_END_DATE",
            "The specified start date must be earlier than the specified end date.",
            &[],
        ),
    ] {
        check(&server.get(&target).await, status, code, detail, parameters);
    }
    for (name, values) in [
        ("authResult", &["", "yes", "1", "success"][..]),
        ("envelope", &["2", "on"]),
        ("pretty", &["x"]),
        ("nLogs", &["-1", "20001", "1.5", "abc", "", "%EF%BC%91"]),
        ("ipAddress", &["localhost", "1.2.3", "1.2.3.4:27017", "300.1.1.1", "", "::g", "%FF"]),
    ] {
        for value in values {
            for path in [clusters("Cluster0"), processes(NODE)] {
                let reply = server.get(&format!("{path}?{name}={value}")).await;
                let detail = format!("Invalid query parameter {name} specified.");
                check(&reply, 400, "INVALID_QUERY_PARAMETER", &detail, &[name]);
            }
        }
    }
    server.app.usage().flush();
    assert_eq!(server.registry(), before.0);
    assert_eq!(server.get(&clusters("Cluster0")).await.bytes, before.1);
    assert_eq!(rows(&server), rows_before);
}

#[tokio::test]
async fn versions_that_there_are_not() {
    let server = Server::new();
    let invalid = "Invalid accept header or version date.";
    let target = clusters("Cluster0");
    for accept in ["application/json", "*/*", "application/vnd.atlas.2022-01-01+json"] {
        let reply = server.call(OWNER, "GET", &target, &[("accept", accept)]).await;
        check(&reply, 406, "INVALID_VERSION_DATE", invalid, &[]);
    }
    let reply = server.call(OWNER, "GET", &target, &[]).await;
    check(&reply, 406, "INVALID_VERSION_DATE", invalid, &[]);
    let csv = [("accept", "application/vnd.atlas.2023-01-01+csv")];
    let reply = server.call(OWNER, "GET", &target, &csv).await;
    let detail = "The Atlas Administration API doesn't support media-type csv. Please use: json.";
    check(&reply, 406, "MEDIA_TYPE_NOT_SUPPORTED_FOR_VERSION", detail, &["csv", "json"]);
    // The seed's client sends two lines; one that fits is enough.
    let two = [("accept", VERSION), ("accept", "application/json")];
    assert_eq!(server.call(OWNER, "GET", &target, &two).await.status, 200);
}

#[tokio::test]
async fn paths_and_methods_that_there_are_not() {
    let server = Server::new();
    for path in [
        "/api/atlas/v2/softwareComponents/version",
        "/api/atlas/v3/groups",
        "/api/atlas/v2/groups/",
        "/api/private/v1.0/telemetry/events",
        "/api/atlas/v2/groups/32b6e34b3d91647abb20e7b8/dbAccessHistory/clusters/",
    ] {
        let detail = format!("Cannot find resource {path}.");
        check(&server.get(path).await, 404, "RESOURCE_NOT_FOUND", &detail, &[path]);
        let unknown = server.send(request("GET", path, &[])).await;
        assert_eq!(unknown.status, 401, "{path}");
    }
    // Outside of /api there is nothing to hide, and nothing to log in to.
    let reply = server.send(request("GET", "/favicon.ico", &[])).await;
    let detail = "Cannot find resource /favicon.ico.";
    check(&reply, 404, "RESOURCE_NOT_FOUND", detail, &["/favicon.ico"]);

    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
        let reply = server.call(OWNER, method, &clusters("Cluster0"), &[]).await;
        let detail = format!("The method {method} is not allowed for this resource.");
        check(&reply, 405, "METHOD_NOT_ALLOWED", &detail, &[method]);
        assert_eq!(reply.headers["allow"], "GET, HEAD");
        let unknown = server.send(request(method, &clusters("Cluster0"), &[])).await;
        assert_eq!(unknown.status, 401, "{method}");
    }
    let long = format!("/api/atlas/v2/groups?x={}", "x".repeat(8192));
    assert_eq!(server.send(request("GET", &long, &[])).await.status, 414);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let server = Server::with_history();
    let get = server.get(&clusters("Cluster0")).await;
    let head = server.call(OWNER, "HEAD", &clusters("Cluster0"), &[("accept", VERSION)]).await;
    assert_eq!(head.bytes, b"");
    let mut expected = get.headers.clone();
    expected.insert("ratelimit-remaining".into(), "1198".into());
    assert_eq!((head.status, head.headers), (200, expected));
}

/// Whatever stands in the places that a client fills, the answer is one of those the contract
/// knows, and never a failure of ours.
#[test]
fn anything_at_all_gets_an_answer_of_the_contract() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("starts");
    let server = Server::with_history();
    let text = || prop_oneof![".{0,20}", "[a-z0-9:.\\[\\]-]{0,20}", "[0-9TZ:-]{0,25}"];
    let parameter = prop_oneof![
        Just("nLogs"),
        Just("start"),
        Just("end"),
        Just("ipAddress"),
        Just("authResult"),
        Just("envelope"),
        Just("pretty"),
        Just("pageNum"),
        Just("x"),
    ];
    let query = proptest::collection::vec((parameter, text()), 0..4);
    let shape = prop_oneof![
        Just("groups/A"),
        Just("groups/byName/A"),
        Just("groups/G/clusters/A"),
        Just("groups/G/processes"),
        Just("groups/G/dbAccessHistory/clusters/A"),
        Just("groups/G/dbAccessHistory/clusters/Cluster0"),
        Just("groups/A/dbAccessHistory/processes/A"),
        Just("groups/G/dbAccessHistory/processes/A"),
    ];
    let cases = proptest::test_runner::Config { cases: 200, ..Default::default() };
    proptest!(cases, |(shape in shape, segment in text(), query in query)| {
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> =
            query.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        let path = shape.replace('A', &escape(&segment)).replace("groups/G", &format!("groups/{GROUP}"));
        let target = format!("/api/atlas/v2/{path}?{}", pairs.join("&"));
        let reply = runtime.block_on(server.get(&target));
        prop_assert!([200, 400, 404].contains(&reply.status), "{} {}", reply.status, target);
        prop_assert_eq!(reply.status == 200, reply.code().is_empty());
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&reply.bytes).is_ok());
    });
}
