//! Doorbook's own API, `/api/v1`: one door through which events come, one for agents, one through which
//! events are read. `docs/design/native-api.md` and `docs/design/ingest.md` describe both for people.
//!
//! [`OPERATIONS`] is the table; the router is built from it and from nothing else. A request goes
//! through `dispatch` in this order: is the target short enough (414) · who are you (401) · is
//! there such a path (404, 405) · of which project (400, 404) · may you (403) · the operation's own
//! checks · the answer. Every error is a problem of RFC 9457.

mod agent;
pub mod answers;
mod body;
mod counts;
mod coverage;
pub mod cursor;
pub(crate) mod cut;
pub(crate) mod dispatch;
pub(crate) mod events;
pub(crate) mod export;
pub(crate) mod filter;
mod ingest;
mod lane;
mod lines;
pub mod openapi;
pub(crate) mod principals;
pub(crate) mod problem;
pub mod query;
mod reports;
pub(crate) mod reviews;
mod sources;
mod tail;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, header};
use axum::routing::any;
use doorbook_event::PublicIds;
use doorbook_source::document::Reader;
use tokio::sync::Semaphore;

use crate::admin::roster;
use crate::app::{App, Settings};
use crate::auth;
pub(crate) use coverage::write as write_coverage;
pub(crate) use cursor::seal_as_of;
pub(crate) use events::write_alone as write_row;

use dispatch::{Call, Sent};
use problem::Problem;

/// What all paths of this API begin with.
pub const PREFIX: &str = "/api/v1/";

/// One operation of the API.
pub struct Operation {
    /// Its name in our own record.
    pub id: &'static str,
    /// The method; `GET` is `HEAD`, too.
    pub method: &'static str,
    /// What follows [`PREFIX`].
    pub path: &'static str,
    /// What the caller must be allowed to do in the project.
    pub needs: auth::Operation,
    /// Serves it.
    serve: Serve,
}

impl Operation {
    /// Whether it is about the review that its path names.
    fn is_of_review(&self) -> bool {
        self.path.starts_with("reviews/{name}")
    }
}

/// How an operation is served.
#[derive(Clone, Copy)]
enum Serve {
    /// From the history, without a body.
    Read(fn(&mut Call<'_>) -> Result<Vec<u8>, Problem>),
    /// The same, by reading all rows that match: it takes as long as an export.
    ReadAll(fn(&mut Call<'_>) -> Result<Vec<u8>, Problem>),
    /// With what was sent.
    Post(&'static Post),
    /// All rows, as a file that is sent while it is written.
    Export,
    /// Rows as they are recorded.
    Tail,
    /// Events come in.
    Ingest,
    /// Raw lines come in.
    Lines,
    /// An agent asks what it is to follow.
    Orders,
    /// An agent says what it read.
    Advances,
}

/// How an operation is served that is sent something.
struct Post {
    /// The kind of body.
    content_type: &'static str,
    body_bytes_max: usize,
    /// It reads all rows that match, and takes as long as an export.
    is_long: bool,
    /// It changes something, and that is in the history itself.
    is_change: bool,
    serve: fn(&mut Call<'_>, &Sent<'_>) -> Result<Vec<u8>, Problem>,
}

/// A change of a review: a thousand rows and a note.
const CHANGE: Post = Post {
    content_type: "application/json",
    body_bytes_max: 128 << 10,
    is_long: false,
    is_change: true,
    serve: reviews::mark,
};

/// Every operation that is served.
pub static OPERATIONS: &[Operation] = &[
    Operation {
        id: "ingest",
        method: "POST",
        path: "ingest/{source}",
        needs: auth::Operation::Ingest,
        serve: Serve::Ingest,
    },
    Operation {
        id: "lines",
        method: "POST",
        path: "lines",
        needs: auth::Operation::Ingest,
        serve: Serve::Lines,
    },
    Operation {
        id: "agentSources",
        method: "GET",
        path: "agent/sources",
        needs: auth::Operation::FollowAsAgent,
        serve: Serve::Orders,
    },
    Operation {
        id: "agentAdvances",
        method: "POST",
        path: "agent/advances",
        needs: auth::Operation::FollowAsAgent,
        serve: Serve::Advances,
    },
    Operation {
        id: "listEvents",
        method: "GET",
        path: "events",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(events::list),
    },
    Operation {
        id: "eventHistogram",
        method: "GET",
        path: "events/histogram",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(counts::histogram),
    },
    Operation {
        id: "topOfEvents",
        method: "GET",
        path: "events/top",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(counts::top),
    },
    Operation {
        id: "tailEvents",
        method: "GET",
        path: "events/tail",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Tail,
    },
    Operation {
        id: "getEvent",
        method: "GET",
        path: "events/{id}",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(events::one),
    },
    Operation {
        id: "export",
        method: "GET",
        path: "export",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Export,
    },
    Operation {
        id: "listPrincipals",
        method: "GET",
        path: "principals",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(principals::list),
    },
    Operation {
        id: "getPrincipal",
        method: "GET",
        path: "principals/{name}",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(principals::one),
    },
    Operation {
        id: "listSources",
        method: "GET",
        path: "sources",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(sources::list),
    },
    Operation {
        id: "getCoverage",
        method: "GET",
        path: "coverage",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Read(coverage::serve),
    },
    Operation {
        id: "reportAccounts",
        method: "POST",
        path: "reports/accounts",
        needs: auth::Operation::ReadHistory,
        serve: Serve::Post(&Post {
            content_type: "text/csv",
            body_bytes_max: roster::SIZE_BYTES_MAX as usize,
            is_long: true,
            is_change: false,
            serve: reports::accounts,
        }),
    },
    Operation {
        id: "listReviews",
        method: "GET",
        path: "reviews",
        needs: auth::Operation::ReadReviews,
        serve: Serve::Read(reviews::list),
    },
    Operation {
        id: "createReview",
        method: "POST",
        path: "reviews",
        needs: auth::Operation::ManageReviews,
        serve: Serve::Post(&Post { serve: reviews::create, ..CHANGE }),
    },
    Operation {
        id: "changeReview",
        method: "PATCH",
        path: "reviews/{name}",
        needs: auth::Operation::ManageReviews,
        serve: Serve::Post(&Post { serve: reviews::change, ..CHANGE }),
    },
    Operation {
        id: "removeReview",
        method: "DELETE",
        path: "reviews/{name}",
        needs: auth::Operation::ManageReviews,
        serve: Serve::Post(&Post { serve: reviews::remove, ..CHANGE }),
    },
    Operation {
        id: "getReview",
        method: "GET",
        path: "reviews/{name}",
        needs: auth::Operation::ReadReviews,
        serve: Serve::Read(reviews::show),
    },
    Operation {
        id: "checkReview",
        method: "GET",
        path: "reviews/{name}/check",
        needs: auth::Operation::ReadReviews,
        serve: Serve::ReadAll(reviews::check),
    },
    Operation {
        id: "markRows",
        method: "POST",
        path: "reviews/{name}/marks",
        needs: auth::Operation::Review,
        serve: Serve::Post(&CHANGE),
    },
    Operation {
        id: "closeRows",
        method: "POST",
        path: "reviews/{name}/closings",
        needs: auth::Operation::Review,
        serve: Serve::Post(&Post { serve: reviews::close, ..CHANGE }),
    },
    Operation {
        id: "signReview",
        method: "POST",
        path: "reviews/{name}/sign-offs",
        needs: auth::Operation::Review,
        serve: Serve::Post(&Post { serve: reviews::sign, is_long: true, ..CHANGE }),
    },
];

/// The router of this surface, and of every path below [`PREFIX`] that it does not know.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    let paths: BTreeSet<&'static str> = OPERATIONS.iter().map(|operation| operation.path).collect();
    for path in paths {
        let serve = async move |State(app): State<App>, request: Request| {
            let operation = at(path, request.method());
            let answer = dispatch::dispatch(app.clone(), operation, request);
            let id = operation.map_or("none", |operation| operation.id);
            app.metrics().count("native", id, answer).await
        };
        router = router.route(&format!("{PREFIX}{path}"), any(serve));
    }
    router = router.route(&format!("{PREFIX}openapi.json"), any(description));
    for unknown in ["/api/v1", PREFIX, "/api/v1/{*rest}"] {
        let serve = async |State(app): State<App>, request: Request| {
            let answer = dispatch::dispatch(app.clone(), None, request);
            app.metrics().count("native", "none", answer).await
        };
        router = router.route(unknown, any(serve));
    }
    router.with_state(app.clone())
}

/// Answers an operation of this API to somebody who may read everything, elsewhere than over HTTP.
pub(crate) fn answer_here(id: &str, call: &mut Call<'_>) -> Result<Vec<u8>, Problem> {
    match find(id).map(|found| found.serve) {
        Some(Serve::Read(serve) | Serve::ReadAll(serve)) => serve(call),
        Some(Serve::Tail) => tail::piece(call),
        _ => Err(Problem::not_found(format!("There is no operation {id}."))),
    }
}

/// The operation of a path that takes a method, or else one that does not, which says so.
fn at(path: &'static str, method: &Method) -> Option<&'static Operation> {
    let mut there = OPERATIONS.iter().filter(|operation| operation.path == path);
    let taking = there.clone().find(|operation| operation.takes(method));
    taking.or_else(|| there.next())
}

/// Whether an operation is about the review that its path names, and so about that one's history.
pub(crate) fn is_of_review(id: &str) -> bool {
    find(id).is_some_and(Operation::is_of_review)
}

fn find(id: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.id == id)
}

/// What this API is. The same everywhere, so that nobody need say who they are, and no use that is recorded.
async fn description(State(app): State<App>, request: Request) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let answer = dispatch::dispatch(app.clone(), None, request);
        return app.metrics().count("native", "none", answer).await;
    }
    let mut response = Response::new(Body::from(openapi::document()));
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    dispatch::set_headers(response.headers_mut());
    response
}

/// What the doors hold between requests.
pub struct Doors {
    ids: PublicIds,
    /// Room for bodies, in KiB.
    room: Arc<Semaphore>,
    readers: Mutex<Vec<Reader>>,
    /// Permits for exports, which take longer than answers.
    exports: Arc<Semaphore>,
    /// Permits for tails, which take longer still.
    tails: Arc<Semaphore>,
    lane: lane::Lane,
    /// The latest request was refused for want of room on the disk.
    is_disk_full: AtomicBool,
}

/// What requests say of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiskIs {
    /// Nothing more is taken in.
    Full,
    /// There is room again.
    Roomy,
}

/// Readers that wait for work; each remembers some 100 KB of what repeats.
const READERS_MAX: usize = 16;

impl Doors {
    /// With an empty memory.
    pub fn new(ids: PublicIds, settings: &Settings) -> Doors {
        let room_kib = settings.ingest_in_flight_bytes_max / 1024;
        let room = Arc::new(Semaphore::new(room_kib.clamp(1, body::ROOM_KIB_MAX)));
        let is_disk_full = AtomicBool::new(false);
        let lane = lane::Lane::default();
        let exports = Arc::new(Semaphore::new(export::EXPORTS_MAX));
        let tails = Arc::new(Semaphore::new(tail::TAILS_MAX));
        Doors { ids, room, readers: Mutex::default(), exports, tails, lane, is_disk_full }
    }

    /// What the operator is to know of how a request ended: shippers are told, who cannot mend it.
    fn disk_changed(&self, problem: Option<&Problem>) -> Option<DiskIs> {
        let is_full = match problem.map(|problem| problem.name) {
            None => false,
            Some("disk-full") => true,
            // Says nothing of the disk.
            Some(_) => return None,
        };
        let was_full = self.is_disk_full.swap(is_full, Ordering::Relaxed);
        (was_full != is_full).then_some(match is_full {
            true => DiskIs::Full,
            false => DiskIs::Roomy,
        })
    }

    /// What places of the history are called outside.
    pub fn ids(&self) -> &PublicIds {
        &self.ids
    }

    /// Lends a reader of documents that has seen some.
    fn with_reader<T>(&self, work: impl FnOnce(&mut Reader) -> T) -> T {
        let lent = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = lent.unwrap_or_default();
        let result = work(&mut reader);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_MAX {
            readers.push(reader);
        }
        result
    }
}
