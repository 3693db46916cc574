//! Signing in and out.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, StatusCode, header};
use doorbook_event::{Action, Peer, Principal, Text};
use maud::{DOCTYPE, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::page::{Answer, Frame, page};
use super::params::Params;
use super::{Route, Seen, Visit, forms, states};
use crate::auth::{Caller, shorten};

/// What the paths of one-time links begin with.
pub const LINK_PREFIX: &str = "/sign-in/";

/// What the cookie is called: over TLS by a name that browsers take from nobody else.
pub const fn cookie_name(is_tls: bool) -> &'static str {
    if is_tls { "__Host-doorbook" } else { "doorbook" }
}

/// The sign-in page, what its form sends, a one-time link, or signing out.
pub async fn answer(visit: &Arc<Visit>, route: Route, body: Body) -> Answer {
    if route == Route::Link {
        return by_link(visit);
    }
    if visit.parts.method != Method::POST {
        let params = Params::parse(visit.parts.uri.query().unwrap_or_default());
        let next = params.ok().and_then(|params| params.get("next").map(str::to_owned));
        return form(visit, StatusCode::OK, None, "", next.as_deref().unwrap_or("/"));
    }
    if !forms::is_from_here(visit) {
        refuse(visit, "a form from elsewhere", None, StatusCode::FORBIDDEN);
        return states::from_elsewhere(visit);
    }
    let Some(sent) = forms::read(body).await else { return states::unreadable(visit) };
    match route {
        Route::SignOut => sign_out(visit, &sent),
        _ => by_password(visit, &sent).await,
    }
}

/// What somebody gets who must sign in first.
pub fn ask_first(visit: &Visit) -> Answer {
    // The cookie is sent only where the visit begins here, and this one began elsewhere: the browser
    // is asked to come again from here.
    let is_from_elsewhere = visit.header("sec-fetch-site") == Some("cross-site");
    if visit.secret.is_none() && is_from_elsewhere && visit.parts.method == Method::GET {
        return again(visit);
    }
    let here = visit.parts.uri.path_and_query().map_or("/", |here| here.as_str());
    match here {
        "/" => Answer::redirect("/sign-in"),
        here => {
            let next = utf8_percent_encode(here, NON_ALPHANUMERIC);
            Answer::redirect(&format!("/sign-in?next={next}"))
        }
    }
}

fn again(visit: &Visit) -> Answer {
    let here = visit.parts.uri.path_and_query().map_or("/", |here| here.as_str());
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Doorbook" }
                meta http-equiv="refresh" content=(format!("0;url={here}"));
            }
            body { p { a href=(here) { "Go on to Doorbook" } } }
        }
    };
    Answer::page(StatusCode::OK, page)
}

fn form(visit: &Visit, status: StatusCode, error: Option<&str>, user: &str, next: &str) -> Answer {
    let frame = Frame { title: "Sign in", signed_in: None, here: None, bar: None };
    let main = html! {
        main #main.narrow {
            h1 { "Sign in" }
            @if let Some(error) = error {
                p #sign-in-error.notice.bad role="alert" { (error) }
            }
            @if let Some(signed_in) = &visit.signed_in {
                p.notice { "You are signed in as " (super::text::shown(&signed_in.user)) ". "
                    a href="/" { "Go on" } }
            }
            form.sign-in method="post" action="/sign-in" {
                label for="user" { "User" }
                input #user name="user" type="text" autocomplete="username" autocapitalize="none"
                    spellcheck="false" required value=(super::text::plain(user)) autofocus[error.is_none()]
                    aria-describedby=[error.map(|_| "sign-in-error")];
                label for="password" { "Password" }
                input #password name="password" type="password" autocomplete="current-password"
                    required autofocus[error.is_some()];
                input type="hidden" name="next" value=(safe(next));
                button.primary type="submit" { "Sign in" }
            }
            p.hint {
                "Users are made by whoever runs this server: " code { "doorbook user create NAME" }
                ", and see a project after "
                code { "doorbook user grant NAME --project P --role R" } "."
            }
        }
    };
    Answer::page(status, page(&frame, main))
}

async fn by_password(visit: &Arc<Visit>, sent: &Params) -> Answer {
    let user = sent.get("user").unwrap_or_default().trim().to_owned();
    let password = sent.get("password").unwrap_or_default().to_owned();
    let next = sent.get("next").unwrap_or("/");
    let (claimed, peer) = (shorten(&user), visit.connection.peer);
    let web = visit.app.web();
    if !web.attempts.begin(visit.now, &claimed, peer) {
        let status = StatusCode::TOO_MANY_REQUESTS;
        refuse(visit, "too many wrong passwords", Some(claimed), status);
        let error = "Too many wrong passwords. Wait a quarter of an hour, then try again.";
        return form(visit, status, Some(error), &user, next)
            .with(header::RETRY_AFTER, HeaderValue::from_static("900"));
    }
    match is_right(visit, &user, password).await {
        Some(true) => web.attempts.succeeded(&claimed, peer),
        Some(false) => {
            let status = StatusCode::UNAUTHORIZED;
            refuse(visit, "wrong password", Some(claimed), status);
            let error = "There is no user of that name with that password.";
            return form(visit, status, Some(error), &user, next);
        }
        None => return states::busy(visit),
    }
    begin(visit, &user, next)
}

/// Whether the password is right; `None` if too many others are computed.
async fn is_right(visit: &Arc<Visit>, user: &str, password: String) -> Option<bool> {
    let turn = Arc::clone(visit.app.auth().passwords.turns()).acquire_owned();
    let wait = visit.app.settings().answer_wait;
    let turn = tokio::time::timeout(wait, turn).await.ok()?.ok()?;
    let (visit, user) = (Arc::clone(visit), user.to_owned());
    let verified = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let arrays = visit.catalog.registry.arrays();
        visit.app.auth().passwords.verify(arrays, visit.now, &user, &password)
    });
    verified.await.ok()
}

fn by_link(visit: &Visit) -> Answer {
    // A browser that fetches ahead, or a page elsewhere that makes it, must not use the link up.
    let is_ahead = ["sec-purpose", "purpose"]
        .iter()
        .any(|name| visit.header(name).is_some_and(|purpose| purpose.contains("prefetch")));
    let is_meant = matches!(visit.header("sec-fetch-site"), None | Some("none" | "same-origin"));
    if is_ahead || !is_meant || visit.parts.method != Method::GET {
        return states::from_elsewhere(visit);
    }
    let secret = visit.parts.uri.path().strip_prefix(LINK_PREFIX).unwrap_or_default();
    match visit.app.web().links.take(visit.now, secret) {
        Some(user) => begin(visit, &user, "/"),
        None => {
            refuse(visit, "a used or unknown link", None, StatusCode::UNAUTHORIZED);
            let error = "This link has been used, or is too old. Sign in, or have another made.";
            form(visit, StatusCode::UNAUTHORIZED, Some(error), "", "/")
        }
    }
}

fn begin(visit: &Visit, user: &str, next: &str) -> Answer {
    let Some(user) = visit.catalog.registry.arrays().user(user) else {
        return states::unreadable(visit);
    };
    let web = visit.app.web();
    // Whoever was signed in here before is not any more.
    if let Some(before) = &visit.secret {
        web.sessions.end(before);
    }
    let secret = web.sessions.begin(visit.app.random(), visit.now, user);
    let principal = Principal::User { name: user.name.clone(), database: Text::default() };
    record(visit, principal, StatusCode::OK, None, Vec::new());
    Answer::redirect(safe(next)).with(header::SET_COOKIE, cookie(visit, &secret, None))
}

fn sign_out(visit: &Visit, sent: &Params) -> Answer {
    let Some(signed_in) = &visit.signed_in else { return Answer::redirect("/sign-in") };
    if !forms::has_token(sent, signed_in) {
        refuse(visit, "a form without its token", None, StatusCode::FORBIDDEN);
        return states::from_elsewhere(visit);
    }
    if let Some(secret) = &visit.secret {
        visit.app.web().sessions.end(secret);
    }
    record(visit, visit.caller().principal, StatusCode::OK, None, Vec::new());
    Answer::redirect("/sign-in").with(header::SET_COOKIE, cookie(visit, "", Some(0)))
}

fn cookie(visit: &Visit, secret: &str, max_age: Option<u32>) -> HeaderValue {
    let name = cookie_name(visit.connection.is_tls);
    let secure = if visit.connection.is_tls { "; Secure" } else { "" };
    let max_age = max_age.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
    let cookie = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}{max_age}");
    HeaderValue::from_str(&cookie).expect("base64url and our own words")
}

/// Where to go after signing in: a path of ours, never another server's.
fn safe(next: &str) -> &str {
    let is_path = next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
        && !next.starts_with("/sign-");
    if is_path { next } else { "/" }
}

fn refuse(visit: &Visit, reason: &'static str, claimed: Option<Text>, status: StatusCode) {
    let details = claimed.map(|name| ("claimed", name)).into_iter().collect();
    record(visit, Principal::Unauthenticated, status, Some(reason.into()), details);
}

fn record(
    visit: &Visit,
    principal: Principal,
    status: StatusCode,
    refusal: Option<Text>,
    details: Vec<(&'static str, Text)>,
) {
    let peer: Peer = visit.connection.peer;
    let action = Action::Token;
    let seen = Seen { action, scope: None, status, refusal, rows: 0, details };
    visit.record(Caller { principal, peer }, seen);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_after_signing_in() {
        for next in ["/history?project=shop&user=a%20b", "/", "/history/abc"] {
            assert_eq!(safe(next), next);
        }
        for next in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "",
            "javascript:x",
            "/a\nb",
            "/sign-out",
            "/ü",
        ] {
            assert_eq!(safe(next), "/", "{next}");
        }
    }
}
