//! Forms: what a browser must say of one before anything is done, and what is told of it afterwards.

use axum::body::{Body, to_bytes};
use axum::http::{Method, StatusCode, header};
use doorbook_event::{Action, Text};
use maud::{Markup, html};
use subtle::ConstantTimeEq;

use super::act;
use super::page::Answer;
use super::params::Params;
use super::sessions::SignedIn;
use super::text::shown;
use super::{Seen, Visit, states};
use crate::admin::needs::Refused;
use crate::admin::{Reply, Request};

/// Longer than any name, password and address together.
const FORM_BYTES_MAX: usize = 32 * 1024;

/// What was done, or why not; the next page of the session says it, once.
#[derive(Clone, PartialEq, Eq)]
pub enum Told {
    /// It was done.
    Done(String),
    /// It was not.
    NotDone(String),
    /// It was not, and the form is shown again as it was sent.
    Refused(Box<act::Refused>),
    /// It was done, and this is shown this once.
    Secret {
        /// What it is.
        what: String,
        /// The secret itself, as it is copied.
        secret: String,
    },
}

/// What somebody sent who is signed in, if it came from a page of the session; or what is answered instead.
pub fn admit(visit: &Visit, signed_in: &SignedIn, sent: Option<Params>) -> Result<Params, Answer> {
    if !is_from_here(visit) {
        record(visit, StatusCode::FORBIDDEN, "a form from elsewhere");
        return Err(states::from_elsewhere(visit));
    }
    let sent = sent.ok_or_else(|| states::unreadable(visit))?;
    match has_token(&sent, signed_in) {
        true => Ok(sent),
        false => {
            record(visit, StatusCode::FORBIDDEN, "a form without its token");
            Err(states::from_elsewhere(visit))
        }
    }
}

/// Carries out what a form asks for, as the one who is signed in; that it was refused is in our own history, as a
/// change is. `Err` is a page that says that there is no such thing, or that the role does not do.
pub fn execute(visit: &Visit, request: Request) -> Result<Result<Reply, String>, Answer> {
    match visit.app.admin().execute_for(&visit.caller(), request) {
        Ok(reply) => Ok(Ok(reply)),
        Err(Refused::Failed(failure)) => Ok(Err(failure.message)),
        Err(Refused::RoleMissing) => {
            record(visit, StatusCode::FORBIDDEN, "role missing");
            Err(states::may_not(visit))
        }
        Err(Refused::Invisible) => {
            record(visit, StatusCode::NOT_FOUND, "not found");
            Err(states::not_there(visit))
        }
    }
}

/// What a form carries that its sender must have got from a page of the session.
pub fn token(signed_in: &SignedIn) -> Markup {
    html! { input type="hidden" name="token" value=(signed_in.form_token); }
}

/// What was done by the form before this page, if that was not told yet: it is told once.
pub fn take_told(visit: &Visit) -> Option<Told> {
    let is_shown = visit.parts.method == Method::GET;
    let secret = visit.secret.as_deref().filter(|_| is_shown)?;
    visit.app.web().sessions.take_told(secret)
}

/// What is to be told, in words.
pub fn notice(told: &Told) -> Markup {
    let not_done = |why: &str| {
        html! { p.notice.bad role="alert" { "Nothing was changed: " (lines(why)) } }
    };
    html! {
        @match told {
            Told::Done(text) => p.notice.good role="status" { (shown(text)) },
            Told::NotDone(why) => (not_done(why)),
            Told::Refused(refused) => (not_done(&refused.why)),
            Told::Secret { what, secret } => {
                div.notice.good.secret role="status" {
                    p { (shown(what)) " " strong { "It is shown this once." } }
                    button.copy-button type="button" hidden data-copied="Copied" { "Copy" }
                    pre tabindex="0" { (secret) }
                }
            },
        }
    }
}

/// What a command says, in its lines.
pub fn lines(text: &str) -> Markup {
    html! { @for (n, line) in text.lines().enumerate() { @if n > 0 { br; } (shown(line)) } }
}

/// Goes on to a page that tells it.
pub fn go_on(visit: &Visit, to: &str, told: Told) -> Answer {
    if let Some(secret) = &visit.secret {
        visit.app.web().sessions.tell(secret, told);
    }
    Answer::redirect(to)
}

/// Whether what was sent carries the token of the session.
pub fn has_token(sent: &Params, signed_in: &SignedIn) -> bool {
    let token = sent.get("token").unwrap_or_default().as_bytes();
    token.ct_eq(signed_in.form_token.as_bytes()).into()
}

/// Whether a browser says that a form comes from one of our pages. What says nothing is no browser of
/// today, and a program has the API.
pub fn is_from_here(visit: &Visit) -> bool {
    let site = visit.header("sec-fetch-site").map(|site| site == "same-origin");
    let host = visit.header("host");
    let authority = visit.parts.uri.authority().map(|authority| authority.as_str());
    let origin = visit.parts.headers.get(header::ORIGIN).map(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let origin = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
        origin.is_some() && origin == host.or(authority)
    });
    match (site, origin) {
        (None, None) => false,
        (site, origin) => site.unwrap_or(true) && origin.unwrap_or(true),
    }
}

/// What a form says; `None` if that cannot be read.
pub async fn read(body: Body) -> Option<Params> {
    let bytes = to_bytes(body, FORM_BYTES_MAX).await.ok()?;
    Params::parse(std::str::from_utf8(&bytes).ok()?).ok()
}

fn record(visit: &Visit, status: StatusCode, reason: &'static str) {
    let refusal = Some(Text::from(reason));
    let (action, details) = (Action::RegistryChange, Vec::new());
    visit.record(visit.caller(), Seen { action, scope: None, status, refusal, rows: 0, details });
}
