//! [`Message`]: what a message says of itself, and the line that it carries.

use doorbook_event::Text;

use super::header::{self, Header};
use super::times;
use crate::Labels;
use crate::wrapping::{self, headers};

/// A message. There is none that cannot be read: what is not understood is its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    priority: Option<u16>,
    header: Header<'a>,
}

/// Values beyond this are nobody's names, and no label.
const VALUE_BYTES_MAX: usize = 1024;

/// Parameters of structured data beyond this many are no labels.
const PARAMETERS_MAX: usize = 32;

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4",
    "local5", "local6", "local7",
];

const SEVERITIES: [&str; 8] =
    ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

impl<'a> Message<'a> {
    /// Reads a message as it was framed.
    pub fn read(message: &'a [u8]) -> Message<'a> {
        match header::priority(message) {
            Some((number, rest)) => {
                Message { priority: Some(number), header: after_priority(rest) }
            }
            None => Message { priority: None, header: without_priority(message) },
        }
    }

    /// The line: its text, without the marks and spaces that some put before it, and without a second
    /// header where one stands before a server's record.
    pub fn line(&self) -> &'a [u8] {
        let text = self.header.payload;
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        wrapping::bare(headers::without_space(text))
    }

    /// What it says of itself; see [the module](super).
    pub fn labels(&self) -> Labels {
        let Header { host, tag, process, message_id, data, .. } = self.header;
        let mut labels = Labels::default();
        for (label, value) in [
            ("syslog.host", host),
            ("syslog.tag", tag),
            ("syslog.procid", process),
            ("syslog.msgid", message_id),
        ] {
            if let Some(value) = value {
                labels.set(label, Text::from_bytes_lossy(value));
            }
        }
        if let Some((facility, severity)) = self.priority.and_then(words) {
            labels.set("syslog.facility", facility);
            labels.set("syslog.severity", severity);
        }
        parameters(data, |name, value| labels.set(name, value));
        labels
    }
}

fn after_priority(rest: &[u8]) -> Header<'_> {
    if let Some(header) = header::rfc_5424(rest) {
        return header;
    }
    // The structured data is left out, which some templates do.
    if let Some(header) = header::rfc_5424_names(rest).filter(is_record) {
        return header;
    }
    header::rfc_3164(rest).or_else(|| header::tag(rest)).unwrap_or_else(|| lenient(rest))
}

/// As programs write it before a syslog has seen it, or a line that nothing was put before.
fn without_priority(line: &[u8]) -> Header<'_> {
    if headers::is_record(line) {
        return text(line);
    }
    header::rfc_3164(line).unwrap_or_else(|| lenient(line))
}

/// What deviates: no time, an unusual one, no host, a tag that no colon ends. Where nothing tells a name
/// from text, the first word behind a time is the host, as RFC 3164 has it.
fn lenient(rest: &[u8]) -> Header<'_> {
    if headers::is_record(rest) {
        return text(rest);
    }
    let timed = times::any(rest);
    let behind = timed.unwrap_or(rest);
    if headers::is_record(behind) {
        return text(behind);
    }
    if let Some(header) = header::tag(behind).filter(|header| timed.is_some() || is_record(header))
    {
        return header;
    }
    let Some((host, behind_host)) = header::host(behind) else { return text(behind) };
    let named = Header { host: Some(host), ..text(behind_host) };
    match header::cut_tag(behind_host) {
        _ if headers::is_record(behind_host) => named,
        Some((tag, payload)) if headers::is_record(payload) => {
            Header { tag: Some(tag), payload, ..named }
        }
        _ if timed.is_some() => named,
        _ => text(rest),
    }
}

fn text(payload: &[u8]) -> Header<'_> {
    Header { payload, ..Header::default() }
}

fn is_record(header: &Header<'_>) -> bool {
    headers::is_record(header.payload)
}

fn words(priority: u16) -> Option<(&'static str, &'static str)> {
    let facility = FACILITIES.get(usize::from(priority / 8))?;
    Some((facility, SEVERITIES[usize::from(priority % 8)]))
}

/// Calls `with` for each parameter: its label and its value.
fn parameters(mut data: &[u8], mut with: impl FnMut(String, String)) {
    let mut n_parameters = 0;
    while let Some((id, mut rest, next)) = header::element(data) {
        while let Some((name, value, behind)) = parameter(rest) {
            n_parameters += 1;
            if n_parameters > PARAMETERS_MAX {
                return;
            }
            let label = [b"syslog.sd.", id, b".", name].concat();
            if label.len() <= VALUE_BYTES_MAX && value.len() <= VALUE_BYTES_MAX {
                let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                with(lossy(&label), lossy(&value));
            }
            rest = behind;
        }
        data = next;
    }
}

/// ` name="value"`, in which `\` stands before `"`, `\` and `]`; and what follows.
fn parameter(rest: &[u8]) -> Option<(&[u8], Vec<u8>, &[u8])> {
    let rest = rest.trim_ascii_start();
    let at = rest.iter().position(|b| *b == b'=')?;
    let (name, mut rest) = (&rest[..at], rest[at + 1..].strip_prefix(b"\"")?);
    let mut value = Vec::new();
    loop {
        let (first, behind) = rest.split_first()?;
        rest = match (first, behind) {
            (b'"', behind) => return Some((name, value, behind)),
            (b'\\', [escaped @ (b'"' | b'\\' | b']'), behind @ ..]) => {
                value.push(*escaped);
                behind
            }
            (byte, behind) => {
                value.push(*byte);
                behind
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{"t":{"$date":"2026-11-23T02:47:57.261+00:00"},"s":"I"}"#;
    const TEXT: &str =
        "2026-11-23T02:45:14.292+0000 I  ACCESS   [conn2] Successfully authenticated";

    /// `host=db-1 tag=mongod | line`.
    fn shown(message: &[u8]) -> String {
        let message = Message::read(message);
        let labels = message.labels();
        let labels = labels.iter().map(|(name, value)| {
            format!("{}={} ", name.strip_prefix("syslog.").expect("ours"), value.as_str())
        });
        labels.collect::<String>() + "| " + &String::from_utf8_lossy(message.line())
    }

    #[track_caller]
    fn check(head: &str, labels: &str) {
        for line in [JSON, TEXT] {
            let message = format!("{head}{line}");
            let labels = if labels.is_empty() { String::new() } else { format!("{labels} ") };
            assert_eq!(shown(message.as_bytes()), format!("{labels}| {line}"), "{message}");
        }
    }

    /// Goal: whoever wrote the header, host, program and line are found. Method: as each is seen to write.
    #[test]
    fn headers_as_they_are_written() {
        const INFO: &str = "facility=user";
        let user = |host: &str, rest: &str| match host {
            "" => format!("{INFO} {rest}"),
            host => format!("{INFO} host={host} {rest}"),
        };
        let plain = user("db-1", "severity=info tag=mongod");
        let with_process = user("db-1", "procid=811 severity=info tag=mongod");
        for (head, labels) in [
            // mongod through syslog(3), 4.4 and newer, then older ones.
            ("<14>Nov 23 17:14:09 mongod: ", &*user("", "severity=info tag=mongod")),
            (
                "<14>Nov 23 02:47:55 mongod.27017[5781]: ",
                &user("", "procid=5781 severity=info tag=mongod.27017"),
            ),
            // rsyslog's templates: TraditionalForwardFormat, ForwardFormat, SyslogProtocol23Format.
            ("<14>Nov 23 17:14:42 db-1 mongod: ", &plain),
            ("<14>2026-11-23T17:14:42.625261+00:00 db-1 mongod: ", &plain),
            ("<14>1 2026-11-23T17:14:42.625261+00:00 db-1 mongod - - -  ", &plain),
            // A tag that rsyslog's template cut at 32 characters.
            (
                "<14>Nov 23 17:14:42 db-1 a-very-long-program-name-that-is ",
                &user("db-1", "severity=info tag=a-very-long-program-name-that-is"),
            ),
            // journald, which knows the process.
            ("<14>Nov 23 17:14:42 db-1 mongod[811]: ", &with_process),
            // syslog-ng's syslog() and network().
            (
                "<14>1 2026-11-23T17:14:42+00:00 db-1 mongod 811 - [meta sequenceId=\"1\"] \u{feff}",
                &user("db-1", "procid=811 sd.meta.sequenceId=1 severity=info tag=mongod"),
            ),
            (
                "<14>Nov 23 17:14:42 db-1.example.net mongod[811]: ",
                &with_process.replace("db-1", "db-1.example.net"),
            ),
            (
                "<14>Nov 23 17:14:42 2001:db8::1 mongod[811]: ",
                &with_process.replace("db-1", "2001:db8::1"),
            ),
            // Without structured data; without anything that can be left out.
            ("<14>1 2026-11-23T17:14:42Z db-1 mongod - - ", &plain),
            ("<14>1 - - - - - - ", "facility=user severity=info"),
            // Docker's driver, whose tag is the container's id.
            (
                "<30>Nov 23 17:14:42 4f1a09c2e1d0[811]: ",
                "facility=daemon procid=811 severity=info tag=4f1a09c2e1d0",
            ),
            // A year, before or after; a colon; one digit of a day.
            ("<14>Nov 23 2026 17:14:42 db-1 mongod: ", &plain),
            ("<14>Nov 23 17:14:42 2026 db-1 mongod: ", &plain),
            ("<14>Nov  3 2026 17:14:42.123: db-1 mongod: ", &plain),
            ("<14>Nov 3 17:14:42 db-1 mongod: ", &plain),
            // No time, no host, no tag, no priority.
            ("<14>mongod[811]: ", &user("", "procid=811 severity=info tag=mongod")),
            ("<14>db-1 mongod: ", &plain),
            ("<14>Nov 23 17:14:42 db-1 ", &user("db-1", "severity=info")),
            ("<14>Nov 23 17:14:42 ", "facility=user severity=info"),
            ("<14>", "facility=user severity=info"),
            ("Nov 23 17:14:42 db-1 mongod[811]: ", "host=db-1 procid=811 tag=mongod"),
            ("", ""),
            // What stands behind the header as well: another one, a name of compose's.
            (
                "<133>Nov 23 17:14:42 relay-1 db: <14>Nov 23 17:14:40 db-1 mongod[811]: ",
                "facility=local0 host=relay-1 severity=notice tag=db",
            ),
            ("<14>Nov 23 17:14:42 db-1 mongod: mongodb-1  | ", &plain),
            // A priority that there is not.
            ("<192>Nov 23 17:14:42 db-1 mongod: ", "host=db-1 tag=mongod"),
            (
                "<0>Nov 23 17:14:42 db-1 mongod: ",
                "facility=kern host=db-1 severity=emerg tag=mongod",
            ),
        ] {
            check(head, labels);
        }
    }

    #[test]
    fn text_that_is_no_record_stays() {
        for (message, expected) in [
            (
                "<86>Nov 23 17:14:42 db-1 sshd[12]: Accepted publickey",
                "facility=authpriv host=db-1 procid=12 severity=info tag=sshd | Accepted publickey",
            ),
            (
                "<13>Nov 23 17:14:42 db-1 hello world",
                "facility=user host=db-1 severity=notice | hello world",
            ),
            ("<13>hello world", "facility=user severity=notice | hello world"),
            ("<13>hello", "facility=user severity=notice | hello"),
            ("hello", "| hello"),
            ("GET / HTTP/1.1", "| GET / HTTP/1.1"),
            ("<14", "| <14"),
            ("<>x", "| <>x"),
            ("<14>", "facility=user severity=info | "),
            (
                "<14>1 2026-11-23T17:14:42Z db-1 mongod - - -",
                "facility=user host=db-1 severity=info tag=mongod | ",
            ),
        ] {
            assert_eq!(shown(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn structured_data_is_labels() {
        let message = r#"<14>1 - db-1 - - m7 [a@1 b="c\"]\\\x" d=""][e f="ü"] x"#;
        let expected = "facility=user host=db-1 msgid=m7 sd.a@1.b=c\"]\\\\x sd.a@1.d= sd.e.f=ü \
                        severity=info | x";
        assert_eq!(shown(message.as_bytes()), expected);
        // Too many, or too long, are none.
        let many: String = (0..100).map(|n| format!(" p{n}=\"v\"")).collect();
        let message = format!("<14>1 - - - - - [a{many}] x");
        assert_eq!(Message::read(message.as_bytes()).labels().iter().count(), 2 + PARAMETERS_MAX);
        let message = format!("<14>1 - - - - - [a b=\"{}\"] x", "y".repeat(VALUE_BYTES_MAX + 1));
        assert_eq!(Message::read(message.as_bytes()).labels().iter().count(), 2);
    }

    fn name() -> impl Strategy<Value = String> {
        "[A-Za-z0-9_/-]{1,40}".prop_filter("a name", |name| name != "-" && name != "1")
    }

    proptest! {
        /// Goal: a message of RFC 5424 comes back in all its parts. Method: any values, escaped as it says.
        #[test]
        fn rfc_5424_comes_back(
            priority in 0u16..192,
            (host, tag, process, id) in (name(), name(), name(), name()),
            data in proptest::collection::vec((name(), name(), "[^\r\n]{0,20}"), 0..4),
            tail in "[^\r\n]{0,40}",
        ) {
            let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace(']', r"\]");
            let elements: String = data
                .iter()
                .map(|(id, name, value)| format!("[{id} {name}=\"{}\"]", escape(value)))
                .collect();
            let elements = if data.is_empty() { "-".to_owned() } else { elements };
            let line = format!("{JSON}{tail}");
            let message = format!("<{priority}>1 2026-11-23T17:14:42.1Z {host} {tag} {process} {id} {elements} {line}");
            let read = Message::read(message.as_bytes());
            prop_assert_eq!(read.line(), line.as_bytes());
            let mut expected = Labels::default();
            expected.set("syslog.host", host);
            expected.set("syslog.tag", tag);
            expected.set("syslog.procid", process);
            expected.set("syslog.msgid", id);
            expected.set("syslog.facility", FACILITIES[usize::from(priority / 8)]);
            expected.set("syslog.severity", SEVERITIES[usize::from(priority % 8)]);
            for (id, name, value) in data {
                expected.set(format!("syslog.sd.{id}.{name}"), value);
            }
            prop_assert_eq!(read.labels(), expected);
        }

        /// Goal: nothing panics, and a line is a piece of its message. Method: pieces of headers in any order.
        #[test]
        fn foreign_bytes_do_not_panic(pieces in proptest::collection::vec(prop_oneof![
            Just(b"<14>".to_vec()), Just(b"1 ".to_vec()), Just(b"- ".to_vec()),
            Just(b"Nov 23 17:14:42 ".to_vec()), Just(b"2026-11-23T17:14:42Z ".to_vec()),
            Just(b"mongod[1]: ".to_vec()), Just(b"[a b=\"c".to_vec()), Just(b"\"] ".to_vec()),
            Just(b"\\".to_vec()), Just(b"\xef\xbb\xbf".to_vec()), Just(JSON.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..10),
        ], 0..12)) {
            let message = pieces.concat();
            let read = Message::read(&message);
            prop_assert!(message.ends_with(read.line()));
            let _labels = read.labels();
        }
    }
}
