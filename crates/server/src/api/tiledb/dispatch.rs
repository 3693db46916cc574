//! The way of a request from the wire to an operation and back.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use doorbook_event::arrays::{Array, Arrays, ArraysChange, Uuid};
use doorbook_event::record::Actor;
use doorbook_event::registry::{Registry, RegistryChange};
use doorbook_event::{Action, Principal, Target, Text, Timestamp};
use doorbook_store::Catalog;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::caller::{Shown, shown};
use super::error::ApiError;
use super::query::Query;
use super::{OPERATIONS, Operation};
use crate::api::body::{compress, until_taken};
use crate::app::App;
use crate::auth::{self, Caller, Decision, Object, authorize, random_bytes, shorten, users};
use crate::coverage;
use crate::http::Connection;
use crate::usage::Use;

/// A storage address of 2 KB, three bytes for each of its own, and a filter.
const TARGET_MAX_BYTES: usize = 8 * 1024;

/// A description of 16 KB, its escapes, and the rest.
const BODY_MAX_BYTES: usize = 256 * 1024;

/// What a path and a method mean.
pub struct Found {
    /// The operation, if there is one for both.
    pub operation: Option<&'static Operation>,
    /// The parts of the path that have names.
    segments: Vec<(&'static str, String)>,
    /// The methods that the path has, if it is that of an operation.
    methods: Vec<&'static str>,
}

/// Looks the path up as it was sent: an escaped slash is none, and nothing is decoded twice.
pub fn find(method: &Method, path: &str) -> Found {
    let sent: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let mut methods = Vec::new();
    for operation in OPERATIONS {
        let Some(segments) = matched(operation.path, &sent) else { continue };
        if operation.method == method {
            return Found { operation: Some(operation), segments, methods };
        }
        methods.push(operation.method);
    }
    Found { operation: None, segments: Vec::new(), methods }
}

fn matched(path: &'static str, sent: &[&str]) -> Option<Vec<(&'static str, String)>> {
    let parts: Vec<&'static str> = path.split('/').collect();
    if parts.len() != sent.len() {
        return None;
    }
    let mut segments = Vec::new();
    for (part, sent) in parts.into_iter().zip(sent) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            // Nothing is called so; `a/` is not `a`.
            Some(_) if sent.is_empty() => return None,
            Some(name) => {
                let value = percent_decode_str(sent).decode_utf8().ok()?;
                segments.push((name, value.into_owned()));
            }
            None if part == *sent => {}
            None => return None,
        }
    }
    Some(segments)
}

/// A request to an operation, whose caller is known.
pub struct Call<'a> {
    /// The server.
    pub app: &'a App,
    /// The registry at the beginning of the request.
    pub registry: &'a Registry,
    /// Who asks.
    pub caller: &'a Caller,
    /// The same by name.
    pub user: &'a Text,
    /// The query parameters.
    pub query: &'a Query,
    /// When the request came.
    pub now: Timestamp,
    segments: &'a [(&'static str, String)],
    body: &'a [u8],
    /// Out: the array that it was about.
    subject: Option<Uuid>,
    /// Out: rows in the answer, for our own record.
    pub rows: u64,
    /// Out: what the answer can know.
    pub coverage: Option<doorbook_store::Answer>,
    /// Out: whether the store has recorded what was done.
    is_recorded: bool,
}

/// What is answered.
pub enum Answer {
    /// JSON.
    Json(Vec<u8>),
    /// 204.
    Empty,
}

impl<'a> Call<'a> {
    /// A part of the path that has a name.
    pub fn segment(&self, name: &str) -> &'a str {
        let found = self.segments.iter().find(|(known, _)| *known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Users, organizations and arrays.
    pub fn arrays(&self) -> &'a Arrays {
        self.registry.arrays()
    }

    /// The array that the path names, if the caller may do this with it.
    pub fn array(&mut self, operation: auth::Operation) -> Result<&'a Array, ApiError> {
        let (namespace, text) = (self.segment("namespace"), self.segment("array"));
        let absent = || ApiError::no_array(&shown_name(namespace), &shown_name(text));
        let arrays = self.arrays();
        // An address has several spellings; a name or an id is none.
        let canonical = crate::arrays::canonical(text).ok();
        let found = arrays
            .find(namespace, text)
            .or_else(|| canonical.and_then(|uri| arrays.find(namespace, &uri)))
            .ok_or_else(absent)?;
        self.subject = Some(found.id);
        match authorize(self.registry, self.caller, operation, Object::Array(found)) {
            Decision::Allowed => Ok(found),
            Decision::Invisible => Err(absent()),
            Decision::RoleMissing => Err(ApiError::forbidden(match operation {
                auth::Operation::ReadHistory => {
                    "The activity of an array is for its owner, and for whom it is shared with for \
                     reading (read or read_array_logs)."
                }
                auth::Operation::EditArray => "The array is not shared with you for editing.",
                _ => "Only the owner of an array may do this.",
            })),
        }
    }

    /// The body.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_slice(self.body)
            .map_err(|error| ApiError::bad_request(format!("The body cannot be read: {error}")))
    }

    /// Makes a change in the caller's name. It is durable when this returns.
    pub fn change(&mut self, changes: Vec<ArraysChange>) -> Result<(), ApiError> {
        let Caller { principal, peer } = self.caller.clone();
        let changes = changes.into_iter().map(RegistryChange::Arrays).collect();
        self.app.store().change_registry(&Actor { principal, peer }, changes)?;
        self.is_recorded = true;
        Ok(())
    }

    /// A random id.
    pub fn new_id(&self) -> Uuid {
        Uuid::random(random_bytes(self.app.random()))
    }

    /// JSON.
    pub fn object(value: &impl serde::Serialize) -> Answer {
        Answer::Json(serde_json::to_vec(value).expect("plain data becomes JSON"))
    }
}

/// A request to an operation, or to a path that there is not.
pub async fn dispatch(app: App, found: Found, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let exchange = Arc::new(Exchange::new(&app, found, parts));
    let target = exchange.parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > TARGET_MAX_BYTES {
        return exchange.refuse(&ApiError::uri_too_long());
    }
    // What speaks another protocol asks here first, and goes on only at a 404.
    if exchange.parts.uri.path().starts_with("/v4") {
        return exchange.refuse(&ApiError::not_found("There is no version 4 of the API here."));
    }
    let user = match exchange.identify().await {
        Ok(user) => user,
        Err(error) => return exchange.challenge(&error),
    };
    let caller = exchange.caller_of(&user);
    let body = match exchange.take_body(body).await {
        Ok(body) => body,
        Err(error) => {
            exchange.record(&caller, None, Some(&error), 0);
            return exchange.refuse(&error);
        }
    };
    let permit = app.answers().clone().acquire_owned();
    let Ok(Ok(permit)) = tokio::time::timeout(app.settings().answer_wait, permit).await else {
        let error = ApiError::busy();
        exchange.record(&caller, None, Some(&error), 0);
        return exchange.refuse(&error);
    };
    let answered = tokio::task::spawn_blocking(move || {
        until_taken(exchange.answer(&caller, &user, &body), permit)
    });
    // The answer panicked, and the panic has been printed.
    answered.await.unwrap_or_else(|_| {
        let body = ApiError::unexpected().body("");
        with_body(StatusCode::INTERNAL_SERVER_ERROR, body).map(Body::from)
    })
}

/// One request on its way.
struct Exchange {
    app: App,
    found: Found,
    parts: Parts,
    connection: Connection,
    catalog: Arc<Catalog>,
    now: Timestamp,
    request_id: String,
}

impl Exchange {
    fn new(app: &App, found: Found, parts: Parts) -> Exchange {
        Exchange {
            app: app.clone(),
            found,
            connection: parts.extensions.get().copied().unwrap_or_default(),
            catalog: app.store().catalog(),
            now: app.clock().now(),
            request_id: Uuid::random(random_bytes(app.random())).to_string(),
            parts,
        }
    }

    /// Whose request it is. A refusal has been recorded.
    async fn identify(&self) -> Result<Text, ApiError> {
        let arrays = self.catalog.registry.arrays();
        let refused = |claimed: Option<&str>, reason: &'static str| {
            self.record_refusal(claimed, reason);
            Err(ApiError::unauthenticated())
        };
        match shown(&self.parts.headers) {
            Shown::Nothing => Err(ApiError::unauthenticated()),
            Shown::Malformed(reason) => refused(None, reason),
            Shown::Token(token) => match users::user_of_token(arrays, self.now, &token) {
                Some(user) => Ok(user),
                None => refused(None, "unknown or expired token"),
            },
            Shown::Password(user, password) => {
                let passwords = &self.app.auth().passwords;
                if passwords.is_known(arrays, self.now, &user, &password) {
                    return Ok(user.into());
                }
                let turn = Arc::clone(passwords.turns()).acquire_owned();
                let Ok(Ok(turn)) =
                    tokio::time::timeout(self.app.settings().answer_wait, turn).await
                else {
                    return Err(ApiError::busy());
                };
                let (app, catalog) = (self.app.clone(), Arc::clone(&self.catalog));
                let (name, now) = (user.clone(), self.now);
                let verified = tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    let arrays = catalog.registry.arrays();
                    app.auth().passwords.verify(arrays, now, &name, &password)
                });
                match verified.await {
                    Ok(true) => Ok(user.into()),
                    Ok(false) => refused(Some(&user), "wrong password"),
                    Err(_) => Err(ApiError::unexpected()),
                }
            }
        }
    }

    fn caller_of(&self, user: &Text) -> Caller {
        let principal = Principal::User { name: user.clone(), database: Text::default() };
        Caller { principal, peer: self.connection.peer }
    }

    /// The body of an operation that has one.
    async fn take_body(&self, body: Body) -> Result<Bytes, ApiError> {
        let method = &self.parts.method;
        if self.found.operation.is_none() || ![Method::POST, Method::PATCH].contains(method) {
            return Ok(Bytes::new());
        }
        // A page of a browser can post forms anywhere with the credentials it remembers.
        let kind = self.parts.headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::unsupported_media_type());
        }
        let timeout = self.app.settings().head_timeout;
        match tokio::time::timeout(timeout, to_bytes(body, BODY_MAX_BYTES)).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(_)) => Err(ApiError::too_large(BODY_MAX_BYTES)),
            Err(_) => Err(ApiError::bad_request("The body did not come in time.")),
        }
    }

    /// Answers a known caller, and takes note.
    fn answer(&self, caller: &Caller, user: &Text, body: &[u8]) -> Response<Vec<u8>> {
        let query = Query::parse(self.parts.uri.query().unwrap_or_default());
        let (query, unreadable) = match query {
            Ok(query) => (query, None),
            Err(error) => (Query::default(), Some(error)),
        };
        let mut call = Call {
            app: &self.app,
            registry: &self.catalog.registry,
            caller,
            user,
            query: &query,
            now: self.now,
            segments: &self.found.segments,
            body,
            subject: None,
            rows: 0,
            coverage: None,
            is_recorded: false,
        };
        let result = match (self.found.operation, unreadable) {
            (None, _) => Err(self.absent()),
            (Some(_), Some(error)) => Err(error),
            (Some(operation), None) => (operation.serve)(&mut call),
        };
        let (subject, rows, known) = (call.subject, call.rows, call.coverage.take());
        if !call.is_recorded {
            self.record(caller, subject, result.as_ref().err(), rows);
        }
        match result {
            Ok(Answer::Empty) => with_body(StatusCode::NO_CONTENT, Vec::new()),
            Ok(Answer::Json(body)) => self.succeed(body, known.as_ref()),
            Err(error) => self.fail(&error),
        }
    }

    /// Why there is no operation.
    fn absent(&self) -> ApiError {
        if self.found.methods.is_empty() {
            let shown: String = self.parts.uri.path().chars().take(200).collect();
            return ApiError::not_found(format!("There is no {shown}."));
        }
        ApiError::method_not_allowed(self.parts.method.as_str())
    }

    fn succeed(&self, body: Vec<u8>, known: Option<&doorbook_store::Answer>) -> Response<Vec<u8>> {
        let compressed = compress(&self.parts.headers, &body);
        let is_compressed = compressed.is_some();
        let mut response = with_body(StatusCode::OK, compressed.unwrap_or(body));
        let headers = response.headers_mut();
        if is_compressed {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if let Some(Ok(known)) = known.map(|known| coverage::header(known).try_into()) {
            headers.insert(coverage::HEADER, known);
        }
        response
    }

    fn fail(&self, error: &ApiError) -> Response<Vec<u8>> {
        let mut response = with_body(error.status, error.body(&self.request_id));
        let headers = response.headers_mut();
        match error.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                if let Ok(allowed) = self.found.methods.join(", ").try_into() {
                    headers.insert(header::ALLOW, allowed);
                }
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }

    fn refuse(&self, error: &ApiError) -> Response<Body> {
        self.fail(error).map(Body::from)
    }

    fn challenge(&self, error: &ApiError) -> Response<Body> {
        let mut response = self.fail(error);
        if error.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"Doorbook\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
        }
        response.map(Body::from)
    }

    /// Takes note of an answer to a known caller.
    fn record(&self, caller: &Caller, array: Option<Uuid>, error: Option<&ApiError>, rows: u64) {
        let target = match array {
            Some(id) => Target::Own { kind: "array".into(), name: id.to_string().into() },
            None => Target::Own { kind: "api".into(), name: "tiledb".into() },
        };
        let is_read = [Method::GET, Method::HEAD].contains(&self.parts.method);
        let refusal = error.map(|error| error.message.chars().take(200).collect::<String>());
        let mut details = self.details();
        if error.is_some() {
            // The caller was shown it, and may come with it.
            details.push(("request_id", self.request_id.clone().into()));
        }
        self.app.usage().record(Use {
            caller: caller.clone(),
            action: if is_read { Action::Query } else { Action::RegistryChange },
            operation: self.operation_name(),
            target,
            status: error.map_or(200, |error| error.status.as_u16()),
            refusal: refusal.map(Text::from),
            rows,
            details,
        });
    }

    /// Takes note of a failed authentication.
    fn record_refusal(&self, claimed: Option<&str>, reason: &'static str) {
        let mut details = self.details();
        details.extend(claimed.map(|name| ("claimed", shorten(name))));
        self.app.usage().record(Use {
            caller: Caller { principal: Principal::Unauthenticated, peer: self.connection.peer },
            action: Action::Query,
            operation: self.operation_name(),
            target: Target::Own { kind: "api".into(), name: "tiledb".into() },
            status: 401,
            refusal: Some(reason.into()),
            rows: 0,
            details,
        });
    }

    fn operation_name(&self) -> Text {
        format!("tiledb.{}", self.found.operation.map_or("none", |found| found.id)).into()
    }

    /// What was asked for, as it was sent, cut to what is worth keeping.
    fn details(&self) -> Vec<(&'static str, Text)> {
        let cut = |text: &str| -> Text { text.chars().take(1024).collect::<String>().into() };
        let mut details = vec![("path", cut(self.parts.uri.path()))];
        details.extend(self.parts.uri.query().map(|query| ("filter", cut(query))));
        details
    }
}

fn with_body(status: StatusCode, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if status != StatusCode::NO_CONTENT {
        // Said outright, so that HEAD says it too.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    *response.body_mut() = body;
    response
}

/// A name as somebody sent it, for a message.
pub fn shown_name(text: &str) -> String {
    text.chars().take(200).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: paths mean what was sent. Method: those of the captures, and some that try to be another's.
    #[test]
    fn a_path_is_split_before_it_is_decoded_and_decoded_once() {
        let check = |method: &str, path: &str, expected: Option<(&str, &[&str])>| {
            let found = find(&Method::from_bytes(method.as_bytes()).expect("a method"), path);
            let values: Vec<&str> = found.segments.iter().map(|(_, value)| &**value).collect();
            let got = found.operation.map(|operation| (operation.id, &*values));
            assert_eq!(got, expected, "{method} {path}");
        };
        check("GET", "/v1/user", Some(("getUser", &[])));
        check("HEAD", "/v1/user", Some(("getUser", &[])));
        check("GET", "/v1/arrays/browser/owned", Some(("arraysBrowserOwnedGet", &[])));
        check("GET", "/v1/arrays/alice/owned", Some(("arrayExists", &["alice", "owned"])));
        check(
            "GET",
            "/v1/arrays/alice/s3%3A%2F%2Fbucket%2Fa%20b%2Fc%3Fx%3D1%26y%23z%2520%C3%A9%2B/activity",
            Some(("arrayActivityLog", &["alice", "s3://bucket/a b/c?x=1&y#z%20é+"])),
        );
        check(
            "GET",
            "/v1/arrays/alice/a+b!*%27()~/activity/7",
            Some(("getActivityLogById", &["alice", "a+b!*'()~", "7"])),
        );
        check("GET", "/v2/arrays/alice/a/activity", Some(("arrayActivityLogV2", &["alice", "a"])));
        check("DELETE", "/v1/arrays/alice/a", Some(("deleteArray", &["alice", "a"])));
        for absent in [
            "/v2/arrays/alice/a/activity/7",
            "/v1/arrays/alice/s3://bucket/a/activity",
            "/v1/arrays/alice/a/activity/",
            "/v1/arrays/alice/%ff/activity",
            "/v1/arrays%2Falice/a/activity",
            "/v1/",
            "/v1",
        ] {
            check("GET", absent, None);
        }
        check("POST", "/v2/arrays/alice/a/", None);
        assert_eq!(find(&Method::PUT, "/v1/arrays/a/b/share").methods, ["GET", "PATCH"]);
        assert!(find(&Method::OPTIONS, "/v2/groups/alice/a").methods.is_empty());
    }
}
