//! The times that mongod writes.
//!
//! `iso8601-local` (`2026-11-23T02:45:14.292+0000`, in JSON `+00:00`) and `iso8601-utc` (`…Z`)
//! name an instant. `ctime` (`Mon Nov 23 02:47:25.918`, the only form of 2.4 and an option up to
//! 4.2) has neither year nor zone. The zone is a setting; the year comes from the weekday, which
//! fits only one of any three neighbouring years, and from a hint that anchors the first line.

use doorbook_event::{Text, Timestamp, WrittenTime};
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

/// Reads times, and remembers what makes the next one cheap or possible.
#[derive(Debug)]
pub struct Times {
    zone: TimeZone,
    /// The latest date and its first instant.
    date: [u8; 10],
    date_micros: i64,
    /// The latest date, hour and minute in UTC as JSON writes them, and their first instant.
    minute: [u8; 17],
    minute_micros: i64,
    /// The year of the latest line without one.
    year: Option<i16>,
    /// Before this a file's lines were written.
    before: Option<Timestamp>,
    /// No hint told the year.
    is_doubtful: bool,
}

/// A time that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time<'a> {
    /// The instant.
    pub at: Timestamp,
    /// What was written, if it does not name an instant.
    pub partial: Option<&'a [u8]>,
    /// The year is a guess without any hint.
    pub is_doubtful: bool,
}

impl Time<'_> {
    /// As the record's column.
    pub fn written(&self) -> WrittenTime {
        match self.partial {
            None => WrittenTime::Complete,
            Some(text) => WrittenTime::Partial(Text::from_bytes_lossy(text)),
        }
    }
}

impl Times {
    /// `zone` is for times without one.
    pub fn new(zone: TimeZone) -> Times {
        Times {
            zone,
            date: [0; 10],
            date_micros: 0,
            minute: [0; 17],
            minute_micros: 0,
            year: None,
            before: None,
            is_doubtful: false,
        }
    }

    /// A file begins, all of whose lines were written before `before`.
    pub fn begin_file(&mut self, before: Option<Timestamp>, continues: bool) {
        self.before = before;
        if !continues || before.is_some() {
            self.year = None;
        }
    }

    /// A complete time, and nothing after it.
    pub fn iso(&mut self, text: &[u8]) -> Option<Timestamp> {
        // `2026-11-23T02:45:` `14.292` `+00:00` or `Z`: a busy log writes thousands of lines a
        // minute.
        if let Some((minute, rest)) = text.split_first_chunk::<17>()
            && let Some(([s1, s2, b'.', m1, m2, m3], b"+00:00" | b"Z")) = rest.split_first_chunk()
        {
            let digits = [*s1, *s2, *m1, *m2, *m3];
            if *minute == self.minute && *s1 < b'6' && digits.iter().all(u8::is_ascii_digit) {
                let millis = digits.iter().fold(0, |value, b| value * 10 + i64::from(b - b'0'));
                return Some(Timestamp::from_micros(self.minute_micros + millis * 1000));
            }
            let (time, length) = self.iso_prefix(text)?;
            if *s1 < b'6' {
                self.minute = *minute;
                self.minute_micros = time.micros() - time.micros().rem_euclid(60_000_000);
            }
            return (length == text.len()).then_some(time);
        }
        match self.iso_prefix(text)? {
            (time, length) if length == text.len() => Some(time),
            _ => None,
        }
    }

    /// A time at the start of `text`, and how long it is.
    pub fn prefix<'a>(&mut self, text: &'a [u8]) -> Option<(Time<'a>, usize)> {
        if text.first()?.is_ascii_digit() {
            let (at, length) = self.iso_prefix(text)?;
            Some((Time { at, partial: None, is_doubtful: false }, length))
        } else {
            self.ctime_prefix(text)
        }
    }

    /// What reading a time changes for the next ones, to go back to if the line was forged.
    pub fn year(&self) -> (Option<i16>, bool) {
        (self.year, self.is_doubtful)
    }

    /// Goes back to what [`Times::year`] gave.
    pub fn set_year(&mut self, (year, is_doubtful): (Option<i16>, bool)) {
        self.year = year;
        self.is_doubtful = is_doubtful;
    }

    fn iso_prefix(&mut self, text: &[u8]) -> Option<(Timestamp, usize)> {
        let (date, rest) = text.split_first_chunk::<10>()?;
        let (clock, zone) = rest.split_first_chunk::<9>()?;
        if date != &self.date {
            self.date_micros = date_micros(date)?;
            self.date = *date;
        }
        if clock[0] != b'T' || clock[3] != b':' || clock[6] != b':' {
            return None;
        }
        let seconds = seconds_of_day([clock[1], clock[2], clock[4], clock[5], clock[7], clock[8]])?;
        let (fraction, fraction_length) = fraction_micros(zone)?;
        let (offset, zone_length) = zone_seconds(&zone[fraction_length..])?;
        let micros = self.date_micros + (seconds - offset) * 1_000_000 + fraction;
        Some((Timestamp::from_micros(micros), 19 + fraction_length + zone_length))
    }

    /// `Thu Oct  9 15:20:19.328`
    fn ctime_prefix<'a>(&mut self, text: &'a [u8]) -> Option<(Time<'a>, usize)> {
        let (head, rest) = text.split_first_chunk::<19>()?;
        let weekday = weekday(&head[..3])?;
        let month = month(&head[4..7])?;
        let day = if head[8] == b' ' { digit(head[9])? } else { number([head[8], head[9]])? };
        if head[3] != b' ' || head[7] != b' ' || head[10] != b' ' {
            return None;
        }
        if head[13] != b':' || head[16] != b':' {
            return None;
        }
        let clock = [head[11], head[12], head[14], head[15], head[17], head[18]];
        let seconds = seconds_of_day(clock)?.min(86_399);
        let (fraction, fraction_length) = fraction_micros(rest)?;
        let date = self.date(weekday, month, i8::try_from(day).ok()?)?;
        let at = self.instant(date, seconds, fraction)?;
        let length = 19 + fraction_length;
        Some((Time { at, partial: Some(&text[..length]), is_doubtful: self.is_doubtful }, length))
    }

    /// The date that has this weekday, in the year that is nearest to the lines before it.
    fn date(&mut self, weekday: Weekday, month: i8, day: i8) -> Option<Date> {
        let fits =
            |year: &i16| Date::new(*year, month, day).is_ok_and(|date| date.weekday() == weekday);
        let year = match self.year {
            // Neighbouring years differ by one or two weekdays, so at most one of these fits. A
            // forged line can move the year by one only, and the next real line moves it back.
            Some(year) => [year, year + 1, year - 1].into_iter().find(fits).unwrap_or(year),
            None => {
                let latest = self.before.map(|before| {
                    before.plus_seconds(86_400).to_jiff().to_zoned(self.zone.clone()).date()
                });
                self.is_doubtful = latest.is_none();
                let is_past = |year: &i16| {
                    latest.is_none_or(|latest| {
                        Date::new(*year, month, day).is_ok_and(|date| date <= latest)
                    })
                };
                match latest {
                    Some(latest) => {
                        let candidates = || (latest.year() - 12..=latest.year()).rev();
                        candidates()
                            .filter(is_past)
                            .find(fits)
                            .or_else(|| candidates().find(is_past))?
                    }
                    // Nothing is known: the first fitting year since mongod 2.4 came out.
                    None => (2013..2040).find(fits)?,
                }
            }
        };
        self.year = Some(year);
        Date::new(year, month, day).ok()
    }

    fn instant(&self, date: Date, seconds: i64, fraction: i64) -> Option<Timestamp> {
        let part = |value: i64| i8::try_from(value).ok();
        let time = jiff::civil::Time::new(
            part(seconds / 3600)?,
            part(seconds / 60 % 60)?,
            part(seconds % 60)?,
            i32::try_from(fraction * 1000).ok()?,
        );
        let zoned = DateTime::from_parts(date, time.ok()?).to_zoned(self.zone.clone()).ok()?;
        Some(Timestamp::from_jiff(zoned.timestamp()))
    }
}

/// The instant in a rotated file's name: `….2026-11-23T02-48-50`, which mongod writes in UTC.
pub fn rotation_suffix(name: &str) -> Option<Timestamp> {
    let at = name.rfind('.')? + 1;
    let suffix = name.get(at..)?.as_bytes().get(..19)?;
    let mut iso = [0; 20];
    iso[..19].copy_from_slice(suffix);
    iso[19] = b'Z';
    for colon in [13, 16] {
        if iso[colon] != b'-' {
            return None;
        }
        iso[colon] = b':';
    }
    Times::new(TimeZone::UTC).iso(&iso)
}

/// The time that a line (without its transport's wrapping) begins with, if it does; `zone` is for
/// times without one, `before` for times without a year.
pub fn line_time(line: &[u8], zone: &TimeZone, before: Option<Timestamp>) -> Option<Timestamp> {
    let mut times = Times::new(zone.clone());
    if line.first() == Some(&b'{') {
        return times.iso(super::json_lines::time_of_head(line)?);
    }
    times.begin_file(before, false);
    times.prefix(line).map(|(time, _)| time.at)
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

fn number(digits: [u8; 2]) -> Option<i64> {
    Some(digit(digits[0])? * 10 + digit(digits[1])?)
}

fn date_micros(date: &[u8; 10]) -> Option<i64> {
    if date[4] != b'-' || date[7] != b'-' {
        return None;
    }
    let year = number([date[0], date[1]])? * 100 + number([date[2], date[3]])?;
    let month = i8::try_from(number([date[5], date[6]])?).ok()?;
    let day = i8::try_from(number([date[8], date[9]])?).ok()?;
    let date = Date::new(i16::try_from(year).ok()?, month, day).ok()?;
    let instant = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some(instant.as_microsecond())
}

fn seconds_of_day(clock: [u8; 6]) -> Option<i64> {
    let hour = number([clock[0], clock[1]])?;
    let minute = number([clock[2], clock[3]])?;
    let second = number([clock[4], clock[5]])?;
    (hour < 24 && minute < 60 && second < 61).then_some(hour * 3600 + minute * 60 + second)
}

/// `.292` or nothing; up to nine digits, as other tools rewrite them.
fn fraction_micros(text: &[u8]) -> Option<(i64, usize)> {
    if text.first() != Some(&b'.') {
        return Some((0, 0));
    }
    let digits = text[1..].iter().take(9).take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let kept = &text[1..=digits.min(6)];
    let value = kept.iter().fold(0, |value, b| value * 10 + i64::from(b - b'0'));
    let scale = [1, 100_000, 10_000, 1_000, 100, 10, 1][kept.len()];
    Some((value * scale, 1 + digits))
}

/// `Z`, `+00:00` or `+0000`.
fn zone_seconds(text: &[u8]) -> Option<(i64, usize)> {
    let sign = match text.first()? {
        b'Z' => return Some((0, 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let colon = usize::from(text.get(3) == Some(&b':'));
    let hours = number([*text.get(1)?, *text.get(2)?])?;
    let minutes = number([*text.get(3 + colon)?, *text.get(4 + colon)?])?;
    (hours < 24 && minutes < 60).then_some((sign * (hours * 3600 + minutes * 60), 5 + colon))
}

fn weekday(name: &[u8]) -> Option<Weekday> {
    const NAMES: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    let index = NAMES.iter().position(|known| *known == name)?;
    Weekday::from_monday_zero_offset(i8::try_from(index).ok()?).ok()
}

fn month(name: &[u8]) -> Option<i8> {
    const NAMES: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let index = NAMES.iter().position(|known| *known == name)?;
    i8::try_from(index + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(times: &mut Times, text: &str, expected: &str) {
        let got = times.prefix(text.as_bytes()).map(|(time, length)| (time.at.to_string(), length));
        let length = text.find(" [").unwrap_or(text.len());
        assert_eq!(got, Some((expected.to_owned(), length)), "{text}");
    }

    #[test]
    fn complete_times() {
        let times = &mut Times::new(TimeZone::UTC);
        check(times, "2026-11-23T02:45:14.292+0000 [x]", "2026-11-23T02:45:14.292Z");
        check(times, "2026-11-23T02:45:14.292+00:00", "2026-11-23T02:45:14.292Z");
        check(times, "2026-11-23T02:45:14.292Z", "2026-11-23T02:45:14.292Z");
        check(times, "2014-04-09T23:16:24.043-0400 [conn3]", "2014-04-10T03:16:24.043Z");
        check(times, "2022-07-28T18:00:00.903+05:30", "2022-07-28T12:30:00.903Z");
        check(times, "2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z");
        for bad in [
            "2026-13-01T00:00:00.000Z",
            "2026-02-30T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01",
            "bad",
            "",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0",
            "é26-01-01T00:00:00Z",
        ] {
            assert_eq!(times.prefix(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_remembered_minute_changes_nothing() {
        let mut times = Times::new(TimeZone::UTC);
        for text in [
            "2026-11-23T02:45:14.292+00:00",
            "2026-11-23T02:45:59.001+00:00",
            "2026-11-23T02:45:60.001+00:00",
            "2026-11-23T02:45:01.001+00:00",
            "2026-11-23T02:46:00.001+00:00",
            "2026-11-23T02:45:14.292+01:00",
            "1969-12-31T23:59:14.292+00:00",
            "1969-12-31T23:59:15.292+00:00",
            "2026-11-23T02:45:99.292+00:00",
            "2026-11-23T02:45:1x.292+00:00",
        ] {
            let mut fresh = Times::new(TimeZone::UTC);
            assert_eq!(times.iso(text.as_bytes()), fresh.iso(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_time_without_year_takes_it_from_the_hint_and_the_weekday() {
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        let times = &mut Times::new(zone);
        times.begin_file(Some("2015-01-02T00:00:00Z".parse().expect("valid")), false);
        check(times, "Wed Dec 31 23:59:59.999 [conn1]", "2015-01-01T04:59:59.999Z");
        check(times, "Thu Jan  1 00:00:00.001 [conn1]", "2015-01-01T05:00:00.001Z");
        // A forged line moves the year by one at most, and the next real line moves it back.
        check(times, "Fri Jan  1 00:00:00.000 [conn1]", "2016-01-01T05:00:00Z");
        check(times, "Thu Jan  1 00:00:02.001 [conn1]", "2015-01-01T05:00:02.001Z");
        // More than half a year without a line.
        check(times, "Sun Nov  1 00:00:00 [conn1]", "2015-11-01T05:00:00Z");
        assert!(!times.is_doubtful);
        times.begin_file(None, false);
        check(times, "Thu Oct  9 15:20:19.328 [conn1]", "2014-10-09T20:20:19.328Z");
        assert!(times.is_doubtful);
    }

    #[test]
    fn rotated_names_tell_when() {
        let expected = "2026-11-23T02:48:50Z".parse().ok();
        assert_eq!(rotation_suffix("/var/log/mongod.log.2026-11-23T02-48-50"), expected);
        assert_eq!(rotation_suffix("mongod.log"), None);
        assert_eq!(rotation_suffix("mongod.log.2026-11-23T02-48"), None);
    }
}
