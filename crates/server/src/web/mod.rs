//! What people open in a browser: `docs/design/web.md` has the design.
//!
//! HTML by this binary, from one state of the history for each page; all state of a page is its address.
//! A request goes through `answer` in this order: an asset · the method (405) · does a form come from us
//! (403) · who are you (a sign-in page) · may you (403, 404) · the page.
//!
//! Suggested reading order: [`params`] (the state of a page), [`sessions`] and `attempts` (who is there),
//! `sign_in`, `forms`, `act` (what is changed), `navigation` (where one may go), `question` (what is asked), `history` (the page), `filters`, `chart`, `gaps`, `table`, `detail`,
//! `states` (its parts), `principals` and `principal`, `sources`, `reviews`, `page` (what is around
//! every page), `text` and `when` (strings and times as people see them).

mod act;
mod administration;
mod assets;
mod attempts;
mod chart;
mod detail;
mod export;
mod facets;
mod filters;
mod forms;
mod gaps;
mod history;
mod navigation;
mod page;
mod params;
mod principal;
mod principals;
mod question;
mod reviews;
mod sessions;
mod sign_in;
mod sources;
mod states;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod when;
mod window;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::routing::any;
use doorbook_event::{Action, Principal, Random, Scope, Target, Text, Timestamp};
use doorbook_store::Catalog;

use crate::api::body::until_taken;
use crate::api::native::problem::Problem;
use crate::app::App;
use crate::auth::Caller;
use crate::http::Connection;
use crate::usage::Use;
use attempts::Attempts;
use page::Answer;
use params::Params;
use sessions::{Links, Sessions, SignedIn};

/// What the page holds between requests.
#[derive(Default)]
pub struct Web {
    sessions: Sessions,
    links: Links,
    attempts: Attempts,
}

impl Web {
    /// The path of a link that signs a user in, once and within a quarter of an hour.
    pub fn link_for(&self, random: &dyn Random, now: Timestamp, user: &str) -> String {
        format!("{}{}", sign_in::LINK_PREFIX, self.links.make(random, now, user))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Home,
    History,
    Event,
    Newer,
    Export,
    Principals,
    Principal,
    Sources,
    Reviews,
    Review,
    Administration,
    SignIn,
    Link,
    SignOut,
    Asset,
}

/// The operation that pages ask for by themselves.
const NEWER: &str = "newer";

/// Every path, and its operation's name in our own record and in `/metrics`.
static ROUTES: [(&str, Route, &str); 15] = [
    ("/", Route::Home, "home"),
    ("/history", Route::History, "history"),
    ("/history/{id}", Route::Event, "event"),
    ("/history/newer", Route::Newer, NEWER),
    (export::PATH, Route::Export, "export"),
    ("/principals", Route::Principals, "principals"),
    ("/principals/{name}", Route::Principal, "principal"),
    ("/sources", Route::Sources, "sources"),
    ("/reviews", Route::Reviews, "reviews"),
    ("/reviews/{name}", Route::Review, "review"),
    ("/admin", Route::Administration, "administration"),
    ("/sign-in", Route::SignIn, "signIn"),
    ("/sign-in/{link}", Route::Link, "signInByLink"),
    ("/sign-out", Route::SignOut, "signOut"),
    ("/assets/{file}", Route::Asset, "asset"),
];

/// The router of this surface.
pub fn router(app: &App) -> Router {
    let mut router = Router::new();
    for (path, route, operation) in ROUTES {
        let serve = async move |State(app): State<App>, request: Request| {
            let answer = answer(app.clone(), (route, operation), request);
            app.metrics().count("web", operation, answer).await
        };
        router = router.route(path, any(serve));
    }
    router.with_state(app.clone())
}

async fn answer(
    app: App,
    (route, operation): (Route, &'static str),
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    if route == Route::Asset {
        return assets::answer(&parts).map(Body::from);
    }
    let visit = Arc::new(Visit::new(app, operation, parts));
    if let Some(refused) = visit.refuse_method(route) {
        return visit.finish(refused).map(Body::from);
    }
    match route {
        Route::SignIn | Route::Link | Route::SignOut => {
            let answered = sign_in::answer(&visit, route, body).await;
            visit.finish(answered).map(Body::from)
        }
        Route::Export => export::answer(visit).await,
        _ if visit.parts.method == Method::POST => {
            let sent = forms::read(body).await;
            work(visit, move |visit, signed_in| change(visit, signed_in, route, sent)).await
        }
        _ => work(visit, move |visit, signed_in| look(visit, signed_in, route)).await,
    }
}

/// A page that shows something.
fn look(visit: &Visit, signed_in: &SignedIn, route: Route) -> Answer {
    match route {
        Route::Home => history::home(visit, signed_in),
        Route::Newer => history::newer(visit, signed_in),
        Route::Principals => principals::answer(visit, signed_in),
        Route::Principal => principal::answer(visit, signed_in),
        Route::Sources => sources::answer(visit, signed_in),
        Route::Reviews => reviews::list(visit, signed_in),
        Route::Review => reviews::answer(visit, signed_in),
        Route::Administration => administration::answer(visit, signed_in),
        _ => history::answer(visit, signed_in, route == Route::Event),
    }
}

/// What a form of a page asks for.
fn change(visit: &Visit, signed_in: &SignedIn, route: Route, sent: Option<Params>) -> Answer {
    let sent = match forms::admit(visit, signed_in, sent) {
        Err(refused) => return refused,
        Ok(sent) => sent,
    };
    match route {
        Route::Sources => sources::change(visit, &sent),
        Route::Reviews => reviews::manage(visit, &sent),
        Route::Review => reviews::change(visit, &sent),
        Route::Administration => administration::change(visit, &sent),
        _ => states::unreadable(visit),
    }
}

/// Answers who is signed in, under one of the permits that bound answers in general.
async fn work(
    visit: Arc<Visit>,
    answer: impl FnOnce(&Visit, &SignedIn) -> Answer + Send + 'static,
) -> Response<Body> {
    let Some(signed_in) = visit.signed_in.clone() else {
        return visit.finish(sign_in::ask_first(&visit)).map(Body::from);
    };
    let permit = visit.app.answers().clone().acquire_owned();
    let wait = visit.app.settings().answer_wait;
    let Ok(Ok(permit)) = tokio::time::timeout(wait, permit).await else {
        let busy = states::busy(&visit);
        return visit.finish(busy).map(Body::from);
    };
    let worked = tokio::task::spawn_blocking(move || {
        let answer = answer(&visit, &signed_in);
        until_taken(visit.finish(answer), permit)
    });
    // It panicked, and the panic has been printed.
    worked.await.unwrap_or_else(|_| {
        let mut response = Response::new(Body::from("This is a fault of the server."));
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// One request on its way.
struct Visit {
    app: App,
    operation: &'static str,
    parts: Parts,
    connection: Connection,
    catalog: Arc<Catalog>,
    now: Timestamp,
    /// The secret that the cookie holds, good or not.
    secret: Option<String>,
    signed_in: Option<SignedIn>,
}

impl Visit {
    fn new(app: App, operation: &'static str, parts: Parts) -> Visit {
        let (catalog, now) = (app.store().catalog(), app.clock().now());
        let connection: Connection = parts.extensions.get().copied().unwrap_or_default();
        let secret = cookie(&parts.headers, sign_in::cookie_name(connection.is_tls));
        let (sessions, arrays) = (&app.web().sessions, catalog.registry.arrays());
        let find = |secret: &String| match operation {
            NEWER => sessions.look(arrays, now, secret),
            _ => sessions.find(arrays, now, secret),
        };
        let signed_in = secret.as_ref().and_then(find);
        Visit { app, operation, parts, connection, catalog, now, secret, signed_in }
    }

    fn refuse_method(&self, route: Route) -> Option<Answer> {
        let is_read = [Method::GET, Method::HEAD].contains(&self.parts.method);
        let allowed = match route {
            Route::SignOut => "POST",
            Route::SignIn
            | Route::Sources
            | Route::Reviews
            | Route::Review
            | Route::Administration => "GET, HEAD, POST",
            _ => "GET, HEAD",
        };
        let is_allowed = match allowed {
            "POST" => self.parts.method == Method::POST,
            "GET, HEAD" => is_read,
            _ => is_read || self.parts.method == Method::POST,
        };
        (!is_allowed).then(|| states::wrong_method(self, allowed))
    }

    fn caller(&self) -> Caller {
        let principal = match &self.signed_in {
            Some(SignedIn { user, .. }) => {
                Principal::User { name: user.clone(), database: Text::default() }
            }
            None => Principal::Unauthenticated,
        };
        Caller { principal, peer: self.connection.peer }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Where the browser says it is, as far as that can stand in a line for a shell.
    fn base_url(&self) -> String {
        let scheme = if self.connection.is_tls { "https" } else { "http" };
        let of_uri = self.parts.uri.authority().map(|authority| authority.as_str());
        let host = self.header("host").or(of_uri).filter(|host| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
            host.bytes().all(is_plain)
        });
        format!("{scheme}://{}", host.unwrap_or("localhost:8080"))
    }

    /// Builds a page that shows something of a history, and takes note of it.
    fn look(&self, build: impl FnOnce(&mut Looked) -> Result<Answer, Problem>) -> Answer {
        let mut looked = Looked::default();
        let (answer, refusal) = match build(&mut looked) {
            Ok(answer) => (answer, None),
            Err(problem) => (states::problem(self, &problem), Some(Text::from(problem.name))),
        };
        let Looked { scope, rows, is_repeated } = looked;
        let (action, scope, status) = (Action::Query, scope.as_ref(), answer.status);
        // What is asked again and again is added up.
        let details = if is_repeated { Vec::new() } else { self.details() };
        let seen = Seen { action, scope, status, refusal, rows, details };
        match is_repeated {
            true => self.app.usage().record_summed(self.used(self.caller(), seen)),
            false => self.record(self.caller(), seen),
        }
        answer
    }

    /// Takes note of an answer.
    fn record(&self, caller: Caller, used: Seen<'_>) {
        self.app.usage().record(self.used(caller, used));
    }

    fn used(&self, caller: Caller, used: Seen<'_>) -> Use {
        let target = match used.scope {
            Some(Scope::Project(id)) => ("project", Text::from(id.to_string())),
            Some(Scope::Namespace(name)) => ("namespace", name.clone()),
            Some(Scope::System) | None => ("api", "web".into()),
        };
        Use {
            caller,
            action: used.action,
            operation: format!("web.{}", self.operation).into(),
            target: Target::Own { kind: target.0.into(), name: target.1 },
            status: used.status.as_u16(),
            refusal: used.refusal,
            rows: used.rows,
            details: used.details,
        }
    }

    /// What was asked for, as it was sent, cut to what is worth keeping.
    fn details(&self) -> Vec<(&'static str, Text)> {
        let cut = |text: &str| -> Text { text.chars().take(1024).collect::<String>().into() };
        let mut details = vec![("path", cut(self.parts.uri.path()))];
        details.extend(self.parts.uri.query().map(|query| ("filter", cut(query))));
        details
    }

    fn finish(&self, answer: Answer) -> Response<Vec<u8>> {
        page::response(&self.parts.headers, answer)
    }
}

/// What a page showed, as far as it came.
#[derive(Default)]
struct Looked {
    scope: Option<Scope>,
    rows: u64,
    /// A page asks it by itself.
    is_repeated: bool,
}

/// What is recorded of a request.
struct Seen<'a> {
    action: Action,
    scope: Option<&'a Scope>,
    status: StatusCode,
    refusal: Option<Text>,
    rows: u64,
    details: Vec<(&'static str, Text)>,
}

/// The value of a cookie. Of several of that name none is ours for sure.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(known, _)| known.trim() == name).map(|(_, value)| value.trim());
    let value = values.next()?;
    values.next().is_none().then(|| value.to_owned())
}
