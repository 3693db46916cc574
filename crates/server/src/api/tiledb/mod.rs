//! The REST API of TileDB Cloud, as far as it is about arrays and who did what with them: the activity
//! log in its two versions, and what clients call to get that far.
//!
//! [`OPERATIONS`] is the table. Paths are matched as they were sent: an array may be called by its
//! storage address, which is one segment with its slashes escaped, and nothing is decoded twice. A
//! request goes through `dispatch` in this order: is the target short enough (414) · is it asked which
//! protocol we speak (404) · who are you (401) · is there such a path (404, 405) · the body (400, 413,
//! 415) · may you (403, 404) · the operation's own checks (400, 404, 409) · the answer. Clients repeat
//! a 503 a hundred times in silence, so that it is only said of what passes.
//!
//! What is answered differently from what a reader might expect is in `docs/api-quirks.md`, and which
//! action has which word in `docs/design/array-activity.md`.

mod activity;
mod arrays;
mod browser;
mod caller;
mod dispatch;
mod error;
mod query;
mod session;
mod share;
#[cfg(test)]
mod tests;
mod views;
mod words;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::any;

use crate::app::App;
use dispatch::{Answer, Call};
use error::ApiError;

/// One operation of the API.
pub struct Operation {
    /// TileDB's `operationId`.
    pub id: &'static str,
    /// The method; `GET` is `HEAD`, too.
    pub method: &'static str,
    /// The path, without its leading slash.
    pub path: &'static str,
    /// Serves it.
    serve: for<'a, 'b> fn(&'a mut Call<'b>) -> Result<Answer, ApiError>,
}

/// The two versions of the activity log. They differ in form and in the words for actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `/v1`: a bare list.
    V1,
    /// `/v2`: pages.
    V2,
}

/// Every operation that is served. Of two that match, the first is meant.
pub static OPERATIONS: &[Operation] = &[
    operation("getUser", "GET", "v1/user", session::user),
    operation("getSession", "GET", "v1/session", session::session),
    operation("arraysBrowserOwnedGet", "GET", "v1/arrays/browser/owned", browser::owned),
    operation("arraysBrowserSharedGet", "GET", "v1/arrays/browser/shared", browser::shared),
    operation("arraysBrowserPublicGet", "GET", "v1/arrays/browser/public", browser::public),
    operation("getLastAccessedArrays", "GET", "v1/arrays/last_accessed", browser::last_accessed),
    operation("arrayExists", "GET", "v1/arrays/{namespace}/{array}", arrays::exists),
    operation("deleteArray", "DELETE", "v1/arrays/{namespace}/{array}", arrays::delete),
    operation("registerArray", "POST", "v1/arrays/{namespace}/{array}/register", arrays::register),
    operation(
        "deregisterArray",
        "DELETE",
        "v1/arrays/{namespace}/{array}/deregister",
        arrays::deregister,
    ),
    operation("getArrayMetadata", "GET", "v1/arrays/{namespace}/{array}/metadata", arrays::info),
    operation(
        "updateArrayMetadata",
        "PATCH",
        "v1/arrays/{namespace}/{array}/metadata",
        arrays::update,
    ),
    operation("getArraySharingPolicies", "GET", "v1/arrays/{namespace}/{array}/share", share::list),
    operation("shareArray", "PATCH", "v1/arrays/{namespace}/{array}/share", share::change),
    operation("arrayActivityLog", "GET", "v1/arrays/{namespace}/{array}/activity", activity::list),
    operation(
        "getActivityLogById",
        "GET",
        "v1/arrays/{namespace}/{array}/activity/{id}",
        activity::one,
    ),
    operation(
        "arrayActivityLogV2",
        "GET",
        "v2/arrays/{namespace}/{array}/activity",
        activity::page,
    ),
];

const fn operation(
    id: &'static str,
    method: &'static str,
    path: &'static str,
    serve: for<'a, 'b> fn(&'a mut Call<'b>) -> Result<Answer, ApiError>,
) -> Operation {
    Operation { id, method, path, serve }
}

/// The router of this surface: every path below the prefixes of TileDB's API.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for prefix in ["/v1", "/v2", "/v4"] {
        for path in [prefix.to_owned(), format!("{prefix}/"), format!("{prefix}/{{*rest}}")] {
            let serve = async |State(app): State<App>, request: Request| {
                let found = dispatch::find(request.method(), request.uri().path());
                let name = found.operation.map_or("none", |operation| operation.id);
                let answer = dispatch::dispatch(app.clone(), found, request);
                app.metrics().count("tiledb", name, answer).await
            };
            router = router.route(&path, any(serve));
        }
    }
    router.with_state(app.clone())
}
