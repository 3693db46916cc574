//! How a time zone cuts time: into days, hours, and the hours of a week.

use doorbook_event::Timestamp;
use jiff::Span;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

/// Hours of a week.
pub const WEEK_HOURS: usize = 7 * 24;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Stretches of a width in a zone, called by their beginning: whole days begin where days do there,
/// shorter ones are cut by the clock on the wall and end where that is set.
pub fn stretches(
    zone: &TimeZone,
    width_micros: i64,
) -> impl Fn(Timestamp) -> (Timestamp, Timestamp) + Sync + '_ {
    move |at| match width_micros % DAY {
        0 => days(zone, width_micros / DAY, at).unwrap_or_else(|| utc(width_micros, at)),
        _ => by_the_clock(zone, width_micros, at),
    }
}

/// The hours of a week in a zone, from Monday's first on: called by how many seconds since 1970 there
/// are hours before it ([`hour_of`]).
pub fn hours_of_week(zone: &TimeZone) -> impl Fn(Timestamp) -> (Timestamp, Timestamp) + Sync + '_ {
    const HOUR: i64 = 3600 * SECOND;
    move |at| {
        let wall = at.to_jiff().to_zoned(zone.clone());
        let day = wall.weekday().since(Weekday::Monday);
        let hour = i64::from(day) * 24 + i64::from(wall.hour());
        (Timestamp::from_seconds(hour), by_the_clock(zone, HOUR, at).1)
    }
}

/// Which hour of the week is called so.
pub fn hour_of(name: Timestamp) -> usize {
    usize::try_from(name.micros() / SECOND).unwrap_or(0) % WEEK_HOURS
}

/// So many days from 1970 on, each beginning where days do in the zone. `None` at the ends of time.
fn days(zone: &TimeZone, count: i64, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let epoch = jiff::civil::date(1970, 1, 1);
    let today = at.to_jiff().to_zoned(zone.clone()).date();
    let number = i64::from(today.since(epoch).ok()?.get_days());
    let first = number.div_euclid(count) * count;
    let instant = |number: i64| {
        let day = epoch.checked_add(Span::new().try_days(number).ok()?).ok()?;
        Some(Timestamp::from_jiff(day.to_zoned(zone.clone()).ok()?.timestamp()))
    };
    Some((instant(first)?, instant(first + count)?))
}

fn by_the_clock(zone: &TimeZone, width_micros: i64, at: Timestamp) -> (Timestamp, Timestamp) {
    let offset_micros = i64::from(zone.to_offset(at.to_jiff()).seconds()) * SECOND;
    let (from, next) = utc(width_micros, at.plus_micros(offset_micros));
    let (from, next) = (from.plus_micros(-offset_micros), next.plus_micros(-offset_micros));
    let set = zone.following(at.to_jiff()).next();
    let set = set.map(|transition| Timestamp::from_jiff(transition.timestamp()));
    (from, set.map_or(next, |set| next.min(set)))
}

fn utc(width_micros: i64, at: Timestamp) -> (Timestamp, Timestamp) {
    let from = at.micros().div_euclid(width_micros).saturating_mul(width_micros);
    let next = from.saturating_add(width_micros);
    (Timestamp::from_micros(from), Timestamp::from_micros(next))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ZONES: [&str; 6] = [
        "UTC",
        "Europe/Berlin",
        "America/St_Johns",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
    ];

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("there is one")
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn days_begin_where_they_do() {
        let check = |name, days, at, from, next| {
            let zone = zone(name);
            let cut = stretches(&zone, days * DAY);
            assert_eq!(cut(time(at)), (time(from), time(next)), "{name} {at}");
        };
        // Its clock is set forward, and then back.
        check(
            "Europe/Berlin",
            1,
            "2023-03-26T12:00:00Z",
            "2023-03-25T23:00:00Z",
            "2023-03-26T22:00:00Z",
        );
        check(
            "Europe/Berlin",
            1,
            "2023-10-29T22:59:59Z",
            "2023-10-28T22:00:00Z",
            "2023-10-29T23:00:00Z",
        );
        check("UTC", 1, "2023-10-29T00:00:00Z", "2023-10-29T00:00:00Z", "2023-10-30T00:00:00Z");
        check("UTC", 7, "1970-01-08T00:00:00Z", "1970-01-08T00:00:00Z", "1970-01-15T00:00:00Z");
    }

    #[test]
    fn hours_of_the_week_are_those_of_the_wall() {
        let check = |name, at, day: usize, hour| {
            let zone = zone(name);
            assert_eq!(hour_of(hours_of_week(&zone)(time(at)).0), day * 24 + hour, "{name} {at}");
        };
        check("UTC", "2023-11-13T00:00:00Z", 0, 0);
        check("UTC", "2023-11-19T23:59:59.999999Z", 6, 23);
        check("Asia/Kathmandu", "2023-11-12T18:15:00Z", 0, 0);
        check("Europe/Berlin", "2023-10-29T00:30:00Z", 6, 2);
        check("Europe/Berlin", "2023-10-29T01:30:00Z", 6, 2);
    }

    proptest! {
        /// Goal: whatever the zone, a stretch holds the instant, and all of it is called the same.
        /// Method: instants, drawn and at its two ends, around the years in which clocks are set.
        #[test]
        fn a_stretch_holds_its_instants(
            name in prop::sample::select(&ZONES[..]),
            seconds in 0_i64..2_000_000_000, part in 0.0..1.0_f64,
            width in prop::sample::select(&[60 * SECOND, 900 * SECOND, 3600 * SECOND, DAY, 7 * DAY][..])
        ) {
            let zone = zone(name);
            let at = Timestamp::from_seconds(seconds);
            let cut = stretches(&zone, width);
            let (from, next) = cut(at);
            prop_assert!(from <= at && at < next);
            let span = (next.micros() - at.micros() - 1) as f64;
            for inside in [next.plus_micros(-1), at.plus_micros((span * part) as i64)] {
                prop_assert_eq!(cut(inside), (from, next));
            }
            let week = hours_of_week(&zone);
            let (hour, next) = week(at);
            prop_assert!(at < next && next <= at.plus_seconds(3600));
            let inside = next.plus_micros(-1);
            prop_assert_eq!(week(inside), (hour, next));
            let wall = inside.to_jiff().to_zoned(zone.clone());
            prop_assert_eq!(hour_of(hour) % 24, wall.hour() as usize);
        }
    }
}
