//! What looks found and nobody took yet.

use std::collections::HashSet;

use doorbook_event::access::{Classes, Outcome, Principal, WrittenTime};
use doorbook_event::record::{Coverage, Grade, Hidden, Place, Quarantine};
use doorbook_event::{Access, Action, Attributes, Peer, Target, Text, Timestamp};
use sha2::{Digest, Sha256};

use crate::Batch;
use crate::tiledb::name::{Name, Stem};

/// What was found of one array and not taken yet.
#[derive(Debug)]
pub(super) struct Found {
    target: Target,
    source: Text,
    /// The next one last.
    pub(super) events: Vec<Event>,
    pub(super) coverage: Vec<Coverage>,
    quarantine: Vec<Quarantine>,
    /// Files that were put aside, so that each is once.
    put_aside: HashSet<String>,
}

/// An event in its small form: a first look may find a hundred thousand.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) time: Timestamp,
    pub(super) action: Action,
    /// Whether the time is not known better than that it was before.
    pub(super) is_before: bool,
    pub(super) object: Option<Name>,
    pub(super) what: Option<&'static str>,
    pub(super) removed: Option<Removed>,
    pub(super) moved_to: Option<Text>,
}

/// What was removed at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Removed {
    pub(super) count: u64,
    pub(super) data_from: u64,
    pub(super) data_to: u64,
}

/// So many events are taken at once.
const BATCH_EVENTS: usize = 4096;

/// So many files of one array are put aside.
const PUT_ASIDE_MAX: usize = 1024;

impl Found {
    /// Nothing yet.
    pub(super) fn new(target: Target, source: Text) -> Found {
        let (events, coverage, quarantine) = Default::default();
        Found { target, source, events, coverage, quarantine, put_aside: HashSet::new() }
    }

    /// What was found, in the order of time, some thousand events at once; `None` if there is no more.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let Found { target, events, coverage, quarantine, .. } = self;
        if events.is_empty() && coverage.is_empty() && quarantine.is_empty() {
            return None;
        }
        let taken = events.drain(events.len().saturating_sub(BATCH_EVENTS)..).rev();
        let accesses: Vec<Access> = taken.map(|event| event.access(target)).collect();
        if events.is_empty() {
            *events = Vec::new();
        }
        Some(Batch {
            lines: accesses.len() as u64,
            accesses,
            coverage: std::mem::take(coverage),
            quarantine: std::mem::take(quarantine),
            ..Batch::default()
        })
    }

    /// Forgets that it might have missed something in an interval: it was watched then.
    pub(super) fn was_watched(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        let gaps = std::mem::take(&mut self.coverage);
        for gap in gaps {
            let end = gap.to.unwrap_or(Timestamp::MAX);
            let before = Coverage { to: Some(end.min(from)), ..gap.clone() };
            let after = Coverage { from: gap.from.max(to), ..gap };
            let left = [before, after].into_iter();
            let left = left.filter(|gap| gap.to.is_none_or(|to| gap.from < to));
            let left =
                left.map(|gap| Coverage { last_seen: gap.to.unwrap_or(gap.last_seen), ..gap });
            self.coverage.extend(left);
        }
    }

    /// A file, or the name of one, that cannot be read: once.
    pub(super) fn put_aside(&mut self, path: String, bytes: &[u8], reason: &str) {
        if self.put_aside.len() >= PUT_ASIDE_MAX || !self.put_aside.insert(path.clone()) {
            return;
        }
        self.quarantine.push(Quarantine {
            target: self.target.clone(),
            reason: reason.into(),
            place: Place { file: path.into(), ..Place::default() },
            bytes: bytes[..bytes.len().min(Quarantine::BYTES_MAX)].to_vec(),
            length_bytes: bytes.len() as u64,
            sha256: Sha256::digest(bytes).into(),
        });
    }

    /// Intervals of one cause that one look finds become one.
    pub(super) fn gap(&mut self, actions: &[Action], cause: &str, from: Timestamp, to: Timestamp) {
        if to <= from {
            return;
        }
        let gaps = &mut self.coverage;
        if let Some(gap) =
            gaps.iter_mut().find(|gap| &*gap.cause == cause && gap.actions == actions)
        {
            gap.from = gap.from.min(from);
            gap.last_seen = gap.last_seen.max(to);
            gap.to = Some(gap.last_seen);
            return;
        }
        gaps.push(Coverage {
            target: self.target.clone(),
            actions: actions.to_vec(),
            hidden: Hidden::All,
            cause: cause.into(),
            actor: None,
            from,
            to: Some(to),
            last_seen: to,
            source: Some(self.source.clone()),
            grade: Grade::Blind,
            missing: None,
        });
    }
}

impl Event {
    pub(super) fn new(action: Action, time: Timestamp, object: Option<Name>) -> Event {
        Event { time, action, is_before: false, object, what: None, removed: None, moved_to: None }
    }

    fn access(self, target: &Target) -> Access {
        let mut attributes = Attributes::new();
        let mut give = |name: &str, value: Text| drop(attributes.insert(name.into(), value));
        let is_of_data = |stem: &Stem| stem.data_to > 0 && self.action != Action::Delete;
        let stem = self.object.map(|name| name.stem).filter(is_of_data);
        let data = match self.removed {
            Some(removed) => Some((removed.data_from, removed.data_to)),
            None => stem.map(|stem| (stem.data_from, stem.data_to)),
        };
        if let Some((from, to)) = data {
            give("data_from", data_time(from));
            give("data_to", data_time(to));
        }
        if let Some(object) = self.object {
            give("object", object.to_string().into());
        }
        if let Some(removed) = self.removed {
            give("removed", removed.count.to_string().into());
        }
        if let Some(to) = self.moved_to {
            give("to", to);
        }
        if let Some(what) = self.what {
            give("what", what.into());
        }
        let written_time = match self.is_before {
            true => WrittenTime::Partial(format!("not after {}", self.time).into()),
            false => WrittenTime::Complete,
        };
        Access {
            target: target.clone(),
            event_time: self.time,
            written_time,
            action: self.action,
            outcome: Outcome::Success,
            principal: Principal::Unauthenticated,
            mechanism: None,
            peer: Peer::Unknown,
            peer_joined: false,
            connection: None,
            process_start: None,
            client: None,
            speculative: None,
            classes: Classes::NONE,
            attributes,
            raw: Vec::new(),
            task_id: None,
        }
    }
}

/// Data timestamps are whatever the writer chose; what is no time stays a number.
fn data_time(millis: u64) -> Text {
    let time = i64::try_from(millis).ok().map(Timestamp::from_millis);
    match time.filter(|time| *time < Timestamp::MAX) {
        Some(time) => time.to_string().into(),
        None => millis.to_string().into(),
    }
}
