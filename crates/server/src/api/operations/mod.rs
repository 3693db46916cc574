//! What load balancers, service managers and monitoring systems ask: `/health`, `/ready`, `/metrics`.
//!
//! The first two are for everyone: they say nothing but how the server fares. `/metrics` names
//! projects and sources. It is for this machine, where whoever asks could read much else, and for
//! keys that may read metrics, which see the process, the disk, and their own project.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use doorbook_event::{Action, Principal, ProjectId, Target};
use serde::Serialize;

use crate::admin::with_causes;
use crate::api::body::compress;
use crate::app::{App, Stage};
use crate::auth::{Caller, Decision, Identified, Operation, Refusal, authorize, home_of};
use crate::http::Connection;
use crate::metrics::{tell, text};
use crate::usage::Use;

/// Every path of this surface, and the operation's name in `/metrics`.
pub static PATHS: [(&str, &str); 3] =
    [("/health", "health"), ("/ready", "ready"), ("/metrics", "metrics")];

/// The router of this surface.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for (path, operation) in PATHS {
        let serve = async move |State(app): State<App>, request: Request| {
            let answer = answer(app.clone(), operation, request);
            app.metrics().count("operations", operation, answer).await
        };
        router = router.route(path, any(serve));
    }
    router.with_state(app.clone())
}

async fn answer(app: App, operation: &'static str, request: Request) -> Response<Body> {
    let (parts, _) = request.into_parts();
    if ![Method::GET, Method::HEAD].contains(&parts.method) {
        let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD.");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match operation {
        "health" => state(health(&app)),
        "ready" => state(off_the_runtime(app, |app| ready(&app)).await),
        _ => metrics(app, parts).await,
    }
}

/// Asks the disk, which may take its time.
async fn off_the_runtime<T: Send + 'static>(
    app: App,
    ask: impl FnOnce(App) -> Result<T, Vec<String>> + Send + 'static,
) -> Result<T, Vec<String>> {
    let asked = tokio::task::spawn_blocking(move || ask(app)).await;
    asked.unwrap_or_else(|_| Err(vec!["a bug of the server; its own log says where".to_owned()]))
}

/// Whether a restart would help: what a service manager acts on.
fn health(app: &App) -> Result<(), Vec<String>> {
    match app.store().poisoned() {
        None => Ok(()),
        Some(why) => Err(vec![format!("nothing can be written until a restart: {why}")]),
    }
}

/// Whether requests should come here: what a load balancer acts on.
fn ready(app: &App) -> Result<(), Vec<String>> {
    let mut reasons = health(app).err().unwrap_or_default();
    match app.stage() {
        Stage::Starting => reasons.push("the server is starting".to_owned()),
        Stage::Serving => {}
        Stage::Stopping => reasons.push("the server is being stopped".to_owned()),
    }
    match app.store().measures() {
        Ok(of) if of.free_bytes < of.reserve_bytes => reasons.push(format!(
            "the disk is full: {} bytes are free, and {} are kept in reserve",
            of.free_bytes, of.reserve_bytes
        )),
        Ok(_) => {}
        Err(error) => {
            // The path in it is the operator's business.
            tracing::error!(error = with_causes(&error), "the data directory cannot be asked");
            reasons.push("the data directory cannot be asked; the server's log says why".into());
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(reasons) }
}

#[derive(Serialize)]
struct Said<'a> {
    status: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    reasons: &'a [String],
}

fn state(state: Result<(), Vec<String>>) -> Response<Body> {
    let (code, status, reasons) = match state {
        Ok(()) => (StatusCode::OK, "ok", Vec::new()),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", reasons),
    };
    let body = serde_json::to_vec(&Said { status, reasons: &reasons });
    with_type(code, "application/json", body.expect("plain data becomes JSON"))
}

async fn metrics(app: App, parts: Parts) -> Response<Body> {
    let only = match admit(&app, &parts) {
        Ok(only) => only,
        Err(response) => return *response,
    };
    let told = off_the_runtime(app, move |app| {
        tell(&app, only).map_err(|error| {
            tracing::error!(error = with_causes(&error), "metrics could not be read");
            vec!["The data directory cannot be asked; the server's log says why.".to_owned()]
        })
    });
    let text = match told.await {
        Ok(text) => text.into_bytes(),
        Err(reasons) => return said(StatusCode::INTERNAL_SERVER_ERROR, &reasons.join(" ")),
    };
    match compress(&parts.headers, &text) {
        None => with_type(StatusCode::OK, text::CONTENT_TYPE, text),
        Some(compressed) => {
            let mut response = with_type(StatusCode::OK, text::CONTENT_TYPE, compressed);
            let gzip = HeaderValue::from_static("gzip");
            response.headers_mut().insert(header::CONTENT_ENCODING, gzip);
            response
        }
    }
}

/// Which project's figures the caller may see besides the server's own; `None`: all.
fn admit(app: &App, parts: &Parts) -> Result<Option<ProjectId>, Box<Response<Body>>> {
    let connection: Connection = parts.extensions.get().copied().unwrap_or_default();
    let is_local = connection.peer.address().is_some_and(|address| address.is_loopback());
    let is_here = is_local && !is_forwarded(&parts.headers);
    let catalog = app.store().catalog();
    let now = app.clock().now();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let is_private = connection.is_tls || is_local;
    let identified = app.auth().identify_or_basic(
        &catalog.registry,
        now,
        &parts.method,
        target,
        (&parts.headers, is_private),
    );
    let challenge = |stale| {
        let text = "Ask from this machine, or with the key of an owner or a monitoring admin.";
        let mut response = said(StatusCode::UNAUTHORIZED, text);
        let headers = response.headers_mut();
        headers.append(header::WWW_AUTHENTICATE, app.auth().challenge(now, stale));
        if is_private {
            let basic = HeaderValue::from_static("Basic realm=\"Doorbook\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, basic);
        }
        Err(Box::new(response))
    };
    let principal = match identified {
        Identified::As(principal) => principal,
        Identified::Nobody if is_here => return Ok(None),
        Identified::Nobody => return challenge(false),
        Identified::Stale => return challenge(true),
        Identified::Refused(refusal) => {
            let stale = refusal.stale;
            record_refusal(app, connection, refusal);
            return challenge(stale);
        }
    };
    let caller = Caller { principal, peer: connection.peer };
    let project = home_of(&catalog.registry, &caller.principal);
    match authorize(&catalog.registry, &caller, Operation::ReadMetrics, project) {
        Decision::Allowed => Ok(project),
        Decision::RoleMissing | Decision::Invisible => {
            let text = "The role of this key does not allow it.";
            Err(Box::new(said(StatusCode::FORBIDDEN, text)))
        }
    }
}

/// A proxy on this machine passes on what strangers ask.
fn is_forwarded(headers: &HeaderMap) -> bool {
    ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// Failed authentications are recorded wherever they happen.
fn record_refusal(app: &App, connection: Connection, refusal: Refusal) {
    app.usage().record(Use {
        caller: Caller { principal: Principal::Unauthenticated, peer: connection.peer },
        action: Action::Query,
        operation: "operations.metrics".into(),
        target: Target::Own { kind: "api".into(), name: "operations".into() },
        status: 401,
        refusal: Some(refusal.reason.into()),
        rows: 0,
        details: refusal.claimed.map(|name| ("claimed", name)).into_iter().collect(),
    });
}

fn said(status: StatusCode, text: &str) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", format!("{text}\n").into_bytes())
}

fn with_type(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
