//! Goal: hidden logins are found exactly, and nobody is accused who hid nothing. Method: a server is
//! simulated whose counts and lines are up to [`SLACK_MICROS`] apart; readings are taken at random
//! instants, and the findings compared with what the simulation hid.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// One attempt at a simulated server.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// When it is counted, in milliseconds.
    at_ms: i64,
    /// How much later, or earlier, its line says that it was.
    line_later_ms: i64,
    mechanism: u8,
    is_success: bool,
    is_hidden: bool,
}

/// A server's life: attempts, and when its process began anew.
#[derive(Clone, Debug)]
struct Life {
    attempts: Vec<Attempt>,
    restarts_ms: Vec<i64>,
    readings_ms: Vec<i64>,
}

const END_MS: i64 = 600_000;
const SLACK_MS: i64 = SLACK_MICROS / 1000;
const SHA_256: &str = "SCRAM-SHA-256";

fn instant(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + ms)
}

fn mechanism(number: u8) -> Text {
    [SHA_256, "SCRAM-SHA-1"][usize::from(number)].into()
}

impl Life {
    fn started_ms(&self, at_ms: i64) -> i64 {
        let before = self.restarts_ms.iter().copied().filter(|start| *start <= at_ms);
        before.max().unwrap_or(-1_000_000)
    }

    fn reading(&self, at_ms: i64) -> Reading {
        let start = self.started_ms(at_ms);
        let mut counts = BTreeMap::from([0, 1].map(|n| (mechanism(n), Count::default())));
        for attempt in self.attempts.iter().filter(|a| start <= a.at_ms && a.at_ms <= at_ms) {
            let count = counts.entry(mechanism(attempt.mechanism)).or_default();
            count.received += 1;
            count.successful += u64::from(attempt.is_success);
        }
        // In a container each process has the same id.
        let (pid, started, at) = (1, instant(start), instant(at_ms));
        Reading { pid, started, at, read_at: at, counts, counts_restricted: false }
    }

    fn tally(&self, after: Timestamp, through: Timestamp) -> Result<Tally, Infallible> {
        let mut tally = Tally::default();
        let is_within = |a: &&Attempt| {
            let line = instant(a.at_ms + a.line_later_ms);
            !a.is_hidden && after < line && line <= through
        };
        for attempt in self.attempts.iter().filter(is_within) {
            match attempt.is_success {
                true => *tally.successes.entry(mechanism(attempt.mechanism)).or_default() += 1,
                false => tally.failures += 1,
            }
        }
        Ok(tally)
    }

    fn findings(&self) -> Vec<Finding> {
        let mut comparison = Comparison::default();
        let judge = |at: &i64| {
            let next = comparison.next(self.reading(*at), |from, to| self.tally(from, to));
            next.unwrap_or_else(|never| match never {})
        };
        self.readings_ms.iter().flat_map(judge).collect()
    }

    /// How many were hidden that a finding can be about.
    fn hidden_within(&self, finding: &Finding) -> u64 {
        let is_meant = |a: &&Attempt| {
            let at = instant(a.at_ms);
            let is_of = match &finding.what {
                Difference::MissingSuccesses(of) => a.is_success && *of == mechanism(a.mechanism),
                Difference::MissingAttempts => !a.is_success,
                Difference::SurplusSuccesses(_) => false,
            };
            a.is_hidden && is_of && finding.from < at && at <= finding.to
        };
        self.attempts.iter().filter(is_meant).count() as u64
    }

    fn hidden(&self, is_success: bool) -> u64 {
        let hidden = |a: &&Attempt| a.is_hidden && a.is_success == is_success;
        self.attempts.iter().filter(hidden).count() as u64
    }
}

fn missing(findings: &[Finding], of: fn(&Difference) -> bool) -> u64 {
    findings.iter().filter(|finding| of(&finding.what)).map(|finding| finding.count).sum()
}

fn is_success(what: &Difference) -> bool {
    matches!(what, Difference::MissingSuccesses(_))
}

fn is_attempt(what: &Difference) -> bool {
    matches!(what, Difference::MissingAttempts)
}

fn is_surplus(what: &Difference) -> bool {
    matches!(what, Difference::SurplusSuccesses(_))
}

prop_compose! {
    fn attempt(hidden: f64)(
        at_ms in 5_000..END_MS,
        line_later_ms in -SLACK_MS..SLACK_MS,
        mechanism in 0..2_u8,
        is_success in any::<bool>(),
        is_hidden in prop::bool::weighted(hidden),
    ) -> Attempt {
        Attempt { at_ms, line_later_ms, mechanism, is_success, is_hidden }
    }
}

/// Many attempts make every reading doubtful, few none. No attempt's line and count are on two sides
/// of a restart: nobody logs in while a server starts.
fn life(hidden: f64, restarts: usize) -> impl Strategy<Value = Life> {
    let attempts = prop_oneof![0..20_usize, 0..400_usize, 400..3000_usize];
    let attempts = attempts.prop_flat_map(move |n| prop::collection::vec(attempt(hidden), n));
    let restarts = prop::collection::vec(10_000..END_MS, 0..=restarts);
    let readings = prop::collection::vec(1..END_MS, 0..60);
    (attempts, restarts, readings).prop_map(|(mut attempts, restarts_ms, mut readings_ms)| {
        let is_apart = |at: i64| restarts_ms.iter().all(|start| (at - start).abs() > 2 * SLACK_MS);
        attempts.retain(|attempt| is_apart(attempt.at_ms));
        readings_ms.retain(|at| is_apart(*at));
        // A base before everything, and two readings after it.
        readings_ms.extend([0, END_MS + 2_000, END_MS + 4_000]);
        readings_ms.sort_unstable();
        Life { attempts, restarts_ms, readings_ms }
    })
}

proptest! {
    #[test]
    fn what_is_hidden_is_found_exactly(life in life(0.05, 0)) {
        let findings = life.findings();
        prop_assert_eq!(missing(&findings, is_success), life.hidden(true));
        prop_assert_eq!(missing(&findings, is_attempt), life.hidden(false));
        prop_assert_eq!(missing(&findings, is_surplus), 0);
        for finding in &findings {
            prop_assert!(finding.count <= life.hidden_within(finding), "{finding:?}");
        }
    }

    #[test]
    fn who_hides_nothing_is_never_accused(life in life(0.0, 4)) {
        prop_assert_eq!(life.findings(), []);
    }

    #[test]
    fn a_restart_never_makes_it_more_than_was_hidden(life in life(0.2, 4)) {
        let findings = life.findings();
        prop_assert!(missing(&findings, is_success) <= life.hidden(true));
        prop_assert!(missing(&findings, is_attempt) <= life.hidden(false));
        prop_assert_eq!(missing(&findings, is_surplus), 0);
    }
}

/// A life with hidden logins at some instants, and readings at others.
fn quiet_life(hidden_ms: &[i64], readings_ms: &[i64]) -> Life {
    let hidden = |at_ms: &i64| Attempt {
        at_ms: *at_ms,
        line_later_ms: 0,
        mechanism: 0,
        is_success: true,
        is_hidden: true,
    };
    Life {
        attempts: hidden_ms.iter().map(hidden).collect(),
        restarts_ms: Vec::new(),
        readings_ms: readings_ms.to_vec(),
    }
}

fn found(what: Difference, from_ms: i64, to_ms: i64, count: u64) -> Finding {
    Finding { what, from: instant(from_ms), to: instant(to_ms), count }
}

#[test]
fn a_finding_says_between_which_readings() {
    let life = quiet_life(&[25_000, 26_000, 41_000], &[0, 20_000, 40_000, 60_000, 80_000]);
    let what = || Difference::MissingSuccesses(SHA_256.into());
    let expected = [found(what(), 20_000, 40_000, 2), found(what(), 40_000, 60_000, 1)];
    assert_eq!(life.findings(), expected);
}

#[test]
fn logins_hidden_before_and_after_a_restart_are_found() {
    let readings = [0, 20_000, 40_000, 60_000, 80_000];
    let mut life = quiet_life(&[30_000, 51_000], &readings);
    life.restarts_ms.push(50_000);
    let what = || Difference::MissingSuccesses(SHA_256.into());
    // The first is told by the last reading of the old process, with no second one.
    let expected = [found(what(), 20_000, 40_000, 1), found(what(), 50_000, 60_000, 1)];
    assert_eq!(life.findings(), expected);
}

#[test]
fn a_line_that_nothing_was_counted_for_is_a_surplus() {
    let life = quiet_life(&[], &[0, 20_000, 40_000, 60_000]);
    let mut comparison = Comparison::default();
    let forged = |from: Timestamp, to: Timestamp| -> Result<Tally, Infallible> {
        let is_within = from < instant(10_000) && instant(10_000) <= to;
        let successes = is_within.then(|| (Text::from("PLAIN"), 1)).into_iter().collect();
        Ok(Tally { successes, ..Tally::default() })
    };
    let mut findings = Vec::new();
    for at in &life.readings_ms {
        findings.extend(comparison.next(life.reading(*at), forged).unwrap_or_else(|e| match e {}));
    }
    assert_eq!(findings, [found(Difference::SurplusSuccesses("PLAIN".into()), 0, 20_000, 1)]);
}

/// A machine that stalls between the count and the line is no liar: one reading alone accuses nobody.
#[test]
fn a_line_that_is_late_once_accuses_nobody() {
    let mut life = quiet_life(&[19_000], &[0, 20_000, 40_000, 60_000]);
    life.attempts[0].is_hidden = false;
    life.attempts[0].line_later_ms = 3_000;
    assert_eq!(life.findings(), []);
}

/// The counted logins of the window in which a clock was set are not compared with lines of which
/// nobody knows by which clock they were written.
#[test]
fn a_clock_that_is_set_accuses_nobody() {
    let life = quiet_life(&[30_000], &[]);
    let mut comparison = Comparison::default();
    for (at, set_ms) in [(0, 0), (40_000, 3_600_000), (60_000, 3_600_000), (80_000, 3_600_000)] {
        let mut reading = life.reading(at);
        reading.at = reading.at.plus_micros(set_ms * 1000);
        let findings = comparison.next(reading, |from, to| life.tally(from, to));
        assert_eq!(findings, Ok(Vec::new()));
    }
}

/// Goal: a storage error does not lose a window. Method: the second reading fails once.
#[test]
fn after_an_error_the_reading_is_given_again() {
    let life = quiet_life(&[10_000], &[]);
    let mut comparison = Comparison::default();
    let mut findings = Vec::new();
    for at in [0, 20_000, 40_000] {
        let mut calls = 0;
        let fails = |from: Timestamp, _: Timestamp| match from == instant(at - 20_000) {
            true => Err("disk"),
            false => Ok(Tally::default()),
        };
        let failed = comparison.next(life.reading(at), fails);
        assert_eq!(failed.is_err(), at > 0);
        if failed.is_err() {
            let count = |_: Timestamp, _: Timestamp| {
                calls += 1;
                Ok::<_, &str>(Tally::default())
            };
            findings.extend(comparison.next(life.reading(at), count).expect("nothing fails"));
        }
    }
    assert_eq!(findings, [found(Difference::MissingSuccesses(SHA_256.into()), 0, 20_000, 1)]);
}

/// A login that an address restriction refuses leaves no line of success; 4.4 counts it as one.
#[test]
fn whom_an_address_restriction_refuses_is_no_missing_login() {
    let life = quiet_life(&[10_000], &[]);
    for (counts_restricted, expected) in [(true, 0), (false, 1)] {
        let mut comparison = Comparison::default();
        let mut findings = Vec::new();
        for at in [0, 20_000, 40_000] {
            let reading = Reading { counts_restricted, ..life.reading(at) };
            let recorded = |from: Timestamp, to: Timestamp| {
                let is_within = from < instant(10_000) && instant(10_000) <= to;
                let restricted = u64::from(is_within);
                Ok::<_, Infallible>(Tally { restricted, ..Tally::default() })
            };
            findings.extend(comparison.next(reading, recorded).unwrap_or_else(|e| match e {}));
        }
        assert_eq!(missing(&findings, is_success), expected);
    }
}
