//! The store: one data directory that loses nothing it acknowledged and answers from all of it.
//!
//! **Invariant:** the only crate that touches the data directory. Every write goes through the
//! [`disk::Disk`] seam, so that each of them can be made to fail in a test; the time and random
//! bytes come in through [`Options`]. Nothing here knows an input format or an API.
//!
//! Suggested reading order: [`catalog`] (what is known besides rows), [`coverage`] (who saw what, and
//! what nobody saw), [`alarm`] (what was told of that), [`reviews`] (what was signed), [`filter`] (what can be asked), [`disk`] (the seam), then the way of a record:
//! `frame` and `wal` (what is written), `state` and `memtable` (what is seen), `queue` and `commit` (how
//! it is written), `own`, `import`, `ingest` and `advance` (what is asked for), `identity`, `row_key` and
//! `request_keys` (what is known already), `resolve` (what leaves the quarantine), `maintain`, `segment`, `flush`, `snapshot`, `compact` and
//! `retention` (what becomes of it), `directory` (start and end), `table` (how others read it), `cache`,
//! `scan`, `joined`, `select`, `aggregate`, `seen` and `look_up` (answers), [`status`], [`verify`] and [`backup`]
//! (operation).

pub mod alarm;
pub mod catalog;
pub mod coverage;
pub mod disk;
pub mod error;
pub mod filter;
pub mod measure;
pub mod reviews;

pub mod backup;
pub mod status;
pub mod verify;

mod advance;
mod aggregate;
mod cache;
mod commit;
mod compact;
mod directory;
mod flush;
mod frame;
mod identity;
mod import;
mod ingest;
mod joined;
mod look_up;
mod maintain;
mod marked;
mod memtable;
mod names;
mod own;
mod queue;
mod request_keys;
mod resolve;
mod retention;
mod row_key;
mod scan;
mod seen;
mod segment;
mod select;
mod snapshot;
mod state;
mod table;
mod wal;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use doorbook_event::record::{
    Actor, Amendment, Coverage, ImportCounts, ImportId, ImportedFile, Quarantine, Sighting,
    Subject, UnknownId,
};
use doorbook_event::registry::RegistryChange;
use doorbook_event::{
    Access, Clock, LogId, ProjectId, Random, Record, Scope, Seq, Text, Timestamp,
};

pub use alarm::Alarms;
pub use catalog::Catalog;
pub use coverage::{Answer, Question, Watched};
pub use doorbook_event::advance::{Advance, Advanced};
pub use error::{Error, ErrorKind};
pub use filter::{Dimension, Filter, Histogram, Overview, Page, Seen, Top};
pub use reviews::Reviews;

/// What a store needs to open.
#[derive(Clone)]
pub struct Options {
    /// The data directory; created, with mode 0700, where there is none.
    pub data_dir: PathBuf,
    /// Where the present comes from.
    pub clock: Arc<dyn Clock>,
    /// Where unpredictable bytes come from.
    pub random: Arc<dyn Random>,
    /// The I/O seam.
    pub disk: Arc<dyn disk::Disk>,
    /// Rows held in memory before they become a segment, in bytes that they take there; while they are
    /// written, up to as many again.
    pub memtable_size_bytes: usize,
    /// Free disk space below which imports and requests of shippers are refused, so that the server
    /// can still record who asked, make room itself, and an operator can, too.
    pub reserve_size_bytes: u64,
    /// Decoded parts of segments that are kept in memory for the next question, in bytes.
    pub cache_size_bytes: usize,
    /// Whether a thread of the store's own does the maintenance. Without, who commits does what is
    /// due, so that one thread's calls always come to the same.
    pub background: bool,
    /// Records that may wait to be written, in bytes of their WAL form.
    pub queue_size_bytes: usize,
    /// How long a call waits for room in memory or in the queue before it is refused with
    /// [`ErrorKind::Busy`].
    pub wait_max: Duration,
}

impl Options {
    /// What [`Options::cache_size_bytes`] is unless somebody chooses otherwise.
    pub const CACHE_SIZE_BYTES: usize = 128 << 20;

    /// 64 MiB: more than arrives during one sync, and as much again as the group that is written.
    pub const QUEUE_SIZE_BYTES: usize = 64 << 20;

    /// 5 s: longer than a flush, shorter than a client's patience.
    pub const WAIT_MAX: Duration = Duration::from_secs(5);
}

/// An open data directory. Cheap to clone; all methods may be called from any thread and block.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// A group of records of one scope for [`Store::commit`].
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whose history.
    pub scope: Scope,
    /// Which source told it.
    pub source: Text,
    /// The records, in order.
    pub records: Vec<Record>,
}

/// A record with its place in the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Which log.
    pub log: LogId,
    /// Position in that log.
    pub seq: Seq,
    /// When it was received, by our clock.
    pub ingest_time: Timestamp,
    /// Which source told it.
    pub source: Text,
    /// The record; an access together with what amendments add to it.
    pub record: Record,
    /// Who else told of the access, in the order in which they did.
    pub sightings: Vec<Sighted>,
}

/// A source that told of an access which was recorded already.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighted {
    /// Which log.
    pub log: LogId,
    /// Position in that log.
    pub seq: Seq,
    /// When it was received, by our clock.
    pub ingest_time: Timestamp,
    /// Which source.
    pub source: Text,
    /// When the access happened, as this source claims, if it does.
    pub event_time: Option<Timestamp>,
    /// Whether it says more about the access than that.
    pub amends: bool,
}

impl Placed {
    /// Its place in the order of answers.
    pub fn order(&self) -> filter::Order {
        filter::Order { event_time: self.event_time(), log: self.log, seq: self.seq }
    }

    /// The instant by which the row is sorted: for what is no event, when we received it.
    pub fn event_time(&self) -> Timestamp {
        match &self.record {
            Record::Access(access) | Record::Own(access) => access.event_time,
            _ => self.ingest_time,
        }
    }
}

/// What an import is begun with.
#[derive(Clone, Debug)]
pub struct ImportStart {
    /// Who runs it.
    pub by: Actor,
    /// The project whose history it belongs to.
    pub project: ProjectId,
    /// The cluster.
    pub cluster: Text,
    /// The host the user named, if any.
    pub host: Option<Text>,
    /// Which kind of source the records come from, such as `mongod-log`.
    pub source: Text,
}

/// A bounded part of an import. Committed whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct ImportBatch {
    /// Events, in the order of the input.
    pub accesses: Vec<Access>,
    /// Intervals of blindness.
    pub coverage: Vec<Coverage>,
    /// Bytes that could not be read.
    pub quarantine: Vec<Quarantine>,
    /// Accesses that other sources recorded, seen again. [`Store::subjects`] has what they are about.
    pub sightings: Vec<Sighting>,
    /// What becomes known of accesses that other sources recorded.
    pub amendments: Vec<Amendment>,
}

/// How an import ended.
#[derive(Clone, Debug)]
pub struct ImportEnd {
    /// Read to the end, or stopped before it.
    pub complete: bool,
    /// Its inputs.
    pub files: Vec<ImportedFile>,
    /// Physical lines read.
    pub lines: u64,
    /// Message ids that were not known.
    pub unknown_ids: Vec<UnknownId>,
}

/// What a shipper sends in one request.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Whose history it belongs to: a project's, or a namespace's.
    pub scope: Scope,
    /// Which source tells it.
    pub source: Text,
    /// The sender's name for this request: sent again under the same name, it is answered and not
    /// stored again.
    pub key: Option<Text>,
    /// Its lines, in order.
    pub lines: Vec<IngestLine>,
}

/// A line of an [`Ingest`].
#[derive(Clone, Debug)]
pub enum IngestLine {
    /// An event.
    Event(Box<Access>),
    /// An access seen again. [`Store::subjects`] has what it is about.
    Sighting(Box<Sighting>),
    /// What becomes known of an access.
    Amendment(Box<Amendment>),
    /// Bytes that could not be read; kept.
    Unreadable(Box<Quarantine>),
}

/// What became of an [`Ingest`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// For each line what became of it.
    pub lines: Vec<LineResult>,
}

/// Bytes that were put aside and can be read now.
#[derive(Clone, Debug)]
pub struct Resolve {
    /// The project whose history they are in.
    pub project: ProjectId,
    /// The log that holds them.
    pub log: LogId,
    /// Which version read them.
    pub version: Text,
    /// Each of them.
    pub lines: Vec<Resolution>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Resolution {
    /// Its position.
    pub seq: Seq,
    /// Which source told it.
    pub source: Text,
    /// What it tells; `None` if it is no record.
    pub line: Option<IngestLine>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineResult {
    /// It is durable now, here.
    Stored {
        /// Which log.
        log: LogId,
        /// Position in that log.
        seq: Seq,
    },
    /// It was durable before.
    Duplicate,
    /// It is older than its scope keeps events; not stored.
    Expired,
}

/// What [`Store::maintain`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// There was nothing to do.
    Nothing,
    /// It moved rows from memory to segments.
    Flushed,
    /// It wrote a snapshot, and let the WAL before it go.
    Snapshot,
    /// It merged segments into larger ones.
    Compacted,
    /// It announced the removal of rows that are too old, or removed some.
    Expired,
    /// It brought the tables that other programs read closer to the present state.
    Table,
}

impl Store {
    /// Opens the data directory, takes its lock and recovers: afterwards everything that was ever
    /// acknowledged is there, once.
    pub fn open(options: Options) -> Result<Store, Error> {
        let background = options.background;
        let inner = Arc::new(Inner::open(options)?);
        if background {
            inner.start_maintenance()?;
        }
        Ok(Store(inner))
    }

    /// What is known besides rows: the registry, imports, coverage. A snapshot; it never changes.
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.0.state().catalog)
    }

    /// The intervals of blindness that an import told of, whether they were known before or not, as
    /// they are known now. None of an import that was taken back.
    pub fn coverage_of(&self, import: &ImportId) -> Vec<Coverage> {
        self.0.state().coverage_of(import)
    }

    /// Writes records. When this returns, all of them are durable and visible, or none is.
    pub fn commit(&self, entries: Vec<Entry>) -> Result<(), Error> {
        self.0.commit_entries(entries)
    }

    /// Changes the registry: all changes or none, each checked against the ones before it. Every
    /// change is also an event of the system scope that says who made it.
    pub fn change_registry(&self, by: &Actor, changes: Vec<RegistryChange>) -> Result<(), Error> {
        self.0.write_registry(by, changes)
    }

    /// Begins an import and names it.
    pub fn begin_import(&self, start: ImportStart) -> Result<ImportId, Error> {
        self.0.start_import(start)
    }

    /// Says that what follows is from the next input file: equal events of one file are as many
    /// events, the same events in the next file are the same ones.
    pub fn import_next_file(&self, id: &ImportId) -> Result<(), Error> {
        self.0.start_import_file(id)
    }

    /// Adds a part of an import. Returns what of it was new and what was there before (`lines` is
    /// left 0: only the caller knows).
    pub fn import(&self, id: &ImportId, batch: ImportBatch) -> Result<ImportCounts, Error> {
        self.0.add_to_import(id, batch)
    }

    /// Ends an import. Returns its totals.
    pub fn end_import(&self, id: &ImportId, end: ImportEnd) -> Result<ImportCounts, Error> {
        self.0.finish_import(id, end)
    }

    /// Takes an import back: none of its records is in any later answer.
    pub fn retract(&self, id: &ImportId, by: &Actor) -> Result<(), Error> {
        self.0.take_back_import(id, by)
    }

    /// Stores what a shipper sent. When this returns, each line is durable and visible, or none is
    /// stored; a duplicate is one only of what is durable. A request whose key is remembered is
    /// answered with nothing but duplicates; other lines under that key are an error
    /// ([`ErrorKind::Exists`]).
    pub fn ingest(&self, request: Ingest) -> Result<Ingested, Error> {
        let mut answers = self.0.ingest(vec![request]);
        answers.pop().expect("an answer for the only request")
    }

    /// Stores several requests, each as [`Store::ingest`] would, with one wait for the disk as far as
    /// the queue has room for them together. Returns what became of each, in their order.
    pub fn ingest_all(&self, requests: Vec<Ingest>) -> Vec<Result<Ingested, Error>> {
        self.0.ingest(requests)
    }

    /// Stores what lines tell that were put aside, and that they are put aside no longer, both or
    /// nothing: those of each source and import durable together. Returns what became of what each
    /// line tells. [`ErrorKind::Missing`] if one of them is no such line, or not any more; those of other
    /// sources may be stored then.
    pub fn resolve(&self, by: &Actor, resolve: Resolve) -> Result<Vec<Option<LineResult>>, Error> {
        self.0.resolve(by, resolve)
    }

    /// Stores what sources read, each together with where it goes on. When this returns, each one is
    /// durable and visible as a whole, or was refused with nothing written:
    /// [`ErrorKind::Missing`] if the registry has no such source any more, [`ErrorKind::Exists`] if it
    /// is elsewhere than the caller thinks.
    pub fn advance(&self, advances: Vec<Advance>) -> Vec<Result<Advanced, Error>> {
        self.0.advance(advances)
    }

    /// What sources saw, and how far they have come. A snapshot; it never changes.
    pub fn watched(&self) -> Arc<Watched> {
        Arc::clone(&self.0.state().watched)
    }

    /// What was told, and what is to be told. A snapshot; it never changes.
    pub fn alarms(&self) -> Arc<Alarms> {
        Arc::clone(&self.0.state().alarms)
    }

    /// Lets alarms take steps, all or none. What opens, closes or is acknowledged is also an event of
    /// the system scope. [`ErrorKind::Missing`] if there is no such alarm.
    pub fn change_alarms(&self, by: &Actor, changes: Vec<alarm::Change>) -> Result<(), Error> {
        self.0.change_alarms(by, changes)
    }

    /// What reviewers said and signed. A snapshot; it never changes.
    pub fn reviews(&self) -> Arc<Reviews> {
        Arc::clone(&self.0.state().reviews)
    }

    /// Lets somebody act on a review: all acts or none, each of them also an event of the system scope.
    /// [`ErrorKind::Missing`] if there is no such review or row, [`ErrorKind::Exists`] if somebody else
    /// signed, marked or described it anew since the caller looked.
    pub fn act_on_review(
        &self,
        by: &Actor,
        review: &str,
        acts: Vec<reviews::Act>,
    ) -> Result<(), Error> {
        self.0.act_on_review(by, review, acts)
    }

    /// The earliest event time that answers about a scope show now.
    pub fn kept_from(&self, scope: &Scope) -> Timestamp {
        self.0.state().retention_start(scope, self.0.options.clock.now())
    }

    /// What an answer can know; one state for all it says.
    pub fn coverage(&self, question: &Question<'_>) -> Answer {
        let state = self.0.state();
        let hidden = state.catalog.coverage.get(question.scope);
        coverage::answer(&state.watched, hidden.map_or(&[], Vec::as_slice), question)
    }

    /// How often each value of a dimension occurs among the rows that a filter matches; the `limit`
    /// most frequent ones. The filter's own `limit` and `after` say nothing here.
    pub fn top(&self, filter: &Filter, dimension: Dimension, limit: usize) -> Result<Top, Error> {
        let tops = self.0.overview(filter, None, (&[dimension], limit))?.tops;
        Ok(tops.into_iter().next().expect("one for each dimension"))
    }

    /// [`Store::top`] of several dimensions and [`Store::histogram`], from one pass over the rows and one
    /// state.
    pub fn overview(
        &self,
        filter: &Filter,
        width_micros: i64,
        (dimensions, limit): (&[Dimension], usize),
    ) -> Result<Overview, Error> {
        self.0.overview(filter, Some(&filter::by_width(width_micros)?), (dimensions, limit))
    }

    /// Of each value of some dimensions when it was first and last seen and how it ended, the first
    /// `limit` of their order. The filter's own `limit` and `after` say nothing here.
    pub fn seen(
        &self,
        filter: &Filter,
        dimensions: &[Dimension],
        order: (filter::Rank, usize),
    ) -> Result<Vec<Seen>, Error> {
        self.0.seen(filter, dimensions, order)
    }

    /// Of each value of a dimension among the rows that a filter matches how many rows have it, and how
    /// many of these meet the conditions of each mark, beyond kind, target and time; in no order.
    pub fn marked(
        &self,
        filter: &Filter,
        dimension: Dimension,
        marks: &[Filter],
    ) -> Result<Vec<filter::Marked>, Error> {
        self.0.marked(filter, dimension, marks)
    }

    /// When each of some principals was first seen among the rows that a filter matches. Reads no more of
    /// the history than that takes.
    pub fn first_seen(
        &self,
        filter: &Filter,
        principals: &[Text],
    ) -> Result<std::collections::HashMap<Text, Timestamp>, Error> {
        self.0.first_seen(filter, principals)
    }

    /// How many rows match in each stretch of time, beginning at multiples of a width since 1970. The
    /// filter's `limit` and `after` say nothing here.
    pub fn histogram(&self, filter: &Filter, width_micros: i64) -> Result<Histogram, Error> {
        self.histogram_by(filter, &filter::by_width(width_micros)?)
    }

    /// The same of stretches that the caller cuts.
    pub fn histogram_by(&self, filter: &Filter, cut: &filter::Cut<'_>) -> Result<Histogram, Error> {
        let Overview { bars, total, as_of, .. } = self.0.overview(filter, Some(cut), (&[], 0))?;
        Ok(Histogram { bars, total, as_of })
    }

    /// The newest rows that a filter matches, and how many match in all.
    pub fn select(&self, filter: &Filter) -> Result<Page, Error> {
        self.0.select(filter)
    }

    /// Merges segments into larger ones, one job: whether there was one. Answers do not change by it.
    pub fn compact_once(&self) -> Result<bool, Error> {
        self.0.compact_once()
    }

    /// Copies the data directory, as it is at one instant, to a new directory that is one itself,
    /// while others write. [`backup::restore`] copies it back.
    pub fn backup(&self, to: &std::path::Path) -> Result<backup::Copied, Error> {
        self.0.backup(to)
    }

    /// How much there is, how old it is, and how long the disk will last.
    pub fn status(&self) -> Result<status::Status, Error> {
        self.0.status()
    }

    /// What monitoring asks for. Reads no rows and waits for no write.
    pub fn measures(&self) -> Result<measure::Measures, Error> {
        self.0.measures()
    }

    /// Why nothing can be written until a restart, if so. Never waits.
    pub fn poisoned(&self) -> Option<&'static str> {
        self.0.poisoned()
    }

    /// Why the latest unit of maintenance failed, if it did. It is tried again by itself.
    pub fn maintenance_failure(&self) -> Option<Error> {
        self.0.maintenance.failure()
    }

    /// Reads everything again and names what is damaged, while others write. A directory that does
    /// not open is read by [`verify::verify`].
    pub fn verify(&self, depth: verify::Depth) -> Result<verify::Report, Error> {
        self.0.verify(depth)
    }

    /// The present state of a scope's history.
    pub fn as_of(&self, scope: &Scope) -> filter::AsOf {
        self.0.state().as_of(scope)
    }

    /// Whether a state is one of this scope's history. That of a history without any row is one of
    /// every scope.
    pub fn is_state_of(&self, scope: &Scope, as_of: &filter::AsOf) -> bool {
        let log = self.0.state().log(scope).map(|(id, _)| id);
        as_of.iter().all(|(of, _)| Some(*of) == log)
    }

    /// The row of a place, if answers could show it: not one of an import that was taken back, none
    /// before retention's limit, nothing that is no row.
    pub fn get(&self, scope: &Scope, log: LogId, seq: Seq) -> Result<Option<Placed>, Error> {
        self.0.get(scope, log, seq)
    }

    /// The accesses of some places, for who has more to say about them; `None` for a place that
    /// [`Store::get`] has no access for.
    pub fn subjects(
        &self,
        scope: &Scope,
        places: &[(LogId, Seq)],
    ) -> Result<Vec<Option<Subject>>, Error> {
        self.0.subjects(scope, places)
    }

    /// A secret of this data directory: 32 random bytes, made when first asked for. A name is
    /// lower-case letters, digits and hyphens.
    pub fn secret(&self, name: &str) -> Result<[u8; 32], Error> {
        self.0.secret(name)
    }

    /// Takes one step to bring the Delta Lake tables, by which other programs read the segments, up
    /// to the present state. `false`: they are up to it.
    pub fn sync_table(&self) -> Result<bool, Error> {
        self.0.sync_table()
    }

    /// Does one unit of maintenance, if there is something to do.
    pub fn maintain(&self) -> Result<Did, Error> {
        self.0.maintain()
    }

    /// Moves every row that is in memory to segments. Before [`Store::close`], so that the next start
    /// has nothing to replay and other programs find all rows in the segments.
    pub fn flush(&self) -> Result<(), Error> {
        self.0.flush_all()
    }

    /// Waits for what is being written and releases the lock. Later writes fail. Rows in memory are in
    /// the WAL, from which the next start has them.
    pub fn close(&self) -> Result<(), Error> {
        self.0.close()
    }
}

/// An open store, behind its handles.
struct Inner {
    options: Options,
    keys: identity::Keys,
    cache: Arc<cache::Cache>,
    queue: queue::Queue<commit::Proposal, Ingested>,
    writer: Mutex<commit::Writer>,
    /// The writer's, for who must not wait for it.
    is_wal_poisoned: Arc<std::sync::atomic::AtomicBool>,
    counters: measure::Counters,
    maintenance: maintain::Maintenance,
    state: RwLock<Arc<state::State>>,
    imports: Mutex<import::Imports>,
    /// The file at hand of each source; held while sources advance.
    following: Mutex<advance::Following>,
    tables: Mutex<table::Tables>,
    memory: Mutex<identity::MemoryIndex>,
    /// Given back when the store is closed.
    lock: Mutex<Option<Box<dyn disk::DiskFile>>>,
}
