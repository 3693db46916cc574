//! [`Status`]: how a source is, for those who ask.

use doorbook_event::{Text, Timestamp};
use serde::{Deserialize, Serialize};

/// What a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has read everything that was written.
    Following,
    /// It reads what was written before.
    CatchingUp,
    /// There is no file yet, or none any more.
    Waiting,
    /// It rests, because someone said so.
    Paused,
    /// It cannot go on.
    Failed,
    /// No server runs that would follow it.
    Stopped,
}

impl State {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            State::Following => "following",
            State::CatchingUp => "catching_up",
            State::Waiting => "waiting",
            State::Paused => "paused",
            State::Failed => "failed",
            State::Stopped => "stopped",
        }
    }
}

/// How a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub state: State,
    /// Why it does not do more.
    pub message: Option<Text>,
    /// It has read everything that was written before, by the clock of what it reads.
    pub through: Option<Timestamp>,
    /// Bytes that are there and not read yet.
    pub behind_bytes: u64,
    /// Lines read since the server began.
    pub lines: u64,
    /// Events recorded since the server began.
    pub events: u64,
}
