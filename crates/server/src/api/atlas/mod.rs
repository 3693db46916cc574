//! The Atlas Administration API, as far as it is about access history: two operations that answer
//! from the history, and the look-ups that clients make around them, each under `v2` and `v1.0`.
//!
//! [`OPERATIONS`] is the table; the router is built from it and from nothing else. A request goes
//! through `dispatch` in this order, and the order is part of the contract: who are you (401) ·
//! is there such a path (404, 405) · which version (406) · is there such a project for you (404) ·
//! may you (401) · how often (429) · the operation's own checks (400, 404) · the answer.
//!
//! Everything that is answered differently from what a reader might expect is in
//! `docs/api-quirks.md`.

mod access_logs;
mod access_logs_by_cluster;
mod access_logs_by_host;
mod call;
mod clusters;
mod dispatch;
mod error;
mod groups;
mod processes;
mod query;
pub mod rate_limit;
mod render;
#[cfg(test)]
pub(crate) mod tests;
mod version;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

use crate::app::App;
use crate::auth;
use crate::auth::oauth::Endpoint;
use call::{Answer, Call, Link, seconds};
use error::ApiError;
use version::ResourceVersion;

/// One operation of the API.
pub struct Operation {
    /// Atlas's `operationId`.
    pub id: &'static str,
    /// What follows `/api/atlas/v2/` and `/api/atlas/v1.0/`.
    pub path: &'static str,
    /// What the caller must be allowed to do, in the project if the path names one.
    pub needs: auth::Operation,
    /// The versions of the resource under v2.
    pub versions: &'static [ResourceVersion],
    /// Whether the rate limit "Access Logs" counts it.
    pub is_limited: bool,
    /// Serves it.
    serve: for<'a, 'b> fn(&'a mut Call<'b>) -> Result<Answer, ApiError>,
}

/// Every operation that is served, under both dialects, for GET and HEAD.
pub static OPERATIONS: &[Operation] = &[
    Operation {
        id: "getGroupDbAccessHistoryCluster",
        path: "groups/{groupId}/dbAccessHistory/clusters/{clusterName}",
        needs: auth::Operation::ReadHistory,
        versions: version::FIRST_ONLY,
        is_limited: true,
        serve: access_logs_by_cluster::serve,
    },
    Operation {
        id: "getGroupDbAccessHistoryProcess",
        path: "groups/{groupId}/dbAccessHistory/processes/{hostname}",
        needs: auth::Operation::ReadHistory,
        versions: version::FIRST_ONLY,
        is_limited: true,
        serve: access_logs_by_host::serve,
    },
    Operation {
        id: "listGroups",
        path: "groups",
        needs: auth::Operation::ListProjects,
        versions: version::FIRST_ONLY,
        is_limited: false,
        serve: groups::serve_list,
    },
    Operation {
        id: "getGroup",
        path: "groups/{groupId}",
        needs: auth::Operation::ReadProject,
        versions: version::FIRST_ONLY,
        is_limited: false,
        serve: groups::serve_one,
    },
    Operation {
        id: "getGroupByName",
        path: "groups/byName/{groupName}",
        needs: auth::Operation::ListProjects,
        versions: version::FIRST_ONLY,
        is_limited: false,
        serve: groups::serve_by_name,
    },
    Operation {
        id: "listGroupClusters",
        path: "groups/{groupId}/clusters",
        needs: auth::Operation::ReadClusters,
        versions: version::CLUSTERS,
        is_limited: false,
        serve: clusters::serve_list,
    },
    Operation {
        id: "getGroupCluster",
        path: "groups/{groupId}/clusters/{clusterName}",
        needs: auth::Operation::ReadClusters,
        versions: version::CLUSTERS,
        is_limited: false,
        serve: clusters::serve_one,
    },
    Operation {
        id: "listGroupProcesses",
        path: "groups/{groupId}/processes",
        needs: auth::Operation::ReadHosts,
        versions: version::FIRST_ONLY,
        is_limited: false,
        serve: processes::serve_list,
    },
];

/// The two forms of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/api/atlas/v2/`: versions by date, `vnd` media types.
    V2,
    /// `/api/atlas/v1.0/`: plain JSON. The OpenTelemetry receiver and many scripts live here.
    V1,
}

impl Dialect {
    /// Both.
    pub const ALL: [Dialect; 2] = [Dialect::V2, Dialect::V1];

    /// What its paths begin with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Dialect::V2 => "/api/atlas/v2/",
            Dialect::V1 => "/api/atlas/v1.0/",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Dialect::V2 => "atlas.v2",
            Dialect::V1 => "atlas.v1.0",
        }
    }
}

/// The router of this surface, and of every path that no surface knows.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for operation in OPERATIONS {
        for dialect in Dialect::ALL {
            let path = format!("{}{}", dialect.prefix(), operation.path);
            // Every method comes here: 405 is Atlas's to word, and is told only to callers who
            // are known.
            let serve = async move |State(app): State<App>, request: Request| {
                let answer = dispatch::dispatch(app.clone(), Some((operation, dialect)), request);
                app.metrics().count(dialect.name(), operation.id, answer).await
            };
            router = router.route(&path, any(serve));
        }
    }
    for (path, endpoint) in
        [("/api/oauth/token", Endpoint::Token), ("/api/oauth/revoke", Endpoint::Revoke)]
    {
        let serve = async move |State(app): State<App>, request: Request| {
            let answer = dispatch::dispatch_oauth(app.clone(), endpoint, request);
            app.metrics().count("oauth", endpoint.name(), answer).await
        };
        router = router.route(path, any(serve));
    }
    let unknown = async |State(app): State<App>, request: Request| {
        let answer = dispatch::dispatch(app.clone(), None, request);
        app.metrics().count("none", "none", answer).await
    };
    router.fallback(unknown).with_state(app.clone())
}
