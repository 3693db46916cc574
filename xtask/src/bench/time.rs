//! Milliseconds since 1970 as text and back, in UTC.

/// `2026-10-20T00:00:00.000`.
pub fn time(ms: u64) -> String {
    let (days, ms) = (ms / 86_400_000, ms % 86_400_000);
    // Civil date from days since 1970, in 400-year eras that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1000 % 60,
        ms % 1000
    )
}

/// Milliseconds of a text in the form `2026-10-20T00:00:00[.000]Z`; further digits are cut off.
pub fn milliseconds(text: &str) -> Option<i64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|number| number.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    milliseconds_of_clock(clock, days(year, month, day))
}

/// Milliseconds of a text in Java's form, `Wed Apr 26 02:38:56 GMT 2023`.
pub fn milliseconds_of_java(text: &str) -> Option<i64> {
    let words: Vec<_> = text.split(' ').collect();
    let [_, month, day, clock, "GMT", year] = words[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? as i64 + 1;
    milliseconds_of_clock(clock, days(year.parse().ok()?, month, day.parse().ok()?))
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn milliseconds_of_clock(clock: &str, days: i64) -> Option<i64> {
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut clock = clock.split(':').map(|number| number.parse::<i64>().ok());
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    Some((((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + millis)
}

/// Days from 1970 to a civil date, the inverse of what [`time`] does.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_alike() {
        for (millis, text) in [
            (1_792_454_400_000, "2026-10-20T00:00:00.000"),
            (1_709_210_096_789, "2024-02-29T12:34:56.789"),
        ] {
            assert_eq!(time(millis), text);
            assert_eq!(milliseconds(&format!("{text}Z")), Some(millis as i64));
        }
        assert_eq!(milliseconds("2026-10-20T00:00:00Z"), Some(1_792_454_400_000));
        assert_eq!(milliseconds("2026-10-20T00:00:00.1234567Z"), Some(1_792_454_400_123));
        assert_eq!(milliseconds_of_java("Wed Apr 26 02:38:56 GMT 2023"), Some(1_682_476_736_000));
        assert_eq!(milliseconds("yesterday"), None);
    }
}
