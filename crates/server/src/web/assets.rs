//! The files that pages use, in the binary, under names that change with their content.

use std::sync::LazyLock;

use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use sha2::Digest as _;

use super::page;
use crate::api::body::compress;

/// A file.
pub struct Asset {
    name: &'static str,
    ending: &'static str,
    kind: &'static str,
    content: &'static str,
    path: LazyLock<String>,
}

/// How pages look.
pub static STYLE: Asset = Asset {
    name: "doorbook",
    ending: "css",
    kind: "text/css; charset=utf-8",
    content: include_str!("assets/doorbook.css"),
    path: LazyLock::new(|| STYLE.make_path()),
};

/// What pages do beyond links and forms.
pub static SCRIPT: Asset = Asset {
    name: "doorbook",
    ending: "js",
    kind: "text/javascript; charset=utf-8",
    content: include_str!("assets/doorbook.js"),
    path: LazyLock::new(|| SCRIPT.make_path()),
};

/// What browsers show of pages in their own bars.
pub static ICON: Asset = Asset {
    name: "icon",
    ending: "svg",
    kind: "image/svg+xml",
    content: include_str!("assets/icon.svg"),
    path: LazyLock::new(|| ICON.make_path()),
};

impl Asset {
    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn make_path(&self) -> String {
        let hash = hex::encode(sha2::Sha256::digest(self.content));
        format!("/assets/{}.{}.{}", self.name, &hash[..12], self.ending)
    }
}

/// Answers a request for one of them.
pub fn answer(parts: &Parts) -> Response<Vec<u8>> {
    let found = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.path() == parts.uri.path());
    let Some(asset) = found else {
        let mut response = Response::new(b"There is no such file.".to_vec());
        *response.status_mut() = StatusCode::NOT_FOUND;
        page::guard(response.headers_mut());
        return response;
    };
    let compressed = compress(&parts.headers, asset.content.as_bytes());
    let coding = compressed.is_some().then(|| HeaderValue::from_static("gzip"));
    let mut response = Response::new(compressed.unwrap_or_else(|| asset.content.into()));
    let length = HeaderValue::from(response.body().len());
    let headers = response.headers_mut();
    page::guard(headers);
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, forever);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::CONTENT_LENGTH, length);
    headers.extend(coding.map(|coding| (header::CONTENT_ENCODING, coding)));
    response
}
