//! What makes the activity usable: who one is, arrays that come, are shared and go.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What is served. A line more or less is a change of the contract: it needs a test of its
/// authorisation and of its answer, and a line in the changelog.
const SERVED: &[&str] = &[
    "DELETE v1/arrays/{namespace}/{array}",
    "DELETE v1/arrays/{namespace}/{array}/deregister",
    "GET v1/arrays/browser/owned",
    "GET v1/arrays/browser/public",
    "GET v1/arrays/browser/shared",
    "GET v1/arrays/last_accessed",
    "GET v1/arrays/{namespace}/{array}",
    "GET v1/arrays/{namespace}/{array}/activity",
    "GET v1/arrays/{namespace}/{array}/activity/{id}",
    "GET v1/arrays/{namespace}/{array}/metadata",
    "GET v1/arrays/{namespace}/{array}/share",
    "GET v1/session",
    "GET v1/user",
    "GET v2/arrays/{namespace}/{array}/activity",
    "PATCH v1/arrays/{namespace}/{array}/metadata",
    "PATCH v1/arrays/{namespace}/{array}/share",
    "POST v1/arrays/{namespace}/{array}/register",
];

/// Goal: each operation asks who is there, and of an array that is not shared says no more than of one
/// that is not there.
#[tokio::test]
async fn the_table_is_what_is_served_and_none_of_it_to_strangers() {
    let served = OPERATIONS.iter().map(|o| format!("{} {}", o.method, o.path));
    let served: BTreeSet<String> = served.collect();
    assert_eq!(served.iter().map(String::as_str).collect::<Vec<_>>(), SERVED);
    let (cloud, _) = Cloud::with_an_array().await;
    for operation in OPERATIONS {
        let path = |array: &str| {
            let path = operation.path.replace("{namespace}", "alice").replace("{array}", array);
            format!("/{}", path.replace("{id}", "00000000-0000-0000-0000-000000000002"))
        };
        let headers = [("content-type", "application/json")];
        let sent = request(operation.method, &path("a"), &headers, "{}");
        let reply = cloud.doors.send(sent).await;
        error(&reply, 401);
        assert!(reply.headers["www-authenticate"][0].starts_with("Basic "), "{reply:?}");
        if operation.path.contains("{array}") {
            let there = cloud.send("bob", operation.method, &path("a"), &json!({})).await;
            let absent = cloud.send("bob", operation.method, &path("b"), &json!({})).await;
            let expected = if operation.id == "registerArray" { 403 } else { 404 };
            let (there, absent) = (error(&there, expected), error(&absent, expected));
            assert_eq!(there.replace("array a", "array b"), absent, "{}", operation.id);
        }
        let reply = cloud.send("alice", "PUT", &path("a"), &json!({})).await;
        error(&reply, 405);
        assert!(reply.headers["allow"][0].contains(operation.method), "{reply:?}");
    }
    for absent in ["/v1", "/v1/", "/v1/x", "/v2/arrays/alice/a", "/v1/arrays/alice/a/activity/1/2"]
    {
        error(&cloud.get("alice", absent).await, 404);
        error(&cloud.doors.send(request("GET", absent, &[], "")).await, 401);
    }
    // libtiledb asks for these, and goes on only at a 404, whoever it is.
    for (method, path) in [("GET", "/v4/capabilities"), ("GET", "/v4"), ("POST", "/v4/x/y")] {
        error(&cloud.doors.send(request(method, path, &[], "")).await, 404);
    }
    error(&cloud.send("alice", "OPTIONS", "/v2/groups/alice/a", &json!({})).await, 404);
    error(
        &cloud.send("alice", "POST", "/v2/arrays/alice/a/?start_timestamp=0", &json!({})).await,
        404,
    );
}

/// Goal: a user is known by token and by password, the token wins, and a login gives a token that works
/// and is recorded as one.
#[tokio::test]
async fn a_user_is_known_by_token_and_by_password() {
    let cloud = Cloud::new();
    let user = cloud.get("carol", "/v1/user").await.json(200);
    assert_eq!(
        (&user["username"], &user["default_namespace_charged"]),
        (&json!("carol"), &json!(""))
    );
    assert_eq!(user["organizations"][0]["organization_name"], "lab");
    let ask = async |headers: &[(&str, &str)], path: &str| {
        cloud.doors.send(request("GET", path, headers, "")).await
    };
    let right = basic("alice", &password("alice"));
    for _ in 0..2 {
        let user = ask(&[("authorization", &right)], "/v1/user").await.json(200);
        assert_eq!(user["username"], "alice");
    }
    let both = [("authorization", "Basic Og=="), ("x-tiledb-rest-api-key", &token("bob"))];
    assert_eq!(ask(&both, "/v1/user").await.json(200)["username"], "bob");
    let both = [("authorization", &*right), ("x-tiledb-rest-api-key", "wrong")];
    error(&ask(&both, "/v1/user").await, 401);
    for (user, password) in
        [("alice", "wrong"), ("alice", ""), ("nobody", &*password("alice")), ("lab", "x"), ("", "")]
    {
        error(&ask(&[("authorization", &basic(user, password))], "/v1/user").await, 401);
    }

    let login = |query: &str| format!("/v1/session{query}");
    let session = ask(&[("authorization", &right)], &login("?remember_me=True")).await.json(200);
    let expires: Timestamp =
        session["expires_at"].as_str().expect("a text").parse().expect("a time");
    assert_eq!(expires, NOW.plus_seconds(30 * 86_400));
    let token = session["token"].as_str().expect("a text").to_owned();
    let known = [("X-TILEDB-REST-API-KEY", &*token)];
    assert_eq!(ask(&known, "/v1/user").await.json(200)["username"], "alice");
    // Sixty-four logins end the first of them, and none of the tokens that do not end by themselves.
    cloud.doors.server.clock.set(NOW.plus_seconds(1));
    for _ in 0..64 {
        ask(&[("authorization", &right)], &login("?remember_me=true")).await.json(200);
    }
    error(&ask(&known, "/v1/user").await, 401);
    assert_eq!(cloud.get("alice", "/v1/user").await.status, 200);
    cloud.doors.server.clock.set(NOW.plus_seconds(31 * 86_400));
    ask(&[("authorization", &right)], "/v1/session").await.json(200);
    let arrays = cloud.doors.server.app.store().catalog().registry.arrays().clone();
    assert_eq!(arrays.tokens_of("alice").count(), 2, "those that are over are forgotten");

    let told = cloud.recorded(Scope::System);
    // How many of them are added up depends on when they come.
    let is_refused = |told: &(String, &str, String, &str)| {
        (&*told.0, told.1, &*told.2, told.3) == ("unauthenticated", "query", "127.0.0.1", "failure")
    };
    assert!(told.iter().any(is_refused), "{told:?}");
}

/// Goal: the life of an array, as the Python client sends it, is in its history with who and from where.
#[tokio::test]
async fn an_array_comes_changes_and_goes() {
    let (cloud, id) = Cloud::with_an_array().await;
    let info = cloud.get("alice", "/v1/arrays/alice/a/metadata").await.json(200);
    let expected = json!({
        "id": id, "uri": "s3://bucket/a b/c", "namespace": "alice", "name": "a",
        "tiledb_uri": format!("tiledb://alice/{id}"), "description": "d", "tags": ["x"],
        "allowed_actions":
            ["read", "write", "edit", "read_array_logs", "read_array_info", "read_array_schema"],
        "public_share": false, "share_count": 0, "namespace_subscribed": false, "read_only": false,
        "is_favorite": false, "created_at": NOW.to_string(), "created_by": "alice",
        "last_accessed": NOW.to_string(),
    });
    assert_eq!(info, expected);
    assert_eq!(cloud.get("alice", "/v1/arrays/alice/a").await.json(200), json!({}));

    cloud.share("bob", &["read", "write"]).await;
    let shares = cloud.get("alice", "/v1/arrays/alice/a/share").await.json(200);
    let expected =
        json!([{"actions": ["read", "write"], "namespace": "bob", "namespace_type": "user"}]);
    assert_eq!(shares, expected);
    error(&cloud.get("bob", "/v1/arrays/alice/a/share").await, 403);
    let body =
        json!({"description": "new", "uri": "tiledb://alice/a", "name": "renamed", "tags": []});
    error(&cloud.send("bob", "PATCH", "/v1/arrays/alice/a/metadata", &body).await, 403);
    let reply = cloud.send("alice", "PATCH", "/v1/arrays/alice/a/metadata", &body).await;
    assert_eq!(reply.status, 204, "{}", reply.body());
    error(&cloud.get("alice", "/v1/arrays/alice/a/metadata").await, 404);
    let info = cloud.get("bob", "/v1/arrays/alice/renamed/metadata").await.json(200);
    assert_eq!((&info["description"], &info["id"]), (&json!("new"), &json!(id)));
    let allowed =
        json!(["read", "write", "read_array_logs", "read_array_info", "read_array_schema"]);
    assert_eq!(info["allowed_actions"], allowed);
    for (method, path) in
        [("DELETE", "/v1/arrays/alice/renamed"), ("DELETE", "/v1/arrays/alice/renamed/deregister")]
    {
        error(&cloud.send("bob", method, path, &json!({})).await, 403);
    }
    let reply =
        cloud.send("alice", "DELETE", "/v1/arrays/alice/renamed/deregister", &json!({})).await;
    assert_eq!(reply.status, 204, "{}", reply.body());
    error(&cloud.get("alice", "/v1/arrays/alice/renamed/activity").await, 404);

    let history = cloud.recorded(Scope::Namespace("alice".into()));
    let told: Vec<_> =
        history.iter().map(|(who, what, from, _)| (&**who, *what, &**from)).collect();
    let expected = ["deregister", "update", "share", "register"];
    assert_eq!(told, expected.map(|what| ("alice", what, "127.0.0.1")));

    // The same place again is another array, without the other's history.
    let body = json!({"uri": "s3://bucket/a b/c"});
    let path = "/v1/arrays/alice/s3%3A%2F%2Fbucket%2Fa%20b%2Fc/register";
    let info = cloud.send("alice", "POST", path, &body).await.json(200);
    assert_eq!(info["name"], "c");
    assert_ne!(info["id"], json!(id));
    let rows = cloud.get("alice", "/v1/arrays/alice/c/activity").await.json(200);
    assert_eq!(actions(&rows), ["register"]);
    assert_eq!(cloud.send("alice", "DELETE", "/v1/arrays/alice/c", &json!({})).await.status, 204);
    let history = cloud.recorded(Scope::Namespace("alice".into()));
    assert_eq!(history[0].1, "delete", "{history:?}");
}

/// Goal: an array is registered where one may, once, and only if it is one.
#[tokio::test]
async fn registering_has_its_limits() {
    let (cloud, _) = Cloud::with_an_array().await;
    let register = async |user: &str, namespace: &str, uri: &str, name: &str| {
        let encode = percent_encoding::utf8_percent_encode(uri, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/v1/arrays/{namespace}/{encode}/register");
        cloud.send(user, "POST", &path, &json!({"name": name, "uri": uri})).await
    };
    let array = cloud.dir.path().join("arr1");
    std::fs::create_dir_all(array.join("__schema")).expect("made");
    std::fs::create_dir_all(cloud.dir.path().join("folder")).expect("made");
    let uri = format!("file://{}", array.display());
    assert_eq!(register("alice", "alice", &uri, "arr1").await.json(200)["uri"], uri);
    assert_eq!(register("carol", "lab", &uri, "arr1").await.json(200)["namespace"], "lab");
    for (user, namespace) in [("alice", "bob"), ("alice", "lab"), ("alice", "nobody")] {
        let message = error(&register(user, namespace, "s3://bucket/x", "x").await, 403);
        assert!(message.contains("is not a namespace of yours"), "{message}");
    }
    let folder = format!("file://{}/folder", cloud.dir.path().display());
    for (uri, name, status, says) in [
        ("s3://bucket/a b/c", "x", 409, "registered in namespace alice already, as a"),
        ("s3://bucket/x", "a", 409, "there is an array a"),
        (&folder, "x", 400, "no schema"),
        ("file:///etc/passwd", "x", 400, "--array-root"),
        ("file:///nothing/at/all", "x", 400, "--array-root"),
        ("s3://bucket/../x", "x", 400, "not where an array can be stored"),
        ("s3://bucket/x\0", "x", 400, "not where an array can be stored"),
        ("s3://bucket/x", "../x", 400, "is not a name for an array"),
        ("s3://bucket/x", "x\0", 400, "is not a name for an array"),
        ("tiledb://alice/x", "x", 400, "not where an array can be stored"),
    ] {
        let message = error(&register("alice", "alice", uri, name).await, status);
        assert!(message.contains(says), "{uri} {name}: {message}");
    }
    let path = "/v1/arrays/alice/s3%3A%2F%2Fbucket%2Fx/register";
    let other = json!({"name": "x", "uri": "s3://bucket/y"});
    let message = error(&cloud.send("alice", "POST", path, &other).await, 400);
    assert!(message.contains("not the one in the path"), "{message}");
    assert_eq!(cloud.doors.server.app.store().catalog().registry.arrays().arrays().count(), 3);
}

/// Goal: lists hold what they are named for, page by page, and the latest activity of what the caller
/// may look into.
#[tokio::test]
async fn lists_show_what_one_may_see() {
    let (cloud, id) = Cloud::with_an_array().await;
    for n in 0..3 {
        let body =
            json!({"name": format!("Set-{n}"), "uri": format!("s3://bucket/{n}"), "tags": ["t"]});
        let path = format!("/v1/arrays/alice/s3%3A%2F%2Fbucket%2F{n}/register");
        cloud.send("alice", "POST", &path, &body).await.json(200);
    }
    let list = async |user: &str, path: &str| {
        let answer = cloud.get(user, &format!("/v1/arrays/browser/{path}")).await.json(200);
        let names = answer["arrays"].as_array().expect("a list").iter();
        let names: Vec<String> =
            names.map(|array| array["name"].as_str().expect("a text").to_owned()).collect();
        (names.join(" "), answer["pagination_metadata"]["total_items"].as_u64().expect("a number"))
    };
    assert_eq!(list("alice", "owned").await, ("Set-0 Set-1 Set-2 a".into(), 4));
    let query = "owned?page=1&per_page=2&search=set&namespace=alice&tag=t&with_metadata=True";
    assert_eq!(list("alice", query).await, ("Set-0 Set-1".into(), 3));
    assert_eq!(list("alice", "owned?page=2&per_page=2&search=set").await, ("Set-2".into(), 3));
    assert_eq!(list("alice", "owned?tag=t&tag=u").await, (String::new(), 0));
    assert_eq!(list("bob", "owned").await, (String::new(), 0));
    assert_eq!(list("bob", "shared").await, (String::new(), 0));
    cloud.share("bob", &["read"]).await;
    assert_eq!(list("bob", "shared").await, ("a".into(), 1));
    assert_eq!(list("alice", "shared").await, (String::new(), 0));
    assert_eq!(list("carol", "public").await, (String::new(), 0));
    cloud.share("public", &["read"]).await;
    assert_eq!(list("carol", "public").await, ("a".into(), 1));

    cloud.tell(&id, 5, Action::QueryRead, |_| {});
    let last = cloud.get("bob", "/v1/arrays/last_accessed").await.json(200);
    let expected = json!([{
        "array_id": id, "array_name": "a", "namespace": "alice",
        "accessed_time": NOW.plus_seconds(5).millis(), "access_type": "query_read",
    }]);
    assert_eq!(last, expected);
    assert_eq!(cloud.get("carol", "/v1/arrays/last_accessed").await.json(200), json!([]));
    let all = cloud.get("alice", "/v1/arrays/last_accessed").await.json(200);
    assert_eq!(all.as_array().map(Vec::len), Some(4));
}
