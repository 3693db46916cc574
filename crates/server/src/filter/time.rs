//! Times in filters: instants, days, and how long ago.

use doorbook_event::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

use super::{Key, Term, Value, Wrong};

/// What a time looks like.
const EXPECTED: &str = "a time such as 2026-11-23T02:45:14Z, or a day such as 2026-11-23";

/// A term whose time is an instant. A day is meant whole: it begins at its first instant and ends
/// with its last.
pub fn resolved(term: Term, now: Timestamp, zone: &TimeZone) -> Result<Term, Wrong> {
    let (key, instant) = match (term.key, term.value.plain()) {
        (Key::From, Some(text)) => (Key::From, instant(text, zone).map(|(first, _)| first)),
        (Key::To, Some(text)) => (Key::To, instant(text, zone).map(|(_, last)| last)),
        (Key::Since, Some(text)) => {
            let Some(seconds) = span_seconds(text) else {
                let what = "a number and s, m, h, d or w, such as 24h";
                return Err(Wrong::value(&term, what));
            };
            (Key::From, Some(now.plus_seconds(-seconds)))
        }
        (Key::From | Key::To | Key::Since, None) => (term.key, None),
        _ => return Ok(term),
    };
    if term.is_negated {
        return Err(Wrong::term(&term, "a time cannot be negated: from and to have ends"));
    }
    match instant {
        Some(instant) => Ok(Term { key, value: Value::exactly(instant.to_string()), ..term }),
        None => Err(Wrong::value(&term, EXPECTED)),
    }
}

/// The first and the last instant of what is written: RFC 3339, a day, a time of a zone, or
/// milliseconds since 1970.
fn instant(text: &str, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some((instant, instant));
    }
    if text.len() == "2026-11-23".len()
        && let Ok(date) = text.parse::<Date>()
    {
        let first =
            |date: Date| Some(Timestamp::from_jiff(date.to_zoned(zone.clone()).ok()?.timestamp()));
        return Some((first(date)?, first(date.tomorrow().ok()?)?.plus_micros(-1)));
    }
    if text.contains('T')
        && let Ok(time) = text.parse::<DateTime>()
    {
        let instant = Timestamp::from_jiff(time.to_zoned(zone.clone()).ok()?.timestamp());
        return Some((instant, instant));
    }
    let is_millis = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let instant = Timestamp::from_millis(text.parse().ok().filter(|_| is_millis)?);
    Some((instant, instant))
}

fn span_seconds(text: &str) -> Option<i64> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let is_plain = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse::<i64>().ok().filter(|_| is_plain).map(|number| number * seconds)
}

/// What a zone is called.
pub fn zone_name(zone: &TimeZone) -> String {
    match zone.iana_name() {
        Some(name) => name.to_owned(),
        None => zone.to_offset(jiff::Timestamp::UNIX_EPOCH).to_string(),
    }
}

/// A time zone: an IANA name or an offset.
pub fn time_zone(text: &str) -> Result<TimeZone, String> {
    let malformed =
        || format!("{text:?} is neither a time zone's name (Europe/Berlin) nor an offset (+02:00)");
    if text.eq_ignore_ascii_case("utc") || text == "Z" {
        return Ok(TimeZone::UTC);
    }
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return TimeZone::get(text).map_err(|_| malformed()),
    };
    let digits = text[1..].replace(':', "");
    let is_offset = matches!(digits.len(), 2 | 4) && digits.bytes().all(|b| b.is_ascii_digit());
    let parts = is_offset.then(|| (digits[..2].parse::<i32>(), digits[2..].parse::<i32>()));
    let Some((Ok(hours), minutes)) = parts else { return Err(malformed()) };
    let minutes = minutes.unwrap_or(0);
    // UTC+14 and UTC-12 are the farthest there are.
    if hours > 14 || minutes > 59 {
        return Err(malformed());
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60))
        .map(TimeZone::fixed)
        .map_err(|_| malformed())
}
