//! [`ApiError`]: the one mapping from what went wrong to this API's error bodies,
//! `{"code","message","request_id"}`. The Python client prints all three.

use axum::http::StatusCode;
use doorbook_store::{Error, ErrorKind};
use serde::Serialize;

use crate::admin::with_causes;

/// An error of this API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, and the body's `code`.
    pub status: StatusCode,
    /// What happened, and what to do.
    pub message: String,
}

#[derive(Serialize)]
struct Body<'a> {
    code: u16,
    message: &'a str,
    request_id: &'a str,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into() }
    }

    /// The body.
    pub fn body(&self, request_id: &str) -> Vec<u8> {
        let body = Body { code: self.status.as_u16(), message: &self.message, request_id };
        serde_json::to_vec(&body).expect("plain data becomes JSON")
    }

    /// What cannot be read or must not be.
    pub fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// Nobody, or somebody who did not prove it.
    pub fn unauthenticated() -> ApiError {
        let message = "Who is asking? Send a token (doorbook token create) as \
                       X-TILEDB-REST-API-KEY, or a user's name and password by HTTP Basic.";
        ApiError::new(StatusCode::UNAUTHORIZED, message)
    }

    /// The caller may do something with it, but not this.
    pub fn forbidden(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::FORBIDDEN, message)
    }

    /// No such thing, or none that this caller may know of.
    pub fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, message)
    }

    /// The same of an array.
    pub fn no_array(namespace: &str, array: &str) -> ApiError {
        ApiError::not_found(format!(
            "There is no array {array} in namespace {namespace}, or it is not shared with you."
        ))
    }

    /// The path exists, the method does not.
    pub fn method_not_allowed(method: &str) -> ApiError {
        let message = format!("There is no {method} for this path.");
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
    }

    /// The request target is longer than we read.
    pub fn uri_too_long() -> ApiError {
        ApiError::new(StatusCode::URI_TOO_LONG, "The request target is too long.")
    }

    /// The body is longer than we read.
    pub fn too_large(max_bytes: usize) -> ApiError {
        let message = format!("A body has at most {max_bytes} bytes.");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// A body that a form could have sent.
    pub fn unsupported_media_type() -> ApiError {
        let message = "Content-Type must be application/json.";
        ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// Too many others are being answered. The one 503: it passes.
    pub fn busy() -> ApiError {
        let message = "The server is busy. Please try again.";
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// Ours to mend; says nothing of what it was.
    pub fn unexpected() -> ApiError {
        let message = "This is a fault of the server; its own log says more.";
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Missing => StatusCode::NOT_FOUND,
            ErrorKind::Exists => StatusCode::CONFLICT,
            ErrorKind::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            ErrorKind::Busy => return ApiError::busy(),
            // Told once, by `vitals`, and not for each request.
            ErrorKind::Poisoned => return ApiError::unexpected(),
            ErrorKind::Locked | ErrorKind::Damaged | ErrorKind::Io => {
                tracing::error!(error = with_causes(&error), "a request could not be served");
                return ApiError::unexpected();
            }
        };
        ApiError::new(status, error.message)
    }
}
