//! What a record begins with, and the headers that may precede it, each told by its own form.

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
pub(super) fn is_record(line: &[u8]) -> bool {
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
    begins(rest) || cri(rest).is_some() || tag(rest).is_some_and(begins)
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
        b'<' => match syslog_5424(line) {
            Some(payload) => of(Kind::Syslog5424, payload),
            None => of(Kind::Syslog, syslog(after_priority(line)?)?),
        },
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
                Some(payload) if usual != Some(Kind::Timestamp) || is_record(payload) => {
                    of(Kind::Syslog, payload)
                }
                _ => of(Kind::Timestamp, rest),
            }
        }
        _ => match syslog(line) {
            Some(payload) => of(Kind::Syslog, payload),
            None => of(Kind::Compose, compose(line)?),
        },
    }
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

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@' | b'/')
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

/// `Nov 23 02:47:58 host mongod[12]: ` or with a time as RFC 3339 has it.
fn syslog(line: &[u8]) -> Option<&[u8]> {
    let (_, rest) = match line.first()? {
        b'0'..=b'9' => rfc_3339(line)?,
        _ => month_day_time(line)?,
    };
    tag(rest)
}

fn after_priority(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take(3).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    rest[digits..].strip_prefix(b">")
}

fn syslog_5424(line: &[u8]) -> Option<&[u8]> {
    let mut rest = after_priority(line)?.strip_prefix(b"1 ")?;
    rest = match rest.strip_prefix(b"- ") {
        Some(rest) => rest,
        None => rfc_3339(rest)?.1,
    };
    // Host, application, process, message id; 255 is the longest that the standard allows.
    for _ in 0..4 {
        let token = rest.iter().take(256).take_while(|b| b.is_ascii_graphic()).count();
        if token == 0 {
            return None;
        }
        rest = rest[token..].strip_prefix(b" ")?;
    }
    rest = match rest.strip_prefix(b"-") {
        Some(rest) => rest,
        None => structured_data(rest)?,
    };
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

/// `[id name="value" …]`, once or more; within a value `\` escapes.
fn structured_data(mut rest: &[u8]) -> Option<&[u8]> {
    if !rest.starts_with(b"[") {
        return None;
    }
    while rest.starts_with(b"[") {
        let mut quoted = false;
        let mut n = 1;
        loop {
            match rest.get(n)? {
                b'\\' if quoted => n += 1,
                b'"' => quoted = !quoted,
                b']' if !quoted => break,
                _ => {}
            }
            n += 1;
        }
        rest = &rest[n + 1..];
    }
    Some(rest)
}

/// `host tag[pid]: ` or, as programs write it to `/dev/log`, `tag[pid]: `.
fn tag(rest: &[u8]) -> Option<&[u8]> {
    if let Some(payload) = tag_alone(rest) {
        return Some(payload);
    }
    let is_host_byte = |b: &&u8| b.is_ascii_alphanumeric() || b"-_.:".contains(*b);
    let host = rest.iter().take(255).take_while(is_host_byte).count();
    if host == 0 {
        return None;
    }
    tag_alone(rest[host..].strip_prefix(b" ")?)
}

fn tag_alone(rest: &[u8]) -> Option<&[u8]> {
    let name = rest.iter().take(128).take_while(|b| is_name_byte(**b)).count();
    if name == 0 {
        return None;
    }
    let mut rest = &rest[name..];
    if let Some(process) = rest.strip_prefix(b"[") {
        let digits = process.iter().take(20).take_while(|b| b.is_ascii_digit()).count();
        rest = process[digits..].strip_prefix(b"]")?;
    }
    rest = rest.strip_prefix(b":")?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b" ") }
}

/// A time as RFC 3339 has it, or without the zone's colon, and a space: how many decimals its
/// seconds have, and what follows.
fn rfc_3339(line: &[u8]) -> Option<(usize, &[u8])> {
    let (decimals, rest) = decimals(formed(line, b"0000-00-00T00:00:00")?);
    let rest = match rest.first()? {
        b'Z' => &rest[1..],
        b'+' | b'-' => formed(&rest[1..], b"00:00").or_else(|| formed(&rest[1..], b"0000"))?,
        _ => return None,
    };
    Some((decimals, rest.strip_prefix(b" ")?))
}

/// `Nov 23 02:47:58`, `Nov  3 02:47:58.123`, and a space.
fn month_day_time(line: &[u8]) -> Option<(usize, &[u8])> {
    let (month, rest) = line.split_at_checked(4)?;
    let months = [
        b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"Jun ", b"Jul ", b"Aug ", b"Sep ", b"Oct ",
        b"Nov ", b"Dec ",
    ];
    if !months.iter().any(|known| *known == month) {
        return None;
    }
    let rest =
        formed(rest, b"00 ").or_else(|| formed(rest, b" 0 ")).or_else(|| formed(rest, b"0 "));
    let (decimals, rest) = decimals(formed(rest?, b"00:00:00")?);
    Some((decimals, rest.strip_prefix(b" ")?))
}

fn decimals(rest: &[u8]) -> (usize, &[u8]) {
    let Some(decimals) = rest.strip_prefix(b".") else { return (0, rest) };
    let count = decimals.iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    if count == 0 { (0, rest) } else { (count, &decimals[count..]) }
}

/// What follows something of the given form, in which `0` is any digit.
fn formed<'a>(line: &'a [u8], form: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = line.split_at_checked(form.len())?;
    let fits = |(b, form): (&u8, &u8)| if *form == b'0' { b.is_ascii_digit() } else { b == form };
    if start.iter().zip(form).all(fits) { Some(rest) } else { None }
}
