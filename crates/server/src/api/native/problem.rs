//! [`Problem`]: the one mapping from what went wrong to this API's error bodies (RFC 9457).

use axum::http::{HeaderValue, Response, StatusCode, header};
use doorbook_source::document::write_text;
use doorbook_store::{Error, ErrorKind};

use crate::admin::{Failure, FailureKind, with_causes};

/// An error of this API. The stable name is what programs should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name, the last part of `type`.
    pub name: &'static str,
    /// The same for every problem of this name.
    pub title: &'static str,
    /// For people: what happened this time, and what to do.
    pub detail: String,
    /// Where in a filter, in characters from 1 on.
    pub column: Option<usize>,
    /// What a filter names is not there.
    pub is_missing: bool,
    /// When to try again.
    pub retry_after_seconds: Option<u32>,
}

impl Problem {
    fn new(
        status: StatusCode,
        (name, title): (&'static str, &'static str),
        detail: impl Into<String>,
    ) -> Problem {
        let (detail, column, retry_after_seconds) = (detail.into(), None, None);
        Problem { status, name, title, detail, column, is_missing: false, retry_after_seconds }
    }

    /// The answer.
    pub fn response(&self) -> Response<Vec<u8>> {
        let mut body = b"{\"type\":\"urn:doorbook:problem:".to_vec();
        body.extend_from_slice(self.name.as_bytes());
        body.extend_from_slice(b"\",\"title\":");
        write_text(self.title, &mut body);
        body.extend_from_slice(
            format!(",\"status\":{},\"detail\":", self.status.as_u16()).as_bytes(),
        );
        write_text(&self.detail, &mut body);
        if let Some(column) = self.column {
            body.extend_from_slice(format!(",\"column\":{column}").as_bytes());
        }
        if self.is_missing {
            body.extend_from_slice(b",\"missing\":true");
        }
        body.push(b'}');
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, content_type);
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }

    /// Nobody, or somebody who did not prove it.
    pub fn unauthenticated(detail: &str) -> Problem {
        Problem::new(StatusCode::UNAUTHORIZED, ("unauthenticated", "Who is asking?"), detail)
    }

    /// The caller has a role in the project, and it is not enough.
    pub fn forbidden() -> Problem {
        let detail = "The role of this key does not allow it.";
        Problem::new(StatusCode::FORBIDDEN, ("forbidden", "Not allowed"), detail)
    }

    /// No such thing, or none that this caller may know of.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, ("not-found", "Not found"), detail)
    }

    /// The path exists, the method does not.
    pub fn method_not_allowed(method: &str) -> Problem {
        let detail = format!("There is no {method} for this path.");
        let name = ("method-not-allowed", "Method not allowed");
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, name, detail)
    }

    /// The request target is longer than we read.
    pub fn uri_too_long() -> Problem {
        let name = ("uri-too-long", "The request target is too long");
        Problem::new(StatusCode::URI_TOO_LONG, name, "At most 16384 bytes are read.")
    }

    /// What is asked for cannot be done.
    fn invalid(detail: String) -> Problem {
        let name = ("invalid", "The request cannot be done");
        Problem::new(StatusCode::BAD_REQUEST, name, detail)
    }

    /// Somebody else was faster.
    fn conflict(detail: String) -> Problem {
        Problem::new(StatusCode::CONFLICT, ("conflict", "Conflict"), detail)
    }

    /// A parameter that cannot be read.
    pub fn invalid_parameter(name: &str, expected: impl std::fmt::Display) -> Problem {
        let title = ("invalid-parameter", "A parameter cannot be read");
        Problem::new(StatusCode::BAD_REQUEST, title, format!("{name}: {expected}."))
    }

    /// A filter that cannot be read, or asks for what cannot be.
    pub fn invalid_filter(column: usize, what: &str) -> Problem {
        let name = ("invalid-filter", "The filter cannot be read");
        let detail = format!("q, column {column}: {what}.");
        let problem = Problem::new(StatusCode::BAD_REQUEST, name, detail);
        Problem { column: Some(column), ..problem }
    }

    /// Parameters that there are not: a filter that was misspelled must not widen the answer.
    pub fn unknown_parameters(names: &[&str]) -> Problem {
        let name = ("unknown-parameter", "There is no such parameter");
        let detail = format!("Unknown: {}.", names.join(", "));
        Problem::new(StatusCode::BAD_REQUEST, name, detail)
    }

    /// A header that cannot be read.
    pub fn invalid_header(name: &str, expected: &str) -> Problem {
        let title = ("invalid-header", "A header cannot be read");
        Problem::new(StatusCode::BAD_REQUEST, title, format!("{name}: {expected}."))
    }

    /// A body that did not come whole, or is not what its headers say.
    pub fn invalid_body(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, ("invalid-body", "The body cannot be read"), detail)
    }

    /// A body of another kind.
    pub fn unsupported_media_type(detail: &str) -> Problem {
        let name = ("unsupported-media-type", "Another kind of body is needed");
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, name, detail)
    }

    /// More than is taken at once.
    pub fn too_large(detail: String) -> Problem {
        let name = ("too-large", "Too much at once");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, name, detail)
    }

    /// The body did not come in time.
    pub fn timeout() -> Problem {
        let name = ("timeout", "The body did not come in time");
        Problem::new(StatusCode::REQUEST_TIMEOUT, name, "Nothing was stored.")
    }

    /// Too much else is being worked on. Not a 429: the caller did nothing too often.
    pub fn busy(retry_after_seconds: u32) -> Problem {
        let detail = "Too much is being worked on. Nothing was stored; please try again.";
        let name = ("busy", "The server is busy");
        let retry_after_seconds = Some(retry_after_seconds);
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, name, detail);
        Problem { retry_after_seconds, ..problem }
    }

    /// Ours to mend; says nothing of what it was.
    pub fn unexpected() -> Problem {
        let detail = "This is a fault of the server; its own log says more.";
        let name = ("unexpected", "Unexpected error");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, name, detail)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Problem {
        let Failure { kind, message } = failure;
        match kind {
            FailureKind::Invalid => Problem::invalid(message),
            FailureKind::Missing => Problem::not_found(message),
            FailureKind::Exists => Problem::conflict(message),
            FailureKind::Failed => {
                tracing::error!(error = message, "a request could not be served");
                Problem::unexpected()
            }
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        match error.kind {
            ErrorKind::Invalid => Problem::invalid(error.message),
            ErrorKind::Missing => Problem::not_found(error.message),
            ErrorKind::Busy => Problem::busy(1),
            ErrorKind::Exists => Problem::conflict(error.message),
            ErrorKind::DiskFull => {
                let detail = "Nothing was stored. The operator must make room.";
                let name = ("disk-full", "The disk is full");
                let problem = Problem::new(StatusCode::INSUFFICIENT_STORAGE, name, detail);
                Problem { retry_after_seconds: Some(60), ..problem }
            }
            ErrorKind::Poisoned => {
                // Told once, by `vitals`, and not for each request.
                let detail = "Nothing can be written until the server is started again.";
                let name = ("unavailable", "The history cannot be written");
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, name, detail)
            }
            ErrorKind::Locked | ErrorKind::Damaged | ErrorKind::Io => {
                tracing::error!(error = with_causes(&error), "a request could not be served");
                Problem::unexpected()
            }
        }
    }
}
