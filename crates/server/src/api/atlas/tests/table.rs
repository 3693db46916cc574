//! The table of operations, the router and this list are the same.

use std::collections::BTreeSet;

use super::*;
use crate::api::atlas::{Dialect, OPERATIONS};

/// What is served. A line more or less is a change of the contract: it needs a test of its
/// authorisation and of its answer, and a line in the changelog.
const SERVED: &[&str] = &[
    "GET /api/atlas/v1.0/groups",
    "GET /api/atlas/v1.0/groups/byName/{groupName}",
    "GET /api/atlas/v1.0/groups/{groupId}",
    "GET /api/atlas/v1.0/groups/{groupId}/clusters",
    "GET /api/atlas/v1.0/groups/{groupId}/clusters/{clusterName}",
    "GET /api/atlas/v1.0/groups/{groupId}/dbAccessHistory/clusters/{clusterName}",
    "GET /api/atlas/v1.0/groups/{groupId}/dbAccessHistory/processes/{hostname}",
    "GET /api/atlas/v1.0/groups/{groupId}/processes",
    "GET /api/atlas/v2/groups",
    "GET /api/atlas/v2/groups/byName/{groupName}",
    "GET /api/atlas/v2/groups/{groupId}",
    "GET /api/atlas/v2/groups/{groupId}/clusters",
    "GET /api/atlas/v2/groups/{groupId}/clusters/{clusterName}",
    "GET /api/atlas/v2/groups/{groupId}/dbAccessHistory/clusters/{clusterName}",
    "GET /api/atlas/v2/groups/{groupId}/dbAccessHistory/processes/{hostname}",
    "GET /api/atlas/v2/groups/{groupId}/processes",
];

#[tokio::test]
async fn the_table_is_the_router() {
    let paths = OPERATIONS.iter().flat_map(|operation| {
        Dialect::ALL.map(|dialect| format!("GET {}{}", dialect.prefix(), operation.path))
    });
    let served: BTreeSet<String> = paths.collect();
    assert_eq!(served.iter().map(String::as_str).collect::<Vec<_>>(), SERVED);

    let server = Server::new();
    for path in served {
        let path = path.trim_start_matches("GET ");
        let path = path
            .replace("{groupId}", GROUP)
            .replace("{groupName}", "Project%200")
            .replace("{clusterName}", "Cluster0")
            .replace("{hostname}", NODE);
        assert_eq!(server.get(&path).await.status, 200, "{path}");
        assert_eq!(server.send(request("GET", &path, &[])).await.status, 401, "{path}");
        // Whatever the router knew besides would not say this.
        for absent in [format!("{path}/x"), path.replace("/groups", "/orgs")] {
            let code = server.get(&absent).await.code().to_owned();
            let is_other_operation = served_as_other(&absent);
            assert!(code == "RESOURCE_NOT_FOUND" || is_other_operation, "{absent}: {code}");
        }
    }
}

/// `groups/x` and `groups/byName/x` have the form of `groups/{groupId}` and so on.
fn served_as_other(path: &str) -> bool {
    let segments: Vec<_> = path.split('/').skip(4).collect();
    matches!(segments[..], ["groups", _] | ["groups", _, "clusters", _] | ["groups", "byName", _])
}

/// An operation that is not limited to a project's members would be a hole.
#[test]
fn every_operation_of_a_project_asks_for_a_right_in_it() {
    use crate::auth::Operation::{ListProjects, ReadHistory};
    for operation in OPERATIONS {
        let is_of_project = operation.path.contains("{groupId}");
        assert_eq!(operation.needs != ListProjects, is_of_project, "{}", operation.id);
        let is_history = operation.path.contains("dbAccessHistory");
        assert_eq!(operation.needs == ReadHistory, is_history, "{}", operation.id);
        assert_eq!(operation.is_limited, is_history, "{}", operation.id);
    }
}
