//! [`Review`]: a filter whose answers somebody looks through again and again, what they say of rows
//! ([`Mark`]), and what they sign ([`SignOff`]). `docs/design/review.md` has the rules.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::record::{Actor, Grade};
use crate::registry::RegistryError;
use crate::{LogId, Scope, Seq, Text, Timestamp};

/// A state of a history: of each of its logs how many records there are.
pub type State = Vec<(LogId, Seq)>;

/// What is to be reviewed, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Review {
    /// Its name, unique.
    #[n(0)]
    pub name: Text,
    /// Whose history. It never changes.
    #[n(1)]
    pub scope: Scope,
    /// Which events of it, as the filter was written; no times.
    #[n(2)]
    pub filter: Text,
    /// The zone of its deadlines: a name such as `Europe/Berlin`, or an offset.
    #[n(3)]
    pub zone: Text,
    /// By when somebody is to have signed.
    #[n(4)]
    pub due: Due,
    /// When it was created, by our clock. It never changes.
    #[n(5)]
    pub created: Timestamp,
    /// Since when the first round is about what happened. It never changes.
    #[n(6)]
    pub from: Timestamp,
    /// The state at which the first round begins. It never changes.
    #[n(7)]
    pub begins: State,
    /// How often it was described, with this time: 1 at first.
    #[n(8)]
    pub version: u32,
}

/// A deadline that comes again: every day, or on one day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Due {
    /// Of a weekly one the day, from Monday, 0, on.
    #[n(0)]
    pub weekday: Option<u8>,
    /// The time of the day, in minutes since midnight.
    #[n(1)]
    pub minute: u16,
}

impl Due {
    /// The words for the days of the week, from Monday on.
    pub const WEEKDAYS: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

    /// The word for how often.
    pub const fn rhythm(&self) -> &'static str {
        if self.weekday.is_some() { "weekly" } else { "daily" }
    }

    /// The time between two deadlines, about.
    pub const fn period_days(&self) -> u32 {
        if self.weekday.is_some() { 7 } else { 1 }
    }

    /// Reads `10:00` as a daily deadline and `monday 10:00`, or `mon 10:00`, as a weekly one.
    pub fn parse(text: &str) -> Option<Due> {
        let mut words = text.split_whitespace();
        let (first, second) = (words.next()?, words.next());
        if words.next().is_some() {
            return None;
        }
        let (weekday, time) = match second {
            None => (None, first),
            Some(time) => {
                let day = first.to_ascii_lowercase();
                let is_it = |name: &&str| day.len() >= 3 && name.starts_with(&*day);
                (Some(Due::WEEKDAYS.iter().position(is_it)? as u8), time)
            }
        };
        let (hour, minute) = time.split_once(':')?;
        let number = |text: &str, end: u16| {
            let is_plain = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|n: &u16| is_plain && *n < end)
        };
        Some(Due { weekday, minute: number(hour, 24)? * 60 + number(minute, 60)? })
    }

    fn is_possible(&self) -> bool {
        self.minute < 24 * 60
            && self.weekday.is_none_or(|day| usize::from(day) < Due::WEEKDAYS.len())
    }
}

impl fmt::Display for Due {
    /// As it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(day) = self.weekday.and_then(|day| Due::WEEKDAYS.get(usize::from(day))) {
            write!(f, "{day} ")?;
        }
        write!(f, "{:02}:{:02}", self.minute / 60, self.minute % 60)
    }
}

impl Review {
    /// The longest filter of a review, in bytes: that of any filter.
    pub const FILTER_BYTES_MAX: usize = 8 * 1024;

    /// Whether it can take the place of what there is under its name. Who has the scope is looked at
    /// elsewhere.
    pub fn check(&self, before: Option<&Review>) -> Result<(), RegistryError> {
        let invalid = |why: String| Err(RegistryError::Invalid(why));
        if !is_review_name(&self.name) {
            return invalid(format!(
                "{:?} is not a review's name: 1 to 64 lower-case letters, digits and -_.",
                &*self.name
            ));
        }
        if self.scope == Scope::System {
            return invalid("a review is of a project or of a namespace".into());
        }
        if !self.due.is_possible() || self.filter.len() > Review::FILTER_BYTES_MAX {
            return invalid(format!(
                "review {} has a deadline or a filter that cannot be",
                self.name
            ));
        }
        match before {
            None if self.version == 1 => Ok(()),
            None => Err(RegistryError::Missing(format!("no review {}", self.name))),
            Some(before) if self.version != before.version + 1 => {
                let name = &self.name;
                Err(RegistryError::Exists(match self.version {
                    1 => format!("there is a review {name} already"),
                    _ => format!("somebody changed review {name} meanwhile"),
                }))
            }
            Some(before) => {
                let fixed =
                    |of: &Review| (of.scope.clone(), of.created, of.from, of.begins.clone());
                match fixed(before) == fixed(self) {
                    true => Ok(()),
                    false => invalid("of a review, scope and beginning never change".into()),
                }
            }
        }
    }
}

/// Whether a text can name a review: 1 to 64 lower-case letters, digits and `-_.`.
pub fn is_review_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with('.')
}

/// What a reviewer says of a row.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Mark {
    /// What it is.
    #[n(0)]
    pub kind: MarkKind,
    /// What else there is to say.
    #[n(1)]
    pub note: Option<Text>,
    /// Who says so.
    #[n(2)]
    pub by: Actor,
    /// When, by our clock.
    #[n(3)]
    pub at: Timestamp,
    /// In which round.
    #[n(4)]
    pub round: u64,
}

/// What a row is to a reviewer. The numbers are on disk and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// As it should be.
    #[n(0)]
    Expected,
    /// Somebody has to look further.
    #[n(1)]
    FollowUp,
}

impl MarkKind {
    /// Every kind.
    pub const ALL: [MarkKind; 2] = [MarkKind::Expected, MarkKind::FollowUp];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            MarkKind::Expected => "expected",
            MarkKind::FollowUp => "follow_up",
        }
    }

    /// The kind of a word.
    pub fn from_word(word: &str) -> Option<MarkKind> {
        MarkKind::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// That somebody has looked through a round, and what came of it. Never changed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SignOff {
    /// Which round: 1 at first.
    #[n(0)]
    pub round: u64,
    /// The version of the review.
    #[n(1)]
    pub version: u32,
    /// The filter that was used.
    #[n(2)]
    pub filter: Text,
    /// The zone.
    #[n(3)]
    pub zone: Text,
    /// Since when it is about what happened.
    #[n(4)]
    pub from: Timestamp,
    /// When the state was taken that it is about.
    #[n(5)]
    pub to: Timestamp,
    /// The state before.
    #[n(6)]
    pub since: State,
    /// The state that it is about.
    #[n(7)]
    pub as_of: State,
    /// How many rows.
    #[n(8)]
    pub count: u64,
    /// How many of them were marked, and how.
    #[n(9)]
    pub marked: Marked,
    /// What could be known, when it was signed.
    #[n(10)]
    pub coverage: Covered,
    /// Rows of events before this were not kept, and nobody may have looked at them.
    #[n(11)]
    pub lost_before: Option<Timestamp>,
    /// SHA-256 of the rows.
    #[cbor(n(12), with = "minicbor::bytes")]
    pub rows_sha256: [u8; 32],
    /// SHA-256 of the manifest, which is the raw record of the event that tells of it.
    #[cbor(n(13), with = "minicbor::bytes")]
    pub manifest_sha256: [u8; 32],
    /// What came of it.
    #[n(14)]
    pub decision: Decision,
    /// What else there is to say.
    #[n(15)]
    pub note: Option<Text>,
    /// Who.
    #[n(16)]
    pub by: Actor,
    /// When, by our clock.
    #[n(17)]
    pub at: Timestamp,
    /// The earliest and the latest of its events.
    #[n(18)]
    pub times: Option<(Timestamp, Timestamp)>,
}

/// How many rows are marked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
#[serde(rename_all = "camelCase")]
pub struct Marked {
    /// As expected.
    #[n(0)]
    pub expected: u64,
    /// As to be followed up.
    #[n(1)]
    pub follow_up: u64,
}

/// What could be known of a window, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Covered {
    /// The least that holds at any instant.
    #[n(0)]
    pub grade: Grade,
    /// Up to when everything that was asked for is known.
    #[n(1)]
    pub through: Option<Timestamp>,
    /// How many gaps there are.
    #[n(2)]
    pub gaps: u64,
}

/// What came of a round. The numbers are on disk and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Nothing is left to look at.
    #[n(0)]
    Accepted,
    /// Something is: the rows that are marked so.
    #[n(1)]
    FollowUp,
}

impl Decision {
    /// Every decision.
    pub const ALL: [Decision; 2] = [Decision::Accepted, Decision::FollowUp];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Decision::Accepted => "accepted",
            Decision::FollowUp => "follow_up",
        }
    }

    /// The decision of a word.
    pub fn from_word(word: &str) -> Option<Decision> {
        Decision::ALL.into_iter().find(|decision| decision.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_they_are_written() {
        let check = |text: &str, expected: Option<(Option<u8>, u16)>| {
            let expected = expected.map(|(weekday, minute)| Due { weekday, minute });
            assert_eq!(Due::parse(text), expected, "{text}");
        };
        check("10:00", Some((None, 600)));
        check("00:00", Some((None, 0)));
        check("monday 23:59", Some((Some(0), 1439)));
        check(" Sun  09:05 ", Some((Some(6), 545)));
        for wrong in ["", "24:00", "10:60", "1:00", "10", "m 10:00", "someday 10:00", "+1:00"] {
            check(wrong, None);
        }
        check("mon 10:00 UTC", None);
        for weekday in [None, Some(0), Some(6)] {
            let due = Due { weekday, minute: 61 };
            assert_eq!(Due::parse(&due.to_string()), Some(due));
        }
    }
}
