//! [`Sources`]: the thread that follows every source of the registry.
//!
//! Each round it looks what the registry has, lets each source read what was written, and stores what
//! they read, each together with where it goes on. One thread for all: a source that has nothing to
//! read costs a `stat`, and what has to be read is read one file at a time, so that memory does not grow
//! with the number of sources. Logs that lie in buckets have a thread of their own, because a network that hangs
//! must keep no file of this machine waiting.
//!
//! What cannot be read is tried again, a file that is not there with the next round and the rest less
//! often. Once that has lasted for [`SILENCE_SECONDS`], it is a gap from the last time that it could. The
//! gap ends by itself when the source goes on: if it finds its place again it has missed nothing.
//!
//! A source that an agent follows is looked at, too: it is the server that knows when an agent says nothing.

mod bucket;
mod clock;
pub mod overview;
mod shipped;
pub(crate) mod status;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use doorbook_event::advance::Advance;
use doorbook_event::arrays::is_below;
use doorbook_event::record::ClockState;
use doorbook_event::registry::Registry;
use doorbook_event::source::{Source, Subject, Way};
use doorbook_event::{Clock, Record, Scope, Text};
use doorbook_source::following::{Following, Place};
use doorbook_source::object_log::Places;
use doorbook_store::coverage::Progress;
use doorbook_store::{Catalog, Entry, Store};
use tokio::runtime::Handle;

pub use doorbook_event::source::State;
pub use doorbook_source::following::{SILENCE_SECONDS, Status};
pub use shipped::{Agents, Heard};

use crate::admin::with_causes;
use crate::buckets::Buckets;
use crate::rounds::{Rounds, pause};
use bucket::LogBucket;
use clock::{ClockNews, ClockWatch, Look};
use shipped::Shipped;

/// Between two looks at files that had nothing new.
const INTERVAL: Duration = Duration::from_millis(500);

/// What may wait to be stored, about, and what one source may add to it at once. In memory it stands four
/// times while it is stored: as it was read, as rows, in the WAL's form and in the frame.
const ROUND_SIZE_BYTES: usize = 1 << 20;

/// How the path of a log begins that lies in a bucket.
const BUCKET: &str = "s3://";

/// What is needed to follow.
#[derive(Clone)]
pub struct Tools {
    /// Where sources and their places are, and where what they read goes.
    pub store: Store,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// How far that can be trusted.
    pub clock_state: fn() -> ClockState,
    /// How long the machine has run, by a clock that nobody sets.
    pub steady: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// What agents say of themselves.
    pub agents: Agents,
    /// How buckets are reached, and where requests to them run, which is none of the threads here; without it
    /// no log in a bucket is read.
    pub buckets: Option<(Buckets, Handle)>,
}

/// How each source is, by its name. Cheap to clone.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<Reader, BTreeMap<Text, Status>>>>);

/// Who tells how sources are: each of these tells of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reader {
    /// [`Sources`], what is on this machine or comes from agents.
    Followed,
    /// [`Sources`], logs in buckets.
    Fetched,
    /// [`crate::routing`]
    Received,
    /// [`crate::storage`], what is on disk.
    Stored,
    /// [`crate::storage`], what is in buckets.
    Listed,
}

impl Board {
    /// As it is now.
    pub fn statuses(&self) -> BTreeMap<Text, Status> {
        let all = self.locked();
        let all = all.values().flatten();
        all.map(|(name, status)| (name.clone(), status.clone())).collect()
    }

    /// How one reader's sources are.
    pub(crate) fn of(&self, reader: Reader) -> BTreeMap<Text, Status> {
        self.locked().get(&reader).cloned().unwrap_or_default()
    }

    /// How one reader's sources are now, all of them.
    pub(crate) fn set(&self, reader: Reader, statuses: BTreeMap<Text, Status>) {
        self.locked().insert(reader, statuses);
    }

    /// How one of them is.
    pub(crate) fn note(&self, reader: Reader, name: Text, status: Status) {
        self.locked().entry(reader).or_default().insert(name, status);
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<Reader, BTreeMap<Text, Status>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sources of a running server.
pub struct Sources {
    board: Board,
    rounds: Rounds,
}

impl Sources {
    /// Begins to follow.
    pub fn start(tools: Tools) -> std::io::Result<Sources> {
        let board = Board::default();
        let mut rounds = Rounds::new("following sources");
        for (name, reader) in [("sources", Reader::Followed), ("logs", Reader::Fetched)] {
            let mut round = Round::new(tools.clone(), board.clone(), reader);
            rounds.begin(name, move |stop| {
                while !stop.load(Ordering::SeqCst) {
                    if !round.run(stop) {
                        pause(INTERVAL);
                    }
                }
            })?;
        }
        Ok(Sources { board, rounds })
    }

    /// How they are.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Stores what was read and stops.
    pub fn stop(self) {
        drop(self.rounds);
    }
}

/// What is kept from round to round.
pub(crate) struct Round {
    tools: Tools,
    board: Board,
    /// Whose sources these are.
    reader: Reader,
    following: BTreeMap<Text, Following>,
    shipped: BTreeMap<Text, Shipped>,
    own_clock: ClockWatch,
    /// As of which the arrays are that object stores' logs are read for.
    arrays_of: Option<Arc<Catalog>>,
}

impl Round {
    pub(crate) fn new(tools: Tools, board: Board, reader: Reader) -> Round {
        let (following, shipped) = (BTreeMap::new(), BTreeMap::new());
        let own_clock = ClockWatch::default();
        Round { tools, board, reader, following, shipped, own_clock, arrays_of: None }
    }

    /// Lets each source read once, and stores it. Whether there is more to read already.
    pub(crate) fn run(&mut self, stop: &AtomicBool) -> bool {
        match &self.tools.buckets {
            _ if self.reader == Reader::Followed => self.look_at_the_clock(),
            // With the wrong key a bucket is not there.
            Some((buckets, _)) if buckets.is_told() => {}
            _ => return false,
        }
        self.follow_registry();
        let mut more = false;
        let mut waiting = Vec::new();
        let mut size_bytes = 0;
        let names: Vec<Text> = self.following.keys().cloned().collect();
        for name in names {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            let now = self.tools.clock.now();
            let Some(following) = self.following.get_mut(&name) else { continue };
            more |= following.read(now);
            if let Some(advance) = following.take_advance(now, self.tools.clock_state) {
                size_bytes += advance.size_bytes();
                waiting.push(advance);
            }
            if size_bytes >= ROUND_SIZE_BYTES {
                self.store(std::mem::take(&mut waiting));
                size_bytes = 0;
            }
        }
        self.store(waiting);
        self.look_at_agents();
        self.tell();
        more
    }

    /// What our clock did is an event, and told once it is one.
    fn look_at_the_clock(&mut self) {
        let Tools { store, clock, clock_state, steady, .. } = &self.tools;
        let look = Look { wall: clock.now(), steady: steady(), state: clock_state() };
        let news = self.own_clock.news(&look);
        if !news.is_empty() {
            let events = news.iter().map(|news| Record::Own(news.event(look.wall)));
            let (scope, source, records) = (Scope::System, "doorbook".into(), events.collect());
            if store.commit(vec![Entry { scope, source, records }]).is_err() {
                return;
            }
            news.into_iter().for_each(ClockNews::tell);
        }
        self.own_clock.told(look);
    }

    /// Begins and ends following as the registry says.
    fn follow_registry(&mut self) {
        let catalog = self.tools.store.catalog();
        let watched = self.tools.store.watched();
        // One that was changed, or put back to its beginning, begins anew.
        let is_wanted = |following: &Following| {
            let source = following.source();
            let progress = watched.sources.get(&source.name);
            let position = progress.map_or(&[][..], |progress| &progress.position);
            catalog.registry.source(&source.name) == Some(source) && following.is_at(position)
        };
        self.following.retain(|_, following| is_wanted(following));
        self.shipped.retain(|name, of| catalog.registry.source(name) == Some(of.source()));
        for source in catalog.registry.sources() {
            let Way::Shipped(agent) = source.way() else { continue };
            if self.reader != Reader::Followed {
                break;
            }
            let progress = watched.sources.get(&source.name);
            let now = self.tools.clock.now();
            let begin = || Shipped::new(source, agent, progress, now);
            self.shipped.entry(source.name.clone()).or_insert_with(begin);
        }
        for source in catalog.registry.sources().filter(is_followed) {
            if reader_of(source) != self.reader || self.following.contains_key(&source.name) {
                continue;
            }
            let aliases = catalog.registry.aliases_of(source).cloned().collect();
            let from = watched.sources.get(&source.name).map(place_of).unwrap_or_default();
            let now = self.tools.clock.now();
            let mut following = Following::new(source.clone(), aliases, from, now);
            following.set_batch_size_bytes(ROUND_SIZE_BYTES);
            if let (Some(place), Some((buckets, runtime))) =
                (source.path.strip_prefix(BUCKET), &self.tools.buckets)
            {
                let bucket = LogBucket::new(place, buckets, runtime.clone());
                following.set_files(Arc::new(move || Box::new(bucket.clone())));
            }
            self.following.insert(source.name.clone(), following);
            self.arrays_of = None;
        }
        if !self.arrays_of.as_ref().is_some_and(|known| Arc::ptr_eq(known, &catalog)) {
            self.tell_of_arrays(&catalog.registry);
            self.arrays_of = Some(catalog);
        }
    }

    /// Tells those who read an object store's log which arrays there are.
    fn tell_of_arrays(&mut self, registry: &Registry) {
        for following in self.following.values_mut() {
            let Subject::Arrays { namespace, below } = &following.source().subject else {
                continue;
            };
            let arrays = registry.arrays().arrays_of(namespace);
            let arrays = arrays.filter(|array| is_below(&array.uri, below));
            let arrays = arrays.map(|array| (&*array.uri, Text::from(array.id.to_string())));
            let places = Places::new(namespace.clone(), arrays);
            following.set_places(Arc::new(places));
        }
    }

    /// Sees how the sources are that agents follow, and stores that an agent is away.
    fn look_at_agents(&mut self) {
        let watched = self.tools.store.watched();
        let now = self.tools.clock.now();
        for (name, shipped) in &mut self.shipped {
            let progress = watched.sources.get(name);
            let Some(gap) = shipped.look(&self.tools.agents, progress, now) else { continue };
            let source = shipped.source();
            let scope = source.scope();
            // From before a restart, or by another cause that lasts.
            let is_blind = watched.is_blind(&scope, &source.target(), name);
            let stored = is_blind || self.tools.store.advance(vec![gap]).iter().all(Result::is_ok);
            if stored {
                shipped.told();
            }
        }
    }

    fn store(&mut self, advances: Vec<Advance>) {
        if advances.is_empty() {
            return;
        }
        let places: Vec<(Text, Place)> = advances
            .iter()
            .map(|advance| (advance.source.name.clone(), Place::after(advance)))
            .collect();
        let answers = self.tools.store.advance(advances);
        let now = self.tools.clock.now();
        for ((name, place), answer) in places.into_iter().zip(answers) {
            let Some(following) = self.following.get_mut(&name) else { continue };
            match answer {
                Ok(advanced) => following.stored(place, advanced.events, now),
                // Where it really is is in the store.
                Err(error) if is_elsewhere(&error) => drop(self.following.remove(&name)),
                Err(error) => {
                    let why = format!("what was read cannot be stored: {}", with_causes(&error));
                    following.not_stored(why.into(), now);
                }
            }
        }
    }

    fn tell(&self) {
        let followed = self.following.iter();
        let followed = followed.map(|(name, following)| (name.clone(), following.status()));
        let shipped = self.shipped.iter();
        let shipped = shipped.map(|(name, shipped)| (name.clone(), shipped.status()));
        let statuses: BTreeMap<Text, Status> = followed.chain(shipped).collect();
        status::tell_changes(&self.board.of(self.reader), &statuses);
        self.board.set(self.reader, statuses);
    }
}

/// Whether its files are read here, one after the other.
fn is_followed(source: &&Source) -> bool {
    source.way() == Way::Followed || source.kind.is_object_log()
}

/// Which thread reads it.
fn reader_of(source: &Source) -> Reader {
    match source.path.starts_with(BUCKET) {
        true => Reader::Fetched,
        false => Reader::Followed,
    }
}

fn place_of(progress: &Progress) -> Place {
    Place { position: progress.position.clone(), through: progress.through }
}

/// Whether the source was changed or replayed meanwhile.
pub(crate) fn is_elsewhere(error: &doorbook_store::Error) -> bool {
    use doorbook_store::ErrorKind::{Exists, Missing};
    matches!(error.kind, Exists | Missing)
}

#[cfg(test)]
mod tests;
