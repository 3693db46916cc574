//! Bodies: compact or pretty, bare or in an envelope, compressed or not.

use std::io::{self, Write};

use axum::http::{HeaderMap, header};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// How a caller wants its answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// `pretty=true`
    pub pretty: bool,
    /// `envelope=true`
    pub envelope: bool,
}

/// `{"status":200,"content":{…}}`, for clients that cannot see a response's status.
#[derive(Serialize)]
struct Envelope<'a, T> {
    status: u16,
    content: &'a T,
}

/// Writes a value; in an envelope if the style wants one.
pub fn enveloped<T: Serialize>(style: Style, status: u16, value: &T) -> Vec<u8> {
    if style.envelope {
        bare(style, &Envelope { status, content: value })
    } else {
        bare(style, value)
    }
}

/// Writes a value that is its own envelope.
pub fn bare<T: Serialize>(style: Style, value: &T) -> Vec<u8> {
    let mut body = Vec::new();
    let result = if style.pretty {
        value.serialize(&mut Serializer::with_formatter(&mut body, Jackson::default()))
    } else {
        value.serialize(&mut Serializer::with_formatter(&mut body, CompactFormatter))
    };
    result.expect("a Vec takes every byte, and our keys are strings");
    body
}

/// The pretty form of Jackson, which is Atlas's: `"key" : value`, two spaces per object, arrays
/// within the line. Seen in the recorded 401 and, with an array, in Atlas's documentation:
/// `"parameters" : [ "/api/atlas/v1.0/softwareComponents/version" ]`.
#[derive(Default)]
struct Jackson {
    depth: usize,
    has_members: bool,
}

impl Jackson {
    fn new_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for Jackson {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        w.write_all(if first { b" " } else { b", " })
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b" ]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.has_members = false;
        writer.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, w: &mut W, first: bool) -> io::Result<()> {
        if !first {
            w.write_all(b",")?;
        }
        self.new_line(w)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b" : ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_members = true;
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.has_members {
            self.new_line(writer)?;
        } else {
            writer.write_all(b" ")?;
        }
        writer.write_all(b"}")
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::atlas::error::{ApiError, UNAUTHENTICATED};

    fn text(body: Vec<u8>) -> String {
        String::from_utf8(body).expect("UTF-8")
    }

    #[test]
    fn pretty_is_jackson_s() {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Recorded {
            error: u16,
            reason: &'static str,
            detail: &'static str,
            error_code: &'static str,
        }
        let pretty = Style { pretty: true, envelope: false };
        let recorded = Recorded {
            error: 401,
            reason: "Unauthorized",
            detail: "You are not authorized for this resource.",
            error_code: "UNEXPECTED_ERROR",
        };
        assert_eq!(text(bare(pretty, &recorded)), UNAUTHENTICATED);

        // The example of Atlas's documentation.
        let path = "/api/atlas/v1.0/softwareComponents/version";
        let documented = "{\n  \"detail\" : \"Cannot find resource /api/atlas/v1.0/\
            softwareComponents/version.\",\n  \"error\" : 404,\n  \
            \"errorCode\" : \"RESOURCE_NOT_FOUND\",\n  \
            \"parameters\" : [ \"/api/atlas/v1.0/softwareComponents/version\" ],\n  \
            \"reason\" : \"Not Found\"\n}";
        assert_eq!(text(bare(pretty, &ApiError::resource_not_found(path).body())), documented);

        let nested = json!({"a": [], "b": {}, "c": [{"x": 1}, {"y": [1, 2]}]});
        let expected = "{\n  \"a\" : [ ],\n  \"b\" : { },\n  \"c\" : [ {\n    \"x\" : 1\n  }, {\n    \
            \"y\" : [ 1, 2 ]\n  } ]\n}";
        assert_eq!(text(bare(pretty, &nested)), expected);
    }

    #[test]
    fn an_envelope_shows_the_status() {
        let value = json!({"accessLogs": []});
        let style = Style { pretty: false, envelope: true };
        let expected = r#"{"status":200,"content":{"accessLogs":[]}}"#;
        assert_eq!(text(enveloped(style, 200, &value)), expected);
        assert_eq!(text(enveloped(Style::default(), 200, &value)), r#"{"accessLogs":[]}"#);
    }

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
