//! `POST /s3/notifications`: an object store says that something changed in a bucket.
//!
//! The body is the event of S3, as Amazon's S3, Ceph's gateway and MinIO send it over HTTP, or Amazon's SNS with
//! that as its message. Of it the bucket's and the object's name count; they become a hint to look there
//! ([`crate::buckets::hints`]), never a fact. Stores wait for the answer while they serve a request of their own, so
//! nothing is looked at before it is given.
//!
//! Whoever knows the secret of a bucket's section (`notification_secret_file`) may hint at that bucket: as a
//! password of HTTP Basic, under whatever name, which a store takes from the address that it is given; or as a
//! bearer token. What was told is not recorded, because it is no use of the history; what was refused is.

use std::borrow::Cow;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::routing::any;
use doorbook_event::{Action, Principal, Target};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::app::App;
use crate::auth::oauth::bearer_of;
use crate::auth::{Caller, basic_of};
use crate::buckets::{Buckets, Settings};
use crate::http::Connection;
use crate::usage::Use;

/// The one path of this surface.
pub const PATH: &str = "/s3/notifications";

/// One event is about a kilobyte; Amazon's messages have at most as much as this.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What a store, or a topic between it and us, has to say.
#[derive(Debug, PartialEq, Eq)]
pub enum Notification {
    /// These objects changed, each by its bucket and its key; none in what is sent to try the way.
    Changed(Vec<(String, String)>),
    /// Who set up a subscription is to confirm it at this address.
    Unconfirmed(String),
}

/// Why nothing was taken in.
struct Refused(StatusCode, &'static str);

/// The router of this surface.
pub fn router(app: &App) -> Router {
    let serve = async move |State(app): State<App>, request: Request| {
        let answer = answer(app.clone(), request);
        app.metrics().count("s3", "notifications", answer).await
    };
    Router::new().route(PATH, any(serve)).with_state(app.clone())
}

async fn answer(app: App, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let taken = take(&app, &parts, body).await;
    let Err(Refused(status, why)) = taken else {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return response;
    };
    if parts.headers.contains_key(header::AUTHORIZATION)
        && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    {
        record_refusal(&app, &parts, status, why);
    }
    let mut response = Response::new(Body::from(format!("{why}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"Doorbook\", charset=\"UTF-8\"");
        headers.insert(header::WWW_AUTHENTICATE, basic);
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

async fn take(app: &App, parts: &Parts, body: Body) -> Result<(), Refused> {
    if parts.method != Method::POST {
        return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, "Only POST."));
    }
    let connection: Connection = parts.extensions.get().copied().unwrap_or_default();
    let is_here = connection.peer.address().is_some_and(|address| address.is_loopback());
    if !connection.is_tls && !is_here {
        let why = "The secret goes over TLS only: write https:// in the address that the store pushes to.";
        return Err(Refused(StatusCode::FORBIDDEN, why));
    }
    let sections = match secret(&parts.headers) {
        Some(secret) => sections(app.buckets().clone(), secret.into_owned()).await,
        None => Vec::new(),
    };
    if sections.is_empty() {
        let why = "Send the secret of notification_secret_file as a password of HTTP Basic or as a bearer token.";
        return Err(Refused(StatusCode::UNAUTHORIZED, why));
    }
    let read = tokio::time::timeout(app.settings().head_timeout, to_bytes(body, BODY_BYTES_MAX));
    let too_slow = Refused(StatusCode::REQUEST_TIMEOUT, "The body did not come in time.");
    let too_large = Refused(StatusCode::PAYLOAD_TOO_LARGE, "A body has at most 262144 bytes.");
    let bytes = read.await.map_err(|_| too_slow)?.map_err(|_| too_large)?;
    hint(app.buckets(), &sections, &bytes)
}

/// Hints at what a body tells of.
fn hint(buckets: &Buckets, sections: &[Settings], body: &[u8]) -> Result<(), Refused> {
    const MALFORMED: Refused =
        Refused(StatusCode::BAD_REQUEST, "This is no event of S3: {\"Records\": [{\"s3\": …}]}.");
    let objects = match read(body).ok_or(MALFORMED)? {
        Notification::Changed(objects) => objects,
        Notification::Unconfirmed(url) => {
            // It is not for a stranger to say what we fetch.
            tracing::info!(
                url,
                "a subscription to a bucket's notifications is to be confirmed: open its address"
            );
            return Ok(());
        }
    };
    let (own, others): (Vec<_>, Vec<_>) =
        objects.iter().partition(|(bucket, _)| buckets.is_of(sections, bucket));
    if own.is_empty() && !others.is_empty() {
        return Err(Refused(StatusCode::FORBIDDEN, "This secret is of other buckets."));
    }
    for (bucket, key) in own {
        // Amazon's S3 and MinIO escape keys, Ceph does not.
        buckets.hints().tell(bucket, key);
        let spaced = key.replace('+', " ");
        let plain = percent_decode_str(&spaced).decode_utf8_lossy();
        if plain != *key {
            buckets.hints().tell(bucket, &plain);
        }
    }
    Ok(())
}

/// Reads a body in the forms that stores send.
pub fn read(body: &[u8]) -> Option<Notification> {
    #[derive(Deserialize)]
    struct Message {
        #[serde(rename = "Records", default)]
        records: Vec<Record>,
        /// What SNS wraps.
        #[serde(rename = "Message")]
        wrapped: Option<String>,
        #[serde(rename = "SubscribeURL")]
        subscribe_url: Option<String>,
    }

    #[derive(Deserialize)]
    struct Record {
        s3: Where,
    }

    #[derive(Deserialize)]
    struct Where {
        bucket: Named,
        object: Keyed,
    }

    #[derive(Deserialize)]
    struct Named {
        name: String,
    }

    #[derive(Deserialize)]
    struct Keyed {
        key: String,
    }

    let mut message: Message = serde_json::from_slice(body).ok()?;
    if let Some(url) = message.subscribe_url {
        return Some(Notification::Unconfirmed(url));
    }
    if let Some(wrapped) = message.wrapped {
        message = serde_json::from_str(&wrapped).ok()?;
    }
    let places = message.records.into_iter().map(|record| record.s3);
    Some(Notification::Changed(places.map(|of| (of.bucket.name, of.object.key)).collect()))
}

/// Its file is read, which may take its time.
async fn sections(buckets: Buckets, secret: String) -> Vec<Settings> {
    let found = tokio::task::spawn_blocking(move || buckets.sections_of(&secret));
    // It panicked, and the panic has been printed.
    found.await.unwrap_or_default()
}

/// What is sent to prove that one may.
fn secret(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = bearer_of(value) {
        return Some(token.into());
    }
    let credentials = basic_of(value)??;
    Some(credentials.split_once(':')?.1.to_owned().into())
}

/// Failed authentications are recorded wherever they happen.
fn record_refusal(app: &App, parts: &Parts, status: StatusCode, why: &str) {
    let connection: Connection = parts.extensions.get().copied().unwrap_or_default();
    app.usage().record(Use {
        caller: Caller { principal: Principal::Unauthenticated, peer: connection.peer },
        action: Action::Query,
        operation: "s3.notifications".into(),
        target: Target::Own { kind: "api".into(), name: "s3".into() },
        status: status.as_u16(),
        refusal: Some(why.into()),
        rows: 0,
        details: Vec::new(),
    });
}

#[cfg(test)]
mod tests;
