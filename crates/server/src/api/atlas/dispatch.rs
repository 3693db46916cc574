//! The way of a request from the wire to an operation and back.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use doorbook_event::{Action, Peer, Principal, Target, Text, Timestamp};

use super::call::{Answer, Call, project_of, segments_of};
use super::error::{self, ApiError};
use super::query::Query;
use super::rate_limit::Taken;
use super::render::enveloped;
use super::version::{ResourceVersion, negotiate};
use super::{Dialect, Operation};
use crate::api::body::{compress, until_taken};
use crate::app::App;
use crate::auth::oauth::{self, Endpoint};
use crate::auth::{Caller, Decision, Identified, Refusal, authorize, shorten};
use crate::coverage;
use crate::http::Connection;
use crate::usage::Use;

/// Longer than any request a client makes, shorter than what would be worth hashing for strangers.
const TARGET_MAX_BYTES: usize = 8 * 1024;

/// The two forms that OAuth clients post have 29 and some 100 bytes.
const FORM_MAX_BYTES: usize = 16 * 1024;

/// A request to an operation, or (`None`) to a path that there is not.
pub async fn dispatch(
    app: App,
    found: Option<(&'static Operation, Dialect)>,
    request: Request,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let exchange = Exchange::new(&app, found, parts);
    if exchange.target().len() > TARGET_MAX_BYTES {
        return exchange.refuse(&ApiError::uri_too_long());
    }
    if found.is_none() && !exchange.parts.uri.path().starts_with("/api/") {
        // Nobody's API: there is nothing to keep from anyone.
        let shown: String = exchange.parts.uri.path().chars().take(200).collect();
        return exchange.refuse(&ApiError::resource_not_found(&shown));
    }
    let catalog = app.store().catalog();
    let identified = app.auth().identify(
        &catalog.registry,
        exchange.now,
        &exchange.parts.method,
        exchange.target(),
        &exchange.parts.headers,
    );
    let principal = match identified {
        Identified::As(principal) => principal,
        Identified::Nobody => return exchange.challenge(false),
        Identified::Stale => return exchange.challenge(true),
        Identified::Refused(refusal) => {
            exchange.record_refusal(&refusal);
            return exchange.challenge(refusal.stale);
        }
    };
    let caller = Caller { principal, peer: exchange.connection.peer };
    let permit = app.answers().clone().acquire_owned();
    let Ok(Ok(permit)) = tokio::time::timeout(app.settings().answer_wait, permit).await else {
        return exchange.turn_away(caller);
    };
    let answered = tokio::task::spawn_blocking(move || {
        let response = exchange.answer(&caller, &catalog.registry);
        until_taken(response, permit)
    });
    match answered.await {
        Ok(response) => response,
        // The answer panicked, and the panic has been printed.
        Err(_) => plain(&ApiError::unexpected()),
    }
}

/// A request to one of the two OAuth endpoints, which speak OAuth and not Atlas.
pub async fn dispatch_oauth(app: App, endpoint: Endpoint, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if parts.method != Method::POST {
        let mut response = plain(&ApiError::method_not_allowed(parts.method.as_str()));
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let exchange = Exchange::new(&app, None, parts);
    let timeout = app.settings().head_timeout;
    let body = match tokio::time::timeout(timeout, to_bytes(body, FORM_MAX_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) | Err(_) => Default::default(), // not a form: the endpoint says so
    };
    let catalog = app.store().catalog();
    let served = oauth::serve(
        endpoint,
        &app.auth().tokens,
        &catalog.registry,
        (app.random(), exchange.now),
        &exchange.parts.headers,
        &body,
    );
    exchange.record_token(endpoint, &served);
    served.response
}

/// One request on its way.
struct Exchange {
    app: App,
    found: Option<(&'static Operation, Dialect)>,
    parts: Parts,
    connection: Connection,
    segments: Vec<(&'static str, String)>,
    query: Query,
    now: Timestamp,
}

/// What an answer says besides its body.
#[derive(Default)]
struct Outside {
    version: Option<&'static ResourceVersion>,
    remaining: Option<u64>,
}

impl Exchange {
    fn new(app: &App, found: Option<(&'static Operation, Dialect)>, parts: Parts) -> Exchange {
        let path = parts.uri.path();
        Exchange {
            app: app.clone(),
            found,
            connection: parts.extensions.get().copied().unwrap_or_default(),
            segments: found
                .map(|(operation, dialect)| segments_of(operation, dialect, path))
                .unwrap_or_default(),
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            now: app.clock().now(),
            parts,
        }
    }

    /// The request target as it was sent, which is what a digest signs.
    fn target(&self) -> &str {
        self.parts.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Answers a known caller, and takes note.
    fn answer(
        &self,
        caller: &Caller,
        registry: &doorbook_event::registry::Registry,
    ) -> Response<Vec<u8>> {
        let mut outside = Outside::default();
        let base = base_of(&self.parts, self.connection.is_tls);
        let style = self.query.style();
        let mut call = Call {
            app: &self.app,
            caller,
            registry,
            dialect: self.found.map_or(Dialect::V2, |(_, dialect)| dialect),
            segments: &self.segments,
            query: &self.query,
            style,
            base: &base,
            now: self.now,
            rows: 0,
            coverage: None,
            subject: None,
        };
        let result = self.run(&mut call, &mut outside);
        let status = result.as_ref().map_or_else(|error| error.status, |_| StatusCode::OK);
        self.record(&call, status, result.as_ref().err());
        let response = match result {
            Ok(Answer(body)) => self.succeed(&call, &outside, body),
            Err(error) => {
                let body = enveloped(style, status.as_u16(), &error.body());
                let mut response = self.respond(status, body);
                let headers = response.headers_mut();
                headers.insert(header::CONTENT_TYPE, JSON);
                headers.insert(X_ERROR_CODE, HeaderValue::from_static(error.code));
                if status == StatusCode::METHOD_NOT_ALLOWED {
                    headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
                }
                if let Some(Ok(seconds)) = retry_after(&error) {
                    headers.insert(header::RETRY_AFTER, seconds);
                }
                response
            }
        };
        self.with_standing(response, &outside)
    }

    /// The checks that all operations share, in their order, and then the operation.
    fn run(&self, call: &mut Call<'_>, outside: &mut Outside) -> Result<Answer, ApiError> {
        let Some((operation, dialect)) = self.found else {
            return Err(ApiError::resource_not_found(self.parts.uri.path()));
        };
        if ![Method::GET, Method::HEAD].contains(&self.parts.method) {
            return Err(ApiError::method_not_allowed(self.parts.method.as_str()));
        }
        if dialect == Dialect::V2 {
            outside.version = Some(negotiate(&self.parts.headers, operation.versions)?);
        }
        let project = project_of(&self.segments).transpose()?;
        let shown = project.map(|id| id.to_string()).unwrap_or_default();
        match authorize(call.registry, call.caller, operation.needs, project) {
            Decision::Allowed => {}
            Decision::RoleMissing => return Err(ApiError::user_unauthorized()),
            Decision::Invisible => return Err(ApiError::group_not_found(&shown)),
        }
        if let Some(project) = project.filter(|_| operation.is_limited) {
            let buckets = self.app.access_history_buckets();
            match buckets.take(project, self.now) {
                Taken::Unlimited => {}
                Taken::Granted { remaining } => outside.remaining = Some(remaining),
                Taken::Refused { retry_after_seconds } => {
                    outside.remaining = Some(0);
                    let path = self.parts.uri.path().trim_start_matches('/');
                    let limit = buckets.limit();
                    return Err(ApiError::rate_limited(path, retry_after_seconds, limit));
                }
            }
        }
        self.query.check_style()?;
        (operation.serve)(call)
    }

    fn succeed(&self, call: &Call<'_>, outside: &Outside, body: Vec<u8>) -> Response<Vec<u8>> {
        let compressed = compress(&self.parts.headers, &body);
        let is_compressed = compressed.is_some();
        let mut response = self.respond(StatusCode::OK, compressed.unwrap_or(body));
        let headers = response.headers_mut();
        if is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let content_type = match (call.dialect, outside.version) {
            (Dialect::V2, Some(version)) => HeaderValue::from_static(version.content_type),
            _ => JSON,
        };
        headers.insert(header::CONTENT_TYPE, content_type);
        let known = call.coverage.as_ref().map(|answer| coverage::header(answer).try_into());
        if let Some(Ok(known)) = known {
            headers.insert(coverage::HEADER, known);
        }
        response
    }

    /// The counters of the rate limit, on every answer that it counted, and the age of the
    /// version, on errors too (recorded: captures/atlas/atlas-cli-snapshots/errors, a 400).
    fn with_standing(
        &self,
        mut response: Response<Vec<u8>>,
        outside: &Outside,
    ) -> Response<Vec<u8>> {
        if let Some(remaining) = outside.remaining {
            let capacity = self.app.access_history_buckets().limit().capacity;
            let headers = response.headers_mut();
            headers.insert("ratelimit-limit", HeaderValue::from(capacity));
            headers.insert("ratelimit-remaining", HeaderValue::from(remaining));
        }
        if let Some((deprecation, sunset)) = outside.version.and_then(|v| v.superseded) {
            let headers = response.headers_mut();
            headers.insert("deprecation", HeaderValue::from_static(deprecation));
            headers.insert("sunset", HeaderValue::from_static(sunset));
        }
        response
    }

    /// The headers that Atlas's application sends with everything (recorded). Not its `Server`
    /// and `X-Java-*`: they would be lies.
    fn respond(&self, status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
        let mut response = with_body(status, body);
        let headers = response.headers_mut();
        headers.insert(
            header::REFERRER_POLICY,
            HeaderValue::from_static("strict-origin-when-cross-origin"),
        );
        if self.connection.is_tls {
            headers.insert(
                header::STRICT_TRANSPORT_SECURITY,
                HeaderValue::from_static("max-age=31536000; includeSubdomains;"),
            );
        }
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert("x-permitted-cross-domain-policies", HeaderValue::from_static("none"));
        response
    }

    /// An error for someone who was not asked who they are.
    fn refuse(&self, error: &ApiError) -> Response<Body> {
        plain(error)
    }

    /// The answer to a known caller while too many others are being answered.
    fn turn_away(&self, caller: Caller) -> Response<Body> {
        let error = ApiError::service_unavailable();
        let (status, refusal) = (error.status.as_u16(), Some(error.code.into()));
        self.app.usage().record(Use {
            caller,
            action: Action::Query,
            operation: self.operation_name(),
            target: Target::Own { kind: "api".into(), name: "atlas".into() },
            status,
            refusal,
            rows: 0,
            details: self.details(),
        });
        let mut response = plain(&error);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        response
    }

    /// The 401 of the filter in front of the API; it has none of the other headers.
    fn challenge(&self, stale: bool) -> Response<Body> {
        let mut response = with_body(StatusCode::UNAUTHORIZED, error::UNAUTHENTICATED.into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::WWW_AUTHENTICATE, self.app.auth().challenge(self.now, stale));
        response.map(Body::from)
    }

    /// Takes note of an answer to a known caller.
    fn record(&self, call: &Call<'_>, status: StatusCode, refusal: Option<&ApiError>) {
        let named = self.segments.iter().find(|(name, _)| *name == "groupId");
        let project = call.subject.as_deref().or(named.map(|(_, id)| id.as_str()));
        let target = match project {
            Some(id) => Target::Own { kind: "project".into(), name: shorten(id) },
            None => Target::Own { kind: "api".into(), name: "atlas".into() },
        };
        self.app.usage().record(Use {
            caller: call.caller.clone(),
            action: Action::Query,
            operation: self.operation_name(),
            target,
            status: status.as_u16(),
            refusal: refusal.map(|error| error.code.into()),
            rows: call.rows,
            details: self.details(),
        });
    }

    /// Takes note of a failed authentication.
    fn record_refusal(&self, refusal: &Refusal) {
        let mut details = self.details();
        details.extend(refusal.claimed.clone().map(|name| ("claimed", name)));
        self.app.usage().record(Use {
            caller: self.nobody(),
            action: Action::Query,
            operation: self.operation_name(),
            target: Target::Own { kind: "api".into(), name: "atlas".into() },
            status: 401,
            refusal: Some(refusal.reason.into()),
            rows: 0,
            details,
        });
    }

    /// Takes note of a token that was handed out, given back or refused.
    fn record_token(&self, endpoint: Endpoint, served: &oauth::Served) {
        let (principal, name) = match &served.client {
            Ok(id) => (Principal::ServiceAccount(id.clone()), Some(id.clone())),
            Err(claimed) => (Principal::Unauthenticated, claimed.clone()),
        };
        let status = served.response.status();
        self.app.usage().record(Use {
            caller: Caller { principal, peer: self.connection.peer },
            action: Action::Token,
            operation: format!("oauth.{}", endpoint.name()).into(),
            target: Target::Own { kind: "service_account".into(), name: name.unwrap_or_default() },
            status: status.as_u16(),
            refusal: (!status.is_success()).then(|| "refused".into()),
            rows: 0,
            details: Vec::new(),
        });
    }

    fn operation_name(&self) -> Text {
        match self.found {
            Some((operation, dialect)) => format!("{}.{}", dialect.name(), operation.id).into(),
            None => "atlas.none".into(),
        }
    }

    /// What was asked for, as it was sent, cut to what is worth keeping.
    fn details(&self) -> Vec<(&'static str, Text)> {
        let cut = |text: &str| -> Text { text.chars().take(1024).collect::<String>().into() };
        let mut details = vec![("path", cut(self.parts.uri.path()))];
        details.extend(self.parts.uri.query().map(|query| ("filter", cut(query))));
        details
    }

    fn nobody(&self) -> Caller {
        Caller { principal: Principal::Unauthenticated, peer: self.connection.peer }
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const X_ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");

/// An error without anything of the exchange in it.
fn plain(error: &ApiError) -> Response<Body> {
    let body = enveloped(super::render::Style::default(), 0, &error.body());
    let mut response = with_body(error.status, body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(X_ERROR_CODE, HeaderValue::from_static(error.code));
    response.map(Body::from)
}

fn with_body(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    // Said outright, so that HEAD says it too.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    *response.body_mut() = body;
    response
}

/// `Retry-After` says what the 429's body says.
fn retry_after(error: &ApiError) -> Option<Result<HeaderValue, ()>> {
    let is_limited = error.status == StatusCode::TOO_MANY_REQUESTS;
    let seconds = error.parameters.get(1).and_then(serde_json::Value::as_u64);
    is_limited.then(|| seconds.map(HeaderValue::from).ok_or(()))
}

/// The scheme and host by which the client reached us; empty (links become paths) where it gave
/// none, or one that is no host.
fn base_of(parts: &Parts, is_tls: bool) -> String {
    let host = host_of(&parts.headers).or_else(|| parts.uri.authority().map(|a| a.as_str()));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    match host.filter(|host| host.len() <= 255 && host.bytes().all(allowed)) {
        Some(host) => format!("{}://{host}", if is_tls { "https" } else { "http" }),
        None => String::new(),
    }
}

fn host_of(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

impl Default for Connection {
    fn default() -> Connection {
        Connection { peer: Peer::Unknown, is_tls: false }
    }
}
