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
//! # What is broken
//!
//! Half an object may have half its labels, and they would name another host: nothing of it is believed.
//!
//! - Where a body is lines, a line that is no whole object is handed on as [`Broken`], and the next one is
//!   read.
//! - An array that is not valid as a whole, or objects one after the other in one line of which a later one
//!   breaks, refuse the body: nobody can say where the next object begins.
//! - An object that says two things of one label, or has two lines, is [`Broken`], too.
//!
//! A whole object without a line is a line without labels.
//!
//! # What is kept of a line whose host is unknown
//!
//! The object as it came; of plain text the labels as an object, a line feed and the line. [`again`]
//! reads both.

use std::borrow::Cow;
use std::collections::BTreeSet;

use doorbook_event::Text;
use serde::de::IgnoredAny;

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

/// What stands where a line should, and cannot be taken for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// As it came.
    pub received: Vec<u8>,
    /// Why.
    pub reason: Text,
}

/// Hands on each line of a body of JSON, in order. After an error, which says where the body breaks, nothing
/// that was handed on may be stored.
pub fn read(body: &[u8], mut each: impl FnMut(Result<Arrival, Broken>)) -> Result<(), String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii_start().first() == Some(&b'[') {
        let whole = serde_json::from_slice::<IgnoredAny>(body);
        whole.map_err(|error| Break::new(&error, 0).at_line(1))?;
        values(body, &mut each);
        return Ok(());
    }
    if check(body).is_ok() {
        values(body, &mut each);
        return Ok(());
    }
    let is_alone = !body.trim_ascii().contains(&b'\n');
    for (index, line) in body.split(|byte| *byte == b'\n').enumerate() {
        match check(line) {
            Ok(()) => values(line, &mut each),
            Err(broken) if broken.whole_before > 0 || (is_alone && !broken.is_end) => {
                return Err(broken.at_line(index + 1));
            }
            Err(broken) => {
                let reason = format!("{NO_OBJECT}: {}", broken.what).into();
                each(Err(Broken { received: line.trim_ascii_end().to_vec(), reason }));
            }
        }
    }
    Ok(())
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

/// Whether what was kept can be read [`again`]: it is what an arrival was, and not [`Broken`].
pub fn is_whole(received: &[u8]) -> bool {
    let mut cursor = Cursor::new(received, 0);
    let Some(Value::Object(object)) = cursor.value() else { return false };
    let is_plain = cursor.rest().starts_with(b"\n");
    let is_json = serde_json::from_slice::<IgnoredAny>(object).is_ok();
    is_json && (is_plain || (cursor.is_done() && self::object(object).is_ok()))
}

/// What was kept of an arrival, read again.
pub fn again(received: &[u8]) -> Arrival {
    let mut cursor = Cursor::new(received, 0);
    let is_object = matches!(cursor.value(), Some(Value::Object(_)));
    let rest = cursor.rest();
    if is_object && let Some(line) = rest.strip_prefix(b"\n") {
        let said = Said::of(&received[..received.len() - rest.len()], &|_, _| true);
        let (labels, line) = (said.labels, line.to_vec());
        return Arrival { labels, line, received: received.to_vec(), cut: None };
    }
    object(received).unwrap_or_else(|_| without_labels(received))
}

/// Hands on the objects of bytes that are valid JSON: one after the other, or elements of an array.
fn values(bytes: &[u8], each: &mut impl FnMut(Result<Arrival, Broken>)) {
    let is_between = |byte: &u8| byte.is_ascii_whitespace() || b"],".contains(byte);
    let bytes = bytes.trim_ascii_start();
    let mut rest = bytes.strip_prefix(b"[").unwrap_or(bytes);
    while let Some(begin) = rest.iter().position(|byte| !is_between(byte)) {
        rest = &rest[begin..];
        let mut cursor = Cursor::new(rest, 0);
        let value = cursor.value();
        let (read, left) = rest.split_at(rest.len() - cursor.rest().len());
        match value {
            Some(Value::Object(_)) => each(object(read)),
            _ => each(Err(Broken { received: read.to_vec(), reason: NO_OBJECT.into() })),
        }
        if value.is_none() {
            return;
        }
        rest = left;
    }
}

const NO_OBJECT: &str = "this is not a whole JSON object";

/// Where JSON breaks.
struct Break {
    what: String,
    line: usize,
    column: usize,
    /// Objects before it.
    whole_before: usize,
    /// What breaks ends too early.
    is_end: bool,
}

impl Break {
    fn new(error: &serde_json::Error, whole_before: usize) -> Break {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default().to_owned();
        let (line, column) = (error.line(), error.column());
        Break { what, line, column, whole_before, is_end: error.is_eof() }
    }

    /// Told of a part of a body that begins with this line.
    fn at_line(&self, first: usize) -> String {
        let line = first + self.line.max(1) - 1;
        format!("line {line}, column {}: {}", self.column, self.what)
    }
}

/// Whether bytes are nothing but objects, one after the other.
fn check(bytes: &[u8]) -> Result<(), Break> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    let mut whole_before = 0;
    loop {
        let at = values.byte_offset();
        let space = bytes[at..].len() - bytes[at..].trim_ascii_start().len();
        match bytes.get(at + space) {
            None => return Ok(()),
            Some(b'{') => {}
            Some(_) => {
                let before = &bytes[..at + space];
                let lines = before.iter().filter(|byte| **byte == b'\n').count();
                let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |it| it + 1);
                let (line, column) = (lines + 1, before.len() - begin + 1);
                let what = "expected an object".to_owned();
                return Err(Break { what, line, column, whole_before, is_end: false });
            }
        }
        match values.next() {
            Some(Ok(_)) => whole_before += 1,
            Some(Err(error)) => return Err(Break::new(&error, whole_before)),
            None => return Ok(()),
        }
    }
}

/// The arrival that an object is.
fn object(bytes: &[u8]) -> Result<Arrival, Broken> {
    let Some(line) = line_of(bytes) else { return Ok(without_labels(bytes)) };
    let said = Said::of(bytes, &|key, value| line.is_label(key, value));
    match said.twice {
        Some(reason) => Err(Broken { received: bytes.to_vec(), reason }),
        None => {
            let (labels, received) = (said.labels, bytes.to_vec());
            Ok(Arrival { labels, line: line.bytes, received, cut: None })
        }
    }
}

fn without_labels(bytes: &[u8]) -> Arrival {
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

/// What the scalars of an object say.
#[derive(Default)]
struct Said<'a> {
    labels: Labels,
    count: usize,
    /// Names of what is too long for a label.
    too_long: BTreeSet<Text>,
    /// Members that are the line or a part of it.
    others: Vec<(&'a [u8], Value<'a>)>,
    /// Why it cannot be known what is meant.
    twice: Option<Text>,
}

impl<'a> Said<'a> {
    fn of(object: &'a [u8], is_label: &dyn Fn(&[u8], Value<'_>) -> bool) -> Said<'a> {
        let mut said = Said::default();
        // What was read before a break counts.
        let _ = json::members(object, |key, value| match is_label(key, value) {
            true => said.member("", key, value, DEPTH_MAX),
            false => said.other(key, value),
        });
        said
    }

    fn member(&mut self, path: &str, key: &[u8], value: Value<'a>, depth: usize) {
        if key.is_empty() {
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
                let _ =
                    json::members(inner, |key, value| self.member(&name, key, value, depth - 1));
                return;
            }
            Value::Object(_) => return,
        };
        self.label(name, &value);
    }

    fn label(&mut self, name: Text, value: &[u8]) {
        // What is no label any more can still contradict one.
        match self.labels.get(&name) {
            Some(known) if known.as_bytes() == value => {}
            Some(known) => {
                let value = Text::from_bytes_lossy(value);
                if *known != value {
                    let (known, value) = (shown(known), shown(&value));
                    let reason = format!("{} is both {known} and {value}", shown(&name));
                    self.twice.get_or_insert(reason.into());
                }
            }
            None if self.count >= LABELS_MAX => {}
            None if value.len() > LABEL_BYTES_MAX => {
                self.count += 1;
                self.too_long.insert(name);
            }
            None if self.too_long.contains(&name) => {
                let reason = format!("{} has two values", shown(&name));
                self.twice.get_or_insert(reason.into());
            }
            None => {
                self.count += 1;
                self.labels.set(name, Text::from_bytes_lossy(value));
            }
        }
    }

    fn other(&mut self, key: &'a [u8], value: Value<'a>) {
        match self.others.iter().find(|(known, _)| *known == key) {
            None => self.others.push((key, value)),
            Some((_, known)) if *known == value => {}
            Some(_) => {
                let reason = format!("{} is there twice", shown(&String::from_utf8_lossy(key)));
                self.twice.get_or_insert(reason.into());
            }
        }
    }
}

/// The beginning of a text, harmless in one line.
fn shown(text: &str) -> String {
    let beginning: String = text.chars().take(64).collect();
    format!("{beginning:?}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(body: &str) -> Vec<(String, Vec<(String, String)>)> {
        let mut found = Vec::new();
        let whole = read(body.as_bytes(), |arrival| {
            let arrival = match arrival {
                Ok(arrival) => arrival,
                Err(broken) => {
                    assert!(!is_whole(&broken.received), "{broken:?}");
                    let received = String::from_utf8_lossy(&broken.received);
                    return found.push((format!("broken {received}"), Vec::new()));
                }
            };
            assert!(is_whole(&arrival.received));
            assert_eq!(again(&arrival.received), arrival, "what is kept is read as it was");
            let labels = arrival.labels.iter();
            let labels = labels.map(|(name, value)| (name.to_string(), value.to_string()));
            found.push((String::from_utf8_lossy(&arrival.line).into_owned(), labels.collect()));
        });
        whole.expect("a body that is taken");
        found
    }

    fn refused(body: &str) -> String {
        read(body.as_bytes(), |_| {}).expect_err(body)
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
                ("broken {\"message\":", &[]),
                ("broken nonsense", &[]),
                ("{\"other\":1}", &[]),
                ("b", &[]),
            ],
        );
        check("", &[]);
        check("[]", &[]);
        check("[1,{\"message\":\"a\"}]", &[("broken 1", &[]), ("a", &[])]);
    }

    /// Goal: nothing of an object that was cut is believed, and no line after it is lost. Method: bodies of
    /// each form with an object whose outer brace is missing, and every cut of a line.
    #[test]
    fn what_is_cut_is_not_believed() {
        let one = r#"{"message":"a","host":{"name":"db-1"}}"#;
        let cut = r#"{"message":"b","host":{"name":"db"}"#;
        assert!(refused(&format!("[{one},{cut},{one}]")).starts_with("line 1, column "));
        assert!(refused(&format!("[\n{one},\n{cut},\n{one}]")).starts_with("line 4, column 1:"));
        assert!(refused(&format!("{one}{cut}")).starts_with("line 1, column "));
        assert!(refused(&format!("{cut}{one}")).starts_with("line 1, column "));
        refused(&format!("{one}\n{one}{cut}\n"));
        refused(&"[".repeat(100_000));
        let read_one: (&str, &[(&str, &str)]) = ("a", &[("host.name", "db-1")]);
        let broken = format!("broken {cut}");
        check(&format!("{one}\n{cut}\n{one}\n"), &[read_one, (&broken, &[]), read_one]);
        for length in 1..one.len() {
            let broken = format!("broken {}", &one[..length]);
            check(&format!("{one}\n{}", &one[..length]), &[read_one, (&broken, &[])]);
        }
        // Over several lines.
        check(&one.replace(',', ",\n"), &[read_one]);
    }

    #[test]
    fn a_label_is_not_guessed() {
        let same = r#"{"host.name":"db-1","message":"a","host":{"name":"db-1"}}"#;
        check(same, &[("a", &[("host.name", "db-1")])]);
        let long = "x".repeat(LABEL_BYTES_MAX + 1);
        let many: String = (0..300).map(|n| format!("\"l{n}\":{n},")).collect();
        for differing in [
            r#"{"message":"a","host.name":"db-1","host.name":"db-2"}"#,
            r#"{"message":"a","host.name":"db-1","host":{"name":"db-2"}}"#,
            r#"{"message":"a","host":{"name":"db-2"},"host":{"name":"db-1"}}"#,
            r#"{"message":"a","message":"b","host.name":"db-1"}"#,
            &format!(r#"{{"message":"a","host":"db-1","host":"{long}"}}"#),
            &format!(r#"{{"message":"a","host":"{long}","host":"db-1"}}"#),
            &format!(r#"{{"message":"a","host":"db-1",{many}"host":"db-2"}}"#),
        ] {
            check(differing, &[(&format!("broken {differing}"), &[])]);
        }
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
            let _ = read(&body, |read| match read {
                Ok(arrival) => assert_eq!(again(&arrival.received), arrival),
                Err(broken) => assert!(!is_whole(&broken.received)),
            });
            let mut labels = Labels::default();
            labels.set("host.name", value);
            let arrival = plain(&labels, &body);
            prop_assert_eq!(again(&arrival.received), arrival);
        }
    }
}
