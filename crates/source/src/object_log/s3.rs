//! The server access log of S3, as Amazon describes it ("Amazon S3 server access log format").
//!
//! Fields with a blank between, `-` where there is nothing, the time in brackets, what a client may choose
//! in quotes. Further fields were added behind the last ones and will be, so what follows the fields that are
//! read here is not looked at:
//!
//! | field | is |
//! |---|---|
//! | 1 bucket, 2 time, 3 remote address, 4 requester, 5 request id | the time in whole seconds |
//! | 6 operation | `REST.GET.OBJECT`, `REST.PUT.PART`, `BATCH.DELETE.OBJECT`, … |
//! | 7 key | percent-encoded, by some operations twice |
//! | 8 request line | in quotes; of a list the only place where its prefix is |
//! | 9 status, 10 error, 11 bytes sent, 12 object size, 13 total time | milliseconds |
//! | 16 user agent | in quotes |
//!
//! What a client sends may contain quotes. They stand there as they are or behind a backslash, so a quote
//! ends a field only if a blank follows it or nothing, and no backslash is before it.

use doorbook_event::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{Offset, TimeZone};

use super::request::{Operation, Request, Target, address, decode};
use super::{Reader, Unreadable, unreadable};

/// The fields up to the user agent.
const FIELDS: usize = 17;

pub fn read(
    reader: &mut Reader,
    line: &[u8],
    sink: &mut dyn FnMut(Request),
) -> Result<(), Unreadable> {
    let fields = fields(line).ok_or_else(|| unreadable("has fewer than 17 fields"))?;
    let [_, bucket, at, from, requester, id, operation, key, request_line, status, ..] = fields;
    let [.., error, sent, size, time, _, _, user_agent] = fields;
    let at = self::time(at);
    let at = at.ok_or_else(|| unreadable("has no time such as [06/Feb/2019:00:00:38 +0000]"))?;
    if !operation.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte)) {
        return Err(unreadable("has no operation such as REST.GET.OBJECT"));
    }
    let mut words = request_line.split(|byte| *byte == b' ');
    let target = Target::new(words.nth(1).unwrap_or_default());
    let wanted = match self::operation(operation) {
        Some(wanted) => wanted,
        None if operation == b"REST.GET.BUCKET" => target.list().1,
        None => return Ok(()),
    };
    let Some(bucket) = reader.text(bucket) else { return Ok(()) };
    let key = match wanted {
        Operation::List { .. } => target.list().0,
        _ => self::key(key, &target, &bucket),
    };
    let receives = matches!(wanted, Operation::Put | Operation::Part);
    // Of what was never answered there is no status.
    let status = if status == b"-" { Some(0) } else { number(status) };
    let status = status.and_then(|status| u16::try_from(status).ok());
    sink(Request {
        at,
        duration_micros: i64::try_from(number(time).unwrap_or(0).min(DAY_MILLIS)).unwrap_or(0)
            * 1000,
        key,
        operation: wanted,
        requester: reader.text(requester),
        address: address(from),
        user_agent: reader.text(user_agent),
        bytes_sent: number(sent).unwrap_or(0),
        bytes_received: if receives { number(size).unwrap_or(0) } else { 0 },
        status: match (operation, status) {
            // One request removes many; its lines have the status of each or none.
            (b"BATCH.DELETE.OBJECT" | b"S3.EXPIRE.OBJECT", Some(0)) => 204,
            (_, status) => status.ok_or_else(|| unreadable("has no status such as 200"))?,
        },
        error: reader.text(error),
        id: doorbook_event::Text::from_bytes_lossy(id),
        bucket,
    });
    Ok(())
}

/// The time of a line.
pub fn time_of(line: &[u8]) -> Option<Timestamp> {
    time(fields(line)?[2])
}

/// No request takes longer; a number that says so is wrong.
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

fn operation(word: &[u8]) -> Option<Operation> {
    Some(match word {
        b"REST.GET.OBJECT" => Operation::Get,
        b"REST.HEAD.OBJECT" => Operation::Head,
        b"REST.PUT.OBJECT" => Operation::Put,
        b"REST.PUT.PART" => Operation::Part,
        b"REST.POST.UPLOADS" => Operation::Begin,
        b"REST.POST.UPLOAD" => Operation::Complete,
        b"REST.COPY.OBJECT" => Operation::Copy,
        b"REST.DELETE.OBJECT" | b"BATCH.DELETE.OBJECT" | b"S3.EXPIRE.OBJECT" => Operation::Delete,
        _ => return None,
    })
}

/// The key, of the field and of the request line. The field is encoded once or twice, and only the line
/// tells which; the line may be without the bucket, and only the field tells that.
fn key(field: &[u8], target: &Target<'_>, bucket: &str) -> String {
    let once = decode(field, b'+');
    let twice = decode(once.as_bytes(), b'+');
    if twice != once && target.key(bucket) == twice { twice } else { once }
}

/// The fields that are read, without brackets and quotes.
fn fields(line: &[u8]) -> Option<[&[u8]; FIELDS]> {
    let mut found = [&[][..]; FIELDS];
    let mut rest = line;
    for field in &mut found {
        let (content, end) = match rest.first()? {
            b'[' => {
                let end = memchr::memchr(b']', rest)?;
                (&rest[1..end], end + 1)
            }
            b'"' => {
                let end = closing_quote(rest)?;
                (&rest[1..end], end + 1)
            }
            _ => {
                let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
                (&rest[..end], end)
            }
        };
        *field = content;
        rest = &rest[end..];
        rest = rest.strip_prefix(b" ").unwrap_or(rest);
    }
    Some(found)
}

fn closing_quote(quoted: &[u8]) -> Option<usize> {
    let ends = |at: &usize| {
        let is_escaped = quoted[..*at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2;
        *at > 0 && is_escaped == 0 && matches!(quoted.get(at + 1), None | Some(b' '))
    };
    memchr::memchr_iter(b'"', quoted).find(ends)
}

fn number(text: &[u8]) -> Option<u64> {
    if text == b"-" {
        return Some(0);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// `06/Feb/2019:00:00:38 +0000`.
fn time(text: &[u8]) -> Option<Timestamp> {
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let text: &[u8; 26] = text.try_into().ok()?;
    let separators = [text[2], text[6], text[11], text[14], text[17], text[20]];
    if separators != *b"//::: " {
        return None;
    }
    let digits = |range: std::ops::Range<usize>| -> Option<i16> {
        let digits = &text[range];
        digits
            .iter()
            .all(u8::is_ascii_digit)
            .then(|| digits.iter().fold(0, |number, digit| number * 10 + i16::from(digit - b'0')))
    };
    let small = |at: usize| i8::try_from(digits(at..at + 2)?).ok();
    let month = MONTHS.chunks_exact(3).position(|month| *month == text[3..6])?;
    let date = Date::new(digits(7..11)?, i8::try_from(month + 1).ok()?, small(0)?).ok()?;
    let second = small(18)?.min(59);
    let time = Time::new(small(12)?, small(15)?, second, 0).ok()?;
    let minutes = i32::from(small(22)?) * 60 + i32::from(small(24)?);
    let seconds = match text[21] {
        b'+' => minutes * 60,
        b'-' => minutes * -60,
        _ => return None,
    };
    let zone = TimeZone::fixed(Offset::from_seconds(seconds).ok()?);
    let zoned = DateTime::from_parts(date, time).to_zoned(zone).ok()?;
    Some(Timestamp::from_jiff(zoned.timestamp()))
}
