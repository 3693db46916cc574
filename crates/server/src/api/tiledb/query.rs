//! Query parameters. Those that an operation does not know are passed over, as generated clients
//! send what their version of the description has.

use std::borrow::Cow;

use doorbook_event::Timestamp;
use percent_encoding::percent_decode_str;

use super::error::ApiError;

/// The parameters of a request, decoded as forms are: `+` is a space here, and only here.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

/// A page that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1 on.
    pub number: usize,
    /// Rows of a page.
    pub size: usize,
}

/// Rows of a page if nothing else is asked for.
pub const PER_PAGE_DEFAULT: usize = 100;

/// The most rows of a page.
pub const PER_PAGE_MAX: usize = 10_000;

/// Rows before a page; each of them takes some bytes to be passed over.
const SKIPPED_MAX: usize = 1_000_000;

/// TileDB's default window.
const WINDOW_SECONDS: i64 = 7 * 24 * 3600;

impl Query {
    /// From the part of the request target after `?`.
    pub fn parse(text: &str) -> Result<Query, ApiError> {
        let decode = |text: &str| {
            let text = text.replace('+', " ");
            percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
        };
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            decode(name).zip(decode(value))
        });
        let pairs: Option<_> = pairs.collect();
        pairs.map(Query).ok_or_else(|| ApiError::bad_request("The query is not UTF-8."))
    }

    /// Every value of a parameter.
    pub fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that may be given once; an empty one is none.
    pub fn one<'q>(&'q self, name: &'q str) -> Result<Option<&'q str>, ApiError> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(ApiError::bad_request(format!("{name} is given more than once"))),
            (value, None) => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// Python writes `True`, JavaScript `true`, R `TRUE`.
    pub fn truth(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(true)),
            "false" | "0" => Ok(Some(false)),
            _ => Err(ApiError::bad_request(format!("{name} is true or false"))),
        }
    }

    /// `page` and `per_page`.
    pub fn page(&self) -> Result<Page, ApiError> {
        let number = self.number("page", usize::MAX)?.unwrap_or(1);
        let size = self.number("per_page", PER_PAGE_MAX)?.unwrap_or(PER_PAGE_DEFAULT);
        let page = Page { number, size };
        match page.skipped() {
            Some(_) => Ok(page),
            None => Err(ApiError::bad_request(format!(
                "page {number} of {size} is too far: at most {SKIPPED_MAX} rows are passed over; \
                 ask for an earlier time instead, with end"
            ))),
        }
    }

    /// `start` and `end`, whole seconds, both inclusive.
    pub fn window(&self, now: Timestamp) -> Result<(Timestamp, Timestamp), ApiError> {
        let from = match self.seconds("start")? {
            Some(from) if from == Timestamp::MAX => {
                return Err(ApiError::bad_request(
                    "start is after the year 9999; it is in seconds since 1970, not milliseconds",
                ));
            }
            Some(from) => from,
            None => now.plus_seconds(-WINDOW_SECONDS),
        };
        let to = self.seconds("end")?.map_or(now, |end| end.plus_micros(999_999));
        match from <= to {
            true => Ok((from, to)),
            false => Err(ApiError::bad_request(
                "start is after end; without end that is now, and without start seven days ago",
            )),
        }
    }

    fn seconds(&self, name: &str) -> Result<Option<Timestamp>, ApiError> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let is_plain = value.bytes().all(|b| b.is_ascii_digit());
        let seconds = value.parse::<u64>().ok().filter(|_| is_plain);
        let seconds = seconds.ok_or_else(|| {
            ApiError::bad_request(format!("{name} is a whole number of seconds since 1970"))
        })?;
        // Beyond the last instant there is comes nothing.
        let micros = i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000_000));
        Ok(Some(micros.map_or(Timestamp::MAX, Timestamp::from_micros).min(Timestamp::MAX)))
    }

    fn number(&self, name: &str, max: usize) -> Result<Option<usize>, ApiError> {
        let Some(value) = self.one(name)? else { return Ok(None) };
        let is_plain = value.bytes().all(|b| b.is_ascii_digit());
        let number = value.parse().ok().filter(|number| is_plain && (1..=max).contains(number));
        match (number, max) {
            (Some(number), _) => Ok(Some(number)),
            (None, usize::MAX) => {
                Err(ApiError::bad_request(format!("{name} is a number from 1 on")))
            }
            (None, _) => Err(ApiError::bad_request(format!("{name} is a number from 1 to {max}"))),
        }
    }
}

impl Page {
    /// Rows before it; `None` if there are too many.
    pub fn skipped(self) -> Option<usize> {
        (self.number - 1).checked_mul(self.size).filter(|skipped| *skipped <= SKIPPED_MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_123);

    fn query(text: &str) -> Query {
        Query::parse(text).expect("readable")
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(text in ".{0,60}", value in "[-+0-9a-zA-Z%.]{0,24}") {
            let _ = Query::parse(&text);
            let text = format!("start={value}&end={value}&page={value}&per_page={value}");
            if let Ok(query) = Query::parse(&text) {
                if let Ok((from, to)) = query.window(NOW) {
                    prop_assert!(from <= to);
                }
                if let Ok(page) = query.page() {
                    prop_assert!(page.skipped().is_some());
                }
                let _ = query.truth("start");
            }
        }
    }

    #[test]
    fn a_window_is_in_seconds_and_both_ends_are_in_it() {
        let check = |text: &str, expected: Option<(i64, i64)>| {
            let got = query(text).window(NOW).ok();
            let expected = expected
                .map(|(from, to)| (Timestamp::from_micros(from), Timestamp::from_micros(to)));
            assert_eq!(got, expected, "{text}");
        };
        let now = NOW.micros();
        let week = now - 7 * 86_400 * 1_000_000;
        check("", Some((week, now)));
        check("start=&end=", Some((week, now)));
        check("start=1&end=2", Some((1_000_000, 2_999_999)));
        check("start=1&end=1", Some((1_000_000, 1_999_999)));
        check("start=1700000000", Some((1_700_000_000_000_000, now)));
        check("end=18446744073709551615", Some((week, Timestamp::MAX.micros())));
        for bad in [
            "start=2&end=1",
            "start=-1",
            "end=-1",
            "start=1.5",
            "start=now",
            "start=1700000001",
            "start=1700000000000",
            "start=18446744073709551616",
            "start=1&start=2",
            "end=1",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn pages_are_counted_from_one_and_bounded() {
        let page = |text: &str| query(text).page().ok().map(|page| (page.number, page.size));
        assert_eq!(page(""), Some((1, PER_PAGE_DEFAULT)));
        assert_eq!(page("page=2&per_page=50"), Some((2, 50)));
        assert_eq!(page("page=101&per_page=10000"), Some((101, 10_000)));
        for bad in [
            "page=0",
            "page=-1",
            "page=x",
            "per_page=0",
            "per_page=1000000",
            "page=102&per_page=10000",
            "page=18446744073709551615",
        ] {
            assert_eq!(page(bad), None, "{bad}");
        }
    }

    #[test]
    fn truth_is_written_in_three_languages() {
        for (text, expected) in
            [("True", true), ("true", true), ("TRUE", true), ("False", false), ("false", false)]
        {
            assert_eq!(query(&format!("a={text}")).truth("a"), Ok(Some(expected)));
        }
        assert_eq!(query("").truth("a"), Ok(None));
        assert!(query("a=yes").truth("a").is_err());
        assert!(Query::parse("a=%ff").is_err());
    }
}
