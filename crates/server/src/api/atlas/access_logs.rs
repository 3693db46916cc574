//! What the two access-history operations share: parameters, rows, the answer.

use std::net::{IpAddr, Ipv6Addr};

use doorbook_event::{
    Action, Class, Classes, Outcome, Principal, ProjectId, Record, Scope, Target, Timestamp,
};
use doorbook_store::filter::{Kind, OutcomeKind, PeerIs, Targets, Unwanted};
use doorbook_store::{Filter, Placed};
use jiff::civil;
use serde::{Serialize, Serializer};

use super::error::ApiError;
use super::query::Query;
use super::{Answer, Call, Dialect};
use crate::admin::with_causes;
use crate::coverage;

/// 2008-01-01T00:00:00Z, the API's earliest time.
pub const START_MIN_MS: i64 = 1_199_145_600_000;

/// Atlas's retention and its default window.
const WINDOW_SECONDS: i64 = 7 * 24 * 3600;

/// The default and the most.
const ROWS_MAX: usize = 20_000;

/// The query parameters, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Params {
    /// Successes only, or failures only.
    pub auth_result: Option<bool>,
    /// Earliest event time, inclusive, in milliseconds.
    pub start_ms: i64,
    /// Latest event time, inclusive, in milliseconds.
    pub end_ms: i64,
    /// Exactly this address.
    pub ip_address: Option<IpAddr>,
    /// How many rows, the newest.
    pub n_logs: usize,
}

impl Params {
    /// Reads them.
    pub fn parse(query: &Query, now: Timestamp) -> Result<Params, ApiError> {
        let auth_result = query.boolean("authResult")?;
        let [start, end] = ["start", "end"].map(|name| query.get(name));
        let (start_ms, end_ms) = match (start, end) {
            (None, None) => (now.plus_seconds(-WINDOW_SECONDS).millis(), now.millis()),
            (Some(start), Some(end)) => (instant_ms(start)?, instant_ms(end)?),
            (Some(start), None) => {
                instant_ms(start)?;
                return Err(ApiError::missing_query_parameter("end"));
            }
            (None, Some(end)) => {
                instant_ms(end)?;
                return Err(ApiError::missing_query_parameter("start"));
            }
        };
        if start_ms > end_ms {
            return Err(ApiError::start_date_after_end_date());
        }
        let ip_address = match query.get("ipAddress") {
            None => None,
            Some(text) => {
                Some(address(text).ok_or_else(|| ApiError::invalid_query_parameter("ipAddress"))?)
            }
        };
        let n_logs = query.number("nLogs", 0..=ROWS_MAX)?.unwrap_or(ROWS_MAX);
        Ok(Params {
            auth_result,
            // The seed's own example is 1970.
            start_ms: start_ms.max(START_MIN_MS),
            end_ms: end_ms.max(START_MIN_MS),
            ip_address,
            n_logs,
        })
    }

    fn filter(&self, project: ProjectId, targets: Targets) -> Filter {
        Filter {
            kind: Kind::Access,
            targets,
            from: Timestamp::from_millis(self.start_ms),
            // Both ends are inclusive in milliseconds: the OpenTelemetry receiver pages by
            // `end = last entry - 1 ms`.
            to: Timestamp::from_millis(self.end_ms).plus_micros(999),
            actions: vec![Action::Authenticate],
            outcomes: self.auth_result.map(OutcomeKind::of_success).into_iter().collect(),
            peers: self.ip_address.map(PeerIs::exactly).into_iter().collect(),
            // The API has no way to say "this line is contradicted by its own log", and such a
            // line must never look like a login.
            unwanted: Unwanted::classes(Classes::NONE.with(Class::Suspect)),
            size_bytes_max: ANSWER_SIZE_BYTES_MAX,
            ..Filter::all(Scope::Project(project), self.n_logs)
        }
    }
}

/// Memory of an answer's rows: 20,000 with lines of 2.5 KB. Eight answers may be made at once.
const ANSWER_SIZE_BYTES_MAX: usize = 64 << 20;

/// Milliseconds since the epoch, or a date. The API means the former; until May 2023 its
/// description said ISO 8601, and the clients generated from it send that.
fn instant_ms(text: &str) -> Result<i64, ApiError> {
    let invalid = || ApiError::invalid_date_format(text);
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| invalid());
    }
    // An offset's `+` that was not escaped has become a space.
    let text = match text.rsplit_once(' ') {
        Some((before, offset)) if before.contains(['T', 't']) => format!("{before}+{offset}"),
        _ => text.to_owned(),
    };
    if text.contains('[') {
        return Err(invalid()); // a named zone: RFC 9557, not RFC 3339
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.millis());
    }
    // ISO 8601 without a zone, or a date alone: UTC.
    let civil: civil::DateTime = text.parse().map_err(|_| invalid())?;
    let instant: Timestamp = format!("{civil}Z").parse().map_err(|_| invalid())?;
    Ok(instant.millis())
}

/// IPv4 in its usual form, IPv6 in any. The API's pattern wants IPv6 in eight groups; other
/// spellings mean one address all the same, and people paste what they see.
fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Answers from the targets.
pub fn answer(
    call: &mut Call<'_>,
    project: ProjectId,
    params: &Params,
    targets: Targets,
) -> Result<Answer, ApiError> {
    let filter = params.filter(project, targets);
    let page = call.app.store().select(&filter).map_err(|error| {
        tracing::error!(error = with_causes(&error), "the access history could not be read");
        ApiError::unexpected()
    })?;
    if page.is_cut {
        // There are no pages, and fewer entries than were asked for would mean that these are all.
        return Err(ApiError::answer_too_large(page.rows.len()));
    }
    call.rows = page.rows.len() as u64;
    call.coverage = Some(coverage::of(call.app.store(), call.registry, &filter, call.now));
    let rows = Rows { rows: &page.rows, project: project.to_string(), dialect: call.dialect };
    Ok(call.object(&AccessLogs { access_logs: rows }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AccessLogs<'a> {
    access_logs: Rows<'a>,
}

struct Rows<'a> {
    rows: &'a [Placed],
    project: String,
    dialect: Dialect,
}

/// Written row by row: 20,000 of them are never held twice.
impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            self.rows.iter().filter_map(|row| Entry::of(&row.record, &self.project, self.dialect)),
        )
    }
}

/// One entry, keys in alphabetical order as recorded. All keys are always there; what is not
/// known is null, as Atlas's own `failureReason` is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    auth_result: Option<bool>,
    auth_source: Option<&'a str>,
    /// v1.0 only; v2 dropped it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    failure_reason: Option<&'a str>,
    group_id: &'a str,
    hostname: &'a str,
    ip_address: Option<Written>,
    log_line: Option<std::borrow::Cow<'a, str>>,
    timestamp: JavaDate,
    username: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(record: &'a Record, project: &'a str, dialect: Dialect) -> Option<Entry<'a>> {
        let Record::Access(access) = record else { return None };
        let Target::Host { cluster, host } = &access.target else { return None };
        let (username, auth_source) = match &access.principal {
            Principal::User { name, database } => {
                (Some(name.as_str()), Some(database.as_str()).filter(|name| !name.is_empty()))
            }
            _ => (None, None),
        };
        Some(Entry {
            auth_result: match access.outcome {
                Outcome::Success => Some(true),
                Outcome::Failure { .. } => Some(false),
                Outcome::Unknown => None,
            },
            auth_source,
            cluster_name: (dialect == Dialect::V1).then_some(cluster),
            failure_reason: access.outcome.reason().map(|reason| reason.as_str()),
            group_id: project,
            hostname: without_port(host),
            ip_address: access.peer.address().map(Written),
            log_line: (!access.raw.is_empty()).then(|| String::from_utf8_lossy(&access.raw)),
            timestamp: JavaDate(access.event_time),
            username,
        })
    }
}

/// The node's own name: the real API shows no port, whatever the documentation of v1.0 says
/// (contract §1.3).
fn without_port(host: &str) -> &str {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name)
}

/// The form of the API's pattern: IPv6 in eight groups, nothing left out, as Java writes it.
struct Written(IpAddr);

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            IpAddr::V4(v4) => serializer.collect_str(&v4),
            IpAddr::V6(v6) => serializer.serialize_str(&eight_groups(v6)),
        }
    }
}

fn eight_groups(address: Ipv6Addr) -> String {
    address.segments().map(|segment| format!("{segment:x}")).join(":")
}

/// `Wed Apr 26 02:38:56 GMT 2023`: Java's `Date.toString`, which is what Atlas sends though its
/// description says ISO 8601 (OpenTelemetry's access_logs.go).
struct JavaDate(Timestamp);

impl JavaDate {
    /// Put together by hand: of an answer of 20,000 rows a general formatter was a large part.
    fn text(&self) -> [u8; 28] {
        let at = jiff::tz::Offset::UTC.to_datetime(self.0.to_jiff());
        let mut text = *b"Www Mmm dd hh:mm:ss GMT yyyy";
        let weekdays = b"MonTueWedThuFriSatSun";
        let months = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let weekday = 3 * at.weekday().to_monday_zero_offset() as usize;
        let month = 3 * (at.month() as usize - 1);
        text[0..3].copy_from_slice(&weekdays[weekday..weekday + 3]);
        text[4..7].copy_from_slice(&months[month..month + 3]);
        // Nothing that answers show is before 2008.
        let year = at.year().unsigned_abs();
        let pairs = [
            (8, at.day().unsigned_abs()),
            (11, at.hour().unsigned_abs()),
            (14, at.minute().unsigned_abs()),
            (17, at.second().unsigned_abs()),
            (24, (year / 100 % 100) as u8),
            (26, (year % 100) as u8),
        ];
        for (place, number) in pairs {
            text[place] = b'0' + number / 10;
            text[place + 1] = b'0' + number % 10;
        }
        text
    }
}

impl Serialize for JavaDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.text()).expect("ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_123);

    proptest! {
        #[test]
        fn no_query_makes_the_parser_panic(text in ".{0,80}", date in "[-+TZt: .0-9\\[\\]]{0,30}") {
            let _ = parse(&text);
            let _ = parse(&format!("start={date}&end={date}&ipAddress={text}"));
        }

        /// Goal: dates are put together rightly. Method: the general formatter says the same.
        #[test]
        fn dates_are_what_a_formatter_writes(millis in START_MIN_MS..253_402_300_799_999) {
            let at = Timestamp::from_millis(millis);
            let expected = at.to_jiff().strftime("%a %b %d %H:%M:%S GMT %Y").to_string();
            let text = JavaDate(at).text();
            prop_assert_eq!(std::str::from_utf8(&text), Ok(&*expected));
        }

        /// What is accepted is a window within what a store can be asked for.
        #[test]
        fn a_window_has_a_beginning_and_an_end(start: i64, end: i64) {
            if let Ok(params) = parse(&format!("start={start}&end={end}")) {
                prop_assert!(START_MIN_MS <= params.start_ms && params.start_ms <= params.end_ms);
                let filter = params.filter(ProjectId::new([1; 12]), Targets::All);
                prop_assert!(filter.from <= filter.to);
            }
        }
    }

    fn parse(query: &str) -> Result<Params, ApiError> {
        Params::parse(&Query::parse(query), NOW)
    }

    #[test]
    fn defaults_are_the_last_seven_days() {
        let expected = Params {
            auth_result: None,
            start_ms: 1_700_000_000_123 - 7 * 86_400_000,
            end_ms: 1_700_000_000_123,
            ip_address: None,
            n_logs: 20_000,
        };
        assert_eq!(parse(""), Ok(expected));
        assert_eq!(parse("pageNum=1&itemsPerPage=25&includeCount=false&x=y"), Ok(expected));
        let filter = expected.filter(ProjectId::new([1; 12]), Targets::All);
        assert_eq!(filter.from.micros(), expected.start_ms * 1000);
        assert_eq!(filter.to.micros(), expected.end_ms * 1000 + 999);
        assert!(filter.unwanted.classes.contains(Class::Suspect));
        assert_eq!(filter.actions, [Action::Authenticate]);
    }

    #[test]
    fn dates_are_milliseconds_or_iso_8601() {
        let check = |text: &str, expected: i64| {
            let params = parse(&format!("start={text}&end=99999999999999"));
            assert_eq!(params.map(|params| params.start_ms), Ok(expected), "{text}");
        };
        check("1682470000000", 1_682_470_000_000);
        check("2023-04-26T00:46:40Z", 1_682_470_000_000);
        check("2023-04-26T00%3A46%3A40.000999Z", 1_682_470_000_000);
        check("2023-04-26T02:46:40%2B02:00", 1_682_470_000_000);
        check("2023-04-26T02:46:40+02:00", 1_682_470_000_000);
        check("2023-04-25T22:46:40-02:00", 1_682_470_000_000);
        check("2023-04-26T00:46:40", 1_682_470_000_000);
        check("2023-04-26", 1_682_467_200_000);
        // The seed's example, and whatever else is before 2008.
        check("1970-01-01T00%3A00%3A00.00Z", START_MIN_MS);
        check("0", START_MIN_MS);
        check("-5", START_MIN_MS);
        check(&(START_MIN_MS - 1).to_string(), START_MIN_MS);
    }

    #[test]
    fn the_end_of_the_year_9999_is_no_end() {
        for end in ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999", "9999-12-31"] {
            let params = parse(&format!("start=2023-01-01&end={end}"));
            let end_ms = params.map(|params| params.end_ms);
            assert_eq!(end_ms, Ok(Timestamp::MAX.millis()), "{end}");
        }
        assert!(parse("start=2023-01-01&end=9999-12-32").is_err());
    }

    #[test]
    fn bad_values_are_named() {
        let check = |query: &str, expected: ApiError| {
            assert_eq!(parse(query), Err(expected), "{query}");
        };
        for bad in [
            "end_example",
            "",
            "-",
            "1.5",
            "99999999999999999999",
            "2023-04-31T00:00:00Z",
            "2023-04-26T00:00:00Z[Europe/Berlin]",
            "now",
            "%FF",
        ] {
            let value = Query::parse(&format!("v={bad}")).get("v").expect("there").to_owned();
            check(&format!("start={bad}&end=1"), ApiError::invalid_date_format(&value));
            check(&format!("end={bad}"), ApiError::invalid_date_format(&value));
        }
        check("start=1", ApiError::missing_query_parameter("end"));
        check("end=1", ApiError::missing_query_parameter("start"));
        check("start=2&end=1", ApiError::start_date_after_end_date());
        for bad in ["authResult=", "authResult=1", "authResult=success"] {
            check(bad, ApiError::invalid_query_parameter("authResult"));
        }
        for bad in ["-1", "20001", "1e3", "", "%2B1", "99999999999999999999"] {
            check(&format!("nLogs={bad}"), ApiError::invalid_query_parameter("nLogs"));
        }
        for bad in [
            "",
            "localhost",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.4:5",
            "01.2.3.4",
            "1.2.3.4/32",
            "::g",
            "[::1]",
            "fe80::1%25eth0",
        ] {
            check(&format!("ipAddress={bad}"), ApiError::invalid_query_parameter("ipAddress"));
        }
    }

    #[test]
    fn an_address_is_one_however_it_is_written() {
        let address = |text: &str| parse(&format!("ipAddress={text}")).map(|p| p.ip_address);
        let expected = Ok(Some("2001:db8::1".parse().expect("valid")));
        assert_eq!(address("2001:db8:0:0:0:0:0:1"), expected);
        assert_eq!(address("2001:DB8::1"), expected);
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        let written = |address: &str| {
            serde_json::to_value(Written(address.parse().expect("valid"))).expect("a text")
        };
        assert_eq!(written("2001:db8::1"), "2001:db8:0:0:0:0:0:1");
        assert_eq!(written("192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn booleans_in_the_spellings_of_real_clients() {
        for (text, expected) in [("true", true), ("True", true), ("FALSE", false)] {
            let params = parse(&format!("authResult={text}"));
            assert_eq!(params.map(|params| params.auth_result), Ok(Some(expected)));
        }
    }

    #[test]
    fn timestamps_are_java_s() {
        let date = |millis| {
            let text = JavaDate(Timestamp::from_millis(millis)).text();
            String::from_utf8(text.into()).expect("ASCII")
        };
        assert_eq!(date(1_682_476_736_454), "Wed Apr 26 02:38:56 GMT 2023");
        assert_eq!(date(1_623_167_365_999), "Tue Jun 08 15:49:25 GMT 2021");
    }

    #[test]
    fn hosts_are_shown_without_port() {
        assert_eq!(without_port("db-1.example:27017"), "db-1.example");
        assert_eq!(without_port("[::1]:27017"), "::1");
    }
}
