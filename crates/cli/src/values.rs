//! Values on the command line, and what they may look like.

use doorbook_event::registry::Role;
use doorbook_event::{ProjectId, Timestamp};
use doorbook_server::admin::request::{ClassWord, role_names};
use jiff::tz::{Offset, TimeZone};

/// A project's id.
pub fn project_id(text: &str) -> Result<ProjectId, String> {
    text.parse().map_err(|malformed: doorbook_event::target::Malformed| malformed.to_string())
}

/// A role, by either of its names.
pub fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| format!("the roles are {}", role_names()))
}

/// Where an access comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Address(std::net::IpAddr),
    UnixSocket,
}

/// An address, or the word that tables show for a Unix socket.
pub fn origin(text: &str) -> Result<Origin, String> {
    match text {
        "unix" => Ok(Origin::UnixSocket),
        _ => text
            .parse()
            .map(Origin::Address)
            .map_err(|_| "is neither an IP address nor `unix`".to_owned()),
    }
}

/// A class, by its word.
pub fn class(text: &str) -> Result<ClassWord, String> {
    use doorbook_event::Class;
    let words = Class::ALL.map(Class::word).join(", ");
    Class::from_word(text).map(ClassWord).ok_or_else(|| format!("the classes are {words}"))
}

/// How many days events are kept; `None`: forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep(pub Option<u32>);

/// A number of days, or `forever`.
pub fn keep(text: &str) -> Result<Keep, String> {
    match text {
        "forever" => Ok(Keep(None)),
        _ => {
            let days = text.parse().map_err(|_| "is neither a number of days nor `forever`");
            Ok(Keep(Some(days?)))
        }
    }
}

/// An instant: RFC 3339, a date (its midnight in UTC), or milliseconds since 1970.
pub fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && text.len() == "2026-11-23".len()
    {
        let midnight = date.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?;
        return Ok(Timestamp::from_jiff(midnight.timestamp()));
    }
    match text.parse() {
        Ok(millis) => Ok(Timestamp::from_millis(millis)),
        Err(_) => Err("a time is RFC 3339 (2026-11-23T14:00:00Z), a date (2026-11-23, UTC) or \
                       milliseconds since 1970"
            .to_owned()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants() {
        let check = |text: &str, expected: Option<&str>| {
            let got = instant(text).ok().map(|instant| instant.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        };
        check("2026-11-23T14:00:00+02:00", Some("2026-11-23T12:00:00Z"));
        check("2026-11-23", Some("2026-11-23T00:00:00Z"));
        check("1682476736454", Some("2023-04-26T02:38:56.454Z"));
        check("yesterday", None);
        check("2026-13-01", None);
        check("", None);
    }

    #[test]
    fn time_zones() {
        let check = |text: &str, expected: Option<i32>| {
            let at = jiff::Timestamp::from_second(1_700_000_000).expect("valid");
            let got = time_zone(text).ok().map(|zone| zone.to_offset(at).seconds());
            assert_eq!(got, expected, "{text}");
        };
        check("UTC", Some(0));
        check("Europe/Berlin", Some(3600));
        check("+02:00", Some(7200));
        check("-0330", Some(-12_600));
        check("+05", Some(18_000));
        check("+15", None);
        check("+2", None);
        check("+aé", None);
        check("Mars/Olympus", None);
        check("", None);
    }
}
