//! Bodies: compact or pretty, bare or in an envelope, compressed or not.

use std::io::{self, Write};

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
}
