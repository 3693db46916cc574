//! Values on the command line, and what they may look like.

use std::ffi::OsString;

use doorbook_event::ProjectId;
use doorbook_event::registry::Role;
use doorbook_server::admin::request::role_names;
use doorbook_server::filter::Key;
use jiff::tz::TimeZone;

/// A project's id.
pub fn project_id(text: &str) -> Result<ProjectId, String> {
    text.parse().map_err(|malformed: doorbook_event::target::Malformed| malformed.to_string())
}

/// A role, by either of its names.
pub fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| format!("the roles are {}", role_names()))
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

/// An argument such as `-class:system` is a term of a filter and no option: with a space before it
/// that is what the command line takes it for.
pub fn term(argument: OsString) -> OsString {
    let negated = argument.to_str().and_then(|text| text.strip_prefix('-')?.split_once(':'));
    match negated.and_then(|(word, _)| Key::from_word(word)) {
        Some(_) => OsString::from_iter([" ".as_ref(), &*argument]),
        None => argument,
    }
}

/// A time zone: an IANA name or an offset.
pub fn time_zone(text: &str) -> Result<TimeZone, String> {
    doorbook_server::filter::time_zone(text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
