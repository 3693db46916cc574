//! The well-formed headers of both standards, of which the text behind them is told apart by their form
//! alone. Files with such lines have only these taken off ([`wrapping`](crate::wrapping)); a message that
//! somebody sends is read more leniently ([`Message`](super::Message)).

use super::times::{month_day_time, rfc_3339};

/// A header at the start of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Header<'a> {
    /// The host that it names.
    pub(crate) host: Option<&'a [u8]>,
    /// The program.
    pub(crate) tag: Option<&'a [u8]>,
    /// Its process.
    pub(crate) process: Option<&'a [u8]>,
    /// The kind of message.
    pub(crate) message_id: Option<&'a [u8]>,
    /// Structured data, each element in its brackets.
    pub(crate) data: &'a [u8],
    /// What follows it.
    pub(crate) payload: &'a [u8],
}

/// `<14>`, and what follows.
pub(crate) fn priority(line: &[u8]) -> Option<(u16, &[u8])> {
    let rest = line.strip_prefix(b"<")?;
    let digits = rest.iter().take(3).take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = rest.split_at(digits);
    let number = number.iter().fold(0, |number, digit| number * 10 + u16::from(digit - b'0'));
    if digits == 0 { None } else { Some((number, rest.strip_prefix(b">")?)) }
}

/// `Nov 23 02:47:58 host mongod[12]: ` or with a time as RFC 3339 has it, behind the priority.
pub(crate) fn rfc_3164(line: &[u8]) -> Option<Header<'_>> {
    let (_, rest) = match line.first()? {
        b'0'..=b'9' => rfc_3339(line)?,
        _ => month_day_time(line)?,
    };
    tag(rest)
}

/// `1 2026-11-23T02:47:55Z host mongod 5781 - - `, behind the priority.
pub(crate) fn rfc_5424(line: &[u8]) -> Option<Header<'_>> {
    let mut header = rfc_5424_names(line)?;
    let rest = match header.payload.strip_prefix(b"-") {
        Some(rest) => rest,
        None => {
            let rest = structured_data(header.payload)?;
            header.data = &header.payload[..header.payload.len() - rest.len()];
            rest
        }
    };
    header.payload = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    Some(header)
}

/// The same up to its structured data.
pub(crate) fn rfc_5424_names(line: &[u8]) -> Option<Header<'_>> {
    let mut rest = line.strip_prefix(b"1 ")?;
    rest = match rest.strip_prefix(b"- ") {
        Some(rest) => rest,
        None => rfc_3339(rest)?.1,
    };
    // Host, application, process, message id; 255 is the longest that the standard allows.
    let mut names = [None; 4];
    for name in &mut names {
        let token = rest.iter().take(256).take_while(|b| b.is_ascii_graphic()).count();
        if token == 0 {
            return None;
        }
        *name = Some(&rest[..token]).filter(|name| *name != b"-");
        rest = rest[token..].strip_prefix(b" ")?;
    }
    let [host, tag, process, message_id] = names;
    Some(Header { host, tag, process, message_id, data: &[], payload: rest })
}

/// `host tag[pid]: ` or, as programs write it to `/dev/log`, `tag[pid]: `.
pub(crate) fn tag(rest: &[u8]) -> Option<Header<'_>> {
    if let Some(header) = tag_alone(rest) {
        return Some(header);
    }
    let (host, rest) = word(rest, HOST_BYTES_MAX, is_host_byte)?;
    Some(Header { host: Some(host), ..tag_alone(rest)? })
}

/// A host's name or address, and what follows it and a space.
pub(crate) fn host(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    word(rest, HOST_BYTES_MAX, is_host_byte)
}

/// A program's name that no colon ends: rsyslog's templates cut longer ones.
pub(crate) fn cut_tag(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    word(rest, TAG_BYTES_MAX, is_name_byte)
}

/// One element of structured data: its name, its parameters, and what follows.
pub(crate) fn element(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = element_end(data)?;
    let (element, rest) = (&data[1..end], &data[end + 1..]);
    let name = element.iter().position(|b| *b == b' ').unwrap_or(element.len());
    Some((&element[..name], &element[name..], rest))
}

/// Of names and hosts in containers, compose projects, and as units.
pub(crate) fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@' | b'/')
}

const HOST_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

fn is_host_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-_.:".contains(&b)
}

fn word(rest: &[u8], bytes_max: usize, is_part: fn(u8) -> bool) -> Option<(&[u8], &[u8])> {
    let size = rest.iter().take(bytes_max).take_while(|b| is_part(**b)).count();
    if size == 0 { None } else { Some((&rest[..size], rest[size..].strip_prefix(b" ")?)) }
}

fn tag_alone(rest: &[u8]) -> Option<Header<'_>> {
    let name = rest.iter().take(TAG_BYTES_MAX).take_while(|b| is_name_byte(**b)).count();
    if name == 0 {
        return None;
    }
    let (tag, mut rest) = rest.split_at(name);
    let mut number = None;
    if let Some(process) = rest.strip_prefix(b"[") {
        let digits = process.iter().take(20).take_while(|b| b.is_ascii_digit()).count();
        number = Some(&process[..digits]).filter(|number| !number.is_empty());
        rest = process[digits..].strip_prefix(b"]")?;
    }
    rest = rest.strip_prefix(b":")?;
    let payload = if rest.is_empty() { rest } else { rest.strip_prefix(b" ")? };
    Some(Header { tag: Some(tag), process: number, payload, ..Header::default() })
}

/// What follows `[id name="value" …]`, once or more.
fn structured_data(mut rest: &[u8]) -> Option<&[u8]> {
    if !rest.starts_with(b"[") {
        return None;
    }
    while rest.starts_with(b"[") {
        rest = &rest[element_end(rest)? + 1..];
    }
    Some(rest)
}

/// Where the bracket is that ends an element; within a value `\` escapes.
fn element_end(data: &[u8]) -> Option<usize> {
    if !data.starts_with(b"[") {
        return None;
    }
    let mut quoted = false;
    let mut n = 1;
    loop {
        match data.get(n)? {
            b'\\' if quoted => n += 1,
            b'"' => quoted = !quoted,
            b']' if !quoted => return Some(n),
            _ => {}
        }
        n += 1;
    }
}
