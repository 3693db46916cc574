//! [`Sessions`]: requests that belong together, as one event.
//!
//! Each array has a *lane* for everyone who works on it: requester, address and program. What a request says
//! of the array is a *sign* in its lane: something was read, an object appeared that is a commit, something
//! went. Signs wait in the order of their times, which need not be the order in which they came, until the
//! log can hardly tell of anything between them any more ([`Format::hold_seconds`]). Then they are
//! interpreted one after the other, each with those after it in view. What comes of it depends on the
//! requests, and not on the order or the groups in which they came.
//!
//! Signs of one kind and one instant are one sign, so that a log with whole seconds takes memory by the
//! second. Without room what waits longest is interpreted early ([`Counts::hurried`]).
//!
//! [`mod@sign`] says what a request alone tells, [`lane`] what several do, and [`events`] in which words.

use std::collections::{BTreeMap, HashSet};

use doorbook_event::{Access, Text, Timestamp};

use self::events::Events;
use self::lane::{Lane, MERGE_MICROS, Who};
use self::sign::{Name, sign};
use super::object::Place;
use super::{Format, Operation, Places, Request};
use crate::intern::{Texts, hash};

mod events;
mod lane;
mod sign;

/// What may wait.
const HELD_SIZE_BYTES_MAX: usize = 16 << 20;

/// Fragments that are being uploaded.
const UPLOADS_MAX: usize = 10_000;

/// What became of requests that no event tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// For what is no part of an array.
    pub foreign: u64,
    /// For arrays that the namespace does not have.
    pub unregistered: u64,
    /// What failed otherwise than by being denied.
    pub failed: u64,
    /// Told of more than once: logs are delivered at least once.
    pub repeated: u64,
    /// Earlier than what was interpreted already.
    pub late: u64,
    /// How often there was no room to wait.
    pub hurried: u64,
}

/// Puts requests together.
pub struct Sessions {
    hold_micros: i64,
    lanes: BTreeMap<Who, Lane>,
    texts: Texts,
    held_size_bytes: usize,
    n_uploads: usize,
    /// The end of the latest request.
    latest: Option<Timestamp>,
    /// Up to where signs were interpreted.
    decided: Timestamp,
    /// Requests that were taken and not interpreted, so that one that is told of twice is one.
    taken: Taken,
    counts: Counts,
}

impl Sessions {
    /// A reading that lasts longer than an hour is told of as several.
    pub const READING_MICROS_MAX: i64 = 3_600_000_000;

    /// For a log of this format.
    pub fn new(format: Format) -> Sessions {
        Sessions {
            // What comes after a reading is needed to know what it was for.
            hold_micros: format.hold_seconds() * 1_000_000 + MERGE_MICROS,
            lanes: BTreeMap::new(),
            texts: Texts::default(),
            held_size_bytes: 0,
            n_uploads: 0,
            latest: None,
            decided: Timestamp::MIN,
            taken: Taken::default(),
            counts: Counts::default(),
        }
    }

    /// How many requests there were, and of what no event tells.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The end of the latest request.
    pub fn latest(&self) -> Option<Timestamp> {
        self.latest
    }

    /// What is told is so far behind what was read.
    pub fn hold_micros(&self) -> i64 {
        self.hold_micros
    }

    /// Whether [`Sessions::relieve`] is due.
    pub fn is_full(&self) -> bool {
        self.held_size_bytes > HELD_SIZE_BYTES_MAX
    }

    /// Takes a request, and the line that told of it.
    pub fn add(&mut self, request: &Request, line: &[u8]) {
        self.counts.requests += 1;
        let end = request.at.plus_micros(request.duration_micros);
        self.latest = self.latest.max(Some(end));
        let is_list = matches!(request.operation, Operation::List { .. });
        let place = match is_list {
            true => Place::of_list(&request.key),
            false => Place::of_object(&request.key),
        };
        let Some(place) = place else {
            self.counts.foreign += 1;
            return;
        };
        let is_denied = matches!(request.status, 401 | 403);
        let is_success = (200..300).contains(&request.status);
        if !is_denied && !is_success {
            self.counts.failed += 1;
            return;
        }
        if request.at <= self.decided {
            self.counts.late += 1;
        }
        let who = Who {
            bucket: request.bucket.clone(),
            array: self.texts.text(place.array.as_bytes()),
            requester: request.requester.clone(),
            address: request.address,
            program: request.user_agent.as_ref().map(|agent| self.program(agent)),
        };
        let name = Name::new(place);
        if let Some((key, sign)) = sign(request, &name, end, is_denied, line) {
            if !self.taken.add(request) {
                self.counts.repeated += 1;
                return;
            }
            let lane = self.lanes.entry(who).or_default();
            self.held_size_bytes += lane.add(key, sign);
        }
    }

    /// The program without what differs from request to request.
    fn program(&mut self, agent: &Text) -> Text {
        if !agent.contains(" m/") {
            return agent.clone();
        }
        let words = agent.split(' ').filter(|word| !word.starts_with("m/"));
        self.texts.text(words.collect::<Vec<_>>().join(" ").as_bytes())
    }

    /// Tells of what is over, where the log has been read up to `until`.
    pub fn close(&mut self, until: Timestamp, places: &Places, out: &mut Vec<Access>) {
        self.decide(until.plus_micros(-self.hold_micros), places, out);
    }

    /// Tells of what waits longest, until there is room.
    pub fn relieve(&mut self, places: &Places, out: &mut Vec<Access>) {
        let latest = self.latest.unwrap_or(self.decided);
        let mut hold_micros = self.hold_micros;
        while self.held_size_bytes > HELD_SIZE_BYTES_MAX / 2 && hold_micros > 0 {
            self.counts.hurried += 1;
            hold_micros = if hold_micros > 1_000_000 { hold_micros / 2 } else { 0 };
            self.decide(latest.plus_micros(-hold_micros), places, out);
        }
    }

    fn decide(&mut self, until: Timestamp, places: &Places, out: &mut Vec<Access>) {
        if until < self.decided {
            return;
        }
        self.decided = until;
        self.taken.forget(until);
        let first = out.len();
        let (mut freed_size_bytes, mut n_uploads) = (0, 0);
        let has_room = self.n_uploads < UPLOADS_MAX;
        self.lanes.retain(|who, lane| {
            let mut events = Events::new(who, places, out);
            freed_size_bytes += lane.decide(until, has_room, &mut events, &mut self.counts);
            n_uploads += lane.n_uploads();
            !lane.is_empty(until)
        });
        self.held_size_bytes -= freed_size_bytes;
        self.n_uploads = n_uploads;
        // By time, as if there were no lanes.
        out[first..].sort_by(|one, other| {
            let key =
                |access: &Access| (access.event_time, access.attributes.get("request").cloned());
            key(one).cmp(&key(other))
        });
    }
}

/// Which requests were taken, by the minute in which they were made.
#[derive(Default)]
struct Taken {
    minutes: BTreeMap<i64, HashSet<u64>>,
    n_requests: usize,
}

impl Taken {
    /// Eight bytes each. Beyond that the oldest are forgotten, and count again if they come again.
    const REQUESTS_MAX: usize = 1 << 20;

    /// Whether it is new. Requests to remove several objects are one line each, of one id.
    fn add(&mut self, request: &Request) -> bool {
        if request.id.is_empty() {
            return true;
        }
        let Request { id, bucket, key, operation, .. } = request;
        let hash = hash(format!("{id}\n{operation:?}\n{bucket}\n{key}").as_bytes());
        let minute = request.at.micros().div_euclid(60_000_000);
        let is_new = self.minutes.entry(minute).or_default().insert(hash);
        self.n_requests += usize::from(is_new);
        while self.n_requests > Taken::REQUESTS_MAX
            && let Some((_, oldest)) = self.minutes.pop_first()
        {
            self.n_requests -= oldest.len();
        }
        is_new
    }

    /// What was made before is interpreted.
    fn forget(&mut self, until: Timestamp) {
        let rest = self.minutes.split_off(&until.micros().div_euclid(60_000_000));
        let gone = std::mem::replace(&mut self.minutes, rest);
        self.n_requests -= gone.values().map(HashSet::len).sum::<usize>();
    }
}
