//! What is around every page, and the headers of every answer.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use maud::{DOCTYPE, Markup, html};

use super::assets;
use super::params::Params;
use super::sessions::SignedIn;
use crate::api::body::compress;

/// An answer before its headers.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// The page; empty where the browser goes elsewhere.
    pub body: Vec<u8>,
    /// Headers beside those of every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// A page.
    pub fn page(status: StatusCode, page: Markup) -> Answer {
        Answer { status, body: page.into_string().into_bytes(), headers: Vec::new() }
    }

    /// For a script of ours.
    pub fn json(body: String) -> Answer {
        let headers = vec![(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        Answer { status: StatusCode::OK, body: body.into_bytes(), headers }
    }

    /// The browser asks for another page.
    pub fn redirect(to: &str) -> Answer {
        let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
        let headers = vec![(header::LOCATION, to)];
        Answer { status: StatusCode::SEE_OTHER, body: Vec::new(), headers }
    }

    /// With one header more.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.headers.push((name, value));
        self
    }
}

/// What is around a page.
pub struct Frame<'a> {
    /// What the window is called.
    pub title: &'a str,
    /// Who looks, and so what stands in the bar.
    pub signed_in: Option<&'a SignedIn>,
    /// The address of this page; where it is one of the history.
    pub here: Option<(&'a str, &'a Params)>,
    /// Where one may go, for the bar.
    pub bar: Option<Markup>,
}

/// A whole page.
pub fn page(frame: &Frame<'_>, main: Markup) -> Markup {
    let zone = frame.here.and_then(|(_, params)| params.get("times")).unwrap_or("utc");
    html! {
        (DOCTYPE)
        html lang="en" data-zone=(zone) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (frame.title) " · Doorbook" }
                link rel="icon" href=(assets::ICON.path());
                link rel="stylesheet" href=(assets::STYLE.path());
                script src=(assets::SCRIPT.path()) defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header.bar {
                    a.mark href="/" { (mark()) "Doorbook" }
                    @if let Some(bar) = &frame.bar { (bar) }
                    div.bar-end {
                        @if let Some((path, params)) = frame.here { (zones(path, params, zone)) }
                        @if let Some(signed_in) = frame.signed_in { (account(signed_in)) }
                    }
                }
                (main)
            }
        }
    }
}

fn zones(path: &str, params: &Params, zone: &str) -> Markup {
    let choice = |value: &str, label: &str, title: &str| {
        html! {
            a href=(params.set("times", value).href(path)) title=(title)
                aria-current=[(zone == value).then_some("true")] { (label) }
        }
    };
    html! {
        div.segments role="group" aria-label="Time zone" {
            (choice("utc", "UTC", "Times in UTC"))
            (choice("local", "Local", "Times in the zone of this browser"))
        }
    }
}

fn account(signed_in: &SignedIn) -> Markup {
    html! {
        form.account method="post" action="/sign-out" {
            span.who { (super::text::shown(&signed_in.user)) }
            input type="hidden" name="token" value=(signed_in.form_token);
            button.quiet type="submit" { "Sign out" }
        }
    }
}

/// A door, ajar.
fn mark() -> Markup {
    html! {
        svg.door viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" {
            path d="M4 2h9v16H4z" fill="none" stroke="currentColor" stroke-width="1.6" {}
            path d="M13 2l4 2.2v13.6L13 18z" fill="currentColor" {}
            circle cx="10.4" cy="10.2" r="1.1" fill="currentColor" {}
        }
    }
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; \
    base-uri 'none'";

/// An answer with the headers that all have.
pub fn response(asked: &HeaderMap, answer: Answer) -> Response<Vec<u8>> {
    let compressed = compress(asked, &answer.body);
    let coding = compressed.is_some().then(|| HeaderValue::from_static("gzip"));
    let mut response = Response::new(compressed.unwrap_or(answer.body));
    *response.status_mut() = answer.status;
    let length = HeaderValue::from(response.body().len());
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "Accept-Encoding, Cookie"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    guard(headers);
    headers.insert(header::CONTENT_LENGTH, length);
    headers.extend(coding.map(|coding| (header::CONTENT_ENCODING, coding)));
    for (name, value) in answer.headers {
        match name {
            header::CONTENT_TYPE => drop(headers.insert(name, value)),
            name => drop(headers.append(name, value)),
        }
    }
    response
}

/// What keeps a browser from doing with an answer what it is not for.
pub fn guard(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
