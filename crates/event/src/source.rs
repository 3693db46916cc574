//! [`Source`]: an input of one host's records, for as long as it is in the registry.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::{Action, HostName, ProjectId, Target, Text};

/// An input of one host's records, for as long as it is in the registry.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Source {
    /// Its name, unique; stands beside every event that it tells of.
    #[n(0)]
    pub name: Text,
    /// What it reads.
    #[n(1)]
    pub kind: SourceKind,
    /// The project of its host.
    #[n(2)]
    pub project: ProjectId,
    /// The cluster of its host.
    #[n(3)]
    pub cluster: Text,
    /// Whose log it is.
    #[n(4)]
    pub host: HostName,
    /// The live file: an absolute path, or a pattern with `*`, `?` and `[…]` where the name changes.
    /// Empty where its lines are sent to us.
    #[n(5)]
    pub path: Text,
    /// The zone of times that have none: `UTC` or a name of the time zone database.
    #[n(6)]
    pub zone: Text,
    /// Whether it rests.
    #[n(7)]
    pub paused: bool,
    /// The agent that follows the file, on a machine of its own; `None` where we do.
    #[cbor(n(8), default)]
    pub agent: Option<Text>,
    /// Which of the lines that are sent to us are this host's: those of which every rule holds. None
    /// where there is a file.
    #[cbor(n(9), default, skip_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// What must hold of that with which a line came, its labels.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(map)]
pub struct Rule {
    /// The label, in its sender's words: `host.name`, `syslog.tag`, `kubernetes.labels.app`.
    #[n(0)]
    pub label: Text,
    /// What its value is: a pattern with `*`, `?` and `[…]`.
    #[n(1)]
    pub pattern: Text,
}

/// How the records of a source come to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// We follow its file.
    Followed,
    /// This agent follows its file.
    Shipped(&'a Text),
    /// Its lines are sent to us.
    Received,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {:?}", self.label, &*self.pattern)
    }
}

/// What a source reads.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, Serialize, Deserialize,
)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// The log of a mongod or mongos.
    #[n(0)]
    MongodLog,
}

/// What a source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has read everything that was written.
    #[n(0)]
    Following,
    /// It reads what was written before.
    #[n(1)]
    CatchingUp,
    /// There is no file yet, or none any more.
    #[n(2)]
    Waiting,
    /// It rests, because someone said so.
    #[n(3)]
    Paused,
    /// It cannot go on.
    #[n(4)]
    Failed,
    /// No server runs that would follow it.
    #[n(5)]
    Stopped,
    /// Its agent does not report.
    #[n(6)]
    Away,
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
            State::Away => "away",
        }
    }
}

impl Source {
    /// What it watches.
    pub fn target(&self) -> Target {
        Target::Host { cluster: self.cluster.clone(), host: self.host.to_string().into() }
    }

    /// Its rules in words, as the estate's file has them.
    pub fn rules_in_words(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(Rule::to_string).collect();
        rules.join(", ")
    }

    /// How its records come to us.
    pub fn way(&self) -> Way<'_> {
        match &self.agent {
            _ if !self.rules.is_empty() => Way::Received,
            Some(agent) => Way::Shipped(agent),
            None => Way::Followed,
        }
    }
}

impl SourceKind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            SourceKind::MongodLog => "mongod-log",
        }
    }

    /// The actions of which it sees all that its input shows.
    pub const fn actions(self) -> &'static [Action] {
        match self {
            SourceKind::MongodLog => &[Action::Authenticate, Action::Authorize],
        }
    }
}

/// Whether a text can name a source: 1 to 64 lower-case letters, digits and `-_.`, and not our own
/// name.
pub fn is_source_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
    (1..=64).contains(&text.len()) && text.bytes().all(allowed) && text != "doorbook"
}
