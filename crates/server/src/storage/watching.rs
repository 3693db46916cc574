//! [`Watching`]: one source, looked at again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use doorbook_event::advance::Advance;
use doorbook_event::arrays::{Array, ArraysChange, Uuid, is_below};
use doorbook_event::record::{Actor, Coverage, Grade, Heartbeat};
use doorbook_event::registry::RegistryChange;
use doorbook_event::source::{Source, State as Doing};
use doorbook_event::{Peer, Principal, Target, Text, Timestamp};
use doorbook_source::Batch;
use doorbook_source::tiledb::ArrayWatch;
use doorbook_store::coverage::Progress;

use super::bucket::ArrayBucket;
use super::disk::Disk;
use super::place::{Place, Seen, Unseen};
use super::position::{One, Position};
use super::told::Told;
use super::{Tools, unknown};
use crate::admin::with_causes;
use crate::arrays::{FILE, basename};
use crate::sources::{SILENCE_SECONDS, Status};

/// Between two looks at all of a place, if nobody says how long.
const INTERVAL_SECONDS: i64 = 60;

/// Between two looks at all of a place that changes wake.
const WOKEN_SECONDS: i64 = 1;

/// After something could not be stored.
const RETRY_SECONDS: i64 = 10;

/// How often it says at least that it is alive.
const HEARTBEAT_SECONDS: i64 = 60;

/// What is stored at once, in events.
const EVENTS_MAX: usize = 4096;

/// An array that changes all the time is looked at for so much of that time: one part of these.
const SHARE: u32 = 10;

/// A source that watches a place.
pub(super) struct Watching {
    place: Box<dyn Place>,
    state: State,
    next_look: Timestamp,
    looked: Option<Timestamp>,
    is_woken: bool,
    woken: BTreeSet<Text>,
    trouble: Option<Trouble>,
}

/// What keeps the whole place from being looked at.
struct Trouble {
    since: Timestamp,
    is_told: bool,
}

/// What is known of the place.
struct State {
    source: Source,
    namespace: Text,
    below: Text,
    removal_seconds: i64,
    arrays: BTreeMap<Text, Known>,
    /// The arrays of the namespace by their address, as of the last look at everything.
    registered: HashMap<Text, Uuid>,
    /// When it was watched before it began anew, and which look at everything begins it.
    watched_before: Vec<(Timestamp, Timestamp)>,
    /// What the history has under other arrays, once a look at everything asked for it.
    told: Option<Told>,
    /// Where it stands in the store.
    position: Vec<u8>,
    through: Option<Timestamp>,
    begun: Timestamp,
    beat: Beat,
    /// Which look at everything this is.
    round: u64,
    /// What was found and is not stored.
    waiting: Batch,
    /// What keeps single arrays from being looked at, as of the last look at everything.
    problems: Vec<(Text, Text)>,
    status: Status,
    /// Why it has to begin anew.
    lost: Option<Lost>,
}

/// An array below.
struct Known {
    id: Uuid,
    /// `None` for one that was deregistered.
    watch: Option<ArrayWatch>,
    /// Whether this process did not look at it yet.
    is_fresh: bool,
    /// In which look at everything it was seen last.
    round: u64,
    /// Since when it cannot be looked at.
    unseen_since: Option<Timestamp>,
    /// When it was looked at last, and when it may be again.
    looked: Timestamp,
    not_before: Duration,
}

/// Why what is in memory is of no use any more.
enum Lost {
    /// The source was changed or replayed.
    Elsewhere,
    /// It could not be stored.
    NotStored(Text),
}

struct Beat {
    at: Timestamp,
    events: u64,
}

impl Watching {
    /// Nothing is looked at before the first [`Watching::run`].
    pub(super) fn new(source: &Source, progress: Option<&Progress>, tools: &Tools) -> Watching {
        let now = tools.clock.now();
        let below = &source.target().names().1.clone();
        let place: Box<dyn Place> = match below.strip_prefix(FILE) {
            Some(path) => Box::new(Disk::new(path, &tools.data_dir)),
            None => {
                let place = below.strip_prefix("s3://").unwrap_or(below);
                let (buckets, runtime) = (tools.buckets.clone(), tools.runtime.clone());
                Box::new(ArrayBucket::new(place, &buckets, runtime, tools.clock.clone()))
            }
        };
        let mut state = State::new(source, progress, place.removal_seconds(), now);
        if state.position.is_empty() {
            state.watched_before = watched_before(source, tools);
        }
        Watching {
            place,
            state,
            next_look: now,
            looked: None,
            is_woken: false,
            woken: BTreeSet::new(),
            trouble: None,
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.state.source
    }

    /// Whether this is where it was left: what was stored last.
    pub(super) fn is_at(&self, position: &[u8]) -> bool {
        self.state.position == position
    }

    pub(super) fn status(&self) -> Status {
        self.state.status.clone()
    }

    /// Looks at what it is time to look at. `false` if it stands elsewhere in the store.
    pub(super) fn run(&mut self, tools: &Tools, stop: &AtomicBool) -> bool {
        let now = tools.clock.now();
        let changed = self.place.changed();
        self.woken.extend(changed.arrays);
        self.is_woken |= changed.place;
        self.woken.extend(self.state.gone_by(now));
        let interval = self.state.source.interval_seconds.map_or(INTERVAL_SECONDS, i64::from);
        // A clock that was set back does not put it to sleep.
        let is_due = self.next_look <= now || now.plus_seconds(interval) < self.next_look;
        let rested = self.looked.is_none_or(|looked| looked.plus_seconds(WOKEN_SECONDS) <= now);
        if is_due || (self.is_woken && rested && self.trouble.is_none()) {
            self.next_look = now.plus_seconds(interval);
            self.look(tools, stop, now);
        } else if !self.woken.is_empty() {
            self.look_at_woken(tools, now);
        }
        match self.state.lost.take() {
            None => true,
            Some(Lost::Elsewhere) => false,
            Some(Lost::NotStored(why)) => {
                // What was found is found again.
                let watched = tools.store.watched();
                let progress = watched.sources.get(&self.state.source.name);
                let removal_seconds = self.place.removal_seconds();
                self.state = State::new(&self.state.source.clone(), progress, removal_seconds, now);
                self.state.status.state = Doing::Failed;
                self.state.status.message = Some(why);
                self.next_look = now.plus_seconds(RETRY_SECONDS);
                true
            }
        }
    }

    /// Stores how far it came.
    pub(super) fn end(&mut self, tools: &Tools) {
        if self.looked.is_some() && self.trouble.is_none() {
            self.state.store(true, tools, tools.clock.now());
        }
    }

    /// Looks at everything.
    fn look(&mut self, tools: &Tools, stop: &AtomicBool, now: Timestamp) {
        self.is_woken = false;
        self.woken.clear();
        let Watching { place, state, .. } = self;
        state.begin(tools);
        let mut is_whole = true;
        let mut look = |state: &mut State| {
            let seen = place.look(&mut |seen| {
                let goes_on = !stop.load(Ordering::SeqCst) && state.see(seen, tools, now);
                is_whole &= goes_on;
                goes_on
            });
            seen.map(|looked| looked.hidden)
        };
        let mut looked = look(state);
        // What was moved while it was looked for is found by a second look.
        if looked.is_ok() && state.missing().next().is_some() {
            looked = look(state);
        }
        match looked {
            Err(unseen) => self.cannot_look(tools, &unseen, now),
            Ok(_) if !is_whole => {}
            Ok(hidden) => {
                state.hide(hidden, now);
                state.tell_missing(tools, now);
                let through = now.plus_seconds(-place.margin_seconds());
                state.end(place.note(), through, tools, now);
                self.trouble = None;
                self.looked = Some(now);
            }
        }
    }

    /// Looks at single arrays that changed.
    fn look_at_woken(&mut self, tools: &Tools, now: Timestamp) {
        let Watching { place, state, woken, .. } = self;
        let steady = (tools.steady)();
        let is_ready = |uri: &Text| match state.arrays.get(uri) {
            Some(known) => known.not_before <= steady,
            None => true,
        };
        let (ready, later): (BTreeSet<Text>, _) =
            std::mem::take(woken).into_iter().partition(is_ready);
        *woken = later;
        for uri in ready {
            let mut is_there = false;
            if state.arrays.contains_key(&uri) {
                place.look_at(&uri, &mut |seen| {
                    is_there = true;
                    let _or_it_is_lost = state.see(seen, tools, now);
                });
            }
            // It was no array yet when it was looked at, or is none any more.
            self.is_woken |= !is_there;
        }
        if !state.waiting.is_empty_of_records() {
            state.store(true, tools, now);
        }
    }

    fn cannot_look(&mut self, tools: &Tools, unseen: &Unseen, now: Timestamp) {
        let state = &mut self.state;
        state.status.state = if unseen.is_absent { Doing::Waiting } else { Doing::Failed };
        state.status.message = Some(unseen.message.clone());
        let trouble = self.trouble.get_or_insert(Trouble { since: now, is_told: false });
        if !trouble.is_told && trouble.since.plus_seconds(SILENCE_SECONDS) <= now {
            trouble.is_told = true;
            let from = state.through.unwrap_or(state.begun);
            let gap = Coverage::unseen(&state.source, unseen.message.clone(), from);
            state.waiting.coverage.push(gap);
        } else if !trouble.is_told {
            // Not so long that it would be a gap for no other reason than the interval.
            self.next_look = self.next_look.min(trouble.since.plus_seconds(SILENCE_SECONDS));
        }
        state.store(false, tools, now);
    }
}

impl State {
    fn new(
        source: &Source,
        progress: Option<&Progress>,
        removal_seconds: i64,
        now: Timestamp,
    ) -> State {
        let namespace = source.namespace().cloned().unwrap_or_default();
        let below = source.target().names().1.clone();
        let position = progress.map(|progress| progress.position.clone()).unwrap_or_default();
        let through = progress.and_then(|progress| progress.through);
        let mut state = State {
            source: source.clone(),
            namespace,
            below,
            removal_seconds,
            arrays: BTreeMap::new(),
            registered: HashMap::new(),
            watched_before: Vec::new(),
            told: None,
            through,
            begun: now,
            beat: Beat { at: now, events: 0 },
            round: 0,
            waiting: Batch::default(),
            problems: Vec::new(),
            status: Status { through, ..unknown() },
            lost: None,
            position,
        };
        match Position::read(&state.position) {
            Ok(position) => {
                for (uri, one) in position.arrays {
                    let known = state.known(one.id, &one.position, now);
                    let watch = known.watch.filter(|_| !one.position.is_empty());
                    state.arrays.insert(uri, Known { watch, ..known });
                }
            }
            Err(error) => {
                let source = &*source.name;
                tracing::warn!(
                    source,
                    error,
                    "where a source goes on cannot be read: it begins anew"
                );
            }
        }
        state
    }

    fn known(&self, id: Uuid, position: &[u8], now: Timestamp) -> Known {
        let target =
            Target::Array { namespace: self.namespace.clone(), array: id.to_string().into() };
        let name = &self.source.name;
        let watch = ArrayWatch::new(target.clone(), name.clone(), position).or_else(|error| {
            tracing::warn!(source = &**name, %error, "the watch of an array begins anew");
            ArrayWatch::new(target, name.clone(), &[])
        });
        let slow = |mut watch: ArrayWatch| {
            watch.set_removal_seconds(self.removal_seconds);
            watch
        };
        Known {
            id,
            watch: watch.ok().map(slow),
            is_fresh: true,
            round: 0,
            unseen_since: None,
            looked: now,
            not_before: Duration::ZERO,
        }
    }

    /// Begins a look at everything: by what is registered now.
    fn begin(&mut self, tools: &Tools) {
        self.round += 1;
        self.problems.clear();
        self.told = None;
        let catalog = tools.store.catalog();
        let arrays = catalog.registry.arrays().arrays_of(&self.namespace);
        self.registered = arrays.map(|array| (array.uri.clone(), array.id)).collect();
        let now = tools.clock.now();
        let uris: Vec<Text> = self.arrays.keys().cloned().collect();
        for uri in uris {
            let registered = self.registered.get(&uri).copied();
            let Some(known) = self.arrays.get_mut(&uri) else { continue };
            match registered {
                None => known.watch = None,
                Some(id) if id == known.id && known.watch.is_some() => {}
                Some(id) => {
                    let round = known.round;
                    let anew = Known { round, ..self.known(id, &[], now) };
                    self.arrays.insert(uri, anew);
                }
            }
        }
    }

    /// Takes note of what an array shows. Whether to go on.
    fn see(&mut self, seen: Seen<'_>, tools: &Tools, now: Timestamp) -> bool {
        let Seen { uri, listing, contents } = seen;
        let listing = match listing {
            Ok(listing) => listing,
            Err(why) => {
                self.cannot(&uri, why, now);
                return true;
            }
        };
        let is_new = !self.arrays.contains_key(&uri);
        if is_new {
            // One that is being made has no schema yet.
            if !listing.is_array() {
                return true;
            }
            match self.id_of(&uri, tools) {
                Ok(id) => drop(self.arrays.insert(uri.clone(), self.known(id, &[], now))),
                Err(why) => {
                    self.problems.push((uri, why));
                    return true;
                }
            }
        }
        let round = self.round;
        let Some(known) = self.arrays.get_mut(&uri) else { return true };
        known.round = round;
        let Some(watch) = &mut known.watch else { return true };
        let began = (tools.steady)();
        watch.scan(listing, contents, now);
        let ended = (tools.steady)();
        known.not_before = ended + (ended.saturating_sub(began)) * SHARE;
        known.looked = now;
        if let Some(from) = known.unseen_since.take() {
            let gap = unseen(&self.source, &self.namespace, known.id, "".into(), from);
            // The gap had no end, and neither has this.
            let gap = Coverage { last_seen: now, grade: Grade::Watched, ..gap };
            self.waiting.coverage.push(gap);
        }
        let is_fresh = std::mem::take(&mut known.is_fresh);
        if is_new && self.round == 1 {
            // What is read again was seen when it happened, from when on the array was known.
            let catalog = tools.store.catalog();
            let array = catalog.registry.arrays().find(&self.namespace, &known.id.to_string());
            let since = array.map_or(now, |array| array.created);
            for (from, to) in &self.watched_before {
                watch.was_watched((*from).max(since), *to);
            }
        }
        if is_new {
            self.take_over(&uri);
        }
        if is_fresh && let Err(error) = self.forget_told(&uri, tools) {
            // It is looked at again as if it had not been seen.
            let why = format!("its history cannot be read: {}", with_causes(&error));
            self.lost = Some(Lost::NotStored(why.into()));
            return false;
        }
        self.take(&uri, tools, now)
    }

    /// What a copy has of what it is a copy of was done there.
    fn take_over(&mut self, uri: &Text) {
        let Some(mut watch) = self.arrays.get_mut(uri).and_then(|known| known.watch.take()) else {
            return;
        };
        for other in self.arrays.values().filter_map(|known| known.watch.as_ref()) {
            if watch.is_same_array(other) {
                watch.take_over(other);
            }
        }
        if let Some(known) = self.arrays.get_mut(uri) {
            known.watch = Some(watch);
        }
    }

    /// What the history has of an array that lay elsewhere was done there, also if nobody watches there
    /// any more.
    fn forget_told(&mut self, uri: &Text, tools: &Tools) -> Result<(), doorbook_store::Error> {
        let Some(known) = self.arrays.get_mut(uri) else { return Ok(()) };
        let Some(watch) = known.watch.as_mut().filter(|watch| watch.has_found()) else {
            return Ok(());
        };
        let told = match self.told.take() {
            Some(told) => told,
            None => Told::read(&tools.store, &self.namespace)?,
        };
        self.told.insert(told).take_from(&tools.store, &known.id.to_string().into(), watch)
    }

    /// Takes what a watch found, and stores it if that is much.
    fn take(&mut self, uri: &Text, tools: &Tools, now: Timestamp) -> bool {
        loop {
            let watch = self.arrays.get_mut(uri).and_then(|known| known.watch.as_mut());
            let Some(batch) = watch.and_then(ArrayWatch::take) else { return true };
            self.waiting.accesses.extend(batch.accesses);
            self.waiting.coverage.extend(batch.coverage);
            self.waiting.quarantine.extend(batch.quarantine);
            self.waiting.lines += batch.lines;
            if self.waiting.accesses.len() >= EVENTS_MAX && !self.store(false, tools, now) {
                return false;
            }
        }
    }

    fn cannot(&mut self, uri: &Text, why: Text, now: Timestamp) {
        let (round, source, namespace) = (self.round, &self.source, &self.namespace);
        if let Some(known) = self.arrays.get_mut(uri) {
            known.round = round;
            if known.watch.is_some() && known.unseen_since.is_none() {
                let from = known.looked.min(now);
                known.unseen_since = Some(from);
                let gap = unseen(source, namespace, known.id, why.clone(), from);
                self.waiting.coverage.push(gap);
            }
        }
        self.problems.push((uri.clone(), why));
    }

    /// The id of an array, which is registered if it is not.
    fn id_of(&self, uri: &Text, tools: &Tools) -> Result<Uuid, Text> {
        if let Some(id) = self.registered.get(uri) {
            return Ok(*id);
        }
        let mut bytes = [0; 16];
        tools.random.fill(&mut bytes);
        let id = Uuid::random(bytes);
        let below = uri.strip_prefix(&*self.below).unwrap_or("").trim_matches('/');
        let name = if below.is_empty() { basename(uri) } else { below };
        let catalog = tools.store.catalog();
        let is_free = |name: &str| catalog.registry.arrays().find(&self.namespace, name).is_none();
        let name = match is_free(name) {
            true => name.to_owned(),
            false => format!("{name}-{}", &id.to_string()[..8]),
        };
        let array = Array {
            id,
            namespace: self.namespace.clone(),
            name: name.into(),
            uri: uri.clone(),
            created: tools.clock.now(),
            created_by: "doorbook".into(),
            description: "".into(),
            tags: Vec::new(),
            shares: BTreeMap::new(),
        };
        let by = Actor { principal: Principal::Doorbook, peer: Peer::Unknown };
        let change = RegistryChange::Arrays(ArraysChange::ArrayRegistered(array));
        let registered = tools.store.change_registry(&by, vec![change]);
        let cannot = |error| format!("it cannot be registered: {}", with_causes(&error)).into();
        registered.map(|_| id).map_err(cannot)
    }

    /// Arrays of which something is going and may all be gone now.
    fn gone_by(&self, now: Timestamp) -> impl Iterator<Item = Text> {
        let arrays = self.arrays.iter();
        let until = |known: &Known| known.watch.as_ref().and_then(ArrayWatch::going_until);
        let over = arrays.filter(move |(_, known)| until(known).is_some_and(|until| until <= now));
        over.map(|(uri, _)| uri.clone())
    }

    /// Arrays that were not seen in this look.
    fn missing(&self) -> impl Iterator<Item = &Text> {
        let round = self.round;
        let missing = self.arrays.iter().filter(move |(_, known)| known.round != round);
        missing.map(|(uri, _)| uri)
    }

    /// What lies below a place that could not be looked at was not looked at.
    fn hide(&mut self, hidden: Vec<(Text, Text)>, now: Timestamp) {
        for (place, why) in hidden {
            let below: Vec<Text> =
                self.missing().filter(|uri| is_below(uri, &place)).cloned().collect();
            match below.is_empty() {
                true => self.problems.push((place, why)),
                false => below.iter().for_each(|uri| self.cannot(uri, why.clone(), now)),
            }
        }
    }

    /// What is missing lies elsewhere now, or is no more.
    fn tell_missing(&mut self, tools: &Tools, now: Timestamp) {
        let missing: Vec<Text> = self.missing().cloned().collect();
        for uri in missing {
            let Some(Known { watch: Some(watch), .. }) = self.arrays.get(&uri) else {
                self.arrays.remove(&uri);
                continue;
            };
            let is_it = |(other, known): &(&Text, &Known)| {
                **other != uri && known.watch.as_ref().is_some_and(|it| watch.is_same_array(it))
            };
            let elsewhere = self.arrays.iter().find(is_it).map(|(uri, _)| uri.clone());
            let was_there = !watch.position().is_empty();
            let Some(watch) = self.arrays.get_mut(&uri).and_then(|known| known.watch.as_mut())
            else {
                continue;
            };
            match elsewhere {
                Some(elsewhere) => watch.moved(&elsewhere, now),
                None if was_there => watch.gone(now),
                // Told already, when only its schema was gone.
                None => {}
            }
            if !self.take(&uri, tools, now) {
                return;
            }
            self.arrays.remove(&uri);
        }
    }

    /// Everything was looked at.
    fn end(&mut self, note: Option<Text>, through: Timestamp, tools: &Tools, now: Timestamp) {
        self.status.state = Doing::Following;
        let several = |n: usize| match n {
            1 => "1 place cannot be looked at".to_owned(),
            n => format!("{n} places cannot be looked at"),
        };
        let problem = self.problems.first().map(|(uri, why)| {
            Text::from(format!("{}: {uri}: {why}", several(self.problems.len())))
        });
        self.status.message = problem.or(note);
        // What is going is not told yet.
        let is_going =
            |known: &Known| known.watch.as_ref().is_some_and(|watch| watch.going_until().is_some());
        if !self.arrays.values().any(is_going) {
            self.through = self.through.max(Some(through));
        }
        // As fresh is what answers say of it.
        self.store(true, tools, now);
    }

    /// Stores what waits. With `is_all`, nothing of what was seen is left, so that it goes on from there.
    fn store(&mut self, is_all: bool, tools: &Tools, now: Timestamp) -> bool {
        let waiting = std::mem::take(&mut self.waiting);
        if !is_all && waiting.is_empty_of_records() {
            return true;
        }
        let position = if is_all { self.new_position() } else { self.position.clone() };
        let beats = is_all && self.beat.at.plus_seconds(HEARTBEAT_SECONDS) <= now;
        let advance = Advance {
            source: self.source.clone(),
            after: self.position.clone(),
            position: position.clone(),
            // What is seen twice is the same, wherever.
            is_next_file: true,
            accesses: waiting.accesses,
            coverage: waiting.coverage,
            quarantine: waiting.quarantine,
            heartbeat: beats.then(|| self.heartbeat(tools, now)),
            through: if is_all { self.through } else { self.status.through },
            since: Some(self.begun),
            lines: waiting.lines,
            doubt: None,
        };
        let through = advance.through;
        match tools.store.advance(vec![advance]).pop() {
            Some(Ok(advanced)) => {
                self.position = position;
                self.status.through = through;
                self.status.events += advanced.events;
                self.status.lines += waiting.lines;
                self.beat.events += advanced.events;
                if beats {
                    self.beat = Beat { at: now, events: 0 };
                }
                true
            }
            Some(Err(error)) if crate::sources::is_elsewhere(&error) => {
                self.lost = Some(Lost::Elsewhere);
                false
            }
            Some(Err(error)) => {
                let why = format!("what was seen cannot be stored: {}", with_causes(&error));
                self.lost = Some(Lost::NotStored(why.into()));
                false
            }
            None => false,
        }
    }

    fn new_position(&self) -> Vec<u8> {
        let one = |known: &Known| {
            let position = known.watch.as_ref().map(ArrayWatch::position).unwrap_or_default();
            One { id: known.id, position }
        };
        let arrays = self.arrays.iter().map(|(uri, known)| (uri.clone(), one(known)));
        Position::of(arrays.collect()).bytes()
    }

    fn heartbeat(&self, tools: &Tools, now: Timestamp) -> Heartbeat {
        Heartbeat {
            source: self.source.name.clone(),
            target: self.source.target(),
            at: now,
            through: self.through,
            lines: self.beat.events,
            events: self.beat.events,
            behind_bytes: 0,
            delay_micros: None,
            clock: (tools.clock_state)(),
        }
    }
}

/// When a source saw its place, as far as it told before it was put back to its beginning.
fn watched_before(source: &Source, tools: &Tools) -> Vec<(Timestamp, Timestamp)> {
    let watched = tools.store.watched();
    let spans = watched.spans(&source.scope(), &source.target(), &source.name);
    let seen = spans.iter().filter(|span| span.grade == Grade::Watched);
    seen.map(|span| (span.from, span.to)).collect()
}

/// That an array was not seen.
fn unseen(source: &Source, namespace: &Text, id: Uuid, why: Text, from: Timestamp) -> Coverage {
    let target = Target::Array { namespace: namespace.clone(), array: id.to_string().into() };
    Coverage { target, ..Coverage::unseen(source, why, from) }
}
