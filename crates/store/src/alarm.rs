//! [`Alarms`]: conditions that were told, what became of them, and messages that somebody still has to get.
//!
//! What a condition is, and when it holds, is not decided here; `docs/design/alarm.md` says it. Here it is
//! kept: each step is durable together with the event that tells of it, so that after any crash what was told
//! is known to have been told, and what is to be told waits.

use std::collections::{BTreeMap, VecDeque};

use doorbook_event::record::{Actor, Grade};
use doorbook_event::{Action, ProjectId, Record, Text, Timestamp};
use minicbor::{Decode, Encode};

use crate::error::{Error, ErrorKind};
use crate::state::{Misfit, State};
use crate::{Inner, own};

/// Messages that wait; of more the oldest one is dropped.
pub const OUTBOX_MAX: usize = 1000;

/// Closed alarms that are remembered.
pub const CLOSED_MAX: usize = 2000;

/// How long they are.
pub const CLOSED_SECONDS: i64 = 7 * 86_400;

/// All alarms that are known, and what is to be told of them. A snapshot; it never changes.
#[derive(Clone, Debug, Default, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Alarms {
    /// By id.
    #[n(0)]
    pub alarms: BTreeMap<Text, Alarm>,
    /// Messages that some destination does not have yet, from the oldest.
    #[n(1)]
    pub outbox: VecDeque<Message>,
    /// Messages that were dropped because too many waited.
    #[n(2)]
    pub dropped: u64,
}

/// A condition that was told.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Alarm {
    /// Its name: the same for the same condition.
    #[n(0)]
    pub id: Text,
    /// What holds, or held.
    #[n(1)]
    pub condition: Condition,
    /// When it was found to hold, by our clock.
    #[n(2)]
    pub opened: Timestamp,
    /// When it was last told.
    #[n(3)]
    pub told: Timestamp,
    /// When it was found not to hold any more.
    #[n(4)]
    pub closed: Option<Timestamp>,
    /// Who looked, and what came of it.
    #[n(5)]
    pub acknowledged: Option<Acknowledgement>,
}

/// Something that somebody should know as long as it holds.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Condition {
    /// Which kind.
    #[n(0)]
    pub kind: AlarmKind,
    /// Of which project; `None` where it is Doorbook's own.
    #[n(1)]
    pub project: Option<ProjectId>,
    /// Of which cluster.
    #[n(2)]
    pub cluster: Option<Text>,
    /// Of which host.
    #[n(3)]
    pub host: Option<Text>,
    /// The source that should have seen it.
    #[n(4)]
    pub source: Option<Text>,
    /// How much was seen, of a gap.
    #[n(5)]
    pub grade: Grade,
    /// Why.
    #[n(6)]
    pub cause: Text,
    /// Who brought it about, where that is known.
    #[n(7)]
    pub actor: Option<Actor>,
    /// Since when.
    #[n(8)]
    pub from: Timestamp,
    /// Until when; `None` while it lasts.
    #[n(9)]
    pub to: Option<Timestamp>,
    /// How many accesses are known to be missing.
    #[n(10)]
    pub missing: Option<u64>,
    /// The review that nobody did.
    #[cbor(n(11), default)]
    pub review: Option<Text>,
}

/// The kinds of condition. The numbers are on disk and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum AlarmKind {
    /// A host is not, or not surely, seen.
    #[n(0)]
    Gap,
    /// A server counted more than was recorded.
    #[n(1)]
    Counters,
    /// A source brings nothing.
    #[n(2)]
    Silent,
    /// Our clock cannot be trusted.
    #[n(3)]
    Clock,
    /// Lines are sent to us that no source knows.
    #[n(4)]
    Unrouted,
    /// Nobody signed a review in time.
    #[n(5)]
    Review,
}

impl AlarmKind {
    /// Every kind.
    pub const ALL: [AlarmKind; 6] = [
        AlarmKind::Gap,
        AlarmKind::Counters,
        AlarmKind::Silent,
        AlarmKind::Clock,
        AlarmKind::Unrouted,
        AlarmKind::Review,
    ];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            AlarmKind::Gap => "coverage.gap",
            AlarmKind::Counters => "counters.missing",
            AlarmKind::Silent => "source.silent",
            AlarmKind::Clock => "clock.unsynchronised",
            AlarmKind::Unrouted => "lines.unrouted",
            AlarmKind::Review => "review.overdue",
        }
    }
}

/// Who looked at an alarm, and what came of it.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Acknowledgement {
    /// Who.
    #[n(0)]
    pub by: Actor,
    /// When, by our clock.
    #[n(1)]
    pub at: Timestamp,
    /// Why it was, as far as they know.
    #[n(2)]
    pub cause: Text,
    /// What else there is to say.
    #[n(3)]
    pub note: Option<Text>,
}

/// What is told of an alarm.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Message {
    /// Its name, the same for each try.
    #[n(0)]
    pub id: Text,
    /// The alarm.
    #[n(1)]
    pub alarm: Text,
    /// Which kind of message.
    #[n(2)]
    pub kind: Text,
    /// When it was made, by our clock.
    #[n(3)]
    pub at: Timestamp,
    /// In one sentence.
    #[n(4)]
    pub text: Text,
    /// In full.
    #[n(5)]
    pub body: Text,
    /// Who does not have it yet.
    #[n(6)]
    pub waiting: Vec<Text>,
    /// Whether it tells of an end.
    #[n(7)]
    pub is_end: bool,
}

/// A step of an alarm or of a message.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Change {
    /// A condition began to hold.
    #[n(0)]
    Opened(#[n(0)] Box<Alarm>),
    /// It still does, and says more, or was told again.
    #[n(1)]
    Continues {
        /// The alarm.
        #[n(0)]
        id: Text,
        /// What holds.
        #[n(1)]
        condition: Box<Condition>,
        /// When it was last told.
        #[n(2)]
        told: Timestamp,
    },
    /// It ceased to hold.
    #[n(2)]
    Closed {
        /// The alarm.
        #[n(0)]
        id: Text,
        /// What held.
        #[n(1)]
        condition: Box<Condition>,
        /// When that was found.
        #[n(2)]
        at: Timestamp,
    },
    /// Somebody looked at it.
    #[n(3)]
    Acknowledged {
        /// The alarm.
        #[n(0)]
        id: Text,
        /// What they say.
        #[n(1)]
        what: Box<Acknowledgement>,
    },
    /// There is something to tell.
    #[n(4)]
    Queued(#[n(0)] Box<Message>),
    /// A destination has a message, or is not to get it any more.
    #[n(5)]
    Settled {
        /// The message.
        #[n(0)]
        message: Text,
        /// The destination.
        #[n(1)]
        destination: Text,
    },
}

impl Alarms {
    /// Those that hold.
    pub fn open(&self) -> impl Iterator<Item = &Alarm> {
        self.alarms.values().filter(|alarm| alarm.closed.is_none())
    }

    /// The oldest message that a destination does not have.
    pub fn next_for(&self, destination: &str) -> Option<&Message> {
        self.outbox.iter().find(|message| message.waiting.iter().any(|of| **of == *destination))
    }

    /// Whether nothing is known.
    pub(crate) fn is_none(&self) -> bool {
        *self == Alarms::default()
    }

    /// Takes a step.
    pub(crate) fn apply(&mut self, change: Change) -> Result<(), Misfit> {
        match change {
            Change::Opened(alarm) => {
                self.alarms.insert(alarm.id.clone(), *alarm);
            }
            Change::Continues { id, condition, told } => {
                let alarm = self.alarm(&id)?;
                (alarm.condition, alarm.told) = (*condition, told);
            }
            Change::Closed { id, condition, at } => {
                let alarm = self.alarm(&id)?;
                (alarm.condition, alarm.closed) = (*condition, Some(at));
                self.forget(at.plus_seconds(-CLOSED_SECONDS));
            }
            Change::Acknowledged { id, what } => self.alarm(&id)?.acknowledged = Some(*what),
            Change::Queued(message) => {
                self.outbox.push_back(*message);
                if self.outbox.len() > OUTBOX_MAX {
                    self.outbox.pop_front();
                    self.dropped += 1;
                }
            }
            Change::Settled { message, destination } => {
                for of in self.outbox.iter_mut().filter(|of| of.id == message) {
                    of.waiting.retain(|waiting| *waiting != destination);
                }
                self.outbox.retain(|of| !of.waiting.is_empty());
            }
        }
        Ok(())
    }

    fn alarm(&mut self, id: &Text) -> Result<&mut Alarm, Misfit> {
        self.alarms.get_mut(id).ok_or_else(|| Misfit(format!("there is no alarm {id}")))
    }

    /// Forgets what closed before an instant, and of the rest the oldest if there are too many.
    fn forget(&mut self, before: Timestamp) {
        let closed = self.alarms.values().filter_map(|alarm| alarm.closed);
        let mut closed: Vec<Timestamp> = closed.collect();
        closed.sort_unstable();
        let excess = closed.len().saturating_sub(CLOSED_MAX);
        let before = closed.get(excess).copied().unwrap_or(before).max(before);
        match closed.first() {
            Some(first) if *first < before => {
                self.alarms.retain(|_, alarm| alarm.closed.is_none_or(|at| before <= at));
            }
            _ => {}
        }
    }
}

impl Inner {
    /// Writes steps, each with the event that tells of it, all or nothing.
    pub(crate) fn change_alarms(&self, by: &Actor, changes: Vec<Change>) -> Result<(), Error> {
        self.write(|state, now| {
            check(state, &changes)?;
            let events = changes.iter().filter_map(|change| event(by, change, now)).collect();
            let mut part = own::part(events);
            part.alarms = changes;
            Ok(vec![part])
        })?;
        Ok(())
    }
}

/// Each must be of an alarm that is there, or that the ones before it opened.
fn check(state: &State, changes: &[Change]) -> Result<(), Error> {
    let mut alarms = Alarms::clone(&state.alarms);
    changes.iter().try_for_each(|change| {
        alarms.apply(change.clone()).map_err(|Misfit(why)| Error::new(ErrorKind::Missing, why))
    })
}

fn event(by: &Actor, change: &Change, now: Timestamp) -> Option<Record> {
    let (verb, id, about) = match change {
        Change::Opened(alarm) => ("open", &alarm.id, of_condition(&alarm.condition)),
        Change::Closed { id, condition, .. } => ("close", id, of_condition(condition)),
        Change::Acknowledged { id, what } => {
            let note = what.note.clone().map(|note| ("note", note));
            let about = [("cause", what.cause.clone())].into_iter().chain(note);
            ("acknowledge", id, about.collect())
        }
        Change::Continues { .. } | Change::Queued(_) | Change::Settled { .. } => return None,
    };
    let attributes = [("verb", Text::from(verb))].into_iter().chain(about);
    Some(own::event(by, Action::Alarm, ("alarm", id), now, attributes))
}

fn of_condition(condition: &Condition) -> Vec<(&'static str, Text)> {
    let Condition {
        kind, project, cluster, host, source, cause, from, to, missing, review, ..
    } = condition;
    let project = project.map(|id| Text::from(id.to_string()));
    let texts = [
        ("kind", Some(kind.word().into())),
        ("project", project),
        ("cluster", cluster.clone()),
        ("host", host.clone()),
        ("of_source", source.clone()),
        ("review", review.clone()),
        ("cause", Some(cause.clone())),
        ("from", Some(from.to_string().into())),
        ("to", to.map(|to| to.to_string().into())),
        ("missing", missing.map(|missing| missing.to_string().into())),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(n: usize) -> Box<Alarm> {
        let at = Timestamp::from_seconds(1_700_000_000);
        Box::new(Alarm {
            id: format!("al-{n}").into(),
            condition: Condition {
                kind: AlarmKind::Gap,
                project: None,
                cluster: None,
                host: Some("db-1:27017".into()),
                source: None,
                grade: Grade::Blind,
                cause: "quiet".into(),
                actor: None,
                from: at,
                to: None,
                missing: None,
                review: None,
            },
            opened: at,
            told: at,
            closed: None,
            acknowledged: None,
        })
    }

    fn closed(n: usize, at: Timestamp) -> Change {
        let Alarm { id, condition, .. } = *alarm(n);
        Change::Closed { id, condition: Box::new(condition), at }
    }

    /// Goal: what is remembered is bounded, and what is open is never forgotten. Method: more alarms than
    /// fit, one of them open; then one that closes a week later.
    #[test]
    fn closed_alarms_are_forgotten_from_the_oldest() {
        let at = |n: usize| Timestamp::from_seconds(1_700_000_000 + n as i64);
        let mut alarms = Alarms::default();
        for n in 0..CLOSED_MAX + 11 {
            alarms.apply(Change::Opened(alarm(n))).expect("opens");
            if n > 0 {
                alarms.apply(closed(n, at(n))).expect("closes");
            }
        }
        assert_eq!(alarms.alarms.len(), CLOSED_MAX + 1);
        assert!(alarms.alarms.contains_key("al-0") && !alarms.alarms.contains_key("al-10"));
        assert!(alarms.alarms.contains_key("al-11"));
        alarms.apply(Change::Opened(alarm(9999))).expect("opens");
        alarms.apply(closed(9999, at(CLOSED_MAX + 11 + 8 * 86_400))).expect("closes");
        assert_eq!(alarms.alarms.len(), 2);
        assert!(alarms.apply(closed(7, at(0))).is_err(), "it is not known");
    }

    /// Goal: the outbox is bounded, keeps its order, and says what it dropped. Method: more messages than fit.
    #[test]
    fn the_outbox_drops_its_oldest_message() {
        let mut alarms = Alarms::default();
        for n in 0..=OUTBOX_MAX {
            let message = Message {
                id: format!("msg_{n}").into(),
                alarm: "al-0".into(),
                kind: "coverage.gap.opened".into(),
                at: Timestamp::from_seconds(1),
                text: "".into(),
                body: "{}".into(),
                waiting: vec!["webhook".into(), "syslog".into()],
                is_end: false,
            };
            alarms.apply(Change::Queued(Box::new(message))).expect("is queued");
        }
        assert_eq!((alarms.outbox.len(), alarms.dropped), (OUTBOX_MAX, 1));
        let settled = |message: &str, destination: &str| Change::Settled {
            message: message.into(),
            destination: destination.into(),
        };
        alarms.apply(settled("msg_1", "webhook")).expect("is settled");
        assert_eq!(alarms.next_for("webhook").map(|of| &*of.id), Some("msg_2"));
        assert_eq!(alarms.next_for("syslog").map(|of| &*of.id), Some("msg_1"));
        alarms.apply(settled("msg_1", "syslog")).expect("is settled");
        assert_eq!(alarms.outbox.len(), OUTBOX_MAX - 1);
        alarms.apply(settled("msg_0", "syslog")).expect("it was dropped meanwhile");
    }
}
