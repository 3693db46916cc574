//! By when a round is to be signed.

use doorbook_event::Timestamp;
use doorbook_event::review::{Due, Review};
use doorbook_store::reviews::Reviewed;
use jiff::Span;
use jiff::tz::TimeZone;

use crate::filter::time_zone;

/// The deadline of the open round. What is signed counts for the deadline that it is nearest to, so that
/// neither who is early nor who is late signs twice.
pub fn deadline(review: &Review, reviewed: &Reviewed) -> Timestamp {
    // It was a zone when the review was described.
    let zone = time_zone(&review.zone).unwrap_or(TimeZone::UTC);
    let half_seconds = i64::from(review.due.period_days()) * 86_400 / 2;
    match reviewed.last() {
        Some(last) => first_after(review.due, &zone, last.to.plus_seconds(half_seconds)),
        None => first_after(review.due, &zone, review.created),
    }
}

/// The first deadline after an instant. A time that a day does not have is the next one that it has.
fn first_after(due: Due, zone: &TimeZone, instant: Timestamp) -> Timestamp {
    // One is within a week, and one day more where the zone's day began earlier.
    const DAYS: i64 = 9;
    let (hour, minute) = (due.minute / 60, due.minute % 60);
    let today = instant.to_jiff().to_zoned(zone.clone()).date();
    let dates = (0..DAYS).filter_map(|days| today.checked_add(Span::new().days(days)).ok());
    let is_day = |date: &jiff::civil::Date| {
        let weekday = date.weekday().to_monday_zero_offset();
        due.weekday.is_none_or(|wanted| i16::from(wanted) == i16::from(weekday))
    };
    let at = |date: jiff::civil::Date| {
        let time = date.at(hour as i8, minute as i8, 0, 0).to_zoned(zone.clone()).ok()?;
        Some(Timestamp::from_jiff(time.timestamp()))
    };
    let mut deadlines = dates.filter(is_day).filter_map(at);
    deadlines.find(|deadline| instant < *deadline).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn the_next_deadline_is_of_the_calendar() {
        let check = |due: &str, zone: &str, instant: &str, expected: &str| {
            let due = Due::parse(due).expect("a deadline");
            let zone = time_zone(zone).expect("a zone");
            assert_eq!(first_after(due, &zone, at(instant)), at(expected), "{due} after {instant}");
        };
        // A Monday.
        check("10:00", "UTC", "2026-11-23T09:59:59Z", "2026-11-23T10:00:00Z");
        check("10:00", "UTC", "2026-11-23T10:00:00Z", "2026-11-24T10:00:00Z");
        check("monday 10:00", "UTC", "2026-11-23T09:00:00Z", "2026-11-23T10:00:00Z");
        check("monday 10:00", "UTC", "2026-11-23T10:00:00Z", "2026-11-30T10:00:00Z");
        check("sunday 00:00", "+02:00", "2026-11-28T21:59:00Z", "2026-11-28T22:00:00Z");
        check("10:00", "Europe/Berlin", "2026-03-28T09:00:00Z", "2026-03-29T08:00:00Z");
        // That day has no such time.
        check("02:30", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z");
    }
}
