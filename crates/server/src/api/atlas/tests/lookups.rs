//! The look-ups that clients make before they ask for a history.

use super::*;

async fn body(server: &Server, target: &str) -> String {
    let headers = [("accept", VERSION), ("host", "127.0.0.1:8099")];
    let reply = server.call(OWNER, "GET", target, &headers).await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.body());
    reply.body().to_owned()
}

fn project(version: &str) -> String {
    let own = format!("http://127.0.0.1:8099/api/atlas/{version}/groups/{GROUP}");
    format!(
        "{{\"clusterCount\":2,\"created\":\"2020-01-01T00:00:00Z\",\"id\":\"{GROUP}\",\
         \"links\":[{{\"href\":\"{own}\",\"rel\":\"self\"}},\
         {{\"href\":\"{own}/clusters\",\"rel\":\"https://cloud.mongodb.com/clusters\"}},\
         {{\"href\":\"{own}/processes\",\"rel\":\"https://cloud.mongodb.com/processes\"}}],\
         \"name\":\"Project 0\",\"orgId\":\"000000000000000000000000\"}}"
    )
}

#[tokio::test]
async fn projects() {
    let server = Server::new();
    let one = format!("/api/atlas/v2/groups/{GROUP}");
    assert_eq!(body(&server, &one).await, project("v2"));
    let by_name = "/api/atlas/v1.0/groups/byName/Project%200";
    assert_eq!(body(&server, by_name).await, project("v1.0"));
    let list = format!(
        "{{\"links\":[{{\"href\":\"http://127.0.0.1:8099/api/atlas/v2/groups?includeCount=true\
         &pageNum=1&itemsPerPage=100\",\"rel\":\"self\"}}],\"results\":[{}],\"totalCount\":1}}",
        project("v2")
    );
    assert_eq!(body(&server, "/api/atlas/v2/groups").await, list);
}

#[tokio::test]
async fn clusters_of_a_project() {
    let server = Server::new();
    let one = |version: &str| {
        format!(
            "{{\"connectionStrings\":{{\"standard\":\"mongodb://\
             cluster0-shard-00-00.xvvx3a.mongodb.net:27017,{NODE}:27018\"}},\
             \"createDate\":\"2020-01-01T00:00:00Z\",\"groupId\":\"{GROUP}\",\
             \"id\":\"{CLUSTER_ID}\",\"links\":[{{\"href\":\"http://127.0.0.1:8099/api/atlas/\
             {version}/groups/{GROUP}/clusters/Cluster0\",\"rel\":\"self\"}}],\
             \"name\":\"Cluster0\",\"paused\":false,\"stateName\":\"IDLE\"}}"
        )
    };
    for version in ["v2", "v1.0"] {
        let target = format!("/api/atlas/{version}/groups/{GROUP}/clusters");
        assert_eq!(body(&server, &format!("{target}/Cluster0")).await, one(version));
        let list = body(&server, &format!("{target}?pageNum=1&itemsPerPage=1")).await;
        let link = |page: usize, rel: &str| {
            format!(
                "{{\"href\":\"http://127.0.0.1:8099{target}?includeCount=true&pageNum={page}\
                 &itemsPerPage=1\",\"rel\":\"{rel}\"}}"
            )
        };
        let expected = format!(
            "{{\"links\":[{},{}],\"results\":[{}],\"totalCount\":2}}",
            link(1, "self"),
            link(2, "next"),
            one(version)
        );
        assert_eq!(list, expected);
    }
    let target = format!("/api/atlas/v2/groups/{GROUP}/clusters");
    let last =
        body(&server, &format!("{target}?pageNum=2&itemsPerPage=1&includeCount=false")).await;
    assert!(last.contains("\"rel\":\"previous\"") && !last.contains("\"rel\":\"next\""));
    assert!(last.contains("\"name\":\"Other\"") && !last.contains("totalCount"));
    // A list is its own envelope.
    let enveloped = body(&server, &format!("{target}?envelope=true&pageNum=3")).await;
    assert!(enveloped.ends_with("\"results\":[],\"status\":200,\"totalCount\":2}"));
}

const CLUSTER_ID: &str = "783f02c3f3c95962fae5b617";

/// Of the recorded headers (..clusters_accessLogs-428_1 and _2) those that say which version
/// answered.
#[tokio::test]
async fn clusters_have_versions() {
    let server = Server::new();
    let target = format!("/api/atlas/v2/groups/{GROUP}/clusters/Cluster0");
    for (asked, answered, deprecation) in [
        ("2023-01-01", "2023-01-01", None),
        ("2023-02-01", "2023-02-01", Some("Mon, 5 Aug 2024 00:00:00 GMT")),
        ("2024-08-05", "2024-08-05", None),
        ("2025-03-12", "2024-08-05", None),
    ] {
        let accept = format!("application/vnd.atlas.{asked}+json");
        let reply = server.call(OWNER, "GET", &target, &[("accept", &accept)]).await;
        let content_type = format!("application/vnd.atlas.{answered}+json;charset=utf-8");
        assert_eq!(reply.headers["content-type"], content_type);
        assert_eq!(reply.headers.get("deprecation").map(String::as_str), deprecation);
        let sunset = deprecation.map(|_| "Thu, 1 Jul 2027 00:00:00 GMT");
        assert_eq!(reply.headers.get("sunset").map(String::as_str), sunset);
        // Errors too (recorded: errors/all-errors.txt, the 400 of clusters_cluster-833_1).
        for error in [format!("{target}?pretty=x"), target.replace("Cluster0", "none")] {
            let reply = server.call(OWNER, "GET", &error, &[("accept", &accept)]).await;
            assert!([400, 404].contains(&reply.status), "{}", reply.body());
            assert_eq!(reply.headers["content-type"], "application/json");
            assert_eq!(reply.headers.get("deprecation").map(String::as_str), deprecation);
            assert_eq!(reply.headers.get("sunset").map(String::as_str), sunset);
        }
    }
}

#[tokio::test]
async fn processes_of_a_project() {
    let server = Server::new();
    let query = "?includeCount=true&itemsPerPage=100&pageNum=1";
    let target = format!("/api/atlas/v2/groups/{GROUP}/processes");
    let process = |hostname: &str, id: &str, port: u16, alias: &str| {
        format!(
            "{{\"created\":\"2020-01-01T00:00:00Z\",\"groupId\":\"{GROUP}\",\
             \"hostname\":\"{hostname}\",\"id\":\"{id}\",\"links\":[],\"port\":{port}{alias}}}"
        )
    };
    let alias = ",\"userAlias\":\"cluster0-shard-00-00.xvvx3a.mongodb.net\"";
    let expected = format!(
        "{{\"links\":[{{\"href\":\"http://127.0.0.1:8099{target}?includeCount=true&pageNum=1\
         &itemsPerPage=100\",\"rel\":\"self\"}}],\"results\":[{},{},{}],\"totalCount\":3}}",
        process("2001:db8::5", "[2001:db8::5]:27017", 27017, ""),
        process(NODE, &format!("{NODE}:27017"), 27017, alias),
        process(NODE, &format!("{NODE}:27018"), 27018, ""),
    );
    assert_eq!(body(&server, &format!("{target}{query}")).await, expected);
    for bad in ["pageNum=0", "itemsPerPage=501", "includeCount=x"] {
        assert_eq!(server.get(&format!("{target}?{bad}")).await.code(), "INVALID_QUERY_PARAMETER");
    }
}

/// A client's idea of our name is shown to that client only, and only if it is a name.
#[tokio::test]
async fn links_are_paths_where_the_host_is_no_host() {
    let server = Server::new();
    let target = format!("/api/atlas/v2/groups/{GROUP}/clusters/Other");
    let headers = [("accept", VERSION), ("host", "evil\"><script>")];
    let reply = server.call(OWNER, "GET", &target, &headers).await;
    assert_eq!(reply.json()["links"][0]["href"], target.as_str());
}

/// What `/processes` shows as a name can be asked for under that name, whatever its form.
#[tokio::test]
async fn shown_aliases_are_found() {
    for (alias, shown, connect) in [
        ("[fe80::1]:27019", "fe80::1", "[fe80::1]:27019"),
        ("[fe80::2]", "fe80::2", "[fe80::2]:27017"),
        ("fe80:0:0::3", "fe80::3", "[fe80::3]:27017"),
        ("front.example:31000", "front.example", "front.example:31000"),
        ("front.example", "front.example", "front.example:27017"),
    ] {
        let server = Server::new();
        let change = RegistryChange::HostAliasAdded {
            project: group(GROUP),
            host: HostName::parse("[2001:db8::5]:27017").expect("a host").0,
            alias: alias.into(),
        };
        server.app.store().change_registry(&operator(), vec![change]).expect("allowed");
        let list = server.get(&format!("/api/atlas/v2/groups/{GROUP}/processes")).await.json();
        assert_eq!(list["results"][0]["userAlias"], shown, "{alias}");
        let target = format!("/api/atlas/v2/groups/{GROUP}/clusters/Other");
        let cluster = server.get(&target).await.json();
        let standard = &cluster["connectionStrings"]["standard"];
        assert_eq!(*standard, format!("mongodb://{connect}"), "{alias}");
        for name in [shown, "2001:db8:0:0:0:0:0:5", "[2001:DB8::5]:27017"] {
            let name = name.replace('[', "%5B").replace(']', "%5D");
            let reply = server.get(&processes(&name)).await;
            assert_eq!(reply.status, 200, "{name}: {}", reply.body());
        }
    }
}
