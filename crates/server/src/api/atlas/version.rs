//! Which version of a resource a request wants (contract §3).
//!
//! v2 names a date in `Accept: application/vnd.atlas.YYYY-MM-DD+json`; the newest resource version
//! that is not younger answers, and the `Content-Type` names that version, not the date asked for.
//! v1.0 knows no versions and ignores `Accept`.

use axum::http::{HeaderMap, header};
use jiff::civil::Date;

use super::error::ApiError;

/// A published version of a resource.
#[derive(Debug, PartialEq, Eq)]
pub struct ResourceVersion {
    /// Its date.
    pub date: &'static str,
    /// The `Content-Type` of its answers.
    pub content_type: &'static str,
    /// `Deprecation` and `Sunset`, on versions that a later one has replaced.
    pub superseded: Option<(&'static str, &'static str)>,
}

/// What most of Atlas's resources have: one version, the first.
pub static FIRST_ONLY: &[ResourceVersion] = &[FIRST];

/// The versions of `clusters`; the dates in the headers are recorded (captures/atlas/
/// atlas-cli-snapshots/..clusters_accessLogs-428_1). What we know of a cluster has the same form
/// in all of them.
pub static CLUSTERS: &[ResourceVersion] = &[
    FIRST,
    ResourceVersion {
        date: "2023-02-01",
        content_type: "application/vnd.atlas.2023-02-01+json;charset=utf-8",
        superseded: Some(("Mon, 5 Aug 2024 00:00:00 GMT", "Thu, 1 Jul 2027 00:00:00 GMT")),
    },
    ResourceVersion {
        date: "2024-08-05",
        content_type: "application/vnd.atlas.2024-08-05+json;charset=utf-8",
        superseded: None,
    },
];

const FIRST: ResourceVersion = ResourceVersion {
    date: "2023-01-01",
    content_type: "application/vnd.atlas.2023-01-01+json;charset=utf-8",
    superseded: None,
};

/// Picks the version for a v2 request.
///
/// All `Accept` lines count: the clients generated in 2023 send two of them, and one item that
/// fits is enough (captures/atlas/urllib3-seedlike-two-accepts.txt).
pub fn negotiate(
    headers: &HeaderMap,
    versions: &'static [ResourceVersion],
) -> Result<&'static ResourceVersion, ApiError> {
    let mut wrong_form = None;
    for line in headers.get_all(header::ACCEPT) {
        for item in line.to_str().unwrap_or_default().split(',') {
            let Some((date, form)) = versioned(item) else { continue };
            let version = versions.iter().rev().find(|version| version.date <= date.as_str());
            match version {
                Some(version) if form == "json" => return Ok(version),
                Some(_) => wrong_form = wrong_form.or(Some(form)),
                None => {}
            }
        }
    }
    Err(match wrong_form {
        Some(form) => ApiError::media_type_not_supported(&form),
        None => ApiError::invalid_version_date(),
    })
}

/// The date and the suffix of `application/vnd.atlas.DATE+SUFFIX`, unless its quality is 0.
fn versioned(item: &str) -> Option<(String, String)> {
    let mut parts = item.split(';').map(str::trim);
    let media_type = parts.next()?.to_ascii_lowercase();
    let is_refused = parts.any(|parameter| {
        let quality = parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="));
        quality.is_some_and(|quality| quality.parse() == Ok(0.0))
    });
    let (date, suffix) = media_type.strip_prefix("application/vnd.atlas.")?.split_once('+')?;
    let is_date = date.len() == "YYYY-MM-DD".len() && date.parse::<Date>().is_ok();
    let is_suffix = (1..=32).contains(&suffix.len())
        && suffix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (is_date && is_suffix && !is_refused).then(|| (date.to_owned(), suffix.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepts: &[&str], expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        for accept in accepts {
            headers.append(header::ACCEPT, accept.parse().expect("a header value"));
        }
        let got = negotiate(&headers, CLUSTERS);
        let got = got.as_ref().map(|version| version.date).map_err(|error| error.code);
        assert_eq!(got, expected, "{accepts:?}");
    }

    #[test]
    fn the_newest_version_that_is_not_younger_answers() {
        check(&["application/vnd.atlas.2023-01-01+json"], Ok("2023-01-01"));
        check(&["application/vnd.atlas.2023-01-31+json"], Ok("2023-01-01"));
        check(&["application/vnd.atlas.2023-02-01+json"], Ok("2023-02-01"));
        check(&["application/vnd.atlas.2025-03-12+json"], Ok("2024-08-05"));
        check(&["application/vnd.atlas.2099-01-01+json"], Ok("2024-08-05"));
        check(&["Application/VND.Atlas.2023-01-01+JSON; q=0.5"], Ok("2023-01-01"));
        check(&["application/vnd.atlas.2023-01-01+json", "application/json"], Ok("2023-01-01"));
        check(&["application/json", "application/vnd.atlas.2023-01-01+json"], Ok("2023-01-01"));
        check(&["text/html, application/vnd.atlas.2023-01-01+json"], Ok("2023-01-01"));
    }

    #[test]
    fn everything_else_is_406() {
        let none = Err("INVALID_VERSION_DATE");
        check(&[], none);
        check(&[""], none);
        check(&["*/*"], none);
        check(&["application/json"], none);
        check(&["application/json, */*;q=0.8"], none);
        check(&["application/vnd.atlas.2022-12-31+json"], none);
        check(&["application/vnd.atlas.2023-13-01+json"], none);
        check(&["application/vnd.atlas.2023-1-1+json"], none);
        check(&["application/vnd.atlas.preview+json"], none);
        check(&["application/vnd.atlas.2023-01-01"], none);
        check(&["application/vnd.atlas.2023-01-01+json;q=0"], none);
        let wrong_form = Err("MEDIA_TYPE_NOT_SUPPORTED_FOR_VERSION");
        check(&["application/vnd.atlas.2023-02-01+csv"], wrong_form);
        check(&["application/vnd.atlas.2023-02-01+gzip", "application/json"], wrong_form);
    }
}
