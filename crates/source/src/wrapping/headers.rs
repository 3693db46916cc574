//! What a record begins with, and the headers that may precede it, each told by its own form.

use crate::syslog::header::{self as syslog_header, is_name_byte, tag};
use crate::syslog::times::{month_day_time, rfc_3339};

/// A header at a line's start.
#[derive(Debug)]
pub(super) struct Header<'a> {
    pub kind: Kind,
    /// What follows it.
    pub payload: &'a [u8],
}

/// Whose header it is.
#[derive(Clone, Copy, Debug, Eq)]
pub(super) enum Kind {
    /// A byte order mark, where files were joined.
    ByteOrderMark,
    /// `> `, in mails.
    Quote,
    /// `@400000005bb4ee1e1fd4f2dc `, by daemontools' multilog.
    Tai64n,
    /// `mongodb-1  | `, by `docker compose logs`, perhaps coloured.
    Compose,
    /// `[pod/mongo-0/mongod] `, by `kubectl logs --prefix`.
    Pod,
    /// `2026-11-23T02:45:46.605123456Z `, by `--timestamps`.
    Timestamp,
    /// `2026-11-23T02:45:46.605123456Z stdout F `, by Kubernetes' container runtimes.
    Cri { error_stream: bool, last: bool },
    /// `{"log":"`, by Docker's json-file. The payload is the rest of the object.
    DockerJson,
    /// `<14>Nov 23 02:47:55 host mongod[5781]: `, by RFC 3164's syslogs and by journalctl; the
    /// priority or the host may be absent, the time may be RFC 3339's.
    Syslog,
    /// `<14>1 2026-11-23T02:47:55Z host mongod 5781 - - `, by RFC 5424's.
    Syslog5424,
}

/// The same header, whatever it says of the line behind it.
impl PartialEq for Kind {
    fn eq(&self, other: &Kind) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Whether a server's record begins here.
pub(crate) fn is_record(line: &[u8]) -> bool {
    is_json(line) || is_text(line)
}

/// Whether a JSON record begins here, of the log or of the audit log.
#[inline]
pub(super) fn is_json(line: &[u8]) -> bool {
    line.starts_with(b"{\"t\":")
        || line.starts_with(b"{ \"atype\"")
        || line.starts_with(b"{\"atype\"")
}

/// Whether a text record begins here.
fn is_text(line: &[u8]) -> bool {
    match after_server_time(line) {
        // `I  ACCESS`, `[conn3]`: nothing that a transport puts behind its time.
        Some([b'A'..=b'Z', b' ', ..] | [b'[', ..]) => true,
        // A transport's time may by chance, or by its settings, have three decimals as well.
        Some(rest) => !is_record_behind_time(rest),
        None => false,
    }
}

/// Whether what follows a time is a record with, at most, what transports put between.
fn is_record_behind_time(rest: &[u8]) -> bool {
    let begins = |rest| is_json(rest) || after_server_time(rest).is_some();
    begins(rest) || cri(rest).is_some() || tag(rest).is_some_and(|header| begins(header.payload))
}

/// What follows the time with which a text record begins: `2026-11-23T02:45:14.292+0000 `,
/// `2026-11-23T02:45:14.292Z `, `Mon Nov 23 02:47:25.918 `.
fn after_server_time(line: &[u8]) -> Option<&[u8]> {
    match line.first()? {
        b'0'..=b'9' => match rfc_3339(line)? {
            (3, rest) => Some(rest),
            _ => None,
        },
        b'A'..=b'Z' => {
            let (weekday, rest) = line.split_at_checked(4)?;
            let weekdays = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
            if !weekdays.iter().any(|known| *known == weekday) {
                return None;
            }
            match month_day_time(rest)? {
                (3, rest) => Some(rest),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The header at a line's start. `usual` is the one that records had here before; it decides where
/// a line without a record could be read in two ways.
pub(super) fn header(line: &[u8], usual: Option<Kind>) -> Option<Header<'_>> {
    let of = |kind, payload| Some(Header { kind, payload });
    match line.first()? {
        b'>' => of(Kind::Quote, quote(line)?),
        b'@' => of(Kind::Tai64n, tai64n(line)?),
        b'<' => {
            let (_, rest) = syslog_header::priority(line)?;
            match syslog_header::rfc_5424(rest) {
                Some(header) => of(Kind::Syslog5424, without_space(header.payload)),
                None => of(Kind::Syslog, syslog_header::rfc_3164(rest)?.payload),
            }
        }
        b'{' => of(Kind::DockerJson, line.strip_prefix(b"{\"log\":\"")?),
        b'[' => of(Kind::Pod, pod(line)?),
        0xef => of(Kind::ByteOrderMark, line.strip_prefix(super::BYTE_ORDER_MARK)?),
        b'0'..=b'9' => {
            let Some((_, rest)) = rfc_3339(line) else {
                return of(Kind::Compose, compose(line)?);
            };
            if let Some((kind, payload)) = cri(rest) {
                return of(kind, payload);
            }
            match tag(rest) {
                // `… a b: c` behind a time may also be a piece of a name behind a `--timestamps`.
                Some(tagged) if usual != Some(Kind::Timestamp) || is_record(tagged.payload) => {
                    of(Kind::Syslog, tagged.payload)
                }
                _ => of(Kind::Timestamp, rest),
            }
        }
        _ => match syslog_header::rfc_3164(line) {
            Some(header) => of(Kind::Syslog, header.payload),
            None => of(Kind::Compose, compose(line)?),
        },
    }
}

/// A record without the space before it: rsyslog's template for RFC 5424 keeps the one that stood between
/// tag and text.
pub(crate) fn without_space(payload: &[u8]) -> &[u8] {
    payload.strip_prefix(b" ").filter(|rest| is_record(rest)).unwrap_or(payload)
}

/// One level of quoting; mailers take the space off an empty line.
fn quote(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b">")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

fn tai64n(line: &[u8]) -> Option<&[u8]> {
    let (label, rest) = line.strip_prefix(b"@")?.split_at_checked(24)?;
    if !label.iter().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    rest.strip_prefix(b" ")
}

fn compose(line: &[u8]) -> Option<&[u8]> {
    const NAME_BYTES_MAX: usize = 256;
    let rest = after_colours(line);
    let name = rest.iter().take(NAME_BYTES_MAX).take_while(|b| is_name_byte(**b)).count();
    if name == 0 {
        return None;
    }
    let rest = &rest[name..];
    // Names are padded to the longest.
    let spaces = rest.iter().take(NAME_BYTES_MAX).take_while(|b| **b == b' ').count();
    if spaces == 0 {
        return None;
    }
    let rest = after_colours(after_colours(&rest[spaces..]).strip_prefix(b"|")?);
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    Some(after_colours(rest))
}

/// Skips `ESC [ 1 ; 36 m` and the like.
fn after_colours(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_prefix(b"\x1b[") {
        let digits = rest.iter().take(16).take_while(|b| matches!(b, b'0'..=b'9' | b';')).count();
        match rest[digits..].strip_prefix(b"m") {
            Some(rest) => line = rest,
            None => break,
        }
    }
    line
}

fn pod(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"[pod/")?;
    let name = rest.iter().take(512).take_while(|b| is_name_byte(**b)).count();
    rest[name..].strip_prefix(b"] ")
}

/// `stdout F `, behind a time. Tags after the first are reserved.
fn cri(rest: &[u8]) -> Option<(Kind, &[u8])> {
    let (error_stream, rest) = match rest.strip_prefix(b"stdout ") {
        Some(rest) => (false, rest),
        None => (true, rest.strip_prefix(b"stderr ")?),
    };
    let last = match rest.first()? {
        b'F' => true,
        b'P' => false,
        _ => return None,
    };
    let mut rest = &rest[1..];
    if rest.starts_with(b":") {
        let tags = rest.iter().take(64).take_while(|b| **b != b' ').count();
        rest = &rest[tags..];
    }
    let payload = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    Some((Kind::Cri { error_stream, last }, payload))
}
