//! [`Retention`]: how long a scope's events are kept, and when a decision about it takes effect.
//!
//! What keeps more takes effect at once, what keeps less seven days later: whoever comes to hold a
//! key cannot make the history of a break-in vanish before anyone looks. The days in between are
//! announced with the decision. Applying the same decisions in the same order gives the same result
//! at any time; what holds at an instant is asked with that instant.

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::registry::RegistryError;
use crate::{Scope, Timestamp};

/// How long events are kept, in days of their event time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Events older than this are in no answer; `None`: never.
    #[n(0)]
    pub keep_days: Option<u32>,
    /// What `keep_days` can never be below.
    #[n(1)]
    pub minimum_days: u32,
}

impl Limits {
    /// A hundred years.
    pub const DAYS_MAX: u32 = 36_500;

    /// The earliest event time that is kept.
    pub fn start(&self, now: Timestamp) -> Timestamp {
        let seconds = |days: u32| i64::from(days) * SECONDS_PER_DAY;
        self.keep_days.map_or(Timestamp::MIN, |days| now.plus_seconds(-seconds(days)))
    }

    /// Whether these can be decided on.
    pub fn check(&self) -> Result<(), RegistryError> {
        let days_max = Limits::DAYS_MAX;
        let keep_days = self.keep_days.unwrap_or(days_max);
        if keep_days == 0 || keep_days > days_max || self.minimum_days > days_max {
            return Err(RegistryError::Invalid(format!(
                "events are kept for 1 to {days_max} days, or forever"
            )));
        }
        if self.keep_days.is_some_and(|days| days < self.minimum_days) {
            return Err(RegistryError::Invalid(format!(
                "{keep_days} days are below the minimum of {}",
                self.minimum_days
            )));
        }
        Ok(())
    }

    /// The longer of both, in each respect.
    fn or_longer(self, other: Limits) -> Limits {
        let keep_days = match (self.keep_days, other.keep_days) {
            (Some(days), Some(other)) => Some(days.max(other)),
            _ => None,
        };
        Limits { keep_days, minimum_days: self.minimum_days.max(other.minimum_days) }
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct RetentionSet {
    /// Whose events.
    #[n(0)]
    pub scope: Scope,
    /// How long they are to be kept.
    #[n(1)]
    pub limits: Limits,
    /// When it was decided, by our clock.
    #[n(2)]
    pub at: Timestamp,
}

/// What was decided of a scope. Without any decision its events are kept forever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Retention {
    #[n(0)]
    limits: Limits,
    #[n(1)]
    pending: Option<Pending>,
}

/// A decision that has not taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// How long events will be kept.
    #[n(0)]
    #[serde(flatten)]
    pub limits: Limits,
    /// From when on.
    #[n(1)]
    pub from: Timestamp,
}

impl Retention {
    /// Days between a decision to keep less and its effect.
    pub const DELAY_DAYS: u32 = 7;

    /// What holds at an instant.
    pub fn limits(&self, now: Timestamp) -> Limits {
        match self.pending {
            Some(pending) if pending.from <= now => pending.limits,
            _ => self.limits,
        }
    }

    /// What does not hold yet at an instant.
    pub fn pending(&self, now: Timestamp) -> Option<Pending> {
        self.pending.filter(|pending| now < pending.from)
    }

    /// What was decided last, whether it holds yet or not.
    pub fn decided(&self) -> Limits {
        self.pending.map_or(self.limits, |pending| pending.limits)
    }

    /// Takes a decision in. To decide the same again does not begin the seven days anew.
    pub(crate) fn set(&mut self, limits: Limits, at: Timestamp) {
        let pending = self.pending(at);
        self.limits = self.limits(at).or_longer(limits);
        let from = at.plus_seconds(i64::from(Retention::DELAY_DAYS) * SECONDS_PER_DAY);
        self.pending = match pending {
            _ if self.limits == limits => None,
            Some(pending) if pending.limits == limits => Some(pending),
            _ => Some(Pending { limits, from }),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_790_000_000);

    fn day(n: i64) -> Timestamp {
        START.plus_seconds(n * SECONDS_PER_DAY)
    }

    fn limits(keep_days: Option<u32>, minimum_days: u32) -> Limits {
        Limits { keep_days, minimum_days }
    }

    /// Goal: what keeps more holds at once, what keeps less after seven days, and the two of them in
    /// one decision each in its time. Method: decisions, and what holds on some days.
    #[test]
    fn the_truth_table() {
        type Decision = (i64, Limits);
        let check = |what: &str, decisions: &[Decision], expected: &[Decision]| {
            let mut retention = Retention::default();
            for (at, limits) in decisions {
                retention.set(*limits, day(*at));
            }
            for (at, limits) in expected {
                assert_eq!(retention.limits(day(*at)), *limits, "{what}, day {at}: {retention:?}");
            }
        };
        let forever = limits(None, 0);
        let (short, long) = (limits(Some(30), 0), limits(Some(90), 0));
        check("nothing decided", &[], &[(-9999, forever), (9999, forever)]);
        check("shorter", &[(0, long)], &[(0, forever), (6, forever), (7, long), (8, long)]);
        let both = [(0, long), (10, short)];
        check("shorter again", &both, &[(10, long), (16, long), (17, short)]);
        check("longer", &[(0, short), (10, long)], &[(10, long), (17, long)]);
        check("forever again", &[(0, short), (10, forever)], &[(10, forever), (99, forever)]);
        check("taken back in time", &[(0, short), (6, forever)], &[(6, forever), (8, forever)]);
        check("said twice", &[(0, short), (5, short)], &[(6, forever), (7, short)]);
        check("changed meanwhile", &[(0, short), (5, long)], &[(7, forever), (12, long)]);
        check("shortened meanwhile", &[(0, long), (5, short)], &[(7, forever), (12, short)]);
        let guarded = limits(Some(90), 60);
        check("a minimum", &[(0, guarded)], &[(0, limits(None, 60)), (7, guarded)]);
        check(
            "undercut",
            &[(0, guarded), (10, short)],
            &[(10, guarded), (16, guarded), (17, short)],
        );
        let mixed = limits(Some(120), 30);
        let of_each = limits(Some(120), 60);
        check("one up, one down", &[(0, guarded), (10, mixed)], &[(10, of_each), (17, mixed)]);
    }

    #[test]
    fn what_is_pending_is_shown_until_it_holds() {
        let mut retention = Retention::default();
        retention.set(limits(Some(30), 10), day(0));
        let pending = Pending { limits: limits(Some(30), 10), from: day(7) };
        assert_eq!(retention.pending(day(6)), Some(pending));
        assert_eq!(retention.pending(day(7)), None);
        assert_eq!(retention.decided(), pending.limits);
        assert_eq!(retention.limits(day(7)).start(day(40)), day(10));
        assert_eq!(Limits::default().start(day(40)), Timestamp::MIN);
    }

    #[test]
    fn impossible_limits_are_refused() {
        for (keep_days, minimum_days, is_possible) in [
            (None, 0, true),
            (None, 90, true),
            (Some(1), 0, true),
            (Some(90), 90, true),
            (Some(89), 90, false),
            (Some(0), 0, false),
            (Some(36_501), 0, false),
            (None, 36_501, false),
        ] {
            let limits = limits(keep_days, minimum_days);
            assert_eq!(limits.check().is_ok(), is_possible, "{limits:?}");
        }
    }

    #[test]
    fn survives_its_disk_form() {
        let mut retention = Retention::default();
        retention.set(limits(Some(30), 10), day(0));
        let bytes = minicbor::to_vec(&retention).expect("encodes");
        assert_eq!(minicbor::decode::<Retention>(&bytes).expect("decodes"), retention);
    }
}
