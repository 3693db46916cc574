//! What answers of this API look like, as types: those that are read by our own command line and described
//! to others.

use doorbook_event::record::ClockState;
use doorbook_event::source::{SourceKind, State};
use doorbook_event::{Text, Timestamp};
use serde::{Deserialize, Serialize};

/// How the sources of a project or a namespace are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sources {
    /// Each of them, by its name.
    pub sources: Vec<Source>,
    /// Lines of all of the history that could not be read, without those that are unrouted.
    pub quarantined: u64,
    /// Lines that were sent and fit no source.
    pub unrouted: u64,
    /// Messages of mongod that this version does not know, as imports counted them, most frequent first.
    pub unknown_ids: Vec<UnknownId>,
}

/// A source: an input of events that is read as long as it is in the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name; stands beside every event that it tells of.
    pub name: Text,
    /// What it reads.
    pub kind: SourceKind,
    /// The cluster of its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Text>,
    /// Its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Text>,
    /// The place of its arrays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Text>,
    /// What is read: a file, a pattern, or where the log of a store is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Text>,
    /// Which of the lines that are sent are its host's, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The zone of times that name none.
    pub zone: Text,
    /// The agent that follows it, where the server does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<Text>,
    /// What it does.
    pub state: State,
    /// Why it does not do more.
    pub message: Option<Text>,
    /// It has read everything that was written before.
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
    pub advanced: Option<Timestamp>,
    /// Its last heartbeat.
    pub heartbeat: Option<Heartbeat>,
    /// What of its target was not, or not surely, seen by anybody.
    pub gaps: Gaps,
    /// Lines of it that could not be read.
    pub quarantined: u64,
}

/// What a source said of itself, once a minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When, by the server's clock.
    pub at: Timestamp,
    /// It had read everything that was written before.
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// Whether something keeps it synchronised; `null` where the system does not tell.
    pub synchronised: Option<bool>,
    /// Its estimated offset from the true time.
    pub offset_micros: Option<i64>,
    /// The most that it can be wrong.
    pub error_max_micros: Option<i64>,
}

/// How many gaps there are; `coverage` answers them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gaps {
    /// Those that last.
    pub open: usize,
    /// All of them.
    pub total: usize,
}

/// A message id that is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnknownId {
    /// The id.
    pub id: u64,
    /// The server version that wrote it, where the input says.
    pub version: Option<Text>,
    /// How often.
    pub count: u64,
    /// The message of the first one.
    pub message: Text,
}

impl From<ClockState> for Clock {
    fn from(state: ClockState) -> Clock {
        let ClockState { synchronised, offset_micros, error_max_micros } = state;
        Clock { synchronised, offset_micros, error_max_micros }
    }
}
