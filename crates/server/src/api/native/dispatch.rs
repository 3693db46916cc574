//! The way of a request from the wire to an operation and back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use doorbook_event::registry::Registry;
use doorbook_event::shipment;
use doorbook_event::source::is_source_name;
use doorbook_event::{Action, Principal, ProjectId, PublicIds, Scope, Target, Text, Timestamp};
use doorbook_store::{Catalog, Store};
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;

use super::agent::{self, Agent};
use super::body::Taken;
use super::cursor::Cursor;
use super::ingest::{self, Arrival, Listed};
use super::lines::{self, Lines};
use super::problem::Problem;
use super::query::Query;
use super::{DiskIs, OPERATIONS, Operation, PREFIX, Post, Serve, body, export, filter, lane, tail};
use crate::api::body::{compress, until_taken};
use crate::app::App;
use crate::auth::{self, Caller, Decision, Identified, Object, authorize, home_of};
use crate::http::Connection;
use crate::pipeline::documents::Whose;
use crate::sources::Board;
use crate::usage::Use;

/// Room for a cursor that repeats a filter of many conditions.
const TARGET_MAX_BYTES: usize = 16 * 1024;

/// A request to a reading operation, whose caller and scope are known.
pub struct Call<'a> {
    /// The history.
    pub store: &'a Store,
    /// What places of it are called outside.
    pub ids: &'a PublicIds,
    /// Who reads sources, where a server does.
    pub sources: Option<&'a Board>,
    /// When the request came.
    pub now: Timestamp,
    /// The registry at the beginning of the request.
    pub registry: &'a Registry,
    /// Whose history.
    pub scope: Scope,
    /// The parameters that were not asked for yet; with a cursor, those of its first page.
    pub query: Query,
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// What the path names, decoded.
    pub name: Option<String>,
    /// Out: rows in the answer, for our own record.
    pub rows: u64,
}

/// What a request brings that is sent something.
pub struct Sent<'a> {
    /// Where it is served.
    pub app: &'a App,
    /// Who sends it.
    pub caller: &'a Caller,
    /// What is sent.
    pub body: &'a [u8],
}

impl Call<'_> {
    /// What the path names.
    pub fn named(&self) -> Result<&str, Problem> {
        let name = self.name.as_deref();
        name.ok_or_else(|| Problem::not_found("There is nothing of that name."))
    }
}

/// A request to an operation, or (`None`) to a path that there is not.
pub async fn dispatch(
    app: App,
    found: Option<&'static Operation>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let exchange = Arc::new(Exchange::new(&app, found, parts));
    let response = match exchange.admit() {
        Err(response) => *response,
        Ok((caller, operation)) => match operation.serve {
            Serve::Ingest | Serve::Lines => exchange.ingest(caller, operation, body).await,
            Serve::Orders | Serve::Advances => exchange.agent(caller, operation, body).await,
            Serve::Read(serve) => {
                let permit = exchange.permit(false).await;
                return exchange.read(caller, operation, permit, serve).await;
            }
            Serve::ReadAll(serve) => {
                let permit = exchange.permit(true).await;
                return exchange.read(caller, operation, permit, serve).await;
            }
            Serve::Post(post) => return exchange.post(caller, operation, post, body).await,
            Serve::Export => return exchange.export(caller, operation).await,
            Serve::Tail => return exchange.tail(caller, operation),
        },
    };
    response.map(Body::from)
}

/// One request on its way.
struct Exchange {
    app: App,
    found: Option<&'static Operation>,
    parts: Parts,
    connection: Connection,
    catalog: Arc<Catalog>,
    now: Timestamp,
}

type Answered = Result<Response<Vec<u8>>, Problem>;

impl Exchange {
    fn new(app: &App, found: Option<&'static Operation>, parts: Parts) -> Exchange {
        Exchange {
            app: app.clone(),
            found,
            connection: parts.extensions.get().copied().unwrap_or_default(),
            catalog: app.store().catalog(),
            now: app.clock().now(),
            parts,
        }
    }

    /// Who asks for which operation.
    fn admit(&self) -> Result<(Caller, &'static Operation), Box<Response<Vec<u8>>>> {
        let target = self.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        if target.len() > TARGET_MAX_BYTES {
            return Err(Box::new(self.finish(Problem::uri_too_long().response())));
        }
        let identified = self.app.auth().identify_or_basic(
            &self.catalog.registry,
            self.now,
            &self.parts.method,
            target,
            (&self.parts.headers, self.is_private()),
        );
        let principal = match identified {
            Identified::As(principal) => principal,
            Identified::Nobody => return Err(Box::new(self.challenge(false))),
            Identified::Stale => return Err(Box::new(self.challenge(true))),
            Identified::Refused(refusal) => {
                let nobody =
                    Caller { principal: Principal::Unauthenticated, peer: self.connection.peer };
                let claimed = refusal.claimed.map(|name| ("claimed", name));
                let details = self.details().into_iter().chain(claimed).collect();
                let refused = Some(refusal.reason.into());
                self.app.usage().record(self.used(nobody, None, 401, refused, 0, details));
                return Err(Box::new(self.challenge(refusal.stale)));
            }
        };
        let caller = Caller { principal, peer: self.connection.peer };
        let problem = match self.found {
            None => {
                let shown: String = self.parts.uri.path().chars().take(200).collect();
                Problem::not_found(format!("There is no {shown}."))
            }
            Some(operation) if operation.takes(&self.parts.method) => {
                return Ok((caller, operation));
            }
            Some(_) => Problem::method_not_allowed(self.parts.method.as_str()),
        };
        self.record(caller, None, Some(&problem), 0);
        let mut response = problem.response();
        if let Some(operation) = self.found.filter(|_| response.status() == 405) {
            response.headers_mut().insert(header::ALLOW, operation.allow());
        }
        Err(Box::new(self.finish(response)))
    }

    /// Whether a secret in the request was readable to nobody on its way.
    fn is_private(&self) -> bool {
        self.connection.is_tls
            || self.connection.peer.address().is_some_and(|address| address.is_loopback())
    }

    /// Leave to answer, when there is room for one more; what takes long has as much as exports.
    async fn permit(&self, is_long: bool) -> Result<OwnedSemaphorePermit, Problem> {
        if is_long {
            return export::permit(&self.app).await.ok_or_else(|| Problem::busy(60));
        }
        let permit = self.app.answers().clone().acquire_owned();
        match tokio::time::timeout(self.app.settings().answer_wait, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Problem::busy(5)),
        }
    }

    /// Answers a reading operation.
    async fn read(
        self: Arc<Exchange>,
        caller: Caller,
        operation: &'static Operation,
        permit: Result<OwnedSemaphorePermit, Problem>,
        serve: impl FnOnce(&mut Call<'_>) -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Response<Body> {
        let permit = match permit {
            Ok(permit) => permit,
            Err(problem) => {
                self.record(caller, None, Some(&problem), 0);
                return self.finish(problem.response()).map(Body::from);
            }
        };
        let answered = tokio::task::spawn_blocking(move || {
            let mut rows = 0;
            let mut scope = None;
            let answered = self.answer(&caller, operation, serve, &mut scope, &mut rows);
            // A change that was made is in the history by itself.
            if answered.is_err() || !self.is(Serve::is_change) {
                self.record(caller, scope.as_ref(), answered.as_ref().err(), rows);
            }
            let response = answered.unwrap_or_else(|problem| problem.response());
            until_taken(self.finish(response), permit)
        });
        // The answer panicked, and the panic has been printed.
        answered.await.unwrap_or_else(|_| Problem::unexpected().response().map(Body::from))
    }

    /// Answers an operation that is sent something.
    async fn post(
        self: Arc<Exchange>,
        caller: Caller,
        operation: &'static Operation,
        post: &'static Post,
        body: Body,
    ) -> Response<Body> {
        let mut scope = None;
        let body = match self.posted(&caller, operation, post, &mut scope, body).await {
            Ok(body) => body,
            Err(problem) => {
                self.record(caller, scope.as_ref(), Some(&problem), 0);
                return self.finish(problem.response()).map(Body::from);
            }
        };
        let permit = self.permit(post.is_long).await;
        let (app, by) = (self.app.clone(), caller.clone());
        let serve = move |call: &mut Call<'_>| {
            let (mut body, app, caller) = (body, &app, &by);
            let body = body.decompress(post.body_bytes_max)?;
            (post.serve)(call, &Sent { app, caller, body: &body })
        };
        self.read(caller, operation, permit, serve).await
    }

    /// What was sent, of somebody who may send it: that is known before it is read.
    async fn posted(
        &self,
        caller: &Caller,
        operation: &'static Operation,
        post: &'static Post,
        scope: &mut Option<Scope>,
        body: Body,
    ) -> Result<Taken, Problem> {
        self.call(caller, operation, scope)?;
        if operation.method != "DELETE" {
            check_content_type(&self.parts.headers, &[post.content_type])?;
        }
        body::take(&self.app, &self.parts.headers, body).await
    }

    /// Sends an export while it is written. It is recorded when it begins, and when it has ended, however that was.
    async fn export(
        self: Arc<Exchange>,
        caller: Caller,
        operation: &'static Operation,
    ) -> Response<Body> {
        let Some(permit) = export::permit(&self.app).await else {
            let problem = Problem::busy(60);
            self.record(caller, None, Some(&problem), 0);
            return self.finish(problem.response()).map(Body::from);
        };
        let mut scope = None;
        let prepared = self.call(&caller, operation, &mut scope);
        let prepared = prepared.and_then(|mut call| export::prepare(&mut call, &caller));
        let export = match prepared {
            Ok(export) => export,
            Err(problem) => {
                self.record(caller, scope.as_ref(), Some(&problem), 0);
                return self.finish(problem.response()).map(Body::from);
            }
        };
        if self.parts.method == Method::HEAD {
            self.record(caller, scope.as_ref(), None, 0);
            return export::head(export.format);
        }
        self.record_part(&caller, scope.as_ref(), "began", 0);
        let exchange = Arc::clone(&self);
        let usage = self.app.usage().clone();
        export::send(export, permit, usage, move |ended| {
            let mut details = exchange.details();
            details.push(("part", "ended".into()));
            details.extend(ended.sha256.map(|sha256| ("sha256", sha256)));
            let (rows, refusal) = (ended.rows, ended.refusal);
            let used = exchange.used(caller, scope.as_ref(), 200, refusal, rows, details);
            exchange.app.usage().record(used);
        })
    }

    /// Sends rows as they are recorded. Who reads is on the disk before a row is sent, and the rows are told soon after
    /// they are and when it has ended, so that a server that is killed still knows who read.
    fn tail(self: Arc<Exchange>, caller: Caller, operation: &'static Operation) -> Response<Body> {
        let refused = |scope: Option<&Scope>, problem: &Problem| {
            self.record(caller.clone(), scope, Some(problem), 0);
            self.finish(problem.response()).map(Body::from)
        };
        let Ok(permit) = self.app.doors().tails.clone().try_acquire_owned() else {
            return refused(None, &Problem::busy(60));
        };
        let mut scope = None;
        let prepared = self.call(&caller, operation, &mut scope);
        let prepared =
            prepared.and_then(|mut call| tail::prepare(&mut call, &self.app, &self.parts.headers));
        let (tail, scope) = match (prepared, scope) {
            (Ok(tail), Some(scope)) => (tail, scope),
            (Ok(_), None) => return refused(None, &Problem::unexpected()),
            (Err(problem), scope) => return refused(scope.as_ref(), &problem),
        };
        let (mut response, sender) = tail::answer();
        set_headers(response.headers_mut());
        if self.parts.method == Method::HEAD {
            self.record(caller, Some(&scope), None, 0);
            return response;
        }
        let exchange = Arc::clone(&self);
        tokio::spawn(async move {
            let tell = |part, rows| exchange.record_part(&caller, Some(&scope), part, rows);
            tell("began", 0);
            let usage = exchange.app.usage().clone();
            // It cannot panic but with the process.
            let _done = tokio::task::spawn_blocking(move || usage.flush()).await;
            let may_go_on = || exchange.may_still(&caller, operation, &scope);
            let rows = tail.run(&sender, may_go_on, |rows| tell("goes on", rows)).await;
            tell("ended", rows);
            drop(exchange);
            drop(permit);
            // The answer ends with it.
            drop(sender);
        });
        response
    }

    /// Whether whoever began to read a scope may do so still, by what the registry says now.
    fn may_still(&self, caller: &Caller, operation: &Operation, scope: &Scope) -> bool {
        let catalog = self.app.store().catalog();
        self.is_still(caller, &catalog)
            && match scope {
                Scope::Project(id) => {
                    let decision = authorize(&catalog.registry, caller, operation.needs, Some(*id));
                    decision == Decision::Allowed
                }
                Scope::Namespace(name) => {
                    let query = Query::parse(self.parts.uri.query().unwrap_or_default());
                    query.is_ok_and(|query| {
                        may_read(&catalog.registry, caller, operation, name, &query)
                            == Decision::Allowed
                    })
                }
                Scope::System => false,
            }
    }

    /// Whether what a caller showed proves who it is still. A signature is good for once, and its key is
    /// asked for by the registry.
    fn is_still(&self, caller: &Caller, catalog: &Catalog) -> bool {
        let shown = self.parts.headers.get(header::AUTHORIZATION);
        let shown = shown.map_or(&b""[..], HeaderValue::as_bytes);
        if shown.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"digest ")) {
            return true;
        }
        let target = self.parts.uri.path_and_query().map_or("/", |target| target.as_str());
        let identified = self.app.auth().identify_or_basic(
            &catalog.registry,
            self.app.clock().now(),
            &self.parts.method,
            target,
            (&self.parts.headers, self.is_private()),
        );
        identified == Identified::As(caller.principal.clone())
    }

    fn answer(
        &self,
        caller: &Caller,
        operation: &Operation,
        serve: impl FnOnce(&mut Call<'_>) -> Result<Vec<u8>, Problem>,
        scope: &mut Option<Scope>,
        rows: &mut u64,
    ) -> Answered {
        let mut call = self.call(caller, operation, scope)?;
        let body = serve(&mut call)?;
        *rows = call.rows;
        let compressed = compress(&self.parts.headers, &body);
        let coding = compressed.is_some().then(|| HeaderValue::from_static("gzip"));
        let mut response = json(compressed.unwrap_or(body));
        let headers = response.headers_mut();
        headers.extend(coding.map(|coding| (header::CONTENT_ENCODING, coding)));
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        Ok(response)
    }

    /// What is asked for, if the caller may ask for it.
    fn call(
        &self,
        caller: &Caller,
        operation: &Operation,
        scope: &mut Option<Scope>,
    ) -> Result<Call<'_>, Problem> {
        let mut query = Query::parse(self.parts.uri.query().unwrap_or_default())?;
        let ids = self.app.doors().ids();
        let cursor = Cursor::take(&mut query, ids)?;
        let named = match &cursor {
            Some(cursor) => Named::of(&cursor.scope),
            None => Named::take(&mut query)?,
        };
        let name = self.name(operation);
        let id = match operation.is_of_review() {
            true => self.scope_of_review(caller, operation, named, &query, name.as_deref())?,
            false => self.scope(caller, operation, named, &query)?,
        };
        *scope = Some(id.clone());
        Ok(Call {
            store: self.app.store(),
            ids,
            sources: self.app.metrics().board(),
            now: self.now,
            registry: &self.catalog.registry,
            scope: id,
            query,
            cursor,
            name,
            rows: 0,
        })
    }

    /// Takes events in.
    async fn ingest(
        self: Arc<Exchange>,
        caller: Caller,
        operation: &'static Operation,
        body: Body,
    ) -> Response<Vec<u8>> {
        let mut scope = None;
        let answered = match operation.serve {
            Serve::Lines => match self.lines(&caller, operation, &mut scope) {
                Ok(lines) => self.route(lines, body).await,
                Err(problem) => Err(problem),
            },
            _ => match self.arrival(&caller, operation, &mut scope) {
                Ok(arrival) => self.store(arrival, body).await,
                Err(problem) => Err(problem),
            },
        };
        let (answered, stored) = match answered {
            Ok(answer) => (Ok(json(answer.body)), answer.stored),
            Err(problem) => (Err(problem), 0),
        };
        let problem = answered.as_ref().err();
        match self.app.doors().disk_changed(problem) {
            Some(DiskIs::Full) => tracing::error!(
                advice = "make room; doorbook status says how much there is",
                "the disk is full: events are refused"
            ),
            Some(DiskIs::Roomy) => tracing::info!("events are taken in again"),
            None => {}
        }
        self.record(caller, scope.as_ref(), problem, stored);
        self.finish(answered.unwrap_or_else(|problem| problem.response()))
    }

    /// Answers an agent.
    async fn agent(
        self: Arc<Exchange>,
        caller: Caller,
        operation: &'static Operation,
        body: Body,
    ) -> Response<Vec<u8>> {
        let mut scope = None;
        let answered = match self.agent_of(&caller, operation, &mut scope) {
            Ok(agent) => self.serve_agent(agent, operation, body).await,
            Err(problem) => Err(problem),
        };
        let (answered, events) = match answered {
            Ok((body, events)) => (Ok(cbor(body)), events),
            Err(problem) => (Err(problem), 0),
        };
        self.record(caller, scope.as_ref(), answered.as_ref().err(), events);
        self.finish(answered.unwrap_or_else(|problem| problem.response()))
    }

    async fn serve_agent(
        &self,
        agent: Agent,
        operation: &Operation,
        body: Body,
    ) -> Result<(Vec<u8>, u64), Problem> {
        if operation.method == "GET" {
            return Ok((agent::orders(&self.app, &agent), 0));
        }
        check_content_type(&self.parts.headers, &[shipment::CONTENT_TYPE])?;
        let mut taken = body::take(&self.app, &self.parts.headers, body).await?;
        let app = self.app.clone();
        let served = tokio::task::spawn_blocking(move || {
            let body = taken.decompress(agent::BODY_BYTES_MAX)?;
            agent::take(&app, &agent, &body)
        });
        // It panicked, and the panic has been printed.
        served.await.unwrap_or_else(|_| Err(Problem::unexpected()))
    }

    /// The agent that asks; which one, and of which project, its key says.
    fn agent_of(
        &self,
        caller: &Caller,
        operation: &Operation,
        scope: &mut Option<Scope>,
    ) -> Result<Agent, Problem> {
        Query::parse(self.parts.uri.query().unwrap_or_default())?.finish()?;
        let home = home_of(&self.catalog.registry, &caller.principal);
        let id = self.project(caller, operation, home, "of this key")?;
        *scope = Some(Scope::Project(id));
        let name = auth::agent_of(&self.catalog.registry, caller);
        let name = name.ok_or_else(Problem::forbidden)?.clone();
        Ok(Agent { project: id, name })
    }

    /// What can be checked before the body is read.
    fn arrival(
        &self,
        caller: &Caller,
        operation: &Operation,
        scope: &mut Option<Scope>,
    ) -> Result<Arrival, Problem> {
        let mut query = Query::parse(self.parts.uri.query().unwrap_or_default())?;
        let named = Named::take(&mut query)?;
        let id = self.scope(caller, operation, named, &query)?;
        *scope = Some(id.clone());
        let whose = whose(id, caller).ok_or_else(Problem::forbidden)?;
        let listed = query.read("lines", "quarantined, all or none", Listed::from_word)?;
        query.finish()?;
        let source = self.source(operation).ok_or_else(|| {
            let expected = "1 to 64 lower-case letters, digits and -_., and not doorbook";
            Problem::invalid_parameter("source", expected)
        })?;
        check_content_type(&self.parts.headers, &LINES)?;
        Ok(Arrival {
            whose,
            source,
            key: idempotency_key(&self.parts.headers)?,
            listed: listed.unwrap_or(Listed::Quarantined),
        })
    }

    /// The same of raw lines.
    fn lines(
        &self,
        caller: &Caller,
        operation: &Operation,
        scope: &mut Option<Scope>,
    ) -> Result<Lines, Problem> {
        let mut query = Query::parse(self.parts.uri.query().unwrap_or_default())?;
        let named = Named::take(&mut query)?;
        let whose = self.scope(caller, operation, named, &query)?;
        *scope = Some(whose.clone());
        let Scope::Project(id) = whose else {
            return Err(Problem::invalid_parameter("project", "a project: lines are of its hosts"));
        };
        let headers = &self.parts.headers;
        let lines = Lines::new(id, &caller.principal, headers, &mut query)?;
        match content_type(headers).eq_ignore_ascii_case("text/plain") {
            true => Ok(lines),
            false if LINES.iter().any(|kind| kind.eq_ignore_ascii_case(content_type(headers))) => {
                Ok(lines)
            }
            false => {
                let detail = format!(
                    "Content-Type must be {} (a JSON object for each line), or text/plain.",
                    LINES.join(", ")
                );
                Err(Problem::unsupported_media_type(&detail))
            }
        }
    }

    async fn route(&self, lines: Lines, body: Body) -> Result<ingest::Answer, Problem> {
        let mut taken = body::take(&self.app, &self.parts.headers, body).await?;
        let app = self.app.clone();
        let served = tokio::task::spawn_blocking(move || {
            let body = taken.decompress(app.settings().ingest_body_bytes_max)?;
            lines::serve(&app, &lines, &body)
        });
        // It panicked, and the panic has been printed.
        served.await.unwrap_or_else(|_| Err(Problem::unexpected()))
    }

    fn source(&self, operation: &Operation) -> Option<Text> {
        self.name(operation).filter(|source| is_source_name(source)).map(Text::from)
    }

    /// What the path has where the operation's has a name in braces.
    fn name(&self, operation: &Operation) -> Option<String> {
        let at = operation.path.split('/').position(|segment| segment.starts_with('{'))?;
        let path = self.parts.uri.path().strip_prefix(PREFIX)?;
        Some(percent_decode_str(path.split('/').nth(at)?).decode_utf8().ok()?.into_owned())
    }

    async fn store(&self, arrival: Arrival, body: Body) -> Result<ingest::Answer, Problem> {
        let mut taken = body::take(&self.app, &self.parts.headers, body).await?;
        if taken.plain().is_some_and(|body| body.len() <= lane::BODY_SIZE_BYTES_MAX) {
            return lane::serve(&self.app, arrival, taken).await;
        }
        let app = self.app.clone();
        let served = tokio::task::spawn_blocking(move || {
            let body = taken.decompress(app.settings().ingest_body_bytes_max)?;
            ingest::serve(&app, arrival, &body)
        });
        // It panicked, and the panic has been printed.
        served.await.unwrap_or_else(|_| Err(Problem::unexpected()))
    }

    /// Whose history is meant, if the caller may do this there. A request that names none means the
    /// caller's own.
    fn scope(
        &self,
        caller: &Caller,
        operation: &Operation,
        named: Named,
        query: &Query,
    ) -> Result<Scope, Problem> {
        let registry = &self.catalog.registry;
        match (named, &caller.principal) {
            (Named::Namespace(name), _) => self.namespace(caller, operation, &name, query),
            (Named::Nothing, Principal::User { name, .. }) => {
                self.namespace(caller, operation, name, query)
            }
            (Named::Project(text), _) => {
                let project = registry.find_project(&text).map(|project| project.id);
                self.project(caller, operation, project, &text).map(Scope::Project)
            }
            (Named::Nothing, principal) => {
                let home = home_of(registry, principal);
                self.project(caller, operation, home, "of this key").map(Scope::Project)
            }
        }
    }

    /// Whose history the review is about that the path names. A request may name it, too.
    fn scope_of_review(
        &self,
        caller: &Caller,
        operation: &Operation,
        named: Named,
        query: &Query,
        name: Option<&str>,
    ) -> Result<Scope, Problem> {
        let registry = &self.catalog.registry;
        let absent = || {
            let shown: String = name.unwrap_or_default().chars().take(64).collect();
            Problem::not_found(format!("There is no review {shown}."))
        };
        let review = name.and_then(|name| registry.review(name));
        if !matches!(named, Named::Nothing) {
            let scope = self.scope(caller, operation, named, query)?;
            let is_its = review.is_some_and(|review| review.scope == scope);
            return if is_its { Ok(scope) } else { Err(absent()) };
        }
        let scope = &review.ok_or_else(absent)?.scope;
        match authorize(registry, caller, operation.needs, scope) {
            Decision::Allowed => Ok(scope.clone()),
            Decision::RoleMissing => Err(Problem::forbidden()),
            Decision::Invisible => Err(absent()),
        }
    }

    fn project(
        &self,
        caller: &Caller,
        operation: &Operation,
        project: Option<ProjectId>,
        shown: &str,
    ) -> Result<ProjectId, Problem> {
        let invisible = || Problem::not_found(format!("There is no project {shown}."));
        let project = project.ok_or_else(invisible)?;
        match authorize(&self.catalog.registry, caller, operation.needs, Some(project)) {
            Decision::Allowed => Ok(project),
            Decision::RoleMissing => Err(Problem::forbidden()),
            Decision::Invisible => Err(invisible()),
        }
    }

    fn namespace(
        &self,
        caller: &Caller,
        operation: &Operation,
        name: &str,
        query: &Query,
    ) -> Result<Scope, Problem> {
        match may_read(&self.catalog.registry, caller, operation, name, query) {
            Decision::Allowed => Ok(Scope::Namespace(name.into())),
            Decision::RoleMissing => Err(Problem::forbidden()),
            Decision::Invisible => {
                let shown: String = name.chars().take(64).collect();
                Err(Problem::not_found(format!("There is no namespace {shown}.")))
            }
        }
    }

    fn challenge(&self, stale: bool) -> Response<Vec<u8>> {
        let detail = match self.is_private() {
            true => "Sign with a key (HTTP Digest, or Basic), or bring a service account's token.",
            false => {
                "Sign with a key (HTTP Digest), or bring a service account's token. HTTP Basic \
                 is taken over TLS and from this machine only."
            }
        };
        let mut response = Problem::unauthenticated(detail).response();
        let headers = response.headers_mut();
        headers.append(header::WWW_AUTHENTICATE, self.app.auth().challenge(self.now, stale));
        if self.is_private() {
            let basic = HeaderValue::from_static("Basic realm=\"Doorbook\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, basic);
        }
        self.finish(response)
    }

    /// The headers of every answer.
    fn finish(&self, mut response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, length);
        set_headers(headers);
        response
    }

    /// Takes note of an answer to a known caller: of each read, and of what came in only sums.
    fn record(&self, caller: Caller, scope: Option<&Scope>, problem: Option<&Problem>, rows: u64) {
        let is_ingest = self.is(Serve::is_ingest);
        let is_agent = self.is(Serve::is_agent);
        let status = problem.map_or(StatusCode::OK, |problem| problem.status);
        let refusal = problem.map(|problem| problem.name.into());
        let source = self.found.and_then(|operation| self.source(operation));
        let details = match (is_ingest, source) {
            (true, Some(source)) => vec![("source", source)],
            // What cannot be a source is anything at all, and would not add up.
            (true, None) => Vec::new(),
            // Which one it is its key says.
            (false, _) if is_agent => Vec::new(),
            (false, _) => self.details(),
        };
        let used = self.used(caller, scope, status.as_u16(), refusal, rows, details);
        match is_ingest || is_agent {
            true => self.app.usage().record_summed(used),
            false => self.app.usage().record(used),
        }
    }

    /// Takes note of a part of an answer that lasts.
    fn record_part(&self, caller: &Caller, scope: Option<&Scope>, part: &'static str, rows: u64) {
        let mut details = self.details();
        details.push(("part", part.into()));
        self.app.usage().record(self.used(caller.clone(), scope, 200, None, rows, details));
    }

    fn used(
        &self,
        caller: Caller,
        scope: Option<&Scope>,
        status: u16,
        refusal: Option<Text>,
        rows: u64,
        details: Vec<(&'static str, Text)>,
    ) -> Use {
        let brings = self.is(Serve::is_ingest) || self.is(Serve::is_advances);
        let operation = self.found.map_or("none", |operation| operation.id);
        let target = match scope {
            Some(Scope::Project(id)) => {
                Target::Own { kind: "project".into(), name: id.to_string().into() }
            }
            Some(Scope::Namespace(name)) => {
                Target::Own { kind: "namespace".into(), name: name.clone() }
            }
            Some(Scope::System) | None => Target::Own { kind: "api".into(), name: "native".into() },
        };
        let action = match self.is(Serve::is_change) {
            true => Action::Review,
            false if brings => Action::Import,
            false => Action::Query,
        };
        Use {
            caller,
            action,
            operation: format!("native.v1.{operation}").into(),
            target,
            status,
            refusal,
            rows,
            details,
        }
    }

    fn is(&self, what: fn(Serve) -> bool) -> bool {
        self.found.is_some_and(|operation| what(operation.serve))
    }

    /// What was asked for, as it was sent, cut to what is worth keeping.
    fn details(&self) -> Vec<(&'static str, Text)> {
        let cut = |text: &str| -> Text { text.chars().take(1024).collect::<String>().into() };
        let mut details = vec![("path", cut(self.parts.uri.path()))];
        details.extend(self.parts.uri.query().map(|query| ("filter", cut(query))));
        details
    }
}

/// The headers of every answer, whatever its body.
pub fn set_headers(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Whose history a request names.
enum Named {
    Project(String),
    Namespace(String),
    Nothing,
}

impl Named {
    fn take(query: &mut Query) -> Result<Named, Problem> {
        match (query.one("project")?, query.one("namespace")?) {
            (Some(_), Some(_)) => {
                Err(Problem::invalid_parameter("namespace", "either this or project"))
            }
            (Some(project), None) => Ok(Named::Project(project)),
            (None, Some(namespace)) => Ok(Named::Namespace(namespace)),
            (None, None) => Ok(Named::Nothing),
        }
    }

    fn of(scope: &Scope) -> Named {
        match scope {
            Scope::Project(id) => Named::Project(id.to_string()),
            Scope::Namespace(name) => Named::Namespace(name.to_string()),
            Scope::System => Named::Nothing,
        }
    }
}

/// All of a namespace is its owner's; of arrays that are shared with the caller, those that are named.
fn may_read(
    registry: &Registry,
    caller: &Caller,
    operation: &Operation,
    name: &str,
    query: &Query,
) -> Decision {
    let may = |object: Object<'_>| authorize(registry, caller, operation.needs, object);
    let named = filter::arrays(query);
    let may_read_named = !named.is_empty()
        && named.iter().all(|text| {
            let array = registry.arrays().find(name, text);
            array.is_some_and(|array| may(Object::Array(array)) == Decision::Allowed)
        });
    match may(Object::Namespace(name)) {
        Decision::RoleMissing if may_read_named => Decision::Allowed,
        decision => decision,
    }
}

/// Whose history a caller sends to.
fn whose(scope: Scope, caller: &Caller) -> Option<Whose> {
    match (scope, &caller.principal) {
        (Scope::Project(project), _) => Some(Whose::Project(project)),
        (Scope::Namespace(name), Principal::User { name: by, .. }) => {
            Some(Whose::Namespace { name, by: by.clone() })
        }
        _ => None,
    }
}

impl Serve {
    fn is_ingest(self) -> bool {
        matches!(self, Serve::Ingest | Serve::Lines)
    }

    fn is_advances(self) -> bool {
        matches!(self, Serve::Advances)
    }

    fn is_change(self) -> bool {
        matches!(self, Serve::Post(post) if post.is_change)
    }

    fn is_agent(self) -> bool {
        matches!(self, Serve::Orders | Serve::Advances)
    }
}

impl Operation {
    pub(super) fn takes(&self, method: &Method) -> bool {
        method.as_str() == self.method || (self.method == "GET" && *method == Method::HEAD)
    }

    /// What its path takes.
    fn allow(&self) -> HeaderValue {
        let beside = OPERATIONS.iter().filter(|operation| operation.path == self.path);
        let methods = beside.map(|operation| match operation.method {
            "GET" => "GET, HEAD",
            method => method,
        });
        let methods: Vec<&str> = methods.collect();
        HeaderValue::from_str(&methods.join(", ")).expect("methods are ASCII")
    }
}

/// The types of a body of lines, as they are called in the wild.
const LINES: [&str; 5] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/x-jsonlines",
    "application/json",
];

/// A page of a browser can send forms anywhere with the credentials it remembers; no form has one
/// of these types.
fn check_content_type(headers: &HeaderMap, known: &[&str]) -> Result<(), Problem> {
    let kind = content_type(headers);
    match known.iter().any(|known| known.eq_ignore_ascii_case(kind)) {
        true => Ok(()),
        false => {
            let hint = if known.len() > 1 { ": one JSON object a line" } else { "" };
            let detail = format!("Content-Type must be {}{hint}.", known[0]);
            Err(Problem::unsupported_media_type(&detail))
        }
    }
}

/// The kind of body, without its parameters.
pub fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Text>, Problem> {
    let wrong =
        || Problem::invalid_header("Idempotency-Key", "one, of 1 to 200 visible ASCII characters");
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().map_err(|_| wrong())?;
    let is_key = (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    match is_key && values.next().is_none() {
        true => Ok(Some(text.into())),
        false => Err(wrong()),
    }
}

fn cbor(body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    let cbor = HeaderValue::from_static(shipment::CONTENT_TYPE);
    response.headers_mut().insert(header::CONTENT_TYPE, cbor);
    response
}

fn json(body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(body);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
