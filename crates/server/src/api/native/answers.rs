//! What answers of this API look like, as types: those that our own command line reads, and of which the
//! description for others is made ([`super::openapi`]).
//!
//! Answers that can have many rows are written by hand, since they are large; a test holds them to these
//! types.

mod reviews;

use std::borrow::Cow;
use std::collections::BTreeMap;

use doorbook_event::Timestamp;
use doorbook_event::record::ClockState;
use doorbook_event::source::{SourceKind, State};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use reviews::*;

/// Events, or lines that could not be read, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Events {
    /// A page of them.
    pub events: Vec<Row>,
    /// How many there are in all.
    pub total: u64,
    /// The state of the history that this is taken from; a parameter of other reads.
    pub as_of: String,
    /// What is not known.
    pub coverage: Coverage,
    /// Leads to the next page; `null` if there is none.
    pub cursor: Option<String>,
}

/// A row of the history: an event, or a line that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Its public id.
    pub id: String,
    /// Which source told it.
    pub source: String,
    /// When it was received.
    #[schemars(with = "Instant")]
    pub ingest_time: Timestamp,
    /// The event, in the form in which it can be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
    /// The line, if it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<Quarantined>,
    /// Who else told of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<Sighting>,
    /// What else its connection did; only of an event that is asked for by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbours: Option<Neighbours>,
}

/// An event: somebody came, or did something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When, by the clock of what was accessed.
    #[schemars(with = "Instant")]
    pub time: Timestamp,
    /// The time as the source wrote it, where that names no instant and `time` is a guess.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written_time: Option<String>,
    /// The cluster of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The namespace of the array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The array, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// What was tried.
    pub action: String,
    /// `success`, `failure` or `unknown`.
    pub outcome: String,
    /// Why it failed, in the source's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it failed, as the source's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Who, as a user of what was accessed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The database that knows the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// What somebody is who is no such user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal_kind: Option<String>,
    /// The name of somebody who is no such user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The authentication mechanism, as the source spells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<String>,
    /// `true` of who came through a Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<bool>,
    /// The IP address from which somebody came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `true` where the address is from another record of the same connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address_joined: Option<bool>,
    /// The source's number of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u64>,
    /// When the accessed process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub process_start: Option<Timestamp>,
    /// What the client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The client's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_version: Option<String>,
    /// The client's operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os: Option<String>,
    /// What the client runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Through what the client came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// From where the client came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Whether authentication began within the greeting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speculative: Option<bool>,
    /// What kind of event it is: `system`, `monitor`, `retry`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// The task within which it was done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What else was said.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// The source's record as it was received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The same in base64, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_base64: Option<String>,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Quarantined {
    /// Why.
    pub reason: String,
    /// The cluster of the host that it is of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The namespace of the array that it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The array, or where it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// What it is of where that is neither a host nor an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_kind: Option<String>,
    /// Which one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_name: Option<String>,
    /// The input that it came with.
    pub file: String,
    /// Which line of it, from 1 on.
    pub line: u64,
    /// Where the line begins.
    pub offset_bytes: u64,
    /// How long the line is, however much was kept of it.
    pub length_bytes: u64,
    /// Of the whole line.
    pub sha256: String,
    /// The line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// The same in base64, where it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_base64: Option<String>,
}

/// A source that told of an event which was known already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sighting {
    /// Its public id.
    pub id: String,
    /// Which source.
    pub source: String,
    /// When it was received.
    #[schemars(with = "Instant")]
    pub ingest_time: Timestamp,
    /// When the event happened, as this source has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Instant>")]
    pub time: Option<Timestamp>,
    /// Whether it said more than was known.
    pub amends: bool,
}

/// What else a connection did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Neighbours {
    /// The latest, newest first.
    pub events: Vec<Row>,
    /// How many there are in all.
    pub total: u64,
}

/// What came since a state of the history; how our own command line follows one on this machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// In the order in which they were recorded.
    pub events: Vec<Row>,
    /// Where to go on.
    pub after: String,
    /// There is no more.
    pub is_last: bool,
}

/// What is known of how much was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Coverage {
    /// `complete`, `best_effort` or `gaps`: the least that holds at any instant of the window.
    pub state: String,
    /// Up to when all that was asked for is known; `null` if of some of it nothing is.
    #[schemars(with = "Option<Instant>")]
    pub through: Option<Timestamp>,
    /// What was not, or not surely, seen; the latest first.
    pub gaps: Vec<Gap>,
    /// How many gaps there are in all.
    pub total: u64,
}

/// An interval in which something was not, or not surely, seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The cluster, or the namespace of an array.
    pub cluster: String,
    /// The host, or the array.
    pub host: String,
    /// Which actions.
    pub actions: Vec<String>,
    /// Which outcomes of these: `successes` or `all`.
    pub hidden: String,
    /// `blind` or `best_effort`.
    pub grade: String,
    /// Since when; `null`: ever.
    #[schemars(with = "Option<Instant>")]
    pub from: Option<Timestamp>,
    /// Until when; `null`: it lasts.
    #[schemars(with = "Option<Instant>")]
    pub to: Option<Timestamp>,
    /// The last that was heard before.
    #[schemars(with = "Option<Instant>")]
    pub last_seen: Option<Timestamp>,
    /// Why.
    pub cause: String,
    /// The source that should have seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How many accesses are known to be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<u64>,
    /// Who brought it about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What any answer to the same filter has beside it, with all gaps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CoverageAlone {
    /// The name of the project, where it is of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// It.
    pub coverage: Coverage,
}

/// Counts by time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Histogram {
    /// Those that hold any, earliest first.
    pub bars: Vec<Bar>,
    /// How many events there are in all.
    pub total: u64,
    /// The state of the history that this is taken from.
    pub as_of: String,
    /// What is not known.
    pub coverage: Coverage,
}

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Bar {
    /// Where it begins.
    #[schemars(with = "Instant")]
    pub from: Timestamp,
    /// Events that were successes.
    pub success: u64,
    /// Failures.
    pub failure: u64,
    /// Those of which the source does not say.
    pub unknown: u64,
}

/// Counts by value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Top {
    /// The most frequent ones.
    pub values: Vec<Count>,
    /// How many different ones there are.
    pub distinct: u64,
    /// How many events there are in all.
    pub total: u64,
    /// The state of the history that this is taken from.
    pub as_of: String,
    /// What is not known.
    pub coverage: Coverage,
}

/// How often there is a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// The value; `null` for events that have none.
    pub value: Option<String>,
    /// How many events have it.
    pub count: u64,
}

/// Who was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Principals {
    /// Each of them.
    pub principals: Vec<NamedSums>,
    /// How many there are.
    pub distinct: u64,
    /// How many events there are in all.
    pub total: u64,
    /// The state of the history that this is taken from.
    pub as_of: String,
    /// What is not known.
    pub coverage: Coverage,
}

/// A principal in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedSums {
    /// Its name; `null` stands for all who gave none.
    pub name: Option<String>,
    /// The time of the first event.
    #[schemars(with = "Instant")]
    pub first_seen: Timestamp,
    /// The time of the last one.
    #[schemars(with = "Instant")]
    pub last_seen: Timestamp,
    /// Events that were successes.
    pub success: u64,
    /// Failures.
    pub failure: u64,
    /// Those of which the source does not say.
    pub unknown: u64,
}

/// All that is known of a principal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Principal {
    /// Its name.
    pub name: String,
    /// The time of the first event; `null` if there is none.
    #[schemars(with = "Option<Instant>")]
    pub first_seen: Option<Timestamp>,
    /// The time of the last one.
    #[schemars(with = "Option<Instant>")]
    pub last_seen: Option<Timestamp>,
    /// Events that were successes.
    pub success: u64,
    /// Failures.
    pub failure: u64,
    /// Those of which the source does not say.
    pub unknown: u64,
    /// The databases that know it.
    pub databases: Values,
    /// From where.
    pub addresses: Values,
    /// With which applications.
    pub applications: Values,
    /// With which mechanisms.
    pub mechanisms: Values,
    /// What it did.
    pub actions: Values,
    /// In which clusters.
    pub clusters: Values,
    /// At which hosts.
    pub hosts: Values,
    /// In which hours of the week.
    pub hours_of_week: HoursOfWeek,
    /// How many events there are in all.
    pub total: u64,
    /// The state of the history that this is taken from.
    pub as_of: String,
    /// What is not known.
    pub coverage: Coverage,
}

/// Values of one kind, latest seen first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Values {
    /// The latest.
    pub values: Vec<ValueSums>,
    /// How many there are.
    pub distinct: u64,
}

/// A value in short.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueSums {
    /// The value; `null` stands for events that have none.
    pub value: Option<String>,
    /// The time of the first event.
    #[schemars(with = "Instant")]
    pub first_seen: Timestamp,
    /// The time of the last one.
    #[schemars(with = "Instant")]
    pub last_seen: Timestamp,
    /// Events that were successes.
    pub success: u64,
    /// Failures.
    pub failure: u64,
    /// Those of which the source does not say.
    pub unknown: u64,
}

/// Counts by the hour of the week, each 168 numbers from Monday's first hour on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HoursOfWeek {
    /// Events that were successes.
    pub success: Vec<u64>,
    /// Failures.
    pub failure: Vec<u64>,
    /// Those of which the source does not say.
    pub unknown: Vec<u64>,
}

/// What became of events that were sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ingested {
    /// Those that are stored now.
    pub stored: u64,
    /// Those that were stored before.
    pub duplicates: u64,
    /// Those that could not be read, and were put aside.
    pub quarantined: u64,
    /// Those that are older than any are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<u64>,
    /// Single lines, as far as they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<Vec<IngestedLine>>,
}

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IngestedLine {
    /// Which one, from 1 on.
    pub line: u64,
    /// `stored`, `duplicate`, `expired` or `quarantined`.
    pub result: String,
    /// Its public id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Why it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of raw lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Routed {
    /// Events that are stored now.
    pub stored: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// Lines that were put aside.
    pub quarantined: u64,
    /// Lines that tell of nobody who came.
    pub ignored: u64,
    /// Events that are older than any are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<u64>,
    /// The same of each source whose lines were among them.
    pub sources: BTreeMap<String, RoutedCounts>,
    /// Lines that fit no source, by what they call their host.
    pub unrouted: BTreeMap<String, u64>,
}

/// What became of the lines of one source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoutedCounts {
    /// Events that are stored now.
    pub stored: u64,
    /// Events that were stored before.
    pub duplicates: u64,
    /// Lines that were put aside.
    pub quarantined: u64,
    /// Lines that tell of nobody who came.
    pub ignored: u64,
    /// Events that are older than any are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired: Option<u64>,
}

/// What went wrong (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:doorbook:problem:NAME`. Programs look at the name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this name.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened this time, and what to do.
    pub detail: String,
    /// Where in `q`, in characters from 1 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// `true` where a filter names what is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<bool>,
}

/// How the sources of a project or a namespace are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sources {
    /// Each of them, by its name.
    pub sources: Vec<Source>,
    /// Lines of all of the history that could not be read, without those that are unrouted.
    pub quarantined: u64,
    /// Lines that were sent and fit no source.
    pub unrouted: u64,
    /// Messages of mongod that this version does not know, as imports counted them, and sources since the server
    /// began; most frequent first.
    pub unknown_ids: Vec<UnknownId>,
}

/// A source: an input of events that is read as long as it is in the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Source {
    /// Its name; stands beside every event that it tells of.
    pub name: String,
    /// What it reads.
    #[schemars(with = "String")]
    pub kind: SourceKind,
    /// The cluster of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The place of its arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What is read: a file, a pattern, or where the log of a store is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Which of the lines that are sent are its host's, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The zone of times that name none.
    pub zone: String,
    /// The agent that follows it, where the server does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// What it does.
    #[schemars(with = "String")]
    pub state: State,
    /// Why it does not do more.
    pub message: Option<String>,
    /// It has read everything that was written before.
    #[schemars(with = "Option<Instant>")]
    pub through: Option<Timestamp>,
    /// How long ago that is.
    pub lag_seconds: Option<i64>,
    /// Bytes that are there and not read yet.
    pub behind_bytes: Option<u64>,
    /// Lines it read so far.
    pub lines: u64,
    /// Events it recorded so far.
    pub events: u64,
    /// When it last came further.
    #[schemars(with = "Option<Instant>")]
    pub advanced: Option<Timestamp>,
    /// Its last heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// What of its target was not, or not surely, seen by anybody.
    pub gaps: Gaps,
    /// Lines of it that could not be read.
    pub quarantined: u64,
    /// Messages of mongod that this version does not know, since who reads the source began.
    pub unknown_messages: u64,
    /// Which these are: the first 100 kinds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_ids: Vec<UnknownId>,
}

/// What a source said of itself, once a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// When, by the server's clock.
    #[schemars(with = "Instant")]
    pub at: Timestamp,
    /// It had read everything that was written before.
    #[schemars(with = "Option<Instant>")]
    pub through: Option<Timestamp>,
    /// Lines since the one before.
    pub lines: u64,
    /// Events since the one before.
    pub events: u64,
    /// Bytes that were there and not read yet.
    pub behind_bytes: u64,
    /// The reader's clock minus the target's, as the newest line shows it.
    pub delay_micros: Option<i64>,
    /// The reader's clock.
    pub clock: Clock,
}

/// How far a clock can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// Whether something keeps it synchronised; `null` where the system does not tell.
    pub synchronised: Option<bool>,
    /// Its estimated offset from the true time.
    pub offset_micros: Option<i64>,
    /// The most that it can be wrong.
    pub error_max_micros: Option<i64>,
}

/// How many gaps there are; `coverage` answers them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Gaps {
    /// Those that last.
    pub open: usize,
    /// All of them.
    pub total: usize,
}

/// A message id that is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownId {
    /// The id.
    pub id: u64,
    /// The server version that wrote it, where the input says.
    pub version: Option<String>,
    /// How often.
    pub count: u64,
    /// The message of the first one.
    pub message: String,
}

impl From<ClockState> for Clock {
    fn from(state: ClockState) -> Clock {
        let ClockState { synchronised, offset_micros, error_max_micros } = state;
        Clock { synchronised, offset_micros, error_max_micros }
    }
}

/// An instant, as it is described to others.
pub struct Instant;

impl JsonSchema for Instant {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}
