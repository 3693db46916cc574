//! [`Comparison`]: what one server counted against what was recorded of it. Pure: readings and counts
//! come in, findings go out. The rule and its reasons are in `docs/design/counters.md`.

use std::collections::{BTreeMap, BTreeSet};

use doorbook_event::{Text, Timestamp};

/// What a server had counted at an instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its process id.
    pub pid: i64,
    /// When its process began, by its own clock.
    pub started: Timestamp,
    /// When it was read, by its own clock, which also writes its log.
    pub at: Timestamp,
    /// When the reply had come, by our clock.
    pub read_at: Timestamp,
    /// What it counted since its process began, by mechanism.
    pub counts: BTreeMap<Text, Count>,
    /// Whether it counts as successful who then may not come from that address.
    pub counts_restricted: bool,
}

/// What a server counted of one mechanism.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Attempts.
    pub received: u64,
    /// Successes among them.
    pub successful: u64,
}

/// What was recorded of an interval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Successes by mechanism; those whose record names none are under the empty text.
    pub successes: BTreeMap<Text, u64>,
    /// Failures that have a line of their own.
    pub failures: u64,
    /// Refusals by address.
    pub restricted: u64,
    /// Attempts that are counted and leave no line in good order, at most.
    pub silent_max: u64,
}

/// A difference that two readings showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What differs.
    pub what: Difference,
    /// The last reading that agreed, by the server's clock.
    pub from: Timestamp,
    /// The first that did not.
    pub to: Timestamp,
    /// How many, beside those of earlier findings.
    pub count: u64,
}

/// What differs. A mechanism is as the server spells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Successes were counted and not recorded.
    MissingSuccesses(Text),
    /// Successes were recorded and not counted.
    SurplusSuccesses(Text),
    /// Attempts were counted, and not recorded as far as they leave a line.
    MissingAttempts,
}

/// A login's line and its count may be so far apart; see the figures in `docs/design/counters.md`.
pub const SLACK_MICROS: i64 = 500_000;

/// The server's clock and ours may advance so differently between two readings before one of them was
/// set.
const STEP_MICROS: i64 = 2_000_000;

/// The comparison of one server, from reading to reading.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    run: Option<Run>,
}

impl Comparison {
    /// Compares the next reading. `recorded` tells what was recorded after the first instant, up to
    /// and with the second; everything up to [`SLACK_MICROS`] after the reading must be there.
    /// After an error the reading can be given again.
    pub fn next<E>(
        &mut self,
        reading: Reading,
        mut recorded: impl FnMut(Timestamp, Timestamp) -> Result<Tally, E>,
    ) -> Result<Vec<Finding>, E> {
        let near = Near::of(&reading, &mut recorded)?;
        let mut findings = Vec::new();
        let run = match self.run.take() {
            None => Run::new(reading, near),
            Some(run) if run.clock_was_set(&reading) => Run::new(reading, near),
            Some(run) => {
                let since = if run.is_over(&reading) { reading.started } else { run.last.at };
                let tally = match recorded(since, reading.at) {
                    Ok(tally) => tally,
                    Err(error) => {
                        self.run = Some(run);
                        return Err(error);
                    }
                };
                let mut run = match run.is_over(&reading) {
                    true => {
                        findings = run.finish();
                        Run::of_process(&reading)
                    }
                    false => run,
                };
                findings.extend(run.advance(reading, &near, &tally));
                run
            }
        };
        self.run = Some(run);
        Ok(findings)
    }
}

/// What was recorded so close to a reading that it may or may not be part of the counts.
#[derive(Clone, Debug, Default)]
struct Near {
    before: Tally,
    after: Tally,
}

impl Near {
    fn of<E>(
        reading: &Reading,
        recorded: &mut impl FnMut(Timestamp, Timestamp) -> Result<Tally, E>,
    ) -> Result<Near, E> {
        let before = recorded(reading.at.plus_micros(-SLACK_MICROS), reading.at)?;
        let after = recorded(reading.at, reading.at.plus_micros(SLACK_MICROS))?;
        Ok(Near { before, after })
    }

    fn is_quiet(&self) -> bool {
        self.before.attempts() == 0 && self.after.attempts() == 0
    }
}

/// Readings of one process, from a base on.
#[derive(Clone, Debug)]
struct Run {
    base: BTreeMap<Text, Count>,
    base_near: Near,
    last: Reading,
    /// What was recorded since the base.
    recorded: Tally,
    checks: BTreeMap<Difference, Check>,
}

impl Run {
    fn new(reading: Reading, near: Near) -> Run {
        Run {
            base: reading.counts.clone(),
            base_near: near,
            last: reading,
            recorded: Tally::default(),
            checks: BTreeMap::new(),
        }
    }

    /// From the start of a process, when it had counted nothing and nobody was under way.
    fn of_process(reading: &Reading) -> Run {
        let (at, counts) = (reading.started, BTreeMap::new());
        Run::new(Reading { at, counts, ..reading.clone() }, Near::default())
    }

    fn clock_was_set(&self, next: &Reading) -> bool {
        let theirs = next.at.micros() - self.last.at.micros();
        let ours = next.read_at.micros() - self.last.read_at.micros();
        (theirs - ours).abs() > STEP_MICROS
    }

    fn is_over(&self, next: &Reading) -> bool {
        let went_back = |(mechanism, before): (&Text, &Count)| {
            let now = next.counts.get(mechanism).copied().unwrap_or_default();
            now.received < before.received || now.successful < before.successful
        };
        let moved = (next.started.micros() - self.last.started.micros()).abs() > STEP_MICROS;
        next.pid != self.last.pid || moved || self.last.counts.iter().any(went_back)
    }

    fn advance(&mut self, reading: Reading, near: &Near, tally: &Tally) -> Vec<Finding> {
        self.recorded.add(tally);
        let mut findings = Vec::new();
        for (what, bounds) in self.differences(&reading, near) {
            let (from, to) = (self.last.at, reading.at);
            let check = self.checks.entry(what.clone()).or_insert(Check::agreed(from));
            let (from, to, count) = match check.next(bounds, to) {
                Some(found) => found,
                None => continue,
            };
            findings.push(Finding { what, from, to, count });
        }
        let is_settled = self.checks.values().all(|check| check.last.least <= check.told);
        if near.is_quiet() && is_settled {
            *self = Run::new(reading, near.clone());
        } else {
            self.last = reading;
        }
        findings
    }

    /// What the last reading showed and no later one can confirm: the process is gone, and its last
    /// count stands.
    fn finish(self) -> Vec<Finding> {
        let finding = |(what, mut check): (Difference, Check)| {
            let (from, to, count) = check.next(check.last, self.last.at)?;
            Some(Finding { what, from, to, count })
        };
        self.checks.into_iter().filter_map(finding).collect()
    }

    /// How much is different since the base, at least and at most: as the doubtful records are counted.
    fn differences(&self, reading: &Reading, near: &Near) -> Vec<(Difference, Bounds)> {
        let recorded = self.recorded.successes.keys();
        let mechanisms: BTreeSet<&Text> = reading.counts.keys().chain(recorded).collect();
        let counted = |of: fn(&Count) -> u64, mechanism: &Text| {
            let now = reading.counts.get(mechanism).map_or(0, of);
            signed(now) - signed(self.base.get(mechanism).map_or(0, of))
        };
        // Those without a mechanism may be of each.
        let unnamed = self.recorded.successes_of("");
        let restricted =
            if reading.counts_restricted { signed(self.recorded.restricted) } else { 0 };
        let mut differences = Vec::new();
        for mechanism in mechanisms.iter().copied().filter(|mechanism| !mechanism.is_empty()) {
            let difference = counted(|count| count.successful, mechanism)
                - self.recorded.successes_of(mechanism);
            let of = |tally: &Tally| tally.successes_of(mechanism);
            let least = difference - of(&near.after) - of(&self.base_near.before);
            let most = difference + of(&near.before) + of(&self.base_near.after);
            let explained = unnamed + restricted;
            let missing = Bounds { least: least - explained, most: most - explained };
            let surplus = Bounds { least: -most, most: -least };
            differences.push((Difference::MissingSuccesses(mechanism.clone()), missing));
            differences.push((Difference::SurplusSuccesses(mechanism.clone()), surplus));
        }
        // A missing success is told as such, and not again as an attempt.
        let failed = |count: &Count| count.received.saturating_sub(count.successful);
        let failed: i64 = mechanisms.iter().map(|mechanism| counted(failed, mechanism)).sum();
        let difference = failed - signed(self.recorded.failures + self.recorded.silent_max);
        let bounds = Bounds {
            least: difference - near.after.failed() - self.base_near.before.failed(),
            most: difference + near.before.failed() + self.base_near.after.failed(),
        };
        differences.push((Difference::MissingAttempts, bounds));
        differences
    }
}

/// How much a difference is.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    least: i64,
    most: i64,
}

/// What became of one difference since the base.
#[derive(Clone, Debug)]
struct Check {
    /// The last reading's.
    last: Bounds,
    last_at: Timestamp,
    /// How much of it was told.
    told: i64,
    /// The last reading that cannot show more than was told.
    agreed_at: Timestamp,
}

impl Check {
    fn agreed(at: Timestamp) -> Check {
        Check { last: Bounds { least: 0, most: 0 }, last_at: at, told: 0, agreed_at: at }
    }

    /// What this reading and the one before both show and was not told.
    fn next(&mut self, bounds: Bounds, at: Timestamp) -> Option<(Timestamp, Timestamp, u64)> {
        let (last, last_at) = (self.last, self.last_at);
        (self.last, self.last_at) = (bounds, at);
        let shown = bounds.least.min(last.least);
        let found = (shown > self.told)
            .then(|| (self.agreed_at, last_at, (shown - self.told).unsigned_abs()));
        self.told = self.told.max(shown);
        for (bounds, at) in [(last, last_at), (bounds, at)] {
            if bounds.most <= self.told {
                self.agreed_at = at;
            }
        }
        found
    }
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        for (mechanism, count) in &other.successes {
            *self.successes.entry(mechanism.clone()).or_default() += count;
        }
        self.failures += other.failures;
        self.restricted += other.restricted;
        self.silent_max += other.silent_max;
    }

    /// Successes of a mechanism.
    pub fn successes_of(&self, mechanism: &str) -> i64 {
        signed(self.successes.get(mechanism).copied().unwrap_or(0))
    }

    /// Failures, and what could be one.
    fn failed(&self) -> i64 {
        signed(self.failures + self.silent_max)
    }

    fn attempts(&self) -> u64 {
        self.successes.values().sum::<u64>() + self.failures + self.restricted
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
