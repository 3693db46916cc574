//! What all surfaces do with the bodies of their answers.

use std::io::Write;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Response, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::sync::OwnedSemaphorePermit;

/// Below this a body fits one packet anyway; recorded bodies of up to 3.4 kB went uncompressed.
const COMPRESS_MIN_BYTES: usize = 4096;

/// The body compressed, if the client takes gzip and it is worth it.
pub fn compress(headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < COMPRESS_MIN_BYTES || !takes_gzip(headers) {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), Compression::fast());
    encoder.write_all(body).and_then(|()| encoder.finish()).ok()
}

/// RFC 9110 §12.5.3.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    for line in headers.get_all(header::ACCEPT_ENCODING) {
        for item in line.to_str().unwrap_or_default().split(',') {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|parameter| {
                parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q="))
            });
            let is_wanted = quality.is_none_or(|quality| quality.parse() != Ok(0.0));
            if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                return is_wanted;
            }
            if name == "*" {
                any = Some(is_wanted);
            }
        }
    }
    any.unwrap_or(false)
}

/// Whatever is larger stays in our memory while its reader takes its time; smaller bodies lie in
/// the connection's buffers anyway.
const HELD_MIN_BYTES: usize = 16 * 1024;

/// A body and the permit under which it was made.
struct Held {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Binds the permit to the memory of the body: it is given back when the last byte has been
/// written or dropped, in whatever buffer that was.
pub fn until_taken(response: Response<Vec<u8>>, permit: OwnedSemaphorePermit) -> Response<Body> {
    response.map(|bytes| {
        if bytes.len() < HELD_MIN_BYTES {
            return Body::from(bytes);
        }
        Body::from(Bytes::from_owner(Held { bytes: bytes.into(), _permit: permit }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_gzip_gets_it() {
        let body = vec![b'x'; COMPRESS_MIN_BYTES];
        let check = |accepts: &[&str], expected: bool| {
            let mut headers = HeaderMap::new();
            for accept in accepts {
                headers.append(header::ACCEPT_ENCODING, accept.parse().expect("valid"));
            }
            assert_eq!(compress(&headers, &body).is_some(), expected, "{accepts:?}");
            assert_eq!(compress(&headers, &body[1..]), None);
        };
        check(&[], false);
        check(&["identity"], false);
        check(&["gzip"], true);
        check(&["gzip, deflate"], true);
        check(&["br, gzip;q=0.5"], true);
        check(&["gzip;q=0, *"], false);
        check(&["GZIP;Q=0"], false);
        check(&["*;Q=0.0"], false);
        check(&["gzip; Q=0.1"], true);
        check(&["*;q=0"], false);
        check(&["*"], true);
        check(&["identity", "gzip"], true);
    }
}
