//! [`ApiError`]: the one mapping from what went wrong to Atlas's error bodies.
//!
//! Codes and texts are Atlas's (contract §2). Where the contract knows several candidates,
//! `docs/api-quirks.md` says which was taken and why.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;

/// An error as Atlas words it.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Stable name, also sent as `X-Error-Code`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// What the detail was filled with.
    pub parameters: Vec<Value>,
}

/// The body, members in alphabetical order as recorded.
#[derive(Serialize)]
pub struct Body<'a> {
    detail: &'a str,
    error: u16,
    #[serde(rename = "errorCode")]
    code: &'static str,
    parameters: &'a [Value],
    reason: &'static str,
}

/// What every caller without proof of who it is gets: 142 bytes, recorded 42 times. The spacing is
/// that of Jackson's pretty printer, which a filter in front of Atlas's API uses whatever `pretty`
/// says. There is no `X-Error-Code`.
pub const UNAUTHENTICATED: &str = "{\n  \"error\" : 401,\n  \"reason\" : \"Unauthorized\",\n  \
    \"detail\" : \"You are not authorized for this resource.\",\n  \
    \"errorCode\" : \"UNEXPECTED_ERROR\"\n}";

impl ApiError {
    /// For serialisation.
    pub fn body(&self) -> Body<'_> {
        Body {
            detail: &self.detail,
            error: self.status.as_u16(),
            code: self.code,
            parameters: &self.parameters,
            reason: self.status.canonical_reason().unwrap_or("Error"),
        }
    }

    /// No such path.
    pub fn resource_not_found(path: &str) -> ApiError {
        let detail = format!("Cannot find resource {path}.");
        not_found("RESOURCE_NOT_FOUND", detail, [path])
    }

    /// The path exists, the method does not.
    pub fn method_not_allowed(method: &str) -> ApiError {
        ApiError {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "METHOD_NOT_ALLOWED",
            detail: format!("The method {method} is not allowed for this resource."),
            parameters: vec![method.into()],
        }
    }

    /// The request target is longer than we read.
    pub fn uri_too_long() -> ApiError {
        ApiError {
            status: StatusCode::URI_TOO_LONG,
            code: "UNEXPECTED_ERROR",
            detail: "The request target is too long.".into(),
            parameters: Vec::new(),
        }
    }

    /// Neither a version nor anything else that could be answered.
    pub fn invalid_version_date() -> ApiError {
        ApiError {
            status: StatusCode::NOT_ACCEPTABLE,
            code: "INVALID_VERSION_DATE",
            detail: "Invalid accept header or version date.".into(),
            parameters: Vec::new(),
        }
    }

    /// A known version in a form that it does not have.
    pub fn media_type_not_supported(asked: &str) -> ApiError {
        ApiError {
            status: StatusCode::NOT_ACCEPTABLE,
            code: "MEDIA_TYPE_NOT_SUPPORTED_FOR_VERSION",
            detail: format!(
                "The Atlas Administration API doesn't support media-type {asked}. \
                 Please use: json."
            ),
            parameters: vec![asked.into(), "json".into()],
        }
    }

    /// Not the form of a project id.
    pub fn invalid_group_id(id: &str) -> ApiError {
        let detail = format!("An invalid group ID {id} was specified.");
        not_found("INVALID_GROUP_ID", detail, [id])
    }

    /// No such project, or none that this caller may know of.
    pub fn group_not_found(id: &str) -> ApiError {
        not_found("GROUP_NOT_FOUND", format!("No group with ID {id} exists."), [id])
    }

    /// The same by name.
    pub fn group_name_not_found(name: &str) -> ApiError {
        not_found("GROUP_NAME_NOT_FOUND", format!("No group with name {name} exists."), [name])
    }

    /// The caller has a role in the project, and it is not enough. 401, not 403: observed.
    pub fn user_unauthorized() -> ApiError {
        ApiError {
            status: StatusCode::UNAUTHORIZED,
            code: "USER_UNAUTHORIZED",
            detail: "Current user is not authorized to perform this action.".into(),
            parameters: Vec::new(),
        }
    }

    /// Not the form of a cluster's name.
    pub fn cluster_name_invalid(name: &str) -> ApiError {
        let detail = format!(
            "The cluster name {name} is invalid. The name can only contain ASCII letters, \
             numbers, and hyphens."
        );
        bad_request("CLUSTER_NAME_INVALID", detail, [name])
    }

    /// No such cluster.
    pub fn cluster_not_found(name: &str, group: &str) -> ApiError {
        let detail = format!("No cluster named {name} exists in group {group}.");
        not_found("CLUSTER_NOT_FOUND", detail, [name, group])
    }

    /// Not the form of a host's name.
    pub fn invalid_hostname(name: &str) -> ApiError {
        bad_request("INVALID_HOSTNAME", format!("Invalid hostname {name}."), [name])
    }

    /// No such host.
    pub fn host_not_found(name: &str, group: &str) -> ApiError {
        let detail = format!("No host with hostname and port {name} exists in group {group}.");
        not_found("HOSTNAME_AND_PORT_NOT_FOUND", detail, [name, group])
    }

    /// A query parameter whose value cannot be read.
    pub fn invalid_query_parameter(name: &str) -> ApiError {
        let detail = format!("Invalid query parameter {name} specified.");
        bad_request("INVALID_QUERY_PARAMETER", detail, [name])
    }

    /// More bytes of log lines than one answer holds; `n_logs` of them it would.
    pub fn answer_too_large(n_logs: usize) -> ApiError {
        let detail = format!(
            "The log lines are too long for one answer: ask with nLogs={n_logs}, or for less time."
        );
        bad_request("INVALID_QUERY_PARAMETER", detail, ["nLogs"])
    }

    /// A query parameter that another one needs.
    pub fn missing_query_parameter(name: &str) -> ApiError {
        let detail = format!("The required query parameter {name} was not specified.");
        bad_request("MISSING_QUERY_PARAMETER", detail, [name])
    }

    /// A date that cannot be read.
    pub fn invalid_date_format(value: &str) -> ApiError {
        let detail = format!("An invalid date value {value} was specified.");
        bad_request("INVALID_DATE_FORMAT", detail, [value])
    }

    /// A window that ends before it begins.
    pub fn start_date_after_end_date() -> ApiError {
        let detail = "The specified start date must be earlier than the specified end date.";
        bad_request("START_DATE_AFTER_END_DATE", detail.into(), [])
    }

    /// Too many requests; `path` without its leading slash, as observed.
    pub fn rate_limited(
        path: &str,
        retry_after_seconds: u64,
        limit: crate::app::RateLimit,
    ) -> ApiError {
        let crate::app::RateLimit { capacity, refill, period_seconds } = limit;
        ApiError {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "RATE_LIMITED_TOKEN_BUCKET",
            detail: format!(
                "Rate limit exceeded for {path}. Please retry after {retry_after_seconds} \
                 seconds. Request capacity: {capacity}. Refill rate: {refill} per \
                 {period_seconds} seconds. For more information, see: \
                 http://dochub.mongodb.org/core/atlas-api-rate-limit."
            ),
            parameters: vec![
                path.into(),
                retry_after_seconds.into(),
                capacity.into(),
                refill.into(),
                period_seconds.into(),
            ],
        }
    }

    /// Too many other answers are being worked on, or have not been taken yet. Not a 429: the
    /// caller did nothing too often.
    pub fn service_unavailable() -> ApiError {
        ApiError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "UNEXPECTED_ERROR",
            detail: "The server is busy. Please retry later.".into(),
            parameters: Vec::new(),
        }
    }

    /// Ours to mend; says nothing of what it was.
    pub fn unexpected() -> ApiError {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "UNEXPECTED_ERROR",
            detail: "Unexpected error.".into(),
            parameters: Vec::new(),
        }
    }
}

fn bad_request<const N: usize>(
    code: &'static str,
    detail: String,
    parameters: [&str; N],
) -> ApiError {
    let parameters = parameters.into_iter().map(Value::from).collect();
    ApiError { status: StatusCode::BAD_REQUEST, code, detail, parameters }
}

fn not_found<const N: usize>(
    code: &'static str,
    detail: String,
    parameters: [&str; N],
) -> ApiError {
    ApiError { status: StatusCode::NOT_FOUND, ..bad_request(code, detail, parameters) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &ApiError, recorded: &str) {
        assert_eq!(serde_json::to_string(&error.body()).expect("serialises"), recorded);
    }

    /// Bodies as captured (captures/atlas/atlas-cli-snapshots/errors) and as quoted by users.
    #[test]
    fn bodies_are_those_that_were_recorded() {
        check(
            &ApiError::cluster_not_found("cluster-989", "b0123456789abcdef012345b"),
            r#"{"detail":"No cluster named cluster-989 exists in group b0123456789abcdef012345b.","error":404,"errorCode":"CLUSTER_NOT_FOUND","parameters":["cluster-989","b0123456789abcdef012345b"],"reason":"Not Found"}"#,
        );
        check(
            &ApiError::group_not_found("111111111111111111111111"),
            r#"{"detail":"No group with ID 111111111111111111111111 exists.","error":404,"errorCode":"GROUP_NOT_FOUND","parameters":["111111111111111111111111"],"reason":"Not Found"}"#,
        );
        check(
            &ApiError::invalid_version_date(),
            r#"{"detail":"Invalid accept header or version date.","error":406,"errorCode":"INVALID_VERSION_DATE","parameters":[],"reason":"Not Acceptable"}"#,
        );
        check(
            &ApiError::user_unauthorized(),
            r#"{"detail":"Current user is not authorized to perform this action.","error":401,"errorCode":"USER_UNAUTHORIZED","parameters":[],"reason":"Unauthorized"}"#,
        );
        check(
            &ApiError::rate_limited(
                "api/atlas/v2/groups/<id>/alertConfigs",
                0,
                crate::app::RateLimit::ACCESS_LOGS,
            ),
            r#"{"detail":"Rate limit exceeded for api/atlas/v2/groups/<id>/alertConfigs. Please retry after 0 seconds. Request capacity: 1200. Refill rate: 500 per 60 seconds. For more information, see: http://dochub.mongodb.org/core/atlas-api-rate-limit.","error":429,"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["api/atlas/v2/groups/<id>/alertConfigs",0,1200,500,60],"reason":"Too Many Requests"}"#,
        );
        assert_eq!(UNAUTHENTICATED.len(), 142);
    }
}
