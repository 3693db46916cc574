//! What was recorded of a host, up to when that is everything, and how a finding becomes a gap.

use doorbook_event::record::{Coverage, Grade, Hidden};
use doorbook_event::{Action, Class, Classes, ProjectId, Record, Scope, Target, Text, Timestamp};
use doorbook_store::filter::{OutcomeKind, Targets, Unwanted};
use doorbook_store::{Dimension, Entry, Error, Filter, Store};

use super::compare::{Difference, Finding, SLACK_MICROS, Tally};
use super::mongod;

/// A host's part of the store.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    scope: Scope,
    target: Target,
    /// Gaps that were told, and what was recorded in them then; the oldest goes first.
    open: Vec<Open>,
}

/// A gap of which a backfill may bring what is missing.
#[derive(Clone)]
struct Open {
    gap: Coverage,
    mechanism: Text,
    /// How many were recorded and how many were missing when it was told.
    recorded: u64,
    missing: u64,
}

/// So many gaps of one host are looked at again.
const OPEN_MAX: usize = 64;

/// What the causes of our gaps begin with.
pub(crate) const BY_COUNTERS: &str = "counters: ";

/// No server has as many mechanisms.
const MECHANISMS_MAX: usize = 64;

impl Ledger {
    /// Of a host.
    pub fn new(store: Store, project: ProjectId, target: Target) -> Ledger {
        Ledger { store, scope: Scope::Project(project), target, open: Vec::new() }
    }

    /// Whether a source is to watch its log.
    pub fn has_source(&self) -> bool {
        let catalog = self.store.catalog();
        catalog
            .registry
            .sources()
            .any(|source| source.scope() == self.scope && source.target() == self.target)
    }

    /// Everything that was written to its log before this instant of our clock is recorded; `None`
    /// while no source has read it.
    pub fn watched_through(&self) -> Option<Timestamp> {
        let catalog = self.store.catalog();
        let watched = self.store.watched();
        let ours = catalog
            .registry
            .sources()
            .filter(|source| source.scope() == self.scope && source.target() == self.target);
        ours.filter_map(|source| watched.sources.get(&source.name)?.through).max()
    }

    /// What was recorded after an instant, up to and with another one, by event time.
    pub fn tally(&self, after: Timestamp, through: Timestamp) -> Result<Tally, Error> {
        let all = self.filter(after, through);
        // Most intervals of most hosts are empty, and one question is enough.
        if self.store.top(&all, Dimension::Outcome, 1)?.total == 0 {
            return Ok(Tally::default());
        }
        let successes = Filter { outcomes: vec![OutcomeKind::Success], ..all.clone() };
        let successes = self.store.top(&successes, Dimension::Mechanism, MECHANISMS_MAX)?;
        let failures = Filter { outcomes: vec![OutcomeKind::Failure], ..all.clone() };
        let failures = self.store.top(&failures, Dimension::Mechanism, 1)?.total;
        let restricted = Filter { with: Class::Inferred.into(), ..all.clone() };
        let restricted = self.store.top(&restricted, Dimension::Mechanism, 1)?.total;
        // A driver that gave up another mechanism for this one left no line of that.
        let fallback = Filter { mechanisms: vec![mongod::FALLBACK.into()], ..all };
        let fallback = self.store.top(&fallback, Dimension::Mechanism, 1)?.total;
        let named =
            |(mechanism, count): (Option<Text>, u64)| (mechanism.unwrap_or_default(), count);
        Ok(Tally {
            successes: successes.values.into_iter().map(named).collect(),
            failures: failures.saturating_sub(restricted),
            restricted,
            silent_max: restricted + fallback,
        })
    }

    /// Makes gaps of findings, durable when this returns.
    pub fn tell(&mut self, findings: &[Finding]) -> Result<(), Error> {
        let catalog = self.store.catalog();
        let known = catalog.coverage.get(&self.scope).into_iter().flatten();
        let mut explained: Vec<Coverage> =
            known.filter(|gap| self.may_explain(gap)).cloned().collect();
        let mut records = Vec::with_capacity(findings.len());
        let mut open = Vec::new();
        for finding in findings {
            let why = explained.iter_mut().find(|gap| explains(gap, finding));
            let gap = match why {
                Some(gap) => {
                    gap.missing = Some(gap.missing.unwrap_or(0) + finding.count);
                    gap.clone()
                }
                None => self.gap(finding),
            };
            if let Difference::MissingSuccesses(mechanism) = &finding.what
                && gap.cause.starts_with(BY_COUNTERS)
            {
                let recorded = self.recorded_around(&gap, mechanism)?;
                let (gap, mechanism) = (gap.clone(), mechanism.clone());
                open.push(Open { gap, mechanism, recorded, missing: finding.count });
            }
            records.push(Record::Coverage(gap));
        }
        self.commit(records)?;
        self.open.extend(open);
        let excess = self.open.len().saturating_sub(OPEN_MAX);
        self.open.drain(..excess);
        Ok(())
    }

    /// Lowers the number of gaps that a backfill filled, at last to 0.
    pub fn look_again(&mut self) -> Result<(), Error> {
        for at in 0..self.open.len() {
            let Open { gap, mechanism, recorded, missing } = &self.open[at];
            let brought = self.recorded_around(gap, mechanism)?.saturating_sub(*recorded);
            let left = Some(missing.saturating_sub(brought));
            if left != gap.missing {
                let gap = Coverage { missing: left, ..gap.clone() };
                self.commit(vec![Record::Coverage(gap.clone())])?;
                self.open[at].gap = gap;
            }
        }
        self.open.retain(|open| open.gap.missing != Some(0));
        Ok(())
    }

    fn commit(&self, records: Vec<Record>) -> Result<(), Error> {
        let (scope, source) = (self.scope.clone(), "doorbook".into());
        self.store.commit(vec![Entry { scope, source, records }])
    }

    fn recorded_around(&self, gap: &Coverage, mechanism: &Text) -> Result<u64, Error> {
        let to = gap.to.unwrap_or(gap.last_seen).plus_micros(SLACK_MICROS);
        let successes = Filter {
            outcomes: vec![OutcomeKind::Success],
            mechanisms: vec![mechanism.clone().into()],
            ..self.filter(gap.from.plus_micros(-SLACK_MICROS), to)
        };
        Ok(self.store.top(&successes, Dimension::Mechanism, 1)?.total)
    }

    fn filter(&self, after: Timestamp, through: Timestamp) -> Filter {
        let (group, member) = self.target.names();
        Filter {
            targets: Targets::Members(vec![(group.clone(), member.clone())]),
            from: after.plus_micros(1),
            to: through,
            actions: vec![Action::Authenticate],
            unwanted: Unwanted::classes(Classes::NONE.with(Class::Suspect)),
            ..Filter::all(self.scope.clone(), 0)
        }
    }

    /// Whether it is a gap of this host that the log itself told of.
    fn may_explain(&self, gap: &Coverage) -> bool {
        gap.target == self.target
            && gap.source.is_none()
            && gap.actions.contains(&Action::Authenticate)
            && !gap.cause.starts_with(BY_COUNTERS)
    }

    fn gap(&self, finding: &Finding) -> Coverage {
        let (cause, hidden, grade, missing) = match &finding.what {
            Difference::MissingSuccesses(mechanism) => (
                format!("{BY_COUNTERS}logins by {mechanism} were counted and not recorded"),
                Hidden::Successes,
                Grade::Blind,
                Some(finding.count),
            ),
            Difference::MissingAttempts => (
                format!("{BY_COUNTERS}attempts were counted that left no line"),
                Hidden::All,
                Grade::BestEffort,
                Some(finding.count),
            ),
            Difference::SurplusSuccesses(mechanism) => (
                format!("{BY_COUNTERS}more logins by {mechanism} were recorded than counted"),
                Hidden::Successes,
                Grade::BestEffort,
                None,
            ),
        };
        Coverage {
            target: self.target.clone(),
            actions: vec![Action::Authenticate],
            hidden,
            cause: cause.into(),
            actor: None,
            from: finding.from,
            to: Some(finding.to),
            last_seen: finding.to,
            source: None,
            grade,
            missing,
        }
    }
}

/// Whether a gap that the log told of is why logins are missing.
fn explains(gap: &Coverage, finding: &Finding) -> bool {
    matches!(finding.what, Difference::MissingSuccesses(_))
        && gap.from <= finding.to
        && finding.from <= gap.to.unwrap_or(Timestamp::MAX)
}
