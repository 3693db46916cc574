//! Raw lines with labels, as shippers send them by HTTP: [`read`] makes [`Arrival`]s of a body.
//!
//! What Fluent Bit, Vector, Logstash and Filebeat send is one JSON object for each line: in lines, in an
//! array, or one after the other. The line is its member `message`, `log` or `MESSAGE`; every other
//! scalar is a label by its path, `{"host": {"name": "db-1"}}` and `{"host.name": "db-1"}` alike.
//!
//! Where a shipper has parsed the line of a mongod, which is JSON, the object has the members of that
//! line instead. They are put together again in mongod's order, each value byte for byte as it came: the
//! event is the same, its raw record is what the shipper made of it.
//!
//! What cannot be read is a line without labels, so that it waits where such lines do.
//!
//! # What is kept of a line whose host is unknown
//!
//! The object as it came; of plain text the labels as an object, a line feed and the line. [`again`]
//! reads both.

use std::borrow::Cow;

use doorbook_event::Text;

use crate::arrival::{Arrival, Labels};
use crate::json::{self, Cursor, Value};

/// Labels of one line; what has more is not told apart by the rest.
pub const LABELS_MAX: usize = 256;

/// A longer name or value is no label.
pub const LABEL_BYTES_MAX: usize = 1024;

/// Objects within objects whose members are labels.
const DEPTH_MAX: usize = 8;

/// The members of an object that can be the line, the likeliest first.
const LINE_KEYS: [&[u8]; 3] = [b"message", b"log", b"MESSAGE"];

/// The members of a mongod's line, in its order.
const MONGOD_KEYS: [&[u8]; 11] =
    [b"t", b"s", b"c", b"id", b"svc", b"ctx", b"msg", b"attr", b"tags", b"truncated", b"size"];

/// Hands on each line of a body of JSON, in order.
pub fn read(body: &[u8], mut each: impl FnMut(Arrival)) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii();
    if body.first() == Some(&b'[') {
        return objects(body, &mut each);
    }
    // What is broken is broken to the end of its line.
    for line in body.split(|byte| *byte == b'\n') {
        objects(line, &mut each);
    }
}

/// A line of plain text, of which labels were said beside it.
pub fn plain(labels: &Labels, line: &[u8]) -> Arrival {
    let said: std::collections::BTreeMap<&str, &str> =
        labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    let mut received = serde_json::to_vec(&said).expect("texts can be written");
    received.push(b'\n');
    received.extend_from_slice(line);
    Arrival { labels: labels.clone(), line: line.to_vec(), received, cut: None }
}

/// What was kept of an arrival, read again.
pub fn again(received: &[u8]) -> Arrival {
    let mut cursor = Cursor::new(received, 0);
    let is_object = matches!(cursor.value(), Some(Value::Object(_)));
    let rest = cursor.rest();
    if is_object && let Some(line) = rest.strip_prefix(b"\n") {
        let object = &received[..received.len() - rest.len()];
        let mut labels = Labels::default();
        flatten(object, &|_, _| true, &mut labels);
        return Arrival { labels, line: line.to_vec(), received: received.to_vec(), cut: None };
    }
    object(received)
}

/// Hands on objects that stand one after the other, with whatever separates the elements of an array.
fn objects(bytes: &[u8], each: &mut impl FnMut(Arrival)) {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b"[],".contains(byte);
    let mut rest = bytes;
    loop {
        let begin = rest.iter().position(|byte| !is_between(byte));
        let Some(begin) = begin else { return };
        rest = &rest[begin..];
        let mut cursor = Cursor::new(rest, 0);
        let Some(Value::Object(_)) = cursor.value() else {
            return each(unreadable(rest));
        };
        let length = rest.len() - cursor.rest().len();
        each(object(&rest[..length]));
        rest = &rest[length..];
    }
}

/// The arrival that an object is.
fn object(bytes: &[u8]) -> Arrival {
    let Some(line) = line_of(bytes) else { return unreadable(bytes) };
    let mut labels = Labels::default();
    flatten(bytes, &|key, value| line.is_label(key, value), &mut labels);
    Arrival { labels, line: line.bytes, received: bytes.to_vec(), cut: None }
}

fn unreadable(bytes: &[u8]) -> Arrival {
    let bytes = bytes.trim_ascii_end().to_vec();
    Arrival { labels: Labels::default(), line: bytes.clone(), received: bytes, cut: None }
}

/// The line of an object, and which of its members are no labels.
struct Line {
    bytes: Vec<u8>,
    /// The member that it was; none where its own members were those of the object.
    key: Option<&'static [u8]>,
    /// The object has what a parser made of it, too.
    is_parsed: bool,
}

impl Line {
    /// Whether a member of the object says something of the line, and is no part of it. (`log` is the line, and
    /// in ECS an object with its file.)
    fn is_label(&self, key: &[u8], value: Value<'_>) -> bool {
        let is_object = matches!(value, Value::Object(_));
        let is_line = self.key == Some(key) || (!is_object && LINE_KEYS.contains(&key));
        let is_part = self.is_parsed && MONGOD_KEYS.contains(&key);
        !is_line && !is_part
    }
}

fn line_of(object: &[u8]) -> Option<Line> {
    for key in LINE_KEYS {
        let bytes = match json::at_path(object, &[key]) {
            Some(Value::Text(text)) => {
                let bytes = text.bytes();
                bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec()
            }
            Some(Value::Object(inner)) => match mongod_line(inner) {
                Some(bytes) => bytes,
                None => continue,
            },
            _ => continue,
        };
        let is_parsed = [&b"t"[..], b"c", b"ctx", b"msg"]
            .iter()
            .all(|member| json::at_path(object, &[member]).is_some());
        return Some(Line { bytes, key: Some(key), is_parsed });
    }
    Some(Line { bytes: mongod_line(object)?, key: None, is_parsed: true })
}

/// The line of a mongod whose members these are.
fn mongod_line(object: &[u8]) -> Option<Vec<u8>> {
    let mut values: [Option<&[u8]>; MONGOD_KEYS.len()] = [None; MONGOD_KEYS.len()];
    let mut cursor = Cursor::new(object, 0);
    cursor.eat(b'{')?;
    let mut first = true;
    while let Some(key) = cursor.key(first)? {
        first = false;
        cursor.skip_space();
        let before = cursor.rest();
        cursor.value()?;
        if let Some(at) = MONGOD_KEYS.iter().position(|known| *known == key.raw) {
            values[at] = Some(&before[..before.len() - cursor.rest().len()]);
        }
    }
    // Time, severity, component, id and message are in every line of a mongod.
    if [0, 1, 2, 3, 6].iter().any(|at| values[*at].is_none()) {
        return None;
    }
    let mut line = vec![b'{'];
    for (key, value) in MONGOD_KEYS.iter().zip(values) {
        let Some(value) = value else { continue };
        line.extend_from_slice(if line.len() > 1 { b",\"" } else { b"\"" });
        line.extend_from_slice(key);
        line.extend_from_slice(b"\":");
        line.extend_from_slice(value);
    }
    line.push(b'}');
    Some(line)
}

/// Makes labels of the scalars of an object, of those members that are labels.
fn flatten(object: &[u8], is_label: &dyn Fn(&[u8], Value<'_>) -> bool, labels: &mut Labels) {
    let mut count = 0;
    flatten_into(object, "", is_label, DEPTH_MAX, &mut count, labels);
}

fn flatten_into(
    object: &[u8],
    path: &str,
    is_label: &dyn Fn(&[u8], Value<'_>) -> bool,
    depth: usize,
    count: &mut usize,
    labels: &mut Labels,
) {
    // What was read before a break counts.
    let _ = json::members(object, |key, value| {
        let is_left_out = path.is_empty() && !is_label(key, value);
        if is_left_out || *count >= LABELS_MAX || key.is_empty() {
            return;
        }
        let name = match path {
            "" => Text::from_bytes_lossy(key),
            path => format!("{path}.{}", String::from_utf8_lossy(key)).into(),
        };
        if name.len() > LABEL_BYTES_MAX {
            return;
        }
        let value: Cow<'_, [u8]> = match value {
            Value::Text(text) => text.bytes(),
            Value::Plain(b"null") | Value::Array => return,
            Value::Plain(plain) => Cow::Borrowed(plain),
            Value::Object(inner) if depth > 0 => {
                return flatten_into(inner, &name, is_label, depth - 1, count, labels);
            }
            Value::Object(_) => return,
        };
        if value.len() <= LABEL_BYTES_MAX {
            *count += 1;
            labels.set(name, Text::from_bytes_lossy(&value));
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(body: &str) -> Vec<(String, Vec<(String, String)>)> {
        let mut found = Vec::new();
        read(body.as_bytes(), |arrival| {
            assert_eq!(again(&arrival.received), arrival, "what is kept is read as it was");
            let labels = arrival.labels.iter();
            let labels = labels.map(|(name, value)| (name.to_string(), value.to_string()));
            found.push((String::from_utf8_lossy(&arrival.line).into_owned(), labels.collect()));
        });
        found
    }

    #[track_caller]
    fn check(body: &str, expected: &[(&str, &[(&str, &str)])]) {
        let found = all(body);
        let found: Vec<(&str, Vec<(&str, &str)>)> = found
            .iter()
            .map(|(line, labels)| {
                (&**line, labels.iter().map(|(name, value)| (&**name, &**value)).collect())
            })
            .collect();
        let expected: Vec<(&str, Vec<(&str, &str)>)> =
            expected.iter().map(|(line, labels)| (*line, labels.to_vec())).collect();
        assert_eq!(found, expected, "{body}");
    }

    /// Goal: what each shipper sends is its lines with their labels. Method: bodies in the form that
    /// each of them has with its own defaults.
    #[test]
    fn each_shippers_form_is_read() {
        // Fluent Bit, json_lines, from a file of a container; and from a plain file, as an array.
        check(
            "{\"date\":1.5,\"log\":\"{\\\"t\\\":1}\\n\",\"stream\":\"stdout\",\"kubernetes\":{\"pod_name\":\"orders-0\",\
             \"labels\":{\"app.kubernetes.io/name\":\"mongod\"}}}\n",
            &[(
                "{\"t\":1}",
                &[
                    ("date", "1.5"),
                    ("kubernetes.labels.app.kubernetes.io/name", "mongod"),
                    ("kubernetes.pod_name", "orders-0"),
                    ("stream", "stdout"),
                ],
            )],
        );
        check(
            "[{\"date\":1,\"log\":\"a\"},\n{\"date\":2,\"log\":\"b\"}]",
            &[("a", &[("date", "1")]), ("b", &[("date", "2")])],
        );
        // Vector.
        check(
            r#"[{"file":"/var/log/m.log","host":"db-1","message":"a","source_type":"file"}]"#,
            &[("a", &[("file", "/var/log/m.log"), ("host", "db-1"), ("source_type", "file")])],
        );
        // Logstash and Filebeat, ECS.
        check(
            r#"{"@version":"1","message":"a","tags":["x"],"host":{"name":"db-1"},"log":{"file":{"path":"/l"},"offset":7}}"#,
            &[(
                "a",
                &[
                    ("@version", "1"),
                    ("host.name", "db-1"),
                    ("log.file.path", "/l"),
                    ("log.offset", "7"),
                ],
            )],
        );
        check(
            r#"{"host.name":"db-1","message":"a"}{"host.name":"db-2","message":"b"}"#,
            &[("a", &[("host.name", "db-1")]), ("b", &[("host.name", "db-2")])],
        );
        // journald.
        check(r#"{"MESSAGE":"a","_PID":"7"}"#, &[("a", &[("_PID", "7")])]);
    }

    /// Goal: a line that a shipper has parsed is a line again, whose values are what they were. Method:
    /// its members in another order, with a label between them.
    #[test]
    fn a_line_that_was_parsed_is_put_together_again() {
        let line = r#"{"t":{"$date":"2026-11-23T02:50:50.848+00:00"},"s":"I","c":"ACCESS","id":20250,"ctx":"conn7","msg":"x","attr":{"n":1.50, "u":"\u00e9"}}"#;
        let parsed = r#"{"s":"I","c":"ACCESS","host":"db-1","id":20250,"attr":{"n":1.50, "u":"\u00e9"},"ctx":"conn7","msg":"x","t":{"$date":"2026-11-23T02:50:50.848+00:00"}}"#;
        check(parsed, &[(line, &[("host", "db-1")])]);
        // Within a member; and beside the line itself.
        let within = format!(r#"{{"log":{parsed},"pod":"p"}}"#);
        check(&within, &[(line, &[("pod", "p")])]);
        let text = serde_json::to_string(line).expect("a text");
        let beside = parsed.replacen('{', &format!(r#"{{"log":{text},"#), 1);
        check(&beside, &[(line, &[("host", "db-1")])]);
    }

    #[test]
    fn what_cannot_be_read_keeps_nothing_else_out() {
        check(
            "{\"message\":\"a\"}\n{\"message\":\nnonsense\n{\"other\":1}\n{\"message\":\"b\"}",
            &[
                ("a", &[]),
                ("{\"message\":", &[]),
                ("nonsense", &[]),
                ("{\"other\":1}", &[]),
                ("b", &[]),
            ],
        );
        check("", &[]);
        check("[]", &[]);
    }

    #[test]
    fn labels_are_bounded() {
        let many: String = (0..1000).map(|n| format!("\"l{n}\":{n},")).collect();
        let deep = "{\"a\":".repeat(5000) + "1" + &"}".repeat(5000);
        let long = "x".repeat(LABEL_BYTES_MAX + 1);
        let body = format!("{{{many}\"message\":\"a\",\"deep\":{deep},\"long\":\"{long}\"}}");
        let found = all(&body);
        assert_eq!(found[0].0, "a");
        assert_eq!(found[0].1.len(), LABELS_MAX);
    }

    proptest! {
        /// Goal: nothing that is sent stops us, and what is kept is read as it was. Method: any bytes,
        /// and any bytes as plain text with labels.
        #[test]
        fn any_body_can_be_sent(
            body in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..200),
                "[\\[\\]{}\",:a-c\\\\ \\n]{0,100}".prop_map(String::into_bytes),
            ],
            value in ".{0,20}",
        ) {
            read(&body, |arrival| assert_eq!(again(&arrival.received), arrival));
            let mut labels = Labels::default();
            labels.set("host.name", value);
            let arrival = plain(&labels, &body);
            prop_assert_eq!(again(&arrival.received), arrival);
        }
    }
}
